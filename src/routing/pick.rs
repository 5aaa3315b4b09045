//! The pick: which of the chosen instances stand in one answer.

mod lot;
mod selection;
mod sums;
#[cfg(test)]
mod tests;

use self::lot::Lot;
pub use self::selection::{Sampling, Selection};
use super::pool::{Group, Row};
use super::{Need, RegionId, World};

/// One picked instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picked {
    /// Its number: the place in the list given to [`Pool::build`](super::Pool::build).
    pub member: u32,
    /// Its weight, 0–65535.
    pub weight: u32,
    /// How warm it is after a recovery, in percent of its weight, 1–100.
    pub warmth: u8,
    /// Where it stands.
    pub region: RegionId,
}

/// Calls `take` for each instance of one answer, at most `limit`.
///
/// By systematic sampling: with total weight W and largest weight w, `k = min(limit, n, ⌊W/w⌋)` instances are answered, each with
/// probability k·weight/W, so that a client which takes any of them at random reaches each in proportion to its weight. Instances of
/// weight zero are left out unless all are of weight zero: then all are equal. An instance that recovers weighs as much as it is warm.
///
/// For n instances in g localities that takes g + k·log n steps, whatever n is; n only where there is more to look at: tags are asked
/// for, an instance is out of answers for a part of the clients, weighs nothing, or lacks what is needed and others of its locality have.
#[inline]
pub fn pick<W: World>(world: &W, selection: &Selection<'_>, need: Need, limit: usize, draw: u64, mut take: impl FnMut(Picked)) {
    pick_each(world, selection, need, limit, draw, &mut take);
}

/// [`pick`], once for all that is done with what is picked: a call for each costs less than the code five times for each caller.
#[inline(never)]
fn pick_each<W: World>(world: &W, selection: &Selection<'_>, need: Need, limit: usize, draw: u64, take: &mut dyn FnMut(Picked)) {
    let lot = Lot::new(world, selection, need);
    let sums = lot.sums();
    let count = sums.count(selection, limit);
    if count == 0 {
        return;
    }
    match selection.sampling {
        Sampling::InOrder => lot.take_in_order(&sums, count, take),
        Sampling::Sticky => lot.settled(&sums).into_iter().for_each(|row| take(picked(row, selection.pool.group_of(row)))),
        _ if count as u64 == sums.eligible => {
            for run in lot.groups.iter().filter_map(|group| lot.run(group)) {
                lot.rows(run).filter(|row| sums.can_pick(row)).for_each(|row| take(picked(row, run.group)));
            }
        }
        sampling => lot.sample(&sums, sampling, count, draw, take),
    }
}

/// The distribution that [`pick`] draws from: each instance that takes part and the probability with which it stands in an answer.
pub fn expected_shares<W: World>(world: &W, selection: &Selection<'_>, need: Need, limit: usize) -> Vec<(Picked, f64)> {
    let lot = Lot::new(world, selection, need);
    let sums = lot.sums();
    let count = sums.count(selection, limit);
    let all = lot.runs().flat_map(|run| lot.rows(run).map(move |row| picked(row, run.group)));
    match selection.sampling {
        Sampling::InOrder => {
            let first: Vec<u32> = lot.in_order(&sums).take(count).map(|row| row.member).collect();
            let mut all: Vec<Picked> = all.collect();
            all.sort_by_key(|picked| picked.member);
            all.into_iter().map(|picked| (picked, if first.contains(&picked.member) { 1.0 } else { 0.0 })).collect()
        }
        Sampling::Sticky => {
            let settled = lot.settled(&sums).filter(|_| count > 0).map(|row| row.member);
            all.map(|picked| (picked, if settled == Some(picked.member) { 1.0 } else { 0.0 })).collect()
        }
        sampling => {
            let total = sums.total(sampling) as f64;
            let share = |row: &Row| count as f64 * sums.weigh(row, sampling) as f64 / total;
            all.map(|picked| (picked, share(selection.pool.row(picked.member)))).collect()
        }
    }
}

#[inline]
fn picked(row: &Row, group: &Group) -> Picked {
    Picked { member: row.member, weight: row.weight(), warmth: row.warmth(), region: group.region }
}
