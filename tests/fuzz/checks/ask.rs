//! Asking one snapshot, both ways, and what must hold between the replies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use signpost::model::Counters;
use signpost::snapshot::Snapshot;
use signpost::wire::{self, Outcome, Query, Transport, Worker};

use super::message::{self, Message, Record, word};
use super::reply::{self, hex};

/// When all queries come: in 2027.
const NOW_MS: u64 = 1_800_000_000_000;
const TC: u16 = 0x0200;

/// Somebody who asks, always with the same draw.
pub struct Asker {
    counters: Arc<Counters>,
    buffer: Vec<u8>,
}

impl Asker {
    pub fn new() -> Asker {
        Asker { counters: Arc::new(Counters::default()), buffer: vec![0; 65_535] }
    }

    /// Sends octets; the reply, if there is one.
    pub fn send(&mut self, snapshot: &Snapshot, octets: &[u8], peer: SocketAddr, transport: Transport, room: usize) -> Option<Vec<u8>> {
        let mut worker = Worker::new(7, self.counters.clone());
        self.buffer.fill(0xa5);
        let query = Query { bytes: octets, peer, transport, now_ms: NOW_MS };
        match wire::answer(snapshot, &mut worker, &query, &mut self.buffer[..room]) {
            Outcome::Reply(length) => Some(self.buffer[..length].to_vec()),
            Outcome::Drop => None,
            Outcome::Punt(never) => match never {},
        }
    }

    /// Asks over UDP and TCP, and holds the replies against the query and each other. Returns what came over TCP.
    pub fn ask(&mut self, snapshot: &Snapshot, octets: &[u8], peer: SocketAddr) -> Option<Message> {
        let payload = snapshot.dns.udp_payload;
        let [udp, tcp] = [(Transport::Udp, 4096), (Transport::Tcp, 65_535)].map(|(transport, room)| {
            let reply = self.send(snapshot, octets, peer, transport, room);
            // RFC 8906 §3: nothing but a response or less than a header stays without a reply.
            let silent = octets.len() < 12 || octets[2] & 0x80 != 0;
            assert_eq!(reply.is_none(), silent, "a reply to what is no query, or none to one: {}", hex(octets));
            let reply = reply?;
            let read = reply::check(octets, &reply, transport, payload);
            assert_eq!(self.send(snapshot, &reply, peer, transport, room), None, "a reply to the reply {}", hex(&reply));
            let again = self.send(snapshot, octets, peer, transport, room);
            assert_eq!(again.as_ref(), Some(&reply), "the same query and draw, another reply: {}", hex(octets));
            Some(read)
        });
        let (udp, tcp) = (udp?, tcp?);
        // A keepalive with a timeout is malformed on a stream, and nothing at all in a datagram (RFC 7828 §3.2.1, §3.3.1).
        if (udp.rcode() == 1) != (tcp.rcode() == 1) {
            let keepalive = message::read(octets).is_ok_and(|asked| asked.options().is_ok_and(|list| list.iter().any(|o| o.0 == 11)));
            assert!(keepalive, "FORMERR on one transport alone: {}", hex(octets));
            return Some(tcp);
        }
        let told = |udp: &Message| format!("{:?}\n{:?}\n{}", udp.records, tcp.records, hex(octets));
        compare(&udp, &tcp).unwrap_or_else(|reason| panic!("{reason}: {}", told(&udp)));
        // The least that a buffer may hold.
        if let Some(small) = self.send(snapshot, octets, peer, Transport::Udp, 512) {
            let small = reply::check(octets, &small, Transport::Udp, 512);
            compare(&small, &tcp).unwrap_or_else(|reason| panic!("{reason}, in 512 octets: {}", told(&small)));
        }
        self.ask_in_other_case(snapshot, octets, peer, &tcp);
        Some(tcp)
    }

    /// Names are the same in upper and lower case (RFC 4343), so that 0x20 asks for the same.
    fn ask_in_other_case(&mut self, snapshot: &Snapshot, octets: &[u8], peer: SocketAddr, first: &Message) {
        let Some(question) = &first.question else { return };
        let mut other = octets.to_vec();
        let mut at = 12;
        while other[at] != 0 {
            let label = at + 1..at + 1 + usize::from(other[at]);
            at = label.end;
            other[label].iter_mut().filter(|octet| octet.is_ascii_alphabetic()).for_each(|octet| *octet ^= 0x20);
        }
        if at + 5 != question.end || other == octets {
            return;
        }
        let reply = self.send(snapshot, &other, peer, Transport::Tcp, 65_535).expect("a reply in any case");
        let second = reply::check(&other, &reply, Transport::Tcp, snapshot.dns.udp_payload);
        let same = first.flags == second.flags && first.records == second.records;
        assert!(same, "another answer in another case: {}\n{:?}\n{:?}", hex(&other), first.records, second.records);
    }
}

/// What came over UDP is what came over TCP, or as much of it as fits.
fn compare(udp: &Message, tcp: &Message) -> Result<(), &'static str> {
    if (udp.flags & !TC, udp.rcode()) != (tcp.flags & !TC, tcp.rcode()) {
        // What a truncated reply had no room for, it cannot speak of.
        if udp.flags & TC == 0 {
            return Err("flags or RCODE of UDP and TCP differ");
        }
    }
    for section in 1..=3 {
        let (mut left, mut more) = (counted(tcp, section), 0);
        for record in udp.section(section) {
            match left.get_mut(record) {
                Some(count) if *count > 0 => *count -= 1,
                _ => return Err("a record that comes over UDP alone"),
            }
        }
        left.values().for_each(|count| more += count);
        // RFC 2181 §9: without TC, only what is additional may be left out.
        if more > 0 && section < 3 && udp.flags & TC == 0 {
            return Err("a record is missing over UDP without TC");
        }
    }
    Ok(())
}

fn counted(message: &Message, section: u8) -> BTreeMap<&Record, usize> {
    let mut counted = BTreeMap::new();
    message.section(section).for_each(|record| *counted.entry(record).or_default() += 1);
    counted
}

/// A query for a name in wire form, with an OPT of 1,232 octets.
pub fn query(name: &[u8], qtype: u16) -> Vec<u8> {
    let mut octets = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    octets.extend(name);
    octets.extend(qtype.to_be_bytes());
    octets.extend([0, 1]);
    octets.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    debug_assert_eq!(word(&octets[4..]), 1);
    octets
}
