//! The clients of a simulation: prefixes with weights.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::routing::{ClientPrefix, Origin, Origins};

/// Client prefixes and how much each counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    clients: Vec<(IpNet, f64)>,
    /// They were seen to ask; otherwise they stand for the prefixes that are known.
    pub observed: bool,
}

/// Prefixes that stand for the known ones, at most.
const SPREAD: usize = 4096;
/// Prefixes that stand for clients of whom nothing is known, where that is so of all.
const UNKNOWN: u64 = 1024;

impl Population {
    /// Exactly these prefixes, each as much as the other.
    pub fn of(nets: impl IntoIterator<Item = IpNet>) -> Population {
        Population { clients: nets.into_iter().map(|net| (net.trunc(), 1.0)).collect(), observed: false }
    }

    /// Those that were seen to ask, by how often; where nobody was, [`Population::spread`].
    pub fn observed(seen: impl Iterator<Item = (u64, u32)>, origins: &Origins) -> Population {
        let mut sums: BTreeMap<ClientPrefix, f64> = BTreeMap::new();
        for (prefix, count) in seen {
            *sums.entry(ClientPrefix(prefix)).or_default() += f64::from(count);
        }
        if sums.is_empty() {
            return Population::spread(origins);
        }
        Population { clients: sums.into_iter().map(|(prefix, count)| (prefix.net(), count)).collect(), observed: true }
    }

    /// The prefixes of which anything is known, each as much as the other: of each as many /24 (/56) as there is room for, spread evenly
    /// over it, for hashes tell those apart. Where nothing is known of anybody, prefixes from all over IPv4.
    pub fn spread(origins: &Origins) -> Population {
        let known: Vec<IpNet> = origins.leaves().filter(|(_, origin)| is_known(origin)).map(|(net, _)| net).collect();
        if known.is_empty() {
            let scattered = (0..UNKNOWN).map(|n| Ipv4Addr::from(((n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32) << 8));
            return Population::of(scattered.filter_map(|address| IpNet::new(address.into(), 24).ok()));
        }
        let step = known.len().div_ceil(SPREAD);
        let each = (SPREAD / known.len()).clamp(1, 256);
        let clients = known.into_iter().step_by(step).flat_map(|net| {
            let parts = parts(net, each);
            let weight = 1.0 / parts.len() as f64;
            parts.into_iter().map(move |part| (part, weight))
        });
        Population { clients: clients.collect(), observed: false }
    }

    /// At most so many of them, evenly chosen; at least one where there is any.
    pub fn at_most(self, most: usize) -> Population {
        let step = self.clients.len().div_ceil(most.max(1)).max(1);
        Population { clients: self.clients.into_iter().step_by(step).collect(), ..self }
    }

    /// How many prefixes.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// At most so many of them, evenly chosen, with their weights as parts of 1.
    pub(super) fn within(&self, most: usize) -> Vec<(IpNet, f64)> {
        let step = self.clients.len().div_ceil(most.max(1)).max(1);
        let chosen: Vec<(IpNet, f64)> = self.clients.iter().step_by(step).copied().collect();
        let sum: f64 = chosen.iter().map(|(_, weight)| weight).sum();
        chosen.into_iter().map(|(net, weight)| (net, weight / sum)).collect()
    }
}

fn is_known(origin: &Origin) -> bool {
    *origin != Origin::default()
}

/// At most `most` prefixes of the length by which clients are hashed, spread evenly over a prefix; itself, where it is longer.
fn parts(net: IpNet, most: usize) -> Vec<IpNet> {
    let (length, host) = match net {
        IpNet::V4(_) => (24, 8),
        IpNet::V6(_) => (56, 72),
    };
    let Some(bits) = u32::from(length).checked_sub(net.prefix_len().into()) else { return vec![net] };
    let count = 1u128 << bits;
    let taken = count.min(most as u128);
    let at = |n: u128| -> IpAddr {
        let offset = (n * (count / taken)) << host;
        match net.network() {
            IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) + offset as u32).into(),
            IpAddr::V6(first) => Ipv6Addr::from(u128::from(first) + offset).into(),
        }
    };
    (0..taken).filter_map(|n| IpNet::new(at(n), length).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_spread_over_a_prefix() {
        let check = |net: &str, most: usize, expected: &str| {
            let found: Vec<String> = parts(net.parse().unwrap(), most).iter().map(IpNet::to_string).collect();
            assert_eq!(found.join(" "), expected);
        };
        check("10.0.0.0/22", 2, "10.0.0.0/24 10.0.2.0/24");
        check("10.0.0.0/24", 9, "10.0.0.0/24");
        check("10.0.0.16/28", 9, "10.0.0.16/28");
        check("10.0.0.0/23", 9, "10.0.0.0/24 10.0.1.0/24");
        check("2001:db8::/32", 2, "2001:db8::/56 2001:db8:8000::/56");
        check("0.0.0.0/0", 3, "0.0.0.0/24 85.85.85.0/24 170.170.170.0/24");
    }

    #[test]
    fn weights_are_parts_of_one_and_who_asks_counts_by_how_often() {
        let seen = [("10.1.2.3", 30u32), ("10.1.2.9", 10), ("2001:db8::1", 60)];
        let seen = seen.map(|(client, count)| (ClientPrefix::of(client.parse().unwrap()).0, count));
        let population = Population::observed(seen.into_iter(), &Origins::default());
        let text: Vec<String> = population.within(9).iter().map(|(net, weight)| format!("{net} {weight}")).collect();
        assert_eq!(text, ["2001:db8::/56 0.6", "10.1.2.0/24 0.4"]);
        assert!(population.observed && !Population::observed([].into_iter(), &Origins::default()).observed);
        assert_eq!(Population::spread(&Origins::default()).within(100).len(), 94);
    }
}
