//! A service compiled whole, of what the registry has of it.

use std::sync::Arc;

use super::super::zones::LeafRecords;
use super::octets::{HEAD, Head, write_addresses, write_target, write_txt};
use super::views::{ports_of, standing, steady_ms};
use super::{COMMON, Common, CompiledService, Rest, ServiceView};
use crate::model::{Health, Label, MAX_SERVICE_PORTS, MAX_WEIGHT, Protocol};
use crate::routing::{Against, Member, Need, Pool, Tree, TreeError, seed_of};

impl CompiledService {
    /// Compiles a service. `previous` is what it was before, for who was healthy last.
    pub(in crate::snapshot) fn compile(
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

    /// A service without instances, for tests of what holds services.
    #[cfg(test)]
    pub(in crate::snapshot) fn bare(label: &Label) -> CompiledService {
        use std::sync::LazyLock;

        use crate::model::{Geo, Out, Service};
        use crate::routing::{Origins, Places, Views};
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
