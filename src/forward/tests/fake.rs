//! An upstream that says what a test wants, and a client.

use std::net::SocketAddr;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

/// What it says to a query.
pub(super) enum Says {
    Nothing,
    This(Message),
    Later(Duration, Message),
}

/// An upstream over UDP and TCP, and what it was asked.
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Vec<(Message, bool)>>>,
}

impl Fake {
    /// `says` is told the query and whether it came over TCP.
    pub(super) async fn new(says: impl Fn(&Message, bool) -> Says + Send + Sync + 'static) -> Fake {
        let says = Arc::new(says);
        let (listener, socket) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
                break (listener, socket);
            }
        };
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<(Message, bool)>>> = Arc::default();
        let (told, asked, socket) = (says.clone(), seen.clone(), Arc::new(socket));
        tokio::spawn(async move {
            let mut octets = [0; 4096];
            loop {
                let (length, peer) = socket.recv_from(&mut octets).await.unwrap();
                let message = Message::from_vec(&octets[..length]).unwrap();
                let (wait, reply) = match told(&message, false) {
                    Says::Nothing => (Duration::ZERO, None),
                    Says::This(reply) => (Duration::ZERO, Some(reply)),
                    Says::Later(wait, reply) => (wait, Some(reply)),
                };
                asked.lock().unwrap().push((message, false));
                let socket = socket.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    if let Some(reply) = reply {
                        socket.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
                    }
                });
            }
        });
        let asked = seen.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (says, asked) = (says.clone(), asked.clone());
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut octets = vec![0; length.into()];
                        stream.read_exact(&mut octets).await.unwrap();
                        let message = Message::from_vec(&octets).unwrap();
                        let said = says(&message, true);
                        asked.lock().unwrap().push((message, true));
                        if let Says::This(reply) = said {
                            let octets = reply.to_vec().unwrap();
                            stream.write_u16(octets.len() as u16).await.unwrap();
                            stream.write_all(&octets).await.unwrap();
                        }
                    }
                });
            }
        });
        Fake { address, seen }
    }

    pub(super) fn upstream(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// A reply to a query, with these answers.
pub(super) fn answers(query: &Message, answers: Vec<Record>) -> Message {
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.queries = query.queries.clone();
    reply.answers = answers;
    if query.edns.is_some() {
        reply.edns = Some(Edns::new());
    }
    reply
}

/// A reply that says that there is nothing, for so many seconds.
pub(super) fn negative(query: &Message, code: ResponseCode, seconds: Option<u32>) -> Message {
    let mut reply = answers(query, Vec::new());
    reply.metadata.response_code = code;
    if let Some(seconds) = seconds {
        let soa = SOA::new(name("ns.test."), name("who.test."), 1, 7200, 900, 1_209_600, seconds);
        reply.authorities = vec![Record::from_rdata(name("test."), 3600, RData::SOA(soa))];
    }
    reply
}

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(super) fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, last)))
}

/// A stub's query: RD, EDNS of 1232 octets.
pub(super) fn query(owner: &str, rtype: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries = vec![Query::query(name(owner), rtype)];
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.edns = Some(edns);
    message
}

/// What we would say ourselves, as `wire::answer_again` gives it.
pub(super) fn own(query: &Message, answers: Vec<Record>) -> Vec<u8> {
    let mut own = Message::response(query.metadata.id, OpCode::Query);
    own.metadata.recursion_desired = query.metadata.recursion_desired;
    own.metadata.recursion_available = true;
    own.metadata.authoritative = !answers.is_empty();
    own.metadata.response_code = if answers.is_empty() { ResponseCode::Refused } else { ResponseCode::NoError };
    own.queries = query.queries.clone();
    own.answers = answers;
    own.edns = query.edns.clone();
    own.to_vec().unwrap()
}

/// Asks, and reads the reply.
pub(super) async fn ask(forward: &Arc<Forward>, query: &Message) -> Message {
    let (octets, own) = (query.to_vec().unwrap(), own(query, Vec::new()));
    let limit = query.edns.as_ref().map_or(512, |edns| edns.max_payload().into());
    let reply = forward.answer(ToForward { query: &octets, own: &own, limit, draw: 1 }).await.unwrap();
    assert!(reply.len() <= limit, "{} octets of {limit}", reply.len());
    let message = Message::from_vec(&reply).unwrap();
    assert_eq!((message.metadata.id, &message.queries), (query.metadata.id, &query.queries));
    assert!(message.metadata.recursion_available && message.metadata.message_type == MessageType::Response);
    message
}

/// Last octets of the addresses in an answer, in order.
pub(super) fn lasts(message: &Message) -> Vec<u8> {
    let of = |record: &Record| match &record.data {
        RData::A(a) => Some(a.0.octets()[3]),
        _ => None,
    };
    message.answers.iter().filter_map(of).collect()
}

/// The INFO-CODEs of extended errors (RFC 8914) in a reply.
pub(super) fn reasons(message: &Message) -> Vec<u16> {
    let options = message.edns.iter().flat_map(|edns| edns.options().options.iter());
    let of = options.filter(|(code, _)| u16::from(*code) == 15).map(|(_, option)| {
        let data: Vec<u8> = option.try_into().unwrap();
        u16::from_be_bytes([data[0], data[1]])
    });
    of.collect()
}
