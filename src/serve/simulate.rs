//! Simulation, joined to the counters of the server, to drills, and to the log.

use std::sync::Arc;

use tokio::sync::watch;

use crate::control::Control;
use crate::drill::Outlook;
use crate::model::{Forecast, ForecastLatency, ForecastMove, Subject};
use crate::server::Server;
use crate::simulate::{DecidedName, Latency, Population, Report};

/// Client prefixes and how often each was seen to ask.
pub(super) type Clients = Arc<dyn Fn() -> Vec<(u64, u32)> + Send + Sync>;

/// Warnings of losses that are told; there may be one for each name and region.
const MOST_WARNINGS: usize = 20;

/// What the workers of a server have seen.
pub(super) fn clients(server: &Server) -> Clients {
    let workers: Vec<_> = server.counters().into_iter().map(|(_, counters)| counters).collect();
    Arc::new(move || workers.iter().flat_map(|worker| worker.clients.seen()).collect())
}

/// Who would move where, for the reports of drills.
pub(super) fn forecast(control: &Control, clients: Clients) -> Arc<dyn Fn(&Subject) -> Outlook + Send + Sync> {
    let control = control.clone();
    Arc::new(move |lose| {
        // An error: it is gone by now, and the drill will say so.
        let loss = control.without(std::slice::from_ref(lose)).ok();
        let clients = clients.clone();
        Box::new(move || {
            let loss = loss?;
            let population = Population::observed(clients().into_iter(), &loss.before().origins);
            let names = DecidedName::all(loss.before());
            Some(told(&loss.simulate(&population, &names, false)))
        })
    })
}

fn told(report: &Report) -> Forecast {
    let total = &report.total;
    let latency = |latency: Latency| ForecastLatency { mean_ms: latency.mean_ms, p95_ms: Some(latency.p95_ms) };
    let moves = total.moves.iter().map(|m| ForecastMove { from: m.from.to_string(), to: m.to.to_string(), share: m.share });
    Forecast { moves: moves.collect(), before: total.before.map(latency), after: total.after.map(latency), warnings: report.warnings() }
}

/// What to be warned of when one region after the other is lost while every instance is healthy; nothing, where there are not two regions.
/// `go_on` is asked before each.
pub(super) fn warnings(control: &Control, clients: impl Iterator<Item = (u64, u32)>, go_on: impl Fn() -> bool) -> Vec<String> {
    // An error: a policy that is not in force anyway, and was complained about.
    let Ok(losses) = control.losses(true) else { return Vec::new() };
    if losses.regions.len() < 2 {
        return Vec::new();
    }
    let population = Population::observed(clients, &losses.before().origins);
    let population = losses.thinned(population, DecidedName::count(losses.before()));
    let (mut warnings, mut more) = (Vec::new(), 0);
    for loss in losses.regions.iter().take_while(|_| go_on()) {
        let (found, beyond) = loss.warnings(&population, MOST_WARNINGS);
        warnings.extend(found);
        more += beyond;
    }
    more += warnings.len().saturating_sub(MOST_WARNINGS);
    if more > 0 {
        warnings.truncate(MOST_WARNINGS);
        warnings.push(format!("and {more} more of this kind; `signpost simulate` tells all"));
    }
    warnings
}

/// Brings those warnings to the log, in the background, until the server stops.
pub(super) fn warn(control: &Control, clients: Clients, ready: watch::Receiver<bool>) {
    let control = control.clone();
    tokio::task::spawn_blocking(move || {
        for warning in warnings(&control, clients().into_iter(), || *ready.borrow()) {
            tracing::warn!("{warning}");
        }
    });
}
