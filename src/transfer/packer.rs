//! A message that is filled with records, its names compressed (RFC 1035 §4.1.4, RFC 5936 §3.4).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::content::Record;
use crate::codec::code::{CLASS_IN, rtype};
use crate::codec::{Full, HEADER};

/// Pointers lead no further.
const REACH: usize = 0x4000;

/// A message under way.
#[derive(Debug)]
pub(super) struct Packer {
    octets: Vec<u8>,
    limit: usize,
    answers: u16,
    /// Where a name, known by its hash, stands in the message. What is found is compared: a hash proves nothing.
    names: HashMap<u64, u16>,
    /// The hashes that the record under way brought.
    fresh: Vec<u64>,
}

impl Packer {
    pub fn new() -> Packer {
        Packer { octets: Vec::new(), limit: 0, answers: 0, names: HashMap::new(), fresh: Vec::new() }
    }

    /// Begins a message with a header, and a question or none behind it; at most `limit` octets.
    pub fn begin(&mut self, opening: &[u8], limit: usize) {
        self.octets.clear();
        self.octets.extend_from_slice(opening);
        self.names.clear();
        (self.limit, self.answers) = (limit.min(65_535), 0);
        if opening.len() > HEADER {
            // In the spelling of who asks: where that is not ours, the first record spells it again.
            let name = &opening[HEADER..opening.len().saturating_sub(4).max(HEADER)];
            suffixes(name).into_iter().for_each(|(at, hash)| self.note(hash, HEADER + at));
        }
    }

    /// Whether no record is in it.
    pub fn is_empty(&self) -> bool {
        self.answers == 0
    }

    /// Appends a record; where it does not fit, nothing of it is left.
    pub fn add(&mut self, record: Record<'_>) -> Result<(), Full> {
        let begin = self.octets.len();
        self.fresh.clear();
        let written = self.write(record).and_then(|()| self.answers.checked_add(1).ok_or(Full));
        match written {
            Ok(answers) => {
                self.answers = answers;
                Ok(())
            }
            Err(Full) => {
                self.octets.truncate(begin);
                for hash in self.fresh.drain(..) {
                    self.names.remove(&hash);
                }
                Err(Full)
            }
        }
    }

    /// The message, with the number of its answers.
    pub fn finish(&mut self) -> Vec<u8> {
        if let Some(count) = self.octets.get_mut(6..8) {
            count.copy_from_slice(&self.answers.to_be_bytes());
        }
        std::mem::take(&mut self.octets)
    }

    fn write(&mut self, record: Record<'_>) -> Result<(), Full> {
        self.name(record.owner)?;
        self.put(&record.rtype.to_be_bytes())?;
        self.put(&CLASS_IN.to_be_bytes())?;
        self.put(&record.ttl.to_be_bytes())?;
        self.put(&[0, 0])?;
        let begin = self.octets.len();
        // RFC 3597 §4: names are compressed in the types of RFC 1035 alone.
        let (before, names) = match record.rtype {
            rtype::NS | rtype::CNAME | rtype::PTR | rtype::MB | rtype::MD | rtype::MF | rtype::MG | rtype::MR => (0, 1),
            rtype::MX => (2, 1),
            rtype::SOA | rtype::MINFO => (0, 2),
            _ => (record.data.len(), 0),
        };
        let (head, mut rest) = record.data.split_at_checked(before).unwrap_or((record.data, &[]));
        self.put(head)?;
        for _ in 0..names {
            let Some(length) = name_length(rest) else { break };
            let (name, behind) = rest.split_at(length);
            self.name(name)?;
            rest = behind;
        }
        self.put(rest)?;
        let length = u16::try_from(self.octets.len() - begin).map_err(|_| Full)?;
        self.octets[begin - 2..begin].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), Full> {
        if self.octets.len() + octets.len() > self.limit {
            return Err(Full);
        }
        self.octets.extend_from_slice(octets);
        Ok(())
    }

    /// Writes a name: as many labels as stand nowhere yet, and a pointer.
    fn name(&mut self, name: &[u8]) -> Result<(), Full> {
        let suffixes = suffixes(name);
        let known = suffixes.iter().find_map(|(at, hash)| {
            let to = *self.names.get(hash)?;
            self.stands(&name[*at..], to.into()).then_some((*at, to))
        });
        let begin = self.octets.len();
        let spelled = match known {
            Some((at, to)) => {
                self.put(&name[..at])?;
                self.put(&(0xc000 | to).to_be_bytes())?;
                at
            }
            None => {
                self.put(name)?;
                name.len()
            }
        };
        for (at, hash) in suffixes.into_iter().take_while(|(at, _)| *at < spelled && begin + at < REACH) {
            self.note(hash, begin + at);
        }
        Ok(())
    }

    /// Remembers where a name stands; the first place will do.
    fn note(&mut self, hash: u64, at: usize) {
        if let Entry::Vacant(place) = self.names.entry(hash) {
            place.insert(at as u16);
            self.fresh.push(hash);
        }
    }

    /// Whether `name` stands at an offset.
    fn stands(&self, name: &[u8], at: usize) -> bool {
        let mut rest = name;
        let same = self.follow(at, |label| match rest.strip_prefix(label) {
            Some(behind) => {
                rest = behind;
                true
            }
            None => false,
        });
        same && rest == [0]
    }

    /// Calls `each` with each label of the name that stands at an offset, its length included, as long as that wants more.
    fn follow(&self, mut at: usize, mut each: impl FnMut(&[u8]) -> bool) -> bool {
        loop {
            match self.octets.get(at).copied() {
                // Pointers lead back, for that is how they were written.
                Some(high @ 0xc0..) => match self.octets.get(at + 1) {
                    Some(low) => at = usize::from(u16::from_be_bytes([high & 0x3f, *low])),
                    None => return false,
                },
                Some(length @ 1..=63) => {
                    let end = at + 1 + usize::from(length);
                    match self.octets.get(at..end) {
                        Some(label) if each(label) => at = end,
                        _ => return false,
                    }
                }
                Some(0) => return true,
                _ => return false,
            }
        }
    }
}

/// The offsets of a name's suffixes but the root, longest first, and their hashes.
fn suffixes(name: &[u8]) -> Vec<(usize, u64)> {
    let mut starts = Vec::with_capacity(8);
    let mut at = 0;
    while let Some(length) = name.get(at).map(|length| usize::from(*length)).filter(|length| *length > 0) {
        starts.push(at);
        at += 1 + length;
    }
    let end = name.len().saturating_sub(1);
    starts.into_iter().map(|at| (at, hash(name.get(at..end).unwrap_or_default()))).collect()
}

/// FNV-1a, eight octets at a time as far as it goes: nobody outside chooses more than names of its own zone.
fn hash(labels: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let (words, rest) = labels.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    for octet in rest {
        hash = (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// Octets of the name that begins where `data` begins.
fn name_length(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *data.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}
