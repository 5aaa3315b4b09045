//! The listeners over loopback, with a stand-in that answers with the query and the snapshot's generation.

mod batches;
mod clients;
mod encrypted;
mod https;
mod quic;
mod slow;

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream, UdpSocket};

use super::*;
use crate::model::{Counter, Generation, Settings};
use crate::wire::Punt;

const PATIENCE: Duration = Duration::from_secs(10);

/// The query with the generation behind it; what begins with `D` is dropped, what begins with `P` panics, what begins with `S` is slow.
fn echo(snapshot: &Snapshot, worker: &mut Worker, query: &Query<'_>, reply: &mut [u8]) -> Outcome {
    match query.bytes.first() {
        None | Some(b'D') => return Outcome::Drop,
        Some(b'P') => panic!("a query that the answering code cannot bear"),
        Some(b'S') => return Outcome::Punt(Punt::Forward),
        Some(_) => worker.counters.count(Counter::Answered),
    }
    let length = query.bytes.len();
    reply[..length].copy_from_slice(query.bytes);
    reply[length] = snapshot.generation.0 as u8;
    Outcome::Reply(length + 1)
}

struct House {
    server: Server,
    publisher: Arc<Publisher>,
    slow: Arc<slow::Gate>,
}

fn house(listen: &[&str], change: impl FnOnce(&mut DnsSettings)) -> House {
    let mut settings = Settings::default().dns;
    settings.listen = listen.iter().map(|a| a.parse().unwrap()).collect();
    settings.workers = 2;
    change(&mut settings);
    let publisher = Arc::new(Publisher::new(Snapshot::empty()));
    let slow = Arc::new(slow::Gate::default());
    let server = start_with(&settings, publisher.clone(), slow.clone(), slow::MOST, echo).unwrap();
    House { server, publisher, slow }
}

impl House {
    fn answered(&self, transport: Transport) -> u64 {
        self.server.counters().iter().filter(|(l, _)| l.transport == transport).map(|(_, c)| c.get(Counter::Answered)).sum()
    }
}

/// Asks over UDP from a connected socket, to which the system hands only what comes from the address asked.
fn ask(to: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(query).unwrap();
    let mut reply = [0; 4096];
    socket.recv(&mut reply).ok().map(|n| reply[..n].to_vec())
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn read_message(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

/// Everything until the server closes.
fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => all,
    }
}

#[test]
fn every_address_answers_over_both_transports_from_the_address_asked() {
    // Each with the addresses behind it that are asked. Linux has all of 127.0.0.0/8; IPv6 may be switched off.
    let any4: &[&str] = if cfg!(target_os = "linux") { &["127.0.0.1", "127.9.8.7"] } else { &["127.0.0.1"] };
    let mut cases = vec![("127.0.0.1:0", &["127.0.0.1"][..]), ("0.0.0.0:0", any4)];
    match UdpSocket::bind("[::1]:0") {
        Ok(_) => cases.extend([("[::1]:0", &["::1"][..]), ("[::]:0", &["::1"])]),
        Err(error) => eprintln!("not tested over IPv6: {error}"),
    }
    let house = house(&cases.iter().map(|(listen, _)| *listen).collect::<Vec<_>>(), |_| {});
    let behind = |(address, (_, ips)): (&SocketAddr, &(_, &[&str]))| {
        ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), address.port())).collect::<Vec<_>>()
    };
    let asked: Vec<SocketAddr> = house.server.addresses().iter().zip(&cases).flat_map(behind).collect();
    for &address in &asked {
        assert_ne!(address.port(), 0);
        // From several ports, so that the kernel deals them out to both workers.
        for n in 0..8 {
            let query = [b"a datagram ", &[b'0' + n][..]].concat();
            assert_eq!(ask(address, &query).unwrap(), [&query, &[0][..]].concat(), "{address}");
        }
        let mut stream = connect(address);
        stream.write_all(&framed(b"over a stream")).unwrap();
        assert_eq!(read_message(&mut stream), b"over a stream\0", "{address}");
    }
    assert_eq!(house.answered(Transport::Udp), 8 * asked.len() as u64);
    assert_eq!(house.answered(Transport::Tcp), asked.len() as u64);
    // Two workers each, and the one that answers what goes aside.
    assert_eq!(house.server.counters().len(), cases.len() * 2 * 3);
}

#[test]
fn what_is_published_is_in_the_next_answer_and_the_old_is_let_go() {
    let house = house(&["127.0.0.1:0", "0.0.0.0:0"], |_| {});
    for generation in 1..=50 {
        let old = Arc::downgrade(&house.publisher.load_full());
        let mut next = Snapshot::empty();
        next.generation = Generation(generation);
        house.publisher.publish(Arc::new(next));
        for address in house.server.addresses() {
            let address = SocketAddr::new([127, 0, 0, 1].into(), address.port());
            assert_eq!(ask(address, b"which generation").unwrap().last(), Some(&(generation as u8)));
        }
        assert!(old.upgrade().is_none(), "a waiting worker holds generation {}", generation - 1);
    }
}

#[test]
fn a_query_that_panics_costs_only_its_own_answer() {
    let house = house(&["127.0.0.1:0"], |s| s.workers = 1);
    let address = house.server.addresses()[0];
    let fatal = UdpSocket::bind("127.0.0.1:0").unwrap();
    fatal.send_to(b"Panic, please", address).unwrap();
    fatal.send_to(b"Drop it", address).unwrap();
    let mut stream = connect(address);
    stream.write_all(&framed(b"Panic, please")).unwrap();
    assert_eq!(read_to_end(stream), b"");
    assert_eq!(ask(address, b"still there?").unwrap(), b"still there?\0");
    let mut stream = connect(address);
    stream.write_all(&framed(b"still there?")).unwrap();
    assert_eq!(read_message(&mut stream), b"still there?\0");
}

#[test]
fn replies_that_nobody_listens_for_do_not_stop_a_worker() {
    let house = house(&["127.0.0.1:0"], |s| s.workers = 1);
    let address = house.server.addresses()[0];
    for _ in 0..20 {
        // The reply meets a closed port, and the ICMP message about that comes back to the worker's socket.
        // From an address of its own, lest the one that asks below gets that port and with it the reply.
        UdpSocket::bind("127.0.0.5:0").unwrap().send_to(b"gone already", address).unwrap();
    }
    assert_eq!(ask(address, b"still there?").unwrap(), b"still there?\0");
}

#[test]
fn pipelined_queries_are_answered_in_order_however_the_octets_are_cut() {
    let house = house(&["127.0.0.1:0"], |_| {});
    let queries: Vec<Vec<u8>> = (0..200).map(|n| vec![b'a' + n % 26; 12 + usize::from(n) * 30]).collect();
    let octets: Vec<u8> = queries.iter().flat_map(|q| framed(q)).collect();
    let expected: Vec<u8> = queries.iter().flat_map(|q| framed(&[q, &[0][..]].concat())).collect();
    for piece in [1, 7, 1000, octets.len()] {
        let mut stream = connect(house.server.addresses()[0]);
        let writer = {
            let (mut stream, octets) = (stream.try_clone().unwrap(), octets.clone());
            std::thread::spawn(move || {
                // The smallest pieces only for the first octets: they are a system call each.
                let (cut, rest) = octets.split_at(octets.len().min(piece * 300));
                cut.chunks(piece).for_each(|piece| stream.write_all(piece).unwrap());
                stream.write_all(rest).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            })
        };
        let mut replies = Vec::new();
        stream.read_to_end(&mut replies).unwrap();
        writer.join().unwrap();
        assert!(replies == expected, "{} of {} octets, in pieces of {piece}", replies.len(), expected.len());
    }
    let mut stream = connect(house.server.addresses()[0]);
    let largest = vec![b'x'; LARGEST - 1];
    stream.write_all(&framed(&largest)).unwrap();
    assert_eq!(read_message(&mut stream).len(), LARGEST);
}

const LARGEST: usize = 65_535;

#[test]
fn what_is_no_message_closes_the_connection_after_the_answers_before_it() {
    let house = house(&["127.0.0.1:0"], |_| {});
    for nonsense in [framed(b"too short"), framed(b""), framed(b"Dropped by the answer")] {
        let mut stream = connect(house.server.addresses()[0]);
        stream.write_all(&[framed(b"a good query"), nonsense].concat()).unwrap();
        assert_eq!(read_to_end(stream), framed(b"a good query\0"));
    }
}

/// A connection from an address of 127.0.0.0/8, which a connection from elsewhere is not displaced by.
fn connect_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Asks and reads the reply.
fn converse(stream: &mut TcpStream, query: &[u8]) -> Vec<u8> {
    stream.write_all(&framed(query)).unwrap();
    read_message(stream)
}

#[test]
#[cfg(target_os = "linux")]
fn where_a_limit_is_reached_the_longest_idle_connection_goes() {
    let house = house(&["127.0.0.1:0"], |s| {
        (s.tcp_connections, s.tcp_per_client, s.tcp_idle_ms) = (3, 2, 60_000);
    });
    let address = house.server.addresses()[0];
    let mut first = connect(address);
    converse(&mut first, b"number one..");
    let mut second = connect(address);
    converse(&mut second, b"number two..");
    converse(&mut first, b"number one..");
    // A third one of the same client: its own longest idle one goes.
    let mut third = connect(address);
    assert_eq!(converse(&mut third, b"number three"), b"number three\0");
    assert_eq!(read_to_end(second), b"");
    let _others = [2, 3].map(|n| {
        let mut other = connect_from([127, 0, 0, n], address);
        assert_eq!(converse(&mut other, b"number four or five"), b"number four or five\0");
        other
    });
    assert_eq!(read_to_end(first), b"", "the longest idle one of all");
    assert_eq!(converse(&mut third, b"number three"), b"number three\0");
    let stats = house.server.connections();
    assert_eq!((stats.open, stats.accepted, stats.displaced, stats.displaced_by_own), (3, 5, 1, 1));
}

#[test]
fn time_runs_out_for_the_silent_the_slow_and_those_who_do_not_read() {
    // Long enough for a good query on a busy machine, and short of 500 octets that take 2 ms each.
    let house = house(&["127.0.0.1:0"], |s| s.tcp_idle_ms = 400);
    let address = house.server.addresses()[0];
    let silent = connect(address);
    let mut half = connect(address);
    half.write_all(&framed(b"not all of it")[..5]).unwrap();
    let mut dribbling = connect(address);
    assert_eq!(converse(&mut dribbling, b"a good query"), b"a good query\0");
    // An octet now and then gains nothing: time runs from the last answer.
    let dribble = framed(&[b'x'; 1000]).into_iter().take_while(|octet| {
        std::thread::sleep(Duration::from_millis(2));
        dribbling.write_all(&[*octet]).is_ok()
    });
    assert!(dribble.count() < 500);
    for stream in [silent, half] {
        assert_eq!(read_to_end(stream), b"");
    }
    let mut unread = connect(address);
    unread.set_write_timeout(Some(PATIENCE)).unwrap();
    let many = framed(&vec![b'x'; LARGEST - 1]).repeat(8);
    while unread.write_all(&many).is_ok() {}
    let stats = house.server.connections();
    assert_eq!((stats.open, stats.idle, stats.slow_read, stats.slow_write), (0, 1, 2, 1));
}

#[test]
fn a_client_that_will_send_no_more_gets_all_its_replies_and_one_that_resets_harms_nobody() {
    let house = house(&["127.0.0.1:0"], |s| s.workers = 1);
    let address = house.server.addresses()[0];
    let query = framed(&[b'x'; 60_000]);
    let mut closing = connect(address);
    let mut resetting = connect(address);
    for stream in [&mut closing, &mut resetting] {
        stream.write_all(&query.repeat(20)).unwrap();
    }
    closing.shutdown(Shutdown::Write).unwrap();
    socket2::SockRef::from(&resetting).set_linger(Some(Duration::ZERO)).unwrap();
    drop(resetting);
    assert_eq!(read_to_end(closing).len(), 20 * 60_003);
    assert_eq!(converse(&mut connect(address), b"still there?"), b"still there?\0");
}

#[test]
fn a_long_pipeline_does_not_make_others_wait() {
    let house = house(&["127.0.0.1:0"], |s| s.workers = 1);
    let address = house.server.addresses()[0];
    let mut busy = connect(address);
    let mut reader = busy.try_clone().unwrap();
    let burst = framed(b"one of many.").repeat(100_000);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            busy.write_all(&burst).unwrap();
            busy.shutdown(Shutdown::Write).unwrap();
        });
        read_message(&mut reader);
        let before = house.answered(Transport::Tcp);
        for _ in 0..5 {
            assert_eq!(converse(&mut connect(address), b"among them.."), b"among them..\0");
        }
        let meanwhile = house.answered(Transport::Tcp) - before;
        assert!(meanwhile < 50_000, "{meanwhile} queries of another client were answered before five of this one");
        assert_eq!(read_to_end(reader).len(), 99_999 * 15);
    });
}

#[test]
fn stopping_frees_the_addresses_and_a_second_server_is_told_that_they_are_taken() {
    let house = house(&["127.0.0.1:0"], |_| {});
    let address = house.server.addresses()[0];
    let mut settings = Settings::default().dns;
    settings.listen = vec![address];
    let publisher = Arc::new(Publisher::new(Snapshot::empty()));
    let error = start_with(&settings, publisher.clone(), slow::none(), slow::MOST, echo).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("another DNS server"), "{error}");
    let open = connect(address);
    assert_eq!(ask(address, b"one of two?").unwrap(), b"one of two?\0");
    house.server.stop();
    assert_eq!(read_to_end(open), b"");
    let again = start_with(&settings, publisher, slow::none(), slow::MOST, echo).unwrap();
    assert_eq!(ask(address, b"there again").unwrap(), b"there again\0");
    drop(again);
    settings.listen.clear();
    assert!(matches!(start_with(&settings, house.publisher, slow::none(), slow::MOST, echo), Err(ListenError::Nowhere)));
}
