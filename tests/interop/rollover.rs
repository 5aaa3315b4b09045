//! Whole rollovers below a parent that others serve: Knot signs it and NSD copies it, BIND's dnssec-cds reads what the zone asks for, and Unbound,
//! which keeps what it has for its TTL, and delv validate every shape of answer before, during and after each step. Never is anything bogus.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Files, Peer, Signpost, http, run, wait_until};
use crate::peers::{self, ask};
use crate::reply::Reply;

/// A step may take that long; the longest wait is some seconds, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// Somebody who asks Unbound for everything again and again, while an instance comes and goes.
struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    unbound: Peer,
    /// How Unbound sees the zone now; nobody: it is enough.
    seen: Mutex<Option<Seen>>,
    /// What was wrong, and how often all of it was right.
    result: Mutex<Result<usize, String>>,
}

impl Watch {
    fn start(unbound: Peer, api: SocketAddr) -> Watch {
        let shared = Arc::new(Shared { unbound, seen: Mutex::new(Some(Seen::Insecure)), result: Mutex::new(Ok(0)) });
        let of_thread = shared.clone();
        let thread = std::thread::spawn(move || {
            let (begin, shared) = (Instant::now(), of_thread);
            for n in 0.. {
                let Some(seen) = *shared.seen.lock().unwrap() else { return };
                let status = if n % 2 == 0 { "critical" } else { "passing" };
                let body = json!({ "status": status }).to_string();
                let flipped = http(api, "PUT", "/v1/services/web/instances/b1/status", &body).is_ok_and(|(status, _)| status == 200);
                let wrong = if flipped { wrong(&shared.unbound, seen) } else { Some("no flip".into()) };
                if *shared.seen.lock().unwrap() != Some(seen) {
                    continue;
                }
                let mut result = shared.result.lock().unwrap();
                match wrong {
                    None => *result = result.clone().map(|rounds| rounds + 1),
                    Some(wrong) => {
                        *result = Err(format!("{:?} after the start, {wrong}\n{}", begin.elapsed(), shared.unbound.log()));
                        return;
                    }
                }
                drop(result);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Watch { shared, thread: Some(thread) }
    }

    /// How it is from now on.
    fn expect(&self, seen: Seen) {
        *self.shared.seen.lock().unwrap() = Some(seen);
    }

    /// How often all of it was right.
    fn rounds(&self) -> usize {
        match &*self.shared.result.lock().unwrap() {
            Ok(rounds) => *rounds,
            Err(wrong) => panic!("{wrong}"),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.shared.seen.lock().unwrap() = None;
        self.thread.take().map(JoinHandle::join);
    }
}

/// Asks a validator for everything; the first reply that is wrong.
fn wrong(unbound: &Peer, seen: Seen) -> Option<String> {
    let queries: String = SHAPES.iter().map(|(name, rtype, ..)| format!("{name} {rtype}\n")).collect();
    write(&unbound.folder, "queries", &queries);
    let mut words: Vec<String> = crate::harness::at(unbound.address).into();
    words.extend(["+dnssec", "+time=10", "+tries=1", "-f"].map(String::from));
    words.push(unbound.folder.join("queries").display().to_string());
    let printed = run("dig", &words);
    let replies = Reply::all(&printed);
    if replies.len() != SHAPES.len() {
        return Some(printed);
    }
    let wrong = |(reply, (name, rtype, data, below)): (&Reply, &(&str, &str, bool, bool))| {
        // Compact denial knows no NXDOMAIN; who is not signed does.
        let fine = reply.status == "NOERROR" || reply.status == "NXDOMAIN" && !data && (*below || seen != Seen::Secure);
        // A DNSKEY is there as long as the zone is signed.
        let has = reply.data(rtype).is_empty() != *data || (seen != Seen::Secure && *rtype == "DNSKEY");
        let secure = match seen {
            Seen::Secure => reply.flag("ad") != *below,
            Seen::Insecure => !reply.flag("ad"),
            Seen::Either => true,
        };
        (!fine || !has || !secure).then(|| format!("{seen:?}: {name} {rtype}\n{reply}"))
    };
    replies.iter().zip(SHAPES).find_map(wrong)
}

/// The zone, its parent, and who validates.
struct Scene {
    watch: Watch,
    signpost: Signpost,
    parent: Parent,
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
        let watch = Watch::start(unbound(&parent, &signpost), signpost.api());
        Scene { watch, signpost, parent }
    }

    /// Waits until something is so.
    #[track_caller]
    fn until(&self, what: &str, mut until: impl FnMut(&Scene) -> bool) {
        let begin = Instant::now();
        while !until(self) {
            self.watch.rounds();
            assert!(begin.elapsed() < PATIENCE, "{what} did not come: {:#}", self.keys());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.watch.rounds();
    }

    /// Waits until everything was asked again some times, and longer than any cache keeps anything.
    #[track_caller]
    fn rest(&self) {
        let (begin, rounds) = (Instant::now(), self.watch.rounds());
        self.until("rest", |scene| scene.watch.rounds() > rounds + 2 && begin.elapsed() > Duration::from_secs(4));
    }

    /// Has everything validated by a cache that is empty, and by delv from the DS that the parent has.
    #[track_caller]
    fn validate(&self, when: &str) {
        if let Some(wrong) = wrong(&unbound(&self.parent, &self.signpost), Seen::Secure) {
            panic!("{when}: {wrong}");
        }
        for n in BY_DELV {
            let (name, rtype, _, below) = SHAPES[n];
            let said = self.delv(name, rtype);
            assert!(said.contains(if below { "unsigned" } else { "fully validated" }), "{when}: {name} {rtype}: {said}");
        }
        self.watch.rounds();
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

    #[track_caller]
    fn becomes(&self, stages: &str) {
        self.until(stages, |scene| scene.stages() == stages);
    }

    fn call(&self, what: &str, body: Value) {
        let (status, text) =
            http(self.signpost.api(), "POST", &format!("/v1/keys/svc.example/{what}"), &body.to_string()).expect("a reply");
        assert_eq!(status, 200, "{what}: {text}");
    }

    /// The parent gets the first DS, by hand.
    fn secure(&self, first: &str, by_hand: bool) {
        self.becomes(first);
        assert!(self.watch.rounds() > 0);
        let ds = self.keys()["ds"][0].as_str().expect("a DS").replacen(" IN ", " 2 IN ", 1);
        self.watch.expect(Seen::Either);
        self.parent.update(&format!("update add {ds}"));
        if by_hand {
            self.ds_seen();
        }
        self.becomes(&first.replace("submitted", "active"));
        self.rest();
        self.watch.expect(Seen::Secure);
        self.validate("before");
    }

    /// Somebody looks at both servers of the parent and says what is there.
    fn ds_seen(&self) {
        let keys = self.keys();
        let submitted = keys["keys"].as_array().expect("keys").iter().find(|key| key["stage"] == "submitted").cloned();
        let tag = submitted.expect("a key that waits for its DS")["tag"].as_u64().expect("a tag");
        self.until("DS at NSD", |scene| {
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
    let stub =
        |zone: &str, at: SocketAddr| format!("stub-zone:\n  name: \"{zone}\"\n  stub-addr: {}@{}\n  stub-first: no\n", at.ip(), at.port());
    let below = ["svc.example", "plain.svc.example", "sub.svc.example"].map(|zone| stub(zone, signpost.dns)).concat();
    peers::unbound("validator iterator", "", &server, &(stub("example", parent.knot.address) + &below))
}

#[test]
fn a_ksk_and_a_zsk_roll_and_the_zone_leaves_while_the_parent_is_asked() {
    let scene = Scene::start("keys = \"ksk+zsk\"\nalgorithm = \"ecdsap256sha256\"", true);
    scene.secure("ksk submitted, zsk active", false);

    scene.call("roll", json!({ "key": "zsk" }));
    scene.becomes("ksk active, zsk active, zsk published");
    scene.validate("a ZSK is published");
    scene.becomes("ksk active, zsk active, zsk retired");
    scene.validate("a ZSK is active");
    scene.becomes("ksk active, zsk active");
    scene.rest();

    scene.call("roll", json!({ "key": "ksk" }));
    scene.becomes("ksk active, ksk published, zsk active");
    scene.becomes("ksk active, ksk submitted, zsk active");
    scene.validate("a KSK is submitted");
    scene.parent.poll(&scene.signpost, false);
    scene.becomes("ksk active, ksk retired, zsk active");
    scene.validate("a KSK is active");
    scene.becomes("ksk active, zsk active");
    scene.rest();
    scene.validate("a KSK is gone");

    // Out of DNSSEC (RFC 8078 §4).
    scene.call("unsign", json!({ "step": "ask" }));
    assert_eq!(ask(scene.signpost.dns, "svc.example CDS").data("CDS"), ["0 0 0 00"]);
    assert_eq!(ask(scene.signpost.dns, "svc.example CDNSKEY").data("CDNSKEY"), ["0 3 0 AA=="]);
    // BIND's dnssec-cds takes this for a key: here somebody else reads it, and validates it.
    for rtype in ["CDS", "CDNSKEY"] {
        let said = scene.delv("svc.example", rtype);
        assert!(said.contains("fully validated"), "{said}");
    }
    scene.watch.expect(Seen::Either);
    scene.parent.update("update delete svc.example DS");
    let note = |scene: &Scene| scene.keys()["note"].as_str().unwrap_or_default().to_string();
    scene.until("no cache has a DS", |scene| note(scene).contains("no cache holds a DS any more"));
    let path = scene.signpost.folder().join("signpost.toml");
    let text = std::fs::read_to_string(&path).expect("signpost.toml");
    replace(&path, &text.replace("\"svc.example\", \"sub.svc.example\"", "\"sub.svc.example\""));
    scene.until("it is unsigned", |scene| ask(scene.signpost.dns, "svc.example DNSKEY").data("DNSKEY").is_empty());
    // What was validated until now is in the cache as such for as long as its TTL.
    scene.rest();
    scene.watch.expect(Seen::Insecure);
    scene.rest();
}

#[test]
fn a_csk_rolls_and_somebody_says_what_the_parent_has() {
    let scene = Scene::start("algorithm = \"ed25519\"", false);
    scene.secure("csk submitted", true);
    scene.call("roll", json!({ "key": "csk" }));
    scene.becomes("csk active, csk published");
    scene.validate("a CSK is published");
    scene.becomes("csk active, csk submitted");
    scene.parent.poll(&scene.signpost, true);
    scene.ds_seen();
    scene.becomes("csk active, csk retired");
    scene.validate("a CSK is active");
    scene.becomes("csk active");
    scene.rest();
    scene.validate("a CSK is gone");
}
