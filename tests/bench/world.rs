//! The world that benchmarks ask: one static zone, one zone of many names, one of services and routed names.
#![allow(dead_code)] // each benchmark is a program of its own, and none needs all of it

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use signpost::config;
use signpost::control::Writer;
use signpost::model::{Algorithm, Counters, Denial, KeyRole, Revision, Settings, Timestamp, ZoneKey, ZoneSigning};
use signpost::serve::signing::Signer;
use signpost::sign::digest::key_tag;
use signpost::sign::{Keyring, PrivateKey, Ring, Secret};
use signpost::snapshot::Snapshot;
use signpost::wire::{self, Outcome, Query, Transport, Worker};

/// What a row asks: a label for the tables, and the queries in turn.
pub struct Row {
    pub label: &'static str,
    pub queries: Vec<Vec<u8>>,
}

const STATIC: &str = "\
$ORIGIN example.test.
$TTL 300
@ SOA ns1 hostmaster 1 3600 600 604800 60
@ NS ns1
@ NS ns2
ns1 A 192.0.2.1
ns2 A 192.0.2.2
";

const SERVICES: &str = r#"
services = true
ns = ["ns1.svc.test."]
[records]
ns1 = { A = ["192.0.2.1"] }
[names.weighted]
policy = "weighted"
branches = [
  { records = { A = ["192.0.2.11"] }, weight = 4 }, { records = { A = ["192.0.2.12"] }, weight = 3 },
  { records = { A = ["192.0.2.13"] }, weight = 2 }, { records = { A = ["192.0.2.14"] }, weight = 1 },
]
[names.geo]
policy = "geolocation"
branches = [{ service = "web", countries = ["DE"] }, { service = "api", countries = ["US"] }, { service = "web", default = true }]
[names.geoweighted]
policy = "geolocation"
branches = [
  { policy = "weighted", countries = ["DE"], default = true, branches = [
    { records = { A = ["192.0.2.21"] }, weight = 10 }, { records = { A = ["192.0.2.22"] }, weight = 20 },
    { records = { A = ["192.0.2.23"] }, weight = 30 }, { records = { A = ["192.0.2.24"] }, weight = 40 },
  ] },
  { policy = "weighted", countries = ["US"], branches = [
    { records = { A = ["192.0.2.31"] }, weight = 10 }, { records = { A = ["192.0.2.32"] }, weight = 20 },
    { records = { A = ["192.0.2.33"] }, weight = 30 }, { records = { A = ["192.0.2.34"] }, weight = 40 },
  ] },
]
[services.web]
ports = { http = 80 }
[services.api]
policy = "weighted"
ports = { http = 80 }
"#;

/// The snapshot of [`files`].
pub fn snapshot(names: usize) -> Arc<Snapshot> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), names);
    let settings = Settings { zones_dir: folder.path().join("zones"), geo_dir: folder.path().join("geo"), ..Settings::default() };
    let world = config::world(&settings).unwrap_or_else(|findings| panic!("{findings:?}"));
    let writer: Writer<usize> = Writer::begin((Revision(0), Vec::new()), world.zones, world.geo, &settings.dns, Timestamp(0)).unwrap();
    writer.snapshot().clone()
}

/// The same with every zone signed by a key on P-256, and who signs.
pub fn signed(names: usize) -> (Arc<Snapshot>, Signer) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), names);
    let settings = Settings { zones_dir: folder.path().join("zones"), geo_dir: folder.path().join("geo"), ..Settings::default() };
    let mut world = config::world(&settings).unwrap_or_else(|findings| panic!("{findings:?}"));
    let mut keyring = Keyring::default();
    for zone in &mut world.zones {
        let key = Arc::new(PrivateKey::new(Algorithm::EcdsaP256Sha256, Secret([7; 32])).unwrap());
        let (role, public) = (KeyRole::Csk, key.public().into());
        let tag = key_tag(&key.dnskey(role));
        let shown = ZoneKey { flags: role.flags(), algorithm: 13, tag, public, signs_keys: true, signs_zone: true, published: true };
        let (cds, cdnskey) = (Vec::new(), Vec::new());
        let signing = ZoneSigning { keys: vec![shown], dnskey_ttl: 3600, denial: Denial::Compact, cds, cdnskey, epoch: 1 };
        let ring = Ring::new(&signing, &[(tag, key)].into(), Duration::from_secs(1_209_600), 7).unwrap();
        keyring.put(zone.apex.clone(), Some(Arc::new(ring)));
        zone.signing = Some(Arc::new(signing));
    }
    let writer: Writer<usize> = Writer::begin((Revision(0), Vec::new()), world.zones, world.geo, &settings.dns, Timestamp(0)).unwrap();
    (writer.snapshot().clone(), Signer::new(Arc::new(arc_swap::ArcSwap::from_pointee(keyring))))
}

/// A query of [`rows`] with DO.
pub fn with_do(query: &[u8]) -> Vec<u8> {
    let (mut query, end) = (query.to_vec(), query.len());
    // The OPT without options stands last, and its flags before the length of those.
    query[end - 4] |= 0x80;
    query
}

/// Answers one query over UDP, signing what it lacks; the octets of the reply.
pub fn answer_signed(snapshot: &Snapshot, signer: &Signer, worker: &mut Worker, bytes: &[u8], now_ms: u64, reply: &mut [u8]) -> usize {
    let query = Query { bytes, peer: SocketAddr::from(([127, 0, 0, 1], 40_000)), transport: Transport::Udp, now_ms };
    match signer.answer(snapshot, worker, &query, reply) {
        Outcome::Reply(length) => length,
        outcome => panic!("{outcome:?}"),
    }
}

/// When everything is asked: milliseconds since the Unix epoch.
pub const NOW_MS: u64 = 1_700_000_000_000;

/// Writes [`files`] below a folder.
pub fn write(folder: &Path, names: usize) {
    for (name, text) in files(names) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Zone and geo files: path and text. `many.test` has `names` names of one address each.
fn files(names: usize) -> [(&'static str, String); 5] {
    let mut fixed = STATIC.to_string();
    for n in 0..1000 {
        for last in 1..=4 {
            let _ = writeln!(fixed, "h{n} A 10.{}.{}.{last}", n / 250, n % 250);
            let _ = writeln!(fixed, "_s{n}._tcp SRV 0 10 80 t{last}");
        }
    }
    for last in 1..=4 {
        let _ = writeln!(fixed, "t{last} A 192.0.2.{last}\nt{last} AAAA 2001:db8::{last}");
    }
    let mut many = STATIC.replace("example.test.", "many.test.");
    for n in 0..names {
        let _ = writeln!(many, "h{n} A 10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
    }
    let mut services = SERVICES.to_string();
    for (service, n) in ["web", "api"].into_iter().flat_map(|service| (0..8).map(move |n| (service, n))) {
        let region = ["eu", "us"][n % 2];
        let _ = writeln!(
            services,
            "[services.{service}.instances.i{n}]\naddresses = [\"198.51.100.{n}\"]\nregion = \"{region}\"\naz = \"a\"\nweight = {}",
            1 + n % 4
        );
    }
    let mut networks = String::new();
    for n in 0..200 {
        let (region, country) = [("eu", "DE"), ("us", "US")][n % 2];
        let _ = writeln!(networks, "[[network]]\ncidr = \"10.{n}.0.0/16\"\nregion = \"{region}\"\ncountry = \"{country}\"");
    }
    networks += "[[network]]\ncidr = \"127.0.0.0/8\"\nregion = \"eu\"\ncountry = \"DE\"\n";
    let regions = "[regions.eu]\nlatitude = 53.3\nlongitude = -6.3\n[regions.us]\nlatitude = 38.9\nlongitude = -77.4\n";
    [
        ("zones/example.test.zone", fixed),
        ("zones/many.test.zone", many),
        ("zones/svc.test.toml", services),
        ("geo/networks.toml", networks),
        ("geo/regions.toml", regions.to_string()),
    ]
}

/// What is asked of [`snapshot`]: `count` queries of each kind.
pub fn rows(count: usize, names: usize) -> Vec<Row> {
    let row = |label, ask: &dyn Fn(usize) -> Vec<u8>| Row { label, queries: (0..count).map(ask).collect() };
    // Spread as a client's questions are: neighbours in the zone are not asked in a row.
    let spread = |n: usize, of: usize| n.wrapping_mul(0x9e37_79b1) % of.max(1);
    vec![
        row("static A", &|n| query(&format!("h{}.example.test", spread(n, 1000)), 1, None)),
        row("static SRV", &|n| query(&format!("_s{}._tcp.example.test", spread(n, 1000)), 33, None)),
        row("NXDOMAIN", &|n| query(&format!("x{}.example.test", spread(n, 1000)), 1, None)),
        row("many names", &|n| query(&format!("h{}.many.test", spread(n, names)), 1, None)),
        row("service A", &|_| query("web.svc.test", 1, None)),
        row("service SRV", &|_| query("_http._tcp.web.svc.test", 33, None)),
        row("geo ECS", &|n| query("geo.svc.test", 1, Some([10, (n % 200) as u8, (n / 200) as u8]))),
        row("weighted ECS", &|n| query("api.svc.test", 1, Some([10, (n % 200) as u8, (n / 200) as u8]))),
        row("weighted records", &|_| query("weighted.svc.test", 1, None)),
        row("geo weighted ECS", &|n| query("geoweighted.svc.test", 1, Some([10, (n % 200) as u8, (n / 200) as u8]))),
    ]
}

/// A query with EDNS and a payload of 1232 octets, for a client subnet where one is given.
pub fn query(name: &str, rtype: u16, subnet: Option<[u8; 3]>) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(rtype.to_be_bytes());
    message.extend([0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0]);
    match subnet {
        None => message.extend([0, 0]),
        Some([a, b, c]) => message.extend([0, 11, 0, 8, 0, 7, 0, 1, 24, 0, a, b, c]),
    }
    message
}

/// A worker whose draws are the same in every run.
pub fn worker() -> Worker {
    Worker::new(7, Arc::new(Counters::default()))
}

/// Answers one query over UDP; the octets of the reply.
#[inline]
pub fn answer(snapshot: &Snapshot, worker: &mut Worker, bytes: &[u8], reply: &mut [u8]) -> usize {
    let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
    match wire::answer(snapshot, worker, &Query { bytes, peer, transport: Transport::Udp, now_ms: NOW_MS }, reply) {
        Outcome::Reply(length) => length,
        Outcome::Drop => 0,
        Outcome::Punt(punt) => panic!("nobody's names are forwarded here, and yet {punt:?}"),
    }
}
