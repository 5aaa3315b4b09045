//! The UDP path: one thread, one socket, one loop.

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::snapshot::Publisher;
use crate::wire::{Outcome, Query, Transport, Worker};

use super::socket::Datagrams;
use super::{Answer, now_ms};

/// The largest reply: the upper end of `[dns] udp_payload`.
const LARGEST_REPLY: usize = 4096;

/// The largest datagram there is, so that no query is ever cut before it is read.
const LARGEST_QUERY: usize = 65_535;

/// Rest after an error that the socket should not give, lest the loop spins.
const REST: Duration = Duration::from_millis(10);

/// Answers until `stopping`. Whatever a query does, the worker lives on: a panic, which no query should cause, costs that query its answer.
pub(super) fn run(datagrams: &Datagrams, publisher: &Publisher, mut worker: Worker, stopping: &AtomicBool, answer: &impl Answer) {
    let mut query = vec![0; LARGEST_QUERY];
    let mut reply = vec![0; LARGEST_REPLY];
    while !stopping.load(Ordering::Relaxed) {
        let looped = catch_unwind(AssertUnwindSafe(|| {
            answer_all(datagrams, publisher, &mut worker, stopping, answer, &mut query, &mut reply);
        }));
        if looped.is_err() {
            tracing::error!("answering a query over UDP failed; it stays unanswered and the worker goes on");
        }
    }
}

fn answer_all(
    datagrams: &Datagrams,
    publisher: &Publisher,
    worker: &mut Worker,
    stopping: &AtomicBool,
    answer: &impl Answer,
    query: &mut [u8],
    reply: &mut [u8],
) {
    while !stopping.load(Ordering::Relaxed) {
        let (length, origin) = match datagrams.receive(query) {
            Ok(Some(received)) => received,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "receiving over UDP failed; trying again");
                std::thread::sleep(REST);
                continue;
            }
        };
        if !can_be_answered(origin.peer) {
            continue;
        }
        let asked = Query { bytes: &query[..length], peer: origin.peer, transport: Transport::Udp, now_ms: now_ms() };
        // The guard lives for this statement only: no snapshot is held while the thread waits.
        let outcome = answer(&publisher.load(), worker, &asked, reply);
        match outcome {
            Outcome::Reply(length) => datagrams.send(&reply[..length.min(LARGEST_REPLY)], &origin),
            Outcome::Drop => {}
            Outcome::Punt(never) => match never {},
        }
    }
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
