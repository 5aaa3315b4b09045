//! The query path never allocates (DESIGN §8): every kind of answer, counted by the allocator itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use signpost::config;
use signpost::control::Writer;
use signpost::model::{Counters, Revision, Settings, Timestamp};
use signpost::wire::{self, Outcome, Query, Transport, Worker};

use crate::message::Question;
use crate::transcripts::Story;

thread_local! {
    /// Allocations of this thread. Other tests run beside this one, so each thread counts for itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
pub struct Counting;

// SAFETY: every call is passed on to `System` as it came; the counter is a thread-local cell without destructor, which needs no allocation.
#[expect(unsafe_code, reason = "an allocator has no safe interface")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

const ZONE: &str = r#"
services = true
ns = ["ns1.svc.example."]
[records]
ns1 = { A = ["192.0.2.53"], AAAA = ["2001:db8::53"] }
alias = { CNAME = ["web.svc.example."] }
"*.wild" = { MX = ["5 ns1.svc.example."] }
old = { DNAME = ["wild.svc.example."] }
grows = { DNAME = ["x.grows.svc.example."] }
child = { NS = ["ns.child.svc.example."] }
"ns.child" = { A = ["192.0.2.70"] }
[names.api]
policy = "failover"
branches = [
  { service = "web", region = "boston" },
  { policy = "weighted", branches = [{ service = "web", weight = 9 }, { service = "down", weight = 1 }] },
]
[names.geo]
policy = "geolocation"
branches = [{ service = "web", countries = ["US"] }, { records = { CNAME = ["web.svc.example."] }, default = true }]
[services.web]
tiers = 2
alpn = ["h2"]
default_port = "https"
[services.down]
policy = "multivalue"
checks = [{ tcp = true }]
[services.down.instances.d]
addresses = ["192.0.2.90"]
ports = { http = 80 }
region = "boston"
az = "az-1"
"#;

const NETWORKS: &str = r#"
[[network]]
cidr = "198.51.100.0/24"
region = "boston"
country = "US"
"#;

/// A world of one zone with a service of forty instances.
fn world() -> Writer<usize> {
    let folder = tempfile::tempdir().unwrap();
    let mut zone = ZONE.to_string();
    for n in 0..40 {
        let region = ["boston", "london"][n % 2];
        zone += &format!(
            "[services.web.instances.i{n}]\naddresses = [\"192.0.2.{n}\", \"2001:db8::{n}\"]\nports = {{ https = 443, http = 80 }}\n\
             region = \"{region}\"\naz = \"az-1\"\ntags = [\"blue\"]\nmeta = {{ version = \"{n}\" }}\n"
        );
    }
    for (name, text) in [("zones/svc.example.toml", zone.as_str()), ("geo/networks.toml", NETWORKS)] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let settings = Settings { zones_dir: folder.path().join("zones"), geo_dir: folder.path().join("geo"), ..Settings::default() };
    let world = config::world(&settings).unwrap_or_else(|findings| panic!("{findings:?}"));
    Writer::begin((Revision(0), Vec::new()), world.zones, world.geo, &settings.dns, Timestamp(0)).unwrap()
}

#[test]
fn no_answer_allocates() {
    let writer = world();
    let snapshot = writer.snapshot().clone();
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let mut reply = vec![0; 65_535];
    let questions = [
        ("web.svc.example A ecs=198.51.100.0/24", 8),
        ("web.svc.example AAAA ecs=198.51.100.0/24", 8),
        ("web.svc.example SRV tcp", 32),
        ("web.svc.example SRV noedns", 1),
        ("web.svc.example HTTPS tcp", 8),
        ("web.svc.example TXT tcp", 8),
        ("web.svc.example ANY", 1),
        ("_http._tcp.web.svc.example SRV tcp", 32),
        ("_web._tcp.svc.example SRV tcp", 32),
        ("blue.tag.london.region.web.svc.example A", 8),
        ("i7.id.web.svc.example A", 1),
        ("d.id.down.svc.example A", 1),
        ("down.svc.example A", 1),
        ("api.svc.example A", 8),
        ("api.svc.example SRV tcp", 21),
        ("geo.svc.example A ecs=198.51.100.0/24", 8),
        ("geo.svc.example AAAA", 9),
        ("alias.svc.example A", 9),
        ("x.wild.svc.example MX", 1),
        ("x.old.svc.example MX", 3),
        ("x.grows.svc.example MX tcp", 18),
        ("svc.example SOA", 1),
        ("svc.example NS", 1),
        ("child.svc.example A", 0),
        ("web.svc.example MX", 0),
        ("nosuch.svc.example A", 0),
        ("elsewhere.test A", 0),
        ("version.bind TXT class=CH", 0),
        ("svc.example AXFR", 0),
        ("svc.example A version=1", 0),
        ("svc.example A opcode=5", 0),
        ("web.svc.example A cookie=new", 8),
        ("web.svc.example A cookie=0102030405060708aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 8),
        ("web.svc.example A cookie=new options=000b00000003000261620000 tcp", 0),
        ("web.svc.example A cookie=new options=000b00000003000261620000000c0000 tls", 0),
        ("- A bare cookie=new", 0),
        ("svc.example A cookie=01", 0),
    ];
    let mut limited = (*snapshot).clone();
    let mut dns = (*limited.dns).clone();
    (dns.rate_limit.per_second, dns.rate_limit.all_per_second, dns.unverified_max) = (5, 1000, 300);
    dns.rate_limit.exempt = vec!["198.18.0.0/15".parse().unwrap()];
    limited.dns = Arc::new(dns);
    let mut dropped = 0;
    for (question, least) in questions {
        let asked = Question::parse(question);
        let bytes = asked.bytes();
        let transport = match (asked.tcp, asked.tls) {
            (_, true) => Transport::Tls,
            (true, _) => Transport::Tcp,
            _ => Transport::Udp,
        };
        let query = Query { bytes: &bytes, peer: SocketAddr::new(asked.from, 40_000), transport, now_ms: 0 };
        for _ in 0..20 {
            let before = ALLOCATIONS.with(Cell::get);
            let outcome = wire::answer(&snapshot, &mut worker, &query, &mut reply);
            assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "allocations for {question}");
            assert!(matches!(outcome, Outcome::Reply(_)), "{question}");
            let answers = u16::from_be_bytes([reply[6], reply[7]]);
            assert!(answers >= least, "{question} has {answers} answers: it is not the answer that was meant");
        }
        for _ in 0..20 {
            let before = ALLOCATIONS.with(Cell::get);
            let outcome = wire::answer(&limited, &mut worker, &query, &mut reply);
            assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "allocations for {question} with a rate limit");
            dropped += usize::from(outcome == Outcome::Drop);
        }
    }
    assert!(dropped > 100, "{dropped} replies were limited");
    let before = ALLOCATIONS.with(Cell::get);
    drop(std::hint::black_box(Box::new(7)));
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 1, "the allocator counts");
}

#[test]
fn looking_ahead_allocates_nothing_and_no_answer_depends_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut zone = "$ORIGIN many.example.\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 604800 60\n@ NS ns1\nns1 A 192.0.2.53\n".to_string();
    (0..70_000).for_each(|n| zone += &format!("name-{n} A 10.{}.{}.{}\n", n >> 16, n >> 8 & 255, n & 255));
    let mut services = "services = true\nns = [\"ns1.many.example.\"]\n".to_string();
    (0..10_000).for_each(|n| {
        services += &format!("[services.s{n}.instances.i]\naddresses = [\"192.0.2.7\"]\nregion = \"boston\"\naz = \"az-1\"\n")
    });
    for (name, text) in [("zones/many.example.zone", zone.as_str()), ("zones/svc.example.toml", services.as_str())] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let settings = Settings { zones_dir: folder.path().join("zones"), geo_dir: folder.path().join("geo"), ..Settings::default() };
    let world = config::world(&settings).unwrap_or_else(|findings| panic!("{findings:?}"));
    let writer: Writer<usize> = Writer::begin((Revision(0), Vec::new()), world.zones, world.geo, &settings.dns, Timestamp(0)).unwrap();
    let snapshot = writer.snapshot().clone();
    assert!(snapshot.is_vast(), "it would not look ahead");
    let names = (0..30).map(|n| format!("name-{}.many.example A", n * 2333)).chain((0..20).map(|n| format!("s{}.svc.example A", n * 499)));
    let odd = ["nosuch.many.example A", "many.example SOA", "nosuch.svc.example A", "svc.example SOA", "elsewhere.test A", "- A bare"];
    let mut queries: Vec<Vec<u8>> = names.chain(odd.map(String::from)).map(|question| Question::parse(&question).bytes()).collect();
    queries.extend([vec![], vec![0; 11], vec![0xff; 40], queries[0][..20].to_vec()]);
    let answers = |is_ahead: bool| -> Vec<(Outcome, Vec<u8>)> {
        let mut worker = Worker::new(7, Arc::new(Counters::default()));
        if is_ahead {
            for few in [0, 1, 2, queries.len(), queries.len()] {
                let before = ALLOCATIONS.with(Cell::get);
                wire::look_ahead(&snapshot, &mut worker, queries[..few].iter().map(Vec::as_slice));
                assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "allocations for {few} at once");
            }
        }
        let ask = |bytes: &Vec<u8>| {
            let query = Query { bytes, peer: SocketAddr::from(([192, 0, 2, 1], 40_000)), transport: Transport::Udp, now_ms: 0 };
            let mut reply = vec![0; 65_535];
            match wire::answer(&snapshot, &mut worker, &query, &mut reply) {
                Outcome::Reply(length) => (Outcome::Reply(length), reply[..length].to_vec()),
                outcome => (outcome, Vec::new()),
            }
        };
        queries.iter().map(ask).collect()
    };
    let plain = answers(false);
    assert!(plain[..50].iter().all(|(_, reply)| reply[7] == 1), "every name has one address");
    assert_eq!(answers(true), plain);
}

#[test]
fn no_signed_answer_allocates_whose_signatures_are_there() {
    let mut files = [("zones/svc.example.toml", ZONE.to_string()), ("geo/networks.toml", NETWORKS.to_string())];
    files[0].1 += "[services.web.instances.a]\naddresses = [\"192.0.2.1\", \"2001:db8::1\"]\nports = { https = 443, http = 80 }\n\
                   region = \"boston\"\naz = \"az-1\"\ntags = [\"blue\"]\n";
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let story = Story::signed(&files, &["*"]);
    let (snapshot, signer) = (story.snapshot(), story.signer().0);
    let mut worker = Worker::new(7, Arc::new(Counters::default()));
    let mut reply = vec![0; 65_535];
    for (question, least) in [
        ("web.svc.example A do", 2),
        ("web.svc.example AAAA do", 2),
        ("web.svc.example SRV do", 2),
        ("web.svc.example HTTPS do tcp", 2),
        ("web.svc.example TXT do", 2),
        ("web.svc.example MX do", 0),
        ("_http._tcp.web.svc.example SRV do", 2),
        ("a.id.web.svc.example A do", 2),
        ("blue.tag.web.svc.example A do", 2),
        ("ns1.svc.example A do", 2),
        ("svc.example DNSKEY do", 2),
        ("svc.example NS do", 2),
        ("alias.svc.example A do", 4),
        ("x.wild.svc.example MX do", 2),
        ("x.old.svc.example MX do tcp", 5),
        ("nosuch.svc.example A do", 0),
        ("nosuch.svc.example A do co", 0),
        ("child.svc.example A do", 0),
        ("web.svc.example ANY do", 2),
        ("web.svc.example NSEC do", 2),
        ("web.svc.example RRSIG do", 1),
    ] {
        let asked = Question::parse(question);
        let bytes = asked.bytes();
        let transport = if asked.tcp { Transport::Tcp } else { Transport::Udp };
        let query = Query { bytes: &bytes, peer: SocketAddr::new(asked.from, 40_000), transport, now_ms: story.now().0 };
        // What is missing is signed first; and a thread that reads the map for the first time is made known to it.
        signer.answer(&snapshot, &mut worker, &query, &mut reply);
        for _ in 0..20 {
            let before = ALLOCATIONS.with(Cell::get);
            let outcome = wire::answer(&snapshot, &mut worker, &query, &mut reply);
            assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "allocations for {question}");
            assert!(matches!(outcome, Outcome::Reply(_)), "{question}: {outcome:?}");
            let answers = u16::from_be_bytes([reply[6], reply[7]]);
            assert!(answers >= least, "{question} has {answers} answers: it is not the answer that was meant");
        }
    }
    // What has no signature is handed on without a piece of memory either.
    let bytes = Question::parse("another.svc.example A do").bytes();
    let query = Query { bytes: &bytes, peer: ([192, 0, 2, 1], 53).into(), transport: Transport::Udp, now_ms: story.now().0 };
    let before = ALLOCATIONS.with(Cell::get);
    let outcome = wire::answer(&snapshot, &mut worker, &query, &mut reply);
    assert!(matches!(outcome, Outcome::Punt(_)) && ALLOCATIONS.with(Cell::get) == before, "{outcome:?}");
}
