//! How one key follows another (RFC 6781 §4.1, RFC 7583), on the caller's clock.
//!
//! ```text
//!   ZSK, pre-publish (RFC 7583 §3.2.1):
//!     Published ── DNSKEY TTL + propagation ──▶ Active ── a new one turns Active ──▶ Retired ── longest TTL + propagation ──▶ gone
//!     in DNSKEY                                 signs the zone                        in DNSKEY
//!
//!   KSK and CSK, double-KSK (RFC 7583 §3.3.1):
//!     Published ── DNSKEY TTL + propagation ──▶ Submitted ── DS seen ──▶ Active ── DS of a new one seen ──▶ Retired ── DS TTL + ──▶ gone
//!     in DNSKEY, signs it                       CDS asks for its DS      CSK: signs the zone, too            in DNSKEY, signs it
//! ```
//!
//! A zone's first ZSK is Active from the start, its first CSK signs the zone from the start; the first KSK or CSK asks for its DS once
//! nothing unsigned is in caches any more. A DS is seen when somebody says so, or when every server of the parent does
//! ([`super::parent`]).
//!
//! **Each step is written down before it takes effect**, and a wait begins when the step is known to have taken effect
//! ([`ZoneKeys::confirm`]), so a server that dies in between only waits longer. Time that no server watched, and time that a clock jumped,
//! counts for nothing ([`ZoneKeys::resume`]).

mod asked;
mod elapsed;
mod shown;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::asked::Leaving;
pub use self::asked::{Awaited, RollRefusal};
use self::elapsed::Held;
pub use self::elapsed::Watched;
use super::digest::key_tag;
use super::private::PrivateKey;
use crate::model::{Algorithm, KeyRole, KeyStage, Timestamp, ZoneKey};

/// The keys of a zone and how far each has come: what is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneKeys {
    /// Of the form of this document.
    version: u8,
    keys: Vec<KeyRecord>,
    dnskey_ttl: Held,
    longest_ttl: Held,
    /// When this was written.
    watched: Watched,
    /// Whether the parent is asked to remove every DS, and how far that has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaving: Option<Leaving>,
    /// The longest TTL of a DS that the parent was seen with; zero: nobody looked.
    #[serde(default, skip_serializing_if = "is_zero")]
    ds_ttl: u32,
}

/// A key and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Key tag.
    pub tag: u16,
    /// Algorithm.
    pub algorithm: Algorithm,
    /// What it signs.
    pub role: KeyRole,
    /// The public key as a DNSKEY has it.
    #[serde(with = "base64")]
    pub public: Box<[u8]>,
    /// When it was made, or imported.
    pub made: Timestamp,
    /// How far it has come.
    pub stage: KeyStage,
    /// Since when it is known that answers show it so; `None`: not yet.
    pub since: Option<Timestamp>,
}

/// The times that waits are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// TTL of DNSKEY, CDS and CDNSKEY, in seconds.
    pub dnskey_ttl: u32,
    /// Longest TTL of anything in the zone, in seconds.
    pub longest_ttl: u32,
    /// TTL of the DS in the parent, in seconds.
    pub ds_ttl: u32,
    /// How long after a change every server of the zone has it.
    pub propagation: Duration,
    /// The same of the parent.
    pub parent_propagation: Duration,
    /// How long a ZSK signs before another follows by itself; zero: for ever.
    pub zsk_lifetime: Duration,
}

/// What comes next for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A new ZSK is made and published.
    Introduce,
    /// It begins to sign the zone; the one that did retires.
    Activate(u16),
    /// The parent is asked for its DS.
    Submit(u16),
    /// Its DS is seen at the parent; the one before retires.
    SeeDs(u16),
    /// It goes.
    Remove(u16),
}

/// When a step is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// From then on.
    At(Timestamp),
    /// When somebody says so.
    Told,
}

/// Why a document cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OddKeys {
    /// Of a later version.
    #[error("version {0} of the list of keys is not known")]
    Version(u8),
    /// No key, or no active one, signs what must be signed.
    #[error("no key signs the {0}")]
    Unsigned(&'static str),
    /// A tag that is not that of the key, or stands twice.
    #[error("the tag {0} is not that of the key, or stands twice")]
    Tag(u16),
    /// Two keys of one role are Active.
    #[error("two keys of one role are active: {0} and {1}")]
    Twice(u16, u16),
}

/// The version of the document.
const VERSION: u8 = 1;

impl ZoneKeys {
    /// A zone's first keys: one CSK, or a KSK and a ZSK. `trusted`: the parent has a DS of them, for they come from another server.
    pub fn begin(keys: &[(KeyRole, &PrivateKey)], trusted: bool, timing: &Timing, now: Timestamp) -> Result<ZoneKeys, RollRefusal> {
        let mut roles: Vec<KeyRole> = keys.iter().map(|(role, _)| *role).collect();
        roles.sort();
        if roles != [KeyRole::Csk] && roles != [KeyRole::Ksk, KeyRole::Zsk] {
            return Err(RollRefusal::Roles);
        }
        let stage = |role: KeyRole| if trusted || role == KeyRole::Zsk { KeyStage::Active } else { KeyStage::Published };
        let mut begun = ZoneKeys {
            version: VERSION,
            keys: Vec::new(),
            dnskey_ttl: Held::new(timing.dnskey_ttl),
            longest_ttl: Held::new(timing.longest_ttl),
            watched: Watched { run: 0, seen: now },
            leaving: None,
            ds_ttl: 0,
        };
        for (role, key) in keys {
            begun.add(*role, key, stage(*role), now)?;
        }
        Ok(begun)
    }

    /// Whether these can be the keys of a zone.
    pub fn check(&self) -> Result<(), OddKeys> {
        if self.version != VERSION {
            return Err(OddKeys::Version(self.version));
        }
        for (n, key) in self.keys.iter().enumerate() {
            if key_tag(&key.dnskey()) != key.tag || self.keys[..n].iter().any(|other| other.tag == key.tag) {
                return Err(OddKeys::Tag(key.tag));
            }
            let twin = |other: &&KeyRecord| other.role == key.role && other.stage == KeyStage::Active && key.stage == KeyStage::Active;
            if let Some(other) = self.keys[..n].iter().find(twin) {
                return Err(OddKeys::Twice(other.tag, key.tag));
            }
        }
        let shown = self.shown();
        match (shown.iter().any(|key| key.signs_keys), shown.iter().any(|key| key.signs_zone)) {
            (true, true) => Ok(()),
            (false, _) => Err(OddKeys::Unsigned("keys")),
            (_, false) => Err(OddKeys::Unsigned("zone")),
        }
    }

    /// Every key, in the order in which they came.
    pub fn keys(&self) -> &[KeyRecord] {
        &self.keys
    }

    /// The key with that tag.
    pub fn key(&self, tag: u16) -> Option<&KeyRecord> {
        self.keys.iter().find(|key| key.tag == tag)
    }

    /// What comes next for a key, and when; `None`: nothing.
    pub fn next_of(&self, key: &KeyRecord, timing: &Timing) -> Option<(Step, Due)> {
        let since = key.since?;
        let after = |wait: Duration| Due::At(since.plus(wait));
        let dnskey = self.dnskey_ttl.longest(since) + timing.propagation;
        let data = self.longest_ttl.longest(since) + timing.propagation;
        let first = !self.keys.iter().any(|other| other.role.is_entry() && other.stage == KeyStage::Active);
        match (key.stage, key.role) {
            (KeyStage::Published | KeyStage::Submitted, _) | (KeyStage::Active, KeyRole::Zsk) if self.leaving.is_some() => None,
            // RFC 7583 §3.2.1: Ipub = Dprp + TTLkey.
            (KeyStage::Published, KeyRole::Zsk) => Some((Step::Activate(key.tag), after(dnskey))),
            // Before a DS the zone was unsigned: nothing unsigned may be left where a DS can be seen.
            (KeyStage::Published, _) => Some((Step::Submit(key.tag), after(if first { dnskey.max(data) } else { dnskey }))),
            (KeyStage::Submitted, _) => Some((Step::SeeDs(key.tag), Due::Told)),
            (KeyStage::Active, KeyRole::Zsk) => {
                let alone = self.keys.iter().all(|other| other.role != KeyRole::Zsk || other.tag == key.tag);
                (alone && !timing.zsk_lifetime.is_zero()).then(|| (Step::Introduce, after(timing.zsk_lifetime)))
            }
            (KeyStage::Active, _) => None,
            // RFC 7583 §3.2.1: Iret = Dsgn + Dprp + TTLsig, where signatures are made at once.
            (KeyStage::Retired, KeyRole::Zsk) => Some((Step::Remove(key.tag), after(data))),
            // RFC 7583 §3.3.1: Iret = DprpP + TTLds; and a CSK's signatures must be gone from caches as well.
            (KeyStage::Retired, role) => {
                let ds = self.ds_wait(timing);
                Some((Step::Remove(key.tag), after(if role == KeyRole::Csk { ds.max(data) } else { ds })))
            }
        }
    }

    /// The first step that is due at a moment, not counting those that somebody must say.
    pub fn due(&self, timing: &Timing, now: Timestamp) -> Option<Step> {
        self.steps(timing).filter(|(_, at)| *at <= now).min_by_key(|(_, at)| *at).map(|(step, _)| step)
    }

    /// When the next step is due by itself.
    pub fn next_due(&self, timing: &Timing) -> Option<Timestamp> {
        self.steps(timing).map(|(_, at)| at).min()
    }

    fn steps(&self, timing: &Timing) -> impl Iterator<Item = (Step, Timestamp)> {
        self.keys.iter().filter_map(|key| match self.next_of(key, timing)? {
            (step, Due::At(at)) => Some((step, at)),
            (_, Due::Told) => None,
        })
    }

    /// Takes a step that is due ([`Step::Introduce`] is [`ZoneKeys::roll`] with a new key). Write it down, publish it, then
    /// [`ZoneKeys::confirm`] it.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Introduce | Step::SeeDs(_) => {}
            Step::Submit(tag) => self.turn(tag, KeyStage::Submitted),
            Step::Remove(tag) => self.keys.retain(|key| key.tag != tag),
            Step::Activate(tag) => {
                for key in self.keys.iter_mut().filter(|key| key.role == KeyRole::Zsk && key.stage == KeyStage::Active) {
                    (key.stage, key.since) = (KeyStage::Retired, None);
                }
                self.turn(tag, KeyStage::Active);
            }
        }
    }

    fn add(&mut self, role: KeyRole, key: &PrivateKey, stage: KeyStage, now: Timestamp) -> Result<(), RollRefusal> {
        let tag = key_tag(&key.dnskey(role));
        if self.key(tag).is_some() {
            return Err(RollRefusal::Tag(tag));
        }
        let (algorithm, public) = (key.algorithm(), key.public().into());
        self.keys.push(KeyRecord { tag, algorithm, role, public, made: now, stage, since: None });
        Ok(())
    }

    fn turn(&mut self, tag: u16, stage: KeyStage) {
        for key in self.keys.iter_mut().filter(|key| key.tag == tag) {
            (key.stage, key.since) = (stage, None);
        }
    }
}

impl KeyRecord {
    /// RDATA of its DNSKEY.
    pub fn dnskey(&self) -> Box<[u8]> {
        let [high, low] = self.role.flags().to_be_bytes();
        [&[high, low, ZoneKey::PROTOCOL, self.algorithm.number()], &*self.public].concat().into()
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Octets as base64.
mod base64 {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(octets: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(octets))
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Box<[u8]>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64.decode(text.as_bytes()).map(Into::into).map_err(|_| D::Error::custom("base64 is expected"))
    }
}
