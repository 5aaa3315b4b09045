//! The names of a zone: one hash, one probe, and everything that stands at a name in one piece of memory.
//!
//! ```text
//!   slots:   tag, 4 │ where, 4     eight to a cache line; open addressing, next slot by next slot
//!   a name:  octets of the key, 1 │ 0 │ RRsets, 2 │ number of what else stands there, 4
//!            key, filled up to a multiple of 8
//!            RRsets, as `rrset` has them
//! ```
//! The tag is one half of the name's hash, the other half says where to begin to look: a name that is missing is told from the slots alone.

use std::sync::Arc;

use super::rrset::RrSetBuf;
use crate::codec::NameBuf;

/// Octets of a name's head.
const HEAD: usize = 8;
/// Nothing else stands at a name.
const NOTHING: u32 = u32::MAX;

/// All names of a zone.
#[derive(Default, Clone)]
pub(super) struct Names {
    slots: Arc<[Slot]>,
    octets: Box<[u8]>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    /// In units of 8 octets.
    at: u32,
}

const EMPTY: Slot = Slot { tag: 0, at: u32::MAX };

/// Where the slots begin in which a hash is looked for, and the tag that they have.
#[inline]
fn home(hash: u64, slots: usize) -> (usize, u32) {
    ((((hash >> 32) * slots as u64) >> 32) as usize, hash as u32)
}

/// What stands at a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'z> {
    /// Where.
    pub at: usize,
    /// The number of what else stands there, beyond any number where nothing does.
    pub extra: usize,
    /// How many RRsets.
    pub sets: u16,
    /// The RRsets, and whatever stands behind the name.
    pub octets: &'z [u8],
}

impl Names {
    /// How many octets a name takes.
    pub fn size(key: &[u8], sets: &[RrSetBuf]) -> usize {
        HEAD + key.len().next_multiple_of(8) + sets.iter().map(RrSetBuf::size).sum::<usize>()
    }

    /// What stands at the name whose key are the `length` octets of `name` from `start` on; `hash` is that of the whole name.
    #[inline(always)]
    pub fn find(&self, hash: u64, name: &NameBuf, start: usize, length: usize) -> Option<Found<'_>> {
        let (mut slot, tag) = home(hash, self.slots.len());
        loop {
            // The table is never full.
            let Slot { tag: found, at } = *self.slots.get(slot)?;
            if at == EMPTY.at {
                return None;
            }
            if found == tag
                && let Some(found) = self.is_at(at as usize * 8, name, start, length)
            {
                return Some(found);
            }
            slot = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
        }
    }

    /// Reads the first slot in which a hash is looked for. What is there is not looked into: a wrong guess about that would wait for it.
    #[inline]
    pub fn fetch_slots(&self, hash: u64) -> usize {
        self.slots.get(home(hash, self.slots.len()).0).map_or(0, |slot| slot.at as usize)
    }

    /// Reads what stands at the name with a hash, the beginning and what an RRset of one record reaches to.
    #[inline]
    pub fn fetch_name(&self, hash: u64) -> usize {
        let (slot, tag) = home(hash, self.slots.len());
        let slots = self.slots.iter().skip(slot).take_while(|slot| slot.at != EMPTY.at);
        let Some(at) = slots.filter(|slot| slot.tag == tag).map(|slot| slot.at as usize * 8).next() else { return 0 };
        let read = |at| self.octets.get(at).map_or(0, |octet| usize::from(*octet));
        read(at) + read(at + 64)
    }

    #[inline(always)]
    fn is_at(&self, at: usize, name: &NameBuf, start: usize, length: usize) -> Option<Found<'_>> {
        let (key, found) = self.read(at)?;
        let (same, octets) = key.split_at_checked((length + 7) & !7)?;
        (usize::from(*self.octets.get(at)?) == length && name.has(start, length, same)).then_some(Found { octets, ..found })
    }

    /// What stands at the name that begins there.
    #[inline]
    pub fn at(&self, at: usize) -> Option<Found<'_>> {
        let (key, found) = self.read(at)?;
        let length = usize::from(*self.octets.get(at)?);
        Some(Found { octets: key.get(length.next_multiple_of(8)..)?, ..found })
    }

    /// How many octets there are: behind the last name.
    pub fn end(&self) -> usize {
        self.octets.len()
    }

    /// Overwrites octets of what stands at a name.
    pub fn set(&mut self, at: usize, octets: &[u8]) {
        if let Some(written) = self.octets.get_mut(at..at + octets.len()) {
            written.copy_from_slice(octets);
        }
    }

    /// The key of the name that begins there.
    pub fn key(&self, at: usize) -> &[u8] {
        let length = self.octets.get(at).map_or(0, |length| usize::from(*length));
        self.octets.get(at + HEAD..at + HEAD + length).unwrap_or_default()
    }

    #[inline(always)]
    fn read(&self, at: usize) -> Option<(&[u8], Found<'_>)> {
        let (head, behind) = self.octets.get(at..)?.split_first_chunk::<HEAD>()?;
        let head = u64::from_le_bytes(*head);
        Some((behind, Found { at, extra: (head >> 32) as usize, sets: (head >> 16) as u16, octets: behind }))
    }
}

/// Names as they are gathered.
pub(super) struct Gathered {
    slots: Vec<Slot>,
    octets: Vec<u8>,
}

impl Gathered {
    /// Room for `count` names that take so many octets.
    pub fn with_capacity(count: usize, octets: usize) -> Gathered {
        // Five slots for three names: few probes, and 13 octets for each name.
        let slots = (count + count * 2 / 3 + 1).next_multiple_of(8);
        Gathered { slots: vec![EMPTY; slots], octets: Vec::with_capacity(octets) }
    }

    /// Where the next name will begin.
    pub fn position(&self) -> usize {
        self.octets.len()
    }

    /// Adds a name, with what belongs beside each of its RRsets, and the number of what else stands there. No name is added twice.
    pub fn add(&mut self, hash: u64, key: &[u8], sets: &[RrSetBuf], mut beside: impl FnMut(&RrSetBuf) -> Option<u32>, extra: Option<u32>) {
        let (mut slot, tag) = home(hash, self.slots.len());
        while self.slots[slot].at != EMPTY.at {
            slot = (slot + 1) % self.slots.len();
        }
        self.slots[slot] = Slot { tag, at: (self.octets.len() / 8) as u32 };
        self.octets.extend([key.len() as u8, 0]);
        self.octets.extend((sets.len() as u16).to_le_bytes());
        self.octets.extend(extra.unwrap_or(NOTHING).to_le_bytes());
        self.octets.extend_from_slice(key);
        self.octets.resize(self.octets.len().next_multiple_of(8), 0);
        sets.iter().for_each(|set| set.append(beside(set), &mut self.octets));
    }

    /// All of them.
    pub fn finish(self) -> Names {
        Names { octets: self.octets.into(), slots: self.slots.into() }
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("slots", &self.slots.len()).field("octets", &self.octets.len()).finish()
    }
}
