//! DNS over TCP (RFC 7766): two octets of length before each message, several queries on one connection, answered in order.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::snapshot::Publisher;
use crate::wire::{Outcome, Query, Transport, Worker};

use super::connections::{Connections, Place};
use super::{Answer, now_ms};

/// The largest message (RFC 1035 §4.2.2: its length has 16 bits).
const LARGEST_MESSAGE: usize = 65_535;

/// A header; what is shorter is no DNS message.
const SMALLEST_MESSAGE: usize = 12;

/// Octets read at first: room for a few pipelined queries. Grows only as octets come.
const FIRST_READ: usize = 1024;

/// Replies waiting to be written before reading goes on: a client that does not read is not listened to either.
const MOST_WAITING: usize = 64 << 10;

/// Rest after a connection could not be accepted, as when the process has no file descriptors left.
const REST: Duration = Duration::from_millis(50);

/// A listening socket, exclusive to this process (no SO_REUSEPORT).
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // So that connections of a server that just ended do not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What the connections of one address share.
pub(super) struct Served<A> {
    publisher: Arc<Publisher>,
    shards: Vec<Mutex<Shard>>,
    next_shard: AtomicUsize,
    connections: Arc<Connections>,
    idle: Duration,
    answer: A,
}

/// A worker and the buffer that it answers into. Connections take turns with it, for one query at a time: they hold buffers of
/// the size of what they say, not of the largest message.
struct Shard {
    worker: Worker,
    reply: Box<[u8]>,
}

impl<A: Answer> Served<A> {
    pub(super) fn new(
        publisher: Arc<Publisher>,
        workers: Vec<Worker>,
        connections: Arc<Connections>,
        idle: Duration,
        answer: A,
    ) -> Served<A> {
        let shard = |worker| Mutex::new(Shard { worker, reply: vec![0; LARGEST_MESSAGE].into() });
        let shards = workers.into_iter().map(shard).collect();
        Served { publisher, shards, next_shard: AtomicUsize::new(0), connections, idle, answer }
    }

    /// Appends the framed reply to `message`, if there is one; whether there was.
    fn reply(&self, shard: &Mutex<Shard>, message: &[u8], peer: SocketAddr, replies: &mut Vec<u8>) -> bool {
        // A panic under the lock leaves counters and random numbers, which are good as they are.
        let Shard { worker, reply } = &mut *shard.lock().unwrap_or_else(PoisonError::into_inner);
        let query = Query { bytes: message, peer, transport: Transport::Tcp, now_ms: now_ms() };
        match (self.answer)(&self.publisher.load(), worker, &query, reply) {
            Outcome::Reply(length) => {
                let reply = &reply[..length.min(LARGEST_MESSAGE)];
                replies.extend_from_slice(&(reply.len() as u16).to_be_bytes());
                replies.extend_from_slice(reply);
                true
            }
            Outcome::Drop => false,
            Outcome::Punt(never) => match never {},
        }
    }
}

/// Accepts connections for ever, a task each.
pub(super) async fn accept<A: Answer>(listener: Arc<TcpListener>, served: Arc<Served<A>>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(place) = served.connections.enter(peer.ip()) else {
                    tracing::debug!(%peer, "TCP connection closed: its client has too many");
                    continue;
                };
                let served = served.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        // Told to go, it goes even in the middle of a write that the client does not take.
                        () = place.told_to_go() => {}
                        result = converse(stream, peer, &served, &place) => if let Err(error) = result {
                            tracing::debug!(%peer, %error, "TCP connection ended");
                        }
                    }
                });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "accepting a TCP connection failed; trying again");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Answers the queries of one connection until it ends: closed by the client, idle, or nonsense.
async fn converse<A: Answer>(mut stream: TcpStream, peer: SocketAddr, served: &Served<A>, place: &Place) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let shard = &served.shards[served.next_shard.fetch_add(1, Ordering::Relaxed) % served.shards.len()];
    let mut received = Vec::with_capacity(FIRST_READ);
    let mut replies = Vec::new();
    // Time runs from the last query answered (RFC 7766 §6.2.3): one that dribbles in octet by octet gains nothing.
    let mut deadline = Instant::now() + served.idle;
    loop {
        let mut start = 0;
        while let Some(message) = first_message(&received[start..]) {
            start += 2 + message.len();
            if message.len() < SMALLEST_MESSAGE || !served.reply(shard, message, peer, &mut replies) {
                // Whoever sends what deserves no answer has no business here; those before it are answered.
                return write(&mut stream, &mut replies, served.idle).await;
            }
            if replies.len() >= MOST_WAITING {
                write(&mut stream, &mut replies, served.idle).await?;
            }
        }
        if start > 0 {
            write(&mut stream, &mut replies, served.idle).await?;
            place.touch();
            deadline = Instant::now() + served.idle;
            received.drain(..start);
            received.shrink_to(FIRST_READ);
        }
        // Grows by doubling, as octets come, up to the one message that is not whole yet and what came behind it.
        received.reserve(FIRST_READ);
        let Ok(read) = timeout_at(deadline, stream.read_buf(&mut received)).await else { return Ok(()) };
        if read? == 0 {
            return Ok(());
        }
    }
}

/// The message at the beginning of `received`, once all of it is there.
fn first_message(received: &[u8]) -> Option<&[u8]> {
    let (length, rest) = received.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// Writes all replies: length and message together (RFC 7766 §8), and those of pipelined queries in as few segments as hold them.
async fn write(stream: &mut TcpStream, replies: &mut Vec<u8>, longest: Duration) -> io::Result<()> {
    if replies.is_empty() {
        return Ok(());
    }
    match tokio::time::timeout(longest, stream.write_all(replies)).await {
        Ok(written) => written?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its replies")),
    }
    replies.clear();
    replies.shrink_to(FIRST_READ);
    Ok(())
}
