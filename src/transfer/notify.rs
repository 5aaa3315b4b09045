//! Who is told that a zone has changed, and told again until it answers (RFC 1996). No IO: messages go out and come in as octets.
//!
//! ```text
//!   changed ─▶ due ── poll ──▶ told, waits 2, 4, 8 … s ── received ──▶ done
//!               ▲                     │
//!               └──── no answer ──────┘  after ATTEMPTS: given up
//! ```
//! A zone that changes again is told anew: the latest serial is the one that matters.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::content::Records;
use super::packer::Packer;
use crate::codec::code::{CLASS_IN, rcode, rtype};
use crate::codec::{HEADER, Header, NameBuf};
use crate::model::{Name, Peer};
use crate::tsig::{self, Keys, Verifier};

/// NOTIFY (RFC 1996 §3.1).
const OPCODE_NOTIFY: u16 = 4 << 11;
/// Attempts for one change (RFC 1996 §3.6 asks for a limit).
const ATTEMPTS: u32 = 6;
/// Milliseconds until the second attempt; each later one waits twice as long.
const FIRST_WAIT: u64 = 2_000;

/// What came of telling a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It knows.
    Acknowledged {
        /// The zone.
        apex: Name,
        /// The server.
        peer: Peer,
    },
    /// It answers with an error.
    Refused {
        /// The zone.
        apex: Name,
        /// The server.
        peer: Peer,
        /// Its RCODE.
        rcode: u16,
    },
    /// It did not answer, or there is no key to sign with.
    GivenUp {
        /// The zone.
        apex: Name,
        /// The server.
        peer: Peer,
    },
}

#[derive(Debug)]
struct Waiting {
    soa: Arc<Records>,
    attempts: u32,
    /// Milliseconds since the Unix epoch.
    due: u64,
    id: u16,
    verifier: Option<Verifier>,
}

/// Whom to tell.
#[derive(Debug, Default)]
pub struct Notifier {
    waiting: BTreeMap<(Name, Peer), Waiting>,
}

impl Notifier {
    /// A zone has changed: `peers` are to be told its SOA. Times are in milliseconds since the Unix epoch.
    pub fn changed(&mut self, apex: &Name, peers: &[Peer], soa: &Arc<Records>, now: u64) {
        for peer in peers {
            let waiting = Waiting { soa: soa.clone(), attempts: 0, due: now, id: 0, verifier: None };
            self.waiting.insert((apex.clone(), peer.clone()), waiting);
        }
    }

    /// Forgets everybody who is no longer to be told, by zone and server.
    pub fn keep(&mut self, still: impl Fn(&Name, &Peer) -> bool) {
        self.waiting.retain(|(apex, peer), _| still(apex, peer));
    }

    /// When [`Notifier::poll`] is needed next.
    pub fn next_due(&self) -> Option<u64> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }

    /// The messages to be sent now, and who is given up. `id` gives random ids.
    pub fn poll(&mut self, now: u64, keys: &Keys, id: &mut dyn FnMut() -> u16) -> (Vec<(SocketAddr, Vec<u8>)>, Vec<Told>) {
        let (mut messages, mut told) = (Vec::new(), Vec::new());
        self.waiting.retain(|(apex, peer), waiting| {
            if waiting.due > now {
                return true;
            }
            let key = peer.key.as_ref().map(|name| keys.get(name));
            if waiting.attempts == ATTEMPTS || matches!(key, Some(None)) {
                told.push(Told::GivenUp { apex: apex.clone(), peer: peer.clone() });
                return false;
            }
            waiting.id = id();
            let mut message = notify(waiting.id, apex, &waiting.soa);
            // A NOTIFY is short: there is room.
            waiting.verifier = key.flatten().and_then(|key| tsig::ask(&mut message, key, now / 1000).ok());
            waiting.due = now + (FIRST_WAIT << waiting.attempts);
            waiting.attempts += 1;
            messages.push((peer.address, message));
            true
        });
        (messages, told)
    }

    /// Takes a datagram. `None`: it is no reply to any of ours, or proves nothing.
    pub fn received(&mut self, from: SocketAddr, message: &[u8], now: u64) -> Option<Told> {
        let header = Header::parse(message).filter(|header| header.is_response() && header.flags & Header::OPCODE == OPCODE_NOTIFY)?;
        let mut name = NameBuf::default();
        // RFC 1996 §3.8: the question comes back. Some leave it out where the RCODE says enough.
        let apex = (header.counts.get(0) == 1).then(|| name.read(message, HEADER).is_ok());
        if apex == Some(false) {
            return None;
        }
        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        let found = self.waiting.iter().find(|((of, peer), waiting)| {
            let same_name = apex.is_none() || of.wire() == name.wire();
            waiting.attempts > 0 && waiting.id == header.id && canonical(peer.address) == canonical(from) && same_name
        });
        let (key, waiting) = found?;
        if let Some(verifier) = &waiting.verifier {
            verifier.clone().verify(message, now / 1000).ok()?;
        }
        let (apex, peer) = key.clone();
        self.waiting.remove(&(apex.clone(), peer.clone()));
        Some(match header.flags & 0xf {
            rcode::NOERROR => Told::Acknowledged { apex, peer },
            rcode => Told::Refused { apex, peer, rcode },
        })
    }
}

/// A NOTIFY with the new SOA as a hint (RFC 1996 §3.7).
fn notify(id: u16, apex: &Name, soa: &Records) -> Vec<u8> {
    let header = Header { id, flags: OPCODE_NOTIFY | Header::AA, counts: [1, 0, 0, 0].into() };
    let mut opening = header.octets().to_vec();
    opening.extend_from_slice(apex.wire());
    opening.extend_from_slice(&rtype::SOA.to_be_bytes());
    opening.extend_from_slice(&CLASS_IN.to_be_bytes());
    let mut packer = Packer::new();
    packer.begin(&opening, 512);
    for record in soa.iter() {
        // A hint: where it does not fit the question says it all.
        let _ = packer.add(record);
    }
    packer.finish()
}
