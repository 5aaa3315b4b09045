//! The zones by apex: which one a name is in, and which one has a given apex.

use std::sync::Arc;

use super::CompiledZone;
use crate::codec::NameBuf;

/// Zones by apex: open addressing, next slot by next slot.
#[derive(Debug, Clone, Default)]
pub(in crate::snapshot) struct Apexes {
    /// A power of two of them, at least half of which are empty; none where there is no zone.
    slots: Box<[Option<Slot>]>,
    /// The slots of all zones, in the order in which these came.
    order: Vec<u32>,
    /// By the number of labels, whether an apex has so many: names are looked for at these alone.
    depths: Vec<bool>,
}

#[derive(Debug, Clone)]
struct Slot {
    hash: u64,
    zone: Arc<CompiledZone>,
}

impl Apexes {
    /// Takes a zone in: in the place of the one with its apex, else behind all others.
    pub fn put(&mut self, zone: Arc<CompiledZone>) {
        if let Some(known) = self.place(zone.hash, zone.name()).and_then(|at| self.slots[at].as_mut()) {
            known.zone = zone;
            return;
        }
        let labels = zone.name().labels();
        if self.depths.len() <= labels {
            self.depths.resize(labels + 1, false);
        }
        self.depths[labels] = true;
        if self.slots.len() < 2 * (self.order.len() + 1) {
            self.grow();
        }
        self.add(Slot { hash: zone.hash, zone });
    }

    /// All zones, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<CompiledZone>> {
        self.order.iter().filter_map(|at| Some(&self.slots[*at as usize].as_ref()?.zone))
    }

    /// The zone with that apex.
    pub fn at_apex(&self, apex: &NameBuf) -> Option<&Arc<CompiledZone>> {
        let hash = (0..apex.labels()).rev().fold(NameBuf::ROOT_HASH, |behind, label| apex.hash(label, behind));
        Some(&self.slots[self.place(hash, apex)?].as_ref()?.zone)
    }

    /// The slot of the zone with that apex, of which that is the hash, or else the empty one that it would have; `None`: there are no slots.
    fn place(&self, hash: u64, apex: &NameBuf) -> Option<usize> {
        let last = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & last;
        while let Some(slot) = &self.slots[at] {
            if slot.hash == hash && apex.ends_in(0, slot.zone.name()) {
                break;
            }
            at = (at + 1) & last;
        }
        Some(at)
    }

    /// Takes in a zone that is not there, where there is room.
    fn add(&mut self, slot: Slot) {
        if let Some(at) = self.place(slot.hash, slot.zone.name()) {
            self.slots[at] = Some(slot);
            // So many slots as this could not tell apart would not fit in memory.
            self.order.push(at as u32);
        }
    }

    fn grow(&mut self) {
        let more = vec![None; (4 * (self.order.len() + 1)).next_power_of_two()].into();
        let mut before = std::mem::replace(&mut self.slots, more);
        for at in std::mem::take(&mut self.order) {
            if let Some(slot) = before[at as usize].take() {
                self.add(slot);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::code::rtype::{A, DS};
    use crate::model::{Name, Zone};
    use crate::snapshot::{Snapshot, Unfit, Update};

    fn zone(apex: &str, serial: u32) -> Zone {
        Zone::new(Name::parse(apex).unwrap(), "zones/test.toml", Name::parse("ns.example.").unwrap(), serial)
    }

    /// Zones of one, two and three labels, some of them above others; enough of them for several sizes of the table.
    fn many() -> Vec<Zone> {
        let apex = |n: u32| match n % 3 {
            0 => format!("z{n}."),
            1 => format!("z{n}.z{}.", n - 1),
            _ => format!("z{n}.z{}.z{}.", n - 1, n - 2),
        };
        (0..300).map(|n| zone(&apex(n), n)).collect()
    }

    #[test]
    fn a_zone_is_found_by_its_apex_alone() {
        let zones = many();
        let empty = Snapshot::empty();
        assert!(empty.zone_at(zones[0].apex.wire()).is_none());
        let all = empty.update(&[Update::Zones(&zones)]).unwrap();
        for zone in &zones {
            assert_eq!(all.zone_at(zone.apex.wire()).unwrap().serial(), zone.soa.serial, "{}", zone.apex);
        }
        for other in [".", "z1.", "www.z0.", "z0.z0."] {
            assert!(all.zone_at(Name::parse(other).unwrap().wire()).is_none(), "{other}");
        }
        assert!(all.zone_at(b"no name").is_none());
        let root = all.update(&[Update::Zone(&zone(".", 7))]).unwrap();
        assert_eq!(root.zone_at(&[0]).unwrap().serial(), 7);
    }

    #[test]
    fn what_is_too_old_or_not_there_yet_answers_nobody() {
        let why = [
            ("old.example.", Unfit::Expired),
            ("sub.example.", Unfit::Awaited),
            ("far.test.", Unfit::Awaited),
            ("new.example.", Unfit::Awaited),
        ];
        let apexes = why.map(|(apex, why)| (Name::parse(apex).unwrap(), why)).into();
        let zones = ["example.", "old.example.", "www.sub.example.", "new.example."].map(|apex| zone(apex, 1));
        let snapshot = Snapshot::empty().update(&[Update::Zones(&zones), Update::Unfit(&apexes)]).unwrap();
        let (expired, awaited) = (Some(Unfit::Expired), Some(Unfit::Awaited));
        for (name, qtype, expected) in [
            ("example.", A, None),
            ("www.example.", A, None),
            ("old.example.", A, expired),
            ("www.old.example.", A, expired),
            ("sub.example.", A, awaited),
            ("a.b.sub.example.", A, awaited),
            // The zone above says what the DS is, and a zone below is one of its own.
            ("sub.example.", DS, None),
            ("a.sub.example.", DS, awaited),
            ("www.sub.example.", A, None),
            // It has just come.
            ("www.new.example.", A, None),
            ("a.far.test.", A, awaited),
            ("far.test.", A, awaited),
            ("test.", A, None),
            (".", A, None),
        ] {
            let wire = NameBuf::from_wire(Name::parse(name).unwrap().wire()).unwrap();
            assert_eq!(snapshot.unfit(snapshot.zone(&wire), &wire, qtype), expected, "{name} {qtype}");
        }
    }

    #[test]
    fn a_zone_takes_the_place_of_the_one_with_its_apex_and_a_new_one_comes_last() {
        let zones = many();
        let (some, others) = zones.split_at(100);
        let before = Snapshot::empty().update(&[Update::Zones(some)]).unwrap();
        let again = zone(&some[10].apex.to_string(), 1_000);
        let updates: Vec<Update<'_>> = others.iter().chain([&again]).map(Update::Zone).collect();
        let after = before.update(&updates).unwrap();
        let serials: Vec<u32> = after.zones().map(CompiledZone::serial).collect();
        let expected: Vec<u32> = (0..300).map(|n| if n == 10 { 1_000 } else { n }).collect();
        assert_eq!(serials, expected);
        for zone in &zones {
            let (found, kept) = (after.zone_at(zone.apex.wire()).unwrap(), before.zone_at(zone.apex.wire()));
            let name = NameBuf::from_wire(zone.apex.wire()).unwrap();
            assert!(std::ptr::eq(after.zone(&name).unwrap(), &**found), "a query finds the same");
            assert_eq!(kept.is_some_and(|kept| Arc::ptr_eq(kept, found)), zone.soa.serial < 100 && zone.soa.serial != 10, "{}", zone.apex);
        }
        assert_eq!(before.zones().count(), 100, "the snapshot before is as it was");
    }
}
