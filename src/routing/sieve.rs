//! Which instances of a pool can answer: what a name and its branches narrow it to, and for which clients.

use super::hash::{mix, salt};
use super::pool::{Group, Row};
use super::tree::Narrowing;
use super::{AzName, Pool, RegionId, Standing};
use crate::model::Share;

/// Most tags that one filter can ask for.
const MAX_TAGS: usize = 4;

/// Narrows a service to some of its instances; everything given must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter<'a> {
    /// In this region.
    pub region: Option<RegionId>,
    /// In an az of this name.
    pub az: Option<AzName>,
    /// With these tags (lower-case labels, which are never empty: behind the last one stand empty ones).
    pub tags: [&'a [u8]; MAX_TAGS],
    /// Contradictory: nothing matches.
    pub nothing: bool,
}

impl<'a> Filter<'a> {
    /// All instances.
    pub const ALL: Filter<'static> = Filter { region: None, az: None, tags: [&[]; MAX_TAGS], nothing: false };

    /// This filter, and in `region`.
    pub fn in_region(mut self, region: RegionId) -> Filter<'a> {
        self.nothing |= self.region.is_some_and(|r| r != region);
        self.region = Some(region);
        self
    }

    /// This filter, and in an az named `az`.
    pub fn in_az(mut self, az: AzName) -> Filter<'a> {
        self.nothing |= self.az.is_some_and(|a| a != az);
        self.az = Some(az);
        self
    }

    /// This filter, and bearing `tag` (lower case). A fifth tag matches nothing: no name stacks so many.
    pub fn with_tag(mut self, tag: &'a [u8]) -> Filter<'a> {
        match self.tags.iter_mut().find(|slot| slot.is_empty() || **slot == tag) {
            Some(slot) => *slot = tag,
            None => self.nothing = true,
        }
        self
    }
}

/// A [`Filter`] made ready for one pool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sieve {
    pub nothing: bool,
    tag_count: u8,
    region: Option<RegionId>,
    az: Option<AzName>,
    tags: [u32; MAX_TAGS],
}

impl Sieve {
    /// A filter with its tags looked up.
    #[inline(always)]
    pub fn of(pool: &Pool, filter: &Filter<'_>) -> Sieve {
        let mut sieve = Sieve { nothing: filter.nothing, region: filter.region, az: filter.az, ..Sieve::default() };
        for tag in filter.tags.iter().take_while(|tag| !tag.is_empty()) {
            sieve.add_tag(pool.tag(tag));
        }
        sieve
    }

    /// This sieve, narrowed further by a branch.
    #[inline]
    pub fn narrowed(mut self, pool: &Pool, narrowing: &Narrowing) -> Sieve {
        self.nothing |= narrowing.nowhere;
        if let Some(region) = narrowing.region {
            self.nothing |= self.region.is_some_and(|r| r != region);
            self.region = Some(region);
        }
        if let Some(az) = narrowing.az {
            self.nothing |= self.az.is_some_and(|a| a != az);
            self.az = Some(az);
        }
        if let Some(tag) = &narrowing.tag {
            self.add_tag(pool.tag(tag.as_str().as_bytes()));
        }
        self
    }

    /// Asks for a tag as well; `None`: one that nobody bears.
    fn add_tag(&mut self, tag: Option<u32>) {
        let known = &self.tags[..self.tag_count.into()];
        match tag {
            Some(tag) if known.contains(&tag) => {}
            Some(tag) if known.len() < MAX_TAGS => {
                self.tags[usize::from(self.tag_count)] = tag;
                self.tag_count += 1;
            }
            _ => self.nothing = true,
        }
    }

    /// The region that it asks for.
    #[inline]
    pub fn region(&self) -> Option<RegionId> {
        self.region
    }

    /// Whether it lets everything through.
    #[inline]
    pub fn is_open(&self) -> bool {
        // One look at all of it instead of four branches: this is asked twice for each answer.
        !(self.nothing | (self.tag_count != 0) | self.region.is_some() | self.az.is_some())
    }

    /// Whether it asks for tags.
    #[inline]
    pub fn has_tags(&self) -> bool {
        self.tag_count > 0
    }

    /// Whether instances of the group can pass.
    #[inline]
    pub fn passes_group(&self, group: &Group) -> bool {
        !self.nothing && self.region.is_none_or(|r| r == group.region) && self.az.is_none_or(|a| a == group.az)
    }

    /// Whether an instance of a group that passes does.
    #[inline]
    pub fn passes_row(&self, pool: &Pool, row: &Row) -> bool {
        self.tag_count == 0 || {
            let borne = pool.tags_of(row.member);
            self.tags[..self.tag_count.into()].iter().all(|tag| borne.contains(tag))
        }
    }

    /// How many instances of a group pass, down to a standing, for the clients of a gate.
    #[inline]
    pub fn count(&self, pool: &Pool, group: &Group, standing: Standing, gate: Gate) -> usize {
        let rows = pool.rows(group, standing);
        match self.tag_count {
            _ if !self.passes_group(group) => 0,
            0 if !pool.has_partial() => rows.len(),
            _ => rows.iter().filter(|row| self.passes_row(pool, row) && !gate.shuts(pool.out(row.member))).count(),
        }
    }

    /// The weight of a group's instances that pass, in hundredths.
    #[inline]
    pub fn weigh(&self, pool: &Pool, group: &Group, standing: Standing, gate: Gate) -> Load {
        if !self.passes_group(group) {
            return Load::default();
        }
        if self.tag_count == 0 && !pool.has_partial() && standing == Standing::Healthy {
            return pool.healthy_load(group);
        }
        self.weigh_rows(pool, group, standing, gate)
    }

    fn weigh_rows(&self, pool: &Pool, group: &Group, standing: Standing, gate: Gate) -> Load {
        // An instance that waits for its first result is no loss: it was not there before.
        let pending = standing == Standing::Healthy;
        let mut load = Load::default();
        for row in pool.rows(group, Standing::Unhealthy).iter().chain(pool.drained_rows(group)) {
            if self.passes_row(pool, row) && !(pending && row.standing() == Standing::Pending) {
                load.all += row.full_weight();
                let lives = row.standing() <= standing.min(Standing::Unhealthy) && !gate.shuts(pool.out(row.member));
                load.living += if lives { row.warm_weight() } else { 0 };
            }
        }
        load
    }
}

/// What a part of the instances can carry, by weight.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Load {
    /// What counts as healthy.
    pub living: u64,
    /// All of it.
    pub all: u64,
}

/// Which client asks, where something is out of answers for a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// The client's hash with the name of the service.
    pub(super) hash: u64,
    /// What is out in part counts as drained for its part of the clients; otherwise it serves all.
    pub(super) honours: bool,
}

impl Gate {
    /// Whether what is out of answers that far is so for this client.
    #[inline]
    pub(super) fn shuts(self, out: Share) -> bool {
        if out.is_partial() { self.honours && out.holds(mix(self.hash, salt::RAMP)) } else { out == Share::ALL }
    }
}
