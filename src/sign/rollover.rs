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

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::digest::{DigestType, cdnskey_delete, cds_delete, ds, key_tag};
use super::private::PrivateKey;
use crate::model::{Algorithm, Denial, KeyRole, KeyStage, Name, Timestamp, ZoneKey, ZoneSigning};

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

/// A TTL that may have been longer: caches remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    seconds: u32,
    before: u32,
    /// Until when caches may hold what was fetched with `before`.
    until: Timestamp,
}

/// When somebody watched the keys last, and on which clock. A run of a server has one clock, which never jumps; the next has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// A number that no other run has.
    pub run: u64,
    /// When.
    pub seen: Timestamp,
}

/// The way out of DNSSEC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaving {
    /// Since when the parent has no DS any more, as somebody said.
    gone: Option<Timestamp>,
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

/// What a zone waits for at its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The DS of this key, instead of that of the key before.
    Ds(u16),
    /// That there is no DS any more.
    NoDs,
}

/// When a step is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// From then on.
    At(Timestamp),
    /// When somebody says so.
    Told,
}

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
/// The longest that anybody keeps a record, in seconds.
const MOST_TTL: u32 = 7 * 86_400;

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

    /// Asks the parent to remove every DS (RFC 8078 §4), so that the zone can be unsigned; or, `false`, asks no more.
    pub fn leave(&mut self, leave: bool) {
        self.leaving = leave.then_some(Leaving { gone: None });
    }

    /// Takes somebody's word that no server of the parent has a DS any more.
    pub fn ds_gone(&mut self, now: Timestamp) -> Result<(), RollRefusal> {
        let leaving = self.leaving.as_mut().ok_or(RollRefusal::Staying)?;
        leaving.gone.get_or_insert(now);
        Ok(())
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

    /// Takes the TTL of a DS that the parent was seen with. Returns whether anything changed.
    pub fn observe_ds(&mut self, ttl: u32) -> bool {
        let longer = ttl > self.ds_ttl;
        self.ds_ttl = self.ds_ttl.max(ttl);
        longer
    }

    /// How long caches may hold a DS that the parent has no more.
    fn ds_wait(&self, timing: &Timing) -> Duration {
        // Whatever the settings say of it, what was seen counts; and nobody keeps anything for more than a week (RFC 8767 §4).
        Duration::from_secs(timing.ds_ttl.max(self.ds_ttl.min(MOST_TTL)).into()) + timing.parent_propagation
    }

    /// Whether the parent is asked to remove every DS.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// From when on the zone can be served unsigned without harm; `None`: nobody can say yet.
    pub fn free_from(&self, timing: &Timing) -> Option<Timestamp> {
        let asked = self.keys.iter().any(|key| key.role.is_entry() && key.stage != KeyStage::Published);
        match self.leaving {
            _ if !asked => Some(Timestamp(0)),
            Some(Leaving { gone: Some(gone) }) => Some(gone.plus(self.ds_wait(timing))),
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

    /// Says that answers show the keys as they are here: what waits, waits from now on. Returns whether anything changed.
    pub fn confirm(&mut self, now: Timestamp) -> bool {
        let waiting = self.keys.iter_mut().filter(|key| key.since.is_none());
        waiting.fold(false, |_, key| key.since.replace(now).is_none())
    }

    /// Takes the TTLs as they are now. Returns whether anything changed.
    pub fn observe(&mut self, timing: &Timing, now: Timestamp) -> bool {
        let dnskey = self.dnskey_ttl.set(timing.dnskey_ttl, now);
        self.longest_ttl.set(timing.longest_ttl, now) || dnskey
    }

    /// Says who watches, before this is written down.
    pub fn watch(&mut self, watched: Watched) {
        self.watched = watched;
    }

    /// Goes on after a start, on a clock that shows `now`; `last` is when the run before was last known to watch. What passed since then
    /// counts for nothing, whether no server ran or the clock jumped, so that a wait only grows.
    pub fn resume(&mut self, last: Option<Watched>, now: Watched) {
        // What this document says is of its own run: another run may have written it and died before it said anything else.
        let same = last.filter(|last| last.run == self.watched.run);
        let seen = same.map_or(self.watched.seen, |last| last.seen.max(self.watched.seen));
        let (unseen, now_is) = (now.seen.since(seen), now.seen);
        let gone = self.leaving.iter_mut().filter_map(|leaving| leaving.gone.as_mut());
        for since in self.keys.iter_mut().filter_map(|key| key.since.as_mut()).chain(gone) {
            // Where the clock went back, what lies ahead begins now.
            *since = since.plus(unseen).min(now_is);
        }
        for held in [&mut self.dnskey_ttl, &mut self.longest_ttl] {
            if held.until > seen.min(now_is) {
                held.until = held.until.plus(unseen).min(now_is.plus(Duration::from_secs(held.before.into())));
            }
        }
        self.watched = now;
    }

    /// Whether it makes no difference how much time passes: nothing waits but for somebody's word, and no cache holds anything of before.
    pub fn rests(&self, timing: &Timing) -> bool {
        let waits = |key: &KeyRecord| key.since.is_none() || matches!(self.next_of(key, timing), Some((_, Due::At(_))));
        let held = |held: &Held| held.until > self.watched.seen;
        self.leaving.is_none() && !self.keys.iter().any(waits) && !held(&self.dnskey_ttl) && !held(&self.longest_ttl)
    }

    /// What answers show of the keys, with compact denial.
    pub fn signing(&self, apex: &Name, dnskey_ttl: u32) -> ZoneSigning {
        let mut keys = self.shown();
        keys.sort_by_key(|key| key.tag);
        let (cds, cdnskey) = match (self.leaving, self.asked_for()) {
            (Some(_), _) => (vec![cds_delete()], vec![cdnskey_delete()]),
            // RFC 7344 §4: both, and they say the same. SHA-256 (RFC 4509) is what every parent takes.
            (None, Some(key)) => (vec![ds(apex, &key.dnskey(), DigestType::Sha256)], vec![key.dnskey()]),
            (None, None) => (Vec::new(), Vec::new()),
        };
        let epoch = epoch(&keys);
        ZoneSigning { keys, dnskey_ttl, denial: Denial::Compact, cds, cdnskey, epoch }
    }

    /// The key whose DS the parent should have.
    pub fn asked_for(&self) -> Option<&KeyRecord> {
        let entry = |stage: KeyStage| self.keys.iter().find(|key| key.role.is_entry() && key.stage == stage);
        entry(KeyStage::Submitted).or_else(|| entry(KeyStage::Active))
    }

    fn shown(&self) -> Vec<ZoneKey> {
        // The first CSK signs the zone while it waits for its DS: there is no other.
        let active = self.keys.iter().any(|key| key.role != KeyRole::Ksk && key.stage == KeyStage::Active);
        let first = |key: &KeyRecord| !active && key.role == KeyRole::Csk;
        let shown = |key: &KeyRecord| ZoneKey {
            flags: key.role.flags(),
            algorithm: key.algorithm.number(),
            tag: key.tag,
            public: key.public.clone(),
            signs_keys: key.role.is_entry(),
            signs_zone: key.role != KeyRole::Ksk && (key.stage == KeyStage::Active || first(key)),
            published: true,
        };
        self.keys.iter().map(shown).collect()
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

impl Held {
    fn new(seconds: u32) -> Held {
        Held { seconds, before: seconds, until: Timestamp(0) }
    }

    /// The longest TTL with which anything was fetched that is in caches from `since` on.
    fn longest(&self, since: Timestamp) -> Duration {
        let before = if self.until > since { self.before } else { 0 };
        Duration::from_secs(self.seconds.max(before).into())
    }

    fn set(&mut self, seconds: u32, now: Timestamp) -> bool {
        if seconds == self.seconds {
            return false;
        }
        let before = if self.until > now { self.before.max(self.seconds) } else { self.seconds };
        (self.seconds, self.before, self.until) = (seconds, before, now.plus(Duration::from_secs(before.into())));
        true
    }
}

/// Names what signs, so that signatures of other keys are never taken for theirs.
fn epoch(keys: &[ZoneKey]) -> u64 {
    use sha2::{Digest, Sha256};
    let hash = keys
        .iter()
        .filter(|key| key.signs_keys || key.signs_zone)
        .fold(Sha256::new(), |hash, key| hash.chain_update(key.rdata()).chain_update([u8::from(key.signs_keys), u8::from(key.signs_zone)]));
    hash.finalize().iter().take(8).fold(0, |epoch, octet| epoch << 8 | u64::from(*octet))
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

#[cfg(test)]
mod tests;
