//! One zone that is at once signed, updated, transferred and read anew, beside one that is copied, and `kill -9` in between: in an order
//! that a seed draws. `INTERPLAY_SEED` and `INTERPLAY_STEPS` ask for others.
//!
//! After each step:
//! - what was acknowledged is in answers, and nothing else;
//! - no serial went back (RFC 1982), and none stands for two contents;
//! - every answer of the signed zone validates;
//! - an IXFR from any serial that was served leads to what AXFR gives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};
use signpost::model::{Denial, Name, TsigAlgorithm, TsigKey, TsigSecret, Zone, ZoneKey, ZoneSigning};
use signpost::tsig;

use crate::dnssec::{Anchors, Verdict, validate};
use crate::process::{Home, Http, Server};

const PATIENCE: Duration = Duration::from_secs(20);
const STEPS: usize = 70;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ZONE: &str = "x.example.";
const COPIED: &str = "copied.test.";

/// A zone's records: owner, type and data, with the TTL of each; but for the SOA.
type Content = BTreeMap<(String, String), u32>;

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % most
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Sends a message over a new connection; its replies are read from there.
fn send(server: SocketAddr, message: &[u8]) -> std::io::Result<TcpStream> {
    let mut line = TcpStream::connect(server)?;
    line.set_read_timeout(Some(PATIENCE))?;
    line.write_all(&[&(message.len() as u16).to_be_bytes()[..], message].concat())?;
    Ok(line)
}

fn receive(line: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    line.read_exact(&mut length)?;
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    line.read_exact(&mut reply)?;
    Ok(reply)
}

fn wire(name: &str) -> Vec<u8> {
    Name::parse(name).unwrap().wire().to_vec()
}

/// The reply to a question with DO, over TCP.
fn ask(server: SocketAddr, name: &str, rtype: u16) -> Vec<u8> {
    let mut message = [&[0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1][..], &wire(name)].concat();
    message.extend([rtype.to_be_bytes(), [0, 1]].concat());
    message.extend(b"\0\0\x29\x10\0\0\0\x80\0\0\0");
    receive(&mut send(server, &message).unwrap()).unwrap()
}

fn serial_of(record: &Record) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    }
}

/// All records of a transfer: of the whole zone, or of what changed since a serial.
fn transfer(server: SocketAddr, apex: &str, since: Option<u32>) -> Result<Vec<Record>, u16> {
    let mut message = vec![0, 77, 0, 0, 0, 1, 0, 0, 0, u8::from(since.is_some()), 0, 0];
    message.extend(wire(apex));
    message.extend([0, if since.is_some() { 251 } else { 252 }, 0, 1]);
    if let Some(serial) = since {
        message.extend(b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16\x00\x00");
        message.extend(serial.to_be_bytes());
        message.extend([0; 16]);
    }
    let mut line = send(server, &message).unwrap();
    let mut records: Vec<Record> = Vec::new();
    loop {
        let message = Message::from_vec(&receive(&mut line).unwrap()).unwrap();
        match u16::from(message.response_code) {
            0 => records.extend(message.answers),
            code => return Err(code),
        }
        let first = serial_of(&records[0]).expect("it begins with the SOA");
        let ends = records.iter().filter(|record| serial_of(record) == Some(first)).count();
        // RFC 1995 §4: differences begin with the SOA of the version before.
        let wanted = match records.get(1).map(serial_of) {
            None => 1,
            Some(Some(_)) => 3,
            Some(None) => 2,
        };
        if ends == wanted {
            return Ok(records);
        }
    }
}

fn key_of(record: &Record) -> (String, String) {
    (record.name.to_string(), format!("{} {}", record.record_type(), record.data))
}

/// What a transfer makes of a zone of which `before` is known.
fn taken(records: &[Record], before: &Content) -> (u32, Content) {
    let serial = serial_of(&records[0]).unwrap();
    let differs = records.get(1).is_some_and(|record| serial_of(record).is_some());
    let mut content = if differs || records.len() == 1 { before.clone() } else { Content::new() };
    let mut soas = 0;
    for record in &records[1..] {
        match serial_of(record) {
            Some(_) => soas += 1,
            None if differs && soas % 2 == 1 => {
                assert!(content.remove(&key_of(record)).is_some(), "{record} is deleted, and was not there")
            }
            None => _ = content.insert(key_of(record), record.ttl),
        }
    }
    (serial, content)
}

/// What is known of a zone by those who follow it.
#[derive(Default)]
struct Followed {
    serial: Option<u32>,
    /// What every serial stood for.
    versions: BTreeMap<u32, Content>,
}

impl Followed {
    /// Copies the zone, and holds it to what is known.
    fn follow(&mut self, server: SocketAddr, apex: &str, draw: &mut Draw) -> Content {
        let (serial, content) = taken(&transfer(server, apex, None).unwrap(), &Content::new());
        if let Some(before) = self.serial {
            assert!(serial.wrapping_sub(before) < 1 << 31, "{apex}: serial {serial} comes after {before}");
        }
        self.serial = Some(serial);
        if let Some(before) = self.versions.insert(serial, content.clone()) {
            assert_eq!(before, content, "{apex}: serial {serial} stood for something else");
        }
        let known: Vec<u32> = self.versions.keys().copied().collect();
        for since in [known[draw.below(known.len() as u64) as usize], *known.last().unwrap()] {
            let (then, brought) = taken(&transfer(server, apex, Some(since)).unwrap(), &self.versions[&since]);
            assert_eq!((then, &brought), (serial, &content), "{apex}: IXFR from {since}");
        }
        content
    }
}

/// A message that adds an address to a name of the zone, or deletes those that it has.
fn update(id: u16, label: &str, address: Option<[u8; 4]>) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], b"\x28\0\0\x01\0\0\0\x01\0\0", &wire(ZONE), b"\0\x06\0\x01"].concat();
    message.push(label.len() as u8);
    message.extend(label.bytes());
    match address {
        Some(address) => message.extend([&b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04"[..], &address].concat()),
        None => message.extend(b"\xc0\x0c\0\x01\0\xff\0\0\0\0\0\0"),
    }
    message
}

/// Sends an update, and returns the RCODE of the reply, whose signature holds.
fn send_update(server: SocketAddr, id: u16, label: &str, address: Option<[u8; 4]>) -> u8 {
    let settings = TsigKey { name: Name::parse("k").unwrap(), algorithm: TsigAlgorithm::HmacSha256, secret: TsigSecret(SECRET.into()) };
    let key = std::sync::Arc::new(tsig::Key::new(&settings));
    let mut message = update(id, label, address);
    let mut verifier = tsig::ask(&mut message, &key, now()).unwrap();
    let reply = receive(&mut send(server, &message).unwrap()).unwrap();
    verifier.verify(&reply, now()).unwrap();
    reply[3] & 0x0f
}

/// What is asked of the keys next: a new ZSK once, then out of DNSSEC and back again.
fn next_step(rolled: &mut bool, leaving: &mut bool) -> (&'static str, &'static str) {
    let step = match (*rolled, *leaving) {
        (false, _) => ("roll", r#"{"key":"zsk"}"#),
        (true, false) => ("unsign", r#"{"step":"ask"}"#),
        (true, true) => ("unsign", r#"{"step":"stay"}"#),
    };
    *leaving ^= *rolled;
    *rolled = true;
    step
}

fn take_step(api: SocketAddr, path: &str, body: &str) {
    let (status, text) = Http::connect(api).and_then(|mut http| http.call("POST", &format!("/v1/keys/x.example/{path}"), body)).unwrap();
    assert_eq!(status, 200, "{text}");
}

struct World {
    draw: Draw,
    primary: Home,
    primary_server: Server,
    home: Home,
    server: Option<Server>,
    /// What the file says at `www`, and of which edition that is.
    edition: u8,
    copied_serial: u32,
    /// By label, what updates put there.
    updated: BTreeMap<String, Vec<[u8; 4]>>,
    zone: Followed,
    copied: Followed,
    leaving: bool,
    rolled: bool,
    told: String,
}

impl World {
    fn new(seed: u64) -> World {
        let primary = Home::new(&[]);
        let keys = "[dnssec]\nzones = [\"x.example\"]\nkeys = \"ksk+zsk\"\nalgorithm = \"ed25519\"\n";
        let transfer = "[transfer.\"*\"]\nnetworks = [\"127.0.0.1\"]\n";
        let rights = "[tsig.k]\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n\
                      [update.\"x.example\"]\nrights = [{ key = \"k\", names = [\"**\"], types = [\"A\"] }]\n";
        let home = Home::new(&[]);
        let append = |home: &Home, text: &str| {
            let path = home.folder.path().join("signpost.toml");
            std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + text).unwrap();
        };
        let secondary = format!("[secondary.\"copied.test\"]\nprimaries = [\"{}\"]\n", primary.dns);
        append(&home, &format!("{keys}{transfer}{rights}{secondary}"));
        append(&primary, &format!("{transfer}[transfer.\"copied.test\"]\nnetworks = [\"127.0.0.1\"]\nnotify = [\"{}\"]\n", home.dns));
        write_copied(&primary, 1);
        write_zone(&home, 1);
        let primary_server = primary.start().0;
        let server = Some(home.start().0);
        let (zone, copied) = Default::default();
        let updated = BTreeMap::new();
        let (draw, told) = (Draw(seed), String::new());
        World {
            draw,
            primary,
            primary_server,
            home,
            server,
            edition: 1,
            copied_serial: 1,
            updated,
            zone,
            copied,
            leaving: false,
            rolled: false,
            told,
        }
    }

    fn tell(&mut self, what: String) {
        let _ = writeln!(self.told, "{what}");
    }

    fn step(&mut self, n: u16) {
        match self.draw.below(16) {
            0..6 => {
                let label = format!("n{}", self.draw.below(6));
                let address = (self.draw.below(3) > 0).then(|| [10, 0, 0, self.draw.below(200) as u8]);
                self.tell(format!("{n}: update {label} {address:?}"));
                self.update(n, &label, address);
            }
            6..8 => {
                self.edition += 1;
                self.tell(format!("{n}: edition {} of the file", self.edition));
                write_zone(&self.home, self.edition);
                self.reload(true);
            }
            8 => {
                self.tell(format!("{n}: a broken file"));
                std::fs::write(
                    self.home.folder.path().join("zones/x.example.toml"),
                    "ns = [\"ns1.x.example.\"]\n[records]\nwww = { A = [\"x\"] }\n",
                )
                .unwrap();
                self.reload(false);
                self.look();
                write_zone(&self.home, self.edition);
                self.reload(true);
            }
            9..11 => self.change_keys(n),
            11..13 => {
                self.copied_serial += 1;
                self.tell(format!("{n}: serial {} at the primary", self.copied_serial));
                write_copied(&self.primary, self.copied_serial);
                self.primary_server.signal("HUP");
                // While it is on its way, files are read.
                if self.draw.below(2) == 0 {
                    self.server.as_ref().unwrap().signal("HUP");
                }
            }
            13 => {
                self.tell(format!("{n}: an update while files are read"));
                self.edition += 1;
                write_zone(&self.home, self.edition);
                self.server.as_ref().unwrap().signal("HUP");
                self.update(n, "during", Some([10, 0, 1, self.edition]));
                self.reload(true);
            }
            14 => {
                self.tell(format!("{n}: all at once"));
                self.all_at_once();
            }
            _ => {
                self.tell(format!("{n}: kill -9"));
                if let Some(server) = self.server.take() {
                    server.kill();
                }
                self.server = Some(self.home.start().0);
            }
        }
    }

    fn update(&mut self, id: u16, label: &str, address: Option<[u8; 4]>) {
        assert_eq!(send_update(self.home.dns, id, label, address), 0, "{}", self.home.log());
        self.note(label, address);
        // In the very next answer, also over UDP.
        assert_eq!(addresses(&Message::from_vec(&ask(self.home.dns, &format!("{label}.{ZONE}"), 1)).unwrap()), self.expected(label));
    }

    fn note(&mut self, label: &str, address: Option<[u8; 4]>) {
        match address {
            None => _ = self.updated.remove(label),
            Some(address) => {
                let set = self.updated.entry(label.into()).or_default();
                set.retain(|known| *known != address);
                set.push(address);
            }
        }
    }

    /// Updates, steps of keys, files and copies at the same time.
    fn all_at_once(&mut self) {
        self.copied_serial += 1;
        write_copied(&self.primary, self.copied_serial);
        self.primary_server.signal("HUP");
        let updates: Vec<(String, Option<[u8; 4]>)> = (0..8)
            .map(|_| (format!("n{}", self.draw.below(6)), (self.draw.below(3) > 0).then(|| [10, 0, 2, self.draw.below(200) as u8])))
            .collect();
        let (dns, api, server) = (self.home.dns, self.home.api, self.server.as_ref().unwrap());
        let steps: Vec<_> = (0..4).map(|_| next_step(&mut self.rolled, &mut self.leaving)).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (id, (label, address)) in updates.iter().enumerate() {
                    assert_eq!(send_update(dns, id as u16, label, *address), 0);
                }
            });
            scope.spawn(|| steps.iter().for_each(|(path, body)| take_step(api, path, body)));
            scope.spawn(|| {
                for _ in 0..3 {
                    server.signal("HUP");
                    std::thread::sleep(Duration::from_millis(3));
                }
            });
        });
        updates.iter().for_each(|(label, address)| self.note(label, *address));
    }

    fn expected(&self, label: &str) -> Vec<[u8; 4]> {
        let mut expected = self.updated.get(label).cloned().unwrap_or_default();
        expected.sort_unstable();
        expected
    }

    /// Has files read, and waits until they are in force, or not.
    fn reload(&mut self, in_force: bool) {
        self.server.as_ref().unwrap().signal("HUP");
        let www = vec![[192, 0, 2, self.edition]];
        wait(&self.home, "files are read", || {
            let text = Http::connect(self.home.api).and_then(|mut http| http.call("GET", "/v1/status", "")).unwrap().1;
            let is_in_force = text.contains("\"in_force\":true");
            let found = addresses(&Message::from_vec(&ask(self.home.dns, &format!("www.{ZONE}"), 1)).unwrap());
            is_in_force == in_force && found == www
        });
    }

    fn change_keys(&mut self, n: u16) {
        let (path, body) = next_step(&mut self.rolled, &mut self.leaving);
        self.tell(format!("{n}: keys {path} {body}"));
        take_step(self.home.api, path, body);
    }

    /// Holds everything to what is known.
    fn look(&mut self) {
        let dns = self.home.dns;
        // The keys as they are: each signs as its flags say, and is what signatures are held against.
        let reply = ask(dns, ZONE, 48);
        let keys = dnskeys(&reply);
        assert_eq!(keys.len(), 2 + usize::from(self.rolled), "{}", self.home.log());
        let anchors = self.anchors(keys);
        let valid = |name: &str, rtype: u16| {
            let reply = ask(dns, name, rtype);
            let verdict = validate(&reply, &anchors, now() * 1000);
            assert!(matches!(verdict, Ok(Verdict::Secure)), "{name} TYPE{rtype}: {verdict:?}\n{}", self.home.log());
            Message::from_vec(&reply).unwrap()
        };
        for (name, rtype) in [(ZONE, 48), (ZONE, 6), (ZONE, 2), ("nothing.x.example.", 1), ("www.x.example.", 16)] {
            valid(name, rtype);
        }
        for n in 0..6 {
            let label = format!("n{n}");
            assert_eq!(addresses(&valid(&format!("{label}.{ZONE}"), 1)), self.expected(&label), "{label}");
        }
        assert_eq!(addresses(&valid(&format!("during.{ZONE}"), 1)), self.expected("during"));
        assert_eq!(addresses(&valid(&format!("www.{ZONE}"), 1)), [[192, 0, 2, self.edition]]);

        let content = self.zone.follow(dns, ZONE, &mut self.draw);
        let soa = valid(ZONE, 6).answers.iter().find_map(serial_of);
        assert_eq!(soa, self.zone.serial, "what is transferred is what is answered");
        let listed: usize = self.updated.values().map(Vec::len).sum();
        assert_eq!(content.keys().filter(|(_, data)| data.starts_with("A 10.")).count(), listed, "{content:?}");
        let serial = self.copied_serial;
        wait(&self.home, "the zone is copied", || {
            Message::from_vec(&ask(dns, COPIED, 6)).unwrap().answers.iter().find_map(serial_of) == Some(serial)
        });
        let content = self.copied.follow(dns, COPIED, &mut self.draw);
        assert_eq!(content, taken(&transfer(self.primary.dns, COPIED, None).unwrap(), &Content::new()).1);
    }

    fn anchors(&self, keys: Vec<Vec<u8>>) -> Anchors {
        let zone = |apex: &str| Zone::new(Name::parse(apex).unwrap(), "", Name::parse("ns1.x.example").unwrap(), 1);
        let key = |data: Vec<u8>| ZoneKey {
            flags: u16::from_be_bytes([data[0], data[1]]),
            algorithm: data[3],
            tag: signpost::sign::digest::key_tag(&data),
            public: data[4..].into(),
            signs_keys: true,
            signs_zone: true,
            published: true,
        };
        let keys = keys.into_iter().map(key).collect();
        let (cds, cdnskey) = (Vec::new(), Vec::new());
        let signing = ZoneSigning { keys, dnskey_ttl: 3600, denial: Denial::Compact, cds, cdnskey, epoch: 1 };
        Anchors::of(&[Zone { signing: Some(std::sync::Arc::new(signing)), ..zone(ZONE) }, zone(COPIED)])
    }
}

fn write_zone(home: &Home, edition: u8) {
    let text = format!("ns = [\"ns1.x.example.\"]\n[records]\nns1 = {{ A = [\"127.0.0.1\"] }}\nwww = {{ A = [\"192.0.2.{edition}\"] }}\n");
    replace(home, "x.example.toml", &text);
}

fn write_copied(home: &Home, serial: u32) {
    let www = serial % 200;
    let text = format!(
        "ns = [\"ns1.copied.test.\"]\nserial = {serial}\n[records]\nns1 = {{ A = [\"127.0.0.1\"] }}\nwww = {{ A = [\"192.0.2.{www}\"] }}\n"
    );
    replace(home, "copied.test.toml", &text);
}

/// Replaces a zone file, whole.
fn replace(home: &Home, name: &str, text: &str) {
    let zones = home.folder.path().join("zones");
    std::fs::write(zones.join("new~"), text).unwrap();
    std::fs::rename(zones.join("new~"), zones.join(name)).unwrap();
}

fn wait(home: &Home, what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "in vain: {what}\n{}", home.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The IPv4 addresses of an answer, in order.
fn addresses(message: &Message) -> Vec<[u8; 4]> {
    let mut found: Vec<[u8; 4]> = message
        .answers
        .iter()
        .filter_map(|record| match record.data.ip_addr()? {
            std::net::IpAddr::V4(v4) => Some(v4.octets()),
            std::net::IpAddr::V6(_) => None,
        })
        .collect();
    found.sort_unstable();
    found
}

/// The data of the DNSKEYs of a reply, whose names are whole or one pointer.
fn dnskeys(reply: &[u8]) -> Vec<Vec<u8>> {
    let word = |at: usize| usize::from(u16::from_be_bytes([reply[at], reply[at + 1]]));
    let skip = |mut at: usize| loop {
        match reply[at] {
            0 => break at + 1,
            192.. => break at + 2,
            length => at += 1 + usize::from(length),
        }
    };
    let mut at = skip(12) + 4;
    let mut found = Vec::new();
    for _ in 0..word(6) {
        let fixed = skip(at);
        at = fixed + 10 + word(fixed + 8);
        if word(fixed) == 48 {
            found.push(reply[fixed + 10..at].to_vec());
        }
    }
    found
}

#[test]
fn what_changes_a_zone_in_any_order_leaves_it_whole() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, steps) = (number("INTERPLAY_SEED").unwrap_or(20_261_121), number("INTERPLAY_STEPS").unwrap_or(STEPS as u64));
    let mut world = World::new(seed);
    let begin = Instant::now();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait(&world.home, "the zone is copied for the first time", || {
            u16::from_be_bytes([ask(world.home.dns, COPIED, 6)[6], ask(world.home.dns, COPIED, 6)[7]]) > 0
        });
        world.look();
        for n in 0..steps as u16 {
            // A busy machine ends sooner.
            if number("INTERPLAY_STEPS").is_none() && begin.elapsed() > Duration::from_secs(40) {
                break;
            }
            world.step(n);
            world.look();
        }
    }));
    if let Err(error) = ended {
        println!("seed {seed}:\n{}\n{}", world.told, world.home.log());
        std::panic::resume_unwind(error);
    }
    // It stops as it should in the midst of it.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&update(1, "last", None), world.home.dns).unwrap();
    let server = world.server.take().unwrap();
    server.signal("TERM");
    assert!(server.wait().success(), "{}", world.home.log());
}
