//! What becomes of an instance that failed: it is held down when it flaps, and warms up when it recovers.
//!
//! ```text
//!   each turn Healthy → Unhealthy:  penalty + 1          halves every 60 s, 16 at most
//!   above 2 at such a turn:         held down            30 s, then 60, 120 … 600 s as long as it does not become quiet
//!   below 0.5:                      quiet                the next hold is 30 s again
//!
//!   each recovery:                  warmth 10 → 100 %    in a straight line, within the service's `slow_start`
//! ```
//!
//! The idea is that of route flap damping (RFC 2439), without its reuse threshold: a hold says when it ends, so that people can be told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// In how long a penalty halves.
pub const PENALTY_HALF_LIFE: Duration = Duration::from_secs(60);
/// The shortest hold; each one in a row is twice as long as the one before it.
pub const FIRST_HOLD: Duration = Duration::from_secs(30);
/// The longest hold.
pub const LONGEST_HOLD: Duration = Duration::from_secs(600);

/// What a turn adds. Penalties are kept in thousandths, so that they compare and are stored exactly.
const TURN: u32 = 1_000;
/// A turn that brings the penalty above it begins a hold.
const LIMIT: u32 = 2_000;
/// Below it the past is forgotten.
const QUIET: u32 = 500;
/// No penalty is larger: whatever it did, an instance is quiet after five half-lives without a turn.
const CEILING: u32 = 16_000;

/// How often an instance turned from Healthy to Unhealthy of late, and whether it is held down for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Damping {
    /// In thousandths of a turn, as it was at `at`.
    penalty: u32,
    /// When it last turned.
    at: Timestamp,
    /// Turns since it was last quiet.
    turns: u32,
    /// Holds in a row.
    holds: u32,
    /// The end of the hold it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_until: Option<Timestamp>,
}

impl Damping {
    /// Counts a turn from Healthy to Unhealthy. Returns whether a hold begins. A turn within a hold counts, and does not lengthen it.
    pub fn fell(&mut self, now: Timestamp) -> bool {
        let penalty = self.decayed(now);
        if penalty < QUIET {
            (self.turns, self.holds) = (0, 0);
        }
        (self.penalty, self.at, self.turns) = ((penalty + TURN).min(CEILING), now, self.turns.saturating_add(1));
        if self.penalty <= LIMIT || self.held_until.is_some_and(|until| until > now) {
            return false;
        }
        // Five doublings are more than the longest hold.
        let hold = (FIRST_HOLD * 2_u32.pow(self.holds.min(5))).min(LONGEST_HOLD);
        self.holds = self.holds.saturating_add(1);
        self.held_until = Some(now.plus(hold));
        true
    }

    /// Ends a hold whose time has come, or which no clock that goes forward could have begun; returns whether it did.
    pub fn release(&mut self, now: Timestamp) -> bool {
        self.held_until.take_if(|until| *until <= now || *until > now.plus(LONGEST_HOLD)).is_some()
    }

    /// The penalty, in turns: 0–16.
    pub fn penalty(&self, now: Timestamp) -> f64 {
        f64::from(self.decayed(now)) / f64::from(TURN)
    }

    /// Until when it is held down; `None`: it is not.
    pub fn held_until(&self) -> Option<Timestamp> {
        self.held_until
    }

    /// Turns from Healthy to Unhealthy since it was last quiet.
    pub fn turns(&self) -> u32 {
        self.turns
    }

    /// Whether there is nothing to tell: it never turned, or so long ago that nothing would come of it.
    pub fn is_quiet(&self, now: Timestamp) -> bool {
        self.held_until.is_none() && self.decayed(now) < QUIET
    }

    /// Whether it never turned.
    pub fn is_untouched(&self) -> bool {
        *self == Damping::default()
    }

    fn decayed(&self, now: Timestamp) -> u32 {
        let half_lives = now.since(self.at).as_secs_f64() / PENALTY_HALF_LIFE.as_secs_f64();
        (f64::from(self.penalty) * 0.5_f64.powf(half_lives)).round() as u32
    }
}

/// The slow start of an instance that recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warming {
    since: Timestamp,
    until: Timestamp,
}

/// In how many steps answers follow a slow start.
const STEPS: u32 = 12;
/// Steps are no shorter.
const SHORTEST_STEP: Duration = Duration::from_millis(100);
/// The warmth that a slow start begins with, in percent.
const COLD: u64 = 10;

impl Warming {
    /// A slow start that takes so long; `None` where that is no time.
    pub fn begin(now: Timestamp, slow_start: Duration) -> Option<Warming> {
        (!slow_start.is_zero()).then(|| Warming { since: now, until: now.plus(slow_start) })
    }

    /// In percent of its weight: 10 at the beginning, 100 at the end and ever after.
    pub fn warmth(&self, now: Timestamp) -> u8 {
        let (length, passed) = (self.until.since(self.since), now.since(self.since));
        // A hundred at most, so that it fits.
        let share = (100 - COLD) as u128 * passed.min(length).as_millis() / length.as_millis().max(1);
        (COLD as u128 + share) as u8
    }

    /// Whether it is over, or no clock that goes forward could have begun it.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until <= now || self.since > now
    }

    /// When answers follow next. Steps stand on a grid that all slow starts of one length share, so that a service whose instances
    /// recover one by one is still compiled no more than twelve times within that length.
    pub fn next_step(&self, now: Timestamp) -> Timestamp {
        let step = (self.until.since(self.since) / STEPS).max(SHORTEST_STEP).as_millis() as u64;
        Timestamp((now.0 / step).saturating_add(1).saturating_mul(step))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1_000)
    }

    /// `turns`: when it turns, in seconds. `holds`: the holds that begin, as (when, how long).
    fn check(turns: &[u64], holds: &[(u64, u64)]) {
        let mut damping = Damping::default();
        let mut found = Vec::new();
        for turn in turns {
            damping.release(at(*turn));
            if damping.fell(at(*turn)) {
                found.push((*turn, damping.held_until().unwrap().since(at(*turn)).as_secs()));
            }
        }
        assert_eq!(found, holds, "{turns:?}");
    }

    #[test]
    fn the_third_turn_in_a_short_time_begins_a_hold_and_each_next_one_is_longer() {
        check(&[0], &[]);
        check(&[0, 1], &[]);
        check(&[0, 1, 2], &[(2, 30)]);
        check(&[0, 30, 60], &[(60, 30)]);
        // Once a minute for ever stays just below the limit: 1 + ½ + ¼ + ….
        check(&(0..50).map(|n| n * 60).collect::<Vec<_>>(), &[]);
        // The turn that the hold hides counts: it was 2.9 then, 2 at the end.
        check(&[0, 1, 2, 33, 95, 216, 460], &[(2, 30), (33, 60), (95, 120)]);
        // A turn every 10 s, seen or not, brings it to the longest hold, and no further.
        let flapping: Vec<u64> = (0..300).map(|n| n * 10).collect();
        check(&flapping, &[(20, 30), (50, 60), (110, 120), (230, 240), (470, 480), (950, 600), (1550, 600), (2150, 600), (2750, 600)]);
        // Quiet for long enough, it begins again with the shortest.
        check(&[0, 1, 2, 33, 300, 301], &[(2, 30), (33, 60), (301, 30)]);
    }

    #[test]
    fn a_penalty_halves_and_the_past_is_forgotten() {
        let mut damping = Damping::default();
        assert!(damping.is_untouched() && damping.is_quiet(at(0)));
        [0, 0, 0].into_iter().for_each(|now| _ = damping.fell(at(now)));
        for (now, penalty, quiet) in [(0, 3.0, false), (60, 1.5, true), (120, 0.75, false), (180, 0.375, true)] {
            assert_eq!(damping.penalty(at(now)), penalty);
            damping.release(at(now));
            assert_eq!(damping.is_quiet(at(now)), quiet && now > 60, "{now}");
        }
        let mut ahead = Damping::default();
        [7_200; 3].into_iter().for_each(|now| _ = ahead.fell(at(now)));
        assert!(ahead.release(at(0)), "the clock was set back while nobody ran");
        let text = serde_json::to_string(&damping).unwrap();
        assert_eq!(serde_json::from_str::<Damping>(&text).unwrap(), damping);
    }

    #[test]
    fn warmth_grows_in_a_straight_line() {
        let warming = Warming::begin(at(0), Duration::from_secs(60)).unwrap();
        for (now, warmth, over) in [(0, 10, false), (1, 11, false), (20, 40, false), (59, 98, false), (60, 100, true), (999, 100, true)] {
            assert_eq!((warming.warmth(at(now)), warming.is_over(at(now))), (warmth, over), "{now}");
        }
        // A clock that was set back.
        assert_eq!((warming.warmth(Timestamp(0)), warming.is_over(Timestamp(0))), (10, true));
        assert_eq!(Warming::begin(at(0), Duration::ZERO), None);
    }

    #[test]
    fn slow_starts_of_one_length_step_together() {
        let begin = |ms: u64| Warming::begin(Timestamp(ms), Duration::from_secs(60)).unwrap();
        for (began, now, next) in [(0, 0, 5_000), (0, 4_999, 5_000), (1_234, 5_000, 10_000), (4_000, 63_999, 65_000)] {
            assert_eq!(begin(began).next_step(Timestamp(now)), Timestamp(next));
        }
        let short = Warming::begin(Timestamp(0), Duration::from_millis(1)).unwrap();
        assert_eq!(short.next_step(Timestamp(0)), Timestamp(100));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happens when: the penalty stays within its bounds and never grows by itself, no hold is longer than the longest or
        /// is moved once it has begun, and each ends.
        #[test]
        fn holds_are_bounded(gaps in prop::collection::vec(0u64..200_000, 0..200)) {
            let (mut damping, mut now) = (Damping::default(), at(0));
            for gap in gaps {
                let before = damping.penalty(now);
                now = Timestamp(now.0 + gap);
                prop_assert!((0.0..=before).contains(&damping.penalty(now)));
                damping.release(now);
                let held = damping.held_until();
                prop_assert!(held.is_none_or(|until| until > now));
                let began = damping.fell(now);
                prop_assert!((1.0..=16.0).contains(&damping.penalty(now)));
                prop_assert_eq!(began, held.is_none() && damping.held_until().is_some());
                prop_assert!(held.is_none() || held == damping.held_until());
                if let Some(until) = damping.held_until() {
                    prop_assert!(until > now && until <= now.plus(LONGEST_HOLD));
                    prop_assert!(!began || until >= now.plus(FIRST_HOLD));
                }
            }
            prop_assert!(damping.release(now.plus(LONGEST_HOLD)) || damping.held_until().is_none());
            prop_assert!(damping.is_quiet(now.plus(LONGEST_HOLD)));
        }

        /// Warmth lies in 10–100, never falls, and is whole at the end; the next step lies ahead.
        #[test]
        fn warmth_never_falls(began in 0u64..1 << 41, length in 1u64..900_000, mut looks in prop::collection::vec(0u64..1_000_000, 1..50)) {
            let warming = Warming::begin(Timestamp(began), Duration::from_millis(length)).unwrap();
            looks.sort();
            let mut last = 10;
            for look in looks {
                let now = Timestamp(began + look);
                let warmth = warming.warmth(now);
                prop_assert!((last..=100).contains(&warmth));
                prop_assert_eq!(warmth == 100, warming.is_over(now));
                prop_assert!(warming.next_step(now) > now && warming.next_step(now) <= now.plus(Duration::from_millis(length / 12 + 100)));
                last = warmth;
            }
        }
    }
}
