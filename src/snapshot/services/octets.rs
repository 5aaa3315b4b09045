//! The octets of a service: a head for each instance, then instance after instance what answers copy of it.

use std::ops::Deref;
use std::sync::Arc;

use super::InstanceView;
use crate::model::{Instance, Label};

/// The octets of a service: few lie in it.
#[derive(Debug, Clone)]
pub(super) enum Octets {
    Within([u8; WITHIN]),
    Apart(Arc<[u8]>),
}

/// Octets that lie in the service itself: those of one instance with one address and one port, whose names have 40 letters together.
const WITHIN: usize = 63;

/// Where the parts of one instance lie, one behind the other from `start`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub start: u32,
    pub v4: u8,
    pub target: u8,
    pub ports: u8,
    pub v6: u16,
    /// What its TXT record has beside id, region and az.
    pub txt: u16,
}

/// Octets of a head.
pub(super) const HEAD: usize = 11;
/// Octets of one port: its number among the service's ports, and the port number itself.
pub(super) const PORT_OCTETS: usize = 3;

impl Deref for Octets {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Octets::Within(octets) => octets,
            Octets::Apart(octets) => octets,
        }
    }
}

impl From<Vec<u8>> for Octets {
    fn from(octets: Vec<u8>) -> Octets {
        match octets.len() {
            0..=WITHIN => {
                let mut within = [0; WITHIN];
                within[..octets.len()].copy_from_slice(&octets);
                Octets::Within(within)
            }
            _ => Octets::Apart(octets.into()),
        }
    }
}

impl Head {
    pub fn write(self, member: usize, octets: &mut [u8]) {
        let head = &mut octets[member * HEAD..][..HEAD];
        head[..4].copy_from_slice(&self.start.to_le_bytes());
        head[4..7].copy_from_slice(&[self.v4, self.target, self.ports]);
        head[7..9].copy_from_slice(&self.v6.to_le_bytes());
        head[9..].copy_from_slice(&self.txt.to_le_bytes());
    }

    #[inline]
    pub fn read(head: &[u8]) -> Head {
        let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let start = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        Head { start, v4: head[4], target: head[5], ports: head[6], v6: short(7), txt: short(9) }
    }

    #[inline]
    pub fn target_start(&self) -> usize {
        self.start as usize + usize::from(self.v4) + usize::from(self.v6)
    }

    #[inline]
    pub fn ports_start(&self) -> usize {
        self.target_start() + usize::from(self.target)
    }
}

/// Appends the addresses, IPv4 first; returns the octets of each family.
pub(super) fn write_addresses(octets: &mut Vec<u8>, instance: &Instance) -> (u8, u16) {
    let start = octets.len();
    for address in instance.addresses.iter() {
        if let std::net::IpAddr::V4(v4) = address {
            octets.extend_from_slice(&v4.octets());
        }
    }
    let middle = octets.len();
    for address in instance.addresses.iter() {
        if let std::net::IpAddr::V6(v6) = address {
            octets.extend_from_slice(&v6.octets());
        }
    }
    ((middle - start) as u8, (octets.len() - middle) as u16)
}

/// Appends `<id>.id.<service>` without the root label.
pub(super) fn write_target(octets: &mut Vec<u8>, id: &Label, service: &Label) -> u8 {
    let start = octets.len();
    for label in [id.as_str(), "id", service.as_str()] {
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    (octets.len() - start) as u8
}

/// Appends what TXT RDATA has of the instance's own: one character-string (RFC 1035 §3.3) per fact.
pub(super) fn write_txt(octets: &mut Vec<u8>, view: &InstanceView<'_>) -> u16 {
    let start = octets.len();
    let mut string = |key: &str, value: &str| {
        // A registered key and value hold at most 254 octets together; labels hold 63.
        octets.push((key.len() + 1 + value.len()).min(255) as u8);
        octets.extend(key.bytes().chain(*b"=").chain(value.bytes()).take(255));
    };
    view.instance.tags.iter().for_each(|tag| string("tag", tag.as_str()));
    view.instance.meta.iter().for_each(|(key, value)| string(key, value));
    (octets.len() - start) as u16
}
