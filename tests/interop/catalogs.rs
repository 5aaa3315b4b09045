//! Catalogs that Signpost makes (RFC 9432): Knot and BIND's named follow them, and copy what they list.

use std::time::Duration;

use crate::harness::{Files, Peer, Signpost, at, run, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const ZONE: &str = "$TTL 60\n@ SOA ns1 hostmaster 1 7200 900 1209600 60\n@ NS ns1\nns1 A 127.0.0.1\nwww A 192.0.2.1\n";
const FILES: Files = &[("zones/a.example.zone", ZONE), ("zones/b.example.zone", ZONE), ("zones/closed.example.zone", ZONE)];
const ZONES: &str = "[transfer.\"a.example\"]\nkeys = [\"k\"]\n[transfer.\"b.example\"]\nkeys = [\"k\"]\n";

fn short(peer: &Peer, name: &str) -> String {
    run("dig", &[at(peer.address).as_slice(), &["+short", "+time=1", "+tries=1", name, "A"].map(String::from)].concat()).trim().to_string()
}

/// A secondary that is told of the catalog alone: members come, one more does, and one goes.
fn follows(program: &str, arrange: impl Fn(&std::path::Path, std::net::SocketAddr, u16) -> Vec<String>) {
    let catalog = "[catalog.\"catalog.invalid\"]\n[transfer.\"catalog.invalid\"]\nkeys = [\"k\"]\nnotify = []\n";
    let signpost = Signpost::start_on(&[], &format!("workers = 1\n[tsig.k]\nsecret = \"{SECRET}\"\n{catalog}{ZONES}"), FILES);
    let peer = Peer::start(program, |folder, address| arrange(folder, address, signpost.dns.port()));
    let shows = |name: &str, expected: &str| {
        assert!(wait_until(PATIENCE, || short(&peer, name) == expected), "{program} {name}: {:?}\n{}", short(&peer, name), peer.log());
    };
    shows("www.a.example", "192.0.2.1");
    shows("www.b.example", "192.0.2.1");
    assert_eq!(short(&peer, "www.closed.example"), "", "what is not transferred is not listed");
    // From now on it is told of changes.
    let config = signpost.folder().join("signpost.toml");
    let text = std::fs::read_to_string(&config).expect("a config");
    let text = text.replace("notify = []", &format!("notify = [\"{}#k\"]", peer.address)).replace("[transfer.\"a.", "[transfer.\"closed.");
    std::fs::write(&config, text).expect("a config");
    shows("www.closed.example", "192.0.2.1");
    shows("www.a.example", "");
    shows("www.b.example", "192.0.2.1");
}

#[test]
fn knot_follows_a_catalog() {
    follows("knotd", |folder, address, primary| {
        let config = format!(
            "server:\n  rundir: \"{folder}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
             database:\n  storage: \"{folder}/db\"\ncontrol:\n  listen: \"{folder}/knot.sock\"\nlog:\n  - target: stderr\n    any: info\n\
             key:\n  - id: k\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
             remote:\n  - id: primary\n    address: 127.0.0.1@{primary}\n    key: k\n\
             acl:\n  - id: notify\n    address: 127.0.0.1\n    key: k\n    action: notify\n\
             template:\n  - id: default\n    storage: \"{folder}\"\n  - id: member\n    storage: \"{folder}\"\n    master: primary\n    acl: notify\n\
             zone:\n  - domain: catalog.invalid\n    master: primary\n    acl: notify\n    catalog-role: interpret\n    catalog-template: member\n",
            address.ip(),
            address.port(),
            folder = folder.display()
        );
        std::fs::create_dir_all(folder.join("db")).expect("a folder");
        std::fs::write(folder.join("knot.conf"), config).expect("a config file");
        ["-c", "knot.conf"].map(String::from).into()
    });
}

#[test]
fn named_follows_a_catalog() {
    follows("named", |folder, address, primary| {
        let from = format!("{{ 127.0.0.1 port {primary} key k; }}");
        let config = format!(
            "options {{ directory \"{folder}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none; recursion no;\n\
             dnssec-validation no; session-keyfile none; notify no; serial-query-rate 100;\n\
             catalog-zones {{ zone \"catalog.invalid\" default-primaries {from} in-memory yes min-update-interval 0; }}; }};\ncontrols {{ }};\n\
             key k {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
             zone \"catalog.invalid\" {{ type secondary; file \"catalog.db\"; primaries {from}; allow-notify {{ key k; }}; }};\n",
            address.port(),
            folder = folder.display(),
        );
        std::fs::write(folder.join("named.conf"), config).expect("a config file");
        crate::peers::named_args(folder)
    });
}
