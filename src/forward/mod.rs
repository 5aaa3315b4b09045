//! Shell (floor 5): names that are not ours, asked of upstreams for clients that may have that (`[forward]`).
//!
//! ```text
//!   Forward::answer ─▶ the name, or where our alias leads ─▶ local: what everybody knows ────────────────▶ reply
//!                                                         └▶ cache ─ fresh ──────────────────────────────▶ reply
//!                                                              │
//!                                                              ├─ stale ─▶ flight, for 1.8 s at most ─▶ reply, or the stale one
//!                                                              └─ nothing ▶ flight ─▶ reply, or SERVFAIL
//!   flight: one for all who ask the same ─▶ Group::ask ─▶ the quickest upstream, the next one, … ─▶ cache
//! ```
//! Replies pass through as the octets that came (`message`): the upstream's records, our header, question and OPT. The exchange with an upstream is
//! hickory-net's. hickory's own resolver and pool are not used: their cache goes by name and type alone, so that it would give one
//! client subnet (RFC 7871), or one who wants DNSSEC records, what is another's, and they make records of replies, which loses the
//! octets of what they do not know.
// A shell: it reads the clock.
#![allow(clippy::disallowed_methods)]

mod cache;
mod group;
mod local;
mod message;
mod question;
mod upstream;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::codec::code::extended;
use crate::model::{ForwardSettings, ForwardStats, Name, Upstream, UpstreamStats};
use cache::{Cache, Entry};
use group::Group;
use message::{Age, Own, Stored};
use question::{Asked, Question, Subnet};
use upstream::{Failure, Known};

/// Octets of replies that are kept.
const CACHE_OCTETS: usize = 64 << 20;
/// Questions that are asked of upstreams at once; each takes a file descriptor or two.
const MOST_FLIGHTS: usize = 2048;

/// How long things take.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// A client has its reply by then.
    deadline: Duration,
    /// Who can have a stale answer waits no longer for a fresh one (RFC 8767 §5: 1.8 s).
    stale_after: Duration,
    /// A datagram is sent again when nothing came for so long.
    again: Duration,
    /// Another upstream is asked after that at the earliest, and at the latest.
    second_least: Duration,
    second_most: Duration,
    /// The first probe of an upstream that is aside comes after that, and later ones that often at least.
    aside_first: Duration,
    aside_most: Duration,
    /// How long a probe waits.
    probe: Duration,
    /// How long a failure is told again without asking (RFC 9520 §3.2: 1 s at least), where an upstream declined, and where none replied.
    declined: u32,
    silent: u32,
}

const TIMING: Timing = Timing {
    deadline: Duration::from_millis(4_500),
    stale_after: Duration::from_millis(1_800),
    again: Duration::from_millis(800),
    second_least: Duration::from_millis(200),
    second_most: Duration::from_millis(1_000),
    aside_first: Duration::from_secs(1),
    aside_most: Duration::from_secs(30),
    probe: Duration::from_secs(2),
    declined: 5,
    silent: 1,
};

/// A query that is to be forwarded.
#[derive(Debug, Clone, Copy)]
pub struct ToForward<'q> {
    /// The client's message.
    pub query: &'q [u8],
    /// What is ours of the answer: aliases of ours, or nothing; with the options that every reply of ours to this query has.
    pub own: &'q [u8],
    /// How long the reply may be, in octets.
    pub limit: usize,
    /// The query's random number.
    pub draw: u64,
}

/// What comes of a question that is under way; `None` until it is known.
type Flight = watch::Receiver<Option<Arc<Entry>>>;

/// Asks upstreams, and keeps what they reply.
pub struct Forward {
    timing: Timing,
    routes: RwLock<Arc<Routes>>,
    cache: Cache,
    flights: Mutex<HashMap<(Question, Option<Subnet>), Flight>>,
    places: Arc<Semaphore>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    queries: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    local: AtomicU64,
    stale: AtomicU64,
    failed: AtomicU64,
    joined: AtomicU64,
    overloaded: AtomicU64,
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({:?})", self.stats())
    }
}

/// Who is asked for which names.
#[derive(Debug, Default)]
struct Routes {
    settings: ForwardSettings,
    default: Option<Arc<Group>>,
    /// By the apex in wire form.
    zones: HashMap<Box<[u8]>, Arc<Group>>,
    known: HashMap<Upstream, Arc<Known>>,
}

impl Routes {
    /// Those to ask about a name in wire form: of the zones it is in, the lowest one's.
    fn of(&self, name: &[u8]) -> Option<&Arc<Group>> {
        self.own(name).map(|(_, group)| group).or(self.default.as_ref())
    }

    /// Whether the file says who is asked about a name, and not only who is asked about all names.
    fn says_of(&self, name: &[u8]) -> bool {
        self.own(name).is_some_and(|(apex, _)| apex != [0])
    }

    /// The lowest of the zones that a name is in, and its upstreams.
    fn own<'n>(&self, name: &'n [u8]) -> Option<(&'n [u8], &Arc<Group>)> {
        let mut rest = name;
        while !self.zones.is_empty() {
            if let Some(group) = self.zones.get(rest) {
                return Some((rest, group));
            }
            let Some((length, behind)) = rest.split_first().filter(|(length, _)| **length != 0) else { break };
            rest = behind.get(usize::from(*length)..).unwrap_or_default();
        }
        None
    }
}

impl Forward {
    /// Forwards as `settings` say. Certificates of upstreams are checked against the system's roots.
    pub fn new(settings: &ForwardSettings) -> Forward {
        let forward = Forward::with(TIMING, CACHE_OCTETS, MOST_FLIGHTS);
        forward.set(settings);
        forward
    }

    fn with(timing: Timing, cache: usize, flights: usize) -> Forward {
        Forward {
            timing,
            routes: RwLock::default(),
            cache: Cache::new(cache),
            flights: Mutex::default(),
            places: Arc::new(Semaphore::new(flights)),
            counts: Counts::default(),
        }
    }

    /// Forwards as other settings say from now on. What is known of upstreams that stay is kept; of names, nothing where upstreams changed.
    pub fn set(&self, settings: &ForwardSettings) {
        self.set_trusting(settings, roots);
    }

    fn set_trusting(&self, settings: &ForwardSettings, roots: impl Fn() -> rustls::RootCertStore) {
        let old = self.routes();
        if old.settings.upstreams == settings.upstreams && old.settings.zones == settings.zones {
            return;
        }
        // Read where they are needed: they are files.
        let has_tls = settings.all().any(|upstream| matches!(upstream.transport, crate::model::UpstreamTransport::Tls(_)));
        let tls = match tls_config(if has_tls { roots() } else { rustls::RootCertStore::empty() }) {
            Ok(tls) => tls,
            Err(error) => return tracing::error!(%error, "TLS cannot be set up: names are forwarded as before"),
        };
        let mut routes = Routes { settings: settings.clone(), ..Routes::default() };
        for upstream in settings.all() {
            let known = old.known.get(upstream).cloned();
            let known = known.unwrap_or_else(|| Arc::new(Known::new(upstream.clone(), self.timing, tls.clone())));
            routes.known.insert(upstream.clone(), known);
        }
        let group = |upstreams: &[Upstream]| {
            let upstreams = upstreams.iter().filter_map(|upstream| routes.known.get(upstream).cloned()).collect();
            Arc::new(Group { upstreams })
        };
        let default = (!settings.upstreams.is_empty()).then(|| group(&settings.upstreams));
        let zones = settings.zones.iter().map(|(apex, upstreams): (&Name, _)| (apex.wire().into(), group(upstreams))).collect();
        (routes.default, routes.zones) = (default, zones);
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
        self.cache.clear();
    }

    fn routes(&self) -> Arc<Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers a query; `None` where it deserves no answer. It takes 4.5 s at most, on a tokio runtime.
    pub async fn answer(self: &Arc<Self>, query: ToForward<'_>) -> Option<Vec<u8>> {
        let own = Own::read(query.own)?;
        let Some(asked) = Asked::read(query.query) else { return Some(query.own.into()) };
        let asked = match own.leads_to() {
            Some(name) => asked.about(&name),
            None => asked,
        };
        let routes = self.routes();
        if let Some(stored) = local::answer(&asked.question).filter(|_| !routes.says_of(&asked.question.name)) {
            count(&self.counts.local);
            return Some(own.reply(&stored, Age::Seconds(0), &asked, query.limit));
        }
        // None of ours, and nobody to ask: what we say ourselves holds.
        let Some(group) = routes.of(&asked.question.name).cloned() else { return Some(query.own.into()) };
        count(&self.counts.queries);
        let (entry, age) = self.find(&Arc::new(asked.clone()), group, query.draw).await;
        if !entry.stored.is_answer() {
            count(&self.counts.failed);
        }
        Some(own.reply(&entry.stored, age, &asked, query.limit))
    }

    async fn find(self: &Arc<Self>, asked: &Arc<Asked>, group: Arc<Group>, draw: u64) -> (Arc<Entry>, Age) {
        let now = Instant::now();
        let known = self.cache.get(&asked.question, asked.subnet, now);
        if let Some(entry) = &known {
            if let Some(age) = entry.fresh(now) {
                count(&self.counts.hits);
                return (entry.clone(), age);
            }
            count(&self.counts.misses);
            if entry.rests(now) {
                count(&self.counts.stale);
                return (entry.clone(), Age::Stale);
            }
        }
        if known.is_none() {
            count(&self.counts.misses);
        }
        let stale = known;
        let patience = if stale.is_some() { self.timing.stale_after } else { self.timing.deadline + self.timing.deadline / 20 };
        let flight = self.flight(asked, group, draw);
        let too_many = flight.is_none();
        let found = match flight {
            Some(mut flight) => timeout(patience, async move {
                // It has ended without a word where it panicked.
                flight.wait_for(Option::is_some).await.ok().and_then(|entry| entry.clone())
            })
            .await
            .ok()
            .flatten(),
            None => {
                count(&self.counts.overloaded);
                None
            }
        };
        match (found, stale) {
            (Some(entry), stale) => match stale.filter(|_| !entry.stored.is_answer()) {
                None => (entry, Age::Seconds(0)),
                // RFC 8767 §4: what was true is better than nothing.
                Some(stale) => {
                    count(&self.counts.stale);
                    (stale, Age::Stale)
                }
            },
            (None, Some(stale)) => {
                count(&self.counts.stale);
                (stale, Age::Stale)
            }
            (None, None) => {
                let (code, text) = match too_many {
                    true => (extended::OTHER, "too many names are looked up at once"),
                    false => (extended::UNREACHABLE, "no upstream replied in time"),
                };
                let stored = Stored::failure(&asked.question, code, text, 0);
                (Arc::new(Entry::new(stored, now)), Age::Seconds(0))
            }
        }
    }

    /// Asks upstreams, or joins those who ask the same; `None` where too much is asked at once. Who asked first may go: the others, and the cache,
    /// get the reply all the same.
    fn flight(self: &Arc<Self>, asked: &Arc<Asked>, group: Arc<Group>, draw: u64) -> Option<watch::Receiver<Option<Arc<Entry>>>> {
        let key = (asked.question.clone(), asked.subnet);
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key) {
            count(&self.counts.joined);
            return Some(flight.clone());
        }
        let place = self.places.clone().try_acquire_owned().ok()?;
        let (landed, flight) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        drop(flights);
        let (forward, asked) = (self.clone(), asked.clone());
        let landing = Landing { forward: self.clone(), key };
        tokio::spawn(async move {
            let result = group.ask(&asked, forward.timing, draw).await;
            let entry = forward.take_in(&asked, result);
            // Before it leaves the list: who comes then finds it in the cache.
            landed.send_replace(Some(entry));
            drop((landing, place));
        });
        Some(flight)
    }

    /// Keeps what came of a question.
    fn take_in(&self, asked: &Asked, result: Result<Stored, Failure>) -> Arc<Entry> {
        let now = Instant::now();
        let question = &asked.question;
        let (stored, pause) = match result {
            Ok(stored) => {
                let entry = Arc::new(Entry::new(stored, now));
                // What lives for no time, nobody gets a second time, but who asked meanwhile.
                if entry.stored.ttl > 0 {
                    self.cache.put(question, asked.subnet, &entry);
                }
                return entry;
            }
            Err(Failure::Declined(mut stored)) => {
                stored.ttl = self.timing.declined;
                (*stored, self.timing.declined)
            }
            Err(Failure::Silent) => {
                let text = "no upstream replied in time";
                (Stored::failure(question, extended::UNREACHABLE, text, self.timing.silent), self.timing.silent)
            }
            Err(Failure::Network(_) | Failure::Unusable(_)) => {
                let text = "the exchange with the upstreams failed";
                (Stored::failure(question, extended::NETWORK, text, self.timing.silent), self.timing.silent)
            }
        };
        // RFC 9520 §3.2: a failure is kept for a moment. One never takes the place of an answer, be that stale.
        let entry = Arc::new(Entry::new(stored, now));
        match self.cache.get(question, asked.subnet, now).filter(|known| known.stored.is_answer()) {
            Some(known) => known.rest(now, Duration::from_secs(pause.into())),
            None => self.cache.put(question, asked.subnet, &entry),
        }
        entry
    }

    /// How it fares.
    pub fn stats(&self) -> ForwardStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let routes = self.routes();
        let mut upstreams: Vec<UpstreamStats> = Vec::new();
        for upstream in routes.settings.all() {
            let name = upstream.to_string();
            if let Some(known) = routes.known.get(upstream).filter(|_| upstreams.iter().all(|other| other.upstream != name)) {
                upstreams.push(UpstreamStats {
                    upstream: name,
                    queries: read(&known.queries),
                    failures: read(&known.failures),
                    round_trip_us: known.round_trip().as_micros() as u64,
                    is_aside: known.is_aside(),
                });
            }
        }
        ForwardStats {
            queries: read(&self.counts.queries),
            hits: read(&self.counts.hits),
            misses: read(&self.counts.misses),
            local: read(&self.counts.local),
            stale: read(&self.counts.stale),
            failed: read(&self.counts.failed),
            joined: read(&self.counts.joined),
            overloaded: read(&self.counts.overloaded),
            kept: self.cache.len(),
            kept_octets: self.cache.octets(),
            upstreams,
        }
    }
}

/// Takes a flight off the list when it is over, however it ended.
struct Landing {
    forward: Arc<Forward>,
    key: (Question, Option<Subnet>),
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.forward.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The certificates that the system trusts.
fn roots() -> rustls::RootCertStore {
    let mut store = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "certificates of the system cannot be read");
    }
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::error!("the system trusts no certificates: no upstream can be asked over TLS");
    }
    store
}

fn tls_config(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;
