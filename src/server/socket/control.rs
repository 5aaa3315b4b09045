//! Linux: what goes beside a datagram. The local address that it was sent to, received and given back (ip(7), RFC 3542 §6.1), and the
//! length of the datagrams that a send is cut into (udp(7)).

use std::ffi::c_int;
use std::mem::{MaybeUninit, size_of};
use std::net::Ipv6Addr;
use std::ptr;

/// The local address that a client asked, as the kernel tells it and takes it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// In the order of the wire.
    V4([u8; 4]),
    /// With the interface, which a link-local address needs, else 0.
    V6([u8; 16], u32),
}

/// Room for control messages, aligned as their headers must be.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Control([u8; Control::SIZE]);

impl Control {
    /// Both messages that are sent: CMSG_SPACE of an `in6_pktinfo` is 40 octets, of a length 24.
    pub(super) const SIZE: usize = 64;

    pub(super) const EMPTY: Control = Control([0; Control::SIZE]);

    /// Writes the messages for a send; gives the octets that they take, 0 for none.
    #[inline]
    pub(super) fn write(&mut self, asked: Option<Asked>, segment: Option<u16>) -> usize {
        let mut used = 0;
        match asked {
            None => {}
            Some(Asked::V4(address)) => {
                // Interface 0: the route decides, as replies need not leave by the interface that the query came in on.
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(address) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                used = self.put(used, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            Some(Asked::V6(address, interface)) => {
                let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: address }, ipi6_ifindex: interface };
                used = self.put(used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
        if let Some(length) = segment {
            used = self.put(used, libc::SOL_UDP, libc::UDP_SEGMENT, length);
        }
        used
    }

    /// Puts a message at octet `at`, a multiple of 8; gives where the next one goes.
    #[inline]
    fn put<T>(&mut self, at: usize, level: c_int, kind: c_int, data: T) -> usize {
        // SAFETY: both compute with numbers only.
        let (length, space) = unsafe { (libc::CMSG_LEN(size_of::<T>() as u32), libc::CMSG_SPACE(size_of::<T>() as u32) as usize) };
        let room = &mut self.0[at..at + space];
        // SAFETY: a cmsghdr is plain integers, for which zero is a value.
        let mut header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.cmsg_level = level;
        header.cmsg_type = kind;
        header.cmsg_len = length as _;
        // SAFETY: `room` holds header and data, by the definition of CMSG_SPACE; CMSG_DATA only adds the size of a header.
        unsafe {
            let begin = room.as_mut_ptr().cast::<libc::cmsghdr>();
            ptr::write_unaligned(begin, header);
            ptr::write_unaligned(libc::CMSG_DATA(begin).cast::<T>(), data);
        }
        at + space
    }
}

/// The address asked for, from the control messages of a received datagram.
///
/// # Safety
/// `msg_control` points to `msg_controllen` initialised octets, aligned for a `cmsghdr`.
pub(super) unsafe fn asked(message: &libc::msghdr) -> Option<Asked> {
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
                    return Some(Asked::V4(info.ipi_spec_dst.s_addr.to_ne_bytes()));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if holds(size_of::<libc::in6_pktinfo>()) => {
                    let info = ptr::read_unaligned(data.cast::<libc::in6_pktinfo>());
                    let address = info.ipi6_addr.s6_addr;
                    let link_local = Ipv6Addr::from(address).is_unicast_link_local();
                    return Some(Asked::V6(address, if link_local { info.ipi6_ifindex } else { 0 }));
                }
                _ => header = libc::CMSG_NXTHDR(message, header),
            }
        }
    }
    None
}
