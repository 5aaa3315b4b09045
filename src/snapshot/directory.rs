//! Services by name and by slot, in pieces that snapshots share.
//!
//! ```text
//!   Directory ─▶ top ─▶ limb ─▶ branch ─▶ twig ─▶ leaf ─▶ service     8 services to a leaf, then 16, 16 and 32: 65,536 to a limb
//!            ╰─▶ names: 64 × 64 tables of slots, by the hash of the service's name
//! ```
//!
//! A change of one service copies the way to it: a leaf, a twig, a branch, a limb and the top, some 90 pointers of a million services', whose
//! counts grow by one, and shrink by one when the snapshot before is dropped. Counts are what it costs: each is an atomic addition that waits
//! for the one before it, and those of services and leaves lie where nobody has been for a while. So leaves are narrow.
//! `tests/bench/structures.rs` compares this to other ways.
//!
//! What is swapped by itself, slot by slot, takes the writer still less, and a query pays for it once per service it looks at instead of once
//! per batch. And it loses what a snapshot is: a query that walks several services, or reads a drain and then a service, would see one before
//! a change and the other after it.
//!
//! A service keeps its slot while it is registered, and while a zone's policy refers to it: policies refer to slots. A slot that nobody has
//! is given to the next name.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;

use super::CompiledService;
use crate::codec::NameBuf;
use crate::model::Label;
use crate::routing::ServiceId;

/// Services of a leaf.
const LEAF: usize = 8;
/// Leaves of a twig.
const TWIG: usize = 16;
/// Twigs of a branch.
const BRANCH: usize = 16;
/// Branches of a limb.
const LIMB: usize = 32;

type Leaf = [Option<Arc<CompiledService>>; LEAF];
type Twig = [Option<Arc<Leaf>>; TWIG];
type Branch = [Option<Arc<Twig>>; BRANCH];
type Limb = [Option<Arc<Branch>>; LIMB];

const NO_BRANCH: Branch = [const { None }; BRANCH];
const NO_TWIG: Twig = [const { None }; TWIG];

/// Tables of names in a row of them, and rows.
const WIDTH: usize = 64;
/// Slots by the hash of the names of the services in them.
type Names = [Arc<[Arc<HashTable<u32>>; WIDTH]>; WIDTH];

/// The directory of services.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    top: Arc<Vec<Arc<Limb>>>,
    names: Arc<Names>,
    /// Slots of names that policies refer to while no such service is registered.
    awaited: Arc<BTreeMap<Label, ServiceId>>,
    /// Slots that policies of zones refer to.
    referred: Arc<BTreeMap<ServiceId, Label>>,
    free: Option<Arc<Free>>,
    /// Slots up to here have been given out.
    used: u32,
    registered: usize,
}

/// Slots that nobody has any more.
#[derive(Debug)]
struct Free {
    slot: u32,
    next: Option<Arc<Free>>,
}

impl Drop for Free {
    /// One by one: a list of many would end in as many calls within each other.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(free) = next {
            next = Arc::into_inner(free).and_then(|mut free| free.next.take());
        }
    }
}

impl Default for Directory {
    fn default() -> Directory {
        let table = Arc::new(HashTable::new());
        let tables: Arc<[Arc<HashTable<u32>>; WIDTH]> = Arc::new(std::array::from_fn(|_| table.clone()));
        Directory {
            top: Arc::default(),
            names: Arc::new(std::array::from_fn(|_| tables.clone())),
            awaited: Arc::default(),
            referred: Arc::default(),
            free: None,
            used: 0,
            registered: 0,
        }
    }
}

/// A hash that is the same in every process, and that of the label in a query's name: names are not secret, and an attacker cannot choose
/// which exist.
pub(super) fn hash(octets: &[u8]) -> u64 {
    NameBuf::hash_of_label(octets)
}

/// Where the table of a hash lies: its bits are none of those that the table itself uses.
fn table_of(hash: u64) -> (usize, usize) {
    ((hash >> 45) as usize % WIDTH, (hash >> 39) as usize % WIDTH)
}

/// What stands in a slot.
#[inline]
fn at(top: &[Arc<Limb>], slot: u32) -> Option<&Arc<CompiledService>> {
    let [limb, branch, twig, leaf, slot] = way(slot);
    top.get(limb)?[branch].as_ref()?[twig].as_ref()?[leaf].as_ref()?[slot].as_ref()
}

/// The way to a slot: the number of its limb, and its numbers in each.
#[inline]
fn way(slot: u32) -> [usize; 5] {
    let slot = slot as usize;
    let (leaf, twig, branch) = (slot / LEAF, slot / LEAF / TWIG, slot / LEAF / TWIG / BRANCH);
    [branch / LIMB, branch % LIMB, twig % BRANCH, leaf % TWIG, slot % LEAF]
}

/// A node of the way to a slot, as the directory's own.
fn own<Node: Clone, const WIDTH: usize>(place: &mut Option<Arc<[Option<Node>; WIDTH]>>) -> &mut [Option<Node>; WIDTH] {
    Arc::make_mut(place.get_or_insert_with(empty))
}

fn empty<Node, const WIDTH: usize>() -> Arc<[Option<Node>; WIDTH]> {
    Arc::new(std::array::from_fn(|_| None))
}

/// The pairs of nodes in two nodes that are not the same, with their numbers.
fn unlike<'a, Node, const WIDTH: usize>(
    one: Option<&'a [Option<Arc<Node>>; WIDTH]>,
    two: Option<&'a [Option<Arc<Node>>; WIDTH]>,
) -> impl Iterator<Item = (usize, Option<&'a Node>, Option<&'a Node>)> {
    let of = |nodes: Option<&'a [Option<Arc<Node>>; WIDTH]>, n: usize| nodes.and_then(|nodes| nodes[n].as_deref());
    let pairs = (0..WIDTH).map(move |n| (n, of(one, n), of(two, n)));
    pairs.filter(|(_, one, two)| match (one, two) {
        (Some(one), Some(two)) => !std::ptr::eq(*one, *two),
        (one, two) => one.is_some() || two.is_some(),
    })
}

impl Directory {
    /// The slot of a registered service, by its lower-case label.
    pub(super) fn find(&self, label: &[u8]) -> Option<ServiceId> {
        self.find_hashed(hash(label), label).map(|(id, _)| id)
    }

    /// The same where the label's hash is known; and what stands in the slot.
    #[inline]
    pub(super) fn find_hashed(&self, hash: u64, label: &[u8]) -> Option<(ServiceId, &CompiledService)> {
        let (branch, table) = table_of(hash);
        let mut found = None;
        self.names[branch][table].find(hash, |slot| {
            found = at(&self.top, *slot).filter(|service| service.label_octets() == label).map(|service| (ServiceId(*slot), &**service));
            found.is_some()
        });
        found
    }

    /// The first slot whose service's name may have that hash.
    #[inline]
    pub(super) fn first_of(&self, hash: u64) -> Option<ServiceId> {
        let (branch, table) = table_of(hash);
        self.names[branch][table].iter_hash(hash).next().copied().map(ServiceId)
    }

    /// What stands in a slot.
    #[inline]
    pub(super) fn at(&self, id: ServiceId) -> Option<&CompiledService> {
        at(&self.top, id.0).map(AsRef::as_ref)
    }

    /// Reads the counts that a change of a slot makes larger, and smaller again: a number that means nothing, but for which they had to be
    /// fetched.
    pub(super) fn counts(&self, id: ServiceId) -> usize {
        let [limb, branch, twig, leaf, _] = way(id.0);
        let twig = self.top.get(limb).and_then(|limb| limb[branch].as_ref()?[twig].as_ref());
        let leaf = twig.and_then(|twig| twig[leaf].as_ref());
        let leaves = twig.into_iter().flat_map(|twig| twig.iter().flatten()).map(Arc::strong_count);
        let services = leaf.into_iter().flat_map(|leaf| leaf.iter().flatten()).map(Arc::strong_count);
        leaves.chain(services).sum()
    }

    /// Every service with its slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ServiceId, &CompiledService)> {
        let branches = self.top.iter().flat_map(|limb| limb.iter());
        let twigs = branches.flat_map(|branch| branch.as_deref().unwrap_or(&NO_BRANCH));
        let leaves = twigs.flat_map(|twig| twig.as_deref().unwrap_or(&NO_TWIG)).enumerate();
        let leaves = leaves.filter_map(|(n, leaf)| Some((n, leaf.as_ref()?)));
        leaves.flat_map(|(n, leaf)| {
            let slots = leaf.iter().enumerate();
            slots.filter_map(move |(slot, service)| Some((ServiceId((n * LEAF + slot) as u32), service.as_deref()?)))
        })
    }

    /// Slots in which something else stands than in another directory, from which this one came. What both share is passed over.
    pub(super) fn differing(&self, other: &Directory) -> Vec<ServiceId> {
        let mut differing = Vec::new();
        for limb in 0..self.top.len().max(other.top.len()) {
            let (one, two) = (self.top.get(limb), other.top.get(limb));
            if one.zip(two).is_some_and(|(one, two)| Arc::ptr_eq(one, two)) {
                continue;
            }
            for (branch, one, two) in unlike(one.map(AsRef::as_ref), two.map(AsRef::as_ref)) {
                for (twig, one, two) in unlike(one, two) {
                    for (leaf, one, two) in unlike(one, two) {
                        let first = (((limb * LIMB + branch) * BRANCH + twig) * TWIG + leaf) * LEAF;
                        differing.extend(unlike(one, two).map(|(slot, ..)| ServiceId((first + slot) as u32)));
                    }
                }
            }
        }
        differing
    }

    /// How many services are registered.
    pub(super) fn len(&self) -> usize {
        self.registered
    }

    /// The slot of a name; a new one where it has none yet. [`Directory::put`] comes next.
    pub(super) fn reserve(&mut self, label: &[u8]) -> ServiceId {
        let awaited = |directory: &Directory| directory.awaited.get(std::str::from_utf8(label).ok()?).copied();
        if let Some(id) = self.find(label).or_else(|| awaited(self)) {
            return id;
        }
        if let Some(free) = self.free.take() {
            self.free = free.next.clone();
            return ServiceId(free.slot);
        }
        self.used += 1;
        ServiceId(self.used - 1)
    }

    /// The same for a policy of a zone, which may speak of services that are registered later. [`Directory::refer`] comes next.
    pub(super) fn expect(&mut self, label: &Label) -> ServiceId {
        let id = self.reserve(label.as_bytes());
        if at(&self.top, id.0).is_none() && !self.awaited.contains_key(label) {
            Arc::make_mut(&mut self.awaited).insert(label.clone(), id);
        }
        id
    }

    /// Puts a service into the slot that was reserved for its name, or empties it.
    pub(super) fn put(&mut self, id: ServiceId, service: Option<Arc<CompiledService>>) {
        let Some(known) = at(&self.top, id.0).map(AsRef::as_ref) else {
            if let Some(service) = service {
                if self.awaited.contains_key(service.label()) {
                    Arc::make_mut(&mut self.awaited).remove(service.label());
                }
                let hash = hash(service.label_octets());
                *self.slot(id) = Some(service);
                self.registered += 1;
                let (top, (branch, table)) = (&self.top, table_of(hash));
                let hash_of = |slot: &u32| at(top, *slot).map_or(0, |service| self::hash(service.label_octets()));
                let names = Arc::make_mut(&mut Arc::make_mut(&mut self.names)[branch]);
                Arc::make_mut(&mut names[table]).insert_unique(hash, id.0, hash_of);
            }
            return;
        };
        if service.is_none() {
            let hash = hash(known.label_octets());
            let label = self.referred.contains_key(&id).then(|| Label::parse(known.label()).ok()).flatten();
            let (branch, table) = table_of(hash);
            let names = Arc::make_mut(&mut Arc::make_mut(&mut self.names)[branch]);
            if let Ok(entry) = Arc::make_mut(&mut names[table]).find_entry(hash, |slot| *slot == id.0) {
                entry.remove();
            }
            self.registered -= 1;
            self.leave(id, label);
        }
        *self.slot(id) = service;
    }

    /// Takes the services that policies of zones refer to, in place of those before: each has a slot that is expected.
    pub(super) fn refer(&mut self, referred: BTreeMap<ServiceId, Label>) {
        self.referred = Arc::new(referred);
        let awaited = std::mem::take(&mut self.awaited);
        for (label, id) in awaited.iter() {
            self.leave(*id, self.referred.contains_key(id).then(|| label.clone()));
        }
    }

    /// Keeps a slot without a service for policies that refer to it by this name, else for the next name.
    fn leave(&mut self, id: ServiceId, referred: Option<Label>) {
        match referred {
            Some(label) => _ = Arc::make_mut(&mut self.awaited).insert(label, id),
            None => self.free = Some(Arc::new(Free { slot: id.0, next: self.free.take() })),
        }
    }

    /// The place of a slot, on a way that is this directory's own.
    fn slot(&mut self, id: ServiceId) -> &mut Option<Arc<CompiledService>> {
        let [limb, branch, twig, leaf, slot] = way(id.0);
        let top = Arc::make_mut(&mut self.top);
        while top.len() <= limb {
            top.push(empty());
        }
        let branch = own(&mut Arc::make_mut(&mut top[limb])[branch]);
        &mut own(&mut own(&mut branch[twig])[leaf])[slot]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(n: usize) -> Label {
        Label::parse(&format!("s{n}")).unwrap()
    }

    fn put(directory: &mut Directory, n: usize) -> ServiceId {
        let id = directory.reserve(label(n).as_bytes());
        directory.put(id, Some(Arc::new(CompiledService::bare(&label(n)))));
        id
    }

    #[test]
    fn services_are_found_by_name_and_slot_and_those_before_see_nothing_of_it() {
        let mut directory = Directory::default();
        let count = LEAF * TWIG * BRANCH * LIMB + 2 * LEAF * TWIG + 3;
        let slots: Vec<ServiceId> = (0..count).map(|n| put(&mut directory, n)).collect();
        let before = directory.clone();
        for n in (0..count).step_by(3) {
            directory.put(slots[n], None);
        }
        let changed = put(&mut directory, 1);
        for (directory, left) in [(&before, count), (&directory, count - count.div_ceil(3))] {
            assert_eq!((directory.len(), directory.iter().count()), (left, left));
            for (n, slot) in slots.iter().enumerate() {
                let is_there = left == count || n % 3 != 0;
                assert_eq!(directory.find(label(n).as_bytes()), is_there.then_some(*slot));
                assert_eq!(directory.at(*slot).map(|service| service.label().to_string()), is_there.then(|| label(n).to_string()));
            }
        }
        assert_eq!(changed, slots[1]);
    }

    #[test]
    fn ever_new_names_take_the_slots_of_those_that_are_gone() {
        let mut directory = Directory::default();
        for round in 0..100 {
            let slots: Vec<ServiceId> = (0..100).map(|n| put(&mut directory, 1000 * round + n)).collect();
            slots.into_iter().for_each(|slot| directory.put(slot, None));
        }
        assert_eq!((directory.used, directory.len(), directory.awaited.len()), (100, 0, 0));
        let tables = directory.names.iter().flat_map(|tables| tables.iter());
        assert_eq!(tables.map(|table| table.len()).sum::<usize>(), 0);
    }

    #[test]
    fn a_slot_that_policies_refer_to_is_its_services_for_as_long() {
        let mut directory = Directory::default();
        let (web, api) = (directory.expect(&label(1)), directory.expect(&label(2)));
        directory.refer([(web, label(1)), (api, label(2))].into());
        assert_eq!(put(&mut directory, 1), web);
        directory.put(web, None);
        assert_ne!(put(&mut directory, 3), web, "kept for its service");
        assert_eq!((put(&mut directory, 1), put(&mut directory, 2)), (web, api), "it comes back to its own");
        directory.put(api, None);
        directory.refer([(web, label(1))].into());
        assert_eq!(put(&mut directory, 4), api, "nobody refers to it any more");
        directory.refer(BTreeMap::new());
        assert_eq!(directory.find(label(1).as_bytes()), Some(web), "it is registered");
    }
}
