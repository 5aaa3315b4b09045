//! Heartbeats: kept in memory, and renewed without the writer.
//!
//! ```text
//!            no beat for half of `every`        none for all of it                 and none for `deregister_after`
//!   on time ────────────────────────────▶ late ────────────────────▶ missed ─────────────────────────────────────▶ to be deregistered
//!    ▲   └─ beat: renewed here              │                           │
//!    └────── beat: news, through the writer; so is the first beat after a restart (unsure)
//! ```
//!
//! While an instance is on time, its last beat is younger than half of the period: for the other half, at least, it cannot turn. That
//! is what answers say in their TTL ([`crate::model::Vitals::is_steady`]); from then on, until it beats, they say the least TTL.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{InstanceKey, Timestamp};

/// Locks are spread over so many parts, so that beats seldom meet.
const SHARDS: usize = 16;

/// All instances with a heartbeat.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    shards: [Mutex<HashMap<InstanceKey, Beat>>; SHARDS],
    hasher: RandomState,
}

/// One instance's heartbeat.
#[derive(Debug)]
struct Beat {
    every: Duration,
    /// How long after a missed beat it is deregistered; `None`: never.
    deregister_after: Option<Duration>,
    last: Timestamp,
    rhythm: Rhythm,
    /// The deadline that the core will look at; an earlier one that was given out before is void.
    deadline: Option<Timestamp>,
}

/// How an instance beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rhythm {
    /// Its last beat is younger than half of `every`.
    OnTime,
    /// Its last beat is older than that, and younger than `every`.
    Late,
    /// Known from before a restart; a beat will confirm it.
    Unsure,
    /// Its beats stopped.
    Missed,
}

/// What a beat came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// As expected; nothing else is to be done.
    Renewed,
    /// The instance's health changes: the writer must know.
    News,
    /// No heartbeat is expected.
    Unknown,
}

/// What a deadline came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lapse {
    /// It has beaten since, or this deadline is void.
    None,
    /// Half of the period has passed without a beat.
    Late,
    /// Its beats have just stopped.
    Missed,
    /// They stopped so long ago that it is to be deregistered.
    Overdue,
}

impl Heartbeats {
    /// Expects beats from now on. Returns when to look next, unless a look is planned already.
    pub fn start(
        &self,
        key: &InstanceKey,
        every: Duration,
        deregister_after: Option<Duration>,
        rhythm: Rhythm,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut shard = self.shard(key);
        let beat = shard.entry(key.clone()).or_insert(Beat { every, deregister_after, last: now, rhythm, deadline: None });
        (beat.every, beat.deregister_after, beat.last, beat.rhythm) = (every, deregister_after, now, rhythm);
        beat.plan()
    }

    /// Expects no beats any more.
    pub fn stop(&self, key: &InstanceKey) {
        self.shard(key).remove(key);
    }

    /// Takes a beat.
    pub fn renew(&self, key: &InstanceKey, now: Timestamp) -> Renewal {
        match self.shard(key).get_mut(key) {
            None => Renewal::Unknown,
            Some(beat) if beat.rhythm == Rhythm::OnTime => {
                beat.last = beat.last.max(now);
                Renewal::Renewed
            }
            Some(_) => Renewal::News,
        }
    }

    /// Takes a beat that the writer has taken note of. Returns when to look next, unless a look is planned already.
    pub fn resume(&self, key: &InstanceKey, now: Timestamp) -> Option<Timestamp> {
        let mut shard = self.shard(key);
        let beat = shard.get_mut(key)?;
        (beat.last, beat.rhythm) = (now, Rhythm::OnTime);
        beat.plan()
    }

    /// Looks at an instance whose deadline `at` has come. Returns also when to look next.
    pub fn look(&self, key: &InstanceKey, at: Timestamp, now: Timestamp) -> (Lapse, Option<Timestamp>) {
        let mut shard = self.shard(key);
        let Some(beat) = shard.get_mut(key).filter(|beat| beat.deadline == Some(at)) else { return (Lapse::None, None) };
        beat.deadline = None;
        let lapse = match (beat.rhythm, beat.due()) {
            (_, None) => Lapse::None,
            (_, Some(due)) if due > now => Lapse::None,
            (Rhythm::Missed, _) => Lapse::Overdue,
            (Rhythm::OnTime, _) if beat.missed() > now => {
                beat.rhythm = Rhythm::Late;
                Lapse::Late
            }
            (Rhythm::OnTime | Rhythm::Late | Rhythm::Unsure, _) => {
                beat.rhythm = Rhythm::Missed;
                Lapse::Missed
            }
        };
        // An overdue one is looked at again when it was not deregistered.
        let next = if lapse == Lapse::Overdue { None } else { beat.plan() };
        (lapse, next)
    }

    /// Plans another look at an overdue instance that could not be deregistered.
    pub fn postpone(&self, key: &InstanceKey, until: Timestamp) -> Option<Timestamp> {
        let mut shard = self.shard(key);
        let beat = shard.get_mut(key).filter(|beat| beat.deadline.is_none())?;
        beat.deadline = Some(until);
        beat.deadline
    }

    /// Whether an instance is to be deregistered, unless it has beaten since.
    pub fn is_overdue(&self, key: &InstanceKey, now: Timestamp) -> bool {
        self.shard(key).get(key).is_some_and(|beat| beat.rhythm == Rhythm::Missed && beat.due().is_some_and(|due| due <= now))
    }

    fn shard(&self, key: &InstanceKey) -> MutexGuard<'_, HashMap<InstanceKey, Beat>> {
        let number = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beat {
    /// When its state changes unless it beats.
    fn due(&self) -> Option<Timestamp> {
        match self.rhythm {
            Rhythm::OnTime => Some(self.last.plus(self.every / 2)),
            Rhythm::Late | Rhythm::Unsure => Some(self.missed()),
            Rhythm::Missed => Some(self.missed().plus(self.deregister_after?)),
        }
    }

    /// When it is missed unless it beats.
    fn missed(&self) -> Timestamp {
        self.last.plus(self.every)
    }

    /// Plans a look for when its state changes; `None`: one no later is planned already.
    fn plan(&mut self) -> Option<Timestamp> {
        let due = self.due()?;
        if self.deadline.is_some_and(|planned| planned <= due) {
            return None;
        }
        self.deadline = Some(due);
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Label;

    #[test]
    fn a_beat_renews_and_a_missed_one_is_news() {
        let key = InstanceKey { service: Label::parse("web").unwrap(), id: Label::parse("a").unwrap() };
        let at = |seconds: u64| Timestamp(seconds * 1000);
        let beats = Heartbeats::default();
        assert_eq!(beats.renew(&key, at(0)), Renewal::Unknown);
        let (every, after) = (Duration::from_secs(10), Some(Duration::from_secs(60)));
        assert_eq!(beats.start(&key, every, after, Rhythm::OnTime, at(0)), Some(at(5)));
        assert_eq!(beats.start(&key, every, after, Rhythm::OnTime, at(1)), None, "a look is planned already");
        assert_eq!(beats.renew(&key, at(4)), Renewal::Renewed);
        assert_eq!(beats.look(&key, at(5), at(5)), (Lapse::None, Some(at(9))));
        assert_eq!(beats.look(&key, at(5), at(9)), (Lapse::None, None), "a void deadline");
        assert_eq!(beats.look(&key, at(9), at(9)), (Lapse::Late, Some(at(14))));
        assert_eq!(beats.renew(&key, at(10)), Renewal::News, "answers show that it was late");
        assert_eq!(beats.resume(&key, at(10)), None, "a look is planned already");
        assert_eq!(beats.look(&key, at(14), at(14)), (Lapse::None, Some(at(15))));
        assert_eq!(beats.look(&key, at(15), at(15)), (Lapse::Late, Some(at(20))));
        assert_eq!(beats.look(&key, at(20), at(20)), (Lapse::Missed, Some(at(80))));
        assert_eq!(beats.renew(&key, at(25)), Renewal::News);
        assert!(!beats.is_overdue(&key, at(79)));
        assert_eq!(beats.resume(&key, at(25)), Some(at(30)));
        assert_eq!(beats.look(&key, at(80), at(80)), (Lapse::None, None), "planned before it resumed");
        // Looked at too late to be late.
        assert_eq!(beats.look(&key, at(30), at(36)), (Lapse::Missed, Some(at(95))));
        assert_eq!(beats.look(&key, at(95), at(95)), (Lapse::Overdue, None));
        assert!(beats.is_overdue(&key, at(95)));
        assert_eq!(beats.postpone(&key, at(96)), Some(at(96)));
        assert_eq!(beats.look(&key, at(96), at(96)), (Lapse::Overdue, None));
        beats.stop(&key);
        assert!(!beats.is_overdue(&key, at(100)));
    }
}
