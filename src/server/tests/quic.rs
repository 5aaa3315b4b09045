//! DNS over QUIC, and what HTTP/3 shares with it.

use futures_util::future::join_all;
use quinn::ConnectionError;

use super::super::certificate::tests::pair;
use super::clients::{client, connecting, doq, exchange, quic};
use super::encrypted::{Safe, put};
use super::*;

const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn query(text: &str) -> Vec<u8> {
    // Id 0, and the rest of a header.
    [&[0, 0][..], text.as_bytes(), &[b'.'; 10]].concat()
}

fn certificate_of(connection: &quinn::Connection) -> Vec<u8> {
    let identity = connection.peer_identity().unwrap();
    identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap()[0].to_vec()
}

/// With which code the server closed a connection.
async fn closed(connection: &quinn::Connection) -> u64 {
    match tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap() {
        ConnectionError::ApplicationClosed(closed) => closed.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn each_query_has_a_stream_and_none_waits_for_another() {
    let safe = Safe::new(|_| {});
    let connection = doq(safe.doq()).await;
    // One that is begun and not ended.
    let (mut begun, mut unfinished) = connection.open_bi().await.unwrap();
    begun.write_all(&framed(&query("slow"))[..5]).await.unwrap();
    let all = (0..300usize).map(|n| {
        let connection = &connection;
        async move {
            let query = [query("one of many"), vec![b'x'; if n % 100 == 0 { 60_000 } else { n }]].concat();
            let reply = exchange(connection, &framed(&query)).await.unwrap();
            assert!(reply == framed(&[&query, &[0][..]].concat()), "{n}");
        }
    });
    join_all(all).await;
    let largest = [&[0, 0][..], &vec![b'x'; LARGEST - 3]].concat();
    assert_eq!(exchange(&connection, &framed(&largest)).await.unwrap().len(), 2 + LARGEST);
    begun.write_all(&framed(&query("slow"))[5..]).await.unwrap();
    begun.finish().unwrap();
    assert_eq!(unfinished.read_to_end(100).await.unwrap(), framed(&[query("slow"), vec![0]].concat()));
    assert_eq!(safe.house.answered(Transport::Quic), 302);
    // RFC 9250 §4.3.1: a query that is taken back is nobody's loss.
    let (mut cancelled, mut receive) = connection.open_bi().await.unwrap();
    cancelled.write_all(&[0]).await.unwrap();
    cancelled.reset(3u32.into()).unwrap();
    assert!(matches!(receive.read_to_end(1).await, Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) if code == 3u32.into()));
    assert!(exchange(&connection, &framed(&query("still there?"))).await.is_ok());
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_told_so() {
    let safe = Safe::new(|_| {});
    let good = framed(&query("a good query"));
    let keepalive = framed(b"\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0b\0\0");
    let mut with_id = good.clone();
    with_id[3] = 1;
    let mut dropped = framed(b"\0\0............");
    dropped[2] = b'D';
    let cases: [(&str, Vec<u8>); 7] = [
        ("nothing", vec![]),
        ("not all of it", good[..10].to_vec()),
        ("two of them", good.repeat(2)),
        ("an id", with_id),
        ("a keepalive option", keepalive),
        ("less than a header", framed(&[0; 11])),
        ("more than any message", [&[0xff, 0xff][..], &vec![0; 66_000]].concat()),
    ];
    for (what, octets) in cases {
        let connection = doq(safe.doq()).await;
        assert!(exchange(&connection, &octets).await.is_err(), "{what}");
        // RFC 9250 §4.3.3: DOQ_PROTOCOL_ERROR.
        assert_eq!(closed(&connection).await, 2, "{what}");
    }
    // The client may not open streams of one direction: it is given none.
    let connection = doq(safe.doq()).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), connection.open_uni()).await.is_err());
    let refused = quic(safe.doq(), client(TLS13, &[b"h3"])).await.unwrap_err();
    assert!(refused.to_string().contains("120"), "no_application_protocol (RFC 7301 §3.2): {refused}");
    safe.until("it is counted", |stats| stats.handshakes_failed == 1);
}

#[tokio::test]
async fn another_certificate_is_in_the_next_handshake_of_quic_and_no_connection_ends() {
    let safe = Safe::new(|_| {});
    let first = doq(safe.doq()).await;
    put(&safe.tls, &pair("second.example"));
    safe.house.server.renew_certificate(&safe.tls).unwrap();
    let second = doq(safe.doq()).await;
    assert_ne!(certificate_of(&first), certificate_of(&second));
    for connection in [&first, &second] {
        assert!(exchange(connection, &framed(&query("still there?"))).await.is_ok());
    }
}

#[tokio::test]
async fn nothing_is_taken_before_the_handshake_is_done() {
    let safe = Safe::new(|_| {});
    let mut config = client(TLS13, &[b"doq"]);
    config.enable_early_data = true;
    for round in 0..3 {
        let connecting = connecting(safe.doq(), config.clone());
        let Err(connecting) = connecting.into_0rtt() else { panic!("round {round}: a ticket that allows 0-RTT") };
        let connection = connecting.await.unwrap();
        exchange(&connection, &framed(&query("and a ticket"))).await.unwrap();
    }
}

#[tokio::test]
async fn who_is_silent_is_closed_and_who_is_there_hears_that_the_server_stops() {
    let safe = Safe::new(|s| s.tcp_idle_ms = 500);
    let connection = doq(safe.doq()).await;
    exchange(&connection, &framed(&query("and no more"))).await.unwrap();
    match tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap() {
        ConnectionError::ApplicationClosed(closed) => assert_eq!(closed.error_code.into_inner(), 0),
        // QUIC's own timeout is the same.
        other => assert_eq!(other, ConnectionError::TimedOut),
    }
    let safe = Safe::new(|_| {});
    let (dot, doq_address) = (safe.dot(), safe.doq());
    let connection = doq(doq_address).await;
    exchange(&connection, &framed(&query("still there?"))).await.unwrap();
    tokio::task::spawn_blocking(move || drop(safe)).await.unwrap();
    assert_eq!(closed(&connection).await, 0);
    std::net::TcpListener::bind(dot).expect("the port is free");
    UdpSocket::bind(doq_address).expect("the port is free");
}

#[tokio::test]
async fn handshakes_held_open_from_addresses_nobody_has_shown_stall_nobody_and_displace_nobody() {
    // Few places, so that any that were taken would be another one's loss.
    let safe = Safe::new(|s| (s.tcp_connections, s.tcp_per_client) = (4, 4));
    let before = doq(safe.doq()).await;
    exchange(&before, &framed(&query("who came before"))).await.unwrap();
    // First packets of clients that are never heard of again.
    let mut first = Vec::new();
    for _ in 0..400 {
        let trap = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let _gone_at_once = connecting(trap.local_addr().unwrap(), client(TLS13, &[b"doq"]));
        let mut datagram = vec![0; 2048];
        let (length, _) = trap.recv_from(&mut datagram).await.unwrap();
        datagram.truncate(length);
        first.push(datagram);
    }
    let send = |datagram: &Vec<u8>| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(datagram, safe.doq()).unwrap();
        socket
    };
    let _sockets: Vec<UdpSocket> = first.iter().map(send).collect();
    safe.until("those beyond the limit are asked to come again", |stats| stats.retries > 100);
    assert_eq!(safe.stats().open, 1);
    for _ in 0..5 {
        let after = doq(safe.doq()).await;
        exchange(&after, &framed(&query("who came after"))).await.unwrap();
    }
    exchange(&before, &framed(&query("still there?"))).await.unwrap();
}
