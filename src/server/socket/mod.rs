//! UDP sockets that answer from the address they were asked on, many queries and many replies at a time. The one module with unsafe code:
//! `std` and `socket2` offer neither batches of datagrams, IP_PKTINFO and UDP_SEGMENT nor the options for path MTUs, buffers and processors.
//!
//! A batch costs two system calls whatever its size, and replies of one length for one client cost one pass through the kernel's network
//! stack together. The more waits, the cheaper each answer becomes.
#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
mod batch;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

use std::io;
use std::net::{SocketAddr, UdpSocket};
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

#[cfg(target_os = "linux")]
pub(super) use batch::{Back, Batch};
#[cfg(not(target_os = "linux"))]
pub(super) use portable::{Back, Batch};

/// The largest reply: the upper end of `[dns] udp_payload`.
const LARGEST_REPLY: usize = 4096;

/// The largest datagram there is, so that no query is ever cut before it is read.
const LARGEST_QUERY: usize = 65_535;

/// The receive buffer asked for: with the default of some 200 KB a burst of a few hundred queries is lost (DESIGN §8).
const RECEIVE_BUFFER: usize = 4 << 20;

/// The send buffer asked for. What waits for the address of a neighbour that is not there counts against it for seconds: with the default
/// of some 200 KB, 170 queries with forged senders of the server's own network fill it.
const SEND_BUFFER: usize = 4 << 20;

/// Replies of at most so many octets pass every path whole: IPv6 asks that of all (RFC 8200 §5), and hardly any path of IPv4 is narrower.
#[cfg(target_os = "linux")]
const WHOLE: u16 = 1232;

/// The longest that a worker blocks: the fallback by which it notices that it is to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// One worker's socket. It shares its port with the other workers' (SO_REUSEPORT): the kernel deals clients out by their address and port.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
    /// It has all addresses of the machine, and each reply leaves from the one that was asked.
    #[cfg(target_os = "linux")]
    is_wildcard: bool,
    #[cfg(target_os = "linux")]
    is_v6: bool,
    /// Whether several replies may be sent as one.
    #[cfg(target_os = "linux")]
    can_group: bool,
    /// See [`Splits`].
    #[cfg(target_os = "linux")]
    splits: AtomicU8,
}

/// Whether replies may be sent in fragments.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Splits {
    /// No: they are small enough for every path.
    Never,
    /// Yes: larger ones are configured.
    Configured,
    /// Yes, for good: one was too large for the way out of this machine.
    Needed,
}

/// A query out of a [`Batch`].
pub(super) struct Taken<'b> {
    /// The client.
    pub(super) peer: SocketAddr,
    /// Its octets, all of them.
    pub(super) query: &'b [u8],
    /// Room for the reply: as much as one may ever take.
    pub(super) reply: &'b mut [u8],
}

impl Datagrams {
    /// Binds `address`, whose port is not 0.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Datagrams> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // One address, one socket: `0.0.0.0` and `[::]` may both be listed, and IPv4 clients never appear as mapped addresses.
            socket.set_only_v6(true)?;
        }
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        enlarge(&socket, address);
        enlarge_send(&socket, address);
        #[cfg(target_os = "linux")]
        let is_wildcard = address.ip().is_unspecified();
        #[cfg(target_os = "linux")]
        {
            if is_wildcard {
                linux::enable_pktinfo(&socket, address)?;
            }
        }
        socket.set_read_timeout(Some(LONGEST_WAIT))?;
        socket.bind(&address.into())?;
        Ok(Datagrams {
            #[cfg(target_os = "linux")]
            is_wildcard,
            #[cfg(target_os = "linux")]
            is_v6: address.is_ipv6(),
            #[cfg(target_os = "linux")]
            can_group: linux::can_group(&socket),
            // As the system has it, until the first batch says how large replies may be.
            #[cfg(target_os = "linux")]
            splits: AtomicU8::new(u8::MAX),
            socket: socket.into(),
        })
    }

    /// Says how many octets a reply may have: what fits every path goes whole (RFC 9715 §3.1).
    #[inline]
    pub(super) fn expect_payload(&self, octets: u16) {
        #[cfg(target_os = "linux")]
        {
            let splits = if octets <= WHOLE { Splits::Never } else { Splits::Configured };
            let before = self.splits.load(Ordering::Relaxed);
            if before != splits as u8 && before != Splits::Needed as u8 {
                self.set_splits(splits);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = octets;
    }

    #[cfg(target_os = "linux")]
    #[cold]
    fn set_splits(&self, splits: Splits) {
        self.splits.store(splits as u8, Ordering::Relaxed);
        if let Err(error) = linux::allow_fragments(&self.socket, self.is_v6, splits != Splits::Never) {
            tracing::debug!(%error, "path MTU discovery stays as the system has it");
        }
    }

    /// A reply was too large to leave this machine whole; whether it can leave in fragments now.
    #[cfg(target_os = "linux")]
    #[cold]
    fn must_split(&self) -> bool {
        let is_new = self.splits.load(Ordering::Relaxed) == Splits::Never as u8;
        if is_new {
            self.set_splits(Splits::Needed);
            tracing::warn!(
                "a reply does not fit the MTU of the interface that it leaves by: replies may go out in fragments; a smaller udp_payload avoids that"
            );
        }
        is_new
    }

    /// Whether replies go whole or not at all.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn sends_whole(&self) -> bool {
        linux::sends_whole(&self.socket, self.is_v6)
    }

    /// Ends the wait of the worker in [`Batch::receive`], on Linux at once; elsewhere the read timeout does.
    pub(super) fn wake(&self) {
        // Fails with ENOTCONN, the socket being unconnected, and yet wakes whoever waits (Linux, inet_shutdown).
        let _ = socket2::SockRef::from(&self.socket).shutdown(std::net::Shutdown::Read);
    }

    /// Has the kernel refuse groups, as a device without checksums of its own does.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn refuse_groups(&self) {
        linux::refuse_groups(&self.socket);
    }
}

/// Has a client's socket take several datagrams in one piece where they were sent so.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn accept_groups(socket: &UdpSocket) {
    linux::accept_groups(socket);
}

/// The processors for as many workers of one address, one each; none where they are better left to the system: where this process may use
/// more processors than it has workers, others may be meant for other processes, which would choose the same ones; where it may use fewer,
/// by number or by quota, workers share them.
pub(super) fn processors(workers: usize) -> Vec<usize> {
    #[cfg(target_os = "linux")]
    {
        let allowed = linux::processors();
        let quota = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        if allowed.len() == workers && quota >= workers { allowed } else { Vec::new() }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = workers;
        Vec::new()
    }
}

/// Keeps this thread on one of [`processors`].
pub(super) fn pin(processor: usize) {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::pin(processor) {
        tracing::debug!(%error, processor, "a worker stays on whichever processor the system puts it");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = processor;
}

/// Errors that say nothing about the socket: no datagram in time, a signal, or an ICMP message about an earlier reply.
pub(super) fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable, TimedOut, WouldBlock,
    };
    matches!(
        error.kind(),
        WouldBlock
            | TimedOut
            | Interrupted
            | ConnectionRefused
            | ConnectionReset
            | ConnectionAborted
            | HostUnreachable
            | NetworkUnreachable
    )
}

/// Errors of a process or a machine that has no room for one more connection.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|number| shortages.contains(&number))
}

/// Asks for a large send buffer and says what was granted when that is less.
fn enlarge_send(socket: &Socket, address: SocketAddr) {
    #[cfg(target_os = "linux")]
    if linux::force_send_buffer(socket, SEND_BUFFER).is_ok() {
        return;
    }
    // Cut to the limit, not failed.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    match socket.send_buffer_size() {
        Ok(granted) if granted < SEND_BUFFER => tracing::info!(
            %address, granted, asked = SEND_BUFFER,
            "the system grants a smaller UDP send buffer than asked for; replies to hosts that are not there may cost others theirs (sysctl net.core.wmem_max)"
        ),
        _ => {}
    }
}

/// How many files the process may have open; `None` where it is not known.
pub(super) fn open_files() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return linux::open_files();
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// Asks for a large receive buffer and says what was granted when that is less.
fn enlarge(socket: &Socket, address: SocketAddr) {
    #[cfg(target_os = "linux")]
    if linux::force_receive_buffer(socket, RECEIVE_BUFFER).is_ok() {
        return;
    }
    // Refused requests are cut to the limit, not failed; the size read back is what counts.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    match socket.recv_buffer_size() {
        // Linux books twice the size asked for, the other half being its own upkeep (socket(7)).
        Ok(granted) if granted < RECEIVE_BUFFER => tracing::info!(
            %address, granted, asked = RECEIVE_BUFFER,
            "the system grants a smaller UDP receive buffer than asked for; bursts may lose queries (sysctl net.core.rmem_max)"
        ),
        _ => {}
    }
}

/// Raises the number of files that the process may have open to the most it may ask for; gives that number, `None` where it is not known.
///
/// The usual limit of 1,024 is too low for TCP connections and probes at once. It stands here because the call is unsafe and this module
/// is where such calls live; whoever starts the process calls it first.
pub fn raise_open_files() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return linux::raise_open_files();
    #[cfg(not(target_os = "linux"))]
    return None;
}
