//! Queries that cannot be answered at once: they wait on threads of their own, and no other query waits with them.
//!
//! ```text
//!   UDP worker ── punt ──▶ a free place? ──▶ task (dns-slow) ─▶ Slow::answer ─▶ Replies ─▶ the socket that it came to, from the address asked
//!                              └─ none: dropped and counted; the client asks again
//!   stream     ── punt ──▶ task (dns-slow), waits for a place ─▶ Slow::answer ─▶ Replies ─▶ the connection, when it is done (RFC 7766 §7)
//!                              └─ a connection has [`MOST_OUTSTANDING`] of them at most, and is not read from meanwhile; when it closes they end
//! ```
//! What a query needs is no matter here: [`Slow`] is told why it was punted and sends what replies there are.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::snapshot::{Missing, Snapshot};
use crate::wire::{self, Outcome, Punt, Query, Transport, Worker};

use super::socket::{Back, Datagrams};

/// Queries that are under way at once, over all transports.
pub const MOST_UNDER_WAY: usize = 10_000;

/// Queries that are under way at once for one connection.
pub(super) const MOST_OUTSTANDING: usize = 64;

/// Replies that are made and not yet written to their connection: whoever makes more of them waits.
const MOST_UNWRITTEN: usize = 4;

/// A query that needs the slow path.
#[derive(Debug, Clone)]
pub struct Punted {
    /// The message.
    pub query: Vec<u8>,
    /// Who sent it.
    pub peer: SocketAddr,
    /// How.
    pub transport: Transport,
    /// When: milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The random number that was drawn for it.
    pub draw: u64,
    /// What it needs.
    pub why: Punt,
}

impl Punted {
    /// The query as it came in.
    pub fn query(&self) -> Query<'_> {
        Query { bytes: &self.query, peer: self.peer, transport: self.transport, now_ms: self.now_ms }
    }
}

/// Answers what was punted.
pub trait Slow: Send + Sync + 'static {
    /// Sends the replies to a query: one for most, several for a transfer over a stream, none where it deserves none. It is dropped where
    /// its client has gone or the server stops.
    fn answer(self: Arc<Self>, query: Punted, replies: Replies) -> BoxFuture<'static, ()>;
}

/// There is nobody any more whom a reply could reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub struct Gone;

/// Where the replies to one query go.
pub struct Replies {
    way: Way,
    worker: Arc<Mutex<Worker>>,
}

enum Way {
    Datagram(Arc<Datagrams>, Back),
    Stream(mpsc::Sender<Vec<u8>>),
}

impl Replies {
    /// Sends a whole message, of at most 65,535 octets; over UDP of at most what the client takes. Over a stream it waits until those before it
    /// are written. A datagram that cannot be sent at once is lost, as datagrams are.
    ///
    /// # Errors
    /// [`Gone`] where the connection is closed.
    pub async fn send(&mut self, message: Vec<u8>) -> Result<(), Gone> {
        match &self.way {
            Way::Datagram(datagrams, back) => {
                datagrams.send_back(back, &message);
                Ok(())
            }
            Way::Stream(replies) => replies.send(message).await.map_err(|_| Gone),
        }
    }

    /// Answers the query again, from another snapshot or with more at hand: see [`wire::answer_again`]. It counts among the queries of the
    /// address and transport that it came by. `reply` holds what the client takes.
    pub fn answer_again(&self, snapshot: &Snapshot, punted: &Punted, reply: &mut [u8]) -> Outcome {
        // A panic under the lock leaves counters, which are good as they are.
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        wire::answer_again(snapshot, &mut worker, &punted.query(), punted.draw, reply)
    }
}

impl Replies {
    /// As [`Replies::answer_again`], with what had no signature.
    pub fn answer_noting(&self, snapshot: &Snapshot, punted: &Punted, reply: &mut [u8]) -> (Outcome, Vec<Missing>) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = wire::answer_again(snapshot, &mut worker, &punted.query(), punted.draw, reply);
        (outcome, worker.missing())
    }

    /// Whether the sender may be told that it is refused: see [`wire::admits_error`].
    pub fn admits_error(&self, snapshot: &Snapshot, punted: &Punted) -> bool {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        wire::admits_error(snapshot, &worker, &punted.query())
    }

    /// Says that what had no signature got none: see [`wire::answer_unsigned`].
    pub fn answer_unsigned(&self, snapshot: &Snapshot, punted: &Punted, reply: &mut [u8]) -> Outcome {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        wire::answer_unsigned(snapshot, &mut worker, &punted.query(), punted.draw, reply)
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            Way::Datagram(..) => "Replies(datagram)",
            Way::Stream(_) => "Replies(stream)",
        })
    }
}

/// How the slow path fares, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlowStats {
    /// Queries under way now.
    pub under_way: usize,
    /// Queries that were taken since the start.
    pub taken: u64,
    /// Datagrams that were dropped because [`MOST_UNDER_WAY`] were under way.
    pub overloaded: u64,
}

/// The way from the listeners to [`Slow`], with places for so many queries.
pub(super) struct Punts {
    slow: Arc<dyn Slow>,
    runtime: Handle,
    places: Arc<Semaphore>,
    most: usize,
    taken: AtomicU64,
    overloaded: AtomicU64,
}

impl fmt::Debug for Punts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Punts({:?})", self.stats())
    }
}

impl Punts {
    /// `most` queries at once, answered on `runtime`.
    pub(super) fn new(slow: Arc<dyn Slow>, runtime: Handle, most: usize) -> Punts {
        let places = Arc::new(Semaphore::new(most));
        Punts { slow, runtime, places, most, taken: AtomicU64::new(0), overloaded: AtomicU64::new(0) }
    }

    pub(super) fn stats(&self) -> SlowStats {
        SlowStats {
            under_way: self.most - self.places.available_permits().min(self.most),
            taken: self.taken.load(Ordering::Relaxed),
            overloaded: self.overloaded.load(Ordering::Relaxed),
        }
    }

    /// Takes a query that came as a datagram; where all places are taken it is dropped. Never waits.
    pub(super) fn datagram(&self, punted: Punted, datagrams: &Arc<Datagrams>, back: Back, worker: &Arc<Mutex<Worker>>) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.overloaded.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.taken.fetch_add(1, Ordering::Relaxed);
        let replies = Replies { way: Way::Datagram(datagrams.clone(), back), worker: worker.clone() };
        let answer = self.slow.clone().answer(punted, replies);
        self.runtime.spawn(async move {
            answer.await;
            drop(place);
        });
    }
}

/// The queries of one connection that are under way. Dropping it ends them.
pub(super) struct Outstanding {
    tasks: JoinSet<()>,
    replies: mpsc::Receiver<Vec<u8>>,
    sender: mpsc::Sender<Vec<u8>>,
}

impl Outstanding {
    pub(super) fn new() -> Outstanding {
        let (sender, replies) = mpsc::channel(MOST_UNWRITTEN);
        Outstanding { tasks: JoinSet::new(), replies, sender }
    }

    /// Whether no query is under way and no reply unwritten.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.replies.is_empty()
    }

    /// How many more there may be.
    pub(super) fn room(&self) -> usize {
        MOST_OUTSTANDING.saturating_sub(self.tasks.len())
    }

    /// Takes a query. It waits for a place on the slow path where all are taken; this does not.
    pub(super) fn take(&mut self, punts: &Arc<Punts>, punted: Punted, worker: &Arc<Mutex<Worker>>) {
        // What has ended meanwhile leaves.
        while self.tasks.try_join_next().is_some() {}
        let (punts, worker, sender) = (punts.clone(), worker.clone(), self.sender.clone());
        let runtime = punts.runtime.clone();
        let answer = async move {
            let Ok(_place) = punts.places.acquire().await else { return };
            punts.taken.fetch_add(1, Ordering::Relaxed);
            punts.slow.clone().answer(punted, Replies { way: Way::Stream(sender), worker }).await;
        };
        self.tasks.spawn_on(answer, &runtime);
    }

    /// Waits for the next reply to any of them, or until one of them has ended: then `None`, and at once where there are none. Nothing is lost
    /// where the wait is given up.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        tokio::select! {
            biased;
            reply = self.replies.recv(), if !self.is_empty() => reply,
            // A query that ended in a panic has been printed; it has no reply.
            _ = self.tasks.join_next() => self.ready(),
        }
    }

    /// The next reply if one is there already.
    pub(super) fn ready(&mut self) -> Option<Vec<u8>> {
        self.replies.try_recv().ok()
    }
}
