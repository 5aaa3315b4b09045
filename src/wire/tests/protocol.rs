//! Headers, EDNS, sizes and odd queries: RFC 6891, RFC 7871, RFC 8906, RFC 8914, RFC 9619.

use std::sync::Arc;

use super::super::{Outcome, Punt, Query, Transport, Worker, answer, answer_again};
use super::world::{Asked, World, read, zone};
use crate::model::{Counters, DnsSettings};
use crate::snapshot::Snapshot;

fn world() -> World {
    let long = format!("long TXT {}", "x".repeat(100));
    let more: Vec<String> = (0..6).map(|n| format!("txt TXT {n}{}", "y".repeat(99))).collect();
    let many: Vec<String> = (0..100).map(|n| format!("many A 198.51.100.{n}")).collect();
    let servers: Vec<String> = (0..10).map(|n| format!("sub NS name-server-number-{n}.sub.plain.example.")).collect();
    let glue: Vec<String> = (0..10).map(|n| format!("name-server-number-{n}.sub AAAA 2001:db8::{n}")).collect();
    let all = [vec!["www A 192.0.2.80".into(), long], more, many, servers, glue].concat();
    World::new(&[zone("plain.example.", false, &all.iter().map(String::as_str).collect::<Vec<_>>(), &[])])
}

const WWW: &str = "NOERROR aa www.plain.example. 60 A 192.0.2.80";

#[test]
fn odd_queries_get_the_rcode_that_says_what_is_odd() {
    world().check(&[
        ("www.plain.example A", WWW),
        ("www.plain.example A noedns", WWW),
        ("www.plain.example A do", &format!("{WWW} do")),
        ("www.plain.example A version=1", "BADVERS"),
        ("www.plain.example A opcode=1", "NOTIMP ede=21"),
        ("www.plain.example A opcode=4", "NOTIMP ede=21"),
        ("www.plain.example A opcode=5 noedns", "REFUSED"),
        ("www.plain.example A opcode=15", "NOTIMP ede=21"),
        ("www.plain.example A class=255", "REFUSED ede=21"),
        ("www.plain.example A class=4 noedns", "REFUSED"),
        ("www.elsewhere.test A", "REFUSED ede=20"),
        ("www.elsewhere.test A ecs=198.51.100.0/24", "REFUSED ecs=24/0 ede=20"),
        (". NS", "REFUSED ede=20"),
        ("plain.example AXFR", "REFUSED ede=21"),
        ("plain.example AXFR tcp", "REFUSED ede=21"),
        ("plain.example 251", "REFUSED ede=21"),
        ("plain.example 0", "FORMERR ede=30"),
        ("plain.example 41", "FORMERR ede=30"),
        ("plain.example 128", "FORMERR ede=30"),
        ("plain.example 249", "NOTIMP ede=21"),
        ("plain.example 250", "FORMERR ede=30"),
        ("plain.example 253", "NOTIMP ede=21"),
        ("version.bind TXT class=3", "REFUSED ede=18"),
        ("authors.bind TXT class=3", "REFUSED ede=20"),
    ]);
    assert_eq!(world().ask("ex.plain.example A ecs=203.0.113.0/24").split(' ').next_back(), Some("ecs=24/0"));
}

#[test]
fn malformed_queries_are_formerr_and_what_is_none_gets_no_reply() {
    let good = Asked::read("www.plain.example A ecs=198.51.100.0/24").octets();
    let peer = "192.0.2.1".parse().unwrap();
    let mut world = world();
    let mut check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut octets = good.clone();
        change(&mut octets);
        let reply = world.send(&octets, peer, Transport::Udp);
        let words = reply.map_or("dropped".into(), |reply| read(&reply));
        assert_eq!(words, expected);
    };
    let question = 12 + 19;
    let opt = question + 4;
    check(&|_| {}, &format!("{WWW} ecs=24/0"));
    check(&|m| m[2] |= 0x80, "dropped");
    check(&|m| m.truncate(11), "dropped");
    check(&|m| m.clear(), "dropped");
    check(&|m| m.truncate(12), "FORMERR");
    check(&|m| m.truncate(question), "FORMERR");
    check(&|m| m.truncate(question + 4), "FORMERR");
    check(&|m| m[5] = 0, "FORMERR");
    check(&|m| m[5] = 2, "FORMERR");
    check(&|m| m[12] = 0xc0, "FORMERR");
    check(&|m| m[12] = 0x41, "FORMERR");
    check(&|m| m.push(0), "FORMERR ecs=24/0 ede=0");
    check(&|m| m[7] = 1, "FORMERR");
    check(&|m| m.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]), "FORMERR ecs=24/0 ede=0");
    check(
        &|m| {
            m.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
            m[11] = 2;
        },
        "FORMERR ecs=24/0 ede=0",
    );
    // Family 3, source 33, a scope, a bit too many, an octet too few.
    check(&|m| m[opt + 16] = 3, "FORMERR ede=0");
    check(&|m| m[opt + 17] = 33, "FORMERR ede=0");
    check(&|m| m[opt + 18] = 1, "FORMERR ede=0");
    check(&|m| m[opt + 17] = 20, "FORMERR ede=0");
    check(&|m| m[opt + 17] = 25, "FORMERR ede=0");
    assert!(world.counted().contains("dropped=3"), "{}", world.counted());
}

#[test]
fn replies_keep_to_the_size_and_say_when_something_is_missing() {
    let mut world = world();
    let mut size = |question: &str| {
        let asked = Asked::read(question);
        let reply = world.send(&asked.octets(), asked.peer, asked.transport).unwrap();
        let words = read(&reply);
        (reply.len(), words.matches(" TXT ").count() + words.matches(" A ").count(), words.contains(" tc"), words.contains("payload"))
    };
    // Each TXT takes 113 octets, the question 37, the OPT 11.
    assert_eq!(size("txt.plain.example TXT noedns"), (12 + 23 + 4 * 113, 4, true, false));
    assert_eq!(size("txt.plain.example TXT size=512"), (12 + 23 + 4 * 113 + 11, 4, true, false));
    assert_eq!(size("txt.plain.example TXT size=0"), size("txt.plain.example TXT size=512"));
    assert_eq!(size("txt.plain.example TXT size=620"), (12 + 23 + 5 * 113 + 11, 5, true, false));
    assert_eq!(size("txt.plain.example TXT size=4096"), (12 + 23 + 6 * 113 + 11, 6, false, false));
    assert_eq!(size("txt.plain.example TXT noedns tcp"), (12 + 23 + 6 * 113, 6, false, false));
    // 100 addresses: never more than 1232 octets over UDP, all of them over TCP.
    assert_eq!(size("many.plain.example A size=4096"), (12 + 24 + 74 * 16 + 11, 74, true, false));
    assert_eq!(size("many.plain.example A tcp"), (12 + 24 + 100 * 16 + 11, 100, false, false));
    // RFC 9471: a referral whose glue does not fit is truncated.
    let (length, _, truncated, _) = size("x.sub.plain.example A size=600");
    assert!(length <= 600 && truncated);
    let (length, _, truncated, _) = size("x.sub.plain.example A size=1232");
    assert!(length > 600 && !truncated);
    assert_eq!(world.counted(), "answered=9 referral=2 truncated=7");
}

#[test]
fn the_server_says_of_itself_what_the_operator_lets_it() {
    let mut world = world();
    world.dns(|dns| (dns.version, dns.identity) = (Some("Signpost".into()), Some("eu1".into())));
    let reply = |world: &mut World, question: &str| {
        let asked = Asked::read(question);
        world.send(&asked.octets(), asked.peer, asked.transport).map(|reply| read(&reply))
    };
    assert_eq!(reply(&mut world, "VERSION.bind TXT class=3").unwrap(), "NOERROR aa VERSION.bind. 0 TXT Signpost");
    assert_eq!(reply(&mut world, "version.server TXT class=3").unwrap(), "NOERROR aa version.server. 0 TXT Signpost");
    assert_eq!(reply(&mut world, "id.server TXT class=3 nsid").unwrap(), "NOERROR aa id.server. 0 TXT eu1 nsid=eu1");
    assert_eq!(reply(&mut world, "hostname.bind ANY class=3").unwrap(), "NOERROR aa hostname.bind. 0 TXT eu1");
    assert_eq!(reply(&mut world, "hostname.bind A class=3").unwrap(), "NOERROR aa");
    assert_eq!(reply(&mut world, "authors.bind TXT class=3").unwrap(), "REFUSED ede=20");
    assert_eq!(reply(&mut world, "www.plain.example A nsid").unwrap(), format!("{WWW} nsid=eu1"));
    // RFC 5001 §2.1: data in a query means nothing; nobody gets the identifier twice.
    assert_eq!(reply(&mut world, "www.plain.example A option3=6162").unwrap(), format!("{WWW} nsid=eu1"));
    assert_eq!(reply(&mut world, "www.plain.example A nsid option3=6162").unwrap(), format!("{WWW} nsid=eu1"));
}

#[test]
fn copies_of_zones_and_signed_messages_go_aside() {
    let mut worker = Worker::new(1, Arc::new(Counters::default()));
    let mut snapshot = Snapshot::empty();
    let mut outcome = |snapshot: &Snapshot, qtype: u8, signed: bool| {
        let mut bytes = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(signed)];
        bytes.extend([1, b'x', 0, 0, qtype, 0, 1]);
        if signed {
            bytes.extend(b"\x01k\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00");
        }
        let query = Query { bytes: &bytes, peer: ([192, 0, 2, 1], 53).into(), transport: Transport::Tcp, now_ms: 0 };
        let (mut reply, outcome) = ([0; 512], answer(snapshot, &mut worker, &query, &mut [0; 512]));
        let draw = worker.drawn();
        let Outcome::Reply(_) = answer_again(snapshot, &mut worker, &query, draw, &mut reply) else { panic!("a refusal") };
        (outcome, reply[3] & 0xf)
    };
    assert!(matches!(outcome(&snapshot, 252, false), (Outcome::Reply(_), 5)), "where no zone is copied, nothing waits for it");
    assert_eq!(outcome(&snapshot, 1, true), (Outcome::Punt(Punt::Authenticated), 9));
    snapshot.dns = Arc::new(DnsSettings { transfers: true, ..(*snapshot.dns).clone() });
    assert_eq!(outcome(&snapshot, 252, false), (Outcome::Punt(Punt::Transfer), 5));
    assert_eq!(outcome(&snapshot, 251, false), (Outcome::Punt(Punt::Transfer), 5));
    assert_eq!(outcome(&snapshot, 252, true), (Outcome::Punt(Punt::Authenticated), 9));
}
