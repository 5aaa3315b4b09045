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
mod journals;
mod keys;
mod metrics;
mod secondaries;
mod serials;
pub mod signing;
mod simulate;
mod slow;
#[cfg(test)]
mod tests;
mod transfers;
mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::api::{self, Api, ApiContext, RefusedFiles};
use crate::config::{self, ConfigError, Finding, Kept, Loaded, Reread, Sources};
use crate::control::{self, Clock, Control};
use crate::drill::Drills;
use crate::forward::Forward;
use crate::model::{DnsSettings, Name, Settings, Timestamp, TlsSettings, Zone};
use crate::probe::{self, Prober};
use crate::secondary::{self, Secondaries};
use crate::server::{self, CertificateError, EncryptedAddresses, Server};
use crate::snapshot::ZoneError;
use crate::store::{Embedded, Engine, OpenError};
use crate::telemetry;

use serials::KeptSerials;
use transfers::Transfers;

pub use check::{Verdict, check};

/// The version of Signpost.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Lines of a refusal that its event tells; the log and the status have more.
const FINDINGS_TOLD: usize = 5;

/// Warnings of one reading that the log has.
const WARNINGS_LOGGED: usize = 50;

/// Why the files, as last read, are not in force; `None`: they are.
type Refused = watch::Receiver<Option<Arc<RefusedFiles>>>;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// `signpost.toml` or its variables.
    #[error("the configuration cannot be used\n{}", indented(.0))]
    Settings(#[from] ConfigError),
    /// Zone and geo files; one finding each.
    #[error("what the files say cannot be served\n{}", lines(.0))]
    World(Vec<Finding>),
    /// Zones that contradict what is registered, or each other.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// What is in the store cannot be served.
    #[error(transparent)]
    Control(control::StartError),
    /// DNS cannot be answered where it should be.
    #[error(transparent)]
    Listen(#[from] server::ListenError),
    /// The API cannot listen.
    #[error(transparent)]
    Api(#[from] api::ListenError),
    /// The log cannot be written as asked.
    #[error(transparent)]
    Log(#[from] telemetry::LogError),
    /// Files cannot be watched.
    #[error(transparent)]
    Watch(#[from] config::WatchError),
    /// The system gives no threads, signals or memory.
    #[error("{what}: {error}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        error: std::io::Error,
    },
}

impl ServeError {
    /// 78 where the configuration must be changed (`EX_CONFIG` of sysexits.h), else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            ServeError::Settings(_) | ServeError::World(_) | ServeError::Zone(_) | ServeError::Log(_) => 78,
            ServeError::Api(api::ListenError::Exposed(_)) => 78,
            ServeError::Listen(server::ListenError::Nowhere | server::ListenError::Certificate(_)) => 78,
            _ => 1,
        }
    }
}

impl From<control::StartError> for ServeError {
    fn from(error: control::StartError) -> ServeError {
        match error {
            control::StartError::Zone(error) => ServeError::Zone(error),
            error => ServeError::Control(error),
        }
    }
}

/// Findings as indented lines.
fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("  {finding}")).collect::<Vec<_>>().join("\n")
}

fn indented(error: &ConfigError) -> String {
    error.to_string().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Reads the settings: the file that is named, else `signpost.toml` if there is one, and the `SIGNPOST__…` variables over it.
pub fn settings(config: Option<&Path>) -> Result<Settings, ConfigError> {
    // Variables that are no Unicode cannot be ours.
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::settings(config, &variables.collect::<BTreeMap<_, _>>())
}

/// The process `signpost serve`: serves until SIGTERM or SIGINT, and reads its files again when they change or at SIGHUP.
pub fn run(settings: Settings) -> Result<(), ServeError> {
    telemetry::init(settings.log.format, &settings.log.level)?;
    // Before probes and TCP connections need them: the usual limit of 1,024 is too low for both.
    server::raise_open_files();
    // DNS has threads of its own. The writer and the API share these: one of them may compile a snapshot while others answer.
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("signpost")
        .enable_all()
        .build()
        .map_err(|error| ServeError::System { what: "no threads can be started", error })?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), ServeError> {
    // Asked for first: from now on no signal ends the process halfway.
    let mut stop = Stop::new()?;
    let mut hangup = listen_for(SignalKind::hangup())?;
    let (changed, mut changes) = mpsc::channel(1);
    let watch = |settings: &Settings| {
        let changed = changed.clone();
        // A full channel holds a change already.
        config::watch(settings, move || _ = changed.try_send(()))
    };
    // Before they are read: what changes from now on is read again.
    let mut watching = watch(&settings)?;
    let mut running = tokio::select! {
        started = Running::start(settings) => started?,
        name = stop.signal() => {
            tracing::info!("stopped by {name} before it served");
            return Ok(());
        }
    };
    watching.include(&running.sources);
    let mut wishes: Vec<secondaries::Wish> = Vec::new();
    loop {
        let reason = tokio::select! {
            name = stop.signal() => {
                tracing::info!("{name}: stopping; again to stop at once");
                break;
            }
            Some(()) = hangup.recv() => "SIGHUP",
            Some(()) = changes.recv() => "files changed",
            Some(wish) = running.wished.recv() => {
                let Some(wish) = running.grant(wish).await else { continue };
                wishes.push(wish);
                "a zone was copied"
            }
        };
        // What came meanwhile is read with it.
        while let Ok(wish) = running.wished.try_recv() {
            wishes.push(wish);
        }
        let before = watched(&running.settings);
        running.reload(reason).await;
        if watched(&running.settings) != before {
            watching = watch(&running.settings)?;
        }
        watching.include(&running.sources);
        // Whoever wished for it may have gone.
        wishes.drain(..).for_each(|wish| _ = wish.granted.send(()));
    }
    drop(watching);
    tokio::select! {
        () = running.stop() => tracing::info!("stopped"),
        name = stop.signal() => tracing::warn!("{name} again: stopped at once"),
    }
    Ok(())
}

/// The signals that end a server.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> Result<Stop, ServeError> {
        Ok(Stop { terminate: listen_for(SignalKind::terminate())?, interrupt: listen_for(SignalKind::interrupt())? })
    }

    /// Waits for one, and names it.
    async fn signal(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn listen_for(kind: SignalKind) -> Result<Signal, ServeError> {
    signal(kind).map_err(|error| ServeError::System { what: "signals cannot be received", error })
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
    /// What the zones in force were read from.
    sources: Sources,
    apexes: BTreeSet<Name>,
}

/// What a reload took.
struct Taken {
    settings: Settings,
    apexes: BTreeSet<Name>,
    sources: Sources,
    /// Why some zone files were not taken.
    refused: Vec<Finding>,
    kept: Vec<Kept>,
}

impl Running {
    /// Starts everything, on the runtime of the caller: zones, store, control, DNS, probes, API. When this returns, it is ready.
    ///
    /// # Errors
    /// Whatever stands in the way; then nothing is left running.
    pub async fn start(settings: Settings) -> Result<Running, ServeError> {
        let clock = steady_clock();
        match &settings.file {
            Some(file) => tracing::info!(version = VERSION, config = %absolute(file), "Signpost starts"),
            None => tracing::info!(version = VERSION, "Signpost starts without a signpost.toml: defaults hold, on loopback only"),
        }
        let Loaded { zones, geo, sources, .. } = world(&settings).await?;
        let keys = keys::Keys::open(settings.data_dir.join("keys"), clock.clone())?;
        let (mut zones, prepared) = keys.prepare(&settings.dnssec, zones).await?;
        let shown = summary(&zones);
        let apexes = zones.iter().map(|zone| zone.apex.clone()).collect();
        let data = settings.data_dir.clone();
        let store = blocking(move || Embedded::open(&data)).await??;
        // Written before anybody sees them.
        let mut serials = KeptSerials::open(&settings.data_dir);
        serials.assign(&mut zones, &settings);
        let engine = Engine::Embedded(store);
        let control = Control::start(engine, zones, geo, settings.dns.clone(), settings.here.clone(), clock.clone()).await?;
        control.set_safety(settings.safety).await;
        keys.settle(prepared, &control).await;
        match Running::listen(settings, control.clone(), clock, apexes, sources, keys.clone(), serials).await {
            Ok(running) => {
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
        apexes: BTreeSet<Name>,
        sources: Sources,
        keys: keys::Keys,
        serials: KeptSerials,
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
        let metrics = Arc::new(metrics::metrics(&control, &server, &prober, &forward, &is_refused, &clock, &secondaries));
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
            sources,
            apexes,
        })
    }

    /// Reads the configuration, certificate, zones and geo data again, and takes them. A certificate that cannot be used leaves the one in
    /// force, and stands in nobody's way, nor does anything else stand in that of a new one. A zone whose files are broken stays as it was last good, or is left
    /// out where it never was, while the others take effect; where anything else is wrong, everything stays as it was. Log, status and
    /// events say why. Returns whether all of it was taken.
    pub async fn reload(&mut self, reason: &str) -> bool {
        tracing::info!("{reason}: reading configuration, zones and geo data again");
        let (settings, certificate) = self.read_settings().await;
        let read = match settings {
            Ok(settings) => self.read_again(settings).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(mut taken) => {
                taken.refused.extend(certificate);
                for gone in self.apexes.difference(&taken.apexes) {
                    tracing::warn!("zone {gone} is no longer served: its file is gone");
                }
                (self.apexes, self.sources) = (taken.apexes, taken.sources);
                self.updates.reload(&taken.settings);
                self.secondaries.reload(&taken.settings);
                self.drills.define(&taken.settings.drills, &self.clock);
                self.transfers.define(&taken.settings);
                for key in restart_needed(&self.started_with, &taken.settings) {
                    tracing::warn!("{key} is not as it was at the start: it takes effect at the next one");
                }
                self.settings = taken.settings;
                simulate::warn(&self.control, self.clients.clone(), self.ready.subscribe());
                if taken.refused.is_empty() && taken.kept.is_empty() {
                    self.refused.send_replace(None);
                    tracing::info!("the new configuration, zones and geo data are in force");
                    return true;
                }
                self.tell_refused(taken.refused.iter().map(Finding::to_string).collect());
                for zone in taken.kept {
                    match zone.serves {
                        true => tracing::error!("{}: the zone is served as it was before; a restart would need it mended", zone.file),
                        false => tracing::error!("{}: the zone is not served", zone.file),
                    }
                }
                tracing::warn!("all other files are in force as they are now");
                false
            }
            Err(error) => {
                // One line for each finding, with its file and line.
                let lines = error.to_string();
                let lines = lines.lines().map(|line| line.trim_start().to_string());
                self.tell_refused(lines.chain(certificate.map(|finding| finding.to_string())).collect());
                tracing::error!("nothing was changed: what was in force stays in force");
                false
            }
        }
    }

    /// Serves a zone that was copied, where it is in the place of an older one and concerns no other: nothing else is read for it. Else the
    /// wish comes back.
    async fn grant(&mut self, mut wish: secondaries::Wish) -> Option<secondaries::Wish> {
        let zone = wish.zone.take().filter(|zone| !self.settings.dnssec.signs(&zone.apex));
        let Some(zone) = zone else { return Some(wish) };
        let file = PathBuf::from(&zone.file);
        if !self.transfers.replace(*zone, &self.settings).await {
            return Some(wish);
        }
        let mut sources = self.sources.clone();
        let noted = blocking(move || {
            sources.copied(&file);
            sources
        });
        // An error has been printed; the next reload reads the file itself.
        if let Ok(sources) = noted.await {
            self.sources = sources;
        }
        // Whoever wished for it may have gone.
        _ = wish.granted.send(());
        None
    }

    /// Tells the log, the status, the metrics and whoever listens to events what files were not taken.
    fn tell_refused(&self, findings: Vec<String>) {
        for line in &findings {
            tracing::error!("{line}");
        }
        let more = match findings.len().saturating_sub(FINDINGS_TOLD) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let told: Vec<&str> = findings.iter().take(FINDINGS_TOLD).map(String::as_str).collect();
        let why = format!("{}{more}", told.join("; "));
        self.refused.send_replace(Some(Arc::new(RefusedFiles { at: (self.clock)(), findings })));
        self.control.refused_files(&why);
    }

    /// Reads the settings, and the certificate that they name, or that of the settings in force where those read cannot be used. The
    /// finding says why the certificate in force stays as it is.
    async fn read_settings(&self) -> (Result<Settings, ServeError>, Option<Finding>) {
        let read = match self.settings.file.clone() {
            Some(file) => blocking(move || settings(Some(&file))).await.and_then(|read| Ok(read?)),
            None => Ok(self.settings.clone()),
        };
        let tls = read.as_ref().map_or(&self.settings, |settings| settings).dns.tls.clone();
        let server = self.server.clone();
        let about = |tls: &TlsSettings, error: CertificateError| about_certificate(tls, error.file(), error.reason());
        let renewed = blocking(move || server.renew_certificate(&tls).err().map(|error| about(&tls, error))).await;
        match (read, renewed) {
            (read, Ok(finding)) => (read, finding),
            (read, Err(error)) => (read.and(Err(error)), None),
        }
    }

    async fn read_again(&self, settings: Settings) -> Result<Taken, ServeError> {
        // Before anything is taken: what is in force stays whole.
        self.http.check(&settings.api)?;
        let mut reread = Reread::new(settings.clone(), self.sources.clone());
        let (apexes, loaded) = loop {
            let (read, again) = blocking(move || (reread.world(), reread)).await?;
            let mut loaded = read.map_err(ServeError::World)?;
            reread = again;
            let apexes = loaded.zones.iter().map(|zone| zone.apex.clone()).collect();
            let (zones, geo) = (std::mem::take(&mut loaded.zones), std::mem::take(&mut loaded.geo));
            // Keys that are lost or broken change nothing: zones stay signed with those in memory.
            let (zones, prepared) = self.keys.prepare(&settings.dnssec, zones).await?;
            // What the connections do is what clients are told of them (RFC 7828 §3.3.2), until the next start.
            let dns = DnsSettings { tcp_idle_ms: self.started_with.dns.tcp_idle_ms, ..settings.dns.clone() };
            let load = async |zones: Vec<Zone>| self.control.load(zones, geo, dns).await;
            let Err(error) = self.transfers.load(zones, &settings, load).await else {
                self.keys.settle(prepared, &self.control).await;
                break (apexes, loaded);
            };
            drop(prepared);
            // What only compiling finds is the zone's own as well.
            let finding = Finding { file: error.file.clone(), line: None, field: error.name.clone(), reason: error.reason.clone() };
            let (possible, again) = blocking(move || (reread.refuse(finding), reread)).await?;
            if !possible {
                return Err(error.into());
            }
            reread = again;
        };
        log_warnings(&loaded.warnings);
        self.forward.set(&settings.forward);
        self.control.set_safety(settings.safety).await;
        self.http.reload(&settings.api)?;
        Ok(Taken { settings, apexes, sources: loaded.sources, refused: loaded.refused, kept: loaded.kept })
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
        self.control.stop().await;
    }
}

/// What is wrong with a certificate or another file of it, as a finding.
fn about_certificate(settings: &TlsSettings, file: Option<&Path>, reason: String) -> Finding {
    let file = file.or(settings.certificate.as_deref()).map_or("dns.tls.certificate".into(), |file| file.display().to_string());
    Finding { file, line: None, field: String::new(), reason }
}

/// Everything under `zones/` and `geo/`; warnings go to the log.
async fn world(settings: &Settings) -> Result<Loaded, ServeError> {
    let settings = settings.clone();
    let loaded = blocking(move || config::world(&settings)).await?.map_err(ServeError::World)?;
    log_warnings(&loaded.warnings);
    Ok(loaded)
}

/// Warnings for the log, while they are not too many: they come again at each reload.
fn log_warnings(warnings: &[Finding]) {
    for warning in warnings.iter().take(WARNINGS_LOGGED) {
        tracing::warn!("{warning}");
    }
    if let Some(more) = warnings.len().checked_sub(WARNINGS_LOGGED).filter(|more| *more > 0) {
        tracing::warn!("and {more} more warnings, which `signpost check` lists");
    }
}

/// The zones for the log: their names while they are few.
fn summary(zones: &[Zone]) -> String {
    match zones.len() {
        0..=8 => zones.iter().map(|zone| zone.apex.to_string()).collect::<Vec<_>>().join(" "),
        many => many.to_string(),
    }
}

/// The folders and files that are watched, and may be others after a reload.
fn watched(settings: &Settings) -> Vec<PathBuf> {
    [&settings.zones_dir, &settings.geo_dir].into_iter().chain(settings.dns.tls.files()).cloned().collect()
}

/// Keys whose new values wait for the next start.
fn restart_needed(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (dns, was) = (&new.dns, &old.dns);
    [
        ("data_dir", new.data_dir != old.data_dir),
        ("dns.listen", dns.listen != was.listen),
        ("dns.workers", dns.workers != was.workers),
        ("the addresses and the path of [dns.tls]", {
            let listeners = |s: &DnsSettings| (s.tls.dot.clone(), s.tls.doh.clone(), s.tls.doh_path.clone(), s.tls.doq.clone());
            listeners(dns) != listeners(was)
        }),
        ("dns.rate_limit.table_size", dns.rate_limit.table_size != was.rate_limit.table_size),
        ("the limits of connections of [dns]", {
            let limits = |s: &DnsSettings| (s.tcp_connections, s.tcp_per_client, s.tcp_idle_ms);
            limits(dns) != limits(was)
        }),
        ("api.listen", new.api.listen != old.api.listen),
        ("api.audit", new.api.audit != old.api.audit),
        ("here", new.here != old.here),
        ("probe", new.probe != old.probe),
        ("log", new.log != old.log),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
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
