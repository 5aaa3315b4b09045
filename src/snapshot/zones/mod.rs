//! Zones compiled: static RRsets pre-encoded, names with policies, and the lookup of RFC 1034 §4.3.2 and RFC 4592.
//!
//! Names are told by what stands before the apex, in lower-case wire form without root label: `web` is `\x03web`, the apex is
//! empty. Every empty non-terminal is an owner too, so the first name that is missing on the way down ends a walk.

mod additional;
mod apexes;
mod checks;
mod compile;
mod names;
mod patch;
mod proofs;
mod rrset;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use additional::{Beside, Led};
pub(super) use apexes::Apexes;
use compile::Entry;
use names::{Found, Names};
use patch::Spare;
pub use patch::ZonePatch;
pub use proofs::{Hashes, Proofs};
use rrset::Head;
use rrset::RrSetBuf;
pub use rrset::{FIXED, LeafRecords, RrSet};

use crate::codec::NameBuf;
use crate::codec::code::rtype;
use crate::model::{AliasOf, Denial};
use crate::routing::Tree;

/// A zone, compiled.
#[derive(Debug, Clone)]
pub struct CompiledZone {
    apex: NameBuf,
    file: Box<str>,
    services: bool,
    /// Something is delegated or redirected.
    divided: bool,
    ttl: AnswerTtl,
    /// Names the keys that sign it; `None`: it is not signed here.
    epoch: Option<u64>,
    /// How it proves that something is not there, where it is signed here.
    denial: Denial,
    /// What its primary signed, where that did.
    proofs: Option<Arc<Proofs>>,
    /// The SOA's own TTL.
    soa_ttl: u32,
    /// The SOA as it stands in negative answers.
    negative: RrSetBuf,
    /// The apex's hash, from which those of the names within go on.
    hash: u64,
    names: Names,
    /// What stands at few names, by the numbers that these have.
    extras: Arc<[Extra]>,
    /// What belongs beside RRsets, by the numbers that these have.
    besides: Arc<[Beside]>,
    /// Numbers of both that nothing has.
    spare: Arc<Spare>,
}

/// Limits of the TTL of answers that depend on health, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTtl {
    /// Least.
    pub min: u32,
    /// Most.
    pub max: u32,
}

/// What stands at a name; nothing, where it is an empty non-terminal.
#[derive(Clone, Copy)]
pub struct Owner<'z> {
    zone: &'z CompiledZone,
    found: Found<'z>,
    extra: Option<&'z Extra>,
}

/// What stands at few names beside static RRsets. Other names are told by where they begin among the names.
#[derive(Debug, Default, Clone)]
struct Extra {
    at: usize,
    policy: Option<Arc<NamePolicy>>,
    cut: Option<Arc<Cut>>,
    /// The owner of the highest cut at or above this name: what stands here is occluded, not ours to answer.
    cut_above: Option<usize>,
    /// A DNAME stands here, so nothing exists below (RFC 6672 §2.4).
    redirects: bool,
    /// The owner `*` directly below.
    wildcard: Option<usize>,
    /// The hash of a name, at which there is no name (RFC 5155 §7.2.8). `cut_above` is set, which tells it from other names.
    hash: bool,
}

/// Who signs a zone.
#[derive(Debug, Clone, Copy)]
pub enum Signer<'z> {
    /// This server; the epoch of the keys, and how it is proved that something is not there.
    Here(u64, Denial),
    /// Its primary: signatures and proofs are records of the zone.
    Primary(&'z Proofs),
}

/// A delegation, its NS RRset aside.
#[derive(Debug)]
struct Cut {
    depth: usize,
    glue: Beside,
    others: Beside,
}

/// A name's policy.
#[derive(Debug)]
pub struct NamePolicy {
    /// The compiled tree.
    pub tree: Tree,
    /// The static records of its leaves.
    pub records: LeafRecords,
    /// It was written as ALIAS: it answers addresses alone, and with at most that TTL.
    pub alias: Option<AliasOf>,
}

/// A delegation: the name servers of a zone below.
#[derive(Debug, Clone, Copy)]
pub struct Delegation<'z> {
    /// How many labels stand between the apex and the cut, the cut's own included.
    pub depth: usize,
    /// The NS RRset.
    pub ns: RrSet<'z>,
    /// What else the zone holds at the cut, of which DS is ours.
    pub cut: Owner<'z>,
    /// Name servers with addresses in this zone that stand at or below the cut: without these nobody could reach them (RFC 9471 §2.1).
    pub glue: &'z Beside,
    /// Those that stand elsewhere in this zone, below a cut of their own or in no need of one (RFC 9471 §2.2).
    pub others: &'z Beside,
}

/// What a zone has at a name, services aside.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'z> {
    /// The name exists.
    Owner(Owner<'z>),
    /// The name is at or below a delegation; `at` is what the zone holds at the cut itself, where that is the name asked for.
    Delegated {
        /// Where to.
        delegation: Delegation<'z>,
        /// The name asked for is the cut: its DS is ours (RFC 4035 §3.1.4.1).
        at: Option<Owner<'z>>,
    },
    /// The name is below a DNAME.
    Redirected {
        /// How many labels the DNAME's owner has before the apex.
        depth: usize,
        /// The DNAME RRset, of one record.
        redirection: RrSet<'z>,
    },
    /// The name does not exist.
    Missing {
        /// How many labels the closest encloser has before the apex (RFC 4592 §3.3.1).
        encloser: usize,
        /// The wildcard at the closest encloser.
        wildcard: Option<Owner<'z>>,
    },
}

/// A zone that cannot be served as written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {name}: {reason}")]
pub struct ZoneError {
    /// The zone's file.
    pub file: String,
    /// The owner name, or the setting.
    pub name: String,
    /// What is wrong and what was expected.
    pub reason: String,
}

impl CompiledZone {
    /// The apex in lower-case wire form.
    pub fn apex(&self) -> &[u8] {
        self.apex.wire()
    }

    /// The apex as a name.
    pub fn name(&self) -> &NameBuf {
        &self.apex
    }

    /// The zone's file, as people know it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether services are shown in it.
    pub fn services(&self) -> bool {
        self.services
    }

    /// Whether anything in it is delegated, or redirected by a DNAME.
    #[inline]
    pub fn is_divided(&self) -> bool {
        self.divided
    }

    /// Limits of the TTL of answers that depend on health.
    pub fn ttl(&self) -> AnswerTtl {
        self.ttl
    }

    /// Who signs it; `None`: nobody does.
    #[inline]
    pub fn signer(&self) -> Option<Signer<'_>> {
        match (&self.proofs, self.epoch) {
            (Some(proofs), _) => Some(Signer::Primary(proofs)),
            (None, Some(epoch)) => Some(Signer::Here(epoch, self.denial)),
            (None, None) => None,
        }
    }

    /// The SOA's own TTL, in seconds.
    pub fn soa_ttl(&self) -> u32 {
        self.soa_ttl
    }

    /// Names the keys that sign it ([`crate::model::ZoneSigning::epoch`]); `None`: it is not signed here.
    #[inline]
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// The SOA with the TTL of negative answers: the lesser of the SOA's own and its MINIMUM (RFC 2308 §3).
    #[inline]
    pub fn negative(&self) -> RrSet<'_> {
        self.negative.set()
    }

    /// What stands at a key: the labels before the apex, in lower-case wire form without root label.
    pub fn at(&self, key: &[u8]) -> Option<Owner<'_>> {
        self.owner(&NameBuf::from_wire(&[key, self.apex()].concat())?)
    }

    /// What stands at a name that is within the zone.
    #[inline(always)]
    pub fn owner(&self, name: &NameBuf) -> Option<Owner<'_>> {
        self.names.find(self.hash_of(name), name, 0, name.start(self.depth(name))).map(|found| self.stands(found))
    }

    /// The hash of a name that is within the zone.
    #[inline(always)]
    pub(in crate::snapshot) fn hash_of(&self, name: &NameBuf) -> u64 {
        let (mut hash, mut index) = (self.hash, self.depth(name));
        while index > 0 {
            index -= 1;
            hash = name.hash(index, hash);
        }
        hash
    }

    /// Octets of its names and of what stands there.
    #[inline]
    pub(in crate::snapshot) fn octets(&self) -> usize {
        self.names.end()
    }

    /// Fetches the slots in which a hash is looked for.
    #[inline]
    pub(in crate::snapshot) fn fetch_slots(&self, hash: u64) -> usize {
        self.names.fetch_slots(hash)
    }

    /// Fetches what stands at the name with a hash, if there is one.
    #[inline]
    pub(in crate::snapshot) fn fetch_name(&self, hash: u64) -> usize {
        self.names.fetch_name(hash)
    }

    #[inline]
    fn stands<'z>(&'z self, found: Found<'z>) -> Owner<'z> {
        Owner { zone: self, extra: self.extras.get(found.extra), found }
    }

    #[inline]
    fn stands_at(&self, at: Option<usize>) -> Option<Owner<'_>> {
        Some(self.stands(self.names.at(at?)?))
    }

    /// The serial (RFC 1982 arithmetic).
    pub fn serial(&self) -> u32 {
        let soa = self.negative().records().next().map_or(&[][..], |soa| soa.data);
        soa.len().checked_sub(20).and_then(|at| soa.get(at..)?.first_chunk()).map_or(0, |serial| u32::from_be_bytes(*serial))
    }

    /// The owner that begins there among all of them, in the order of their keys, its key, and where the next one begins. The first begins at 0.
    pub fn owner_from(&self, at: usize) -> Option<(&[u8], Owner<'_>, usize)> {
        let found = self.names.at(at).filter(|_| at < self.names.end())?;
        let sets = (0..found.sets).try_fold(found.octets, |octets, _| Some(RrSet::read(octets, &[])?.1))?;
        Some((self.names.key(at), self.stands(found), self.names.end() - sets.len()))
    }

    /// The same zone with another serial.
    pub(in crate::snapshot) fn with_serial(&self, serial: u32) -> CompiledZone {
        let mut zone = self.clone();
        zone.negative = zone.negative.with_serial(serial);
        let Some(found) = self.names.at(0) else { return zone };
        let mut octets = found.octets;
        while let Some((set, rest)) = RrSet::read(octets, &[]).filter(|_| !octets.is_empty()) {
            if set.rtype() == rtype::SOA {
                if let Some(at) = set.serial_at() {
                    zone.names.set(self.names.end() - octets.len() + at, &serial.to_be_bytes());
                }
                return zone;
            }
            octets = rest;
        }
        zone
    }

    /// Every name with a policy: its key for [`CompiledZone::at`], and the policy.
    pub fn policies(&self) -> impl Iterator<Item = (&[u8], &NamePolicy)> {
        self.extras.iter().filter_map(|extra| Some((self.names.key(extra.at), extra.policy.as_deref()?)))
    }

    /// How many labels `name` has before the apex.
    #[inline]
    pub fn depth(&self, name: &NameBuf) -> usize {
        name.labels().saturating_sub(self.apex.labels())
    }

    /// The offset in `name` at which the apex begins; `None` where the name is not within the zone.
    #[inline]
    pub fn apex_in(&self, name: &NameBuf) -> Option<usize> {
        let start = name.start(self.depth(name));
        (name.wire()[start..] == *self.apex()).then_some(start)
    }

    /// Looks a name up that is within the zone (RFC 1034 §4.3.2 step 3, with the DNAME of RFC 6672 §3.2).
    #[inline(always)]
    pub fn lookup(&self, name: &NameBuf) -> Lookup<'_> {
        self.lookup_found(self.owner(name), name)
    }

    /// The same, where [`CompiledZone::owner`] was asked already.
    #[inline(always)]
    pub fn lookup_found<'z>(&'z self, owner: Option<Owner<'z>>, name: &NameBuf) -> Lookup<'z> {
        match owner {
            Some(owner) if owner.extra.is_none_or(|extra| extra.cut_above.is_none()) => Lookup::Owner(owner),
            Some(owner) => self.lookup_cut(owner, name),
            None => self.lookup_above(name),
        }
    }

    /// At or below a delegation, or at no name.
    #[inline(never)]
    fn lookup_cut<'z>(&'z self, owner: Owner<'z>, name: &NameBuf) -> Lookup<'z> {
        if owner.is_hash() {
            return self.lookup_above(name);
        }
        let cut = self.stands_at(owner.extra.and_then(|extra| extra.cut_above));
        match cut.and_then(|cut| Some((cut, cut.delegation()?))) {
            None => Lookup::Owner(owner),
            // A delegation below another is occluded itself: only at the highest one is the name the cut.
            Some((cut, delegation)) => Lookup::Delegated { delegation, at: (cut.found.at == owner.found.at).then_some(owner) },
        }
    }

    /// From the apex down to the first name that is missing.
    #[inline(never)]
    fn lookup_above(&self, name: &NameBuf) -> Lookup<'_> {
        let depth = self.depth(name);
        let end = name.start(depth);
        let (mut encloser, mut wildcard, mut hash) = (0, None, self.hash);
        for labels in 0..depth {
            let index = depth - labels;
            if labels > 0 {
                hash = name.hash(index, hash);
            }
            let Some(found) = self.names.find(hash, name, name.start(index), end - name.start(index)) else { break };
            let owner = self.stands(found);
            if owner.is_hash() {
                break;
            }
            if let Some(delegation) = owner.delegation() {
                return Lookup::Delegated { delegation, at: None };
            }
            if let Some(redirection) = owner.redirection() {
                return Lookup::Redirected { depth: labels, redirection };
            }
            (encloser, wildcard) = (labels, owner.extra.and_then(|extra| extra.wildcard));
        }
        Lookup::Missing { encloser, wildcard: self.stands_at(wildcard) }
    }
}

impl<'z> Owner<'z> {
    /// The static RRset of a type.
    #[inline(always)]
    pub fn set(&self, rtype: u16) -> Option<RrSet<'z>> {
        let mut octets = self.found.octets;
        for _ in 0..self.found.sets {
            let head = Head::of(octets)?;
            if head.rtype() == rtype {
                return Some(head.read(octets, &self.zone.besides)?.0);
            }
            octets = octets.get(head.size()..)?;
        }
        None
    }

    /// All static RRsets.
    #[inline]
    pub fn sets(&self) -> impl Iterator<Item = RrSet<'z>> + use<'z> {
        let (mut octets, besides) = (self.found.octets, &*self.zone.besides);
        (0..self.found.sets).map_while(move |_| {
            let (set, rest) = RrSet::read(octets, besides)?;
            octets = rest;
            Some(set)
        })
    }

    /// The policy.
    #[inline]
    pub fn policy(&self) -> Option<&'z NamePolicy> {
        self.extra?.policy.as_deref()
    }

    /// Whether nothing stands here: an empty non-terminal.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.found.sets == 0 && self.policy().is_none()
    }

    #[inline]
    fn is_hash(&self) -> bool {
        self.extra.is_some_and(|extra| extra.hash)
    }

    #[inline]
    fn delegation(&self) -> Option<Delegation<'z>> {
        let Cut { depth, glue, others } = self.extra?.cut.as_deref()?;
        Some(Delegation { depth: *depth, ns: self.set(rtype::NS)?, cut: *self, glue, others })
    }

    #[inline]
    fn redirection(&self) -> Option<RrSet<'z>> {
        self.extra.filter(|extra| extra.redirects).and_then(|_| self.set(rtype::DNAME))
    }
}

impl fmt::Debug for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sets()).finish()
    }
}
