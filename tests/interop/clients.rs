//! The clients that people look with: dig first, then kdig and drill.

use crate::harness::{Signpost, run};
use crate::reply::Reply;
use crate::world::{self, IN_BOSTON, IN_LONDON};

/// One try and a short wait: on loopback a lost reply is a bug, not weather.
const DIG: [&str; 2] = ["+time=5", "+tries=1"];
const KDIG: [&str; 2] = ["+time=5", "+retry=0"];

fn dig_text(signpost: &Signpost, query: &str) -> String {
    let mut args: Vec<String> = signpost.at().into();
    args.extend(DIG.map(String::from));
    args.extend(query.split_whitespace().map(String::from));
    run("dig", &args)
}

/// dig's reply to `query`, written as its command line.
fn dig(signpost: &Signpost, query: &str) -> Reply {
    let text = dig_text(signpost, query);
    for complaint in
        [";; Warning: Message parser", "Question section mismatch", "Got bad packet", "malformed", "extra bytes", ";; BADCOOKIE"]
    {
        assert!(!text.contains(complaint), "dig {query}:\n{text}");
    }
    Reply::one(&text)
}

fn kdig_text(signpost: &Signpost, query: &str) -> String {
    let mut args: Vec<String> = signpost.at().into();
    args.extend(KDIG.map(String::from));
    args.extend(query.split_whitespace().map(String::from));
    let text = run("kdig", &args);
    assert!(!text.contains(";; WARNING"), "kdig {query}:\n{text}");
    text
}

#[test]
fn dig_sees_every_shape_of_name() {
    let signpost = world::start();
    world::check_names(|name, rtype| dig(&signpost, &format!("{name} {rtype}")));
    world::check_names(|name, rtype| dig(&signpost, &format!("+tcp +noedns {name} {rtype}")));

    let reply = dig(&signpost, "svc.example SOA");
    assert_eq!(reply.data("SOA").len(), 1, "{reply}");
    assert!(reply.data("SOA")[0].starts_with("ns1.svc.example. hostmaster.svc.example. 2026112101 "), "{reply}");
    let reply = dig(&signpost, "svc.example NS");
    assert_eq!(reply.data("NS"), ["ns1.svc.example.", "ns2.svc.example."], "{reply}");
    let reply = dig(&signpost, "svc.example MX");
    assert_eq!(reply.data("MX"), ["10 mail.svc.example."], "{reply}");
    let reply = dig(&signpost, "alias.svc.example A");
    assert_eq!(reply.data("CNAME"), ["www.svc.example."], "{reply}");
    let reply = dig(&signpost, "store.svc.example HTTPS");
    assert_eq!(reply.data("HTTPS"), [r#"1 s1.id.store.svc.example. alpn="h2,http/1.1" ipv4hint=192.0.2.51"#], "{reply}");

    // SRV brings the addresses of its targets along (RFC 2782), so one question is enough.
    let reply = dig(&signpost, "web.svc.example SRV");
    let mut brought: Vec<(&str, &str)> =
        reply.additional.iter().filter(|r| matches!(r.rtype.as_str(), "A" | "AAAA")).map(|r| (r.owner.as_str(), r.data.as_str())).collect();
    brought.sort_unstable();
    let (b1, b2) = ("b1.id.web.svc.example.", "b2.id.web.svc.example.");
    assert_eq!(brought, [(b1, "192.0.2.11"), (b1, "2001:db8::11"), (b2, "192.0.2.12"), (b2, "2001:db8::12")], "{reply}");

    // The zone's TTLs hold, and the answer is authoritative, without recursion, in the asker's own spelling (RFC 1035 §4.1.1, 0x20).
    let reply = dig(&signpost, "WeB.sVc.ExAmPlE A");
    assert_eq!(reply.question, "WeB.sVc.ExAmPlE.", "{reply}");
    assert!(reply.answer.iter().all(|r| (1..=2).contains(&r.ttl)), "{reply}");
    assert!(reply.flag("aa") && reply.flag("rd") && !reply.flag("ra") && !reply.flag("tc") && !reply.flag("ad"), "{reply}");
    let reply = dig(&signpost, "+norecurse web.svc.example A");
    assert!(!reply.flag("rd"), "{reply}");

    // RFC 8482: something small and true, not everything.
    let reply = dig(&signpost, "+notcp web.svc.example ANY");
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("NOERROR", 1), "{reply}");
    assert!(reply.answer[0].rtype == "HINFO" && reply.answer[0].data.contains("RFC8482"), "{reply}");
}

#[test]
fn dig_gets_the_answer_of_its_subnet() {
    let signpost = world::start();
    let check = |query: &str, echoed: &str, data: &[&str]| {
        let reply = dig(&signpost, query);
        assert_eq!(reply.data("A"), data, "dig {query}: {reply}");
        assert_eq!(reply.option("CLIENT-SUBNET:"), Some(echoed), "dig {query}: {reply}");
    };
    let (boston, london) = (&["192.0.2.11", "192.0.2.12"][..], &["192.0.2.21", "192.0.2.22"][..]);
    check(&format!("+subnet={IN_BOSTON} web.svc.example A"), "198.51.100.0/24/24", boston);
    check(&format!("+subnet={IN_LONDON} web.svc.example A"), "203.0.113.0/24/24", london);
    // A longer source gets the leaf's scope all the same (RFC 7871 §7.2.1).
    check("+subnet=203.0.113.77/32 web.svc.example A", "203.0.113.77/32/24", london);
    check(&format!("+tcp +subnet={IN_LONDON} shop.svc.example A"), "203.0.113.0/24/24", london);
    check(&format!("+subnet={IN_BOSTON} shop.svc.example A"), "198.51.100.0/24/24", boston);
    // The answer is everyone's: scope 0.
    check(&format!("+subnet={IN_LONDON} b1.id.web.svc.example A"), "203.0.113.0/24/0", &["192.0.2.11"]);
    check(&format!("+subnet={IN_LONDON} www.svc.example A"), "203.0.113.0/24/0", &["192.0.2.80", "192.0.2.81"]);
    // Source length 0 asks not to be looked at (RFC 7871 §7.1.2); the resolver's own address decides then.
    check("+subnet=0.0.0.0/0 web.svc.example A", "0.0.0.0/0/0", boston);
}

#[test]
fn dig_finds_the_protocol_kept() {
    let signpost = world::start();
    // The last words are flags that must stand and flags that must not. RFC 8906 §8 has a table of its own, `compliance`.
    let check = |query: &str, status: &str, with: &[&str], without: &[&str]| {
        let reply = dig(&signpost, query);
        assert_eq!(reply.status, status, "dig {query}: {reply}");
        assert!(with.iter().all(|f| reply.flag(f)) && !without.iter().any(|f| reply.flag(f)), "dig {query}: {reply}");
        reply
    };
    let served = &["qr", "aa"][..];
    let reply = check("+norec +nocookie +noad +dnssec +bufsize=512 +ignore big.svc.example TXT", "NOERROR", &["qr", "aa", "tc"], &[]);
    assert!(reply.option("EDNS: version: 0, flags: do;").is_some(), "a truncated reply keeps its OPT (RFC 6891 §7): {reply}");
    check("+norec +noad +cookie=1234567890123456 +nsid +expire +padding=64 svc.example SOA", "NOERROR", served, &[]);
    check("+norec +nocookie +noad +subnet=192.0.2.0/24 svc.example SOA", "NOERROR", served, &[]);

    // What does not fit comes over TCP, and dig goes there by itself.
    let reply = check("+noedns +ignore big.svc.example TXT", "NOERROR", &["tc"], &[]);
    assert!(reply.opt.is_empty() && (1..6).contains(&reply.answer.len()), "{reply}");
    for query in ["+noedns big.svc.example TXT", "+bufsize=512 big.svc.example TXT", "+bufsize=1232 +ignore big.svc.example TXT"] {
        let reply = check(query, "NOERROR", served, &["tc"]);
        assert_eq!(reply.data("TXT").len(), 6, "{reply}");
    }

    // What is not ours is refused, and says why (RFC 8914 §4.21: Not Authoritative).
    for query in ["www.elsewhere.test A", "example A", ". NS"] {
        let reply = check(query, "REFUSED", &["qr"], &["aa"]);
        assert!(reply.option("EDE: 20").is_some() && reply.answer.is_empty() && reply.authority.is_empty(), "{reply}");
    }
    for query in ["version.bind CH TXT", "id.server CH TXT", "svc.example CH A"] {
        let reply = check(query, "REFUSED", &["qr"], &["aa"]);
        assert!(reply.answer.is_empty(), "{reply}");
    }
    let text = dig_text(&signpost, "svc.example AXFR");
    assert!(text.contains("Transfer failed"), "{text}");
}

#[test]
fn kdig_agrees() {
    let signpost = world::start();
    let kdig = |query: &str| Reply::one(&kdig_text(&signpost, query));
    world::check_names(|name, rtype| kdig(&format!("{name} {rtype}")));
    let reply = kdig(&format!("+subnet={IN_LONDON} web.svc.example A"));
    assert_eq!(reply.data("A"), ["192.0.2.21", "192.0.2.22"], "{reply}");
    assert_eq!(reply.option("CLIENT-SUBNET:"), Some("203.0.113.0/24/24"), "{reply}");
    let reply = kdig("+edns=1 web.svc.example A");
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("BADVERS", 0), "{reply}");
    assert!(reply.option("Version: 0;").is_some(), "{reply}");
    let reply = kdig("+edns +nsid +cookie +padding=128 web.svc.example A");
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("NOERROR", 2), "{reply}");
    let reply = kdig("+edns www.elsewhere.test A");
    assert_eq!(reply.status, "REFUSED", "{reply}");
    assert!(reply.option("EDE: 20").is_some(), "{reply}");

    // Several questions over one connection, in turn (RFC 7766 §6.2.1).
    let text = kdig_text(
        &signpost,
        "+tcp +keepopen -q web.svc.example -t SRV -q www.svc.example -t A -q nosuch.svc.example -q big.svc.example -t TXT",
    );
    let replies = Reply::all(&text);
    let statuses: Vec<&str> = replies.iter().map(|r| r.status.as_str()).collect();
    assert_eq!(statuses, ["NOERROR", "NOERROR", "NXDOMAIN", "NOERROR"], "{text}");
    assert_eq!(replies[0].data("SRV").len(), 2, "{text}");
    assert_eq!(replies[1].data("A"), ["192.0.2.80", "192.0.2.81"], "{text}");
    assert_eq!(replies[3].data("TXT").len(), 6, "{text}");
    assert_eq!(text.matches("(TCP)").count(), 4, "{text}");

    // RFC 8427 JSON, as a script reads it.
    let json = kdig_text(&signpost, "+json l1.id.web.svc.example SRV");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
    assert_eq!((&json["AA"], &json["RA"], &json["RCODE"], &json["ANCOUNT"]), (&1.into(), &0.into(), &0.into(), &1.into()), "{json}");
    assert_eq!(json["answerRRs"][0]["rdataSRV"], "0 25600 8081 l1.id.web.svc.example.", "{json}");
}

#[test]
fn drill_agrees() {
    let signpost = world::start();
    let drill = |query: &str| {
        let mut args: Vec<String> = signpost.at()[1..].into();
        let (name, rest) = query.split_once(' ').unwrap_or((query, ""));
        args.extend([name.into(), signpost.at()[0].clone()]);
        args.extend(rest.split_whitespace().map(String::from));
        Reply::one(&run("drill", &args))
    };
    world::check_names(|name, rtype| drill(&format!("{name} {rtype}")));
    let reply = drill("svc.example SOA");
    assert_eq!(reply.data("SOA").len(), 1, "{reply}");
    let reply = drill("svc.example NS");
    assert_eq!(reply.data("NS"), ["ns1.svc.example.", "ns2.svc.example."], "{reply}");
    let reply = drill("_web._tcp.svc.example SRV");
    assert_eq!(reply.data("SRV").len(), 2, "{reply}");
    assert_eq!(reply.additional.iter().filter(|r| r.rtype == "A").count(), 2, "{reply}");
    let reply = drill("www.elsewhere.test A");
    assert_eq!(reply.status, "REFUSED", "{reply}");
}
