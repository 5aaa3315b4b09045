//! DNS over TCP (RFC 7766): two octets of length before each message, as many queries on one connection as the client likes, pipelined or not.
//!
//! Connections share a runtime that is theirs alone: neither a request to the API nor a zone that is compiled delays an answer. Each connection is
//! a task that answers what came, at most [`MOST_MESSAGES`] at a time, and then lets the others have their turn, so that a pipeline of
//! thousands of queries delays others by a fraction of a millisecond. It reads on when its replies are written: a client that does not read is
//! not listened to either. A connection that waits, for whatever, holds no buffer but the part of a message that it has.
//!
//! Replies come in the order of their queries, as all are computed at once from memory, in microseconds; another order would gain nothing, and
//! lose those clients that match replies by their order. Those that must wait for something else do not hold back the others: they come when
//! they are ready (RFC 7766 §7), and end with the connection.
//!
//! Not used: TCP_DEFER_ACCEPT, by which the kernel keeps silent connections to itself. It would have them fill the listen queue, which knows neither
//! limits per client nor who was idle for longest.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;

use crate::snapshot::Publisher;
use crate::wire::{Outcome, Query, Transport, Worker};

use super::connections::{Connections, Place, Waiting};
use super::slow::{MOST_OUTSTANDING, Outstanding, Punted};
use super::socket::{is_passing, is_shortage};
use super::udp::{Aside, punted};
use super::{Answer, now_ms};

/// The largest message (RFC 1035 §4.2.2: its length has 16 bits).
pub(super) const LARGEST_MESSAGE: usize = 65_535;

/// A header; what is shorter is no DNS message.
const SMALLEST_MESSAGE: usize = 12;

/// Room for octets to come, at least: a few pipelined queries.
const LEAST_READ: usize = 2048;

/// Connections that are accepted before those accepted have their turn.
const MOST_ACCEPTED: usize = 16;

/// Messages that are answered before other connections have their turn.
const MOST_MESSAGES: usize = 32;

/// Octets of replies after which they are written and other connections have their turn.
const MOST_OCTETS: usize = 16 << 10;

/// Rest after a connection could not be accepted, as when the process has no file descriptors left.
const REST: Duration = Duration::from_millis(10);

/// Connections that the kernel may have ready for us to accept; it allows as many as `net.core.somaxconn` (RFC 9210 §4.2).
const BACKLOG: i32 = 4096;

/// What the kernel may hold for a client that does not take its replies; Linux books twice as much (socket(7)). Left to itself it grows to
/// megabytes for whoever reads quickly at first and then no more.
const SEND_BUFFER: usize = 64 << 10;

/// The least that the kernel offers octets to a client that takes none, or keeps a connection that it cannot reach.
const LEAST_OFFER: Duration = Duration::from_secs(5);

/// A listening socket, exclusive to this process (no SO_REUSEPORT).
pub(super) fn bind(address: SocketAddr, idle: Duration) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // So that connections of a server that just ended do not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // Connections take these from the listening socket.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    // It holds for what is left to send after a close, too, which else takes minutes.
    #[cfg(target_os = "linux")]
    if let Err(error) = socket.set_tcp_user_timeout(Some(idle.max(LEAST_OFFER))) {
        tracing::debug!(%address, %error, "the system decides for how long unacknowledged octets are offered");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = idle;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Octets that come and go in order, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// What the connections of one address share.
pub(super) struct Served<A> {
    transport: Transport,
    publisher: Arc<Publisher>,
    shards: Vec<Mutex<Shard>>,
    next_shard: AtomicUsize,
    aside: Aside,
    answer: A,
}

/// A worker and the buffer that it answers into. Connections take turns with it: they hold buffers of the size of what they say, not of
/// the largest message.
struct Shard {
    worker: Worker,
    reply: Box<[u8]>,
}

/// What one turn of answering came to.
struct Turn {
    /// Octets of whole messages that are answered.
    used: usize,
    /// How many there were.
    messages: usize,
    /// Its replies are many octets; what comes next waits for another turn.
    is_full: bool,
    /// What comes next deserves no answer.
    nonsense: bool,
    /// Messages that are for the slow path.
    punted: Vec<Punted>,
}

impl<A: Answer> Served<A> {
    /// One worker at least, each with the transport of the queries that it will see.
    pub(super) fn new(transport: Transport, publisher: Arc<Publisher>, workers: Vec<Worker>, aside: Aside, answer: A) -> Served<A> {
        let shard = |worker| Mutex::new(Shard { worker, reply: vec![0; LARGEST_MESSAGE].into() });
        let shards = workers.into_iter().map(shard).collect();
        Served { transport, publisher, shards, next_shard: AtomicUsize::new(0), aside, answer }
    }

    /// Answers one message, on the slow path if need be; `None` where it deserves no answer. Giving up the wait ends what is under way.
    pub(super) async fn answer_one(&self, message: &[u8], peer: SocketAddr) -> Option<Vec<u8>> {
        let query = self.query(message, peer);
        let punted = {
            let Shard { worker, reply } = &mut *self.free_shard();
            match self.outcome(&query, worker, reply) {
                Outcome::Reply(length) => return Some(reply[..length.min(LARGEST_MESSAGE)].to_vec()),
                Outcome::Drop => return None,
                Outcome::Punt(why) => punted(&query, worker, why),
            }
        };
        let mut under_way = Outstanding::new();
        under_way.take(&self.aside.punts, punted, &self.aside.worker);
        while !under_way.is_empty() {
            if let Some(reply) = under_way.next().await {
                return Some(reply);
            }
        }
        None
    }

    fn query<'m>(&self, message: &'m [u8], peer: SocketAddr) -> Query<'m> {
        Query { bytes: message, peer, transport: self.transport, now_ms: now_ms() }
    }

    fn outcome(&self, query: &Query<'_>, worker: &mut Worker, reply: &mut [u8]) -> Outcome {
        match query.bytes.len() {
            0..SMALLEST_MESSAGE => Outcome::Drop,
            // Loaded for each query: what is published is in the very next answer.
            _ => (self.answer)(&self.publisher.load(), worker, query, reply),
        }
    }

    /// Answers the messages at the beginning of `received`, as many as one turn allows, and puts the framed replies behind `replies`. At most
    /// `room` of them go to the slow path.
    fn answer(&self, received: &[u8], peer: SocketAddr, room: usize, replies: &mut Vec<u8>) -> Turn {
        let Shard { worker, reply } = &mut *self.free_shard();
        let mut turn = Turn { used: 0, messages: 0, is_full: false, nonsense: false, punted: Vec::new() };
        while let Some(message) = first_message(&received[turn.used..])
            && turn.messages < MOST_MESSAGES
            && !turn.is_full
            && turn.punted.len() < room
        {
            let query = self.query(message, peer);
            match self.outcome(&query, worker, reply) {
                Outcome::Reply(length) => frame(&reply[..length.min(LARGEST_MESSAGE)], replies),
                Outcome::Drop => {
                    turn.nonsense = true;
                    break;
                }
                Outcome::Punt(why) => turn.punted.push(punted(&query, worker, why)),
            }
            turn.used += 2 + message.len();
            turn.messages += 1;
            turn.is_full = replies.len() >= MOST_OCTETS;
        }
        turn
    }

    /// A worker that nobody holds: there are as many as threads that answer over TCP, none of which holds one while it waits.
    fn free_shard(&self) -> MutexGuard<'_, Shard> {
        let begin = self.next_shard.fetch_add(1, Ordering::Relaxed);
        let (before, after) = self.shards.split_at(begin % self.shards.len());
        for shard in after.iter().chain(before) {
            match shard.try_lock() {
                Ok(shard) => return shard,
                // A panic under the lock leaves counters and random numbers, which are good as they are.
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        // Let go between the tries of one and the next.
        after[0].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts connections until the listener is shut down. Each gets a place, and a task that does `serve`.
pub(super) async fn accept<F>(listener: Arc<TcpListener>, connections: Arc<Connections>, serve: impl Fn(TcpStream, SocketAddr, Place) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut failing = false;
    let mut taken = 0usize;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                taken = taken.wrapping_add(1);
                // A storm waits in the kernel's queue: were it all let in first, it would displace those who came to ask before they could.
                if taken.is_multiple_of(MOST_ACCEPTED) {
                    yield_now().await;
                }
                if let Some(place) = connections.enter(peer.ip(), Instant::now()) {
                    // Replies are written whole; waiting to fill a segment only delays them.
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(serve(stream, peer, place));
                }
            }
            // Nobody listens any more (EINVAL of accept(2)): the server stops.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            // What befell the connection before it was accepted is no matter of ours (accept(2)).
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                // Once, not for each try: it says the same until it is over.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "accepting TCP connections fails; trying again");
                }
                // Else the door would be shut for as long as idle connections may stay.
                if is_shortage(&error) {
                    connections.make_room(Instant::now());
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Tells connections to go as their time runs out, for ever.
pub(super) async fn expire(connections: Arc<Connections>, idle: Duration) {
    let tick = (idle / 16).clamp(Duration::from_millis(1), Duration::from_millis(250));
    loop {
        tokio::time::sleep(tick).await;
        while connections.expire(Instant::now()) {
            yield_now().await;
        }
    }
}

/// One connection, from its first octet to its last.
pub(super) async fn serve<A: Answer>(mut stream: TcpStream, peer: SocketAddr, served: Arc<Served<A>>, place: Place) {
    tokio::select! {
        // Told to go, it goes even in the middle of a write that the client does not take.
        () = place.told_to_go() => {
            if place.is_writing() {
                abandon(&stream);
            }
        }
        result = converse(&mut stream, peer, &served, &place) => if let Err(error) = result {
            tracing::debug!(%peer, %error, "TCP connection ended");
        }
    }
}

/// Has the kernel forget what the client does not take. Else it keeps that, up to megabytes, and goes on offering it for minutes.
pub(super) fn abandon(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Answers the queries of one connection until the client closes it or sends nonsense. It holds no memory but for what it is in the midst of.
pub(super) async fn converse<A: Answer>(stream: &mut impl Stream, peer: SocketAddr, served: &Served<A>, place: &Place) -> io::Result<()> {
    let mut received = Vec::new();
    let mut replies = Vec::new();
    let mut outstanding = None;
    let mut will_send_more = true;
    // Reads and messages since others had their turn.
    let mut taken = 0;
    while wait(stream, &mut received, &mut outstanding, &mut will_send_more, &mut replies, place).await? {
        write(stream, &mut replies, place).await?;
        taken += 1;
        let mut start = 0;
        while first_message(&received[start..]).is_some() {
            let room = outstanding.as_deref().map_or(MOST_OUTSTANDING, Outstanding::room);
            if room == 0 {
                break;
            }
            let turn = served.answer(&received[start..], peer, room, &mut replies);
            start += turn.used;
            taken += turn.messages;
            for punted in turn.punted {
                let outstanding = outstanding.get_or_insert_with(|| Box::new(Outstanding::new()));
                outstanding.take(&served.aside.punts, punted, &served.aside.worker);
                place.touch(Instant::now());
            }
            write(stream, &mut replies, place).await?;
            if turn.nonsense {
                // What it asked before is answered first.
                received.clear();
                while wait(stream, &mut received, &mut outstanding, &mut false, &mut replies, place).await? {
                    write(stream, &mut replies, place).await?;
                }
                return dismiss(stream).await;
            }
            if taken >= MOST_MESSAGES || turn.is_full {
                taken = 0;
                yield_now().await;
            }
        }
        if taken >= MOST_MESSAGES {
            taken = 0;
            yield_now().await;
        }
        received.drain(..start);
    }
    Ok(())
}

/// Waits for octets, or for replies of the slow path, which it frames; whether either came, or none will any more.
///
/// While a connection has as many queries under way as it may have, it is not read from.
async fn wait(
    stream: &mut impl Stream,
    received: &mut Vec<u8>,
    outstanding: &mut Option<Box<Outstanding>>,
    will_send_more: &mut bool,
    replies: &mut Vec<u8>,
    place: &Place,
) -> io::Result<bool> {
    let Some(under_way) = outstanding.as_deref_mut() else {
        place.waits(if received.is_empty() { Waiting::ForQuery } else { Waiting::ForRest });
        return if *will_send_more { read(stream, received).await } else { Ok(false) };
    };
    place.waits(Waiting::ForReply);
    let reads = *will_send_more && under_way.room() > 0;
    let reply = tokio::select! {
        biased;
        reply = under_way.next() => reply,
        more = read(stream, received), if reads => {
            *will_send_more = more?;
            return Ok(true);
        }
    };
    reply.into_iter().for_each(|reply| frame(&reply, replies));
    while replies.len() < MOST_OCTETS
        && let Some(reply) = under_way.ready()
    {
        frame(&reply, replies);
    }
    if under_way.is_empty() {
        *outstanding = None;
        place.touch(Instant::now());
    }
    Ok(true)
}

/// Puts a message behind `replies`, with its length before it (RFC 1035 §4.2.2).
fn frame(message: &[u8], replies: &mut Vec<u8>) {
    let message = &message[..message.len().min(LARGEST_MESSAGE)];
    replies.extend_from_slice(&(message.len() as u16).to_be_bytes());
    replies.extend_from_slice(message);
}

/// The message at the beginning of `received`, once all of it is there.
fn first_message(received: &[u8]) -> Option<&[u8]> {
    let (length, rest) = received.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// Waits for octets and puts them behind `received`; whether there are any, or the client will send no more.
async fn read(stream: &mut impl Stream, received: &mut Vec<u8>) -> io::Result<bool> {
    poll_fn(|context| {
        // As what came grows, by doubling, but no farther than to the end of a message begun.
        let missing =
            received.first_chunk::<2>().map_or(0, |length| (2 + usize::from(u16::from_be_bytes(*length))).saturating_sub(received.len()));
        received.reserve_exact(received.len().min(missing).max(LEAST_READ));
        let read = pin!(stream.read_buf(received)).poll(context);
        if read.is_pending() {
            // Nothing is held while nothing comes.
            received.shrink_to_fit();
        }
        read.map_ok(|octets| octets > 0)
    })
    .await
}

/// Writes all replies: length and message together (RFC 7766 §8), and those of pipelined queries in as few segments as hold them.
async fn write(stream: &mut impl Stream, replies: &mut Vec<u8>, place: &Place) -> io::Result<()> {
    if replies.is_empty() {
        return Ok(());
    }
    // Before its client knows: what that does next finds it in its place.
    place.touch(Instant::now());
    let mut written = 0;
    let mut waits = false;
    poll_fn(|context| {
        loop {
            let stream = Pin::new(&mut *stream);
            let step = match &replies[written..] {
                [] => stream.poll_flush(context).map_ok(|()| 0),
                rest => stream.poll_write(context, rest),
            };
            match step {
                Poll::Ready(Ok(0)) if written == replies.len() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(octets)) => written += octets,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if !std::mem::replace(&mut waits, true) {
                        place.waits(Waiting::ToWrite);
                        replies.shrink_to_fit();
                    }
                    return Poll::Pending;
                }
            }
        }
    })
    .await?;
    *replies = Vec::new();
    if waits {
        place.waits(Waiting::ForQuery);
        place.touch(Instant::now());
    }
    Ok(())
}

/// Ends a connection whose client sent nonsense: whoever sends what deserves no answer has no business here. What it sent before is answered;
/// were the socket closed with octets unread, the kernel would reset the connection and those answers might be lost (RFC 1122 §4.2.2.13).
async fn dismiss(stream: &mut impl Stream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut unread = [0; 512];
    let mut most = LARGEST_MESSAGE;
    loop {
        match stream.read(&mut unread).await? {
            0 => return Ok(()),
            read if read < most => most -= read,
            _ => return Ok(()),
        }
    }
}
