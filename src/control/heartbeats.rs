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

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::keyed::{self, Keyed};
use super::wheel::Wheel;
use crate::model::{InstanceKey, Timestamp};

/// Locks are spread over so many parts, so that beats seldom meet.
const SHARDS: usize = 16;
/// Looks are planned no further ahead; who looks too early looks again.
const AHEAD: Duration = Duration::from_secs(7 * 86_400);

/// All instances with a heartbeat.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {
    shards: [Mutex<Keyed<Beat>>; SHARDS],
    /// Drawn at random: names come from outside.
    hasher: foldhash::quality::RandomState,
    /// When each is to be looked at, by number. Locked behind a shard, never before one.
    wheel: Mutex<Wheel>,
}

/// One instance's heartbeat. A million of them are kept, of 56 octets with their keys: lengths of time are milliseconds, and 0 is none.
#[derive(Debug)]
struct Beat {
    /// See [`Beat::last`]: two halves, the low one first, which stand where eight octets in one would not.
    last: [u32; 2],
    /// The low half of the look that is planned, if one `is_planned`; an earlier one that was planned before is void. Looks are planned so
    /// few days ahead that this tells them apart.
    look: u32,
    is_planned: bool,
    every: u32,
    /// How long after a missed beat it is deregistered; 0: never.
    deregister_after: u32,
    rhythm: Rhythm,
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

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lapse {
    /// Half of the period has passed without a beat.
    Late,
    /// Its beats have just stopped.
    Missed,
    /// They stopped so long ago that it is to be deregistered.
    Overdue,
}

impl Heartbeats {
    /// Expects beats from now on.
    pub fn start(&self, key: &InstanceKey, every: Duration, deregister_after: Option<Duration>, rhythm: Rhythm, now: Timestamp) {
        let millis = |length: Duration| u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
        let (every, deregister_after) = (millis(every), deregister_after.map_or(0, millis));
        let (number, hash) = self.hash(key.service.as_str(), key.id.as_str());
        let mut shard = self.lock(number);
        let place = match shard.find(hash, key.service.as_str(), key.id.as_str()) {
            Some(place) => place,
            None => {
                let (last, look, is_planned) = (halves(now), 0, false);
                let beat = Beat { last, look, is_planned, every, deregister_after, rhythm };
                shard.add(hash, key.clone(), beat, &self.hasher)
            }
        };
        if let Some((_, beat)) = shard.at(place) {
            (beat.every, beat.deregister_after, beat.last, beat.rhythm) = (every, deregister_after, halves(now), rhythm);
            self.plan(number, place, beat, now);
        }
    }

    /// Expects no beats any more.
    pub fn stop(&self, key: &InstanceKey) {
        let (number, hash) = self.hash(key.service.as_str(), key.id.as_str());
        self.lock(number).remove(hash, key);
    }

    /// Takes a beat of the instance with these names, which are in lower case.
    pub fn renew(&self, service: &str, id: &str, now: Timestamp) -> Renewal {
        let (number, hash) = self.hash(service, id);
        let mut shard = self.lock(number);
        match shard.find(hash, service, id).and_then(|place| shard.at(place)) {
            None => Renewal::Unknown,
            Some((_, beat)) if beat.rhythm == Rhythm::OnTime => {
                beat.last = halves(beat.last().max(now));
                Renewal::Renewed
            }
            Some(_) => Renewal::News,
        }
    }

    /// Takes a beat that the writer has taken note of.
    pub fn resume(&self, key: &InstanceKey, now: Timestamp) {
        self.with(key, |number, place, beat| {
            (beat.last, beat.rhythm) = (halves(now), Rhythm::OnTime);
            self.plan(number, place, beat, now);
        });
    }

    /// The next thing that comes of the looks that are planned up to `until`; `now` is no earlier.
    pub fn lapse(&self, until: Timestamp, now: Timestamp) -> Option<(InstanceKey, Lapse)> {
        loop {
            let (at, what) = self.wheel().pop(until)?;
            let (number, place) = (what as usize % SHARDS, what / SHARDS as u32);
            let mut shard = self.lock(number);
            let Some((key, beat)) = shard.at(place).filter(|(_, beat)| beat.is_planned && beat.look == at.0 as u32) else { continue };
            beat.is_planned = false;
            let lapse = match (beat.rhythm, beat.due()) {
                (_, None) => None,
                (_, Some(due)) if due > now => None,
                (Rhythm::Missed, _) => Some(Lapse::Overdue),
                (Rhythm::OnTime, _) if beat.missed() > now => {
                    beat.rhythm = Rhythm::Late;
                    Some(Lapse::Late)
                }
                (Rhythm::OnTime | Rhythm::Late | Rhythm::Unsure, _) => {
                    beat.rhythm = Rhythm::Missed;
                    Some(Lapse::Missed)
                }
            };
            // An overdue one is looked at again when it was not deregistered.
            if lapse != Some(Lapse::Overdue) {
                self.plan(number, place, beat, now);
            }
            if let Some(lapse) = lapse {
                return Some((key.clone(), lapse));
            }
        }
    }

    /// When [`Heartbeats::lapse`] is needed next.
    pub fn next_look(&self) -> Option<Timestamp> {
        self.wheel().next()
    }

    /// Plans another look at an overdue instance that could not be deregistered.
    pub fn postpone(&self, key: &InstanceKey, until: Timestamp) {
        self.with(key, |number, place, beat| {
            if !beat.is_planned {
                self.push(number, place, beat, until);
            }
        });
    }

    /// Whether an instance is to be deregistered, unless it has beaten since.
    pub fn is_overdue(&self, key: &InstanceKey, now: Timestamp) -> bool {
        self.with(key, |_, _, beat| beat.rhythm == Rhythm::Missed && beat.due().is_some_and(|due| due <= now)).unwrap_or(false)
    }

    /// Plans a look for when its state changes, unless one no later is planned already.
    fn plan(&self, number: usize, place: u32, beat: &mut Beat, now: Timestamp) {
        let Some(due) = beat.due().map(|due| due.min(now.plus(AHEAD))) else { return };
        // How far each is ahead, or behind.
        let ahead = |low: u32| low.wrapping_sub(now.0 as u32).cast_signed();
        if !beat.is_planned || ahead(beat.look) > ahead(due.0 as u32) {
            self.push(number, place, beat, due);
        }
    }

    fn push(&self, number: usize, place: u32, beat: &mut Beat, at: Timestamp) {
        (beat.look, beat.is_planned) = (at.0 as u32, true);
        self.wheel().push(at, place * SHARDS as u32 + number as u32);
    }

    fn with<A>(&self, key: &InstanceKey, look: impl FnOnce(usize, u32, &mut Beat) -> A) -> Option<A> {
        let (number, hash) = self.hash(key.service.as_str(), key.id.as_str());
        let mut shard = self.lock(number);
        let place = shard.find(hash, key.service.as_str(), key.id.as_str())?;
        shard.at(place).map(|(_, beat)| look(number, place, beat))
    }

    /// The shard of an instance, and its hash within it.
    fn hash(&self, service: &str, id: &str) -> (usize, u64) {
        let hash = keyed::hash(&self.hasher, service, id);
        // The table uses the ends of the hash.
        ((hash >> 32) as usize % SHARDS, hash)
    }

    fn lock(&self, number: usize) -> MutexGuard<'_, Keyed<Beat>> {
        self.shards[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wheel(&self) -> MutexGuard<'_, Wheel> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two halves of a time, the low one first.
fn halves(at: Timestamp) -> [u32; 2] {
    [at.0 as u32, (at.0 >> 32) as u32]
}

impl Beat {
    /// When it last beat.
    fn last(&self) -> Timestamp {
        Timestamp(u64::from(self.last[0]) | u64::from(self.last[1]) << 32)
    }

    /// When its state changes unless it beats.
    fn due(&self) -> Option<Timestamp> {
        match self.rhythm {
            Rhythm::OnTime => Some(self.last().plus(Duration::from_millis(u64::from(self.every / 2)))),
            Rhythm::Late | Rhythm::Unsure => Some(self.missed()),
            Rhythm::Missed if self.deregister_after == 0 => None,
            Rhythm::Missed => Some(self.missed().plus(Duration::from_millis(self.deregister_after.into()))),
        }
    }

    /// When it is missed unless it beats.
    fn missed(&self) -> Timestamp {
        self.last().plus(Duration::from_millis(self.every.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Label;

    fn key(id: &str) -> InstanceKey {
        InstanceKey { service: Label::parse("web").unwrap(), id: Label::parse(id).unwrap() }
    }

    #[test]
    fn a_beat_renews_and_a_missed_one_is_news() {
        let key = key("a");
        let at = |seconds: u64| Timestamp(seconds * 1000);
        let beats = Heartbeats::default();
        let lapse = |seconds: u64| beats.lapse(at(seconds), at(seconds)).map(|(_, lapse)| lapse);
        assert_eq!(beats.renew("web", "a", at(0)), Renewal::Unknown);
        let (every, after) = (Duration::from_secs(10), Some(Duration::from_secs(60)));
        beats.start(&key, every, after, Rhythm::OnTime, at(0));
        beats.start(&key, every, after, Rhythm::OnTime, at(1));
        assert_eq!(beats.next_look(), Some(at(5)), "a look is planned already");
        assert_eq!(beats.renew("web", "a", at(4)), Renewal::Renewed);
        assert_eq!((lapse(5), beats.next_look()), (None, Some(at(9))));
        assert_eq!(lapse(8), None);
        assert_eq!((lapse(9), lapse(9)), (Some(Lapse::Late), None));
        assert_eq!(beats.renew("web", "a", at(10)), Renewal::News, "answers show that it was late");
        beats.resume(&key, at(10));
        assert_eq!((lapse(14), lapse(15), lapse(20), lapse(20)), (None, Some(Lapse::Late), Some(Lapse::Missed), None));
        assert_eq!((beats.next_look(), beats.renew("web", "a", at(25))), (Some(at(80)), Renewal::News));
        assert!(!beats.is_overdue(&key, at(79)));
        beats.resume(&key, at(25));
        // Looked at too late to be late.
        assert_eq!((lapse(29), lapse(36), lapse(80)), (None, Some(Lapse::Missed), None));
        assert_eq!((lapse(95), lapse(1000)), (Some(Lapse::Overdue), None));
        assert!(beats.is_overdue(&key, at(95)));
        beats.postpone(&key, at(1001));
        assert_eq!((lapse(1000), lapse(1001)), (None, Some(Lapse::Overdue)));
        beats.stop(&key);
        assert!(!beats.is_overdue(&key, at(2000)));
    }

    #[test]
    fn a_place_that_was_left_is_taken_again_and_old_looks_at_it_are_void() {
        let beats = Heartbeats::default();
        let (every, now) = (Duration::from_secs(10), Timestamp(0));
        for round in 0..3_u64 {
            for n in 0..100 {
                beats.start(&key(&format!("r{round}-{n}")), every, None, Rhythm::OnTime, Timestamp(round));
            }
            if round < 2 {
                (0..100).for_each(|n| beats.stop(&key(&format!("r{round}-{n}"))));
                assert_eq!(beats.renew("web", &format!("r{round}-7"), now), Renewal::Unknown);
            }
        }
        let places: usize = (0..SHARDS).map(|number| beats.lock(number).places()).sum();
        assert!(places < 200, "{places} places for a hundred instances");
        let all = |at: u64| std::iter::from_fn(|| beats.lapse(Timestamp(at), Timestamp(at))).collect::<Vec<_>>();
        assert!(all(5001).is_empty(), "those of the instances before them are void");
        let late = all(5002);
        assert!(late.len() == 100 && late.iter().all(|(key, lapse)| key.id.as_str().starts_with("r2-") && *lapse == Lapse::Late));
        // No beats, and nothing that would end it: missed for good.
        assert_eq!((all(10_002).len(), beats.next_look()), (100, None));
    }
}
