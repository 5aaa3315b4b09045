//! When a zone is looked at again: the SOA's refresh, retry and expire (RFC 1034 §4.3.5), on the caller's clock.
//!
//! ```text
//!            ┌─────── refresh ───────┐
//!            ▼                       │ the serial is known, or a copy was taken
//!   due ─▶ asked ────────────────────┤
//!    ▲       │ no primary answers    │
//!    │       └──── retry ────────────┘
//!    └ NOTIFY           … and since the last good answer: expire ─▶ expired, until the next good one
//! ```

use crate::model::Timestamp;
use std::time::Duration;

/// The numbers of an SOA that say when to come back, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
}

/// Less would be a flood, whatever a zone says.
const SHORTEST: u32 = 2;
/// A month: more would be never.
const LONGEST: u32 = 28 * 86_400;
/// Before there is any SOA: the first retry, and the longest, to which it doubles.
const FIRST_RETRY: u32 = 5;
const LAST_RETRY: u32 = 600;

/// When to ask again, and until when what is known holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timer {
    terms: Option<Terms>,
    /// When a primary last said that what is known is current.
    confirmed: Timestamp,
    next: Timestamp,
    /// Failures in a row.
    failures: u32,
}

impl Timer {
    /// Nothing is known, or of a copy from before a start: what it says, and when it was last confirmed. Due at once, somewhat spread.
    pub fn new(known: Option<(Terms, Timestamp)>, now: Timestamp, jitter: u64) -> Timer {
        let spread = if known.is_some() { jitter % 1_000 } else { 0 };
        let (terms, confirmed) = known.map_or((None, now), |(terms, confirmed)| (Some(terms), confirmed));
        Timer { terms, confirmed, next: now.plus(Duration::from_millis(spread)), failures: 0 }
    }

    /// A primary answered: what is known now is current.
    pub fn confirm(&mut self, terms: Terms, now: Timestamp, jitter: u64) {
        (self.terms, self.confirmed, self.failures) = (Some(terms), now, 0);
        self.next = now.plus(spread(terms.refresh, jitter));
    }

    /// No primary answered, or not with anything that could be taken.
    pub fn fail(&mut self, now: Timestamp, jitter: u64) {
        let retry = match self.terms {
            Some(terms) => terms.retry,
            None => FIRST_RETRY.saturating_mul(1 << self.failures.min(10)).min(LAST_RETRY),
        };
        self.failures = self.failures.saturating_add(1);
        self.next = now.plus(spread(retry, jitter));
    }

    /// A primary says that there is something new (RFC 1996 §3.11).
    pub fn notify(&mut self, now: Timestamp) {
        self.next = self.next.min(now);
    }

    /// When to ask next.
    pub fn next(&self) -> Timestamp {
        self.next
    }

    /// When what is known is good for nothing any more, unless it is confirmed; `None`: nothing is known.
    pub fn expires(&self) -> Option<Timestamp> {
        self.terms.map(|terms| self.confirmed.plus(Duration::from_secs(terms.expire.max(terms.refresh).max(SHORTEST).into())))
    }

    /// Whether it is not to be answered from any more.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }

    /// When a primary last said that what is known is current.
    pub fn confirmed(&self) -> Timestamp {
        self.confirmed
    }
}

/// A period less up to a quarter of it, so that zones of one primary do not all ask at once.
fn spread(seconds: u32, jitter: u64) -> Duration {
    let millis = u64::from(seconds.clamp(SHORTEST, LONGEST)) * 1_000;
    Duration::from_millis(millis - jitter % (millis / 4 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { refresh: 100, retry: 10, expire: 1_000 };

    #[test]
    fn a_zone_is_looked_at_by_its_own_numbers() {
        let at = |seconds: u64| Timestamp(seconds * 1_000);
        let mut timer = Timer::new(None, at(0), 999);
        assert_eq!((timer.next(), timer.expires()), (at(0), None));
        for expected in [5, 10, 20, 40] {
            timer.fail(at(0), 0);
            assert_eq!(timer.next(), at(expected));
        }
        (0..100).for_each(|_| timer.fail(at(0), 0));
        assert_eq!(timer.next(), at(600));
        timer.confirm(TERMS, at(10), 0);
        assert_eq!((timer.next(), timer.expires()), (at(110), Some(at(1_010))));
        timer.confirm(TERMS, at(10), 25_000);
        assert_eq!(timer.next(), at(85), "a quarter earlier at most");
        timer.fail(at(85), 0);
        assert_eq!((timer.next(), timer.is_expired(at(1_009)), timer.is_expired(at(1_010))), (at(95), false, true));
        timer.notify(at(90));
        assert_eq!(timer.next(), at(90));
        timer.notify(at(91));
        assert_eq!(timer.next(), at(90), "it is due already");
        timer.confirm(TERMS, at(2_000), 0);
        assert!(!timer.is_expired(at(2_000)));
        // An expire below the refresh would have a zone come and go (RFC 1912 §2.2).
        timer.confirm(Terms { expire: 1, ..TERMS }, at(0), 0);
        assert_eq!(timer.expires(), Some(at(100)));
        timer.confirm(Terms { refresh: 0, ..TERMS }, at(0), 0);
        assert_eq!(timer.next(), at(2));
        let old = Timer::new(Some((TERMS, at(0))), at(5_000), 999);
        assert!(old.is_expired(at(5_000)) && old.next() < at(5_001));
    }
}
