//! Other people's servers and clients copy zones: dig and kdig verify what is signed, Knot and NSD follow as secondaries.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::harness::{Files, Peer, Signpost, at, loopback, run, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
const KEY: &str = "hmac-sha256:transfer-key:YSBzZWNyZXQgb2YgYXQgbGVhc3QgMTYgb2N0ZXRz";
/// What stands behind `[dns]`.
const TABLES: &str = "[tsig.transfer-key]\nalgorithm = \"hmac-sha256\"\nsecret = \"YSBzZWNyZXQgb2YgYXQgbGVhc3QgMTYgb2N0ZXRz\"\n\
    [tsig.strong]\nalgorithm = \"hmac-sha512\"\nsecret = \"YSBzZWNyZXQgb2YgYXQgbGVhc3QgMTYgb2N0ZXRz\"\n\
    [transfer.\"*\"]\nkeys = [\"transfer-key\", \"strong\"]\nservices = \"render\"\nnotify = []\n";

const FILES: Files = &[
    (
        "zones/example.com.zone",
        "$TTL 1h\n@ SOA ns1 hostmaster 2026112101 2h 1h 2w 60\n@ NS ns1\n@ NS ns2\n@ MX 10 mail\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n\
         mail A 192.0.2.3\nmail AAAA 2001:db8::3\nwww CNAME mail\n*.wild TXT \"any\" \"thing\"\na.b.c TXT deep\nsub NS ns.sub\nns.sub A 192.0.2.9\n\
         _sip._tcp SRV 0 5 5060 mail\n@ CAA 0 issue \"ca.example\"\nunknown TYPE65280 \\# 3 010203\nold DNAME mail\n",
    ),
    ("zones/large.example.zone", "$TTL 60\n@ SOA ns.x. h.x. 1 2h 1h 2w 5\n@ NS ns.x.\n$GENERATE 1-20000 host-$ TXT some-text-of-host-$\n"),
    (
        "zones/svc.example.toml",
        "services = true\nns = [\"ns1.svc.example.\"]\n[records]\nns1 = { A = [\"192.0.2.53\"] }\n[names.api]\npolicy = \"failover\"\n\
         branches = [{ service = \"web\" }, { records = { A = [\"192.0.2.200\"] } }]\n",
    ),
];

/// The records that a server gives of a zone, as dig prints them, but the SOA.
fn records(server: &[String], apex: &str, more: &[&str]) -> BTreeSet<String> {
    let mut args: Vec<&str> = server.iter().map(String::as_str).collect();
    args.extend([apex, "AXFR", "+noall", "+answer", "+onesoa"]);
    args.extend(more);
    let text = run("dig", &args);
    let lines = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty() && !line.contains("\tTSIG\t"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|line| !line.contains(" SOA ")).collect()
}

fn serial(server: &[String], apex: &str) -> Option<u32> {
    let args: Vec<&str> = server.iter().map(String::as_str).chain([apex, "SOA", "+short", "+time=1", "+tries=1"]).collect();
    run("dig", &args).split_whitespace().nth(2)?.parse().ok()
}

#[test]
fn dig_and_kdig_copy_zones_and_verify_what_is_signed() {
    let signpost = Signpost::start_on(&[], TABLES, FILES);
    let strong = KEY.replace("sha256", "sha512").replace("transfer-key", "strong");
    for (apex, key, count) in [("example.com", KEY, 17), ("example.com", &strong, 17), ("large.example", KEY, 20_002)] {
        let mut args: Vec<&str> = vec!["-y", key];
        let server = signpost.at();
        args.extend(server.iter().map(String::as_str));
        args.extend([apex, "AXFR"]);
        let text = run("dig", &args);
        assert!(text.contains(&format!("XFR size: {} records", count + 1)), "{text:.2000}");
        assert!(!text.contains("WARNING") && !text.contains("verify"), "{text:.2000}");
        let text = run("kdig", &args);
        assert!(text.contains(&format!("{} records", count + 1)), "{text:.2000}");
        assert!(!text.contains("WARNING") && !text.contains(";; ERROR"), "{text:.2000}");
    }
    // The latest serial: its SOA alone; an older one that nobody knows: all of it. Over UDP, the SOA.
    let ixfr = |since: u32, more: &[&str]| {
        let mut args = vec!["-y".to_string(), KEY.into()];
        args.extend(signpost.at());
        args.extend(["example.com".into(), format!("IXFR={since}"), "+noall".into(), "+answer".into()]);
        args.extend(more.iter().map(ToString::to_string));
        run("dig", &args).lines().filter(|line| line.contains("\tIN\t")).count()
    };
    assert_eq!((ixfr(2026112101, &[]), ixfr(2026112100, &[]), ixfr(2026112100, &["+notcp"])), (1, 18, 1));
    let refused = run("dig", &signpost.at().into_iter().chain(["example.com".into(), "AXFR".into()]).collect::<Vec<_>>());
    assert!(refused.contains("; Transfer failed."), "{refused}");
    // A question that is signed gets an answer that is.
    let text = run("kdig", &signpost.at().into_iter().chain(["-y".into(), KEY.into(), "mail.example.com".into()]).collect::<Vec<_>>());
    assert!(text.contains("192.0.2.3") && text.contains("TSIG") && !text.contains("WARNING"), "{text}");
}

/// A secondary follows: the zone as it is, a change of its file by IXFR, and what is registered.
fn follows(program: &str, arrange: impl Fn(&Path, std::net::SocketAddr, u16) -> Vec<String>) -> Peer {
    let signpost = Signpost::start_on(&[], TABLES, FILES);
    let peer = Peer::start(program, |folder, address| arrange(folder, address, signpost.dns.port()));
    let there: Vec<String> = at(peer.address).into();
    let here: Vec<String> = signpost.at().into_iter().chain(["-y".into(), KEY.into()]).collect();
    let same = |apex: &str| {
        let same = || serial(&there, apex).is_some() && records(&there, apex, &[]) == records(&here, apex, &[]);
        assert!(
            wait_until(PATIENCE, same),
            "{program} {apex}\n{:?}\n{:?}\n{}",
            records(&there, apex, &[]),
            records(&here, apex, &[]),
            peer.log()
        );
    };
    same("example.com");
    same("svc.example");
    // From now on it is told.
    let config = signpost.folder().join("signpost.toml");
    let text = std::fs::read_to_string(&config).expect("a config");
    std::fs::write(&config, text.replace("notify = []", &format!("notify = [\"{}#transfer-key\"]", peer.address))).expect("a config");
    let zone = signpost.folder().join("zones/example.com.zone");
    let text = std::fs::read_to_string(&zone).expect("a zone");
    // Two changes, of which one is without a serial of its own: secondaries follow all the same.
    for (text, expected) in [
        (text.replace("2026112101", "2026112105").replace("mail A 192.0.2.3", "mail A 192.0.2.33"), 2026112105),
        (text.replace("2026112101", "2026112105").replace("a.b.c TXT deep", "d.e.f TXT deeper"), 2026112106),
    ] {
        std::fs::write(signpost.folder().join("new"), &text).expect("a file");
        std::fs::rename(signpost.folder().join("new"), &zone).expect("a file");
        let followed = wait_until(PATIENCE, || serial(&there, "example.com") == Some(expected));
        assert!(followed, "{program}: {:?}, not {expected}\n{}", serial(&there, "example.com"), peer.log());
        same("example.com");
    }
    let before = serial(&there, "svc.example").expect("a serial");
    signpost.put("/v1/services/web/instances/eu1", r#"{"addresses":["192.0.2.10"],"ports":{"http":8080},"region":"eu-west","az":"a"}"#);
    let shown = || {
        records(&there, "svc.example", &[]).iter().any(|record| record.starts_with("api.svc.example.") && record.ends_with(" A 192.0.2.10"))
    };
    assert!(wait_until(PATIENCE, shown), "{program}: {:?}\n{}", records(&there, "svc.example", &[]), peer.log());
    assert!(serial(&there, "svc.example").is_some_and(|serial| serial > before));
    peer
}

#[test]
fn knot_follows_as_a_secondary() {
    let peer = follows("knotd", |folder, address, primary| {
        let config = format!(
            "server:\n  rundir: \"{folder}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: \"{folder}/db\"\ncontrol:\n  listen: \"{folder}/knot.sock\"\nlog:\n  - target: stderr\n    any: info\n\
             key:\n  - id: transfer-key\n    algorithm: hmac-sha256\n    secret: YSBzZWNyZXQgb2YgYXQgbGVhc3QgMTYgb2N0ZXRz\n\
             remote:\n  - id: primary\n    address: {}@{primary}\n    key: transfer-key\n\
             acl:\n  - id: notify\n    address: 127.0.0.1\n    key: transfer-key\n    action: notify\n\
             \x20 - id: transfer\n    address: 127.0.0.1\n    action: transfer\n\
             template:\n  - id: default\n    storage: \"{folder}\"\n    master: primary\n    acl: [notify, transfer]\n\
             zone:\n  - domain: example.com\n  - domain: svc.example\n",
            address.ip(),
            address.port(),
            loopback(primary).ip(),
            folder = folder.display()
        );
        std::fs::create_dir_all(folder.join("db")).expect("a folder");
        std::fs::write(folder.join("knot.conf"), config).expect("a config file");
        ["-c", "knot.conf"].map(String::from).into()
    });
    let log = peer.log();
    assert!(log.contains("IXFR, incoming") && log.contains("notify, incoming"), "{log}");
}

#[test]
fn nsd_follows_as_a_secondary() {
    follows("nsd", |folder, address, primary| {
        let mut config = format!(
            "server:\n  ip-address: {}@{}\n  do-ip6: no\n  server-count: 1\n  username: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  \
             pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd.state\"\n  xfrdir: \"{folder}\"\n  zonelistfile: \"{folder}/zone.list\"\n  \
             verbosity: 2\nremote-control:\n  control-enable: no\n\
             key:\n  name: transfer-key\n  algorithm: hmac-sha256\n  secret: \"YSBzZWNyZXQgb2YgYXQgbGVhc3QgMTYgb2N0ZXRz\"\n",
            address.ip(),
            address.port(),
            folder = folder.display()
        );
        for apex in ["example.com", "svc.example"] {
            config += &format!(
                "zone:\n  name: \"{apex}\"\n  zonefile: \"{apex}.zone\"\n  request-xfr: 127.0.0.1@{primary} transfer-key\n  \
                 allow-notify: 127.0.0.1 transfer-key\n  provide-xfr: 127.0.0.1 NOKEY\n"
            );
        }
        std::fs::write(folder.join("nsd.conf"), config).expect("a config file");
        ["-d", "-c", "nsd.conf"].map(String::from).into()
    });
}
