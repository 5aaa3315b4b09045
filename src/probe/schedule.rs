//! Who is due when. Pure: time comes in as the time since the prober's start.
//!
//! ```text
//!   one check's time   ├──────── stride ────────┼──────── stride ────────┼──────── stride ────────┼──
//!   its starts           ▲                       ▲                          ▲                       ▲
//!                        └ jitter ≤ JITTER ┘ drawn anew in every stride; the strides stand still, at the check's own phase
//! ```
//!
//! Stride and jitter together are one interval, so that no two starts are more than an interval apart: an instance that died is found out
//! within fall × interval + timeout. The phase comes from a hash of the check's name: thousands of checks spread evenly by themselves,
//! and one instance keeps its place however others come and go.

use std::collections::BTreeSet;
use std::time::Duration;

/// The share of the interval by which a start may be late within its stride, in percent. Keeps many servers from probing in step.
const JITTER: u32 = 2;

/// First probes that start at once when they come together.
const BURST: u32 = 100;

/// The pace of first probes beyond [`BURST`]: 2,000 a second, as after a start with many instances.
const PACE: Duration = Duration::from_micros(500);

/// One check's place in the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot {
    place: u32,
    /// How often the place was given before: a check that is gone is not mistaken for the one that came after.
    turn: u32,
}

impl Slot {
    /// A number below the most checks that there were at once; no two checks have the same at the same time.
    pub(super) fn place(self) -> usize {
        self.place as usize
    }
}

/// The starts to come. A check is either waiting for its next start or under way, so that it never overlaps with itself.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// By place: how often it was given before, and to whom; `None` where it is free.
    places: Vec<(u32, Option<Rhythm>)>,
    free: Vec<u32>,
    queue: BTreeSet<(Duration, Slot)>,
    /// When the next first probe would start if all kept to [`PACE`].
    paced: Duration,
}

/// A start that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// The check.
    pub(super) slot: Slot,
    /// Since when.
    pub(super) due: Duration,
    /// How often it is to be probed.
    pub(super) interval: Duration,
}

/// When one check is probed.
#[derive(Debug)]
struct Rhythm {
    seed: u64,
    interval: Duration,
    /// The next start; `None` while under way.
    due: Option<Duration>,
    /// The stride after the one in which the last probe started.
    round: u32,
}

impl Rhythm {
    fn jitter(&self) -> Duration {
        self.interval * JITTER / 100
    }

    fn stride(&self) -> Duration {
        (self.interval - self.jitter()).max(Duration::from_millis(1))
    }

    fn phase(&self) -> Duration {
        scale(mix(self.seed), self.stride())
    }

    /// The first stride that begins after `now`.
    fn round_after(&self, now: Duration) -> u32 {
        match now.checked_sub(self.phase()) {
            None => 0,
            // A prober that runs for 2³² intervals of 100 ms is 13 years old; it goes on with what is due at once.
            Some(past) => u32::try_from(past.as_nanos() / self.stride().as_nanos() + 1).unwrap_or(u32::MAX),
        }
    }

    /// When the probe of a stride starts.
    fn start_of(&self, round: u32) -> Duration {
        let drawn = mix(self.seed ^ u64::from(round).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.phase().saturating_add(self.stride().saturating_mul(round)).saturating_add(scale(drawn, self.jitter()))
    }
}

/// The share of `whole` that `drawn` is of 2⁶⁴.
fn scale(drawn: u64, whole: Duration) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(drawn) * u128::from(nanos)) >> 64) as u64)
}

/// Spreads the bits of a number evenly (the finaliser of splitmix64).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Schedule {
    /// Takes in a check that was not there before. Its first probe is due at once; only when hundreds come together are they paced, and
    /// then none waits for longer than an interval. `seed` gives its phase and its jitter.
    pub(super) fn add(&mut self, seed: u64, interval: Duration, now: Duration) -> Slot {
        let mut rhythm = Rhythm { seed, interval, due: None, round: 0 };
        let paced = self.paced.saturating_sub(PACE * BURST).max(now);
        self.paced = self.paced.max(now) + PACE;
        let due = paced.min(rhythm.start_of(rhythm.round_after(now)));
        rhythm.due = Some(due);
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            // A check takes a hundred octets: there is no memory for 2³² of them.
            (self.places.len() - 1) as u32
        });
        let (turn, free) = &mut self.places[place as usize];
        *free = Some(rhythm);
        let slot = Slot { place, turn: *turn };
        self.queue.insert((due, slot));
        slot
    }

    /// Forgets a check, whether it waits or is under way.
    pub(super) fn remove(&mut self, slot: Slot) {
        let Some((turn, rhythm)) = self.places.get_mut(slot.place()).filter(|(turn, _)| *turn == slot.turn) else { return };
        let Some(gone) = rhythm.take() else { return };
        *turn = turn.wrapping_add(1);
        self.free.push(slot.place);
        if let Some(due) = gone.due {
            self.queue.remove(&(due, slot));
        }
    }

    /// When the next start is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// The check that has been due for longest, if any is. It is under way from now on.
    pub(super) fn start(&mut self, now: Duration) -> Option<Start> {
        let (due, slot) = *self.queue.first().filter(|(due, _)| *due <= now)?;
        self.queue.pop_first();
        // What waits in the queue has its rhythm: `remove` takes both away.
        let rhythm = self.rhythm(slot)?;
        rhythm.due = None;
        rhythm.round = rhythm.round_after(now);
        Some(Start { slot, due, interval: rhythm.interval })
    }

    /// A probe is over: the next one is due in the next stride, or at once where that has gone by. Tells whether the check is still there.
    pub(super) fn finish(&mut self, slot: Slot, now: Duration) -> bool {
        let Some(rhythm) = self.rhythm(slot) else { return false };
        if rhythm.due.is_none() {
            let due = rhythm.start_of(rhythm.round).max(now);
            rhythm.due = Some(due);
            self.queue.insert((due, slot));
        }
        true
    }

    /// How many checks there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn rhythm(&mut self, slot: Slot) -> Option<&mut Rhythm> {
        let (turn, rhythm) = self.places.get_mut(slot.place())?;
        rhythm.as_mut().filter(|_| *turn == slot.turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const INTERVAL: Duration = Duration::from_secs(5);

    /// Runs the schedule up to `until`, each probe taking `takes`; gives every start.
    fn run(schedule: &mut Schedule, until: Duration, takes: impl Fn(Slot) -> Duration) -> Vec<(Duration, Slot)> {
        let mut running = BTreeSet::new();
        let mut starts = Vec::new();
        loop {
            let ends = running.first().map(|(at, _)| *at);
            match [ends, schedule.next_due()].into_iter().flatten().min() {
                Some(now) if now <= until => {
                    if ends == Some(now) {
                        let (_, slot) = running.pop_first().unwrap();
                        schedule.finish(slot, now);
                    } else {
                        let Start { slot, due, .. } = schedule.start(now).unwrap();
                        assert_eq!(due, now);
                        assert!(running.iter().all(|(_, other)| *other != slot), "{slot:?} overlaps with itself");
                        running.insert((now + takes(slot), slot));
                        starts.push((now, slot));
                    }
                }
                _ => return starts,
            }
        }
    }

    fn of(starts: &[(Duration, Slot)], slot: Slot) -> Vec<Duration> {
        starts.iter().filter(|(_, s)| *s == slot).map(|(at, _)| *at).collect()
    }

    #[test]
    fn the_first_probe_is_at_once_and_then_no_two_starts_are_further_apart_than_an_interval() {
        for seed in 0..200 {
            let now = MS * 137 * seed as u32;
            let mut schedule = Schedule::default();
            let slot = schedule.add(seed, INTERVAL, now);
            assert_eq!(schedule.next_due(), Some(now));
            let starts = of(&run(&mut schedule, now + INTERVAL * 50, |_| 30 * MS), slot);
            assert!((50..=53).contains(&starts.len()), "{}", starts.len());
            for (n, pair) in starts.windows(2).enumerate() {
                let gap = pair[1] - pair[0];
                // Fixed phase: after the first probe, 96 to 100 % of the interval.
                assert!(gap <= INTERVAL && (n == 0 || gap >= INTERVAL * 96 / 100), "seed {seed}, gap {n}: {gap:?}");
            }
            // The phase does not drift: strides counted from the second start lead to the last, but for the jitter of both.
            let (second, last) = (starts[1], starts[starts.len() - 1]);
            let strides = INTERVAL * 98 / 100 * (starts.len() as u32 - 2);
            assert!((last - second).abs_diff(strides) <= INTERVAL * JITTER / 100, "seed {seed}");
        }
    }

    #[test]
    fn a_dead_instance_is_found_out_within_fall_intervals_and_a_timeout() {
        for (fall, interval, timeout) in [(1, 100, 50), (3, 5_000, 2_000), (10, 1_000, 1_000), (3, 200, 2_000)] {
            let (interval, timeout) = (MS * interval, MS * timeout);
            // Where a timeout is longer than the interval, a probe can only start when the one before it has given up.
            let bound = if timeout <= interval { interval * fall + timeout } else { interval + timeout * fall };
            for seed in 0..50 {
                let mut schedule = Schedule::default();
                schedule.add(seed, interval, Duration::ZERO);
                // Passing probes take no time; it dies just after one of them started.
                let death = run(&mut schedule, interval * 4, |_| Duration::ZERO).last().unwrap().0;
                let failing = run(&mut schedule, death + bound * 2, |_| timeout);
                let found_out = failing[fall as usize - 1].0 + timeout - death;
                assert!(found_out <= bound, "fall {fall}, interval {interval:?}, timeout {timeout:?}: {found_out:?}");
            }
        }
    }

    #[test]
    fn a_flood_is_paced_and_then_spread_evenly() {
        let mut schedule = Schedule::default();
        let slots: Vec<Slot> = (0..10_000).map(|n| schedule.add(mix(n), INTERVAL, Duration::ZERO)).collect();
        let starts = run(&mut schedule, INTERVAL * 3, |_| MS);
        let within = |from: Duration, to: Duration| starts.iter().filter(|(at, _)| from <= *at && *at < to).count();
        assert!(within(Duration::ZERO, MS) < 150, "not all at once");
        for slot in slots.iter().step_by(97) {
            assert!(of(&starts, *slot)[0] <= INTERVAL, "and nobody waits for more than an interval");
        }
        // Once all have their rhythm, any 100 ms holds its share, 204 probes, give or take a third.
        for tenth in 50..149 {
            let count = within(MS * 100 * tenth, MS * 100 * (tenth + 1));
            assert!((136..272).contains(&count), "{count} starts in the {tenth}th tenth of a second");
        }
        // A single instance that comes when the flood has gone by is probed at once.
        let late = INTERVAL * 3;
        let single = schedule.add(1, INTERVAL, late);
        assert!(schedule.queue.contains(&(late, single)));
    }

    #[test]
    fn what_is_removed_never_starts_again() {
        let mut schedule = Schedule::default();
        let [waiting, under_way, kept] = [1, 2, 3].map(|seed| schedule.add(seed, INTERVAL, Duration::ZERO));
        assert_eq!(schedule.start(Duration::ZERO).map(|start| start.slot), Some(waiting));
        schedule.finish(waiting, MS);
        assert_eq!(schedule.start(MS).map(|start| start.slot), Some(under_way));
        schedule.remove(waiting);
        schedule.remove(under_way);
        assert!(!schedule.finish(under_way, 2 * MS));
        // Whoever gets its place next is another one.
        let next = schedule.add(4, INTERVAL, MS);
        assert!(next.place() == under_way.place() && !schedule.finish(under_way, 2 * MS));
        schedule.remove(under_way);
        assert_eq!(schedule.len(), 2);
        schedule.remove(next);
        let starts = run(&mut schedule, INTERVAL * 3, |_| MS);
        assert!(starts.len() >= 3 && starts.iter().all(|(_, slot)| *slot == kept));
        schedule.remove(kept);
        assert_eq!((schedule.next_due(), schedule.len()), (None, 0));
    }

    #[test]
    fn a_late_start_is_made_once_and_not_made_up_for() {
        let mut schedule = Schedule::default();
        let slot = schedule.add(7, INTERVAL, Duration::ZERO);
        let late = INTERVAL * 10;
        assert_eq!(schedule.start(late), Some(Start { slot, due: Duration::ZERO, interval: INTERVAL }));
        schedule.finish(slot, late);
        assert_eq!(schedule.start(late), None, "nine intervals were missed; they are over");
        assert!(schedule.next_due().unwrap() <= late + INTERVAL);
    }
}
