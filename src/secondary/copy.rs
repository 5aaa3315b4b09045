//! A zone as it comes, message by message: AXFR (RFC 5936) and IXFR (RFC 1995), without IO.
//!
//! ```text
//!   SOA ─▶ nothing else, and it is not later ─▶ current
//!    ├──▶ any other record … ─▶ the same SOA ─▶ whole
//!    └──▶ SOA of ours ─▶ deleted … ─▶ SOA ─▶ added … ─▶ SOA ─▶ deleted … ─▶ … ─▶ the first SOA ─▶ whole
//! ```

use std::collections::BTreeMap;

use crate::codec::code::{CLASS_IN, rcode, rtype};
use crate::codec::{Fault, Header, NameBuf, Records, Section, expand, present};
use crate::model::{Name, Zone};
use crate::registry::{View, type_text};

use super::timer::Terms;

/// Octets of owners and data of a zone, at most.
const MOST: usize = 256 << 20;

/// A zone's records: owner, type and data, and the TTL of each. The SOA is among them.
pub(super) type Contents = BTreeMap<(Name, u16, Box<[u8]>), u32>;

/// The parts of an SOA that a secondary goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub serial: u32,
    pub terms: Terms,
}

/// Why a transfer is good for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CopyError {
    #[error("a message cannot be read: {0}")]
    Message(#[from] Fault),
    #[error("the primary says {}", rcode::name(*.0))]
    Rcode(u16),
    #[error("it is no reply to what was asked")]
    Stranger,
    #[error("the reply is not authoritative")]
    NotAuthoritative,
    #[error("it begins without the zone's SOA")]
    NoSoa,
    #[error("a record is not of the zone")]
    Foreign,
    #[error("a difference does not begin or go where it should")]
    Sequence,
    #[error("a difference deletes a record that is not there")]
    Missing,
    #[error("the zone is larger than {} MiB", MOST >> 20)]
    TooLarge,
    #[error("something stands behind its end")]
    Behind,
}

/// What is known after a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come.
    More,
    /// What we have is current.
    Current(Start),
    /// All of it has come.
    Whole(Start),
}

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Copy {
    apex: Name,
    id: u16,
    /// What we have, for differences.
    have: Option<(u32, Contents)>,
    /// The zone as it becomes.
    pub contents: Contents,
    size: usize,
    /// The SOA that it began with, and its data.
    first: Option<(Start, Box<[u8]>)>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next record is the first.
    First,
    /// The next record tells which kind it is.
    Second,
    /// The whole zone comes.
    All,
    /// Records are deleted.
    Deleting,
    /// Records are added, up to this serial.
    Adding(u32),
    Done,
}

impl Copy {
    /// Expects the reply with this id; `have`: what an IXFR was asked for from.
    pub fn new(apex: Name, id: u16, have: Option<(u32, Contents)>) -> Copy {
        Copy { apex, id, have, contents: Contents::new(), size: 0, first: None, state: State::First }
    }

    /// The id of the message that asks for it.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Takes the next message.
    pub fn take(&mut self, message: &[u8]) -> Result<Progress, CopyError> {
        check(message, self.id, false)?;
        let mut name = NameBuf::default();
        for record in Records::of(message)? {
            let record = record?;
            if record.section != Section::Answer {
                continue;
            }
            name.follow(message, record.owner)?;
            let owner = Name::from_wire(name.wire());
            if record.class != CLASS_IN || !owner.is_within(&self.apex) || !rtype::is_data(record.rtype) {
                return Err(CopyError::Foreign);
            }
            let mut data = Vec::with_capacity(record.data.len());
            expand(message, &record, &mut data)?;
            self.size += owner.wire().len() + data.len() + 16;
            if self.size > MOST {
                return Err(CopyError::TooLarge);
            }
            self.record(owner, record.rtype, if record.ttl > i32::MAX as u32 { 0 } else { record.ttl }, data.into())?;
        }
        let Some((start, _)) = &self.first else { return Err(CopyError::NoSoa) };
        Ok(match self.state {
            State::Done => Progress::Whole(*start),
            // RFC 1995 §2: a single SOA says that there is nothing later.
            State::Second if self.have.as_ref().is_some_and(|(serial, _)| !is_later(start.serial, *serial)) => Progress::Current(*start),
            _ => Progress::More,
        })
    }

    fn record(&mut self, owner: Name, rtype: u16, ttl: u32, data: Box<[u8]>) -> Result<(), CopyError> {
        let soa = match rtype {
            rtype::SOA if owner == self.apex => Some(start(&data).ok_or(Fault::RecordData)?),
            rtype::SOA => return Err(CopyError::Foreign),
            _ => None,
        };
        match (self.state, soa) {
            (State::First, None) => return Err(CopyError::NoSoa),
            (State::First, Some(soa)) => {
                self.first = Some((soa, data.clone()));
                self.contents.insert((owner, rtype, data), ttl);
                self.state = State::Second;
            }
            (State::Second, Some(soa)) if self.have.as_ref().is_some_and(|(serial, _)| *serial == soa.serial) => {
                // RFC 1995 §4: differences, the oldest first.
                let (_, have) = self.have.take().ok_or(CopyError::Sequence)?;
                self.contents = have;
                self.delete(&(owner, rtype, data))?;
                self.state = State::Deleting;
            }
            (State::Second | State::All, Some(soa)) if self.is_last(soa, &data) => self.state = State::Done,
            (State::Second | State::All, Some(_)) => return Err(CopyError::Sequence),
            (State::Second | State::All, None) => {
                self.contents.insert((owner, rtype, data), ttl);
                self.state = State::All;
            }
            (State::Deleting, None) => self.delete(&(owner, rtype, data))?,
            (State::Deleting, Some(soa)) => {
                self.contents.insert((owner, rtype, data), ttl);
                self.state = State::Adding(soa.serial);
            }
            (State::Adding(_), None) => _ = self.contents.insert((owner, rtype, data), ttl),
            (State::Adding(serial), Some(soa)) if serial == soa.serial => match self.is_last(soa, &data) {
                true => self.state = State::Done,
                false => {
                    self.delete(&(owner, rtype, data))?;
                    self.state = State::Deleting;
                }
            },
            (State::Adding(_), Some(_)) => return Err(CopyError::Sequence),
            (State::Done, _) => return Err(CopyError::Behind),
        }
        Ok(())
    }

    /// Whether it is the SOA that the transfer began with.
    fn is_last(&self, soa: Start, data: &[u8]) -> bool {
        self.first.as_ref().is_some_and(|(first, known)| *first == soa && **known == *data)
    }

    fn delete(&mut self, key: &(Name, u16, Box<[u8]>)) -> Result<(), CopyError> {
        self.contents.remove(key).map(drop).ok_or(CopyError::Missing)
    }
}

/// Whether a message is the reply that was asked for. Behind the first of a transfer there may be no question (RFC 5936 §2.2.1), and who hands
/// zones over does not always say that it is authoritative: whether it is, the reply to the question for the SOA tells.
fn check(message: &[u8], id: u16, authoritative: bool) -> Result<(), CopyError> {
    let header = Header::parse(message).ok_or(Fault::Short)?;
    if header.id != id || !header.is_response() || header.flags & Header::OPCODE != 0 || header.counts.get(0) > 1 {
        return Err(CopyError::Stranger);
    }
    match header.flags & 0x0f {
        rcode::NOERROR if !authoritative || header.flags & Header::AA != 0 => Ok(()),
        rcode::NOERROR => Err(CopyError::NotAuthoritative),
        other => Err(CopyError::Rcode(other)),
    }
}

/// The SOA in the reply to a question for it.
pub(super) fn soa_of(message: &[u8], id: u16, apex: &Name) -> Result<Start, CopyError> {
    check(message, id, true)?;
    let mut name = NameBuf::default();
    for record in Records::of(message)? {
        let record = record?;
        name.follow(message, record.owner)?;
        if record.section == Section::Answer && record.rtype == rtype::SOA && *name.wire() == *apex.wire() {
            let mut data = Vec::new();
            expand(message, &record, &mut data)?;
            return Ok(start(&data).ok_or(Fault::RecordData)?);
        }
    }
    Err(CopyError::NoSoa)
}

/// Whether a serial is later than another (RFC 1982 §3.2).
pub(super) fn is_later(serial: u32, than: u32) -> bool {
    serial != than && serial.wrapping_sub(than) <= i32::MAX as u32
}

/// What an SOA's data says; its last twenty octets.
fn start(data: &[u8]) -> Option<Start> {
    let numbers: &[u8; 20] = data.last_chunk()?;
    let number = |n: usize| u32::from_be_bytes([numbers[4 * n], numbers[4 * n + 1], numbers[4 * n + 2], numbers[4 * n + 3]]);
    Some(Start { serial: number(0), terms: Terms { refresh: number(1), retry: number(2), expire: number(3) } })
}

/// The records of a zone as it was taken, without what updates changed of it.
pub(super) fn contents(zone: &Zone) -> Contents {
    let view = View::new(zone, None);
    let apex = [rtype::SOA, rtype::NS].map(|rtype| (zone.apex.clone(), rtype));
    let mut contents = Contents::new();
    for (owner, rtype) in zone.records.keys().cloned().chain(apex) {
        if let Some(set) = view.set(&owner, rtype) {
            contents.extend(set.rdata.iter().map(|data| ((owner.clone(), rtype, data.clone()), set.ttl)));
        }
    }
    contents
}

/// What the SOA of a zone that was taken says.
pub(super) fn start_of(zone: &Zone) -> Start {
    let soa = &zone.soa;
    Start { serial: soa.serial, terms: Terms { refresh: soa.refresh, retry: soa.retry, expire: soa.expire } }
}

/// A zone as a master file (RFC 1035 §5), the SOA first.
pub(super) fn text(contents: &Contents) -> String {
    let mut text = String::new();
    let is_soa = |key: &&(Name, u16, Box<[u8]>)| key.1 == rtype::SOA;
    let others = contents.keys().filter(|key| !is_soa(key));
    for key in contents.keys().filter(is_soa).chain(others) {
        let (owner, rtype, data) = key;
        let ttl = contents.get(key).copied().unwrap_or_default();
        text.push_str(&format!("{owner} {ttl} IN {} {}\n", type_text(*rtype), present(*rtype, data)));
    }
    text
}

#[cfg(test)]
mod tests;
