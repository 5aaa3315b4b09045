//! RRsets encoded ahead: the data of every record in wire form, with the places where the zone's apex can be left to a pointer.

use crate::codec::code::rtype;
use crate::codec::{Full, NameBuf, Pointer, Writer};
use crate::model::{Goal, Policy, RecordData};

/// An RRset, encoded. All records share one block of octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrSet {
    rtype: u16,
    ttl: u32,
    records: Box<[Span]>,
    octets: Box<[u8]>,
    /// Octets of the apex, which end the names that can be compressed.
    apex: u8,
    /// What belongs in the additional section beside it.
    pub(super) wanted: Box<[Wanted]>,
}

/// A name that an RRset leads to, and that the zone has addresses for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name, as a key for `CompiledZone::at`; `None`: the RRset's own name, as it was asked for.
    pub key: Option<Box<[u8]>>,
    /// The number of the record that leads there; the first, where several do.
    pub record: u16,
    /// The offset in that record's data at which the name begins.
    pub offset: u8,
    /// The owner of the addresses: the name's own, or the wildcard that covers it.
    pub(super) owner: u32,
}

/// Where one record's data lies, and where in it the apex can be left to a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    length: u16,
    holes: [Option<u16>; 2],
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
}

impl RrSet {
    /// Encodes an RRset; a record that stands twice is kept once (RFC 2181 §5). `apex` is in lower-case wire form.
    pub(super) fn encode(rtype: u16, ttl: u32, rdata: &[Box<[u8]>], apex: &[u8]) -> Result<RrSet, DataError> {
        let mut records = Vec::with_capacity(rdata.len());
        let mut octets = Vec::new();
        for (n, data) in rdata.iter().enumerate() {
            if rdata[..n].contains(data) {
                continue;
            }
            let length = u16::try_from(data.len()).map_err(|_| DataError::Long)?;
            let start = u32::try_from(octets.len()).map_err(|_| DataError::Long)?;
            records.push(Span { start, length, holes: holes(rtype, data, apex)? });
            octets.extend_from_slice(data);
        }
        let apex = u8::try_from(apex.len()).unwrap_or(0);
        Ok(RrSet { rtype, ttl, records: records.into(), octets: octets.into(), apex, wanted: Box::default() })
    }

    /// The type.
    pub fn rtype(&self) -> u16 {
        self.rtype
    }

    /// Seconds.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// The same RRset with another TTL.
    pub(super) fn with_ttl(&self, ttl: u32) -> RrSet {
        RrSet { ttl, ..self.clone() }
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The data of record `index`, uncompressed; empty where there is no such record.
    pub fn data(&self, index: usize) -> &[u8] {
        let Some(span) = self.records.get(index) else { return &[] };
        &self.octets[span.start as usize..][..usize::from(span.length)]
    }

    /// The offset in the data of record `index` from which on a pointer to the apex can stand instead, as [`RrSet::write`] does.
    pub fn split(&self, index: usize) -> Option<u16> {
        self.records.get(index)?.holes[0]
    }

    /// Names whose addresses belong beside it in the additional section.
    pub fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// The types that belong in the additional section, at each name that it leads to.
    pub fn additional_types(&self) -> impl Iterator<Item = u16> {
        // RFC 9460 §4.1: the records of the target itself too.
        let own = matches!(self.rtype, rtype::SVCB | rtype::HTTPS).then_some(self.rtype);
        [rtype::A, rtype::AAAA].into_iter().chain(own)
    }

    /// The names that its records lead to and whose addresses a client needs next, with the number of the record; `None`: its own name.
    pub(super) fn leads_to(&self) -> impl Iterator<Item = (u16, Option<NameBuf>)> {
        (0..self.len()).filter_map(|n| Some((u16::try_from(n).ok()?, led(self.rtype, self.data(n))?)))
    }

    /// The offset in its records' data at which the name begins that they lead to.
    pub(super) fn name_offset(&self) -> u8 {
        Shape::of(self.rtype).map_or(0, |shape| shape.before)
    }

    /// Writes the data of record `index`. `apex`: where the message holds the zone's apex.
    pub fn write(&self, writer: &mut Writer<'_>, index: usize, apex: Option<Pointer>) -> Result<(), Full> {
        let data = self.data(index);
        let Some(apex) = apex else { return writer.put(data) };
        let mut written = 0;
        for hole in self.records.get(index).map_or([None; 2], |span| span.holes).into_iter().flatten() {
            writer.put(&data[written..usize::from(hole)])?;
            writer.pointer(apex)?;
            written = usize::from(hole) + usize::from(self.apex);
        }
        writer.put(&data[written..])
    }
}

/// The name that a record leads to; `None` inside: its own.
fn led(rtype: u16, data: &[u8]) -> Option<Option<NameBuf>> {
    let shape = Shape::of(rtype).filter(|shape| shape.additional)?;
    let (name, _) = name_at(data, shape.before.into()).ok()?;
    let binding = matches!(rtype, rtype::SVCB | rtype::HTTPS);
    match name.labels() {
        // RFC 9460 §2.5: "." is the owner in ServiceMode, and in AliasMode no service at all. No host has the root's name (RFC 7505 §3).
        0 => (binding && data[..2] != [0, 0]).then_some(None),
        _ => Some(Some(name)),
    }
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
pub struct LeafRecords(Box<[RrSet]>);

impl LeafRecords {
    /// Encodes the record sets of a policy. They have no TTL of their own: it follows the decision.
    pub(in crate::snapshot) fn collect(policy: &Policy, apex: &[u8]) -> Result<LeafRecords, String> {
        let mut sets = Vec::new();
        each_leaf(policy, &mut |leaf| {
            for set in leaf {
                if !rtype::is_data(set.rtype) || set.rtype == rtype::DNAME || matches!(set.rtype, rtype::NS | rtype::SOA) {
                    return Err(format!("a policy cannot answer records of type {}", set.rtype));
                }
                if set.rtype == rtype::CNAME && (leaf.len() > 1 || set.rdata.len() > 1) {
                    return Err("a CNAME stands alone in its branch (RFC 1034 §3.6.2)".into());
                }
                sets.push(RrSet::encode(set.rtype, 0, &set.rdata, apex).map_err(|error| error.to_string())?);
            }
            Ok(())
        })?;
        Ok(LeafRecords(sets.into()))
    }

    /// The set with that number.
    pub fn get(&self, number: usize) -> Option<&RrSet> {
        self.0.get(number)
    }

    /// Whether any branch has something to say to a question of that type.
    pub fn can_answer(&self, rtype: u16) -> bool {
        self.0.iter().any(|set| set.rtype == rtype || set.rtype == rtype::CNAME)
    }

    /// All of them.
    pub(in crate::snapshot) fn iter(&self) -> impl Iterator<Item = &RrSet> {
        self.0.iter()
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
        let set = RrSet::encode(rtype, 30, &[data.into(), data.into()], APEX)?;
        assert_eq!(set.len(), 1, "a record that stands twice is kept once");
        assert_eq!(set.data(0), data);
        let mut buffer = [0; 600];
        let mut writer = Writer::new(&mut buffer);
        set.write(&mut writer, 0, Pointer::to(16)).unwrap();
        let length = writer.position();
        Ok(buffer[..length].to_vec())
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
