//! The walk through a policy tree for one client and one idea of what counts as healthy.
//!
//! `alive` says whether a part has anything to answer, `take` takes it; a part is taken exactly when it is alive. Branches that a
//! rule does not reach are not looked at, so that their pools do not shorten the time for which the decision holds.

use super::decide::{Choice, Client, MAX_TIERS, World};
use super::levels::{Level, Levels, is_unknown};
use super::pool::{Group, Sieve};
use super::trace::{Trace, words};
use super::tree::{Part, Tree, Way};
use super::{Filter, Origin, Pool, RegionId, Sampling, Selection, ServiceId, Standing, Step};
use crate::model::{Clients, MAX_BRANCHES, PolicyKind};

/// The state of a decision on its way.
pub(super) struct Walk<'w, 't, W, T> {
    pub world: &'w W,
    pub client: Client<'w>,
    pub draw: u64,
    pub trace: &'t mut T,
    /// What was found, best first.
    pub tiers: [Option<Choice<'w>>; MAX_TIERS],
    pub found: usize,
    /// How many levels are wanted.
    pub wanted: usize,
    /// The worst standing that counts as healthy.
    pub standing: Standing,
    /// Whether `min_healthy` holds; otherwise one is enough.
    pub strict: bool,
    /// Something was healthy, but too little of it.
    pub short: bool,
    /// Another client might have been answered otherwise.
    pub depends: bool,
    /// Milliseconds in which nothing that was looked at can change.
    pub steady_ms: u32,
}

/// Where the walk stands: which tree, over which instances.
#[derive(Clone, Copy)]
pub(super) struct Ground<'w> {
    pub tree: &'w Tree,
    /// The service whose policy the tree is; `None`: a name's.
    pub service: Option<(ServiceId, &'w Pool)>,
    pub filter: Filter<'w>,
    pub depth: u8,
}

impl<'w> Ground<'w> {
    fn deeper(self) -> Ground<'w> {
        Ground { depth: self.depth + 1, ..self }
    }
}

/// What a service has that counts as healthy.
#[derive(Default)]
struct Living {
    instances: usize,
    localities: usize,
    regions: usize,
}

impl<'w, W: World, T: Trace> Walk<'w, '_, W, T> {
    /// Takes what the part has to answer; whether there was anything.
    pub fn take(&mut self, ground: Ground<'w>, number: u32) -> bool {
        let part = ground.tree.part(number);
        match &part.way {
            Way::Fork { rule, first, count } => {
                let depth = ground.depth;
                self.trace.step(|| Step::new(depth, words::rule(*rule), "entered", words::branches(*count)));
                let needed = self.needed(part);
                if needed > 1 && !self.has_living_branches(ground, *first, *count, needed) {
                    self.trace.step(|| Step::new(depth, words::rule(*rule), "unhealthy", words::too_few_branches(needed)));
                    return false;
                }
                self.take_branches(ground.deeper(), *rule, number, *first, *count)
            }
            Way::Own(rule) => match ground.service {
                Some((service, pool)) => self.take_own(ground, Some(*rule), service, pool, self.needed(part)),
                None => false,
            },
            Way::Instances { service: None, narrowing } => match ground.service {
                Some((service, pool)) => {
                    let filter = narrowing.add_to(ground.filter);
                    // The branches' own instances are all of one level: the rule above has chosen already.
                    self.take_own(Ground { filter, ..ground }, None, service, pool, self.needed(part))
                }
                None => false,
            },
            Way::Instances { service: Some((service, label)), narrowing } => {
                let Some(below) = self.enter(ground, *service, narrowing.add_to(ground.filter)) else {
                    self.trace.step(|| Step::new(ground.depth, format!("service {label}"), "empty", "not registered".into()));
                    return false;
                };
                let needed = self.needed(part);
                if needed > 1 && !self.has_living(below, needed) {
                    self.trace.step(|| Step::new(ground.depth, "instances".into(), "unhealthy", words::too_few(needed)));
                    return false;
                }
                self.take(below, 0)
            }
            Way::Records { first, count } => {
                self.trace.step(|| Step::new(ground.depth, "records".into(), "chosen", "static records are always healthy".into()));
                let service = ground.service.map(|(service, _)| service);
                self.push(Choice::Records { service, first: *first, count: *count })
            }
        }
    }

    /// Whether [`Walk::take`] would find anything.
    fn alive(&mut self, ground: Ground<'w>, number: u32) -> bool {
        let part = ground.tree.part(number);
        let needed = self.needed(part);
        match &part.way {
            Way::Fork { rule: PolicyKind::Geolocation, first, count } => {
                self.note_geolocation(ground.tree, *first, *count);
                let reached = (*first..first + count)
                    .any(|n| class(&ground.tree.part(n).clients, self.client.origin).is_some() && self.alive(ground.deeper(), n));
                reached && (needed == 1 || self.has_living_branches(ground, *first, *count, needed))
            }
            Way::Fork { first, count, .. } => self.has_living_branches(ground, *first, *count, needed),
            Way::Own(_) => self.has_living(ground, needed),
            Way::Instances { service: None, narrowing } => {
                self.has_living(Ground { filter: narrowing.add_to(ground.filter), ..ground }, needed)
            }
            Way::Instances { service: Some((service, _)), narrowing } => {
                match self.enter(ground, *service, narrowing.add_to(ground.filter)) {
                    Some(below) => (needed == 1 || self.has_living(below, needed)) && self.alive(below, 0),
                    None => false,
                }
            }
            Way::Records { .. } => true,
        }
    }

    /// Into a service's own tree. Only names lead to services, so that no service can lead back to itself.
    fn enter(&self, ground: Ground<'w>, service: ServiceId, filter: Filter<'w>) -> Option<Ground<'w>> {
        let pool = self.world.pool(service).filter(|_| ground.service.is_none())?;
        Some(Ground { tree: pool.tree(), service: Some((service, pool)), filter, depth: ground.depth })
    }

    fn take_branches(&mut self, ground: Ground<'w>, rule: PolicyKind, at: u32, first: u32, count: u32) -> bool {
        let before = self.found;
        let origin = self.client.origin;
        match rule {
            PolicyKind::Failover
            | PolicyKind::Simple
            | PolicyKind::Geoproximity
            | PolicyKind::Cidr
            | PolicyKind::Asn
            | PolicyKind::Sticky => {
                for n in 0..count {
                    self.visit(ground, first, n, |_| words::in_order(n));
                }
            }
            PolicyKind::Weighted => self.draw_branch(ground, at, first, count, |part| part.weight),
            PolicyKind::Multivalue => self.draw_branch(ground, at, first, count, |_| 1),
            PolicyKind::Nearest if is_unknown(origin) => {
                self.depends |= self.living_branches(ground, first, count).count_ones() > 1;
                self.draw_branch(ground, at, first, count, |_| 1);
            }
            PolicyKind::Latency | PolicyKind::Nearest => {
                self.depends |= self.living_branches(ground, first, count).count_ones() > 1;
                let own = origin.region.filter(|_| rule == PolicyKind::Nearest);
                let mut order = [(0, 0); MAX_BRANCHES];
                let order = &mut order[..count as usize];
                for (n, slot) in order.iter_mut().enumerate() {
                    *slot = (position(ground.tree.part(first + n as u32).region, own, origin), n as u32);
                }
                order.sort_unstable();
                for (_, n) in order.iter() {
                    self.visit(ground, first, *n, |part| words::latency(part.region, own, origin));
                }
            }
            PolicyKind::Geolocation => {
                self.note_geolocation(ground.tree, first, count);
                for size in 0..=3 {
                    for n in 0..count {
                        if class(&ground.tree.part(first + n).clients, origin) == Some(size) {
                            self.visit(ground, first, n, |_| words::class(size, origin));
                        }
                    }
                }
                if T::WANTED {
                    for n in (0..count).filter(|n| class(&ground.tree.part(first + n).clients, origin).is_none()) {
                        let at = words::branch(n, ground.tree.part(first + n), self.world.places());
                        self.trace.step(|| Step::new(ground.depth, at, "filtered", words::other_clients(origin)));
                    }
                }
            }
        }
        self.found > before
    }

    /// Takes a branch, unless enough was found.
    fn visit(&mut self, ground: Ground<'w>, first: u32, n: u32, why: impl FnOnce(&Part) -> String) {
        let part = ground.tree.part(first + n);
        if T::WANTED {
            let outcome = match (self.is_full(), self.would_be_alive(ground, first + n), self.found) {
                (true, true, _) => "passed over",
                (false, true, 0) => "chosen",
                (false, true, _) => "next tier",
                (_, false, _) => "unhealthy",
            };
            let at = words::branch(n, part, self.world.places());
            self.trace.step(|| Step::new(ground.depth, at, outcome, why(part)));
        }
        if !self.is_full() {
            self.take(ground.deeper(), first + n);
        }
    }

    /// Takes one of the living branches, each with the probability `weight / sum of weights`.
    fn draw_branch(&mut self, ground: Ground<'w>, at: u32, first: u32, count: u32, weight: impl Fn(&Part) -> u32) {
        let living = self.living_branches(ground, first, count);
        let sum: u64 = (0..count).filter(|n| living >> n & 1 == 1).map(|n| u64::from(weight(ground.tree.part(first + n)))).sum();
        let weigh = |n: u32| match living >> n & 1 {
            0 => 0,
            // All that live weigh nothing: they are equal (Route 53).
            _ if sum == 0 => 1,
            _ => u64::from(weight(ground.tree.part(first + n))),
        };
        let total = if sum == 0 { living.count_ones().into() } else { sum };
        let salt = ground.service.map_or(0, |(service, _)| u64::from(service.0) + 1) << 32 | u64::from(at);
        let mut point = ((u128::from(mix(self.draw, salt)) * u128::from(total)) >> 64) as u64;
        let drawn = (0..count).find(|n| {
            let hit = point < weigh(*n);
            point = point.saturating_sub(weigh(*n));
            hit
        });
        for n in (0..count).filter(|n| T::WANTED && Some(*n) != drawn) {
            let at = words::branch(n, ground.tree.part(first + n), self.world.places());
            let (outcome, reason) = match living >> n & 1 {
                1 => ("not drawn", words::share(weigh(n), total)),
                _ => ("unhealthy", "not in the draw".into()),
            };
            self.trace.step(|| Step::new(ground.depth, at, outcome, reason));
        }
        if let Some(n) = drawn {
            self.visit(ground, first, n, |_| words::share(weigh(n), total));
        }
    }

    /// Takes the levels of a service's own instances. Without a rule they are all of one level.
    fn take_own(&mut self, ground: Ground<'w>, rule: Option<PolicyKind>, service: ServiceId, pool: &'w Pool, needed: usize) -> bool {
        let before = self.found;
        let sieve = pool.sieve(&ground.filter);
        let living = self.living(pool, &sieve, ground.filter.region);
        if living.instances < needed {
            self.short |= living.instances > 0;
            let (world, depth, standing) = (self.world, ground.depth, self.standing);
            let reason = || words::shortage(&words::census(world, pool, &ground.filter, None), standing, needed);
            self.trace.step(|| Step::new(depth, "instances".into(), "unhealthy", reason()));
            return false;
        }
        self.depends |= match rule {
            Some(PolicyKind::Nearest) => living.localities > 1,
            Some(PolicyKind::Latency) => living.regions > 1,
            _ => false,
        };
        let (most, sampling) = match rule {
            Some(PolicyKind::Simple) => (usize::MAX, Sampling::InOrder),
            Some(PolicyKind::Weighted) => (1, Sampling::ByWeight),
            Some(PolicyKind::Multivalue) => (MULTIVALUE_MOST, Sampling::ByWeight),
            _ => (usize::MAX, Sampling::ByWeight),
        };
        let origin = self.client.origin;
        for level in Levels::new(rule, pool, origin) {
            if self.is_full() && !T::WANTED {
                break;
            }
            let is_living = self.is_living(pool, &sieve, &level);
            if T::WANTED {
                let census = words::census(self.world, pool, &ground.filter, Some(&level));
                let outcome = match (is_living, self.is_full(), self.found) {
                    (false, ..) if census.is_empty() => "empty",
                    (false, ..) => "unhealthy",
                    (_, true, _) => "passed over",
                    (_, _, 0) => "chosen",
                    _ => "next tier",
                };
                // Regions where the service has nothing are worth a line only where the client stands in one.
                if !census.is_empty() || level.is_own() {
                    let at = words::level_name(&level, self.world.places());
                    let reason = words::level(self.world.places(), &census, &level, self.standing, origin);
                    self.trace.step(|| Step::new(ground.depth, at, outcome, reason));
                }
            }
            if is_living && !self.is_full() {
                let Level { region, locality, except, .. } = level;
                let (filter, standing) = (ground.filter, self.standing);
                self.push(Choice::Instances(Selection { service, pool, filter, region, locality, except, standing, most, sampling }));
            }
        }
        self.found > before
    }

    fn push(&mut self, choice: Choice<'w>) -> bool {
        match self.tiers.get_mut(self.found) {
            Some(slot) => *slot = Some(choice),
            None => return false,
        }
        self.found += 1;
        true
    }

    fn is_full(&self) -> bool {
        self.found >= self.wanted
    }

    fn needed(&self, part: &Part) -> usize {
        if self.strict { part.min_healthy as usize } else { 1 }
    }

    /// [`Walk::alive`], without a trace of the look.
    fn would_be_alive(&mut self, ground: Ground<'w>, number: u32) -> bool {
        let (depends, steady_ms, short) = (self.depends, self.steady_ms, self.short);
        let alive = self.alive(ground.deeper(), number);
        (self.depends, self.steady_ms, self.short) = (depends, steady_ms, short);
        alive
    }

    fn has_living_branches(&mut self, ground: Ground<'w>, first: u32, count: u32, needed: usize) -> bool {
        let mut found = 0;
        for n in first..first + count {
            found += usize::from(self.alive(ground.deeper(), n));
            if found >= needed {
                return true;
            }
        }
        self.short |= found > 0;
        false
    }

    /// One bit for each branch.
    fn living_branches(&mut self, ground: Ground<'w>, first: u32, count: u32) -> u64 {
        (0..count).filter(|n| self.alive(ground.deeper(), first + n)).fold(0, |living, n| living | 1 << n)
    }

    fn has_living(&mut self, ground: Ground<'w>, needed: usize) -> bool {
        let found = self.count_living(ground, needed);
        self.short |= found > 0 && found < needed;
        found >= needed
    }

    /// How many of a service's instances count as healthy, as far as `enough`.
    fn count_living(&mut self, ground: Ground<'w>, enough: usize) -> usize {
        let Some((_, pool)) = ground.service else { return 0 };
        self.steady_ms = self.steady_ms.min(pool.steady_ms());
        let sieve = pool.sieve(&ground.filter);
        let mut found = 0;
        for group in pool.groups(ground.filter.region) {
            if !self.world.is_drained(group.locality) {
                found += sieve.count(pool, group, self.standing);
            }
            if found >= enough {
                break;
            }
        }
        found
    }

    fn living(&mut self, pool: &Pool, sieve: &Sieve, region: Option<RegionId>) -> Living {
        self.steady_ms = self.steady_ms.min(pool.steady_ms());
        let mut living = Living::default();
        let mut last = None;
        for group in pool.groups(region) {
            let count = sieve.count(pool, group, self.standing);
            if count > 0 && !self.world.is_drained(group.locality) {
                living.instances += count;
                living.localities += 1;
                living.regions += usize::from(last != Some(group.region));
                last = Some(group.region);
            }
        }
        living
    }

    fn is_living(&self, pool: &Pool, sieve: &Sieve, level: &Level) -> bool {
        let lives = |group: &Group| sieve.count(pool, group, self.standing) > 0 && !self.world.is_drained(group.locality);
        pool.groups(level.region).iter().any(|group| level.has(group.locality) && lives(group))
    }

    /// Geolocation tells clients apart unless it has nothing but a default.
    fn note_geolocation(&mut self, tree: &Tree, first: u32, count: u32) {
        self.depends |= (first..first + count).any(|n| {
            let clients = &tree.part(n).clients;
            !clients.continents.is_empty() || !clients.countries.is_empty() || !clients.subdivisions.is_empty()
        });
    }
}

/// Most instances in an answer of `multivalue` (Route 53).
const MULTIVALUE_MOST: usize = 8;

/// How closely a branch is for the client: 0 by subdivision, 1 by country, 2 by continent, 3 as the default.
fn class(clients: &Clients, origin: &Origin) -> Option<u8> {
    let subdivision = origin.country.zip(origin.subdivision);
    if subdivision.is_some_and(|s| clients.subdivisions.contains(&s)) {
        Some(0)
    } else if origin.country.is_some_and(|c| clients.countries.contains(&c)) {
        Some(1)
    } else if origin.continent.is_some_and(|c| clients.continents.contains(&c)) {
        Some(2)
    } else {
        clients.default.then_some(3)
    }
}

/// The place of a branch's region in the client's ranking.
fn position(region: Option<RegionId>, own: Option<RegionId>, origin: &Origin) -> u32 {
    match region {
        Some(_) if region == own => 0,
        Some(region) => origin.ranking.iter().position(|(r, _)| *r == region).map_or(u32::MAX, |n| n as u32 + 1),
        None => u32::MAX,
    }
}

/// A draw of its own for each place of the tree, so that draws one below the other are independent (splitmix64, Steele et al. 2014).
fn mix(draw: u64, salt: u64) -> u64 {
    let mut z = draw.wrapping_add(salt.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
