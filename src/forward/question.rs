//! What is asked of an upstream, and by what its reply is kept.

use std::net::IpAddr;

use crate::codec::code::CLASS_IN;
use crate::codec::{HEADER, Header, NameBuf, Request};

/// What makes one reply another: everything of a query that an upstream sees, but for the client's subnet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// The name in its wire form, lower case (RFC 4343 §3).
    pub(super) name: Box<[u8]>,
    pub(super) qtype: u16,
    /// DO: DNSSEC records are wanted (RFC 3225).
    pub(super) dnssec_ok: bool,
    /// CD: unvalidated data is wanted (RFC 4035 §3.2.2).
    pub(super) checking_disabled: bool,
    pub(super) origin: Origin,
}

/// What a query says of where its client is (RFC 7871 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// Nothing.
    Unsaid,
    /// That nothing is to be said.
    Withheld,
    /// An IPv4 subnet.
    V4,
    /// An IPv6 subnet.
    V6,
}

/// A subnet, or the part of it for which a reply holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Subnet {
    pub(super) address: IpAddr,
    pub(super) bits: u8,
}

impl Subnet {
    /// Whether all of `other` is in the first `bits` bits of it.
    pub(super) fn covers(&self, other: &Subnet) -> bool {
        self.bits <= other.bits && prefix(self.address, self.bits) == prefix(other.address, self.bits)
    }
}

/// The first bits of an address; the family is not among them.
fn prefix(address: IpAddr, bits: u8) -> u128 {
    let all = match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    all.checked_shr(128 - u32::from(bits.min(128))).unwrap_or(0)
}

/// A client's query, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) subnet: Option<Subnet>,
    /// AD: it wants to know whether the answer was validated (RFC 6840 §5.7).
    pub(super) wants_authentic: bool,
}

impl Asked {
    /// Reads a query; `None` where it is none that an upstream could be asked.
    pub(super) fn read(query: &[u8]) -> Option<Asked> {
        let header = Header::parse(query)?;
        let mut name = NameBuf::default();
        let request = Request::parse(header, query, &mut name);
        let question = request.question.as_ref().filter(|question| question.qclass == CLASS_IN)?;
        if request.fault.is_some() || !header.is_query() {
            return None;
        }
        let edns = request.edns.as_ref();
        let dnssec_ok = edns.is_some_and(|edns| edns.dnssec_ok);
        let option = edns.and_then(|edns| edns.subnet);
        let subnet = option.and_then(|option| Some(Subnet { address: option.client()?, bits: option.source() }));
        let origin = match (option, subnet.map(|subnet| subnet.address)) {
            (None, _) => Origin::Unsaid,
            (Some(_), None) => Origin::Withheld,
            (Some(_), Some(IpAddr::V4(_))) => Origin::V4,
            (Some(_), Some(IpAddr::V6(_))) => Origin::V6,
        };
        let question = Question {
            name: question.name.wire().into(),
            qtype: question.qtype,
            dnssec_ok,
            checking_disabled: header.flags & Header::CD != 0,
            origin,
        };
        Some(Asked { question, subnet, wants_authentic: dnssec_ok || header.flags & Header::AD != 0 })
    }

    /// The same question about another name.
    pub(super) fn about(&self, name: &[u8]) -> Asked {
        Asked { question: Question { name: name.into(), ..self.question.clone() }, ..self.clone() }
    }
}

impl Question {
    /// A message that holds it and nothing else: the least that a reply to it begins with.
    pub(super) fn opening(&self) -> Vec<u8> {
        let header = Header { id: 0, flags: Header::QR, counts: [1, 0, 0, 0].into() };
        let mut octets = Vec::with_capacity(HEADER + self.name.len() + 4);
        octets.extend(header.octets());
        octets.extend(&*self.name);
        octets.extend(self.qtype.to_be_bytes());
        octets.extend(CLASS_IN.to_be_bytes());
        octets
    }
}
