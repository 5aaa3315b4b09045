//! Zones that are copied from their primaries (RFC 1034 §4.3.5), and catalogs of them (RFC 9432).
//!
//! ```text
//!   timer, NOTIFY ─▶ ask ─▶ copy ─▶ text ─▶ take (the roof): checked as a file, kept under data_dir/secondary, loaded with all others
//!                     │                      └─ refused: the zone stays as it was, and is tried again
//!                     └─ nobody answers ─▶ retry … ─▶ expired: SERVFAIL until somebody does
//! ```
//! What is served is what was kept: nothing is in memory here but when to look again. When a zone was last confirmed is the time of its file, so a
//! restart knows it.

mod ask;
mod copy;
#[cfg(test)]
mod tests;
mod timer;
mod trust;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use ask::{AskError, Found, Wanted};
use timer::Timer;

use crate::control::{Clock, Control};
use crate::model::{Name, Peer, SecondarySettings, SecondaryState, Settings, Timestamp, copied, kept_file};
use crate::snapshot::{Signer, Unfit};
use crate::tsig::Keys;

/// A zone that came.
#[derive(Debug)]
pub struct Arrival {
    /// The apex.
    pub apex: Name,
    /// Whether it is to be a catalog.
    pub catalog: bool,
    /// The zone as a master file.
    pub text: String,
}

/// Takes a zone that came, whole or not at all; says why not.
pub type Take = Arc<dyn Fn(Arrival) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Zones that are asked for at once; others wait.
const AT_ONCE: usize = 16;
/// How zones fare is told no more often: there may be thousands.
const TELL: Duration = Duration::from_millis(100);
/// The longest sleep.
const NAP: Duration = Duration::from_secs(60);

/// The handle. Cloning shares it.
#[derive(Clone)]
pub struct Secondaries {
    calls: mpsc::UnboundedSender<Call>,
    states: States,
}

impl std::fmt::Debug for Secondaries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secondaries({} zones)", lock(&self.states).len())
    }
}

/// How zones fare, and where they come from.
type States = Arc<Mutex<BTreeMap<Name, (SecondaryState, Vec<Peer>)>>>;

enum Call {
    /// Other settings, or other members of catalogs.
    Settings(Box<Settings>),
    /// A NOTIFY that may be believed.
    Notify(Name),
    /// The end.
    Stop,
}

/// The running task; it ends with [`Secondaries::stop`].
pub struct Task(JoinHandle<()>);

impl Task {
    /// Waits for the end.
    pub async fn finished(self) {
        // It ended early: there is nothing to wait for.
        _ = self.0.await;
    }
}

/// Begins. `seed` is nobody's to know: ids of messages and the spread of times follow from it.
pub fn start(settings: &Settings, control: Control, clock: Clock, take: Take, seed: u64) -> (Secondaries, Task) {
    let (calls, called) = mpsc::unbounded_channel();
    let states = Arc::new(Mutex::default());
    let keeper = Keeper {
        control,
        clock,
        take,
        settings: settings.clone(),
        keys: Keys::new(settings.tsig.values()),
        zones: BTreeMap::new(),
        under_way: HashMap::new(),
        states: states.clone(),
        expired: BTreeSet::new(),
        awaited: BTreeSet::new(),
        told: Timestamp::default(),
        random: seed,
    };
    (Secondaries { calls, states }, Task(tokio::spawn(keeper.run(called))))
}

impl Secondaries {
    /// Takes other settings, and what catalogs list now.
    pub fn reload(&self, settings: &Settings) {
        // An error: the server stops.
        _ = self.calls.send(Call::Settings(Box::new(settings.clone())));
    }

    /// A NOTIFY came for a zone (RFC 1996). Returns whether it is believed: it comes from one of its primaries, by address, and is signed where
    /// that one has a key.
    pub fn notify(&self, zone: &Name, from: SocketAddr, key: Option<&Name>) -> bool {
        let address: IpAddr = from.ip().to_canonical();
        let known = |peer: &Peer| peer.address.ip().to_canonical() == address && peer.key.as_ref() == key;
        let believed = lock(&self.states).get(zone).is_some_and(|(_, primaries)| primaries.iter().any(known));
        believed && self.calls.send(Call::Notify(zone.clone())).is_ok()
    }

    /// Whether a zone is copied.
    pub fn has(&self, zone: &Name) -> bool {
        lock(&self.states).contains_key(zone)
    }

    /// How all of them fare.
    pub fn states(&self) -> Vec<SecondaryState> {
        lock(&self.states).values().map(|(state, _)| state.clone()).collect()
    }

    /// Ends it; transfers under way are given up.
    pub fn stop(&self) {
        // An error: it has ended.
        _ = self.calls.send(Call::Stop);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What stands there is whole after a panic as well: entries are replaced.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task's own.
struct Keeper {
    control: Control,
    clock: Clock,
    take: Take,
    settings: Settings,
    keys: Keys,
    zones: BTreeMap<Name, Entry>,
    /// Which zone each attempt is about.
    under_way: HashMap<tokio::task::Id, Name>,
    states: States,
    expired: BTreeSet<Name>,
    /// Zones that were not copied yet.
    awaited: BTreeSet<Name>,
    /// When it was last told how zones fare.
    told: Timestamp,
    random: u64,
}

struct Entry {
    settings: SecondarySettings,
    catalog: Option<Name>,
    timer: Timer,
    asked: bool,
    /// A NOTIFY came while it was asked for: it may be about something later.
    again: bool,
    failure: String,
    transfers: u64,
    failures: u64,
    /// It was told that its signatures have expired.
    lapsed: bool,
}

/// What came of asking for a zone.
type Outcome = (Name, Result<(Found, bool), String>);

impl Keeper {
    async fn run(mut self, mut calls: mpsc::UnboundedReceiver<Call>) {
        let mut asked: JoinSet<Outcome> = JoinSet::new();
        self.adopt().await;
        loop {
            let now = (self.clock)();
            self.begin(now, &mut asked);
            let is_told = self.told.plus(TELL) <= now;
            if is_told {
                self.tell(now).await;
            }
            let next = self.zones.values().filter(|entry| !entry.asked).map(|entry| entry.timer.next()).min();
            let expiry = self.zones.values().filter_map(|entry| entry.timer.expires()).filter(|at| *at > now).min();
            let room = asked.len() < AT_ONCE;
            let wake = [next.filter(|_| room), expiry].into_iter().flatten().min();
            let nap = wake.map_or(NAP, |at| at.since(now).min(NAP)).min(if is_told { NAP } else { TELL });
            tokio::select! {
                Some(outcome) = asked.join_next_with_id() => {
                    let (id, outcome) = match outcome {
                        Ok((id, (_, outcome))) => (id, outcome),
                        // It panicked, which was printed; the zone is tried again all the same.
                        Err(error) => (error.id(), Err("the attempt ended early".to_string())),
                    };
                    if let Some(zone) = self.under_way.remove(&id) {
                        self.end(&zone, outcome).await;
                    }
                }
                call = calls.recv() => match call {
                    Some(Call::Settings(settings)) => {
                        self.keys = Keys::new(settings.tsig.values());
                        self.settings = *settings;
                        self.adopt().await;
                    }
                    Some(Call::Notify(zone)) => {
                        if let Some(entry) = self.zones.get_mut(&zone) {
                            entry.again = entry.asked;
                            entry.timer.notify((self.clock)());
                        }
                    }
                    Some(Call::Stop) | None => return,
                },
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    /// Compares what is kept with what the settings, and the catalogs, list.
    async fn adopt(&mut self) {
        let now = (self.clock)();
        let all = {
            let registry = self.control.registry();
            copied(&self.settings.secondary, |apex| Some(registry.zone(apex)?.0))
        };
        let gone: Vec<Name> = self.zones.keys().filter(|apex| !all.contains_key(*apex)).cloned().collect();
        for apex in gone {
            let entry = self.zones.remove(&apex);
            tracing::info!(zone = %apex, "is no longer copied");
            // A member that its catalog lists no more is forgotten (RFC 9432 §5.4); a zone of the settings may come back with its data.
            if entry.is_some_and(|entry| entry.catalog.is_some()) {
                let path = kept_file(&self.settings.data_dir, &apex);
                _ = tokio::fs::remove_file(path).await;
            }
        }
        for (apex, (settings, catalog)) in all {
            match self.zones.get_mut(&apex) {
                Some(entry) => {
                    if entry.settings != settings {
                        entry.timer.notify(now);
                    }
                    (entry.settings, entry.catalog) = (settings, catalog);
                }
                None => {
                    let known = self.known(&apex).await;
                    let jitter = self.draw();
                    let timer = Timer::new(known, now, jitter);
                    let (failure, transfers, failures) = Default::default();
                    let entry = Entry { settings, catalog, timer, asked: false, again: false, failure, transfers, failures, lapsed: false };
                    self.zones.insert(apex, entry);
                }
            }
        }
    }

    /// What a zone that is served says, and when it was last confirmed.
    async fn known(&self, apex: &Name) -> Option<(timer::Terms, Timestamp)> {
        let start = copy::start_of(self.control.registry().zone(apex)?.0);
        let path = kept_file(&self.settings.data_dir, apex);
        let written = tokio::fs::metadata(path).await.ok()?.modified().ok()?;
        let confirmed = Timestamp::default().plus(written.duration_since(SystemTime::UNIX_EPOCH).ok()?);
        Some((start.terms, confirmed))
    }

    /// Asks for what is due.
    fn begin(&mut self, now: Timestamp, asked: &mut JoinSet<Outcome>) {
        let due: Vec<Name> = {
            let due = self.zones.iter().filter(|(_, entry)| !entry.asked && entry.timer.next() <= now);
            let mut due: Vec<(Timestamp, Name)> = due.map(|(apex, entry)| (entry.timer.next(), apex.clone())).collect();
            due.sort();
            due.into_iter().map(|(_, apex)| apex).take(AT_ONCE.saturating_sub(asked.len())).collect()
        };
        for apex in due {
            let seed = self.draw();
            let Some(entry) = self.zones.get_mut(&apex) else { continue };
            entry.asked = true;
            let have = self.control.registry().zone(&apex).map(|(zone, _)| copy::start_of(zone));
            let (control, of) = (self.control.clone(), apex.clone());
            // All of a zone, which is wanted where something of it changed alone.
            let contents: ask::KnownContents = Arc::new(move || {
                let zone = control.registry().zone(&of)?.0.clone();
                Some((zone.soa.serial, copy::contents(&zone)))
            });
            let peers: Vec<_> = entry
                .settings
                .primaries
                .iter()
                .map(|peer| (peer.clone(), peer.key.as_ref().map(|key| self.keys.get(key).cloned())))
                .collect();
            let (clock, take, catalog, ca) = (self.clock.clone(), self.take.clone(), entry.settings.catalog, entry.settings.ca.clone());
            let zone = apex.clone();
            let attempt = asked.spawn(async move {
                let mut wanted = Wanted { apex: apex.clone(), have, contents, key: None, ca, clock, seed };
                let mut failures = Vec::new();
                for (peer, key) in peers {
                    wanted.key = match key {
                        Some(None) => {
                            failures.push(format!("{peer}: {}", AskError::NoKey(peer.key.clone().unwrap_or_else(Name::root))));
                            continue;
                        }
                        Some(Some(key)) => Some(key),
                        None => None,
                    };
                    let outcome = match wanted.ask(&peer).await {
                        Ok(Found::New(start, text)) => {
                            let serial = start.serial;
                            take(Arrival { apex: apex.clone(), catalog, text }).await.map(|()| {
                                tracing::info!(zone = %apex, %peer, serial, "a copy was taken");
                                (Found::New(start, String::new()), true)
                            })
                        }
                        Ok(found) => Ok((found, false)),
                        Err(error) => Err(error.to_string()),
                    };
                    match outcome {
                        Ok(found) => return (apex, Ok(found)),
                        Err(why) => failures.push(format!("{peer}: {why}")),
                    }
                }
                (apex, Err(failures.join("; ")))
            });
            self.under_way.insert(attempt.id(), zone);
        }
    }

    async fn end(&mut self, apex: &Name, outcome: Result<(Found, bool), String>) {
        let (now, jitter) = ((self.clock)(), self.draw());
        let Some(entry) = self.zones.get_mut(apex) else { return };
        entry.asked = false;
        match outcome {
            Ok((Found::Current(start) | Found::New(start, _), taken)) => {
                entry.timer.confirm(start.terms, now, jitter);
                entry.failure.clear();
                entry.transfers += u64::from(taken);
                touch(&kept_file(&self.settings.data_dir, apex), now).await;
            }
            Err(why) => {
                entry.timer.fail(now, jitter);
                entry.failures += 1;
                if entry.failure != why {
                    tracing::warn!(zone = %apex, "no copy: {why}");
                }
                entry.failure = why;
            }
        }
        if std::mem::take(&mut entry.again) {
            entry.timer.notify(now);
        }
    }

    /// Makes known how zones fare, and which have expired.
    async fn tell(&mut self, now: Timestamp) {
        self.told = now;
        let mut states = BTreeMap::new();
        let (mut expired, mut awaited) = (BTreeSet::new(), BTreeSet::new());
        {
            let (registry, snapshot) = (self.control.registry(), self.control.publisher().load_full());
            for (apex, entry) in &mut self.zones {
                let serial = registry.zone(apex).map(|(zone, _)| zone.soa.serial);
                let is_expired = serial.is_some() && entry.timer.is_expired(now);
                if is_expired {
                    expired.insert(apex.clone());
                }
                if serial.is_none() {
                    awaited.insert(apex.clone());
                }
                let signed_until = match snapshot.zone_at(apex.wire()).and_then(|zone| zone.signer()) {
                    Some(Signer::Primary(proofs)) => Some(Timestamp(u64::from(proofs.expires()) * 1000)),
                    _ => None,
                };
                let lapsed = signed_until.is_some_and(|until| until <= now);
                if lapsed && !entry.lapsed {
                    tracing::warn!(zone = %apex, "signatures that it came with have expired: it is bogus to whoever validates, until its primary signs it anew");
                }
                entry.lapsed = lapsed;
                let state = SecondaryState {
                    zone: apex.to_string(),
                    catalog: entry.catalog.as_ref().map(Name::to_string),
                    is_catalog: entry.settings.catalog,
                    primaries: entry.settings.primaries.iter().map(Peer::to_string).collect(),
                    serial,
                    confirmed: serial.map(|_| entry.timer.confirmed()),
                    next: entry.timer.next(),
                    expires: entry.timer.expires().filter(|_| serial.is_some()),
                    signed_until,
                    expired: is_expired,
                    failure: entry.failure.clone(),
                    transfers: entry.transfers,
                    failures: entry.failures,
                };
                states.insert(apex.clone(), (state, entry.settings.primaries.clone()));
            }
        }
        *lock(&self.states) = states;
        if (&self.expired, &self.awaited) != (&expired, &awaited) {
            for apex in expired.difference(&self.expired) {
                tracing::error!(zone = %apex, "has expired: no primary has answered for as long as its SOA says; it is answered with SERVFAIL");
            }
            let of = |apexes: &BTreeSet<Name>, why| apexes.iter().map(|apex| (apex.clone(), why)).collect::<Vec<_>>();
            let unfit = of(&expired, Unfit::Expired).into_iter().chain(of(&awaited, Unfit::Awaited));
            self.control.withhold(unfit.collect()).await;
            (self.expired, self.awaited) = (expired, awaited);
        }
    }

    fn draw(&mut self) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

/// Notes in a file's time when its zone was confirmed.
async fn touch(path: &Path, now: Timestamp) {
    let path = path.to_path_buf();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(now.0);
    let touched = tokio::task::spawn_blocking(move || std::fs::File::options().append(true).open(path)?.set_modified(time)).await;
    if let Ok(Err(error)) = touched {
        tracing::warn!(%error, "when a zone was confirmed could not be noted: a restart may take it for expired");
    }
}
