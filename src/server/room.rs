//! How much one connection may have under way, where it may have many queries at once: HTTP/2, HTTP/3 and QUIC.
//!
//! Small queries need no room of their own: there are as many as there are streams. Of larger ones there may be a few, and further ones are
//! refused: were they to wait, what they have sent already would fill the window that those before them need to end.
//! Replies wait while the client does not take those before. A connection waits for nobody but itself, and the limits on connections end it
//! in time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Buf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::tcp::LARGEST_MESSAGE;

/// Octets of a query that needs no room.
const SMALL: usize = 4096;

/// Larger queries that are gathered at once.
const LARGE_AT_ONCE: usize = 4;

/// Octets of replies that wait for the client to take them.
const REPLIES: usize = 4 * LARGEST_MESSAGE;

/// The room of one connection.
#[derive(Debug, Clone)]
pub(super) struct Room {
    large: Arc<Semaphore>,
    replies: Arc<Semaphore>,
}

/// Room for one reply.
#[derive(Debug)]
pub(super) struct ReplyRoom(OwnedSemaphorePermit);

/// A query on its way, piece by piece.
#[derive(Debug)]
pub(super) struct Gathered<'r> {
    room: &'r Room,
    octets: Vec<u8>,
    most: usize,
    large: Option<OwnedSemaphorePermit>,
}

/// Why a query is not gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// It is larger than any may be.
    Query,
    /// It is large, and so are too many of its connection.
    Connection,
}

impl Room {
    pub(super) fn new() -> Room {
        Room { large: Arc::new(Semaphore::new(LARGE_AT_ONCE)), replies: Arc::new(Semaphore::new(REPLIES)) }
    }

    /// A query of at most so many octets.
    pub(super) fn gather(&self, most: usize) -> Gathered<'_> {
        Gathered { room: self, octets: Vec::new(), most, large: None }
    }

    /// A reply, and its room. What is answered at once has room before it is; what must wait for something else needs none meanwhile, or a few
    /// such would hold up all others.
    pub(super) async fn answer(&self, answering: impl Future<Output = Option<Vec<u8>>>) -> Option<(Vec<u8>, ReplyRoom)> {
        let mut answering = pin!(answering);
        let room = self.for_reply(LARGEST_MESSAGE).await?;
        match poll_fn(|context| Poll::Ready(answering.as_mut().poll(context))).await {
            Poll::Ready(reply) => reply.map(|reply| (reply.len(), reply)).map(|(octets, reply)| (reply, room.shrink(octets))),
            Poll::Pending => {
                drop(room);
                let reply = answering.await?;
                let room = self.for_reply(reply.len().min(LARGEST_MESSAGE)).await?;
                Some((reply, room))
            }
        }
    }

    /// Waits for the room that so many octets need; `None` never comes, as nobody closes it.
    async fn for_reply(&self, octets: usize) -> Option<ReplyRoom> {
        self.replies.clone().acquire_many_owned(octets as u32).await.ok().map(ReplyRoom)
    }
}

impl ReplyRoom {
    /// Keeps only as much as the reply has octets.
    fn shrink(mut self, octets: usize) -> ReplyRoom {
        drop(self.0.split(LARGEST_MESSAGE.saturating_sub(octets)));
        self
    }
}

impl Gathered<'_> {
    /// Puts a piece behind those before, if there is room.
    pub(super) fn push(&mut self, mut piece: impl Buf) -> Result<(), Excess> {
        let octets = self.octets.len() + piece.remaining();
        if octets > self.most {
            return Err(Excess::Query);
        }
        if octets > SMALL && self.large.is_none() {
            self.large = Some(self.room.large.clone().try_acquire_owned().map_err(|_| Excess::Connection)?);
        }
        while piece.has_remaining() {
            let chunk = piece.chunk();
            let length = chunk.len();
            self.octets.extend_from_slice(chunk);
            piece.advance(length);
        }
        Ok(())
    }

    /// The query as it came, and its room, which is given back when it is answered.
    pub(super) fn all(&self) -> &[u8] {
        &self.octets
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn of_large_queries_there_are_few_and_replies_wait_for_those_before() {
        let room = Room::new();
        let mut all: Vec<Gathered<'_>> = (0..6).map(|_| room.gather(10_000)).collect();
        for query in &mut all {
            assert_eq!(query.push(&[1; 4096][..]), Ok(()));
        }
        for (n, query) in all.iter_mut().enumerate() {
            assert_eq!(query.push(&[2; 1][..]), if n < 4 { Ok(()) } else { Err(Excess::Connection) });
        }
        assert_eq!(all[0].push(&[3; 5904][..]), Err(Excess::Query));
        assert_eq!(all[0].push(&[3; 5903][..]), Ok(()));
        all.remove(1);
        assert_eq!(all[4].push(&[2; 1][..]), Ok(()));
        assert_eq!((all[0].all().len(), all[4].all().len()), (10_000, 4097));

        let reply = |octets| room.answer(async move { Some(vec![0; octets]) }).now_or_never().flatten();
        let held: Vec<_> = (0..4).map_while(|_| reply(LARGEST_MESSAGE)).collect();
        assert!(held.len() == 4 && reply(1).is_none(), "four of the largest, and no more");
        drop(held);
        let held: Vec<_> = (0..1000).map_while(|_| reply(200)).collect();
        assert_eq!(held.len(), 984, "as many small ones as leave room for a large one");
        drop(held);
        // Those that wait for something else hold nobody up, until they are there.
        let (answered, asked): (Vec<_>, Vec<_>) = (0..9).map(|_| tokio::sync::oneshot::channel::<Vec<u8>>()).unzip();
        let mut waiting: Vec<_> = asked.into_iter().map(|asked| Box::pin(room.answer(async { asked.await.ok() }))).collect();
        assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()) && reply(1).is_some());
        answered.into_iter().for_each(|answered| answered.send(vec![0; LARGEST_MESSAGE]).unwrap());
        let held: Vec<_> = waiting.iter_mut().filter_map(|waiting| waiting.now_or_never().flatten()).collect();
        assert!(held.len() == 4 && reply(1).is_none());
    }
}
