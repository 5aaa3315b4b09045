//! From a zone as written to a zone as looked up: every check that needs the whole zone is made here.

use std::collections::BTreeMap;

use super::rrset::{LeafRecords, name_in};
use super::{AnswerTtl, CompiledZone, Delegation, Glue, NamePolicy, Owner, RrSet, ZoneError};
use crate::codec::NameBuf;
use crate::codec::code::rtype;
use crate::model::{Label, Name, Period, Zone};
use crate::routing::{Against, ServiceId, Tree};

/// Most octets that stand before the apex in the name of an instance: `_port._proto.<id>.id.<service>`.
const LONGEST_PREFIX: usize = 64 + 5 + 64 + 3 + 64;

type Key = Box<[u8]>;

/// A zone under way.
struct Draft<'z> {
    zone: &'z Zone,
    owners: BTreeMap<Key, Entry>,
}

/// An owner under way.
#[derive(Default)]
struct Entry {
    sets: Vec<RrSet>,
    policy: Option<NamePolicy>,
}

impl CompiledZone {
    /// Compiles a zone. `service` gives the slot of a service that a policy leads to, reserving it where the service is not registered.
    pub fn compile(
        zone: &Zone,
        against: &mut Against<'_>,
        service: &mut dyn FnMut(&Label) -> Option<ServiceId>,
    ) -> Result<CompiledZone, ZoneError> {
        let mut draft = Draft { zone, owners: BTreeMap::new() };
        draft.add_apex()?;
        draft.add_records()?;
        for (name, policy) in &zone.names {
            let tree = Tree::compile(policy, name.wire(), against, service).map_err(|error| draft.error(name, error.to_string()))?;
            let records = LeafRecords::collect(policy, zone.apex.wire()).map_err(|reason| draft.error(name, reason))?;
            draft.add_policy(name, NamePolicy { tree, records, alias: zone.aliases.get(name).cloned() })?;
        }
        draft.check_services()?;
        draft.add_empty_non_terminals();
        draft.check_delegations()?;
        draft.check_aliases()?;
        draft.finish()
    }
}

impl Draft<'_> {
    fn error(&self, name: impl std::fmt::Display, reason: impl Into<String>) -> ZoneError {
        ZoneError { file: self.zone.file.clone(), name: name.to_string(), reason: reason.into() }
    }

    /// The key of a name within the zone.
    fn key(&self, name: &Name) -> Result<Key, ZoneError> {
        match name.is_within(&self.zone.apex) {
            true => Ok(name.wire()[..name.wire().len() - self.zone.apex.wire().len()].into()),
            false => Err(self.error(name, format!("is not within the zone {}", self.zone.apex))),
        }
    }

    /// The name of a key, for messages.
    fn named(&self, key: &[u8]) -> Name {
        Name::from_wire(&[key, self.zone.apex.wire()].concat())
    }

    fn encode(&self, name: &Name, rtype: u16, ttl: u32, rdata: &[Box<[u8]>]) -> Result<RrSet, ZoneError> {
        if ttl > i32::MAX as u32 {
            return Err(self.error(name, format!("a TTL is at most {} seconds (RFC 2181 §8), not {ttl}", i32::MAX)));
        }
        let mut set = RrSet::encode(rtype, ttl, rdata, self.zone.apex.wire()).map_err(|error| self.error(name, error.to_string()))?;
        let inside = |name: NameBuf| Name::from_wire(name.wire()).is_within(&self.zone.apex).then_some(name);
        if matches!(rtype, rtype::NS | rtype::MX | rtype::SRV) {
            let apex = self.zone.apex.wire().len();
            let names = rdata.iter().filter_map(|data| name_in(rtype, data).and_then(inside));
            let mut wanted: Vec<Key> = names.map(|name| name.wire()[..name.wire().len() - apex].into()).collect();
            wanted.sort();
            wanted.dedup();
            set.wanted = wanted.into();
        }
        Ok(set)
    }

    fn add_apex(&mut self) -> Result<(), ZoneError> {
        let zone = self.zone;
        if zone.services && zone.apex.wire().len() + LONGEST_PREFIX > 255 {
            return Err(self.error(&zone.apex, format!("a zone with services has an apex of at most {} octets", 255 - LONGEST_PREFIX)));
        }
        if zone.ttl.min > zone.ttl.max {
            return Err(self.error("ttl.min", format!("at most ttl.max, which is {}, not {}", zone.ttl.max, zone.ttl.min)));
        }
        if zone.ns.is_empty() {
            return Err(self.error("ns", "a zone needs at least one name server"));
        }
        let soa = &zone.soa;
        let numbers = [soa.serial, soa.refresh, soa.retry, soa.expire, seconds(zone.ttl.negative)];
        let data = [soa.primary.wire(), soa.contact.wire()].concat().into_iter().chain(numbers.into_iter().flat_map(u32::to_be_bytes));
        let servers: Vec<Box<[u8]>> = zone.ns.iter().map(|name| name.wire().into()).collect();
        let sets = vec![
            self.encode(&zone.apex, rtype::SOA, soa.ttl, &[data.collect()])?,
            self.encode(&zone.apex, rtype::NS, zone.ns_ttl, &servers)?,
        ];
        self.owners.insert(Key::default(), Entry { sets, policy: None });
        Ok(())
    }

    fn add_records(&mut self) -> Result<(), ZoneError> {
        for ((name, rtype), set) in &self.zone.records {
            let key = self.key(name)?;
            let wildcard = key.starts_with(b"\x01*");
            match *rtype {
                rtype::SOA => return Err(self.error(name, "the SOA is made from `ns`, `contact`, `serial` and `ttl`")),
                rtype::NS if key.is_empty() => return Err(self.error(name, "the apex's name servers stand in `ns`")),
                // What it would mean is undefined (RFC 4592 §4.2).
                rtype::NS if wildcard => return Err(self.error(name, "a wildcard cannot be delegated")),
                rtype::DNAME => return Err(self.error(name, "DNAME is not offered")),
                other if !rtype::is_data(other) => return Err(self.error(name, format!("type {other} cannot stand in a zone"))),
                _ => {}
            }
            if set.rdata.is_empty() {
                return Err(self.error(name, "an RRset has at least one record"));
            }
            let encoded = self.encode(name, *rtype, set.ttl, &set.rdata)?;
            self.owners.entry(key).or_default().sets.push(encoded);
        }
        Ok(())
    }

    fn add_policy(&mut self, name: &Name, policy: NamePolicy) -> Result<(), ZoneError> {
        let key = self.key(name)?;
        let apex = key.is_empty();
        let entry = self.owners.entry(key).or_default();
        let answered = |rtype: u16| {
            let addresses = matches!(rtype, rtype::A | rtype::AAAA | rtype::CNAME);
            if policy.alias.is_some() {
                return addresses;
            }
            let of_instances = addresses || matches!(rtype, rtype::SRV | rtype::TXT | rtype::HTTPS);
            of_instances || policy.records.iter().any(|set| set.rtype() == rtype)
        };
        let alias = policy.records.iter().any(|set| set.rtype() == rtype::CNAME);
        let reason = match entry.sets.iter().find(|set| answered(set.rtype())) {
            Some(set) => format!("its policy answers type {}: a static RRset of that type cannot stand beside it", set.rtype()),
            None if alias && apex => "a CNAME cannot stand at the apex, beside SOA and NS (RFC 1034 §3.6.2)".into(),
            None if alias && !entry.sets.is_empty() => "a CNAME in its policy stands beside static records (RFC 1034 §3.6.2)".into(),
            None => {
                entry.policy = Some(policy);
                return Ok(());
            }
        };
        Err(self.error(name, reason))
    }

    /// Nothing else can stand on the name of a service (DESIGN §3).
    fn check_services(&self) -> Result<(), ZoneError> {
        for label in self.zone.defined.keys().filter(|_| self.zone.services) {
            let key = [&[label.as_str().len() as u8], label.as_str().as_bytes()].concat();
            if self.owners.contains_key(key.as_slice()) {
                return Err(self.error(self.named(&key), "is the name of a service: no static record or policy can stand there"));
            }
        }
        Ok(())
    }

    /// Makes every name that only has names below it an owner of nothing (RFC 4592 §2.2.2).
    fn add_empty_non_terminals(&mut self) {
        let keys: Vec<Key> = self.owners.keys().cloned().collect();
        for key in keys {
            let mut rest = &key[..];
            while let Some(parent) = parent(rest) {
                if self.owners.contains_key(parent) {
                    break;
                }
                self.owners.insert(parent.into(), Entry::default());
                rest = parent;
            }
        }
    }

    /// The key of the highest delegation at or above a key.
    fn cut_above(&self, key: &[u8]) -> Option<&Key> {
        let mut found = None;
        let mut rest = Some(key);
        while let Some(key) = rest.filter(|key| !key.is_empty()) {
            found = self.owners.get_key_value(key).filter(|(_, e)| e.sets.iter().any(|s| s.rtype() == rtype::NS)).map(|(k, _)| k).or(found);
            rest = parent(key);
        }
        found
    }

    /// At a cut only NS and DS, below it only addresses of name servers can stand: nothing else would ever be answered.
    fn check_delegations(&self) -> Result<(), ZoneError> {
        for (key, entry) in &self.owners {
            let Some(cut) = self.cut_above(key) else { continue };
            let fits = |set: &RrSet| match set.rtype() {
                rtype::A | rtype::AAAA => true,
                rtype::NS | rtype::DS => key == cut,
                _ => false,
            };
            if entry.policy.is_some() || !entry.sets.iter().all(fits) {
                let reason = format!("stands at or below the delegation of {}, which answers instead", self.named(cut));
                return Err(self.error(self.named(key), reason));
            }
        }
        Ok(())
    }

    fn check_aliases(&self) -> Result<(), ZoneError> {
        for (key, entry) in &self.owners {
            let Some(alias) = entry.sets.iter().find(|set| set.rtype() == rtype::CNAME) else { continue };
            if entry.sets.len() > 1 || entry.policy.is_some() || alias.len() > 1 {
                return Err(self.error(self.named(key), "a CNAME stands alone at its name (RFC 1034 §3.6.2)"));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<CompiledZone, ZoneError> {
        let apex = NameBuf::from_wire(self.zone.apex.wire()).ok_or_else(|| self.error(&self.zone.apex, "is no domain name"))?;
        let keys: hashbrown::HashMap<Key, u32, _> = self.owners.keys().cloned().zip(0..).collect();
        let mut owners = Vec::with_capacity(self.owners.len());
        let mut negative = None;
        for (key, entry) in &self.owners {
            if key.is_empty() {
                // RFC 2308 §3: the lesser of the SOA's TTL and its MINIMUM.
                let soa = entry.sets.iter().find(|set| set.rtype() == rtype::SOA);
                negative = soa.map(|soa| soa.with_ttl(soa.ttl().min(seconds(self.zone.ttl.negative))));
            }
            owners.push(Owner {
                cut_above: self.cut_above(key).and_then(|cut| keys.get(cut).copied()),
                cut: entry.sets.iter().find(|set| set.rtype() == rtype::NS && !key.is_empty()).map(|ns| Box::new(delegation(key, ns))),
                wildcard: keys.get([&b"\x01*"[..], key].concat().as_slice()).copied(),
                ..Owner::default()
            });
        }
        let negative = negative.ok_or_else(|| self.error(&self.zone.apex, "has no SOA"))?;
        let ttl = AnswerTtl { min: seconds(self.zone.ttl.min), max: seconds(self.zone.ttl.max) };
        let (file, services) = (self.zone.file.as_str().into(), self.zone.services);
        for (owner, entry) in owners.iter_mut().zip(self.owners.into_values()) {
            owner.sets = entry.sets.into();
            owner.policy = entry.policy.map(Box::new);
        }
        Ok(CompiledZone { apex, file, services, ttl, negative, keys, owners: owners.into() })
    }
}

fn delegation(cut: &[u8], ns: &RrSet) -> Delegation {
    let below = |key: &[u8]| std::iter::successors(Some(key), |key| parent(key)).any(|key| key == cut);
    let glue = ns.wanted().map(|key| Glue { key: key.into(), required: below(key) }).collect();
    let depth = std::iter::successors(Some(cut), |key| parent(key)).count() - 1;
    Delegation { depth, ns: ns.clone(), glue }
}

/// The key one label up; `None` for the apex.
fn parent(key: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*key.first()?);
    key.get(1 + length..)
}

/// Whole seconds, rounded up, so that no TTL becomes 0 by rounding.
fn seconds(period: Period) -> u32 {
    period.millis().div_ceil(1000).min(i32::MAX as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::super::Lookup;
    use super::*;
    use crate::model::{APEX_TTL, Defined, RecordSet, Soa, ZoneTtl};
    use crate::routing::{Origins, Places, Views};

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// A zone `svc.example` with records given as (owner, type, data).
    fn zone(records: &[(&str, u16, &[u8])]) -> Zone {
        let apex = name("svc.example.");
        let mut zone = Zone {
            apex: apex.clone(),
            file: "zones/svc.example.toml".into(),
            services: false,
            ns: vec![name("ns1.svc.example.")],
            ns_ttl: APEX_TTL,
            soa: Soa::new(name("ns1.svc.example."), name("hostmaster.svc.example."), 7),
            ttl: ZoneTtl::default(),
            records: BTreeMap::new(),
            names: BTreeMap::new(),
            aliases: BTreeMap::new(),
            defined: BTreeMap::new(),
        };
        for (owner, rtype, data) in records {
            let owner = Name::parse_relative(owner, Some(&apex)).unwrap();
            let set = zone.records.entry((owner, *rtype)).or_insert(RecordSet { ttl: 60, rdata: Vec::new() });
            set.rdata.push((*data).into());
        }
        zone
    }

    fn compile(zone: &Zone) -> Result<CompiledZone, ZoneError> {
        let (places, origins) = (Places::default(), Origins::default());
        let mut against = Against { places: &places, origins: &origins, views: &mut Views::default() };
        CompiledZone::compile(zone, &mut against, &mut |_| None)
    }

    const A: &[u8] = &[192, 0, 2, 1];

    #[test]
    fn names_are_found_as_rfc_1034_and_4592_say() {
        let zone = compile(&zone(&[
            ("www", rtype::A, A),
            ("a.b.c", rtype::A, A),
            ("*.wild", rtype::A, A),
            ("host.wild", rtype::TXT, b"\x01x"),
            ("sub", rtype::NS, name("ns.sub.svc.example.").wire()),
            ("sub", rtype::NS, name("ns1.svc.example.").wire()),
            ("sub", rtype::DS, b"\x00\x01\x08\x02"),
            ("ns.sub", rtype::A, A),
        ]))
        .unwrap();
        let check = |asked: &str, expected: &str| {
            let asked = NameBuf::from_wire(name(asked).wire()).unwrap();
            let found = match zone.lookup(&asked) {
                Lookup::Owner(owner) => format!("{:?}", owner.sets().iter().map(RrSet::rtype).collect::<Vec<_>>()),
                Lookup::Delegated { delegation, at } => {
                    let glue: Vec<bool> = delegation.glue.iter().map(|g| g.required).collect();
                    format!("cut {} {} {glue:?}", delegation.depth, at.is_some())
                }
                Lookup::Missing { encloser, wildcard } => format!("missing {encloser} {}", wildcard.is_some()),
            };
            assert_eq!(found, expected, "{asked}");
        };
        check("svc.example.", "[6, 2]");
        check("www.svc.example.", "[1]");
        check("b.c.svc.example.", "[]");
        check("c.svc.example.", "[]");
        check("x.svc.example.", "missing 0 false");
        check("x.y.z.svc.example.", "missing 0 false");
        check("x.b.c.svc.example.", "missing 2 false");
        check("x.www.svc.example.", "missing 1 false");
        check("x.wild.svc.example.", "missing 1 true");
        check("x.y.wild.svc.example.", "missing 1 true");
        check("*.wild.svc.example.", "[1]");
        check("host.wild.svc.example.", "[16]");
        check("x.host.wild.svc.example.", "missing 2 false");
        check("wild.svc.example.", "[]");
        check("x.*.wild.svc.example.", "missing 2 false");
        check("sub.svc.example.", "cut 1 true [true, false]");
        check("x.sub.svc.example.", "cut 1 false [true, false]");
        check("ns.sub.svc.example.", "cut 1 false [true, false]");
        check("deep.sub.svc.example.", "cut 1 false [true, false]");
    }

    #[test]
    fn the_apex_carries_soa_and_ns_and_the_negative_ttl() {
        let zone = compile(&zone(&[])).unwrap();
        let apex = zone.at(b"").unwrap();
        assert_eq!(apex.set(rtype::SOA).unwrap().ttl(), 3600);
        assert_eq!(apex.set(rtype::NS).unwrap().wanted().collect::<Vec<_>>(), [b"\x03ns1"]);
        assert_eq!(zone.negative().ttl(), 5);
        let soa = zone.negative().data(0);
        assert_eq!(soa[soa.len() - 20..][..4], 7u32.to_be_bytes());
        assert_eq!(soa[soa.len() - 4..], 5u32.to_be_bytes());
        assert_eq!(zone.ttl(), AnswerTtl { min: 5, max: 30 });
    }

    #[test]
    fn a_zone_that_would_lie_is_refused_with_the_name() {
        let check = |records: &[(&str, u16, &[u8])], named: &str, said: &str| {
            let error = compile(&zone(records)).unwrap_err();
            assert_eq!((error.name.as_str(), error.file.as_str()), (named, "zones/svc.example.toml"));
            assert!(error.reason.contains(said), "{error}");
        };
        let ns = name("ns.other.");
        check(&[("a.other.", rtype::A, A)], "a.other.", "not within");
        check(&[("@", rtype::SOA, A)], "svc.example.", "SOA is made");
        check(&[("@", rtype::NS, ns.wire())], "svc.example.", "`ns`");
        check(&[("*.x", rtype::NS, ns.wire())], "*.x.svc.example.", "wildcard");
        check(&[("x", rtype::DNAME, ns.wire())], "x.svc.example.", "DNAME");
        check(&[("x", rtype::TSIG, A)], "x.svc.example.", "type 250");
        check(&[("x", rtype::A, &[1])], "x.svc.example.", "malformed");
        check(&[("x", rtype::CNAME, ns.wire()), ("x", rtype::A, A)], "x.svc.example.", "CNAME");
        check(&[("x", rtype::CNAME, ns.wire()), ("x", rtype::CNAME, name("b.").wire())], "x.svc.example.", "CNAME");
        check(&[("x", rtype::NS, ns.wire()), ("x", rtype::TXT, b"\x01x")], "x.svc.example.", "delegation of x.svc.example.");
        check(&[("x", rtype::NS, ns.wire()), ("y.x", rtype::TXT, b"\x01x")], "y.x.svc.example.", "delegation of x.svc.example.");
        let mut nobody = zone(&[]);
        nobody.ns.clear();
        assert_eq!(compile(&nobody).unwrap_err().name, "ns");
        let mut doubled = zone(&[("web", rtype::A, A)]);
        doubled.services = true;
        doubled.defined.insert(Label::parse("web").unwrap(), Defined::default());
        assert_eq!(compile(&doubled).unwrap_err().name, "web.svc.example.");
        let mut inverted = zone(&[]);
        inverted.ttl.min = Period::seconds(60);
        assert_eq!(compile(&inverted).unwrap_err().name, "ttl.min");
    }
}
