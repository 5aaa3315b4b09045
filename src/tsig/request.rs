//! A server's side: what came is verified, what goes back is signed (RFC 8945 §5.2, §5.3).

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::record::{Variables, context, digest_timers};
use super::{FUDGE, Key, Keys, Malformed, NoRoom, Tsig, TsigError};
use crate::codec::code::rcode;
use crate::model::Name;

/// What a request's TSIG says.
#[derive(Debug)]
pub enum Received {
    /// There is none.
    Unsigned,
    /// It is signed with this key; the replies will be, too.
    Signed(Signer),
    /// It is not what it says; the reply says why.
    Refused(Refusal),
}

/// Verifies the TSIG of a request at the time `now`, in seconds since the Unix epoch.
///
/// # Errors
/// The message is FORMERR.
pub fn receive(message: &[u8], keys: &Keys, now: u64) -> Result<Received, Malformed> {
    let Some(tsig) = Tsig::find(message)? else { return Ok(Received::Unsigned) };
    let refuse = |error: TsigError, signer: Option<Signer>| {
        Ok(Received::Refused(Refusal { error, key: tsig.key.clone(), algorithm: tsig.algorithm.clone(), time: tsig.time, signer }))
    };
    // RFC 8945 §5.2: the key, then the MAC, then the time, then whether the MAC was cut.
    let Some(key) = keys.get(&tsig.key).filter(|key| key.algorithm.wire() == tsig.algorithm.wire()) else {
        return refuse(TsigError::BadKey, None);
    };
    // RFC 8945 §5.2.2.1: which lengths there can be at all.
    let whole = key.algorithm.mac_length();
    if tsig.mac.len() > whole || tsig.mac.len() < (whole / 2).max(10) {
        return Err(Malformed::MacLength);
    }
    let mut digest = context(key, None);
    tsig.digest_message(&mut digest, message);
    tsig.digest_variables(&mut digest);
    let mac = digest.sign();
    if verify_slices_are_equal(&mac.as_ref()[..tsig.mac.len()], tsig.mac).is_err() {
        return refuse(TsigError::BadSig, None);
    }
    // RFC 8945 §5.3.2: from here on the error is signed, as its sender is known.
    let signer = Signer { key: key.clone(), prior: tsig.mac.to_vec(), first: true };
    if !tsig.is_timely(now) {
        return refuse(TsigError::BadTime, Some(signer));
    }
    // RFC 8945 §5.2.4: this server's policy is the whole MAC.
    match tsig.mac.len() == whole {
        true => Ok(Received::Signed(signer)),
        false => refuse(TsigError::BadTrunc, Some(signer)),
    }
}

/// Signs the replies to a request, one after another.
#[derive(Debug, Clone)]
pub struct Signer {
    key: Arc<Key>,
    /// The MAC of the request, then of the reply before.
    pub(super) prior: Vec<u8>,
    first: bool,
}

impl Signer {
    /// Who asked.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Octets that each reply must leave free.
    pub fn room(&self) -> usize {
        self.key.room()
    }

    /// Signs the next reply.
    ///
    /// # Errors
    /// The reply has no room; it is as it was.
    pub fn sign(&mut self, message: &mut Vec<u8>, now: u64) -> Result<(), NoRoom> {
        self.conclude(message, now, 0, &[])
    }

    fn conclude(&mut self, message: &mut Vec<u8>, time: u64, error: u16, other: &[u8]) -> Result<(), NoRoom> {
        let variables = Variables { key: &self.key.name, algorithm: self.key.algorithm.wire(), time, fudge: FUDGE, error, other };
        let mut digest = context(&self.key, Some(&self.prior));
        digest.update(message);
        match self.first {
            true => variables.digest(&mut digest),
            // RFC 8945 §5.3.1: the second and all that follow.
            false => digest_timers(&mut digest, time, FUDGE),
        }
        let mac = digest.sign();
        variables.append(message, mac.as_ref())?;
        (self.prior, self.first) = (mac.as_ref().to_vec(), false);
        Ok(())
    }
}

/// A request whose TSIG is not good.
#[derive(Debug)]
pub struct Refusal {
    error: TsigError,
    key: Name,
    algorithm: Name,
    time: u64,
    signer: Option<Signer>,
}

impl Refusal {
    /// What is wrong.
    pub fn error(&self) -> TsigError {
        self.error
    }

    /// The key that the sender named.
    pub fn key(&self) -> &Name {
        &self.key
    }

    /// Makes `reply`, a response with the request's id and question and nothing else, say what is wrong: NOTAUTH, and a TSIG with the error.
    ///
    /// # Errors
    /// The reply has no room; but for its RCODE it is as it was.
    pub fn conclude(self, reply: &mut Vec<u8>, now: u64) -> Result<(), NoRoom> {
        let low = reply.get_mut(3).ok_or(NoRoom)?;
        *low = *low & 0xf0 | rcode::NOTAUTH as u8;
        let code = self.error.code();
        let clock = now.to_be_bytes();
        match self.signer {
            // RFC 8945 §5.2.3: the time is the client's, so that it can verify it; the server's is in other data.
            Some(mut signer) if self.error == TsigError::BadTime => signer.conclude(reply, self.time, code, &clock[2..]),
            Some(mut signer) => signer.conclude(reply, now, code, &[]),
            // RFC 8945 §5.3.2: who knows the sender's key no better must not sign.
            None => {
                let algorithm = self.algorithm.wire();
                Variables { key: &self.key, algorithm, time: now, fudge: FUDGE, error: code, other: &[] }.append(reply, &[])
            }
        }
    }
}
