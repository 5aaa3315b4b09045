//! Linux: socket options, limits of the process and processors of a thread.

use std::ffi::c_int;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::ptr;

use socket2::Socket;

fn set(socket: &impl AsRawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the file descriptor is open while `socket` is borrowed, and the pointer and length are those of a live c_int.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(&value).cast(), size_of::<c_int>() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the send buffer beyond the system's limit; needs CAP_NET_ADMIN.
pub(super) fn force_send_buffer(socket: &Socket, size: usize) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, c_int::try_from(size).unwrap_or(c_int::MAX))
}

/// Sets the receive buffer beyond the system's limit; needs CAP_NET_ADMIN.
pub(super) fn force_receive_buffer(socket: &Socket, size: usize) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, c_int::try_from(size).unwrap_or(c_int::MAX))
}

/// Has datagrams sent whole or not at all, or in fragments where that is what it takes; in both cases without regard to path MTUs learned
/// from ICMP.
///
/// Anyone can forge the ICMP message that makes a server split its replies, and then replace the second fragment with records of their
/// own ("Fragmentation Considered Poisonous", Herzberg and Shulman 2012). RFC 9715 §3.1 asks for whole datagrams where that is safe: with DF,
/// and nothing learned that could be forged. And what is never split needs no identification, whose making is 3 % of the work of a reply.
pub(super) fn allow_fragments(socket: &impl AsRawFd, is_v6: bool, may: bool) -> io::Result<()> {
    match (is_v6, may) {
        (false, false) => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        (true, false) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
        (false, true) => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
            .or_else(|_| set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)),
        (true, true) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)
            .or_else(|_| set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)),
    }
}

/// Has the kernel tell with each datagram which address it was sent to.
pub(super) fn enable_pktinfo(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// Whether the kernel knows UDP_SEGMENT (Linux 4.18). One that does not would send a whole group as one datagram, without an error.
pub(super) fn can_group(socket: &impl AsRawFd) -> bool {
    // 0 is what it is by default: replies that are not grouped are sent as they are.
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
}

/// Has the kernel refuse groups, as a device without checksums of its own does: for a test.
#[cfg(test)]
pub(super) fn refuse_groups(socket: &impl AsRawFd) {
    set(socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
}

/// Whether datagrams go whole or not at all: for a test.
#[cfg(test)]
pub(super) fn sends_whole(socket: &impl AsRawFd, is_v6: bool) -> bool {
    let (level, option, whole) = match is_v6 {
        false => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        true => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    };
    let (mut value, mut length) = (0, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: the pointers are to a live c_int and to its length.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length) };
    assert_eq!(result, 0);
    value == whole
}

/// Has the kernel hand over groups as they were sent: for a test.
#[cfg(test)]
pub(super) fn accept_groups(socket: &impl AsRawFd) {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1).unwrap();
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

/// The processors that this thread may run on; none where that is not known (more of them than a `cpu_set_t` holds).
pub(super) fn processors() -> Vec<usize> {
    // SAFETY: a cpu_set_t is plain integers, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `set` is a live cpu_set_t of the size beside it; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Vec::new();
    }
    // SAFETY: the number is below that of the bits in the set.
    (0..libc::CPU_SETSIZE as usize).filter(|number| unsafe { libc::CPU_ISSET(*number, &set) }).collect()
}

/// Keeps this thread on one processor.
pub(super) fn pin(processor: usize) -> io::Result<()> {
    assert!(processor < libc::CPU_SETSIZE as usize);
    // SAFETY: as above.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the number is below that of the bits in the set.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: `set` is a live cpu_set_t of the size beside it, which the call only reads; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
