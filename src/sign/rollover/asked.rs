//! What people say, and what the parent was seen to have: rolls, a DS that is there or gone, and the way out of DNSSEC.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{KeyRecord, Timing, ZoneKeys};
use crate::model::{Algorithm, KeyRole, KeyStage, Timestamp};
use crate::sign::private::PrivateKey;

/// Why something that was asked for is not done. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RollRefusal {
    /// The zone has no key of that role.
    #[error("the zone has no {}: its keys are {}", .0.name(), .1)]
    NoSuchRole(KeyRole, String),
    /// One roll after the other.
    #[error("the {} with tag {} is {}: one roll after the other", .0.name(), .1, .2)]
    Underway(KeyRole, u16, KeyStage),
    /// The new key has a tag, or is a key, that is there already.
    #[error("a key with tag {0} is there already")]
    Tag(u16),
    /// A key of another algorithm would need signatures of both.
    #[error("the keys of the zone are of {}, and a new one must be, too", .0.name())]
    Algorithm(Algorithm),
    /// There is no such key.
    #[error("there is no key with tag {0}")]
    Unknown(u16),
    /// It waits for no DS.
    #[error("the key with tag {0} is {1}, and waits for no DS")]
    NotSubmitted(u16, KeyStage),
    /// The zone is on its way out of DNSSEC.
    #[error("the parent is asked to remove every DS: keys do not change until the zone stays signed")]
    Leaving,
    /// The zone is not on its way out of DNSSEC.
    #[error("the parent was not asked to remove the DS: that comes first")]
    Staying,
    /// The keys may be in use.
    #[error("the zone is signed, and its parent may have a DS of the keys that it has")]
    InUse,
    /// The keys are not one CSK, or a KSK and a ZSK.
    #[error("one csk is expected, or one ksk and one zsk")]
    Roles,
}

/// What a zone waits for at its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The DS of this key, instead of that of the key before.
    Ds(u16),
    /// That there is no DS any more.
    NoDs,
}

/// The way out of DNSSEC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Leaving {
    /// Since when the parent has no DS any more, as somebody said.
    pub(super) gone: Option<Timestamp>,
}

/// The longest that anybody keeps a record, in seconds.
const MOST_TTL: u32 = 7 * 86_400;

impl ZoneKeys {
    /// Begins a roll: the new key is published.
    pub fn roll(&mut self, role: KeyRole, new: &PrivateKey, now: Timestamp) -> Result<(), RollRefusal> {
        self.may_roll(role)?;
        if let Some(other) = self.keys.iter().find(|key| key.algorithm != new.algorithm()) {
            return Err(RollRefusal::Algorithm(other.algorithm));
        }
        self.add(role, new, KeyStage::Published, now)
    }

    /// Whether a roll could begin now.
    pub fn may_roll(&self, role: KeyRole) -> Result<(), RollRefusal> {
        if self.leaving.is_some() {
            return Err(RollRefusal::Leaving);
        }
        let mut same = self.keys.iter().filter(|key| key.role == role).peekable();
        if same.peek().is_none() {
            let mut roles: Vec<&str> = self.keys.iter().map(|key| key.role.name()).collect();
            roles.dedup();
            return Err(RollRefusal::NoSuchRole(role, roles.join(" and ")));
        }
        match same.find(|key| key.stage != KeyStage::Active) {
            Some(key) => Err(RollRefusal::Underway(role, key.tag, key.stage)),
            None => Ok(()),
        }
    }

    /// Takes somebody's word that the DS of a key is seen at every server of the parent, and that of the key before at none.
    pub fn ds_seen(&mut self, tag: u16) -> Result<(), RollRefusal> {
        let key = self.key(tag).ok_or(RollRefusal::Unknown(tag))?;
        match key.stage {
            KeyStage::Submitted if self.leaving.is_some() => return Err(RollRefusal::Leaving),
            KeyStage::Submitted if key.since.is_some() => {}
            stage => return Err(RollRefusal::NotSubmitted(tag, stage)),
        }
        for key in self.keys.iter_mut().filter(|key| key.role.is_entry() && key.stage == KeyStage::Active) {
            (key.stage, key.since) = (KeyStage::Retired, None);
        }
        self.turn(tag, KeyStage::Active);
        Ok(())
    }

    /// Takes somebody's word that no server of the parent has a DS any more.
    pub fn ds_gone(&mut self, now: Timestamp) -> Result<(), RollRefusal> {
        let leaving = self.leaving.as_mut().ok_or(RollRefusal::Staying)?;
        leaving.gone.get_or_insert(now);
        Ok(())
    }

    /// Takes the TTL of a DS that the parent was seen with. Returns whether anything changed.
    pub fn observe_ds(&mut self, ttl: u32) -> bool {
        let longer = ttl > self.ds_ttl;
        self.ds_ttl = self.ds_ttl.max(ttl);
        longer
    }

    /// What is waited for at the parent, for as long as it takes.
    pub fn awaits(&self) -> Option<Awaited> {
        match self.leaving {
            Some(Leaving { gone: Some(_) }) => None,
            Some(Leaving { gone: None }) => Some(Awaited::NoDs),
            None => {
                let waits = |key: &&KeyRecord| key.stage == KeyStage::Submitted && key.since.is_some();
                self.keys.iter().find(waits).map(|key| Awaited::Ds(key.tag))
            }
        }
    }

    /// Asks the parent to remove every DS (RFC 8078 §4), so that the zone can be unsigned; or, `false`, asks no more.
    pub fn leave(&mut self, leave: bool) {
        self.leaving = leave.then_some(Leaving { gone: None });
    }

    /// Whether the parent is asked to remove every DS.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// From when on the zone can be served unsigned without harm; `None`: nobody can say yet.
    ///
    /// A validator that has followed a DS remembers the keys that it led to as good for as long as their own TTL, not that of the DS: who
    /// did so at the last moment at which a cache held the DS takes what is unsigned for bogus until its DNSKEY has left the cache as well.
    pub fn free_from(&self, timing: &Timing) -> Option<Timestamp> {
        let asked = self.keys.iter().any(|key| key.role.is_entry() && key.stage != KeyStage::Published);
        match self.leaving {
            _ if !asked => Some(Timestamp(0)),
            Some(Leaving { gone: Some(gone) }) => Some(gone.plus(self.ds_wait(timing) + self.dnskey_ttl.longest(gone))),
            _ => None,
        }
    }

    /// Signs a zone again that was unsigned: as if its keys were new.
    pub fn begin_again(&mut self) {
        self.leaving = None;
        // Of each role the one that has come farthest without being on its way out.
        let rank =
            |stage: KeyStage| [KeyStage::Active, KeyStage::Submitted, KeyStage::Published].iter().position(|s| *s == stage).unwrap_or(3);
        self.keys.sort_by_key(|key| (key.role, rank(key.stage)));
        self.keys.dedup_by_key(|key| key.role);
        for key in &mut self.keys {
            (key.stage, key.since) = (if key.role.is_entry() { KeyStage::Published } else { KeyStage::Active }, None);
        }
    }

    /// How long caches may hold a DS that the parent has no more.
    pub(super) fn ds_wait(&self, timing: &Timing) -> Duration {
        // Whatever the settings say of it, what was seen counts; and nobody keeps anything for more than a week (RFC 8767 §4).
        Duration::from_secs(timing.ds_ttl.max(self.ds_ttl.min(MOST_TTL)).into()) + timing.parent_propagation
    }
}
