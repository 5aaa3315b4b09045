//! A relay in front of a name server that notes what is asked: what a recursor really sends is seen here and nowhere else.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

/// One query as it came by.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it came.
    pub when: Instant,
    /// QNAME in the asker's spelling.
    pub name: String,
    /// QTYPE.
    pub rtype: String,
    /// The cookie option's octets (RFC 7873 §4): 8 of the client alone, or the server's behind them.
    pub cookie: Vec<u8>,
    /// The number of the TCP connection that it came on.
    pub connection: Option<usize>,
    /// Whether a reply was still due on that connection.
    pub pipelined: bool,
    /// RCODE of the reply, the extended one; none while there is no reply.
    pub rcode: Option<u16>,
}

/// A relay of UDP and TCP that lives as long as the test's process.
pub struct Tap {
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Tap {
    /// Relays from `front` to `behind`.
    pub fn start(front: SocketAddr, behind: SocketAddr) -> Tap {
        let tap = Tap { seen: Arc::default() };
        let (udp, seen) = (UdpSocket::bind(front).expect("the tap's address"), tap.seen.clone());
        std::thread::spawn(move || relay_datagrams(&udp, behind, &seen));
        let (tcp, seen) = (TcpListener::bind(front).expect("the tap's address"), tap.seen.clone());
        std::thread::spawn(move || {
            for (number, client) in tcp.incoming().flatten().enumerate() {
                let Ok(server) = TcpStream::connect(behind) else { continue };
                relay_connection(number, client, server, &seen);
            }
        });
        tap
    }

    /// What has come by so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }
}

fn lock(seen: &Mutex<Vec<Seen>>) -> std::sync::MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(query: &[u8], connection: Option<usize>, pipelined: bool) -> Seen {
    let message = Message::from_vec(query).expect("a recursor's query");
    let question = message.queries.first().expect("a question");
    let cookie = match message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Cookie)) {
        Some(EdnsOption::Unknown(_, octets)) => octets.clone(),
        _ => Vec::new(),
    };
    let (name, rtype) = (question.name().to_string(), question.query_type().to_string());
    Seen { when: Instant::now(), name, rtype, cookie, connection, pipelined, rcode: None }
}

/// The RCODE with the upper bits that an OPT carries.
fn rcode(reply: &[u8]) -> u16 {
    Message::from_vec(reply).expect("a reply of Signpost's").metadata.response_code.into()
}

/// Every datagram gets a socket of its own towards the server, so that replies find their way.
fn relay_datagrams(front: &UdpSocket, behind: SocketAddr, seen: &Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = [0; 65_535];
    while let Ok((length, client)) = front.recv_from(&mut buffer) {
        let mark = {
            let mut seen = lock(seen);
            seen.push(read(&buffer[..length], None, false));
            seen.len() - 1
        };
        let any: SocketAddr = if behind.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
        let server = UdpSocket::bind(any).expect("a port");
        server.connect(behind).expect("an address of this machine");
        server.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        server.send(&buffer[..length]).expect("a server that listens");
        let (front, seen) = (front.try_clone().expect("a socket"), seen.clone());
        std::thread::spawn(move || {
            let mut reply = [0; 65_535];
            if let Ok(length) = server.recv(&mut reply) {
                lock(&seen)[mark].rcode = Some(rcode(&reply[..length]));
                let _ = front.send_to(&reply[..length], client);
            }
        });
    }
}

/// A connection on each side, and a thread for each direction.
fn relay_connection(number: usize, client: TcpStream, server: TcpStream, seen: &Arc<Mutex<Vec<Seen>>>) {
    let due: Arc<Mutex<HashMap<[u8; 2], usize>>> = Arc::default();
    let clone = |stream: &TcpStream| stream.try_clone().expect("a socket");
    let (mut from, mut to, queries, waiting) = (clone(&client), clone(&server), seen.clone(), due.clone());
    std::thread::spawn(move || {
        while let Some(frame) = frame(&mut from) {
            {
                let (mut seen, mut due) = (lock(&queries), waiting.lock().unwrap_or_else(PoisonError::into_inner));
                seen.push(read(&frame[2..], Some(number), !due.is_empty()));
                due.insert([frame[2], frame[3]], seen.len() - 1);
            }
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let (mut from, mut to, seen) = (server, client, seen.clone());
    std::thread::spawn(move || {
        while let Some(frame) = frame(&mut from) {
            let mark = due.lock().unwrap_or_else(PoisonError::into_inner).remove(&[frame[2], frame[3]]);
            if let Some(mark) = mark {
                lock(&seen)[mark].rcode = Some(rcode(&frame[2..]));
            }
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

/// A message with the two octets of its length (RFC 1035 §4.2.2); none at the end.
fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; 2 + usize::from(u16::from_be_bytes(length))];
    frame[..2].copy_from_slice(&length);
    stream.read_exact(&mut frame[2..]).ok()?;
    Some(frame)
}
