//! Services compiled: pools for routing, and the record data of each instance ready to be copied into answers.
//!
//! All octets of a service lie in one block: a head for each instance, then instance after instance its addresses, target, ports and what
//! its TXT record has of its own. An answer copies slices of it. What stands elsewhere is not written once more: a service's settings are
//! held once for all services that have the same ([`Common`]), an id is the first label of the target and the service's name its last one,
//! region and az are the pool's.

mod compile;
mod octets;
mod restand;
#[cfg(test)]
mod tests;
mod views;

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use self::octets::{HEAD, Head, Octets, PORT_OCTETS};
pub use self::views::{InstanceView, ServiceView, TurnedView};
use super::zones::LeafRecords;
use crate::model::{Label, Protocol, Shared};
use crate::routing::{Need, Places, Pool, Standing};

/// A service, compiled. Instances are known by their number: the place in the order of ids.
///
/// A service of one instance with names of usual length is one allocation of 128 octets, of which there may be a million.
#[derive(Debug)]
pub struct CompiledService {
    pool: Pool,
    common: Arc<Common>,
    /// What few services have.
    rest: Option<Box<Rest>>,
    /// Where the service's name lies in the octets: it is the last label of the first instance's target.
    label_at: u32,
    label_length: u8,
    /// See [`Head`] and the module.
    octets: Octets,
}

/// What an SRV record of an instance is made of.
#[derive(Debug, Clone, Copy)]
pub struct SrvParts<'s> {
    /// [`CompiledService::target`], and whatever stands behind it.
    pub target: &'s [u8],
    /// Octets of the target.
    pub length: usize,
    /// [`CompiledService::port_number`].
    pub port: u16,
    /// Its address of IPv4, where it has no other.
    pub only_address: Option<&'s [u8; 4]>,
}

/// What many services have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Common {
    /// Distinct (name, protocol) of all instances, in order; the place is the number in [`Need::port`].
    ports: Box<[(Label, Protocol)]>,
    default_port: Option<u8>,
    tls_port: Option<u8>,
    alpn: Box<[u8]>,
    max_addresses: u8,
    max_srv: u8,
    tiers: u8,
    /// Most IPv4 and most IPv6 addresses that one instance has.
    most_v4: u8,
    most_v6: u8,
    /// Whether an address stands at two instances, such as those of one host.
    shares_addresses: bool,
    /// By how many bits a weight is spread for SRV.
    srv_shift: u8,
}

/// What few services have.
#[derive(Debug, Clone, Default)]
struct Rest {
    /// Of its policy's leaves.
    records: Option<Arc<LeafRecords>>,
    /// Who was healthy last, in order of ids; kept only while nobody is.
    last_good: Option<Arc<[Label]>>,
}

static COMMON: Shared<Common> = Shared::new();
/// Those of a service whose policy has no static records.
static NO_RECORDS: LazyLock<LeafRecords> = LazyLock::new(LeafRecords::default);

impl CompiledService {
    /// For routing.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The static records of its policy's leaves.
    pub fn records(&self) -> &LeafRecords {
        self.rest.as_ref().and_then(|rest| rest.records.as_deref()).unwrap_or_else(|| &NO_RECORDS)
    }

    /// Its name, in lower case.
    pub fn label(&self) -> &str {
        // A label is ASCII.
        std::str::from_utf8(self.label_octets()).unwrap_or_default()
    }

    /// Its name, in lower case.
    #[inline]
    pub(super) fn label_octets(&self) -> &[u8] {
        self.slice(self.label_at as usize, self.label_length.into())
    }

    /// How many instances it has, in whatever state.
    pub fn len(&self) -> usize {
        self.pool.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.pool.is_empty()
    }

    /// The number of an instance, by its lower-case id.
    pub fn member(&self, id: &[u8]) -> Option<u32> {
        let (mut first, mut behind) = (0, self.len() as u32);
        while first < behind {
            let middle = first + (behind - first) / 2;
            match self.id_octets(middle).cmp(id) {
                Ordering::Less => first = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => behind = middle,
            }
        }
        None
    }

    /// The id of an instance.
    pub fn id(&self, member: u32) -> &str {
        // A label is ASCII.
        std::str::from_utf8(self.id_octets(member)).unwrap_or_default()
    }

    /// Whether an address stands at two instances: an answer holds it once (RFC 2181 §5).
    pub fn shares_addresses(&self) -> bool {
        self.common.shares_addresses
    }

    /// IPv4 addresses of an instance, 4 octets each.
    pub fn v4(&self, member: u32) -> &[u8] {
        let head = self.head(member);
        self.slice(head.start as usize, head.v4.into())
    }

    /// IPv6 addresses of an instance, 16 octets each.
    pub fn v6(&self, member: u32) -> &[u8] {
        let head = self.head(member);
        self.slice(head.start as usize + usize::from(head.v4), head.v6.into())
    }

    /// What an SRV record of an instance says, in one look: its target and its port for a [`Need`] that [`CompiledService::port`] gave, and
    /// its address, where it has one of IPv4 and no other.
    #[inline(always)]
    pub fn srv(&self, member: u32, need: Need) -> SrvParts<'_> {
        let head = self.head(member);
        let octets = self.octets.get(head.start as usize..).unwrap_or_default();
        let target = octets.get(usize::from(head.v4) + usize::from(head.v6)..).unwrap_or_default();
        let only_address = octets.first_chunk().filter(|_| head.v4 == 4 && head.v6 == 0);
        let port = match (head.ports, target.get(usize::from(head.target)..).and_then(|ports| ports.first_chunk())) {
            // Most have one.
            (1, Some([number, high, low])) if Need::port((*number).into()) == need => u16::from_be_bytes([*high, *low]),
            _ => self.port_number(member, need),
        };
        SrvParts { target, length: head.target.into(), port, only_address }
    }

    /// `<id>.id.<service>` in wire form, without root label: the SRV and HTTPS target once the zone's apex is put behind it.
    pub fn target(&self, member: u32) -> &[u8] {
        let head = self.head(member);
        self.slice(head.target_start(), head.target.into())
    }

    /// RDATA of the instance's TXT record, piece by piece: `id=…`, `region=…`, `az=…`, `tag=…` and its metadata. `places` are those of the
    /// same snapshot.
    pub fn txt<E>(&self, places: &Places, member: u32, mut put: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let locality = self.pool.locality(member);
        let region = places.region_label(places.region_of(locality));
        let facts: [(&[u8], &[u8]); 3] =
            [(b"id=", self.id_octets(member)), (b"region=", region.as_bytes()), (b"az=", places.az_label(locality).as_bytes())];
        for (key, value) in facts {
            // Labels hold 63 octets.
            put(&[(key.len() + value.len()) as u8])?;
            put(key)?;
            put(value)?;
        }
        let head = self.head(member);
        put(self.slice(head.ports_start() + usize::from(head.ports) * PORT_OCTETS, head.txt.into()))
    }

    /// What an instance needs to stand behind SRV of the named port; `None` where no instance has such a port.
    pub fn port(&self, name: &[u8], protocol: Protocol) -> Option<Need> {
        self.common.ports.iter().position(|p| p.1 == protocol && p.0.as_bytes() == name).map(Need::port)
    }

    /// The ports that any instance has: their names and protocols.
    pub fn ports(&self) -> impl Iterator<Item = (&Label, Protocol)> {
        self.common.ports.iter().map(|(name, protocol)| (name, *protocol))
    }

    /// The default port: what an instance needs to have it, and its protocol; `None` where there is none.
    pub fn default_port(&self) -> Option<(Need, Protocol)> {
        self.common.default_port.map(usize::from).map(|n| (Need::port(n), self.common.ports[n].1))
    }

    /// Whether any port has that protocol (for the empty non-terminal `_tcp.<service>`).
    pub fn has_protocol(&self, protocol: Protocol) -> bool {
        self.common.ports.iter().any(|p| p.1 == protocol)
    }

    /// The port number of an instance for a [`Need`] that [`CompiledService::port`] gave; 0 where it has no such port.
    pub fn port_number(&self, member: u32, need: Need) -> u16 {
        let head = self.head(member);
        let ports = self.slice(head.ports_start(), usize::from(head.ports) * PORT_OCTETS);
        let found = ports.chunks_exact(PORT_OCTETS).find(|p| Need::port(p[0].into()) == need);
        found.map_or(0, |p| u16::from_be_bytes([p[1], p[2]]))
    }

    /// The TLS port of an instance that has [`Need::TLS`]; 0 where it has none.
    pub fn tls_port(&self, member: u32) -> u16 {
        self.common.tls_port.map_or(0, |n| self.port_number(member, Need::port(n.into())))
    }

    /// The alpn SvcParam value in wire form (RFC 9460 §7.1.1); empty: none.
    pub fn alpn(&self) -> &[u8] {
        &self.common.alpn
    }

    /// Most addresses of an answer.
    pub fn max_addresses(&self) -> usize {
        self.common.max_addresses.into()
    }

    /// Most addresses that one instance has of the family that `need` asks for ([`Need::V6`], else IPv4); at least 1.
    pub fn most_addresses(&self, need: Need) -> usize {
        usize::from(if need == Need::V6 { self.common.most_v6 } else { self.common.most_v4 }).max(1)
    }

    /// Most SRV records of an answer.
    pub fn max_srv(&self) -> usize {
        self.common.max_srv.into()
    }

    /// A weight as SRV carries it: spread over the 16 bits, since HAProxy divides by 256, with one factor for all of the service's
    /// instances, so that it does not change with who is healthy. Zero is only picked where all are zero; then all are equal, and
    /// not 0, which HAProxy takes for "no traffic". An instance that recovers has the part of it that it is warm, in percent.
    pub fn srv_weight(&self, weight: u32, warmth: u8) -> u16 {
        let spread = u64::from(weight.max(1) << self.common.srv_shift) * u64::from(warmth) / 100;
        u16::try_from(spread.max(1)).unwrap_or(u16::MAX)
    }

    /// Further levels that SRV carries.
    pub fn tiers(&self) -> usize {
        self.common.tiers.into()
    }

    #[inline]
    fn slice(&self, start: usize, length: usize) -> &[u8] {
        &self.octets[start..start + length]
    }

    /// Who was healthy last.
    fn last_good(&self) -> Option<&Arc<[Label]>> {
        self.rest.as_ref()?.last_good.as_ref()
    }

    fn healthy_ids(&self) -> Arc<[Label]> {
        let healthy = (0..self.len() as u32).filter(|n| self.pool.standing(*n) == Standing::Healthy);
        healthy.filter_map(|n| Label::parse(self.id(n)).ok()).collect()
    }

    #[inline]
    fn head(&self, member: u32) -> Head {
        Head::read(&self.octets[member as usize * HEAD..][..HEAD])
    }

    /// The first label of the target.
    fn id_octets(&self, member: u32) -> &[u8] {
        let target = self.target(member);
        &target[1..=usize::from(target[0])]
    }
}

impl Rest {
    /// Most have none of it.
    fn boxed(self) -> Option<Box<Rest>> {
        (self.records.is_some() || self.last_good.is_some()).then(|| Box::new(self))
    }
}
