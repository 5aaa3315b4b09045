//! Invariant 6: no query, whatever its octets, panics; and every reply is a message (DESIGN §9).

use hickory_proto::op::Message;

use super::super::{Transport, scramble};
use super::world::{Asked, World, zone};

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (scramble(self.0) % bound.max(1) as u64) as usize
    }
}

#[test]
fn no_octets_panic_and_every_reply_is_a_message() {
    let policy =
        r#"{"policy":"weighted","branches":[{"service":"web","weight":1},{"records":{"CNAME":["alias.svc.example."]},"weight":1}]}"#;
    let long: Vec<String> = (0..40).map(|n| format!("big TXT {n}{}", "z".repeat(90))).collect();
    let static_names = [
        "alias CNAME api.svc.example.",
        "*.wild MX 5 mail.svc.example.",
        "mail A 192.0.2.1",
        "sub NS ns.sub.svc.example.",
        "ns.sub A 192.0.2.2",
        "ns.inner.sub A 192.0.2.2",
        "inner.sub NS ns.inner.sub.svc.example.",
        "old DNAME x.wild.svc.example.",
        "grows DNAME x.grows.svc.example.",
    ];
    let records: Vec<&str> = static_names.into_iter().chain(long.iter().map(String::as_str)).collect();
    let mut world = World::new(&[zone("svc.example.", true, &records, &[("api", policy)])]);
    let instances: Vec<String> = (0..60)
        .map(|n| {
            format!("web/i{n} 192.0.2.{n},2001:db8::{n} {}/az-{} http:80 https:443 tag=t{}", ["boston", "london"][n % 2], n % 2 + 1, n % 3)
        })
        .collect();
    world = world.service("web", r#"{"tiers":3,"max_srv":64,"max_addresses":64,"default_port":"http"}"#);
    world = world.with(&instances.iter().map(String::as_str).collect::<Vec<_>>());

    let names = [
        "svc.example",
        "web.svc.example",
        "_http._tcp.web.svc.example",
        "i7.id.web.svc.example",
        "t1.tag.boston.region.web.svc.example",
        "_web._tcp.svc.example",
        "api.svc.example",
        "alias.svc.example",
        "x.wild.svc.example",
        "x.sub.svc.example",
        "x.inner.sub.svc.example",
        "x.old.svc.example",
        "x.grows.svc.example",
        "big.svc.example",
        "tag.web.svc.example",
        "nosuch.svc.example",
        "elsewhere.test",
    ];
    let types = ["A", "AAAA", "SRV", "TXT", "HTTPS", "NS", "SOA", "MX", "CNAME", "ANY", "AXFR", "DS", "65000"];
    let extras = [
        "",
        "noedns",
        "size=512",
        "size=4096",
        "ecs=198.51.100.0/24",
        "ecs=2001:db8:1::/48",
        "nsid do",
        "class=3",
        "opcode=4",
        "cookie=0102030405060708 keepalive= pad=00",
        "bare cookie=01020304050607080102030405060708",
    ];
    let mut queries = Vec::new();
    for name in names {
        for rtype in types {
            queries.extend(extras.iter().map(|extra| Asked::read(&format!("{name} {rtype} {extra}")).octets()));
        }
    }
    let peer = "198.51.100.7".parse().unwrap();
    let mut numbers = Numbers(7);
    let mut seen = [0u32; 2];
    for round in 0..300_000 {
        let mut octets: Vec<u8> = match round % 4 {
            0 => (0..numbers.below(90)).map(|_| numbers.below(256) as u8).collect(),
            _ => queries[numbers.below(queries.len())].clone(),
        };
        // Up to three octets are changed, cut off or put in.
        for _ in 0..numbers.below(4) {
            let at = numbers.below(octets.len());
            match numbers.below(4) {
                0 if !octets.is_empty() => octets.truncate(at),
                1 => octets.insert(at, numbers.below(256) as u8),
                _ if !octets.is_empty() => octets[at] = [0, 1, 0xc0, 0xff, numbers.below(256) as u8][numbers.below(5)],
                _ => {}
            }
        }
        let transport = [Transport::Udp, Transport::Tcp, Transport::Tls][numbers.below(3)];
        let Some(reply) = world.send(&octets, peer, transport) else {
            seen[0] += 1;
            assert!(octets.len() < 12 || octets[2] & 0x80 != 0, "{octets:02x?} got no reply");
            continue;
        };
        seen[1] += 1;
        assert_eq!(reply[..2], octets[..2], "the id of {octets:02x?}");
        assert!(transport.is_stream() || reply.len() <= 1232, "{} octets", reply.len());
        if let Err(error) = Message::from_vec(&reply) {
            panic!("{error}: {octets:02x?} → {reply:02x?}");
        }
    }
    assert!(seen.iter().all(|count| *count > 10_000), "{seen:?}");
}
