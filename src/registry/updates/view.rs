//! A zone as it is served: its file, the overlay, and edits under way.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Overlay;
use crate::codec::code::rtype;
use crate::model::{Name, Period, RecordSet, Zone};

/// A zone as it is served, RRset by RRset: SOA and NS of the apex are RRsets here like any other.
#[derive(Debug)]
pub struct View<'r> {
    /// The zone's file.
    pub zone: &'r Zone,
    /// What was changed beside it.
    pub overlay: Option<&'r Overlay>,
    /// What is under way.
    pub(super) edits: BTreeMap<(Name, u16), Option<RecordSet>>,
}

impl<'r> View<'r> {
    /// A zone without edits under way.
    pub fn new(zone: &'r Zone, overlay: Option<&'r Overlay>) -> View<'r> {
        View { zone, overlay, edits: BTreeMap::new() }
    }

    /// The RRset of a name and type.
    pub fn set(&self, name: &Name, rtype: u16) -> Option<Cow<'_, RecordSet>> {
        match self.edits.get(&(name.clone(), rtype)) {
            Some(edited) => edited.as_ref().map(Cow::Borrowed),
            None => self.served(name, rtype),
        }
    }

    /// The same as it was before the edits.
    pub(super) fn served(&self, name: &Name, rtype: u16) -> Option<Cow<'r, RecordSet>> {
        match self.overlay.and_then(|overlay| overlay.sets.get(&(name.clone(), rtype))).filter(|set| set.fits) {
            Some(set) => {
                let mut set = Cow::Borrowed(&**set.set.as_ref()?);
                if rtype == rtype::SOA {
                    set_serial(set.to_mut(), self.serial());
                }
                Some(set)
            }
            None => {
                let mut set = in_file(self.zone, name, rtype)?;
                if rtype == rtype::SOA {
                    set_serial(set.to_mut(), self.serial());
                }
                Some(set)
            }
        }
    }

    /// Whether there is an RRset.
    pub fn has(&self, name: &Name, rtype: u16) -> bool {
        self.set(name, rtype).is_some()
    }

    /// The types that stand at a name.
    pub fn types(&self, name: &Name) -> Vec<u16> {
        let range = (name.clone(), 0)..=(name.clone(), u16::MAX);
        let file = self.zone.records.range(range.clone()).map(|((_, rtype), _)| *rtype);
        let laid = self.overlay.iter().flat_map(|overlay| overlay.sets.range(range.clone())).map(|((_, rtype), _)| *rtype);
        let edited = self.edits.range(range.clone()).map(|((_, rtype), _)| *rtype);
        let apex = [rtype::SOA, rtype::NS].into_iter().filter(|_| *name == self.zone.apex);
        let mut types: Vec<u16> = file.chain(laid).chain(edited).chain(apex).collect();
        types.sort_unstable();
        types.dedup();
        types.retain(|rtype| self.has(name, *rtype));
        types
    }

    /// The serial before the edits.
    pub fn serial(&self) -> u32 {
        self.zone.soa.serial.wrapping_add(self.overlay.map_or(0, |overlay| overlay.changes))
    }
}

/// The RRset of a name and type as the file has it.
pub(super) fn in_file<'z>(zone: &'z Zone, name: &Name, rtype: u16) -> Option<Cow<'z, RecordSet>> {
    match rtype {
        rtype::SOA if *name == zone.apex => {
            let soa = &zone.soa;
            let minimum = u32::try_from(zone.ttl.negative.millis().div_ceil(1000)).unwrap_or(u32::MAX);
            let numbers = [soa.serial, soa.refresh, soa.retry, soa.expire, minimum];
            let octets = [soa.primary.wire(), soa.contact.wire()].concat();
            let rdata = octets.into_iter().chain(numbers.into_iter().flat_map(u32::to_be_bytes)).collect();
            Some(Cow::Owned(RecordSet { ttl: soa.ttl, rdata: vec![rdata] }))
        }
        rtype::NS if *name == zone.apex && !zone.ns.is_empty() => {
            let rdata = zone.ns.iter().map(|server| server.wire().into()).collect();
            Some(Cow::Owned(RecordSet { ttl: zone.ns_ttl, rdata }))
        }
        _ => zone.records.get(&(name.clone(), rtype)).map(Cow::Borrowed),
    }
}

/// Puts an RRset into a zone, or takes it out. The serial is not the SOA's to say here.
pub(super) fn put(zone: &mut Zone, owner: &Name, rtype: u16, set: Option<&RecordSet>) {
    let apex = *owner == zone.apex;
    match (rtype, set) {
        // RFC 2136 §3.4.2.4: they are never gone.
        (rtype::SOA | rtype::NS, None) if apex => {}
        (rtype::NS, Some(set)) if apex => {
            (zone.ns, zone.ns_ttl) = (set.rdata.iter().map(|data| Name::from_wire(data)).collect(), set.ttl);
        }
        (rtype::SOA, Some(set)) if apex => {
            let Some((primary, contact, [_, refresh, retry, expire, minimum])) = set.rdata.first().and_then(|data| soa(data)) else {
                return;
            };
            let soa = &mut zone.soa;
            (soa.primary, soa.contact, soa.refresh, soa.retry, soa.expire) = (primary, contact, refresh, retry, expire);
            soa.ttl = set.ttl;
            zone.ttl.negative = Period::seconds(minimum.min(i32::MAX as u32).into());
        }
        (_, Some(set)) => _ = zone.records.insert((owner.clone(), rtype), set.clone()),
        (_, None) => _ = zone.records.remove(&(owner.clone(), rtype)),
    }
}

/// The parts of an SOA's data (RFC 1035 §3.3.13).
pub(super) fn soa(data: &[u8]) -> Option<(Name, Name, [u32; 5])> {
    let end = |at: usize| {
        let mut end = at;
        loop {
            match usize::from(*data.get(end)?) {
                0 => return Some(end + 1),
                length => end += 1 + length,
            }
        }
    };
    let first = end(0)?;
    let second = end(first)?;
    let numbers = data.get(second..).filter(|rest| rest.len() == 20)?;
    let number = |n: usize| u32::from_be_bytes([numbers[4 * n], numbers[4 * n + 1], numbers[4 * n + 2], numbers[4 * n + 3]]);
    Some((Name::from_wire(&data[..first]), Name::from_wire(&data[first..second]), std::array::from_fn(number)))
}

/// Writes another serial into an SOA.
fn set_serial(set: &mut RecordSet, serial: u32) {
    for data in &mut set.rdata {
        let at = data.len().saturating_sub(20);
        if let Some(octets) = data.get_mut(at..at + 4) {
            octets.copy_from_slice(&serial.to_be_bytes());
        }
    }
}

/// What tells the file's RRset from another, whatever the order of its records; 0 for none. An SOA's serial does not count.
pub(super) fn print(zone: &Zone, name: &Name, rtype: u16) -> u64 {
    let Some(mut set) = in_file(zone, name, rtype) else { return 0 };
    if rtype == rtype::SOA {
        set_serial(set.to_mut(), 0);
    }
    let mut records: Vec<&[u8]> = set.rdata.iter().map(|data| &**data).collect();
    records.sort_unstable();
    let octets = records.into_iter().flat_map(|data| (data.len() as u32).to_be_bytes().into_iter().chain(data.iter().copied()));
    // FNV-1a, which is the same for ever: the store holds it.
    let hash = set
        .ttl
        .to_be_bytes()
        .into_iter()
        .chain(octets)
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3));
    hash.max(1)
}

/// Whether both hold the same records with the same TTL.
pub(super) fn same(one: Option<&RecordSet>, other: Option<&RecordSet>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            let within = |all: &RecordSet, of: &RecordSet| of.rdata.iter().all(|data| all.rdata.contains(data));
            one.ttl == other.ttl && one.rdata.len() == other.rdata.len() && within(one, other)
        }
        (None, None) => true,
        _ => false,
    }
}

/// A type for messages and people: the usual ones by name, others as `TYPE123`.
pub fn type_text(rtype: u16) -> String {
    match rtype {
        rtype::A => "A".into(),
        rtype::NS => "NS".into(),
        rtype::CNAME => "CNAME".into(),
        rtype::SOA => "SOA".into(),
        rtype::PTR => "PTR".into(),
        rtype::MX => "MX".into(),
        rtype::TXT => "TXT".into(),
        rtype::AAAA => "AAAA".into(),
        rtype::SRV => "SRV".into(),
        rtype::DNAME => "DNAME".into(),
        rtype::DS => "DS".into(),
        rtype::SVCB => "SVCB".into(),
        rtype::HTTPS => "HTTPS".into(),
        other => format!("TYPE{other}"),
    }
}
