//! Zones compiled: static RRsets pre-encoded, names with policies, and the lookup of RFC 1034 §4.3.2 and RFC 4592.
//!
//! Owner names are keyed by what stands before the apex, in lower-case wire form without root label: `web` is `\x03web`, the apex is
//! empty. Every empty non-terminal is an owner too, so the first name that is missing on the way down ends a walk.

mod additional;
mod checks;
mod compile;
mod rrset;
#[cfg(test)]
mod tests;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
pub use rrset::{LeafRecords, RrSet, Wanted};

use crate::codec::NameBuf;
use crate::codec::code::rtype;
use crate::model::AliasOf;
use crate::routing::Tree;

/// A zone, compiled.
#[derive(Debug)]
pub struct CompiledZone {
    apex: NameBuf,
    file: Box<str>,
    services: bool,
    ttl: AnswerTtl,
    /// The SOA as it stands in negative answers.
    negative: RrSet,
    keys: HashMap<Box<[u8]>, u32, FixedState>,
    owners: Box<[Owner]>,
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
#[derive(Debug, Default)]
pub struct Owner {
    sets: Box<[RrSet]>,
    policy: Option<Box<NamePolicy>>,
    cut: Option<Box<Delegation>>,
    /// The owner of the highest cut at or above this name: what stands here is occluded, not ours to answer.
    cut_above: Option<u32>,
    /// A DNAME stands here, so nothing exists below (RFC 6672 §2.4).
    redirects: bool,
    /// The owner `*` directly below.
    wildcard: Option<u32>,
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
#[derive(Debug)]
pub struct Delegation {
    /// How many labels stand between the apex and the cut, the cut's own included.
    pub depth: usize,
    /// The NS RRset.
    pub ns: RrSet,
    /// Name servers with addresses in this zone that stand at or below the cut: without these nobody could reach them (RFC 9471 §2.1).
    pub glue: Box<[Wanted]>,
    /// Those that stand elsewhere in this zone, below a cut of their own or in no need of one (RFC 9471 §2.2).
    pub others: Box<[Wanted]>,
}

/// What a zone has at a name, services aside.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'z> {
    /// The name exists.
    Owner(&'z Owner),
    /// The name is at or below a delegation; `at` is what the zone holds at the cut itself, where that is the name asked for.
    Delegated {
        /// Where to.
        delegation: &'z Delegation,
        /// The name asked for is the cut: its DS is ours (RFC 4035 §3.1.4.1).
        at: Option<&'z Owner>,
    },
    /// The name is below a DNAME.
    Redirected {
        /// How many labels the DNAME's owner has before the apex.
        depth: usize,
        /// The DNAME RRset, of one record.
        redirection: &'z RrSet,
    },
    /// The name does not exist.
    Missing {
        /// How many labels the closest encloser has before the apex (RFC 4592 §3.3.1).
        encloser: usize,
        /// The wildcard at the closest encloser.
        wildcard: Option<&'z Owner>,
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

    /// Limits of the TTL of answers that depend on health.
    pub fn ttl(&self) -> AnswerTtl {
        self.ttl
    }

    /// The SOA with the TTL of negative answers: the lesser of the SOA's own and its MINIMUM (RFC 2308 §3).
    pub fn negative(&self) -> &RrSet {
        &self.negative
    }

    /// What stands at a key: the labels before the apex, in lower-case wire form without root label.
    #[inline]
    pub fn at(&self, key: &[u8]) -> Option<&Owner> {
        self.keys.get(key).and_then(|index| self.owners.get(*index as usize))
    }

    /// Every name with a policy: its key for [`CompiledZone::at`], and the policy.
    pub fn policies(&self) -> impl Iterator<Item = (&[u8], &NamePolicy)> {
        self.keys.iter().filter_map(|(key, index)| Some((&**key, self.owners.get(*index as usize)?.policy()?)))
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

    /// The owner that has the addresses of a name in an RRset of this zone.
    #[inline]
    pub fn wanted(&self, wanted: &Wanted) -> Option<&Owner> {
        self.owners.get(wanted.owner as usize)
    }

    /// Looks a name up that is within the zone (RFC 1034 §4.3.2 step 3, with the DNAME of RFC 6672 §3.2).
    pub fn lookup(&self, name: &NameBuf) -> Lookup<'_> {
        let depth = self.depth(name);
        if let Some(owner) = self.at(name.part(0, depth)) {
            let cut = owner.cut_above.and_then(|cut| self.owners.get(cut as usize));
            return match cut.and_then(|cut| Some((cut, cut.cut.as_deref()?))) {
                None => Lookup::Owner(owner),
                // A delegation below another is occluded itself: only at the highest one is the name the cut.
                Some((cut, delegation)) => Lookup::Delegated { delegation, at: std::ptr::eq(cut, owner).then_some(owner) },
            };
        }
        let (mut encloser, mut wildcard) = (0, None);
        for labels in 0..depth {
            let Some(owner) = self.at(name.part(depth - labels, depth)) else { break };
            if let Some(delegation) = owner.cut.as_deref() {
                return Lookup::Delegated { delegation, at: None };
            }
            if let Some(redirection) = owner.redirects.then(|| owner.set(rtype::DNAME)).flatten() {
                return Lookup::Redirected { depth: labels, redirection };
            }
            (encloser, wildcard) = (labels, owner.wildcard);
        }
        Lookup::Missing { encloser, wildcard: wildcard.and_then(|index| self.owners.get(index as usize)) }
    }
}

impl Owner {
    /// The static RRset of a type.
    #[inline]
    pub fn set(&self, rtype: u16) -> Option<&RrSet> {
        self.sets.iter().find(|set| set.rtype() == rtype)
    }

    /// All static RRsets.
    pub fn sets(&self) -> &[RrSet] {
        &self.sets
    }

    /// The policy.
    pub fn policy(&self) -> Option<&NamePolicy> {
        self.policy.as_deref()
    }

    /// Whether nothing stands here: an empty non-terminal.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.policy.is_none()
    }
}
