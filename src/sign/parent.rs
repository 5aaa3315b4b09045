//! What the servers of a parent say of a zone's DS, and what follows from it for the zone's keys. Without IO.
//!
//! ```text
//!   question ─▶ a server ─▶ heard ─▶ Parent: it speaks for the parent, and these are the DS
//!                                └─▶ Resolver: it does not; it says who does (apex_of, servers_of, addresses_of)
//!   what all of them said ─▶ verdict ─▶ the DS of the key is everywhere, and that of the key before nowhere; or why not yet
//! ```
//! A step is taken on what every server of the parent says: a validator may ask any of them (RFC 7583 §3.3.1).

use std::net::IpAddr;

use super::ZoneKeys;
use super::digest::{DigestType, ds, key_tag};
use super::rollover::{Awaited, KeyRecord};
use crate::codec::code::{CLASS_IN, rcode, rtype};
use crate::codec::{Fault, HEADER, Header, NameBuf, Records, Section, expand};
use crate::model::{KeyStage, Name};

/// Most name servers of a parent that are asked, and most addresses of each.
pub const MOST_SERVERS: usize = 32;
const QR: u16 = 0x8000;
const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RA: u16 = 0x0080;

/// What a server says of a zone's DS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It speaks for the parent.
    Parent(Delegated),
    /// It speaks for nobody, but may be asked who does.
    Resolver,
}

/// The DS of a zone at a server of its parent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delegated {
    /// RDATA of each.
    pub ds: Vec<Box<[u8]>>,
    /// Their TTL in seconds; zero: there are none.
    pub ttl: u32,
}

/// Why a reply is of no help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHelp {
    /// It cannot be read.
    #[error("its reply cannot be read: {0}")]
    Message(#[from] Fault),
    /// It is a reply to something else.
    #[error("it replies to something else")]
    Stranger,
    /// It says no, or that there is no such name.
    #[error("it says {}", rcode::name(*.0))]
    Rcode(u16),
    /// It speaks for the zone itself.
    #[error("it speaks for the zone itself, not for its parent")]
    Child,
    /// It speaks for nobody, and asks nobody.
    #[error("it has neither the parent nor recursion")]
    Lame,
    /// It says neither that there are DS nor that there are none.
    #[error("it says nothing of the DS")]
    Silent,
}

/// What follows from what the parent's servers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The DS of this key is everywhere, and that of the key before nowhere.
    Seen(u16),
    /// There is no DS anywhere.
    Gone,
    /// Not yet, and why.
    Wait(String),
}

/// A question as a message. It asks for recursion: whoever speaks for the parent pays no heed.
pub fn question(id: u16, name: &Name, qtype: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + name.wire().len() + 4);
    message.extend(id.to_be_bytes());
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(name.wire());
    message.extend([qtype.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
    message
}

/// Reads what a server says of the DS of `apex`.
pub fn heard(message: &[u8], id: u16, apex: &Name) -> Result<Heard, NoHelp> {
    let header = reply(message, id, apex, rtype::DS)?;
    if header.flags & AA == 0 {
        return if header.flags & RA != 0 { Ok(Heard::Resolver) } else { Err(NoHelp::Lame) };
    }
    if header.flags & 0xf != rcode::NOERROR {
        return Err(NoHelp::Rcode(header.flags & 0xf));
    }
    let mut delegated = Delegated::default();
    let mut denied = None;
    each(message, |section, owner, rtype, ttl, data| match (section, rtype) {
        (Section::Answer, rtype::DS) if owner == *apex => {
            delegated.ttl = delegated.ttl.max(ttl);
            delegated.ds.push(data.into());
        }
        (Section::Authority, rtype::SOA) => denied = Some(owner),
        _ => {}
    })?;
    match (delegated.ds.is_empty(), denied) {
        (false, _) => Ok(Heard::Parent(delegated)),
        // RFC 4035 §3.1.4.1: the parent denies, not the zone.
        (true, Some(zone)) if zone == *apex => Err(NoHelp::Child),
        (true, Some(zone)) if apex.is_within(&zone) => Ok(Heard::Parent(delegated)),
        (true, _) => Err(NoHelp::Silent),
    }
}

/// Whether a name is the apex of a zone, by a resolver's reply to a question for its SOA.
pub fn is_apex(message: &[u8], id: u16, name: &Name) -> Result<bool, NoHelp> {
    let mut found = false;
    let header = reply(message, id, name, rtype::SOA)?;
    each(message, |section, owner, rtype, _, _| found |= section == Section::Answer && rtype == rtype::SOA && owner == *name)?;
    match header.flags & 0xf {
        rcode::NOERROR | rcode::NXDOMAIN => Ok(found),
        other => Err(NoHelp::Rcode(other)),
    }
}

/// The name servers of a zone, by a resolver's reply.
pub fn servers_of(message: &[u8], id: u16, zone: &Name) -> Result<Vec<Name>, NoHelp> {
    let header = reply(message, id, zone, rtype::NS)?;
    let mut servers = Vec::new();
    each(message, |section, owner, rtype, _, data| {
        if section == Section::Answer && rtype == rtype::NS && owner == *zone && NameBuf::from_wire(data).is_some() {
            servers.push(Name::from_wire(data));
        }
    })?;
    servers.sort();
    servers.dedup();
    match header.flags & 0xf {
        rcode::NOERROR if servers.is_empty() => Err(NoHelp::Silent),
        rcode::NOERROR => Ok(servers),
        other => Err(NoHelp::Rcode(other)),
    }
}

/// The addresses of a name, of one family, by a resolver's reply. That there are none is no error.
pub fn addresses_of(message: &[u8], id: u16, name: &Name, qtype: u16) -> Result<Vec<IpAddr>, NoHelp> {
    let header = reply(message, id, name, qtype)?;
    let mut addresses = Vec::new();
    each(message, |section, _, rtype, _, data| {
        if section == Section::Answer && rtype == qtype {
            addresses.extend(<[u8; 4]>::try_from(data).map(IpAddr::from));
            addresses.extend(<[u8; 16]>::try_from(data).map(IpAddr::from));
        }
    })?;
    addresses.truncate(MOST_SERVERS);
    match header.flags & 0xf {
        rcode::NOERROR | rcode::NXDOMAIN => Ok(addresses),
        other => Err(NoHelp::Rcode(other)),
    }
}

/// Checks that a message is a whole reply to a question.
fn reply(message: &[u8], id: u16, name: &Name, qtype: u16) -> Result<Header, NoHelp> {
    let header = Header::parse(message).ok_or(Fault::Short)?;
    let (asked, at) = NameBuf::parse(message, HEADER)?;
    let fixed = message.get(at..at + 4).ok_or(Fault::Short)?;
    let same = Name::from_wire(asked.wire()) == *name && fixed == [qtype.to_be_bytes(), CLASS_IN.to_be_bytes()].concat();
    // No opcode but QUERY, and over a stream nothing is cut.
    match header.id == id && header.flags & (QR | 0x7800 | TC) == QR && header.counts.get(0) == 1 && same {
        true => Ok(header),
        false => Err(NoHelp::Stranger),
    }
}

/// Calls `take` with each record of class IN: section, owner, type, TTL and data without compressed names.
fn each(message: &[u8], mut take: impl FnMut(Section, Name, u16, u32, &[u8])) -> Result<(), NoHelp> {
    let (mut name, mut data) = (NameBuf::default(), Vec::new());
    for record in Records::of(message)? {
        let record = record?;
        if record.class == CLASS_IN {
            name.follow(message, record.owner)?;
            data.clear();
            expand(message, &record, &mut data)?;
            take(record.section, Name::from_wire(name.wire()), record.rtype, record.ttl, &data);
        }
    }
    Ok(())
}

/// What the keys of a zone make of what all servers of its parent said, each by its name. Who could not be asked is among them.
pub fn verdict(keys: &ZoneKeys, apex: &Name, said: &[(String, Result<Delegated, String>)]) -> Verdict {
    let Some(awaited) = keys.awaits() else { return Verdict::Wait("nothing is waited for".into()) };
    if said.is_empty() {
        return Verdict::Wait("no server of the parent is known".into());
    }
    for (server, said) in said {
        let delegated = match said {
            Ok(delegated) => delegated,
            Err(why) => return Verdict::Wait(format!("{server}: {why}")),
        };
        match awaited {
            Awaited::NoDs if delegated.ds.is_empty() => {}
            Awaited::NoDs => return Verdict::Wait(format!("{server} has a DS still")),
            Awaited::Ds(tag) => {
                let has = |key: &KeyRecord| delegated.ds.iter().any(|ds| is_of(ds, apex, key));
                if !keys.key(tag).is_some_and(has) {
                    return Verdict::Wait(format!("{server} has no DS of key {tag} yet"));
                }
                let before = |key: &&KeyRecord| key.role.is_entry() && key.stage == KeyStage::Active;
                if let Some(key) = keys.keys().iter().filter(before).find(|key| has(key)) {
                    return Verdict::Wait(format!("{server} has the DS of key {} still", key.tag));
                }
            }
        }
    }
    match awaited {
        Awaited::NoDs => Verdict::Gone,
        Awaited::Ds(tag) => Verdict::Seen(tag),
    }
}

/// Whether a DS is that of a key (RFC 4034 §5.1). Of a digest that is not known here, tag and algorithm have to do: enough to say that it is
/// there still, and not enough to say that it is right.
fn is_of(data: &[u8], apex: &Name, key: &KeyRecord) -> bool {
    let dnskey = key.dnskey();
    [DigestType::Sha256, DigestType::Sha384].into_iter().any(|digest| *data == *ds(apex, &dnskey, digest))
        || key.stage == KeyStage::Active
            && data.first_chunk() == Some(&key_tag(&dnskey).to_be_bytes())
            && data.get(2) == Some(&key.algorithm.number())
}

#[cfg(test)]
mod tests;
