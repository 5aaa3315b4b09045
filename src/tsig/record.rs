//! The record: as it stands in a message, and what of it is signed (RFC 8945 §4).

use aws_lc_rs::hmac;

use super::{Key, NoRoom};
use crate::codec::code::{CLASS_ANY, rtype};
use crate::codec::{Fault, HEADER, NameBuf, Records};
use crate::model::{Name, TsigAlgorithm};

/// Why a message with a TSIG, or what should be one, is FORMERR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The message itself, or the place of the record (RFC 8945 §5.1).
    #[error("{0}")]
    Message(#[from] Fault),
    /// Its class is not ANY, or its TTL not 0 (RFC 8945 §4.2).
    #[error("TSIG: class ANY and TTL 0 are expected")]
    Fixed,
    /// Its data are cut, or something stands behind them.
    #[error("TSIG: malformed data")]
    Data,
    /// A MAC that is longer than its algorithm's, or shorter than 10 octets or half of it (RFC 8945 §5.2.2.1).
    #[error("TSIG: impossible length of the MAC")]
    MacLength,
}

/// A TSIG as it stands at the end of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tsig<'m> {
    /// Its offset: the message without it ends there.
    pub at: usize,
    /// The key's name.
    pub key: Name,
    /// The algorithm's name in wire form, lower case.
    pub algorithm: Name,
    /// When it was signed: seconds since the Unix epoch, 48 bits.
    pub time: u64,
    /// How many seconds the clocks may be apart.
    pub fudge: u16,
    /// The signature.
    pub mac: &'m [u8],
    /// The message's id where it was signed.
    pub original_id: u16,
    /// What the sender found wrong.
    pub error: u16,
    /// The server's clock, where the error is BADTIME.
    pub other: &'m [u8],
}

impl<'m> Tsig<'m> {
    /// Finds it; `None` where there is none.
    ///
    /// # Errors
    /// A message, or a TSIG, that cannot be read, or stands where it must not.
    pub fn find(message: &'m [u8]) -> Result<Option<Tsig<'m>>, Malformed> {
        let mut records = Records::of(message)?;
        for record in records.by_ref() {
            let record = record?;
            // RFC 8945 §5.1: it is the last; anything else is an error of the records.
            if record.rtype != rtype::TSIG {
                continue;
            }
            if record.end != message.len() {
                return Err(Fault::Trailing.into());
            }
            // RFC 8945 §4.2: CLASS is ANY, TTL is 0.
            if record.class != CLASS_ANY || record.ttl != 0 {
                return Err(Malformed::Fixed);
            }
            let mut name = NameBuf::default();
            name.follow(message, record.owner)?;
            let tsig = Tsig::parse(record.owner, Name::from_wire(name.wire()), record.data).ok_or(Malformed::Data)?;
            return Ok(Some(tsig));
        }
        match records.position() == message.len() {
            true => Ok(None),
            false => Err(Fault::Trailing.into()),
        }
    }

    fn parse(at: usize, key: Name, data: &'m [u8]) -> Option<Tsig<'m>> {
        let (algorithm, end) = NameBuf::parse(data, 0).ok()?;
        let (fixed, rest) = data.get(end..)?.split_first_chunk::<10>()?;
        let [t0, t1, t2, t3, t4, t5, f0, f1, m0, m1] = *fixed;
        let (mac, rest) = rest.split_at_checked(u16::from_be_bytes([m0, m1]).into())?;
        let (fixed, other) = rest.split_first_chunk::<6>()?;
        let [i0, i1, e0, e1, o0, o1] = *fixed;
        (other.len() == usize::from(u16::from_be_bytes([o0, o1]))).then(|| Tsig {
            at,
            key,
            algorithm: Name::from_wire(algorithm.wire()),
            time: u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]),
            fudge: u16::from_be_bytes([f0, f1]),
            mac,
            original_id: u16::from_be_bytes([i0, i1]),
            error: u16::from_be_bytes([e0, e1]),
            other,
        })
    }

    /// Whether `now` is within its fudge (RFC 8945 §5.2.3).
    pub fn is_timely(&self, now: u64) -> bool {
        now.abs_diff(self.time) <= u64::from(self.fudge)
    }

    /// The message as it was before it was signed (RFC 8945 §4.3.2): without the record, and with the id that it had.
    pub fn plain(&self, message: &[u8]) -> Vec<u8> {
        let mut plain = message.get(..self.at).unwrap_or_default().to_vec();
        if let Some(header) = plain.first_chunk_mut::<HEADER>() {
            *header = header_before(header, self.original_id);
        }
        plain
    }

    /// Adds what was signed of the message to a digest.
    pub(super) fn digest_message(&self, context: &mut hmac::Context, message: &[u8]) {
        let Some((header, rest)) = message.get(..self.at).and_then(|plain| plain.split_first_chunk::<HEADER>()) else { return };
        context.update(&header_before(header, self.original_id));
        context.update(rest);
    }

    /// Adds its own variables to a digest (RFC 8945 §4.3.3).
    pub(super) fn digest_variables(&self, context: &mut hmac::Context) {
        let variables = Variables {
            key: &self.key,
            algorithm: self.algorithm.wire(),
            time: self.time,
            fudge: self.fudge,
            error: self.error,
            other: self.other,
        };
        variables.digest(context);
    }
}

/// A header with one record less and the id that was signed.
fn header_before(header: &[u8; HEADER], id: u16) -> [u8; HEADER] {
    let mut before = *header;
    let additional = u16::from_be_bytes([before[10], before[11]]).saturating_sub(1);
    before[..2].copy_from_slice(&id.to_be_bytes());
    before[10..].copy_from_slice(&additional.to_be_bytes());
    before
}

/// What is signed of a TSIG (RFC 8945 §4.3.3).
pub(super) struct Variables<'v> {
    pub key: &'v Name,
    pub algorithm: &'v [u8],
    pub time: u64,
    pub fudge: u16,
    pub error: u16,
    pub other: &'v [u8],
}

impl Variables<'_> {
    /// All of them: of a request, and of the first reply to it.
    pub fn digest(&self, context: &mut hmac::Context) {
        context.update(self.key.wire());
        context.update(&CLASS_ANY.to_be_bytes());
        context.update(&0u32.to_be_bytes());
        context.update(self.algorithm);
        digest_timers(context, self.time, self.fudge);
        context.update(&self.error.to_be_bytes());
        context.update(&(self.other.len() as u16).to_be_bytes());
        context.update(self.other);
    }

    /// Appends the record with its MAC to a message, and counts it.
    ///
    /// # Errors
    /// The message has no room; it is as it was.
    pub fn append(&self, message: &mut Vec<u8>, mac: &[u8]) -> Result<(), NoRoom> {
        let [.., a0, a1] = *message.first_chunk::<HEADER>().ok_or(NoRoom)?;
        let counted = u16::from_be_bytes([a0, a1]).checked_add(1).ok_or(NoRoom)?;
        let data = self.algorithm.len() + 16 + mac.len() + self.other.len();
        if message.len() + self.key.wire().len() + 10 + data > 65_535 {
            return Err(NoRoom);
        }
        let id = [message[0], message[1]];
        message[10..HEADER].copy_from_slice(&counted.to_be_bytes());
        message.extend_from_slice(self.key.wire());
        message.extend_from_slice(&rtype::TSIG.to_be_bytes());
        message.extend_from_slice(&CLASS_ANY.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&(data as u16).to_be_bytes());
        message.extend_from_slice(self.algorithm);
        message.extend_from_slice(&self.time.to_be_bytes()[2..]);
        message.extend_from_slice(&self.fudge.to_be_bytes());
        message.extend_from_slice(&(mac.len() as u16).to_be_bytes());
        message.extend_from_slice(mac);
        message.extend_from_slice(&id);
        message.extend_from_slice(&self.error.to_be_bytes());
        message.extend_from_slice(&(self.other.len() as u16).to_be_bytes());
        message.extend_from_slice(self.other);
        Ok(())
    }
}

/// The timers alone are signed of the second and later replies of a stream (RFC 8945 §5.3.1).
pub(super) fn digest_timers(context: &mut hmac::Context, time: u64, fudge: u16) {
    context.update(&time.to_be_bytes()[2..]);
    context.update(&fudge.to_be_bytes());
}

/// A digest that begins with the MAC before it and its length (RFC 8945 §4.3.1); `None`: with nothing.
pub(super) fn context(key: &Key, prior: Option<&[u8]>) -> hmac::Context {
    let mut context = hmac::Context::with_key(&key.hmac);
    if let Some(mac) = prior {
        context.update(&(mac.len() as u16).to_be_bytes());
        context.update(mac);
    }
    context
}

/// Octets of a whole record.
pub(super) fn octets(key: &Name, algorithm: TsigAlgorithm, mac: usize, other: usize) -> usize {
    key.wire().len() + 10 + algorithm.wire().len() + 16 + mac + other
}
