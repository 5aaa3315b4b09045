//! The instances of one service as routing sees them: grouped by locality, ordered by standing.

use super::few::Few;
use super::{AzName, LocalityId, Places, RegionId, Tree};
use crate::model::{Label, MAX_WEIGHT, Share};

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

/// Most tags that one filter can ask for.
pub(super) const MAX_TAGS: usize = 4;

/// Narrows a service to some of its instances; everything given must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter<'a> {
    /// In this region.
    pub region: Option<RegionId>,
    /// In an az of this name.
    pub az: Option<AzName>,
    /// With these tags (lower-case labels).
    pub tags: [Option<&'a [u8]>; MAX_TAGS],
    /// Contradictory: nothing matches.
    pub nothing: bool,
}

impl<'a> Filter<'a> {
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
        match self.tags.iter_mut().find(|slot| slot.is_none_or(|t| t == tag)) {
            Some(slot) => *slot = Some(tag),
            None => self.nothing = true,
        }
        self
    }
}

/// The instances of a service and the policy over them.
#[derive(Debug)]
pub struct Pool {
    tree: Tree,
    /// Ordered by the names of region and az.
    groups: Few<Group>,
    /// The regions that have groups, in the order of their names, with the range of their groups.
    regions: Box<[(RegionId, u16, u16)]>,
    /// Group by group; within a group by standing, then by member number.
    rows: Few<Row>,
    /// By member number.
    row_of: Box<[u32]>,
    /// By member number, how far each is out of answers; empty where none is in part.
    outs: Box<[Share]>,
    /// All tags, sorted.
    tags: Box<[Label]>,
    /// The tags of all rows back to back, as indexes into `tags`.
    borne: Box<[u32]>,
    steady_ms: u32,
}

/// The instances of one locality.
#[derive(Debug)]
pub(super) struct Group {
    pub locality: LocalityId,
    pub region: RegionId,
    pub az: AzName,
    /// Where its rows begin.
    start: u32,
    /// Where the rows of each standing end, by [`Standing`]; drained ones follow behind the last.
    ends: [u32; 4],
    end: u32,
    /// The weight of its rows by [`Standing`], in hundredths.
    full: [u64; 5],
    /// The weight of its healthy rows as warm as they are, in hundredths.
    warm: u64,
}

/// One instance.
#[derive(Debug)]
pub(super) struct Row {
    has: Need,
    pub member: u32,
    tags_start: u32,
    tags_count: u16,
    weight: u16,
    group: u16,
    standing: Standing,
    warmth: u8,
    seed: u64,
}

impl Row {
    pub fn weight(&self) -> u32 {
        self.weight.into()
    }

    pub fn warmth(&self) -> u8 {
        self.warmth
    }

    /// The weight as warm as it is, in hundredths.
    pub fn warm_weight(&self) -> u64 {
        u64::from(self.weight) * u64::from(self.warmth)
    }

    /// The whole weight, in hundredths.
    pub fn full_weight(&self) -> u64 {
        u64::from(self.weight) * 100
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

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
        order.sort_unstable_by_key(|n| {
            let member = &members[*n as usize];
            (place(member), member.standing, *n)
        });
        let mut tags: Vec<Label> = members.iter().flat_map(|m| m.tags.iter().cloned()).collect();
        tags.sort_unstable();
        tags.dedup();
        let (mut groups, mut rows, mut borne): (Vec<Group>, Vec<Row>, Vec<u32>) = Default::default();
        let mut row_of = vec![0; members.len()];
        for number in order {
            let member = &members[number as usize];
            let at = rows.len() as u32;
            if groups.last().is_none_or(|g| g.locality != member.locality) {
                let (region, locality) = (places.region_of(member.locality), member.locality);
                let (az, full) = (places.az_name_of(locality), [0; 5]);
                groups.push(Group { locality, region, az, start: at, ends: [at; 4], end: at, full, warm: 0 });
            }
            let tags_start = borne.len() as u32;
            borne.extend(member.tags.iter().filter_map(|tag| tags.binary_search(tag).ok()).map(|n| n as u32));
            let group = (groups.len() - 1) as u16;
            if let Some(group) = groups.last_mut() {
                group.end = at + 1;
                // A better standing's end moves no more once a worse one has begun; the worse ones start where it ends.
                let standing = member.standing as usize;
                group.ends.iter_mut().skip(standing).for_each(|end| *end = at + 1);
            }
            row_of[number as usize] = at;
            let row = Row {
                has: member.has,
                member: number,
                tags_start,
                tags_count: (borne.len() - tags_start as usize) as u16,
                weight: member.weight.min(MAX_WEIGHT) as u16,
                group,
                standing: member.standing,
                warmth: member.warmth.clamp(1, 100),
                seed: member.seed,
            };
            if let Some(group) = groups.last_mut() {
                group.full[member.standing as usize] += row.full_weight();
                group.warm += if member.standing == Standing::Healthy { row.warm_weight() } else { 0 };
            }
            rows.push(row);
        }
        let mut regions: Vec<(RegionId, u16, u16)> = Vec::new();
        for (n, group) in groups.iter().enumerate() {
            match regions.last_mut().filter(|(region, ..)| *region == group.region) {
                Some((_, _, last)) => *last = n as u16,
                None => regions.push((group.region, n as u16, n as u16)),
            }
        }
        Pool {
            tree,
            groups: groups.into(),
            regions: regions.into(),
            rows: rows.into(),
            row_of: row_of.into(),
            outs: match members.iter().any(|member| member.out.is_partial()) {
                true => members.iter().map(|member| member.out).collect(),
                false => Box::default(),
            },
            tags: tags.into(),
            borne: borne.into(),
            steady_ms: members.iter().map(|m| m.steady_ms).min().unwrap_or(u32::MAX),
        }
    }

    /// The service's compiled policy.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether any instance, in whatever state, bears the tag.
    pub fn knows_tag(&self, tag: &[u8]) -> bool {
        self.tag(tag).is_some()
    }

    /// Milliseconds in which no standing in the pool can change.
    pub fn steady_ms(&self) -> u32 {
        self.steady_ms
    }

    /// How many instances there are, in whatever state.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no instance at all.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many instances are healthy and not drained by themselves or with the service.
    pub fn members_healthy(&self) -> usize {
        self.groups.iter().map(|g| (g.ends[0] - g.start) as usize).sum()
    }

    /// How a member stands.
    pub fn standing(&self, member: u32) -> Standing {
        self.row(member).standing
    }

    /// Where a member stands.
    pub fn locality(&self, member: u32) -> LocalityId {
        self.group_of(self.row(member)).locality
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
    pub fn out(&self, member: u32) -> Share {
        self.outs.get(member as usize).copied().unwrap_or_default()
    }

    /// Whether any member is out of answers for a part of the clients.
    pub(super) fn has_partial(&self) -> bool {
        !self.outs.is_empty()
    }

    fn row(&self, member: u32) -> &Row {
        &self.rows[self.row_of[member as usize] as usize]
    }

    fn tag(&self, tag: &[u8]) -> Option<u32> {
        self.tags.binary_search_by(|t| t.as_str().as_bytes().cmp(tag)).ok().map(|n| n as u32)
    }

    pub(super) fn group_of(&self, row: &Row) -> &Group {
        &self.groups[usize::from(row.group)]
    }

    /// The regions in which there are instances, in the order of their names.
    pub(super) fn regions(&self) -> impl ExactSizeIterator<Item = RegionId> + '_ {
        self.regions.iter().map(|(region, ..)| *region)
    }

    /// All groups, or those of one region.
    pub(super) fn groups(&self, region: Option<RegionId>) -> &[Group] {
        let Some(region) = region else { return &self.groups };
        match self.regions.iter().find(|(r, ..)| *r == region) {
            Some((_, first, last)) => &self.groups[usize::from(*first)..=usize::from(*last)],
            None => &[],
        }
    }

    /// The rows of a group down to a standing; never the drained ones.
    pub(super) fn rows(&self, group: &Group, standing: Standing) -> &[Row] {
        let end = group.ends[(standing as usize).min(Standing::Unhealthy as usize)];
        &self.rows[group.start as usize..end as usize]
    }

    /// The rows of a group that are drained.
    pub(super) fn drained_rows(&self, group: &Group) -> &[Row] {
        &self.rows[group.ends[Standing::Unhealthy as usize] as usize..group.end as usize]
    }

    /// All rows in the order of member numbers.
    pub(super) fn rows_by_member(&self) -> impl Iterator<Item = &Row> {
        self.row_of.iter().map(|row| &self.rows[*row as usize])
    }

    /// A filter with its tags looked up.
    pub(super) fn sieve(&self, filter: &Filter<'_>) -> Sieve {
        let mut sieve = Sieve { nothing: filter.nothing, region: filter.region, az: filter.az, tags: [0; MAX_TAGS], tag_count: 0 };
        for tag in filter.tags.iter().flatten() {
            match self.tag(tag) {
                Some(number) => {
                    sieve.tags[sieve.tag_count] = number;
                    sieve.tag_count += 1;
                }
                None => sieve.nothing = true,
            }
        }
        sieve
    }
}

/// A [`Filter`] made ready for one pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sieve {
    pub nothing: bool,
    region: Option<RegionId>,
    az: Option<AzName>,
    tags: [u32; MAX_TAGS],
    tag_count: usize,
}

impl Sieve {
    /// Whether instances of the group can pass.
    pub fn passes_group(&self, group: &Group) -> bool {
        !self.nothing && self.region.is_none_or(|r| r == group.region) && self.az.is_none_or(|a| a == group.az)
    }

    /// Whether an instance of a group that passes does.
    pub fn passes_row(&self, pool: &Pool, row: &Row) -> bool {
        let borne = &pool.borne[row.tags_start as usize..][..usize::from(row.tags_count)];
        self.tags[..self.tag_count].iter().all(|tag| borne.contains(tag))
    }

    /// How many instances of a group pass, down to a standing, for the clients of a gate.
    pub fn count(&self, pool: &Pool, group: &Group, standing: Standing, gate: Gate) -> usize {
        let rows = pool.rows(group, standing);
        match self.tag_count {
            _ if !self.passes_group(group) => 0,
            0 if !pool.has_partial() => rows.len(),
            _ => rows.iter().filter(|row| self.passes_row(pool, row) && !gate.shuts(pool.out(row.member))).count(),
        }
    }

    /// The weight of a group's instances that pass, in hundredths.
    pub fn weigh(&self, pool: &Pool, group: &Group, standing: Standing, gate: Gate) -> Load {
        if !self.passes_group(group) {
            return Load::default();
        }
        // An instance that waits for its first result is no loss: it was not there before.
        let pending = standing == Standing::Healthy;
        if self.tag_count == 0 && !pool.has_partial() && standing == Standing::Healthy {
            return Load { living: group.warm, all: group.full.iter().sum::<u64>() - group.full[Standing::Pending as usize] };
        }
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
    /// The client's hash for this.
    pub(super) hash: u64,
    /// What is out in part counts as drained for its part of the clients; otherwise it serves all.
    pub(super) honours: bool,
}

impl Gate {
    /// Whether what is out of answers that far is so for this client.
    pub(super) fn shuts(self, out: Share) -> bool {
        if out.is_partial() { self.honours && out.holds(self.hash) } else { out == Share::ALL }
    }
}
