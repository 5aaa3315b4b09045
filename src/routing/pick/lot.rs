//! The instances that take part in a pick, and the ways to take some of them.

use super::sums::Sums;
use super::{Picked, Sampling, Selection, picked};
use crate::routing::pool::{Group, Row};
use crate::routing::{Need, Standing, World, hash};

/// The instances that take part.
pub(super) struct Lot<'a, W> {
    world: &'a W,
    selection: &'a Selection<'a>,
    /// Those of the selection's region.
    pub groups: &'a [Group],
    /// All rows of the pool.
    rows: &'a [Row],
    need: Need,
    /// All groups of the selection's region take part.
    open: bool,
    /// Of the rows of its groups all take part that have what is needed.
    plain: bool,
}

/// What takes part of one group.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub group: &'a Group,
    rows: &'a [Row],
    /// All rows take part, and each weighs something: what they come to is known.
    whole: bool,
}

impl<'a, W: World> Lot<'a, W> {
    #[inline(always)]
    pub fn new(world: &'a W, selection: &'a Selection<'a>, need: Need) -> Lot<'a, W> {
        let Selection { pool, sieve, region, locality, except, .. } = selection;
        let open = sieve.is_open() && locality.is_none() && except.is_none() && world.is_serving();
        let plain = !sieve.has_tags() && !pool.has_partial();
        Lot { world, selection, groups: pool.groups(*region), rows: pool.all_rows(), need, open, plain }
    }

    #[inline]
    fn has_group(&self, group: &Group) -> bool {
        self.open || self.admits(group)
    }

    #[inline(never)]
    fn admits(&self, group: &Group) -> bool {
        self.selection.sieve.passes_group(group)
            && self.selection.region.is_none_or(|r| r == group.region)
            && self.selection.locality.is_none_or(|l| l == group.locality)
            && self.selection.except != Some(group.locality)
            && !self.selection.gate.shuts(self.world.out(group.locality).share)
    }

    #[inline]
    fn has_row(&self, row: &Row) -> bool {
        row.has(self.need) && (self.plain || self.passes(row))
    }

    #[inline(never)]
    fn passes(&self, row: &Row) -> bool {
        let Selection { pool, sieve, gate, .. } = self.selection;
        sieve.passes_row(pool, row) && !gate.shuts(pool.out(row.member))
    }

    /// In the order of groups; none is empty.
    #[inline]
    pub fn runs(&self) -> impl Iterator<Item = Run<'a>> {
        self.groups.iter().filter_map(|group| self.run(group))
    }

    /// What takes part of a group, if anything. Every answer goes through here for each group twice: worth no call.
    #[inline(always)]
    pub fn run(&self, group: &'a Group) -> Option<Run<'a>> {
        if !self.has_group(group) {
            return None;
        }
        let rows = self.rows.get(group.range(self.selection.standing)).unwrap_or_default();
        let whole = self.plain && group.is_even(self.need);
        (!rows.is_empty()).then_some(Run { group, rows, whole })
    }

    /// The rows of a run that take part.
    #[inline]
    pub fn rows(&self, run: Run<'a>) -> impl Iterator<Item = &'a Row> {
        run.rows.iter().filter(move |row| run.whole || self.has_row(row))
    }

    /// Those that can be picked, in the order of member numbers.
    pub fn in_order(&self, sums: &Sums) -> impl Iterator<Item = &'a Row> {
        self.selection.pool.rows_by_member().filter(move |row| self.takes_part(row) && sums.can_pick(row))
    }

    #[inline(never)]
    pub fn take_in_order(&self, sums: &Sums, count: usize, take: &mut dyn FnMut(Picked)) {
        if self.selection.pool.is_in_order() {
            let all = self.runs().flat_map(|run| self.rows(run).map(move |row| (row, run.group)));
            let first = all.filter(|(row, _)| sums.can_pick(row)).take(count);
            return first.for_each(|(row, group)| take(picked(row, group)));
        }
        self.in_order(sums).take(count).for_each(|row| take(picked(row, self.selection.pool.group_of(row))));
    }

    fn takes_part(&self, row: &Row) -> bool {
        let Selection { pool, standing, region, .. } = self.selection;
        let everywhere = self.open && region.is_none();
        row.standing() <= (*standing).min(Standing::Unhealthy) && self.has_row(row) && (everywhere || self.admits(pool.group_of(row)))
    }

    #[inline(always)]
    pub fn sums(&self) -> Sums {
        let Selection { pool, region, standing, .. } = self.selection;
        let healthy = pool.healthy();
        if self.open && self.plain && region.is_none() && *standing == Standing::Healthy && healthy.is_even(self.need) {
            let (eligible, weights, largest) = (healthy.instances.into(), healthy.weights, healthy.largest.into());
            return Sums { eligible, weights, largest, all_zero: false };
        }
        self.sums_of_groups()
    }

    fn sums_of_groups(&self) -> Sums {
        let mut sums = Sums::default();
        let mut all = 0;
        for group in self.groups {
            let Some(run) = self.run(group) else { continue };
            match run.rows.last().filter(|_| run.whole) {
                Some(last) => {
                    all += run.rows.len() as u64;
                    sums.eligible += run.rows.len() as u64;
                    sums.weights += last.through();
                    sums.largest = sums.largest.max(run.group.largest(self.selection.standing));
                }
                None => {
                    let (count, of_rows) = self.sums_of(run);
                    all += count;
                    sums.eligible += of_rows.eligible;
                    sums.weights += of_rows.weights;
                    sums.largest = sums.largest.max(of_rows.largest);
                }
            }
        }
        if sums.weights == 0 {
            sums = Sums { eligible: all, weights: all, largest: all.min(1), all_zero: true };
        }
        sums
    }

    /// How many rows of a run take part, and what they come to.
    #[inline(never)]
    fn sums_of(&self, run: Run<'a>) -> (u64, Sums) {
        let (mut all, mut sums) = (0, Sums::default());
        for row in self.rows(run) {
            let weight = row.warm_weight();
            all += 1;
            sums.eligible += u64::from(weight > 0);
            sums.weights += weight;
            sums.largest = sums.largest.max(weight);
        }
        (all, sums)
    }

    /// Takes `count` by systematic sampling.
    #[inline(always)]
    pub fn sample(&self, sums: &Sums, sampling: Sampling, count: usize, draw: u64, take: &mut dyn FnMut(Picked)) {
        // Points at (u + j)·W/k for j in 0…k−1, where u = draw / 2⁶⁴. A point lies below a bound C where (u + j)·W < C·k, and since C·k
        // is whole, where ⌊u·W⌋ + j·W < C·k: exact in 64 bits, as weights sum to less than 2⁴⁸ and k is less than 2¹⁶. No weight exceeds
        // the distance W/k of two points, so no instance holds two.
        let (total, k) = (sums.total(sampling), count as u64);
        let mut point = ((u128::from(draw) * u128::from(total)) >> 64) as u64;
        let mut left = count;
        // The bound of what lies before the run.
        let mut covered = 0;
        for group in self.groups {
            let Some(run) = self.run(group) else { continue };
            if !run.whole {
                (covered, point, left) = self.sample_rows(run, sums, sampling, (covered, point, left), k, take);
                if left == 0 {
                    return;
                }
                continue;
            }
            let equal = sampling == Sampling::Equally;
            let end = covered + if equal { run.rows.len() as u64 } else { run.rows.last().map_or(0, Row::through) };
            let mut at = 0;
            while point < end * k {
                at = if equal { (point / k - covered) as usize } else { seek(run.rows, at, |row| (covered + row.through()) * k <= point) };
                let Some(row) = run.rows.get(at) else { break };
                take(picked(row, run.group));
                point += total;
                left -= 1;
                if left == 0 {
                    return;
                }
            }
            covered = end;
        }
    }

    /// Takes those of a run's rows that points lie in; what is covered by then, the next point, and how many are left to be taken.
    #[inline(never)]
    fn sample_rows(
        &self,
        run: Run<'a>,
        sums: &Sums,
        sampling: Sampling,
        (mut covered, mut point, mut left): (u64, u64, usize),
        k: u64,
        take: &mut dyn FnMut(Picked),
    ) -> (u64, u64, usize) {
        for row in self.rows(run) {
            covered += sums.weigh(row, sampling);
            if point < covered * k {
                take(picked(row, run.group));
                point += sums.total(sampling);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        (covered, point, left)
    }

    /// The one that the client settles on, of those that can be picked.
    #[inline(never)]
    pub fn settled(&self, sums: &Sums) -> Option<&'a Row> {
        let Selection { pool, gate, .. } = *self.selection;
        if let Some(slots) = pool.slots() {
            let mut tried = slots.tried(gate.hash).map(|(member, weight)| (pool.row(member), weight));
            let found = tried.find(|(row, weight)| (sums.all_zero || *weight < row.warm_weight()) && self.takes_part(row));
            if let Some((row, _)) = found {
                return Some(row);
            }
        }
        let score = |row: &Row| hash::score(gate.hash, row.seed(), sums.weigh(row, Sampling::ByWeight) as f64);
        let rows = self.runs().flat_map(|run| self.rows(run));
        rows.filter(|row| sums.can_pick(row)).max_by(|a, b| score(a).total_cmp(&score(b)))
    }
}

/// The first row from `at` on that is not before what is sought; they are in order.
#[inline]
fn seek(rows: &[Row], at: usize, is_before: impl Fn(&Row) -> bool) -> usize {
    const NEAR: usize = 8;
    let rest = rows.get(at..).unwrap_or_default();
    match rest.iter().take(NEAR).position(|row| !is_before(row)) {
        Some(near) => at + near,
        None => at + rest.len().min(NEAR) + rest.get(NEAR..).unwrap_or_default().partition_point(is_before),
    }
}
