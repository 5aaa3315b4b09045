//! Policies compiled: names become numbers, records become indexes.
//!
//! A tree lies flat: part 0 is the root, and the branches of a part stand side by side. What a rule does with branches:
//!
//! | rule | order in which branches are tried |
//! | --- | --- |
//! | `failover`, `simple` | as written |
//! | `weighted` | one, drawn by weight |
//! | `multivalue` | one, each as likely as the other |
//! | `latency` | by the place of their region in the client's ranking, unranked ones last |
//! | `nearest` | as `latency`, the client's own region first; for a client of unknown place as `multivalue` |
//! | `geolocation` | subdivision, country, continent, default; others are left out |
//! | `cidr` | those with a prefix that holds the client, the longest first, then the default |
//! | `asn` | those for the client's autonomous system, then the default |
//! | `geoproximity` | by distance, the bias counted; for a client of unknown place as `multivalue` |
//! | `sticky` | one, by weighted rendezvous of the client's prefix |
//!
//! `nearest` does not always take the first: each carries what it can, and the rest goes on (see [`super::spill`]). Branches that are the
//! last resort stand outside of all that: they are tried as written once nothing else can be answered.
//!
//! and without branches, on a service, with its own instances:
//!
//! | rule | levels |
//! | --- | --- |
//! | `simple`, `multivalue`, `weighted` | one of all instances: all in order of ids; up to eight; one |
//! | `failover` | its regions in the order of their names |
//! | `latency` | its regions by the client's ranking, unranked ones last in the order of their names |
//! | `nearest` | own az, own region, then as `latency`, spilling; for a client of unknown place one level of all instances |
//! | `sticky` | one of all instances: one, by weighted rendezvous of the client's prefix; beyond 64 instances by [`super::slots`] |
//!
//! A branch of a service that leads to its own instances is one level of all that match. Wherever not all of a level's instances are
//! answered, all but `simple` choose by weight (see [`super::pick()`]).

use std::sync::{Arc, OnceLock};

use super::hash::{mix, seed_of};
use super::urn::Urn;
use super::views::{Criteria, View, Views, criterion};
use super::{AzName, Origins, Places, RegionId};
use crate::model::{AllDown, Branch, Coordinates, Goal, Label, MAX_BRANCHES, MAX_DEPTH, Policy, PolicyKind};

/// A service's slot in a snapshot; stable while the service exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// A compiled policy tree.
#[derive(Debug, Clone)]
pub struct Tree {
    parts: Arc<[Part]>,
    all_down: AllDown,
    panic_threshold: u8,
    seed: u64,
}

/// The root or a branch: 32 octets, so that what answers read of the trees of thousands of names stays in the processor's caches. What few
/// rules ask of a branch is in [`Features`].
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Where it leads.
    pub way: Way,
    /// Branches, or instances, that must be healthy; at least 1.
    pub min_healthy: u32,
    /// Its share under `weighted` and `sticky`.
    pub weight: u32,
    /// Its region under `latency` and `nearest`.
    pub region: Option<RegionId>,
    /// It is tried only where nothing else can be answered.
    pub resort: bool,
}

/// Where a part leads.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// A rule over branches.
    Fork(Box<Fork>),
    /// A rule over the service's own instances, without branches.
    Own(PolicyKind),
    /// Instances of a service that match.
    Instances(Box<Lead>),
    /// Record sets, by number.
    Records { first: u16, count: u16 },
}

/// A rule over branches.
#[derive(Debug, Clone)]
pub(super) struct Fork {
    pub rule: PolicyKind,
    /// Where its branches begin.
    pub first: u32,
    pub count: u32,
    /// How a rule that tells clients apart orders them.
    pub view: Option<Arc<View>>,
    /// The draw of a rule that draws, where no look at the world is needed for it: each branch is static records, which always live.
    pub urn: Option<Urn>,
    features: Box<[Features]>,
}

/// What few rules ask of a branch.
#[derive(Debug, Clone)]
pub(super) struct Features {
    /// What is hashed of it under `sticky`, and where `nearest` spills: what it leads to, not its place in the list.
    pub seed: u64,
    /// The largest share of clients that it can serve, in percent.
    pub capacity: u8,
    /// Under `geoproximity`: where it is, and the bias of its distance.
    pub place: Option<Coordinates>,
    pub bias: i8,
}

/// Instances of a service that match.
#[derive(Debug, Clone)]
pub(super) struct Lead {
    /// `None`: the service whose policy this is.
    pub service: Option<(ServiceId, Label)>,
    pub narrowing: Narrowing,
}

/// What a branch adds to the filter.
#[derive(Debug, Clone, Default)]
pub(super) struct Narrowing {
    pub region: Option<RegionId>,
    pub az: Option<AzName>,
    pub tag: Option<Label>,
    /// It speaks of a place that nobody has named to [`Places`] yet.
    pub nowhere: bool,
}

/// Why a policy cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A region that `geo/regions.toml` does not have.
    #[error("region {0} is not in geo/regions.toml")]
    UnknownRegion(Label),
    /// An az that no region has.
    #[error("no region has an az named {0}")]
    UnknownAz(Label),
    /// A service that does not exist.
    #[error("there is no service {0}")]
    UnknownService(Label),
    /// More branches than a policy can have.
    #[error("a policy has at most {MAX_BRANCHES} branches, not {0}")]
    TooManyBranches(usize),
    /// Policies within policies, too deep.
    #[error("policies nest at most {MAX_DEPTH} deep")]
    TooDeep,
    /// More record sets than can be numbered.
    #[error("a policy holds at most 65535 record sets")]
    TooManyRecords,
}

/// What policies are compiled against.
#[derive(Debug)]
pub struct Against<'a> {
    /// Regions and azs.
    pub places: &'a Places,
    /// Where clients are.
    pub origins: &'a Origins,
    /// The views that other policies made of these origins already.
    pub views: &'a mut Views,
}

impl Tree {
    /// Compiles the policy of `name`, whose clients are hashed with it. `service` gives the slot of a service by name: names may refer to services that are registered later,
    /// so the caller reserves a slot. Record sets are numbered in the order in which a depth-first walk meets them.
    ///
    /// Where regions are made on use, [`Places::add_named`] comes first: a place that `places` does not know matches nothing,
    /// also after it was added.
    pub fn compile(
        policy: &Policy,
        name: &[u8],
        against: &mut Against<'_>,
        service: &mut dyn FnMut(&Label) -> Option<ServiceId>,
    ) -> Result<Tree, TreeError> {
        let parts = match policy.branches.is_empty() && policy.min_healthy <= 1 {
            true => own(policy.kind),
            false => {
                let mut compiler = Compiler { against, service, parts: vec![Part::root()], records: 0 };
                compiler.policy(policy, 0, 1)?;
                compiler.parts.into()
            }
        };
        Ok(Tree { parts, all_down: policy.all_down, panic_threshold: policy.panic_threshold, seed: seed_of(name) })
    }

    /// The largest share of clients that a branch of the root can serve, in percent; `None` where there is no such branch.
    pub fn branch_capacity(&self, branch: u32) -> Option<u8> {
        match &self.parts.first()?.way {
            Way::Fork(fork) => fork.features.get(branch as usize).map(|features| features.capacity),
            _ => None,
        }
    }

    /// What clients are hashed with.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// What clients are hashed with, and the tree without it.
    pub(super) fn without_seed(self) -> (u64, Tree) {
        (self.seed, Tree { seed: 0, ..self })
    }

    /// Whether its rules are those of many services: see [`own`].
    pub(super) fn is_common(&self) -> bool {
        matches!(&*self.parts, [Part { way: Way::Own(kind), .. }] if Arc::ptr_eq(&self.parts, &own(*kind)))
    }

    /// All of it, its rules by where they lie.
    pub(super) fn told(&self) -> (*const Part, AllDown, u8, u64) {
        (self.parts.as_ptr(), self.all_down, self.panic_threshold, self.seed)
    }

    /// Envoy's panic threshold, in percent.
    pub(super) fn panic_threshold(&self) -> u8 {
        self.panic_threshold
    }

    /// What to answer when all is down.
    pub fn all_down(&self) -> AllDown {
        self.all_down
    }

    /// The services that the branches lead to, each as often as it is named.
    pub fn services(&self) -> impl Iterator<Item = ServiceId> + '_ {
        self.parts.iter().filter_map(|part| match &part.way {
            Way::Instances(lead) => lead.service.as_ref().map(|(id, _)| *id),
            _ => None,
        })
    }

    /// Whether clients settle on instances of the service whose policy it is.
    pub(super) fn settles(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.way, Way::Own(PolicyKind::Sticky)))
    }

    #[inline]
    pub(super) fn part(&self, number: u32) -> &Part {
        &self.parts[number as usize]
    }
}

/// The tree of a rule over a service's own instances, which most services have: held once for all.
fn own(kind: PolicyKind) -> Arc<[Part]> {
    static OWN: [OnceLock<Arc<[Part]>>; 16] = [const { OnceLock::new() }; 16];
    let make = || Arc::from([Part { way: Way::Own(kind), ..Part::root() }]);
    OWN.get(kind as usize).map_or_else(make, |own| own.get_or_init(make).clone())
}

impl Fork {
    /// What few rules ask of a branch.
    pub fn features(&self, branch: u32) -> &Features {
        &self.features[branch as usize]
    }

    /// The numbers of its branches that take part: all but the last resort.
    #[inline]
    pub fn branches<'t>(&self, tree: &'t Tree) -> impl Iterator<Item = u32> + use<'t> {
        let first = self.first;
        (0..self.count).filter(move |n| !tree.part(first + n).resort)
    }

    /// What a branch weighs where the rule draws one: only `weighted` and `sticky` look at weights.
    #[inline]
    pub fn weigh(&self, part: &Part) -> u32 {
        if matches!(self.rule, PolicyKind::Weighted | PolicyKind::Sticky) { part.weight } else { 1 }
    }

    fn constant_urn(&self, parts: &[Part]) -> Option<Urn> {
        let branches = parts.get(self.first as usize..)?.get(..self.count as usize)?;
        let draws = matches!(self.rule, PolicyKind::Weighted | PolicyKind::Multivalue | PolicyKind::Sticky);
        let always_lives = |part: &Part| part.resort || matches!(part.way, Way::Records { .. });
        let living = (0..).zip(branches).filter(|(_, part)| !part.resort).fold(0, |living, (n, _)| living | 1 << n);
        (draws && branches.iter().all(always_lives))
            .then(|| Urn::new(living, |n| branches.get(n as usize).map_or(0, |part| self.weigh(part))))
    }
}

impl Part {
    fn root() -> Part {
        Part { way: Way::Own(PolicyKind::Simple), min_healthy: 1, weight: 0, region: None, resort: false }
    }
}

struct Compiler<'a, 'w> {
    against: &'a mut Against<'w>,
    service: &'a mut dyn FnMut(&Label) -> Option<ServiceId>,
    parts: Vec<Part>,
    records: u16,
}

impl Compiler<'_, '_> {
    /// Compiles a policy into the part that was kept free for it.
    fn policy(&mut self, policy: &Policy, at: usize, depth: usize) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep);
        }
        if policy.branches.len() > MAX_BRANCHES {
            return Err(TreeError::TooManyBranches(policy.branches.len()));
        }
        self.parts[at].min_healthy = policy.min_healthy.max(1);
        if policy.branches.is_empty() {
            self.parts[at].way = Way::Own(policy.kind);
            return Ok(());
        }
        let first = self.parts.len();
        let view = self.view(policy)?;
        let (rule, count) = (policy.kind, policy.branches.len() as u32);
        self.parts.resize_with(first + policy.branches.len(), Part::root);
        let (mut seeds, mut features) = (Vec::with_capacity(policy.branches.len()), Vec::with_capacity(policy.branches.len()));
        for (n, branch) in policy.branches.iter().enumerate() {
            self.branch(branch, first + n, depth)?;
            let seed = seed_of(identity(branch).as_bytes());
            // Branches that lead to the same are told apart all the same.
            let twins = seeds.iter().filter(|other| **other == seed).count();
            seeds.push(seed);
            features.push(Features {
                seed: if twins > 0 { mix(seed, twins as u64) } else { seed },
                capacity: branch.capacity,
                place: branch.coordinates.or_else(|| self.against.places.coordinates(self.parts[first + n].region?)),
                bias: branch.bias,
            });
        }
        let mut fork = Fork { rule, first: first as u32, count, view, urn: None, features: features.into() };
        fork.urn = fork.constant_urn(&self.parts);
        self.parts[at].way = Way::Fork(Box::new(fork));
        Ok(())
    }

    fn branch(&mut self, branch: &Branch, at: usize, depth: usize) -> Result<(), TreeError> {
        let region = branch.region.as_ref().map(|r| self.region(r)).transpose()?;
        self.parts[at].weight = branch.weight;
        self.parts[at].region = region.flatten();
        self.parts[at].resort = branch.resort;
        match &branch.goal {
            Goal::Policy(below) => self.policy(below, at, depth + 1)?,
            Goal::Instances { service, az, tag, min_healthy } => {
                let named = service.as_ref().map(|label| match (self.service)(label) {
                    Some(id) => Ok((id, label.clone())),
                    None => Err(TreeError::UnknownService(label.clone())),
                });
                let az = az.as_ref().map(|a| self.az(a)).transpose()?;
                let narrowing = Narrowing {
                    region: region.flatten(),
                    az: az.flatten(),
                    tag: tag.clone(),
                    nowhere: region == Some(None) || az == Some(None),
                };
                self.parts[at].way = Way::Instances(Box::new(Lead { service: named.transpose()?, narrowing }));
                self.parts[at].min_healthy = (*min_healthy).max(1);
            }
            Goal::Records(sets) => {
                let first = self.records;
                let count = u16::try_from(sets.len()).map_err(|_| TreeError::TooManyRecords)?;
                self.records = first.checked_add(count).ok_or(TreeError::TooManyRecords)?;
                self.parts[at].way = Way::Records { first, count };
            }
        }
        Ok(())
    }

    /// How a rule that tells clients apart orders the branches of its policy.
    fn view(&mut self, policy: &Policy) -> Result<Option<Arc<View>>, TreeError> {
        if !policy.kind.tells_clients_apart() && policy.kind != PolicyKind::Geoproximity {
            return Ok(None);
        }
        let mut branches = Vec::with_capacity(policy.branches.len());
        for branch in &policy.branches {
            let region = branch.region.as_ref().map(|r| self.region(r)).transpose()?;
            branches.push(criterion(branch, region.flatten(), self.against.places));
        }
        let Against { places, origins, views } = &mut *self.against;
        Ok(Some(views.get(Criteria { rule: policy.kind, branches }, origins, places)))
    }

    /// `Some(None)` by way of the caller: a place that may come later, and matches nothing now.
    fn region(&self, label: &Label) -> Result<Option<RegionId>, TreeError> {
        match self.against.places.region(label.as_str().as_bytes()) {
            None if self.against.places.is_closed() => Err(TreeError::UnknownRegion(label.clone())),
            known => Ok(known),
        }
    }

    fn az(&self, label: &Label) -> Result<Option<AzName>, TreeError> {
        match self.against.places.az_name(label.as_str().as_bytes()) {
            None if self.against.places.azs_closed() => Err(TreeError::UnknownAz(label.clone())),
            known => Ok(known),
        }
    }
}

/// What a branch leads to, as text: the same wherever it stands among the others, so that a branch more or less moves only the clients
/// that it must.
fn identity(branch: &Branch) -> String {
    match &branch.goal {
        Goal::Policy(below) => below.branches.iter().map(identity).collect::<Vec<_>>().join("|"),
        Goal::Instances { service, az, tag, .. } => {
            let part = |label: &Option<Label>| label.as_ref().map_or(String::new(), Label::to_string);
            format!("{}/{}/{}/{}", part(service), part(&branch.region), part(az), part(tag))
        }
        Goal::Records(sets) => sets.iter().map(|set| format!("{} {:?}", set.rtype, set.rdata)).collect::<Vec<_>>().join(";"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Geo, RecordData, Region};

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    fn leaf(service: &str, region: Option<&str>, az: Option<&str>) -> Branch {
        let goal = Goal::Instances { service: Some(label(service)), az: az.map(label), tag: None, min_healthy: 1 };
        Branch { region: region.map(label), ..Branch::to(goal) }
    }

    fn policy(branches: Vec<Branch>) -> Policy {
        Policy { kind: PolicyKind::Failover, branches, min_healthy: 1, ..Policy::default() }
    }

    fn below(policy: Policy) -> Branch {
        Branch::to(Goal::Policy(Box::new(policy)))
    }

    fn records(sets: usize) -> Branch {
        let sets = vec![RecordData { rtype: 1, rdata: vec![] }; sets];
        Branch::to(Goal::Records(sets))
    }

    fn compile(policy: &Policy, places: &Places) -> Result<Tree, TreeError> {
        let mut against = Against { places, origins: &Origins::default(), views: &mut Views::default() };
        Tree::compile(policy, b"name", &mut against, &mut |l| (l.as_str() != "gone").then_some(ServiceId(7)))
    }

    #[test]
    fn what_is_not_declared_is_named_in_the_error() {
        let region = Region { coordinates: None, azs: vec![label("a1")], ..Region::default() };
        let declared = Places::new(&Geo { regions: Some([(label("a"), region)].into()), ..Geo::default() }, []);
        let check = |branch: Branch, expected: TreeError| assert_eq!(compile(&policy(vec![branch]), &declared).unwrap_err(), expected);
        check(leaf("web", Some("b"), None), TreeError::UnknownRegion(label("b")));
        check(leaf("web", Some("a"), Some("b1")), TreeError::UnknownAz(label("b1")));
        check(leaf("gone", None, None), TreeError::UnknownService(label("gone")));
        check(below(policy(vec![leaf("web", Some("c"), None)])), TreeError::UnknownRegion(label("c")));
        let deep = (0..MAX_DEPTH).fold(records(1), |branch, _| below(policy(vec![branch])));
        check(deep, TreeError::TooDeep);
        let wide = below(policy(vec![records(1); MAX_BRANCHES + 1]));
        check(wide, TreeError::TooManyBranches(MAX_BRANCHES + 1));
        check(below(policy(vec![records(40_000), records(40_000)])), TreeError::TooManyRecords);
        assert!(compile(&policy(vec![leaf("web", Some("a"), Some("a1"))]), &declared).is_ok());
    }

    #[test]
    fn a_place_made_on_use_matches_nothing_until_it_was_named() {
        let policy = policy(vec![leaf("web", Some("later"), Some("z1"))]);
        let nowhere = |places: &Places| match &compile(&policy, places).unwrap().part(1).way {
            Way::Instances(lead) => lead.narrowing.nowhere,
            _ => unreachable!(),
        };
        let mut places = Places::default();
        assert!(nowhere(&places));
        places.add_named(&policy);
        assert!(!nowhere(&places));
    }

    #[test]
    fn branches_that_lead_to_the_same_are_told_apart() {
        let tree = compile(&policy(vec![leaf("web", None, None); 5]), &Places::default()).unwrap();
        let Way::Fork(fork) = &tree.part(0).way else { panic!("{tree:?}") };
        let seeds: std::collections::BTreeSet<u64> = (0..5).map(|n| fork.features(n).seed).collect();
        assert_eq!(seeds.len(), 5, "each has a share of its own under `sticky`");
    }

    #[test]
    fn a_part_takes_half_a_cache_line() {
        assert_eq!(size_of::<Part>(), 32);
    }

    #[test]
    fn record_sets_are_numbered_depth_first() {
        let tree = compile(&policy(vec![below(policy(vec![records(2), records(1)])), records(3)]), &Places::default()).unwrap();
        let mut found: Vec<(u16, u16)> = Vec::new();
        for part in tree.parts.iter() {
            if let Way::Records { first, count } = part.way {
                found.push((first, count));
            }
        }
        found.sort_unstable();
        assert_eq!(found, [(0, 2), (2, 1), (3, 3)]);
    }
}
