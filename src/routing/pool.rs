//! The instances of one service as routing sees them: grouped by locality, ordered by standing.

mod build;
mod member;
mod particulars;
mod restand;
mod rows;

use std::sync::Arc;

pub use self::member::{Member, Need, Standing};
use self::particulars::Particulars;
pub use self::restand::Stance;
pub(super) use self::rows::{Group, Healthy, Row};
use super::few::Few;
use super::sieve::{Filter, Load, Sieve};
use super::slots::Slots;
use super::{LocalityId, RegionId, Tree};
use crate::model::Share;

/// The instances of a service and the policy over them.
///
/// Services of one instance differ in little but names and addresses, which routing does not know: the rest of all that are equal is held
/// once. It is 16 octets of each, and where a million services are asked, it is in the cache already.
#[derive(Debug, Clone)]
pub struct Pool {
    /// What clients are hashed with.
    seed: u64,
    body: Arc<Body>,
}

/// What equal pools have in common.
#[derive(Debug)]
struct Body {
    /// Its seed is the pool's own, and 0 here.
    tree: Tree,
    /// Ordered by the names of region and az.
    groups: Few<Group>,
    /// Group by group; within a group by standing, then by member number.
    rows: Few<Row>,
    /// By member number; empty where the rows stand in that order.
    row_of: Box<[u32]>,
    /// What few pools have.
    particulars: Option<Arc<Particulars>>,
    steady_ms: u32,
    healthy: Healthy,
}

impl Pool {
    /// The service's compiled policy.
    #[inline]
    pub fn tree(&self) -> &Tree {
        &self.body.tree
    }

    /// What clients are hashed with.
    #[inline]
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether any instance, in whatever state, bears the tag.
    pub fn knows_tag(&self, tag: &[u8]) -> bool {
        self.tag(tag).is_some()
    }

    /// Milliseconds in which no standing in the pool can change.
    #[inline]
    pub fn steady_ms(&self) -> u32 {
        self.body.steady_ms
    }

    /// How many instances there are, in whatever state.
    pub fn len(&self) -> usize {
        self.body.rows.len()
    }

    /// Whether there is no instance at all.
    pub fn is_empty(&self) -> bool {
        self.body.rows.is_empty()
    }

    /// How many instances are healthy and not drained by themselves or with the service.
    pub fn members_healthy(&self) -> usize {
        self.body.healthy.instances as usize
    }

    /// What of it is healthy.
    #[inline]
    pub(super) fn healthy(&self) -> &Healthy {
        &self.body.healthy
    }

    /// Whether what they have in common is held once for both.
    #[cfg(test)]
    pub fn is_one_with(&self, other: &Pool) -> bool {
        Arc::ptr_eq(&self.body, &other.body)
    }

    /// How a member stands.
    pub fn standing(&self, member: u32) -> Standing {
        self.row(member).standing
    }

    /// Where a member stands.
    pub fn locality(&self, member: u32) -> LocalityId {
        self.group_of(self.row(member)).locality
    }

    /// The region that a member stands in.
    pub fn region(&self, member: u32) -> RegionId {
        self.group_of(self.row(member)).region
    }

    /// A member's weight, 0–65535.
    pub fn weight(&self, member: u32) -> u32 {
        self.row(member).weight()
    }

    /// Whether a member has everything that `need` asks.
    pub fn has(&self, member: u32, need: Need) -> bool {
        self.row(member).has.covers(need)
    }

    /// How far a member is out of answers by itself or with its service, where that is in part.
    #[inline]
    pub fn out(&self, member: u32) -> Share {
        self.body.particulars.as_ref().and_then(|p| p.outs.get(member as usize)).copied().unwrap_or_default()
    }

    /// Whether any member is out of answers for a part of the clients.
    #[inline]
    pub(super) fn has_partial(&self) -> bool {
        self.body.particulars.as_ref().is_some_and(|p| !p.outs.is_empty())
    }

    /// Where clients look for the one that they settle on; `None` where each looks at all.
    pub(super) fn slots(&self) -> Option<&Slots> {
        self.body.particulars.as_ref().map(|p| &p.slots).filter(|slots| !slots.is_empty())
    }

    /// Whether its rows lie in the order of member numbers.
    #[inline]
    pub(super) fn is_in_order(&self) -> bool {
        self.body.row_of.is_empty()
    }

    /// The row of a member.
    #[inline]
    pub(super) fn row(&self, member: u32) -> &Row {
        &self.body.rows[self.row_at(member) as usize]
    }

    /// Where the row of a member lies.
    #[inline]
    fn row_at(&self, member: u32) -> u32 {
        if self.body.row_of.is_empty() { member } else { self.body.row_of[member as usize] }
    }

    pub(super) fn tag(&self, tag: &[u8]) -> Option<u32> {
        let tags = &self.body.particulars.as_ref()?.tags;
        tags.binary_search_by(|t| t.as_str().as_bytes().cmp(tag)).ok().map(|n| n as u32)
    }

    pub(super) fn group_of(&self, row: &Row) -> &Group {
        let at = self.body.row_of.get(row.member as usize).copied().unwrap_or(row.member);
        &self.body.groups[self.group_at(at)]
    }

    /// The number of the group that a row lies in.
    fn group_at(&self, row: u32) -> usize {
        self.body.groups.partition_point(|group| group.start <= row).saturating_sub(1)
    }

    /// The region of the group of that number, and the number of the first group behind it: the regions in which there are instances
    /// come in the order of their names.
    #[inline]
    pub(super) fn region_at(&self, group: usize) -> Option<(RegionId, usize)> {
        self.body.groups.get(group).map(|group| (group.region, group.region_end.into()))
    }

    /// All groups, or those of one region.
    #[inline]
    pub(super) fn groups(&self, region: Option<RegionId>) -> &[Group] {
        let Some(region) = region else { return &self.body.groups };
        let mut at = 0;
        while let Some((found, end)) = self.region_at(at) {
            if found == region {
                return &self.body.groups[at..end];
            }
            at = end;
        }
        &[]
    }

    /// The rows of a group down to a standing; never the drained ones.
    #[inline]
    pub(super) fn rows(&self, group: &Group, standing: Standing) -> &[Row] {
        &self.body.rows[group.range(standing)]
    }

    /// What the instances of a group can carry, by weight, where all that are healthy count.
    #[inline]
    pub(super) fn healthy_load(&self, group: &Group) -> Load {
        Load { living: self.rows(group, Standing::Healthy).last().map_or(0, Row::through), all: group.full }
    }

    /// All rows, group by group.
    #[inline]
    pub(super) fn all_rows(&self) -> &[Row] {
        &self.body.rows
    }

    /// The rows of a group that are drained.
    pub(super) fn drained_rows(&self, group: &Group) -> &[Row] {
        &self.body.rows[group.ends[Standing::Unhealthy as usize] as usize..group.end as usize]
    }

    /// All rows in the order of member numbers.
    pub(super) fn rows_by_member(&self) -> impl Iterator<Item = &Row> {
        (0..self.body.rows.len() as u32).map(|member| self.row(member))
    }

    /// A filter with its tags looked up.
    #[inline(always)]
    pub(super) fn sieve(&self, filter: &Filter<'_>) -> Sieve {
        Sieve::of(self, filter)
    }

    /// The tags of a member, as numbers.
    pub(super) fn tags_of(&self, member: u32) -> &[u32] {
        let Some(particulars) = self.body.particulars.as_ref().filter(|p| !p.tags_of.is_empty()) else { return &[] };
        let member = member as usize;
        &particulars.borne[particulars.tags_of[member] as usize..particulars.tags_of[member + 1] as usize]
    }
}
