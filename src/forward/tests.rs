//! Forwarding to upstreams of the tests' own on loopback. Times are a tenth of the usual ones.

mod exchanges;
mod fake;
mod replies;

use fake::{Fake, Says, a, answers, ask, negative, query};

use super::*;

const SHORT: Timing = Timing {
    deadline: Duration::from_millis(900),
    stale_after: Duration::from_millis(200),
    again: Duration::from_millis(400),
    second_least: Duration::from_millis(60),
    second_most: Duration::from_millis(120),
    aside_first: Duration::from_millis(100),
    aside_most: Duration::from_millis(200),
    probe: Duration::from_millis(100),
    declined: 5,
    silent: 1,
};

fn forward_to(upstreams: &[String]) -> Arc<Forward> {
    let upstreams = upstreams.iter().map(|text| Upstream::parse(text).unwrap()).collect();
    with(&ForwardSettings { upstreams, ..ForwardSettings::default() }, 256)
}

fn with(settings: &ForwardSettings, flights: usize) -> Arc<Forward> {
    let forward = Forward::with(SHORT, 1 << 20, flights);
    forward.set(settings);
    Arc::new(forward)
}
