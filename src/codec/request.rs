//! A query as bytes, read as far as it makes sense.

use super::{Edns, Keepalive, NameBuf, SubnetFault, code};

/// Octets of a header (RFC 1035 §4.1.1).
pub const HEADER: usize = 12;

/// The header: id, flags and the four counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message's id.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, Z, AD, CD and RCODE, from the highest bit to the lowest.
    pub flags: u16,
    /// How many records each section has.
    pub counts: Counts,
}

/// QDCOUNT, ANCOUNT, NSCOUNT and ARCOUNT, as sections 0 to 3, in one word: from the highest bits to the lowest, as they stand in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts(u64);

impl From<[u16; 4]> for Counts {
    fn from(counts: [u16; 4]) -> Counts {
        Counts(counts.into_iter().fold(0, |all, count| all << 16 | u64::from(count)))
    }
}

impl From<Counts> for [u16; 4] {
    fn from(counts: Counts) -> [u16; 4] {
        [0, 1, 2, 3].map(|section| counts.get(section))
    }
}

impl Counts {
    /// A question or none, and nothing else.
    #[inline]
    pub fn of_question(is_there: bool) -> Counts {
        Counts(u64::from(is_there) << 48)
    }

    /// That of a section, 0 to 3.
    #[inline]
    pub fn get(self, section: u32) -> u16 {
        (self.0 >> (48 - 16 * (section & 3))) as u16
    }

    /// Adds to that of a section, 0 to 3. A record has 11 octets at least, so that no message holds more than can be counted.
    #[inline]
    pub fn add(&mut self, section: u32, count: u16) {
        self.0 = self.0.wrapping_add(u64::from(count) << (48 - 16 * (section & 3)));
    }

    /// Takes from that of a section, 0 to 3, what was added before.
    #[inline]
    pub fn remove(&mut self, section: u32, count: u16) {
        self.0 = self.0.wrapping_sub(u64::from(count) << (48 - 16 * (section & 3)));
    }
}

impl Header {
    /// Query or response.
    pub const QR: u16 = 0x8000;
    /// The four bits of the opcode.
    pub const OPCODE: u16 = 0x7800;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// Authentic data (RFC 4035 §3.2.3).
    pub const AD: u16 = 0x0020;
    /// Checking disabled (RFC 4035 §3.2.2).
    pub const CD: u16 = 0x0010;

    /// Reads a header; `None` where there are fewer octets than one.
    pub fn parse(message: &[u8]) -> Option<Header> {
        let octets: &[u8; HEADER] = message.first_chunk()?;
        let (first, counts) = (u32::from_be_bytes(*octets.first_chunk()?), u64::from_be_bytes(*octets.last_chunk()?));
        Some(Header { id: (first >> 16) as u16, flags: first as u16, counts: Counts(counts) })
    }

    /// The header as it is sent.
    #[inline]
    pub fn octets(&self) -> [u8; HEADER] {
        let mut octets = [0; HEADER];
        octets[..4].copy_from_slice(&(u32::from(self.id) << 16 | u32::from(self.flags)).to_be_bytes());
        octets[4..].copy_from_slice(&self.counts.0.to_be_bytes());
        octets
    }

    /// Whether it is a response.
    pub fn is_response(&self) -> bool {
        self.flags & Header::QR != 0
    }

    /// Whether the opcode is QUERY.
    pub fn is_query(&self) -> bool {
        self.flags & Header::OPCODE == 0
    }
}

/// The question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'m> {
    /// The name, lower case.
    pub name: &'m NameBuf,
    /// QTYPE.
    pub qtype: u16,
    /// QCLASS.
    pub qclass: u16,
}

/// Why a message is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum Fault {
    /// It ends within a name or a record.
    Short,
    /// A label type other than 00 (RFC 6891 §5: extended label types are historic).
    LabelType,
    /// The question's name holds a compression pointer.
    CompressedQuestion,
    /// A name of more than 255 octets.
    LongName,
    /// Not exactly one question (RFC 9619), and not none beside a cookie (RFC 7873 §5.4).
    QuestionCount,
    /// Octets behind the last record.
    Trailing,
    /// More than one OPT (RFC 6891 §6.1.1).
    TwoOpts,
    /// An OPT whose owner is not the root (RFC 6891 §6.1.2).
    OptOwner,
    /// An OPT outside the additional section (RFC 6891 §6.1.1).
    OptSection,
    /// An option that is longer than the OPT's data.
    OptionLength,
    /// A TSIG that is not the last record of the additional section (RFC 8945 §5.1).
    TsigPlace,
    /// Record data that does not have the form of its type.
    RecordData,
    /// A compression pointer that does not lead to a name before it (RFC 1035 §4.1.4).
    Pointer,
    /// An IXFR without the SOA that its sender has (RFC 1995 §3).
    SerialMissing,
    /// A cookie of neither 8 nor 16–40 octets (RFC 7873 §5.2.2).
    CookieLength,
    /// A client subnet that breaks RFC 7871.
    Subnet(#[from] SubnetFault),
}

impl Fault {
    /// The fault in a few words, as extended errors carry it.
    pub fn reason(self) -> &'static str {
        match self {
            Fault::Short => "the message ends too early",
            Fault::LabelType => "unknown label type",
            Fault::CompressedQuestion => "compression in the question",
            Fault::LongName => "name longer than 255 octets",
            Fault::QuestionCount => "QDCOUNT is not 1",
            Fault::Trailing => "octets behind the last record",
            Fault::TwoOpts => "more than one OPT",
            Fault::OptOwner => "OPT owner is not the root",
            Fault::OptSection => "OPT outside the additional section",
            Fault::OptionLength => "EDNS option longer than OPT",
            Fault::TsigPlace => "TSIG is not the last record",
            Fault::RecordData => "record data that does not fit its type",
            Fault::Pointer => "a compression pointer leads nowhere",
            Fault::SerialMissing => "IXFR without an SOA in the authority section",
            Fault::CookieLength => "COOKIE: neither 8 nor 16 to 40 octets",
            Fault::Subnet(fault) => fault.reason(),
        }
    }
}

/// A message, read as far as it makes sense.
#[derive(Debug)]
pub struct Request<'m> {
    /// The header.
    pub header: Header,
    /// The question, if there is exactly one and it could be read.
    pub question: Option<Question<'m>>,
    /// The header, and the question behind it as it came, case and all, if there is one.
    pub opening: &'m [u8],
    /// EDNS, if there is an OPT that could be read: also where something else is wrong.
    pub edns: Option<Edns<'m>>,
    /// Whether it ends in a TSIG, which was not looked into (RFC 8945).
    pub signed: bool,
    /// What is wrong.
    pub fault: Option<Fault>,
}

impl<'m> Request<'m> {
    /// Reads the message behind its header, and the question's name into `name`.
    #[inline(always)]
    pub fn parse(header: Header, message: &'m [u8], name: &'m mut NameBuf) -> Request<'m> {
        let mut request = Request::begin(header, message);
        request.read(message, name);
        request
    }

    /// A message of which nothing is read yet but the header.
    #[inline(always)]
    pub fn begin(header: Header, message: &'m [u8]) -> Request<'m> {
        let opening = message.get(..HEADER).unwrap_or_default();
        Request { header, question: None, opening, edns: None, signed: false, fault: None }
    }

    /// The question of a QUERY about which nothing is odd: no fault, no TSIG, no version of EDNS but 0.
    #[inline(always)]
    pub fn plain_question(&self) -> Option<&Question<'m>> {
        // One look for all of it: hardly any query is odd.
        let odd_edns = self.edns.as_ref().is_some_and(|edns| (edns.version != 0) | (edns.keepalive == Keepalive::Malformed));
        let odd = self.fault.is_some() | self.signed | !self.header.is_query() | odd_edns;
        self.question.as_ref().filter(|_| !odd)
    }

    /// Reads the rest, where it stays: it is large.
    #[inline(always)]
    pub fn read(&mut self, message: &'m [u8], name: &'m mut NameBuf) {
        self.fault = self.read_sections(message, name).err();
    }

    #[inline(always)]
    fn read_sections(&mut self, message: &'m [u8], name: &'m mut NameBuf) -> Result<(), Fault> {
        let mut at = HEADER;
        let [questions, answers, authority, additional] = [0, 1, 2, 3].map(|section| self.header.counts.get(section));
        if questions == 1 {
            let end = name.read(message, at)?;
            let [t0, t1, c0, c1] = *message.get(end..).and_then(|rest| rest.first_chunk()).ok_or(Fault::Short)?;
            self.question = Some(Question { name, qtype: u16::from_be_bytes([t0, t1]), qclass: u16::from_be_bytes([c0, c1]) });
            at = end + 4;
            self.opening = &message[..at];
        } else {
            for _ in 0..questions {
                at = skip_name(message, at)? + 4;
            }
        }
        // The sections behind the question mean nothing in a query but for OPT, yet must be walked to find it. Each record takes at
        // least eleven octets, so the message's length bounds the loops whatever the counts say.
        for _ in 0..u32::from(answers) + u32::from(authority) {
            let record = Raw::parse(message, at)?;
            if record.rtype == code::rtype::OPT {
                return Err(Fault::OptSection);
            }
            if record.rtype == code::rtype::TSIG {
                return Err(Fault::TsigPlace);
            }
            at = record.end;
        }
        for _ in 0..additional {
            let start = at;
            let record = Raw::parse(message, at)?;
            at = record.end;
            if record.rtype != code::rtype::OPT {
                if record.rtype == code::rtype::TSIG {
                    // RFC 8945 §5.1: a record behind it would take octets behind it.
                    if at != message.len() {
                        return Err(Fault::TsigPlace);
                    }
                    self.signed = true;
                }
                continue;
            }
            if self.edns.is_some() {
                return Err(Fault::TwoOpts);
            }
            if message[start] != 0 {
                return Err(Fault::OptOwner);
            }
            let edns = self.edns.insert(Edns::new(record.class, record.ttl, record.data));
            // Another version may give the options another shape; BADVERS comes first (RFC 6891 §6.1.3).
            if edns.version == 0 && !record.data.is_empty() {
                edns.read_options()?;
            }
        }
        if at != message.len() {
            return Err(Fault::Trailing);
        }
        match questions {
            1 => Ok(()),
            // RFC 7873 §5.4: a client may ask for nothing but a server cookie.
            0 if self.edns.is_some_and(|edns| edns.cookie.is_some()) => Ok(()),
            _ => Err(Fault::QuestionCount),
        }
    }
}

/// A record's fixed fields and data.
pub(super) struct Raw<'m> {
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    pub data: &'m [u8],
    pub end: usize,
}

impl<'m> Raw<'m> {
    #[inline(always)]
    pub fn parse(message: &'m [u8], at: usize) -> Result<Raw<'m>, Fault> {
        let fixed = skip_name(message, at)?;
        let octets: &[u8; 10] = message.get(fixed..).and_then(|rest| rest.first_chunk()).ok_or(Fault::Short)?;
        let end = fixed + 10 + usize::from(u16::from_be_bytes([octets[8], octets[9]]));
        let data = message.get(fixed + 10..end).ok_or(Fault::Short)?;
        Ok(Raw {
            rtype: u16::from_be_bytes([octets[0], octets[1]]),
            class: u16::from_be_bytes([octets[2], octets[3]]),
            ttl: u32::from_be_bytes([octets[4], octets[5], octets[6], octets[7]]),
            data,
            end,
        })
    }
}

/// The offset behind a name that may end in a compression pointer. The pointer is not followed: nobody asks what the name is.
pub(super) fn skip_name(message: &[u8], mut at: usize) -> Result<usize, Fault> {
    let start = at;
    loop {
        match usize::from(*message.get(at).ok_or(Fault::Short)?) {
            0 => return Ok(at + 1),
            length @ 1..=63 => at += 1 + length,
            192.. => return if at + 2 <= message.len() { Ok(at + 2) } else { Err(Fault::Short) },
            _ => return Err(Fault::LabelType),
        }
        if at - start >= super::MAX_NAME {
            return Err(Fault::LongName);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `wWw.x A IN` with the given counts and what follows the question.
    fn query(counts: [u8; 4], rest: &[u8]) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 0x01, 0x00];
        counts.iter().for_each(|c| message.extend([0, *c]));
        message.extend(b"\x03wWw\x01x\x00\x00\x01\x00\x01");
        message.extend(rest);
        message
    }

    fn fault_of(message: &[u8]) -> Option<Fault> {
        Request::parse(Header::parse(message).unwrap(), message, &mut NameBuf::default()).fault
    }

    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";
    const RECORD: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x7f\x00\x00\x01";

    #[test]
    fn a_query_is_read() {
        let message = query([1, 0, 0, 1], OPT);
        let mut name = NameBuf::default();
        let request = Request::parse(Header::parse(&message).unwrap(), &message, &mut name);
        assert_eq!(request.fault, None);
        assert!(request.header.is_query() && !request.header.is_response());
        let question = request.question.unwrap();
        assert_eq!((question.name.to_string().as_str(), question.qtype, question.qclass), ("www.x.", 1, 1));
        assert_eq!(request.opening, &message[..HEADER + 11]);
        let edns = request.edns.unwrap();
        assert_eq!((edns.payload, edns.version, edns.dnssec_ok), (1232, 0, true));
        assert!(Header::parse(&message[..11]).is_none());
    }

    #[test]
    fn faults_are_told_apart() {
        let check =
            |counts: [u8; 4], rest: &[u8], fault: Option<Fault>| assert_eq!(fault_of(&query(counts, rest)), fault, "{counts:?} {rest:?}");
        let opt = |owner: &[u8], version: u8, options: &[u8]| {
            [owner, b"\x00\x29\x04\xd0\x00", &[version], b"\x00\x00\x00", &[options.len() as u8], options].concat()
        };
        check([1, 0, 0, 0], b"", None);
        check([1, 1, 1, 1], &[RECORD, RECORD, RECORD].concat(), None);
        check([0, 0, 0, 0], b"", Some(Fault::Trailing));
        check([2, 0, 0, 0], b"\x00\x00\x01\x00\x01", Some(Fault::QuestionCount));
        check([1, 0, 0, 0], b"x", Some(Fault::Trailing));
        check([1, 0, 0, 1], b"", Some(Fault::Short));
        check([1, 0, 0, 1], &RECORD[..15], Some(Fault::Short));
        check([1, 0, 0, 1], &opt(b"\x01a\x00", 0, b""), Some(Fault::OptOwner));
        check([1, 0, 0, 1], &opt(b"\xc0\x0c", 0, b""), Some(Fault::OptOwner));
        check([1, 0, 0, 2], &[OPT, OPT].concat(), Some(Fault::TwoOpts));
        check([1, 1, 0, 0], OPT, Some(Fault::OptSection));
        // RFC 8945 §5.1: a TSIG is the last record, of the additional section.
        const TSIG: &[u8] = b"\x01k\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00";
        check([1, 0, 0, 2], &[OPT, TSIG].concat(), None);
        check([1, 0, 0, 2], &[TSIG, OPT].concat(), Some(Fault::TsigPlace));
        check([1, 0, 0, 2], &[TSIG, TSIG].concat(), Some(Fault::TsigPlace));
        check([1, 1, 0, 0], TSIG, Some(Fault::TsigPlace));
        check([1, 0, 0, 1], &opt(b"\x00", 0, b"\x00\x63\x00\x01"), Some(Fault::OptionLength));
        check([1, 0, 0, 1], &opt(b"\x00", 0, b"\x00\x63\x00"), Some(Fault::OptionLength));
        check([1, 0, 0, 1], &opt(b"\x00", 1, b"\x00\x63\x00"), None);
        check([1, 0, 0, 1], &opt(b"\x00", 0, b"\x00\x63\x00\x01z\x00\x64\x00\x00"), None);
        // RFC 7873 §5.2.2: 8, or 16 to 40 octets. The first option counts.
        let cookie = |lengths: &[u8]| {
            let one = |length: &u8| [vec![0, 10, 0, *length], vec![7; usize::from(*length)]].concat();
            opt(b"\x00", 0, &lengths.iter().flat_map(one).collect::<Vec<u8>>())
        };
        for (length, fits) in [(0, false), (7, false), (8, true), (9, false), (15, false), (16, true), (40, true), (41, false)] {
            check([1, 0, 0, 1], &cookie(&[length]), (!fits).then_some(Fault::CookieLength));
        }
        check([1, 0, 0, 1], &cookie(&[8, 3]), None);
        check([1, 0, 0, 1], &cookie(&[3, 8]), Some(Fault::CookieLength));
        // NSID, keepalive and padding with data: whether that matters is for others to say.
        check([1, 0, 0, 1], &opt(b"\x00", 0, b"\x00\x03\x00\x01n\x00\x0b\x00\x02\x00\x01\x00\x0c\x00\x01\xff"), None);
        let mut compressed = query([1, 0, 0, 0], b"");
        compressed[12] = 0xc0;
        assert_eq!(fault_of(&compressed), Some(Fault::CompressedQuestion));
        // RFC 7873 §5.4: no question, but a cookie.
        let asked = |rest: Vec<u8>| [&[0xab, 0xcd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &rest].concat();
        assert_eq!(fault_of(&asked(cookie(&[8]))), None);
        assert_eq!(fault_of(&asked(OPT.to_vec())), Some(Fault::QuestionCount));
    }
}
