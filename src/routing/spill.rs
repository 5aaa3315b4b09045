//! Spill: how the load of a service is shared out among levels that are not whole.
//!
//! A level carries `min(1, 1.4 × healthy share by weight)` of the load, as Envoy's priority levels do: a level that has lost less than
//! two sevenths still carries everything. What an operator drained is lost to its level as what is unhealthy is; what waits for its first
//! result was never there. What a level cannot carry goes to the next one. Where all together carry less than the load, each
//! is given more, in proportion to what it can.
//!
//! ```text
//!              own az            own region        us-east
//! healthy      2 of 5            1 of 5            3 of 3
//! can carry    0.56              0.28              1
//! carries      0.56              0.28              0.16
//! ```
//!
//! A client comes to the levels in order, and each takes its part of those who come: the hash of the client's prefix with the service's
//! name and the level's says whether it is one of them. So a level keeps its clients whatever becomes of those behind it; while a level
//! recovers clients go to it, or fill up a place that others left for it; and nobody returns to a level that he has left.

use super::hash::{mix, salt};
use super::sieve::Load;

/// What a level of full health may lose before it sheds load: Envoy's overprovisioning factor, in tenths.
const OVERPROVISIONING: u64 = 14;
/// The whole load.
const WHOLE: u64 = 1 << 32;

/// Where a client is served.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spill<L> {
    /// The level.
    pub level: L,
    /// Its place in the order.
    pub place: usize,
    /// Another client would be served elsewhere.
    pub hashed: bool,
    /// All levels together carry less than the load.
    pub short: bool,
}

/// What a level can carry of the whole, in steps of 2⁻³².
#[inline]
pub(super) fn capacity(load: Load) -> u64 {
    match load.all {
        0 => 0,
        // Nearly always, and without the division of 128 bits. Weights sum to less than 2⁴⁸.
        all if load.living * OVERPROVISIONING >= all * 10 => WHOLE,
        all => (u128::from(load.living * OVERPROVISIONING) * u128::from(WHOLE) / u128::from(all * 10)).min(WHOLE.into()) as u64,
    }
}

/// Whether a level by itself carries less than the whole load.
pub(super) fn is_short(load: Load) -> bool {
    capacity(load) < WHOLE
}

/// The level that serves the client of this hash; `None` where none can carry anything. `seed` is what a level is hashed with.
#[inline]
pub(super) fn spill<L>(
    client: u64,
    levels: impl Iterator<Item = L> + Clone,
    load: impl Fn(&L) -> Load,
    seed: impl Fn(&L) -> u64,
) -> Option<Spill<L>> {
    let (mut sum, mut carrying) = (0u64, 0);
    for (place, level) in levels.clone().enumerate() {
        let capacity = capacity(load(&level));
        if capacity == WHOLE && carrying == 0 {
            return Some(Spill { level, place, hashed: false, short: false });
        }
        carrying += usize::from(capacity > 0);
        sum += capacity;
    }
    let client = mix(client, salt::SPILL);
    let mut left = sum.min(WHOLE);
    for (place, level) in levels.enumerate() {
        let given = capacity(load(&level)).min(left);
        // `given` of those that are left: the last level that carries anything takes all that come.
        if given > 0 && ((mix(client, seed(&level)) >> 32) * left) >> 32 < given {
            return Some(Spill { level, place, hashed: carrying > 1, short: sum < WHOLE });
        }
        left -= given;
    }
    None
}

/// The share of the load that each level is given: for explain.
pub(super) fn shares(loads: &[Load]) -> Vec<f64> {
    let capacities: Vec<u64> = loads.iter().map(|load| capacity(*load)).collect();
    let sum: u64 = capacities.iter().sum();
    if sum < WHOLE {
        return capacities.iter().map(|capacity| *capacity as f64 / sum.max(1) as f64).collect();
    }
    let mut left = WHOLE;
    let mut given = |capacity: u64| {
        let given = capacity.min(left);
        left -= given;
        given as f64 / WHOLE as f64
    };
    capacities.into_iter().map(&mut given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels as (healthy, all).
    fn loads(levels: &[(u64, u64)]) -> Vec<Load> {
        levels.iter().map(|(living, all)| Load { living: *living, all: *all }).collect()
    }

    fn place(client: u64, loads: &[Load]) -> Option<usize> {
        spill(client, 0..loads.len(), |n| loads[*n], |n| *n as u64 + 77).map(|spill| spill.place)
    }

    /// 100,000 client prefixes.
    fn clients() -> impl Iterator<Item = u64> {
        (0..100_000u64).map(|n| mix(n, 1))
    }

    #[test]
    fn measured_shares_are_the_computed_ones_within_one_percent() {
        let check = |levels: &[(u64, u64)], expected: &[f64]| {
            let loads = loads(levels);
            let mut found = vec![0u32; levels.len()];
            clients().filter_map(|client| place(client, &loads)).for_each(|level| found[level] += 1);
            for ((found, expected), computed) in found.iter().zip(expected).zip(shares(&loads)) {
                assert!((computed - expected).abs() < 0.001, "{levels:?}: computed {computed}, not {expected}");
                assert!((f64::from(*found) / 100_000.0 - computed).abs() < 0.01, "{levels:?}: {found} for {computed}");
            }
        };
        check(&[(2, 2), (2, 2)], &[1.0, 0.0]);
        check(&[(5, 7), (1, 1)], &[1.0, 0.0]);
        check(&[(1, 2), (4, 4)], &[0.7, 0.3]);
        check(&[(2, 5), (1, 5), (3, 3)], &[0.56, 0.28, 0.16]);
        check(&[(0, 5), (1, 5), (3, 3)], &[0.0, 0.28, 0.72]);
        // Envoy's documentation has this table for two priorities, of which the second is a quarter healthy.
        check(&[(25, 100), (25, 100)], &[0.5, 0.5]);
        check(&[(10, 100), (20, 100), (0, 3)], &[1.0 / 3.0, 2.0 / 3.0, 0.0]);
        check(&[(0, 5)], &[0.0]);
        assert_eq!(place(3, &loads(&[(0, 5), (0, 0)])), None);
    }

    #[test]
    fn a_level_that_recovers_takes_clients_over_and_nobody_moves_back() {
        let check = |recovers: usize, levels: &[(u64, u64)]| {
            let stages: Vec<Vec<Load>> = (0..=levels[recovers].1)
                .map(|living| {
                    let mut loads = loads(levels);
                    loads[recovers].living = living;
                    loads
                })
                .collect();
            let mut moved = 0;
            for client in clients().take(20_000) {
                let way: Vec<usize> = stages.iter().map(|loads| place(client, loads).unwrap()).collect();
                let mut left = Vec::new();
                for (n, step) in way.windows(2).enumerate() {
                    let [from, to] = [step[0], step[1]];
                    if from == to {
                        continue;
                    }
                    moved += 1;
                    assert!(from != recovers, "{levels:?}: {client} leaves {recovers} as it recovers: {way:?}");
                    let fell = shares(&stages[n])[from] > shares(&stages[n + 1])[from];
                    assert!(fell || to == recovers, "{levels:?}: {client} leaves {from}, which carries no less: {way:?}");
                    left.push(from);
                    assert!(!left.contains(&to), "{levels:?}: {client} goes back to {to}: {way:?}");
                }
            }
            assert!(moved > 0, "{levels:?}");
        };
        check(0, &[(0, 10), (2, 10), (3, 10)]);
        check(1, &[(1, 10), (0, 10), (3, 10)]);
        check(2, &[(1, 10), (2, 10), (0, 10)]);
        check(0, &[(0, 10), (5, 10), (10, 10)]);
        check(1, &[(3, 10), (0, 10), (10, 10)]);
        check(0, &[(0, 4), (1, 4), (2, 4), (4, 4)]);
    }
}
