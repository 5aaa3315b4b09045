//! Cookies, rate limits and what else keeps the server from being used against others: RFC 7873, RFC 9018, RFC 7828, RFC 7830, RFC 8467.

use std::net::IpAddr;

use super::super::Transport;
use super::world::{Asked, World, read, zone};
use crate::codec::Header;

const WWW: &str = "NOERROR aa www.plain.example. 60 A 192.0.2.80";
const BEGIN: u64 = 1_800_000_000_000;

fn world() -> World {
    let txt: Vec<String> = (0..12).map(|n| format!("txt TXT {n}{}", "y".repeat(98 - n / 10))).collect();
    let names: Vec<String> = (0..50).map(|n| format!("n{n} A 192.0.2.{n}")).collect();
    let some = ["www A 192.0.2.80", "*.wild A 192.0.2.81", "sub NS ns.sub.plain.example.", "ns.sub A 192.0.2.82"];
    let all: Vec<&str> = some.into_iter().chain(txt.iter().chain(&names).map(String::as_str)).collect();
    let mut world = World::new(&[
        zone("plain.example.", false, &all, &[]),
        zone("svc.example.", true, &["a A 192.0.2.1", "*.any A 192.0.2.2"], &[]),
        zone("all.example.", true, &["* A 192.0.2.3"], &[]),
    ])
    .with(&["web/b1 192.0.2.11 boston/az-1 http:80 tag=x tag=y", "api/b2 192.0.2.12 boston/az-1 http:80"]);
    world.now_ms = BEGIN;
    world
}

/// Sends a question; its reply as octets.
fn send(world: &mut World, question: &str) -> Option<Vec<u8>> {
    let asked = Asked::read(question);
    world.send(&asked.octets(), asked.peer, asked.transport)
}

/// The client cookie `0102030405060708` with the server cookie that a client at `from` gets, in hex.
fn cookie(world: &mut World, from: &str) -> String {
    let reply = send(world, &format!("www.plain.example A cookie=0102030405060708 from={from}")).unwrap();
    reply[reply.len() - 24..].iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn a_cookie_comes_back_with_ours() {
    let mut world = world();
    let good = cookie(&mut world, "192.0.2.250");
    let other = cookie(&mut world, "192.0.2.251");
    assert!(good.starts_with("010203040506070801000000") && good[32..] != other[32..]);
    let (good, other) = (format!("cookie={good}"), format!("cookie={other}"));
    let answered = format!("{WWW} cookie+16");
    world.check(&[
        ("www.plain.example A cookie=0102030405060708", &answered),
        ("www.plain.example A cookie=0102030405060708 tcp", &answered),
        (&format!("www.plain.example A {good}"), &answered),
        // RFC 7873 §5.2.4: a cookie that is not ours is as good as none.
        (&format!("www.plain.example A {other}"), &answered),
        ("www.plain.example A cookie=01020304050607080102030405060708", &answered),
        (
            "nosuch.plain.example A cookie=0102030405060708",
            "NXDOMAIN aa auth: plain.example. 5 SOA ns1.plain.example. hostmaster.plain.example. 7 7200 900 1209600 5 cookie+16",
        ),
        ("x.elsewhere.test A cookie=0102030405060708", "REFUSED cookie+16 ede=20"),
        // RFC 7873 §5.2.2.
        ("www.plain.example A cookie=01020304050607", "FORMERR ede=0"),
        ("www.plain.example A cookie=010203040506070809", "FORMERR ede=0"),
        // §5.2: the first option counts.
        ("www.plain.example A cookie=0102030405060708 cookie=01", &answered),
        ("www.plain.example A version=1 cookie=01", "BADVERS"),
        ("www.plain.example A opcode=4 cookie=0102030405060708", "NOTIMP cookie+16 ede=21"),
        // §5.4: asked for nothing but a cookie.
        ("x A bare cookie=0102030405060708", "NOERROR cookie+16"),
        (&format!("x A bare {good}"), "NOERROR cookie+16"),
        (&format!("x A bare {other}"), "BADCOOKIE cookie+16"),
        ("x A bare", "FORMERR ede=0"),
    ]);
    assert_eq!(
        world.counted(),
        "answered=10 nxdomain=1 refused=1 formerr=3 notimp=1 badvers=1 badcookie=1 cookie_new=9 cookie_valid=2 cookie_invalid=3"
    );
    world.dns(|dns| dns.cookies.enabled = false);
    world.check(&[("www.plain.example A cookie=0102030405060708", WWW), ("x A bare cookie=0102030405060708", "FORMERR ede=0")]);
}

#[test]
fn secrets_are_the_first_to_sign_and_all_to_accept() {
    let mut world = world();
    let drawn = cookie(&mut world, "192.0.2.250");
    let given = |world: &mut World, cookie: &str| {
        let reply = send(world, &format!("x A bare cookie={cookie}")).unwrap();
        (read(&reply), reply[reply.len() - 16..] == *octets(&cookie[16..]))
    };
    let (fine, bad) = (|same| ("NOERROR cookie+16".to_string(), same), ("BADCOOKIE cookie+16".to_string(), false));
    assert_eq!(given(&mut world, &drawn), fine(true));
    let (old, new) = (crate::model::CookieSecret([1; 16]), crate::model::CookieSecret([2; 16]));
    world.dns(|dns| dns.cookies.secrets = vec![old]);
    assert_eq!(given(&mut world, &drawn), bad);
    let by_old = cookie(&mut world, "192.0.2.250");
    world.dns(|dns| dns.cookies.secrets = vec![new, old]);
    assert_eq!(given(&mut world, &by_old), fine(false));
    let by_new = cookie(&mut world, "192.0.2.250");
    world.dns(|dns| dns.cookies.secrets = vec![new]);
    assert_eq!((given(&mut world, &by_old), given(&mut world, &by_new)), (bad.clone(), fine(true)));
    // RFC 9018 §4.3: renewed after half an hour, worthless after one.
    world.now_ms += 1_800_000;
    assert_eq!(given(&mut world, &by_new), fine(false));
    world.now_ms += 1_801_000;
    assert_eq!(given(&mut world, &by_new), bad);
}

fn octets(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn streams_are_told_how_long_they_may_be_idle() {
    let answered = format!("{WWW} keepalive=100");
    world().check(&[
        ("www.plain.example A tcp keepalive=", &answered),
        ("www.plain.example A tls keepalive=", &answered),
        ("www.plain.example A tcp", WWW),
        // RFC 7828 §3.3.1: not in datagrams, where it means nothing, whatever it holds.
        ("www.plain.example A keepalive=", WWW),
        ("www.plain.example A keepalive=0064", WWW),
        ("www.plain.example A tcp keepalive=0064", "FORMERR ede=0"),
        ("www.plain.example A tcp keepalive= keepalive=0064", "FORMERR ede=0"),
        ("www.plain.example A tcp keepalive=00", "FORMERR ede=0"),
    ]);
}

#[test]
fn what_nobody_else_reads_is_padded_where_asked() {
    let mut world = world();
    let mut check = |question: &str, octets: usize| {
        let reply = send(&mut world, question).unwrap();
        assert_eq!(reply.len(), octets, "{question}: {}", read(&reply));
    };
    let plain = 12 + 23 + 16 + 11;
    check("www.plain.example A tls pad=00", 468);
    check("www.plain.example A tls pad=", 468);
    check("www.plain.example A tls pad=00 cookie=0102030405060708 keepalive=", 468);
    check("nosuch.plain.example 128 tls pad=00", 468);
    check("txt.plain.example TXT tls pad=00", 3 * 468);
    check("www.plain.example A tls", plain);
    check("www.plain.example A tcp pad=00", plain);
    check("www.plain.example A pad=00", plain);
}

#[test]
fn who_has_shown_no_cookie_gets_no_large_datagram() {
    let mut world = world();
    let good = cookie(&mut world, "192.0.2.250");
    world.dns(|dns| dns.unverified_max = 300);
    let mut check = |question: &str, octets: std::ops::RangeInclusive<usize>, truncated: bool| {
        let reply = send(&mut world, question).unwrap();
        let is_truncated = Header::parse(&reply).unwrap().flags & Header::TC != 0;
        assert!(octets.contains(&reply.len()) && is_truncated == truncated, "{question}: {} octets, {}", reply.len(), read(&reply));
    };
    check("txt.plain.example TXT", 250..=300, true);
    check("txt.plain.example TXT noedns", 250..=300, true);
    check("txt.plain.example TXT cookie=0102030405060708", 250..=300, true);
    check(&format!("txt.plain.example TXT cookie={good} from=192.0.2.251"), 250..=300, true);
    check(&format!("txt.plain.example TXT size=4096 cookie={good}"), 1100..=1232, true);
    check("txt.plain.example TXT tcp", 1300..=1400, false);
    check("www.plain.example A", 0..=300, false);
    // What every reply holds is sent whatever the limit.
    let long = ["x".repeat(60), "y".repeat(60), "z".repeat(60), "v".repeat(50), "plain.example".into()].join(".");
    check(&format!("{long} A ecs=2001:db8::/48 cookie=0102030405060708"), 310..=320, true);
}

#[test]
fn what_slips_never_says_that_something_was_done() {
    let mut world = world();
    world.dns(|dns| (dns.rate_limit.per_second, dns.rate_limit.slip) = (1, 1));
    // To who sends NOTIFY or UPDATE, NOERROR says that it was taken, and neither TC nor BADCOOKIE says anything.
    world.check(&[
        ("www.plain.example A opcode=5", "REFUSED ede=18"),
        ("www.plain.example A opcode=5", "REFUSED"),
        ("www.plain.example A opcode=4 cookie=0102030405060708", "NOTIMP cookie+16"),
        ("www.plain.example A class=4", "NOERROR tc"),
        ("www.plain.example A version=1", "NOERROR tc"),
    ]);
}

/// What became of queries.
#[derive(Debug, Default, PartialEq)]
struct Fate {
    full: usize,
    slipped: usize,
    dropped: usize,
}

/// Asks over and over.
fn flood(world: &mut World, octets: &[u8], peer: IpAddr, count: usize) -> Fate {
    let mut fate = Fate::default();
    for _ in 0..count {
        match world.send(octets, peer, Transport::Udp) {
            None => fate.dropped += 1,
            Some(reply) if reply[7] == 0 && (reply[2] & 2 != 0 || reply[3] & 15 == 7) => fate.slipped += 1,
            Some(_) => fate.full += 1,
        }
    }
    fate
}

#[test]
fn a_flood_gets_its_rate_and_nobody_else_feels_it() {
    let mut world = world();
    world.dns(|dns| {
        dns.rate_limit.per_second = 100;
        dns.rate_limit.exempt = vec!["198.18.0.0/24".parse().unwrap()];
    });
    let good = cookie(&mut world, "203.0.113.9");
    let query = Asked::read("www.plain.example A").octets();
    let verified = Asked::read(&format!("www.plain.example A cookie={good}")).octets();
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (mut full, mut slipped, mut dropped) = (0, 0, 0);
    // 100,000 queries a second for ten seconds, from all over one /24.
    for ms in 0..10_000u64 {
        world.now_ms = BEGIN + 10_000 + ms;
        let fate = flood(&mut world, &query, ip(&format!("203.0.113.{}", ms % 256)), 100);
        (full, slipped, dropped) = (full + fate.full, slipped + fate.slipped, dropped + fate.dropped);
        if ms % 10 == 0 {
            // The prefix next to it at its full rate, an exempt one above it, and somebody in the flooded one who has a cookie.
            assert_eq!(flood(&mut world, &query, ip("203.0.112.9"), 1).full, 1, "{ms}");
            assert_eq!(flood(&mut world, &query, ip("198.18.0.7"), 3).full, 3, "{ms}");
            assert_eq!(flood(&mut world, &verified, ip("203.0.113.9"), 3).full, 3, "{ms}");
        }
    }
    assert!((1000..=1100).contains(&full), "{full} in ten seconds at 100 a second, and one second's worth at once");
    let share = slipped as f64 / (slipped + dropped) as f64;
    assert!((0.49..=0.51).contains(&share) && full + slipped + dropped == 1_000_000, "{slipped} slipped, {dropped} dropped");
    // A second after the flood all is as before.
    world.now_ms += 1000;
    assert_eq!(flood(&mut world, &query, ip("203.0.113.7"), 100), Fate { full: 100, ..Fate::default() });
}

#[test]
fn who_slips_finds_a_way() {
    let mut world = world();
    world.dns(|dns| (dns.rate_limit.per_second, dns.rate_limit.slip) = (1, 1));
    let mut second = |question: &str, expected: &str| {
        world.now_ms += 10_000;
        let first = send(&mut world, question).unwrap();
        assert!(read(&first).starts_with("NOERROR aa"), "{question}: {}", read(&first));
        let octets = Asked::read(question).octets().len();
        let reply = send(&mut world, question).unwrap();
        assert_eq!(read(&reply), expected, "{question}");
        assert!(reply.len() <= octets + 16, "{} octets for {octets}", reply.len());
    };
    // Over TCP, or with the cookie that this very reply carries: RFC 7873 §5.2.3.
    second("txt.plain.example TXT", "NOERROR tc");
    second("txt.plain.example TXT noedns", "NOERROR tc");
    second("txt.plain.example TXT ecs=198.51.100.0/24 nsid do", "NOERROR tc do ecs=24/0");
    second("txt.plain.example TXT cookie=0102030405060708", "BADCOOKIE cookie+16");
    second("txt.plain.example TXT cookie=01020304050607080102030405060708", "BADCOOKIE cookie+16");
    let reply = send(&mut world, "txt.plain.example TXT cookie=0102030405060708").unwrap();
    assert_eq!(reply[3] & 15 | reply[reply.len() - 34] << 4, 23);
    let learned: String = reply[reply.len() - 24..].iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(world.ask(&format!("www.plain.example A cookie={learned}")).starts_with(WWW));
    for _ in 0..3 {
        assert!(world.ask(&format!("www.plain.example A cookie={learned}")).starts_with(WWW));
        assert!(world.ask("www.plain.example A tcp").starts_with(WWW));
    }
    assert!(world.counted().contains(" slipped=6 ") && !world.counted().contains("limited"), "{}", world.counted());
}

#[test]
fn replies_count_for_what_they_are_about() {
    let mut world = world();
    world.dns(|dns| {
        let limits = &mut dns.rate_limit;
        (limits.per_second, limits.nxdomain_per_second, limits.errors_per_second, limits.slip) = (3, Some(2), Some(1), 0);
    });
    // How many of five queries are answered, where each asks for another name.
    let mut check = |pattern: &str, answered: usize| {
        world.now_ms += 10_000;
        let replies = (0..5).filter(|n| send(&mut world, &pattern.replace("{n}", &n.to_string())).is_some()).count();
        assert_eq!(replies, answered, "{pattern}");
    };
    check("www.plain.example A", 3);
    check("WwW.plain.example A", 3);
    check("n{n}.plain.example A", 5);
    check("x{n}.wild.plain.example A", 3);
    check("x{n}.sub.plain.example A", 3);
    check("n{n}.plain.example MX", 3);
    check("x{n}.plain.example A", 2);
    check("x{n}.elsewhere{n}.test A", 1);
    check("n{n}.plain.example A opcode=4", 1);
    check("n{n}.plain.example A class=4", 1);
    check("n{n}.plain.example A from=203.0.113.{n}", 5);
    check("www.plain.example A from=203.0.113.{n}", 3);
    check("www.plain.example A from=203.0.{n}.9", 5);
    check("www.plain.example A from=2001:db8:0:{n}::9", 3);
    check("www.plain.example A from=2001:db8:{n}::9", 5);
    // A service is one name, whatever stands before it.
    check("web.svc.example A", 3);
    check("x.tag.web.svc.example A", 3);
    // A wildcard beside services: no label before its name makes the name one of a service.
    check("x{n}.any.svc.example A", 3);
    check("_web.x{n}.all.example A", 3);
    check("_web.web{n}.x.all.example A", 3);
    for names in
        [["web", "x.tag.web", "y.tag.web", "x.tag.y.tag.web", "_http._tcp.web"], ["web", "api", "b1.id.web", "b2.id.api", "x.tag.web"]]
    {
        world.now_ms += 10_000;
        let replies = names.iter().filter(|name| send(&mut world, &format!("{name}.svc.example ANY")).is_some()).count();
        assert_eq!(replies, if names[1] == "api" { 5 } else { 3 }, "{names:?}");
    }
    // The clock of a host that was set back keeps nobody waiting.
    let mut check = |pattern: &str, answered: usize| {
        let replies = (0..5).filter(|n| send(&mut world, &pattern.replace("{n}", &n.to_string())).is_some()).count();
        assert_eq!(replies, answered, "{pattern}");
    };
    check("n{n}.plain.example A", 5);
    world.now_ms -= 86_400_000;
    world.dns(|dns| dns.rate_limit.all_per_second = 4);
    let mut check = |pattern: &str, answered: usize| {
        let replies = (0..5).filter(|n| send(&mut world, &pattern.replace("{n}", &n.to_string())).is_some()).count();
        assert_eq!(replies, answered, "{pattern}");
    };
    check("n{n}.plain.example A", 4);
}
