//! Queries that wait together, over loopback: a stand-in holds the worker until all are there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use super::*;
use crate::model::{Label, Name, Out, Service, Zone};
use crate::snapshot::{ServiceView, Update};

/// What comes back: the first 2,000 octets of the query, how many it had, and their sum.
fn digest(query: &[u8]) -> Vec<u8> {
    let sum: u32 = query.iter().map(|octet| u32::from(*octet)).sum();
    [&query[..query.len().min(2000)], &(query.len() as u32).to_be_bytes(), &sum.to_be_bytes()].concat()
}

/// One worker behind `listen` that answers with [`digest`]s, none to what begins with `D`, with a panic to what begins with `P`.
struct Held {
    server: Server,
    port: u16,
    gate: Arc<Mutex<()>>,
    publisher: Arc<Publisher>,
}

fn held(listen: &str) -> Held {
    let mut settings = Settings::default().dns;
    (settings.listen, settings.workers) = (vec![listen.parse().unwrap()], 1);
    let gate = Arc::new(Mutex::new(()));
    let waits = gate.clone();
    let answer = move |_: &Snapshot, _: &mut Worker, query: &Query<'_>, reply: &mut [u8]| {
        match query.bytes.first() {
            Some(b'W') => drop(waits.lock()),
            Some(b'P') => panic!("a query that the answering code cannot bear"),
            Some(b'D') => return Outcome::Drop,
            _ => {}
        }
        let digest = digest(query.bytes);
        reply[..digest.len()].copy_from_slice(&digest);
        Outcome::Reply(digest.len())
    };
    let publisher = Arc::new(Publisher::new(Snapshot::empty()));
    let server = start_with(&settings, publisher.clone(), slow::none(), slow::MOST, answer).unwrap();
    let port = server.addresses()[0].port();
    Held { server, port, gate, publisher }
}

impl Held {
    /// Has all that `send` sends wait for the worker at once.
    fn at_once(&self, loopback: IpAddr, send: impl FnOnce()) {
        let waiting = client(loopback);
        let closed = self.gate.lock().unwrap();
        // More than one receive takes one at a time: the last of them is before the gate when all others are there.
        waiting.send_to(b"Wait", (loopback, self.port)).unwrap();
        send();
        drop(closed);
        assert_eq!(receive(&waiting, 1).into_keys().next().unwrap().1, digest(b"Wait"));
    }
}

fn client(loopback: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((loopback, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20);
    socket
}

type Replies = BTreeMap<(SocketAddr, Vec<u8>), usize>;

/// So many replies: from where, and how often each came.
fn receive(socket: &UdpSocket, number: usize) -> Replies {
    let mut replies = Replies::new();
    let mut buffer = [0; 65_535];
    for n in 0..number {
        let (length, from) = socket.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{n} replies of {number}: {error}"));
        *replies.entry((from, buffer[..length].to_vec())).or_default() += 1;
    }
    replies
}

/// Query number `n` of a client, of one of a few lengths; some bring replies that are too large to be grouped.
fn query(client: usize, n: usize) -> Vec<u8> {
    let mut query = vec![b'a' + (n % 7) as u8; [20, 20, 20, 33, 47, 20, 1500][n % 7]];
    query[1..9].copy_from_slice(format!("{client:03}.{n:04}").as_bytes());
    query
}

/// Whatever the batch, each of `clients` gets the reply to each of its queries, once.
fn all_are_answered(server: &Held, loopback: IpAddr, clients: usize, each: usize) {
    let sockets: Vec<UdpSocket> = (0..clients).map(|_| client(loopback)).collect();
    let asked = SocketAddr::new(loopback, server.port);
    server.at_once(loopback, || {
        for n in 0..each {
            for (client, socket) in sockets.iter().enumerate() {
                socket.send_to(&query(client, n), asked).unwrap();
            }
        }
    });
    for (client, socket) in sockets.iter().enumerate() {
        let expected: Replies = (0..each).map(|n| ((asked, digest(&query(client, n))), 1)).collect();
        assert!(receive(socket, each) == expected, "client {client} of {clients}");
    }
}

#[test]
fn all_that_wait_are_answered_from_few_sockets_and_from_many() {
    let mut cases = vec![("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1")];
    if UdpSocket::bind("[::1]:0").is_ok() {
        cases.extend([("[::1]:0", "::1"), ("[::]:0", "::1")]);
    }
    for (listen, loopback) in cases {
        let server = held(listen);
        for (clients, each) in [(1, 200), (3, 70), (50, 4), (200, 1)] {
            all_are_answered(&server, loopback.parse().unwrap(), clients, each);
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn where_the_system_takes_no_groups_replies_go_out_one_by_one() {
    let server = held("127.0.0.1:0");
    server.server.sockets[0].refuse_groups();
    all_are_answered(&server, Ipv4Addr::LOCALHOST.into(), 1, 200);
    all_are_answered(&server, Ipv4Addr::LOCALHOST.into(), 7, 30);
}

#[test]
#[cfg(target_os = "linux")]
fn replies_that_fit_every_path_go_whole() {
    for (listen, loopback) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let loopback: IpAddr = loopback.parse().unwrap();
        if UdpSocket::bind((loopback, 0)).is_err() {
            continue; // no IPv6 here
        }
        let server = held(listen);
        for (octets, whole) in [(1232, true), (4096, false), (512, true)] {
            let mut dns = Settings::default().dns;
            dns.udp_payload = octets;
            server.publisher.publish(Arc::new(Snapshot::empty().update(&[Update::Dns(&dns)]).unwrap()));
            all_are_answered(&server, loopback, 2, 7);
            assert_eq!(server.server.sockets[0].sends_whole(), whole, "{octets} octets from {loopback}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn equal_replies_for_one_client_are_sent_in_one_piece() {
    let server = held("127.0.0.1:0");
    let forwarder = client(Ipv4Addr::LOCALHOST.into());
    socket::accept_groups(&forwarder);
    server.at_once(Ipv4Addr::LOCALHOST.into(), || {
        for _ in 0..40 {
            forwarder.send_to(b"the same for all", ("127.0.0.1", server.port)).unwrap();
        }
    });
    let one = digest(b"the same for all");
    let mut came = Vec::new();
    let mut buffer = [0; 65_535];
    while came.iter().sum::<usize>() < 40 {
        let length = forwarder.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], one.repeat(length / one.len()));
        came.push(length / one.len());
    }
    // Those before the first look for a backlog come one by one.
    assert!(came.len() < 12 && came.contains(&(41 - came.len())), "{came:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn on_all_addresses_each_reply_leaves_from_the_one_asked() {
    let server = held("0.0.0.0:0");
    let client = client(Ipv4Addr::LOCALHOST.into());
    let asked = |n: u8| SocketAddr::from(([127, 0, n % 5, 1 + n % 3], server.port));
    let question = |n: u8| [b'q', n, 0, 0];
    server.at_once(Ipv4Addr::LOCALHOST.into(), || {
        for n in 0..150 {
            client.send_to(&question(n), asked(n)).unwrap();
        }
    });
    let expected: Replies = (0..150).map(|n| ((asked(n), digest(&question(n))), 1)).collect();
    assert_eq!(receive(&client, 150), expected);
}

#[test]
fn the_largest_datagrams_are_read_whole_beside_small_ones() {
    let server = held("127.0.0.1:0");
    let client = client(Ipv4Addr::LOCALHOST.into());
    let _ = socket2::SockRef::from(&client).set_send_buffer_size(1 << 20);
    let sizes = [30, 65_507, 4096, 4097, 30, 0, 60_000, 30, 12, 65_507];
    let queries: Vec<Vec<u8>> =
        (0..40).map(|n| vec![b'a' + n as u8 % 26; sizes[n % sizes.len()] - n.min(sizes[n % sizes.len()])]).collect();
    server.at_once(Ipv4Addr::LOCALHOST.into(), || {
        for query in &queries {
            client.send_to(query, ("127.0.0.1", server.port)).unwrap();
        }
    });
    let mut expected = Replies::new();
    for query in &queries {
        *expected.entry((([127, 0, 0, 1], server.port).into(), digest(query))).or_default() += 1;
    }
    assert!(receive(&client, queries.len()) == expected);
}

#[test]
fn a_panic_costs_no_other_query_of_the_batch_its_answer() {
    let server = held("127.0.0.1:0");
    let client = client(Ipv4Addr::LOCALHOST.into());
    // The first and the last of a batch among them, and several in a row.
    let fatal = |n: usize| n.is_multiple_of(11) || (40..43).contains(&n) || n == 99;
    let question = |n: usize| {
        format!(
            "{}{n:04}",
            if fatal(n) {
                'P'
            } else if n % 7 == 3 {
                'D'
            } else {
                'q'
            }
        )
        .into_bytes()
    };
    server.at_once(Ipv4Addr::LOCALHOST.into(), || {
        for n in 0..100 {
            client.send_to(&question(n), ("127.0.0.1", server.port)).unwrap();
        }
    });
    let answered = (0..100).map(question).filter(|question| question[0] == b'q');
    let expected: Replies = answered.map(|question| ((([127, 0, 0, 1], server.port).into(), digest(&question)), 1)).collect();
    assert_eq!(receive(&client, expected.len()), expected);
}

/// A service whose instances are all gone has nothing to be fetched ahead: who asks for it, beside others, gets an answer, and so do they.
#[test]
fn queries_for_services_without_instances_are_answered_among_ten_thousand() {
    let zone = Zone { services: true, ..Zone::new(Name::parse("svc.").unwrap(), "zones/svc.toml", Name::parse("ns.svc.").unwrap(), 1) };
    let labels: Vec<Label> = (0..10_000).map(|n| Label::parse(&format!("s{n}")).unwrap()).collect();
    let service = Service::plain();
    let empty = || ServiceView { service: &service, instances: Vec::new(), out: Out::SERVING };
    let updates = labels.iter().map(|label| Update::Service(label, Some(empty())));
    let updates: Vec<Update<'_>> = [Update::Zones(std::slice::from_ref(&zone))].into_iter().chain(updates).collect();
    let server = held("127.0.0.1:0");
    server.publisher.publish(Arc::new(Snapshot::empty().update(&updates).unwrap()));
    let (loopback, asking) = (IpAddr::from(Ipv4Addr::LOCALHOST), client(Ipv4Addr::LOCALHOST.into()));
    let query = |n: u8| [&[b'Q', n, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, b's', n][..], b"\x03svc\0\0\x01\0\x01"].concat();
    server.at_once(loopback, || (b'1'..=b'9').for_each(|n| _ = asking.send_to(&query(n), (loopback, server.port)).unwrap()));
    assert_eq!(receive(&asking, 9).len(), 9);
}
