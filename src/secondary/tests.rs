//! Zones that are copied, from a primary of the test's own.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::codec::code::rtype;
use crate::model::Geo;
use crate::store::{Embedded, Engine};

/// The longest wait for anything. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A primary of `x.`, with an address besides its SOA.
async fn primary() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut line, _)) = listener.accept().await {
            // A connection for the SOA, and for the zone behind it.
            while let Ok(length) = line.read_u16().await {
                let mut query = vec![0; length.into()];
                line.read_exact(&mut query).await.unwrap();
                let soa = |id: &[u8], count: u8| [id, &[0x84, 0, 0, 0, 0, count, 0, 0, 0, 0][..], SOA].concat();
                // The name of the question is `x.`.
                let reply = match u16::from_be_bytes([query[15], query[16]]) {
                    rtype::SOA => soa(&query[..2], 1),
                    _ => [&soa(&query[..2], 3), A, SOA].concat(),
                };
                line.write_all(&[&(reply.len() as u16).to_be_bytes()[..], &reply].concat()).await.unwrap();
            }
        }
    });
    address
}

const SOA: &[u8] = b"\x01x\0\0\x06\0\x01\0\0\0\x1e\0\x1d\x02ns\x01x\0\x01h\0\0\0\0\x07\0\0\x0e\x10\0\0\x0e\x10\0\0\x1c\x20\0\0\0\x05";
const A: &[u8] = b"\x01a\x01x\0\0\x01\0\x01\0\0\0\x1e\0\x04\xc0\0\x02\x01";

#[tokio::test]
async fn an_attempt_that_panics_is_a_failure_and_another_follows() {
    let (primary, apex) = (primary().await, Name::parse("x.").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let from = SecondarySettings { primaries: vec![Peer { address: primary, tls: None, key: None }], catalog: false, ca: None };
    let settings = Settings { data_dir: folder.path().into(), secondary: [(apex.clone(), from)].into(), ..Settings::default() };
    // A clock that goes on while the test waits.
    let time = Arc::new(AtomicU64::new(1_700_000_000_000));
    let shown = time.clone();
    let clock: Clock = Arc::new(move || Timestamp(shown.load(Ordering::Relaxed)));
    let engine = Engine::Embedded(Embedded::in_memory().unwrap());
    let control = Control::start(engine, Vec::new(), Geo::default(), settings.dns.clone(), None, clock.clone()).await.unwrap();
    let tried = Arc::new(AtomicUsize::new(0));
    let counted = tried.clone();
    let take: Take = Arc::new(move |arrival| {
        let before = counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            assert!(arrival.text.contains("192.0.2.1"), "{}", arrival.text);
            assert!(before > 0, "the first copy is not to be taken: this panic is the test's own");
            Ok(())
        })
    });
    let (secondaries, task) = start(&settings, control.clone(), clock, take, 7);
    let until = async |what: &str, is_so: &dyn Fn(&SecondaryState) -> bool| {
        let waited = async {
            while !secondaries.states().first().is_some_and(is_so) {
                tokio::time::sleep(Duration::from_millis(10)).await;
                time.fetch_add(10, Ordering::Relaxed);
            }
        };
        let done = tokio::time::timeout(PATIENCE, waited).await;
        assert!(done.is_ok(), "{what}: {:?}", secondaries.states());
    };
    until("the failure is told", &|state| state.failures == 1 && state.failure == "the attempt ended early").await;
    assert_eq!((tried.load(Ordering::Relaxed), secondaries.states()[0].transfers), (1, 0));
    // It would be tried again by itself, in some seconds.
    assert!(secondaries.notify(&apex, primary, None));
    until("the next one is taken", &|state| state.transfers == 1 && state.failure.is_empty()).await;
    assert_eq!((tried.load(Ordering::Relaxed), secondaries.states()[0].failures), (2, 1));
    secondaries.stop();
    tokio::time::timeout(PATIENCE, task.finished()).await.unwrap();
    control.stop().await;
}
