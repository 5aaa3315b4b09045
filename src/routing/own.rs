//! The instances of a service: which of their levels serves the client, and what else stands behind it.

use super::decide::{Choice, World};
use super::hash::seed_of;
use super::levels::{Level, Levels};
use super::pool::Group;
use super::sieve::Load;
use super::spill::{Spill, is_short, shares, spill};
use super::trace::{Trace, words};
use super::walk::{Ground, Walk};
use super::{Pool, Sampling, Selection, ServiceId, Stand, Standing, Step};
use crate::model::PolicyKind;

/// Most instances in an answer of `multivalue` (Route 53).
const MULTIVALUE_MOST: u16 = 8;

/// What a service has that counts as healthy.
#[derive(Default)]
struct Living {
    instances: usize,
    localities: usize,
    regions: usize,
}

impl<'w, W: World, T: Trace> Walk<'w, '_, W, T> {
    /// Takes the levels of a service's own instances. Without a rule they are all of one level.
    pub(super) fn take_own(
        &mut self,
        ground: &Ground<'w>,
        rule: Option<PolicyKind>,
        service: ServiceId,
        pool: &'w Pool,
        needed: usize,
    ) -> bool {
        let living = self.living(ground, pool);
        if living.instances < needed {
            self.short |= living.instances > 0;
            let (world, depth, standing) = (self.world, self.depth, self.standing);
            let reason = || words::shortage(&words::census(world, pool, &ground.sieve, None, self.gate(ground)), standing, needed);
            let step = T::WANTED.then(|| Step::new(depth, "instances".into(), "unhealthy", reason()));
            step.into_iter().for_each(|step| self.trace.step(|| step));
            return false;
        }
        let (stand, length) = match rule {
            Some(PolicyKind::Nearest | PolicyKind::Latency) => {
                let (stand, length) = self.stand();
                (Some(stand), length)
            }
            _ => (None, 0),
        };
        // A level that is answered whole brings along what does not live, and which that is depends on where the client stands.
        let panics = self.threshold(ground) > 0;
        let depends = match rule {
            Some(PolicyKind::Nearest) => living.localities > 1 || panics,
            Some(PolicyKind::Latency) => living.regions > 1 || panics,
            _ => false,
        };
        if depends {
            self.scope = self.scope.max(length);
        }
        if rule == Some(PolicyKind::Sticky) && (living.instances > 1 || panics) {
            self.note_hash();
        }
        let levels = Levels::new(rule, pool, stand);
        let chosen = match rule {
            Some(PolicyKind::Nearest) => self.spilled(ground, pool, levels.clone()),
            _ => None,
        };
        let first = match chosen {
            Some(chosen) => Some((chosen.place, chosen.level)),
            // Something lives, and there is but one level.
            None if let Some(level) = levels.only() => Some((0, level)),
            None => levels.clone().enumerate().find(|(_, level)| self.is_living(ground, pool, level)),
        };
        let Some((first, level)) = first else { return false };
        let panic = self.found == 0 && self.panics(ground, pool, &level, chosen.is_some_and(|chosen| !chosen.short));
        self.panic |= panic;
        let select = |walk: &Self, level: &Level, panic: bool| {
            let (most, sampling) = manner(rule);
            let Level { region, locality, except, .. } = *level;
            let standing = if panic { Standing::Unhealthy.max(walk.standing) } else { walk.standing };
            let (sieve, gate) = (ground.sieve, walk.gate(ground));
            Choice::Instances(Selection { service, pool, sieve, region, locality, except, standing, most, sampling, gate })
        };
        let was_full = self.is_full();
        if !was_full {
            let choice = select(self, &level, panic);
            self.push(choice);
        }
        if self.is_full() && !T::WANTED {
            return true;
        }
        let shares = if T::WANTED { self.shares(ground, pool, rule, levels.clone()) } else { Vec::new() };
        for (n, level) in levels.enumerate() {
            let is_living = self.is_living(ground, pool, &level);
            let is_further = n != first && is_living && !self.is_full();
            if T::WANTED {
                let outcome = match (is_living, n == first, is_further) {
                    (_, true, _) if was_full => "passed over",
                    (_, true, _) if self.found == 1 || chosen.is_some() => "chosen",
                    (_, true, _) | (_, _, true) => "next tier",
                    (true, ..) => "passed over",
                    _ => "unhealthy",
                };
                self.tell_level(ground, pool, stand, &level, outcome, shares.get(n).copied(), panic && n == first);
            }
            if is_further {
                let choice = select(self, &level, false);
                self.push(choice);
            }
        }
        true
    }

    /// The level that serves the client where load is shared out; `None` where no level has any weight.
    fn spilled(&mut self, ground: &Ground<'w>, pool: &'w Pool, levels: Levels<'w>) -> Option<Spill<Level>> {
        let places = self.world.places();
        let load = |level: &Level| self.load(ground, pool, level.region, |locality| level.has(locality));
        let chosen = spill(ground.hash, levels, load, |level| {
            let region = level.region.map_or(&b""[..], |region| places.region_label(region).as_str().as_bytes());
            let az = level.locality.map_or(&b""[..], |locality| places.az_label(locality).as_str().as_bytes());
            seed_of(region) ^ seed_of(az).rotate_left(1)
        })?;
        if chosen.hashed {
            self.note_hash();
        }
        Some(chosen)
    }

    /// Whether the level is to be answered whole: all levels together are short (they are not where the load is `carried`), and of this one less is healthy than the threshold
    /// says (Envoy's panic threshold).
    #[inline]
    fn panics(&self, ground: &Ground<'w>, pool: &Pool, level: &Level, carried: bool) -> bool {
        let threshold = self.threshold(ground);
        if threshold == 0 || carried {
            return false;
        }
        let Load { living, all } = self.load(ground, pool, level.region, |locality| level.has(locality));
        is_short(Load { living, all }) && living * 100 < all * threshold
    }

    /// The panic threshold in percent: that of the service, or of the name that leads to it, whichever is higher.
    fn threshold(&self, ground: &Ground<'w>) -> u64 {
        self.threshold.max(ground.tree.panic_threshold()).into()
    }

    #[inline]
    fn living(&mut self, ground: &Ground<'w>, pool: &Pool) -> Living {
        self.look_at(pool);
        let sieve = &ground.sieve;
        if sieve.is_open() && self.standing == Standing::Healthy && self.world.is_serving() && !pool.has_partial() {
            let healthy = pool.healthy();
            return Living {
                instances: healthy.instances as usize,
                localities: healthy.localities.into(),
                regions: healthy.regions.into(),
            };
        }
        let gate = self.gate(ground);
        let mut living = Living::default();
        let mut last = None;
        for group in pool.groups(sieve.region()) {
            let count = sieve.count(pool, group, self.standing, gate);
            // A level that is answered whole may hold localities where nothing lives.
            let matters = count > 0 || self.threshold(ground) > 0;
            if matters && !self.is_out(gate, group.locality) && count > 0 {
                living.instances += count;
                living.localities += 1;
                living.regions += usize::from(last != Some(group.region));
                last = Some(group.region);
            }
        }
        living
    }

    fn is_living(&self, ground: &Ground<'w>, pool: &Pool, level: &Level) -> bool {
        let gate = self.gate(ground);
        let lives =
            |group: &Group| ground.sieve.count(pool, group, self.standing, gate) > 0 && !gate.shuts(self.world.out(group.locality).share);
        pool.groups(level.region).iter().any(|group| level.has(group.locality) && lives(group))
    }

    /// The share of the load that each level is given, where it is shared out.
    fn shares(&self, ground: &Ground<'w>, pool: &Pool, rule: Option<PolicyKind>, levels: Levels<'w>) -> Vec<f64> {
        if rule != Some(PolicyKind::Nearest) {
            return Vec::new();
        }
        let loads: Vec<Load> = levels.map(|level| self.load(ground, pool, level.region, |locality| level.has(locality))).collect();
        shares(&loads)
    }

    #[allow(clippy::too_many_arguments)]
    fn tell_level(
        &mut self,
        ground: &Ground<'w>,
        pool: &Pool,
        stand: Option<&Stand>,
        level: &Level,
        outcome: &str,
        share: Option<f64>,
        panic: bool,
    ) {
        let census = words::census(self.world, pool, &ground.sieve, Some(level), self.gate(ground));
        // Regions where the service has nothing are worth a line only where the client stands in one.
        if census.is_empty() && !level.is_own() {
            return;
        }
        let outcome = if census.is_empty() { "empty" } else { outcome };
        let places = self.world.places();
        let mut reason = words::level(places, &census, level, self.standing, stand);
        // A level that carries all or nothing by its order needs no numbers.
        if let Some(share) = share.filter(|share| *share > 0.0 && *share < 1.0) {
            reason += &words::carries(share);
        }
        if panic {
            reason += words::PANIC;
        }
        let gate = self.gate(ground);
        let outs = pool.groups(level.region).iter().filter(|group| level.has(group.locality)).map(|group| self.world.out(group.locality));
        if let Some(out) = outs.map(|out| out.share).find(|share| share.is_partial()) {
            reason += &words::ramp(out, gate.shuts(out));
        }
        let at = words::level_name(level, places);
        self.trace.step(|| Step::new(self.depth, at, outcome, reason));
    }
}

/// How many instances of a level answer at most, and how they are chosen.
fn manner(rule: Option<PolicyKind>) -> (u16, Sampling) {
    match rule {
        Some(PolicyKind::Simple) => (u16::MAX, Sampling::InOrder),
        Some(PolicyKind::Weighted) => (1, Sampling::ByWeight),
        Some(PolicyKind::Multivalue) => (MULTIVALUE_MOST, Sampling::ByWeight),
        Some(PolicyKind::Sticky) => (1, Sampling::Sticky),
        _ => (u16::MAX, Sampling::ByWeight),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, locality};
    use super::super::{Filter, Need, Silent, Start, decide, pick};
    use super::*;
    use crate::model::{Out, Share};

    /// How 100,000 client prefixes of 10/8, all in `eu/1`, are spread over the instances, in percent.
    fn spread(world: &Fixture) -> Vec<f64> {
        let mut found = vec![0u32; world.pool(ServiceId(0)).unwrap().len()];
        let count = 100_000;
        for n in 0..count {
            // Every prefix of the /8 once, in steps that scatter.
            let client = std::net::Ipv4Addr::from(10 << 24 | (n * 40_503 % 65_536) << 8 | n >> 16 << 7).into();
            let decision = decide(world, Start::Service(ServiceId(0), &Filter::ALL), client, 0, 0, &mut Silent);
            let Some(Choice::Instances(selection)) = decision.tiers[0] else { continue };
            pick(world, &selection, Need::ANY, 1, u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15), |picked| {
                found[picked.member as usize] += 1;
            });
        }
        found.iter().map(|n| 100.0 * f64::from(*n) / f64::from(count)).collect()
    }

    fn check(world: &Fixture, expected: &[f64]) {
        let found = spread(world);
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1.0);
        assert!(near && found.len() == expected.len(), "{found:.2?}, not {expected:?}");
    }

    #[test]
    fn clients_are_spread_as_computed_within_one_percent() {
        let world = |policy: &str, instances: &str| Fixture::crowd(&[("web", &format!(r#"{{"policy":"{policy}"}}"#), instances)]);
        check(&world("nearest", "eu/1:h eu/2:h us/1:h"), &[100.0, 0.0, 0.0]);
        check(&world("nearest", "eu/1:h eu/1:u eu/2:h us/1:h"), &[70.0, 0.0, 30.0, 0.0]);
        check(&world("nearest", "eu/1:h eu/1:u eu/1:u eu/2:h eu/2:u eu/2:u us/1:h"), &[46.7, 0.0, 0.0, 46.7, 0.0, 0.0, 6.6]);
        check(&world("nearest", "eu/1:h*10 eu/1:u*90 eu/2:u us/1:h"), &[14.0, 0.0, 0.0, 86.0]);
        check(&world("nearest", "eu/1:h*10 eu/1:u*90 eu/2:h*20 eu/2:u*80"), &[100.0 / 3.0, 0.0, 200.0 / 3.0, 0.0]);
        // An instance that waits for its first result is no loss; one that recovers carries a part of its weight.
        check(&world("nearest", "eu/1:h eu/1:p eu/2:h"), &[100.0, 0.0, 0.0]);
        check(&world("nearest", "eu/1:h%20 eu/2:h"), &[28.0, 72.0]);
        check(&world("sticky", "eu/1:h*60 eu/2:h*30 us/1:h*10"), &[60.0, 30.0, 10.0]);
        check(&world("sticky", "eu/1:h*60%50 eu/2:h*30 us/1:h*40"), &[30.0, 30.0, 40.0]);
        check(&world("simple", "eu/1:h^30 eu/2:h"), &[70.0, 30.0]);
        let mut ramp = world("failover", "eu/1:h us/1:h");
        ramp.outs.insert(ramp.places.locality(&locality("eu/1")).unwrap(), Out { share: Share::of(0.25), moving: true });
        check(&ramp, &[75.0, 25.0]);
        // Ramp and spill are drawn apart: of the 75 % that stay, 70 % are carried.
        let mut both = world("nearest", "eu/1:h eu/1:u eu/2:h");
        both.outs.insert(both.places.locality(&locality("eu/1")).unwrap(), Out { share: Share::of(0.25), moving: true });
        check(&both, &[52.5, 0.0, 47.5]);
    }

    #[test]
    fn a_ramp_moves_each_client_once() {
        let mut world = Fixture::crowd(&[("web", r#"{"policy":"nearest"}"#, "eu/1:h eu/2:h us/1:h")]);
        let az = world.places.locality(&locality("eu/1")).unwrap();
        let mut before = vec![0; 2000];
        for percent in 0..=20 {
            world.outs.insert(az, Out { share: Share::of(f64::from(percent) / 20.0), moving: true });
            for (n, before) in before.iter_mut().enumerate() {
                let client = std::net::Ipv4Addr::from(10 << 24 | (n as u32) << 8).into();
                let decision = decide(&world, Start::Service(ServiceId(0), &Filter::ALL), client, 0, 0, &mut Silent);
                let Some(Choice::Instances(selection)) = decision.tiers[0] else { panic!("{decision:?}") };
                let mut now = 0;
                pick(&world, &selection, Need::ANY, 1, 0, |picked| now = picked.member);
                assert!(now >= *before && now < 2, "client {n} went from {before} to {now} at {percent}");
                assert_eq!((decision.scope, decision.steady_ms), if matches!(percent, 0 | 20) { (8, 0) } else { (24, 0) });
                *before = now;
            }
        }
        assert!(before.iter().all(|now| *now == 1));
    }
}
