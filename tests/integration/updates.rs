//! Updates over DNS (RFC 2136) of the real binary: signed, acknowledged, in the very next answer, and still there after `kill -9`.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use hickory_proto::rr::RecordType;
use signpost::model::{Name, TsigAlgorithm, TsigKey, TsigSecret};
use signpost::tsig;

use crate::ask::Asker;
use crate::process::{Home, Http};

const ZONE: &str = "ns = [\"ns1.example.\"]\nserial = 7\n[records]\nwww = { A = [\"192.0.2.1\"] }\n";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const SETTINGS: &str = "[tsig.k]\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n\
                        [update.\"x.example\"]\nrights = [{ key = \"k\", names = [\"**\"], types = [\"A\", \"TXT\"] }]\n";

fn home() -> Home {
    let home = Home::new(&[("zones/x.example.toml", ZONE)]);
    let path = home.folder.path().join("signpost.toml");
    let config = std::fs::read_to_string(&path).unwrap() + SETTINGS;
    std::fs::write(path, config).unwrap();
    home
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn key(secret: &[u8]) -> Arc<tsig::Key> {
    let name = Name::parse("k").unwrap();
    Arc::new(tsig::Key::new(&TsigKey { name, algorithm: TsigAlgorithm::HmacSha256, secret: TsigSecret(secret.into()) }))
}

/// A message that adds an address to a name of `x.example.`.
fn add(id: u16, name: &str, address: [u8; 4]) -> Vec<u8> {
    let mut message = [id.to_be_bytes().as_slice(), b"\x28\0\0\x01\0\0\0\x01\0\0\x01x\x07example\0\0\x06\0\x01"].concat();
    message.push(name.len() as u8);
    message.extend(name.bytes());
    message.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04");
    message.extend(address);
    message
}

/// Signs it, sends it over UDP or TCP, verifies the reply's signature; the reply's RCODE.
fn send(server: SocketAddr, mut message: Vec<u8>, key: &Arc<tsig::Key>, stream: bool) -> std::io::Result<u8> {
    let mut verifier = tsig::ask(&mut message, key, now()).unwrap();
    let reply = if stream {
        let mut line = TcpStream::connect(server)?;
        line.set_read_timeout(Some(Duration::from_secs(10)))?;
        line.write_all(&[&(message.len() as u16).to_be_bytes()[..], &message].concat())?;
        let mut length = [0; 2];
        line.read_exact(&mut length)?;
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        line.read_exact(&mut reply)?;
        reply
    } else {
        let socket = UdpSocket::bind((server.ip(), 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.send_to(&message, server)?;
        let mut reply = vec![0; 4096];
        let length = socket.recv(&mut reply)?;
        reply.truncate(length);
        reply
    };
    assert_eq!(reply[..2], message[..2]);
    let rcode = reply[3] & 0x0f;
    if rcode != 9 {
        verifier.verify(&reply, now()).unwrap();
    }
    Ok(rcode)
}

#[test]
fn an_update_is_in_the_next_answer_and_survives_kill_9() {
    let home = home();
    let (server, _) = home.start();
    let (key, mut asker) = (key(SECRET), Asker::new(home.dns));
    let mut added = Vec::new();
    for n in 0..20u8 {
        let name = format!("n{n}");
        assert_eq!(send(home.dns, add(n.into(), &name, [10, 0, 0, n]), &key, n % 2 == 0).unwrap(), 0, "{}", home.log());
        let expected = [IpAddr::from([10, 0, 0, n])];
        assert_eq!(asker.addresses(&format!("{name}.x.example.")), expected, "the very next answer has it");
        added.push((format!("{name}.x.example."), expected));
    }
    let serial = |asker: &mut Asker| {
        let reply = asker.ask("x.example.", RecordType::SOA);
        reply.answers[0].data.to_string().split(' ').nth(2).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(serial(&mut asker), 27);
    server.kill();
    let (_server, _) = home.start();
    for (name, expected) in &added {
        assert_eq!(asker.addresses(name), expected, "{name} was acknowledged");
    }
    assert_eq!(serial(&mut asker), 27);
    // Each stands in the audit log, with the key and the edit.
    let audit = std::fs::read_to_string(home.folder.path().join("data/audit.jsonl")).unwrap();
    assert_eq!(audit.lines().filter(|line| line.contains("\"method\":\"UPDATE\"") && line.contains("\"author\":\"k.\"")).count(), 20);
    assert!(audit.contains("add n3.x.example. 60 A 10.0.0.3"), "{audit}");
    let mut http = Http::connect(home.api).unwrap();
    let (status, list) = http.call("GET", "/v1/zones/x.example/updates", "").unwrap();
    assert_eq!((status, list.matches("\"records\":[\"10.0.0.").count()), (200, 20), "{list}");
    assert_eq!(http.call("DELETE", "/v1/zones/x.example/updates", "").unwrap().0, 200);
    assert_eq!((asker.addresses("n3.x.example."), serial(&mut asker)), (vec![], 28));
    assert_eq!(http.call("GET", "/v1/zones/y.example/updates", "").unwrap().0, 404);
}

#[test]
fn what_is_not_signed_or_not_granted_changes_nothing() {
    let home = home();
    let (_server, _) = home.start();
    assert_eq!(send(home.dns, add(1, "a", [10, 0, 0, 1]), &key(b"another secret of sixteen octets"), false).unwrap(), 9);
    let mut others = add(2, "a", [10, 0, 0, 1]);
    // Another zone, which is served and which nobody may change.
    others.splice(12..23, *b"\x03svc\x07example\0").for_each(drop);
    assert_eq!(send(home.dns, others, &key(SECRET), true).unwrap(), 5);
    let socket = UdpSocket::bind((home.dns.ip(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(&add(3, "a", [10, 0, 0, 1]), home.dns).unwrap();
    let mut reply = [0; 512];
    socket.recv(&mut reply).unwrap();
    assert_eq!(reply[2..4], [0xa8, 5], "an update without a signature is REFUSED");
    assert!(Asker::new(home.dns).addresses("a.x.example.").is_empty());
}

/// Four writers and `kill -9` at a random moment: what was acknowledged is there.
#[test]
fn updates_of_many_survive_kill_9() {
    let home = home();
    let (server, _) = home.start();
    let dns = home.dns;
    let count = AtomicUsize::new(0);
    let acknowledged: Vec<(String, [u8; 4])> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u8)
            .map(|writer| {
                let count = &count;
                scope.spawn(move || {
                    let (key, mut acknowledged) = (key(SECRET), Vec::new());
                    for n in 0..=255u8 {
                        let (name, address) = (format!("w{writer}-{n}"), [10, 1, writer, n]);
                        match send(dns, add(u16::from(n), &name, address), &key, true) {
                            Ok(0) => {
                                acknowledged.push((format!("{name}.x.example."), address));
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(rcode) => panic!("RCODE {rcode}"),
                            Err(_) => break,
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        // In the middle of it, however quick the disk is; one that never comes so far has its writers' say.
        while count.load(Ordering::Relaxed) < 200 && !writers.iter().any(|writer| writer.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.kill();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(!acknowledged.is_empty());
    let (_server, _) = home.start();
    let mut asker = Asker::new(home.dns);
    for (name, address) in &acknowledged {
        assert_eq!(asker.addresses(name), [IpAddr::from(*address)], "{name} of {}", acknowledged.len());
    }
}
