//! Every reply of rich worlds, signed, is what a validator wants; floods of names are bounded; what was made is used again.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use signpost::config;
use signpost::control::Writer;
use signpost::model::{Algorithm, Counters, Denial, Revision, Settings, Timestamp, Zone};
use signpost::serve::signing::Signer;
use signpost::sign::Keyring;
use signpost::snapshot::{Shelf, Snapshot};
use signpost::wire::{Outcome, Punt, Query, Transport, Worker, answer};

use crate::dnssec::{self, Anchors, Verdict};
use crate::message::Question;
use crate::overlap::{self, DOWN, Dice, FILES};
use crate::transcripts::Story;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Asks as the whole server does, and validates.
fn ask(
    snapshot: &Snapshot,
    signer: &Signer,
    worker: &mut Worker,
    anchors: &Anchors,
    question: &Question,
    now: Timestamp,
) -> (Verdict, Vec<u8>) {
    let (bytes, mut reply) = (question.bytes(), vec![0; 65_535]);
    let transport = if question.tcp { Transport::Tcp } else { Transport::Udp };
    let query = Query { bytes: &bytes, peer: SocketAddr::new(question.from, 40_000), transport, now_ms: now.0 };
    let Outcome::Reply(length) = signer.answer(snapshot, worker, &query, &mut reply) else { panic!("{question:?} is not answered") };
    reply.truncate(length);
    let verdict = dnssec::validate(&reply, anchors, now.0).unwrap_or_else(|why| panic!("{} TYPE{}: {why}", question.name, question.rtype));
    (verdict, reply)
}

/// Names to ask for in these zones: every owner, something below it, beside it, and labels that services know.
fn names(zones: &[Zone], snapshot: &Snapshot) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for zone in zones {
        let apex = zone.apex.to_string();
        let owners = zone.records.keys().map(|(owner, _)| owner.to_string()).chain(zone.names.keys().map(ToString::to_string));
        for owner in owners.chain([apex.clone()]) {
            for name in [owner.clone(), format!("x.{owner}"), format!("x.y.{owner}"), owner.replacen('*', "star", 1), format!("z{owner}")] {
                // Escapes are for people; what is asked here has none.
                if !name.contains('\\') && name.len() < 200 {
                    names.insert(name);
                }
            }
        }
        for (_, service) in snapshot.all_services().filter(|_| zone.services) {
            let name = format!("{}.{apex}", service.label());
            for before in
                ["", "id.", "tag.", "_http._tcp.", "_tcp.", "ams-1a.id.", "_http._tcp.ams-1a.id.", "ams.region.", "nosuch.tag.", "x."]
            {
                names.insert(format!("{before}{name}"));
            }
            names.insert(format!("_{}._tcp.{apex}", service.label()));
        }
    }
    names
}

const TYPES: [&str; 16] =
    ["A", "AAAA", "SRV", "TXT", "HTTPS", "MX", "NS", "SOA", "CNAME", "TYPE39", "DS", "DNSKEY", "NSEC", "RRSIG", "CAA", "TYPE65280"];

#[test]
fn every_reply_of_the_world_of_policies_is_secure() {
    every_reply_is_secure("svc.example");
}

#[test]
fn every_reply_of_the_world_of_policies_is_secure_with_hashed_names() {
    every_reply_is_secure("svc.example ecdsap256sha256 nsec3");
}

fn every_reply_is_secure(signed: &str) {
    let mut story = Story::signed(FILES, &[signed]);
    for (service, ids) in DOWN {
        ids.iter().for_each(|id| story.tell(&format!("push {service}/{id} critical")));
    }
    let (snapshot, now) = (story.snapshot(), story.now());
    let (signer, anchors) = story.signer();
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let mut dice = Dice(6);
    let clients = overlap::addresses(&mut dice, 6_000);
    let zones = zones_of(FILES);
    let names: Vec<String> = names(&zones, &snapshot).into_iter().collect();
    let (mut secure, mut insecure, mut cut) = (0, 0, 0);
    for n in 0..12_000 {
        let (name, rtype) = (&names[dice.below(names.len())], TYPES[dice.below(TYPES.len())]);
        let client = clients[dice.below(clients.len())];
        let length = if matches!(client, IpAddr::V4(_)) { 32 } else { 128 };
        let more = ["", " co", " tcp", " size=600"][n % 4];
        let question = Question::parse(&format!("{name} {rtype} do ecs={client}/{length}{more}"));
        match ask(&snapshot, signer, &mut worker, anchors, &question, now).0 {
            Verdict::Secure => secure += 1,
            Verdict::Insecure => insecure += 1,
            Verdict::Cut => cut += 1,
        }
    }
    assert!(secure > 6_000 && insecure > 300 && cut > 500, "{secure} secure, {insecure} insecure, {cut} cut");
}

/// The zones of these files.
fn zones_of(files: &[(&str, &str)]) -> Vec<Zone> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let settings = Settings { zones_dir: folder.path().join("zones"), geo_dir: folder.path().join("geo"), ..Settings::default() };
    config::world(&settings).unwrap_or_else(|findings| panic!("{findings:?}")).zones
}

#[test]
fn every_reply_of_the_world_of_the_fuzzers_is_secure() {
    every_reply_of_the_fuzzers(Denial::Compact);
    every_reply_of_the_fuzzers(Denial::Nsec3);
}

fn every_reply_of_the_fuzzers(denial: Denial) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/world");
    let settings = Settings { zones_dir: folder.join("zones"), geo_dir: folder.join("geo"), ..Settings::default() };
    let mut world = config::world(&settings).unwrap_or_else(|findings| panic!("{findings:?}"));
    let mut keyring = Keyring::default();
    for (n, zone) in world.zones.iter_mut().enumerate() {
        dnssec::sign(zone, Algorithm::ALL[n % 2], denial, n as u8 + 1, &mut keyring);
    }
    let (anchors, zones, signer) = (Anchors::of(&world.zones), world.zones.clone(), Signer::new(Arc::new(ArcSwap::from_pointee(keyring))));
    let writer: Writer<usize> = Writer::begin((Revision(0), Vec::new()), world.zones, world.geo, &settings.dns, NOW).unwrap();
    let snapshot = writer.snapshot().clone();
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let (mut secure, mut asked) = (0, 0);
    for name in names(&zones, &snapshot) {
        for rtype in TYPES {
            let question = Question::parse(&format!("{name} {rtype} do tcp"));
            asked += 1;
            secure += usize::from(ask(&snapshot, &signer, &mut worker, &anchors, &question, NOW).0 == Verdict::Secure);
        }
    }
    assert!(asked > 2_000 && secure > asked / 2, "{secure} of {asked} are secure");
}

const ZONE: &str = r#"
services = true
ns = ["ns1.svc.example."]
[records]
ns1 = { A = ["192.0.2.53"] }
"*.wild" = { A = ["192.0.2.99"] }
[services.web]
[services.web.instances.a]
addresses = ["192.0.2.10"]
ports = { http = 80 }
region = "boston"
az = "az-1"
"#;

#[test]
fn a_flood_of_names_neither_displaces_nor_starves_what_a_zone_holds() {
    let story = Story::signed(&[("zones/svc.example.toml", ZONE)], &["svc.example"]);
    let (snapshot, mut now) = (story.snapshot(), story.now());
    let (signer, anchors) = story.signer();
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let mut reply = vec![0; 65_535];
    let question = Question::parse("web.svc.example A do");
    ask(&snapshot, signer, &mut worker, anchors, &question, now);
    let mut outcome = |name: &str, transport: Transport, now: Timestamp| {
        let bytes = Question::parse(&format!("{name} A do")).bytes();
        let query = Query { bytes: &bytes, peer: ([192, 0, 2, 1], 53).into(), transport, now_ms: now.0 };
        (answer(&snapshot, &mut worker, &query, &mut reply), u16::from_be_bytes([reply[2], reply[3]]))
    };
    let (mut punted, mut cut, mut failed) = (0, 0, 0);
    for n in 0..100_000_u64 {
        now.0 += u64::from(n % 100 == 0);
        let name = ["svc.example", "wild.svc.example", "blue.tag.blue.tag.web.svc.example"][n as usize % 2];
        let transport = if n % 10 == 0 { Transport::Tcp } else { Transport::Udp };
        match outcome(&format!("n{n}.{name}"), transport, now) {
            (Outcome::Punt(Punt::Unsigned(Shelf::Asked)), _) => punted += 1,
            (Outcome::Reply(length), flags) if flags & 0x0200 != 0 => {
                assert!(length < 100, "nothing is amplified: {length} octets");
                cut += 1;
            }
            (Outcome::Reply(_), flags) if flags & 15 == 2 && transport == Transport::Tcp => failed += 1,
            other => panic!("{other:?}"),
        }
        if n % 1000 == 0 {
            let (asked, _) = outcome("web.svc.example", Transport::Udp, now);
            assert!(matches!(asked, Outcome::Reply(_)), "what is signed is answered at once, flood or not: {asked:?}");
        }
    }
    // 100 ms: ten windows and what is left of one.
    assert!((640..=64 * 102).contains(&punted), "{punted} of a hundred thousand are signed in a second");
    assert!(cut > 50_000 && failed > 5_000, "{cut} {failed}");
    // What is signed of them takes no more room than there is.
    for n in 0..40_000 {
        now.0 += 1;
        let question = Question::parse(&format!("m{n}.svc.example A do"));
        let bytes = question.bytes();
        let query = Query { bytes: &bytes, peer: ([192, 0, 2, 1], 53).into(), transport: Transport::Udp, now_ms: now.0 };
        if n < 17_000 {
            assert!(matches!(signer.answer(&snapshot, &mut worker, &query, &mut reply), Outcome::Reply(_)));
        }
    }
    assert!(snapshot.signatures().len(Shelf::Asked) <= 16_384);
    let query = Query { bytes: &question.bytes(), peer: ([192, 0, 2, 1], 53).into(), transport: Transport::Udp, now_ms: now.0 };
    assert!(matches!(answer(&snapshot, &mut worker, &query, &mut reply), Outcome::Reply(_)), "and displaces nothing");
}

#[test]
fn what_was_asked_is_signed_before_it_is_asked_again() {
    let zone = ZONE.replace("[services.web.instances.a]", "checks = [{ tcp = true }]\n[services.web.instances.a]");
    let more = "[services.web.instances.b]\naddresses = [\"192.0.2.11\"]\nports = { http = 80 }\nregion = \"boston\"\naz = \"az-1\"\n";
    let mut story = Story::signed(&[("zones/svc.example.toml", &format!("{zone}{more}"))], &["svc.example"]);
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let mut reply = vec![0; 65_535];
    story.tell("probe web/a pass 2");
    story.tell("probe web/b pass 2");
    for question in ["web.svc.example A do", "web.svc.example SRV do"] {
        let (signer, anchors) = story.signer();
        ask(&story.snapshot(), signer, &mut worker, anchors, &Question::parse(question), story.now());
    }
    story.tell("probe web/a fail 3");
    let (snapshot, now) = (story.snapshot(), story.now());
    let punts = |worker: &mut Worker, reply: &mut [u8]| {
        let questions = ["web.svc.example A do", "web.svc.example SRV do"].map(|question| Question::parse(question).bytes());
        questions
            .iter()
            .filter(|bytes| {
                let query = Query { bytes, peer: ([192, 0, 2, 1], 53).into(), transport: Transport::Udp, now_ms: now.0 };
                matches!(answer(&snapshot, worker, &query, reply), Outcome::Punt(Punt::Unsigned(Shelf::Zone)))
            })
            .count()
    };
    assert_eq!(punts(&mut worker, &mut reply), 2, "another RRset, another signature");
    let (signer, anchors) = story.signer();
    assert_eq!(signer.ahead(None, &snapshot, &mut worker, &mut reply, now), 2);
    assert_eq!(signer.ahead(None, &snapshot, &mut worker, &mut reply, now), 0);
    assert_eq!(punts(&mut worker, &mut reply), 0, "it is there before anybody asks");
    let made = snapshot.signatures().made();
    ask(&snapshot, signer, &mut worker, anchors, &Question::parse("web.svc.example SRV do"), now);
    assert_eq!(snapshot.signatures().made(), made);
    // Twelve days on what is in use is made again, while the old one still holds.
    let later = now.plus(std::time::Duration::from_secs(86_400 * 12));
    assert!(signer.refresh(snapshot.signatures(), later) > 0);
    let bytes = Question::parse("web.svc.example A do").bytes();
    let query = Query { bytes: &bytes, peer: ([192, 0, 2, 1], 53).into(), transport: Transport::Udp, now_ms: later.0 + 86_400_000 * 4 };
    assert!(matches!(answer(&snapshot, &mut worker, &query, &mut reply), Outcome::Reply(_)), "sixteen days on, nobody waits");
}

/// A service of which each answer holds a part, one that nobody asks for at first, and a name that leads to the first.
fn flapping() -> String {
    let service = |name: &str, count: usize| {
        let instances = (0..count).map(|n| {
            let (region, az) = [("boston", "az-1"), ("london", "az-1")][n % 2];
            format!("[services.{name}.instances.i{n}]\naddresses = [\"192.0.2.{n}\"]\nports = {{ http = 80 }}\nregion = \"{region}\"\naz = \"{az}\"\n")
        });
        format!("[services.{name}]\nchecks = [{{ tcp = true }}]\n{}", instances.collect::<String>())
    };
    let head = "services = true\nns = [\"ns1.svc.example.\"]\n[records]\nns1 = { A = [\"192.0.2.53\"] }\n";
    let api = "[names.api]\npolicy = \"failover\"\nbranches = [{ service = \"web\", region = \"boston\" }, { service = \"web\" }]\n";
    format!("{head}{}{}{api}", service("web", 24), service("late", 4))
}

/// How many of four hundred queries behind each change find no signature.
fn missed(ahead: bool) -> f64 {
    const NETWORKS: &str =
        "[[network]]\ncidr = \"198.51.100.0/24\"\nregion = \"boston\"\n[[network]]\ncidr = \"203.0.113.0/24\"\nregion = \"london\"\n";
    let mut story = Story::signed(&[("zones/svc.example.toml", &flapping()), ("geo/networks.toml", NETWORKS)], &["svc.example"]);
    for (service, count) in [("web", 24), ("late", 4)] {
        (0..count).for_each(|n| story.tell(&format!("probe {service}/i{n} pass 2")));
    }
    let questions: Vec<Vec<u8>> = ["web.svc.example A", "web.svc.example SRV", "api.svc.example A", "_http._tcp.web.svc.example SRV"]
        .iter()
        .flat_map(|question| {
            ["198.51.100.7", "203.0.113.7"].map(|client| Question::parse(&format!("{question} do ecs={client}/24")).bytes())
        })
        .collect();
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let mut reply = vec![0; 65_535];
    let mut before: Option<Arc<Snapshot>> = None;
    let mut missed = 0;
    for round in 0..40 {
        let turned = round / 2 % 24;
        story.tell(&format!("probe web/i{turned} {}", if round % 2 == 0 { "fail 3" } else { "pass 2" }));
        let (snapshot, now) = (story.snapshot(), story.now());
        let (signer, _) = story.signer();
        signer.ahead(before.as_deref().filter(|_| ahead), &snapshot, &mut worker, &mut reply, now);
        for bytes in questions.iter().cycle().take(400) {
            let query = Query { bytes, peer: ([192, 0, 2, 1], 53).into(), transport: Transport::Udp, now_ms: now.0 };
            let outcome = answer(&snapshot, &mut worker, &query, &mut reply);
            // What was asked while nothing was known does not count.
            missed += usize::from(round > 1 && matches!(outcome, Outcome::Punt(Punt::Unsigned(Shelf::Zone))));
            assert!(matches!(signer.answer(&snapshot, &mut worker, &query, &mut reply), Outcome::Reply(_)));
        }
        before = Some(snapshot);
    }
    // The first query for a service that nobody asked for, after it changed.
    story.tell("probe late/i0 fail 3");
    let (snapshot, now) = (story.snapshot(), story.now());
    let (signer, _) = story.signer();
    signer.ahead(before.as_deref().filter(|_| ahead), &snapshot, &mut worker, &mut reply, now);
    let bytes = Question::parse("late.svc.example A do").bytes();
    let query = Query { bytes: &bytes, peer: ([192, 0, 2, 1], 53).into(), transport: Transport::Udp, now_ms: now.0 };
    let is_there = matches!(answer(&snapshot, &mut worker, &query, &mut reply), Outcome::Reply(_));
    assert_eq!(is_there, ahead, "a service that nobody asked for yet");
    f64::from(missed as u32) / 38.0
}

#[test]
fn what_a_change_makes_is_signed_before_anybody_asks() {
    let (as_drawn, ahead) = (missed(false), missed(true));
    println!(
        "signatures that are missing behind a change: {as_drawn:.1} where what was asked is asked again, {ahead:.1} where all draws are tried"
    );
    assert!(ahead == 0.0 && as_drawn > 0.5, "{as_drawn} {ahead}");
}
