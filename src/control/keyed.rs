//! What is kept of very many instances, by key.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::model::InstanceKey;

/// Entries of a block.
const BLOCK: usize = 512;

/// A map by instance whose entries have places, which are theirs for as long as they are in it.
///
/// A hash map of entries doubles: of a million, half of its memory may be empty. Here the entries lie in blocks, all full but the last, and
/// what doubles is a table of five octets for each.
#[derive(Debug)]
pub(super) struct Keyed<T> {
    /// Places by the hash of their keys.
    places: HashTable<u32>,
    blocks: Vec<Vec<Option<(InstanceKey, T)>>>,
    /// Places that are empty.
    free: Vec<u32>,
}

impl<T> Default for Keyed<T> {
    fn default() -> Keyed<T> {
        Keyed { places: HashTable::new(), blocks: Vec::new(), free: Vec::new() }
    }
}

/// The hash of an instance. One hasher is for one map: names come from outside, so it is drawn at random.
pub(super) fn hash(hasher: &RandomState, service: &str, id: &str) -> u64 {
    hasher.hash_one((service, id))
}

impl<T> Keyed<T> {
    /// The place of the instance with these names.
    pub fn find(&self, hash: u64, service: &str, id: &str) -> Option<u32> {
        let is_it = |place: &u32| self.get(*place).is_some_and(|(key, _)| key.id.as_str() == id && key.service.as_str() == service);
        self.places.find(hash, is_it).copied()
    }

    /// What stands at a place.
    pub fn get(&self, place: u32) -> Option<&(InstanceKey, T)> {
        self.blocks.get(place as usize / BLOCK)?.get(place as usize % BLOCK)?.as_ref()
    }

    /// What stands at a place, to be changed.
    pub fn at(&mut self, place: u32) -> Option<&mut (InstanceKey, T)> {
        self.blocks.get_mut(place as usize / BLOCK)?.get_mut(place as usize % BLOCK)?.as_mut()
    }

    /// Takes in an instance that is not in it; returns its place.
    pub fn add(&mut self, hash: u64, key: InstanceKey, entry: T, hasher: &RandomState) -> u32 {
        let entry = Some((key, entry));
        let place = match self.free.pop() {
            Some(place) => {
                self.blocks[place as usize / BLOCK][place as usize % BLOCK] = entry;
                place
            }
            None => {
                if self.blocks.last().is_none_or(|last| last.len() == BLOCK) {
                    // The first grows as it is filled: most have few.
                    self.blocks.push(Vec::with_capacity(if self.blocks.is_empty() { 0 } else { BLOCK }));
                }
                let number = self.blocks.len() - 1;
                self.blocks[number].push(entry);
                (number * BLOCK + self.blocks[number].len() - 1) as u32
            }
        };
        let Keyed { places, blocks, .. } = self;
        let key_at = |place: u32| blocks[place as usize / BLOCK][place as usize % BLOCK].as_ref().map(|(key, _)| key);
        places
            .insert_unique(hash, place, |place| key_at(*place).map_or(0, |key| self::hash(hasher, key.service.as_str(), key.id.as_str())));
        place
    }

    /// Takes an instance out.
    pub fn remove(&mut self, hash: u64, key: &InstanceKey) {
        let Keyed { places, blocks, free } = self;
        let is_it = |place: &u32| blocks[*place as usize / BLOCK][*place as usize % BLOCK].as_ref().is_some_and(|(known, _)| known == key);
        if let Ok(entry) = places.find_entry(hash, is_it) {
            let (place, _) = entry.remove();
            blocks[place as usize / BLOCK][place as usize % BLOCK] = None;
            free.push(place);
        }
    }

    /// How many places there are, empty or not.
    #[cfg(test)]
    pub fn places(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::model::Label;

    fn key(n: usize) -> InstanceKey {
        let label = |text: String| Label::parse(&text).unwrap();
        InstanceKey { service: label(format!("s{}", n % 7)), id: label(format!("i{n}")) }
    }

    /// Whatever comes and goes, it is what a map would hold, and no larger than it ever was full.
    #[test]
    fn instances_are_found_by_key_and_by_place() {
        let hasher = RandomState::default();
        let hash = |key: &InstanceKey| hash(&hasher, key.service.as_str(), key.id.as_str());
        let (mut keyed, mut map): (Keyed<usize>, HashMap<InstanceKey, usize>) = Default::default();
        let mut most = 0;
        for step in 0..20 * BLOCK {
            // Grows for a while, then shrinks.
            let n = step.wrapping_mul(0x9e37_79b1) % (3 * BLOCK);
            let (key, comes) = (key(n), step / (5 * BLOCK) % 2 == 0);
            let found = keyed.find(hash(&key), key.service.as_str(), key.id.as_str());
            assert_eq!(found.and_then(|place| keyed.get(place)), map.get_key_value(&key).map(|(key, n)| (key.clone(), *n)).as_ref());
            match (comes, found) {
                (true, None) => {
                    let place = keyed.add(hash(&key), key.clone(), step, &hasher);
                    assert_eq!(keyed.at(place).map(|(known, _)| known.clone()), Some(key.clone()));
                    map.insert(key, step);
                }
                (true, Some(place)) => {
                    keyed.at(place).unwrap().1 = step;
                    map.insert(key, step);
                }
                (false, _) => {
                    keyed.remove(hash(&key), &key);
                    map.remove(&key);
                }
            }
            most = most.max(map.len());
        }
        assert!(most > 2 * BLOCK && keyed.places() == most, "{most} {}", keyed.places());
    }
}
