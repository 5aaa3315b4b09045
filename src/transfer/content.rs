//! What a zone holds, record by record.

use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip128::{Hash128, Hasher128, SipHasher13};

use crate::codec::code::rtype;
use crate::codec::{Rest, Writer};
use crate::snapshot::{CompiledZone, Owner, RrSet};

/// A record of class IN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record<'r> {
    /// The owner's name in wire form, uncompressed.
    pub owner: &'r [u8],
    /// The type.
    pub rtype: u16,
    /// Seconds.
    pub ttl: u32,
    /// RDATA, uncompressed.
    pub data: &'r [u8],
}

/// Records, one behind the other in one piece of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Of each: octets of the owner, 1; the owner; type, 2; TTL, 4; octets of the data, 2; the data.
    octets: Vec<u8>,
    count: usize,
}

impl Records {
    /// Appends one.
    pub fn push(&mut self, record: Record<'_>) {
        self.octets.push(record.owner.len() as u8);
        self.octets.extend_from_slice(record.owner);
        self.octets.extend_from_slice(&record.rtype.to_be_bytes());
        self.octets.extend_from_slice(&record.ttl.to_be_bytes());
        self.octets.extend_from_slice(&(record.data.len() as u16).to_be_bytes());
        self.octets.extend_from_slice(record.data);
        self.count += 1;
    }

    /// The record that begins at an offset, and where the next one does.
    pub fn at(&self, at: usize) -> Option<(Record<'_>, usize)> {
        let (length, rest) = self.octets.get(at..)?.split_first()?;
        let (owner, rest) = rest.split_at_checked(usize::from(*length))?;
        let ([t0, t1, s0, s1, s2, s3, l0, l1], rest) = rest.split_first_chunk::<8>()?;
        let data = rest.get(..usize::from(u16::from_be_bytes([*l0, *l1])))?;
        let record = Record { owner, rtype: u16::from_be_bytes([*t0, *t1]), ttl: u32::from_be_bytes([*s0, *s1, *s2, *s3]), data };
        Some((record, at + 9 + owner.len() + data.len()))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (record, next) = self.at(at)?;
            at = next;
            Some(record)
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many octets they take.
    pub fn size(&self) -> usize {
        self.octets.len()
    }

    /// Takes all of them out; the memory stays.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.count = 0;
    }

    /// As they lie in memory, for [`Records::parse`].
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Reads what [`Records::octets`] gave; `None`: it did not.
    pub fn parse(octets: &[u8]) -> Option<Records> {
        let mut records = Records { octets: octets.to_vec(), count: 0 };
        let mut at = 0;
        while at < octets.len() {
            at = records.at(at)?.1;
            records.count += 1;
        }
        Some(records)
    }

    /// What tells these records from others, in whatever order they are. Those of two lists, each record in one of them, are added.
    pub fn print(&self) -> Print {
        let hash = |record: Record<'_>| {
            let mut hash = SipHasher13::new_with_key(b"signpost journal");
            hash.write_u8(record.owner.len() as u8);
            hash.write(record.owner);
            hash.write_u16(record.rtype);
            hash.write_u32(record.ttl);
            hash.write(record.data);
            let Hash128 { h1, h2 } = hash.finish128();
            Print(u128::from(h1) << 64 | u128::from(h2))
        };
        self.iter().map(hash).fold(Print::default(), Print::with)
    }

    /// The same records in their order, each once.
    pub fn sorted(&self) -> Records {
        let mut all: Vec<Record<'_>> = self.iter().collect();
        all.sort_unstable();
        all.dedup();
        let mut sorted = Records { octets: Vec::with_capacity(self.octets.len()), count: 0 };
        all.into_iter().for_each(|record| sorted.push(record));
        sorted
    }
}

/// A hash of records whose order does not count: of what a zone holds, it follows from that of the version before and the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Print(pub u128);

impl Print {
    /// With these records too.
    pub fn with(self, added: Print) -> Print {
        Print(self.0.wrapping_add(added.0))
    }

    /// Without these records.
    pub fn without(self, removed: Print) -> Print {
        Print(self.0.wrapping_sub(removed.0))
    }
}

/// A zone as it is transferred, with one serial.
#[derive(Debug, Clone)]
pub struct Version {
    zone: Arc<CompiledZone>,
    rendered: Arc<Records>,
    soa: Arc<Records>,
}

impl Version {
    /// A zone, and what was rendered of it, in order.
    pub fn new(zone: Arc<CompiledZone>, rendered: Arc<Records>) -> Version {
        let mut soa = Records::default();
        let mut scratch = Vec::new();
        if let Some(set) = zone.at(&[]).and_then(|apex| apex.set(rtype::SOA)) {
            add(&zone, &[], set, &mut scratch, &mut soa);
        }
        Version { zone, rendered, soa: Arc::new(soa) }
    }

    /// The zone.
    pub fn zone(&self) -> &Arc<CompiledZone> {
        &self.zone
    }

    /// What was rendered.
    pub fn rendered(&self) -> &Arc<Records> {
        &self.rendered
    }

    /// The SOA record.
    pub fn soa(&self) -> &Arc<Records> {
        &self.soa
    }

    /// The serial.
    pub fn serial(&self) -> u32 {
        serial_of(&self.soa)
    }

    /// What tells its records, the SOA aside, from those of another version.
    pub fn print(&self) -> Print {
        let (mut walk, mut records, mut print) = (Walk::new(self.zone.clone()), Records::default(), self.rendered.print());
        while walk.take(&mut records) {
            print = print.with(records.print());
            records.clear();
        }
        print
    }
}

/// The serial of an SOA record.
pub(super) fn serial_of(soa: &Records) -> u32 {
    // RFC 1035 §3.3.13: the first of five numbers behind two names.
    let data = soa.at(0).map_or(&[][..], |(record, _)| record.data);
    data.len().checked_sub(20).and_then(|at| data.get(at..)?.first_chunk()).map_or(0, |serial| u32::from_be_bytes(*serial))
}

/// The static records of a zone, owner by owner, in the order of their keys.
#[derive(Debug)]
pub(super) struct Walk {
    zone: Arc<CompiledZone>,
    at: usize,
    scratch: Vec<u8>,
}

impl Walk {
    pub fn new(zone: Arc<CompiledZone>) -> Walk {
        Walk { zone, at: 0, scratch: Vec::new() }
    }

    /// The key of the next owner, and what stands there.
    pub fn peek(&self) -> Option<(&[u8], Owner<'_>)> {
        self.zone.owner_from(self.at).map(|(key, owner, _)| (key, owner))
    }

    /// Leaves the next owner out.
    pub fn skip(&mut self) {
        self.at = self.zone.owner_from(self.at).map_or(usize::MAX, |(.., next)| next);
    }

    /// Appends what the next owner has, but the SOA; `false` behind the last.
    pub fn take(&mut self, records: &mut Records) -> bool {
        let Some((key, owner, next)) = self.zone.owner_from(self.at) else { return false };
        // Signatures are made as they are asked for, so a copy has none, and keys beside no signatures would only mislead.
        let of_keys =
            |rtype: u16| key.is_empty() && self.zone.epoch().is_some() && matches!(rtype, rtype::DNSKEY | rtype::CDS | rtype::CDNSKEY);
        for set in owner.sets().filter(|set| set.rtype() != rtype::SOA && !of_keys(set.rtype())) {
            add(&self.zone, key, set, &mut self.scratch, records);
        }
        self.at = next;
        true
    }
}

/// Appends the records of a set that stands at a key.
fn add(zone: &CompiledZone, key: &[u8], set: RrSet<'_>, scratch: &mut Vec<u8>, records: &mut Records) {
    let mut owner = Vec::with_capacity(255);
    owner.extend_from_slice(key);
    owner.extend_from_slice(zone.apex());
    for record in set.records() {
        // Two pointers become two names.
        scratch.resize(record.data.len() + 2 * zone.apex().len(), 0);
        let mut writer = Writer::new(scratch);
        if record.write(&mut writer, Rest::Spelled(zone.apex())).is_ok() {
            records.push(Record { owner: &owner, rtype: set.rtype(), ttl: set.ttl_of(&record), data: writer.written(0) });
        }
    }
}
