//! Transfers over TLS (RFC 9103): kdig copies a zone from Signpost, BIND's named and NSD follow it, named hands one to it,
//! and nobody reads along.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::{Files, Peer, Signpost, at, free_port, loopback, run, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const FILES: Files =
    &[("zones/x.example.zone", "$TTL 60\n@ SOA ns1 hostmaster 7 7200 900 1209600 60\n@ NS ns1\nns1 A 127.0.0.1\nwww A 192.0.2.1\n")];

/// A certificate for `dns.example`, and its key.
fn certificate() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=dns.example -addext \
                 subjectAltName=DNS:dns.example -addext basicConstraints=critical,CA:FALSE -keyout";
    let mut args: Vec<String> = words.split_whitespace().map(String::from).collect();
    args.extend([path("key.pem"), "-out".into(), path("cert.pem")]);
    let made = run("openssl", &args);
    assert!(folder.path().join("cert.pem").exists(), "{made}");
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// Signpost, whose zone is transferred over TLS alone, to who has the key.
fn primary(safe: &TempDir, dot: u16) -> Signpost {
    let settings = format!(
        "workers = 1\n[dns.tls]\ncertificate = {:?}\nkey = {:?}\ndot = [\"{}\"]\n[tsig.k]\nsecret = \"{SECRET}\"\n\
         [transfer.\"x.example\"]\nkeys = [\"k\"]\ntls = true\n",
        path(safe, "cert.pem"),
        path(safe, "key.pem"),
        loopback(dot)
    );
    Signpost::start_on(&[], &settings, FILES)
}

fn short(server: [String; 3], name: &str, rtype: &str) -> String {
    let words = ["+short", "+time=1", "+tries=1", name, rtype].map(String::from);
    run("dig", &[server.as_slice(), &words].concat()).trim().to_string()
}

/// named with these lines, which answers on the port that it is given.
fn named(arrange: impl Fn(&Path) -> String) -> Peer {
    Peer::start("named", |folder, address| {
        let config = format!(
            "options {{ directory \"{folder}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none; recursion no;\n\
             dnssec-validation no; session-keyfile none; notify no; {} controls {{ }};\nkey k {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n",
            address.port(),
            arrange(folder),
            folder = folder.display(),
        );
        std::fs::write(folder.join("named.conf"), config).expect("a config file");
        crate::peers::named_args(folder)
    })
}

#[test]
fn kdig_copies_over_tls_and_over_nothing_else() {
    let (safe, dot) = (certificate(), free_port());
    let signpost = primary(&safe, dot);
    let key = format!("hmac-sha256:k:{SECRET}");
    let tls =
        ["-y", &key, "@127.0.0.1", "-p", &dot.to_string(), "+tls-hostname=dns.example", &format!("+tls-ca={}", path(&safe, "cert.pem"))]
            .map(String::from);
    let kdig = |words: &[&str]| run("kdig", &[tls.as_slice(), &words.iter().map(ToString::to_string).collect::<Vec<_>>()].concat());
    let copied = kdig(&["x.example", "AXFR"]);
    assert!(copied.contains("www.x.example.") && copied.contains("192.0.2.1"), "{copied}");
    assert!(!copied.contains(";; WARNING") && !copied.contains(";; ERROR"), "{copied}");
    let current = kdig(&["x.example", "IXFR=7"]);
    assert!(current.contains("SOA") && !current.contains("192.0.2.1"), "{current}");
    let plain = run("dig", &[&["-y".to_string(), key.clone()], signpost.at().as_slice(), &["x.example".into(), "AXFR".into()]].concat());
    assert!(plain.contains("Transfer failed"), "{plain}");
    let why =
        run("kdig", &[&["-y".to_string(), key], signpost.at().as_slice(), &["x.example".into(), "IXFR=1".into(), "+edns".into()]].concat());
    assert!(why.contains("REFUSED"), "{why}");
}

#[test]
fn named_follows_over_tls() {
    let (safe, dot) = (certificate(), free_port());
    let _signpost = primary(&safe, dot);
    let peer = named(|_| {
        format!(
            "}};\ntls there {{ ca-file {:?}; remote-hostname \"dns.example\"; }};\n\
             zone \"x.example\" {{ type secondary; file \"x.example.db\"; primaries {{ 127.0.0.1 port {dot} key k tls there; }}; }};\n",
            path(&safe, "cert.pem")
        )
    });
    let came = wait_until(PATIENCE, || short(at(peer.address), "www.x.example", "A") == "192.0.2.1");
    assert!(came, "{}", peer.log());
}

#[test]
fn nsd_follows_over_tls() {
    let (safe, dot) = (certificate(), free_port());
    let _signpost = primary(&safe, dot);
    let peer = Peer::start("nsd", |folder, address| {
        let config = format!(
            "server:\n  ip-address: {}@{}\n  do-ip6: no\n  server-count: 1\n  username: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  \
             pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd.state\"\n  xfrdir: \"{folder}\"\n  zonelistfile: \"{folder}/zone.list\"\n  \
             verbosity: 2\n  tls-cert-bundle: {:?}\nremote-control:\n  control-enable: no\nkey:\n  name: k\n  algorithm: hmac-sha256\n  \
             secret: \"{SECRET}\"\ntls-auth:\n  name: there\n  auth-domain-name: dns.example\n\
             zone:\n  name: \"x.example\"\n  zonefile: \"x.example.zone\"\n  request-xfr: AXFR 127.0.0.1@{dot} k there\n",
            address.ip(),
            address.port(),
            path(&safe, "cert.pem"),
            folder = folder.display()
        );
        std::fs::write(folder.join("nsd.conf"), config).expect("a config file");
        ["-d", "-c", "nsd.conf"].map(String::from).into()
    });
    let came = wait_until(PATIENCE, || short(at(peer.address), "www.x.example", "A") == "192.0.2.1");
    assert!(came, "{}", peer.log());
}

#[test]
fn named_hands_over_a_zone_over_tls_to_who_knows_it() {
    let (safe, stranger, dot) = (certificate(), certificate(), free_port());
    let peer = named(|folder| {
        std::fs::write(folder.join("x.example.zone"), FILES[0].1).expect("a zone");
        format!(
            "listen-on port {dot} tls here {{ 127.0.0.1; }}; }};\ntls here {{ cert-file {:?}; key-file {:?}; }};\n\
             zone \"x.example\" {{ type primary; file \"x.example.zone\"; allow-transfer transport tls {{ key k; }}; }};\n",
            path(&safe, "cert.pem"),
            path(&safe, "key.pem")
        )
    });
    let secondary = |name: &str, ca: &TempDir| {
        let settings = format!(
            "workers = 1\n[tsig.k]\nsecret = \"{SECRET}\"\n[secondary.\"x.example\"]\nprimaries = [\"tls://127.0.0.1:{dot}#{name}#k\"]\nca = {:?}\n",
            path(ca, "cert.pem")
        );
        Signpost::start_on(&[], &settings, &[("zones/here.example.zone", "$TTL 60\n@ SOA ns h 1 2h 1h 2w 1h\n@ NS ns\nns A 127.0.0.1\n")])
    };
    let follower = secondary("dns.example", &safe);
    let came = wait_until(PATIENCE, || short(follower.at(), "www.x.example", "A") == "192.0.2.1");
    assert!(came, "{}\n{}", follower.get("/v1/secondaries"), peer.log());
    for (name, ca, why) in [("other.example", &safe, "not valid for name"), ("dns.example", &stranger, "invalid peer certificate")] {
        let follower = secondary(name, ca);
        let failure = || follower.get("/v1/secondaries")["secondaries"][0]["failure"].as_str().unwrap_or_default().to_string();
        assert!(wait_until(PATIENCE, || failure().contains(why)), "{name}: {}", failure());
        assert_eq!(short(follower.at(), "www.x.example", "A"), "");
    }
}
