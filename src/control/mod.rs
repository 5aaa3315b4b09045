//! Floor 4: the single writer. A command goes registry → store → registry → snapshot → publish, in this order, and only then is it
//! acknowledged.
//!
//! The registry is asked first whether a command can be carried out ([`Registry::plan`](crate::registry::Registry::plan)), the store
//! makes it durable, and only then does the registry change: readers never see what might still fail, and there is nothing to undo.
//! Health goes the other way round: it is visible at once and persisted behind, for a slow disk must not keep a dead instance in
//! answers. All decisions are in [`Writer`], which does no IO; [`Control`] is the handle to the thread that drives it.

mod behind;
mod compile;
mod core;
mod heartbeats;
mod keyed;
mod lapse;
mod losses;
mod observed;
mod orders;
mod outcome;
mod records;
mod stale;
mod start;
mod survey;
mod task;
mod told;
mod wheel;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use self::core::{Departure, Input, Landing};
pub use losses::{Loss, Losses};
pub use survey::Sample;
pub use writer::{Output, Writer};

use self::heartbeats::{Heartbeats, Renewal};
use self::orders::Orders;
use self::task::Call;
use crate::model::{
    Check, DnsSettings, FieldError, Geo, Health, InstanceKey, Label, Locality, Name, Revision, SafetySettings, Subject, Timestamp, Zone,
    ZoneSigning,
};
use crate::registry::{Command, Refusal, Registry};
use crate::routing::Measurements;
use crate::snapshot::{Publisher, Snapshot, Unfit, ZoneError};
use crate::store::{Engine, Unavailable};

/// A command that was carried out: durable and in answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The revision of the write.
    pub revision: Revision,
    /// Whether the resource is new.
    pub created: bool,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApplyError {
    /// It was refused; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store could not make it durable; nothing changed.
    #[error("nothing was changed: {0}")]
    Store(String),
    /// The store did not say whether it was made durable: it may turn up yet.
    #[error("it is not known whether this was written: {0}; look before asking again")]
    Unknown(String),
    /// A service with many instances is removed in several commits, and not all of them were made.
    #[error("{removed} instances were removed, and then no more: {why}; look before asking again")]
    Partly {
        /// How many are gone.
        removed: usize,
        /// Why the rest is not.
        why: String,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// Why control could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] Unavailable),
    /// A stored value cannot be read.
    #[error("the store holds {key}, which cannot be read: {reason}")]
    Value {
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Zones or geo data that cannot be served.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The writer's thread could not be started.
    #[error("the writer's thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Something that happened: for `GET /v1/events`, logs and the drill's timeline.
#[derive(Debug, Clone, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct Event {
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// The revision it belongs to.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// `registered`, `replaced`, `deregistered`, `expired`, `service_changed`, `service_removed`, `drained`, `paused`, `resumed`, `lifting`, `undrained`, `drain_expired`, `health`, `zone_changed`, `reloaded`, `reload_refused`,
    /// `drill_refused`, `drill_began`, `drill_aborted`, `drill_ended`, `drill_skipped`.
    pub kind: &'static str,
    /// What it is about: `instance/web/eu1`, `region/eu-west`, `service/web`, `drill/RUN`, or `config`.
    pub subject: String,
    /// The new state, and why.
    pub detail: String,
    /// Who asked; empty where nobody did.
    pub author: String,
}

/// What the prober is told: the checks of an instance as they now are.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeOrder {
    /// Which instance.
    pub key: InstanceKey,
    /// What to probe; `None`: nothing any more.
    pub probes: Option<Probes>,
}

/// The probes of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Probes {
    /// The number of the order; verdicts under it carry it back.
    pub order: u64,
    /// Where they go: the instance's first registered address.
    pub address: std::net::IpAddr,
    /// Each check and its port number.
    pub checks: Vec<(Check, u16)>,
    /// What was known before a restart.
    pub last: Option<Health>,
}

/// A verdict of the prober.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Which instance.
    pub key: InstanceKey,
    /// The number of the order that its probes are made by; under another one than the last, it is too late and does not count.
    pub order: u64,
    /// The worst of its checks.
    pub health: Health,
    /// Whether the last results speak against it, and more of them would turn it.
    pub wavers: bool,
    /// Why.
    pub why: String,
}

/// What explain assumes to be otherwise than it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assumption {
    /// `region/eu-west=drained`
    Drained(Subject),
    /// `region/eu-west=serving`: as if no drain of it were in force.
    Serving(Subject),
    /// `instance/web/eu1=unhealthy`
    Health(InstanceKey, Health),
}

/// Tells the time; the one place where it comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The handle that every shell holds. Cloning shares it.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
    /// To the writer; full: callers wait.
    calls: mpsc::Sender<Call>,
    /// To the writer; never waits.
    observations: mpsc::UnboundedSender<Observation>,
}

/// What handles and the writer's thread share.
struct Shared {
    publisher: Arc<Publisher>,
    registry: Arc<RwLock<Registry>>,
    measurements: Arc<RwLock<Measurements>>,
    beats: Arc<Heartbeats>,
    numbers: Arc<Orders>,
    flaps_suppressed: Arc<AtomicU64>,
    events: broadcast::Sender<Event>,
    revisions: watch::Sender<Revision>,
    /// To the prober, if there is one.
    orders: Mutex<Option<mpsc::UnboundedSender<ProbeOrder>>>,
    here: Option<Locality>,
    clock: Clock,
}

/// What the keys of updates of zones begin with in the store.
pub const UPDATES: &str = "updates/";

/// Calls that wait for the writer; more wait outside.
const CALLS: usize = 4096;
/// Events that a subscriber may be behind.
const EVENTS: usize = 1024;

impl Control {
    /// Reads the store, publishes the first snapshot and starts the writer.
    ///
    /// `here` is where this server stands. Zones that contradict each other, geo data or what is registered are an error that names
    /// the file.
    pub async fn start(
        engine: Engine,
        zones: Vec<Zone>,
        geo: Geo,
        dns: DnsSettings,
        here: Option<Locality>,
        clock: Clock,
    ) -> Result<Control, StartError> {
        let (_, revision, halves) = engine.halves().await?;
        let time = clock.clone();
        let begin = move || {
            let began = time();
            let stored = start::read(revision, halves)?;
            let read = time();
            let writer = Writer::resume(stored, zones, geo, &dns, read)?;
            tracing::debug!(read = ?read.since(began), compiled = ?time().since(read), "what is registered is in answers");
            Ok::<_, StartError>(writer)
        };
        // Away from those who answer: a million instances take a while.
        let writer =
            tokio::task::spawn_blocking(begin).await.map_err(|error| Unavailable(format!("reading it ended early: {error}")))??;
        let (calls, called) = mpsc::channel(CALLS);
        let (observations, observed) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            publisher: Arc::new(Publisher::new(Snapshot::clone(writer.snapshot()))),
            registry: writer.registry().clone(),
            measurements: writer.surveys.measurements.clone(),
            beats: writer.core.beats.clone(),
            numbers: writer.core.orders.clone(),
            flaps_suppressed: writer.core.flaps_suppressed.clone(),
            events: broadcast::channel(EVENTS).0,
            revisions: watch::channel(revision).0,
            orders: Mutex::new(None),
            here,
            clock,
        });
        task::start(shared.clone(), writer, engine, called, observed)?;
        Ok(Control { shared, calls, observations })
    }

    /// Brings what is left to the store and ends the writer; the store is closed when this returns. Commands are refused from now on.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.calls.send(Call::Stop(reply)).await.is_ok() {
            // An error: another stop was faster.
            _ = stopped.await;
        }
    }

    /// Carries out a command: when this returns `Ok`, it is durable and in the answers of every worker.
    pub async fn apply(&self, command: Command, author: &str) -> Result<Applied, ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.call(Call::Input(Input::Command { reply, command, author: author.to_string() }), answer).await
    }

    /// Renews an instance's heartbeat.
    pub async fn beat(&self, key: &InstanceKey) -> Result<(), ApplyError> {
        match self.shared.beats.renew(key.service.as_str(), key.id.as_str(), (self.shared.clock)()) {
            Renewal::Renewed => Ok(()),
            Renewal::Unknown => Err(lapse::no_heartbeat(&self.registry(), key).into()),
            Renewal::News => {
                let (reply, answer) = oneshot::channel();
                self.call(Call::Input(Input::Beat { reply, key: key.clone() }), answer).await.map(drop)
            }
        }
    }

    /// Renews the heartbeats of many instances, named by service and id in lower case. Returns those that were not taken, by their place
    /// in the list.
    pub async fn beat_all(&self, names: &[(&str, &str)]) -> Vec<(usize, ApplyError)> {
        let now = (self.shared.clock)();
        let (mut refused, mut news) = (Vec::new(), Vec::new());
        for (place, (service, id)) in names.iter().enumerate() {
            let renewal = self.shared.beats.renew(service, id, now);
            if renewal == Renewal::Renewed {
                continue;
            }
            match (Label::parse(service), Label::parse(id)) {
                (Ok(service), Ok(id)) if renewal == Renewal::News => news.push((place, InstanceKey { service, id })),
                (Ok(service), Ok(id)) => {
                    refused.push((place, lapse::no_heartbeat(&self.registry(), &InstanceKey { service, id }).into()));
                }
                (Err(error), _) | (_, Err(error)) => {
                    refused.push((place, Refusal::from(FieldError::new("instances", error.to_string())).into()))
                }
            }
        }
        let mut answers = Vec::with_capacity(news.len());
        for (place, key) in news {
            let (reply, answer) = oneshot::channel();
            match self.calls.send(Call::Input(Input::Beat { reply, key })).await {
                Ok(()) => answers.push((place, answer)),
                Err(_) => refused.push((place, ApplyError::Stopping)),
            }
        }
        for (place, answer) in answers {
            if let Err(error) = answer.await.unwrap_or(Err(ApplyError::Stopping)) {
                refused.push((place, error));
            }
        }
        refused.sort_by_key(|(place, _)| *place);
        refused
    }

    /// Takes a verdict of the prober; never waits. One under an order that is no longer in force is dropped.
    pub fn observe(&self, observation: Observation) {
        // An error: the server is stopping.
        _ = self.observations.send(observation);
    }

    /// Takes measured round trips, all of them or none: an unknown region, or a time that is none, is refused with the sample's field.
    /// Answers follow within some seconds.
    pub async fn measure(&self, samples: Vec<Sample>) -> Result<(), ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call::Measure(samples, reply)).await.map_err(|_| ApplyError::Stopping)?;
        let taken = answer.await.map_err(|_| ApplyError::Stopping)?;
        taken.map_err(|error| Refusal::Field(error).into())
    }

    /// What was measured, for looking. Keep the guard only for as long as it takes to copy out what is wanted.
    pub fn measurements(&self) -> RwLockReadGuard<'_, Measurements> {
        survey::read(&self.shared.measurements)
    }

    /// Moves the serial of a zone, of which something changed that no file says; it is in answers when this returns.
    pub async fn raise_serial(&self, apex: &Name, serial: u32) {
        let (reply, raised) = oneshot::channel();
        if self.calls.send(Call::Serial(apex.clone(), serial, reply)).await.is_ok() {
            // An error: the server stops.
            _ = raised.await;
        }
    }

    /// These zones, and no others, answer nobody: SERVFAIL, when this returns.
    pub async fn withhold(&self, apexes: BTreeMap<Name, Unfit>) {
        let (reply, done) = oneshot::channel();
        if self.calls.send(Call::Withhold(apexes, reply)).await.is_ok() {
            // An error: the server stops.
            _ = done.await;
        }
    }

    /// Replaces zones, geo data and answer settings, all or nothing.
    pub async fn load(&self, zones: Vec<Zone>, geo: Geo, dns: DnsSettings) -> Result<(), ZoneError> {
        let (reply, answer) = oneshot::channel();
        let stopping = || ZoneError { file: String::new(), name: "config".into(), reason: ApplyError::Stopping.to_string() };
        self.calls.send(Call::Load(Box::new((zones, geo, dns)), reply)).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Replaces one zone, or adds it; all others stay as they are. It has no policies and no services, and nothing of other zones leads to it. It is in
    /// answers when this returns.
    pub async fn put_zone(&self, zone: Zone) -> Result<(), ZoneError> {
        let (reply, answer) = oneshot::channel();
        let stopping = || ZoneError { file: String::new(), name: "zone".into(), reason: ApplyError::Stopping.to_string() };
        self.calls.send(Call::Put(Box::new(zone), reply)).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Replaces what zones show of their keys, of those that are given; `None`: such a zone is signed no more. All or nothing.
    pub async fn sign(&self, signing: BTreeMap<Name, Option<Arc<ZoneSigning>>>) -> Result<(), ZoneError> {
        let (reply, answer) = oneshot::channel();
        let stopping = || ZoneError { file: String::new(), name: "keys".into(), reason: ApplyError::Stopping.to_string() };
        self.calls.send(Call::Sign(signing, reply)).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Sets what drains must leave, for every command that comes after this.
    pub async fn set_safety(&self, safety: SafetySettings) {
        // An error: the server is stopping.
        _ = self.calls.send(Call::Input(Input::Safety(safety))).await;
    }

    /// Tells everyone who listens that files were read and not taken.
    pub fn refused_files(&self, why: &str) {
        let (at, revision) = ((self.shared.clock)(), self.registry().revision);
        let (subject, detail) = ("config".to_string(), why.to_string());
        // An error: nobody listens.
        _ = self.shared.events.send(Event { at, revision, kind: "reload_refused", subject, detail, author: String::new() });
    }

    /// What is registered, for looking: everything in it is durable and published, or about to be within the same moment. Keep the
    /// guard only for as long as it takes to copy out what is wanted.
    pub fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        core::read(&self.shared.registry)
    }

    /// Where snapshots are published.
    pub fn publisher(&self) -> &Arc<Publisher> {
        &self.shared.publisher
    }

    /// Where this server stands.
    pub fn here(&self) -> Option<&Locality> {
        self.shared.here.as_ref()
    }

    /// The current world with `assumptions` made: for explain.
    pub fn assume(&self, assumptions: &[Assumption]) -> Result<Arc<Snapshot>, Refusal> {
        compile::assume(&self.shared.publisher.load_full(), &self.registry(), assumptions, (self.shared.clock)())
    }

    /// Tells everyone who listens of something that happened beside the writer, such as the beginning of a drill.
    pub fn tell(&self, kind: &'static str, subject: String, detail: String, author: &str) {
        let (at, revision) = ((self.shared.clock)(), self.registry().revision);
        tracing::info!(kind, subject, author, "{detail}");
        // An error: nobody listens.
        _ = self.shared.events.send(Event { at, revision, kind, subject, detail, author: author.into() });
    }

    /// Every event from now on. A subscriber that is more than 1,024 events behind loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// The newest revision, for blocking reads.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.shared.revisions.subscribe()
    }

    /// How often an instance that flaps was held down, since the start.
    pub fn flaps_suppressed(&self) -> u64 {
        self.shared.flaps_suppressed.load(Ordering::Relaxed)
    }

    /// The prober's orders: everything that is to be probed now, then every change. One prober at a time.
    pub fn probe_orders(&self) -> mpsc::UnboundedReceiver<ProbeOrder> {
        let (sender, receiver) = mpsc::unbounded_channel();
        // Locked before looking: a change that is made meanwhile is ordered afterwards, twice at worst.
        let mut orders = self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner);
        for order in outcome::standing_orders(&self.registry(), &self.shared.numbers) {
            // The receiver is right here.
            _ = sender.send(order);
        }
        *orders = Some(sender);
        receiver
    }

    async fn call(&self, call: Call, answer: oneshot::Receiver<Result<Applied, ApplyError>>) -> Result<Applied, ApplyError> {
        self.calls.send(call).await.map_err(|_| ApplyError::Stopping)?;
        answer.await.unwrap_or(Err(ApplyError::Stopping))
    }
}

#[cfg(test)]
mod anew_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod update_tests;
