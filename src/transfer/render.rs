//! Names that depend on who asks and on health, as records: asked for, one after another, as a client would (DESIGN §3).

use std::collections::BTreeSet;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::content::{Record, Records};
use crate::codec::code::{CLASS_IN, rtype};
use crate::codec::{self, Header, NameBuf, Section};
use crate::model::{Protocol, ServicesInTransfer};
use crate::snapshot::{CompiledService, CompiledZone, Snapshot};

/// Octets that the records of a zone may take which are rendered: beyond it is no zone to copy from server to server.
const MOST_OCTETS: usize = 256 << 20;

/// The types that instances have records of.
const OF_SERVICES: [u16; 5] = [rtype::A, rtype::AAAA, rtype::SRV, rtype::TXT, rtype::HTTPS];

/// More would be rendered than [`render`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rendered, the zone would have more than {} MiB", MOST_OCTETS >> 20)]
pub struct TooMany;

/// What was rendered of a zone.
#[derive(Debug, Clone, Default)]
pub struct Render {
    /// In order.
    pub records: Records,
    /// The same in any process.
    pub hash: u128,
}

/// Whether anything of a zone has to be rendered.
pub fn is_rendered(zone: &CompiledZone, services: ServicesInTransfer) -> bool {
    zone.services() && services == ServicesInTransfer::Render || zone.policies().next().is_some()
}

/// Renders what a zone has beside static records: names with a policy of their own, and, where `services` says so, those of services: each
/// service, its ports, its instances and theirs, and one region or az before it. Tags and labels that stack are left out: there is no end to
/// them. `ask` answers a query, whole; who asks is its to say. Every TTL is the zone's least: a copy knows nothing of health.
///
/// # Errors
/// There is too much of it.
pub fn render(
    snapshot: &Snapshot,
    zone: &CompiledZone,
    services: ServicesInTransfer,
    ask: &mut dyn FnMut(&[u8]) -> Vec<u8>,
) -> Result<Render, TooMany> {
    let mut rendering = Rendering { zone, ask, records: Records::default(), query: Vec::new() };
    for (key, policy) in zone.policies() {
        let types: BTreeSet<u16> = match policy.alias {
            Some(_) => [rtype::A, rtype::AAAA].into(),
            None => OF_SERVICES.into_iter().chain(policy.records.types()).collect(),
        };
        rendering.name(key, types)?;
    }
    if zone.services() && services == ServicesInTransfer::Render {
        for (_, service) in snapshot.all_services() {
            rendering.service(snapshot, service)?;
        }
    }
    let records = rendering.records.sorted();
    let mut hash = SipHasher13::new_with_key(b"signpost renders");
    for record in records.iter() {
        hash.write_u64(record.owner.len() as u64);
        hash.write(record.owner);
        hash.write_u64(u64::from(record.rtype) << 32 | u64::from(record.ttl));
        hash.write_u64(record.data.len() as u64);
        hash.write(record.data);
    }
    let hash = hash.finish128();
    Ok(Render { records, hash: u128::from(hash.h1) << 64 | u128::from(hash.h2) })
}

/// A zone under way.
struct Rendering<'a> {
    zone: &'a CompiledZone,
    ask: &'a mut dyn FnMut(&[u8]) -> Vec<u8>,
    records: Records,
    query: Vec<u8>,
}

impl Rendering<'_> {
    /// The names of a service.
    fn service(&mut self, snapshot: &Snapshot, service: &CompiledService) -> Result<(), TooMany> {
        let own = label(service.label());
        self.name(&own, OF_SERVICES)?;
        let ports: Vec<Vec<u8>> = service.ports().map(|(name, protocol)| port(name.as_str(), protocol)).collect();
        for port in &ports {
            self.name(&[port, &own[..]].concat(), [rtype::SRV])?;
        }
        if let Some((_, protocol)) = service.default_port() {
            // RFC 2782: the service is the port.
            self.name(&port(service.label(), protocol), [rtype::SRV])?;
        }
        let (mut regions, mut azs) = (BTreeSet::new(), BTreeSet::new());
        for member in 0..service.len() as u32 {
            let locality = service.pool().locality(member);
            regions.insert(label(snapshot.places.region_label(snapshot.places.region_of(locality)).as_str()));
            azs.insert(label(snapshot.places.az_label(locality).as_str()));
            let instance = service.target(member);
            self.name(instance, OF_SERVICES)?;
            for port in &ports {
                self.name(&[port, instance].concat(), [rtype::SRV])?;
            }
        }
        for (kind, names) in [("region", regions), ("az", azs)] {
            for name in names {
                self.name(&[&name, &label(kind)[..], &own].concat(), OF_SERVICES)?;
            }
        }
        Ok(())
    }

    /// Asks for the types of a name, which is what stands before the apex.
    fn name(&mut self, key: &[u8], types: impl IntoIterator<Item = u16>) -> Result<(), TooMany> {
        let owner = [key, self.zone.apex()].concat();
        // What is longer is no name, and nobody can ask for it.
        let Some(owner) = NameBuf::from_wire(&owner) else { return Ok(()) };
        for qtype in types {
            let header = Header { id: 0, flags: 0, counts: [1, 0, 0, 0].into() };
            self.query.clear();
            self.query.extend_from_slice(&header.octets());
            self.query.extend_from_slice(owner.wire());
            self.query.extend_from_slice(&qtype.to_be_bytes());
            self.query.extend_from_slice(&CLASS_IN.to_be_bytes());
            let reply = (self.ask)(&self.query);
            self.take(&owner, qtype, &reply);
            if self.records.size() > MOST_OCTETS {
                return Err(TooMany);
            }
        }
        Ok(())
    }

    /// Takes what a reply has at the name itself: what an alias leads to has a name of its own.
    fn take(&mut self, owner: &NameBuf, qtype: u16, reply: &[u8]) {
        let Ok(records) = codec::Records::of(reply) else { return };
        let (mut name, mut data) = (NameBuf::default(), Vec::new());
        for record in records.map_while(Result::ok).take_while(|record| record.section == Section::Answer) {
            let same = name.follow(reply, record.owner).is_ok() && name.wire() == owner.wire();
            if !same || record.rtype != qtype && record.rtype != rtype::CNAME {
                continue;
            }
            data.clear();
            if spell_out(reply, &record, &mut data).is_some() {
                let ttl = self.zone.ttl().min.min(record.ttl);
                self.records.push(Record { owner: owner.wire(), rtype: record.rtype, ttl, data: &data });
            }
        }
    }
}

/// Appends a record's data, the name in it whole.
fn spell_out(message: &[u8], record: &codec::Record<'_>, data: &mut Vec<u8>) -> Option<()> {
    // RFC 3597 §4: other types hold no pointers.
    let before = match record.rtype {
        rtype::CNAME | rtype::PTR | rtype::MB | rtype::MD | rtype::MF | rtype::MG | rtype::MR => 0,
        rtype::MX | rtype::SVCB | rtype::HTTPS => 2,
        rtype::SRV => 6,
        _ => {
            data.extend_from_slice(record.data);
            return Some(());
        }
    };
    let mut name = NameBuf::default();
    let behind = name.follow(message, record.data_at + before).ok()?;
    data.extend_from_slice(record.data.get(..before)?);
    data.extend_from_slice(name.wire());
    data.extend_from_slice(message.get(behind..record.end)?);
    Some(())
}

/// A label in wire form.
fn label(text: &str) -> Vec<u8> {
    // Labels hold 63 octets.
    [&[text.len() as u8], text.as_bytes()].concat()
}

/// `_port._proto` in wire form.
fn port(name: &str, protocol: Protocol) -> Vec<u8> {
    let protocol = match protocol {
        Protocol::Tcp => "_tcp",
        Protocol::Udp => "_udp",
    };
    [label(&format!("_{name}")), label(protocol)].concat()
}
