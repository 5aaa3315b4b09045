//! Zone files are rewritten while clients ask without pause: every query is answered, each from one whole version, and a broken file
//! never shows (DESIGN §9, invariant 4).

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::ask::Asker;
use crate::process::{Home, Http};

/// A generation in every RRset: the SOA's serial, the preference of MX, the last octet of addresses, and a name.
fn zone(generation: u8) -> String {
    format!(
        "$TTL 5\n@ SOA ns.x. h.x. {generation} 7200 900 1209600 5\n@ NS ns.x.\n@ NS ns.y.\n@ MX {generation} mail\nmail A 192.0.2.{generation}\n\
         www CNAME g{generation}\ng{generation} A 192.0.2.{generation}\n"
    )
}

/// What no version may be: it has everything that a good one has, and one thing too many.
fn broken() -> String {
    zone(99) + "www A 192.0.2.99\n"
}

/// The questions: an answer with its additional section, a chain, and a chain that ends in a negative answer with the SOA.
const QUESTIONS: [(&str, RecordType); 3] =
    [("gen.example.", RecordType::MX), ("www.gen.example.", RecordType::A), ("www.gen.example.", RecordType::TXT)];

/// The one generation that all records of a reply are of.
fn generation(reply: &Message) -> u32 {
    let of = |data: &RData| match data {
        RData::MX(mx) => Some(u32::from(mx.preference)),
        RData::A(address) => Some(u32::from(address.octets()[3])),
        RData::CNAME(name) => name.0.to_ascii().split('.').next()?.strip_prefix('g')?.parse().ok(),
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    };
    let records = reply.answers.iter().chain(&reply.authorities).chain(&reply.additionals);
    let all: Vec<u32> = records.filter_map(|record| of(&record.data)).collect();
    assert!(all.len() >= 2 && all.iter().all(|one| *one == all[0]), "a reply of several versions: {reply:?}");
    all[0]
}

/// A connection that is kept.
struct Tcp(TcpStream);

impl Tcp {
    fn connect(server: SocketAddr) -> Tcp {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.set_nodelay(true).unwrap();
        Tcp(stream)
    }

    fn ask(&mut self, name: &str, rtype: RecordType) -> Message {
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
        let bytes = message.to_vec().unwrap();
        self.0.write_all(&[&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()).unwrap();
        let mut length = [0; 2];
        self.0.read_exact(&mut length).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut reply).unwrap();
        Message::from_vec(&reply).unwrap()
    }
}

#[test]
fn no_query_is_lost_while_zones_are_reloaded() {
    let other = |last: u8| format!("ns = [\"ns.x.\", \"ns.y.\"]\n[records]\nwww = {{ A = \"192.0.2.{last}\" }}\n");
    let home = Home::new(&[("zones/gen.example.zone", &zone(1)), ("zones/other.example.toml", &other(1))]);
    let (server, _) = home.start();
    let write = |name: &str, text: &str| {
        let zones = home.folder.path().join("zones");
        std::fs::write(zones.join("new~"), text).unwrap();
        std::fs::rename(zones.join("new~"), zones.join(name)).unwrap();
    };
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for n in 0..3 {
            let (stop, asked, dns) = (&stop, &asked, home.dns);
            clients.push(scope.spawn(move || {
                let (mut udp, mut tcp) = (Asker::new(dns), Tcp::connect(dns));
                let mut newest = 0;
                while !stop.load(Relaxed) {
                    for (name, rtype) in QUESTIONS {
                        let reply = if n == 0 { tcp.ask(name, rtype) } else { udp.ask(name, rtype) };
                        let generation = generation(&reply);
                        assert!(generation != 99, "a broken version was served");
                        assert!(generation >= newest, "an older version came back");
                        newest = generation;
                        asked.fetch_add(1, Relaxed);
                    }
                }
            }));
        }
        let mut asker = Asker::new(home.dns);
        let mut wait = |name: &str, last: u8| {
            let (begin, wanted): (_, IpAddr) = (Instant::now(), [192, 0, 2, last].into());
            server.signal("HUP");
            while asker.addresses(name) != [wanted] {
                assert!(
                    begin.elapsed() < Duration::from_secs(20) && !clients.iter().any(|c| c.is_finished()),
                    "{name} {last}: {}",
                    home.log()
                );
            }
        };
        for round in 1..=6 {
            write("gen.example.zone", &broken());
            write("other.example.toml", &other(round + 1));
            wait("www.other.example.", round + 1);
            write("gen.example.zone", &zone(round + 1));
            wait("mail.gen.example.", round + 1);
        }
        stop.store(true, Relaxed);
        // Whoever lost a query has panicked, and the scope with it.
    });
    assert!(asked.load(Relaxed) > 500, "{} queries only", asked.load(Relaxed));
    let log = home.log();
    assert!(log.contains("gen.example.zone:9: ") || log.contains("gen.example.zone:7: "), "{log}");
    assert!(log.contains("gen.example.zone: in force as it was last good"), "{log}");
}

/// A file system that does not answer keeps nobody from stopping the server: the reload that waits for it is given up.
#[test]
fn a_signal_ends_a_reload_that_waits() {
    let home = Home::new(&[]);
    let (server, _) = home.start();
    // A pipe that nobody writes to: whoever reads it waits.
    let pipe = home.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(pipe, home.folder.path().join("signpost.toml")).unwrap();
    server.signal("HUP");
    let begin = Instant::now();
    while !home.log().contains("reading configuration, zones and geo data again") {
        assert!(begin.elapsed() < Duration::from_secs(20), "nothing is read again: {}", home.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let address: IpAddr = [127, 0, 0, 1].into();
    assert_eq!(Asker::new(home.dns).addresses("ns1.svc.example."), [address], "it answers meanwhile");
    server.signal("TERM");
    let status = server.wait();
    assert!(status.success(), "{status}: {}", home.log());
    assert!(home.log().contains("SIGTERM: stopping while files are read"), "{}", home.log());
}

/// A machine may start again at any time, and what is broken then was not when it served (DESIGN §9, invariant 4).
#[test]
fn a_start_serves_what_was_last_good_where_files_are_broken() {
    let regions = "[regions]\neu = { azs = [\"a\"] }\n";
    let service = "[services.web.instances.one]\naddresses = [\"192.0.2.50\"]\nregion = \"eu\"\naz = \"a\"\n";
    let services = format!("services = true\nns = [\"ns1.svc.example.\"]\n[records]\nns1 = {{ A = [\"127.0.0.1\"] }}\n{service}");
    let home = Home::new(&[
        ("zones/svc.example.toml", &services),
        ("geo/regions.toml", regions),
        ("zones/gen.example.zone", &zone(1)),
        ("zones/c.example.zone", &zone(1)),
    ]);
    let write = |name: &str, text: &str| std::fs::write(home.folder.path().join(name), text).unwrap();
    let kept = |names: &[&str]| {
        let begin = Instant::now();
        while names.iter().any(|name| !home.folder.path().join("data/last").join(name).exists()) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{names:?} are not written down: {}", home.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let (server, _) = home.start();
    kept(&["geo.json", "gen.example.zone.json", "c.example.zone.json", "svc.example.toml.json"]);
    server.kill();

    // One that is broken, one that never was good, geo data, and a service that another zone has already.
    write("zones/gen.example.zone", &broken());
    write("zones/new.example.zone", "x");
    write("geo/regions.toml", "x");
    write("zones/b.example.toml", &format!("ns = [\"ns1.svc.example.\"]\n{service}"));
    write("zones/c.example.zone", &zone(2));
    let (server, _) = home.start();
    let mut asker = Asker::new(home.dns);
    let mut check = |name: &str, last: &[&str]| {
        let answered: Vec<String> = asker.addresses(name).iter().map(ToString::to_string).collect();
        assert_eq!(answered, last, "{name}: {}", home.log());
    };
    check("www.gen.example.", &["192.0.2.1"]);
    check("www.c.example.", &["192.0.2.2"]);
    check("web.svc.example.", &["192.0.2.50"]);
    check("www.new.example.", &[]);
    let (_, status) = Http::connect(home.api).and_then(|mut http| http.call("GET", "/v1/status", "")).unwrap();
    for said in ["gen.example.zone:7: ", "new.example.zone:1: ", "regions.toml:1: ", "svc.example.toml:5: services.web: is defined in"] {
        assert!(status.contains(said), "{said}: {status}");
    }
    // And once more: what was kept is not replaced by what is broken.
    server.kill();
    let (server, _) = home.start();
    let mut asker = Asker::new(home.dns);
    assert_eq!(asker.addresses("www.gen.example.").len(), 1);
    // Mended, it is in force; what is gone is gone.
    write("zones/gen.example.zone", &zone(3));
    write("geo/regions.toml", regions);
    std::fs::remove_file(home.folder.path().join("zones/b.example.toml")).unwrap();
    std::fs::remove_file(home.folder.path().join("zones/new.example.zone")).unwrap();
    std::fs::remove_file(home.folder.path().join("zones/c.example.zone")).unwrap();
    let begin = Instant::now();
    while home.folder.path().join("data/last/c.example.zone.json").exists() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{}", home.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    server.kill();
    let (_server, _) = home.start();
    assert_eq!(Asker::new(home.dns).addresses("www.gen.example.")[0].to_string(), "192.0.2.3");
}

/// Nor does one that does not take what is written: here the serials, which are written before anybody sees them.
#[test]
fn a_signal_ends_a_reload_that_cannot_write() {
    let home = Home::new(&[]);
    let (server, _) = home.start();
    // A pipe that nobody reads: whoever writes it waits.
    let half = home.folder.path().join("data/serials.part");
    assert!(Command::new("mkfifo").arg(&half).status().unwrap().success());
    let zone = home.folder.path().join("zones/svc.example.toml");
    let text = std::fs::read_to_string(&zone).unwrap();
    std::fs::write(&zone, text + "other = { A = [\"192.0.2.1\"] }\n").unwrap();
    server.signal("HUP");
    let begin = Instant::now();
    while !home.log().contains("reading configuration, zones and geo data again") {
        assert!(begin.elapsed() < Duration::from_secs(20), "nothing is read again: {}", home.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(500));
    server.signal("TERM");
    let status = server.wait();
    assert!(status.success(), "{status}: {}", home.log());
}
