//! Shell (floor 5): listeners. They carry bytes to and from [`wire::answer`](crate::wire::answer()) and know nothing of what is in them.
//!
//! ```text
//!   UDP   one thread and one SO_REUSEPORT socket per worker:   receive many → load snapshot → answer each → send all → receive many …
//!   TCP   one task per connection on threads of their own:     frame        → load snapshot → answer      → … → write all
//!   TLS   the same behind a handshake, and over HTTPS and QUIC one query on each stream, on threads of their own: see [`encrypted`]
//! ```
//!
//! What cannot be answered at once goes aside, to threads of its own: see [`Slow`].
//!
//! No async runtime, allocation, lock or system call but the two of the socket stands on the UDP path, and the two are for as many queries as
//! wait. A snapshot is loaded after queries came and dropped before the thread waits again, so that a published snapshot is in the very next
//! answer of every worker and old ones are freed.
// A shell: it draws the workers' seeds from the machine.
#![allow(clippy::disallowed_methods)]

mod certificate;
mod connections;
mod doh;
mod doq;
mod encrypted;
#[cfg(target_os = "linux")]
mod groups;
mod http;
mod http3;
mod order;
#[cfg(target_os = "linux")]
mod pace;
mod quic;
mod room;
mod slow;
mod socket;
mod tcp;
mod tls;
mod udp;
mod validity;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Runtime;

use crate::model::{Counters, DnsSettings, TlsSettings};
use crate::snapshot::{Publisher, Snapshot};
use crate::wire::{self, Defences, Outcome, Query, Transport, Worker};

pub use certificate::{CertificateError, check_certificate};
pub use connections::ConnectionStats;
use connections::{Connections, Limits};
use encrypted::Encrypted;
pub use encrypted::EncryptedAddresses;
use slow::Punts;
pub use slow::{Gone, MOST_UNDER_WAY, Punted, Replies, Slow, SlowStats};
use socket::Datagrams;
pub use socket::raise_open_files;

/// Tasks of DNS over TCP between two looks for what came. The runtime's own choice of 61 is one for throughput.
const TASKS_BETWEEN_LOOKS: u32 = 16;

/// How often a port that the kernel chose for TCP may turn out to be taken for UDP before giving up.
const PORT_TRIES: usize = 16;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// No address is configured.
    #[error("[dns] listen is empty; at least one address such as \"127.0.0.1:5300\" is needed")]
    Nowhere,
    /// An address cannot be bound.
    #[error("cannot listen on {address} over {transport}: {error}{}", advice(.error))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// `UDP` or `TCP`, and what for where that is not plain DNS.
        transport: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread for {address}: {error}")]
    Thread {
        /// The address it was to serve.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The certificate of DNS over TLS, HTTPS and QUIC cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system gives no random seed.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What to do about an address that cannot be bound.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (is another DNS server running? systemd-resolved holds port 53 of 127.0.0.53 only)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need root or CAP_NET_BIND_SERVICE)",
        io::ErrorKind::AddrNotAvailable => " (this machine has no such address)",
        _ => "",
    }
}

/// Which worker a set of counters belongs to: the labels of its metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLabels {
    /// The address it answers on.
    pub listen: SocketAddr,
    /// How queries come to it.
    pub transport: Transport,
    /// Its number among the workers of that address and transport, from 0. The last one answers what goes aside.
    pub worker: usize,
}

/// The running listeners. Dropping it stops them.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    counters: Vec<(WorkerLabels, Arc<Counters>)>,
    stopping: Arc<AtomicBool>,
    sockets: Vec<Arc<Datagrams>>,
    threads: Vec<JoinHandle<()>>,
    listeners: Vec<Arc<tokio::net::TcpListener>>,
    connections: Arc<Connections>,
    defences: Arc<Defences>,
    /// Listeners that nobody else can read, if there are any.
    encrypted: Option<Encrypted>,
    punts: Arc<Punts>,
    /// What TCP and the slow path run on; `None` once they have stopped.
    runtime: Option<Runtime>,
    slow_runtime: Option<Runtime>,
}

/// Listens on every address of `settings`, UDP and TCP each, and answers from what `publisher` holds, on threads of its own.
///
/// What it cannot answer at once, `slow` does. Either all addresses are listened on when this returns, or none.
pub fn start(settings: &DnsSettings, publisher: Arc<Publisher>, slow: Arc<dyn Slow>) -> Result<Server, ListenError> {
    start_with(settings, publisher, slow, MOST_UNDER_WAY, wire::answer)
}

/// What answers a query: `wire::answer`, or a stand-in of a test.
trait Answer: Fn(&Snapshot, &mut Worker, &Query<'_>, &mut [u8]) -> Outcome + Clone + Send + Sync + 'static {}

impl<F> Answer for F where F: Fn(&Snapshot, &mut Worker, &Query<'_>, &mut [u8]) -> Outcome + Clone + Send + Sync + 'static {}

fn start_with(
    settings: &DnsSettings,
    publisher: Arc<Publisher>,
    slow: Arc<dyn Slow>,
    most_under_way: usize,
    answer: impl Answer,
) -> Result<Server, ListenError> {
    if settings.listen.is_empty() {
        return Err(ListenError::Nowhere);
    }
    let workers = settings.workers.max(1);
    // Every socket is bound before the first query is answered: a server that starts, starts whole.
    let idle = Duration::from_millis(settings.tcp_idle_ms.max(1));
    let bound = settings.listen.iter().map(|address| Bound::new(*address, workers, idle)).collect::<Result<Vec<_>, _>>()?;
    let encrypted = encrypted::Bound::new(&settings.tls, idle)?;
    let limits = Limits { overall: places(settings.tcp_connections), per_client: settings.tcp_per_client.max(1), idle };
    // Whatever else the process does on its runtimes, compiling and requests among them, no connection waits for it.
    let threads = |name: &str| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name(name)
            .event_interval(TASKS_BETWEEN_LOOKS)
            .enable_all()
            .build()
            .map_err(|error| ListenError::Thread { address: bound[0].address, error })
    };
    let (runtime, slow_runtime) = (threads("dns-tcp")?, threads("dns-slow")?);
    let punts = Arc::new(Punts::new(slow, slow_runtime.handle().clone(), most_under_way));
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(ListenError::Random)?;
    let mut server = Server {
        addresses: bound.iter().map(|b| b.address).collect(),
        counters: Vec::new(),
        stopping: Arc::new(AtomicBool::new(false)),
        sockets: Vec::new(),
        threads: Vec::new(),
        listeners: Vec::new(),
        connections: Arc::new(Connections::new(limits)),
        defences: Arc::new(Defences::new(random, settings.rate_limit.table_size)),
        encrypted: None,
        punts,
        runtime: None,
        slow_runtime: Some(slow_runtime),
    };
    let processors = socket::processors(workers);
    for bound in bound {
        server.run(bound, &publisher, &runtime, &processors, answer.clone())?;
    }
    if let Some(bound) = encrypted {
        server.run_encrypted(bound, workers, idle, &publisher, &answer)?;
    }
    runtime.spawn(tcp::expire(server.connections.clone(), idle));
    server.runtime = Some(runtime);
    Ok(server)
}

/// As many connections as asked for, or as many as the process may have files open with a quarter left for everything else.
fn places(asked: usize) -> usize {
    let most = socket::open_files().and_then(|files| usize::try_from(files).ok()).map_or(usize::MAX, |files| files / 4 * 3).max(1);
    if asked > most {
        tracing::warn!(asked, granted = most, "dns.tcp_connections is more than the limit on open files allows (ulimit -n, LimitNOFILE)");
    }
    asked.clamp(1, most)
}

impl Server {
    /// The addresses listened on, in the order of the settings, with the ports that the kernel chose for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The counters of every worker.
    pub fn counters(&self) -> Vec<(WorkerLabels, Arc<Counters>)> {
        self.counters.clone()
    }

    /// Where DNS is answered that nobody else can read.
    pub fn encrypted_addresses(&self) -> EncryptedAddresses {
        self.encrypted.as_ref().map(|encrypted| encrypted.addresses().clone()).unwrap_or_default()
    }

    /// Reads certificate and key again. Who connects from now on sees the new certificate, and no connection ends. Nothing happens where there
    /// were no encrypted listeners at the start. It waits for the disk.
    ///
    /// # Errors
    /// With the file and the reason; then the certificate in force stays.
    pub fn renew_certificate(&self, settings: &TlsSettings) -> Result<(), CertificateError> {
        self.encrypted.as_ref().map_or(Ok(()), |encrypted| encrypted.renew(settings))
    }

    /// Until when the certificate in force is good, since the Unix epoch; `None` where there is none.
    pub fn certificate_expires(&self) -> Option<Duration> {
        self.encrypted.as_ref()?.certificate_expires()
    }

    /// How connections fare.
    pub fn connections(&self) -> ConnectionStats {
        self.connections.stats()
    }

    /// How queries fare that could not be answered at once.
    pub fn slow(&self) -> SlowStats {
        self.punts.stats()
    }

    /// Stops listening and waits for the UDP threads, which takes as long as one answer (up to 200 ms where the system is not Linux).
    pub fn stop(mut self) {
        self.halt();
    }

    /// Starts the workers of one address.
    fn run(
        &mut self,
        bound: Bound,
        publisher: &Arc<Publisher>,
        runtime: &Runtime,
        processors: &[usize],
        answer: impl Answer,
    ) -> Result<(), ListenError> {
        let (address, workers) = (bound.address, bound.udp.len());
        let beside_udp = Arc::new(self.aside(address, Transport::Udp, workers)?);
        for (number, datagrams) in bound.udp.into_iter().enumerate() {
            let worker = self.worker(address, Transport::Udp, number)?;
            let datagrams = Arc::new(datagrams);
            self.sockets.push(datagrams.clone());
            let (publisher, stopping, answer) = (publisher.clone(), self.stopping.clone(), answer.clone());
            let aside = beside_udp.clone();
            // The workers of another address have the same processors: one of each.
            let processor = processors.get(number).copied();
            let thread = std::thread::Builder::new()
                .name(format!("dns-udp-{}", self.threads.len())) // Linux keeps 15 octets
                .spawn(move || {
                    processor.into_iter().for_each(socket::pin);
                    udp::run(&datagrams, &publisher, worker, &aside, &stopping, &answer);
                })
                .map_err(|error| ListenError::Thread { address, error })?;
            self.threads.push(thread);
        }
        let served = Arc::new(self.served(address, Transport::Tcp, workers, publisher, answer)?);
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(bound.tcp)
        }
        .map_err(|error| ListenError::Bind { address, transport: "TCP", error })?;
        let listener = Arc::new(listener);
        self.listeners.push(listener.clone());
        let serve = move |stream, peer, place| tcp::serve(stream, peer, served.clone(), place);
        runtime.spawn(tcp::accept(listener, self.connections.clone(), serve));
        tracing::info!(%address, workers, "answering DNS over UDP and TCP");
        Ok(())
    }

    /// Starts everything that is encrypted.
    fn run_encrypted(
        &mut self,
        bound: encrypted::Bound,
        workers: usize,
        idle: Duration,
        publisher: &Arc<Publisher>,
        answer: &impl Answer,
    ) -> Result<(), ListenError> {
        let failed = |error| ListenError::Thread { address: self.addresses[0], error };
        let mut encrypted = Encrypted::new(&bound, workers, idle, self.connections.clone()).map_err(failed)?;
        for (address, listener) in bound.dot {
            let served = self.served(address, Transport::Tls, workers, publisher, answer.clone())?;
            encrypted.serve_tls(address, listener, served)?;
        }
        for (address, listener, socket) in bound.doh {
            let served = self.served(address, Transport::Https, workers, publisher, answer.clone())?;
            encrypted.serve_https(address, listener, socket, served, bound.doh_path.clone())?;
        }
        for (address, socket) in bound.doq {
            let served = self.served(address, Transport::Quic, workers, publisher, answer.clone())?;
            encrypted.serve_quic(address, socket, served)?;
        }
        self.encrypted = Some(encrypted);
        Ok(())
    }

    /// What the connections of one address share, with a worker for each thread.
    fn served<A: Answer>(
        &mut self,
        address: SocketAddr,
        transport: Transport,
        workers: usize,
        publisher: &Arc<Publisher>,
        answer: A,
    ) -> Result<tcp::Served<A>, ListenError> {
        let shards = (0..workers).map(|number| self.worker(address, transport, number)).collect::<Result<Vec<_>, _>>()?;
        let aside = self.aside(address, transport, workers)?;
        Ok(tcp::Served::new(transport, publisher.clone(), shards, aside, answer))
    }

    /// The way to the slow path, with a worker that counts behind so many others.
    fn aside(&mut self, address: SocketAddr, transport: Transport, number: usize) -> Result<udp::Aside, ListenError> {
        Ok(udp::Aside { punts: self.punts.clone(), worker: Arc::new(Mutex::new(self.worker(address, transport, number)?)) })
    }

    /// A worker with a seed of its own, its counters on the list.
    fn worker(&mut self, listen: SocketAddr, transport: Transport, worker: usize) -> Result<Worker, ListenError> {
        let counters = Arc::new(Counters::default());
        self.counters.push((WorkerLabels { listen, transport, worker }, counters.clone()));
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(ListenError::Random)?;
        Ok(Worker::beside(u64::from_ne_bytes(seed), counters, self.defences.clone()))
    }

    fn halt(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.connections.close_all();
        if let Some(mut encrypted) = self.encrypted.take() {
            encrypted.stop();
        }
        for runtime in [self.runtime.take(), self.slow_runtime.take()].into_iter().flatten() {
            // Waits for nothing, as whoever drops a server may stand on a runtime itself; its threads drop the tasks in their own time.
            runtime.shutdown_background();
        }
        for listener in self.listeners.drain(..) {
            // The port is free from now on, whoever still holds it (Linux: a socket shut down listens no more).
            let _ = socket2::SockRef::from(&*listener).shutdown(std::net::Shutdown::Both);
        }
        for socket in self.sockets.drain(..) {
            socket.wake();
        }
        for thread in self.threads.drain(..) {
            // A worker catches its panics; one that escapes has been printed and there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Milliseconds since the Unix epoch: what cookies and rate limits count in.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}

/// The sockets of one address.
struct Bound {
    address: SocketAddr,
    tcp: std::net::TcpListener,
    udp: Vec<Datagrams>,
}

impl Bound {
    /// Binds TCP, then every worker's UDP socket to the same port.
    ///
    /// TCP comes first because it is exclusive: SO_REUSEPORT lets a second server of the same user share the UDP port silently, each
    /// getting half of the queries, and lets the kernel give out a port 0 that such a server already has. A taken TCP port says so.
    fn new(address: SocketAddr, workers: usize, idle: Duration) -> Result<Bound, ListenError> {
        let mut tries = 0;
        loop {
            match Bound::attempt(address, workers, idle) {
                Err(ListenError::Bind { transport: "UDP", error, .. })
                    if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES =>
                {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    fn attempt(address: SocketAddr, workers: usize, idle: Duration) -> Result<Bound, ListenError> {
        let failed = |transport| move |error| ListenError::Bind { address, transport, error };
        let tcp = tcp::bind(address, idle).map_err(failed("TCP"))?;
        let address = tcp.local_addr().map_err(failed("TCP"))?;
        let udp = (0..workers).map(|_| Datagrams::bind(address)).collect::<Result<Vec<_>, _>>().map_err(failed("UDP"))?;
        Ok(Bound { address, tcp, udp })
    }
}

#[cfg(test)]
mod tests;
