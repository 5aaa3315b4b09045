//! A zone that its primary has signed, copied and served as it is: Knot signs, Signpost copies it, whole and then by differences, and NSD copies
//! it from Signpost. Each shape of answer is that of Knot, Unbound and delv find it secure, from Signpost and from NSD.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::harness::{Peer, Signpost, at, free_port, loopback, run, wait_until};
use crate::peers::{self, ask};
use crate::reply::{Record, Reply};

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

const ZONE: &str = r#"$TTL 60
@ SOA ns1 hostmaster 1 3600 600 86400 30
@ NS ns1
@ MX 10 mail
@ TXT "apex"
ns1 A 127.0.0.1
mail A 192.0.2.25
mail AAAA 2001:db8::25
www 120 A 192.0.2.80
www 120 A 192.0.2.81
www TXT "another TTL"
alias CNAME www
alias2 CNAME alias
dangling CNAME nothing
outside CNAME www.elsewhere.test.
a.b.deep TXT "down here"
*.wild A 192.0.2.99
*.wild MX 5 mail
real.wild TXT "a real name"
x.ent.wild TXT "below an empty non-terminal"
*.cwild CNAME www
*.dwild CNAME nothing
*.wwild CNAME x.wild
*.owild CNAME www.elsewhere.test.
below.*.twild TXT "the wildcard is an empty non-terminal"
moved DNAME kept
x.kept A 192.0.2.90
secure NS ns.secure
secure NS mail
secure DS 12345 13 2 3a8d1f5e0b6c4d7e9f00112233445566778899aabbccddeeff00112233445566
ns.secure A 192.0.2.70
insecure NS ns.insecure
ns.insecure A 192.0.2.71
delegated.empty NS mail
_sip._tcp SRV 0 5 5060 mail
https HTTPS 1 Svc.S.Example. alpn=h2
unknown TYPE65280 \# 3 010203
zz A 192.0.2.26
"#;

/// Name, type, and the status: `*` where it is what DNSSEC does not tell.
const SHAPES: &[(&str, &str, &str)] = &[
    ("", "SOA", "NOERROR"),
    ("", "NS", "NOERROR"),
    ("", "MX", "NOERROR"),
    ("", "TXT", "NOERROR"),
    ("", "DNSKEY", "NOERROR"),
    ("", "AAAA", "NOERROR"),
    ("", "NSEC3PARAM", "NOERROR"),
    ("www.", "A", "NOERROR"),
    ("www.", "TXT", "NOERROR"),
    ("www.", "AAAA", "NOERROR"),
    ("mail.", "AAAA", "NOERROR"),
    ("alias.", "A", "NOERROR"),
    ("alias.", "CNAME", "NOERROR"),
    ("alias.", "AAAA", "NOERROR"),
    ("alias2.", "A", "NOERROR"),
    ("dangling.", "A", "NXDOMAIN"),
    ("deep.", "TXT", "NOERROR"),
    ("b.deep.", "TXT", "NOERROR"),
    ("a.b.deep.", "TXT", "NOERROR"),
    ("a.b.deep.", "A", "NOERROR"),
    ("c.b.deep.", "A", "NXDOMAIN"),
    ("some.wild.", "A", "NOERROR"),
    ("some.more.wild.", "MX", "NOERROR"),
    ("some.wild.", "AAAA", "NOERROR"),
    ("*.wild.", "A", "NOERROR"),
    ("*.wild.", "AAAA", "NOERROR"),
    ("wild.", "A", "NOERROR"),
    ("real.wild.", "TXT", "NOERROR"),
    ("real.wild.", "A", "NOERROR"),
    ("x.real.wild.", "A", "*"),
    ("ent.wild.", "A", "NOERROR"),
    ("y.ent.wild.", "A", "*"),
    ("any.cwild.", "A", "NOERROR"),
    ("any.cwild.", "CNAME", "NOERROR"),
    ("any.cwild.", "AAAA", "NOERROR"),
    ("any.dwild.", "A", "NXDOMAIN"),
    ("any.wwild.", "A", "NOERROR"),
    ("any.wwild.", "AAAA", "NOERROR"),
    ("any.twild.", "A", "NOERROR"),
    ("below.any.twild.", "A", "NOERROR"),
    ("moved.", "DNAME", "NOERROR"),
    ("x.moved.", "A", "NOERROR"),
    ("y.moved.", "A", "NXDOMAIN"),
    ("moved.", "A", "NOERROR"),
    ("secure.", "DS", "NOERROR"),
    ("insecure.", "DS", "NOERROR"),
    ("delegated.empty.", "DS", "NOERROR"),
    ("empty.", "A", "NOERROR"),
    ("x.empty.", "A", "NXDOMAIN"),
    ("_sip._tcp.", "SRV", "NOERROR"),
    ("_tcp.", "SRV", "NOERROR"),
    ("https.", "HTTPS", "NOERROR"),
    ("unknown.", "TYPE65280", "NOERROR"),
    ("nosuch.", "A", "NXDOMAIN"),
    ("nosuch.", "DS", "NXDOMAIN"),
    ("below.nosuch.", "SRV", "NXDOMAIN"),
    ("zzz.", "A", "NXDOMAIN"),
    ("0.", "A", "NXDOMAIN"),
    ("WwW.", "A", "NOERROR"),
    ("new.", "A", "*"),
    ("x.newwild.", "A", "*"),
    ("zz.", "A", "*"),
];

/// What NSD 4.6 puts in lower case, and so breaks the signature of: Signpost does not.
const FOLDED: &str = "https.";

/// A wildcard that has nothing itself: Knot proves that no nearer name is there, and leaves out, with NSEC, what the wildcard has. One whose NSEC is
/// asked for: that which proves it of the name is the same, under another name.
const KNOT_PROVES_LESS: [(&str, &str); 3] = [("any.twild.", "A"), ("below.any.twild.", "A"), ("some.wild.", "NSEC")];

/// Those that lead to other servers, or where what is there is asked for by hand.
const FURTHER: &[(&str, &str)] = &[
    ("secure.", "A"),
    ("www.secure.", "A"),
    ("ns.secure.", "A"),
    ("insecure.", "A"),
    ("www.insecure.", "AAAA"),
    ("www.delegated.empty.", "AAAA"),
    ("outside.", "A"),
    ("any.owild.", "A"),
    ("", "NSEC"),
    ("www.", "NSEC"),
    ("alias.", "NSEC"),
    ("some.wild.", "NSEC"),
    ("nosuch.", "NSEC"),
    ("www.", "NSEC3"),
    ("www.", "RRSIG"),
    ("alias.", "RRSIG"),
    ("some.wild.", "RRSIG"),
];

const CHANGES: [&str; 3] = [
    "update add new.s.example 60 A 192.0.2.100\nupdate delete zz.s.example\nupdate delete www.s.example TXT",
    "update add *.newwild.s.example 60 A 192.0.2.101\nupdate delete new.s.example\nupdate delete real.wild.s.example",
    "update add zz.s.example 60 A 192.0.2.27\nupdate add new.s.example 60 MX 1 mail.s.example.\nupdate delete x.ent.wild.s.example",
];

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file");
}

/// Knot, which signs the zone by this policy and tells a secondary of changes.
fn knot(port: u16, policy: &str) -> Peer {
    Peer::start("knotd", |folder, address| {
        write(folder, "zone", ZONE);
        let config = format!(
            "server:\n  rundir: \"{folder}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: \"{folder}\"\nlog:\n  - target: stderr\n    any: info\n\
             remote:\n  - id: signpost\n    address: 127.0.0.1@{port}\n\
             acl:\n  - id: all\n    address: 127.0.0.1\n    action: [transfer, update]\n\
             policy:\n  - id: own\n    algorithm: ecdsap256sha256\n{policy}\
             zone:\n  - domain: s.example\n    file: \"{folder}/zone\"\n    acl: all\n    notify: signpost\n    zonefile-sync: -1\n    \
             dnssec-signing: on\n    dnssec-policy: own\n    serial-policy: increment\n",
            address.ip(),
            address.port(),
            folder = folder.display(),
        );
        write(folder, "knot.conf", &config);
        ["-c", "knot.conf"].map(String::from).into()
    })
}

/// NSD, which copies the zone from Signpost.
fn nsd(primary: SocketAddr) -> Peer {
    Peer::start("nsd", |folder, address| {
        let config = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  pidfile: \"{folder}/pid\"\n  \
             xfrdfile: \"\"\n  xfrdir: \"{folder}\"\n  zonelistfile: \"{folder}/zones\"\n  server-count: 1\n  xfrd-reload-timeout: 0\n  verbosity: 2\n\
             remote-control:\n  control-enable: no\nzone:\n  name: s.example\n  zonefile: \"{folder}/zone\"\n  request-xfr: {}@{} NOKEY\n  \
             max-refresh-time: 1\n  min-refresh-time: 1\n  max-retry-time: 1\n  allow-notify: 127.0.0.1 NOKEY\n  provide-xfr: 127.0.0.1 NOKEY\n",
            address.ip(),
            address.port(),
            primary.ip(),
            primary.port(),
            folder = folder.display(),
        );
        write(folder, "nsd.conf", &config);
        ["-d", "-c", "nsd.conf"].map(String::from).into()
    })
}

fn named(name: &str) -> String {
    format!("{name}s.example")
}

fn serial(server: SocketAddr) -> Option<u32> {
    let args: Vec<String> = at(server).into_iter().chain(["s.example", "SOA", "+short", "+time=1", "+tries=1"].map(String::from)).collect();
    run("dig", &args).split_whitespace().nth(2)?.parse().ok()
}

/// All records of a zone, as dig prints them.
fn records(server: SocketAddr) -> BTreeSet<String> {
    let args: Vec<String> = at(server).into_iter().chain(["s.example", "AXFR", "+noall", "+answer", "+onesoa"].map(String::from)).collect();
    let text = run("dig", &args);
    let lines = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What a reply says that every server says alike: of the additional section nothing, of NS beside answers neither.
fn said(reply: &Reply) -> (String, BTreeSet<String>, BTreeSet<String>) {
    let line = |record: &Record| format!("{} {} {} {}", record.owner.to_lowercase(), record.ttl, record.rtype, record.data);
    let is_ns = |record: &&Record| record.rtype == "NS" || record.rtype == "RRSIG" && record.data.starts_with("NS ");
    let is_referral = reply.answer.is_empty() && reply.status == "NOERROR" && !reply.authority.iter().any(|record| record.rtype == "SOA");
    let authority = reply.authority.iter().filter(|record| is_referral || !is_ns(record)).map(line).collect();
    (reply.status.clone(), reply.answer.iter().map(line).collect(), authority)
}

/// A validator that trusts the zone's key, and asks one server.
fn validator(knot: &Peer, of: SocketAddr) -> Peer {
    let dnskey = ask(knot.address, "+nosplit s.example DNSKEY");
    let anchors: String = dnskey.data("DNSKEY").iter().map(|key| format!("  trust-anchor: \"s.example. DNSKEY {key}\"\n")).collect();
    let server = format!("  do-ip6: no\n  val-log-level: 2\n  val-max-restart: 0\n{anchors}");
    let stub = format!("stub-zone:\n  name: \"s.example\"\n  stub-addr: {}@{}\n  stub-first: no\n", of.ip(), of.port());
    peers::unbound("validator iterator", "", &server, &stub)
}

/// dig's replies to queries, written as its command lines: one process for all of them.
fn ask_all(folder: &Path, server: SocketAddr, queries: &[String]) -> Vec<Reply> {
    let at = at(server).join(" ");
    write(folder, "queries", &queries.iter().map(|query| format!("{at} +time=10 +tries=1 {query}\n")).collect::<String>());
    let replies = Reply::all(&run("dig", &["-f".to_string(), folder.join("queries").display().to_string()]));
    assert_eq!(replies.len(), queries.len(), "{}", replies.iter().map(ToString::to_string).collect::<String>());
    replies
}

/// Every shape is what Knot says it is.
#[track_caller]
fn same(knot: &Peer, signpost: &Signpost, when: &str) {
    let shapes = || SHAPES.iter().map(|(name, rtype, _)| (*name, *rtype)).chain(FURTHER.iter().copied());
    for more in ["+dnssec +norec", "+norec +noedns"] {
        let queries: Vec<String> = shapes().map(|(name, rtype)| format!("{more} {} {rtype}", named(name))).collect();
        let [theirs, ours] = [knot.address, signpost.dns].map(|server| ask_all(&knot.folder, server, &queries));
        for (((name, rtype), query), (theirs, ours)) in shapes().zip(&queries).zip(theirs.iter().zip(&ours)) {
            assert_eq!(ours.flag("aa"), theirs.flag("aa"), "{when}: {query}\n{ours}\n{theirs}");
            assert!(!ours.flag("tc") && !theirs.flag("tc"), "{when}: {query}\n{ours}\n{theirs}");
            // An NSEC may stand beside an alias, but where there is none, the alias is followed here, and is not there.
            if (name, rtype) == ("alias.", "NSEC") && theirs.answer.is_empty() {
                continue;
            }
            let (mut is, was) = (said(ours), said(theirs));
            if KNOT_PROVES_LESS.contains(&(name, rtype)) {
                assert!(is.2.is_superset(&was.2), "{when}: {query}\n{ours}\n{theirs}");
                is.2.clone_from(&was.2);
            }
            assert_eq!(is, was, "{when}: {query}\n{ours}\n{theirs}");
        }
    }
}

/// Every shape is secure, from one server: Signpost, or NSD.
#[track_caller]
fn secure(knot: &Peer, of: SocketAddr, optout: bool, by_nsd: bool, when: &str) {
    let unbound = validator(knot, of);
    // NSD 4.6 proves too little of what stands above delegations that opt-out leaves out.
    let answered = |name: &str| !by_nsd || name != FOLDED && !(optout && name.ends_with("empty."));
    // Twice, of which the second is from the cache.
    let shapes: Vec<_> = SHAPES.iter().chain(SHAPES).filter(|(name, ..)| answered(name)).collect();
    let queries: Vec<String> = shapes.iter().map(|(name, rtype, _)| format!("+dnssec {} {rtype}", named(name))).collect();
    for ((name, rtype, status), reply) in shapes.iter().zip(ask_all(&knot.folder, unbound.address, &queries)) {
        let log = unbound.log();
        let said = log.lines().filter(|line| line.contains("validation failure")).collect::<Vec<_>>().join("\n");
        assert!(*status == "*" || reply.status == *status, "{when}: {name} {rtype}: {reply}\n{said}");
        // What opt-out leaves open is insecure (RFC 5155 §9.2).
        let proved = |record: &Record| record.rtype == "NSEC3" && record.data.starts_with("1 1 ");
        let open = optout && reply.authority.iter().any(proved);
        assert!(reply.flag("ad") || open, "{when}: {name} {rtype} is not secure: {reply}\n{said}");
        assert!(reply.status != "SERVFAIL" && said.is_empty(), "{when}: {name} {rtype}: {reply}\n{said}");
    }
}

/// delv finds the same without a cache, asking Signpost itself.
#[track_caller]
fn by_delv(knot: &Peer, signpost: &Signpost, optout: bool) {
    let anchor = knot.folder.join("anchor");
    let dnskey = ask(knot.address, "+nosplit s.example DNSKEY");
    let keys: String = dnskey
        .data("DNSKEY")
        .iter()
        .map(|data| {
            let [flags, protocol, number, key] = data.splitn(4, ' ').collect::<Vec<_>>()[..] else { panic!("{data}") };
            format!("\"s.example\" static-key {flags} {protocol} {number} \"{}\"; ", key.replace(' ', ""))
        })
        .collect();
    std::fs::write(&anchor, format!("trust-anchors {{ {keys} }};\n")).expect("a trust anchor");
    for (name, rtype, _) in SHAPES {
        let words = [&format!("-a{}", anchor.display()), "+root=s.example", "+nortrace", &named(name), rtype].map(String::from);
        let printed = run("delv", &[&signpost.at()[..], &words].concat());
        let open = optout && printed.contains("unsigned answer");
        assert!(printed.contains("fully validated") || open, "{name} {rtype}: {printed}");
    }
}

/// The whole way of a zone that is signed by such a policy.
fn serves(policy: &str, optout: bool) {
    let port = free_port();
    let knot = knot(port, policy);
    let signed = wait_until(PATIENCE, || !ask(knot.address, "s.example DNSKEY").data("DNSKEY").is_empty());
    assert!(signed, "{}", knot.log());
    let settings = format!(
        "workers = 1\n[secondary.\"s.example\"]\nprimaries = [\"{}\"]\n[transfer.\"s.example\"]\nnetworks = [\"127.0.0.0/8\"]\n",
        knot.address
    );
    let signpost = Signpost::start_on(
        &[loopback(port)],
        &settings,
        &[("zones/here.example.zone", "$TTL 60\n@ SOA ns h 1 2h 1h 2w 1h\n@ NS ns\nns A 127.0.0.1\n")],
    );
    let comes = |server: SocketAddr, what: &str| {
        let wanted = serial(knot.address).expect("a serial");
        let came = wait_until(PATIENCE, || serial(server) == Some(wanted));
        assert!(came, "{what}: {:?}, not {wanted}: {}", serial(server), signpost.get("/v1/secondaries"));
        let there = || -> BTreeSet<String> {
            let folds = |record: &String| {
                if server != signpost.dns && record.starts_with(FOLDED) {
                    record.replace("svc.s.example.", "Svc.S.Example.")
                } else {
                    record.clone()
                }
            };
            records(server).iter().map(folds).collect()
        };
        let is_same = wait_until(PATIENCE, || there() == records(knot.address));
        let (there, known) = (there(), records(knot.address));
        let [more, less] = [(&there, &known), (&known, &there)].map(|(a, b)| a.difference(b).collect::<Vec<_>>());
        assert!(is_same || there == known, "{what} has {more:#?}, and not {less:#?}");
    };
    comes(signpost.dns, "Signpost");
    let nsd = nsd(signpost.dns);
    comes(nsd.address, "NSD");
    same(&knot, &signpost, "copied");
    secure(&knot, signpost.dns, optout, false, "copied");
    secure(&knot, nsd.address, optout, true, "copied on");
    by_delv(&knot, &signpost, optout);
    for change in CHANGES {
        write(&knot.folder, "update", &format!("server {} {}\nzone s.example\n{change}\nsend\n", knot.address.ip(), knot.address.port()));
        let told = run("nsupdate", &["-v".to_string(), knot.folder.join("update").display().to_string()]);
        assert!(told.trim().is_empty(), "{change}: {told}");
        comes(signpost.dns, "Signpost");
        comes(nsd.address, "NSD");
        same(&knot, &signpost, change);
        secure(&knot, signpost.dns, optout, false, change);
    }
    secure(&knot, nsd.address, optout, true, "changed on");
    let log = knot.log();
    assert!(log.matches("AXFR, outgoing").count() > 0 && log.matches("IXFR, outgoing").count() >= CHANGES.len(), "{log}");
    let log = nsd.log();
    assert!(log.contains("IXFR") || log.contains("ixfr") || log.contains("serial"), "{log}");
    // What a restart would find is what is served.
    let config = signpost.folder().join("signpost.toml").display().to_string();
    let checked = run(env!("CARGO_BIN_EXE_signpost"), &["check", "--config", &config]);
    assert!(!checked.contains("error") && !checked.contains("never answered"), "{checked}");
}

#[test]
fn a_zone_with_nsec_is_served_as_its_primary_signed_it() {
    serves("    single-type-signing: on\n", false);
}

#[test]
fn a_zone_with_nsec3_is_served_as_its_primary_signed_it() {
    serves("    nsec3: on\n    nsec3-iterations: 5\n    nsec3-salt-length: 8\n", false);
}

#[test]
fn a_zone_with_nsec3_that_leaves_delegations_out_is_served_as_its_primary_signed_it() {
    serves("    nsec3: on\n    nsec3-iterations: 0\n    nsec3-opt-out: on\n    single-type-signing: on\n", true);
}
