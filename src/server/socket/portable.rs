//! Where the system is not Linux: one datagram at a time, as `std` offers it.

use std::io;
use std::net::SocketAddr;

use super::{Datagrams, LARGEST_QUERY, LARGEST_REPLY, Taken, is_passing};

/// The datagram that one worker took, and the reply to it.
pub(in crate::server) struct Batch {
    query: Vec<u8>,
    received: Option<(usize, SocketAddr)>,
    /// Whose query was taken.
    peer: Option<SocketAddr>,
    reply: Vec<u8>,
    length: Option<usize>,
    is_open: bool,
}

/// Where the reply to a query goes.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Back(Option<SocketAddr>);

impl Datagrams {
    /// Sends one reply.
    pub(in crate::server) fn send_back(&self, back: &Back, reply: &[u8]) {
        if let Some(peer) = back.0 {
            let _ = self.socket.send_to(reply, peer);
        }
    }
}

impl Batch {
    /// An empty one.
    pub(in crate::server) fn new(_: &Datagrams) -> Batch {
        Batch { query: vec![0; LARGEST_QUERY], received: None, peer: None, reply: vec![0; LARGEST_REPLY], length: None, is_open: false }
    }

    /// Whether a query or reply of the last receive is still to be seen to.
    pub(in crate::server) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Waits for a datagram; gives how many came, 0 where none came in time.
    pub(in crate::server) fn receive(&mut self, datagrams: &Datagrams) -> io::Result<usize> {
        (self.received, self.peer, self.length) = (None, None, None);
        match datagrams.socket.recv_from(&mut self.query) {
            Ok(received) => {
                (self.received, self.is_open) = (Some(received), true);
                Ok(1)
            }
            Err(error) if is_passing(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The queries received that are not taken yet, where there are several.
    pub(in crate::server) fn waiting(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }

    /// The query received.
    pub(in crate::server) fn take(&mut self) -> Option<Taken<'_>> {
        let (length, peer) = self.received.take()?;
        self.peer = Some(peer);
        Some(Taken { peer, query: &self.query[..length.min(LARGEST_QUERY)], reply: &mut self.reply })
    }

    /// Takes the first `length` octets of the room for it as the reply to the query that was taken.
    pub(in crate::server) fn reply(&mut self, length: usize) {
        self.length = Some(length.min(LARGEST_REPLY));
    }

    /// Where the reply to the query that was taken goes, for one that is made later.
    pub(in crate::server) fn back(&self) -> Back {
        Back(self.peer)
    }

    /// Sends the reply. What cannot be sent is lost, as datagrams are: the client asks again.
    pub(in crate::server) fn send(&mut self, datagrams: &Datagrams) {
        self.is_open = false;
        if let (Some(peer), Some(length)) = (self.peer, self.length) {
            let _ = datagrams.socket.send_to(&self.reply[..length], peer);
        }
    }
}
