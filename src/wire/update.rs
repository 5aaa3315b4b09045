//! A message that asks for changes of a zone (RFC 2136), read and answered.
//!
//! Whether it may be made is not decided here: [`crate::registry`] does, from what is read here as values.

use crate::codec::code::{CLASS_ANY, CLASS_IN, CLASS_NONE, option, rtype};
use crate::codec::{Fault, HEADER, Header, NameBuf, Record, Records, Section, expand};
use crate::model::{Edit, Name, Prerequisite, ZoneUpdate};

/// The opcode UPDATE (RFC 2136 §2.2).
pub const OPCODE_UPDATE: u16 = 5;

/// Why a message is no update that could be looked at: each is FORMERR (RFC 2136 §3.1.1, §3.2.5, §3.4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It cannot be read as a message.
    #[error("{0}")]
    Message(#[from] Fault),
    /// The zone section names not exactly one zone, as a question of type SOA and class IN.
    #[error("the zone section is one name of type SOA and class IN")]
    Zone,
    /// A prerequisite with a TTL, with data where there is none, or of a class that means nothing there.
    #[error("prerequisite {0} has a class, TTL or data that mean nothing")]
    Prerequisite(usize),
    /// An edit with a TTL or data where there is none, of a type that nothing can be of, or of a class that means nothing there.
    #[error("update {0} has a class, type, TTL or data that mean nothing")]
    Edit(usize),
}

/// Whether a message has the opcode UPDATE.
pub fn is_update(header: &Header) -> bool {
    header.flags & Header::OPCODE == OPCODE_UPDATE << 11
}

/// The opcode NOTIFY (RFC 1996 §3.1).
pub const OPCODE_NOTIFY: u16 = 4;

/// Whether a message has the opcode NOTIFY.
pub fn is_notify(header: &Header) -> bool {
    header.flags & Header::OPCODE == OPCODE_NOTIFY << 11
}

/// Reads an update. A TSIG behind it, and whatever else is in the additional section, is left alone.
///
/// # Errors
/// What is malformed: the first that is found.
pub fn read_update(message: &[u8]) -> Result<ZoneUpdate, Malformed> {
    let header = Header::parse(message).ok_or(Fault::Short)?;
    if header.counts.get(0) != 1 {
        return Err(Malformed::Zone);
    }
    let mut name = NameBuf::default();
    let end = name.follow(message, HEADER)?;
    // RFC 2136 §2.3.
    let fixed: &[u8; 4] = message.get(end..).and_then(|rest| rest.first_chunk()).ok_or(Fault::Short)?;
    if u16::from_be_bytes([fixed[0], fixed[1]]) != rtype::SOA || u16::from_be_bytes([fixed[2], fixed[3]]) != CLASS_IN {
        return Err(Malformed::Zone);
    }
    let mut update = ZoneUpdate { apex: Name::from_wire(name.wire()), prerequisites: Vec::new(), edits: Vec::new() };
    let mut records = Records::of(message)?;
    for record in records.by_ref() {
        let record = record?;
        name.follow(message, record.owner)?;
        let owner = Name::from_wire(name.wire());
        match record.section {
            Section::Answer => {
                let number = update.prerequisites.len() + 1;
                update.prerequisites.push(prerequisite(message, &record, owner)?.ok_or(Malformed::Prerequisite(number))?);
            }
            Section::Authority => {
                let number = update.edits.len() + 1;
                update.edits.push(edit(message, &record, owner)?.ok_or(Malformed::Edit(number))?);
            }
            Section::Additional => {}
        }
    }
    match records.position() == message.len() {
        true => Ok(update),
        false => Err(Fault::Trailing.into()),
    }
}

/// RFC 2136 §2.4 and §3.2.
fn prerequisite(message: &[u8], record: &Record<'_>, owner: Name) -> Result<Option<Prerequisite>, Fault> {
    let Record { rtype, class, ttl, data, .. } = *record;
    let is_data = rtype::is_data(rtype);
    Ok(match class {
        _ if ttl != 0 => None,
        CLASS_ANY | CLASS_NONE if !data.is_empty() => None,
        CLASS_ANY if rtype == rtype::ANY => Some(Prerequisite::InUse(owner)),
        CLASS_NONE if rtype == rtype::ANY => Some(Prerequisite::Unused(owner)),
        CLASS_ANY if is_data => Some(Prerequisite::Exists(owner, rtype)),
        CLASS_NONE if is_data => Some(Prerequisite::Absent(owner, rtype)),
        CLASS_IN if is_data => Some(Prerequisite::Holds(owner, rtype, written_out(message, record)?)),
        _ => None,
    })
}

/// RFC 2136 §2.5 and §3.4.1.2.
fn edit(message: &[u8], record: &Record<'_>, name: Name) -> Result<Option<Edit>, Fault> {
    let Record { rtype, class, ttl, data, .. } = *record;
    let is_data = rtype::is_data(rtype);
    Ok(match class {
        // RFC 2181 §8: a TTL with its first bit set is 0.
        CLASS_IN if is_data => {
            let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
            Some(Edit::Add { name, rtype, ttl, rdata: written_out(message, record)? })
        }
        CLASS_ANY | CLASS_NONE if ttl != 0 => None,
        CLASS_ANY if !data.is_empty() => None,
        CLASS_ANY if rtype == rtype::ANY => Some(Edit::DeleteName(name)),
        CLASS_ANY if is_data => Some(Edit::DeleteSet(name, rtype)),
        CLASS_NONE if is_data => Some(Edit::DeleteRecord(name, rtype, written_out(message, record)?)),
        _ => None,
    })
}

fn written_out(message: &[u8], record: &Record<'_>) -> Result<Box<[u8]>, Fault> {
    let mut octets = Vec::with_capacity(record.data.len());
    expand(message, record, &mut octets)?;
    Ok(octets.into())
}

/// The reply to a message that is no query: its id, opcode and zone section, the RCODE, and why, where the client speaks EDNS (RFC 8914).
/// Unsigned; `None` where the message is a response, or has no header.
pub fn conclude(message: &[u8], code: u16, why: Option<(u16, &str)>) -> Option<Vec<u8>> {
    let header = Header::parse(message).filter(|header| !header.is_response())?;
    let mut name = NameBuf::default();
    // RFC 2136 §3.8 leaves it to the server whether the sections come back: the zone does, so that the reply is told from others.
    let end = name.follow(message, HEADER).ok().filter(|_| header.counts.get(0) == 1).map(|end| end + 4);
    let zone = end.and_then(|end| message.get(HEADER..end)).unwrap_or_default();
    let edns = has_edns(message);
    let flags = Header::QR | header.flags & Header::OPCODE | code & 0x0f;
    let counts = [u16::from(!zone.is_empty()), 0, 0, u16::from(edns)];
    let mut reply = Header { id: header.id, flags, counts: counts.into() }.octets().to_vec();
    reply.extend_from_slice(zone);
    if edns {
        reply.extend(b"\0\0\x29\x04\xd0");
        reply.extend([(code >> 4) as u8, 0, 0, 0]);
        let text = why.map(|(_, text)| shortened(text)).unwrap_or_default();
        let length = if why.is_some() { 6 + text.len() as u16 } else { 0 };
        reply.extend(length.to_be_bytes());
        if let Some((info, _)) = why {
            reply.extend(option::EXTENDED_ERROR.to_be_bytes());
            reply.extend((2 + text.len() as u16).to_be_bytes());
            reply.extend(info.to_be_bytes());
            reply.extend(text.bytes());
        }
    }
    Some(reply)
}

/// As much of a text as an extended error carries: it is for people who look, and the reply must stay one datagram.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn has_edns(message: &[u8]) -> bool {
    let additional = Records::of(message).into_iter().flatten().map_while(Result::ok);
    additional.into_iter().any(|record| record.section == Section::Additional && record.rtype == rtype::OPT)
}

#[cfg(test)]
mod tests;
