//! Floor 1: who signed a message (RFC 8945): a TSIG is found, verified and made, for one message or a stream of them.
//!
//! ```text
//! a server:  receive(query) ─┬─ Unsigned
//!                            ├─ Signed(signer)  ── signer.sign(reply), as many as there are (§5.3.1)
//!                            └─ Refused(refusal) ─ refusal.conclude(reply) (§5.3.2)
//! a client:  ask(query, key) ── verifier.verify(reply), each of them, then verifier.finish()
//! ```
//! Time is an argument, in seconds since the Unix epoch; MACs are compared in constant time. Nothing here shows a secret.

mod record;
mod reply;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

pub use record::{Malformed, Tsig};
pub use reply::{ReplyError, Verifier, ask};
pub use request::{Received, Refusal, Signer, receive};

use crate::model::{Name, TsigAlgorithm, TsigKey};

/// How far apart two clocks may be, in seconds (RFC 8945 §10 recommends 300).
pub const FUDGE: u16 = 300;

/// What a TSIG says is wrong (RFC 8945 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TsigError {
    /// The MAC is not that of the message.
    #[error("BADSIG")]
    BadSig,
    /// The key is not known, or goes with another algorithm.
    #[error("BADKEY")]
    BadKey,
    /// The clocks are further apart than the fudge.
    #[error("BADTIME")]
    BadTime,
    /// The MAC was cut.
    #[error("BADTRUNC")]
    BadTrunc,
}

impl TsigError {
    /// As the error field carries it.
    pub fn code(self) -> u16 {
        match self {
            TsigError::BadSig => 16,
            TsigError::BadKey => 17,
            TsigError::BadTime => 18,
            TsigError::BadTrunc => 22,
        }
    }

    /// What a code means, if it is one of these.
    pub fn of(code: u16) -> Option<TsigError> {
        [TsigError::BadSig, TsigError::BadKey, TsigError::BadTime, TsigError::BadTrunc].into_iter().find(|error| error.code() == code)
    }
}

/// A signed message would be longer than 65,535 octets, or is none: no header, or no room for another record in its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message has no room for a TSIG")]
pub struct NoRoom;

/// A key that is ready to sign.
#[derive(Clone)]
pub struct Key {
    name: Name,
    algorithm: TsigAlgorithm,
    hmac: hmac::Key,
}

impl Key {
    /// From its settings.
    pub fn new(key: &TsigKey) -> Key {
        let algorithm = match key.algorithm {
            TsigAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
            TsigAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
            TsigAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
        };
        Key { name: key.name.clone(), algorithm: key.algorithm, hmac: hmac::Key::new(algorithm, &key.secret.0) }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> TsigAlgorithm {
        self.algorithm
    }

    /// Octets of a TSIG that it makes, without other data: what a message must leave free.
    pub fn room(&self) -> usize {
        record::octets(&self.name, self.algorithm, self.algorithm.mac_length(), 0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.name, self.algorithm.name())
    }
}

/// The keys of this server, by name.
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<Name, Arc<Key>>);

impl Keys {
    /// From settings.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k TsigKey>) -> Keys {
        Keys(keys.into_iter().map(|key| (key.name.clone(), Arc::new(Key::new(key)))).collect())
    }

    /// The key of that name.
    pub fn get(&self, name: &Name) -> Option<&Arc<Key>> {
        self.0.get(name)
    }
}
