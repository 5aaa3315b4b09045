//! RRsets encoded ahead: whole records, as they stand in the answer to a question for their own name.
//!
//! ```text
//!   head, 16 octets:  type, 2 │ records, 2 │ octets of the records, 4 │ holes, 2 │ before, 1 │ 0 │ what belongs beside it, 4
//!   records:          C0 0C type class TTL length data …, filled up to a multiple of 8
//!   holes:            offsets in the records at which a pointer to the zone's apex stands, 4 each, filled up to a multiple of 8
//! ```
//! Numbers of the head are little-endian. The owner is a pointer to the question's name, and the apex a pointer into it, `before` octets
//! behind its beginning: one copy is the answer to a question for the owner. Where another name is asked for, the pointers are set anew.

use super::additional::Beside;
use crate::codec::code::{CLASS_IN, rtype};
use crate::codec::{Full, HEADER, MAX_NAME, NameBuf, Pointer, Rest, Spelling, Writer};
use crate::model::{Goal, Policy, RecordData};

/// Octets of the head.
const HEAD: usize = 16;
/// Where in the head it says what belongs beside the RRset.
const BESIDE: usize = 12;
/// Octets of a record before its data, the owner being a pointer.
pub const FIXED: usize = 12;
/// Nothing belongs beside the RRset.
const NOTHING: u32 = u32::MAX;

/// An RRset, encoded, where it lies in a zone.
#[derive(Debug, Clone, Copy)]
pub struct RrSet<'z> {
    rtype: u16,
    count: u16,
    before: u8,
    octets: &'z [u8],
    holes: &'z [u8],
    beside: Option<&'z Beside>,
}

/// An RRset, encoded, with memory of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrSetBuf(Box<[u8]>);

/// What stands ahead of an RRset's records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'z>(&'z [u8; HEAD]);

/// One record of an RRset.
#[derive(Debug, Clone, Copy)]
pub struct Record<'z> {
    /// The offset in the RRset's octets at which it begins.
    pub at: usize,
    /// Its data.
    pub data: &'z [u8],
    /// The offsets in the data at which a pointer to the apex stands.
    pub holes: [Option<u16>; 2],
}

/// Why data cannot stand in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DataError {
    /// It does not have the shape of its type.
    #[error("record data is malformed for its type")]
    Malformed,
    /// A record cannot be longer (RFC 1035 §4.1.3).
    #[error("record data is longer than 65,535 octets")]
    Long,
    /// A message cannot count more, nor hold them.
    #[error("an RRset has more than 65,535 records")]
    Many,
}

impl RrSetBuf {
    /// Encodes an RRset whose owner has `before` octets before the apex, which is in lower-case wire form; a record that stands twice is
    /// kept once (RFC 2181 §5).
    pub(super) fn encode(rtype: u16, ttl: u32, rdata: &[Box<[u8]>], before: usize, apex: &[u8]) -> Result<RrSetBuf, DataError> {
        let (mut count, mut records, mut all) = (0_usize, Vec::new(), Vec::new());
        let before = u8::try_from(before).map_err(|_| DataError::Malformed)?;
        for (n, data) in rdata.iter().enumerate() {
            if rdata[..n].contains(data) {
                continue;
            }
            u16::try_from(data.len()).map_err(|_| DataError::Long)?;
            let mut holes = holes(rtype, data, apex)?.into_iter().flatten().peekable();
            let saved = holes.clone().count() * (apex.len() - apex.len().min(2));
            records.extend(owner_pointer(0));
            records.extend([rtype, CLASS_IN].into_iter().flat_map(u16::to_be_bytes).chain(ttl.to_be_bytes()));
            records.extend(((data.len() - saved) as u16).to_be_bytes());
            let mut from = 0;
            while let Some(hole) = holes.next().map(usize::from) {
                records.extend_from_slice(&data[from..hole]);
                all.push(u32::try_from(records.len()).map_err(|_| DataError::Many)?);
                records.extend(owner_pointer(before.into()));
                from = hole + apex.len();
            }
            records.extend_from_slice(&data[from..]);
            count += 1;
        }
        let (Ok(count), Ok(holes)) = (u16::try_from(count), u16::try_from(all.len())) else { return Err(DataError::Many) };
        let length = u32::try_from(records.len()).map_err(|_| DataError::Many)?;
        let head = rtype.to_le_bytes().into_iter().chain(count.to_le_bytes()).chain(length.to_le_bytes()).chain(holes.to_le_bytes());
        let mut octets: Vec<u8> = head.chain([before, 0]).chain(NOTHING.to_le_bytes()).collect();
        octets.extend(records);
        octets.resize(octets.len().next_multiple_of(8), 0);
        octets.extend(all.into_iter().flat_map(u32::to_le_bytes));
        octets.resize(octets.len().next_multiple_of(8), 0);
        Ok(RrSetBuf(octets.into()))
    }

    /// The RRset.
    #[inline]
    pub fn set(&self) -> RrSet<'_> {
        RrSet::read(&self.0, &[]).map_or(RrSet::NONE, |(set, _)| set)
    }

    /// The same RRset with another TTL.
    pub(super) fn with_ttl(&self, ttl: u32) -> RrSetBuf {
        let mut octets = self.0.clone();
        for record in self.set().records() {
            octets[HEAD + record.at + 6..][..4].copy_from_slice(&ttl.to_be_bytes());
        }
        RrSetBuf(octets)
    }

    /// The same RRSIGs, each with the TTL of what it covers (RFC 4034 §3), which it says (§3.1.4).
    pub(super) fn with_original_ttls(&self) -> RrSetBuf {
        let mut octets = self.0.clone();
        for record in self.set().records() {
            let ttl = record.data.get(4..).and_then(|data| data.first_chunk()).map_or(0, |ttl| u32::from_be_bytes(*ttl));
            octets[HEAD + record.at + 6..][..4].copy_from_slice(&ttl.min(i32::MAX as u32).to_be_bytes());
        }
        RrSetBuf(octets)
    }

    /// The same SOA with another serial.
    pub(super) fn with_serial(&self, serial: u32) -> RrSetBuf {
        let mut octets = self.0.clone();
        if let Some(at) = self.set().serial_at() {
            octets[at..at + 4].copy_from_slice(&serial.to_be_bytes());
        }
        RrSetBuf(octets)
    }

    /// Appends it to a zone, where what belongs beside it has that number.
    pub(super) fn append(&self, beside: Option<u32>, octets: &mut Vec<u8>) {
        let begin = octets.len();
        octets.extend_from_slice(&self.0);
        octets[begin + BESIDE..][..4].copy_from_slice(&beside.unwrap_or(NOTHING).to_le_bytes());
    }

    /// One that lies in a zone, as it does there.
    pub(super) fn copied(octets: &[u8]) -> RrSetBuf {
        RrSetBuf(octets.into())
    }

    /// What belongs beside it in the zone that it lay in; beyond any number where nothing does.
    pub(super) fn beside_number(&self) -> usize {
        self.0.get(BESIDE..).and_then(|rest| rest.first_chunk()).map_or(usize::MAX, |number| u32::from_le_bytes(*number) as usize)
    }

    /// How many octets it takes, a multiple of 8.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }
}

impl<'z> RrSet<'z> {
    const NONE: RrSet<'static> = RrSet { rtype: 0, count: 0, before: 0, octets: &[], holes: &[], beside: None };

    /// The RRset that begins where `octets` begin, and what stands behind it.
    #[inline]
    pub(super) fn read(octets: &'z [u8], besides: &'z [Beside]) -> Option<(RrSet<'z>, &'z [u8])> {
        Head::of(octets)?.read(octets, besides)
    }

    /// The type.
    #[inline]
    pub fn rtype(&self) -> u16 {
        self.rtype
    }

    /// Seconds.
    #[inline]
    pub fn ttl(&self) -> u32 {
        self.octets.get(6..).and_then(|rest| rest.first_chunk()).map_or(0, |ttl| u32::from_be_bytes(*ttl))
    }

    /// That of one of its records, in seconds: signatures of several RRsets have several.
    pub fn ttl_of(&self, record: &Record<'_>) -> u32 {
        self.octets.get(record.at + 6..).and_then(|rest| rest.first_chunk()).map_or(0, |ttl| u32::from_be_bytes(*ttl))
    }

    /// Where it lies in memory: no other RRset of the snapshot lies there.
    #[inline]
    pub fn place(&self) -> *const u8 {
        self.octets.as_ptr()
    }

    /// The offset of an SOA's serial behind the beginning of its head: the first of five numbers that stand last (RFC 1035 §3.3.13).
    pub(super) fn serial_at(&self) -> Option<usize> {
        HEAD.checked_add(self.octets.len())?.checked_sub(20)
    }

    /// How many records it has.
    #[inline]
    pub fn len(&self) -> u16 {
        self.count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Octets that its owner has before the apex, as the pointers to the apex take it.
    #[inline]
    pub fn before(&self) -> usize {
        self.before.into()
    }

    /// All records, as they stand in the answer to a question for their owner.
    #[inline]
    pub fn octets(&self) -> &'z [u8] {
        self.octets
    }

    /// Whether a pointer to the apex stands anywhere in them.
    #[inline]
    pub fn has_holes(&self) -> bool {
        !self.holes.is_empty()
    }

    /// What belongs beside it in the additional section.
    #[inline]
    pub fn beside(&self) -> Option<&'z Beside> {
        self.beside
    }

    /// The offset of each of its records.
    #[inline]
    pub fn starts(&self) -> impl Iterator<Item = usize> + use<'z> {
        let (octets, mut next) = (self.octets, 0);
        std::iter::from_fn(move || {
            let at = next;
            next += record_length(octets.get(at..)?)?;
            Some(at)
        })
    }

    /// The offset of each pointer to the apex in its records.
    #[inline]
    pub fn holes(&self) -> impl Iterator<Item = usize> + use<'z> {
        self.holes.as_chunks().0.iter().map(|offset| u32::from_le_bytes(*offset) as usize)
    }

    /// Each of its records.
    #[inline]
    pub fn records(&self) -> impl Iterator<Item = Record<'z>> + use<'z> {
        let (octets, mut holes, mut at) = (self.octets, self.holes, 0);
        std::iter::from_fn(move || {
            let begin = at + FIXED;
            let end = at + record_length(octets.get(at..)?)?;
            let mut record = Record { at, data: octets.get(begin..end)?, holes: [None; 2] };
            for hole in &mut record.holes {
                let Some((next, behind)) = holes.split_first_chunk() else { break };
                let offset = u32::from_le_bytes(*next) as usize;
                if offset >= end {
                    break;
                }
                (*hole, holes) = (Some((offset - begin) as u16), behind);
            }
            at = end;
            Some(record)
        })
    }

    /// The name in the data of its first record, which begins there, as of a CNAME, and the offset in it at which a pointer to the apex
    /// stands.
    pub fn target(&self, apex: &[u8]) -> Option<(NameBuf, Option<usize>)> {
        let record = self.records().next()?;
        Some((record.name(0, apex)?, record.holes[0].map(usize::from)))
    }

    /// The types that belong in the additional section, at each name that it leads to.
    pub(super) fn additional_types(&self) -> impl Iterator<Item = u16> + use<> {
        // RFC 9460 §4.1: the records of the target itself too.
        let own = matches!(self.rtype, rtype::SVCB | rtype::HTTPS).then_some(self.rtype);
        [rtype::A, rtype::AAAA].into_iter().chain(own)
    }

    /// The names that its records lead to and whose addresses a client needs next, with the number of the record and the offset in the
    /// RRset's octets; `None`: its own name.
    pub(super) fn leads_to(&self, apex: &[u8]) -> impl Iterator<Item = (u16, usize, Option<NameBuf>)> {
        let (rtype, shape) = (self.rtype, Shape::of(self.rtype).filter(|shape| shape.additional));
        let records = shape.map(|shape| (shape, self.records().zip(0..)));
        records.into_iter().flat_map(move |(shape, records)| {
            records.filter_map(move |(record, n)| {
                let offset = usize::from(shape.before);
                let name = record.name(offset, apex)?;
                let binding = matches!(rtype, rtype::SVCB | rtype::HTTPS);
                let led = match name.labels() {
                    // RFC 9460 §2.5: "." is the owner in ServiceMode, and in AliasMode no service at all. No host has the root's name
                    // (RFC 7505 §3).
                    0 => (binding && record.data[..2] != [0, 0]).then_some(None)?,
                    _ => Some(name),
                };
                Some((n, record.begin() + offset, led))
            })
        })
    }
}

impl<'z> Head<'z> {
    /// That of the RRset that begins where `octets` begin.
    #[inline(always)]
    pub fn of(octets: &'z [u8]) -> Option<Head<'z>> {
        octets.first_chunk().map(Head)
    }

    /// The RRset's type.
    #[inline(always)]
    pub fn rtype(self) -> u16 {
        self.number(0) as u16
    }

    #[inline(always)]
    fn number(self, at: usize) -> u32 {
        self.0[at..].first_chunk().map_or(0, |octets| u32::from_le_bytes(*octets))
    }

    /// Octets of its records, and of its holes.
    #[inline(always)]
    fn lengths(self) -> (usize, usize) {
        (self.number(4) as usize, 4 * (self.number(8) & 0xffff) as usize)
    }

    /// Octets of all of it.
    #[inline(always)]
    pub fn size(self) -> usize {
        let (records, holes) = self.lengths();
        HEAD + padded(records) + padded(holes)
    }

    /// The RRset whose head this is, which begins where `octets` begin, and what stands behind it.
    #[inline(always)]
    pub fn read(self, octets: &'z [u8], besides: &'z [Beside]) -> Option<(RrSet<'z>, &'z [u8])> {
        let (length, holes) = self.lengths();
        let (set, rest) = octets.split_at_checked(self.size())?;
        let [_, _, c0, c1, _, _, _, _, _, _, before, ..] = *self.0;
        let offsets = HEAD + padded(length);
        let set = RrSet {
            rtype: self.rtype(),
            count: u16::from_le_bytes([c0, c1]),
            before,
            octets: set.get(HEAD..HEAD + length)?,
            holes: set.get(offsets..offsets + holes)?,
            beside: besides.get(self.number(BESIDE) as usize),
        };
        Some((set, rest))
    }
}

/// So many octets, filled up to a multiple of 8.
#[inline(always)]
fn padded(octets: usize) -> usize {
    (octets + 7) & !7
}

impl Record<'_> {
    /// The offset in the RRset's octets at which its data begins.
    #[inline]
    pub fn begin(&self) -> usize {
        self.at + FIXED
    }

    /// The offset in the RRset's octets behind it.
    pub fn end(&self) -> usize {
        self.begin() + self.data.len()
    }

    /// Writes the data. `apex`: what stands for the zone's apex.
    pub fn write(&self, writer: &mut Writer<'_>, apex: Rest<'_>) -> Result<(), Full> {
        let mut written = 0;
        for hole in self.holes.into_iter().flatten().map(usize::from) {
            writer.put(&self.data[written..hole])?;
            writer.name(Spelling { labels: &[], rest: apex })?;
            written = hole + 2;
        }
        writer.put(&self.data[written..])
    }

    /// The name that begins at an offset of the data, the first there; `apex` is what a pointer stands for.
    fn name(&self, offset: usize, apex: &[u8]) -> Option<NameBuf> {
        let Some(hole) = self.holes[0] else { return Some(NameBuf::parse(self.data, offset).ok()?.0) };
        let kept = self.data.get(offset..hole.into())?;
        let mut wire = [0; MAX_NAME];
        let end = kept.len() + apex.len();
        wire.get_mut(..kept.len())?.copy_from_slice(kept);
        wire.get_mut(kept.len()..end)?.copy_from_slice(apex);
        NameBuf::from_wire(&wire[..end])
    }
}

/// Octets of the record that begins where `octets` begin, whose owner is a pointer.
#[inline]
pub(super) fn record_length(octets: &[u8]) -> Option<usize> {
    let [high, low] = *octets.get(FIXED - 2..)?.first_chunk()?;
    Some(FIXED + usize::from(u16::from_be_bytes([high, low])))
}

/// A pointer to the question's name, or so many octets into it.
pub(super) fn owner_pointer(offset: usize) -> [u8; 2] {
    // A name has 255 octets, so that every offset in it fits in 14 bits.
    Pointer::to(HEADER + offset).map_or([0; 2], Pointer::octets)
}

/// The domain name that begins at `at`, and the offset behind it.
fn name_at(data: &[u8], at: usize) -> Result<(NameBuf, usize), DataError> {
    NameBuf::parse(data, at).map_err(|_| DataError::Malformed)
}

/// Where the names stand in the data of a type.
struct Shape {
    /// Octets before the first name.
    before: u8,
    names: usize,
    /// Octets behind the last; `None`: any number.
    behind: Option<usize>,
    /// The names may be compressed: only the types of RFC 1035 may (RFC 3597 §4).
    compressed: bool,
    /// The addresses of the name belong in the additional section.
    additional: bool,
}

impl Shape {
    fn of(rtype: u16) -> Option<Shape> {
        let (before, names, behind, compressed, additional) = match rtype {
            // RFC 1035 §3.3.11.
            rtype::NS => (0, 1, Some(0), true, true),
            rtype::CNAME | rtype::PTR | rtype::MB | rtype::MD | rtype::MF | rtype::MG | rtype::MR => (0, 1, Some(0), true, false),
            rtype::MINFO => (0, 2, Some(0), true, false),
            rtype::SOA => (0, 2, Some(20), true, false),
            // RFC 1035 §3.3.9.
            rtype::MX => (2, 1, Some(0), true, true),
            // RFC 1183 §1, §3.3; RFC 2230 §3.
            rtype::AFSDB | rtype::RT | rtype::KX => (2, 1, Some(0), false, true),
            // RFC 2782.
            rtype::SRV => (6, 1, Some(0), false, true),
            // RFC 6672 §2.5.
            rtype::DNAME => (0, 1, Some(0), false, false),
            // RFC 9460 §2.2, §4.1.
            rtype::SVCB | rtype::HTTPS => (2, 1, None, false, true),
            _ => return None,
        };
        Some(Shape { before, names, behind, compressed, additional })
    }
}

/// Where the apex stands in data that may be compressed. What leads to a name must hold one.
fn holes(rtype: u16, data: &[u8], apex: &[u8]) -> Result<[Option<u16>; 2], DataError> {
    let mut holes = [None; 2];
    let shape = match (rtype, Shape::of(rtype)) {
        (rtype::A, _) if data.len() != 4 => return Err(DataError::Malformed),
        (rtype::AAAA, _) if data.len() != 16 => return Err(DataError::Malformed),
        (_, None) => return Ok(holes),
        (_, Some(shape)) => shape,
    };
    let mut at = usize::from(shape.before);
    for hole in holes.iter_mut().take(shape.names) {
        let (name, end) = name_at(data, at)?;
        // A pointer to the root would be longer than the root.
        let start = (0..name.labels()).find(|n| &name.wire()[name.start(*n)..] == apex).map(|n| (at + name.start(n)) as u16);
        *hole = start.filter(|_| shape.compressed);
        at = end;
    }
    match shape.behind.is_none_or(|behind| at + behind == data.len()) {
        true => Ok(holes),
        false => Err(DataError::Malformed),
    }
}

/// The static record sets of a policy's leaves, numbered in the order in which a depth-first walk meets them, as in
/// [`crate::routing::Choice::Records`].
#[derive(Debug, Clone, Default)]
pub struct LeafRecords {
    /// All of them, one behind the other.
    octets: Box<[u8]>,
    /// Where each begins.
    starts: Box<[u32]>,
}

impl LeafRecords {
    /// Encodes the record sets of a policy. They have no TTL of their own: it follows the decision.
    pub(in crate::snapshot) fn collect(policy: &Policy, apex: &[u8]) -> Result<LeafRecords, String> {
        let (mut octets, mut starts) = (Vec::new(), Vec::new());
        each_leaf(policy, &mut |leaf| {
            for set in leaf {
                if !rtype::is_data(set.rtype) || set.rtype == rtype::DNAME || matches!(set.rtype, rtype::NS | rtype::SOA) {
                    return Err(format!("a policy cannot answer records of type {}", set.rtype));
                }
                if set.rtype == rtype::CNAME && (leaf.len() > 1 || set.rdata.len() > 1) {
                    return Err("a CNAME stands alone in its branch (RFC 1034 §3.6.2)".into());
                }
                starts.push(u32::try_from(octets.len()).map_err(|_| "the records of a policy take more than 4 GiB".to_string())?);
                let encoded = RrSetBuf::encode(set.rtype, 0, &set.rdata, 0, apex).map_err(|error| error.to_string())?;
                encoded.append(None, &mut octets);
            }
            Ok(())
        })?;
        Ok(LeafRecords { octets: octets.into(), starts: starts.into() })
    }

    /// The set with that number.
    #[inline]
    pub fn get(&self, number: usize) -> Option<RrSet<'_>> {
        Some(RrSet::read(self.octets.get(*self.starts.get(number)? as usize..)?, &[])?.0)
    }

    /// Whether any branch has something to say to a question of that type.
    pub fn can_answer(&self, rtype: u16) -> bool {
        self.iter().any(|set| set.rtype == rtype || set.rtype == rtype::CNAME)
    }

    /// The types of all branches.
    pub fn types(&self) -> impl Iterator<Item = u16> {
        self.iter().map(|set| set.rtype)
    }

    /// All of them.
    pub(in crate::snapshot) fn iter(&self) -> impl Iterator<Item = RrSet<'_>> {
        (0..self.starts.len()).filter_map(|number| self.get(number))
    }
}

/// Calls `take` for each leaf of static records, depth first.
fn each_leaf(policy: &Policy, take: &mut dyn FnMut(&[RecordData]) -> Result<(), String>) -> Result<(), String> {
    policy.branches.iter().try_for_each(|branch| match &branch.goal {
        Goal::Policy(below) => each_leaf(below, take),
        Goal::Records(sets) => take(sets),
        Goal::Instances { .. } => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const APEX: &[u8] = b"\x03svc\x07example\x00";

    fn encoded(rtype: u16, data: &[u8]) -> Result<Vec<u8>, DataError> {
        let encoded = RrSetBuf::encode(rtype, 30, &[data.into(), data.into()], 4, APEX)?;
        let set = encoded.set();
        assert_eq!((set.len(), set.ttl(), set.before()), (1, 30, 4), "a record that stands twice is kept once");
        let record = set.records().next().unwrap();
        let mut buffer = [0; 600];
        let mut writer = Writer::new(&mut buffer);
        record.write(&mut writer, Rest::Spelled(APEX)).unwrap();
        assert!(writer.written(0).eq_ignore_ascii_case(data), "what is spelled out is what was encoded");
        let fixed = [&[0xc0, 12][..], &rtype.to_be_bytes(), &[0, 1, 0, 0, 0, 30], &(record.data.len() as u16).to_be_bytes()].concat();
        assert_eq!(set.octets(), [&fixed, record.data].concat());
        Ok(record.data.to_vec())
    }

    #[test]
    fn the_apex_is_left_to_a_pointer_in_the_old_types_alone() {
        let check = |rtype: u16, data: &[u8], expected: &[u8]| assert_eq!(encoded(rtype, data).as_deref(), Ok(expected), "{rtype}");
        check(rtype::NS, b"\x03ns1\x03svc\x07example\x00", b"\x03ns1\xc0\x10");
        check(rtype::NS, b"\x03ns1\x03Svc\x07EXAMPLE\x00", b"\x03ns1\xc0\x10");
        check(rtype::NS, b"\x03svc\x07example\x00", b"\xc0\x10");
        check(rtype::NS, b"\x03ns1\x07example\x00", b"\x03ns1\x07example\x00");
        check(rtype::MX, b"\x00\x0a\x01m\x03svc\x07example\x00", b"\x00\x0a\x01m\xc0\x10");
        check(rtype::DNAME, APEX, APEX);
        check(rtype::KX, b"\x00\x0a\x01m\x03svc\x07example\x00", b"\x00\x0a\x01m\x03svc\x07example\x00");
        check(
            rtype::HTTPS,
            b"\x00\x01\x03svc\x07example\x00\x00\x03\x00\x02\x01\xbb",
            b"\x00\x01\x03svc\x07example\x00\x00\x03\x00\x02\x01\xbb",
        );
        for old in [rtype::MB, rtype::MD, rtype::MF, rtype::MG, rtype::MR, rtype::PTR, rtype::CNAME] {
            check(old, b"\x01m\x03svc\x07example\x00", b"\x01m\xc0\x10");
        }
        check(rtype::MINFO, b"\x01m\x03svc\x07example\x00\x03svc\x07example\x00", b"\x01m\xc0\x10\xc0\x10");
        check(rtype::SRV, b"\x00\x01\x00\x02\x00\x50\x03svc\x07example\x00", b"\x00\x01\x00\x02\x00\x50\x03svc\x07example\x00");
        check(rtype::A, &[192, 0, 2, 1], &[192, 0, 2, 1]);
        let numbers = [7; 20];
        let soa = |apex: &[u8]| [b"\x03ns1", apex, b"\x01h", apex, &numbers].concat();
        check(rtype::SOA, &soa(APEX), &soa(b"\xc0\x10"));
    }

    #[test]
    fn data_that_does_not_fit_its_type_is_refused() {
        for (rtype, data) in [
            (rtype::A, &b"\x01"[..]),
            (rtype::AAAA, b"\x01"),
            (rtype::NS, b"\x03ns1"),
            (rtype::NS, b"\x01a\x00x"),
            (rtype::MX, b"\x00"),
            (rtype::SRV, b"\x00\x01\x00\x02\x00\x50"),
            (rtype::SOA, b"\x00\x00\x01"),
            (rtype::DNAME, b"\x01a\x00\x00"),
            (rtype::SVCB, b"\x00\x01\x01a"),
            (rtype::MINFO, b"\x01a\x00"),
        ] {
            assert_eq!(encoded(rtype, data), Err(DataError::Malformed), "{rtype} {data:?}");
        }
    }
}
