//! The walk through a policy tree for one client and one idea of what counts as healthy.
//!
//! `alive` says whether a part has anything to answer, `take` takes it; a part is taken exactly when it is alive. Branches that a
//! rule does not reach are not looked at, so that their pools do not shorten the time for which the decision holds.

use std::net::IpAddr;

use super::decide::{Choice, MAX_TIERS, World};
use super::hash::{self, mix};
use super::levels::is_unknown;
use super::sieve::{Gate, Load, Sieve};
use super::spill::spill;
use super::trace::{Trace, words};
use super::tree::{Fork, Narrowing, Part, Tree, Way};
use super::urn::{Urn, draw_salt};
use super::views::Fit;
use super::{LocalityId, Pool, RegionId, ServiceId, Stand, Standing, Step};
use crate::model::{MAX_BRANCHES, Out, PolicyKind};

/// The state of a decision on its way.
pub(super) struct Walk<'w, 't, W, T> {
    pub world: &'w W,
    pub asker: Asker<'t>,
    /// Where the client stands, once it was asked.
    stand: Option<(&'w Stand, u8)>,
    pub draw: u64,
    pub trace: &'t mut T,
    /// How many rules it is below, for the trace.
    pub depth: u8,
    /// What was found, best first.
    tiers: &'t mut [Option<Choice<'w>>; MAX_TIERS],
    pub found: usize,
    /// How many levels are wanted.
    pub wanted: usize,
    /// The worst standing that counts as healthy.
    pub standing: Standing,
    /// Whether `min_healthy` holds; otherwise one is enough.
    pub strict: bool,
    /// Whether what is out of answers for a part of the clients is so for this one, if it is among them.
    pub honours: bool,
    /// Whether only the last resort is tried.
    pub resort: bool,
    /// Something was healthy, but too little of it.
    pub short: bool,
    /// Something is out of answers for a part of the clients.
    pub gated: bool,
    /// Too little of the chosen level is healthy: all of it answers.
    pub panic: bool,
    /// The branch of the tree in which the walk began through which the first was found.
    pub branch: Option<u32>,
    /// A branch was drawn among several.
    pub drawn: bool,
    /// The panic threshold of the tree in which the walk began, in percent.
    pub threshold: u8,
    /// The prefix length of clients for whom all that was looked at is the same.
    pub scope: u8,
    /// Milliseconds in which nothing that was looked at can change.
    pub steady_ms: u32,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'c> {
    pub client: &'c IpAddr,
    /// The prefix by which it is hashed, and that one's length.
    prefix: u64,
    length: u8,
}

impl<'c> Asker<'c> {
    #[inline]
    pub fn new(client: &'c IpAddr) -> Asker<'c> {
        let (prefix, length) = hash::prefix(*client);
        Asker { client, prefix, length }
    }
}

/// Where the walk stands: which tree, over which instances.
#[derive(Clone, Copy)]
pub(super) struct Ground<'w> {
    pub tree: &'w Tree,
    /// The service whose policy the tree is; `None`: a name's.
    pub service: Option<(ServiceId, &'w Pool)>,
    /// What the instances are narrowed to; a name narrows nothing before a service is entered.
    pub sieve: Sieve,
    /// The client's hash with the tree's name.
    pub hash: u64,
    /// It is the tree in which the walk began.
    pub is_start: bool,
}

impl<'w> Ground<'w> {
    /// Where a walk begins.
    #[inline]
    pub fn of(tree: &'w Tree, asker: &Asker<'_>) -> Ground<'w> {
        let hash = mix(asker.prefix, tree.seed());
        Ground { tree, service: None, sieve: Sieve::default(), hash, is_start: true }
    }

    /// Where a walk over a service's own instances begins.
    #[inline]
    pub fn within(service: ServiceId, pool: &'w Pool, sieve: Sieve, asker: &Asker<'_>) -> Ground<'w> {
        let hash = mix(asker.prefix, pool.seed());
        Ground { tree: pool.tree(), service: Some((service, pool)), sieve, hash, is_start: true }
    }
}

impl<'w, 't, W: World, T: Trace> Walk<'w, 't, W, T> {
    #[inline]
    pub fn new(
        world: &'w W,
        asker: Asker<'t>,
        draw: u64,
        tiers: &'t mut [Option<Choice<'w>>; MAX_TIERS],
        further: usize,
        trace: &'t mut T,
    ) -> Walk<'w, 't, W, T> {
        Walk {
            world,
            asker,
            stand: None,
            draw,
            trace,
            depth: 0,
            tiers,
            found: 0,
            wanted: (further + 1).min(MAX_TIERS),
            standing: Standing::Healthy,
            strict: true,
            honours: true,
            resort: false,
            short: false,
            gated: false,
            panic: false,
            branch: None,
            drawn: false,
            threshold: 0,
            scope: 0,
            steady_ms: u32::MAX,
        }
    }

    /// Takes what the part has to answer; whether there was anything.
    pub fn take(&mut self, ground: &Ground<'w>, number: u32) -> bool {
        let part = ground.tree.part(number);
        match &part.way {
            Way::Fork(fork) => {
                let depth = self.depth;
                self.trace.step(|| Step::new(depth, words::rule(fork.rule), "entered", words::branches(fork.count)));
                let is_resort = self.resort && ground.is_start && number == 0;
                let needed = self.needed(part);
                if !is_resort && needed > 1 && !self.has_living_branches(ground, fork, needed) {
                    self.trace.step(|| Step::new(depth, words::rule(fork.rule), "unhealthy", words::too_few_branches(needed)));
                    return false;
                }
                let before = self.found;
                self.depth = depth + 1;
                match is_resort {
                    true => self.take_resort(ground, fork),
                    false => self.take_branches(ground, number, fork),
                }
                self.depth = depth;
                self.found > before
            }
            Way::Own(rule) => match ground.service {
                Some((service, pool)) => self.take_own(ground, Some(*rule), service, pool, self.needed(part)),
                None => false,
            },
            Way::Instances(lead) => {
                let Some((service, label)) = &lead.service else {
                    let Some((service, pool)) = ground.service else { return false };
                    let sieve = ground.sieve.narrowed(pool, &lead.narrowing);
                    // The branches' own instances are all of one level: the rule above has chosen already.
                    return self.take_own(&Ground { sieve, ..*ground }, None, service, pool, self.needed(part));
                };
                let Some(below) = self.enter(ground, *service, &lead.narrowing) else {
                    self.trace.step(|| Step::new(self.depth, format!("service {label}"), "empty", "not registered".into()));
                    return false;
                };
                let needed = self.needed(part);
                if needed > 1 && !self.has_living(&below, needed) {
                    self.trace.step(|| Step::new(self.depth, "instances".into(), "unhealthy", words::too_few(needed)));
                    return false;
                }
                self.take(&below, 0)
            }
            Way::Records { first, count } => {
                self.trace.step(|| Step::new(self.depth, "records".into(), "chosen", "static records are always healthy".into()));
                let service = ground.service.map(|(service, _)| service);
                self.push(Choice::Records { service, first: *first, count: *count })
            }
        }
    }

    /// Into a service's own tree. Only names lead to services, so that no service can lead back to itself.
    #[inline]
    pub(super) fn enter(&self, ground: &Ground<'w>, service: ServiceId, narrowing: &Narrowing) -> Option<Ground<'w>> {
        let pool = self.world.pool(service).filter(|_| ground.service.is_none())?;
        let sieve = ground.sieve.narrowed(pool, narrowing);
        Some(Ground { is_start: false, ..Ground::within(service, pool, sieve, &self.asker) })
    }

    /// The last resort: its branches as written.
    fn take_resort(&mut self, ground: &Ground<'w>, fork: &'w Fork) {
        for n in (0..fork.count).filter(|n| ground.tree.part(fork.first + n).resort) {
            self.visit(ground, fork, n, |_| words::resort());
        }
    }

    fn take_branches(&mut self, ground: &Ground<'w>, at: u32, fork: &'w Fork) {
        let before = self.found;
        match (fork.rule, &fork.view) {
            (PolicyKind::Weighted | PolicyKind::Multivalue, _) => self.draw_branch(ground, at, fork),
            (PolicyKind::Sticky, _) => self.settle_branch(ground, fork),
            (PolicyKind::Latency | PolicyKind::Nearest, _) => {
                let (stand, length) = self.stand();
                if self.living_branches(ground, fork).count_ones() > 1 {
                    self.scope = self.scope.max(length);
                }
                if fork.rule == PolicyKind::Nearest && is_unknown(stand) {
                    self.draw_branch(ground, at, fork);
                } else {
                    self.take_ranked(ground, fork, stand);
                }
            }
            (rule, Some(view)) => {
                let (order, length) = view.find(*self.asker.client);
                if order.is_empty() && rule == PolicyKind::Geoproximity {
                    self.draw_branch(ground, at, fork);
                } else {
                    self.take_ordered(ground, fork, order);
                }
                // Which branch is nearer matters where two live; whom one is for, where any does.
                let depends = match rule {
                    PolicyKind::Geoproximity => self.living_branches(ground, fork).count_ones() > 1,
                    _ => self.found > before || self.serves_others(ground, fork),
                };
                if depends {
                    self.scope = self.scope.max(length);
                }
            }
            (_, None) => {
                for n in fork.branches(ground.tree) {
                    self.visit(ground, fork, n, |_| words::in_order(n));
                }
            }
        }
    }

    /// Takes branches in the order of a view.
    fn take_ordered(&mut self, ground: &Ground<'w>, fork: &'w Fork, order: &[(u8, Fit)]) {
        let (world, client) = (self.world, *self.asker.client);
        for (n, fit) in order {
            let n = u32::from(*n);
            self.visit(ground, fork, n, |_| words::fit(world, client, *fit, fork.features(n)));
            if self.is_done() {
                return;
            }
        }
        let left = |n: &u32| !order.iter().any(|(known, _)| u32::from(*known) == *n);
        for n in fork.branches(ground.tree).filter(left) {
            if fork.rule == PolicyKind::Geoproximity {
                // Nothing is known of its place: behind those with one.
                self.visit(ground, fork, n, |_| words::unplaced());
            } else if T::WANTED {
                let at = words::branch(n, ground.tree.part(fork.first + n), self.world.places());
                self.trace.step(|| Step::new(self.depth, at, "filtered", words::other_clients(world, client)));
            }
        }
    }

    /// Takes branches by their regions' place in the client's ranking; `nearest` spills.
    fn take_ranked(&mut self, ground: &Ground<'w>, fork: &'w Fork, stand: &'w Stand) {
        let own = stand.region.filter(|_| fork.rule == PolicyKind::Nearest);
        let first = fork.first;
        let mut order = [(0, 0); MAX_BRANCHES];
        let mut known = 0;
        for n in fork.branches(ground.tree) {
            order[known] = (position(ground.tree.part(first + n).region, own, stand), n);
            known += 1;
        }
        let order = &mut order[..known];
        order.sort_unstable();
        if fork.rule == PolicyKind::Nearest {
            let mut loads = [Load::default(); MAX_BRANCHES];
            for (_, n) in order.iter() {
                loads[*n as usize] = self.branch_load(ground, first + n);
            }
            let chosen = spill(ground.hash, order.iter(), |(_, n)| loads[*n as usize], |(_, n)| fork.features(*n).seed);
            if let Some((place, hashed)) = chosen.map(|chosen| (chosen.place, chosen.hashed)) {
                if hashed {
                    self.note_hash();
                }
                // It goes before the others, which keep their order behind it.
                order[..=place].rotate_right(1);
            }
        }
        for (_, n) in order.iter() {
            self.visit(ground, fork, *n, |part| words::latency(part.region, own, stand));
            if self.is_done() {
                return;
            }
        }
    }

    /// Takes a branch, unless enough was found.
    #[inline]
    fn visit(&mut self, ground: &Ground<'w>, fork: &Fork, n: u32, why: impl FnOnce(&Part) -> String) {
        let number = fork.first + n;
        if T::WANTED {
            let part = ground.tree.part(number);
            let outcome = match (self.is_full(), self.would_be_alive(ground, number), self.found) {
                (true, true, _) => "passed over",
                (false, true, 0) => "chosen",
                (false, true, _) => "next tier",
                (_, false, _) => "unhealthy",
            };
            let at = words::branch(n, part, self.world.places());
            self.trace.step(|| Step::new(self.depth, at, outcome, why(part)));
        }
        if !self.is_full() {
            let is_first = self.found == 0;
            self.depth += 1;
            let found = self.take(ground, number);
            self.depth -= 1;
            // The branches of the root stand right behind it.
            if found && is_first && ground.is_start && fork.first == 1 {
                self.branch = Some(n);
            }
        }
    }

    /// Takes one of the living branches, each with the probability `weight / sum of weights`.
    fn draw_branch(&mut self, ground: &Ground<'w>, at: u32, fork: &'w Fork) {
        let weight = |n| fork.weigh(ground.tree.part(fork.first + n));
        let urn = self.urn(ground, fork);
        self.drawn |= urn.drawable > 1;
        let salt = draw_salt(ground.service.map(|(service, _)| service), at);
        let drawn = urn.draw(mix(self.draw, salt), weight);
        self.take_drawn(ground, fork, drawn, &urn);
    }

    /// Takes the branch that the client's prefix settles on, by weight.
    fn settle_branch(&mut self, ground: &Ground<'w>, fork: &'w Fork) {
        let weight = |n| fork.weigh(ground.tree.part(fork.first + n));
        let urn = self.urn(ground, fork);
        if urn.drawable > 1 {
            self.note_hash();
        }
        let score = |n: u32| hash::score(ground.hash, fork.features(n).seed, urn.weigh(n, weight) as f64);
        let drawn = urn.drawable(weight).max_by(|a, b| score(*a).total_cmp(&score(*b)));
        self.take_drawn(ground, fork, drawn, &urn);
    }

    /// What the branches that live weigh.
    #[inline]
    fn urn(&mut self, ground: &Ground<'w>, fork: &Fork) -> Urn {
        match fork.urn {
            Some(urn) => urn,
            None => Urn::new(self.living_branches(ground, fork), |n| fork.weigh(ground.tree.part(fork.first + n))),
        }
    }

    /// Takes the branch that was drawn, and says of the others that they were not.
    #[inline]
    fn take_drawn(&mut self, ground: &Ground<'w>, fork: &'w Fork, drawn: Option<u32>, urn: &Urn) {
        let why = |n| words::share(urn.weigh(n, |n| fork.weigh(ground.tree.part(fork.first + n))), urn.total);
        if T::WANTED {
            for n in fork.branches(ground.tree).filter(|n| Some(*n) != drawn) {
                let at = words::branch(n, ground.tree.part(fork.first + n), self.world.places());
                let (outcome, reason) = if urn.lives(n) { ("not drawn", why(n)) } else { ("unhealthy", "not in the draw".into()) };
                self.trace.step(|| Step::new(self.depth, at, outcome, reason));
            }
        }
        if let Some(n) = drawn {
            self.visit(ground, fork, n, |_| why(n));
        }
    }

    #[inline]
    pub(super) fn push(&mut self, choice: Choice<'w>) -> bool {
        match self.tiers.get_mut(self.found) {
            Some(slot) => *slot = Some(choice),
            None => return false,
        }
        self.found += 1;
        true
    }

    pub(super) fn is_full(&self) -> bool {
        self.found >= self.wanted
    }

    /// Whether what is left would neither be taken nor told of.
    fn is_done(&self) -> bool {
        self.is_full() && !T::WANTED
    }

    pub(super) fn needed(&self, part: &Part) -> usize {
        if self.strict { part.min_healthy as usize } else { 1 }
    }

    /// Where the client stands, and the prefix length for which that holds. Looking is not yet depending on it.
    #[inline]
    pub(super) fn stand(&mut self) -> (&'w Stand, u8) {
        let world = self.world;
        *self.stand.get_or_insert_with(|| world.origins().stand(*self.asker.client))
    }

    /// What follows depends on the client's hash.
    pub(super) fn note_hash(&mut self) {
        self.scope = self.scope.max(self.asker.length);
    }

    #[inline]
    pub(super) fn gate(&self, ground: &Ground<'w>) -> Gate {
        Gate { hash: ground.hash, honours: self.honours }
    }

    /// Whether a locality is out of answers for the client.
    #[inline]
    pub(super) fn is_out(&mut self, gate: Gate, locality: LocalityId) -> bool {
        let out = self.world.out(locality);
        if out == Out::SERVING {
            return false;
        }
        if out.moving {
            self.steady_ms = 0;
        }
        if out.share.is_partial() {
            self.gated = true;
            self.note_hash();
        }
        gate.shuts(out.share)
    }

    /// Looks at the pool of a service: what is known of it holds no longer than what is known of any instance.
    #[inline]
    pub(super) fn look_at(&mut self, pool: &Pool) {
        self.steady_ms = self.steady_ms.min(pool.steady_ms());
        if pool.has_partial() {
            self.gated = true;
            self.note_hash();
        }
    }
}

/// The place of a branch's region in the client's ranking.
fn position(region: Option<RegionId>, own: Option<RegionId>, stand: &Stand) -> u32 {
    match region {
        Some(_) if region == own => 0,
        Some(region) => stand.ranking.iter().position(|(r, _)| *r == region).map_or(u32::MAX, |n| n as u32 + 1),
        None => u32::MAX,
    }
}
