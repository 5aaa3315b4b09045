//! Addresses that are never probed. Whoever may register an instance chooses where probes go: they must not become requests to what only
//! this machine can reach (DESIGN §10).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is that is never probed; `None` for all others.
pub(super) fn barred(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => barred_v4(v4),
        IpAddr::V6(v6) => barred_v6(v6),
    }
}

fn barred_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        // 0.0.0.0/8: "this host on this network" (RFC 1122 §3.2.1.3); Linux takes 0.0.0.0 for itself.
        [0, ..] => Some("an unspecified address"),
        // RFC 3927; 169.254.169.254 is the metadata service of AWS, Azure, GCP and most others.
        [169, 254, ..] => Some("a link-local address"),
        [224..=239, ..] => Some("a multicast address"),
        [255, 255, 255, 255] => Some("the broadcast address"),
        [100, 100, 100, 200] => Some("a cloud's metadata service"), // Alibaba
        [168, 63, 129, 16] => Some("a cloud's metadata service"),   // Azure WireServer
        [192, 0, 0, 192] => Some("a cloud's metadata service"),     // Oracle
        _ => None,
    }
}

fn barred_v6(address: Ipv6Addr) -> Option<&'static str> {
    // Addresses that carry an IPv4 address lead to it: mapped (RFC 4291 §2.5.5.2), and by the well-known NAT64 prefix (RFC 6052 §2.1).
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            return barred_v4(Ipv4Addr::new(a, b, c, d));
        }
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => return Some("a cloud's metadata service"), // AWS
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => return Some("a cloud's metadata service"),  // GCP
        _ => {}
    }
    match () {
        () if address.is_unspecified() => Some("an unspecified address"),
        () if address.is_multicast() => Some("a multicast address"),
        () if address.is_unicast_link_local() => Some("a link-local address"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_reach_too_is_probed() {
        for (address, expected) in [
            ("0.0.0.0", Some("unspecified")),
            ("0.1.2.3", Some("unspecified")),
            ("::", Some("unspecified")),
            ("169.254.169.254", Some("link-local")),
            ("169.254.0.1", Some("link-local")),
            ("fe80::1", Some("link-local")),
            ("febf::1", Some("link-local")),
            ("::ffff:169.254.169.254", Some("link-local")),
            ("64:ff9b::a9fe:a9fe", Some("link-local")),
            ("224.0.0.1", Some("multicast")),
            ("239.255.255.255", Some("multicast")),
            ("ff02::1", Some("multicast")),
            ("255.255.255.255", Some("broadcast")),
            ("100.100.100.200", Some("metadata")),
            ("168.63.129.16", Some("metadata")),
            ("fd00:ec2::254", Some("metadata")),
            ("fd20:ce::254", Some("metadata")),
            ("127.0.0.1", None),
            ("10.0.0.1", None),
            ("100.100.100.201", None),
            ("169.253.255.255", None),
            ("::1", None),
            ("fd00:ec2::253", None),
            ("fec0::1", None),
            ("::ffff:192.0.2.1", None),
            ("2001:db8::1", None),
        ] {
            let found = barred(address.parse().unwrap());
            assert_eq!(found.is_some(), expected.is_some(), "{address}: {found:?}");
            assert!(expected.is_none_or(|word| found.unwrap().contains(word)), "{address}: {found:?}");
        }
    }
}
