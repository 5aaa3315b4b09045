//! EDNS options as clients send and print them, and the records and sizes that clients must be able to read.

use std::net::SocketAddr;

use crate::harness::{Signpost, at, free_port, loopback, run};
use crate::internet::tap::Tap;
use crate::internet::zones;
use crate::reply::Reply;

/// With an identifier, and little for those who have not shown that they receive what is sent to them.
const DNS: &str = "identity = \"ns1-boston\"\nunverified_max = 512";

fn start() -> Signpost {
    Signpost::start_on(&[], DNS, zones::OURS)
}

fn ask(program: &str, signpost: &Signpost, query: &str) -> String {
    ask_at(program, signpost.dns, query)
}

fn ask_at(program: &str, server: SocketAddr, query: &str) -> String {
    let once = if program == "dig" { ["+time=5", "+tries=1"] } else { ["+time=5", "+retry=0"] };
    let mut args: Vec<String> = at(server).into();
    args.extend(once.map(String::from));
    args.extend(query.split_whitespace().map(String::from));
    run(program, &args)
}

fn one(program: &str, signpost: &Signpost, query: &str) -> Reply {
    Reply::one(&ask(program, signpost, query))
}

/// The cookie that a client prints, in hex.
fn cookie(reply: &Reply) -> String {
    let printed = reply.option("COOKIE:").unwrap_or_else(|| panic!("no cookie: {reply}"));
    printed.split_whitespace().next().expect("a cookie").to_lowercase()
}

#[test]
fn dig_and_kdig_learn_a_cookie_and_are_known_by_it() {
    let signpost = start();
    let query = "+ignore +bufsize=1232 many.plain.example AAAA";
    for program in ["dig", "kdig"] {
        // dig ignores a truncated reply when told so; kdig says it in other words.
        let query = if program == "dig" { query.to_string() } else { query.replace("+ignore", "+edns +ignore") };
        // Without a cookie, and with one that nobody has given out yet: what is over 512 octets is for TCP.
        let bare = if program == "dig" { "+nocookie" } else { "" };
        let reply = one(program, &signpost, &format!("{bare} {query}"));
        assert!(reply.flag("tc") && reply.option("COOKIE:").is_none(), "{program}: {reply}");
        let first = one(program, &signpost, &format!("+cookie=0102030405060708 {query}"));
        assert!(first.flag("tc"), "{program}: {first}");
        let given = cookie(&first);
        // 8 octets of the client's, 16 of the server's of which the first tells the version (RFC 9018 §4).
        assert!(given.len() == 48 && given.starts_with("010203040506070801000000"), "{program}: {first}");
        if program == "dig" {
            assert!(first.option("COOKIE:").is_some_and(|c| c.ends_with("(good)")), "{first}");
        }
        // With it the client is known: the whole answer comes, and the same cookie.
        let second = one(program, &signpost, &format!("+cookie={given} {query}"));
        assert!(!second.flag("tc") && second.data("AAAA").len() == 20, "{program}: {second}");
        assert_eq!(cookie(&second), given, "{program}: {second}");
        // One that was given to someone else, or by someone else, proves nothing; a better one comes with the reply.
        let forged = format!("{}{}", &given[..46], if given.ends_with("00") { "01" } else { "00" });
        let other = given.replacen("0102", "0202", 1);
        for wrong in [forged, other] {
            let reply = one(program, &signpost, &format!("+cookie={wrong} {query}"));
            assert!(reply.flag("tc") && cookie(&reply).len() == 48 && cookie(&reply) != wrong, "{program}: {reply}");
        }
    }
    // Over TCP the handshake has shown it: any cookie will do (RFC 7873 §5.2.3).
    let reply = one("dig", &signpost, "+tcp +cookie=0102030405060708 www.plain.example A");
    assert_eq!((reply.data("A"), cookie(&reply).len()), (vec!["192.0.2.80"], 48), "{reply}");
    // A cookie of a length that no cookie has is malformed (RFC 7873 §5.2.2); one of another server's length is not.
    for wrong in ["01", "01020304050607", "0102030405060708aa", "01020304050607080102030405060708", &"ab".repeat(41)] {
        let reply = one("dig", &signpost, &format!("+nocookie +ednsopt=10:{wrong} www.plain.example A"));
        let status = if wrong.len() == 32 { "NOERROR" } else { "FORMERR" };
        assert_eq!(reply.status, status, "{wrong}: {reply}");
    }
}

#[test]
fn options_are_answered_where_they_belong() {
    let signpost = start();
    // Client, query, what its OPT section must say and what it must not.
    let table: &[(&str, &str, &[&str], &[&str])] = &[
        // RFC 5001: only who asks is told.
        ("dig", "+nsid plain.example SOA", &["NSID: 6e 73 31 2d 62 6f 73 74 6f 6e (\"ns1-boston\")"], &[]),
        ("dig", "plain.example SOA", &[], &["NSID"]),
        ("kdig", "+nsid plain.example SOA", &["NSID: 6E73312D626F73746F6E \"ns1-boston\""], &[]),
        ("dig", "+nsid nosuch.plain.example A", &["NSID: 6e"], &[]),
        ("dig", "+nsid +tcp fixed.svc.example A", &["NSID: 6e"], &[]),
        // RFC 7828 §3.2.1: over TCP, and never over UDP.
        ("dig", "+tcp +keepalive plain.example SOA", &["TCP KEEPALIVE: "], &[]),
        ("dig", "+tcp plain.example SOA", &[], &["TCP KEEPALIVE"]),
        ("dig", "+keepalive plain.example SOA", &[], &["TCP KEEPALIVE"]),
        // RFC 7830 §6: padding is for transports that encrypt.
        ("dig", "+padding=128 plain.example SOA", &[], &["PAD"]),
        ("dig", "+tcp +padding=128 plain.example SOA", &[], &["PAD"]),
        ("kdig", "+padding=128 plain.example SOA", &[], &["PAD"]),
        ("kdig", "+tcp +padding=128 plain.example SOA", &[], &["PAD"]),
        // RFC 6891 §6.1.2: what is not known is passed over; §6.1.4: and so are flags.
        ("dig", "+ednsopt=65001:c0ffee plain.example SOA", &["EDNS: version: 0, flags:; udp: "], &["OPT=65001", "c0 ff ee"]),
        ("kdig", "+ednsopt=65001:c0ffee plain.example SOA", &["Version: 0; flags: ;"], &["C0FFEE"]),
        ("dig", "+ednsopt=9 +ednsopt=65001 +ednsopt=65001:aa +nsid plain.example SOA", &["NSID: 6e"], &["OPT=65001", "EXPIRE"]),
        ("dig", "+ednsflags=0x7fff plain.example SOA", &["EDNS: version: 0, flags:; udp: "], &["MBZ"]),
        ("kdig", "+dnssec plain.example SOA", &["Version: 0; flags: do;"], &[]),
        ("dig", "+bufsize=0 plain.example SOA", &["EDNS: version: 0, flags:; udp: 1232"], &[]),
        ("dig", "+bufsize=65535 plain.example SOA", &["EDNS: version: 0, flags:; udp: 1232"], &[]),
    ];
    for (program, query, says, not) in table {
        let reply = one(program, &signpost, query);
        assert!(matches!(reply.status.as_str(), "NOERROR" | "NXDOMAIN") && reply.flag("aa"), "{program} {query}: {reply}");
        let said = |line: &str| reply.opt.iter().any(|found| found.contains(line));
        assert!(says.iter().all(|line| said(line)), "{program} {query}: {says:?} are missing in {reply}");
        assert!(!not.iter().any(|line| said(line)), "{program} {query}: one of {not:?} is in {reply}");
    }
}

/// One connection, several questions, in both clients (RFC 7766 §6.2.1).
#[test]
fn a_connection_is_kept_for_the_next_question() {
    let signpost = start();
    let names =
        ["www.plain.example A", "nosuch.plain.example A", "big.plain.example TXT", "fixed.svc.example A", "www.other.plain.example A"];
    let expected = ["NOERROR", "NXDOMAIN", "NOERROR", "NOERROR", "NOERROR"];
    let front = loopback(free_port());
    let tap = Tap::start(front, signpost.dns);
    let dig: String = names.iter().map(|name| format!("{name} ")).collect();
    let kdig: String = names
        .iter()
        .map(|name| format!("-q {} -t {} ", name.split(' ').next().unwrap_or_default(), name.split(' ').nth(1).unwrap_or_default()))
        .collect();
    for text in
        [ask_at("dig", front, &format!("+tcp +keepopen +keepalive {dig}")), ask_at("kdig", front, &format!("+tcp +keepopen {kdig}"))]
    {
        let replies = Reply::all(&text);
        assert_eq!(replies.iter().map(|r| r.status.as_str()).collect::<Vec<_>>(), expected, "{text}");
        assert_eq!(text.matches("(TCP)").count(), names.len(), "{text}");
        assert_eq!(replies[2].data("TXT").len(), 6, "{text}");
    }
    let connections: Vec<Option<usize>> = tap.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [[Some(0); 5], [Some(1); 5]].concat());
}

#[test]
fn every_client_reads_every_record() {
    let signpost = start();
    // Name, type, and the data as dig prints it; kdig and drill differ in the case of hex alone.
    let table: &[(&str, &str, &[&str])] = &[
        ("plain.example", "CAA", &[r#"0 issue "ca.example.net""#]),
        ("typed.plain.example", "NAPTR", &[r#"100 10 "S" "SIP+D2U" "" _sip._udp.plain.example."#]),
        ("typed.plain.example", "SSHFP", &["4 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"]),
        ("_443._tcp.typed.plain.example", "TLSA", &["3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"]),
        ("typed.plain.example", "TYPE65280", &[r"\# 4 c0000201"]),
        ("typed.plain.example", "URI", &[r#"10 1 "https://www.example/""#]),
        ("typed.plain.example", "HINFO", &[r#""PDP-11" "UNIX""#]),
        ("typed.plain.example", "RP", &["hostmaster.plain.example. big.plain.example."]),
        ("moved.plain.example", "DNAME", &["new.plain.example."]),
    ];
    for (name, rtype, data) in table {
        for program in ["dig", "kdig", "drill"] {
            let args: Vec<String> = match program {
                "drill" => [&signpost.at()[1..], &[name.to_string(), signpost.at()[0].clone(), rtype.to_string()]].concat(),
                _ => [&signpost.at()[..], &[name.to_string(), rtype.to_string()]].concat(),
            };
            let reply = Reply::one(&run(program, &args));
            // dig breaks long hex into words.
            let plain = |data: &str| data.to_lowercase().replace(' ', "");
            let found: Vec<String> = reply.data(rtype).into_iter().map(plain).collect();
            assert_eq!(found, data.iter().map(|d| plain(d)).collect::<Vec<_>>(), "{program} {name} {rtype}: {reply}");
        }
    }
    let svcb = one("dig", &signpost, "_8443._foo.typed.plain.example SVCB");
    assert_eq!(svcb.data("SVCB"), [r#"1 www.plain.example. alpn="h2,h3" port=8443"#], "{svcb}");
    let svcb = one("kdig", &signpost, "_8443._foo.typed.plain.example SVCB");
    assert_eq!(svcb.data("SVCB"), ["1 www.plain.example. alpn=h2,h3 port=8443"], "{svcb}");
}

#[test]
fn a_dname_is_followed_by_what_it_makes() {
    let signpost = start();
    for program in ["dig", "kdig"] {
        // RFC 6672 §3.1: the DNAME, the CNAME that follows from it with its TTL, and what is there.
        let reply = one(program, &signpost, "x.moved.plain.example A");
        let found: Vec<(&str, &str, u32, &str)> =
            reply.answer.iter().map(|r| (r.owner.as_str(), r.rtype.as_str(), r.ttl, r.data.as_str())).collect();
        assert_eq!(
            found,
            [
                ("moved.plain.example.", "DNAME", 3600, "new.plain.example."),
                ("x.moved.plain.example.", "CNAME", 3600, "x.new.plain.example."),
                ("x.new.plain.example.", "A", 3600, "192.0.2.88"),
            ],
            "{program}: {reply}"
        );
        one(program, &signpost, "moved.plain.example A").assert_no_data("plain.example.");
    }
}

/// What does not fit a datagram: every client goes to TCP by itself, and gets all of it.
#[test]
fn what_is_large_comes_over_tcp() {
    let signpost = start();
    for program in ["dig", "kdig", "drill"] {
        for (name, rtype, count) in [("many.plain.example", "AAAA", 20), ("big.plain.example", "TXT", 6)] {
            let args: Vec<String> = match program {
                // Without -a it stays with what it has.
                "drill" => [&signpost.at()[1..], &["-a".into(), name.to_string(), signpost.at()[0].clone(), rtype.to_string()]].concat(),
                _ => [&signpost.at()[..], &[name.to_string(), rtype.to_string()]].concat(),
            };
            let reply = Reply::all(&run(program, &args)).pop().unwrap_or_default();
            assert_eq!((reply.data(rtype).len(), reply.flag("tc")), (count, false), "{program} {name}: {reply}");
        }
    }
}
