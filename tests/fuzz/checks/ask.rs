//! Asking one snapshot, both ways, and what must hold between the replies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use signpost::model::{Counter, Counters};
use signpost::snapshot::Snapshot;
use signpost::wire::{self, Defences, Outcome, Punt, Query, Transport, Worker};

use super::message::{self, Message, Record, word};
use super::reply::{self, hex};

/// When all queries come: in 2027.
const NOW_MS: u64 = 1_800_000_000_000;
pub const TC: u16 = 0x0200;

/// Somebody who asks, always with the same draw.
pub struct Asker {
    seed: u64,
    counters: Arc<Counters>,
    defences: Arc<Defences>,
    buffer: Vec<u8>,
}

impl Asker {
    pub fn new() -> Asker {
        Asker::beside(7, Arc::new(Defences::new([7; 32], 64)))
    }

    /// One whose draws follow from `seed`, of a server with these defences.
    pub fn beside(seed: u64, defences: Arc<Defences>) -> Asker {
        Asker { seed, counters: Arc::new(Counters::default()), defences, buffer: vec![0; 65_535] }
    }

    /// How often something was counted.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters.get(counter)
    }

    /// Sends octets; the reply, if there is one.
    pub fn send(&mut self, snapshot: &Snapshot, octets: &[u8], peer: SocketAddr, transport: Transport, room: usize) -> Option<Vec<u8>> {
        let mut worker = Worker::beside(self.seed, self.counters.clone(), self.defences.clone());
        self.buffer[..room].fill(0xa5);
        let query = Query { bytes: octets, peer, transport, now_ms: NOW_MS };
        match wire::answer(snapshot, &mut worker, &query, &mut self.buffer[..room]) {
            Outcome::Reply(length) => Some(self.buffer[..length].to_vec()),
            Outcome::Drop => None,
            // Nobody verifies it here: what is left is the refusal.
            Outcome::Punt(Punt::Authenticated) => {
                let draw = worker.drawn();
                match wire::answer_again(snapshot, &mut worker, &query, draw, &mut self.buffer[..room]) {
                    Outcome::Reply(length) => Some(self.buffer[..length].to_vec()),
                    outcome => panic!("a signed query ends in {outcome:?}"),
                }
            }
            Outcome::Punt(punt) => panic!("nobody's names are forwarded here, and yet {punt:?}"),
        }
    }

    /// Asks over UDP, TCP and TLS, and holds the replies against the query and each other. Returns what came over TCP.
    pub fn ask(&mut self, snapshot: &Snapshot, octets: &[u8], peer: SocketAddr) -> Option<Message> {
        let payload = snapshot.dns.udp_payload;
        let [udp, tcp] = [(Transport::Udp, 4096), (Transport::Tcp, 65_535)].map(|(transport, room)| {
            let reply = self.send(snapshot, octets, peer, transport, room);
            assert_eq!(reply.is_none(), reply::is_silent(octets), "a reply to what is no query, or none to one: {}", hex(octets));
            let reply = reply?;
            let read = reply::check(octets, &reply, transport, payload, &snapshot.dns);
            assert_eq!(self.send(snapshot, &reply, peer, transport, room), None, "a reply to the reply {}", hex(&reply));
            let again = self.send(snapshot, octets, peer, transport, room);
            assert_eq!(again.as_ref(), Some(&reply), "the same query and draw, another reply: {}", hex(octets));
            Some((read, reply))
        });
        let ((udp, _), (tcp, stream)) = (udp?, tcp?);
        self.ask_in_private(snapshot, octets, peer, (&tcp, &stream));
        self.ask_with_cookie(snapshot, octets, peer, &udp);
        // A keepalive with a timeout is malformed on a stream, and nothing at all in a datagram (RFC 7828 §3.2.1, §3.3.1).
        if (udp.rcode() == 1) != (tcp.rcode() == 1) {
            assert!(is_keepalive(octets), "FORMERR on one transport alone: {}", hex(octets));
            return Some(tcp);
        }
        let told = |udp: &Message| format!("{:?}\n{:?}\n{}", udp.records, tcp.records, hex(octets));
        compare(&udp, &tcp).unwrap_or_else(|reason| panic!("{reason}: {}", told(&udp)));
        // The least that a buffer may hold.
        if let Some(small) = self.send(snapshot, octets, peer, Transport::Udp, 512) {
            let small = reply::check(octets, &small, Transport::Udp, 512, &snapshot.dns);
            compare(&small, &tcp).unwrap_or_else(|reason| panic!("{reason}, in 512 octets: {}", told(&small)));
        }
        self.ask_in_other_case(snapshot, octets, peer, &tcp);
        Some(tcp)
    }

    /// TLS carries what TCP does, and padding for who padded (RFC 7830 §4).
    fn ask_in_private(&mut self, snapshot: &Snapshot, octets: &[u8], peer: SocketAddr, (tcp, stream): (&Message, &[u8])) {
        let reply = self.send(snapshot, octets, peer, Transport::Tls, 65_535).expect("a reply over TLS where there is one over TCP");
        let read = reply::check(octets, &reply, Transport::Tls, snapshot.dns.udp_payload, &snapshot.dns);
        if reply == stream {
            return;
        }
        let bare = |message: &Message| {
            let options = message.options().unwrap_or_default().into_iter().filter(|(code, _)| *code != 12);
            options.map(|(code, data)| (code, data.to_vec())).collect::<Vec<_>>()
        };
        let same = read.flags == tcp.flags && read.rcode() == tcp.rcode() && bare(&read) == bare(tcp);
        let records = (1..=3).all(|section| read.section(section).eq(tcp.section(section)));
        assert!(same && records, "more than padding is different over TLS: {}", hex(octets));
    }

    /// Whoever comes back with the cookie that it was given is known by it (RFC 7873 §5.2.5), whatever became of the query without it.
    /// The reply, which keeps that cookie; `None` where `first` gave none.
    pub fn ask_with_cookie(&mut self, snapshot: &Snapshot, octets: &[u8], peer: SocketAddr, first: &Message) -> Option<Message> {
        let given = |message: &Message| {
            let (_, cookie) = message.options().ok()?.into_iter().find(|(code, _)| *code == 10)?;
            Some(cookie.to_vec())
        };
        let cookie = given(first)?;
        let again = with_cookie(octets, &cookie)?;
        let before = [Counter::CookieValid, Counter::Slipped, Counter::Limited].map(|counter| self.count(counter));
        let reply = self.send(snapshot, &again, peer, Transport::Udp, 4096).expect("a reply to who is known");
        let after = [Counter::CookieValid, Counter::Slipped, Counter::Limited].map(|counter| self.count(counter));
        assert_eq!([before[0] + 1, before[1], before[2]], after, "its own cookie is not good enough: {}", hex(&again));
        let read = reply::check(&again, &reply, Transport::Udp, snapshot.dns.udp_payload, &snapshot.dns);
        assert_eq!(given(&read), Some(cookie), "a young cookie is replaced: {}", hex(&again));
        assert_ne!(read.rcode(), 23, "BADCOOKIE for a good one: {}", hex(&again));
        Some(read)
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
        let second = reply::check(&other, &reply, Transport::Tcp, snapshot.dns.udp_payload, &snapshot.dns);
        let same = first.flags == second.flags && first.records == second.records;
        assert!(same, "another answer in another case: {}\n{:?}\n{:?}", hex(&other), first.records, second.records);
    }
}

/// Whether a query says something of keepalive.
pub fn is_keepalive(octets: &[u8]) -> bool {
    message::read(octets).is_ok_and(|asked| asked.options().is_ok_and(|list| list.iter().any(|(code, _)| *code == 11)))
}

/// The query with another cookie in place of its first. `None` where it has none, or more than a question and an OPT.
fn with_cookie(octets: &[u8], cookie: &[u8]) -> Option<Vec<u8>> {
    let asked = message::read(octets).ok()?;
    let [opt] = &asked.records[..] else { return None };
    let (mut data, mut replaced) = (Vec::new(), false);
    for (code, sent) in asked.options().ok()? {
        let sent = if code == 10 && !replaced { cookie } else { sent };
        replaced |= code == 10;
        data.extend(code.to_be_bytes());
        data.extend(u16::try_from(sent.len()).ok()?.to_be_bytes());
        data.extend(sent);
    }
    let mut again = octets[..asked.question.as_ref().map_or(12, |question| question.end)].to_vec();
    again.extend([0, 0, 41]);
    again.extend(opt.class.to_be_bytes());
    again.extend(opt.ttl.to_be_bytes());
    again.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    again.extend(data);
    (replaced && again.len() <= 65_535).then_some(again)
}

/// What came over UDP is what came over TCP, or as much of it as fits.
pub fn compare(udp: &Message, tcp: &Message) -> Result<(), &'static str> {
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
