//! A zone with other RRsets at some names, made of the zone as it is: what nobody touched is copied in one piece, neither encoded nor checked anew.
//!
//! ```text
//!   RRsets ─▶ a draft of what stands around them ─▶ one walk: what leads there? what stands below? ─▶ draft, checked ─▶ pieces, spliced in
//! ```
//! Answers are the same as of a zone that was compiled whole; a delegation or a DNAME that comes or goes concerns every name below it, so
//! the zone is compiled whole then.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compile::{Draft, Entry, Key, parent, upwards};
use super::names::{Names, Piece};
use super::rrset::{RrSet, RrSetBuf};
use super::{CompiledZone, Extra, ZoneError};
use crate::codec::NameBuf;
use crate::codec::code::rtype;
use crate::model::{Name, RecordSet, Zone};

/// What becomes of some RRsets of a zone.
#[derive(Debug, Clone, Default)]
pub struct ZonePatch<'p> {
    /// By owner and type; `None`: it is gone.
    pub sets: Vec<(&'p Name, u16, Option<Cow<'p, RecordSet>>)>,
    /// The serial from then on.
    pub serial: u32,
}

/// More owners than this part of a zone, one of so many, and it is compiled whole as fast.
const SHARE: usize = 4;
/// So many are few in any zone.
const FEW: usize = 64;

/// What the walk over all names looks for.
struct Wanted<'w> {
    /// Keys that are new.
    new: &'w BTreeSet<Key>,
    /// Keys at which nothing stands any more, unless something stands below.
    bare: &'w BTreeSet<Key>,
    /// Keys that have other addresses: what leads to them is made anew.
    moved: &'w BTreeSet<Key>,
    /// Keys of which the same holds for all names below, which a wildcard covers or does not.
    covering: &'w BTreeSet<Key>,
}

/// What it found.
#[derive(Default)]
struct Found {
    /// Where each new key goes.
    places: BTreeMap<Key, usize>,
    /// Of those that are bare, the ones with something below.
    kept: BTreeSet<Key>,
    /// Owners of what leads to a name that moved.
    leading: BTreeSet<Key>,
}

impl CompiledZone {
    /// The zone with these RRsets. `None`: it is to be compiled whole. `zone` says what is no record: its `records` are not looked at.
    pub(in crate::snapshot) fn patched(&self, zone: &Zone, patch: &ZonePatch<'_>) -> Result<Option<CompiledZone>, ZoneError> {
        let of_all = |(name, rtype, set): &(&Name, u16, Option<_>)| match *rtype {
            rtype::SOA | rtype::DNAME => true,
            rtype::NS => **name != zone.apex || set.is_none(),
            // What a zone refuses that is signed here.
            rtype::DNSKEY | rtype::CDS | rtype::CDNSKEY => **name == zone.apex && zone.signing.is_some(),
            _ => false,
        };
        if self.proofs.is_some() || patch.sets.iter().any(of_all) {
            return Ok(None);
        }
        let mut draft = Draft::new(zone);
        draft.load(self, &[]);
        let mut touched = BTreeSet::from([Key::default()]);
        let (mut moved, mut covering) = (BTreeSet::new(), BTreeSet::new());
        for (name, rtype, set) in &patch.sets {
            let key = draft.key(name)?;
            draft.load(self, &key);
            if matches!(*rtype, rtype::A | rtype::AAAA | rtype::SVCB | rtype::HTTPS) {
                moved.insert(key.clone());
                covering.extend(covered(&key));
            }
            draft.put(name, key.clone(), *rtype, set.as_deref())?;
            touched.insert(key);
        }
        let apex = draft.owners.entry(Key::default()).or_default();
        apex.sets.iter_mut().filter(|set| set.set().rtype() == rtype::SOA).for_each(|soa| *soa = soa.with_serial(patch.serial));

        // Names that come, with the empty ones above them, and names that may go, with those.
        let (mut new, mut bare) = (BTreeSet::new(), BTreeSet::new());
        for key in touched.iter().filter(|key| !key.is_empty()) {
            match draft.stands(key) {
                true => new.extend(upwards(key).take_while(|key| self.at(key).is_none()).map(Key::from)),
                false => bare.extend(upwards(key).take_while(|key| !key.is_empty() && !draft.stands(key)).map(Key::from)),
            }
        }
        let standing = draft.owners.iter().filter(|(_, entry)| entry.stands());
        let above: BTreeSet<&[u8]> = standing.flat_map(|(key, _)| upwards(key)).collect();
        bare.retain(|key: &Key| !above.contains(&**key));
        let unknown: Vec<Key> = bare.iter().filter(|key| self.at(key).is_none()).cloned().collect();
        for key in unknown {
            bare.remove(&key);
            draft.owners.remove(&key);
        }
        for key in &new {
            draft.owners.entry(key.clone()).or_default();
        }
        for key in new.iter().chain(&bare) {
            covering.insert(key.clone());
            covering.extend(covered(key));
            touched.insert(key.clone());
            // The owner above knows its wildcard.
            touched.extend(covered(key));
        }
        let found = match new.is_empty() && bare.is_empty() && moved.is_empty() {
            true => Found::default(),
            false => self.walk(&Wanted { new: &new, bare: &bare, moved: &moved, covering: &covering }),
        };
        for key in bare.difference(&found.kept) {
            draft.owners.remove(key);
        }
        if touched.len() + found.leading.len() > FEW.max(self.names.len() / SHARE) {
            return Ok(None);
        }
        touched.extend(found.leading);
        // What they lead to, and what stands there.
        for key in &touched {
            draft.load(self, key);
            for led in draft.leads(key) {
                draft.load(self, &led);
            }
        }
        draft.check()?;
        Ok(Some(self.spliced(&draft, &touched, &found.places, patch.serial)))
    }

    /// Looks at each name once.
    fn walk(&self, wanted: &Wanted<'_>) -> Found {
        let mut found = Found::default();
        let mut new = wanted.new.iter().peekable();
        let mut at = 0;
        while let Some((key, owner, next)) = self.owner_from(at) {
            while let Some(key) = new.next_if(|new| ***new < *key) {
                found.places.insert(key.clone(), at);
            }
            let has = |keys: &BTreeSet<Key>, key: &[u8]| !keys.is_empty() && upwards(key).any(|key| keys.contains(key));
            if !wanted.bare.is_empty() && !wanted.bare.contains(key) && has(wanted.bare, key) {
                found.kept.extend(upwards(key).filter(|key| wanted.bare.contains(*key)).map(Key::from));
            }
            if !wanted.moved.is_empty() || !wanted.covering.is_empty() {
                let moved = |name: &[u8]| wanted.moved.contains(name) || has(wanted.covering, name);
                let names = |set: RrSet<'_>| {
                    set.leads_to(self.apex()).any(|(.., name)| name.and_then(|name| self.key_of(&name)).is_some_and(|key| moved(&key)))
                };
                if owner.sets().any(names) {
                    found.leading.insert(key.into());
                }
            }
            at = next;
        }
        new.for_each(|key| _ = found.places.insert(key.clone(), at));
        found
    }

    /// The key of a name; `None`: it is not within the zone.
    fn key_of(&self, name: &NameBuf) -> Option<Key> {
        let end = (name.labels() >= self.apex.labels()).then(|| self.apex_in(name)).flatten()?;
        Some(name.wire()[..end].into())
    }

    /// Puts what became of the touched owners in the place of what was.
    fn spliced(&self, draft: &Draft<'_>, touched: &BTreeSet<Key>, places: &BTreeMap<Key, usize>, serial: u32) -> CompiledZone {
        let mut extras = Numbered { all: self.extras.to_vec(), spare: self.spare.extras.clone() };
        let mut besides = Numbered { all: self.besides.to_vec(), spare: self.spare.besides.clone() };
        // What the owners had is free for others.
        for owner in touched.iter().filter_map(|key| self.at(key)) {
            extras.free(owner.found.extra);
            owner.found.bufs().iter().for_each(|set| besides.free(set.beside_number()));
        }
        let (mut pieces, mut standing) = (Vec::with_capacity(touched.len()), Vec::new());
        for key in touched {
            let was = self.at(key).map(|owner| owner.found.at);
            let Some(from) = was.or_else(|| places.get(key).copied()) else { continue };
            let to = was.and_then(|was| self.owner_from(was)).map_or(from, |(.., next)| next);
            let octets = match draft.owners.get(key) {
                None => Vec::new(),
                Some(entry) => {
                    let is_cut = entry.set(rtype::NS).is_some() && !key.is_empty();
                    let beside = |set: &RrSetBuf| {
                        let set = Some(set.set()).filter(|set| !is_cut || set.rtype() != rtype::NS)?;
                        Some(besides.add(draft.beside(key, set)?))
                    };
                    let extra = draft.extra(key, entry, &|_| Some(0));
                    let number = extra.is_any().then(|| extras.add(extra));
                    standing.extend(number.map(|number| (key, number)));
                    Names::encode(key, &entry.sets, beside, number)
                }
            };
            pieces.push(Piece { from, to, hash: self.key_hash(key), octets });
        }
        let (names, shift) = self.names.spliced(&pieces, |key| self.key_hash(key));
        for extra in &mut extras.all {
            extra.at = shift.of(extra.at);
            extra.cut_above = extra.cut_above.map(|at| shift.of(at));
            extra.wildcard = extra.wildcard.map(|at| shift.of(at));
        }
        let Self { apex, file, services, divided, ttl, epoch, soa_ttl, hash, .. } = self;
        let mut zone = CompiledZone {
            apex: apex.clone(),
            file: file.clone(),
            services: *services,
            divided: *divided,
            ttl: *ttl,
            epoch: *epoch,
            denial: self.denial,
            proofs: None,
            soa_ttl: *soa_ttl,
            negative: self.negative.with_serial(serial),
            hash: *hash,
            names,
            extras: Arc::new([]),
            besides: besides.all.into(),
            spare: Arc::default(),
        };
        for (key, number) in standing {
            let place = |key: &[u8]| zone.at(key).map(|owner| owner.found.at);
            let extra = draft.owners.get(key).map(|entry| draft.extra(key, entry, &place));
            if let (Some(extra), Some(slot)) = (extra, extras.all.get_mut(number as usize)) {
                *slot = Extra { at: place(key).unwrap_or_default(), ..extra };
            }
        }
        zone.extras = extras.all.into();
        zone.spare = Arc::new(Spare { extras: extras.spare, besides: besides.spare });
        zone
    }

    /// The hash of the name of a key.
    fn key_hash(&self, key: &[u8]) -> u64 {
        NameBuf::from_wire(&[key, self.apex()].concat()).map_or(0, |name| self.hash_of(&name))
    }
}

/// Numbers that nothing has any more.
#[derive(Debug, Default)]
pub(super) struct Spare {
    extras: Vec<u32>,
    besides: Vec<u32>,
}

/// What names refer to by number.
struct Numbered<T> {
    all: Vec<T>,
    spare: Vec<u32>,
}

impl<T: Default> Numbered<T> {
    /// Nothing refers to that any more.
    fn free(&mut self, number: usize) {
        if let Some(freed) = self.all.get_mut(number) {
            *freed = T::default();
            self.spare.push(number as u32);
        }
    }

    /// Takes what is new; a spare number for it, or the next.
    fn add(&mut self, new: T) -> u32 {
        match self.spare.pop() {
            Some(number) => {
                self.all[number as usize] = new;
                number
            }
            None => {
                self.all.push(new);
                self.all.len() as u32 - 1
            }
        }
    }
}

/// What a wildcard covers: everything below this key, but what is there.
fn covered(key: &[u8]) -> Option<Key> {
    parent(key).filter(|_| key.starts_with(b"\x01*")).map(Key::from)
}

impl Draft<'_> {
    /// Whether anything stands at a key that was loaded.
    fn stands(&self, key: &[u8]) -> bool {
        self.owners.get(key).is_some_and(Entry::stands)
    }

    /// Takes what a zone has at a key, above it, and at the wildcards there, unless it was taken.
    fn load(&mut self, base: &CompiledZone, key: &[u8]) {
        for key in upwards(key) {
            self.load_one(base, key);
            self.load_one(base, &[&b"\x01*"[..], key].concat());
        }
    }

    /// The keys that the RRsets at a key lead to.
    fn leads(&self, key: &[u8]) -> Vec<Key> {
        let apex = self.zone.apex.wire();
        let sets = self.owners.get(key).into_iter().flat_map(|entry| &entry.sets);
        let names = sets.flat_map(|set| set.set().leads_to(apex).collect::<Vec<_>>()).filter_map(|(.., name)| name);
        let key = |name: NameBuf| -> Option<Key> {
            let start = (0..=name.labels()).map(|n| name.start(n)).find(|start| &name.wire()[*start..] == apex)?;
            Some(name.wire()[..start].into())
        };
        names.filter_map(key).collect()
    }

    fn load_one(&mut self, base: &CompiledZone, key: &[u8]) {
        // Once: what was taken may have been changed since, or be gone.
        if !self.loaded.insert(key.into()) {
            return;
        }
        let Some(owner) = base.at(key) else { return };
        let entry = Entry { sets: owner.found.bufs(), policy: owner.extra.and_then(|extra| extra.policy.clone()) };
        if entry.set(rtype::NS).is_some() && !key.is_empty() {
            self.cuts.insert(key.into());
        }
        if entry.set(rtype::DNAME).is_some() {
            self.redirections.insert(key.into());
        }
        self.owners.insert(key.into(), entry);
    }

    /// Puts an RRset in the place of the one of its owner and type.
    fn put(&mut self, name: &Name, key: Key, rtype: u16, set: Option<&RecordSet>) -> Result<(), ZoneError> {
        let encoded = set.map(|set| self.encode(name, rtype, set.ttl, &set.rdata)).transpose()?;
        let apex = key.is_empty();
        let is_signed = self.zone.signing.is_some();
        let entry = self.owners.entry(key.clone()).or_default();
        entry.sets.retain(|set| set.set().rtype() != rtype);
        entry.sets.extend(encoded);
        // As the zone is compiled: SOA, NS and keys of the apex first.
        let rank = |rtype: u16| match rtype {
            rtype::SOA if apex => 0,
            rtype::NS if apex => 1,
            rtype::DNSKEY if apex && is_signed => 2,
            rtype::CDS if apex && is_signed => 3,
            rtype::CDNSKEY if apex && is_signed => 4,
            _ => 5,
        };
        entry.sets.sort_by_key(|set| (rank(set.set().rtype()), set.set().rtype()));
        self.check_policy(name, &key)
    }
}
