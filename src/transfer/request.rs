//! What is asked for: a whole zone, or what became of it since a serial.

use crate::codec::code::{CLASS_IN, option, rtype};
use crate::codec::{Fault, Header, NameBuf, Records, Request, Section};
use crate::model::Name;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The whole zone (AXFR).
    Whole,
    /// What became of it since that serial (IXFR).
    Since(u32),
}

/// A request for a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The zone.
    pub apex: Name,
    /// How much of it.
    pub extent: Extent,
    /// The largest datagram that the client takes, in octets.
    pub payload: u16,
    /// Header and question of the reply.
    pub(super) opening: Vec<u8>,
    /// The reply's OPT, where the request has one.
    pub(super) opt: Vec<u8>,
}

impl Asked {
    /// Reads a request: a question of type AXFR or IXFR. A TSIG is not looked into.
    ///
    /// # Errors
    /// It is FORMERR; where nothing else is wrong, the SOA of an IXFR is missing (RFC 1995 §3).
    pub fn read(message: &[u8]) -> Result<Asked, Fault> {
        let header = Header::parse(message).ok_or(Fault::Short)?;
        let mut name = NameBuf::default();
        let request = Request::parse(header, message, &mut name);
        if let Some(fault) = request.fault {
            return Err(fault);
        }
        let question = request.question.as_ref().ok_or(Fault::QuestionCount)?;
        let extent = match question.qtype {
            rtype::IXFR => Extent::Since(serial(message, question.name)?),
            _ => Extent::Whole,
        };
        let (payload, opt) = match &request.edns {
            Some(edns) => (edns.payload.max(512), opt(edns.dnssec_ok, None)),
            None => (512, Vec::new()),
        };
        let mut opening = request.opening.to_vec();
        let counts = [1, 0, 0, u16::from(!opt.is_empty())];
        // RFC 5936 §2.2.1: QR and AA; opcode and RD are the request's.
        let flags = Header::QR | Header::AA | header.flags & (Header::OPCODE | Header::RD);
        opening[..12].copy_from_slice(&Header { id: header.id, flags, counts: counts.into() }.octets());
        Ok(Asked { apex: Name::from_wire(question.name.wire()), extent, payload, opening, opt })
    }
}

/// The serial that the client of an IXFR has: that of the SOA in the authority section (RFC 1995 §3).
fn serial(message: &[u8], apex: &NameBuf) -> Result<u32, Fault> {
    let mut name = NameBuf::default();
    for record in Records::of(message)? {
        let record = record?;
        if record.section != Section::Authority || record.rtype != rtype::SOA || record.class != CLASS_IN {
            continue;
        }
        name.follow(message, record.owner)?;
        let end = name.clone().follow(message, record.data_at)?;
        let end = NameBuf::default().follow(message, end)?;
        let serial = message.get(end..record.end).and_then(|numbers| numbers.first_chunk::<4>());
        if name.wire() == apex.wire() {
            return serial.map(|serial| u32::from_be_bytes(*serial)).ok_or(Fault::Short);
        }
    }
    Err(Fault::SerialMissing)
}

/// An OPT (RFC 6891 §6.1.2), with an extended error or none.
fn opt(dnssec_ok: bool, error: Option<(u16, &str)>) -> Vec<u8> {
    let mut opt = vec![0, 0, rtype::OPT as u8, 0x04, 0xd0, 0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0];
    if let Some((code, text)) = error {
        // RFC 8914 §2.
        let text = &text.as_bytes()[..text.len().min(200)];
        let length = text.len() as u16;
        opt.extend_from_slice(&option::EXTENDED_ERROR.to_be_bytes());
        opt.extend_from_slice(&(length + 2).to_be_bytes());
        opt.extend_from_slice(&code.to_be_bytes());
        opt.extend_from_slice(text);
        opt[9..11].copy_from_slice(&(length + 6).to_be_bytes());
    }
    opt
}

/// A reply that says why there is no other: an RCODE, and where the client speaks EDNS an extended error (RFC 8914). `None` where the request
/// is no message that is replied to.
pub fn refusal(message: &[u8], code: u16, extended: u16, text: &str) -> Option<Vec<u8>> {
    let header = Header::parse(message).filter(|header| !header.is_response())?;
    let mut name = NameBuf::default();
    let request = Request::parse(header, message, &mut name);
    let opt = request.edns.as_ref().map(|edns| opt(edns.dnssec_ok, Some((extended, text)))).unwrap_or_default();
    let mut reply = request.opening.to_vec();
    let counts = [u16::from(request.question.is_some()), 0, 0, u16::from(!opt.is_empty())];
    let copied = if header.is_query() { Header::OPCODE | Header::RD } else { Header::OPCODE };
    let flags = Header::QR | header.flags & copied | code & 0xf;
    reply[..12].copy_from_slice(&Header { id: header.id, flags, counts: counts.into() }.octets());
    reply.extend_from_slice(&opt);
    Some(reply)
}
