//! Server cookies that every server of a set can check: RFC 9018 over RFC 7873.
//!
//! ```text
//!   server cookie, 16 octets:   version 1 │ reserved, 3 │ seconds, 4 │ hash, 8
//!   hash = SipHash-2-4(secret, client cookie │ version │ reserved │ seconds │ client's address)
//! ```
//! Nothing is hashed for a query without cookie.

use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::codec::Cookie;
use crate::model::{CookieSecret, Counter};

/// The one version there is (RFC 9018 §4.1).
const VERSION: u8 = 1;
/// How old a server cookie may be, in seconds (RFC 9018 §4.3).
const OLDEST: i32 = 3600;
/// How far ahead of our clock that of another server of the set may be, in seconds (RFC 9018 §4.3).
const AHEAD: i32 = 300;
/// From which age on the client gets a fresh one, in seconds (RFC 9018 §4.3).
const RENEWED: i32 = 1800;

/// What a query's cookie proves of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// No cookie, or none that this server looks at.
    Absent,
    /// The client's own cookie alone: anybody could have sent it.
    New,
    /// The server cookie is ours: its sender receives what is sent to its address.
    Valid,
    /// The server cookie is too old, or not ours. As good as none (RFC 7873 §5.2.4).
    Invalid,
}

impl Proof {
    /// What a query counts as beside what it is answered.
    #[inline(always)]
    pub fn counter(self) -> Option<Counter> {
        match self {
            Proof::Absent => None,
            Proof::New => Some(Counter::CookieNew),
            Proof::Valid => Some(Counter::CookieValid),
            Proof::Invalid => Some(Counter::CookieInvalid),
        }
    }
}

/// The cookie of a reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub client: [u8; 8],
    pub server: [u8; 16],
}

/// Checks a query's cookie and says which one its reply carries. `secrets`: the first signs, all are accepted.
#[inline(never)]
pub(super) fn check(cookie: &Cookie<'_>, secrets: &[CookieSecret], peer: IpAddr, now_ms: u64) -> (Proof, Option<Given>) {
    let Some(signing) = secrets.first() else { return (Proof::Absent, None) };
    // Seconds in 32 bits, which wrap in 2106; ages are told by serial number arithmetic (RFC 9018 §4.3).
    let now = (now_ms / 1000) as u32;
    let peer = peer.to_canonical();
    let proof = if cookie.server.is_empty() { Proof::New } else { Proof::Invalid };
    if let Some((age, secret)) = verified(cookie, secrets, peer, now) {
        // RFC 9018 §5: what an older secret signed is given out again under the new one.
        if age < RENEWED && secret == 0 {
            let given = cookie.server.try_into().ok().map(|server| Given { client: cookie.client, server });
            return (Proof::Valid, given);
        }
        return (Proof::Valid, Some(fresh(cookie.client, signing, peer, now)));
    }
    (proof, Some(fresh(cookie.client, signing, peer, now)))
}

/// The age of a server cookie in seconds and which secret signed it; `None` where it is not valid.
fn verified(cookie: &Cookie<'_>, secrets: &[CookieSecret], peer: IpAddr, now: u32) -> Option<(i32, usize)> {
    let server: &[u8; 16] = cookie.server.try_into().ok()?;
    let [VERSION, _, _, _, time @ ..] = *server.first_chunk::<8>()? else { return None };
    let age = now.wrapping_sub(u32::from_be_bytes(time)) as i32;
    if !(-AHEAD..=OLDEST).contains(&age) {
        return None;
    }
    let head = server.first_chunk::<8>()?;
    // Hashes are compared as one number: how long that takes says nothing of either.
    let claimed = u64::from_le_bytes(*server.last_chunk::<8>()?);
    let signed = secrets.iter().position(|secret| hash(&cookie.client, head, peer, secret) == claimed)?;
    Some((age, signed))
}

/// A new server cookie.
fn fresh(client: [u8; 8], secret: &CookieSecret, peer: IpAddr, now: u32) -> Given {
    let mut server = [VERSION, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    server[4..8].copy_from_slice(&now.to_be_bytes());
    let head = [VERSION, 0, 0, 0, server[4], server[5], server[6], server[7]];
    server[8..].copy_from_slice(&hash(&client, &head, peer, secret).to_le_bytes());
    Given { client, server }
}

/// RFC 9018 §4.4.
fn hash(client: &[u8; 8], head: &[u8; 8], peer: IpAddr, secret: &CookieSecret) -> u64 {
    let mut input = [0; 32];
    input[..8].copy_from_slice(client);
    input[8..16].copy_from_slice(head);
    let length = match peer {
        IpAddr::V4(v4) => {
            input[16..20].copy_from_slice(&v4.octets());
            20
        }
        IpAddr::V6(v6) => {
            input[16..].copy_from_slice(&v6.octets());
            32
        }
    };
    SipHasher24::new_with_key(&secret.0).hash(&input[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(hex: &str) -> Vec<u8> {
        hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn secret(hex: &str) -> CookieSecret {
        CookieSecret(octets(hex).try_into().unwrap())
    }

    /// What becomes of a cookie in hex: its proof, and the reply's option.
    fn asked(cookie: &str, secrets: &[CookieSecret], peer: &str, now: u64) -> (Proof, String) {
        let data = octets(cookie);
        let (proof, given) = check(&Cookie::parse(&data).unwrap(), secrets, peer.parse().unwrap(), now * 1000 + 999);
        let given = given.unwrap();
        (proof, given.client.iter().chain(&given.server).map(|octet| format!("{octet:02x}")).collect())
    }

    #[test]
    fn cookies_are_those_of_rfc_9018() {
        let check = |cookie: &str, secrets: &[CookieSecret], peer: &str, now: u64, proof: Proof, reply: &str| {
            assert_eq!(asked(cookie, secrets, peer, now), (proof, reply.into()), "{cookie}");
        };
        let one = [secret("e5e973e5a6b2a43f48e7dc849e37bfcf")];
        // Appendix A.1: a client learns a server cookie.
        let learned = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        check("2464c4abcf10c957", &one, "198.51.100.100", 1_559_731_985, Proof::New, learned);
        // Appendix A.2: forty minutes later it gets a fresh one.
        let renewed = "2464c4abcf10c957010000005cf7a871d4a564a1442aca77";
        check(learned, &one, "198.51.100.100", 1_559_734_385, Proof::Valid, renewed);
        // Appendix A.3: another client, whose cookie has reserved bits and is too old.
        let other = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
        let fresh = "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e";
        check(other, &one, "203.0.113.203", 1_559_734_700, Proof::Invalid, fresh);
        // The same while it was young: reserved bits are hashed as they came, and come back.
        check(other, &one, "203.0.113.203", 1_559_728_100, Proof::Valid, other);
        // Appendix A.4: IPv6, and a secret that was replaced.
        let both = [secret("445536bcd2513298075a5d379663c962"), secret("dd3bdf9344b678b185a6f5cb60fca715")];
        let old = "22681ab97d52c298010000005cf7c57926556bd0934c72f8";
        let new = "22681ab97d52c298010000005cf7c609a6bb79d16625507a";
        check(old, &both, "2001:db8:220:1:59de:d0f4:8769:82b8", 1_559_741_961, Proof::Valid, new);
    }

    #[test]
    fn a_cookie_holds_for_its_time_its_client_and_its_secret() {
        let secrets = [CookieSecret([7; 16]), CookieSecret([8; 16])];
        let begun = u64::from(u32::MAX) - 600; // the seconds wrap on the way
        let (_, cookie) = asked("0102030405060708", &secrets, "192.0.2.1", begun);
        let proof = |cookie: &str, secrets: &[CookieSecret], peer: &str, now: u64| {
            let (proof, reply) = asked(cookie, secrets, peer, now);
            (proof, reply == cookie)
        };
        for (after, expected) in [
            (0, (Proof::Valid, true)),
            (-300, (Proof::Valid, true)),
            (-301, (Proof::Invalid, false)),
            (1799, (Proof::Valid, true)),
            (1800, (Proof::Valid, false)),
            (3600, (Proof::Valid, false)),
            (3601, (Proof::Invalid, false)),
            (1 << 31, (Proof::Invalid, false)),
        ] {
            assert_eq!(proof(&cookie, &secrets, "192.0.2.1", begun.wrapping_add_signed(after)), expected, "{after}");
        }
        assert_eq!(proof(&cookie, &secrets, "::ffff:192.0.2.1", begun), (Proof::Valid, true), "one client, however it is written");
        assert_eq!(proof(&cookie, &secrets, "192.0.2.2", begun), (Proof::Invalid, false));
        assert_eq!(proof(&cookie, &secrets[1..], "192.0.2.1", begun), (Proof::Invalid, false));
        let rolled = [secrets[1], secrets[0]];
        assert_eq!(proof(&cookie, &rolled, "192.0.2.1", begun), (Proof::Valid, false), "signed anew by the first secret");
        // Each octet counts, and so does the length.
        for at in 0..24 {
            let mut changed = octets(&cookie);
            changed[at] ^= 1;
            let hex: String = changed.iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(proof(&hex, &secrets, "192.0.2.1", begun).0, Proof::Invalid, "octet {at}");
        }
        assert_eq!(proof(&cookie[..46], &secrets, "192.0.2.1", begun).0, Proof::Invalid);
        assert_eq!(proof(&format!("{cookie}00"), &secrets, "192.0.2.1", begun).0, Proof::Invalid);
    }
}
