//! Transfers at the roof: versions of zones as they come, who may have them, and who is told.
//!
//! ```text
//!   snapshot published ─▶ refresh ─▶ version, journal ─▶ NOTIFY
//!   Punt::Transfer ─▶ who asks? ─▶ the latest version ─▶ message after message
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::UdpSocket;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::JoinHandle;

use super::journals::Journals;
use super::serials::KeptSerials;
use crate::codec::code::{extended, rcode};
use crate::control::Control;
use crate::model::{Counters, Generation, Name, ServicesInTransfer, Settings, TransferSettings, Zone};
use crate::server::{Punted, Replies};
use crate::snapshot::{CompiledZone, Snapshot};
use crate::transfer::{
    self, Asked, Difference, Extent, Journal, Notifier, Print, Records, Render, Stream, Told, TooMany, Version, is_newer, is_rendered,
    permits, refusal,
};
use crate::tsig::{Keys, Signer};
use crate::wire::{self, Outcome, Query, Transport, Worker};

/// Transfers that are under way at once.
const MOST_TRANSFERS: usize = 10;
/// How long a client may take for one message, which has up to 64 KiB.
const SLOWEST: Duration = Duration::from_secs(30);
/// How often what is served is looked at for changes.
const LOOK: Duration = Duration::from_millis(500);
/// What is rendered is rendered no more often than that it takes this part of the time: one of so many.
const RENDER_SHARE: u32 = 20;

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
        let loaded = load(zones).await;
        if loaded.is_err() {
            serials.take_back(before);
        }
        loaded
    }

    /// The keys that messages are signed with.
    pub fn keys(&self) -> Keys {
        self.lock().rules.keys.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever panicked, each part of the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request for a transfer. `query` is without the TSIG that `signer` goes on from.
    pub async fn answer(&self, query: &Punted, signer: Option<Signer>, replies: &mut Replies) {
        let mut signer = signer;
        let refused = match self.begin(query, signer.as_ref()).await {
            Err(refused) => refused,
            Ok((asked, version, journal)) if !query.transport.is_stream() => {
                let payload = self.lock().rules.settings.dns.udp_payload;
                let reply = Stream::datagram(&asked, &version, &journal, signer.as_ref(), payload, now());
                if let Some(reply) = reply {
                    _ = replies.send(reply).await;
                    count(&self.counts.sent);
                }
                return;
            }
            Ok((asked, version, journal)) => {
                let Ok(_place) = self.places.try_acquire() else {
                    count(&self.counts.refused);
                    let refused = Refused(rcode::REFUSED, extended::OTHER, "too many transfers are under way");
                    return refused.send(query, signer, replies).await;
                };
                let mut stream = Stream::new(asked, &version, &journal, signer.clone());
                drop(journal);
                let under_way = UnderWay(&self.counts);
                loop {
                    let message = match stream.next(now()) {
                        None => return under_way.conclude(),
                        Some(Ok(message)) => message,
                        Some(Err(error)) => {
                            tracing::error!(%error, peer = %query.peer, "a transfer ended early");
                            signer = None;
                            break Refused(rcode::SERVFAIL, extended::OTHER, "a record does not fit in a message");
                        }
                    };
                    // Who reads nothing holds a place that others need.
                    match tokio::time::timeout(SLOWEST, replies.send(message)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return,
                        Err(_) => return tracing::warn!(peer = %query.peer, "a transfer ended early: its client does not read"),
                    }
                }
            }
        };
        count(&self.counts.refused);
        refused.send(query, signer, replies).await;
    }

    /// What is sent, if it may be.
    async fn begin(&self, query: &Punted, signer: Option<&Signer>) -> Result<(Asked, Arc<Version>, Journal), Refused> {
        let asked = Asked::read(&query.query).map_err(|fault| Refused(rcode::FORMERR, extended::OTHER, fault.reason()))?;
        let rules = self.lock().rules.clone();
        let snapshot = self.control.publisher().load_full();
        // RFC 5936 §2.2.1: NOTAUTH for what is no zone of ours.
        let Some(zone) = snapshot.zone_at(asked.apex.wire()) else {
            return Err(Refused(rcode::NOTAUTH, extended::NOT_AUTHORITATIVE, "the name is no zone of this server"));
        };
        let Some(settings) = rules.of(&asked.apex) else {
            return Err(Refused(rcode::REFUSED, extended::PROHIBITED, "the zone is not transferred"));
        };
        if !permits(settings, query.peer.ip(), signer.map(|signer| signer.key().name())) {
            return Err(Refused(rcode::REFUSED, extended::PROHIBITED, "the zone is not transferred to this client"));
        }
        if snapshot.is_expired(zone) {
            // RFC 1034 §4.3.5: what has expired is nobody's data, and no secondary's either.
            let text = "the zone has expired: none of its primaries has answered for long";
            return Err(Refused(rcode::SERVFAIL, extended::INVALID_DATA, text));
        }
        if matches!(query.transport, Transport::Https | Transport::Quic) {
            // A request over HTTP has one response (RFC 8484 §4.2), and so far a stream of QUIC has one as well: a zone would be cut without a word.
            return Err(Refused(rcode::REFUSED, extended::NOT_SUPPORTED, "zones are transferred over TCP and TLS"));
        }
        if settings.tls && query.transport != Transport::Tls {
            return Err(Refused(rcode::REFUSED, extended::PROHIBITED, "the zone is transferred over TLS alone"));
        }
        if query.transport == Transport::Udp && asked.extent == Extent::Whole {
            // RFC 5936 §4.2.
            return Err(Refused(rcode::REFUSED, extended::NOT_SUPPORTED, "AXFR is for streams"));
        }
        let rendered = is_rendered(zone, settings.services);
        let is_latest = |kept: &Kept| match rendered {
            true => kept.version.serial() == zone.serial(),
            false => Arc::ptr_eq(kept.version.zone(), zone),
        };
        let latest = self.lock().zones.get(&asked.apex).is_some_and(is_latest);
        if !latest {
            self.refresh(&asked.apex).await;
        }
        let state = self.lock();
        let Some(kept) = state.zones.get(&asked.apex) else {
            return Err(Refused(rcode::SERVFAIL, extended::OTHER, "the zone is too large to be transferred as it is rendered"));
        };
        Ok((asked, kept.version.clone(), kept.journal.clone()))
    }

    /// Makes the latest version of a zone, if it is not there.
    async fn refresh(&self, apex: &Name) {
        let _one = self.refreshing.lock().await;
        let rules = self.lock().rules.clone();
        let snapshot = self.control.publisher().load_full();
        let (Some(settings), Some(zone)) = (rules.of(apex), snapshot.zone_at(apex.wire())) else {
            self.lock().zones.remove(apex);
            return;
        };
        let before = self.lock().zones.get(apex).map(|kept| (kept.version.clone(), kept.generation, kept.print));
        let (mut zone, generation, mut rendered) = (zone.clone(), snapshot.generation, Arc::<Records>::default());
        if is_rendered(&zone, settings.services) {
            if before.as_ref().is_some_and(|(_, made, _)| *made == generation) {
                return;
            }
            let (services, own, of) = (settings.services, self.own, zone.clone());
            let render = tokio::task::spawn_blocking(move || rendering(&snapshot, &of, services, own)).await;
            let Render { records, hash } = match render {
                Ok(Ok(render)) => render,
                Ok(Err(error)) => {
                    tracing::error!(zone = %apex, "{error}: it is not transferred");
                    self.lock().zones.remove(apex);
                    return;
                }
                // It has been printed.
                Err(_) => return,
            };
            rendered = match &before {
                Some((version, ..)) if **version.rendered() == records => version.rendered().clone(),
                _ => Arc::new(records),
            };
            let mut serials = self.serials.lock().await;
            let raised = serials.serials.render(apex, hash, zone.serial());
            if let Some(write) = serials.writing() {
                let is_written = tokio::task::spawn_blocking(write).await.unwrap_or(false);
                serials.wrote(is_written);
            }
            if let Some(serial) = raised {
                self.control.raise_serial(apex, serial).await;
                let snapshot = self.control.publisher().load_full();
                let Some(raised) = snapshot.zone_at(apex.wire()) else { return };
                zone = raised.clone();
            }
        } else if before.as_ref().is_some_and(|(version, ..)| Arc::ptr_eq(version.zone(), &zone)) {
            return;
        }
        let version = Arc::new(Version::new(zone, rendered));
        let known = before.and_then(|(before, _, print)| Some((before, print, self.lock().zones.get(apex)?.journal.clone())));
        let (journals, of, new) = (self.journals.clone(), apex.clone(), version.clone());
        let made = tokio::task::spawn_blocking(move || {
            let Some((before, print, mut journal)) = known else {
                let print = new.print();
                return (journals.restore(&of, &new, print), print, true);
            };
            let difference = Difference::between(&before, &new);
            if difference.from == difference.to && difference.is_empty() {
                return (journal, print, false);
            }
            let (from, to) = difference.serials();
            let print = difference.print(print);
            match is_newer(to, from) {
                true => {
                    journal.push(difference);
                    journals.append(&of, &journal, print);
                }
                // Who has the version before does not follow.
                false => {
                    journal.clear();
                    journals.forget(&of);
                }
            }
            (journal, print, true)
        });
        // It has been printed where it failed.
        let Ok((journal, print, changed)) = made.await else { return };
        let mut state = self.lock();
        if changed {
            tracing::debug!(zone = %apex, serial = version.serial(), "a version to transfer");
            state.notifier.changed(apex, &settings.notify, version.soa(), now_ms());
        }
        state.zones.insert(apex.clone(), Kept { version, journal, generation, print });
    }

    /// Looks for changes and tells others, until it is dropped.
    pub fn start(self: &Arc<Self>) -> JoinHandle<()> {
        let transfers = self.clone();
        tokio::spawn(async move {
            let (v4, v6) = (bound(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).await, bound(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).await);
            let (mut seen, mut next_look) = (None, Instant::now());
            loop {
                let snapshot = transfers.control.publisher().load_full();
                let apexes: Vec<Name> = {
                    let rules = transfers.lock().rules.clone();
                    snapshot.zones().map(|zone| Name::from_wire(zone.apex())).filter(|apex| rules.of(apex).is_some()).collect()
                };
                if next_look <= Instant::now() && seen != Some((snapshot.generation, apexes.len())) {
                    seen = Some((snapshot.generation, apexes.len()));
                    drop(snapshot);
                    let began = Instant::now();
                    for apex in &apexes {
                        transfers.refresh(apex).await;
                    }
                    transfers.forget_but(&apexes);
                    next_look = Instant::now() + began.elapsed() * RENDER_SHARE;
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

    /// Forgets zones that are served no more.
    fn forget_but(&self, apexes: &[Name]) {
        let served: BTreeSet<&Name> = apexes.iter().collect();
        let mut state = self.lock();
        state.zones.retain(|apex, _| served.contains(apex));
        state.notifier.keep(|apex, _| served.contains(apex));
    }

    /// Sends what is due.
    async fn tell(&self, v4: &Option<UdpSocket>, v6: &Option<UdpSocket>) {
        let (messages, told) = {
            let mut state = self.lock();
            let keys = state.rules.keys.clone();
            state.notifier.poll(now_ms(), &keys, &mut || getrandom::u32().unwrap_or_default() as u16)
        };
        told.into_iter().for_each(|told| self.note(told));
        for (to, message) in messages {
            let socket = if to.is_ipv4() { v4 } else { v6 };
            if let Some(socket) = socket {
                // Lost as any datagram: it is sent again.
                _ = socket.send_to(&message, to).await;
            }
        }
    }

    /// Waits for a reply to a NOTIFY.
    async fn hear(&self, socket: &Option<UdpSocket>) {
        let Some(socket) = socket else { return std::future::pending().await };
        let mut message = [0; 4096];
        // An error speaks of a datagram that was sent before.
        if let Ok((length, from)) = socket.recv_from(&mut message).await {
            let told = self.lock().notifier.received(from, &message[..length], now_ms());
            told.into_iter().for_each(|told| self.note(told));
        }
    }

    fn note(&self, told: Told) {
        match told {
            Told::Acknowledged { .. } => count(&self.counts.told),
            Told::Refused { .. } | Told::GivenUp { .. } => count(&self.counts.not_told),
        }
        log(told);
    }
}

/// A transfer, which was broken off unless it says that it is sent.
struct UnderWay<'c>(&'c Counts);

impl UnderWay<'_> {
    fn conclude(self) {
        count(&self.0.sent);
        std::mem::forget(self);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        count(&self.0.broken_off);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Why there is no transfer: RCODE, extended error and text.
struct Refused(u16, u16, &'static str);

impl Refused {
    async fn send(self, query: &Punted, signer: Option<Signer>, replies: &mut Replies) {
        let Some(mut reply) = refusal(&query.query, self.0, self.1, self.2) else { return };
        if let Some(mut signer) = signer
            && signer.sign(&mut reply, now()).is_err()
        {
            return;
        }
        // Who has gone needs no reply.
        _ = replies.send(reply).await;
    }
}

/// Renders a zone as this server itself is answered.
fn rendering(snapshot: &Snapshot, zone: &CompiledZone, services: ServicesInTransfer, own: SocketAddr) -> Result<Render, TooMany> {
    // One that nobody counts, and that always draws the same.
    let mut worker = Worker::new(0, Arc::new(Counters::default()));
    let mut reply = vec![0; usize::from(u16::MAX)];
    transfer::render(snapshot, zone, services, &mut |bytes| {
        let query = Query { bytes, peer: own, transport: Transport::Tcp, now_ms: 0 };
        match wire::answer_again(snapshot, &mut worker, &query, 0, &mut reply) {
            Outcome::Reply(length) => reply[..length].to_vec(),
            Outcome::Drop | Outcome::Punt(_) => Vec::new(),
        }
    })
}

fn log(told: Told) {
    match told {
        Told::Acknowledged { apex, peer } => tracing::debug!(zone = %apex, %peer, "the secondary was told of the change"),
        Told::Refused { apex, peer, rcode: code } => {
            tracing::warn!(zone = %apex, %peer, rcode = rcode::name(code), "the secondary refuses to be told of changes");
        }
        Told::GivenUp { apex, peer } => tracing::warn!(zone = %apex, %peer, "the secondary does not answer when it is told of changes"),
    }
}

async fn bound(address: IpAddr) -> Option<UdpSocket> {
    UdpSocket::bind((address, 0)).await.map_err(|error| tracing::debug!(%error, %address, "no NOTIFY is sent from here")).ok()
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    now_ms() / 1000
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
