//! NSD and Knot as processes that serve the same zones, and thousands of queries to them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::message::{Message, Record, read_transfer};
use crate::harness::{self, wait_until};

/// A zone to serve: its apex without the last dot, and its file's text.
pub struct Served {
    pub apex: String,
    pub text: String,
}

/// Whom answers are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Nsd,
    Knot,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Nsd, Kind::Knot];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Nsd => "NSD",
            Kind::Knot => "Knot",
        }
    }
}

/// A running peer.
pub struct Peer {
    pub kind: Kind,
    process: harness::Peer,
}

/// Queries under way at once.
const AT_ONCE: usize = 100;

impl Peer {
    /// Starts one that serves `zones`, and waits until it does.
    pub fn start(kind: Kind, zones: &[Served]) -> Peer {
        let process = match kind {
            Kind::Nsd => harness::Peer::start("nsd", |folder, address| nsd(folder, address, zones)),
            Kind::Knot => harness::Peer::start("knotd", |folder, address| knot(folder, address, zones)),
        };
        let peer = Peer { kind, process };
        let queries: Vec<Vec<u8>> = zones.iter().map(|zone| soa_query(&zone.apex)).collect();
        // Knot loads while it serves. A zone that it cannot load stays SERVFAIL, and shows when it is transferred: this ends when there
        // was nothing new for a while.
        let (mut before, mut idle) = (0, 0);
        wait_until(Duration::from_secs(20), || {
            let replies = ask_all(peer.process.address, &queries);
            let loaded = replies.iter().filter(|reply| reply.get(3).is_some_and(|flags| flags & 0xf == 0)).count();
            idle = if loaded == before { idle + 1 } else { 0 };
            before = loaded;
            loaded == queries.len() || idle > 25
        });
        peer
    }

    /// The replies to `queries`, in their order.
    pub fn ask(&self, queries: &[Vec<u8>]) -> Vec<Vec<u8>> {
        ask_all(self.process.address, queries)
    }

    /// Every record of a zone (RFC 5936); `None` where the peer has not loaded it.
    pub fn transfer(&self, apex: &str) -> Option<Vec<Record>> {
        let mut query = soa_query(apex);
        let at = query.len() - 4;
        query[at..at + 2].copy_from_slice(&252u16.to_be_bytes());
        let mut stream = TcpStream::connect(self.process.address).expect("a peer that listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat()).expect("a connection");
        let (mut messages, mut soas) = (Vec::new(), 0);
        while soas < 2 {
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            let mut message = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut message).ok()?;
            let read = Message::read(&message).filter(|read| read.rcode == 0)?;
            soas += read.answer().iter().filter(|record| record.rtype == super::message::SOA).count();
            messages.push(message);
        }
        read_transfer(&messages)
    }

    /// What it has printed: why it does not serve a zone.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.process.end();
    }
}

fn nsd(folder: &Path, address: SocketAddr, zones: &[Served]) -> Vec<String> {
    let mut config = format!(
        "server:\n  ip-address: {}@{}\n  do-ip6: no\n  server-count: 1\n  username: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  \
         pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd.state\"\n  xfrdir: \"{folder}\"\n  zonelistfile: \"{folder}/zone.list\"\n  \
         ipv4-edns-size: 4096\n  rrl-ratelimit: 0\n  refuse-any: no\n  tcp-count: 10\n  zonefiles-check: no\nremote-control:\n  control-enable: no\n",
        address.ip(),
        address.port(),
        folder = folder.display()
    );
    for zone in zones {
        write_zone(folder, zone);
        let _ = write!(config, "zone:\n  name: \"{0}\"\n  zonefile: \"{0}.zone\"\n  provide-xfr: 127.0.0.1 NOKEY\n", zone.apex);
    }
    std::fs::write(folder.join("nsd.conf"), config).expect("a config file");
    ["-d", "-c", "nsd.conf"].map(String::from).into()
}

fn knot(folder: &Path, address: SocketAddr, zones: &[Served]) -> Vec<String> {
    let mut config = format!(
        "server:\n  rundir: \"{folder}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n  \
         udp-max-payload: 4096\ndatabase:\n  storage: \"{folder}/db\"\ncontrol:\n  listen: \"{folder}/knot.sock\"\n\
         log:\n  - target: stderr\n    any: warning\nacl:\n  - id: transfer\n    action: transfer\n    address: 127.0.0.1\n\
         template:\n  - id: default\n    storage: \"{folder}\"\n    file: \"%s.zone\"\n    zonefile-sync: -1\n    zonefile-load: whole\n    \
         journal-content: none\n    acl: transfer\nzone:\n",
        address.ip(),
        address.port(),
        folder = folder.display()
    );
    for zone in zones {
        write_zone(folder, zone);
        let _ = writeln!(config, "  - domain: \"{0}\"\n    file: \"{0}.zone\"", zone.apex);
    }
    std::fs::write(folder.join("knot.conf"), config).expect("a config file");
    ["-c", "knot.conf"].map(String::from).into()
}

fn write_zone(folder: &Path, zone: &Served) {
    std::fs::write(folder.join(format!("{}.zone", zone.apex)), &zone.text).expect("a zone file");
}

fn soa_query(apex: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in apex.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 6, 0, 1]);
    bytes
}

/// Asks over UDP, many at a time and lost ones again. The ID of each query is set here.
fn ask_all(server: SocketAddr, queries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.connect(server).expect("an address of this machine");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let mut replies = vec![Vec::new(); queries.len()];
    let mut left: Vec<usize> = (0..queries.len()).rev().collect();
    let mut waiting: HashMap<u16, usize> = HashMap::new();
    let (mut buffer, mut id, mut patience) = ([0; 65_535], 0u16, 40);
    loop {
        while waiting.len() < AT_ONCE
            && let Some(n) = left.pop()
        {
            while waiting.contains_key(&id) {
                id = id.wrapping_add(1);
            }
            let mut query = queries[n].clone();
            query[..2].copy_from_slice(&id.to_be_bytes());
            // A peer that is just being started may refuse it: it is asked again.
            let _ = socket.send(&query);
            waiting.insert(id, n);
            id = id.wrapping_add(1);
        }
        if waiting.is_empty() {
            return replies;
        }
        match socket.recv(&mut buffer) {
            Ok(length @ 2..) => {
                if let Some(n) = waiting.remove(&u16::from_be_bytes([buffer[0], buffer[1]])) {
                    replies[n] = buffer[..length].into();
                }
            }
            _ => {
                patience -= 1;
                assert!(patience > 0, "{server} gives no answers");
                left.extend(waiting.drain().map(|(_, n)| n));
            }
        }
    }
}
