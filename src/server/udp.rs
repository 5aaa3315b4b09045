//! The UDP path: one thread, one socket, one loop.

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::snapshot::Publisher;
use crate::wire::{self, Outcome, Punt, Query, Transport, Worker};

use super::slow::{Punted, Punts};
use super::socket::{Batch, Datagrams};
use super::{Answer, now_ms};

/// Rest after an error that the socket should not give, lest the loop spins.
const REST: Duration = Duration::from_millis(10);

/// Where the queries go that cannot be answered at once.
pub(super) struct Aside {
    pub(super) punts: Arc<Punts>,
    /// The worker that answers them again.
    pub(super) worker: Arc<Mutex<Worker>>,
}

/// Answers until `stopping`. Whatever a query does, the worker lives on: a panic, which no query should cause, costs that query its answer.
pub(super) fn run(
    datagrams: &Arc<Datagrams>,
    publisher: &Publisher,
    mut worker: Worker,
    aside: &Aside,
    stopping: &AtomicBool,
    answer: &impl Answer,
) {
    let mut batch = Batch::new(datagrams);
    while !stopping.load(Ordering::Relaxed) {
        let looped = catch_unwind(AssertUnwindSafe(|| {
            // What a panic left of a batch comes first.
            while batch.is_open() || !stopping.load(Ordering::Relaxed) {
                let is_left = batch.is_open();
                if is_left || receive(&mut batch, datagrams) {
                    answer_all(&mut batch, is_left, publisher, &mut worker, (aside, datagrams), answer);
                    batch.send(datagrams);
                }
            }
        }));
        if looped.is_err() {
            tracing::error!("answering a query over UDP failed; it stays unanswered and the worker goes on");
        }
    }
}

/// Waits for queries; whether any came.
#[inline]
fn receive(batch: &mut Batch, datagrams: &Datagrams) -> bool {
    match batch.receive(datagrams) {
        Ok(received) => received > 0,
        Err(error) => {
            tracing::warn!(%error, "receiving over UDP failed; trying again");
            std::thread::sleep(REST);
            false
        }
    }
}

/// Answers what is left of a batch, all of it from one snapshot and at one time. The snapshot is let go before anything is sent or waited for.
/// What a panic left is not looked ahead for: were it that which panicked, no query of the batch would ever be taken.
#[inline]
fn answer_all(
    batch: &mut Batch,
    is_left: bool,
    publisher: &Publisher,
    worker: &mut Worker,
    aside: (&Aside, &Arc<Datagrams>),
    answer: &impl Answer,
) {
    let snapshot = publisher.load();
    let now_ms = now_ms();
    aside.1.expect_payload(snapshot.dns.udp_payload);
    if !is_left {
        wire::look_ahead(&snapshot, worker, batch.waiting());
    }
    while let Some(taken) = batch.take() {
        if !can_be_answered(taken.peer) {
            continue;
        }
        let query = Query { bytes: taken.query, peer: taken.peer, transport: Transport::Udp, now_ms };
        match answer(&snapshot, worker, &query, taken.reply) {
            Outcome::Reply(length) => batch.reply(length),
            Outcome::Drop => {}
            Outcome::Punt(why) => {
                let punted = punted(&query, worker, why);
                aside.0.punts.datagram(punted, aside.1, batch.back(), &aside.0.worker);
            }
        }
    }
}

/// What the slow path needs to know of the query that `worker` answered last.
#[cold]
pub(super) fn punted(query: &Query<'_>, worker: &Worker, why: Punt) -> Punted {
    let Query { bytes, peer, transport, now_ms } = *query;
    Punted { query: bytes.to_vec(), peer, transport, now_ms, draw: worker.drawn(), why }
}

/// Whether a reply could go back to where a datagram says it comes from. Port 0 is nobody's (RFC 6335 §6), and what comes from all, many or no
/// hosts is forged: the kernel drops most of it, and sends to no host as if that were this one.
fn can_be_answered(peer: SocketAddr) -> bool {
    let host = match peer.ip().to_canonical() {
        IpAddr::V4(v4) => !(v4.is_broadcast() || v4.is_multicast() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_multicast() || v6.is_unspecified()),
    };
    host && peer.port() != 0
}

#[cfg(test)]
mod tests {
    #[test]
    fn nobody_in_particular_is_not_answered() {
        let cases = [
            ("192.0.2.1:53", true),
            ("[2001:db8::1]:1", true),
            ("192.0.2.1:0", false),
            ("[2001:db8::1]:0", false),
            ("255.255.255.255:53", false),
            ("224.0.0.251:5353", false),
            ("0.0.0.0:53", false),
            ("[ff02::fb]:5353", false),
            ("[::]:53", false),
            ("[::ffff:224.0.0.1]:53", false),
        ];
        for (peer, answered) in cases {
            assert_eq!(super::can_be_answered(peer.parse().unwrap()), answered, "{peer}");
        }
    }
}
