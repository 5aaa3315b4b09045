//! Which zone a name is in.

use std::sync::Arc;

use hashbrown::HashTable;

use super::CompiledZone;
use crate::codec::NameBuf;

/// Zones by apex.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Apexes {
    zones: HashTable<(u64, Arc<CompiledZone>)>,
    /// How many labels apexes have, by bit: names are looked for at these alone.
    labels: u128,
}

impl Apexes {
    /// Takes a zone in. No two have one apex.
    pub fn insert(&mut self, zone: Arc<CompiledZone>) {
        self.labels |= 1 << zone.name().labels();
        self.zones.insert_unique(zone.hash, (zone.hash, zone), |(hash, _)| *hash);
    }

    /// The zone with the longest apex that is the name from label `from` on, or above that.
    #[inline(always)]
    pub fn find(&self, name: &NameBuf, from: usize) -> Option<&CompiledZone> {
        let (mut found, mut hash, mut left) = (None, NameBuf::ROOT_HASH, self.labels);
        for index in (from..=name.labels()).rev() {
            if index < name.labels() {
                hash = name.hash(index, hash);
            }
            if left & 1 != 0
                && let Some((_, zone)) = self.zones.find(hash, |(known, zone)| *known == hash && name.ends_in(index, zone.name()))
            {
                found = Some(&**zone);
            }
            left >>= 1;
            if left == 0 {
                break;
            }
        }
        found
    }
}
