//! Transfers at the roof: versions of zones as they come, who may have them, and who is told.
//!
//! ```text
//!   versions, notify   snapshot published ─▶ refresh ─▶ version, journal ─▶ NOTIFY
//!   answer             Punt::Transfer ─▶ who asks? ─▶ the latest version ─▶ message after message
//! ```

mod answer;
mod looks;
mod notify;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::JoinHandle;

use self::looks::{Looks, Served};
use self::notify::bound;
use super::journals::Journals;
use super::serials::KeptSerials;
use crate::control::Control;
use crate::model::{Generation, Name, Settings, TransferSettings, Zone};
use crate::transfer::{Journal, Notifier, Print, Version, is_rendered};
use crate::tsig::Keys;

/// Transfers that are under way at once.
const MOST_TRANSFERS: usize = 10;
/// How often what is served is looked at for changes.
const LOOK: Duration = Duration::from_millis(500);

/// Who may have what.
#[derive(Debug)]
struct Rules {
    settings: Settings,
    keys: Keys,
}

impl Rules {
    fn of(&self, apex: &Name) -> Option<&TransferSettings> {
        self.settings.transfer(apex)
    }
}

/// A zone that is transferred.
#[derive(Debug)]
struct Kept {
    version: Arc<Version>,
    journal: Journal,
    /// The snapshot that it was made of.
    generation: Generation,
    /// Of its version.
    print: Print,
    /// Until when it is not looked at again of itself.
    rests: Instant,
}

/// What is transferred of what is served.
#[derive(Debug, Default)]
struct Apexes {
    /// All of it.
    all: BTreeSet<Name>,
    /// That of which nothing is rendered, and which is no longer as it was.
    changed: Vec<Name>,
    /// Some of that rests.
    some_rest: bool,
    /// That of which something is rendered.
    rendered: Vec<Name>,
}

#[derive(Debug)]
struct State {
    rules: Arc<Rules>,
    zones: BTreeMap<Name, Kept>,
    notifier: Notifier,
}

/// See the module.
pub(super) struct Transfers {
    control: Control,
    /// This server as a client: what is rendered is what it would be answered.
    own: SocketAddr,
    state: Mutex<State>,
    serials: AsyncMutex<KeptSerials>,
    journals: Journals,
    /// One version of a zone is made at a time.
    refreshing: AsyncMutex<()>,
    places: Semaphore,
    counts: Counts,
}

/// How transfers to others fare, since the start.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    refused: AtomicU64,
    broken_off: AtomicU64,
    told: AtomicU64,
    not_told: AtomicU64,
}

/// How transfers to others fare, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TransferStats {
    /// Transfers under way.
    pub under_way: usize,
    /// Those that were sent whole.
    pub sent: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those that ended early.
    pub broken_off: u64,
    /// Secondaries that were told of a change, and said so.
    pub told: u64,
    /// Secondaries that would not hear of a change, or did not answer.
    pub not_told: u64,
}

impl std::fmt::Debug for Transfers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transfers({:?})", self.lock())
    }
}

impl Transfers {
    /// For what `control` publishes.
    pub fn new(control: Control, settings: &Settings, serials: KeptSerials) -> Transfers {
        let own = settings.dns.listen.iter().map(SocketAddr::ip).find(|ip| !ip.is_unspecified());
        let rules = Arc::new(Rules { settings: settings.clone(), keys: Keys::new(settings.tsig.values()) });
        Transfers {
            control,
            own: SocketAddr::new(own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0),
            state: Mutex::new(State { rules, zones: BTreeMap::new(), notifier: Notifier::default() }),
            serials: AsyncMutex::new(serials),
            journals: Journals::of(&settings.data_dir),
            refreshing: AsyncMutex::new(()),
            places: Semaphore::new(MOST_TRANSFERS),
            counts: Counts::default(),
        }
    }

    /// How they fare.
    pub fn stats(&self) -> TransferStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { sent, refused, broken_off, told, not_told } = &self.counts;
        TransferStats {
            under_way: MOST_TRANSFERS - self.places.available_permits().min(MOST_TRANSFERS),
            sent: read(sent),
            refused: read(refused),
            broken_off: read(broken_off),
            told: read(told),
            not_told: read(not_told),
        }
    }

    /// Takes other settings.
    pub fn define(&self, settings: &Settings) {
        let rules = Arc::new(Rules { settings: settings.clone(), keys: Keys::new(settings.tsig.values()) });
        let mut state = self.lock();
        state.zones.retain(|apex, _| rules.of(apex).is_some());
        let State { rules: before, zones, notifier } = &mut *state;
        notifier.keep(|apex, peer| rules.of(apex).is_some_and(|settings| settings.notify.contains(peer)));
        for (apex, kept) in zones {
            // Who is new in the list knows nothing yet.
            let told = before.of(apex).map_or(&[][..], |settings| &settings.notify);
            let new = rules.of(apex).map_or(&[][..], |settings| &settings.notify).iter().filter(|peer| !told.contains(peer));
            notifier.changed(apex, &new.cloned().collect::<Vec<_>>(), kept.version.soa(), now_ms());
        }
        *before = rules;
    }

    /// Gives zones that were read their serials, and loads them by `load`; no serial moves meanwhile, nor where they are not loaded.
    pub async fn load<E>(
        &self,
        mut zones: Vec<Zone>,
        settings: &Settings,
        load: impl AsyncFnOnce(Vec<Zone>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut serials = self.serials.lock().await;
        let before = serials.serials.clone();
        serials.assign(&mut zones, settings);
        serials.keep().await;
        let loaded = load(zones).await;
        if loaded.is_err() {
            // What they were assigned for is not served.
            serials.serials = before;
            serials.keep().await;
        }
        loaded
    }

    /// The keys that messages are signed with.
    pub fn keys(&self) -> Keys {
        self.lock().rules.keys.clone()
    }

    /// Looks for changes and tells others, until it is dropped.
    pub fn start(self: &Arc<Self>) -> JoinHandle<()> {
        let transfers = self.clone();
        tokio::spawn(async move {
            let (v4, v6) = (bound(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).await, bound(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).await);
            let mut looks = Looks::begin(Instant::now());
            loop {
                let (served, apexes) = transfers.apexes(Instant::now());
                if looks.are_due(served) {
                    for apex in &apexes.changed {
                        transfers.refresh(apex).await;
                    }
                    transfers.forget_but(&apexes.all);
                    looks.looked(served, apexes.some_rest);
                }
                let began = Instant::now();
                if looks.is_rendering_due(served, began) {
                    // Who follows what stands is told before that is done.
                    transfers.tell(&v4, &v6).await;
                    for apex in &apexes.rendered {
                        transfers.refresh(apex).await;
                    }
                    looks.rendered(served, began, Instant::now());
                }
                transfers.tell(&v4, &v6).await;
                // Replies are taken as they come; nothing is late by more than a look.
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = transfers.hear(&v4) => {}
                    () = transfers.hear(&v6) => {}
                }
            }
        })
    }

    /// What is transferred of what is served now.
    fn apexes(&self, now: Instant) -> (Served, Apexes) {
        let snapshot = self.control.publisher().load_full();
        let state = self.lock();
        let mut apexes = Apexes::default();
        for zone in snapshot.zones() {
            let apex = Name::from_wire(zone.apex());
            let Some(settings) = state.rules.of(&apex) else { continue };
            apexes.all.insert(apex.clone());
            match state.zones.get(&apex) {
                _ if is_rendered(zone, settings.services) => apexes.rendered.push(apex),
                Some(kept) if std::ptr::eq(&**kept.version.zone(), zone) => {}
                Some(kept) if kept.rests > now => apexes.some_rest = true,
                _ => apexes.changed.push(apex),
            }
        }
        ((snapshot.generation, apexes.all.len()), apexes)
    }

    /// Forgets zones that are served no more.
    fn forget_but(&self, served: &BTreeSet<Name>) {
        let mut state = self.lock();
        state.zones.retain(|apex, _| served.contains(apex));
        state.notifier.keep(|apex, _| served.contains(apex));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever panicked, each part of the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    now_ms() / 1000
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
