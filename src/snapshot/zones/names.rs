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

use super::rrset::{Head, RrSetBuf};
use crate::codec::NameBuf;

/// Octets of a name's head.
const HEAD: usize = 8;
/// Nothing else stands at a name.
const NOTHING: u32 = u32::MAX;

/// All names of a zone.
#[derive(Default, Clone)]
pub(super) struct Names {
    slots: Arc<[Slot]>,
    /// Slots that are taken, by names that are gone too.
    taken: usize,
    octets: Box<[u8]>,
}

/// What comes in the place of some octets of the names.
pub(super) struct Piece {
    /// Where the name begins that it replaces, or before which it goes.
    pub from: usize,
    /// Where that ends; `from`: nothing is replaced.
    pub to: usize,
    /// The hash of the name.
    pub hash: u64,
    /// The name from then on; empty: it is gone.
    pub octets: Vec<u8>,
}

/// How far names have moved.
pub(super) struct Shift(Vec<(usize, isize)>);

impl Shift {
    /// Where a name begins that began there and was not replaced by nothing.
    pub fn of(&self, at: usize) -> usize {
        match self.0.partition_point(|(end, _)| *end <= at).checked_sub(1).and_then(|last| self.0.get(last)) {
            Some((_, by)) => at.wrapping_add_signed(*by),
            None => at,
        }
    }
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

impl Found<'_> {
    /// The RRsets, each with memory of its own.
    pub fn bufs(&self) -> Vec<RrSetBuf> {
        let mut octets = self.octets;
        let next = |_| {
            let (set, behind) = octets.split_at_checked(Head::of(octets)?.size())?;
            octets = behind;
            Some(RrSetBuf::copied(set))
        };
        (0..self.sets).map_while(next).collect()
    }
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

    /// How many there are; a name that is gone still counts.
    pub fn len(&self) -> usize {
        self.taken
    }

    /// A name as it lies in memory: with what belongs beside each of its RRsets, and the number of what else stands there.
    pub fn encode(key: &[u8], sets: &[RrSetBuf], mut beside: impl FnMut(&RrSetBuf) -> Option<u32>, extra: Option<u32>) -> Vec<u8> {
        let mut octets = Vec::with_capacity(Names::size(key, sets));
        octets.extend([key.len() as u8, 0]);
        octets.extend((sets.len() as u16).to_le_bytes());
        octets.extend(extra.unwrap_or(NOTHING).to_le_bytes());
        octets.extend_from_slice(key);
        octets.resize(octets.len().next_multiple_of(8), 0);
        sets.iter().for_each(|set| set.append(beside(set), &mut octets));
        octets
    }

    /// The names with some of them otherwise, and how far the others have moved. The pieces are in order; the first name, the apex, stays.
    /// `hash`: of the name of a key.
    pub fn spliced(&self, pieces: &[Piece], hash: impl Fn(&[u8]) -> u64) -> (Names, Shift) {
        let (mut octets, mut at, mut moves, mut by) = (Vec::new(), 0, Vec::with_capacity(pieces.len()), 0);
        let grown = pieces.iter().map(|piece| piece.octets.len()).sum::<usize>();
        octets.reserve_exact((self.octets.len() + grown).saturating_sub(pieces.iter().map(|piece| piece.to - piece.from).sum()));
        for piece in pieces {
            octets.extend_from_slice(&self.octets[at..piece.from]);
            octets.extend_from_slice(&piece.octets);
            at = piece.to;
            by += piece.octets.len() as isize - (piece.to - piece.from) as isize;
            moves.push((piece.to, by));
        }
        octets.extend_from_slice(&self.octets[at..]);
        let shift = Shift(moves);
        let names = Names { slots: Arc::default(), taken: self.taken, octets: octets.into() };
        let new = pieces.iter().filter(|piece| piece.from == piece.to && !piece.octets.is_empty()).count();
        // More than that, and probes become many.
        if (self.taken + new) * 5 > self.slots.len() * 4 {
            return (names.hashed(hash), shift);
        }
        let gone: Vec<usize> = pieces.iter().filter(|piece| piece.octets.is_empty()).map(|piece| piece.from).collect();
        let moved = |slot: &Slot| match slot.at as usize * 8 {
            _ if slot.at == EMPTY.at => *slot,
            // Whoever comes by goes on: what it leads to is the apex, which is found before by all who look for it.
            at if gone.binary_search(&at).is_ok() => Slot { at: 0, ..*slot },
            at => Slot { at: (shift.of(at) / 8) as u32, ..*slot },
        };
        let mut slots: Vec<Slot> = self.slots.iter().map(moved).collect();
        let (mut before, mut taken) = (0_isize, self.taken);
        for piece in pieces {
            if piece.from == piece.to && !piece.octets.is_empty() {
                put(&mut slots, piece.hash, piece.from.wrapping_add_signed(before));
                taken += 1;
            }
            before += piece.octets.len() as isize - (piece.to - piece.from) as isize;
        }
        (Names { slots: slots.into(), taken, ..names }, shift)
    }

    /// The same with slots made anew.
    fn hashed(self, hash: impl Fn(&[u8]) -> u64) -> Names {
        let next = |at: usize| {
            let found = self.at(at).filter(|_| at < self.end())?;
            let sets: usize = found.bufs().iter().map(RrSetBuf::size).sum();
            Some(self.end() - found.octets.len() + sets)
        };
        let starts: Vec<usize> = std::iter::successors(Some(0), |at| next(*at)).take_while(|at| *at < self.end()).collect();
        let mut slots = vec![EMPTY; room(starts.len())];
        starts.iter().for_each(|at| put(&mut slots, hash(self.key(*at)), *at));
        Names { slots: slots.into(), taken: starts.len(), octets: self.octets }
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

/// Slots for so many names: five for three, so that probes are few, and 13 octets for each name.
fn room(names: usize) -> usize {
    (names + names * 2 / 3 + 1).next_multiple_of(8)
}

/// Puts where a name begins into a slot; there is an empty one.
fn put(slots: &mut [Slot], hash: u64, at: usize) {
    let (mut slot, tag) = home(hash, slots.len());
    while slots[slot].at != EMPTY.at {
        slot = (slot + 1) % slots.len();
    }
    slots[slot] = Slot { tag, at: (at / 8) as u32 };
}

/// Names as they are gathered.
pub(super) struct Gathered {
    slots: Vec<Slot>,
    taken: usize,
    octets: Vec<u8>,
}

impl Gathered {
    /// Room for `count` names that take so many octets.
    pub fn with_capacity(count: usize, octets: usize) -> Gathered {
        Gathered { slots: vec![EMPTY; room(count)], taken: 0, octets: Vec::with_capacity(octets) }
    }

    /// Where the next name will begin.
    pub fn position(&self) -> usize {
        self.octets.len()
    }

    /// Adds a name: see [`Names::encode`]. No name is added twice.
    pub fn add(&mut self, hash: u64, name: &[u8]) {
        put(&mut self.slots, hash, self.octets.len());
        self.taken += 1;
        self.octets.extend_from_slice(name);
    }

    /// All of them.
    pub fn finish(self) -> Names {
        Names { octets: self.octets.into(), taken: self.taken, slots: self.slots.into() }
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("slots", &self.slots.len()).field("octets", &self.octets.len()).finish()
    }
}
