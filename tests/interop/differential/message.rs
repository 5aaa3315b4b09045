//! Messages as values that compare: names spelled out and in lower case, records sorted.
//!
//! This reader is written for the tests alone: hickory's keeps neither unknown nor odd data as it came, and a comparison needs every octet.

use std::fmt::{self, Write};

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const AAAA: u16 = 28;
pub const DNAME: u16 = 39;
pub const OPT: u16 = 41;
pub const DS: u16 = 43;
pub const ANY: u16 = 255;

/// A name in uncompressed wire form and lower case.
pub type Name = Vec<u8>;

/// A record as all servers must agree on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    pub owner: Name,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    /// Names in it spelled out and in lower case.
    pub data: Vec<u8>,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Flags but for the RCODE.
    pub flags: u16,
    /// With the upper bits that the OPT has (RFC 6891 §6.1.3).
    pub rcode: u16,
    /// The octets of the question section.
    pub question: Vec<u8>,
    /// Answer, authority, additional; without the OPT, in the order of the message.
    pub sections: [Vec<Record>; 3],
    /// UDP payload size and flags of the OPT.
    pub opt: Option<(u16, u16)>,
    /// Types whose data had compressed names although RFC 3597 §4 forbids it.
    pub compressed: Vec<u16>,
    pub octets: usize,
}

impl Message {
    pub const AA: u16 = 1 << 10;
    pub const TC: u16 = 1 << 9;

    pub fn answer(&self) -> &[Record] {
        &self.sections[0]
    }

    pub fn authority(&self) -> &[Record] {
        &self.sections[1]
    }

    pub fn additional(&self) -> &[Record] {
        &self.sections[2]
    }

    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Reads a message to its last octet; `None` where that is not possible.
    pub fn read(bytes: &[u8]) -> Option<Message> {
        let mut reader = Reader { bytes, at: 12 };
        let word = |n: usize| Some(u16::from_be_bytes(bytes.get(n..n + 2)?.try_into().ok()?));
        let flags = word(2)?;
        for _ in 0..word(4)? {
            reader.name()?;
            reader.take(4)?;
        }
        let mut message = Message {
            flags: flags & !0xf,
            rcode: flags & 0xf,
            question: bytes.get(12..reader.at)?.into(),
            sections: Default::default(),
            opt: None,
            compressed: Vec::new(),
            octets: bytes.len(),
        };
        for section in 0..3 {
            for _ in 0..word(6 + 2 * section)? {
                let record = reader.record(&mut message.compressed)?;
                if record.rtype == OPT {
                    message.opt = Some((record.class, record.ttl as u16));
                    message.rcode |= (record.ttl >> 24 << 4) as u16;
                } else {
                    message.sections[section].push(record);
                }
            }
        }
        (reader.at == bytes.len()).then_some(message)
    }
}

/// Reads what an AXFR over TCP sends: records of many messages.
pub fn read_transfer(messages: &[Vec<u8>]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    for bytes in messages {
        let message = Message::read(bytes)?;
        if message.rcode != 0 {
            return None;
        }
        let [answer, ..] = message.sections;
        records.extend(answer);
    }
    // The SOA stands at both ends (RFC 5936 §2.2).
    records.pop()?;
    Some(records)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at + count)?;
        self.at += count;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn name(&mut self) -> Option<Name> {
        self.spelled().map(|(name, _)| name)
    }

    /// A name, and whether it was compressed.
    fn spelled(&mut self) -> Option<(Name, bool)> {
        let (mut name, mut at, mut end) = (Vec::new(), self.at, None);
        loop {
            let length = *self.bytes.get(at)?;
            match length >> 6 {
                0 => {
                    let label = self.bytes.get(at..at + 1 + usize::from(length))?;
                    name.extend(label.to_ascii_lowercase());
                    at += label.len();
                    if length == 0 {
                        break;
                    }
                }
                3 => {
                    let to = usize::from(length & 0x3f) << 8 | usize::from(*self.bytes.get(at + 1)?);
                    end = end.or(Some(at + 2));
                    // Only to what stands before (RFC 1035 §4.1.4): so it ends.
                    at = Some(to).filter(|to| *to < at)?;
                }
                _ => return None,
            }
            if name.len() > 255 {
                return None;
            }
        }
        self.at = end.unwrap_or(at);
        Some((name, end.is_some()))
    }

    fn record(&mut self, compressed: &mut Vec<u16>) -> Option<Record> {
        let owner = self.name()?;
        let (rtype, class) = (self.u16()?, self.u16()?);
        let ttl = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        let length = usize::from(self.u16()?);
        let end = self.at + length;
        let mut inner = Reader { bytes: self.bytes.get(..end)?, at: self.at };
        let (data, pointers) = inner.data(rtype)?;
        if pointers && !may_be_compressed(rtype) {
            compressed.push(rtype);
        }
        self.at = end;
        Some(Record { owner, rtype, class, ttl, data })
    }

    /// Data to the end, and whether a name in it was compressed.
    fn data(&mut self, rtype: u16) -> Option<(Vec<u8>, bool)> {
        let (mut data, mut pointers) = (Vec::new(), false);
        for part in layout(rtype) {
            match part {
                Part::Octets(count) => data.extend_from_slice(self.take(*count)?),
                Part::Text => {
                    let length = usize::from(*self.bytes.get(self.at)?);
                    data.extend_from_slice(self.take(1 + length)?);
                }
                Part::Name => {
                    let (name, compressed) = self.spelled()?;
                    data.extend(name);
                    pointers |= compressed;
                }
            }
        }
        let rest = self.bytes.len().checked_sub(self.at)?;
        data.extend_from_slice(self.take(rest)?);
        Some((data, pointers))
    }
}

enum Part {
    Octets(usize),
    Text,
    Name,
}

/// Where names stand in data; what follows is octets.
fn layout(rtype: u16) -> &'static [Part] {
    use Part::*;
    match rtype {
        NS | CNAME | DNAME | 3 | 4 | 7 | 8 | 9 | 12 => &[Name],
        SOA | 14 | 17 => &[Name, Name],
        // MX, AFSDB, RT, KX, SVCB, HTTPS, LP.
        15 | 18 | 21 | 36 | 64 | 65 | 107 => &[Octets(2), Name],
        26 => &[Octets(2), Name, Name],
        33 => &[Octets(6), Name],
        35 => &[Octets(4), Text, Text, Text, Name],
        _ => &[],
    }
}

/// Types of RFC 1035, which every receiver knows: NS, MD, MF, CNAME, SOA, MB, MG, MR, PTR, MINFO and MX (RFC 3597 §4).
fn may_be_compressed(rtype: u16) -> bool {
    matches!(rtype, NS | 3 | 4 | CNAME | SOA | 7 | 8 | 9 | 12 | 14 | 15)
}

/// Canonical form of data that holds no compressed name.
pub fn canonical_data(rtype: u16, data: &[u8]) -> Vec<u8> {
    let mut reader = Reader { bytes: data, at: 0 };
    reader.data(rtype).map_or_else(|| data.to_vec(), |(data, _)| data)
}

/// The name one label up; `None` for the root.
pub fn parent(name: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*name.first()?);
    if length == 0 { None } else { name.get(1 + length..) }
}

/// The name and all above it, root included.
pub fn upwards(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |name| parent(name))
}

/// Whether `name` is `above` or below it.
pub fn is_within(name: &[u8], above: &[u8]) -> bool {
    upwards(name).any(|n| n == above)
}

/// A name as people write it.
pub fn name_text(name: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = name;
    while let Some((length, tail)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        match label.len() > 15 && label.iter().all(|octet| *octet == label[0]) {
            // A long label of ours: never read again.
            true => drop(write!(text, "{}×{}", char::from(label[0]), label.len())),
            false => text.push_str(&label_text(label)),
        }
        text.push('.');
        rest = tail;
    }
    if text.is_empty() { ".".into() } else { text }
}

/// A label as a master file writes it (RFC 1035 §5.1).
pub fn label_text(label: &[u8]) -> String {
    label.iter().fold(String::new(), |mut text, octet| {
        let _ = match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' => write!(text, "{}", char::from(*octet)),
            octet => write!(text, "\\{octet:03}"),
        };
        text
    })
}

/// A type's name, as far as it is needed to read a difference.
pub fn type_text(rtype: u16) -> String {
    let name = match rtype {
        A => "A",
        NS => "NS",
        CNAME => "CNAME",
        SOA => "SOA",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        AAAA => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        DNAME => "DNAME",
        DS => "DS",
        64 => "SVCB",
        65 => "HTTPS",
        ANY => "ANY",
        257 => "CAA",
        _ => return format!("TYPE{rtype}"),
    };
    name.into()
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", name_text(&self.owner), self.ttl, type_text(self.rtype))?;
        match self.rtype {
            NS | CNAME | DNAME => f.write_str(&name_text(&self.data)),
            A if self.data.len() == 4 => write!(f, "{}.{}.{}.{}", self.data[0], self.data[1], self.data[2], self.data[3]),
            _ => {
                write!(f, "\\# {} ", self.data.len())?;
                self.data.iter().take(80).try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

/// How many records of a section are shown.
const SHOWN: usize = 9;

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rcode {} flags {:04x} {} octets opt {:?}", self.rcode, self.flags, self.octets, self.opt)?;
        for (name, section) in ["answer", "authority", "additional"].iter().zip(&self.sections) {
            section.iter().take(SHOWN).try_for_each(|record| write!(f, "\n      {name} {record}"))?;
            if section.len() > SHOWN {
                write!(f, "\n      {name} … {} more", section.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}
