//! Zones are copied by a client of the test's own: framing, signatures, limits, and one version from the first message to the last.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record};
use signpost::model::{Name, TsigAlgorithm, TsigKey, TsigSecret};
use signpost::tsig::{self, Key, Keys, Received};
use socket2::{Domain, Socket, Type};

use crate::process::{Home, Http};

/// `a secret of at least 16 octets` in base64.
const SECRET: &str = "YSBzZWNyZXQgb2YgYXQgbGVhc3QgMTYgb2N0ZXRz";
const PATIENCE: Duration = Duration::from_secs(20);

fn settings() -> TsigKey {
    let secret = TsigSecret((*b"a secret of at least 16 octets").into());
    TsigKey { name: Name::parse("k").unwrap(), algorithm: TsigAlgorithm::HmacSha256, secret }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A server with these tables behind its `signpost.toml`.
fn home(tables: &str, files: &[(&str, &str)]) -> Home {
    let home = Home::new(files);
    configure(&home, tables);
    home
}

fn configure(home: &Home, tables: &str) {
    let path = home.folder.path().join("signpost.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let before = config.split("[tsig.k]").next().unwrap();
    std::fs::write(&path, format!("{before}[tsig.k]\nsecret = \"{SECRET}\"\n{tables}")).unwrap();
}

/// Replaces a zone file, whole.
fn write(home: &Home, name: &str, text: &str) {
    let zones = home.folder.path().join("zones");
    std::fs::write(zones.join("new~"), text).unwrap();
    std::fs::rename(zones.join("new~"), zones.join(name)).unwrap();
}

fn request(apex: &str, since: Option<u32>) -> Vec<u8> {
    let mut message = vec![0, 77, 0, 0, 0, 1, 0, 0, 0, u8::from(since.is_some()), 0, 0];
    message.extend(Name::parse(apex).unwrap().wire());
    message.extend([0, if since.is_some() { 251 } else { 252 }, 0, 1]);
    if let Some(serial) = since {
        message.extend(b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x00\x00\x16\x00\x00");
        message.extend(serial.to_be_bytes());
        message.extend([0; 16]);
    }
    message
}

fn serial(record: &Record) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    }
}

/// A connection with a request on its way.
struct Copying {
    stream: TcpStream,
    verifier: Option<tsig::Verifier>,
    soas: usize,
}

impl Copying {
    fn begin(server: SocketAddr, apex: &str, since: Option<u32>, key: Option<&Arc<Key>>) -> Copying {
        Copying::begin_with(server, apex, since, key, false)
    }

    fn begin_with(server: SocketAddr, apex: &str, since: Option<u32>, key: Option<&Arc<Key>>, slow: bool) -> Copying {
        let mut message = request(apex, since);
        let verifier = key.map(|key| tsig::ask(&mut message, key, now()).unwrap());
        let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if slow {
            // The kernel takes no more than this of what is not read.
            stream.set_recv_buffer_size(4096).unwrap();
        }
        stream.connect(&server.into()).unwrap();
        let mut stream = TcpStream::from(stream);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[&(message.len() as u16).to_be_bytes()[..], &message].concat()).unwrap();
        Copying { stream, verifier, soas: 0 }
    }

    /// The next message, verified.
    fn next(&mut self) -> std::io::Result<Message> {
        let mut length = [0; 2];
        self.stream.read_exact(&mut length)?;
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        self.stream.read_exact(&mut message)?;
        if let Some(verifier) = &mut self.verifier {
            verifier.verify(&message, now()).unwrap();
        }
        let read = Message::from_vec(&message).unwrap();
        self.soas += read.answers.iter().filter_map(serial).count();
        Ok(read)
    }

    /// All records up to the SOA that ends them, or the RCODE where there are none.
    fn whole(mut self) -> Result<Vec<Record>, u16> {
        let mut records = Vec::new();
        while self.soas < 2 {
            let message = self.next().unwrap();
            let code = u16::from(message.response_code);
            if code != 0 {
                return Err(code);
            }
            records.extend(message.answers);
        }
        if let Some(verifier) = self.verifier {
            verifier.finish().unwrap();
        }
        Ok(records)
    }
}

fn copy(server: SocketAddr, apex: &str, key: Option<&Arc<Key>>) -> Result<Vec<Record>, u16> {
    Copying::begin(server, apex, None, key).whole()
}

/// The serials of all SOA records in a copy, each once.
fn serials(records: &[Record]) -> BTreeSet<u32> {
    records.iter().filter_map(serial).collect()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A zone of several messages, whose every record tells the generation.
fn large(generation: u8) -> String {
    format!(
        "$TTL 60\n@ SOA ns.x. h.x. {generation} 7200 900 1209600 5\n@ NS ns.x.\n$GENERATE 1-9000 host-$ TXT generation-{generation}-of-a-text\n"
    )
}

const TABLES: &str = "[transfer.\"large.example\"]\nnetworks = [\"127.0.0.0/8\"]\nkeys = [\"k\"]\n[transfer.\"open.example\"]\nnetworks = [\"127.0.0.0/8\"]\n\
                      [transfer.\"huge.example\"]\nnetworks = [\"127.0.0.0/8\"]\n[transfer.\"far.example\"]\nnetworks = [\"192.0.2.0/24\"]\n";

#[test]
fn who_may_gets_one_version_and_others_are_told_why_not() {
    let small = "$TTL 60\n@ SOA ns.x. h.x. 1 7200 900 1209600 5\n@ NS ns.x.\n";
    // More than what the kernel keeps for who does not read.
    let text = "x".repeat(250);
    let huge = format!("$TTL 60\n@ SOA ns.x. h.x. 1 7200 900 1209600 5\n@ NS ns.x.\n$GENERATE 1-40000 host-$ TXT {text}\n");
    let home = home(
        TABLES,
        &[
            ("zones/large.example.zone", &large(1)),
            ("zones/huge.example.zone", &huge),
            ("zones/open.example.zone", small),
            ("zones/far.example.zone", small),
        ],
    );
    // One client waits while the server reads a large zone, on a machine that may be busy.
    home.set("tcp_idle = \"60s\"");
    let (server, _) = home.start();
    let key = Arc::new(Key::new(&settings()));
    assert_eq!(copy(home.dns, "large.example", Some(&key)).unwrap().len(), 9_000 + 3);
    assert_eq!(copy(home.dns, "open.example", None).unwrap().len(), 3);
    // REFUSED without the key, from elsewhere, and where nobody may; NOTAUTH for what is no zone here.
    assert_eq!(copy(home.dns, "large.example", None).unwrap_err(), 5);
    assert_eq!(copy(home.dns, "far.example", Some(&key)).unwrap_err(), 5);
    assert_eq!(copy(home.dns, "svc.example", Some(&key)).unwrap_err(), 5);
    assert_eq!(copy(home.dns, "www.open.example", None).unwrap_err(), 9);
    // A reload in the middle: what was begun ends as it began.
    let mut first = Copying::begin(home.dns, "large.example", None, Some(&key));
    let mut records = first.next().unwrap().answers;
    write(&home, "large.example.zone", &large(2));
    let latest = until("the new version is copied", || {
        let records = copy(home.dns, "large.example", Some(&key)).unwrap();
        let serials = serials(&records);
        assert_eq!(serials.len(), 1, "of one version");
        let told: BTreeSet<String> = records.iter().filter(|r| serial(r).is_none()).map(|r| r.data.to_string()).collect();
        assert_eq!(told.len(), 2, "NS, and one generation of texts: {told:?}");
        serials.contains(&2).then_some(records)
    });
    assert_eq!(latest.len(), 9_000 + 3);
    records.extend(first.whole().unwrap());
    assert_eq!((records.len(), serials(&records)), (9_000 + 3, BTreeSet::from([1])));
    // What became of it.
    let mut changed = Copying::begin(home.dns, "large.example", Some(1), Some(&key));
    let opening = changed.next().unwrap().answers;
    assert_eq!(opening.iter().take(2).filter_map(serial).collect::<Vec<_>>(), [2, 1]);
    drop(changed);
    // So many at once; who does not read holds a place, and gives it back.
    let slow: Vec<Copying> = (0..10)
        .map(|_| {
            let mut slow = Copying::begin_with(home.dns, "huge.example", None, None, true);
            slow.next().unwrap();
            slow
        })
        .collect();
    assert_eq!(copy(home.dns, "large.example", Some(&key)).unwrap_err(), 5);
    drop(slow);
    until("places are given back", || copy(home.dns, "large.example", Some(&key)).ok());
    server.signal("TERM");
    assert!(server.wait().success());
}

#[test]
fn services_are_rendered_and_their_serial_follows_them_over_a_restart() {
    let tables = "[transfer.\"svc.example\"]\nkeys = [\"k\"]\nservices = \"render\"\n";
    let home = home(tables, &[]);
    let key = Arc::new(Key::new(&settings()));
    let register = |id: &str, address: &str| {
        let body = format!("{{\"addresses\":[\"{address}\"],\"ports\":{{\"http\":8080}},\"region\":\"r\",\"az\":\"a\"}}");
        let (status, text) = Http::connect(home.api).unwrap().call("PUT", &format!("/v1/services/web/instances/{id}"), &body).unwrap();
        assert_eq!(status, 201, "{text}");
    };
    let shown = |records: &[Record], owner: &str| -> BTreeSet<String> {
        records.iter().filter(|record| record.name.to_string() == owner).map(|record| record.data.to_string()).collect()
    };
    let asked = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut query = request("svc.example", None);
        let at = query.len() - 3;
        query[at] = 6;
        socket.send_to(&query, home.dns).unwrap();
        let mut reply = [0; 512];
        let length = socket.recv(&mut reply).unwrap();
        serial(&Message::from_vec(&reply[..length]).unwrap().answers[0]).unwrap()
    };
    let (server, _) = home.start();
    let mut last = asked();
    for (id, address) in [("one", "192.0.2.1"), ("two", "192.0.2.2")] {
        register(id, address);
        let records = until("what was registered is copied", || {
            let records = copy(home.dns, "svc.example", Some(&key)).unwrap();
            shown(&records, "web.svc.example.").contains(address).then_some(records)
        });
        assert!(shown(&records, &format!("{id}.id.web.svc.example.")).contains(address));
        assert!(shown(&records, &format!("_http._tcp.{id}.id.web.svc.example.")).len() == 1);
        let copied = *serials(&records).first().unwrap();
        assert!(copied > last && copied == asked(), "{last} {copied} {}", asked());
        last = copied;
    }
    drop(server);
    // Set back on disk, and the same again: the serial moves for the one and not for the other, and never back.
    let (server, _) = home.start();
    assert_eq!(serials(&copy(home.dns, "svc.example", Some(&key)).unwrap()), BTreeSet::from([last]), "nothing else than before");
    drop(server);
    let zone = home.folder.path().join("zones/svc.example.toml");
    let text = std::fs::read_to_string(&zone).unwrap();
    std::fs::write(&zone, format!("{text}www = {{ A = [\"192.0.2.9\"] }}\n")).unwrap();
    std::fs::File::options().write(true).open(&zone).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    let (_server, _) = home.start();
    assert!(asked() > last, "{last} {}", asked());
}

#[test]
fn secondaries_are_told_of_changes_until_they_answer() {
    let ear = UdpSocket::bind("127.0.0.1:0").unwrap();
    ear.set_read_timeout(Some(PATIENCE)).unwrap();
    let tables = format!("[transfer.\"svc.example\"]\nkeys = [\"k\"]\nnotify = [\"{}#k\"]\n", ear.local_addr().unwrap());
    let home = home(&tables, &[]);
    let (_server, _) = home.start();
    let keys = Keys::new([&settings()]);
    let mut message = [0; 512];
    let mut hear = || {
        let (length, from) = ear.recv_from(&mut message).unwrap();
        let Ok(Received::Signed(signer)) = tsig::receive(&message[..length], &keys, now()) else { panic!("it is signed") };
        let read = Message::from_vec(&message[..length]).unwrap();
        (serial(&read.answers[0]).unwrap(), read.queries[0].name().to_string(), from, signer, message[..length].to_vec())
    };
    // At the start, and once more, because nobody answered.
    let (first, apex, ..) = hear();
    let (again, _, from, mut signer, message) = hear();
    assert_eq!((first, apex.as_str()), (again, "svc.example."));
    let mut reply = message[..12 + 13 + 4].to_vec();
    (reply[2], reply[7], reply[11]) = (0xa4, 0, 0);
    signer.sign(&mut reply, now()).unwrap();
    ear.send_to(&reply, from).unwrap();
    let zone = std::fs::read_to_string(home.folder.path().join("zones/svc.example.toml")).unwrap();
    write(&home, "svc.example.toml", &format!("{zone}www = {{ A = [\"192.0.2.9\"] }}\n"));
    let (changed, ..) = hear();
    assert!(changed > first, "{first} {changed}");
}

/// Differences outlive the server that made them: a secondary that was left behind is brought forward after a `kill -9`. What changed meanwhile
/// is in no journal, so it takes the whole zone then.
#[test]
fn differences_are_kept_over_a_kill() {
    let zone = |serial: u32, address: u32| {
        let hosts: String = (0..200).map(|n| format!("host{n} A 10.0.0.{n}\n")).collect();
        format!("$TTL 60\n@ SOA ns h {serial} 7200 900 1209600 5\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.{address}\n{hosts}")
    };
    let tables = "[transfer.\"x.example\"]\nnetworks = [\"127.0.0.0/8\"]\n";
    let home = home(tables, &[("zones/x.example.zone", &zone(1, 1))]);
    let since = |serial: u32| {
        let mut copying = Copying::begin(home.dns, "x.example", Some(serial), None);
        copying.next().unwrap().answers
    };
    let latest = |serial: u32| until("the zone is served", || (since(serial).iter().find_map(self::serial) == Some(serial)).then_some(()));
    let (mut server, _) = home.start();
    latest(1);
    for serial in [2, 3] {
        write(&home, "x.example.zone", &zone(serial, serial));
        latest(serial);
        server.kill();
        server = home.start().0;
        latest(serial);
    }
    // 3 │ 1, gone, 2, new │ 2, gone, 3, new │ 3
    let records = since(1);
    let soas: Vec<u32> = records.iter().filter_map(serial).collect();
    assert_eq!((soas, records.len()), (vec![3, 1, 2, 2, 3, 3], 10));
    assert_eq!(since(2).len(), 6);
    server.kill();
    // Nobody saw it become another.
    write(&home, "x.example.zone", &zone(4, 4));
    let (server, _) = home.start();
    latest(4);
    assert!(since(3).len() > 200 && since(1).len() > 200, "the whole zone");
    server.kill();
    // A journal that somebody spoiled, and one whose end was lost.
    write(&home, "x.example.zone", &zone(4, 4));
    let (server, _) = home.start();
    write(&home, "x.example.zone", &zone(5, 5));
    latest(5);
    assert_eq!(since(4).len(), 6);
    server.kill();
    let journal = home.folder.path().join("data/journal/x.example.ixfr");
    let octets = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &octets[..octets.len() - 3]).unwrap();
    let (_server, _) = home.start();
    latest(5);
    assert!(since(4).len() > 200, "the whole zone");
}
