//! Hashes by which clients are told apart where a policy gives each of them a lasting place: ramps, spill and `sticky`.
//!
//! A client is the prefix it is in, /24 of IPv4 and /56 of IPv6: what a site is given, and what ECS carries (RFC 7871 §11.1). All of it
//! is the same on every server: names and ids are hashed, never numbers that depend on who came first.

use std::net::IpAddr;

use ipnet::IpNet;

/// Bits of an IPv4 prefix.
const V4_LENGTH: u8 = 24;
/// Bits of an IPv6 prefix.
const V6_LENGTH: u8 = 56;
/// Where IPv4 begins within IPv6: `::ffff:0:0`, of 96 bits.
const MAPPED: u128 = 0xffff << 32;

/// The prefix of a client, as a number, and its length: the least scope of an answer that depends on it.
///
/// An IPv4-mapped address (RFC 4291 §2.5.5.2) is that IPv4 client; the length counts from the start of the IPv6 address. So what shares
/// a /56 with those addresses holds no further than up to them.
#[inline]
pub(super) fn prefix(client: IpAddr) -> (u64, u8) {
    let v4 = |address: std::net::Ipv4Addr| 1 << 56 | u64::from(u32::from(address) >> (32 - V4_LENGTH));
    match client {
        IpAddr::V4(address) => (v4(address), V4_LENGTH),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => (v4(mapped), 96 + V4_LENGTH),
            None => {
                let address = u128::from(address);
                let common = (address ^ MAPPED).leading_zeros() as u8;
                ((address >> (128 - V6_LENGTH)) as u64, V6_LENGTH.max(common + 1))
            }
        },
    }
}

/// The prefix by which a client is hashed and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientPrefix(pub u64);

impl ClientPrefix {
    /// The prefix that a client is in.
    pub fn of(client: IpAddr) -> ClientPrefix {
        ClientPrefix(prefix(client).0)
    }

    /// The prefix as a network.
    pub fn net(self) -> IpNet {
        match self.0 >> V6_LENGTH {
            0 => IpNet::new_assert(IpAddr::from((u128::from(self.0) << (128 - V6_LENGTH)).to_be_bytes()), V6_LENGTH),
            _ => IpNet::new_assert(IpAddr::from(((self.0 as u32) << (32 - V4_LENGTH)).to_be_bytes()), V4_LENGTH),
        }
    }
}

/// The seed that follows from a name (FNV-1a, Fowler, Noll and Vo).
pub fn seed_of(name: &[u8]) -> u64 {
    mix(name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)), 0)
}

/// A number of its own for each salt, as good as drawn (splitmix64, Steele et al. 2014).
#[inline]
pub(super) fn mix(value: u64, salt: u64) -> u64 {
    let mut z = value.wrapping_add(salt.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The value of which [`mix`] makes `mixed`: for whoever wants draws that come out evenly.
pub(super) fn unmix(mixed: u64, salt: u64) -> u64 {
    // The inverses of the multipliers modulo 2⁶⁴, and of each shift, which 64 bits hold at most three times.
    let mut z = mixed ^ (mixed >> 31) ^ (mixed >> 62);
    z = z.wrapping_mul(0x3196_42b2_d24d_8ec3);
    z = z ^ (z >> 27) ^ (z >> 54);
    z = z.wrapping_mul(0x96de_1b17_3f11_9089);
    z = z ^ (z >> 30) ^ (z >> 60);
    z.wrapping_sub(salt.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The score of one among several in weighted rendezvous hashing (Schindelhauer and Schomaker 2005): the highest wins, each with a
/// probability in proportion to its weight. A changed weight moves only clients from or to its own.
pub(super) fn score(client: u64, seed: u64, weight: f64) -> f64 {
    // Within (0, 1), so that the logarithm is negative and finite.
    let unit = ((mix(client, seed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    weight / -unit.ln()
}

/// Salts that keep what follows from one client's hash apart.
pub(super) mod salt {
    pub const RAMP: u64 = 0x52;
    pub const SPILL: u64 = 0x53;
    /// The slots of an instance, one after the other; further ones count up.
    pub const PLACE: u64 = 1 << 32;
    /// The slots that a client tries, one after the other; further ones count up.
    pub const TRY: u64 = 1 << 33;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_their_prefix() {
        let check = |a: &str, b: &str, same: bool| {
            let (a, b) = (prefix(a.parse().unwrap()), prefix(b.parse().unwrap()));
            assert_eq!(a.0 == b.0, same);
            a.1
        };
        assert_eq!(check("192.0.2.1", "192.0.2.255", true), 24);
        assert_eq!(check("192.0.2.1", "192.0.3.1", false), 24);
        assert_eq!(check("2001:db8:0:ff::1", "2001:db8:0:1::2", true), 56);
        assert_eq!(check("2001:db8:0:100::", "2001:db8::", false), 56);
        assert_eq!(check("::ffff:192.0.2.1", "192.0.2.9", true), 120);
        assert_eq!(check("::1:c000:200", "192.0.2.1", false), 81);
        assert_eq!(check("::1", "::2", true), 81);
        assert_eq!(check("::fffe:c000:200", "::ffff:192.0.2.0", false), 96);
        assert_eq!(check("::ff:0:0:0:0", "::", true), 57);
        assert_eq!(check("0:0:0:100::", "::", false), 56);
        for (client, net) in
            [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"), ("::ffff:10.1.2.3", "10.1.2.0/24")]
        {
            assert_eq!(ClientPrefix::of(client.parse().unwrap()).net().to_string(), net);
        }
    }

    #[test]
    fn what_is_mixed_can_be_unmixed() {
        for n in 0..1000u64 {
            let (value, salt) = (n.wrapping_mul(0x0123_4567_89ab_cdef), n << 30 | n);
            assert_eq!(unmix(mix(value, salt), salt), value);
        }
    }

    #[test]
    fn rendezvous_gives_each_its_share_and_moves_only_that() {
        let weights = [50.0, 30.0, 20.0, 0.0];
        let winner = |client: u64, weights: &[f64; 4]| {
            (0..4u64).max_by(|a, b| score(client, *a, weights[*a as usize]).total_cmp(&score(client, *b, weights[*b as usize]))).unwrap()
        };
        let clients = || (0..100_000u64).map(|n| mix(n, 7));
        let mut found = [0u32; 4];
        clients().for_each(|client| found[winner(client, &weights) as usize] += 1);
        for (found, weight) in found.iter().zip(weights) {
            assert!((f64::from(*found) / 1000.0 - weight).abs() < 0.5, "{found} for {weight} %");
        }
        let raised = [50.0, 60.0, 20.0, 0.0];
        for client in clients() {
            let (before, after) = (winner(client, &weights), winner(client, &raised));
            assert!(before == after || after == 1, "only to the one whose weight was raised");
        }
    }
}
