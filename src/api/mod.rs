//! Shell (floor 5): the HTTP API of DESIGN §11: JSON in and out, RFC 9457 problems, OpenAPI made from the types.
//!
//! ```text
//!   listen ─▶ front (guard, rights, audit) ─▶ routes ─▶ services, instances, heartbeats, drains, drills, keys, regions, measurements, explain,
//!                                                       simulate, events, discovery, status, page
//! ```
//!
//! Reads copy what they show out of the registry and write it after its lock is gone; writes are [`Command`](crate::registry::Command)s to
//! [`Control`], which returns once they are durable and in the answers of every worker.
// A shell: it measures how long requests take and draws the page's nonce.
#![allow(clippy::disallowed_methods)]

mod access;
mod audit;
mod discovery;
mod drains;
mod drills;
mod events;
mod explain;
mod front;
mod heartbeats;
mod instances;
mod keys;
mod listen;
mod measurements;
mod page;
mod problem;
mod regions;
mod reply;
mod request;
mod routes;
mod services;
mod simulate;
mod status;
mod updates;
mod views;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::control::{Clock, Control};
use crate::model::{ApiSettings, ForwardStats, Locality, SecondaryState, Timestamp};
use access::Access;
pub use audit::{Audit, Entry};
use problem::{Problem, Unavailable};

pub use drills::DrillDesk;
pub use keys::{ImportedKey, KeyDesk, KeyDocument, KeyList, KeyRefusal, NextStep, UnsignStep, ZoneKeysDocument};
pub use routes::describe;

/// Reads a record of a type from its text (RFC 1035 §5.1), as the type's number and its RDATA; names in it are absolute.
pub type RecordReader = fn(rtype: &str, text: &str) -> Result<(u16, Box<[u8]>), String>;

/// What the API stands on.
#[derive(Clone)]
pub struct ApiContext {
    /// The single writer.
    pub control: Control,
    /// Tells the time.
    pub clock: Clock,
    /// Turns static records of a service's policy into RDATA, and says what is wrong with their text.
    pub records: RecordReader,
    /// Carries out drills.
    pub drills: Arc<dyn DrillDesk>,
    /// How zones fare that are copied from other servers.
    pub secondaries: Arc<dyn Fn() -> Vec<SecondaryState> + Send + Sync>,
    /// How forwarding fares; `None`: nothing is forwarded.
    pub forward: Arc<dyn Fn() -> Option<ForwardStats> + Send + Sync>,
    /// Keeps the keys of signed zones.
    pub keys: Arc<dyn KeyDesk>,
    /// Client prefixes that were seen to ask, as [`ClientPrefix`](crate::routing::ClientPrefix) numbers them, and how often each.
    pub clients: Arc<dyn Fn() -> Vec<(u64, u32)> + Send + Sync>,
    /// Becomes true once zones and state are loaded.
    pub ready: watch::Receiver<bool>,
    /// Why the files as last read are not in force; `None`: they are.
    pub refused: watch::Receiver<Option<Arc<RefusedFiles>>>,
    /// The metrics, in OpenMetrics text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Is told of every request that was answered.
    pub answered: Arc<dyn Fn(&Answered) + Send + Sync>,
    /// Where this server stands.
    pub here: Option<Locality>,
    /// When it started.
    pub started: Timestamp,
    /// The addresses on which it answers DNS.
    pub dns: Vec<SocketAddr>,
    /// Its version.
    pub version: &'static str,
}

/// Files that were read while the server ran, and not taken: what was read before them is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFiles {
    /// When they were read.
    pub at: Timestamp,
    /// What is wrong with them, each with file and line.
    pub findings: Vec<String>,
}

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// `get`, `put`, `post` or `delete`; `other` where nothing is served.
    pub method: &'static str,
    /// The path with `{…}` for its names; `none` where nothing is served.
    pub route: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// From the whole head to the head of the reply.
    pub took: Duration,
}

/// Why the API cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is not loopback, and nothing protects it.
    #[error(
        "[api] listen = \"{0}\" can be reached from other machines: configure [[api.token]] (see `signpost token create`), listen on loopback, \
         or say `insecure = true`"
    )]
    Exposed(SocketAddr),
    /// The address cannot be bound.
    #[error("the API cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The audit log cannot be opened.
    #[error("the audit log {} cannot be opened: {error}", .path.display())]
    Audit {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The running API. Dropping it stops it; [`Api::stop`] also waits for requests under way.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    insecure: bool,
    audit: Audit,
    access: Arc<ArcSwap<Access>>,
    /// Tells those who listen for long that the rules are others.
    reloaded: watch::Sender<()>,
    writes: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

/// Most writes under way at once; further ones wait.
const MAX_WRITES: u32 = 1024;
/// Most event streams and blocking reads at once; further ones are refused.
const MAX_WAITING: usize = 512;
/// Most simulations at once; further ones wait.
const MAX_SIMULATIONS: usize = 2;
/// How long writes under way may take once the server stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// Listens on `settings.listen` (port 0: the kernel chooses) and serves until [`Api::stop`].
pub async fn start(settings: &ApiSettings, context: ApiContext) -> Result<Api, ListenError> {
    protected(settings.listen, settings)?;
    let audit = Audit::open(&settings.audit).map_err(|error| ListenError::Audit { path: settings.audit.clone(), error })?;
    let bound = async {
        let listener = TcpListener::bind(settings.listen).await?;
        Ok((listener.local_addr()?, listener))
    };
    let (address, listener) = bound.await.map_err(|error| ListenError::Bind { address: settings.listen, error })?;
    let (stop, stopping) = watch::channel(false);
    let access = Arc::new(ArcSwap::from_pointee(Access::new(&settings.tokens, settings.insecure)));
    let (reloaded, reloads) = watch::channel(());
    let kept = audit.clone();
    let shared = Arc::new(Shared::new(context, (access.clone(), reloads), audit, stopping.clone(), address));
    let writes = shared.writes.clone();
    let serving = tokio::spawn(listen::serve(listener, router(shared), stopping));
    tracing::info!(%address, tokens = settings.tokens.len(), audit = %settings.audit.display(), "the API listens");
    Ok(Api { address, insecure: settings.insecure, audit: kept, access, reloaded, writes, stop, serving })
}

/// Refuses to serve strangers unprotected (DESIGN §10).
fn protected(address: SocketAddr, settings: &ApiSettings) -> Result<(), ListenError> {
    match address.ip().to_canonical().is_loopback() || !settings.tokens.is_empty() || settings.insecure {
        true => Ok(()),
        false => Err(ListenError::Exposed(address)),
    }
}

impl Api {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The audit log, for writes that come another way.
    pub fn audit(&self) -> Audit {
        self.audit.clone()
    }

    /// Refuses settings that [`Api::reload`] would refuse, and changes nothing: for those who take more than the API's settings, all or
    /// nothing.
    pub fn check(&self, settings: &ApiSettings) -> Result<(), ListenError> {
        protected(self.address, settings)
    }

    /// Takes new tokens from reloaded settings, from the next request on; event streams of tokens that are no more end. The address and the audit log stay as they are.
    pub fn reload(&self, settings: &ApiSettings) -> Result<(), ListenError> {
        self.check(settings)?;
        self.access.store(Arc::new(Access::new(&settings.tokens, settings.insecure)));
        self.reloaded.send_replace(());
        if self.insecure != settings.insecure {
            tracing::info!(insecure = settings.insecure, "the API's guard against other sites' pages changed");
        }
        Ok(())
    }

    /// Stops listening, ends event streams and blocking reads, and waits for requests under way, at most some seconds.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the API did not stop cleanly");
        }
        // Also the writes of clients that hung up: each has its audit line when this returns.
        if tokio::time::timeout(STOP_TIME, self.writes.acquire_many(MAX_WRITES)).await.is_err() {
            tracing::warn!("writes to the API were cut off: the store took too long");
        }
    }
}

/// What every handler sees: the context, and what the API keeps beside it.
struct Shared {
    context: ApiContext,
    access: Arc<ArcSwap<Access>>,
    /// Changes whenever `access` does.
    reloads: watch::Receiver<()>,
    audit: Audit,
    /// One permit for each write under way.
    writes: Arc<Semaphore>,
    /// One permit for each stream and blocking read.
    waiting: Arc<Semaphore>,
    /// One permit for each simulation under way.
    simulations: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
    address: SocketAddr,
}

impl Shared {
    fn new(
        context: ApiContext,
        (access, reloads): (Arc<ArcSwap<Access>>, watch::Receiver<()>),
        audit: Audit,
        stopping: watch::Receiver<bool>,
        address: SocketAddr,
    ) -> Shared {
        let writes = Arc::new(Semaphore::new(MAX_WRITES as usize));
        let (waiting, simulations) = (Arc::new(Semaphore::new(MAX_WAITING)), Arc::new(Semaphore::new(MAX_SIMULATIONS)));
        Shared { context, access, reloads, audit, writes, waiting, simulations, stopping, address }
    }

    /// A place among those that wait for changes.
    fn place_to_wait(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full =
            || Problem::unavailable(Unavailable::Waiting, format!("{MAX_WAITING} others wait for changes already; that is the most"));
        self.waiting.clone().try_acquire_owned().map_err(|_| full())
    }
}

impl std::ops::Deref for Shared {
    type Target = ApiContext;
    fn deref(&self) -> &ApiContext {
        &self.context
    }
}

/// Returns once the server is told to stop, or its [`Api`] is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// The routes with everything around them.
fn router(shared: Arc<Shared>) -> Router {
    routes::router().layer(axum::middleware::from_fn_with_state(shared.clone(), front::front)).with_state(shared)
}
