//! What of a tree lives for the client, and what it can carry: looked at without taking anything.

use super::decide::World;
use super::pool::Group;
use super::sieve::Load;
use super::trace::Trace;
use super::tree::{Fork, Way};
use super::walk::{Ground, Walk};
use super::{LocalityId, Pool, RegionId, Standing};

impl<'w, W: World, T: Trace> Walk<'w, '_, W, T> {
    /// Whether [`Walk::take`] would find anything.
    pub(super) fn alive(&mut self, ground: &Ground<'w>, number: u32) -> bool {
        let part = ground.tree.part(number);
        let needed = self.needed(part);
        match &part.way {
            Way::Fork(fork)
                if fork.rule.tells_clients_apart()
                    && let Some(view) = &fork.view =>
            {
                let (order, length) = view.find(*self.asker.client);
                let reached = order.iter().any(|(n, _)| self.lives(ground, fork.first + u32::from(*n)));
                // Where nothing lives at all, that is so for every client.
                if reached || self.serves_others(ground, fork) {
                    self.scope = self.scope.max(length);
                }
                reached && (needed == 1 || self.has_living_branches(ground, fork, needed))
            }
            Way::Fork(fork) => self.has_living_branches(ground, fork, needed),
            Way::Own(_) => self.has_living(ground, needed),
            Way::Instances(lead) => match (&lead.service, ground.service) {
                (Some((service, _)), _) => match self.enter(ground, *service, &lead.narrowing) {
                    Some(below) => (needed == 1 || self.has_living(&below, needed)) && self.alive(&below, 0),
                    None => false,
                },
                (None, Some((_, pool))) => {
                    self.has_living(&Ground { sieve: ground.sieve.narrowed(pool, &lead.narrowing), ..*ground }, needed)
                }
                (None, None) => false,
            },
            Way::Records { .. } => true,
        }
    }

    /// [`Walk::alive`] for a branch; what always lives is not looked at.
    #[inline]
    fn lives(&mut self, ground: &Ground<'w>, number: u32) -> bool {
        matches!(ground.tree.part(number).way, Way::Records { .. }) || self.alive(ground, number)
    }

    /// [`Walk::alive`], without a trace of the look.
    pub(super) fn would_be_alive(&mut self, ground: &Ground<'w>, number: u32) -> bool {
        let (scope, steady_ms, short, gated) = (self.scope, self.steady_ms, self.short, self.gated);
        let alive = self.alive(ground, number);
        (self.scope, self.steady_ms, self.short, self.gated) = (scope, steady_ms, short, gated);
        alive
    }

    /// Whether any branch lives, for whichever clients. This client is answered the same, so it holds as long as if nobody had looked.
    pub(super) fn serves_others(&mut self, ground: &Ground<'w>, fork: &Fork) -> bool {
        let (steady_ms, short, gated) = (self.steady_ms, self.short, self.gated);
        let lives = self.has_living_branches(ground, fork, 1);
        (self.steady_ms, self.short, self.gated) = (steady_ms, short, gated);
        lives
    }

    pub(super) fn has_living_branches(&mut self, ground: &Ground<'w>, fork: &Fork, needed: usize) -> bool {
        let mut found = 0;
        for n in fork.branches(ground.tree) {
            found += usize::from(self.lives(ground, fork.first + n));
            if found >= needed {
                return true;
            }
        }
        self.short |= found > 0;
        false
    }

    /// One bit for each branch.
    pub(super) fn living_branches(&mut self, ground: &Ground<'w>, fork: &Fork) -> u64 {
        fork.branches(ground.tree).fold(0, |living, n| living | u64::from(self.lives(ground, fork.first + n)) << n)
    }

    pub(super) fn has_living(&mut self, ground: &Ground<'w>, needed: usize) -> bool {
        let found = self.count_living(ground, needed);
        self.short |= found > 0 && found < needed;
        found >= needed
    }

    /// How many of a service's instances count as healthy, as far as `enough`.
    pub(super) fn count_living(&mut self, ground: &Ground<'w>, enough: usize) -> usize {
        let Some((_, pool)) = ground.service else { return 0 };
        self.look_at(pool);
        let (sieve, gate) = (&ground.sieve, self.gate(ground));
        let mut found = 0;
        for group in pool.groups(sieve.region()) {
            if !self.is_out(gate, group.locality) {
                found += sieve.count(pool, group, self.standing, gate);
            }
            if found >= enough {
                break;
            }
        }
        found
    }

    /// What a branch can carry: its instances by weight, or all or nothing where it is no plain set of them.
    pub(super) fn branch_load(&mut self, ground: &Ground<'w>, number: u32) -> Load {
        if !self.lives(ground, number) {
            return Load::default();
        }
        let whole = Load { living: 1, all: 1 };
        let part = ground.tree.part(number);
        let Way::Instances(lead) = &part.way else { return whole };
        let below = match (&lead.service, ground.service) {
            (Some((service, _)), _) => self.enter(ground, *service, &lead.narrowing),
            (None, Some((_, pool))) => Some(Ground { sieve: ground.sieve.narrowed(pool, &lead.narrowing), ..*ground }),
            (None, None) => None,
        };
        match below.and_then(|below| Some((below, below.service?.1))) {
            Some((below, pool)) => {
                let (sieve, gate) = (&below.sieve, self.gate(&below));
                // All of it counts here, also what one need not look at to know that something lives.
                for group in pool.groups(sieve.region()).iter().filter(|group| sieve.passes_group(group)) {
                    self.is_out(gate, group.locality);
                }
                self.load(&below, pool, sieve.region(), |_| true)
            }
            None => whole,
        }
    }

    /// What the instances of a part of a pool can carry.
    #[inline]
    pub(super) fn load(&self, ground: &Ground<'w>, pool: &Pool, region: Option<RegionId>, has: impl Fn(LocalityId) -> bool) -> Load {
        let plain = ground.sieve.is_open() && self.standing == Standing::Healthy && !pool.has_partial() && self.world.is_serving();
        let groups = pool.groups(region).iter().filter(|group| has(group.locality));
        groups.fold(Load::default(), |sum, group| {
            // Nearly always there is nothing to look at.
            let load = if plain { pool.healthy_load(group) } else { self.load_of(ground, pool, group) };
            Load { living: sum.living + load.living, all: sum.all + load.all }
        })
    }

    /// What the instances of a locality can carry.
    #[inline(never)]
    fn load_of(&self, ground: &Ground<'w>, pool: &Pool, group: &Group) -> Load {
        let gate = self.gate(ground);
        let Load { living, all } = ground.sieve.weigh(pool, group, self.standing, gate);
        Load { living: if gate.shuts(self.world.out(group.locality).share) { 0 } else { living }, all }
    }
}
