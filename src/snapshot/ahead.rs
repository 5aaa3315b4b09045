//! What the answers to queries that came together will be read from, fetched for all of them at once.
//!
//! Where there is more of it than the processor's caches hold, an answer waits for memory twice or three times, each time for what the time
//! before said: the slot of the name, and what stands at the name. One query after the other waits for all of that in turn. Gone a step for
//! every query before the next step for any, the waits of one step are over at the same time.

use std::hint::black_box;

use super::directory::hash;
use super::{CompiledService, CompiledZone, Snapshot};
use crate::codec::NameBuf;
use crate::model::Label;
use crate::routing::ServiceId;

/// Octets of a zone's names, or services, from which on they are taken for more than the caches of one processor hold.
const VAST_OCTETS: usize = 4 << 20;
const VAST_SERVICES: usize = 10_000;

/// How far one query's name was followed.
#[derive(Debug, Clone, Copy, Default)]
pub enum Ahead<'s> {
    /// There is nothing more to fetch.
    #[default]
    Done,
    /// The slots of a zone's names come next.
    Slots(&'s CompiledZone, u64),
    /// What stands at a name of a zone.
    Name(&'s CompiledZone, u64),
    /// The slot of a service.
    Service(u64),
    /// The service in a slot.
    InSlot(ServiceId),
    /// Its instances.
    Instances(&'s CompiledService),
}

impl Snapshot {
    /// Most steps that there are to go.
    pub const STEPS: usize = 3;

    /// Whether it pays to fetch ahead: what answers are read from is more than the caches hold.
    #[inline]
    pub fn is_vast(&self) -> bool {
        self.vast_zones || self.directory.len() >= VAST_SERVICES
    }

    /// Where to begin for a name. Nothing is fetched yet but what all names have in common.
    #[inline]
    pub fn ahead(&self, name: &NameBuf) -> Ahead<'_> {
        match self.zone(name) {
            Some(zone) if zone.octets() >= VAST_OCTETS => Ahead::Slots(zone, zone.hash_of(name)),
            // Names of services lie before the apex.
            Some(zone) if zone.services() && self.directory.len() >= VAST_SERVICES => match zone.depth(name).checked_sub(1) {
                Some(label) => Ahead::Service(name.label_hash(label)),
                None => Ahead::Done,
            },
            _ => Ahead::Done,
        }
    }

    /// Goes a step on, and gives what it found on the way: a number that means nothing, but for which it had to be fetched.
    #[inline]
    pub fn step_ahead<'s>(&'s self, ahead: &mut Ahead<'s>) -> usize {
        let (next, found) = match *ahead {
            Ahead::Done => return 0,
            Ahead::Slots(zone, hash) => (Ahead::Name(zone, hash), zone.fetch_slots(hash)),
            Ahead::Name(zone, hash) => (Ahead::Done, zone.fetch_name(hash)),
            Ahead::Service(hash) => match self.directory.first_of(hash) {
                Some(id) => (Ahead::InSlot(id), id.0 as usize),
                None => (Ahead::Done, 0),
            },
            Ahead::InSlot(id) => match self.directory.at(id) {
                Some(service) => (Ahead::Instances(service), service.label_octets().len()),
                None => (Ahead::Done, 0),
            },
            // There may be none.
            Ahead::Instances(service) => (Ahead::Done, if service.is_empty() { 0 } else { service.pool().weight(0) as usize }),
        };
        *ahead = next;
        found
    }

    /// Fetches what changes of these services will read, so many at once at most.
    pub fn look_ahead<'l>(&self, services: impl Iterator<Item = &'l Label>) {
        if !self.is_vast() {
            return;
        }
        let mut slots = [None; AT_ONCE];
        let mut found = 0;
        for (slot, service) in slots.iter_mut().zip(services) {
            *slot = self.directory.first_of(hash(service.as_bytes()));
        }
        let slots = || slots.iter().copied().flatten();
        found += slots().map(|slot| self.directory.counts(slot)).sum::<usize>();
        let services = || slots().filter_map(|slot| self.directory.at(slot));
        found += services().map(|service| service.pool().len() + service.label_octets().len()).sum::<usize>();
        found += services()
            .map(|service| service.pool().fetch() + usize::from(service.label_octets().first().copied().unwrap_or_default()))
            .sum::<usize>();
        black_box(found);
    }
}

/// Changes that are looked ahead for at once.
const AT_ONCE: usize = 64;

/// Whether a zone has more names than the caches hold.
pub(super) fn is_vast(zone: &CompiledZone) -> bool {
    zone.octets() >= VAST_OCTETS
}
