//! The roof: joins the shells into a running server, and takes it apart again.
//!
//! ```text
//!   settings ─▶ config::world ─▶ store ─▶ control ─▶ server (DNS) ─▶ probe ─▶ drill ─▶ api ─▶ ready
//!                    ▲                       ▲
//!   files, SIGHUP ───┴──────── reload ───────┘   a zone with findings stays as it was, the others take effect
//! ```
//!
//! [`run`] is the process `signpost serve`; [`Running`] is the same server within another program, such as a test or an example.

// The one place where the clock comes from: everything below is handed it.
#![allow(clippy::disallowed_methods)]

mod catalogs;
mod check;
mod drills;
mod durable;
mod error;
mod journals;
mod keys;
mod last_good;
mod metrics;
mod process;
mod reload;
mod secondaries;
mod serials;
pub mod signing;
mod simulate;
mod slow;
mod supervisor;
#[cfg(test)]
mod tests;
mod transfers;
mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::{mpsc, watch};

use crate::api::{self, Api, ApiContext, RefusedFiles};
use crate::config::{self, ConfigError, Loaded, Sources};
use crate::control::{Clock, Control};
use crate::drill::Drills;
use crate::forward::Forward;
use crate::model::{Name, Settings, Timestamp, Zone};
use crate::probe::{self, Prober};
use crate::secondary::{self, Secondaries};
use crate::server::{self, EncryptedAddresses, Server};
use crate::store::{Embedded, Engine};

use last_good::LastGood;
use reload::log_warnings;
use serials::KeptSerials;
use transfers::Transfers;

pub use check::{Verdict, check};
pub use error::ServeError;
pub use process::run;

/// The version of Signpost.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the files, as last read, are not in force; `None`: they are.
type Refused = watch::Receiver<Option<Arc<RefusedFiles>>>;

/// Reads the settings: the file that is named, else `signpost.toml` if there is one, and the `SIGNPOST__…` variables over it.
pub fn settings(config: Option<&Path>) -> Result<Settings, ConfigError> {
    // Variables that are no Unicode cannot be ours.
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::settings(config, &variables.collect::<BTreeMap<_, _>>())
}

/// A whole server within this process.
pub struct Running {
    /// Where it answers DNS, in the order of the settings, with the ports that the kernel chose for port 0.
    pub dns: Vec<SocketAddr>,
    /// Where it answers DNS that nobody else can read.
    pub encrypted: EncryptedAddresses,
    /// Where its API listens.
    pub api: SocketAddr,
    /// The single writer.
    pub control: Control,
    /// Shared with the metrics, which hold it weakly.
    server: Arc<Server>,
    forward: Arc<Forward>,
    prober: Arc<Prober>,
    http: Api,
    drills: Drills,
    updates: Arc<updates::Updates>,
    secondaries: Secondaries,
    /// Looks after them; ends when it is told to.
    copying_in: secondary::Task,
    /// Who waits for the files to be read again.
    wished: mpsc::Receiver<secondaries::Wish>,
    /// Signs what will be asked for.
    background: signing::Background,
    keys: keys::Keys,
    clients: simulate::Clients,
    transfers: Arc<Transfers>,
    /// Makes versions of zones and tells secondaries.
    copying: tokio::task::JoinHandle<()>,
    ready: watch::Sender<bool>,
    settings: Settings,
    /// What needs a start to change is compared with this.
    started_with: Settings,
    /// Why the files, as last read, are not in force; for the API and metrics.
    refused: watch::Sender<Option<Arc<RefusedFiles>>>,
    clock: Clock,
    read: Read,
    last: LastGood,
}

/// What the zones in force were read from, and what is known of them.
#[derive(Default)]
struct Read {
    apexes: BTreeSet<Name>,
    sources: Sources,
    /// Zones that names of others lead to.
    led: BTreeSet<Name>,
}

impl Running {
    /// Starts everything, on the runtime of the caller: zones, store, control, DNS, probes, API. When this returns, it is ready.
    /// Zones and geo data whose files are broken are as they were last good, if they were.
    ///
    /// # Errors
    /// Whatever stands in the way; then nothing is left running.
    pub async fn start(settings: Settings) -> Result<Running, ServeError> {
        let clock = steady_clock();
        match &settings.file {
            Some(file) => tracing::info!(version = VERSION, config = %absolute(file), "Signpost starts"),
            None => tracing::info!(version = VERSION, "Signpost starts without a signpost.toml: defaults hold, on loopback only"),
        }
        let (Loaded { zones, geo, sources, led, refused, kept, .. }, last) = world(&settings).await?;
        let keys = keys::Keys::open(settings.data_dir.join("keys"), clock.clone())?;
        let (mut zones, prepared) = keys.prepare(&settings.dnssec, zones).await?;
        let shown = summary(&zones);
        let read = Read { apexes: zones.iter().map(|zone| zone.apex.clone()).collect(), sources, led };
        let data = settings.data_dir.clone();
        let store = blocking(move || Embedded::open(&data)).await??;
        // Written before anybody sees them.
        let mut serials = KeptSerials::open(&settings.data_dir);
        catalogs::add(&mut zones, &settings);
        serials.assign(&mut zones, &settings);
        serials.keep().await;
        let engine = Engine::Embedded(store);
        let control = Control::start(engine, zones, geo, settings.dns.clone(), settings.here.clone(), clock.clone()).await?;
        control.set_safety(settings.safety).await;
        keys.settle(prepared, &control).await;
        match Running::listen(settings, control.clone(), clock, read, keys.clone(), serials, last).await {
            Ok(running) => {
                running.tell_kept(&refused, &kept);
                running.keep_last();
                let (dns, api, data) = (&running.dns, running.api, absolute(&running.settings.data_dir));
                tracing::info!(?dns, api = %format_args!("http://{api}"), data, zones = shown, "Signpost is ready");
                Ok(running)
            }
            Err(error) => {
                keys.stop().await;
                // The store is closed when this returns.
                control.stop().await;
                Err(error)
            }
        }
    }

    /// Everything that stands on control: it listens when this returns.
    async fn listen(
        settings: Settings,
        control: Control,
        clock: Clock,
        read: Read,
        keys: keys::Keys,
        serials: KeptSerials,
        last: LastGood,
    ) -> Result<Running, ServeError> {
        let updates = Arc::new(updates::Updates::new(&settings, control.clone(), clock.clone()));
        let transfers = Arc::new(Transfers::new(control.clone(), &settings, serials));
        let signer = Arc::new(signing::Signer::new(keys.ring()));
        let mut random = [0; 32];
        let no_entropy = |error: getrandom::Error| ServeError::System { what: "there is no randomness", error: error.into() };
        getrandom::fill(&mut random).map_err(no_entropy)?;
        control.publisher().load().signatures().seed(random);
        let background = signing::Background::start(signer.clone(), control.publisher().clone(), clock.clone());
        let background = background.map_err(|error| ServeError::System { what: "no threads can be started", error })?;
        let (wishes, wished) = mpsc::channel(secondaries::WISHES);
        let take = secondaries::take(&settings.data_dir, control.clone(), wishes);
        let seed =
            getrandom::u64().map_err(|error| ServeError::System { what: "no random numbers", error: std::io::Error::other(error) })?;
        let (secondaries, copying_in) = secondary::start(&settings, control.clone(), clock.clone(), take, seed);
        let forward = Arc::new(Forward::new(&settings.forward));
        let slow = Arc::new(slow::SlowPath {
            publisher: control.publisher().clone(),
            signer: signer.clone(),
            transfers: transfers.clone(),
            updates: updates.clone(),
            secondaries: secondaries.clone(),
            forward: forward.clone(),
        });
        let server = Arc::new(server::start(&settings.dns, control.publisher().clone(), slow)?);
        let prober = probe::start(control.clone(), &settings.probe);
        let prober = Arc::new(prober.map_err(|error| ServeError::System { what: "the prober cannot start", error })?);
        let dns = server.addresses().to_vec();
        let (refused, is_refused) = watch::channel(None);
        let metrics = Arc::new(metrics::metrics(&metrics::Sources {
            control: &control,
            server: &server,
            prober: &prober,
            forward: &forward,
            refused: &is_refused,
            clock: &clock,
            secondaries: &secondaries,
            transfers: &transfers,
            updates: &updates,
        }));
        let counted = metrics.clone();
        let (ready, is_ready) = watch::channel(false);
        let clients = simulate::clients(&server);
        let drills = drills::start(&settings, &control, &server, clients.clone(), &clock);
        let context = ApiContext {
            control: control.clone(),
            started: clock(),
            clock: clock.clone(),
            records: |rtype, text| config::parse_record(rtype, text, &Name::root()),
            drills: Arc::new(drills.clone()),
            secondaries: {
                let secondaries = secondaries.clone();
                Arc::new(move || secondaries.states())
            },
            forward: {
                let forward = forward.clone();
                Arc::new(move || Some(forward.stats()).filter(|stats| !stats.upstreams.is_empty()))
            },
            keys: Arc::new(keys.clone()),
            clients: clients.clone(),
            ready: is_ready,
            refused: is_refused,
            metrics: Arc::new(move || metrics.text()),
            answered: Arc::new(move |a| counted.count_request(a.method, a.route, a.status, a.took)),
            here: settings.here.clone(),
            dns: dns.clone(),
            version: VERSION,
        };
        let http = match api::start(&settings.api, context).await {
            Ok(http) => http,
            Err(error) => {
                drills.stop().await;
                return Err(error.into());
            }
        };
        updates.audit_in(http.audit());
        // The first snapshot is published and every listener runs.
        ready.send_replace(true);
        simulate::warn(&control, clients.clone(), ready.subscribe());
        let (api, started_with) = (http.address(), settings.clone());
        let copying = transfers.start();
        Ok(Running {
            transfers,
            copying,
            dns,
            encrypted: server.encrypted_addresses(),
            api,
            control,
            server,
            forward,
            prober,
            http,
            drills,
            updates,
            secondaries,
            copying_in,
            wished,
            background,
            keys,
            clients,
            ready,
            settings,
            started_with,
            refused,
            clock,
            read,
            last,
        })
    }

    /// Stops it: no longer ready, then no requests, no drill, no probes, no queries; what was observed is brought to the store.
    pub async fn stop(self) {
        self.ready.send_replace(false);
        self.http.stop().await;
        self.copying.abort();
        self.secondaries.stop();
        self.copying_in.finished().await;
        // Whoever is led away by a drill is led back before control stops.
        self.drills.stop().await;
        self.keys.stop().await;
        let (server, prober) = (Arc::into_inner(self.server), Arc::into_inner(self.prober));
        // Both wait for threads. Where a scrape still looks at one of them it stops when the scrape ends.
        let halted = blocking(move || {
            drop(self.background);
            prober.into_iter().for_each(Prober::stop);
            server.into_iter().for_each(Server::stop);
        });
        if let Err(error) = halted.await {
            tracing::error!(%error, "the listeners did not stop cleanly");
        }
        // What they took is carried out, and has its audit line.
        self.updates.stop().await;
        self.control.stop().await;
    }
}

/// Everything under `zones/` and `geo/`; warnings go to the log.
async fn world(settings: &Settings) -> Result<(Loaded, LastGood), ServeError> {
    let settings = settings.clone();
    let read = move || {
        let last = LastGood::open(&settings);
        last.world(&settings).map(|loaded| (loaded, last))
    };
    let (loaded, last) = blocking(read).await?.map_err(ServeError::World)?;
    log_warnings(&loaded.warnings);
    Ok((loaded, last))
}

/// The zones for the log: their names while they are few.
fn summary(zones: &[Zone]) -> String {
    match zones.len() {
        0..=8 => zones.iter().map(|zone| zone.apex.to_string()).collect::<Vec<_>>().join(" "),
        many => many.to_string(),
    }
}

/// Work that waits for disks or threads, away from those who answer.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
    let panicked = |error: tokio::task::JoinError| ServeError::System { what: "a task ended early", error: error.into() };
    tokio::task::spawn_blocking(work).await.map_err(panicked)
}

/// A clock that begins at the system's time and never jumps. Were the system's clock set forward while heartbeats are expected, all of
/// them would be late at once.
fn steady_clock() -> Clock {
    let begin = Timestamp::default().plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    let since = Instant::now();
    Arc::new(move || begin.plus(since.elapsed()))
}

/// A path as people can find it, wherever they stand.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)).display().to_string()
}
