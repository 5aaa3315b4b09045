//! Which client prefixes ask, and how often: a sample in bounded memory, kept by one worker and read by anyone.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Slots: each remembers one prefix, the most frequent one of those that share it.
const SLOTS: usize = 4096;
/// One query in so many is looked at.
pub const SAMPLED: u64 = 16;

/// The prefixes seen by one worker. A prefix that shares its slot with a more frequent one is not seen.
#[derive(Debug)]
pub struct Sightings(Box<[Slot]>);

#[derive(Debug, Default)]
struct Slot {
    prefix: AtomicU64,
    count: AtomicU32,
}

impl Default for Sightings {
    fn default() -> Sightings {
        Sightings((0..SLOTS).map(|_| Slot::default()).collect())
    }
}

impl Sightings {
    /// Takes note of one client prefix, given as a number; only the worker that owns this does.
    #[inline]
    pub fn note(&self, prefix: u64) {
        // Fibonacci hashing: the upper bits depend on all of the number's.
        let slot = &self.0[(prefix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize % SLOTS];
        let count = slot.count.load(Ordering::Relaxed);
        let next = if slot.prefix.load(Ordering::Relaxed) == prefix {
            count.saturating_add(1)
        } else if count == 0 {
            slot.prefix.store(prefix, Ordering::Relaxed);
            1
        } else {
            // Majority vote (Boyer and Moore): who comes more often than all others together stays.
            count - 1
        };
        slot.count.store(next, Ordering::Relaxed);
    }

    /// What was seen: prefixes and how often each, in no order.
    pub fn seen(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let seen = self.0.iter().map(|slot| (slot.prefix.load(Ordering::Relaxed), slot.count.load(Ordering::Relaxed)));
        seen.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_prefixes_are_kept_with_their_counts() {
        let sightings = Sightings::default();
        for round in 0..100u64 {
            for prefix in 1..=50u64 {
                sightings.note(prefix << 20);
            }
            // Passers-by: each comes once.
            sightings.note(1 << 40 | round << 8);
        }
        let seen: std::collections::BTreeMap<u64, u32> = sightings.seen().collect();
        let kept = (1..=50u64).filter(|prefix| seen.get(&(prefix << 20)).is_some_and(|count| *count > 80)).count();
        assert!(kept >= 48, "{kept} of 50 in {seen:?}");
    }
}
