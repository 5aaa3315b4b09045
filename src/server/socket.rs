//! UDP sockets that answer from the address they were asked on. The one module with unsafe code: `std` and `socket2` offer neither
//! IP_PKTINFO nor the path MTU and SO_RCVBUFFORCE options.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// The receive buffer asked for: with the default of some 200 KB a burst of a few hundred queries is lost (DESIGN §8).
const RECEIVE_BUFFER: usize = 4 << 20;

/// The send buffer asked for. What waits for the address of a neighbour that is not there counts against it for seconds: with the default
/// of some 200 KB, 170 queries with forged senders of the server's own network fill it.
const SEND_BUFFER: usize = 4 << 20;

/// The longest that a worker blocks: the fallback by which it notices that it is to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// One worker's socket. It shares its port with the other workers' (SO_REUSEPORT): the kernel deals clients out by their address and port.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
}

/// Who is to be replied to, and from where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Return {
    /// The client.
    pub(super) peer: SocketAddr,
    #[cfg(target_os = "linux")]
    asked: Option<linux::Asked>,
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
        let wildcard = address.ip().is_unspecified();
        #[cfg(target_os = "linux")]
        {
            linux::ignore_path_mtu(&socket, address);
            if wildcard {
                linux::enable(&socket, address)?;
            }
        }
        socket.set_read_timeout(Some(LONGEST_WAIT))?;
        socket.bind(&address.into())?;
        Ok(Datagrams { socket: socket.into() })
    }

    /// Waits for a datagram: its length within `buffer` and where the reply goes. `None` where none came in time.
    #[inline]
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Return)>> {
        // After `wake` Linux returns zero octets from nobody, of which std's `recv_from` reads an address that nobody wrote.
        #[cfg(target_os = "linux")]
        return linux::receive(&self.socket, buffer);
        #[cfg(not(target_os = "linux"))]
        match self.socket.recv_from(buffer) {
            Ok((length, peer)) => Ok(Some((length, Return { peer }))),
            Err(error) if is_passing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a reply. What cannot be sent at once is lost, as datagrams are: the client asks again. Waiting would let replies that nobody
    /// takes hold up the others.
    #[inline]
    pub(super) fn send(&self, reply: &[u8], to: &Return) {
        #[cfg(target_os = "linux")]
        if let Some(asked) = &to.asked {
            linux::send(&self.socket, reply, to.peer, asked);
            return;
        }
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&self.socket).send_to_with_flags(reply, &to.peer.into(), linux::AT_ONCE);
        #[cfg(not(target_os = "linux"))]
        let _ = self.socket.send_to(reply, to.peer);
    }

    /// Ends the wait of the worker in [`Datagrams::receive`], on Linux at once; elsewhere the read timeout does.
    pub(super) fn wake(&self) {
        // Fails with ENOTCONN, the socket being unconnected, and yet wakes whoever waits (Linux, inet_shutdown).
        let _ = socket2::SockRef::from(&self.socket).shutdown(std::net::Shutdown::Read);
    }
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

/// Linux: above all the address that a datagram was sent to, received and given back as ancillary data (ip(7), RFC 3542 §6.1).
#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::c_int;
    use std::io;
    use std::mem::{MaybeUninit, size_of};
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::ptr;

    use socket2::{SockAddr, Socket};

    use super::{Return, is_passing};

    /// Sends now or not at all.
    pub(super) const AT_ONCE: c_int = libc::MSG_DONTWAIT;

    /// The local address that a client asked, as the kernel tells it and takes it back.
    #[derive(Debug, Clone, Copy)]
    pub(super) enum Asked {
        V4(libc::in_addr),
        /// With the interface, which a link-local address needs.
        V6(libc::in6_addr, u32),
    }

    /// Room for one control message, aligned as its header must be. CMSG_SPACE(in6_pktinfo) is 40 octets at most.
    #[repr(C, align(8))]
    struct ControlBuffer([u8; 64]);

    fn set(socket: &Socket, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
        // SAFETY: the file descriptor is open while `socket` is borrowed, and the pointer and length are those of a live c_int.
        let result = unsafe {
            libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(&value).cast(), size_of::<c_int>() as libc::socklen_t)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(super) fn raise_open_files() -> Option<u64> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is a live rlimit that nothing else refers to.
        if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
            return None;
        }
        let before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: as above; the call only reads it.
        let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0;
        Some(if raised { limit.rlim_max } else { before })
    }

    pub(super) fn open_files() -> Option<u64> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is a live rlimit that nothing else refers to.
        (unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0).then_some(limit.rlim_cur)
    }

    /// Sets the send buffer beyond the system's limit; needs CAP_NET_ADMIN.
    pub(super) fn force_send_buffer(socket: &Socket, size: usize) -> io::Result<()> {
        set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, c_int::try_from(size).unwrap_or(c_int::MAX))
    }

    /// Sets the receive buffer beyond the system's limit; needs CAP_NET_ADMIN.
    pub(super) fn force_receive_buffer(socket: &Socket, size: usize) -> io::Result<()> {
        set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, c_int::try_from(size).unwrap_or(c_int::MAX))
    }

    /// Has replies sent without DF and without regard to path MTUs learned from ICMP.
    ///
    /// Anyone can forge the ICMP message that makes a server split its replies, and then replace the second fragment with records of their
    /// own ("Fragmentation Considered Poisonous", Herzberg and Shulman 2012; RFC 9715 §3.1). Replies hold at most 1232 octets unless configured otherwise.
    pub(super) fn ignore_path_mtu(socket: &Socket, address: SocketAddr) {
        let result = match address {
            SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
                .or_else(|_| set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)),
            SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)
                .or_else(|_| set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)),
        };
        if let Err(error) = result {
            tracing::debug!(%address, %error, "path MTU discovery stays as the system has it");
        }
    }

    /// Has the kernel tell with each datagram which address it was sent to.
    pub(super) fn enable(socket: &Socket, address: SocketAddr) -> io::Result<()> {
        match address {
            SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
        }
    }

    pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<(usize, Return)>> {
        let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
        let mut control = MaybeUninit::<ControlBuffer>::uninit();
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a msghdr is plain integers and pointers, for which zero is a value.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_name = name.as_mut_ptr().cast();
        message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<ControlBuffer>() as _;
        // SAFETY: each pointer of `message` is to memory of the length beside it that outlives the call and that nothing else refers to.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
        let Ok(length) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return if is_passing(&error) { Ok(None) } else { Err(error) };
        };
        // SAFETY: all of `name` is initialised: zeroed above, then written by the kernel.
        let name = unsafe { name.assume_init() };
        // No name: the read side was shut down to wake the worker.
        let Some(peer) = socket_address(&name) else { return Ok(None) };
        // SAFETY: recvmsg succeeded: `message` describes `control`, whose first `msg_controllen` octets the kernel wrote.
        let asked = unsafe { pktinfo(&message) };
        Ok(Some((length.min(buffer.len()), Return { peer, asked })))
    }

    pub(super) fn send(socket: &UdpSocket, reply: &[u8], peer: SocketAddr, asked: &Asked) {
        let name = SockAddr::from(peer);
        let mut control = ControlBuffer([0; 64]);
        let mut part = libc::iovec { iov_base: reply.as_ptr().cast_mut().cast(), iov_len: reply.len() };
        // SAFETY: a msghdr is plain integers and pointers, for which zero is a value.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_name = name.as_ptr().cast_mut().cast();
        message.msg_namelen = name.len();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<ControlBuffer>() as _;
        match *asked {
            Asked::V4(address) => {
                // Interface 0: the route decides, as replies need not leave by the interface that the query came in on.
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: libc::in_addr { s_addr: 0 } };
                // SAFETY: `message` holds the zeroed, aligned `control`, with room for this one message.
                unsafe { put(&mut message, libc::IPPROTO_IP, libc::IP_PKTINFO, info) };
            }
            Asked::V6(address, interface) => {
                let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: interface };
                // SAFETY: as above.
                unsafe { put(&mut message, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info) };
            }
        }
        // SAFETY: each pointer of `message` is to memory of the length beside it that outlives the call; sendmsg only reads it.
        unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, AT_ONCE) };
    }

    /// The address asked for, from the control messages of a received datagram.
    ///
    /// # Safety
    /// `msg_control` points to `msg_controllen` initialised octets, aligned for a `cmsghdr`.
    unsafe fn pktinfo(message: &libc::msghdr) -> Option<Asked> {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay within `msg_controllen`, and the length of each message is checked before its data is
        // read; the data may be unaligned, so it is copied out.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(message);
            while !header.is_null() {
                let data = libc::CMSG_DATA(header);
                let holds = |size: usize| (*header).cmsg_len as usize >= libc::CMSG_LEN(size as u32) as usize;
                match ((*header).cmsg_level, (*header).cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) if holds(size_of::<libc::in_pktinfo>()) => {
                        let info = ptr::read_unaligned(data.cast::<libc::in_pktinfo>());
                        return Some(Asked::V4(info.ipi_spec_dst));
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if holds(size_of::<libc::in6_pktinfo>()) => {
                        let info = ptr::read_unaligned(data.cast::<libc::in6_pktinfo>());
                        let link_local = Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local();
                        return Some(Asked::V6(info.ipi6_addr, if link_local { info.ipi6_ifindex } else { 0 }));
                    }
                    _ => header = libc::CMSG_NXTHDR(message, header),
                }
            }
        }
        None
    }

    /// Makes `data` the only control message of `message`.
    ///
    /// # Safety
    /// `msg_control` points to `msg_controllen` zeroed octets, aligned for a `cmsghdr`, at least CMSG_SPACE(size of `data`) of them.
    unsafe fn put<T>(message: &mut libc::msghdr, level: c_int, kind: c_int, data: T) {
        // SAFETY: the first header lies at the start of the buffer, which has room for header and data by the condition above.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as _;
            ptr::write_unaligned(libc::CMSG_DATA(header).cast::<T>(), data);
            message.msg_controllen = libc::CMSG_SPACE(size_of::<T>() as u32) as _;
        }
    }

    fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
        match c_int::from(name.ss_family) {
            libc::AF_INET => {
                // SAFETY: a sockaddr_storage is larger than and aligned as a sockaddr_in, which any octets make up.
                let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
                let address = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above, for a sockaddr_in6.
                let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
                let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(address, u16::from_be(name.sin6_port), name.sin6_flowinfo, name.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}
