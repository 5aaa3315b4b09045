//! Signpost as a secondary of other servers: Knot, NSD and BIND's named hand it zones, whole and as differences, and tell it of changes; Knot
//! a catalog.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Peer, Signpost, find, free_port, loopback, run, wait_until};

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A zone with this serial; `lines` beside its apex.
fn zone(serial: u32, timers: &str, lines: &str) -> String {
    let mut text = format!("$TTL 60\n@ SOA ns1 hostmaster {serial} {timers}\n@ NS ns1\n@ NS ns2.example.net.\nns1 A 127.0.0.1\n{lines}");
    // So many that a difference is smaller than the zone.
    (0..200).for_each(|n| text.push_str(&format!("host{n} A 10.0.0.{n}\n")));
    text
}

const SLOW: &str = "3600 600 86400 60";

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file");
}

/// Signpost as the secondary of these zones: lines of `signpost.toml`.
fn secondary(port: u16, settings: &str) -> Signpost {
    let settings = format!("workers = 1\n[tsig.k]\nsecret = \"{SECRET}\"\n{settings}");
    Signpost::start_on(
        &[loopback(port)],
        &settings,
        &[("zones/here.example.zone", "$TTL 60\n@ SOA ns h 1 2h 1h 2w 1h\n@ NS ns\nns A 127.0.0.1\n")],
    )
}

fn dig(server: &Signpost, words: &[&str]) -> String {
    let mut args: Vec<String> = server.at().into();
    args.extend(words.iter().map(|word| word.to_string()));
    run("dig", &args)
}

fn short(server: &Signpost, name: &str, rtype: &str) -> String {
    dig(server, &["+short", name, rtype]).trim().to_string()
}

/// What the API says of a zone.
fn state(server: &Signpost, zone: &str) -> serde_json::Value {
    let list = server.get("/v1/secondaries");
    let found = list["secondaries"].as_array().expect("a list").iter().find(|state| state["zone"] == zone).cloned();
    found.unwrap_or_default()
}

#[track_caller]
fn comes(server: &Signpost, zone: &str, serial: u64) {
    let came = wait_until(PATIENCE, || state(server, zone)["serial"] == serial);
    assert!(came, "{zone} is not at {serial}: {}", server.get("/v1/secondaries"));
}

/// Knot with a zone `x.example`, which tells a secondary on this port.
fn knot(port: u16, timers: &'static str, signed: bool) -> Peer {
    Peer::start("knotd", |folder, address| {
        write(folder, "x.example.zone", &zone(1, timers, "www A 192.0.2.1\n"));
        let key = if signed { "    key: k\n" } else { "" };
        let config = format!(
            "server:\n  rundir: \"{folder}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: \"{folder}/db\"\ncontrol:\n  listen: \"{folder}/knot.sock\"\nlog:\n  - target: stderr\n    any: debug\n\
             key:\n  - id: k\n    algorithm: hmac-sha256\n    secret: {SECRET}\nremote:\n  - id: signpost\n    address: 127.0.0.1@{port}\n{key}\
             acl:\n  - id: transfer\n    action: transfer\n    address: 127.0.0.1\n{key}\
             zone:\n  - domain: x.example\n    storage: \"{folder}\"\n    file: x.example.zone\n    zonefile-sync: -1\n    zonefile-load: difference\n    \
             notify: signpost\n    acl: transfer\n",
            address.ip(),
            address.port(),
            folder = folder.display()
        );
        // Its journal is there, or it loads nothing anew.
        std::fs::create_dir_all(folder.join("db")).expect("a folder");
        write(folder, "knot.conf", &config);
        ["-c", "knot.conf"].map(String::from).into()
    })
}

fn knotc(knot: &Peer, words: &[&str]) -> String {
    let socket = knot.folder.join("knot.sock").display().to_string();
    let words: Vec<&str> = ["-s", &socket].into_iter().chain(words.iter().copied()).collect();
    run("knotc", &words)
}

#[test]
fn knot_hands_over_a_zone_signed_and_then_its_differences() {
    let port = free_port();
    let knot = knot(port, SLOW, true);
    let server = secondary(port, &format!("[secondary.\"x.example\"]\nprimaries = [\"{}#k\"]", knot.address));
    comes(&server, "x.example.", 1);
    assert_eq!((short(&server, "www.x.example", "A"), short(&server, "host7.x.example", "A")), ("192.0.2.1".into(), "10.0.0.7".into()));
    write(&knot.folder, "x.example.zone", &zone(2, SLOW, "www A 192.0.2.2\nnew TXT \"a b\" \"c\\\"d\"\n"));
    knotc(&knot, &["zone-reload", "x.example"]);
    // A NOTIFY leads to it long before the refresh would.
    comes(&server, "x.example.", 2);
    let log = std::fs::read_to_string(server.folder().join("log")).expect("a log");
    assert!(!log.contains("a zone was copied: reading"), "nothing else is read for a zone that concerns no other: {log}");
    assert_eq!(
        (short(&server, "www.x.example", "A"), short(&server, "new.x.example", "TXT")),
        ("192.0.2.2".into(), "\"a b\" \"c\\\"d\"".into())
    );
    let log = knot.log();
    assert!(log.contains("IXFR, outgoing") && log.matches("AXFR, outgoing, remote 127.0.0.1").count() > 0, "{log}");
    // A stranger's NOTIFY is not believed, nor one without the key.
    let told = run("dig", &[server.at().as_slice(), &["+opcode=notify".into(), "x.example".into(), "SOA".into()]].concat());
    assert!(told.contains("status: REFUSED"), "{told}");
    let other = run("dig", &[server.at().as_slice(), &["+opcode=notify".into(), "here.example".into(), "SOA".into()]].concat());
    assert!(other.contains("status: NOTIMP"), "{other}");
}

#[test]
fn nsd_hands_over_a_zone() {
    let port = free_port();
    let nsd = Peer::start("nsd", |folder, address| {
        write(folder, "x.example.zone", &zone(1, SLOW, "www A 192.0.2.1\n"));
        let config = format!(
            "server:\n  ip-address: {}@{}\n  do-ip6: no\n  server-count: 1\n  username: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  \
             pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd.state\"\n  xfrdir: \"{folder}\"\n  zonelistfile: \"{folder}/zone.list\"\n  \
             zonefiles-check: yes\nremote-control:\n  control-enable: no\nkey:\n  name: k\n  algorithm: hmac-sha256\n  secret: \"{SECRET}\"\n\
             zone:\n  name: \"x.example\"\n  zonefile: \"x.example.zone\"\n  provide-xfr: 127.0.0.1 k\n  notify: 127.0.0.1@{port} k\n",
            address.ip(),
            address.port(),
            folder = folder.display()
        );
        write(folder, "nsd.conf", &config);
        ["-d", "-c", "nsd.conf"].map(String::from).into()
    });
    let server = secondary(port, &format!("[secondary.\"x.example\"]\nprimaries = [\"127.0.0.1:9\", \"{}#k\"]", nsd.address));
    comes(&server, "x.example.", 1);
    assert_eq!(short(&server, "www.x.example", "A"), "192.0.2.1");
    write(&nsd.folder, "x.example.zone", &zone(2, SLOW, "www A 192.0.2.2\n"));
    let pid = std::fs::read_to_string(nsd.folder.join("nsd.pid")).expect("NSD's process id");
    run("sh", &["-c".to_string(), format!("kill -HUP {}", pid.trim())]);
    comes(&server, "x.example.", 2);
    assert_eq!(short(&server, "www.x.example", "A"), "192.0.2.2");
}

#[test]
fn named_hands_over_a_zone_that_is_updated_there() {
    let port = free_port();
    let named = Peer::start("named", |folder, address| {
        write(folder, "x.example.zone", &zone(1, SLOW, "www A 192.0.2.1\n"));
        let config = format!(
            "options {{ directory \"{folder}\"; listen-on port {port_own} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none; recursion no;\n\
             dnssec-validation no; session-keyfile none; notify explicit; notify-delay 0; }};\ncontrols {{ }};\n\
             key k {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
             zone \"x.example\" {{ type primary; file \"x.example.zone\"; allow-transfer {{ key k; }}; allow-update {{ key k; }};\n\
             also-notify {{ 127.0.0.1 port {port} key k; }}; }};\n",
            folder = folder.display(),
            port_own = address.port()
        );
        write(folder, "named.conf", &config);
        crate::peers::named_args(folder)
    });
    let server = secondary(port, &format!("[secondary.\"x.example\"]\nprimaries = [\"{}#k\"]", named.address));
    comes(&server, "x.example.", 1);
    write(
        &named.folder,
        "script",
        &format!(
            "server 127.0.0.1 {}\nzone x.example\nupdate delete www.x.example. A\nupdate add www.x.example. 60 A 192.0.2.2\nsend\n",
            named.address.port()
        ),
    );
    let said = run("nsupdate", &["-y", &format!("hmac-sha256:k:{SECRET}"), &named.folder.join("script").display().to_string()]);
    assert_eq!(said.trim(), "");
    comes(&server, "x.example.", 2);
    assert_eq!((short(&server, "www.x.example", "A"), short(&server, "host9.x.example", "A")), ("192.0.2.2".into(), "10.0.0.9".into()));
    assert!(named.log().contains("IXFR started"), "{}", named.log());
}

/// What no primary confirms for as long as the SOA says is answered with SERVFAIL, until one does.
#[test]
fn a_zone_expires() {
    let port = free_port();
    let mut knot = knot(port, "2 2 5 60", false);
    let onward = "[transfer.\"x.example\"]\nnetworks = [\"127.0.0.0/8\"]\n";
    let server = secondary(port, &format!("{onward}[secondary.\"x.example\"]\nprimaries = [\"{}\"]", knot.address));
    comes(&server, "x.example.", 1);
    assert!(dig(&server, &["x.example", "AXFR"]).contains("host7.x.example."));
    knot.end();
    let expired = wait_until(PATIENCE, || dig(&server, &["www.x.example", "A"]).contains("status: SERVFAIL"));
    assert!(expired, "{}", server.get("/v1/secondaries"));
    let said = dig(&server, &["www.x.example", "A"]);
    assert!(said.contains("EDE: 24 (Invalid Data)"), "{said}");
    assert!(dig(&server, &["x.example", "AXFR"]).contains("Transfer failed"), "nor is it handed on");
    let state = state(&server, "x.example.");
    assert!(state["expired"] == true && state["failure"].as_str().is_some_and(|why| !why.is_empty()), "{state}");
    assert_eq!(short(&server, "ns.here.example", "A"), "127.0.0.1", "other zones are answered");
}

/// A catalog (RFC 9432): its members come and go; one that is broken changes nothing.
#[test]
fn members_of_a_catalog_come_and_go() {
    let port = free_port();
    let catalog = |serial: u32, lines: &str| format!("$TTL 0\n@ SOA invalid. invalid. {serial} 3600 600 86400 0\n@ NS invalid.\n{lines}");
    let list = |members: &[&str]| {
        let lines: String = members.iter().map(|member| format!("{} PTR {member}\n", member.replace('.', "-") + "u.zones")).collect();
        format!("version TXT \"2\"\n{lines}")
    };
    let knot = Peer::start("knotd", |folder, address| {
        write(folder, "cat.example.zone", &catalog(1, &list(&["a.example.", "b.example."])));
        let member = |apex: &str| {
            write(folder, &format!("{apex}.zone"), &zone(1, SLOW, "www A 192.0.2.1\n"));
            format!("  - domain: {apex}\n")
        };
        let zones: String = ["a.example", "b.example", "c.example"].into_iter().map(member).collect();
        let config = format!(
            "server:\n  rundir: \"{folder}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: \"{folder}/db\"\ncontrol:\n  listen: \"{folder}/knot.sock\"\nlog:\n  - target: stderr\n    any: info\n\
             remote:\n  - id: signpost\n    address: 127.0.0.1@{port}\nacl:\n  - id: transfer\n    action: transfer\n    address: 127.0.0.1\n\
             template:\n  - id: default\n    storage: \"{folder}\"\n    file: \"%s.zone\"\n    zonefile-sync: -1\n    zonefile-load: difference\n    \
             notify: signpost\n    acl: transfer\nzone:\n  - domain: cat.example\n{zones}",
            address.ip(),
            address.port(),
            folder = folder.display()
        );
        // Its journal is there, or it loads nothing anew.
        std::fs::create_dir_all(folder.join("db")).expect("a folder");
        write(folder, "knot.conf", &config);
        ["-c", "knot.conf"].map(String::from).into()
    });
    find("knotc");
    let server = secondary(port, &format!("[secondary.\"cat.example\"]\nprimaries = [\"{}\"]\ncatalog = true", knot.address));
    comes(&server, "a.example.", 1);
    comes(&server, "b.example.", 1);
    assert_eq!(short(&server, "www.a.example", "A"), "192.0.2.1");
    assert_eq!(state(&server, "a.example.")["catalog"], "cat.example.");
    let publish = |serial: u32, lines: &str| {
        write(&knot.folder, "cat.example.zone", &catalog(serial, lines));
        knotc(&knot, &["zone-reload", "cat.example"]);
    };
    publish(2, &list(&["b.example.", "c.example."]));
    comes(&server, "c.example.", 1);
    let gone = wait_until(PATIENCE, || dig(&server, &["www.a.example", "A"]).contains("status: REFUSED"));
    assert!(gone, "{}", server.get("/v1/secondaries"));
    // Without a version it is no catalog: nothing is changed by it (RFC 9432 §5.1).
    publish(3, "x.zones PTR a.example.\n");
    let told =
        wait_until(PATIENCE, || state(&server, "cat.example.")["failure"].as_str().is_some_and(|why| why.contains("catalog is broken")));
    assert!(told, "{}", server.get("/v1/secondaries"));
    assert_eq!((short(&server, "www.c.example", "A"), state(&server, "cat.example.")["serial"].as_u64()), ("192.0.2.1".into(), Some(2)));
    publish(4, &list(&["c.example."]));
    comes(&server, "cat.example.", 4);
    let gone = wait_until(PATIENCE, || dig(&server, &["www.b.example", "A"]).contains("status: REFUSED"));
    assert!(gone, "{}", server.get("/v1/secondaries"));
}
