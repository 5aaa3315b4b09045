//! Signing at the roof: where the private keys meet the answers that need them.
//!
//! ```text
//!   Punt::Unsigned ─▶ what is missing (wire::answer_again) ─▶ Keyring::sign ─▶ Signatures ─▶ the same answer again, whole
//!   a publication  ─▶ what was asked is asked again, of the new snapshot: what that needs is signed before anybody asks   ┐ dns-sign,
//!   every minute   ─▶ what grows old is signed anew where it is asked for                                                 ┘ at a tenth of a core
//! ```

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::control::Clock;
use crate::model::{Counters, Timestamp};
use crate::sign::Keyring;
use crate::snapshot::{Missing, Publisher, Sample, Shelf, Signatures, Snapshot};
use crate::wire::{self, Outcome, Punt, Query, Transport, Worker};

/// How often it is looked whether the world changed.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is looked for signatures that grow old.
const REFRESH_MS: u64 = 60_000;
/// Most queries that are asked again when the world changed, and most signatures that are made anew at once.
const MOST_AHEAD: usize = 8192;
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

    /// Signs what the queries that needed signatures before will need of `snapshot`; returns how many RRsets that were.
    pub fn ahead(&self, snapshot: &Snapshot, worker: &mut Worker, reply: &mut [u8], now: Timestamp) -> usize {
        let mut signed = 0;
        for sample in snapshot.signatures().samples(MOST_AHEAD) {
            let transport = if sample.stream { Transport::Tcp } else { Transport::Udp };
            let query = Query { bytes: &sample.query, peer: sample.peer, transport, now_ms: now.0 };
            let Outcome::Punt(Punt::Unsigned(_)) = wire::answer_again(snapshot, worker, &query, sample.draw, reply) else { continue };
            let missing: Vec<Missing> = worker.missing().into_iter().filter(|missing| missing.shelf == Shelf::Zone).collect();
            signed += missing.len();
            if self.sign(snapshot.signatures(), missing, Some(&sample), now).is_err() {
                break;
            }
        }
        signed
    }

    /// Signs anew what grows old and is asked for; returns how many RRsets that were. What cannot be signed is left as it is.
    pub fn refresh(&self, signatures: &Signatures, now: Timestamp) -> usize {
        let due = signatures.due(now, MOST_AHEAD);
        due.into_iter().filter_map(|(missing, sample)| self.sign(signatures, vec![missing], sample.as_ref(), now).ok()).count()
    }
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
    let (mut seen, mut refreshed, mut pause) = (publisher.load().generation, clock(), LOOK);
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let (begin, snapshot) = (clock(), publisher.load_full());
        if !snapshot.is_signed() {
            pause = 20 * LOOK;
            continue;
        }
        if snapshot.generation != seen {
            seen = snapshot.generation;
            signer.ahead(&snapshot, &mut worker, &mut reply, begin);
        }
        if begin.0.saturating_sub(refreshed.0) >= REFRESH_MS {
            refreshed = begin;
            signer.refresh(snapshot.signatures(), begin);
        }
        // A tenth of a core at most, however often the world changes.
        pause = LOOK.max(9 * Duration::from_millis(clock().0.saturating_sub(begin.0)));
    }
}
