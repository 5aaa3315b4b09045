//! Signing at the roof: where the private keys meet the answers that need them.
//!
//! ```text
//!   Punt::Unsigned ─▶ what is missing (wire::answer_again) ─▶ Keyring::sign ─▶ Signatures ─▶ the same answer again, whole
//!   a publication  ─▶ what was asked is asked again, of the new snapshot, where it concerns what changed, with every draw; ┐ dns-sign,
//!                     and services that nobody asked for yet: what that needs is signed before anybody asks              │ at a tenth
//!   every minute   ─▶ what grows old is signed anew where it is asked for                                                 ┘ of a core
//! ```

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::codec::code::{CLASS_IN, rtype};
use crate::control::Clock;
use crate::model::{Counters, Timestamp};
use crate::routing::ServiceId;
use crate::sign::Keyring;
use crate::snapshot::{CompiledService, CompiledZone, Missing, Publisher, Sample, Shelf, Signatures, Snapshot};
use crate::wire::{self, Outcome, Punt, Query, Transport, Worker};

/// How often it is looked whether any zone is signed, whether something grows old, and whether it is time to stop.
const LOOK: Duration = Duration::from_millis(500);
/// The part of a core that signing ahead may take: one of so many.
const SHARE: f64 = 10.0;
/// What it may take at once after a time of rest.
const BURST: Duration = Duration::from_millis(250);
/// How often it is looked for signatures that grow old.
const REFRESH_MS: u64 = 60_000;
/// Most queries that are asked again when the world changed, and most signatures that are made at once.
const MOST_AHEAD: usize = 8192;
/// Draws that are tried for a question, spread evenly: of a service with so many instances alike, each subset comes up that an answer can have.
const DRAWS: u64 = 64;
/// Most answers that are tried at once.
const MOST_TRIED: usize = 65_536;
/// Most services that are signed ahead before anybody asked, of one publication: more than that are loaded, not changed.
const MOST_NEW: usize = 256;
/// Most clients, of those that asked lately, from whose places such services are looked at.
const MOST_CLIENTS: usize = 4;
/// Answers that are tried for one query: each finds what the one before could not know of.
const TRIES: usize = 4;
/// Octets of the largest message.
const LARGEST_MESSAGE: usize = 65_535;

/// What is missing could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an RRset cannot be signed")]
pub struct Unsignable;

/// Signs with the keys that there are.
#[derive(Debug, Default)]
pub struct Signer {
    keyring: Arc<ArcSwap<Keyring>>,
}

impl Signer {
    /// Signs with the keys that are there when it does.
    pub fn new(keyring: Arc<ArcSwap<Keyring>>) -> Signer {
        Signer { keyring }
    }

    /// Signs what is missing and keeps the signatures; `sample` is the query that needed them.
    ///
    /// # Errors
    /// [`Unsignable`] where a zone has no keys, or its keys cannot sign. What comes before it is signed.
    pub fn sign(
        &self,
        signatures: &Signatures,
        missing: Vec<Missing>,
        sample: Option<&Arc<Sample>>,
        now: Timestamp,
    ) -> Result<(), Unsignable> {
        let keyring = self.keyring.load();
        for missing in missing {
            let made = keyring.sign(&missing.set, now).map_err(|_| Unsignable)?;
            let times = made.iter().map(|made| made.refresh).min().zip(made.iter().map(|made| made.expires).min());
            // What is asked for once is not asked ahead.
            let sample = sample.filter(|_| missing.shelf == Shelf::Zone).cloned();
            signatures.put(missing, made.iter().map(|made| &*made.rdata), times.ok_or(Unsignable)?, sample);
        }
        Ok(())
    }

    /// Answers a query that was punted, signing what it lacks: a whole answer, or where that cannot be signed, the reply that says so.
    /// `again` answers with what there is and returns what is missing; where it is told to, it gives up.
    pub fn complete(
        &self,
        snapshot: &Snapshot,
        query: &Query<'_>,
        draw: u64,
        mut again: impl FnMut(bool) -> (Outcome, Vec<Missing>),
    ) -> Outcome {
        let mut sample = None;
        for _ in 0..TRIES {
            let (outcome, missing) = again(false);
            let Outcome::Punt(Punt::Unsigned(_)) = outcome else { return outcome };
            let sample = sample.get_or_insert_with(|| {
                Arc::new(Sample { query: query.bytes.to_vec(), peer: query.peer, stream: query.transport.is_stream(), draw })
            });
            if self.sign(snapshot.signatures(), missing, Some(sample), Timestamp(query.now_ms)).is_err() {
                break;
            }
        }
        again(true).0
    }

    /// Answers a query as the whole server does: at once, or by the slow path.
    pub fn answer(&self, snapshot: &Snapshot, worker: &mut Worker, query: &Query<'_>, reply: &mut [u8]) -> Outcome {
        let outcome = wire::answer(snapshot, worker, query, reply);
        let Outcome::Punt(Punt::Unsigned(_)) = outcome else { return outcome };
        let draw = worker.drawn();
        self.complete(snapshot, query, draw, |gives_up| match gives_up {
            false => (wire::answer_again(snapshot, worker, query, draw, reply), worker.missing()),
            true => (wire::answer_unsigned(snapshot, worker, query, draw, reply), Vec::new()),
        })
    }

    /// Signs what will be needed of `snapshot` that was not of `before`, from which it came; returns how many RRsets that were. Which is what
    /// the queries need that needed signatures before, each as it drew and then as it could have drawn, and what is asked first of services
    /// that nobody asked for yet.
    pub fn ahead(&self, before: Option<&Snapshot>, snapshot: &Snapshot, worker: &mut Worker, reply: &mut [u8], now: Timestamp) -> usize {
        let changed: Option<BTreeSet<ServiceId>> = before.and_then(|before| snapshot.changed_since(before)).map(BTreeSet::from_iter);
        let mut samples = snapshot.signatures().samples(MOST_AHEAD);
        let mut asked = BTreeSet::new();
        let mut round = Round { signer: self, snapshot, worker, reply, now, signed: 0, tried: 0 };
        if let Some(changed) = &changed {
            let mut is_changed = |id| {
                let is_it = changed.contains(&id);
                if is_it {
                    asked.insert(id);
                }
                is_it
            };
            samples.retain(|sample| wire::concerns(snapshot, &sample.query, &mut is_changed));
        }
        if !samples.iter().all(|sample| round.ask(sample, sample.draw)) {
            return round.signed;
        }
        // Where all changed, what was asked is enough: there is no end to what could be.
        let Some(changed) = changed else { return round.signed };
        let mut subjects = BTreeSet::new();
        samples.retain(|sample| wire::subject(&sample.query).is_some_and(|subject| subjects.insert((subject, sample.peer.ip()))));
        let unasked = changed.iter().filter(|id| !asked.contains(id)).filter_map(|id| snapshot.service_at(*id));
        if changed.len() <= MOST_NEW {
            samples.extend(unasked.flat_map(|service| first_questions(snapshot, service)));
        }
        for sample in &samples {
            for draw in (0..DRAWS).map(|n| (2 * n + 1) * (1 << 57)) {
                if !round.ask(sample, draw) {
                    return round.signed;
                }
            }
        }
        round.signed
    }

    /// Signs anew what grows old and is asked for; returns how many RRsets that were. What cannot be signed is left as it is.
    pub fn refresh(&self, signatures: &Signatures, now: Timestamp) -> usize {
        let due = signatures.due(now, MOST_AHEAD);
        due.into_iter().filter_map(|(missing, sample)| self.sign(signatures, vec![missing], sample.as_ref(), now).ok()).count()
    }
}

/// Answers that are tried for what they lack.
struct Round<'r> {
    signer: &'r Signer,
    snapshot: &'r Snapshot,
    worker: &'r mut Worker,
    reply: &'r mut [u8],
    now: Timestamp,
    signed: usize,
    tried: usize,
}

impl Round<'_> {
    /// Signs what a query will lack that draws so; whether to go on.
    fn ask(&mut self, sample: &Arc<Sample>, draw: u64) -> bool {
        self.tried += 1;
        let signatures = self.snapshot.signatures();
        let transport = if sample.stream { Transport::Tcp } else { Transport::Udp };
        let query = Query { bytes: &sample.query, peer: sample.peer, transport, now_ms: self.now.0 };
        if let Outcome::Punt(Punt::Unsigned(_)) = wire::answer_again(self.snapshot, self.worker, &query, draw, self.reply) {
            let missing: Vec<Missing> = self.worker.missing().into_iter().filter(|missing| missing.shelf == Shelf::Zone).collect();
            self.signed += missing.len();
            if self.signer.sign(signatures, missing, Some(sample), self.now).is_err() {
                return false;
            }
        }
        self.signed < MOST_AHEAD && self.tried < MOST_TRIED
    }
}

/// What is asked first of a service: its addresses and ports, by clients that asked for something else lately, in every signed zone that shows
/// services.
fn first_questions(snapshot: &Snapshot, service: &CompiledService) -> Vec<Arc<Sample>> {
    let mut clients: Vec<SocketAddr> = Vec::new();
    for sample in snapshot.signatures().samples(16 * MOST_CLIENTS) {
        if clients.len() < MOST_CLIENTS && !clients.iter().any(|client| client.ip() == sample.peer.ip()) {
            clients.push(sample.peer);
        }
    }
    if clients.is_empty() {
        clients.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    let zones = snapshot.zones().filter(|zone| zone.services() && zone.epoch().is_some());
    let question = |zone: &CompiledZone, qtype: u16| {
        // A header with RD and one question, and an OPT that takes 1232 octets and has DO (RFC 6891 §6.1.2, RFC 3225 §3).
        let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        query.push(service.label().len() as u8);
        query.extend_from_slice(service.label().as_bytes());
        query.extend_from_slice(zone.apex());
        query.extend([qtype.to_be_bytes(), CLASS_IN.to_be_bytes()].concat());
        query.extend([0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 0]);
        query
    };
    let questions = zones.flat_map(|zone| [rtype::A, rtype::AAAA, rtype::SRV].map(|qtype| question(zone, qtype)));
    let of = |query: Vec<u8>| {
        let each = |peer: &SocketAddr| Arc::new(Sample { query: query.clone(), peer: *peer, stream: false, draw: 0 });
        clients.iter().map(each).collect::<Vec<_>>()
    };
    questions.flat_map(of).collect()
}

/// Signs behind everything, on a thread of its own. Stops when it is dropped.
#[derive(Debug)]
pub(super) struct Background {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Signs for what `publisher` holds.
    pub fn start(signer: Arc<Signer>, publisher: Arc<Publisher>, clock: Clock) -> std::io::Result<Background> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("dns-sign".into()).spawn(move || run(&signer, &publisher, &clock, &stopped))?;
        Ok(Background { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed.
            let _ = thread.join();
        }
    }
}

fn run(signer: &Signer, publisher: &Publisher, clock: &Clock, stopped: &Receiver<()>) {
    // Nobody hears of what it answers: its counters are its own, and it answers no client.
    let mut worker = Worker::new(0, Arc::new(Counters::default()));
    let mut reply = vec![0; LARGEST_MESSAGE];
    let (mut seen, mut refreshed) = (publisher.load_full(), clock());
    let mut allowance = Allowance::new(Instant::now());
    // How long nothing is done, whatever is published meanwhile.
    let mut pause = Duration::ZERO;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        if !seen.is_signed() {
            (pause, seen) = (LOOK, publisher.load_full());
            continue;
        }
        publisher.wait(&seen, LOOK);
        let (begin, now, snapshot) = (Instant::now(), clock(), publisher.load_full());
        if !Arc::ptr_eq(&snapshot, &seen) {
            signer.ahead(Some(&seen), &snapshot, &mut worker, &mut reply, now);
            seen = snapshot;
        }
        if now.0.saturating_sub(refreshed.0) >= REFRESH_MS {
            refreshed = now;
            signer.refresh(seen.signatures(), now);
        }
        pause = allowance.spend(begin, Instant::now());
    }
}

/// The time that may be taken: a part of all time, some of which is saved.
struct Allowance {
    /// In seconds; negative: owed.
    left: f64,
    since: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Allowance {
        Allowance { left: BURST.as_secs_f64(), since: now }
    }

    /// Takes what was spent; how long to rest.
    fn spend(&mut self, begin: Instant, end: Instant) -> Duration {
        let passed = end.duration_since(self.since).as_secs_f64() / SHARE;
        self.left = (self.left + passed).min(BURST.as_secs_f64()) - end.duration_since(begin).as_secs_f64();
        self.since = end;
        Duration::from_secs_f64((-self.left * SHARE).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_time_is_taken_and_some_of_it_saved() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut allowance = Allowance::new(start);
        // After a rest at once, as much as was saved; then a tenth.
        assert_eq!(allowance.spend(at(0), at(200)), Duration::ZERO);
        let rest = allowance.spend(at(200), at(300)).as_secs_f64();
        assert!((0.399..0.401).contains(&rest), "50 and 10 ms were left of 100: {rest}");
        let (mut now, mut worked) = (700, 0);
        while now < 100_700 {
            let rest = allowance.spend(at(now), at(now + 7));
            (worked, now) = (worked + 7, now + 7 + rest.as_millis() as u64);
        }
        assert!((9_900..=10_100).contains(&worked), "{worked} ms of 100 s");
        for _ in 0..100 {
            now += 60_000;
            allowance.spend(at(now), at(now));
        }
        assert_eq!(allowance.left, BURST.as_secs_f64(), "no more is saved");
    }
}
