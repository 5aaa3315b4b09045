//! Queries that wait: a stand-in holds them at a gate, and answers with the query and its number among the replies.

use std::sync::atomic::AtomicUsize;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::*;

/// Queries at once.
pub(super) const MOST: usize = 3;

/// Lets queries through one by one; those that begin with `SS` get three replies.
pub(super) struct Gate {
    open: Semaphore,
    /// Queries that stand before it.
    waiting: AtomicUsize,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { open: Semaphore::new(0), waiting: AtomicUsize::new(0) }
    }
}

/// One that nobody comes to.
pub(super) fn none() -> Arc<dyn Slow> {
    Arc::new(Gate::default())
}

/// Stands before the gate until it is dropped.
struct Standing<'g>(&'g Gate);

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slow for Gate {
    fn answer(self: Arc<Self>, query: Punted, mut replies: Replies) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let standing = Standing(&self);
            self.open.acquire().await.unwrap().forget();
            drop(standing);
            let many = if query.query.starts_with(b"SS") { 3 } else { 1 };
            for number in 0..many {
                if replies.send([&query.query, &[b'0' + number][..]].concat()).await.is_err() {
                    return;
                }
            }
        })
    }
}

impl Gate {
    fn let_in(&self, queries: usize) {
        self.open.add_permits(queries);
    }

    /// Waits until so many stand before it.
    fn until_waiting(&self, queries: usize) {
        let patience = std::time::Instant::now() + PATIENCE;
        while self.waiting.load(Ordering::Relaxed) != queries {
            assert!(std::time::Instant::now() < patience, "{} are waiting, not {queries}", self.waiting.load(Ordering::Relaxed));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_datagram_that_waits_holds_nobody_up_and_is_answered_from_the_address_asked() {
    let listen: &[&str] = if cfg!(target_os = "linux") { &["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] } else { &["127.0.0.1:0"] };
    for listen in listen {
        if listen.starts_with("[") && UdpSocket::bind("[::1]:0").is_err() {
            continue;
        }
        let house = house(&[listen], |s| s.workers = 1);
        let port = house.server.addresses()[0].port();
        let ip: IpAddr = match *listen {
            "0.0.0.0:0" => [127, 9, 8, 7].into(),
            "[::]:0" => std::net::Ipv6Addr::LOCALHOST.into(),
            _ => [127, 0, 0, 1].into(),
        };
        let address = SocketAddr::new(ip, port);
        // Connected: it hears what comes from that address alone.
        let socket = UdpSocket::bind(SocketAddr::new(if ip.is_ipv4() { [0, 0, 0, 0].into() } else { IpAddr::from([0; 16]) }, 0)).unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(b"Slowly, please").unwrap();
        house.slow.until_waiting(1);
        assert_eq!(ask(address, b"meanwhile").unwrap(), b"meanwhile\0");
        house.slow.let_in(1);
        let mut reply = [0; 100];
        let length = socket.recv(&mut reply).unwrap();
        assert_eq!(&reply[..length], b"Slowly, please0", "{listen}");
    }
}

#[test]
fn beyond_the_most_datagrams_are_dropped_and_streams_wait() {
    let house = house(&["127.0.0.1:0"], |_| {});
    let address = house.server.addresses()[0];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for n in 0..MOST {
        socket.send_to(&[b'S', b'a' + n as u8], address).unwrap();
    }
    house.slow.until_waiting(MOST);
    let mut stream = connect(address);
    stream.write_all(&framed(b"S over a stream")).unwrap();
    for n in 0..10 {
        // Each in its turn: the reply to what follows tells that it was seen.
        socket.send_to(b"S one too many", address).unwrap();
        assert_eq!(converse(&mut stream, &[b'x' + n % 3; 12]).len(), 13);
    }
    let patience = std::time::Instant::now() + PATIENCE;
    while house.server.slow().overloaded < 10 && std::time::Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(house.server.slow(), SlowStats { under_way: MOST, taken: MOST as u64, overloaded: 10 });
    house.slow.let_in(MOST + 1);
    assert_eq!(read_message(&mut stream), b"S over a stream0");
    let mut replies: Vec<u8> = (0..MOST)
        .map(|_| {
            let mut reply = [0; 9];
            assert_eq!(socket.recv(&mut reply).unwrap(), 3);
            reply[1]
        })
        .collect();
    replies.sort();
    assert_eq!(replies, b"abc");
    let patience = std::time::Instant::now() + PATIENCE;
    while house.server.slow().under_way > 0 && std::time::Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(house.server.slow(), SlowStats { under_way: 0, taken: MOST as u64 + 1, overloaded: 10 });
}

#[test]
fn on_a_stream_later_replies_overtake_and_a_client_that_will_send_no_more_gets_them_all() {
    let house = house(&["127.0.0.1:0"], |s| s.tcp_idle_ms = 200);
    let mut stream = connect(house.server.addresses()[0]);
    let queries = [&b"Slow as can be"[..], b"quick number 1", b"SS in three parts", b"quick number 2"];
    stream.write_all(&queries.iter().flat_map(|q| framed(q)).collect::<Vec<_>>()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_message(&mut stream), b"quick number 1\0");
    assert_eq!(read_message(&mut stream), b"quick number 2\0");
    house.slow.until_waiting(2);
    // For longer than a connection may be idle: it is not, its client waits for us.
    std::thread::sleep(Duration::from_millis(500));
    house.slow.let_in(2);
    let mut replies: Vec<Vec<u8>> = (0..4).map(|_| read_message(&mut stream)).collect();
    assert_eq!(read_to_end(stream), b"");
    let parts: Vec<u8> = replies.iter().filter(|r| r.starts_with(b"SS")).map(|r| r[r.len() - 1]).collect();
    assert_eq!(parts, b"012", "replies to one query are in order");
    replies.sort();
    assert_eq!(replies[3], b"Slow as can be0");
    assert_eq!(house.server.connections().idle, 0);
}

#[test]
fn nonsense_is_dismissed_after_the_replies_that_are_under_way() {
    let house = house(&["127.0.0.1:0"], |_| {});
    let mut stream = connect(house.server.addresses()[0]);
    stream.write_all(&[framed(b"Slow as can be"), framed(b"short")].concat()).unwrap();
    house.slow.until_waiting(1);
    house.slow.let_in(1);
    assert_eq!(read_to_end(stream), framed(b"Slow as can be0"));
}

#[test]
fn a_connection_has_so_many_under_way_and_they_end_with_it() {
    let settings = |s: &mut DnsSettings| s.workers = 1;
    let mut dns = Settings::default().dns;
    dns.listen = vec!["127.0.0.1:0".parse().unwrap()];
    settings(&mut dns);
    let gate = Arc::new(Gate::default());
    let publisher = Arc::new(Publisher::new(Snapshot::empty()));
    let server = start_with(&dns, publisher, gate.clone(), 1000, echo).unwrap();
    let address = server.addresses()[0];
    let mut stream = connect(address);
    let most = super::super::slow::MOST_OUTSTANDING;
    stream.write_all(&framed(b"Slow as can be").repeat(most + 5)).unwrap();
    stream.write_all(&framed(b"quick number 1")).unwrap();
    gate.until_waiting(most);
    gate.let_in(1);
    // Read on as soon as there is room: never more at once.
    assert_eq!(read_message(&mut stream), b"Slow as can be0");
    gate.until_waiting(most);
    gate.let_in(5);
    let mut seen: Vec<Vec<u8>> = (0..6).map(|_| read_message(&mut stream)).collect();
    seen.sort();
    assert_eq!(seen[5], b"quick number 1\0");
    gate.until_waiting(most - 1);
    // A client that goes without a word, and one that has gone when its reply comes.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    gate.until_waiting(0);
    assert_eq!(ask(address, b"still there?").unwrap(), b"still there?\0");
    server.stop();
}
