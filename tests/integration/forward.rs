//! Names of others, end to end: a client of the networks has them looked up, nobody else has, and other upstreams need no restart.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::process::{Home, Http};

/// An upstream that answers each A with one address, and many where the name begins with `big`.
fn upstream(last: u8) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(address).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = move |octets: &[u8]| {
        let query = Message::from_vec(octets).unwrap();
        let mut reply = Message::response(query.id, OpCode::Query);
        reply.queries = query.queries.clone();
        let owner = query.queries[0].name().clone();
        let many = if owner.to_lowercase().to_string().starts_with("big") { 150 } else { 1 };
        let address = |n: u8| RData::A(A::new(198, 51, 100 + n, last));
        reply.answers = (0..many).map(|n| Record::from_rdata(owner.to_lowercase(), 60, address(n))).collect();
        reply
    };
    let counted = asked.clone();
    std::thread::spawn(move || {
        let mut octets = [0; 4096];
        loop {
            let (length, peer) = socket.recv_from(&mut octets).unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let mut reply = answer(&octets[..length]);
            if reply.answers.len() > 1 {
                reply.answers.clear();
                reply.metadata.truncation = true;
            }
            socket.send_to(&reply.to_vec().unwrap(), peer).unwrap();
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut octets = vec![0; u16::from_be_bytes(length).into()];
                    stream.read_exact(&mut octets).unwrap();
                    let reply = answer(&octets).to_vec().unwrap();
                    stream.write_all(&[&(reply.len() as u16).to_be_bytes()[..], &reply].concat()).unwrap();
                }
            });
        }
    });
    (address, asked)
}

/// What a stub at that address is told about the addresses of a name.
fn ask(from: [u8; 4], server: SocketAddr, name: &str) -> Message {
    let socket = UdpSocket::bind((Ipv4Addr::from(from), 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    socket.send(&message.to_vec().unwrap()).unwrap();
    let mut octets = [0; 4096];
    let length = socket.recv(&mut octets).unwrap();
    let reply = Message::from_vec(&octets[..length]).unwrap();
    assert_eq!((reply.id, &reply.queries), (77, &message.queries));
    reply
}

fn addresses(reply: &Message) -> Vec<IpAddr> {
    reply.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
}

#[test]
fn clients_of_the_networks_have_names_looked_up_and_nobody_else() {
    let ((first, asked), (second, _)) = (upstream(1), upstream(2));
    let zone = "services = true\nns = [\"ns1.svc.example.\"]\n[records]\nns1 = { A = [\"127.0.0.1\"] }\nout = { CNAME = [\"www.elsewhere.test.\"] }\n";
    let home = Home::new(&[("zones/svc.example.toml", zone)]);
    let path = home.folder.path().join("signpost.toml");
    let plain = std::fs::read_to_string(&path).unwrap();
    let forward = |upstream: SocketAddr| format!("{plain}[forward]\nnetworks = [\"127.0.0.1\"]\nupstreams = [\"{upstream}\"]\n");
    std::fs::write(&path, forward(first)).unwrap();
    let (_server, _) = home.start();
    let (ours, others) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    let is = |reply: &Message, expected: &[&str]| {
        assert_eq!(addresses(reply), expected.iter().map(|a| a.parse::<IpAddr>().unwrap()).collect::<Vec<_>>(), "{reply:?}");
    };
    let reply = ask(ours, home.dns, "www.elsewhere.test.");
    is(&reply, &["198.51.100.1"]);
    assert!(reply.metadata.recursion_available && !reply.metadata.authoritative);
    // Ours first, then theirs.
    let reply = ask(ours, home.dns, "out.svc.example.");
    is(&reply, &["198.51.100.1"]);
    assert_eq!((reply.answers.len(), reply.answers[0].record_type()), (2, RecordType::CNAME));
    let reply = ask(ours, home.dns, "ns1.svc.example.");
    is(&reply, &["127.0.0.1"]);
    assert!(reply.metadata.recursion_available && reply.metadata.authoritative);
    let before = asked.load(Ordering::Relaxed);
    for name in ["www.elsewhere.test.", "other.elsewhere.test."] {
        let reply = ask(others, home.dns, name);
        assert_eq!((reply.response_code, reply.metadata.recursion_available), (ResponseCode::Refused, false), "{name}");
    }
    assert_eq!(ask(others, home.dns, "out.svc.example.").answers.len(), 1);
    assert_eq!(asked.load(Ordering::Relaxed), before);
    // Too much for a datagram of 512 octets.
    let reply = ask(ours, home.dns, "big.elsewhere.test.");
    assert!(reply.metadata.truncation && !reply.answers.is_empty());
    let text = Http::connect(home.api).and_then(|mut http| http.call("GET", "/metrics", "")).unwrap().1;
    for line in [
        format!("signpost_forward_upstream_queries_total{{upstream=\"{first}\"}} 2.0"),
        format!("signpost_forward_upstream_up{{upstream=\"{first}\"}} 1.0"),
        "signpost_forward_queries_total 3.0".into(),
        "signpost_forward_hits_total 1.0".into(),
        "signpost_dns_slow_taken_total 3.0".into(),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    // Other upstreams, and what the former ones said is forgotten.
    std::fs::write(&path, forward(second)).unwrap();
    let begin = Instant::now();
    while addresses(&ask(ours, home.dns, "www.elsewhere.test.")) != ["198.51.100.2".parse::<IpAddr>().unwrap()] {
        assert!(begin.elapsed() < Duration::from_secs(20), "the new upstream is not asked: {}", home.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::write(&path, &plain).unwrap();
    while ask(ours, home.dns, "www.elsewhere.test.").response_code != ResponseCode::Refused {
        assert!(begin.elapsed() < Duration::from_secs(40), "it is still looked up: {}", home.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    // An open resolver is no configuration.
    std::fs::write(&path, forward(second).replace("127.0.0.1\"]\nup", "0.0.0.0/0\"]\nup")).unwrap();
    while !home.log().contains("open resolver") {
        assert!(begin.elapsed() < Duration::from_secs(60), "nobody says what is wrong: {}", home.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(ours, home.dns, "www.elsewhere.test.").response_code, ResponseCode::Refused);
}
