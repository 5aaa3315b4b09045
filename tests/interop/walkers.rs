//! Recursors that walk down from the root to Signpost, each as strict as it can be: Unbound, BIND and Knot Resolver, with 0x20 where they
//! have it, strict QNAME minimisation and cookies. Taps in front of Signpost see what they really send.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::{Peer, at, run, wait_until};
use crate::internet::tap::Seen;
use crate::internet::zones::{Has, NAMES};
use crate::internet::{self, Internet};
use crate::peers::{self, ask};
use crate::reply::Reply;

/// The longest a change may take to reach a client of the recursor: the TTL of 2 s, and time for a busy machine.
const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq)]
enum Walker {
    Unbound,
    Named,
    Kresd,
}

fn unbound(server: &str) -> Peer {
    peers::unbound("iterator", &internet::hints(), &format!("  root-hints: \"@FOLDER@/hints\"\n{server}"), "")
}

fn named() -> Peer {
    peers::named(&internet::hints(), "zone \".\" { type hint; file \"hints\"; };\n")
}

fn kresd(more: &str) -> Peer {
    peers::kresd(&format!("hints.root({{ ['a.root.'] = '{}' }})\n{more}", internet::ROOT))
}

/// Asks for all of [`NAMES`], and once more from the cache.
fn check_names(by: Walker, server: SocketAddr) {
    for (round, (name, rtype, has)) in [1, 2].into_iter().flat_map(|round| NAMES.iter().map(move |row| (round, row))) {
        let reply = ask(server, &format!("{name}.example {rtype}"));
        let about = format!("{name} {rtype}, round {round}");
        match has {
            Has::Answer(lines) => {
                let mut found: Vec<String> = reply
                    .answer
                    .iter()
                    .map(|r| format!("{} {} {}", r.owner.strip_suffix(".example.").unwrap_or(&r.owner), r.rtype, r.data))
                    .collect();
                let aliases = reply.answer.iter().take_while(|r| matches!(r.rtype.as_str(), "CNAME" | "DNAME")).count();
                found[aliases..].sort();
                assert_eq!(
                    (reply.status.as_str(), &found[..]),
                    ("NOERROR", &lines.iter().map(|line| line.to_string()).collect::<Vec<_>>()[..]),
                    "{about}: {reply}"
                );
            }
            Has::Many(count) => assert_eq!((reply.status.as_str(), reply.data(rtype).len()), ("NOERROR", *count), "{about}: {reply}"),
            Has::NoData(apex) => reply.assert_no_data(apex),
            // named answers what it has learnt on the way down, that a name above does not exist (RFC 8020), without the SOA.
            Has::NoName(_) if by == Walker::Named && reply.authority.is_empty() => assert_eq!(reply.status, "NXDOMAIN", "{about}: {reply}"),
            Has::NoName(apex) => reply.assert_no_name(apex),
        }
    }
}

/// 200 names that nobody has asked for, each in a spelling of its own: the recursor must take every answer, and hand on the spelling.
fn check_spellings(server: SocketAddr) {
    let names: Vec<String> = (0..200u32)
        .map(|n| {
            let plain = format!("mixed{n}.wild.plain.example");
            let bits = n.wrapping_mul(0x9e37_79b1);
            plain.chars().enumerate().map(|(at, c)| if bits >> (at % 32) & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect()
        })
        .collect();
    let queries = names.iter().map(|name| format!("{name} A")).collect::<Vec<_>>().join(" ");
    let mut args: Vec<String> = at(server).into();
    args.extend(["+time=10".into(), "+tries=1".into()]);
    args.extend(queries.split(' ').map(String::from));
    let replies = Reply::all(&run("dig", &args));
    assert_eq!(replies.len(), names.len());
    for (name, reply) in names.iter().zip(&replies) {
        assert_eq!(reply.data("A"), ["192.0.2.99"], "{reply}");
        assert_eq!(reply.question.trim_end_matches('.'), name, "{reply}");
    }
}

/// What is deregistered is gone when its TTL is over, and what is registered is there.
fn check_changes(internet: &Internet, server: SocketAddr) {
    let becomes = |name: &str, status: &str, is: &dyn Fn(&[&str]) -> bool| {
        let mut last = None;
        let done = wait_until(SOON, || {
            let reply = last.insert(ask(server, &format!("{name}.svc.example A")));
            reply.status == status && is(&reply.data("A"))
        });
        assert!(done, "{name} became {last:?}");
    };
    let (path, body) = internet::zones::REGISTERED[1];
    internet.signpost.put(&format!("{path}/status"), r#"{"status":"critical","note":"a test"}"#);
    becomes("web", "NOERROR", &|data| data == ["192.0.2.12"]);
    internet.signpost.put(&format!("{path}/status"), r#"{"status":"passing"}"#);
    becomes("web", "NOERROR", &|data| data == ["192.0.2.11", "192.0.2.12"]);
    internet.signpost.delete(path);
    becomes("web", "NOERROR", &|data| data == ["192.0.2.12"]);
    becomes("b1.id.web", "NXDOMAIN", &|data| data.is_empty());
    internet.signpost.put(path, body);
    becomes("b1.id.web", "NOERROR", &|data| data == ["192.0.2.11"]);
}

/// What came by all taps, in the order in which it came.
fn seen(internet: &Internet) -> Vec<Seen> {
    let mut seen: Vec<Seen> = internet.taps.iter().flat_map(|tap| tap.seen()).collect();
    seen.sort_by_key(|seen| seen.when);
    seen
}

/// Whether the queries that came by are spelled at random (draft-vixie-dnsext-dns0x20).
fn assert_mixed_case(seen: &[Seen]) {
    let mixed = seen.iter().filter(|s| s.name.contains(|c: char| c.is_ascii_uppercase())).count();
    assert!(mixed * 10 > seen.len() * 9, "{mixed} of {} queries are in mixed case", seen.len());
}

/// The first label that is asked of a zone must be the one just below its apex (RFC 9156 §2.3).
fn assert_minimised(seen: &[Seen]) {
    let asked = |name: &str| seen.iter().position(|s| s.name.eq_ignore_ascii_case(name));
    for (first, then) in [
        ("deep.plain.example.", "a.b.c.d.e.deep.plain.example."),
        ("nosuch.plain.example.", "a.b.c.nosuch.plain.example."),
        ("web.svc.example.", "none.id.web.svc.example."),
    ] {
        assert!(asked(first).is_some(), "{first} was never asked for");
        assert!(asked(then).is_none_or(|then| asked(first) < Some(then)), "{then} was asked for before {first}");
    }
}

/// The answers that were too large for a datagram came over TCP, and nothing had to be asked again in another way.
fn assert_untroubled(seen: &[Seen]) {
    let large: Vec<&Seen> = seen.iter().filter(|s| s.name.eq_ignore_ascii_case("big.plain.example.") && s.rtype == "TXT").collect();
    assert!(large.iter().any(|s| s.connection.is_some()), "no TCP: {large:?}");
    let troubled: Vec<&Seen> = seen.iter().filter(|s| !matches!(s.rcode, Some(0 | 3))).collect();
    assert!(troubled.is_empty(), "neither NOERROR nor NXDOMAIN: {troubled:?}");
}

#[test]
fn unbound_walks_down_to_every_name() {
    internet::alone("walkers::unbound_walks_down_to_every_name", || {
        let internet = Internet::tapped();
        let unbound = unbound("");
        check_names(Walker::Unbound, unbound.address);
        check_spellings(unbound.address);
        check_changes(&internet, unbound.address);
        let seen = seen(&internet);
        assert_mixed_case(&seen);
        assert_minimised(&seen);
        assert_untroubled(&seen);
        assert!(!unbound.log().contains("Capsforid"), "a reply was not in the question's spelling:\n{}", unbound.log());
    });
}

#[test]
fn named_walks_down_to_every_name() {
    internet::alone("walkers::named_walks_down_to_every_name", || {
        let internet = Internet::tapped();
        let named = named();
        check_names(Walker::Named, named.address);
        check_spellings(named.address);
        check_changes(&internet, named.address);
        let seen = seen(&internet);
        assert_minimised(&seen);
        assert_untroubled(&seen);
        // named sends cookies unless told not to (RFC 7873 §5.1): with the first reply's server part from then on.
        let cookies = |octets: std::ops::RangeInclusive<usize>| seen.iter().filter(|s| octets.contains(&s.cookie.len())).count();
        assert!(cookies(8..=40) == seen.len(), "{} of {} queries had a cookie", cookies(8..=40), seen.len());
        assert!(cookies(16..=40) * 10 > seen.len() * 9, "{} of {} had a server's", cookies(16..=40), seen.len());
        for complaint in ["FORMERR", "lame server", "unexpected RCODE", "mismatch", "REFUSED"] {
            assert!(!named.log().contains(complaint), "{}", named.log());
        }
    });
}

#[test]
fn kresd_walks_down_to_every_name() {
    internet::alone("walkers::kresd_walks_down_to_every_name", || {
        let internet = Internet::tapped();
        let kresd = kresd("");
        check_names(Walker::Kresd, kresd.address);
        check_spellings(kresd.address);
        check_changes(&internet, kresd.address);
        let seen = seen(&internet);
        assert_mixed_case(&seen);
        assert_minimised(&seen);
        assert_untroubled(&seen);
    });
}

/// A recursor that asks over TCP alone, many things at a time: connections are kept, and queries do not wait for each other
/// (RFC 7766 §6.2.1.1).
fn check_pipelining(start: impl FnOnce() -> Peer) {
    let internet = Internet::tapped();
    let recursor = start();
    let address = recursor.address;
    ask(address, "plain.example SOA");
    std::thread::scope(|scope| {
        for client in 0..10 {
            scope.spawn(move || {
                let queries: String = (0..20).map(|n| format!("p{n}.c{client}.wild.plain.example A ")).collect();
                let mut args: Vec<String> = at(address).into();
                args.extend(queries.split_whitespace().map(String::from));
                let replies = Reply::all(&run("dig", &args));
                assert_eq!(replies.iter().filter(|r| r.data("A") == ["192.0.2.99"]).count(), 20);
            });
        }
    });
    let seen = seen(&internet);
    let datagrams: Vec<&Seen> = seen.iter().filter(|s| s.connection.is_none()).collect();
    assert!(datagrams.is_empty(), "not over TCP: {datagrams:?}");
    let connections: BTreeSet<_> = seen.iter().filter_map(|s| s.connection).collect();
    let pipelined = seen.iter().filter(|s| s.pipelined).count();
    assert!(
        connections.len() <= 4 && pipelined > 0,
        "{pipelined} of {} queries pipelined on {} connections",
        seen.len(),
        connections.len()
    );
}

#[test]
fn unbound_pipelines_over_tcp() {
    internet::alone("walkers::unbound_pipelines_over_tcp", || check_pipelining(|| unbound("  tcp-upstream: yes\n")));
}

#[test]
fn kresd_pipelines_over_tcp() {
    let flags = "policy.add(policy.all(policy.FLAGS({'TCP'})))\n";
    internet::alone("walkers::kresd_pipelines_over_tcp", || check_pipelining(|| kresd(flags)));
}
