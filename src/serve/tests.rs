//! A whole server in this process: it starts whole or not at all, reloads all or nothing, and leaves nothing behind.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::RecordType;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::model::{Edit, NamePattern, TsigAlgorithm, TsigKey, TsigSecret, UpdateRight, UpdateTypes, ZoneUpdate};
use crate::registry::Command;
use crate::tsig;

const ZONE: &str =
    "services = true\nns = [\"ns1.svc.example.\"]\n[records]\nns1 = { A = [\"192.0.2.53\"] }\nwww = { A = [\"192.0.2.1\"] }\n";

/// A folder with a configuration on ports of the kernel's choice, and one zone.
fn home(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "signpost.toml", "version = 1\n[dns]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[api]\nlisten = \"127.0.0.1:0\"\n");
    write(&folder, "zones/svc.example.toml", ZONE);
    files.iter().for_each(|(path, text)| write(&folder, path, text));
    folder
}

fn write(folder: &TempDir, path: &str, text: &str) {
    let path = folder.path().join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn read(folder: &TempDir) -> Settings {
    settings(Some(&folder.path().join("signpost.toml"))).unwrap()
}

/// The addresses that a name is answered with.
async fn ask(dns: SocketAddr, name: &str) -> Vec<IpAddr> {
    let name = name.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name.parse().unwrap(), RecordType::A));
        socket.send_to(&message.to_vec().unwrap(), dns).unwrap();
        let mut reply = [0; 1232];
        let length = socket.recv(&mut reply).unwrap();
        Message::from_vec(&reply[..length]).unwrap().answers.iter().filter_map(|r| r.data.ip_addr()).collect()
    });
    asked.await.unwrap()
}

async fn put(running: &Running, path: &str, body: serde_json::Value) -> u16 {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    client.put(format!("http://{}{path}", running.api)).json(&body).send().await.unwrap().status().as_u16()
}

async fn get(running: &Running, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let response = client.get(format!("http://{}{path}", running.api)).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn ip(text: &str) -> Vec<IpAddr> {
    vec![text.parse().unwrap()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_registered_is_answered_and_survives_a_restart() {
    let home = home(&[]);
    let running = Running::start(read(&home)).await.unwrap();
    assert_eq!(get(&running, "/readyz").await.0, 200, "ready when start returns");
    let body = json!({ "addresses": ["192.0.2.10"], "region": "eu-west", "az": "a" });
    assert_eq!(put(&running, "/v1/services/web/instances/eu1", body).await, 201);
    assert_eq!(ask(running.dns[0], "web.svc.example.").await, ip("192.0.2.10"));
    assert_eq!(ask(running.dns[0], "www.svc.example.").await, ip("192.0.2.1"));
    let metrics = get(&running, "/metrics").await.1;
    for metric in ["signpost_dns_queries_total{", "signpost_probes_total", "signpost_dns_tcp_connections", "signpost_revision 1"] {
        assert!(metrics.contains(metric), "{metric} is not in\n{metrics}");
    }
    let (dns, api) = (running.dns[0], running.api);
    running.stop().await;
    UdpSocket::bind(dns).expect("UDP is free again");
    TcpListener::bind(dns).expect("TCP is free again");
    TcpListener::bind(api).expect("the API's port is free again");

    // The store was closed: it opens again at once.
    let running = Running::start(read(&home)).await.unwrap();
    assert_eq!(ask(running.dns[0], "web.svc.example.").await, ip("192.0.2.10"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_each_zone_whole_or_not_at_all() {
    let home = home(&[]);
    let mut running = Running::start(read(&home)).await.unwrap();
    let dns = running.dns[0];
    let files = async |running: &Running| -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&get(running, "/v1/status").await.1).unwrap()["files"].clone()
    };

    // A new zone that is broken is left out; the other takes effect.
    write(&home, "zones/svc.example.toml", &ZONE.replace("192.0.2.1\"", "192.0.2.2\""));
    write(&home, "zones/other.example.toml", "[records]\nwww = { A = [\"not an address\"] }\n");
    let mut events = running.control.events();
    assert!(!running.reload("test").await, "one zone is broken");
    assert_eq!(ask(dns, "www.svc.example.").await, ip("192.0.2.2"));
    assert!(get(&running, "/metrics").await.1.contains("signpost_files_in_force 0"), "whoever watches is told");
    let event = std::iter::from_fn(|| events.try_recv().ok()).find(|event| event.kind == "reload_refused").unwrap();
    assert_eq!(event.subject, "config");
    assert!(event.detail.contains("other.example.toml:2: "), "{}", event.detail);
    assert_eq!(files(&running).await["in_force"], false);
    assert!(files(&running).await["findings"].to_string().contains("other.example.toml:2: "));

    write(&home, "zones/other.example.toml", "ns = [\"ns.x.\"]\n[records]\nwww = { A = [\"192.0.2.3\"] }\n");
    assert!(running.reload("test").await);
    assert!(get(&running, "/metrics").await.1.contains("signpost_files_in_force 1"));
    assert_eq!(files(&running).await, serde_json::json!({ "in_force": true }));
    assert_eq!(ask(dns, "www.other.example.").await, ip("192.0.2.3"));

    // A zone that was good stays as it was, as often as it is read.
    write(&home, "zones/other.example.toml", "[records]\nwww = { A = [\"192.0.2.4\"] }\nwww = 1\n");
    for last in ["192.0.2.5", "192.0.2.6"] {
        write(&home, "zones/svc.example.toml", &ZONE.replace("192.0.2.1\"", &format!("{last}\"")));
        assert!(!running.reload("test").await);
        assert_eq!((ask(dns, "www.other.example.").await, ask(dns, "www.svc.example.").await), (ip("192.0.2.3"), ip(last)));
    }
    // One whose file is gone is gone.
    std::fs::remove_file(home.path().join("zones/other.example.toml")).unwrap();
    assert!(running.reload("test").await);
    assert_eq!(ask(dns, "www.other.example.").await, Vec::<IpAddr>::new());

    // Geo data are taken whole or not at all, and zones beside them.
    write(&home, "zones/svc.example.toml", &ZONE.replace("192.0.2.1\"", "192.0.2.2\""));
    write(&home, "geo/latency.toml", "[rtt_ms]\na = 1\n");
    assert!(!running.reload("test").await);
    assert_eq!(ask(dns, "www.svc.example.").await, ip("192.0.2.2"));
    assert!(files(&running).await["findings"].to_string().contains("latency.toml:2: "));
    write(&home, "zones/svc.example.toml", &ZONE.replace("192.0.2.1\"", "192.0.2.4\""));
    std::fs::remove_file(home.path().join("geo/latency.toml")).unwrap();
    assert!(running.reload("test").await);
    assert_eq!(ask(dns, "www.svc.example.").await, ip("192.0.2.4"));

    let config = std::fs::read_to_string(home.path().join("signpost.toml")).unwrap();
    let hash = "00".repeat(32);
    let token = format!("{config}[[api.token]]\nname = \"a\"\nhash = \"sha256:{hash}\"\nrights = [\"read\"]\n");
    write(&home, "signpost.toml", &token);
    assert_eq!(get(&running, "/v1/services").await.0, 200);
    assert!(running.reload("test").await);
    assert_eq!(get(&running, "/v1/services").await.0, 401, "the API's tokens are new");
    running.stop().await;

    // A listener that others can reach keeps its tokens until it listens elsewhere; nothing else of such a reload is taken either.
    write(&home, "signpost.toml", &token.replace("[api]\nlisten = \"127.0.0.1:0\"", "[api]\nlisten = \"0.0.0.0:0\""));
    let mut running = Running::start(read(&home)).await.unwrap();
    write(&home, "signpost.toml", &config);
    write(&home, "zones/svc.example.toml", &ZONE.replace("192.0.2.1\"", "192.0.2.5\""));
    assert!(!running.reload("test").await, "no tokens, and not on loopback before the next start");
    assert_eq!(ask(running.dns[0], "www.svc.example.").await, ip("192.0.2.4"));
    running.stop().await;
}

/// The serial of a zone as it is served.
fn serial(running: &Running, apex: &str) -> Option<u32> {
    let apex = Name::parse(apex).unwrap();
    running.control.publisher().load().zone_at(apex.wire()).map(|zone| zone.serial())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_compiling_finds_wrong_moves_no_serial() {
    let home = home(&[]);
    let mut running = Running::start(read(&home)).await.unwrap();
    let body = json!({ "addresses": ["192.0.2.10"], "region": "eu-west", "az": "a" });
    assert_eq!(put(&running, "/v1/services/web/instances/eu1", body).await, 201);
    let before = serial(&running, "svc.example.").unwrap();
    // A record on the name of a registered service.
    write(&home, "zones/svc.example.toml", &format!("{ZONE}web = {{ A = [\"192.0.2.7\"] }}\n"));
    for _ in 0..2 {
        assert!(!running.reload("test").await);
        assert_eq!(serial(&running, "svc.example."), Some(before), "the zone is as it was");
    }
    write(&home, "zones/svc.example.toml", &format!("{ZONE}other = {{ A = [\"192.0.2.7\"] }}\n"));
    assert!(running.reload("test").await);
    assert_ne!(serial(&running, "svc.example."), Some(before));
    running.stop().await;
}

const COPIED: &str = "ns = [\"ns1.copied.test.\"]\nserial = 5\n[records]\nns1 = { A = [\"192.0.2.53\"] }\nwww = { A = [\"192.0.2.1\"] }\n";

/// A server that gives out [`COPIED`], in its folder, and the settings of one that copies that.
async fn primary() -> (TempDir, Running, String) {
    let config =
        |rest: &str| format!("version = 1\n[dns]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[api]\nlisten = \"127.0.0.1:0\"\n{rest}");
    let transfer = "[transfer.\"*\"]\nnetworks = [\"127.0.0.1\"]\n";
    let home = home(&[("signpost.toml", &config(transfer)), ("zones/copied.test.toml", COPIED)]);
    let running = Running::start(read(&home)).await.unwrap();
    let secondary = format!("[secondary.\"copied.test\"]\nprimaries = [\"{}\"]\n", running.dns[0]);
    (home, running, config(&secondary))
}

/// Waits for zones that come, and takes them as the process does.
async fn take_copies(running: &mut Running, until: impl Fn(&Running) -> bool) {
    let copied = async {
        while !until(running) {
            if let Ok(Some(wish)) = tokio::time::timeout(Duration::from_millis(50), running.wished.recv()).await {
                running.take_copies(vec![wish]).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), copied).await.expect("the zone is copied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_that_is_copied_is_taken_alone_where_nothing_leads_to_it() {
    let (primary_home, mut primary, secondary) = primary().await;
    let home = home(&[("signpost.toml", &secondary)]);
    let mut running = Running::start(read(&home)).await.unwrap();
    let dns = running.dns[0];
    take_copies(&mut running, |running| serial(running, "copied.test.") == Some(5)).await;
    assert_eq!(ask(dns, "www.copied.test.").await, ip("192.0.2.1"));

    let mut next = 5;
    let apex = Name::parse("copied.test.").unwrap();
    let mut change = async |running: &mut Running, address: &str| {
        next += 1;
        let text = COPIED.replace("serial = 5", &format!("serial = {next}")).replace("192.0.2.1\"", &format!("{address}\""));
        write(&primary_home, "zones/copied.test.toml", &text);
        assert!(primary.reload("test").await);
        // Again and again: what was asked for just before may be the old one.
        let serves = Some(next);
        take_copies(running, |running| {
            running.secondaries.notify(&apex, "127.0.0.1:53".parse().unwrap(), None);
            serial(running, "copied.test.") == serves
        })
        .await;
    };
    // Another file that changed is not read with it, be it broken or not.
    write(&home, "zones/svc.example.toml", &ZONE.replace("192.0.2.1\"", "192.0.2.2\""));
    change(&mut running, "192.0.2.3").await;
    assert_eq!((ask(dns, "www.copied.test.").await, ask(dns, "www.svc.example.").await), (ip("192.0.2.3"), ip("192.0.2.1")));
    // What leads to it changes with it: all is read again.
    write(&home, "zones/svc.example.toml", &format!("{ZONE}alias = {{ ALIAS = [\"www.copied.test.\"] }}\n"));
    assert!(running.reload("test").await);
    assert_eq!(ask(dns, "alias.svc.example.").await, ip("192.0.2.3"));
    change(&mut running, "192.0.2.4").await;
    assert_eq!((ask(dns, "www.copied.test.").await, ask(dns, "alias.svc.example.").await), (ip("192.0.2.4"), ip("192.0.2.4")));
    // What was taken alone is what a reload that finds the file broken goes back to; and the data folder stays until the next start.
    write(&home, "zones/svc.example.toml", ZONE);
    write(&home, "signpost.toml", &secondary.replace("[dns]", "data_dir = \"elsewhere\"\n[dns]"));
    assert!(running.reload("test").await);
    change(&mut running, "192.0.2.5").await;
    write(&home, "data/secondary/copied.test.zone", "@ IN SOA broken\n");
    assert!(!running.reload("test").await);
    assert_eq!(ask(dns, "www.copied.test.").await, ip("192.0.2.5"));
    running.stop().await;
    primary.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leads_into_a_copy_waits_for_it() {
    let (primary_home, mut primary, secondary) = primary().await;
    let local = "alias = { ALIAS = [\"www.copied.test.\"] }\n[names.either]\npolicy = \"failover\"\n\
                 branches = [{ name = \"www.copied.test.\" }, { records = { A = [\"192.0.2.7\"] } }]\n";
    let home = home(&[("signpost.toml", &secondary), ("zones/svc.example.toml", &format!("{ZONE}{local}"))]);
    let mut running = Running::start(read(&home)).await.expect("it starts without a copy");
    let dns = running.dns[0];
    let asked = async || (ask(dns, "alias.svc.example.").await, ask(dns, "either.svc.example.").await);
    assert_eq!(asked().await, (vec![], ip("192.0.2.7")));
    take_copies(&mut running, |running| serial(running, "copied.test.") == Some(5)).await;
    assert_eq!(asked().await, (ip("192.0.2.1"), ip("192.0.2.1")));

    // The primary takes the name away: the copy is taken as it is, and so again where it comes back.
    let apex = Name::parse("copied.test.").unwrap();
    for (next, there) in [(6, false), (7, true)] {
        let text = COPIED.replace("serial = 5", &format!("serial = {next}"));
        write(&primary_home, "zones/copied.test.toml", &if there { text } else { text.replace("www = ", "other = ") });
        assert!(primary.reload("test").await);
        take_copies(&mut running, |running| {
            running.secondaries.notify(&apex, "127.0.0.1:53".parse().unwrap(), None);
            serial(running, "copied.test.") == Some(next)
        })
        .await;
        let expected = if there { (ip("192.0.2.1"), ip("192.0.2.1")) } else { (vec![], ip("192.0.2.7")) };
        assert_eq!(asked().await, expected, "{next}");
    }
    running.stop().await;
    primary.stop().await;
}

/// Replies to so many queries at once over UDP that are signed with this secret.
fn signed_replies(dns: SocketAddr, secret: &[u8], count: u16) -> usize {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // Where one is missing, nothing is awaited but silence.
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let settings = TsigKey { name: Name::parse("k").unwrap(), algorithm: TsigAlgorithm::HmacSha256, secret: TsigSecret(secret.into()) };
    let key = Arc::new(tsig::Key::new(&settings));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let ask = |id: u16| {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query("www.svc.example.".parse().unwrap(), RecordType::A));
        let mut octets = message.to_vec().unwrap();
        let verifier = tsig::ask(&mut octets, &key, now).unwrap();
        socket.send_to(&octets, dns).unwrap();
        verifier
    };
    let mut verifiers: Vec<_> = (0..count).map(ask).collect();
    let mut reply = [0; 1232];
    let replies = (0..count).map_while(|_| {
        let length = socket.recv(&mut reply).ok()?;
        let id = u16::from_be_bytes([reply[0], reply[1]]);
        // Who does not know the key is told that it is wrong, and no more.
        assert_eq!(verifiers[usize::from(id)].verify(&reply[..length], now).is_ok(), reply[3] & 0x0f == 0);
        Some(())
    });
    replies.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_is_not_limited_as_those_are_who_only_seem_to() {
    let home = home(&[]);
    let config = std::fs::read_to_string(home.path().join("signpost.toml")).unwrap();
    let limit = "[dns.rate_limit]\nper_second = 2\nslip = 0\n[tsig.k]\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n";
    write(&home, "signpost.toml", &(config + limit));
    let running = Running::start(read(&home)).await.unwrap();
    let dns = running.dns[0];
    let ask = |secret: &'static [u8], count| tokio::task::spawn_blocking(move || signed_replies(dns, secret, count));
    assert_eq!(ask(b"0123456789abcdef0123456789abcdef", 12).await.unwrap(), 12);
    let forged = ask(b"another secret of sixteen octets", 8).await.unwrap();
    assert!((2..6).contains(&forged), "{forged} replies to signatures that are none: two a second");
    let metrics = get(&running, "/metrics").await.1;
    for metric in
        ["signpost_transfers_total{result=\"sent\"} 0", "signpost_updates_total{rcode=\"noerror\"} 0", "signpost_signature_hits_total 0"]
    {
        assert!(metrics.contains(metric), "{metric} is not in\n{metrics}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_how_long_connections_may_be_idle_as_it_is() {
    let home = home(&[]);
    let settings = |idle: &str| {
        let dns = format!("listen = [\"127.0.0.1:0\"]\nworkers = 1\ntcp_idle = \"{idle}\"\n");
        write(&home, "signpost.toml", &format!("version = 1\n[dns]\n{dns}[api]\nlisten = \"127.0.0.1:0\"\n"));
    };
    settings("20s");
    let mut running = Running::start(read(&home)).await.unwrap();
    // What the reply to a query with an empty edns-tcp-keepalive ends in.
    let told = async |dns: SocketAddr| {
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(dns).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x04\x00\x0b\x00\x00";
            let query =
                [b"\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03www\x03svc\x07example\x00\x00\x01\x00\x01", &opt[..]].concat();
            stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], &query].concat()).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut reply).unwrap();
            reply.split_off(reply.len() - 6)
        });
        asked.await.unwrap()
    };
    assert_eq!(told(running.dns[0]).await, [0, 11, 0, 2, 0, 200]);
    // The listener keeps its old time until the next start (RFC 7828 §3.3.2: the timeout that the connection has).
    settings("5s");
    assert!(running.reload("test").await);
    assert_eq!(told(running.dns[0]).await, [0, 11, 0, 2, 0, 200]);
    running.stop().await;
    let running = Running::start(read(&home)).await.unwrap();
    assert_eq!(told(running.dns[0]).await, [0, 11, 0, 2, 0, 50]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_leaves_nothing_running() {
    let home = home(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = read(&home);
    settings.api.listen = taken.local_addr().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    settings.dns.listen = vec![free];
    let error = Running::start(settings.clone()).await.err().expect("the API's port is taken");
    assert!(matches!(error, ServeError::Api(api::ListenError::Bind { .. })), "{error}");
    assert_eq!(error.exit_code(), 1);
    TcpListener::bind(free).expect("DNS does not listen any more");
    drop(taken);
    let running = Running::start(settings).await.expect("the store is closed again");
    let again = Running::start(read(&home)).await.err().expect("two servers cannot share a data directory");
    assert!(matches!(again, ServeError::Store(_)), "{again}");
    running.stop().await;
}

#[test]
fn a_check_finds_what_a_start_would_refuse() {
    let check = |files: &[(&str, &str)], expected: &[&str]| {
        let home = home(files);
        let verdict = check(Some(&home.path().join("signpost.toml")));
        let text = verdict.text().replace(&format!("{}/", home.path().display()), "");
        assert_eq!(text.lines().count(), expected.len(), "{text}");
        text.lines().zip(expected).for_each(|(line, expected)| assert!(line.starts_with(expected), "{line}\nis not {expected}"));
        assert_eq!(verdict.document()["fine"], verdict.errors.is_empty());
    };
    check(&[], &["fine: 1 zone, 0 services, 0 instances, 0 names with a policy, 0 regions"]);
    let service = "ns = [\"ns.example.com.\"]\n[services.web.instances.a]\naddresses = [\"192.0.2.1\"]\nregion = \"eu\"\naz = \"a\"\n[names.api]\npolicy = \"failover\"\nbranches = [{ service = \"web\" }]\n";
    check(
        &[("zones/svc.example.toml", service), ("geo/regions.toml", "[regions.eu]\nazs = [\"a\"]\n"), ("zones/notes.txt", "")],
        &["zones/notes.txt: warning: is not read", "fine: 1 zone, 1 service, 1 instance, 1 name with a policy, 1 region; 1 warning"],
    );
    check(
        &[
            ("zones/svc.example.toml", "services = true\nns = [\"ns.example.com.\"]\n[records]\nwww = { A = [\"x\"] }\n"),
            ("geo/latency.toml", "[rtt_ms]\na = 1\n"),
        ],
        &["geo/latency.toml:2: ", "zones/svc.example.toml:4: ", "cannot be served: 2 errors"],
    );
    let tls = "version = 1\n[dns.tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\ndot = [\"127.0.0.1:0\"]\n";
    let unreadable = ["c.pem: No such file or directory (os error 2)", "cannot be served: 1 error"];
    check(&[("signpost.toml", tls)], &unreadable);
    let mut params = rcgen::CertificateParams::new(["dns.example".to_string()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 2, 29);
    let key = rcgen::KeyPair::generate().unwrap();
    let (certificate, key) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
    let old = ["c.pem: warning: this certificate ran out on 2020-02-29T00:00:00Z", "fine: 1 zone"];
    check(&[("signpost.toml", tls), ("c.pem", &certificate), ("k.pem", &key)], &old);
    check(&[("signpost.toml", "version = 1\ndatadir = \"x\"\n")], &["signpost.toml:2: datadir: unknown key", "cannot be served: 1 error"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_sees_what_updates_changed() {
    let home = home(&[]);
    let config = std::fs::read_to_string(home.path().join("signpost.toml")).unwrap();
    let rights = "[tsig.k]\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n\
                  [update.\"svc.example\"]\nrights = [{ key = \"k\", names = [\"**\"], types = [\"ANY\"] }]\n";
    write(&home, "signpost.toml", &(config + rights));
    let running = Running::start(read(&home)).await.unwrap();
    let check_now = || {
        let verdict = check(Some(&home.path().join("signpost.toml")));
        assert!(verdict.is_fine(), "{}", verdict.text());
        verdict.text().replace(&format!("{}/", home.path().display()), "")
    };
    let none = "fine: 1 zone, 0 services, 0 instances, 0 names with a policy, 0 regions\n";
    let during = tokio::task::block_in_place(check_now);
    // Beside its own server there is nothing to warn of.
    let in_use = "data: note: data/store.redb is in use, by this configuration's server if that runs: what updates changed of zones is not looked at\n";
    assert_eq!(during, format!("{in_use}{none}"));
    let add = |owner: &str| Edit::Add { name: Name::parse(owner).unwrap(), rtype: 1, ttl: 60, rdata: [192, 0, 2, 9].into() };
    let edits = vec![add("www.svc.example"), add("a.b.svc.example"), add("fine.svc.example")];
    let update = ZoneUpdate { apex: Name::parse("svc.example").unwrap(), prerequisites: Vec::new(), edits };
    let right = UpdateRight { key: Name::root(), names: vec![NamePattern::parse("**").unwrap()], types: UpdateTypes::Every };
    let command = Command::Update { update: Arc::new(update), key: Name::root(), rights: vec![right] };
    running.control.apply(command, "test").await.unwrap();
    running.stop().await;
    let after =
        |found: &str| format!("{found}{none}").replace("regions\n", if found.is_empty() { "regions\n" } else { "regions; 2 warnings\n" });
    assert_eq!(tokio::task::block_in_place(check_now), after(""));
    let changed = ZONE.replace("services = true\n", "").replace("192.0.2.1\"", "192.0.2.2\"") + "b = { DNAME = [\"x.example.\"] }\n";
    write(&home, "zones/svc.example.toml", &changed);
    let found = tokio::task::block_in_place(check_now);
    for line in [
        "zones/svc.example.toml: a.b.svc.example. A: warning: was changed by an update, which does not go with the file",
        "zones/svc.example.toml: www.svc.example. A: warning: was changed in the file after an update changed it",
    ] {
        assert!(found.contains(line) && !found.contains("fine.svc"), "{found}");
    }
}

#[test]
fn a_check_warns_of_what_is_lost_with_one_region() {
    let instances = |regions: &[&str]| -> String {
        let line = |r: &&str| format!("[services.web.instances.{r}1]\naddresses = [\"192.0.2.1\"]\nregion = \"{r}\"\naz = \"a\"\n");
        let check = "checks = [{ http = \"/\", port = \"http\" }]\nports = { http = 80 }\n";
        regions.iter().map(|region| line(region) + check).collect()
    };
    let check = |regions: &[&str], rest: &str, expected: &[&str]| {
        let zone = format!("ns = [\"ns.example.com.\"]\nservices = true\n{}{rest}", instances(regions));
        let home = home(&[("zones/svc.example.toml", &zone)]);
        let verdict = check(Some(&home.path().join("signpost.toml")));
        let warnings: Vec<String> = verdict.warnings.iter().map(ToString::to_string).collect();
        assert!(verdict.is_fine(), "{}", verdict.text());
        assert_eq!(warnings, expected, "{regions:?}");
    };
    check(&["eu", "us"], "", &[]);
    // One region, or none: there is nothing to compare.
    check(&["eu"], "", &[]);
    let pinned = "[names.api]\npolicy = \"failover\"\nbranches = [{ service = \"web\", region = \"eu\" }]\n";
    check(&["eu", "us"], pinned, &["simulate: without region/eu, 100.0 % of the clients of api.svc.example. get no answer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asked_is_who_is_simulated() {
    let home = home(&[]);
    let running = Running::start(read(&home)).await.unwrap();
    for (id, region) in [("eu1", "eu"), ("us1", "us")] {
        let body = json!({ "addresses": ["192.0.2.10"], "region": region, "az": "a" });
        assert_eq!(put(&running, &format!("/v1/services/web/instances/{id}"), body).await, 201);
    }
    let losses = async || serde_json::from_str::<serde_json::Value>(&get(&running, "/v1/simulate").await.1).unwrap();
    assert_eq!(losses().await["losses"][1]["moved"], 0.5, "nobody asked: clients from all over, half of the answers from each region");
    assert!((running.clients)().is_empty());
    // One query in so many is looked at, by chance: within a thousand one is, but for once in 10²⁸ times.
    for _ in 0..1000 {
        ask(running.dns[0], "web.svc.example.").await;
        if !(running.clients)().is_empty() {
            break;
        }
    }
    let seen = (running.clients)();
    assert_eq!(seen.len(), 1, "loopback alone has asked: {seen:?}");
    running.stop().await;
}
