//! Services compiled: pools for routing, and the record data of each instance ready to be copied into answers.
//!
//! All octets of a service lie in one block: a head for each instance, then instance after instance its addresses, target, ports and what
//! its TXT record has of its own. An answer copies slices of it. What stands elsewhere is not written once more: a service's settings are
//! held once for all services that have the same ([`Common`]), an id is the first label of the target and the service's name its last one,
//! region and az are the pool's.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::zones::LeafRecords;
use crate::model::{Health, Instance, Label, MAX_SERVICE_PORTS, MAX_WEIGHT, Out, Ports, Protocol, Service, Share, Shared, Vitals};
use crate::routing::{Against, Member, Need, Places, Pool, Stance, Standing, Tree, TreeError, seed_of};

/// A service as the registry has it.
#[derive(Debug, Clone)]
pub struct ServiceView<'a> {
    /// Its settings.
    pub service: &'a Service,
    /// Its instances, in the order of their ids.
    pub instances: Vec<InstanceView<'a>>,
    /// How far the service is out of answers as a whole.
    pub out: Out,
}

/// An instance as the registry has it.
#[derive(Debug, Clone)]
pub struct InstanceView<'a> {
    /// Its id.
    pub id: &'a Label,
    /// What was registered.
    pub instance: &'a Instance,
    /// Its health.
    pub vitals: &'a Vitals,
    /// How far it is out of answers by itself.
    pub out: Out,
    /// How warm it is after a recovery, in percent of its weight: 1–100 (slow start).
    pub warmth: u8,
}

/// A service of which nothing has changed but the health of some instances, or how steady it is; it is not drained as a whole.
pub struct TurnedView<'a> {
    /// Its settings.
    pub service: &'a Service,
    /// Those instances, by their places in the order of ids.
    pub turned: &'a [usize],
    /// Those of its instances that have drains of their own, by id.
    pub outs: &'a BTreeMap<&'a Label, Out>,
    /// How many instances there are.
    pub count: usize,
    /// Each of them, by its place in the order of ids.
    pub instance: &'a dyn Fn(usize) -> Option<InstanceView<'a>>,
}

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

/// The octets of a service: few lie in it.
#[derive(Debug, Clone)]
enum Octets {
    Within([u8; WITHIN]),
    Apart(Arc<[u8]>),
}

/// Octets that lie in the service itself: those of one instance with one address and one port, whose names have 40 letters together.
const WITHIN: usize = 63;

/// Where the parts of one instance lie, one behind the other from `start`.
#[derive(Debug, Clone, Copy)]
struct Head {
    start: u32,
    v4: u8,
    target: u8,
    ports: u8,
    v6: u16,
    /// What its TXT record has beside id, region and az.
    txt: u16,
}

/// Octets of a head.
const HEAD: usize = 11;
/// Octets of one port: its number among the service's ports, and the port number itself.
const PORT_OCTETS: usize = 3;

impl CompiledService {
    /// Compiles a service. `previous` is what it was before, for who was healthy last.
    pub(super) fn compile(
        label: &Label,
        view: &ServiceView<'_>,
        against: &mut Against<'_>,
        previous: Option<&CompiledService>,
    ) -> Result<CompiledService, String> {
        let tree = Tree::compile(&view.service.policy, label.as_bytes(), against, &mut |_| None).map_err(|error| error.to_string())?;
        let places = against.places;
        // The service stands in every zone with services, so there is no one apex to leave to a pointer.
        let records = LeafRecords::collect(&view.service.policy, &[])?;
        let has_records = records.iter().next().is_some();
        let records = has_records.then(|| Arc::new(records));
        let fields = &view.service.fields;
        let ports = ports(view);
        let numbered = |name: &Label, protocol: Protocol| ports.binary_search_by(|p| (&p.0, p.1).cmp(&(name, protocol))).ok();
        let default_port = match &fields.default_port {
            Some(name) => numbered(name, Protocol::Tcp).or_else(|| numbered(name, Protocol::Udp)),
            None => ports.first().filter(|first| ports.iter().all(|p| p.0 == first.0)).map(|_| 0),
        };
        let tls_port = ports.iter().position(|(name, protocol)| name.as_str() == "https" && *protocol == Protocol::Tcp);

        let someone_is_healthy = view.instances.iter().any(|i| i.vitals.health() == Health::Healthy);
        let last_good = match previous {
            Some(previous) if !someone_is_healthy => previous.last_good().cloned().or_else(|| Some(previous.healthy_ids())),
            _ => None,
        };
        let mut members = Vec::with_capacity(view.instances.len());
        let (mut most_v4, mut most_v6) = (0, 0);
        // Enough for most.
        let mut octets = Vec::with_capacity((HEAD + 64) * view.instances.len());
        octets.resize(HEAD * view.instances.len(), 0);
        let mut label_at = 0;
        if view.instances.is_empty() {
            octets.extend_from_slice(label.as_bytes());
        }
        for (n, instance) in view.instances.iter().enumerate() {
            let mut has = Need::ANY;
            let start = octets.len() as u32;
            let (v4, v6) = write_addresses(&mut octets, instance.instance);
            if v4 > 0 {
                has = has.and(Need::V4);
            }
            if v6 > 0 {
                has = has.and(Need::V6);
            }
            let target = write_target(&mut octets, instance.id, label);
            if n == 0 {
                label_at = octets.len() - label.as_bytes().len();
            }
            let mut written = 0;
            for (name, port) in ports_of(view, instance) {
                if let Some(number) = numbered(name, port.protocol) {
                    octets.push(number as u8);
                    octets.extend_from_slice(&port.number.to_be_bytes());
                    written += 1;
                    has = has.and(Need::port(number));
                    if Some(number) == tls_port {
                        has = has.and(Need::TLS);
                    }
                }
            }
            let txt = write_txt(&mut octets, instance);
            Head { start, v4, target, ports: written, v6, txt }.write(n, &mut octets);
            (most_v4, most_v6) = (most_v4.max(v4 / 4), most_v6.max((v6 / 16) as u8));
            let out = view.out.or(instance.out);
            members.push(Member {
                locality: places
                    .locality(&instance.instance.locality())
                    .ok_or_else(|| TreeError::UnknownRegion(instance.instance.region.clone()).to_string())?,
                weight: instance.instance.weight,
                warmth: instance.warmth,
                standing: standing(out, instance, last_good.as_deref()),
                out: out.share,
                seed: seed_of(instance.id.as_bytes()),
                has,
                steady_ms: if out.moving { 0 } else { steady_ms(view.service, instance) },
                tags: instance.instance.tags.iter().cloned().collect(),
            });
        }
        let common = COMMON.one(Common {
            ports: ports.into(),
            default_port: default_port.map(|number| number as u8),
            tls_port: tls_port.map(|number| number as u8),
            alpn: fields.alpn.iter().flat_map(|a| std::iter::once(a.len() as u8).chain(a.bytes())).collect(),
            max_addresses: view.service.max_addresses() as u8,
            max_srv: view.service.max_srv() as u8,
            tiers: view.service.tiers() as u8,
            most_v4,
            most_v6,
            shares_addresses: shares_addresses(view),
            srv_shift: srv_shift(&members),
        });
        Ok(CompiledService {
            pool: Pool::build(tree, &members, places),
            common,
            rest: Rest { records, last_good }.boxed(),
            label_at: label_at as u32,
            label_length: label.as_bytes().len() as u8,
            octets: octets.into(),
        })
    }

    /// This service after some of its instances have turned: what [`CompiledService::compile`] makes of it. `None`: it has to be compiled
    /// whole.
    pub(super) fn restand(&self, view: &TurnedView<'_>) -> Option<CompiledService> {
        let pool = &self.pool;
        if view.count != self.len() {
            return None;
        }
        for (id, out) in view.outs {
            // A share that moves is another one now, and one that has just ended may not have been looked at yet.
            let (member, drained) = (self.member(id.as_bytes())?, out.share == Share::ALL);
            let is_known = (pool.standing(member) == Standing::Drained) == drained && (drained || pool.out(member) == out.share);
            if out.moving || !is_known {
                return None;
            }
        }
        let mut members = Vec::with_capacity(view.turned.len());
        for place in view.turned {
            // Compiled are the instances that there are, so the places are the same; what is not, is compiled whole.
            let member = u32::try_from(*place).ok().filter(|_| *place < view.count)?;
            (view.instance)(*place).filter(|instance| instance.id.as_bytes() == self.id_octets(member))?;
            members.push(member);
        }
        members.sort_unstable();
        members.dedup();
        let health = |member: u32| (view.instance)(member as usize).map(|instance| instance.vitals.health());
        let were_healthy = members.iter().filter(|member| pool.standing(**member) == Standing::Healthy).count();
        let someone_is_healthy = pool.members_healthy() > were_healthy
            || members.iter().any(|member| health(*member) == Some(Health::Healthy))
            || (pool.has_drained() && (0..view.count as u32).any(|member| health(member) == Some(Health::Healthy)));
        let last_good = match someone_is_healthy {
            true => None,
            false => self.last_good().cloned().or_else(|| Some(self.healthy_ids())),
        };
        if self.last_good().is_some() && someone_is_healthy {
            // Who was healthy last is forgotten.
            members.extend(pool.standing_as(Standing::LastGood));
        }
        // They are warmer than they were.
        members.extend(pool.warming());
        let mut stances = Vec::with_capacity(members.len());
        let mut steady = u32::MAX;
        for member in members {
            let instance = (view.instance)(member as usize)?;
            let standing = standing(instance.out, &instance, last_good.as_deref());
            stances.push(Stance { member, standing, warmth: instance.warmth });
            steady = steady.min(steady_ms(view.service, &instance));
        }
        if steady > pool.steady_ms() {
            // The others are at least as steady as all were. Where it was not the one that turned, one as steady as that is soon found.
            steady = u32::MAX;
            for number in 0..view.count {
                steady = steady.min(steady_ms(view.service, &(view.instance)(number)?));
                if steady <= pool.steady_ms() {
                    break;
                }
            }
        }
        let records = self.rest.as_ref().and_then(|rest| rest.records.clone());
        Some(CompiledService {
            pool: pool.restand(&stances, steady),
            common: self.common.clone(),
            rest: Rest { records, last_good }.boxed(),
            octets: self.octets.clone(),
            ..*self
        })
    }

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

    /// A service without instances, for tests of what holds services.
    #[cfg(test)]
    pub(super) fn bare(label: &Label) -> CompiledService {
        use crate::model::Geo;
        use crate::routing::{Origins, Views};
        static NOWHERE: LazyLock<(Places, Origins)> = LazyLock::new(|| {
            let places = Places::new(&Geo::default(), []);
            let origins = Origins::build(&places, &Geo::default());
            (places, origins)
        });
        let (places, origins) = &*NOWHERE;
        let view = ServiceView { service: &Service::plain(), instances: Vec::new(), out: Out::SERVING };
        let mut against = Against { places, origins, views: &mut Views::default() };
        CompiledService::compile(label, &view, &mut against, None).unwrap()
    }
}

impl Rest {
    /// Most have none of it.
    fn boxed(self) -> Option<Box<Rest>> {
        (self.records.is_some() || self.last_good.is_some()).then(|| Box::new(self))
    }
}

impl std::ops::Deref for Octets {
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
    fn write(self, member: usize, octets: &mut [u8]) {
        let head = &mut octets[member * HEAD..][..HEAD];
        head[..4].copy_from_slice(&self.start.to_le_bytes());
        head[4..7].copy_from_slice(&[self.v4, self.target, self.ports]);
        head[7..9].copy_from_slice(&self.v6.to_le_bytes());
        head[9..].copy_from_slice(&self.txt.to_le_bytes());
    }

    #[inline]
    fn read(head: &[u8]) -> Head {
        let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let start = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        Head { start, v4: head[4], target: head[5], ports: head[6], v6: short(7), txt: short(9) }
    }

    #[inline]
    fn target_start(&self) -> usize {
        self.start as usize + usize::from(self.v4) + usize::from(self.v6)
    }

    #[inline]
    fn ports_start(&self) -> usize {
        self.target_start() + usize::from(self.target)
    }
}

/// The ports of an instance: its own, or where it names none the service's.
fn ports_of<'a>(view: &ServiceView<'a>, instance: &InstanceView<'a>) -> &'a Ports {
    if instance.instance.ports.is_empty() { &view.service.fields.ports } else { &instance.instance.ports }
}

/// The distinct ports of a service's instances, in order.
fn ports(view: &ServiceView<'_>) -> Vec<(Label, Protocol)> {
    let mut ports: Vec<(Label, Protocol)> = Vec::new();
    for (name, port) in view.instances.iter().flat_map(|instance| ports_of(view, instance)) {
        // Most have what the one before them has.
        if ports.last().is_none_or(|(known, protocol)| known != name || *protocol != port.protocol) {
            ports.push((name.clone(), port.protocol));
        }
    }
    ports.sort();
    ports.dedup();
    ports.truncate(MAX_SERVICE_PORTS);
    ports
}

/// The operator's word first, then health; what is down is told apart by whether it was healthy when anything last was.
fn standing(out: Out, instance: &InstanceView<'_>, last_good: Option<&[Label]>) -> Standing {
    match instance.vitals.health() {
        _ if out.share == Share::ALL => Standing::Drained,
        Health::Healthy => Standing::Healthy,
        Health::Pending => Standing::Pending,
        Health::Unhealthy if last_good.is_some_and(|good| good.binary_search(instance.id).is_ok()) => Standing::LastGood,
        Health::Unhealthy => Standing::Unhealthy,
    }
}

/// The time in which the instance's standing cannot change: what its checks and heartbeat need at least to turn the verdict.
///
/// That holds from any moment at which it is steady: no result speaks against the verdict yet, so after the next one that does, `fall`
/// (or `rise`) less one more are needed, an interval apart (the jitter of their starts aside); and the last heartbeat is younger than
/// half of its period, so it is missed after the other half at the earliest. Whoever sees the first result against it, or the half
/// pass, has the service compiled anew, and then it may turn at once, as may what is known only from before a restart (DESIGN §5).
fn steady_ms(service: &Service, view: &InstanceView<'_>) -> u32 {
    if !view.vitals.is_steady() {
        return 0;
    }
    let checks = view.instance.checks.as_ref().unwrap_or(&service.fields.checks);
    let health = view.vitals.health();
    let needed = checks.iter().map(|check| match health {
        Health::Healthy => check.interval.millis() * u64::from(check.fall.saturating_sub(1)),
        Health::Unhealthy => check.interval.millis() * u64::from(check.rise.saturating_sub(1)),
        Health::Pending => 0,
    });
    // Beats that begin again are a word from outside, as a registration is: no time is known for it, and what is answered stays right.
    let beat = view.instance.heartbeat.filter(|_| health == Health::Healthy).map(|h| h.millis() / 2);
    needed.chain(beat).min().unwrap_or(u64::MAX).try_into().unwrap_or(u32::MAX)
}

/// The most bits, up to 8, by which every weight may be spread and still fits into 16.
fn srv_shift(members: &[Member]) -> u8 {
    let largest = members.iter().map(|m| m.weight).max().unwrap_or(0).clamp(1, MAX_WEIGHT);
    (MAX_WEIGHT / largest).ilog2().min(8) as u8
}

/// Whether an address stands at two instances.
fn shares_addresses(view: &ServiceView<'_>) -> bool {
    if view.instances.len() < 2 {
        return false;
    }
    let mut addresses: Vec<_> = view.instances.iter().flat_map(|instance| instance.instance.addresses.iter()).collect();
    addresses.sort_unstable();
    addresses.windows(2).any(|pair| pair[0] == pair[1])
}

/// Appends the addresses, IPv4 first; returns the octets of each family.
fn write_addresses(octets: &mut Vec<u8>, instance: &Instance) -> (u8, u16) {
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
fn write_target(octets: &mut Vec<u8>, id: &Label, service: &Label) -> u8 {
    let start = octets.len();
    for label in [id.as_str(), "id", service.as_str()] {
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    (octets.len() - start) as u8
}

/// Appends what TXT RDATA has of the instance's own: one character-string (RFC 1035 §3.3) per fact.
fn write_txt(octets: &mut Vec<u8>, view: &InstanceView<'_>) -> u16 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Geo;
    use crate::routing::{Origins, Views};

    fn compiled(name: &str, ids: &[&str]) -> CompiledService {
        let geo = Geo::default();
        let instance: Instance = serde_json::from_str(r#"{"addresses":["192.0.2.1"],"ports":{"http":80},"region":"eu","az":"1"}"#).unwrap();
        let places = Places::new(&geo, []).with(&instance.locality());
        let origins = Origins::build(&places, &geo);
        let (vitals, service) = (Vitals::default(), Service::plain());
        let labels: Vec<Label> = ids.iter().map(|id| Label::parse(id).unwrap()).collect();
        let view = |id| InstanceView { id, instance: &instance, vitals: &vitals, out: Out::SERVING, warmth: 100 };
        let view = ServiceView { service: &service, instances: labels.iter().map(view).collect(), out: Out::SERVING };
        let mut against = Against { places: &places, origins: &origins, views: &mut Views::default() };
        CompiledService::compile(&Label::parse(name).unwrap(), &view, &mut against, None).unwrap()
    }

    /// Whether a service's octets lie in it or not, they say the same; and a million of one instance take 128 octets each.
    #[test]
    fn services_of_few_and_of_many_octets_are_read_alike() {
        let long = "a-service-whose-name-is-as-long-as-a-label-can-be-63-octets-0123";
        for name in ["w", "checkout-service-eu", &long[..63]] {
            for ids in [&[][..], &["i"], &["web-6d4cf56db6-abcde"], &["a", "b", "c"]] {
                let service = compiled(name, ids);
                assert_eq!((service.label(), service.len()), (name, ids.len()));
                for (member, id) in (0..).zip(ids) {
                    let target: Vec<u8> = [id, "id", name].iter().flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
                    let octets = (service.id(member), service.target(member), service.v4(member), service.v6(member));
                    assert_eq!(octets, (*id, &target[..], &[192, 0, 2, 1][..], &[][..]));
                    assert_eq!(service.member(id.as_bytes()), Some(member));
                    assert_eq!(service.port_number(member, service.default_port().unwrap().0), 80);
                }
            }
        }
        // Beside it, an Arc's counts are 16 octets and malloc's header 8.
        assert_eq!(size_of::<CompiledService>() + 16 + 8, 128);
        let (one, other) = (compiled("one", &["a"]), compiled("other", &["b"]));
        assert!(one.pool().is_one_with(other.pool()) && Arc::ptr_eq(&one.common, &other.common));
    }
}
