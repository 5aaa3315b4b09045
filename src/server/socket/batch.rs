//! Linux: datagrams by the batch. What the kernel is handed is laid out once and used again and again.

use std::ffi::{c_int, c_long, c_uint};
use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{sockaddr_in, sockaddr_in6};

use super::super::groups::{Group, Groups, Reply};
use super::super::pace::Pace;
use super::control::{self, Asked, Control};
use super::{Datagrams, LARGEST_QUERY, LARGEST_REPLY, Taken, is_passing};

/// Datagrams that are taken at once.
const BATCH: usize = 64;

/// From one query's room to the next: an odd number of cache lines, lest all of them fall into the same set of the cache.
const STRIDE: usize = LARGEST_QUERY + 1 + 64;

/// An address as the kernel writes and reads it: a `sockaddr_in` or a `sockaddr_in6`, and zeros behind it.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name([u8; 32]);

const _: () = assert!(size_of::<sockaddr_in6>() <= size_of::<Name>() && align_of::<sockaddr_in6>() <= align_of::<Name>());

/// Where the reply to a query goes, and the address of ours that it leaves from.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Back {
    name: Name,
    asked: Option<Asked>,
}

/// The datagrams that one worker took, and the replies to them.
///
/// The rooms for queries hold the largest datagram there is, so that no query is cut before it is read; of their memory only what was ever
/// written is there, some 4 KB each. Replies lie one behind the other.
///
/// After [`Batch::new`] no vector is reallocated and no `&mut` is made to what `incoming` points to, so that its pointers stay good.
pub(in crate::server) struct Batch {
    pace: Pace,
    can_group: bool,
    /// Received, and not yet sent what there is to send.
    is_open: bool,
    received: usize,
    taken: usize,
    queries: Vec<u8>,
    names: Vec<Name>,
    name_length: libc::socklen_t,
    asked: Vec<Option<Asked>>,
    incoming: Vec<libc::mmsghdr>,
    /// Where each query goes.
    rooms: Vec<libc::iovec>,
    /// What comes beside each query; none where the socket has one address.
    incoming_controls: Vec<Control>,
    replies: Vec<u8>,
    used: usize,
    groups: Groups,
    outgoing: Vec<libc::mmsghdr>,
    parts: Vec<libc::iovec>,
    outgoing_controls: Vec<Control>,
}

impl Batch {
    /// An empty one for the datagrams of one socket.
    pub(in crate::server) fn new(datagrams: &Datagrams) -> Batch {
        let mut queries = vec![0; BATCH * STRIDE];
        let mut names = vec![Name([0; 32]); BATCH];
        let name_length = if datagrams.is_v6 { size_of::<sockaddr_in6>() } else { size_of::<sockaddr_in>() } as libc::socklen_t;
        let mut incoming_controls = vec![Control::EMPTY; if datagrams.is_wildcard { BATCH } else { 0 }];
        let room = |n| libc::iovec { iov_base: queries.as_mut_ptr().wrapping_add(n * STRIDE).cast(), iov_len: LARGEST_QUERY };
        let mut rooms: Vec<_> = (0..BATCH).map(room).collect();
        let mut incoming = vec![empty_header(); BATCH];
        for (n, libc::mmsghdr { msg_hdr, .. }) in incoming.iter_mut().enumerate() {
            msg_hdr.msg_name = names.as_mut_ptr().wrapping_add(n).cast();
            msg_hdr.msg_namelen = name_length;
            msg_hdr.msg_iov = rooms.as_mut_ptr().wrapping_add(n);
            msg_hdr.msg_iovlen = 1;
            if datagrams.is_wildcard {
                msg_hdr.msg_control = incoming_controls.as_mut_ptr().wrapping_add(n).cast();
                msg_hdr.msg_controllen = Control::SIZE as _;
            }
        }
        Batch {
            pace: Pace::default(),
            can_group: datagrams.can_group,
            is_open: false,
            received: 0,
            taken: 0,
            queries,
            names,
            name_length,
            asked: vec![None; BATCH],
            incoming,
            rooms,
            incoming_controls,
            replies: vec![0; BATCH * LARGEST_REPLY],
            used: 0,
            groups: Groups::new(BATCH),
            outgoing: vec![empty_header(); BATCH],
            parts: Vec::with_capacity(BATCH),
            outgoing_controls: vec![Control::EMPTY; BATCH],
        }
    }

    /// Whether queries or replies of the last receive are still to be seen to.
    #[inline]
    pub(in crate::server) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Waits for datagrams and takes those that are there; gives how many, 0 where none came in time.
    #[inline]
    pub(in crate::server) fn receive(&mut self, datagrams: &Datagrams) -> io::Result<usize> {
        for header in &mut self.incoming[..self.received] {
            header.msg_hdr.msg_namelen = self.name_length;
            if !self.incoming_controls.is_empty() {
                header.msg_hdr.msg_controllen = Control::SIZE as _;
            }
        }
        (self.received, self.taken, self.used) = (0, 0, 0);
        self.groups.clear();
        let received = match self.pace.asks_many() {
            true => self.receive_up_to(BATCH, datagrams),
            false if datagrams.is_wildcard => self.receive_up_to(1, datagrams),
            false => self.receive_one(datagrams),
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return if is_passing(&error) { Ok(0) } else { Err(error) };
        };
        self.pace.note(received);
        if !self.incoming_controls.is_empty() {
            for (header, asked) in self.incoming.iter().zip(&mut self.asked).take(received) {
                // SAFETY: recvmmsg succeeded: the header describes its control buffer, whose first `msg_controllen` octets the kernel wrote.
                *asked = unsafe { control::asked(&header.msg_hdr) };
            }
        }
        self.received = received;
        self.is_open = true;
        Ok(received)
    }

    /// Has the kernel fill at most as many of `incoming`; gives how many it did, below 0 for an error.
    #[inline]
    fn receive_up_to(&mut self, most: usize, datagrams: &Datagrams) -> c_int {
        assert!(most <= BATCH);
        // SAFETY: each of the first `BATCH` headers points to a name, a room and, on wildcard sockets, a control buffer of the length beside
        // it. They live as long as `self`, stay where they are and nobody else refers to them during the call.
        unsafe {
            let headers = self.incoming.as_mut_ptr();
            libc::recvmmsg(datagrams.socket.as_raw_fd(), headers, most as c_uint, libc::MSG_WAITFORONE, ptr::null_mut())
        }
    }

    /// The same for one without control messages. recvfrom costs less than recvmmsg for one, and by number less than through the function of
    /// that name, which first makes the thread cancellable.
    #[inline]
    fn receive_one(&mut self, datagrams: &Datagrams) -> c_int {
        let fd = c_long::from(datagrams.socket.as_raw_fd());
        let (room, flags) = (&self.rooms[0], 0 as c_long);
        let header = &mut self.incoming[0];
        // SAFETY: `room` and the name are memory of the length beside each that lives as long as `self` and that nobody else refers to
        // during the call; the length of the name is a field of a live header.
        let length = unsafe {
            let name = (header.msg_hdr.msg_name, &raw mut header.msg_hdr.msg_namelen);
            libc::syscall(libc::SYS_recvfrom, fd, room.iov_base, room.iov_len, flags, name.0, name.1)
        };
        header.msg_len = c_uint::try_from(length).unwrap_or(0);
        if length < 0 { -1 } else { 1 }
    }

    /// The queries received that are not taken yet, where there are several.
    #[inline]
    pub(in crate::server) fn waiting(&self) -> impl Iterator<Item = &[u8]> {
        let left = if self.received - self.taken > 1 { self.taken..self.received } else { 0..0 };
        left.map(|n| &self.queries[n * STRIDE..][..(self.incoming[n].msg_len as usize).min(LARGEST_QUERY)])
    }

    /// The next query of those received.
    #[inline]
    pub(in crate::server) fn take(&mut self) -> Option<Taken<'_>> {
        while self.taken < self.received {
            let n = self.taken;
            self.taken += 1;
            let header = &self.incoming[n];
            // From nobody, where the read side was shut down to wake the worker: the name is an earlier one's.
            if header.msg_hdr.msg_namelen > 0
                && let Some(peer) = self.names[n].address()
            {
                let length = (header.msg_len as usize).min(LARGEST_QUERY);
                return Some(Taken {
                    peer,
                    query: &self.queries[n * STRIDE..][..length],
                    reply: &mut self.replies[self.used..self.used + LARGEST_REPLY],
                });
            }
        }
        None
    }

    /// Takes the first `length` octets of the room for it as the reply to the query that was taken last.
    #[inline]
    pub(in crate::server) fn reply(&mut self, length: usize) {
        let (n, names, asked) = (self.taken - 1, &self.names, &self.asked);
        let length = length.min(LARGEST_REPLY);
        let same = |other: usize| self.can_group && names[other] == names[n] && asked[other] == asked[n];
        self.groups.add(n, self.used, length, names[n].place(), same);
        self.used += length;
    }

    /// Where the reply to the query that was taken last goes, for one that is made later.
    pub(in crate::server) fn back(&self) -> Back {
        let n = self.taken - 1;
        Back { name: self.names[n], asked: self.asked[n] }
    }

    /// Sends the replies. What cannot be sent at once is lost, as datagrams are: the client asks again. Waiting would let replies that
    /// nobody takes hold up the others.
    #[inline]
    pub(in crate::server) fn send(&mut self, datagrams: &Datagrams) {
        self.is_open = false;
        if let [group] = *self.groups.groups()
            && group.count == 1
        {
            self.send_only(datagrams, &group);
            return;
        }
        self.lay_out();
        let (mut begun, all) = (0, self.groups.groups().len());
        while begun < all {
            // SAFETY: each header from `begun` to `all` was laid out just now and points to a name, parts and control messages that live as
            // long as `self`; the parts point into `replies`. The call writes nothing but the lengths in the headers.
            let sent = unsafe {
                let headers = self.outgoing.as_mut_ptr().add(begun);
                libc::sendmmsg(datagrams.socket.as_raw_fd(), headers, (all - begun) as c_uint, libc::MSG_DONTWAIT)
            };
            // It stops at the first that it cannot send, and tells why when that is the first of a call.
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => begun += sent,
                _ => {
                    self.refused(datagrams, begun, &io::Error::last_os_error());
                    begun += 1;
                }
            }
        }
    }

    /// Sends the only reply that there is: by number, as in [`Batch::receive_one`].
    #[inline]
    fn send_only(&self, datagrams: &Datagrams, group: &Group) {
        let Some(reply) = self.groups.replies(group).next() else { return };
        let to = usize::from(group.to);
        if self.asked[to].is_some() {
            self.send_alone(datagrams, group, reply);
            return;
        }
        let fd = c_long::from(datagrams.socket.as_raw_fd());
        let (part, flags) = (part(&self.replies, reply), c_long::from(libc::MSG_DONTWAIT));
        let (name, name_length) = (ptr::from_ref(&self.names[to]), self.name_length as usize);
        // SAFETY: `part` and `name` are memory of the length beside each that outlives the call, which only reads it.
        let sent = unsafe { libc::syscall(libc::SYS_sendto, fd, part.iov_base, part.iov_len, flags, name, name_length) };
        if sent < 0 && is_too_large(&io::Error::last_os_error()) {
            self.send_alone(datagrams, group, reply);
        }
    }

    /// Lays out a message for each group.
    #[inline]
    fn lay_out(&mut self) {
        self.parts.clear();
        for (n, group) in self.groups.groups().iter().enumerate() {
            let first = self.parts.len();
            for reply in self.groups.replies(group) {
                // What lies behind the reply before it is one part with it.
                match self.parts[first..].last_mut() {
                    Some(last) if end(last) == part(&self.replies, reply).iov_base => last.iov_len += usize::from(reply.length),
                    _ => self.parts.push(part(&self.replies, reply)),
                }
            }
            let segment = (group.count > 1).then_some(group.length);
            let control = &mut self.outgoing_controls[n];
            let length = control.write(self.asked[usize::from(group.to)], segment);
            let header = &mut self.outgoing[n].msg_hdr;
            header.msg_name = ptr::from_ref(&self.names[usize::from(group.to)]).cast_mut().cast();
            header.msg_namelen = self.name_length;
            header.msg_iov = self.parts.as_mut_ptr().wrapping_add(first);
            header.msg_iovlen = (self.parts.len() - first) as _;
            header.msg_control = if length == 0 { ptr::null_mut() } else { ptr::from_mut(control).cast() };
            header.msg_controllen = length as _;
        }
    }

    /// What becomes of a group that the kernel did not take: where that may be because it is one, its replies go out one by one.
    #[cold]
    fn refused(&mut self, datagrams: &Datagrams, number: usize, error: &io::Error) {
        let group = self.groups.groups()[number];
        let may_be_grouping = matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP | libc::EMSGSIZE));
        if group.count < 2 || !may_be_grouping {
            if is_too_large(error) {
                self.groups.replies(&group).for_each(|reply| _ = self.send_alone(datagrams, &group, reply));
            }
            return;
        }
        let mut taken = 0;
        for reply in self.groups.replies(&group) {
            taken += usize::from(self.send_alone(datagrams, &group, reply));
        }
        // The size is a matter of the way to that client, everything else one of this machine.
        if taken > 0 && self.can_group && error.raw_os_error() != Some(libc::EMSGSIZE) {
            self.can_group = false;
            tracing::info!(%error, "the system does not take several UDP replies at once; they are sent one by one");
        }
    }

    /// Sends one reply of a group; whether the kernel took it.
    fn send_alone(&self, datagrams: &Datagrams, group: &Group, reply: Reply) -> bool {
        let to = usize::from(group.to);
        datagrams.send_one(&self.names[to], self.asked[to], part(&self.replies, reply))
    }
}

impl Datagrams {
    /// Sends one reply; what cannot be sent at once is lost.
    pub(in crate::server) fn send_back(&self, back: &Back, reply: &[u8]) {
        let part = libc::iovec { iov_base: reply.as_ptr().cast_mut().cast(), iov_len: reply.len() };
        self.send_one(&back.name, back.asked, part);
    }

    /// Sends the octets that `part` describes, which outlive the call; whether the kernel took them.
    fn send_one(&self, name: &Name, asked: Option<Asked>, mut part: libc::iovec) -> bool {
        let mut control = Control::EMPTY;
        let length = control.write(asked, None);
        let mut header = empty_header().msg_hdr;
        header.msg_name = ptr::from_ref(name).cast_mut().cast();
        header.msg_namelen = if self.is_v6 { size_of::<sockaddr_in6>() } else { size_of::<sockaddr_in>() } as libc::socklen_t;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if length > 0 {
            header.msg_control = (&raw mut control).cast();
            header.msg_controllen = length as _;
        }
        let send = || {
            // SAFETY: each pointer of `header` is to memory of the length beside it that outlives the call, which only reads it.
            unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) >= 0 }
        };
        send() || is_too_large(&io::Error::last_os_error()) && self.must_split() && send()
    }
}

/// Whether a datagram was not sent because it does not fit the interface's MTU.
fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// A header that points nowhere.
fn empty_header() -> libc::mmsghdr {
    // SAFETY: an mmsghdr is plain integers and pointers, for which zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

#[inline]
fn part(replies: &[u8], reply: Reply) -> libc::iovec {
    let octets = &replies[reply.start as usize..][..usize::from(reply.length)];
    libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() }
}

#[inline]
fn end(part: &libc::iovec) -> *mut libc::c_void {
    part.iov_base.wrapping_byte_add(part.iov_len)
}

impl Name {
    /// The address; `None` where there is none.
    #[inline]
    fn address(&self) -> Option<SocketAddr> {
        let family = libc::sa_family_t::from_ne_bytes(self.octets(offset_of!(sockaddr_in, sin_family)));
        match i32::from(family) {
            libc::AF_INET => {
                let address = Ipv4Addr::from(self.octets::<4>(offset_of!(sockaddr_in, sin_addr)));
                Some(SocketAddrV4::new(address, u16::from_be_bytes(self.octets(offset_of!(sockaddr_in, sin_port)))).into())
            }
            libc::AF_INET6 => {
                let address = Ipv6Addr::from(self.octets::<16>(offset_of!(sockaddr_in6, sin6_addr)));
                let port = u16::from_be_bytes(self.octets(offset_of!(sockaddr_in6, sin6_port)));
                let flow = u32::from_ne_bytes(self.octets(offset_of!(sockaddr_in6, sin6_flowinfo)));
                let scope = u32::from_ne_bytes(self.octets(offset_of!(sockaddr_in6, sin6_scope_id)));
                Some(SocketAddrV6::new(address, port, flow, scope).into())
            }
            _ => None,
        }
    }

    /// A number that follows from all of it.
    #[inline]
    fn place(&self) -> u64 {
        let word = |n: usize| u64::from_ne_bytes(self.octets(n * 8));
        word(0) ^ word(1).rotate_left(16) ^ word(2).rotate_left(32) ^ word(3).rotate_left(48)
    }

    #[inline]
    fn octets<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|n| self.0[at + n])
    }
}
