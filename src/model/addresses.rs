//! The addresses of an instance.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// Addresses in the order in which they were given. One IPv4 address, as most instances have, takes 16 octets and no heap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<IpAddr>", into = "Vec<IpAddr>")]
pub struct Addresses(Kept);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    V4(Ipv4Addr),
    Many(Box<[IpAddr]>),
}

impl Addresses {
    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::V4(_) => 1,
            Kept::Many(all) => all.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first one.
    pub fn first(&self) -> Option<IpAddr> {
        self.iter().next()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + Clone + '_ {
        let (one, many): (_, &[IpAddr]) = match &self.0 {
            Kept::V4(address) => (Some(IpAddr::V4(*address)), &[]),
            Kept::Many(all) => (None, all),
        };
        one.into_iter().chain(many.iter().copied())
    }
}

impl From<Vec<IpAddr>> for Addresses {
    fn from(addresses: Vec<IpAddr>) -> Addresses {
        Addresses(match addresses.as_slice() {
            [IpAddr::V4(address)] => Kept::V4(*address),
            _ => Kept::Many(addresses.into()),
        })
    }
}

impl From<Addresses> for Vec<IpAddr> {
    fn from(addresses: Addresses) -> Vec<IpAddr> {
        addresses.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_number_and_order() {
        assert_eq!(size_of::<Addresses>(), 16);
        for json in ["[]", r#"["192.0.2.1"]"#, r#"["2001:db8::1"]"#, r#"["192.0.2.9","2001:db8::1","192.0.2.1"]"#] {
            let addresses: Addresses = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&addresses).unwrap(), json);
            assert_eq!((addresses.len(), addresses.is_empty()), (addresses.iter().count(), json == "[]"));
            assert_eq!(addresses.first(), addresses.iter().next());
        }
    }
}
