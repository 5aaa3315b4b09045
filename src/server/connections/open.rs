//! Those that are open, in the order of their activity: in all, and of each client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use super::Waiting;
use super::stats::ConnectionStats;
use crate::server::order::{Arena, List, Ticket};

/// The links of the lists of all connections.
const AMONG_ALL: usize = 0;

/// The links of the list of one client's connections.
const AMONG_OWN: usize = 1;

/// How many connections are told to go before others may have the lock.
pub(super) const AT_ONCE: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Open {
    pub closed: bool,
    pub all: Arena<Entry>,
    /// Those without an answer so far, the longest idle first.
    new: List,
    /// Those that had answers, the longest idle first.
    answered: List,
    pub by_client: HashMap<IpAddr, List>,
    pub stats: ConnectionStats,
}

/// One open connection as the others see it.
#[derive(Debug)]
pub(super) struct Entry {
    pub client: IpAddr,
    pub answered: bool,
    /// When it was last active: let in, answered, or taking its replies.
    pub active: Instant,
    pub signal: Arc<Signal>,
}

/// What a connection and the others tell each other.
#[derive(Debug)]
pub(super) struct Signal {
    pub close: Notify,
    pub waiting: AtomicU8,
}

impl Open {
    /// The longest idle connection of all, and since when it is.
    pub fn longest_idle(&self) -> Option<(Ticket, Instant)> {
        let first = |list: &List| list.first(&self.all).and_then(|ticket| Some((ticket, self.all.get(ticket)?.active)));
        match (first(&self.new), first(&self.answered)) {
            (Some(new), Some(answered)) => Some(if new.1 <= answered.1 { new } else { answered }),
            (new, answered) => new.or(answered),
        }
    }

    /// Sends one away to make room where there are places for `overall`; whether there was one.
    pub fn displace(&mut self, overall: usize, now: Instant) -> bool {
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
    pub fn first_spare(&mut self, now: Instant, first: impl Fn(&Open) -> Option<Ticket>) -> Option<Ticket> {
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
    pub fn waiting(&self, ticket: Ticket) -> Option<u8> {
        self.all.get(ticket).map(|entry| entry.signal.waiting.load(Ordering::Relaxed))
    }

    pub fn send_away(&mut self, ticket: Ticket) {
        if let Some(entry) = self.leave(ticket) {
            entry.signal.close.notify_one();
        }
    }

    /// Puts a connection at the end of its lists.
    pub fn enlist(&mut self, ticket: Ticket) {
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

    pub fn leave(&mut self, ticket: Ticket) -> Option<Entry> {
        self.delist(ticket);
        let entry = self.all.remove(ticket)?;
        if self.by_client.get(&entry.client).is_some_and(|own| own.len() == 0) {
            self.by_client.remove(&entry.client);
        }
        Some(entry)
    }

    pub fn touch(&mut self, ticket: Ticket, now: Instant) {
        self.delist(ticket);
        if let Some(entry) = self.all.get_mut(ticket) {
            (entry.active, entry.answered) = (now, true);
        }
        self.enlist(ticket);
    }
}
