//! Deadlines of very many: a push and a pop cost the same however many there are.
//!
//! ```text
//!   now ┐
//!   ────┴──┬────────┬────────┬────────┬──── … ────┐
//!    soon  │ spoke  │ spoke  │ spoke  │           │ 2,048 spokes of 64 ms: 131 s; what is due later lies
//!    (heap)│ (list) │        │        │           │ in its spoke and is passed over, turn by turn
//!   ───────┴────────┴────────┴────────┴──── … ────┘
//! ```
//!
//! Only the spoke whose time has come is put in order, so that what is popped comes at its millisecond and in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::Timestamp;

/// Milliseconds of a spoke.
const SPOKE: u64 = 64;
/// Spokes of the wheel.
const SPOKES: usize = 2048;

/// See the module. What is due is a number of the caller's.
#[derive(Debug)]
pub(super) struct Wheel {
    /// What is due before the wheel's time, earliest first.
    soon: BinaryHeap<Reverse<(Timestamp, u32)>>,
    /// The rest. Each entry has the low half of its time, which is less than 49 days after the wheel's.
    spokes: Box<[Vec<(u32, u32)>]>,
    /// How many entries lie in spokes.
    later: usize,
    /// The wheel's time: what is earlier is in `soon`. A multiple of [`SPOKE`].
    turned: u64,
    /// No entry is earlier.
    next: Option<Timestamp>,
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel { soon: BinaryHeap::new(), spokes: vec![Vec::new(); SPOKES].into(), later: 0, turned: 0, next: None }
    }
}

impl Wheel {
    /// Plans `what` for `at`, at most some days ahead of what was popped last.
    pub fn push(&mut self, at: Timestamp, what: u32) {
        if self.later == 0 && self.soon.is_empty() {
            self.turned = at.0 - at.0 % SPOKE;
        }
        if at.0 < self.turned {
            self.soon.push(Reverse((at, what)));
        } else {
            self.spokes[spoke(at.0)].push((at.0 as u32, what));
            self.later += 1;
        }
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// The earliest that is due at `now`.
    pub fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, u32)> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        while self.later > 0 && self.turned <= now.0 && self.soon.is_empty() {
            self.turn();
        }
        if self.soon.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            return self.soon.pop().map(|Reverse(due)| due);
        }
        self.next = self.earliest();
        None
    }

    /// When [`Wheel::pop`] is needed next; nothing is due before that.
    pub fn next(&self) -> Option<Timestamp> {
        self.next
    }

    /// Takes in the spoke whose time has come.
    fn turn(&mut self) {
        let end = self.turned + SPOKE;
        let place = &mut self.spokes[spoke(self.turned)];
        let entries = std::mem::take(place);
        let (mut due, mut left) = (Vec::with_capacity(entries.len()), Vec::new());
        for (low, what) in entries {
            let at = whole(self.turned, low);
            if at.0 < end { due.push(Reverse((at, what))) } else { left.push((low, what)) }
        }
        self.later -= due.len();
        *place = left;
        self.soon.extend(due);
        self.turned = end;
    }

    /// The time of the earliest entry; where it is more than a turn away, the end of this turn.
    fn earliest(&self) -> Option<Timestamp> {
        if let Some(Reverse((at, _))) = self.soon.peek() {
            return Some(*at);
        }
        if self.later == 0 {
            return None;
        }
        let turn = SPOKE * SPOKES as u64;
        let spokes = (self.turned..self.turned + turn).step_by(SPOKE as usize);
        let found = spokes.filter_map(|start| {
            let times = self.spokes[spoke(start)].iter().map(|(low, _)| whole(self.turned, *low));
            times.filter(|at| at.0 < start + SPOKE).min()
        });
        Some(found.into_iter().next().unwrap_or(Timestamp(self.turned + turn)))
    }
}

/// The spoke of a time.
fn spoke(at: u64) -> usize {
    (at / SPOKE) as usize % SPOKES
}

/// The first time from `base` on that has this low half.
fn whole(base: u64, low: u32) -> Timestamp {
    Timestamp(base + u64::from(low.wrapping_sub(base as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_at_its_millisecond_and_nothing_before() {
        let mut wheel = Wheel::default();
        let mut seed = 1_u64;
        let mut draw = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % most
        };
        let begin = 1_790_000_000_123;
        let mut expected: Vec<(Timestamp, u32)> = Vec::new();
        let (mut now, mut what) = (begin, 0);
        for round in 0..3000 {
            for _ in 0..draw(4) {
                // Up to a second, up to several turns, up to a week ahead.
                let ahead = [1000, 400_000, 7 * 86_400_000][draw(3) as usize];
                let at = Timestamp(now + draw(ahead));
                wheel.push(at, what);
                expected.push((at, what));
                what += 1;
            }
            expected.sort_unstable();
            let next = wheel.next();
            assert!(next.is_none_or(|next| expected.first().is_some_and(|(at, _)| *at >= next)), "round {round}");
            now += [1, 50, 3000, 200_000][draw(4) as usize];
            while let Some(due) = wheel.pop(Timestamp(now)) {
                assert_eq!(due, expected.remove(0), "round {round}");
            }
            assert!(expected.first().is_none_or(|(at, _)| at.0 > now), "round {round}: something is left");
        }
        assert!(what > 3000);
        while let Some(next) = wheel.next() {
            while let Some(due) = wheel.pop(next) {
                assert_eq!(due, expected.remove(0));
            }
        }
        assert!(expected.is_empty());
    }
}
