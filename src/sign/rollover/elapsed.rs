//! Time that counts for a wait: what passed while somebody watched, since answers were known to show what is waited for, and against the
//! longest TTL that caches may remember.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Due, KeyRecord, Timing, ZoneKeys};
use crate::model::Timestamp;

/// When somebody watched the keys last, and on which clock. A run of a server has one clock, which never jumps; the next has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// A number that no other run has.
    pub run: u64,
    /// When.
    pub seen: Timestamp,
}

/// A TTL that may have been longer: caches remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    seconds: u32,
    before: u32,
    /// Until when caches may hold what was fetched with `before`.
    until: Timestamp,
}

impl ZoneKeys {
    /// Says that answers show the keys as they are here: what waits, waits from now on. Returns whether anything changed.
    pub fn confirm(&mut self, now: Timestamp) -> bool {
        let waiting = self.keys.iter_mut().filter(|key| key.since.is_none());
        waiting.fold(false, |_, key| key.since.replace(now).is_none())
    }

    /// Takes the TTLs as they are now. Returns whether anything changed.
    pub fn observe(&mut self, timing: &Timing, now: Timestamp) -> bool {
        let dnskey = self.dnskey_ttl.set(timing.dnskey_ttl, now);
        self.longest_ttl.set(timing.longest_ttl, now) || dnskey
    }

    /// Says who watches, before this is written down.
    pub fn watch(&mut self, watched: Watched) {
        self.watched = watched;
    }

    /// Goes on after a start, on a clock that shows `now`; `last` is when the run before was last known to watch. What passed since then
    /// counts for nothing, whether no server ran or the clock jumped, so that a wait only grows.
    pub fn resume(&mut self, last: Option<Watched>, now: Watched) {
        // What this document says is of its own run: another run may have written it and died before it said anything else.
        let same = last.filter(|last| last.run == self.watched.run);
        let seen = same.map_or(self.watched.seen, |last| last.seen.max(self.watched.seen));
        let (unseen, now_is) = (now.seen.since(seen), now.seen);
        let gone = self.leaving.iter_mut().filter_map(|leaving| leaving.gone.as_mut());
        for since in self.keys.iter_mut().filter_map(|key| key.since.as_mut()).chain(gone) {
            // Where the clock went back, what lies ahead begins now.
            *since = since.plus(unseen).min(now_is);
        }
        for held in [&mut self.dnskey_ttl, &mut self.longest_ttl] {
            if held.until > seen.min(now_is) {
                held.until = held.until.plus(unseen).min(now_is.plus(Duration::from_secs(held.before.into())));
            }
        }
        self.watched = now;
    }

    /// Whether it makes no difference how much time passes: nothing waits but for somebody's word, and no cache holds anything of before.
    pub fn rests(&self, timing: &Timing) -> bool {
        let waits = |key: &KeyRecord| key.since.is_none() || matches!(self.next_of(key, timing), Some((_, Due::At(_))));
        let held = |held: &Held| held.until > self.watched.seen;
        self.leaving.is_none() && !self.keys.iter().any(waits) && !held(&self.dnskey_ttl) && !held(&self.longest_ttl)
    }
}

impl Held {
    pub(super) fn new(seconds: u32) -> Held {
        Held { seconds, before: seconds, until: Timestamp(0) }
    }

    /// The longest TTL with which anything was fetched that is in caches from `since` on.
    pub(super) fn longest(&self, since: Timestamp) -> Duration {
        let before = if self.until > since { self.before } else { 0 };
        Duration::from_secs(self.seconds.max(before).into())
    }

    pub(super) fn set(&mut self, seconds: u32, now: Timestamp) -> bool {
        if seconds == self.seconds {
            return false;
        }
        let before = if self.until > now { self.before.max(self.seconds) } else { self.seconds };
        (self.seconds, self.before, self.until) = (seconds, before, now.plus(Duration::from_secs(before.into())));
        true
    }
}
