//! Queries by the thousand, written by hand, and what is compared of their answers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use ipnet::IpNet;

/// What an answer says: RCODE and the data of its records, in no order. Owners are left out: behind an alias they follow from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    pub code: u16,
    pub records: Vec<String>,
}

/// How long there may be no answer at all. A recursor that got none in time remembers that for some seconds (RFC 9520 §3.2).
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `count` queries, many at a time; the answers and their scopes in the order of the queries. What gets no answer, or SERVFAIL from
/// a recursor that got none in time, is asked again.
pub fn ask_all(server: SocketAddr, count: usize, query: impl Fn(usize, u16) -> Vec<u8>) -> Vec<(Answer, u8)> {
    const AT_ONCE: usize = 64;
    const SERVFAIL: u16 = 2;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.connect(server).expect("an address of this machine");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let mut answers: Vec<Option<(Answer, u8)>> = vec![None; count];
    let mut left: Vec<usize> = (0..count).rev().collect();
    let mut waiting: HashMap<u16, usize> = HashMap::new();
    let (mut id, mut last) = (0u16, Instant::now());
    let mut buffer = [0; 4096];
    loop {
        while waiting.len() < AT_ONCE
            && let Some(n) = left.pop()
        {
            while waiting.contains_key(&id) {
                id = id.wrapping_add(1);
            }
            waiting.insert(id, n);
            socket.send(&query(n, id)).expect("a server that listens");
            id = id.wrapping_add(1);
        }
        if waiting.is_empty() {
            return answers.into_iter().map(|answer| answer.expect("all are answered")).collect();
        }
        let read = socket.recv(&mut buffer).map(|length| Message::from_vec(&buffer[..length]).expect("a message"));
        match read.map(|reply| (waiting.remove(&reply.id), reply)) {
            Ok((Some(n), reply)) if u16::from(reply.metadata.response_code) != SERVFAIL => {
                last = Instant::now();
                answers[n] = Some(read_answer(&reply));
            }
            // An answer to what was asked twice.
            Ok((None, _)) => {}
            again => {
                assert!(last.elapsed() < PATIENCE, "{server} gives no answers");
                match again {
                    Ok((n, _)) => {
                        std::thread::sleep(Duration::from_millis(5));
                        left.extend(n);
                    }
                    Err(_) => left.extend(waiting.drain().map(|(_, n)| n)),
                }
            }
        }
    }
}

fn read_answer(reply: &Message) -> (Answer, u8) {
    let mut records: Vec<String> = reply.answers.iter().map(|record| format!("{} {}", record.record_type(), record.data)).collect();
    records.sort();
    let scope = match reply.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Subnet)) {
        Some(EdnsOption::Subnet(subnet)) => subnet.scope_prefix(),
        _ => 0,
    };
    (Answer { code: reply.metadata.response_code.into(), records }, scope)
}

/// A query for a name below `svc.example`, with ECS (RFC 7871 §6) where a prefix is given.
pub fn query(id: u16, name: &str, rtype: RecordType, subnet: Option<IpNet>) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.').chain(["svc", "example", ""]) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend(u16::from(rtype).to_be_bytes());
    bytes.extend([0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0]);
    let mut options = Vec::new();
    if let Some(subnet) = subnet {
        let (family, octets) = match subnet.network() {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (2, address.octets().to_vec()),
        };
        let used = usize::from(subnet.prefix_len()).div_ceil(8);
        options.extend([0, 8, 0, 4 + used as u8, 0, family, subnet.prefix_len(), 0]);
        options.extend(&octets[..used]);
    }
    bytes.extend((options.len() as u16).to_be_bytes());
    bytes.extend(options);
    bytes
}

/// The header of the PROXY protocol, version 2 §2.2: a datagram relayed from `client`.
pub fn proxy_header(client: IpAddr) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    match client {
        IpAddr::V4(address) => {
            bytes.extend([0x12, 0, 12]);
            bytes.extend(address.octets());
            bytes.extend([127, 0, 0, 1]);
        }
        IpAddr::V6(address) => {
            bytes.extend([0x22, 0, 36]);
            bytes.extend(address.octets());
            bytes.extend(Ipv6Addr::LOCALHOST.octets());
        }
    }
    bytes.extend([0x30, 0x39, 0, 53]);
    bytes
}
