//! From a zone as written to a zone as looked up: every check that needs the whole zone is made here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::names::{Gathered, Names};
use super::proofs::Gathering;
use super::rrset::{LeafRecords, RrSet, RrSetBuf};
use super::{AnswerTtl, CompiledZone, Cut, Extra, NamePolicy, ZoneError};
use crate::codec::code::rtype;
use crate::codec::{HASH_LABEL, MAX_NAME, NameBuf};
use crate::model::{Denial, Label, Name, Period, Zone};
use crate::routing::{Against, ServiceId, Tree};

/// Most octets that stand before the apex in the name of an instance: `_port._proto.<id>.id.<service>`.
const LONGEST_PREFIX: usize = 64 + 5 + 64 + 3 + 64;

/// What stands before the apex, in lower-case wire form without root label.
pub(super) type Key = Box<[u8]>;

/// A zone under way.
pub(super) struct Draft<'z> {
    pub zone: &'z Zone,
    pub owners: BTreeMap<Key, Entry>,
    /// Every name but the apex that has NS records.
    pub cuts: BTreeSet<Key>,
    /// Every name that has a DNAME.
    pub redirections: BTreeSet<Key>,
    /// Of a zone that is patched: what was looked for in it.
    pub loaded: BTreeSet<Key>,
}

/// An owner under way.
#[derive(Default)]
pub(super) struct Entry {
    pub sets: Vec<RrSetBuf>,
    pub policy: Option<Arc<NamePolicy>>,
}

impl Entry {
    /// The static RRset of a type.
    pub fn set(&self, rtype: u16) -> Option<RrSet<'_>> {
        self.sets.iter().map(RrSetBuf::set).find(|set| set.rtype() == rtype)
    }

    /// Whether it is the hash of a name, and no name.
    pub fn is_hash(&self) -> bool {
        self.policy.is_none()
            && self.set(rtype::NSEC3).is_some()
            && self.sets.iter().all(|set| matches!(set.set().rtype(), rtype::NSEC3 | rtype::RRSIG))
    }

    /// Whether it is no empty non-terminal.
    pub fn stands(&self) -> bool {
        self.policy.is_some() || !self.sets.is_empty()
    }
}

impl CompiledZone {
    /// Compiles a zone. `service` gives the slot of a service that a policy leads to, reserving it where the service is not registered.
    pub fn compile(
        zone: &Zone,
        against: &mut Against<'_>,
        service: &mut dyn FnMut(&Label) -> Option<ServiceId>,
    ) -> Result<CompiledZone, ZoneError> {
        let mut draft = Draft::new(zone);
        draft.add_apex()?;
        draft.add_records()?;
        for (name, policy) in &zone.names {
            let tree = Tree::compile(policy, name.wire(), against, service).map_err(|error| draft.error(name, error.to_string()))?;
            let records = LeafRecords::collect(policy, zone.apex.wire()).map_err(|reason| draft.error(name, reason))?;
            draft.add_policy(name, NamePolicy { tree, records, alias: zone.aliases.get(name).cloned() })?;
        }
        draft.add_empty_non_terminals();
        draft.check()?;
        draft.finish()
    }
}

impl<'z> Draft<'z> {
    /// Without any owner yet.
    pub fn new(zone: &'z Zone) -> Draft<'z> {
        let (cuts, redirections, loaded) = Default::default();
        Draft { zone, owners: BTreeMap::new(), cuts, redirections, loaded }
    }
}

impl Draft<'_> {
    pub fn error(&self, name: impl std::fmt::Display, reason: impl Into<String>) -> ZoneError {
        ZoneError { file: self.zone.file.clone(), name: name.to_string(), reason: reason.into() }
    }

    /// The key of a name within the zone.
    pub fn key(&self, name: &Name) -> Result<Key, ZoneError> {
        match name.is_within(&self.zone.apex) {
            true => Ok(name.wire()[..name.wire().len() - self.zone.apex.wire().len()].into()),
            false => Err(self.error(name, format!("is not within the zone {}", self.zone.apex))),
        }
    }

    /// The name of a key, for messages.
    pub fn named(&self, key: &[u8]) -> Name {
        Name::from_wire(&[key, self.zone.apex.wire()].concat())
    }

    pub fn encode(&self, name: &Name, rtype: u16, ttl: u32, rdata: &[Box<[u8]>]) -> Result<RrSetBuf, ZoneError> {
        if ttl > i32::MAX as u32 {
            return Err(self.error(name, format!("a TTL is at most {} seconds (RFC 2181 §8), not {ttl}", i32::MAX)));
        }
        let before = name.wire().len() - self.zone.apex.wire().len();
        let encoded =
            RrSetBuf::encode(rtype, ttl, rdata, before, self.zone.apex.wire()).map_err(|error| self.error(name, error.to_string()))?;
        Ok(if rtype == rtype::RRSIG { encoded.with_original_ttls() } else { encoded })
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
        self.add_keys()
    }

    /// The public keys of a signed zone, and what it asks its parent for.
    fn add_keys(&mut self) -> Result<(), ZoneError> {
        let apex = &self.zone.apex;
        let Some(signing) = &self.zone.signing else { return Ok(()) };
        if signing.denial == Denial::Nsec3 && apex.wire().len() + HASH_LABEL > MAX_NAME {
            return Err(self.error(apex, "with NSEC3 the apex has at most 222 octets: the hash of a name stands before it"));
        }
        for (rtype, rdata) in
            [(rtype::DNSKEY, signing.dnskey()), (rtype::CDS, signing.cds.clone()), (rtype::CDNSKEY, signing.cdnskey.clone())]
        {
            if self.zone.records.contains_key(&(apex.clone(), rtype)) {
                return Err(self.error(apex, "the zone is signed here: its DNSKEY, CDS and CDNSKEY come from its keys, not from records"));
            }
            if !rdata.is_empty() {
                let encoded = self.encode(apex, rtype, signing.dnskey_ttl, &rdata)?;
                self.owners.entry(Key::default()).or_default().sets.push(encoded);
            }
        }
        Ok(())
    }

    fn add_records(&mut self) -> Result<(), ZoneError> {
        for ((name, rtype), set) in &self.zone.records {
            let key = self.key(name)?;
            match *rtype {
                rtype::SOA if key.is_empty() => return Err(self.error(name, "the SOA is made from `ns`, `contact`, `serial` and `ttl`")),
                rtype::NS if key.is_empty() => return Err(self.error(name, "the apex's name servers stand in `ns`")),
                rtype::NS => drop(self.cuts.insert(key.clone())),
                rtype::DNAME => drop(self.redirections.insert(key.clone())),
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
        self.owners.entry(key.clone()).or_default().policy = Some(Arc::new(policy));
        self.check_policy(name, &key)
    }

    /// Refuses records beside a policy that it answers itself.
    pub fn check_policy(&self, name: &Name, key: &[u8]) -> Result<(), ZoneError> {
        let Some((entry, policy)) = self.owners.get(key).and_then(|entry| Some((entry, entry.policy.as_deref()?))) else { return Ok(()) };
        let answered = |rtype: u16| {
            let addresses = matches!(rtype, rtype::A | rtype::AAAA | rtype::CNAME);
            if policy.alias.is_some() {
                return addresses;
            }
            let of_instances = addresses || matches!(rtype, rtype::SRV | rtype::TXT | rtype::HTTPS);
            of_instances || policy.records.iter().any(|set| set.rtype() == rtype)
        };
        let alias = policy.records.iter().any(|set| set.rtype() == rtype::CNAME);
        let reason = match entry.sets.iter().map(RrSetBuf::set).find(|set| answered(set.rtype())) {
            Some(set) => format!("its policy answers type {}: a static RRset of that type cannot stand beside it", set.rtype()),
            None if alias && key.is_empty() => "a CNAME cannot stand at the apex, beside SOA and NS (RFC 1034 §3.6.2)".into(),
            None if alias && !entry.sets.is_empty() => "a CNAME in its policy stands beside static records (RFC 1034 §3.6.2)".into(),
            None => return Ok(()),
        };
        Err(self.error(name, reason))
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
    pub fn cut_above(&self, key: &[u8]) -> Option<&Key> {
        self.highest(&self.cuts, key)
    }

    /// The shortest of `keys` that is `key` or stands above it.
    fn highest<'k>(&self, keys: &'k BTreeSet<Key>, key: &[u8]) -> Option<&'k Key> {
        match keys.is_empty() {
            true => None,
            false => upwards(key).filter_map(|key| keys.get(key)).last(),
        }
    }

    /// The key of a DNAME above a key, where that is not itself below a delegation.
    pub fn redirection_above(&self, key: &[u8]) -> Option<&Key> {
        let found = self.highest(&self.redirections, parent(key)?)?;
        self.cut_above(found).is_none().then_some(found)
    }

    fn finish(self) -> Result<CompiledZone, ZoneError> {
        let not_a_name = |draft: &Self| draft.error(&draft.zone.apex, "is no domain name");
        let apex = NameBuf::from_wire(self.zone.apex.wire()).ok_or_else(|| not_a_name(&self))?;
        let hash = (0..apex.labels()).rev().fold(NameBuf::ROOT_HASH, |behind, label| apex.hash(label, behind));
        // RFC 2308 §3: the lesser of the SOA's TTL and its MINIMUM.
        let soa = self.owners.get(&[][..]).and_then(|entry| entry.sets.iter().find(|set| set.set().rtype() == rtype::SOA));
        let negative = soa.map(|soa| soa.with_ttl(soa.set().ttl().min(seconds(self.zone.ttl.negative))));
        let negative = negative.ok_or_else(|| self.error(&self.zone.apex, "has no SOA"))?;
        let (places, size) = self.places();

        let mut names = Gathered::with_capacity(self.owners.len(), size);
        let (mut extras, mut besides, mut name, mut wire) = (Vec::new(), Vec::new(), apex.clone(), Vec::new());
        let (mut proofs, mut of_hashes) = (Gathering::default(), None);
        for (key, entry) in &self.owners {
            wire.clear();
            wire.extend_from_slice(key);
            wire.extend_from_slice(apex.wire());
            name.read(&wire, 0).map_err(|_| not_a_name(&self))?;
            let depth = name.labels() - apex.labels();
            let name_hash = (0..depth).rev().fold(hash, |behind, label| name.hash(label, behind));
            let cut = entry.set(rtype::NS).filter(|_| !key.is_empty());
            proofs.take(key, entry.sets.iter().map(RrSetBuf::set), names.position());
            let mut add = |extra: Extra| {
                extras.push(extra);
                extras.len() as u32 - 1
            };
            let extra = match entry.is_hash() {
                // One for all of them.
                true => Some(*of_hashes.get_or_insert_with(|| add(Extra::of_hash()))),
                false => {
                    let extra = Extra { at: names.position(), ..self.extra(key, entry, &|key| places.get(key).copied()) };
                    extra.is_any().then(|| add(extra))
                }
            };
            let beside = |set: &RrSetBuf| {
                // What belongs beside the NS of a delegation is in the delegation.
                let beside =
                    Some(set.set()).filter(|set| cut.is_none() || set.rtype() != rtype::NS).and_then(|set| self.beside(key, set))?;
                besides.push(beside);
                Some(besides.len() as u32 - 1)
            };
            names.add(name_hash, &Names::encode(key, &entry.sets, beside, extra));
        }
        let ttl = AnswerTtl { min: seconds(self.zone.ttl.min), max: seconds(self.zone.ttl.max) };
        let (file, services) = (self.zone.file.as_str().into(), self.zone.services);
        let (names, extras, besides) = (names.finish(), extras.into(), besides.into());
        let epoch = self.zone.signing.as_ref().map(|signing| signing.epoch);
        let denial = self.zone.signing.as_ref().map_or(Denial::default(), |signing| signing.denial);
        let soa_ttl = self.zone.soa.ttl;
        let proofs = proofs.finish(&self)?.map(Arc::new);
        let divided = !self.cuts.is_empty() || !self.redirections.is_empty();
        let spare = Arc::default();
        Ok(CompiledZone {
            apex,
            file,
            services,
            divided,
            ttl,
            epoch,
            denial,
            proofs,
            soa_ttl,
            negative,
            hash,
            names,
            extras,
            besides,
            spare,
        })
    }

    /// What stands at a name beside its RRsets, its own place aside. `place`: of wildcards and delegations.
    pub fn extra(&self, key: &Key, entry: &Entry, place: &dyn Fn(&[u8]) -> Option<usize>) -> Extra {
        let cut = entry.set(rtype::NS).filter(|_| !key.is_empty());
        let wildcard = self.owners.get_key_value([&b"\x01*"[..], key].concat().as_slice());
        Extra {
            at: 0,
            policy: entry.policy.clone(),
            cut: cut.map(|ns| {
                let (glue, others) = self.glue(key, ns);
                Arc::new(Cut { depth: labels(key), glue, others })
            }),
            cut_above: self.cut_above(key).and_then(|cut| place(cut)),
            redirects: entry.set(rtype::DNAME).is_some(),
            wildcard: wildcard.and_then(|(wildcard, _)| place(wildcard)),
            hash: false,
        }
    }

    /// Where the names will stand that others refer to, wildcards and delegations; and how many octets all names take.
    fn places(&self) -> (HashMap<&[u8], usize>, usize) {
        let (mut places, mut at) = (HashMap::new(), 0);
        for (key, entry) in &self.owners {
            if key.starts_with(b"\x01*") || self.cuts.contains(key) {
                places.insert(&**key, at);
            }
            at += Names::size(key, &entry.sets);
        }
        (places, at)
    }
}

impl Extra {
    /// That of the hash of a name.
    fn of_hash() -> Extra {
        Extra { cut_above: Some(usize::MAX), hash: true, ..Extra::default() }
    }

    pub fn is_any(&self) -> bool {
        self.policy.is_some() || self.cut.is_some() || self.cut_above.is_some() || self.redirects || self.wildcard.is_some()
    }
}

/// A key and every key above it, up to the apex.
pub(super) fn upwards(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(key), |key| parent(key))
}

/// The key one label up; `None` for the apex.
pub(super) fn parent(key: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*key.first()?);
    key.get(1 + length..)
}

/// How many labels a key has.
fn labels(key: &[u8]) -> usize {
    upwards(key).count() - 1
}

/// Whole seconds, rounded up, so that no TTL becomes 0 by rounding.
fn seconds(period: Period) -> u32 {
    period.millis().div_ceil(1000).min(i32::MAX as u64) as u32
}
