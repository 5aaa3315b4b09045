//! Half-open connections: SYNs of clients that are not there (RFC 4987), among which others connect and ask.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};

use crate::connections::{SMALL, connect, framed, reply};
use crate::process::Home;

/// Set in the network namespace.
const INSIDE: &str = "SIGNPOST_TEST_HALF_OPEN";

/// A network where what is not ours leads nowhere, and says nothing about it.
const NETWORK: &str = "set -e
ip link set lo up
ip link add d0 type veth peer name d1
for d in d0 d1; do ip link set $d arp off; ip link set $d up; done
ip addr add 192.0.2.1/24 dev d0
ip route add default dev d0
for f in all lo default; do echo 0 > /proc/sys/net/ipv4/conf/$f/rp_filter; done";

#[test]
#[ignore = "a figure, for root: 100,000 half-open connections while 500 new ones ask"]
fn figures_half_open_connections() {
    if std::env::var_os(INSIDE).is_none() {
        let this = std::env::current_exe().unwrap();
        let arguments = ["--ignored", "--exact", "--nocapture", "half_open::figures_half_open_connections"];
        let inside = Command::new("unshare").arg("-n").arg(this).args(arguments).env(INSIDE, "1").status().unwrap();
        assert!(inside.success());
        return;
    }
    assert!(Command::new("sh").args(["-c", NETWORK]).status().unwrap().success());
    let mut home = Home::new(&[]);
    // Loopback addresses are not answered outside of loopback.
    let address = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), home.dns.port());
    home.listen(address.into());
    let (_server, _) = home.start();
    let syns = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap(); // IPPROTO_RAW: the header is ours
    let mut sent = 0u32;
    let mut flood = |most: u32| {
        for _ in 0..most {
            // Another client each time, of 198.18.0.0/15 (RFC 2544 §C.2.2).
            let client = SocketAddrV4::new(Ipv4Addr::from(0xc612_0000 + sent % 0x1_ffff), 1024 + (sent % 60_000) as u16);
            syns.send_to(&syn(client, address, sent), &SocketAddr::from(address).into()).unwrap();
            sent += 1;
        }
    };
    flood(10_000);
    let mut took: Vec<_> = (0..500)
        .map(|_| {
            flood(180);
            let begin = Instant::now();
            let mut stream = connect([192, 0, 2, 1], address.into(), None).unwrap();
            stream.write_all(&framed(SMALL)).unwrap();
            reply(&mut stream).unwrap();
            begin.elapsed()
        })
        .collect();
    took.sort();
    println!("{sent} half-open: connect to reply p50 {:?}, p99 {:?}, max {:?}", took[250], took[495], took[499]);
    let counted = std::fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = counted.lines().map(str::split_whitespace);
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let told: Vec<_> =
        names.zip(values).filter(|(name, _)| matches!(*name, "SyncookiesSent" | "ListenDrops" | "TCPReqQFullDrop")).collect();
    println!("  the kernel: {told:?}");
    assert!(told.iter().any(|(name, value)| *name == "SyncookiesSent" && *value != "0"), "the listen queue never filled");
    assert!(took[499].as_millis() < 1000);
}

/// An IPv4 packet with a SYN (RFC 791 §3.1, RFC 9293 §3.1).
fn syn(from: SocketAddrV4, to: SocketAddrV4, sequence: u32) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20);
    segment.extend_from_slice(&from.port().to_be_bytes());
    segment.extend_from_slice(&to.port().to_be_bytes());
    segment.extend_from_slice(&sequence.to_be_bytes());
    segment.extend_from_slice(&[0, 0, 0, 0, 5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let addresses = [from.ip().octets(), to.ip().octets()].concat();
    let summed = [&addresses[..], &[0, 6, 0, 20], &segment].concat();
    segment[16..18].copy_from_slice(&checksum(&summed).to_be_bytes());
    // The kernel fills in length and checksum of the header (raw(7)).
    [&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0][..], &addresses, &segment].concat()
}

/// RFC 1071, of an even number of octets.
fn checksum(octets: &[u8]) -> u16 {
    let mut sum: u32 = octets.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}
