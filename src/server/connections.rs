//! The TCP connections that are open, and the limits on them (RFC 7766 §6.2.2, §10).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// In all.
    pub(super) overall: usize,
    /// From one client address.
    pub(super) per_client: usize,
}

/// How TCP connections fare, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionStats {
    /// Open now.
    pub open: usize,
    /// Accepted since the start.
    pub accepted: u64,
    /// Closed at once because their client had too many (`tcp_per_client`).
    pub refused: u64,
    /// Closed as the longest idle one to make room for another (`tcp_connections`).
    pub displaced: u64,
}

/// Every open connection of every listen address.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    started: Instant,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    closed: bool,
    next: u64,
    all: HashMap<u64, Arc<Connection>>,
    by_client: HashMap<IpAddr, usize>,
    stats: ConnectionStats,
}

/// One open connection as the others see it.
#[derive(Debug)]
struct Connection {
    client: IpAddr,
    /// Milliseconds from the start of the server to its last answer, or to its beginning.
    active: AtomicU64,
    close: Notify,
}

/// A connection's place among the open ones, given up when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
    number: u64,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Connections {
        Connections { limits, started: Instant::now(), open: Mutex::default() }
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        let open = self.lock();
        ConnectionStats { open: open.all.len(), ..open.stats }
    }

    /// A place for a connection from `client`; `None` where that client has its share already, or all were told to go. Where all places
    /// are taken, the longest idle connection is told to go.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = as_one_client(client);
        let mut open = self.lock();
        if open.closed {
            return None;
        }
        if open.by_client.get(&client).is_some_and(|n| *n >= self.limits.per_client) {
            open.stats.refused += 1;
            return None;
        }
        if open.all.len() >= self.limits.overall {
            let idlest = open.all.iter().min_by_key(|(_, c)| c.active.load(Ordering::Relaxed)).map(|(number, _)| *number);
            if let Some(displaced) = idlest.and_then(|number| open.leave(number)) {
                displaced.close.notify_one();
                open.stats.displaced += 1;
            }
        }
        let connection = Arc::new(Connection { client, active: AtomicU64::new(self.now()), close: Notify::new() });
        let number = open.next;
        open.next += 1;
        open.stats.accepted += 1;
        open.all.insert(number, connection.clone());
        *open.by_client.entry(client).or_default() += 1;
        Some(Place { connections: self.clone(), connection, number })
    }

    /// Tells every connection to go and lets none in any more.
    pub(super) fn close_all(&self) {
        let mut open = self.lock();
        open.closed = true;
        for connection in open.all.values() {
            connection.close.notify_one();
        }
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing that can panic happens under the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn leave(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.all.remove(&number)?;
        if let Some(count) = self.by_client.get_mut(&connection.client) {
            *count -= 1;
            if *count == 0 {
                self.by_client.remove(&connection.client);
            }
        }
        Some(connection)
    }
}

impl Place {
    /// Notes that a query was answered just now.
    pub(super) fn touch(&self) {
        self.connection.active.store(self.connections.now(), Ordering::Relaxed);
    }

    /// Waits until the connection is told to go.
    pub(super) async fn told_to_go(&self) {
        self.connection.close.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().leave(self.number);
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

    #[test]
    fn one_host_is_one_client_whatever_its_addresses() {
        let connections = Arc::new(Connections::new(Limits { overall: 9, per_client: 1 }));
        let enter = |text: &str| connections.enter(text.parse().unwrap());
        let _first = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8::2").is_none());
        let _next = enter("2001:db8:0:1::1").unwrap();
        let _v4 = enter("192.0.2.1").unwrap();
        assert!(enter("::ffff:192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
    }

    #[test]
    fn a_full_house_displaces_the_longest_idle_and_a_greedy_client_is_refused() {
        let connections = Arc::new(Connections::new(Limits { overall: 3, per_client: 2 }));
        let client = |n: u8| IpAddr::from([192, 0, 2, n]);
        let places: Vec<Place> = [1, 1, 2].map(|n| connections.enter(client(n)).unwrap()).into();
        for (place, active) in places.iter().zip([30, 10, 20]) {
            place.connection.active.store(active, Ordering::Relaxed);
        }
        assert!(connections.enter(client(1)).is_none());
        let newest = connections.enter(client(3)).unwrap();
        newest.connection.active.store(40, Ordering::Relaxed);
        let alive: Vec<bool> = (0..4).map(|n| connections.lock().all.contains_key(&n)).collect();
        assert_eq!(alive, [true, false, true, true], "the one that was idle since 10 ms makes room");
        assert_eq!(connections.stats(), ConnectionStats { open: 3, accepted: 4, refused: 1, displaced: 1 });
        // Client 1 has a connection less now, and dropping the displaced place does not count twice.
        drop(places);
        drop(newest);
        assert_eq!(connections.stats().open, 0);
        assert!(connections.lock().by_client.is_empty());
    }
}
