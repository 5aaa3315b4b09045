//! A client's side: a request is signed, and its replies are verified (RFC 8945 §5.3.1, §5.4).

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use super::record::{Variables, context, digest_timers};
use super::{FUDGE, Key, Malformed, NoRoom, Tsig, TsigError};

/// Replies that may come between two that are signed (RFC 8945 §5.3.1).
const MOST_UNSIGNED: usize = 99;

/// Why a reply cannot be trusted. Whoever waits for a datagram waits on (RFC 8945 §5.4); a stream is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It cannot be read.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The first, the last, or a hundred in a row are not signed.
    #[error("the reply is not signed")]
    Unsigned,
    /// It is signed with another key.
    #[error("the reply is signed with another key")]
    OtherKey,
    /// Its MAC is not its own.
    #[error("the signature of the reply is wrong")]
    Wrong,
    /// It was signed too long ago, or the clocks are too far apart.
    #[error("the reply was signed too long ago, or the clocks differ")]
    Time,
    /// The server says that it does not trust the request.
    #[error("the server answers {0}")]
    Refused(TsigError),
    /// The server says something that is no error of RFC 8945.
    #[error("the server answers with TSIG error {0}")]
    Unknown(u16),
}

/// Signs a request with `key` at the time `now`, in seconds since the Unix epoch; what comes back verifies the replies.
///
/// # Errors
/// The request has no room; it is as it was.
pub fn ask(message: &mut Vec<u8>, key: &Arc<Key>, now: u64) -> Result<Verifier, NoRoom> {
    let variables = Variables { key: &key.name, algorithm: key.algorithm.wire(), time: now, fudge: FUDGE, error: 0, other: &[] };
    let mut digest = context(key, None);
    digest.update(message);
    variables.digest(&mut digest);
    let mac = digest.sign();
    variables.append(message, mac.as_ref())?;
    Ok(Verifier { key: key.clone(), digest: context(key, Some(mac.as_ref())), first: true, unsigned: 0 })
}

/// Verifies the replies to a request, in their order.
#[derive(Clone)]
pub struct Verifier {
    key: Arc<Key>,
    /// Of the MAC before, and of the replies since that were not signed.
    pub(super) digest: hmac::Context,
    first: bool,
    unsigned: usize,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({:?})", self.key)
    }
}

impl Verifier {
    /// Verifies the next reply. One in a stream that is not signed is good only once one behind it is verified: nothing may be done with
    /// what it says before [`Verifier::finish`].
    ///
    /// # Errors
    /// It cannot be trusted; it changed nothing, so that another may be tried where datagrams come from anybody.
    pub fn verify(&mut self, message: &[u8], now: u64) -> Result<(), ReplyError> {
        let Some(tsig) = Tsig::find(message)? else {
            // RFC 8945 §5.3.1: the first is signed, and at least every hundredth.
            if self.first || self.unsigned == MOST_UNSIGNED {
                return Err(ReplyError::Unsigned);
            }
            self.digest.update(message);
            self.unsigned += 1;
            return Ok(());
        };
        if tsig.key != self.key.name || tsig.algorithm.wire() != self.key.algorithm.wire() {
            return Err(ReplyError::OtherKey);
        }
        let said = match (tsig.error, TsigError::of(tsig.error)) {
            (0, _) => None,
            (_, Some(error)) => Some(ReplyError::Refused(error)),
            (code, None) => Some(ReplyError::Unknown(code)),
        };
        // RFC 8945 §5.3.2: an error about key or MAC is not signed; it is told as what it is, and proves nothing.
        if let (Some(said), true) = (said, tsig.mac.is_empty()) {
            return Err(said);
        }
        let mut digest = self.digest.clone();
        tsig.digest_message(&mut digest, message);
        match self.first {
            true => tsig.digest_variables(&mut digest),
            false => digest_timers(&mut digest, tsig.time, tsig.fudge),
        }
        if verify_slices_are_equal(digest.sign().as_ref(), tsig.mac).is_err() {
            return Err(ReplyError::Wrong);
        }
        if let Some(said) = said {
            return Err(said);
        }
        if !tsig.is_timely(now) {
            return Err(ReplyError::Time);
        }
        (self.digest, self.first, self.unsigned) = (context(&self.key, Some(tsig.mac)), false, 0);
        Ok(())
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// Its last reply was not signed (RFC 8945 §5.3.1): it may have been cut, or added to.
    pub fn finish(&self) -> Result<(), ReplyError> {
        match self.first || self.unsigned > 0 {
            true => Err(ReplyError::Unsigned),
            false => Ok(()),
        }
    }
}
