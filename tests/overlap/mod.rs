//! The world of overlapping networks: every policy over networks within networks, to both sides of what resolvers send of their clients.
//!
//! Two test binaries look at it: one through a recursor's cache, the other at what decides.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Its files.
pub const FILES: &[(&str, &str)] = &[
    ("zones/svc.example.toml", include_str!("zones/svc.example.toml")),
    ("zones/else.example.toml", include_str!("zones/else.example.toml")),
    ("geo/regions.toml", include_str!("geo/regions.toml")),
    ("geo/networks.toml", include_str!("geo/networks.toml")),
    ("geo/latency.toml", include_str!("geo/latency.toml")),
];

/// What is down: `critical` is pushed for these, in this order.
pub const DOWN: &[(&str, &[&str])] = &[
    ("half", &["ams-1b", "iad-1b", "iad-1c", "iad-2b"]),
    ("deep", &["ams-1b"]),
    ("panicky", &["ams-1b", "ams-1c", "ams-2a", "iad-1b", "iad-1c", "nrt-1a", "nrt-1b"]),
    ("gone", &["ams-1a", "iad-1a", "nrt-1a", "syd-1a"]),
    ("before", &["syd-1a", "nrt-1a", "iad-1a", "ams-1a"]),
    ("dead", &["ams-1a", "iad-1a"]),
    ("kept", &["syd-1a"]),
    ("listed", &["ams-1a", "ams-2a"]),
];

/// What is drained.
pub const DRAINED: &[&str] = &["az/iad/iad-2", "instance/quick/nrt-1a"];

/// What is out of answers for a part of the clients, on its way back in.
pub const PARTLY: &[&str] = &["region/fra", "az/fra/fra-2", "service/leaving", "instance/thinned/ams-1a"];

/// The addresses of `count` clients: the edges of every prefix that the world's files name, one beside them, some within, and the rest of
/// a few hundred sites in and around those networks.
pub fn addresses(dice: &mut Dice, count: usize) -> Vec<IpAddr> {
    let words = FILES.iter().flat_map(|(_, text)| text.split('"'));
    let prefixes: BTreeSet<IpNet> = words.filter(|word| word.contains('/')).filter_map(|word| word.parse().ok()).collect();
    let mut addresses = Vec::new();
    for prefix in &prefixes {
        let (first, last) = (prefix.network(), prefix.broadcast());
        addresses.extend([first, last, step(first, -1), step(last, 1)]);
        addresses.extend((0..2).map(|_| dice.within(prefix)));
    }
    // An IPv4-mapped client is in the IPv4 network, though its resolver speaks of IPv6.
    let mapped: Vec<IpAddr> =
        addresses.iter().filter_map(|a| if let IpAddr::V4(v4) = a { Some(v4.to_ipv6_mapped().into()) } else { None }).collect();
    addresses.extend(mapped.iter().step_by(7));
    let around = [
        "10.0.0.0/14",
        "10.0.0.0/14",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "0.0.0.0/0",
        "2001:db8::/46",
        "2001:db8::/31",
        "fd00::/15",
    ];
    let around = around.map(|text| text.parse::<IpNet>().expect("a prefix"));
    let sites: Vec<IpNet> = (0..600)
        .map(|n| {
            let address = dice.within(&around[n % around.len()]);
            net(address, if address.is_ipv4() { 24 } else { 56 })
        })
        .collect();
    while addresses.len() < count {
        let site = sites[dice.below(sites.len())];
        addresses.push(dice.within(&site));
    }
    assert_eq!(addresses.len(), count, "the edges alone are more");
    addresses
}

/// The prefix of that length that holds the address.
pub fn net(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).expect("a length of that family").trunc()
}

/// The address before or behind; where there is none, the one at the other end.
fn step(address: IpAddr, by: i8) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).wrapping_add_signed(by.into())).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).wrapping_add_signed(by.into())).into(),
    }
}

/// Numbers as good as drawn, the same for each run (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// An address of the prefix.
    pub fn within(&mut self, prefix: &IpNet) -> IpAddr {
        match prefix {
            IpNet::V4(prefix) => {
                let host = u32::from(prefix.hostmask());
                Ipv4Addr::from(u32::from(prefix.network()) | self.next() as u32 & host).into()
            }
            IpNet::V6(prefix) => {
                let (host, drawn) = (u128::from(prefix.hostmask()), u128::from(self.next()) << 64 | u128::from(self.next()));
                Ipv6Addr::from(u128::from(prefix.network()) | drawn & host).into()
            }
        }
    }

    /// Puts the list in any order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for n in (1..list.len()).rev() {
            list.swap(n, self.below(n + 1));
        }
    }
}
