//! Which zone a name is in.

use std::sync::Arc;

use super::CompiledZone;
use crate::codec::NameBuf;

/// Zones by apex: open addressing, next slot by next slot.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Apexes {
    /// A power of two of them, at least half of which are empty; none where there is no zone.
    slots: Box<[Option<Slot>]>,
    count: usize,
    /// By the number of labels, whether an apex has so many: names are looked for at these alone.
    depths: Vec<bool>,
}

#[derive(Debug, Clone)]
struct Slot {
    hash: u64,
    zone: Arc<CompiledZone>,
}

impl Apexes {
    /// Takes a zone in. No two have one apex.
    pub fn insert(&mut self, zone: Arc<CompiledZone>) {
        let labels = zone.name().labels();
        if self.depths.len() <= labels {
            self.depths.resize(labels + 1, false);
        }
        self.depths[labels] = true;
        self.count += 1;
        if self.slots.len() < 2 * self.count {
            let more = vec![None; (4 * self.count).next_power_of_two()].into();
            let before = std::mem::replace(&mut self.slots, more);
            before.into_iter().flatten().for_each(|slot| self.put(slot));
        }
        self.put(Slot { hash: zone.hash, zone });
    }

    fn put(&mut self, slot: Slot) {
        let last = self.slots.len() - 1;
        let mut at = slot.hash as usize & last;
        while self.slots[at].is_some() {
            at = (at + 1) & last;
        }
        self.slots[at] = Some(slot);
    }

    /// The zone with the longest apex that is the name from label `from` on, or above that. A function of its own: within the answer its loop
    /// would have no registers left.
    #[inline(never)]
    pub fn find(&self, name: &NameBuf, from: usize) -> Option<&CompiledZone> {
        let (mut found, mut hash, mut index) = (None, NameBuf::ROOT_HASH, name.labels());
        for (labels, has_apexes) in self.depths.iter().enumerate() {
            if labels > 0 {
                if index <= from {
                    break;
                }
                index -= 1;
                hash = name.hash(index, hash);
            }
            if *has_apexes && let Some(zone) = self.at(hash, name, index) {
                found = Some(zone);
            }
        }
        found
    }

    /// The zone whose apex is the name from label `index` on, of which that is the hash.
    #[inline(always)]
    fn at(&self, hash: u64, name: &NameBuf, index: usize) -> Option<&CompiledZone> {
        let last = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & last;
        while let Some(slot) = self.slots.get(at)? {
            if slot.hash == hash && name.ends_in(index, slot.zone.name()) {
                return Some(&slot.zone);
            }
            at = (at + 1) & last;
        }
        None
    }
}
