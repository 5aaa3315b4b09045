//! The same answers whatever carries them, and a certificate that changes under a running server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use hyper::Version;
use hyper::header::CACHE_CONTROL;
use signpost::serve::{Running, settings};
use tempfile::TempDir;

#[path = "../../src/server/tests/clients.rs"]
mod clients;

use self::clients::{BOTH, Https, VERSIONS, client, doq, exchange, shake};
use crate::message::Question;

const ZONE: &str = r#"
services = true
ns = ["ns1.svc.example."]
ttl = { min = "5s", max = "30s", negative = "7s" }
[records]
"@" = { MX = ["10 mail.svc.example."] }
ns1 = { A = ["192.0.2.53"] }
mail = { A = ["192.0.2.25"], AAAA = ["2001:db8::25"] }
alias = { CNAME = ["mail.svc.example."] }
text = { TXT = ["the quick brown fox jumps over the lazy dog"] }
[services.web.instances.eu1]
addresses = ["192.0.2.10", "2001:db8::10"]
ports = { http = 8080 }
region = "eu"
az = "a"
"#;

/// A server with everything on ports of the kernel's choice, and a certificate for `name`.
async fn start(name: &str) -> (Running, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = "version = 1\n[dns]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nudp_payload = 4096\n[api]\nlisten = \"127.0.0.1:0\"\n[dns.tls]\n\
                  certificate = \"cert.pem\"\nkey = \"key.pem\"\ndot = [\"127.0.0.1:0\"]\ndoh = [\"127.0.0.1:0\"]\ndoq = [\"127.0.0.1:0\"]\n";
    std::fs::create_dir(folder.path().join("zones")).unwrap();
    std::fs::write(folder.path().join("signpost.toml"), config).unwrap();
    std::fs::write(folder.path().join("zones/svc.example.toml"), ZONE).unwrap();
    certify(folder.path(), name);
    let running = Running::start(settings(Some(&folder.path().join("signpost.toml"))).unwrap()).await.unwrap();
    (running, folder)
}

fn certify(folder: &Path, name: &str) {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn read_framed(stream: &mut impl Read) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

fn over_udp(to: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(query, to).unwrap();
    let mut reply = [0; 4096];
    let length = socket.recv(&mut reply).unwrap();
    reply[..length].to_vec()
}

fn over_tcp(to: SocketAddr, query: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(&framed(query)).unwrap();
    read_framed(&mut stream)
}

fn over_tls(to: SocketAddr, query: &[u8]) -> Vec<u8> {
    let mut stream = shake(to, client(BOTH, &[b"dot"])).unwrap();
    stream.write_all(&framed(query)).unwrap();
    read_framed(&mut stream)
}

/// The reply over everything that is encrypted, by name.
async fn over_all(running: &Running, query: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (dot, asked) = (running.encrypted.dot[0], query.to_vec());
    let mut replies = vec![("TLS".to_string(), tokio::task::spawn_blocking(move || over_tls(dot, &asked)).await.unwrap())];
    for version in VERSIONS {
        let mut https = Https::connect(running.encrypted.doh[0], version).await;
        replies.push((format!("{version:?} GET"), https.get(query).await.body.into()));
        replies.push((format!("{version:?} POST"), https.post(query).await.body.into()));
    }
    let connection = doq(running.encrypted.doq[0]).await;
    let reply = exchange(&connection, &framed(query)).await.unwrap();
    assert_eq!(usize::from(u16::from_be_bytes([reply[0], reply[1]])), reply.len() - 2);
    replies.push(("QUIC".into(), reply[2..].to_vec()));
    replies
}

/// A question with id 0, as caches of HTTP (RFC 8484 §4.1) and QUIC (RFC 9250 §4.2.1) want it.
fn question(line: &str) -> Vec<u8> {
    let mut bytes = Question::parse(line).bytes();
    bytes[..2].fill(0);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_the_same_whatever_carries_them() {
    let (running, _folder) = start("dns.example").await;
    let questions = [
        "svc.example SOA",
        "svc.example NS size=4096",
        "svc.example MX size=4096",
        "alias.svc.example A noedns",
        "MAIL.svc.example AAAA size=4096 ecs=198.51.100.0/24",
        "web.svc.example A",
        "web.svc.example SRV size=4096",
        "web.svc.example TYPE65",
        "web.svc.example ANY",
        "text.svc.example TXT version=1",
        "nothing.svc.example A size=4096",
        "mail.svc.example TXT",
        "elsewhere.test A",
        "svc.example A class=CH",
        "svc.example A opcode=4",
        "svc.example TYPE252",
        "svc.example A options=000a000401020304",
    ];
    for line in questions {
        let query = question(line);
        let dns = running.dns[0];
        let plain = {
            let query = query.clone();
            let both = move || (over_udp(dns, &query), over_tcp(dns, &query));
            tokio::task::spawn_blocking(both).await.unwrap()
        };
        assert!(plain.0 == plain.1 && plain.0[2] & 2 == 0, "{line}: not cut");
        for (how, reply) in over_all(&running, &query).await {
            assert!(reply == plain.0, "{line} over {how}:\n{reply:?} is not\n{:?}", plain.0);
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_else_reads_is_padded_and_only_connections_of_dns_have_a_timeout_of_theirs() {
    let (running, _folder) = start("dns.example").await;
    let plain = over_udp(running.dns[0], &question("web.svc.example SRV size=4096"));
    // RFC 8467 §4.1: multiples of 468 octets; all before the OPT's data is as it was.
    for (how, reply) in over_all(&running, &question("web.svc.example SRV size=4096 options=000c000100")).await {
        assert_eq!(reply.len() % 468, 0, "{how}");
        assert_eq!(reply[..plain.len() - 2], plain[..plain.len() - 2], "{how}");
    }
    // RFC 7828 §3, RFC 9250 §5.5.2: what TLS is told, HTTP has other words for; QUIC does not even take the question.
    let (query, keepalive) = (question("web.svc.example SRV options=000b0000"), [0, 11, 0, 2, 0, 100]);
    assert!(over_tls(running.encrypted.dot[0], &query).ends_with(&keepalive));
    let mut https = Https::connect(running.encrypted.doh[0], Version::HTTP_2).await;
    assert!(!https.post(&query).await.body.windows(6).any(|octets| octets == keepalive));
    let connection = doq(running.encrypted.doq[0]).await;
    assert!(exchange(&connection, &framed(&query)).await.is_err());
    // RFC 8484 §5.1.
    let kept =
        [("alias.svc.example A", "private, max-age=30"), ("nothing.svc.example A", "private, max-age=7"), ("elsewhere.test A", "no-store")];
    for (line, expected) in kept {
        assert_eq!(https.get(&question(line)).await.head[CACHE_CONTROL], expected, "{line}");
    }
    running.stop().await;
}

/// The certificate that a new connection sees.
async fn seen(running: &Running) -> Vec<u8> {
    let dot = running.encrypted.dot[0];
    let shaken = move || shake(dot, client(BOTH, &[])).unwrap().conn.peer_certificates().unwrap()[0].to_vec();
    tokio::task::spawn_blocking(shaken).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_whatever_else_is_wrong_and_one_that_is_broken_is_not_taken() {
    let (mut running, folder) = start("one.example").await;
    let query = question("mail.svc.example A");
    let mut https = Https::connect(running.encrypted.doh[0], Version::HTTP_2).await;
    let connection = doq(running.encrypted.doq[0]).await;
    let first = seen(&running).await;
    certify(folder.path(), "two.example");
    assert!(running.reload("test").await);
    let second = seen(&running).await;
    assert_ne!(first, second);

    std::fs::write(folder.path().join("key.pem"), "not a key").unwrap();
    std::fs::write(folder.path().join("zones/svc.example.toml"), ZONE.replace("192.0.2.25", "192.0.2.26")).unwrap();
    assert!(!running.reload("test").await, "it says so");
    assert_eq!(seen(&running).await, second, "what worked still does");
    let status = reqwest::get(format!("http://{}/v1/status", running.api)).await.unwrap().text().await.unwrap();
    assert!(status.contains("key.pem") && status.contains("no private key is in it"), "{status}");
    assert!(https.get(&query).await.body.windows(4).any(|octets| octets == [192, 0, 2, 26]), "zones are in force");

    // A certificate that runs out must not wait until somebody mends a zone.
    certify(folder.path(), "three.example");
    std::fs::write(folder.path().join("signpost.toml"), "version = 2\n").unwrap();
    assert!(!running.reload("test").await);
    let third = seen(&running).await;
    assert!(third != second && third != first);
    // Nobody was sent away.
    assert_eq!(https.post(&query).await.status, 200);
    assert!(exchange(&connection, &framed(&query)).await.is_ok());
    running.stop().await;
}
