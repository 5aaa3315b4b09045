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

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::order::{Arena, List, Ticket};

/// The links of the lists of all connections.
const AMONG_ALL: usize = 0;

/// The links of the list of one client's connections.
const AMONG_OWN: usize = 1;

/// How many connections are told to go before others may have the lock.
const AT_ONCE: usize = 256;

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

/// How connections fare, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionStats {
    /// Open now.
    pub open: usize,
    /// Accepted since the start.
    pub accepted: u64,
    /// Closed as the longest idle one to make room for another (`tcp_connections`, or no file descriptors left).
    pub displaced: u64,
    /// Closed as the longest idle one of a client that opened more than its share (`tcp_per_client`).
    pub displaced_by_own: u64,
    /// Closed because nothing came for `tcp_idle`.
    pub idle: u64,
    /// Closed because a query was begun and not all of it came within `tcp_idle`.
    pub slow_read: u64,
    /// Closed because the client did not take its replies within `tcp_idle`.
    pub slow_write: u64,
    /// TLS and QUIC handshakes that failed.
    pub handshakes_failed: u64,
    /// TLS and QUIC handshakes that took too long.
    pub handshakes_timed_out: u64,
    /// QUIC clients that were asked to show that their address is theirs before anything was done for them (RFC 9000 §8.1.2).
    pub retries: u64,
}

/// How a handshake ended that came to nothing, or was not begun yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeEnd {
    /// The client's fault or ours.
    Failed,
    /// Not done in time.
    TimedOut,
    /// To be begun again with a token.
    Retried,
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

#[derive(Debug, Default)]
struct Open {
    closed: bool,
    all: Arena<Entry>,
    /// Those without an answer so far, the longest idle first.
    new: List,
    /// Those that had answers, the longest idle first.
    answered: List,
    by_client: HashMap<IpAddr, List>,
    stats: ConnectionStats,
}

/// One open connection as the others see it.
#[derive(Debug)]
struct Entry {
    client: IpAddr,
    answered: bool,
    /// When it was last active: let in, answered, or taking its replies.
    active: Instant,
    signal: Arc<Signal>,
}

/// What a connection and the others tell each other.
#[derive(Debug)]
struct Signal {
    close: Notify,
    waiting: AtomicU8,
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

impl Open {
    /// The longest idle connection of all, and since when it is.
    fn longest_idle(&self) -> Option<(Ticket, Instant)> {
        let first = |list: &List| list.first(&self.all).and_then(|ticket| Some((ticket, self.all.get(ticket)?.active)));
        match (first(&self.new), first(&self.answered)) {
            (Some(new), Some(answered)) => Some(if new.1 <= answered.1 { new } else { answered }),
            (new, answered) => new.or(answered),
        }
    }

    /// Sends one away to make room where there are places for `overall`; whether there was one.
    fn displace(&mut self, overall: usize, now: Instant) -> bool {
        let first = |open: &Open| {
            let mostly_new = open.new.len() >= overall / 2;
            let new = open.new.first(&open.all).filter(|_| mostly_new);
            new.or_else(|| open.longest_idle().map(|(ticket, _)| ticket))
        };
        let Some(displaced) = self.first_spare(now, first) else { return false };
        self.send_away(displaced);
        self.stats.displaced += 1;
        true
    }

    /// The connection that `first` gives, passing over those that wait for us, which count as active now. Where they are very many one of them
    /// has to go.
    fn first_spare(&mut self, now: Instant, first: impl Fn(&Open) -> Option<Ticket>) -> Option<Ticket> {
        for _ in 0..AT_ONCE {
            let ticket = first(self)?;
            if self.waiting(ticket) != Some(Waiting::ForReply as u8) {
                return Some(ticket);
            }
            self.touch(ticket, now);
        }
        first(self)
    }

    /// What a connection waits for.
    fn waiting(&self, ticket: Ticket) -> Option<u8> {
        self.all.get(ticket).map(|entry| entry.signal.waiting.load(Ordering::Relaxed))
    }

    fn send_away(&mut self, ticket: Ticket) {
        if let Some(entry) = self.leave(ticket) {
            entry.signal.close.notify_one();
        }
    }

    /// Puts a connection at the end of its lists.
    fn enlist(&mut self, ticket: Ticket) {
        let Some(Entry { client, answered, .. }) = self.all.get(ticket) else { return };
        let own = self.by_client.entry(*client).or_default();
        let list = if *answered { &mut self.answered } else { &mut self.new };
        list.push(&mut self.all, AMONG_ALL, ticket);
        own.push(&mut self.all, AMONG_OWN, ticket);
    }

    /// Takes a connection out of its lists. Its client stays on record, be it without any.
    fn delist(&mut self, ticket: Ticket) {
        let Some(Entry { client, answered, .. }) = self.all.get(ticket) else { return };
        let own = self.by_client.get_mut(client);
        let list = if *answered { &mut self.answered } else { &mut self.new };
        list.remove(&mut self.all, AMONG_ALL, ticket);
        if let Some(own) = own {
            own.remove(&mut self.all, AMONG_OWN, ticket);
        }
    }

    fn leave(&mut self, ticket: Ticket) -> Option<Entry> {
        self.delist(ticket);
        let entry = self.all.remove(ticket)?;
        if self.by_client.get(&entry.client).is_some_and(|own| own.len() == 0) {
            self.by_client.remove(&entry.client);
        }
        Some(entry)
    }

    fn touch(&mut self, ticket: Ticket, now: Instant) {
        self.delist(ticket);
        if let Some(entry) = self.all.get_mut(ticket) {
            (entry.active, entry.answered) = (now, true);
        }
        self.enlist(ticket);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections whose clock is turned by hand, and who of them is still in.
    struct House {
        connections: Arc<Connections>,
        begin: Instant,
        places: Vec<Place>,
    }

    impl House {
        fn new(overall: usize, per_client: usize) -> House {
            let limits = Limits { overall, per_client, idle: Duration::from_millis(1000) };
            House { connections: Arc::new(Connections::new(limits)), begin: Instant::now(), places: Vec::new() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.begin + Duration::from_millis(ms)
        }

        fn enter(&mut self, client: &str, ms: u64) {
            let place = self.connections.enter(client.parse().unwrap(), self.at(ms)).unwrap();
            self.places.push(place);
        }

        fn inside(&self) -> Vec<usize> {
            let open = self.connections.lock();
            self.places.iter().enumerate().filter(|(_, p)| open.all.get(p.ticket).is_some()).map(|(n, _)| n).collect()
        }
    }

    #[test]
    fn one_host_is_one_client_whatever_its_addresses() {
        // Each in turn, with who is left when there is one connection for each client.
        let mut house = House::new(9, 1);
        let steps: [(&str, &[usize]); 6] = [
            ("2001:db8::1", &[0]),
            ("2001:db8::2", &[1]),
            ("2001:db8:0:1::1", &[1, 2]),
            ("192.0.2.1", &[1, 2, 3]),
            ("::ffff:192.0.2.1", &[1, 2, 4]),
            ("192.0.2.2", &[1, 2, 4, 5]),
        ];
        for (client, inside) in steps {
            house.enter(client, 0);
            assert_eq!(house.inside(), inside, "{client}");
        }
    }

    #[test]
    fn a_full_house_displaces_the_longest_idle_and_a_greedy_client_its_own() {
        let mut house = House::new(4, 2);
        for (client, ms) in [("192.0.2.1", 0), ("192.0.2.1", 10), ("192.0.2.2", 20), ("192.0.2.3", 30)] {
            house.enter(client, ms);
        }
        for (n, ms) in [(2, 40), (0, 50), (3, 60)] {
            house.places[n].touch(house.at(ms));
        }
        house.places[1].touch(house.at(70));
        house.enter("192.0.2.1", 80);
        assert_eq!(house.inside(), [1, 2, 3, 4], "the longest idle of its own, though another is so for longer");
        house.enter("192.0.2.4", 90);
        assert_eq!(house.inside(), [1, 3, 4, 5], "the longest idle of all");
        let stats = house.connections.stats();
        assert_eq!((stats.open, stats.accepted, stats.displaced, stats.displaced_by_own), (4, 6, 1, 1));
        // Dropping a displaced place does not count twice.
        house.places.clear();
        assert_eq!(house.connections.stats().open, 0);
        assert!(house.connections.lock().by_client.is_empty());
        assert!(!house.connections.make_room(house.begin));
    }

    #[test]
    fn those_who_never_ask_displace_each_other_and_not_those_who_did() {
        let mut house = House::new(8, 100);
        for n in 0..4 {
            house.enter("192.0.2.1", n);
            house.places[n as usize].touch(house.at(n));
        }
        // A storm of silent connections, all of them after the last of those answers.
        (0..1000).for_each(|n| house.enter("192.0.2.2", 10 + n));
        assert_eq!(house.inside(), [0, 1, 2, 3, 1000, 1001, 1002, 1003]);
        // While they are not the most, the longest idle goes: they do not displace each other before they could ask.
        house.places[1000].touch(house.at(2000));
        house.enter("192.0.2.3", 2000);
        assert_eq!(house.inside(), [1, 2, 3, 1000, 1001, 1002, 1003, 1004]);
        house.enter("192.0.2.3", 2001);
        assert_eq!(house.inside(), [1, 2, 3, 1000, 1002, 1003, 1004, 1005], "five of eight would be new");
    }

    #[test]
    fn time_is_up_after_the_idle_time_and_sooner_in_a_full_house() {
        let mut house = House::new(6, 100);
        for n in 0..3 {
            house.enter("192.0.2.1", n);
        }
        for (n, waiting) in [Waiting::ForRest, Waiting::ToWrite, Waiting::ForQuery].into_iter().enumerate() {
            house.places[n].waits(waiting);
        }
        let expire = |house: &House, ms| {
            assert!(!house.connections.expire(house.at(ms)));
            let stats = house.connections.stats();
            (house.inside(), [stats.idle, stats.slow_read, stats.slow_write])
        };
        assert_eq!(expire(&house, 999), (vec![0, 1, 2], [0, 0, 0]));
        assert_eq!(expire(&house, 1000), (vec![1, 2], [0, 1, 0]));
        house.places[2].touch(house.at(1000));
        assert_eq!(expire(&house, 1999), (vec![2], [0, 1, 1]), "time runs from the last activity");
        (0..3).for_each(|_| house.enter("192.0.2.1", 2000));
        assert_eq!(expire(&house, 2000), (vec![3, 4, 5], [1, 1, 1]));
        house.enter("192.0.2.1", 2001);
        assert_eq!(expire(&house, 2249), (vec![3, 4, 5, 6], [1, 1, 1]));
        assert_eq!(expire(&house, 2251), (vec![4, 5, 6], [2, 1, 1]), "half of the places is not more than half of them");
        assert_eq!(expire(&house, 3001), (vec![], [5, 1, 1]));
    }

    #[test]
    fn who_waits_for_us_is_not_sent_away_while_others_can_be() {
        let mut house = House::new(3, 2);
        for (client, ms) in [("192.0.2.1", 0), ("192.0.2.1", 10), ("192.0.2.2", 20)] {
            house.enter(client, ms);
        }
        house.places[0].waits(Waiting::ForReply);
        house.enter("192.0.2.1", 30);
        assert_eq!(house.inside(), [0, 2, 3], "its own, that does not wait");
        house.places[2].waits(Waiting::ForReply);
        house.enter("192.0.2.3", 40);
        assert_eq!(house.inside(), [0, 2, 4], "of all");
        house.places[4].waits(Waiting::ForReply);
        house.enter("192.0.2.4", 50);
        assert_eq!(house.inside().len(), 3, "somebody goes all the same");
        house.places.iter().take(5).for_each(|place| place.waits(Waiting::ForReply));
        assert!(!house.connections.expire(house.at(5000)));
        assert_eq!(house.inside().len(), 2, "the last one that came does not wait");
        house.places.iter().for_each(|place| place.waits(Waiting::ForQuery));
        assert!(!house.connections.expire(house.at(5249)));
        assert_eq!(house.inside().len(), 2, "time runs from the reply");
        assert!(!house.connections.expire(house.at(6000)));
        assert_eq!(house.inside().len(), 0);
    }

    #[test]
    fn a_thousand_are_told_to_go_in_turns() {
        let mut house = House::new(10_000, 10_000);
        (0..1000).for_each(|_| house.enter("192.0.2.1", 0));
        let turns = (0..10).take_while(|_| house.connections.expire(house.at(1000))).count();
        assert_eq!((turns, house.connections.stats().idle), (3, 1000));
    }
}
