//! Probes against small servers on loopback.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::control::Probes;
use crate::model::{Check, Health, InstanceKey, ProbeResult};

fn check(json: &str) -> Check {
    serde_json::from_str(json).unwrap()
}

/// One probe of `address`: empty for a pass, else the reason.
async fn probe(json: &str, address: SocketAddr) -> String {
    let attention = Attention::new(Instant::now());
    let probe = Probe::new(&check(json), &Tls::new());
    match attention.over(probe.run(address, &attention)).await {
        Finding::Result(ProbeResult::Pass) => String::new(),
        Finding::Result(ProbeResult::Fail(why)) => {
            assert!(!why.is_empty());
            why
        }
        Finding::NotProbed(why) => panic!("not probed: {why}"),
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn read_request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        // An error is the end as well: the probe may be gone.
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            break;
        }
    }
    String::from_utf8(request).unwrap()
}

/// Answers every request with `reply` and closes. What was asked can be received.
async fn server(reply: impl Into<Vec<u8>>) -> (SocketAddr, mpsc::Receiver<String>) {
    let (listener, address) = listener().await;
    let (asked, requests) = mpsc::channel();
    let reply = reply.into();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = asked.send(read_request(&mut stream).await);
            // The probe may have seen enough before all is written.
            let _ = stream.write_all(&reply).await;
        }
    });
    (address, requests)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_answer_passes_or_fails_by_status_and_body() {
    let plain = r#"{"http":"/"}"#;
    let body = r#"{"http":"/","body":"all is well"}"#;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall is\r\n7\r\n well, \r\n0\r\n\r\n";
    for (check, reply, expected) in [
        (plain, answer("200 OK", ""), ""),
        (plain, answer("204 No Content", ""), ""),
        (plain, answer("399 Odd", ""), ""),
        (plain, answer("400 Bad Request", ""), "status 400, expected 200-399"),
        (plain, answer("503 Service Unavailable", "busy"), "status 503, expected 200-399"),
        (r#"{"http":"/","status":"204"}"#, answer("200 OK", ""), "status 200, expected 204"),
        (r#"{"http":"/","status":"500-599"}"#, answer("503 x", ""), ""),
        (body, answer("200 OK", "so far all is well, thanks"), ""),
        (body, answer("200 OK", "all is not well"), r#"body does not hold "all is well""#),
        (body, answer("500 Oh", "all is well"), "status 500, expected 200-399"),
        (body, chunked.into(), ""),
        (body, "HTTP/1.0 200 OK\r\n\r\nall is well".into(), ""),
        (plain, "220 smtp.example ESMTP\r\n".into(), "the answer is not HTTP/1.1"),
        (plain, "".into(), "connection closed before the answer was whole"),
        (body, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nall is".into(), "connection closed before the answer was whole"),
        (plain, format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(300_000)), "the head of the answer is larger than 64 KiB"),
    ] {
        let (address, _requests) = server(reply.as_str()).await;
        assert_eq!(probe(check, address).await, expected, "{check} {:.80}", reply);
    }
}

#[tokio::test]
async fn the_body_is_read_up_to_64_kib() {
    const LIMIT: usize = 64 << 10;
    for (before, expected) in [
        (0, ""),
        (LIMIT - 2, ""),
        (LIMIT - 1, r#"the first 64 KiB of the body do not hold "ok""#),
        (LIMIT, r#"the first 64 KiB of the body do not hold "ok""#),
    ] {
        let (address, _requests) = server(answer("200 OK", &format!("{}ok{}", "-".repeat(before), "-".repeat(100_000)))).await;
        assert_eq!(probe(r#"{"http":"/","body":"ok"}"#, address).await, expected, "{before}");
    }
    // A stream without end is not read to its end.
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'-'; 10_000]).await.is_ok() {}
    });
    assert!(probe(r#"{"http":"/","body":"ok"}"#, address).await.contains("64 KiB"));
}

#[tokio::test]
async fn the_request_says_who_asks_for_what() {
    let (address, requests) = server(answer("200 OK", "")).await;
    probe(r#"{"http":"/health?deep=1"}"#, address).await;
    probe(r#"{"http":"/","host":"www.example"}"#, address).await;
    let version = env!("CARGO_PKG_VERSION");
    let rest = format!("user-agent: signpost/{version}\r\naccept: */*\r\nconnection: close\r\n\r\n");
    assert_eq!(requests.recv().unwrap(), format!("GET /health?deep=1 HTTP/1.1\r\nhost: {address}\r\n{rest}"));
    assert_eq!(requests.recv().unwrap(), format!("GET / HTTP/1.1\r\nhost: www.example\r\n{rest}"));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (elsewhere, followed) = server(answer("200 OK", "")).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    let (address, requests) = server(redirect).await;
    assert_eq!(probe(r#"{"http":"/"}"#, address).await, "");
    assert_eq!(probe(r#"{"http":"/","status":"200-299"}"#, address).await, "status 302, expected 200-299");
    assert_eq!((requests.try_iter().count(), followed.try_iter().count()), (2, 0));
}

#[tokio::test]
async fn who_refuses_or_says_nothing_fails() {
    let (closed, refusing) = listener().await;
    drop(closed);
    // Backlog and all: connections are accepted by the system, and nobody says anything.
    let (_silent, silent) = listener().await;
    for (check, address, expected) in [
        (r#"{"tcp":true}"#, refusing, "connection refused"),
        (r#"{"http":"/"}"#, refusing, "connection refused"),
        (r#"{"https":"/"}"#, refusing, "connection refused"),
        (r#"{"tcp":true}"#, silent, ""),
        (r#"{"http":"/","timeout":"10ms"}"#, silent, "timeout after 10ms, waiting for an answer"),
        (r#"{"https":"/","timeout":"10ms"}"#, silent, "timeout after 10ms, in the TLS handshake"),
        (r#"{"https":"/","sni":"a..b"}"#, silent, r#"sni "a..b" is no host name"#),
    ] {
        assert_eq!(probe(check, address).await, expected, "{check}");
    }
    // A head without its body is enough where no body is asked for, and not where one is.
    let (address, _requests) = stalling().await;
    assert_eq!(probe(r#"{"http":"/","timeout":"50ms"}"#, address).await, "");
    assert_eq!(probe(r#"{"http":"/","timeout":"50ms","body":"x"}"#, address).await, "timeout after 50ms, reading the body");
}

/// Sends a head and the beginning of a body, and then nothing.
async fn stalling() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let (listener, address) = listener().await;
    let serving = tokio::spawn(async move {
        let mut open: Vec<TcpStream> = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbody").await.unwrap();
            open.push(stream);
        }
    });
    (address, serving)
}

#[tokio::test]
async fn https_takes_any_certificate_unless_told_to_verify_and_indicates_the_name() {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["www.example".to_string()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listener().await;
    let (seen, names) = mpsc::channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = seen.send(stream.get_ref().1.server_name().map(String::from));
            read_request(&mut stream).await;
            let _ = stream.write_all(answer("200 OK", "secret").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    for (check, name) in [
        (r#"{"https":"/","body":"secret"}"#, None),
        (r#"{"https":"/","sni":"www.example"}"#, Some("www.example")),
        (r#"{"https":"/","host":"other.example:8443"}"#, Some("other.example")),
        (r#"{"https":"/","sni":"www.example","host":"other.example"}"#, Some("www.example")),
    ] {
        assert_eq!(probe(check, address).await, "", "{check}");
        assert_eq!(names.recv().unwrap().as_deref(), name, "{check}");
    }
    let refused = probe(r#"{"https":"/","sni":"www.example","verify_tls":true}"#, address).await;
    // Where the system has no roots at all, that is said instead.
    assert!(refused.contains("invalid peer certificate") || refused.contains("root certificates"), "{refused}");
    // Plain HTTP to a TLS port, and TLS to a plain one.
    assert_ne!(probe(r#"{"http":"/"}"#, address).await, "");
    let (listener, plain) = self::listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(answer("400 Bad Request", "").as_bytes()).await.unwrap();
        let _ = stream.read(&mut [0; 1000]).await;
    });
    let refused = probe(r#"{"https":"/"}"#, plain).await;
    assert!(refused.starts_with("TLS: "), "{refused}");
}

/// A prober with what it reports; an instance is ordered by its number.
struct Room {
    orders: tokio::sync::mpsc::UnboundedSender<ProbeOrder>,
    reports: mpsc::Receiver<Observation>,
    prober: Prober,
}

fn room(concurrency: usize) -> Room {
    let (orders, taken) = tokio::sync::mpsc::unbounded_channel();
    let (reported, reports) = mpsc::channel();
    let settings = ProbeSettings { enabled: true, concurrency };
    let prober = start_with(Some(taken), &settings, move |observation| drop(reported.send(observation))).unwrap();
    Room { orders, reports, prober }
}

impl Room {
    fn order(&self, number: usize, address: SocketAddr, json: &str) {
        let probes = Probes { order: number as u64, address: address.ip(), checks: vec![(check(json), address.port())], last: None };
        self.orders.send(ProbeOrder { key: key(number), probes: Some(probes) }).unwrap();
    }

    /// The next verdict that is whole.
    fn next(&self) -> (InstanceKey, Health, String) {
        let mut reports = std::iter::from_fn(|| self.reports.recv_timeout(Duration::from_secs(20)).ok());
        let observation = reports.find(|observation| !observation.wavers).unwrap();
        assert_eq!(observation.key, key(observation.order as usize));
        (observation.key, observation.health, observation.why)
    }
}

fn key(number: usize) -> InstanceKey {
    InstanceKey { service: "web".parse().unwrap(), id: format!("i{number}").parse().unwrap() }
}

#[test]
fn an_instance_that_dies_and_returns_is_reported_each_time() {
    let room = room(10);
    let listen = |address: &str| std::net::TcpListener::bind(address).unwrap();
    let alive = listen("127.0.0.1:0");
    let address = alive.local_addr().unwrap();
    room.order(1, address, r#"{"tcp":true,"port":"http","interval":"5ms","rise":2,"fall":3}"#);
    assert_eq!(room.next(), (key(1), Health::Healthy, "".into()));
    drop(alive);
    assert_eq!(room.next(), (key(1), Health::Unhealthy, "tcp on http: connection refused".into()));
    let stats = room.prober.stats();
    assert!((stats.instances, stats.checks) == (1, 1) && stats.failures >= 3 && stats.probes > stats.failures, "{stats:?}");
    let again = listen(&address.to_string());
    assert_eq!(room.next(), (key(1), Health::Healthy, "".into()));
    room.orders.send(ProbeOrder { key: key(1), probes: None }).unwrap();
    drop(again);
    // Nothing is reported of what is gone: the next word is of another instance.
    room.order(2, "169.254.169.254:80".parse().unwrap(), r#"{"tcp":true}"#);
    assert_eq!(room.next().0, key(2));
    room.prober.stop();
}

#[test]
fn more_instances_than_may_be_probed_at_once_all_get_their_turn() {
    let room = room(2);
    let alive = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = alive.try_clone().unwrap();
    std::thread::spawn(move || accepting.incoming().for_each(drop));
    for number in 0..300 {
        room.order(number, alive.local_addr().unwrap(), r#"{"tcp":true,"interval":"1s"}"#);
    }
    let mut healthy: Vec<String> = (0..300).map(|_| room.next()).map(|(key, _, _)| key.id.to_string()).collect();
    healthy.sort();
    healthy.dedup();
    assert_eq!(healthy.len(), 300);
    assert_eq!(room.prober.stats().not_made, 0);
}

/// A server that takes `pause` to answer, on threads of its own, at any address of 127/8; and who was asked.
fn slow(pause: Duration) -> (tokio::runtime::Runtime, u16, mpsc::Receiver<IpAddr>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("0.0.0.0:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, requests) = mpsc::channel();
    runtime.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = asked.send(stream.local_addr().unwrap().ip());
            tokio::spawn(async move {
                read_request(&mut stream).await;
                tokio::time::sleep(pause).await;
                let _ = stream.write_all(answer("200 OK", "").as_bytes()).await;
            });
        }
    });
    (runtime, port, requests)
}

#[test]
fn a_prober_that_is_held_up_calls_nothing_dead() {
    let (_runtime, port, _requests) = slow(Duration::from_millis(5));
    let (orders, taken) = tokio::sync::mpsc::unbounded_channel();
    let (reported, reports) = mpsc::channel();
    let mut held_up = 0;
    // What holds it up comes at any stage of the other probes.
    let report = std::sync::Mutex::new(move |observation: Observation| {
        held_up += 1;
        if held_up % 160 == 0 {
            std::thread::sleep(Duration::from_millis(2500));
        }
        reported.send(observation.health).unwrap();
    });
    let settings = ProbeSettings { enabled: true, concurrency: 1000 };
    let prober = start_on(taken, &settings, move |observation| report.lock().unwrap()(observation)).unwrap();
    let room = Room { orders, reports: mpsc::channel().1, prober };
    for number in 0..400 {
        let check = r#"{"http":"/","interval":"2s","timeout":"2s","rise":1,"fall":1}"#;
        room.order(number, SocketAddr::from(([127, 0, 1 + (number / 200) as u8, (number % 200) as u8 + 1], port)), check);
    }
    for _ in 0..400 {
        assert_eq!(reports.recv_timeout(Duration::from_secs(60)).unwrap(), Health::Healthy);
    }
    let stats = room.prober.stats();
    assert_eq!((stats.failures, stats.not_made), (0, 0), "{stats:?}");
    // Two standstills of 2,500 ms, of which 50 ms each may be a turn; the last ones count when it turns again.
    let counted = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        room.prober.stats().stalled_ms >= 2 * 2_400
    });
    assert!(counted, "{:?}", room.prober.stats());
    assert_eq!(room.prober.stats().failures, 0);
    // One that is held up finds out all the same who says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    room.order(400, silent.local_addr().unwrap(), r#"{"http":"/","interval":"2s","timeout":"2s","rise":1,"fall":1}"#);
    assert_eq!(reports.recv_timeout(Duration::from_secs(60)).unwrap(), Health::Unhealthy);
}

#[test]
fn with_more_to_do_than_can_be_done_all_intervals_stretch_alike() {
    const CHECKS: usize = 60;
    // Asked for: 60 places at a time; given: 10.
    let (_runtime, port, requests) = slow(Duration::from_secs(60));
    let room = room(10);
    for number in 0..CHECKS {
        let address = SocketAddr::from(([127, 0, 2, number as u8 + 1], port));
        room.order(number, address, r#"{"http":"/","interval":"100ms","timeout":"100ms","rise":1,"fall":2}"#);
    }
    for _ in 0..CHECKS {
        let (_, health, why) = room.next();
        assert_eq!((health, why.as_str()), (Health::Unhealthy, "http /: timeout after 100ms, waiting for an answer"));
    }
    // However long that takes.
    let asked_so_far = std::iter::from_fn(|| requests.recv_timeout(Duration::from_secs(20)).ok()).take(CHECKS * 8);
    let mut asked = [0; CHECKS];
    asked_so_far.for_each(|address| match address {
        IpAddr::V4(address) => asked[usize::from(address.octets()[3]) - 1] += 1,
        IpAddr::V6(_) => unreachable!(),
    });
    let stats = room.prober.stats();
    assert!(stats.in_flight <= 10 && stats.late > stats.probes / 2 && stats.worst_lag_ms >= 100, "{stats:?}");
    let (least, most) = (asked.iter().min().unwrap(), asked.iter().max().unwrap());
    assert!(*least >= 5 && most - least <= 2, "{asked:?}");
}
