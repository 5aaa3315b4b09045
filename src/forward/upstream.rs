//! One upstream: how it is asked, how quickly it replies, and whether it does.
//!
//! ```text
//!                          a reply of any kind
//!            ┌──────────────────────┬──────────────────────────┐
//!            ▼                      │                          │
//!         in use ── a failure ──▶ in use, probed ── FAILURES in a row ──▶ aside, probed
//! ```
//! A failure is a reply that does not come in time, or that is of no use. Probes come after 1, 2, 4 … 30 s, until one is answered. Who is aside is
//! asked nothing else while another is not.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::{RuntimeProvider, Spawn, TokioRuntimeProvider};
use hickory_resolver::net::tcp::TcpClientStream;
use hickory_resolver::net::tls::tls_client_connect;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, DnsMultiplexer, DnsRequestSender, FirstAnswer};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Query};
use hickory_resolver::proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_resolver::proto::rr::{Name, RecordType};
use rustls::pki_types::ServerName;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::Timing;
use super::message::{Stored, Unusable};
use super::question::{Asked, Origin, Question};
use crate::codec::code::{rcode, rtype};
use crate::model::{Upstream, UpstreamTransport};

/// Failures in a row after which an upstream is put aside.
const FAILURES: u32 = 3;
/// Queries under way on one connection to an upstream.
const MOST_ON_A_CONNECTION: usize = 1000;
/// What we take over UDP (RFC 9715 §3.1).
const PAYLOAD: u16 = 1232;

/// Why an upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It said so itself: SERVFAIL, REFUSED and the like.
    #[error("it replied with RCODE {}", .0.rcode)]
    Declined(Box<Stored>),
    /// It replied with something that is of no use.
    #[error("its reply is of no use: {0}")]
    Unusable(#[from] Unusable),
    /// Nothing came.
    #[error("it did not reply in time")]
    Silent,
    /// It cannot be reached, or there is no trusting it.
    #[error("{0}")]
    Network(String),
}

/// An upstream and what is known of it.
pub(super) struct Known {
    pub(super) upstream: Upstream,
    timing: Timing,
    tls: rustls::ClientConfig,
    /// Smoothed round trip in microseconds.
    round_trip: AtomicU32,
    failed_in_a_row: AtomicU32,
    is_aside: AtomicBool,
    is_probed: AtomicBool,
    /// It gives names back in another case than they were sent in: 0x20 tells nothing.
    folds_case: AtomicBool,
    pub(super) queries: AtomicU64,
    pub(super) failures: AtomicU64,
    /// What its connections run on: they end with it.
    provider: TokioRuntimeProvider,
    /// The connection to it, over which many ask at once; with its number.
    link: Mutex<Option<(u64, DnsExchange<TokioRuntimeProvider>)>>,
    links: AtomicU64,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Known({})", self.upstream)
    }
}

impl Known {
    pub(super) fn new(upstream: Upstream, timing: Timing, tls: rustls::ClientConfig) -> Known {
        Known {
            upstream,
            timing,
            tls,
            // Not yet asked: as good as a near one, so that it is asked.
            round_trip: AtomicU32::new(1_000),
            failed_in_a_row: AtomicU32::new(0),
            is_aside: AtomicBool::new(false),
            is_probed: AtomicBool::new(false),
            folds_case: AtomicBool::new(false),
            queries: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            provider: TokioRuntimeProvider::new(),
            link: Mutex::default(),
            links: AtomicU64::new(0),
        }
    }

    /// Whether it is left alone until a probe finds it well.
    pub(super) fn is_aside(&self) -> bool {
        self.is_aside.load(Ordering::Relaxed)
    }

    /// How long it takes to reply, as far as is known.
    pub(super) fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip.load(Ordering::Relaxed).into())
    }

    /// Asks it, for at most `within`.
    pub(super) async fn ask(self: Arc<Self>, asked: Arc<Asked>, within: Duration) -> Result<Stored, Failure> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let result = timeout(within, self.exchange(&asked, within)).await.unwrap_or(Err(Failure::Silent));
        match &result {
            Ok(_) | Err(Failure::Declined(_)) => self.replied(begin.elapsed()),
            Err(failure) => {
                tracing::debug!(upstream = %self.upstream, %failure, "an upstream failed");
                self.failed();
            }
        }
        result
    }

    /// How long it has before another is asked as well: several of its usual round trips.
    pub(super) fn patience(&self) -> Duration {
        if self.is_aside() {
            return self.timing.second_least;
        }
        (self.round_trip() * 4).clamp(self.timing.second_least, self.timing.second_most)
    }

    /// Takes note that another was quicker: it was asked so long ago, and has said nothing yet.
    pub(super) fn outrun(self: &Arc<Self>, elapsed: Duration) {
        if elapsed >= self.patience() {
            self.failed();
        }
        let so_far = u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX);
        self.round_trip.fetch_max(so_far, Ordering::Relaxed);
    }

    fn replied(&self, elapsed: Duration) {
        let sample = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX).min(60_000_000);
        let before = i64::from(self.round_trip.load(Ordering::Relaxed));
        // What was measured while it failed says nothing now.
        let is_anew = self.failed_in_a_row.swap(0, Ordering::Relaxed) > 0 || self.queries.load(Ordering::Relaxed) <= 1;
        let after = if is_anew { sample } else { before + (sample - before) / 8 };
        self.round_trip.store(after.max(1) as u32, Ordering::Relaxed);
        if self.is_aside.swap(false, Ordering::Relaxed) {
            tracing::info!(upstream = %self.upstream, "the upstream replies again");
        }
    }

    fn failed(self: &Arc<Self>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.fails();
        if !self.is_probed.swap(true, Ordering::Relaxed) {
            tokio::spawn(probe(Arc::downgrade(self), self.timing));
        }
    }

    /// Counts one more in a row.
    fn fails(&self) {
        let in_a_row = self.failed_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if in_a_row >= FAILURES && !self.is_aside.swap(true, Ordering::Relaxed) {
            tracing::warn!(upstream = %self.upstream, "the upstream does not reply; it is put aside until a probe finds it well");
        }
    }

    async fn exchange(&self, asked: &Asked, within: Duration) -> Result<Stored, Failure> {
        let first = self.once(asked, within, true).await;
        match first {
            // RFC 6891 §7: a server that does not know EDNS says so in one of these ways.
            Err(Failure::Declined(reply)) if matches!(reply.rcode, rcode::FORMERR | rcode::NOTIMP) => self.once(asked, within, false).await,
            result => result,
        }
    }

    async fn once(&self, asked: &Asked, within: Duration, edns: bool) -> Result<Stored, Failure> {
        let octets = match &self.upstream.transport {
            UpstreamTransport::Udp => {
                let randomize = !self.folds_case.load(Ordering::Relaxed);
                match self.datagram(request(asked, edns, randomize)?, within).await {
                    Ok(octets) if !is_truncated(&octets) => octets,
                    // RFC 7766 §5: what does not fit a datagram is to be had over TCP.
                    Ok(_) => self.stream(request(asked, edns, false)?).await?,
                    Err(NetError::QueryCaseMismatch) => {
                        self.folds_case.store(true, Ordering::Relaxed);
                        self.stream(request(asked, edns, false)?).await?
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            UpstreamTransport::Tcp | UpstreamTransport::Tls(_) => self.stream(request(asked, edns, false)?).await?,
        };
        let stored = Stored::read(&octets, &asked.question)?;
        if stored.is_answer() { Ok(stored) } else { Err(Failure::Declined(Box::new(stored))) }
    }

    /// A datagram from a port of its own with an id of its own (RFC 5452 §9.2), sent again while nothing comes.
    async fn datagram(&self, request: DnsRequest, within: Duration) -> Result<Vec<u8>, NetError> {
        let floor = self.timing.again.as_millis() as u64;
        let mut stream = UdpClientStream::builder(self.upstream.address, self.provider.clone())
            .with_timeout(Some(within))
            .with_retry_interval_floor(floor)
            .build();
        let reply = stream.send_message(request).first_answer().await?;
        Ok(reply.into_buffer())
    }

    /// Over the connection to it, or a new one where that was closed meanwhile.
    async fn stream(&self, request: DnsRequest) -> Result<Vec<u8>, Failure> {
        let mut was_there = true;
        loop {
            let (number, exchange) = {
                // Those who wait for the same connection wait here, for as long as their time is.
                let mut link = self.link.lock().await;
                match &*link {
                    Some((number, exchange)) => (*number, exchange.clone()),
                    None => {
                        was_there = false;
                        let number = self.links.fetch_add(1, Ordering::Relaxed);
                        let exchange = self.connect().await?;
                        *link = Some((number, exchange.clone()));
                        (number, exchange)
                    }
                }
            };
            match exchange.send(request.clone()).first_answer().await {
                Ok(reply) => return Ok(reply.into_buffer()),
                Err(error) => {
                    let mut link = self.link.lock().await;
                    if link.as_ref().is_some_and(|(current, _)| *current == number) {
                        *link = None;
                    }
                    // A server may close an idle connection at any time (RFC 7766 §6.2.3).
                    if !std::mem::replace(&mut was_there, false) {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<DnsExchange<TokioRuntimeProvider>, Failure> {
        let (address, provider) = (self.upstream.address, self.provider.clone());
        let (patience, most) = (self.timing.deadline, Some(MOST_ON_A_CONNECTION));
        let exchange = match &self.upstream.transport {
            UpstreamTransport::Tls(name) => {
                let server = ServerName::try_from(name.clone()).map_err(|error| Failure::Network(error.to_string()))?;
                // hickory-net's own way there says no name (SNI), and many servers have one certificate for each.
                let (connecting, sender) = tls_client_connect(address, server, Arc::new(self.tls.clone()), provider.clone());
                let stream = timeout(patience, connecting).await.map_err(|_| Failure::Silent)??;
                let exchange = DnsMultiplexer::new(stream, sender).with_timeout(patience).with_max_active_requests(MOST_ON_A_CONNECTION);
                let (exchange, background) = DnsExchange::from_stream(exchange);
                provider.create_handle().spawn_bg(background);
                Ok(exchange)
            }
            _ => TcpClientStream::exchange(address, None, patience, most, provider).await,
        };
        exchange.map_err(Failure::from)
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Failure {
        match error {
            NetError::Timeout => Failure::Silent,
            error => Failure::Network(error.to_string()),
        }
    }
}

/// Asks an upstream that failed until it replies, ever more rarely.
async fn probe(known: Weak<Known>, timing: Timing) {
    let mut pause = timing.aside_first;
    // What every resolver knows, and no authoritative server minds.
    let question = Question { name: [0].into(), qtype: rtype::NS, dnssec_ok: false, checking_disabled: false, origin: Origin::Unsaid };
    let asked = Arc::new(Asked { question, subnet: None, wants_authentic: false });
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(timing.aside_most);
        // Where it is configured no more, nobody asks.
        let Some(known) = known.upgrade() else { return };
        let begin = Instant::now();
        let well = known.failed_in_a_row.load(Ordering::Relaxed) == 0
            || match timeout(timing.probe, known.exchange(&asked, timing.probe)).await {
                Ok(Ok(_) | Err(Failure::Declined(_))) => {
                    known.replied(begin.elapsed());
                    true
                }
                _ => {
                    known.fails();
                    false
                }
            };
        if well {
            known.is_probed.store(false, Ordering::Relaxed);
            return;
        }
    }
}

/// The query to an upstream: the client's question, DO, CD and subnet; nothing else of what it sent.
fn request(asked: &Asked, edns: bool, case_randomization: bool) -> Result<DnsRequest, Failure> {
    let Question { name, qtype, dnssec_ok, checking_disabled, origin } = &asked.question;
    let labels = labels(name);
    let name = Name::from_labels(labels).map_err(|error| Failure::Network(error.to_string()))?;
    let mut options = DnsRequestOptions::default();
    (options.use_edns, options.edns_payload_len, options.edns_set_dnssec_ok) = (edns, PAYLOAD, *dnssec_ok);
    (options.recursion_desired, options.case_randomization) = (true, case_randomization);
    let mut request = DnsRequest::from_query(Query::query(name, RecordType::from(*qtype)), options);
    // RFC 6840 §5.7: we understand AD. Who among our clients is told is another matter.
    request.metadata.authentic_data = true;
    request.metadata.checking_disabled = *checking_disabled;
    if let Some(edns) = request.edns.as_mut() {
        let subnet = match (origin, asked.subnet) {
            (_, Some(subnet)) => Some(ClientSubnet::new(subnet.address, subnet.bits, 0)),
            // RFC 7871 §7.1.2: who wants nothing said of its address means upstreams too.
            (Origin::Withheld, None) => Some(ClientSubnet::new([0, 0, 0, 0].into(), 0, 0)),
            _ => None,
        };
        subnet.into_iter().for_each(|subnet| edns.options_mut().insert(EdnsOption::Subnet(subnet)));
    }
    Ok(request)
}

/// The labels of a name in wire form.
fn labels(mut wire: &[u8]) -> Vec<&[u8]> {
    let mut labels = Vec::new();
    while let Some((length, rest)) = wire.split_first() {
        let (label, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        if label.is_empty() {
            break;
        }
        labels.push(label);
        wire = behind;
    }
    labels
}

fn is_truncated(message: &[u8]) -> bool {
    crate::codec::Header::parse(message).is_some_and(|header| header.flags & crate::codec::Header::TC != 0)
}
