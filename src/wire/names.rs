//! What a name is: static first, then the names of services (DESIGN §3), then wildcards.

use crate::codec::NameBuf;
use crate::model::Protocol;
use crate::routing::{Filter, Need, ServiceId};
use crate::snapshot::{CompiledService, CompiledZone, Delegation, Lookup, Owner, RrSet, Snapshot};

/// What a name is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning<'a> {
    /// Static RRsets, a policy, or nothing at all (an empty non-terminal).
    Owner(Owner<'a>),
    /// At or below a delegation; `at` where it is the cut itself.
    Delegated { delegation: Delegation<'a>, at: Option<Owner<'a>> },
    /// Below a DNAME, whose owner has `depth` labels before the apex.
    Redirected { depth: usize, redirection: RrSet<'a> },
    /// A service, or a part of it.
    Service(ServiceName<'a>),
    /// One instance.
    Instance(InstanceName<'a>),
    /// A name above names of services: NODATA for every type (RFC 8020).
    Empty,
    /// No such name.
    Missing,
}

/// A service's name.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceName<'a> {
    pub id: ServiceId,
    pub service: &'a CompiledService,
    /// What the labels before the service narrow it to.
    pub filter: Filter<'a>,
    /// `_port._proto` stands before it: SRV alone.
    pub port: Option<Need>,
}

/// The name of one instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct InstanceName<'a> {
    pub service: &'a CompiledService,
    pub member: u32,
    /// `_port._proto` stands before it: SRV alone.
    pub port: Option<Need>,
}

/// Finds out what `name` is, which is within `zone`.
#[inline(always)]
pub(super) fn resolve<'a>(snapshot: &'a Snapshot, zone: &'a CompiledZone, name: &'a NameBuf) -> Meaning<'a> {
    let owner = zone.owner(name);
    // Where nothing is delegated or redirected, what stands above a service's name has no say in it.
    let mut tried = None;
    if owner.is_none() && zone.services() && !zone.is_divided() {
        match service_name(snapshot, zone, name) {
            Ok(meaning) => return meaning,
            Err(missing) => tried = Some(missing),
        }
    }
    let missing = match zone.lookup_found(owner, name) {
        Lookup::Delegated { delegation, at } => return Meaning::Delegated { delegation, at },
        Lookup::Redirected { depth, redirection } => return Meaning::Redirected { depth, redirection },
        // A static record below a service makes the service's name an empty non-terminal, which it is not.
        Lookup::Owner(owner) if owner.is_empty() && zone.services() => None,
        Lookup::Owner(owner) => return Meaning::Owner(owner),
        Lookup::Missing { encloser, wildcard } => Some((encloser, wildcard)),
    };
    let mut existing = 0;
    if zone.services() {
        match tried.map_or_else(|| service_name(snapshot, zone, name), Err) {
            Ok(meaning) => return meaning,
            Err(missing) => existing = missing.existing,
        }
    }
    let Some((encloser, wildcard)) = missing else { return Meaning::Empty };
    // RFC 4592 §3.3.1: only the wildcard at the closest encloser counts, and a service's name encloses as any other.
    match wildcard.filter(|_| existing <= encloser) {
        Some(owner) => Meaning::Owner(owner),
        None => Meaning::Missing,
    }
}

/// No service has that name; so many labels before the apex exist.
#[derive(Debug, PartialEq, Eq)]
struct Missing {
    existing: usize,
}

/// The labels before the apex, from the right to the left.
struct Labels<'a> {
    name: &'a NameBuf,
    depth: usize,
    left: usize,
}

impl<'a> Labels<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        Some(self.name.label(self.left))
    }

    /// The label that was read last does not exist below those before it.
    fn missing<T>(&self) -> Result<T, Missing> {
        Err(Missing { existing: self.depth - self.left - 1 })
    }

    /// `meaning`, if this was the last label; nothing stands below it.
    fn end(mut self, meaning: Meaning<'a>) -> Result<Meaning<'a>, Missing> {
        match self.next() {
            None => Ok(meaning),
            Some(_) => self.missing(),
        }
    }
}

/// Reads the labels before the apex as a service's name (DESIGN §3).
#[inline(never)]
fn service_name<'a>(snapshot: &'a Snapshot, zone: &CompiledZone, name: &'a NameBuf) -> Result<Meaning<'a>, Missing> {
    let depth = zone.depth(name);
    let mut labels = Labels { name, depth, left: depth };
    let Some(first) = labels.next() else { return Ok(Meaning::Empty) };
    if let Some(protocol) = protocol(first).filter(|_| snapshot.has_services()) {
        return default_port_name(snapshot, labels, protocol);
    }
    let Some((id, service)) = snapshot.service_in(name, labels.left) else { return labels.missing() };
    let mut filter = Filter::default();
    loop {
        let Some(label) = labels.next() else { return Ok(Meaning::Service(ServiceName { id, service, filter, port: None })) };
        if let Some(protocol) = protocol(label) {
            let named = |port| Some(Meaning::Service(ServiceName { id, service, filter, port: Some(port) }));
            return port_name(service, labels, protocol, named);
        }
        // Instances are found directly below the service: an instance has one name.
        if label == b"id" && labels.depth - labels.left == 2 {
            return instance_name(service, labels);
        }
        if !matches!(label, b"tag" | b"region" | b"az") {
            return labels.missing();
        }
        let Some(value) = labels.next() else { return Ok(Meaning::Empty) };
        filter = match label {
            b"tag" if service.pool().knows_tag(value) => filter.with_tag(value),
            b"region" if let Some(region) = snapshot.places.region(value) => filter.in_region(region),
            b"az" if let Some(az) = snapshot.places.az_name(value) => filter.in_az(az),
            _ => return labels.missing(),
        };
    }
}

/// `_web._tcp` directly before the apex (RFC 2782): the service's default port.
fn default_port_name<'a>(snapshot: &'a Snapshot, mut labels: Labels<'a>, protocol: Protocol) -> Result<Meaning<'a>, Missing> {
    let Some(label) = labels.next() else { return Ok(Meaning::Empty) };
    let Some((id, service)) = label.strip_prefix(b"_").and_then(|label| snapshot.service(label)) else { return labels.missing() };
    match service.default_port() {
        Some((port, of)) if of == protocol => {
            labels.end(Meaning::Service(ServiceName { id, service, filter: Filter::default(), port: Some(port) }))
        }
        _ => labels.missing(),
    }
}

/// `<id>.id` directly before the service.
fn instance_name<'a>(service: &'a CompiledService, mut labels: Labels<'a>) -> Result<Meaning<'a>, Missing> {
    let Some(label) = labels.next() else { return Ok(Meaning::Empty) };
    let Some(member) = service.member(label) else { return labels.missing() };
    let Some(label) = labels.next() else { return Ok(Meaning::Instance(InstanceName { service, member, port: None })) };
    let Some(protocol) = protocol(label) else { return labels.missing() };
    port_name(service, labels, protocol, |port| {
        let has_port = service.port_number(member, port) != 0;
        has_port.then_some(Meaning::Instance(InstanceName { service, member, port: Some(port) }))
    })
}

/// `_port` before `_proto`, which was read last.
fn port_name<'a>(
    service: &CompiledService,
    mut labels: Labels<'a>,
    protocol: Protocol,
    named: impl FnOnce(Need) -> Option<Meaning<'a>>,
) -> Result<Meaning<'a>, Missing> {
    if !service.has_protocol(protocol) {
        return labels.missing();
    }
    let Some(label) = labels.next() else { return Ok(Meaning::Empty) };
    match label.strip_prefix(b"_").and_then(|name| service.port(name, protocol)).and_then(named) {
        Some(meaning) => labels.end(meaning),
        None => labels.missing(),
    }
}

fn protocol(label: &[u8]) -> Option<Protocol> {
    match label {
        b"_tcp" => Some(Protocol::Tcp),
        b"_udp" => Some(Protocol::Udp),
        _ => None,
    }
}
