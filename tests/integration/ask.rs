//! Asking over UDP, with hickory's parser to read what comes back.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

/// Somebody who asks one server.
pub struct Asker {
    socket: UdpSocket,
    id: u16,
}

impl Asker {
    /// Asks `server` from a port of the kernel's choice.
    pub fn new(server: SocketAddr) -> Asker {
        let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Asker { socket, id: 0 }
    }

    /// One question, one reply.
    pub fn ask(&mut self, name: &str, rtype: RecordType) -> Message {
        self.id = self.id.wrapping_add(1);
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
        self.socket.send(&message.to_vec().unwrap()).unwrap();
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap();
            let reply = Message::from_vec(&buffer[..length]).unwrap();
            if reply.id == self.id {
                return reply;
            }
        }
    }

    /// The addresses of a name.
    pub fn addresses(&mut self, name: &str) -> Vec<IpAddr> {
        self.ask(name, RecordType::A).answers.iter().filter_map(|r| r.data.ip_addr()).collect()
    }
}
