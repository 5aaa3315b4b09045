//! When zones are looked at for changes: those that are copied as they stand, and those of which something is rendered.
//!
//! A zone that stands as it did is not looked at, so what a change costs is that zone's alone: it rests by itself. What is rendered depends on
//! health, and is made anew of whatever changed: all of it rests together, so that however many zones there are and however long each takes, it
//! has its share of the time and no more. Neither makes the other wait.

use std::time::{Duration, Instant};

use crate::model::Generation;

/// The part of the time that looking at a zone, and rendering all that is rendered, may take: one of so many.
const SHARE: u32 = 20;
/// Nothing rests longer, however slow the machine was meanwhile.
const LONGEST: Duration = Duration::from_secs(300);

/// What is served: the snapshot, and how many of its zones are transferred.
pub(super) type Served = (Generation, usize);

/// What was looked at, and when more may be.
#[derive(Debug)]
pub(super) struct Looks {
    standing: Option<Served>,
    rendered: Option<Served>,
    next_rendering: Instant,
}

impl Looks {
    pub fn begin(now: Instant) -> Looks {
        Looks { standing: None, rendered: None, next_rendering: now }
    }

    /// Whether zones as they stand are to be looked at.
    pub fn are_due(&self, served: Served) -> bool {
        self.standing != Some(served)
    }

    /// Zones as they stand were looked at; `some_rest`: some have changed again too soon.
    pub fn looked(&mut self, served: Served, some_rest: bool) {
        self.standing = Some(served).filter(|_| !some_rest);
    }

    /// Whether what is rendered is to be rendered.
    pub fn is_rendering_due(&self, served: Served, now: Instant) -> bool {
        self.rendered != Some(served) && self.next_rendering <= now
    }

    /// It was, in the time from `began` to `now`.
    pub fn rendered(&mut self, served: Served, began: Instant, now: Instant) {
        (self.rendered, self.next_rendering) = (Some(served), rest(began, now));
    }
}

/// Until when rests what took from `began` to `now`.
pub(super) fn rest(began: Instant, now: Instant) -> Instant {
    now + now.saturating_duration_since(began).saturating_mul(SHARE).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rendered_rests_and_what_stands_does_not_wait_for_it() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut looks = Looks::begin(begin);
        let first = (Generation(1), 3);
        assert!(looks.are_due(first) && looks.is_rendering_due(first, begin));
        looks.looked(first, false);
        looks.rendered(first, begin, at(2_000));
        assert!(!looks.are_due(first) && !looks.is_rendering_due(first, at(900_000)), "nothing has changed");
        let next = (Generation(2), 3);
        assert!(looks.are_due(next));
        assert!(!looks.is_rendering_due(next, at(41_999)) && looks.is_rendering_due(next, at(42_000)));
        looks.looked(next, true);
        assert!(looks.are_due(next), "one of them rests, and is looked at again");
        looks.looked(next, false);
        assert!(!looks.are_due(next) && looks.are_due((Generation(2), 4)), "one more is transferred");
        assert_eq!(rest(begin, at(60_000)), at(360_000));
    }
}
