//! The connections that are open, of TCP, TLS and QUIC alike, and the limits on them (RFC 7766 §6.2, §10; RFC 9210 §4.2, §4.3).
//!
//! Nobody is turned away: where a limit is reached, somebody else goes.
//!
//! - All places taken: the longest idle connection goes. Those that have had no answer yet go first while they hold half of the places or more,
//!   so that whoever opens connections and asks nothing displaces others of their kind, not the resolvers that came before; and yet each has
//!   half a house full of time to ask.
//! - A client has its share already (`tcp_per_client`): its own longest idle connection goes. Refusing the new one would lock a client out
//!   whose earlier connections are dead without the server knowing, as after a restart or behind a NAT that forgot them.
//!
//! Time is up for a connection when it was not active for `tcp_idle`, whatever it does meanwhile: nothing, a query in small pieces, or not
//! taking its replies. While more than half of all places are taken it is a quarter of that (RFC 7766 §6.2.3 lets it vary with the load).
//! A connection whose client waits for us counts as active meanwhile; what we have to say takes its time, but not for ever.
//! Connections stand in the order of their activity, so that finding those whose time is up, and whom to displace, costs the same with
//! one and with 100,000 of them.

mod open;
mod stats;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::open::{AT_ONCE, Entry, Open, Signal};
pub use self::stats::ConnectionStats;
pub(super) use self::stats::HandshakeEnd;
use super::order::Ticket;

/// By what the idle time is divided while more than half of the places are taken.
const HURRY: u32 = 4;

/// How many connections there may be, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// In all.
    pub(super) overall: usize,
    /// From one client address.
    pub(super) per_client: usize,
    /// Without activity.
    pub(super) idle: Duration,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Waiting {
    /// A query.
    ForQuery,
    /// The rest of a query.
    ForRest,
    /// The client to take its replies.
    ToWrite,
    /// The slow path: the client waits for us. It is as good as active, and its time begins with the reply.
    ForReply,
}

/// Every open connection of every listen address.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    open: Mutex<Open>,
}

/// A connection's place among the open ones, given up when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    signal: Arc<Signal>,
    ticket: Ticket,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Connections {
        Connections { limits, open: Mutex::default() }
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        let open = self.lock();
        ConnectionStats { open: open.all.len(), ..open.stats }
    }

    /// A place for a connection from `client`, who may displace another; `None` after all were told to go.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr, now: Instant) -> Option<Place> {
        let client = as_one_client(client);
        let mut open = self.lock();
        if open.closed {
            return None;
        }
        let most = self.limits.per_client;
        let own = |open: &Open| open.by_client.get(&client).filter(|list| list.len() >= most)?.first(&open.all);
        if let Some(own) = open.first_spare(now, own) {
            open.send_away(own);
            open.stats.displaced_by_own += 1;
        } else if open.all.len() >= self.limits.overall {
            open.displace(self.limits.overall, now);
        }
        let signal = Arc::new(Signal { close: Notify::new(), waiting: AtomicU8::new(Waiting::ForQuery as u8) });
        let ticket = open.all.insert(Entry { client, answered: false, active: now, signal: signal.clone() });
        open.stats.accepted += 1;
        open.enlist(ticket);
        Some(Place { connections: self.clone(), signal, ticket })
    }

    /// Counts a handshake that came to nothing.
    pub(super) fn count_handshake(&self, end: HandshakeEnd) {
        let stats = &mut self.lock().stats;
        match end {
            HandshakeEnd::Failed => stats.handshakes_failed += 1,
            HandshakeEnd::TimedOut => stats.handshakes_timed_out += 1,
            HandshakeEnd::Retried => stats.retries += 1,
        }
    }

    /// Displaces the longest idle connection though there is room, as where files cannot be opened any more; whether there was one.
    pub(super) fn make_room(&self, now: Instant) -> bool {
        self.lock().displace(self.limits.overall, now)
    }

    /// Tells those to go whose time is up; whether more of them may be left.
    pub(super) fn expire(&self, now: Instant) -> bool {
        let mut open = self.lock();
        for _ in 0..AT_ONCE {
            let hurry = if open.all.len() > self.limits.overall / 2 { HURRY } else { 1 };
            let Some((longest, active)) = open.longest_idle() else { return false };
            if now.saturating_duration_since(active) < self.limits.idle / hurry {
                return false;
            }
            let waiting = open.waiting(longest);
            if waiting == Some(Waiting::ForReply as u8) {
                open.touch(longest, now);
                continue;
            }
            let stats = &mut open.stats;
            match waiting {
                Some(w) if w == Waiting::ToWrite as u8 => stats.slow_write += 1,
                Some(w) if w == Waiting::ForRest as u8 => stats.slow_read += 1,
                _ => stats.idle += 1,
            }
            open.send_away(longest);
        }
        true
    }

    /// Tells every connection to go and lets none in any more.
    pub(super) fn close_all(&self) {
        let mut open = self.lock();
        open.closed = true;
        open.all.iter().for_each(|entry| entry.signal.close.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing that can panic happens under the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes that queries were answered just now, or answers taken.
    pub(super) fn touch(&self, now: Instant) {
        self.connections.lock().touch(self.ticket, now);
    }

    /// Notes what the connection waits for.
    pub(super) fn waits(&self, waiting: Waiting) {
        self.signal.waiting.store(waiting as u8, Ordering::Relaxed);
    }

    /// Whether replies wait for the client to take them.
    pub(super) fn is_writing(&self) -> bool {
        self.signal.waiting.load(Ordering::Relaxed) == Waiting::ToWrite as u8
    }

    /// Waits until the connection is told to go.
    pub(super) async fn told_to_go(&self) {
        self.signal.close.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().leave(self.ticket);
    }
}

/// Who counts as one client: an IPv4 address, or a whole IPv6 /64, which one host has to itself (RFC 4291 §2.5.4).
fn as_one_client(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}
