//! The instances of one service as routing sees them: grouped by locality, ordered by standing.

mod restand;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::few::Few;
use super::sieve::{Filter, Load, Sieve};
use super::slots::Slots;
use super::{AzName, LocalityId, Places, RegionId, Tree};
use crate::model::{Label, MAX_WEIGHT, Share, Shared};

pub use restand::Stance;

/// How an instance stands, best first. A pick uses a prefix of this order, which never reaches [`Standing::Drained`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Healthy and serving.
    Healthy,
    /// No result yet: used where nothing is healthy.
    Pending,
    /// Unhealthy, but healthy when anything last was: used by `all_down = "last_good"`.
    LastGood,
    /// Unhealthy: used by `all_down = "all"`.
    Unhealthy,
    /// Drained by itself or with its service: never used.
    Drained,
}

/// What an instance must have to be picked; one bit each, all must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Need(pub u64);

impl Need {
    /// Anything.
    pub const ANY: Need = Need(0);
    /// An IPv4 address.
    pub const V4: Need = Need(1);
    /// An IPv6 address.
    pub const V6: Need = Need(2);
    /// A TLS port (HTTPS records).
    pub const TLS: Need = Need(4);

    /// The service's port number `index` (0…[`crate::model::MAX_SERVICE_PORTS`]−1).
    pub const fn port(index: usize) -> Need {
        Need(8 << index)
    }

    /// This and `other`.
    pub const fn and(self, other: Need) -> Need {
        Need(self.0 | other.0)
    }

    /// Whether what `self` has covers what `need` asks.
    pub const fn covers(self, need: Need) -> bool {
        self.0 & need.0 == need.0
    }
}

/// One instance as given to [`Pool::build`]. Its number is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it stands.
    pub locality: LocalityId,
    /// 0–65535.
    pub weight: u32,
    /// In percent of the weight, 1–100: how warm it is after a recovery (slow start).
    pub warmth: u8,
    /// How it stands.
    pub standing: Standing,
    /// For which part of the clients it counts as drained; all of them: [`Standing::Drained`].
    pub out: Share,
    /// What is hashed of it under `sticky`: the same on every server.
    pub seed: u64,
    /// What it has, as the union of [`Need`]s.
    pub has: Need,
    /// Milliseconds in which its standing cannot change.
    pub steady_ms: u32,
    /// Its tags.
    pub tags: Vec<Label>,
}

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

/// What of a pool is healthy, wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Healthy {
    pub instances: u32,
    /// Localities and regions that have one at least.
    pub localities: u16,
    pub regions: u16,
    /// What they weigh together, as warm as they are, in hundredths.
    pub weights: u64,
    /// The most that one of them weighs so.
    pub largest: u32,
    /// What every instance of those localities has; `None` where one of them weighs nothing.
    even: Option<Need>,
}

impl Healthy {
    /// As [`Group::is_even`], of all its localities.
    #[inline]
    pub fn is_even(&self, need: Need) -> bool {
        self.even.is_some_and(|common| common.covers(need))
    }
}

/// What few pools have.
#[derive(Debug, Default)]
struct Particulars {
    /// By member number, how far each is out of answers; empty where none is in part.
    outs: Box<[Share]>,
    /// All tags, sorted.
    tags: Box<[Label]>,
    /// By member number: where its tags begin in `borne`, and where those of the last one end; empty where nobody bears any.
    tags_of: Box<[u32]>,
    /// The tags of all members back to back, as indexes into `tags`.
    borne: Box<[u32]>,
    /// Where clients look for the one that they settle on, under `sticky`.
    slots: Slots,
}

/// The instances of one locality.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub locality: LocalityId,
    pub region: RegionId,
    pub az: AzName,
    /// Behind the last group of its region.
    region_end: u16,
    /// Where its rows begin.
    start: u32,
    /// Where the rows of each standing end, by [`Standing`]; drained ones follow behind the last.
    ends: [u32; 4],
    end: u32,
    /// The most that one of its rows weighs, down to each standing, as warm as it is, in hundredths.
    largest: [u32; 4],
    /// The whole weight of its rows but for those that wait for their first result, in hundredths.
    pub full: u64,
    /// What every one of its rows has.
    common: Need,
    /// One of its rows weighs nothing.
    weightless: bool,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Row {
    has: Need,
    seed: u64,
    /// The weight of the rows of its group up to this one, as warm as they are, in hundredths.
    through: u64,
    pub member: u32,
    weight: u16,
    standing: Standing,
    warmth: u8,
}

impl Group {
    /// Where its rows lie down to a standing; never the drained ones.
    #[inline]
    pub fn range(&self, standing: Standing) -> std::ops::Range<usize> {
        self.start as usize..self.ends[(standing as usize).min(Standing::Unhealthy as usize)] as usize
    }

    /// The most that one of its rows weighs, down to a standing, as warm as it is, in hundredths.
    #[inline]
    pub fn largest(&self, standing: Standing) -> u64 {
        self.largest[(standing as usize).min(Standing::Unhealthy as usize)].into()
    }

    /// Whether every one of its rows weighs something and has everything that `need` asks: then all that is to be known of them is
    /// known from [`Row::through`] and [`Group::largest`].
    #[inline]
    pub fn is_even(&self, need: Need) -> bool {
        !self.weightless && self.common.covers(need)
    }
}

impl Row {
    #[inline]
    pub fn weight(&self) -> u32 {
        self.weight.into()
    }

    #[inline]
    pub fn warmth(&self) -> u8 {
        self.warmth
    }

    /// The weight as warm as it is, in hundredths.
    #[inline]
    pub fn warm_weight(&self) -> u64 {
        u64::from(self.weight) * u64::from(self.warmth)
    }

    /// The whole weight, in hundredths.
    pub fn full_weight(&self) -> u64 {
        u64::from(self.weight) * 100
    }

    /// The weight of the rows of its group up to this one, as warm as they are, in hundredths.
    #[inline]
    pub fn through(&self) -> u64 {
        self.through
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    #[inline]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    #[inline]
    pub fn has(&self, need: Need) -> bool {
        self.has.covers(need)
    }
}

impl Pool {
    /// Groups and orders `members` under the service's compiled policy.
    pub fn build(tree: Tree, members: &[Member], places: &Places) -> Pool {
        // By names, not by numbers: those depend on what was declared or registered first, and may differ after a restart.
        let place = |m: &Member| (places.region_label(places.region_of(m.locality)), places.az_label(m.locality));
        let mut order: Vec<u32> = (0..members.len() as u32).collect();
        if members.len() > 1 {
            order.sort_unstable_by(|a, b| {
                let (one, other) = (&members[*a as usize], &members[*b as usize]);
                let by_place = if one.locality == other.locality { Ordering::Equal } else { place(one).cmp(&place(other)) };
                by_place.then(one.standing.cmp(&other.standing)).then(a.cmp(b))
            });
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut rows: Vec<Row> = Vec::with_capacity(members.len());
        for number in &order {
            let member = &members[*number as usize];
            if groups.last().is_none_or(|g| g.locality != member.locality) {
                groups.push(Group::begin(member.locality, rows.len() as u32, places));
            }
            if let Some(group) = groups.last_mut() {
                rows.push(group.take(member, *number, rows.last()));
            }
        }
        let mut end = groups.len();
        for n in (0..groups.len()).rev() {
            if groups.get(n + 1).is_some_and(|next| next.region != groups[n].region) {
                end = n + 1;
            }
            groups[n].region_end = end as u16;
        }
        if let [row] = rows.as_mut_slice() {
            // Nobody can settle on another one.
            row.seed = 0;
        }
        let particulars = Particulars::of(&tree, members);
        let (seed, tree) = tree.without_seed();
        let body = Body {
            tree,
            row_of: row_of(&rows),
            healthy: Healthy::of(&groups, &rows),
            groups: groups.into(),
            rows: rows.into(),
            particulars,
            steady_ms: members.iter().map(|m| m.steady_ms).min().unwrap_or(u32::MAX),
        };
        Pool { seed, body: body.held() }
    }

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

impl Particulars {
    fn of(tree: &Tree, members: &[Member]) -> Option<Arc<Particulars>> {
        let mut particulars = Particulars::default();
        if members.iter().any(|member| member.out.is_partial()) {
            particulars.outs = members.iter().map(|member| member.out).collect();
        }
        if members.iter().any(|member| !member.tags.is_empty()) {
            let mut tags: Vec<Label> = members.iter().flat_map(|m| m.tags.iter().cloned()).collect();
            tags.sort_unstable();
            tags.dedup();
            let mut borne = Vec::new();
            let mut tags_of = vec![0];
            for member in members {
                borne.extend(member.tags.iter().filter_map(|tag| tags.binary_search(tag).ok()).map(|n| n as u32));
                tags_of.push(borne.len() as u32);
            }
            (particulars.tags, particulars.tags_of, particulars.borne) = (tags.into(), tags_of.into(), borne.into());
        }
        if tree.settles() {
            particulars.slots = Slots::new(members);
        }
        let Particulars { outs, tags, slots, .. } = &particulars;
        (!outs.is_empty() || !tags.is_empty() || !slots.is_empty()).then(|| Arc::new(particulars))
    }
}

impl Body {
    /// This, held once for all pools of one instance that are equal.
    fn held(self) -> Arc<Body> {
        static ONES: Shared<Body> = Shared::new();
        match self.rows.len() == 1 && self.particulars.is_none() && self.tree.is_common() {
            true => ONES.one(self),
            false => Arc::new(self),
        }
    }
}

/// Of pools of one instance: without particulars, under a tree that many have, which is compared by where it lies.
impl PartialEq for Body {
    fn eq(&self, other: &Body) -> bool {
        let told = |body: &Body| (body.tree.told(), body.steady_ms, body.healthy);
        told(self) == told(other) && *self.rows == *other.rows && *self.groups == *other.groups
    }
}

impl Eq for Body {}

impl Hash for Body {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.tree.told().hash(state);
        self.steady_ms.hash(state);
        self.rows.iter().for_each(|row| row.hash(state));
        self.groups.iter().for_each(|group| group.locality.hash(state));
    }
}

impl Group {
    fn begin(locality: LocalityId, start: u32, places: &Places) -> Group {
        Group {
            locality,
            region: places.region_of(locality),
            az: places.az_name_of(locality),
            region_end: 0,
            start,
            ends: [start; 4],
            end: start,
            largest: [0; 4],
            full: 0,
            common: Need(u64::MAX),
            weightless: false,
        }
    }

    /// Takes the next member, which stands no better than those before; `before`: the row before its own.
    fn take(&mut self, member: &Member, number: u32, before: Option<&Row>) -> Row {
        let through = before.filter(|_| self.end > self.start).map_or(0, |before| before.through);
        let mut row = Row {
            has: member.has,
            seed: member.seed,
            through,
            member: number,
            weight: member.weight.min(MAX_WEIGHT) as u16,
            standing: member.standing,
            warmth: member.warmth.clamp(1, 100),
        };
        row.through += row.warm_weight();
        self.common = Need(self.common.0 & row.has.0);
        self.weightless |= row.weight == 0;
        self.count(&row);
        row
    }

    /// Counts the next row by how it stands.
    fn count(&mut self, row: &Row) {
        let standing = row.standing as usize;
        self.end += 1;
        // A better standing's end moves no more once a worse one has begun; the worse ones start where it ends.
        self.ends.iter_mut().skip(standing).for_each(|end| *end = self.end);
        self.largest.iter_mut().skip(standing).for_each(|most| *most = (*most).max(row.warm_weight() as u32));
        self.full += if row.standing == Standing::Pending { 0 } else { row.full_weight() };
    }
}

impl Healthy {
    fn of(groups: &[Group], rows: &[Row]) -> Healthy {
        let mut healthy = Healthy { even: Some(Need(u64::MAX)), ..Healthy::default() };
        let mut last = None;
        for group in groups {
            let Some(row) = rows[group.range(Standing::Healthy)].last() else { continue };
            healthy.instances += group.ends[0] - group.start;
            healthy.localities += 1;
            healthy.regions += u16::from(last.replace(group.region) != Some(group.region));
            healthy.weights += row.through;
            healthy.largest = healthy.largest.max(group.largest[0]);
            healthy.even = healthy.even.filter(|_| !group.weightless).map(|common| Need(common.0 & group.common.0));
        }
        healthy
    }
}

/// By member number, where its row is; empty where the rows stand in that order.
fn row_of(rows: &[Row]) -> Box<[u32]> {
    if rows.iter().enumerate().all(|(at, row)| at as u32 == row.member) {
        return Box::default();
    }
    let mut row_of = vec![0; rows.len()];
    rows.iter().enumerate().for_each(|(at, row)| row_of[row.member as usize] = at as u32);
    row_of.into()
}
