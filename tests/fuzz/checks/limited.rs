//! Asking a server that is on its guard: replies are limited, and small for whoever has shown no cookie.

use std::net::SocketAddr;
use std::sync::Arc;

use signpost::model::Counter;
use signpost::snapshot::Snapshot;
use signpost::wire::{Defences, Transport};

use super::ask::{Asker, TC, compare, is_keepalive};
use super::message::{self, Message};
use super::reply::{self, hex};

/// Octets by which the server's cookie makes a reply longer than its query.
const COOKIE: usize = 16;
/// Most octets that a query brings over UDP.
const DATAGRAM: usize = 4096;

/// Floods a fresh server with one query; every reply is full within the rate, and beyond it small or none, but for those who are exempt
/// and those who bring the cookie that they were given.
pub fn ask(snapshot: &Snapshot, octets: &[u8], peer: SocketAddr) {
    // Which of those beyond the limit slip follows from the seed, and so does the draw of an answer.
    let seed = octets.iter().fold(7_u64, |seed, octet| seed.wrapping_mul(31).wrapping_add(u64::from(*octet)));
    let mut asker = Asker::beside(seed, Arc::new(Defences::new([7; 32], 64)));
    let dns = &*snapshot.dns;
    let first = asker.send(snapshot, octets, peer, Transport::Udp, DATAGRAM);
    assert_eq!(first.is_none(), reply::is_silent(octets), "a reply to what is no query, or none to one: {}", hex(octets));
    let Some(first) = first else { return };
    let read = reply::check(octets, &first, Transport::Udp, dns.udp_payload, dns);
    let proven = asker.count(Counter::CookieValid) == 1;
    let most = usize::from(dns.unverified_max).max(octets.len() + COOKIE);
    assert!(proven || first.len() <= most, "{} octets for a stranger, of {most}: {}", first.len(), hex(octets));

    let is_free = proven || dns.rate_limit.exempt.iter().any(|network| network.contains(&peer.ip().to_canonical()));
    let rate = usize::try_from(dns.rate_limit.per_second).expect("a rate");
    for nth in 2..rate + 3 {
        let again = asker.send(snapshot, octets, peer, Transport::Udp, DATAGRAM);
        let (slipped, limited) = (asker.count(Counter::Slipped), asker.count(Counter::Limited));
        if is_free || nth <= rate {
            assert_eq!(again.as_ref(), Some(&first), "the reply {nth} of {rate} differs: {}", hex(octets));
            assert_eq!((slipped, limited), (0, 0), "limited within the rate: {}", hex(octets));
            continue;
        }
        let beyond = (nth - rate) as u64;
        assert_eq!(slipped + limited, beyond, "the reply {nth} of {rate} is not limited: {}", hex(octets));
        assert_eq!(limited, if again.is_none() { beyond } else { 0 }, "no reply and not counted, or counted and sent: {}", hex(octets));
        if let Some(small) = again {
            slip(octets, &small, &read, snapshot);
        }
    }

    // A stream shows who asks, and so does a cookie that came back.
    let tcp = asker.send(snapshot, octets, peer, Transport::Tcp, 65_535).expect("a reply over TCP, whatever the limit");
    let tcp = reply::check(octets, &tcp, Transport::Tcp, dns.udp_payload, dns);
    let again = asker.ask_with_cookie(snapshot, octets, peer, &read);
    if read.rcode() == 23 || (read.rcode() == 1) != (tcp.rcode() == 1) {
        assert!(read.rcode() == 23 || is_keepalive(octets), "FORMERR on one transport alone: {}", hex(octets));
        return;
    }
    for udp in std::iter::once(&read).chain(&again) {
        compare(udp, &tcp).unwrap_or_else(|reason| panic!("{reason}: {:?}\n{:?}\n{}", udp.records, tcp.records, hex(octets)));
    }
}

/// A reply in place of one beyond the limit: TC, or BADCOOKIE with a cookie, and nothing that would make it worth a forger's while. What is no
/// query stays NOTIMP: to a NOTIFY, NOERROR would say that it was taken.
fn slip(octets: &[u8], small: &[u8], first: &Message, snapshot: &Snapshot) {
    // Of what was not understood, no option is.
    let check = if [1, 16].contains(&first.rcode()) { reply::form } else { reply::check };
    let read = check(octets, small, Transport::Udp, snapshot.dns.udp_payload, &snapshot.dns);
    let cookie = read.options().is_ok_and(|list| list.iter().any(|(code, _)| *code == 10));
    let is_query = octets[2] & 0x78 == 0;
    let told = match read.flags & TC != 0 {
        true => is_query && read.rcode() == 0 && !cookie,
        false if is_query => read.rcode() == 23 && cookie,
        false => read.rcode() == 4,
    };
    assert!(told, "neither TC nor BADCOOKIE, nor NOTIMP for what is no query: {}", hex(small));
    assert!(read.records.iter().all(|record| record.rtype == message::OPT), "records in a reply beyond the limit: {}", hex(small));
    assert!(small.len() <= octets.len() + COOKIE, "more octets than came, and a cookie: {} for {}", hex(small), hex(octets));
}
