//! Services by name and by slot, in pieces that snapshots share.
//!
//! A service keeps its slot for as long as the process runs, also while it is not registered: policies refer to slots.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use hashbrown::HashTable;

use super::CompiledService;
use crate::model::Label;
use crate::routing::ServiceId;

/// Slots of one piece: what an update of one service copies.
const CHUNK: usize = 256;
/// Pieces of the index of names; copied when a name is new.
const SHARDS: usize = 256;

type Slots = Vec<Option<Arc<CompiledService>>>;
type Names = HashTable<(Label, ServiceId)>;

/// The directory of services.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    chunks: Arc<Vec<Arc<Slots>>>,
    shards: Arc<Vec<Arc<Names>>>,
    reserved: u32,
    registered: usize,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory { chunks: Arc::default(), shards: Arc::new(vec![Arc::default(); SHARDS]), reserved: 0, registered: 0 }
    }
}

/// A hash that is the same in every process: names are not secret, and an attacker cannot choose which exist.
pub(super) fn hash(octets: &[u8]) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(0x5169_6e70).build_hasher();
    hasher.write(octets);
    hasher.finish()
}

/// The shard comes from the high bits of the hash; the table within it uses the low ones.
fn shard_of(hash: u64) -> usize {
    (hash >> 48) as usize % SHARDS
}

impl Directory {
    /// The slot of a name, by its lower-case label.
    pub(super) fn find(&self, label: &[u8]) -> Option<ServiceId> {
        let hash = hash(label);
        let names = &self.shards[shard_of(hash)];
        names.find(hash, |(known, _)| known.as_str().as_bytes() == label).map(|(_, id)| *id)
    }

    /// What stands in a slot.
    #[inline]
    pub(super) fn at(&self, id: ServiceId) -> Option<&CompiledService> {
        let slot = id.0 as usize;
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?.as_deref()
    }

    /// Every service with its slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ServiceId, &CompiledService)> {
        let slots = self.chunks.iter().flat_map(|chunk| chunk.iter());
        slots.enumerate().filter_map(|(slot, service)| Some((ServiceId(slot as u32), service.as_deref()?)))
    }

    /// How many services are registered.
    pub(super) fn len(&self) -> usize {
        self.registered
    }

    /// The slot of a name; a new one where it has none yet.
    pub(super) fn reserve(&mut self, label: &Label) -> ServiceId {
        if let Some(id) = self.find(label.as_str().as_bytes()) {
            return id;
        }
        let id = ServiceId(self.reserved);
        self.reserved += 1;
        let hash_of = |entry: &(Label, ServiceId)| hash(entry.0.as_str().as_bytes());
        let hash = hash(label.as_str().as_bytes());
        let names = &mut Arc::make_mut(&mut self.shards)[shard_of(hash)];
        Arc::make_mut(names).insert_unique(hash, (label.clone(), id), hash_of);
        let chunks = Arc::make_mut(&mut self.chunks);
        if (id.0 as usize).is_multiple_of(CHUNK) {
            chunks.push(Arc::new(Vec::with_capacity(CHUNK)));
        }
        if let Some(last) = chunks.last_mut() {
            Arc::make_mut(last).push(None);
        }
        id
    }

    /// Puts a service into its slot, or empties it.
    pub(super) fn put(&mut self, id: ServiceId, service: Option<Arc<CompiledService>>) {
        let slot = id.0 as usize;
        let Some(chunk) = Arc::make_mut(&mut self.chunks).get_mut(slot / CHUNK) else { return };
        let Some(place) = Arc::make_mut(chunk).get_mut(slot % CHUNK) else { return };
        self.registered = self.registered + usize::from(service.is_some()) - usize::from(place.is_some());
        *place = service;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_comes_back_has_the_slot_that_it_had() {
        let mut directory = Directory::default();
        let label = |n: usize| Label::parse(&format!("s{n}")).unwrap();
        let slots: Vec<ServiceId> = (0..2 * CHUNK).map(|n| directory.reserve(&label(n))).collect();
        for round in 0..3 {
            for (n, slot) in slots.iter().enumerate() {
                directory.put(*slot, None);
                assert_eq!(directory.reserve(&label(n)), *slot, "round {round}");
            }
        }
        assert_eq!((directory.reserved as usize, directory.chunks.len(), directory.len()), (2 * CHUNK, 2, 0));
    }
}
