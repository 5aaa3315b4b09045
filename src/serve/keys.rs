//! Keys of signed zones: made or loaded at start and reload, put into zones before these go to control, and led from step to step.
//!
//! ```text
//!   prepare   zones ─▶ prepare ─ keys on disk ─▶ zones with what they show of keys ─▶ control ─▶ settle ─ "in answers since", on disk
//!   steps     a step is due   ─┐
//!   desk      asked for       ─┼─▶ apply: on disk ─▶ keyring ─▶ control ─▶ "in answers since", on disk
//!   looks     a parent has it ─┘
//! ```
//! One change follows the other: whoever holds the turn changes keys. Whoever signs loads the keyring ([`Keys::ring`]), which is replaced
//! before answers show what changed.

mod desk;
mod documents;
mod looks;
mod parents;
mod prepare;
mod shelf;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use self::looks::Look;
use self::prepare::Prepared;
use self::shelf::{Private, Shelf, ShelfError};
use super::{ServeError, blocking};
use crate::config::Finding;
use crate::control::{Clock, Control};
use crate::model::{Algorithm, DnssecSettings, KeyRole, Name, Period, Zone, ZoneSigning};
use crate::sign::{Keyring, PrivateKey, Ring, SECRET, Secret, Timing, Watched, ZoneKeys, digest};

/// Secrets that are drawn for one key: a tag is taken once in some thousand draws.
const DRAWS: usize = 64;

/// The keys. Cloning shares them.
#[derive(Clone)]
pub(super) struct Keys(Arc<Inner>);

struct Inner {
    shelf: Shelf,
    clock: Clock,
    /// No other run has this number.
    run: u64,
    /// When the run before was last known to watch.
    last: Option<Watched>,
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    ring: Arc<ArcSwap<Keyring>>,
    control: OnceLock<Control>,
    changed: Notify,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What is known.
#[derive(Default)]
struct State {
    settings: DnssecSettings,
    /// Zones that are answered.
    served: BTreeSet<Name>,
    /// Zones that are signed.
    zones: BTreeMap<Name, SignedZone>,
    /// What the parents of zones said that wait for a DS.
    looks: BTreeMap<Name, Look>,
}

/// A zone that is signed.
#[derive(Clone)]
struct SignedZone {
    keys: ZoneKeys,
    private: Private,
    /// The longest TTL of anything in its file, in seconds.
    in_file: u32,
    /// The same of all that is served, updates among it.
    longest: u32,
    /// What is on disk will do: nothing in it depends on how much time passed since.
    rests: bool,
}

impl Keys {
    /// Keys in that folder. Nothing is read but when they were last watched.
    pub fn open(folder: PathBuf, clock: Clock) -> Result<Keys, ServeError> {
        let shelf = Shelf::new(folder);
        let mut run = [0; 8];
        getrandom::fill(&mut run).map_err(|error| ServeError::System { what: "no random numbers are to be had", error: error.into() })?;
        let last = shelf.watched();
        Ok(Keys(Arc::new(Inner {
            shelf,
            clock,
            run: u64::from_le_bytes(run),
            last,
            turn: Arc::default(),
            state: Mutex::default(),
            ring: Arc::default(),
            control: OnceLock::new(),
            changed: Notify::new(),
            task: Mutex::new(None),
        })))
    }

    /// The private keys of every signed zone, as they now are: for those who sign.
    pub fn ring(&self) -> Arc<ArcSwap<Keyring>> {
        self.0.ring.clone()
    }

    /// Gives every zone that is signed its keys: those that it has, else new ones, which are on disk when this returns. Nothing else
    /// changes keys until what comes of it is settled or dropped.
    ///
    /// # Errors
    /// A finding for each zone whose keys are lost or broken.
    pub async fn prepare(&self, settings: &DnssecSettings, mut zones: Vec<Zone>) -> Result<(Vec<Zone>, Prepared), ServeError> {
        let turn = self.0.turn.clone().lock_owned().await;
        let (inner, settings) = (self.0.clone(), settings.clone());
        blocking(move || {
            let prepared = inner.prepare(settings, &mut zones, turn)?;
            Ok((zones, prepared))
        })
        .await?
    }

    /// Takes that answers show what was prepared, and from the first time on leads keys from step to step.
    pub async fn settle(&self, prepared: Prepared, control: &Control) {
        let inner = self.0.clone();
        if let Err(error) = blocking(move || inner.settle(prepared)).await {
            tracing::error!(%error, "keys were not settled");
        }
        if self.0.control.set(control.clone()).is_ok() {
            let task = tokio::spawn(steps::lead(Arc::downgrade(&self.0)));
            *lock(&self.0.task) = Some(task);
        }
        self.0.changed.notify_one();
    }

    /// Whether a zone is signed, or was and may not be unsigned yet.
    pub fn holds(&self, apex: &Name) -> bool {
        self.0.state().zones.contains_key(apex)
    }

    /// Takes that one more zone is answered, which is not signed.
    pub fn serve(&self, apex: Name) {
        self.0.state().served.insert(apex);
    }

    /// Leads no key any further. A step that is under way is done first.
    pub async fn stop(self) {
        let _turn = self.0.turn.lock().await;
        if let Some(task) = lock(&self.0.task).take() {
            task.abort();
        }
        self.0.heartbeat();
    }
}

/// What is wrong with the keys of zones, as far as they are there; nothing is made.
pub(super) fn check(folder: PathBuf, settings: &DnssecSettings, zones: &[Zone]) -> Vec<Finding> {
    let shelf = Shelf::new(folder);
    let signed = zones.iter().filter(|zone| settings.signs(&zone.apex));
    signed.filter_map(|zone| shelf.load(&zone.apex).err().map(finding)).collect()
}

fn finding(error: ShelfError) -> Finding {
    Finding { file: error.path.display().to_string(), line: None, field: String::new(), reason: error.reason }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn watched(&self) -> Watched {
        Watched { run: self.run, seen: (self.clock)() }
    }

    /// Replaces the keys that sign; `all`: by these alone.
    fn take_ring<'z>(
        &self,
        zones: impl Iterator<Item = (&'z Name, &'z SignedZone)>,
        settings: &DnssecSettings,
        all: bool,
    ) -> Result<(), ServeError> {
        let mut ring = if all { Keyring::default() } else { Keyring::clone(&self.ring.load()) };
        for (apex, zone) in zones {
            let made = Ring::new(&signing(apex, zone, settings), &zone.private, settings.validity.0, self.run);
            let wrong = |error: crate::sign::SignError| {
                ServeError::World(vec![Finding { file: "keys".into(), line: None, field: apex.to_string(), reason: error.to_string() }])
            };
            ring.put(apex.clone(), Some(Arc::new(made.map_err(wrong)?)));
        }
        self.ring.store(Arc::new(ring));
        Ok(())
    }

    /// The longest TTL of what updates changed of a zone, as far as that is known yet.
    fn longest_of_updates(&self, apex: &Name) -> u32 {
        let Some(control) = self.control.get() else { return 0 };
        let registry = control.registry();
        let sets = registry.overlays.get(apex).into_iter().flat_map(|overlay| overlay.sets.values());
        sets.filter_map(|set| set.set.as_ref()).map(|set| set.ttl).max().unwrap_or_default()
    }

    /// What is not on disk yet is known to the next start as waiting: waits only grow.
    fn write(&self, apex: &Name, keys: &ZoneKeys) {
        if let Err(error) = self.shelf.write(apex, keys) {
            tracing::error!(%error, "the keys of a zone cannot be written");
        }
    }

    fn write_clock(&self, watched: Watched) {
        if let Err(error) = self.shelf.watch(watched) {
            tracing::error!(%error, "it cannot be written down that keys are watched");
        }
    }
}

fn by_tag(keys: Vec<(KeyRole, Arc<PrivateKey>)>) -> Private {
    keys.into_iter().map(|(role, key)| (digest::key_tag(&key.dnskey(role)), key)).collect()
}

/// Makes a key whose tag is none of those taken: a validator that finds two keys of one tag tries both, or gives up.
fn make(algorithm: Algorithm, role: KeyRole, taken: &[u16]) -> Result<Arc<PrivateKey>, String> {
    for _ in 0..DRAWS {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret).map_err(|error| format!("no random numbers are to be had: {error}"))?;
        // Of the secrets, next to none is no key of P-256.
        if let Ok(key) = PrivateKey::new(algorithm, Secret(secret))
            && !taken.contains(&digest::key_tag(&key.dnskey(role)))
        {
            return Ok(Arc::new(key));
        }
    }
    Err("no key with a tag of its own could be made".into())
}

/// What answers show of a zone's keys.
fn signing(apex: &Name, zone: &SignedZone, settings: &DnssecSettings) -> ZoneSigning {
    ZoneSigning { denial: settings.denial, ..zone.keys.signing(apex, seconds(settings.dnskey_ttl)) }
}

fn timing(settings: &DnssecSettings, longest: u32) -> Timing {
    Timing {
        dnskey_ttl: seconds(settings.dnskey_ttl),
        longest_ttl: longest,
        ds_ttl: seconds(settings.ds_ttl),
        propagation: settings.propagation.0,
        parent_propagation: settings.parent_propagation.0,
        zsk_lifetime: settings.zsk_lifetime.0,
    }
}

/// Whole seconds, rounded up.
fn seconds(period: Period) -> u32 {
    period.millis().div_ceil(1000).try_into().unwrap_or(u32::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked left a whole value: each is replaced at once.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
