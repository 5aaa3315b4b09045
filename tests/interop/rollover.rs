//! Whole rollovers below a parent that others serve: Knot signs it and NSD copies it, BIND's dnssec-cds reads what the zone asks for, and Unbound,
//! which keeps what it has for its TTL, and delv validate every shape of answer before, during and after each step. Never is anything bogus.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Files, Peer, Signpost, http, run, wait_until};
use crate::peers::{self, ask};
use crate::reply::Reply;

/// A step may take that long; the longest wait is some seconds, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every shape of answer, with TTLs so short that a roll is over soon.
const FILES: Files = &[
    (
        "zones/svc.example.toml",
        r#"
services = true
ns = ["ns1.svc.example."]
ttl = { min = "1s", max = "2s", negative = "1s", apex = "2s" }
[records]
ns1 = { A = ["192.0.2.53"] }
www = { A = ["192.0.2.80", "192.0.2.81"] }
alias = { CNAME = ["www.svc.example."] }
"a.b.deep" = { TXT = ["down here"] }
"*.wild" = { A = ["192.0.2.99"] }
moved = { DNAME = ["kept.svc.example."] }
"x.kept" = { A = ["192.0.2.90"] }
plain = { NS = ["ns1.svc.example."] }
sub = { NS = ["ns1.svc.example."] }
[services.web.instances.b1]
addresses = ["192.0.2.11"]
ports = { http = 8080 }
region = "boston"
az = "az-1"
[services.web.instances.b2]
addresses = ["192.0.2.12", "2001:db8::12"]
ports = { http = 8080 }
region = "boston"
az = "az-1"
"#,
    ),
    (
        "zones/plain.svc.example.toml",
        "ns = [\"ns1.svc.example.\"]\nttl = { max = \"2s\", min = \"1s\", negative = \"1s\", apex = \"2s\" }\n[records]\nwww = { A = [\"192.0.2.70\"] }\n",
    ),
    (
        "zones/sub.svc.example.toml",
        "ns = [\"ns1.svc.example.\"]\nttl = { max = \"2s\", min = \"1s\", negative = \"1s\", apex = \"2s\" }\n[records]\nwww = { A = [\"192.0.2.60\"] }\n",
    ),
];

/// Name, type, whether there is data, and whether it is below a zone that nobody signs.
const SHAPES: &[(&str, &str, bool, bool)] = &[
    ("svc.example.", "SOA", true, false),
    ("svc.example.", "NS", true, false),
    ("svc.example.", "DNSKEY", true, false),
    ("svc.example.", "MX", false, false),
    ("www.svc.example.", "A", true, false),
    ("www.svc.example.", "AAAA", false, false),
    ("alias.svc.example.", "A", true, false),
    ("alias.svc.example.", "AAAA", false, false),
    ("some.wild.svc.example.", "A", true, false),
    ("some.wild.svc.example.", "MX", false, false),
    ("deep.svc.example.", "TXT", false, false),
    ("b.deep.svc.example.", "TXT", false, false),
    ("a.b.deep.svc.example.", "TXT", true, false),
    ("nosuch.svc.example.", "A", false, false),
    ("below.nosuch.svc.example.", "SRV", false, false),
    ("x.moved.svc.example.", "A", true, false),
    ("moved.svc.example.", "DNAME", true, false),
    ("y.moved.svc.example.", "A", false, false),
    ("web.svc.example.", "A", true, false),
    ("web.svc.example.", "SRV", true, false),
    ("_http._tcp.web.svc.example.", "SRV", true, false),
    ("b1.id.web.svc.example.", "A", true, false),
    ("b1.id.web.svc.example.", "AAAA", false, false),
    ("plain.svc.example.", "DS", false, false),
    ("sub.svc.example.", "DS", true, false),
    ("www.sub.svc.example.", "A", true, false),
    ("nosuch.sub.svc.example.", "A", false, false),
    ("www.plain.svc.example.", "A", true, true),
    ("nosuch.plain.svc.example.", "A", false, true),
];

/// Of these, what delv is asked for again and again: one of each kind.
const BY_DELV: [usize; 11] = [2, 3, 6, 8, 10, 13, 15, 18, 19, 23, 27];

/// How a validator sees the zone.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Seen {
    Secure,
    Insecure,
    /// One or the other, while caches come to know of a DS, or forget it.
    Either,
}

/// The parent `example`: Knot signs it, NSD copies it.
struct Parent {
    knot: Peer,
    nsd: Peer,
}

impl Parent {
    fn start() -> Parent {
        let knot = Peer::start("knotd", |folder, address| {
            write(
                folder,
                "zone",
                "$TTL 2\n@ SOA ns hostmaster 1 5 2 86400 1\n@ NS ns\nns A 127.0.0.1\nsvc NS ns1.svc\nns1.svc A 192.0.2.53\n",
            );
            let config = format!(
                "server:\n  listen: {}@{}\n  rundir: \"{folder}\"\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
                 database:\n  storage: \"{folder}\"\nlog:\n  - target: stderr\n    any: info\n\
                 acl:\n  - id: all\n    address: 127.0.0.1\n    action: [transfer, update]\n\
                 policy:\n  - id: own\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    dnskey-ttl: 2\n    propagation-delay: 0\n\
                 zone:\n  - domain: example\n    file: \"{folder}/zone\"\n    acl: all\n    zonefile-sync: -1\n    \
                 dnssec-signing: on\n    dnssec-policy: own\n    serial-policy: increment\n",
                address.ip(),
                address.port(),
                folder = folder.display(),
            );
            write(folder, "knot.conf", &config);
            ["-c", "knot.conf"].map(String::from).into()
        });
        let signed = wait_until(PATIENCE, || !ask(knot.address, "example DNSKEY").data("DNSKEY").is_empty());
        assert!(signed, "{}", knot.log());
        let nsd = Peer::start("nsd", |folder, address| {
            let config = format!(
                "server:\n  ip-address: {}@{}\n  username: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  pidfile: \"{folder}/pid\"\n  \
                 xfrdfile: \"\"\n  xfrdir: \"{folder}\"\n  zonelistfile: \"{folder}/zones\"\n  server-count: 1\n  xfrd-reload-timeout: 0\n\
                 remote-control:\n  control-enable: no\nzone:\n  name: example\n  zonefile: \"{folder}/zone\"\n  request-xfr: AXFR {from} NOKEY\n  \
                 max-refresh-time: 1\n  min-refresh-time: 1\n  max-retry-time: 1\n  allow-notify: 127.0.0.1 NOKEY\n",
                address.ip(),
                address.port(),
                from = format_args!("{}@{}", knot.address.ip(), knot.address.port()),
                folder = folder.display(),
            );
            write(folder, "nsd.conf", &config);
            ["-d", "-c", "nsd.conf"].map(String::from).into()
        });
        let copied = wait_until(PATIENCE, || !ask(nsd.address, "example DNSKEY").data("DNSKEY").is_empty());
        assert!(copied, "{}", nsd.log());
        Parent { knot, nsd }
    }

    /// Changes the parent by lines of nsupdate.
    fn update(&self, lines: &str) {
        let at = self.knot.address;
        write(&self.knot.folder, "update", &format!("server {} {}\nzone example\n{lines}\nsend\n", at.ip(), at.port()));
        let said = run("nsupdate", &["-v".to_string(), self.knot.folder.join("update").display().to_string()]);
        assert!(said.trim().is_empty(), "{lines}: {said}");
    }

    /// Reads CDS or CDNSKEY of the zone, as BIND's registry does (RFC 7344 §6), and does what they ask for.
    fn poll(&self, signpost: &Signpost, cdnskey: bool) {
        let folder = &self.knot.folder;
        let asked = ["DNSKEY", "CDS", "CDNSKEY"].map(|rtype| {
            let words = ["+dnssec", "+noall", "+answer", "svc.example", rtype].map(String::from);
            run("dig", &[&signpost.at()[..], &words].concat())
        });
        let at = |name: &str| folder.join(name).display().to_string();
        write(folder, "child", &asked.concat());
        let ds = ask(self.knot.address, "svc.example DS");
        let ds: String = ds.data("DS").iter().map(|data| format!("svc.example. 2 IN DS {data}\n")).collect();
        write(folder, "dsset", &ds);
        // Signatures are an hour older than they are.
        let mut words = ["-T", "2", "-s", "-7200", "-u", "-f", &at("child"), "-d", &at("dsset"), "svc.example"].map(String::from).to_vec();
        if cdnskey {
            words.insert(0, "-D".into());
        }
        let script = run("dnssec-cds", &words);
        assert!(script.contains("update "), "{script}\n{asked:?}");
        let lines: Vec<&str> = script.lines().filter(|line| line.starts_with("update ")).collect();
        self.update(&lines.join("\n"));
    }

    fn ds(&self) -> Vec<String> {
        ask(self.knot.address, "svc.example DS").data("DS").into_iter().map(String::from).collect()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.nsd.end();
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file of the test");
}

/// The zone, its parent, and who validates.
struct Scene {
    signpost: Signpost,
    parent: Parent,
    /// Runs through all of it.
    unbound: Peer,
    flips: u32,
    begin: Instant,
}

impl Scene {
    fn start(dnssec: &str, asks_parent: bool) -> Scene {
        let parent = Parent::start();
        let asked = match asks_parent {
            true => format!("parent = [\"{}\", \"{}\"]\n", parent.knot.address, parent.nsd.address),
            false => String::new(),
        };
        let settings = format!(
            "[dnssec]\nzones = [\"svc.example\", \"sub.svc.example\"]\ndnskey_ttl = \"2s\"\nds_ttl = \"2s\"\npropagation = \"2s\"\n\
             parent_propagation = \"1s\"\n{asked}{dnssec}\n"
        );
        let signpost = Signpost::start_on(&[], &settings, FILES);
        // The zone below has a key; its DS belongs into the zone.
        let ds = signpost.get("/v1/keys/sub.svc.example")["ds"][0].as_str().expect("a DS").to_string();
        let (_, data) = ds.split_once(" DS ").expect("a DS");
        let path = signpost.folder().join("zones/svc.example.toml");
        let zone = std::fs::read_to_string(&path).expect("the zone");
        let zone =
            zone.replace("sub = { NS = [\"ns1.svc.example.\"] }", &format!("sub = {{ NS = [\"ns1.svc.example.\"], DS = [\"{data}\"] }}"));
        replace(&path, &zone);
        let there = wait_until(PATIENCE, || !ask(signpost.dns, "sub.svc.example DS").data("DS").is_empty());
        assert!(there, "{}", signpost.get("/v1/status"));
        let unbound = unbound(&parent, &signpost);
        Scene { signpost, parent, unbound, flips: 0, begin: Instant::now() }
    }

    /// Asks a validator for everything.
    fn look(&self, unbound: &Peer, seen: Seen, when: &str) {
        let queries: String = SHAPES.iter().map(|(name, rtype, ..)| format!("{name} {rtype}\n")).collect();
        let file = unbound.folder.join("queries");
        std::fs::write(&file, queries).expect("a file");
        let mut words: Vec<String> = crate::harness::at(unbound.address).into();
        words.extend(["+dnssec", "+time=10", "+tries=1", "-f"].map(String::from));
        words.push(file.display().to_string());
        let replies = Reply::all(&run("dig", &words));
        assert_eq!(replies.len(), SHAPES.len(), "{when}");
        for (reply, (name, rtype, data, below)) in replies.iter().zip(SHAPES) {
            let what = || format!("{when}, {:?} after the start: {name} {rtype}\n{reply}\n{}", self.begin.elapsed(), unbound.log());
            // Compact denial knows no NXDOMAIN; who is not signed does.
            let fine = reply.status == "NOERROR" || reply.status == "NXDOMAIN" && !data && (*below || seen == Seen::Insecure);
            assert!(fine, "{}", what());
            // A DNSKEY is there as long as the zone is signed.
            let has = !reply.data(rtype).is_empty();
            assert!(has == *data || (seen == Seen::Insecure && *rtype == "DNSKEY"), "{}", what());
            match seen {
                Seen::Secure => assert_eq!(reply.flag("ad"), !below, "{}", what()),
                Seen::Insecure => assert!(!reply.flag("ad"), "{}", what()),
                Seen::Either => {}
            }
        }
    }

    /// Asks, with instances that come and go, until something is so.
    fn watch(&mut self, seen: Seen, what: &str, mut until: impl FnMut(&Scene) -> bool) {
        let begin = Instant::now();
        loop {
            let done = until(self);
            self.flips += 1;
            let status = ["critical", "passing"][self.flips as usize % 2];
            self.signpost.put("/v1/services/web/instances/b1/status", &json!({ "status": status }).to_string());
            self.look(&self.unbound, seen, what);
            if done {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{what} did not come: {:#}", self.keys());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Has everything validated by a cache that is empty, and by delv from the DS that the parent has.
    fn validate(&self, when: &str) {
        self.look(&unbound(&self.parent, &self.signpost), Seen::Secure, when);
        for n in BY_DELV {
            let (name, rtype, _, below) = SHAPES[n];
            let said = self.delv(name, rtype);
            assert!(said.contains(if below { "unsigned" } else { "fully validated" }), "{when}: {name} {rtype}: {said}");
        }
    }

    /// Has delv ask Signpost itself, from the DS that the parent has.
    fn delv(&self, name: &str, rtype: &str) -> String {
        let anchors = self.parent.knot.folder.join("anchors");
        let [ds] = &self.parent.ds()[..] else { panic!("one DS") };
        let [tag, algorithm, kind, digest] = ds.splitn(4, ' ').collect::<Vec<_>>()[..] else { panic!("{ds}") };
        let text = format!("trust-anchors {{ svc.example. static-ds {tag} {algorithm} {kind} \"{digest}\"; }};\n");
        std::fs::write(&anchors, text).expect("a trust anchor");
        let words = [&format!("-a{}", anchors.display()), "+root=svc.example", name, rtype].map(String::from);
        run("delv", &[&self.signpost.at()[..], &words].concat())
    }

    fn keys(&self) -> Value {
        self.signpost.get("/v1/keys/svc.example")
    }

    /// Role and stage of each key.
    fn stages(&self) -> String {
        let keys = self.keys();
        let each = keys["keys"].as_array().expect("keys").iter();
        let mut stages: Vec<String> = each.map(|key| format!("{} {}", key["role"], key["stage"]).replace('"', "")).collect();
        stages.sort();
        stages.join(", ")
    }

    fn becomes(&mut self, seen: Seen, stages: &str) {
        self.watch(seen, stages, |scene| scene.stages() == stages);
    }

    fn call(&self, what: &str, body: Value) {
        let (status, text) =
            http(self.signpost.api(), "POST", &format!("/v1/keys/svc.example/{what}"), &body.to_string()).expect("a reply");
        assert_eq!(status, 200, "{what}: {text}");
    }

    /// The parent gets the first DS, by hand.
    fn secure(&mut self, first: &str, by_hand: bool) {
        self.becomes(Seen::Insecure, first);
        let ds = self.keys()["ds"][0].as_str().expect("a DS").replacen(" IN ", " 2 IN ", 1);
        self.parent.update(&format!("update add {ds}"));
        if by_hand {
            self.ds_seen();
        }
        let active = first.replace("submitted", "active");
        self.becomes(Seen::Either, &active);
        // What is in caches without a DS is there for a second at most.
        let begin = Instant::now();
        self.watch(Seen::Either, "DS", |_| begin.elapsed() > Duration::from_secs(3));
        self.watch(Seen::Secure, "all is secure", |_| true);
        self.validate("before");
    }

    /// Somebody looks at both servers of the parent and says what is there.
    fn ds_seen(&mut self) {
        let tag = {
            let keys = self.keys();
            let submitted = keys["keys"].as_array().expect("keys").iter().find(|key| key["stage"] == "submitted").cloned();
            submitted.expect("a key that waits for its DS")["tag"].as_u64().expect("a tag")
        };
        self.watch(Seen::Either, "DS at NSD", |scene| {
            let ds = ask(scene.parent.nsd.address, "svc.example DS");
            let data = ds.data("DS");
            data.len() == 1 && data[0].starts_with(&format!("{tag} "))
        });
        self.call("ds-seen", json!({ "tag": tag }));
    }
}

/// Replaces a file at once.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("a file");
    std::fs::rename(&new, path).expect("a file");
}

/// A validator that trusts the parent's key and tries nothing twice: what it has in its cache is what it goes by.
fn unbound(parent: &Parent, signpost: &Signpost) -> Peer {
    let dnskey = ask(parent.knot.address, "+nosplit example DNSKEY");
    let anchors: String = dnskey.data("DNSKEY").iter().map(|key| format!("  trust-anchor: \"example. DNSKEY {key}\"\n")).collect();
    let server = format!("  do-ip6: no\n  aggressive-nsec: yes\n  val-log-level: 2\n  val-max-restart: 0\n{anchors}");
    let stub = |zone: &str, at: std::net::SocketAddr| {
        format!("stub-zone:\n  name: \"{zone}\"\n  stub-addr: {}@{}\n  stub-first: no\n", at.ip(), at.port())
    };
    let below = ["svc.example", "plain.svc.example", "sub.svc.example"].map(|zone| stub(zone, signpost.dns)).concat();
    peers::unbound("validator iterator", "", &server, &(stub("example", parent.knot.address) + &below))
}

#[test]
fn a_ksk_and_a_zsk_roll_and_the_zone_leaves_while_the_parent_is_asked() {
    let mut scene = Scene::start("keys = \"ksk+zsk\"\nalgorithm = \"ecdsap256sha256\"", true);
    scene.secure("ksk submitted, zsk active", false);

    scene.call("roll", json!({ "key": "zsk" }));
    scene.becomes(Seen::Secure, "ksk active, zsk active, zsk published");
    scene.validate("a ZSK is published");
    scene.becomes(Seen::Secure, "ksk active, zsk active, zsk retired");
    scene.validate("a ZSK is active");
    scene.becomes(Seen::Secure, "ksk active, zsk active");
    scene.validate("a ZSK is gone");

    scene.call("roll", json!({ "key": "ksk" }));
    scene.becomes(Seen::Secure, "ksk active, ksk published, zsk active");
    scene.validate("a KSK is published");
    scene.becomes(Seen::Secure, "ksk active, ksk submitted, zsk active");
    scene.validate("a KSK is submitted");
    scene.parent.poll(&scene.signpost, false);
    scene.validate("the parent has the DS");
    scene.becomes(Seen::Secure, "ksk active, ksk retired, zsk active");
    scene.validate("a KSK is active");
    scene.becomes(Seen::Secure, "ksk active, zsk active");
    scene.validate("a KSK is gone");

    // Out of DNSSEC (RFC 8078 §4).
    scene.call("unsign", json!({ "step": "ask" }));
    scene.watch(Seen::Secure, "CDS", |scene| ask(scene.signpost.dns, "svc.example CDS").data("CDS") == ["0 0 0 00"]);
    assert_eq!(ask(scene.signpost.dns, "svc.example CDNSKEY").data("CDNSKEY"), ["0 3 0 AA=="]);
    // BIND's dnssec-cds takes this for a key: here somebody else reads it, and validates it.
    for rtype in ["CDS", "CDNSKEY"] {
        let said = scene.delv("svc.example", rtype);
        assert!(said.contains("fully validated"), "{said}");
    }
    scene.parent.update("update delete svc.example DS");
    let note = |scene: &Scene| scene.keys()["note"].as_str().unwrap_or_default().to_string();
    scene.watch(Seen::Either, "no cache has a DS", |scene| note(scene).contains("no cache holds a DS any more"));
    let path = scene.signpost.folder().join("signpost.toml");
    let text = std::fs::read_to_string(&path).expect("signpost.toml");
    replace(&path, &text.replace("\"svc.example\", \"sub.svc.example\"", "\"sub.svc.example\""));
    scene.watch(Seen::Insecure, "unsigned", |scene| ask(scene.signpost.dns, "svc.example DNSKEY").data("DNSKEY").is_empty());
    let begin = Instant::now();
    scene.watch(Seen::Insecure, "unsigned", |_| begin.elapsed() > Duration::from_secs(3));
}

#[test]
fn a_csk_rolls_and_somebody_says_what_the_parent_has() {
    let mut scene = Scene::start("algorithm = \"ed25519\"", false);
    scene.secure("csk submitted", true);
    scene.call("roll", json!({ "key": "csk" }));
    scene.becomes(Seen::Secure, "csk active, csk published");
    scene.validate("a CSK is published");
    scene.becomes(Seen::Secure, "csk active, csk submitted");
    scene.parent.poll(&scene.signpost, true);
    scene.validate("the parent has the DS");
    scene.ds_seen();
    scene.becomes(Seen::Secure, "csk active, csk retired");
    scene.validate("a CSK is active");
    scene.becomes(Seen::Secure, "csk active");
    scene.validate("a CSK is gone");
}
