//! Validators: delv with a trust anchor, and Unbound in front, over every shape of answer of a signed zone. All secure, none bogus.

use std::time::Duration;

use crate::harness::{Signpost, run, wait_until};
use crate::peers::{self, ask};
use crate::world::{self, APEX, Has, IN_BOSTON, IN_LONDON, NAMES};

/// The world, its zone signed.
fn signed(algorithm: &str, denial: &str) -> Signpost {
    let dnssec = format!("[dnssec]\nzones = [\"svc.example\"]\nalgorithm = \"{algorithm}\"\ndenial = \"{denial}\"");
    let signpost = Signpost::start_on(&[], &dnssec, world::FILES);
    for (path, body) in world::REGISTERED {
        signpost.put(path, body);
    }
    signpost
}

/// The data of the zone's DNSKEY, as dig prints it: flags, protocol, algorithm, key.
fn dnskey(signpost: &Signpost) -> [String; 4] {
    let reply = ask(signpost.dns, "+nosplit svc.example DNSKEY");
    let [key] = reply.data("DNSKEY")[..] else { panic!("one key: {reply}") };
    let words: Vec<String> = key.split_whitespace().map(String::from).collect();
    words.try_into().expect("flags, protocol, algorithm, key")
}

/// Further shapes, all of them NODATA or data of a signed zone.
const MORE: &[(&str, &str)] = &[
    ("", "SOA"),
    ("", "NS"),
    ("", "DNSKEY"),
    ("", "MX"),
    ("", "AAAA"),
    ("store.", "HTTPS"),
    ("b1.id.store.", "A"),
    ("web.", "CAA"),
    ("x.wild.", "MX"),
    ("nosuch.", "SRV"),
    ("api.", "MX"),
    ("shop.", "SRV"),
];

/// Every shape of name that there is, with its type.
fn shapes() -> impl Iterator<Item = (String, &'static str)> {
    let names = NAMES.iter().map(|(name, rtype, _)| (format!("{name}.{APEX}"), *rtype));
    names.chain(MORE.iter().map(|(name, rtype)| (format!("{name}{APEX}"), *rtype)))
}

#[test]
fn delv_validates_every_shape_of_answer() {
    for (algorithm, denial) in [("ecdsap256sha256", "compact"), ("ed25519", "compact"), ("ecdsap256sha256", "nsec3")] {
        let signpost = signed(algorithm, denial);
        let [flags, protocol, number, key] = dnskey(&signpost);
        let folder = tempfile::tempdir().expect("a folder");
        let anchor = folder.path().join("anchor");
        let text = format!("trust-anchors {{ \"{APEX}\" static-key {flags} {protocol} {number} \"{key}\"; }};\n");
        std::fs::write(&anchor, text).expect("a trust anchor");
        let anchor = anchor.display().to_string();
        for (name, rtype) in shapes() {
            let mut args: Vec<String> = signpost.at().into();
            args.extend(["-a", &anchor, &format!("+root={APEX}"), "+nortrace", &name, rtype].map(String::from));
            let printed = run("delv", &args);
            assert!(printed.contains("fully validated"), "{name} {rtype}: {printed}");
            assert!(!printed.contains("unsigned answer"), "{name} {rtype}: {printed}");
        }
    }
}

#[test]
fn unbound_finds_all_of_it_secure_while_health_flips() {
    secure_while_health_flips("compact");
}

#[test]
fn unbound_finds_all_of_it_secure_with_hashed_names() {
    secure_while_health_flips("nsec3");
}

fn secure_while_health_flips(denial: &str) {
    let signpost = signed("ecdsap256sha256", denial);
    let server = format!(
        "  do-ip6: no\n  aggressive-nsec: yes\n  val-log-level: 2\n  trust-anchor: \"{APEX} DNSKEY {}\"\n",
        dnskey(&signpost).join(" ")
    );
    let (ip, port) = (signpost.dns.ip(), signpost.dns.port());
    let stub = format!("stub-zone:\n  name: \"{APEX}\"\n  stub-addr: {ip}@{port}\n  stub-first: no\n");
    let unbound = peers::unbound("validator iterator", "", &server, &stub);
    let secure = |name: &str, rtype: &str| {
        let reply = ask(unbound.address, &format!("+dnssec {name} {rtype}"));
        // With compact denial the name is there, and has nothing.
        let known = |name: &str| NAMES.iter().any(|(known, _, has)| matches!(has, Has::NoName) && format!("{known}.{APEX}") == name);
        let is_missing = known(name) || ["nosuch.", "b1.id.store."].iter().any(|missing| name == format!("{missing}{APEX}"));
        let status = if denial == "nsec3" && is_missing { "NXDOMAIN" } else { "NOERROR" };
        assert_eq!(reply.status, status, "{name} {rtype}: {reply}\n{}", unbound.log());
        assert!(reply.flag("ad"), "{name} {rtype} is not secure: {reply}\n{}", unbound.log());
        reply
    };
    for _ in ["asked", "kept"] {
        for (name, rtype) in shapes() {
            secure(&name, rtype);
        }
    }
    for (name, rtype, has) in NAMES {
        let reply = secure(&format!("{name}.{APEX}"), rtype);
        if let Has::Data(data) = has {
            assert_eq!(reply.data(rtype), *data, "{name} {rtype}: {reply}");
        }
    }
    // Each change makes other RRsets of the service, and of every name that leads to it.
    let becomes = |data: &[&str]| {
        let done = wait_until(Duration::from_secs(20), || secure("web.svc.example.", "A").data("A") == data);
        assert!(done, "web became {} instead of {data:?}", secure("web.svc.example.", "A"));
        for (name, rtype) in [("web", "SRV"), ("web", "AAAA"), ("api", "A"), ("shop", "A"), ("_http._tcp.web", "SRV"), ("web", "MX")] {
            secure(&format!("{name}.{APEX}"), rtype);
        }
    };
    for _ in 0..3 {
        signpost.delete("/v1/services/web/instances/b1");
        becomes(&["192.0.2.12"]);
        signpost.put("/v1/drains/region/boston", r#"{"reason":"power works"}"#);
        becomes(&["192.0.2.21", "192.0.2.22"]);
        signpost.delete("/v1/drains/region/boston");
        signpost.put(world::REGISTERED[0].0, world::REGISTERED[0].1);
        becomes(&["192.0.2.11", "192.0.2.12"]);
    }
    assert!(!unbound.log().contains("validation failure"), "{}", unbound.log());
}

#[test]
fn unbound_with_subnets_gives_each_client_its_own_signed_answer() {
    let signpost = signed("ed25519", "compact");
    let server = format!(
        "  do-ip6: no\n  send-client-subnet: 127.0.0.1\n  client-subnet-zone: \"svc.example.\"\n  client-subnet-always-forward: yes\n  \
         max-client-subnet-ipv4: 24\n  trust-anchor: \"{APEX} DNSKEY {}\"\n",
        dnskey(&signpost).join(" ")
    );
    let stub = format!("stub-zone:\n  name: \"{APEX}\"\n  stub-addr: {}@{}\n  stub-first: no\n", signpost.dns.ip(), signpost.dns.port());
    let unbound = peers::unbound("subnetcache validator iterator", "", &server, &stub);
    for _ in 0..3 {
        for (subnet, data) in [(IN_BOSTON, ["192.0.2.11", "192.0.2.12"]), (IN_LONDON, ["192.0.2.21", "192.0.2.22"])] {
            let reply = ask(unbound.address, &format!("+dnssec +subnet={subnet} shop.svc.example A"));
            assert_eq!(reply.data("A"), data, "{subnet}: {reply}");
            assert!(reply.flag("ad"), "{subnet}: {reply}");
        }
    }
}
