//! Keys of signed zones: made or loaded at start and reload, put into zones before these go to control, and led from step to step.
//!
//! ```text
//!   zones ─▶ prepare ─ keys on disk ─▶ zones with what they show of keys ─▶ control ─▶ settle ─ "in answers since", on disk
//!   a step is due, asked for, or every server of the parent has what is waited for ─▶ apply: on disk ─▶ keyring ─▶ control ─▶ "in answers since", on disk
//! ```
//! One change follows the other: whoever holds the turn changes keys. Whoever signs loads the keyring ([`Keys::ring`]), which is replaced
//! before answers show what changed.

mod documents;
mod parents;
mod shelf;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{Notify, OwnedMutexGuard, broadcast};
use tokio::task::JoinHandle;

use self::shelf::{Private, Shelf, ShelfError};
use super::{ServeError, blocking};
use crate::api::{ImportedKey, KeyDesk, KeyList, KeyRefusal, UnsignStep, ZoneKeysDocument};
use crate::config::Finding;
use crate::control::{Clock, Control, Event};
use crate::model::{Algorithm, DnssecSettings, FieldError, KeyRole, KeyStage, Name, Period, Timestamp, Zone, ZoneSigning};
use crate::sign::parent::{Delegated, Verdict, verdict};
use crate::sign::{Keyring, PrivateKey, Ring, RollRefusal, SECRET, Secret, Step, Timing, Watched, ZoneKeys, digest, formats};

/// How often it is written down that keys are watched.
const HEARTBEAT: Duration = Duration::from_secs(600);
/// How long after a step that failed it is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How many zones' parents are asked at once.
const LOOKS: usize = 16;
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

/// A look at the parent of a zone.
#[derive(Clone)]
struct Look {
    /// When the next is due.
    next: Timestamp,
    /// Why what is waited for is not there yet.
    why: String,
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

/// Keys that zones were given, on their way into answers.
pub(super) struct Prepared {
    state: State,
    /// Zones that are signed no more.
    unsigned: Vec<(Name, ZoneKeys)>,
    _turn: OwnedMutexGuard<()>,
}

/// A change of a zone's keys.
struct Change {
    apex: Name,
    zone: SignedZone,
    /// Keys that are not on disk yet.
    fresh: Vec<(KeyRole, Arc<PrivateKey>)>,
    /// Keys whose files can go afterwards.
    gone: Vec<(Algorithm, u16)>,
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
    #[allow(dead_code, reason = "signing answers asks for it")]
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
            let task = tokio::spawn(lead(Arc::downgrade(&self.0)));
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

/// Leads keys from step to step until they are gone.
async fn lead(keys: std::sync::Weak<Inner>) {
    let mut events = keys.upgrade().and_then(|inner| Some(inner.control.get()?.events()));
    loop {
        let Some(inner) = keys.upgrade() else { return };
        let nap = match inner.advance().await {
            Ok(()) => {
                inner.look().await;
                inner.heartbeat();
                inner.nap()
            }
            Err(error) => {
                tracing::error!(%error, "keys stay as they are; the next step is tried again");
                AGAIN
            }
        };
        let until = tokio::time::Instant::now() + nap;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                () = inner.changed.notified() => break,
                () = changed_zone(&mut events) => inner.observe().await,
            }
        }
    }
}

/// Waits until records of a zone changed, or may have.
async fn changed_zone(events: &mut Option<broadcast::Receiver<Event>>) {
    let Some(events) = events else { return std::future::pending().await };
    loop {
        match events.recv().await {
            Ok(event) if event.kind != "zone_changed" => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn watched(&self) -> Watched {
        Watched { run: self.run, seen: (self.clock)() }
    }

    fn prepare(&self, settings: DnssecSettings, zones: &mut [Zone], turn: OwnedMutexGuard<()>) -> Result<Prepared, ServeError> {
        let mut state = State {
            settings,
            served: zones.iter().map(|zone| zone.apex.clone()).collect(),
            zones: BTreeMap::new(),
            looks: BTreeMap::new(),
        };
        let (mut unsigned, mut findings) = (Vec::new(), Vec::new());
        for zone in zones {
            let (apex, in_file) = (&zone.apex, longest_ttl(zone, &state.settings));
            let longest = in_file.max(self.longest_of_updates(apex));
            let wanted = state.settings.signs(apex);
            let timing = timing(&state.settings, longest);
            let signed = match self.known(apex, &timing) {
                Ok(Some(known)) if wanted => Some(known),
                Ok(Some(known)) if known.keys.keys().iter().all(|key| key.since.is_none()) => None,
                Ok(Some(known)) => match known.keys.free_from(&timing).filter(|free| *free <= (self.clock)()) {
                    Some(_) => {
                        tracing::info!(zone = %apex, "the zone is signed no more");
                        unsigned.push((apex.clone(), known.keys));
                        None
                    }
                    // Unsigned answers below a DS are worth nothing to whoever validates.
                    None => {
                        tracing::warn!(zone = %apex, "not in [dnssec] any more, and signed all the same: its parent may have a DS; see `signpost keys unsign`");
                        Some(known)
                    }
                },
                Ok(None) if wanted => match self.begin(apex, &state.settings, &timing) {
                    Ok(begun) => Some(begun),
                    Err(error) => {
                        findings.push(finding(error));
                        None
                    }
                },
                Ok(None) => None,
                Err(error) if wanted => {
                    findings.push(finding(error));
                    None
                }
                Err(error) => {
                    tracing::warn!(zone = %apex, %error, "keys of a zone that is not signed");
                    None
                }
            };
            let Some(mut signed) = signed else {
                zone.signing = None;
                continue;
            };
            (signed.in_file, signed.longest) = (in_file, longest);
            zone.signing = Some(Arc::new(signing(apex, &signed, &state.settings)));
            signed.rests &= !signed.keys.observe(&timing, (self.clock)());
            tell_if_other(apex, &signed, &state.settings);
            state.zones.insert(apex.clone(), signed);
        }
        if !findings.is_empty() {
            return Err(ServeError::World(findings));
        }
        // Whoever is answered before the zones change needs the keys of now.
        self.take_ring(state.zones.iter(), &state.settings, false)?;
        Ok(Prepared { state, unsigned, _turn: turn })
    }

    /// The keys that a zone has: in memory, else on disk.
    fn known(&self, apex: &Name, timing: &Timing) -> Result<Option<SignedZone>, ShelfError> {
        if let Some(known) = self.state().zones.get(apex) {
            return Ok(Some(known.clone()));
        }
        let Some((mut keys, private)) = self.shelf.load(apex)? else { return Ok(None) };
        let rests = keys.rests(timing);
        keys.resume(self.last, self.watched());
        Ok(Some(SignedZone { keys, private, in_file: timing.longest_ttl, longest: timing.longest_ttl, rests }))
    }

    /// Makes the first keys of a zone.
    fn begin(&self, apex: &Name, settings: &DnssecSettings, timing: &Timing) -> Result<SignedZone, ShelfError> {
        let roles: &[KeyRole] = if settings.split { &[KeyRole::Ksk, KeyRole::Zsk] } else { &[KeyRole::Csk] };
        let lost = |reason: String| ShelfError { path: apex.to_string().into(), reason };
        let mut made: Vec<(KeyRole, Arc<PrivateKey>)> = Vec::new();
        for role in roles {
            let taken: Vec<u16> = made.iter().map(|(role, key)| digest::key_tag(&key.dnskey(*role))).collect();
            made.push((*role, make(settings.algorithm, *role, &taken).map_err(lost)?));
        }
        let lent: Vec<(KeyRole, &PrivateKey)> = made.iter().map(|(role, key)| (*role, &**key)).collect();
        let mut keys = ZoneKeys::begin(&lent, false, timing, (self.clock)()).map_err(|error| lost(error.to_string()))?;
        keys.watch(self.watched());
        self.shelf.create(apex, &keys, &made)?;
        for key in keys.keys() {
            tracing::info!(zone = %apex, tag = key.tag, role = key.role.name(), algorithm = key.algorithm.name(), "a key was made");
        }
        Ok(SignedZone { keys, private: by_tag(made), in_file: timing.longest_ttl, longest: timing.longest_ttl, rests: false })
    }

    fn settle(&self, prepared: Prepared) {
        let Prepared { mut state, unsigned, _turn } = prepared;
        let watched = self.watched();
        for (apex, zone) in &mut state.zones {
            let confirmed = zone.keys.confirm(watched.seen);
            // What this run wrote already is on disk, and so is what rests: a start of many zones would wait for as many files.
            let written = match self.state().zones.get(apex) {
                Some(before) => before.keys == zone.keys,
                None => zone.rests && !confirmed,
            };
            if !written {
                zone.keys.watch(watched);
                self.write(apex, &zone.keys);
            }
        }
        for (apex, mut keys) in unsigned {
            keys.begin_again();
            keys.watch(watched);
            self.write(&apex, &keys);
        }
        if let Err(error) = self.take_ring(state.zones.iter(), &state.settings, true) {
            tracing::error!(%error, "zones cannot be signed");
        }
        if !state.zones.is_empty() {
            self.write_clock(watched);
        }
        *self.state() = state;
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

    /// Takes every step that is due.
    async fn advance(self: &Arc<Inner>) -> Result<(), KeyRefusal> {
        let _turn = self.turn.clone().lock_owned().await;
        self.take_ttls();
        loop {
            let changes = self.due()?;
            if changes.is_empty() {
                return self.let_go().await;
            }
            self.apply(changes).await?;
        }
    }

    /// The longest TTL of what updates changed of a zone, as far as that is known yet.
    fn longest_of_updates(&self, apex: &Name) -> u32 {
        let Some(control) = self.control.get() else { return 0 };
        let registry = control.registry();
        let sets = registry.overlays.get(apex).into_iter().flat_map(|overlay| overlay.sets.values());
        sets.filter_map(|set| set.set.as_ref()).map(|set| set.ttl).max().unwrap_or_default()
    }

    /// Takes the TTLs of updates when nobody else changes keys.
    async fn observe(&self) {
        let _turn = self.turn.lock().await;
        self.take_ttls();
    }

    /// Takes the TTLs of updates: caches hold what was signed for as long, and waits are no shorter.
    fn take_ttls(&self) {
        let (now, watched) = ((self.clock)(), self.watched());
        let mut changed = Vec::new();
        {
            let State { settings, zones, .. } = &mut *self.state();
            for (apex, zone) in zones {
                zone.longest = zone.in_file.max(self.longest_of_updates(apex));
                if zone.keys.observe(&timing(settings, zone.longest), now) {
                    zone.keys.watch(watched);
                    changed.push((apex.clone(), zone.keys.clone()));
                }
            }
        }
        changed.iter().for_each(|(apex, keys)| self.write(apex, keys));
    }

    /// Unsigns zones that are to be signed no more, once no cache can hold a DS of them.
    async fn let_go(self: &Arc<Inner>) -> Result<(), KeyRefusal> {
        let now = (self.clock)();
        let freed: Vec<(Name, ZoneKeys)> = {
            let state = self.state();
            let freed = state.zones.iter().filter(|(apex, zone)| state.free_from(apex, zone).is_some_and(|free| free <= now));
            freed.map(|(apex, zone)| (apex.clone(), zone.keys.clone())).collect()
        };
        if freed.is_empty() {
            return Ok(());
        }
        let control = self.control.get().ok_or_else(|| KeyRefusal::Unserved("the server starts".into()))?;
        let shown = freed.iter().map(|(apex, _)| (apex.clone(), None)).collect();
        control.sign(shown).await.map_err(|error| KeyRefusal::Unserved(error.to_string()))?;
        let inner = self.clone();
        let written = blocking(move || {
            for (apex, mut keys) in freed {
                tracing::info!(zone = %apex, "the zone is signed no more");
                keys.begin_again();
                keys.watch(inner.watched());
                inner.write(&apex, &keys);
                inner.state().zones.remove(&apex);
            }
            let state = inner.state();
            inner.take_ring(state.zones.iter(), &state.settings, true)
        });
        let lost = |error: ServeError| KeyRefusal::Storage(error.to_string());
        written.await.map_err(lost)?.map_err(lost)
    }

    /// The next step of every zone where one is due.
    fn due(&self) -> Result<Vec<Change>, KeyRefusal> {
        let (state, now) = (self.state(), (self.clock)());
        let mut changes = Vec::new();
        for (apex, zone) in &state.zones {
            let Some(step) = zone.keys.due(&timing(&state.settings, zone.longest), now) else { continue };
            tracing::info!(zone = %apex, ?step, "the next step of the zone's keys");
            let mut change = Change { apex: apex.clone(), zone: zone.clone(), fresh: Vec::new(), gone: Vec::new() };
            match step {
                Step::Introduce => change.introduce(KeyRole::Zsk, now)?,
                step => change.zone.keys.take(step),
            }
            if let Step::Remove(tag) = step
                && let Some(key) = zone.keys.key(tag)
            {
                change.gone.push((key.algorithm, tag));
                change.zone.private.remove(&tag);
            }
            changes.push(change);
        }
        Ok(changes)
    }

    /// Asks the parents of zones that wait for a DS, where it is time to, and takes the steps that follow.
    async fn look(self: &Arc<Inner>) {
        loop {
            let wanted = self.wanted();
            if wanted.is_empty() {
                return;
            }
            let said = join_all(wanted.iter().map(|(apex, servers)| parents::ask(servers, apex))).await;
            for ((apex, _), said) in wanted.into_iter().zip(said) {
                self.heard(apex, &said).await;
            }
        }
    }

    /// Zones whose parents are to be asked now, and who is asked; some of them.
    fn wanted(&self) -> Vec<(Name, Vec<SocketAddr>)> {
        let (mut state, now) = (self.state(), (self.clock)());
        let State { settings, zones, looks, .. } = &mut *state;
        looks.retain(|apex, _| zones.get(apex).is_some_and(|zone| zone.keys.awaits().is_some()));
        let waits = |(apex, zone): &(&Name, &SignedZone)| {
            zone.keys.awaits().is_some() && !settings.parents(apex).is_empty() && looks.get(apex).is_none_or(|look| look.next <= now)
        };
        zones.iter().filter(waits).take(LOOKS).map(|(apex, _)| (apex.clone(), settings.parents(apex).to_vec())).collect()
    }

    /// Takes what the servers of a parent said.
    async fn heard(self: &Arc<Inner>, apex: Name, said: &[(String, Result<Delegated, String>)]) {
        let now = (self.clock)();
        let longest = said.iter().filter_map(|(_, said)| Some(said.as_ref().ok()?.ttl)).max().unwrap_or_default();
        let found = {
            let mut state = self.state();
            let State { settings, zones, looks, .. } = &mut *state;
            let Some(zone) = zones.get_mut(&apex) else { return };
            // It goes to disk with the step; whoever dies before that looks again.
            zone.keys.observe_ds(longest);
            let found = verdict(&zone.keys, &apex, said);
            if let Verdict::Wait(why) = &found {
                let before = looks.insert(apex.clone(), Look { next: now.plus(look_every(settings)), why: why.clone() });
                if before.is_none_or(|before| before.why != *why) {
                    tracing::info!(zone = %apex, why, "the parent is not there yet");
                }
            }
            found
        };
        let done = match found {
            Verdict::Wait(_) => return,
            Verdict::Seen(tag) => {
                tracing::info!(zone = %apex, tag, "every server of the parent has the DS of the key");
                self.change(apex.clone(), move |change| Ok(change.zone.keys.ds_seen(tag)?)).await
            }
            Verdict::Gone => {
                tracing::info!(zone = %apex, "no server of the parent has a DS any more");
                self.change(apex.clone(), move |change| Ok(change.zone.keys.ds_gone(now)?)).await
            }
        };
        if let Err(error) = done {
            tracing::error!(zone = %apex, %error, "what the parent has is not taken; it is asked again");
            let mut state = self.state();
            let next = now.plus(look_every(&state.settings));
            state.looks.insert(apex, Look { next, why: error.to_string() });
        }
    }

    /// Brings changes about: on disk, in the keyring, in answers; then it is written down that they are.
    async fn apply(self: &Arc<Inner>, changes: Vec<Change>) -> Result<(), KeyRefusal> {
        let control = self.control.get().ok_or_else(|| KeyRefusal::Unserved("the server starts".into()))?;
        let (inner, settings) = (self.clone(), self.state().settings.clone());
        let lost = |error: ServeError| KeyRefusal::Storage(error.to_string());
        let mut changes = blocking(move || {
            for Change { apex, zone, fresh, .. } in &changes {
                for (role, key) in fresh {
                    inner.shelf.add(apex, *role, key)?;
                }
                let mut keys = zone.keys.clone();
                keys.watch(inner.watched());
                inner.shelf.write(apex, &keys)?;
            }
            Ok(changes)
        })
        .await
        .map_err(lost)?
        .map_err(|error: ShelfError| KeyRefusal::Storage(error.to_string()))?;

        let unserved = |error: &dyn std::fmt::Display| KeyRefusal::Unserved(error.to_string());
        self.take_ring(changes.iter().map(|change| (&change.apex, &change.zone)), &settings, false).map_err(|error| unserved(&error))?;
        let shown = changes.iter().map(|change| (change.apex.clone(), Some(Arc::new(signing(&change.apex, &change.zone, &settings)))));
        control.sign(shown.collect()).await.map_err(|error| unserved(&error))?;

        let watched = self.watched();
        for Change { apex, zone, .. } in &mut changes {
            zone.keys.confirm(watched.seen);
            zone.keys.watch(watched);
            self.state().zones.insert(apex.clone(), zone.clone());
        }
        let inner = self.clone();
        let written = blocking(move || {
            for Change { apex, zone, gone, .. } in &changes {
                inner.write(apex, &zone.keys);
                inner.shelf.sweep(apex, gone);
            }
            inner.write_clock(watched);
        });
        written.await.map_err(lost)
    }

    /// Changes the keys of a zone that is signed.
    async fn change(
        self: &Arc<Inner>,
        apex: Name,
        how: impl FnOnce(&mut Change) -> Result<(), KeyRefusal>,
    ) -> Result<ZoneKeysDocument, KeyRefusal> {
        let turn = self.turn.clone().lock_owned().await;
        let mut change = {
            let state = self.state();
            let zone = state.zones.get(&apex).ok_or_else(|| state.unsigned(&apex))?.clone();
            Change { apex: apex.clone(), zone, fresh: Vec::new(), gone: Vec::new() }
        };
        how(&mut change)?;
        self.apply(vec![change]).await?;
        drop(turn);
        self.changed.notify_one();
        self.document(&apex)
    }

    async fn import(self: &Arc<Inner>, apex: Name, imported: Vec<ImportedKey>) -> Result<ZoneKeysDocument, KeyRefusal> {
        let fresh = read_keys(&apex, &imported)?;
        let lent: Vec<(KeyRole, &PrivateKey)> = fresh.iter().map(|(role, key)| (*role, &**key)).collect();
        let turn = self.turn.clone().lock_owned().await;
        let (settings, before) = {
            let state = self.state();
            if !state.served.contains(&apex) {
                return Err(KeyRefusal::UnknownZone(apex));
            }
            (state.settings.clone(), state.zones.get(&apex).cloned())
        };
        let (in_file, longest) = before.as_ref().map_or((0, 0), |zone| (zone.in_file, zone.longest));
        let keys = ZoneKeys::begin(&lent, true, &timing(&settings, longest), (self.clock)())?;
        let zone = SignedZone { keys, private: by_tag(fresh.clone()), in_file, longest, rests: false };
        if let Some(before) = before {
            // As long as nobody was asked for a DS of the keys that the zone has, nobody validates with them.
            if before.keys.keys().iter().any(|key| key.role.is_entry() && key.stage != KeyStage::Published) {
                return Err(RollRefusal::InUse.into());
            }
            let old = before.keys.keys().iter().filter(|key| !zone.private.contains_key(&key.tag));
            let gone = old.map(|key| (key.algorithm, key.tag)).collect();
            self.apply(vec![Change { apex: apex.clone(), zone, fresh, gone }]).await?;
            drop(turn);
            self.changed.notify_one();
            return self.document(&apex);
        }
        let document = documents::zone(&apex, &zone, &settings, None, (self.clock)());
        let inner = self.clone();
        let kept = blocking(move || match inner.shelf.load(&apex)? {
            None => inner.shelf.create(&apex, &zone.keys, &fresh).map(|()| true),
            Some((before, _)) if before.keys().iter().any(|key| key.since.is_some()) => Ok(false),
            Some(_) => {
                fresh.iter().try_for_each(|(role, key)| inner.shelf.add(&apex, *role, key))?;
                inner.shelf.write(&apex, &zone.keys).map(|()| true)
            }
        });
        let kept = kept.await.map_err(|error| KeyRefusal::Storage(error.to_string()))?;
        match kept.map_err(|error: ShelfError| KeyRefusal::Storage(error.to_string()))? {
            true => Ok(document),
            false => Err(RollRefusal::InUse.into()),
        }
    }

    fn document(&self, apex: &Name) -> Result<ZoneKeysDocument, KeyRefusal> {
        let state = self.state();
        let zone = state.zones.get(apex).ok_or_else(|| state.unsigned(apex))?;
        Ok(state.document(apex, zone, (self.clock)()))
    }

    /// How long nothing is to be done.
    fn nap(&self) -> Duration {
        let (state, now) = (self.state(), (self.clock)());
        let steps = state.zones.values().filter_map(|zone| zone.keys.next_due(&timing(&state.settings, zone.longest)));
        let freed = state.zones.iter().filter_map(|(apex, zone)| state.free_from(apex, zone));
        let next = steps.chain(freed).chain(state.looks.values().map(|look| look.next)).min();
        next.map_or(HEARTBEAT, |next| next.since(now).min(HEARTBEAT))
    }

    /// Writes down that keys are watched, where there are any.
    fn heartbeat(&self) {
        if !self.state().zones.is_empty() {
            self.write_clock(self.watched());
        }
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

impl State {
    /// From when on a zone can be unsigned that is to be signed no more; `None`: it is to be, or its parent may have a DS.
    fn free_from(&self, apex: &Name, zone: &SignedZone) -> Option<Timestamp> {
        if self.settings.signs(apex) {
            return None;
        }
        zone.keys.free_from(&timing(&self.settings, zone.longest))
    }

    fn document(&self, apex: &Name, zone: &SignedZone, now: Timestamp) -> ZoneKeysDocument {
        documents::zone(apex, zone, &self.settings, Some(self.looks.get(apex)), now)
    }

    fn unsigned(&self, apex: &Name) -> KeyRefusal {
        match self.served.contains(apex) {
            true => KeyRefusal::NotSigned(apex.clone()),
            false => KeyRefusal::UnknownZone(apex.clone()),
        }
    }
}

impl Change {
    /// A new key of the zone's algorithm is published.
    fn introduce(&mut self, role: KeyRole, now: Timestamp) -> Result<(), KeyRefusal> {
        self.zone.keys.may_roll(role)?;
        let taken: Vec<u16> = self.zone.keys.keys().iter().map(|key| key.tag).collect();
        let algorithm = self.zone.keys.keys().first().map_or_else(Algorithm::default, |key| key.algorithm);
        let key = make(algorithm, role, &taken).map_err(KeyRefusal::Storage)?;
        self.zone.keys.roll(role, &key, now)?;
        self.zone.private.extend(by_tag(vec![(role, key.clone())]));
        self.fresh.push((role, key));
        Ok(())
    }
}

impl KeyDesk for Keys {
    fn list(&self) -> KeyList {
        let (state, now) = (self.0.state(), (self.0.clock)());
        KeyList { zones: state.zones.iter().map(|(apex, zone)| state.document(apex, zone, now)).collect() }
    }

    fn zone(&self, apex: &Name) -> Result<ZoneKeysDocument, KeyRefusal> {
        self.0.document(apex)
    }

    fn roll(&self, apex: Name, role: KeyRole) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        let now = (self.0.clock)();
        Box::pin(self.0.change(apex, move |change| change.introduce(role, now)))
    }

    fn ds_seen(&self, apex: Name, tag: u16) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        Box::pin(self.0.change(apex, move |change| Ok(change.zone.keys.ds_seen(tag)?)))
    }

    fn unsign(&self, apex: Name, step: UnsignStep) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        let now = (self.0.clock)();
        Box::pin(self.0.change(apex, move |change| {
            match step {
                UnsignStep::Ask if change.zone.keys.is_leaving() => {}
                UnsignStep::Ask => change.zone.keys.leave(true),
                UnsignStep::Stay => change.zone.keys.leave(false),
                UnsignStep::Gone => change.zone.keys.ds_gone(now)?,
            }
            Ok(())
        }))
    }

    fn import(&self, apex: Name, keys: Vec<ImportedKey>) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>> {
        Box::pin(self.0.import(apex, keys))
    }
}

/// Reads keys of another server, with what each signs.
fn read_keys(apex: &Name, imported: &[ImportedKey]) -> Result<Vec<(KeyRole, Arc<PrivateKey>)>, KeyRefusal> {
    let mut read = Vec::with_capacity(imported.len());
    for (n, key) in imported.iter().enumerate() {
        let at = |field: &str, error: formats::KeyTextError| FieldError::new(format!("keys[{n}].{field}"), error.to_string());
        let private = formats::private_key(&key.private).map_err(|error| at("private", error))?;
        let public = key.public.as_deref().map(formats::public_key).transpose().map_err(|error| at("public", error))?;
        if let Some(public) = &public {
            public.matches(apex, &private).map_err(|error| at("public", error))?;
        }
        let alone = imported.len() == 1;
        let said = key.role.or_else(|| match public {
            Some(public) if !public.is_entry() => Some(KeyRole::Zsk),
            Some(_) => Some(if alone { KeyRole::Csk } else { KeyRole::Ksk }),
            None => alone.then_some(KeyRole::Csk),
        });
        let role = said.ok_or_else(|| FieldError::new(format!("keys[{n}].role"), "ksk or zsk is expected where there is no `public`"))?;
        read.push((role, Arc::new(private)));
    }
    Ok(read)
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

/// How often a parent is asked for what is waited for: often against the time that is waited afterwards.
fn look_every(settings: &DnssecSettings) -> Duration {
    const PART: u32 = 64;
    (settings.ds_ttl.0 / PART).clamp(Duration::from_secs(1), Duration::from_secs(600))
}

/// The longest TTL of anything that is signed in a zone, in seconds.
fn longest_ttl(zone: &Zone, settings: &DnssecSettings) -> u32 {
    let records = zone.records.values().map(|set| set.ttl);
    let ours = [zone.ns_ttl, zone.soa.ttl, seconds(zone.ttl.max), seconds(zone.ttl.negative), seconds(settings.dnskey_ttl)];
    records.chain(ours).chain(zone.aliases.values().map(|alias| alias.ttl)).max().unwrap_or_default()
}

/// Whole seconds, rounded up.
fn seconds(period: Period) -> u32 {
    period.millis().div_ceil(1000).try_into().unwrap_or(u32::MAX)
}

/// Says so where a zone's keys are not those that the settings would make.
fn tell_if_other(apex: &Name, zone: &SignedZone, settings: &DnssecSettings) {
    let keys = zone.keys.keys();
    if let Some(key) = keys.iter().find(|key| key.algorithm != settings.algorithm) {
        tracing::warn!(zone = %apex, algorithm = key.algorithm.name(), "the zone keeps the algorithm of its keys, whatever [dnssec] says");
    }
    if keys.iter().any(|key| (key.role == KeyRole::Csk) == settings.split) {
        tracing::warn!(zone = %apex, "the zone keeps the roles of its keys, whatever [dnssec] says");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked left a whole value: each is replaced at once.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
