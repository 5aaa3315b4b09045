//! The pick: which of the chosen instances stand in one answer.

use super::hash;
use super::pool::{Group, Row};
use super::sieve::{Gate, Sieve};
use super::{LocalityId, Need, Pool, RegionId, ServiceId, Standing, World};

/// Instances of one service on one level, down to a standing.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'w> {
    /// The service.
    pub service: ServiceId,
    /// Its pool.
    pub pool: &'w Pool,
    /// What the name and the branches narrow it to.
    pub(super) sieve: Sieve,
    /// Only this region, where the level is one.
    pub region: Option<RegionId>,
    /// Only this locality, where the level is an az.
    pub locality: Option<LocalityId>,
    /// Not this locality: it is a level of its own, before this one.
    pub except: Option<LocalityId>,
    /// The worst standing that takes part.
    pub standing: Standing,
    /// How instances are chosen where not all can stand in one answer.
    pub sampling: Sampling,
    /// Most instances that the policy allows in one answer (`weighted`: 1); the answer's own limit holds beside it.
    pub most: u16,
    /// For which client: some instances may be out of answers for a part of them.
    pub gate: Gate,
}

/// How a pick chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// The first ones, in the order of their numbers; nothing is drawn (`simple`).
    InOrder,
    /// By systematic sampling with probability in proportion to the weight.
    ByWeight,
    /// By systematic sampling, each as likely as the other: for answers that carry the weights themselves.
    Equally,
    /// The one that the client settles on by its hash, each in proportion to its weight: the same one for every query.
    Sticky,
}

impl Selection<'_> {
    /// The same instances for an answer that carries their weights (SRV, RFC 2782): the client draws by them, so the pick must not
    /// do it as well, and as many stand in the answer as it can hold. Where the policy answers one instance, that is drawn still.
    pub fn carrying_weights(mut self) -> Self {
        if self.sampling == Sampling::ByWeight && self.most > 1 {
            self.sampling = Sampling::Equally;
        }
        self
    }
}

/// One picked instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picked {
    /// Its number: the place in the list given to [`Pool::build`].
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

/// The instances that take part.
struct Lot<'a, W> {
    world: &'a W,
    selection: &'a Selection<'a>,
    /// Those of the selection's region.
    groups: &'a [Group],
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
struct Run<'a> {
    group: &'a Group,
    rows: &'a [Row],
    /// All rows take part, and each weighs something: what they come to is known.
    whole: bool,
}

impl<'a, W: World> Lot<'a, W> {
    #[inline(always)]
    fn new(world: &'a W, selection: &'a Selection<'a>, need: Need) -> Lot<'a, W> {
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
    fn runs(&self) -> impl Iterator<Item = Run<'a>> {
        self.groups.iter().filter_map(|group| self.run(group))
    }

    /// What takes part of a group, if anything. Every answer goes through here for each group twice: worth no call.
    #[inline(always)]
    fn run(&self, group: &'a Group) -> Option<Run<'a>> {
        if !self.has_group(group) {
            return None;
        }
        let rows = self.rows.get(group.range(self.selection.standing)).unwrap_or_default();
        let whole = self.plain && group.is_even(self.need);
        (!rows.is_empty()).then_some(Run { group, rows, whole })
    }

    /// The rows of a run that take part.
    #[inline]
    fn rows(&self, run: Run<'a>) -> impl Iterator<Item = &'a Row> {
        run.rows.iter().filter(move |row| run.whole || self.has_row(row))
    }

    /// Those that can be picked, in the order of member numbers.
    fn in_order(&self, sums: &Sums) -> impl Iterator<Item = &'a Row> {
        self.selection.pool.rows_by_member().filter(move |row| self.takes_part(row) && sums.can_pick(row))
    }

    #[inline(never)]
    fn take_in_order(&self, sums: &Sums, count: usize, take: &mut dyn FnMut(Picked)) {
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
    fn sums(&self) -> Sums {
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
    fn sample(&self, sums: &Sums, sampling: Sampling, count: usize, draw: u64, take: &mut dyn FnMut(Picked)) {
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
    fn settled(&self, sums: &Sums) -> Option<&'a Row> {
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

#[derive(Default)]
struct Sums {
    /// How many can be picked at all.
    eligible: u64,
    weights: u64,
    largest: u64,
    all_zero: bool,
}

impl Sums {
    /// How many instances stand in an answer, which counts its records with 16 bits (RFC 1035 §4.1.1).
    #[inline]
    fn count(&self, selection: &Selection<'_>, limit: usize) -> usize {
        let most = limit.min(selection.most.into()).min(self.eligible as usize);
        match selection.sampling {
            Sampling::Sticky => most.min(1),
            Sampling::ByWeight if most as u64 * self.largest > self.weights => (self.weights / self.largest) as usize,
            _ => most,
        }
    }

    #[inline]
    fn total(&self, sampling: Sampling) -> u64 {
        if sampling == Sampling::ByWeight { self.weights } else { self.eligible }
    }

    #[inline]
    fn can_pick(&self, row: &Row) -> bool {
        self.all_zero || row.weight() > 0
    }

    /// What a row weighs in the draw.
    #[inline]
    fn weigh(&self, row: &Row, sampling: Sampling) -> u64 {
        match sampling {
            _ if self.all_zero => 1,
            Sampling::ByWeight => row.warm_weight(),
            Sampling::Equally | Sampling::InOrder | Sampling::Sticky => u64::from(row.weight() > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::super::fixture::{Fixture, members};
    use super::*;
    use crate::model::PolicyKind;
    use proptest::prelude::*;

    /// Instances by their weights, all in one az; the pool stands in a fixture that knows its places.
    fn pool(fixture: &Fixture, text: &str) -> Pool {
        let tree = fixture.tree(r#"{"policy":"simple","branches":[{"records":{"A":["x"]}}]}"#);
        let members = members(&fixture.places, text);
        Pool::build(tree, &members, &fixture.places)
    }

    fn selection(pool: &Pool, sampling: Sampling, most: u16) -> Selection<'_> {
        let (sieve, standing) = (Sieve::default(), Standing::Healthy);
        let gate = Gate { hash: 0, honours: true };
        Selection { service: ServiceId(0), pool, sieve, region: None, locality: None, except: None, standing, most, sampling, gate }
    }

    fn picks(fixture: &Fixture, selection: &Selection<'_>, limit: usize, draw: u64) -> Vec<u32> {
        let mut found = Vec::new();
        pick(fixture, selection, Need::ANY, limit, draw, |p| found.push(p.member));
        found
    }

    /// How often each instance is answered, over draws spread evenly; they agree with the shares to within one draw.
    fn check_shares(fixture: &Fixture, selection: &Selection<'_>, limit: usize) {
        let steps = 1024u64;
        let shares = expected_shares(fixture, selection, Need::ANY, limit);
        let mut found = vec![0u64; selection.pool.len()];
        let mut sizes = std::collections::BTreeSet::new();
        for step in 0..steps {
            let picked = picks(fixture, selection, limit, step * (u64::MAX / steps + 1));
            sizes.insert(picked.len());
            assert!(picked.windows(2).all(|w| w[0] != w[1]), "nobody stands twice in {picked:?}");
            picked.iter().for_each(|member| found[*member as usize] += 1);
        }
        assert!(sizes.len() <= 1, "each answer is of one size: {sizes:?}");
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        assert!((sum - *sizes.first().unwrap() as f64).abs() < 1e-6);
        for (picked, share) in shares {
            let exact = share * steps as f64;
            assert!(
                (found[picked.member as usize] as f64 - exact).abs() <= 1.0,
                "{picked:?}: {} of {exact}",
                found[picked.member as usize]
            );
        }
    }

    #[test]
    fn shares_are_exactly_in_proportion_to_the_weights() {
        let fixture = Fixture::new(&[]);
        let check = |text: &str, limit: usize, size: usize| {
            let pool = pool(&fixture, text);
            let selection = selection(&pool, Sampling::ByWeight, u16::MAX);
            assert_eq!(picks(&fixture, &selection, limit, 1 << 63).len(), size, "{text}, at most {limit}");
            check_shares(&fixture, &selection, limit);
        };
        check("eu/1:h eu/1:h eu/1:h", 8, 3);
        check("eu/1:h eu/1:h eu/1:h", 2, 2);
        check("eu/1:h*90 eu/1:h*10", 8, 1);
        check("eu/1:h*100 eu/1:h*100 eu/1:h*50 eu/2:h*50", 8, 3);
        check("eu/1:h*65535 us/1:h*65535 eu/1:h*1", 8, 2);
        check("eu/1:h*0 eu/1:h*7 us/1:h*7", 8, 2);
        check("eu/1:h*0 eu/1:h*0", 8, 2);
        check("eu/1:h*0 eu/1:h*0 eu/1:h*0", 1, 1);
        check("eu/1:h*3 eu/1:h*1 eu/1:h*4 eu/1:h*1 eu/1:h*5 eu/1:h*9 eu/1:h*2 eu/1:h*6", 3, 3);
        check("", 8, 0);
    }

    #[test]
    fn an_answer_that_carries_weights_is_not_drawn_by_them() {
        let fixture = Fixture::new(&[]);
        let pool = pool(&fixture, "eu/1:h*90 eu/1:h*10 eu/1:h*0");
        let check = |most: u16, sampling: Sampling, carried: &[u32]| {
            let carrying = selection(&pool, sampling, most).carrying_weights();
            assert_eq!(picks(&fixture, &carrying, 32, 1 << 63), carried);
        };
        check(u16::MAX, Sampling::ByWeight, &[0, 1]);
        check(1, Sampling::ByWeight, &[0]);
        check(u16::MAX, Sampling::InOrder, &[0, 1]);
        let many = self::pool(&fixture, "eu/1:h*90 eu/1:h*10 eu/1:h*5 eu/1:h*0");
        check_shares(&fixture, &selection(&many, Sampling::Equally, u16::MAX), 2);
    }

    #[test]
    fn a_pick_holds_what_the_selection_and_the_need_say() {
        let mut fixture = Fixture::new(&[]);
        let mut list = members(&fixture.places, "us/1:h eu/1:h#blue eu/2:h eu/1:p ap/1:u eu/1:d eu/1:l");
        list[1].has = Need::V4.and(Need::V6);
        let tree = fixture.tree(r#"{"policy":"simple","branches":[{"records":{"A":["x"]}}]}"#);
        let pool = Pool::build(tree, &list, &fixture.places);
        let eu = fixture.region("eu");
        let locality = |n: u32| Some(pool.locality(n));
        let all = selection(&pool, Sampling::ByWeight, u16::MAX);
        let check = |fixture: &Fixture, selection: Selection<'_>, need: Need, expected: &[u32]| {
            let mut found = Vec::new();
            pick(fixture, &selection, need, 64, 0, |p| found.push(p.member));
            assert_eq!(found, expected);
        };
        check(&fixture, all, Need::ANY, &[1, 2, 0]);
        check(&fixture, Selection { sampling: Sampling::InOrder, ..all }, Need::ANY, &[0, 1, 2]);
        check(&fixture, all, Need::V6, &[1]);
        check(&fixture, all, Need::V4.and(Need::port(0)), &[]);
        check(&fixture, Selection { region: Some(eu), ..all }, Need::ANY, &[1, 2]);
        check(&fixture, Selection { locality: locality(2), ..all }, Need::ANY, &[2]);
        check(&fixture, Selection { region: Some(eu), except: locality(2), ..all }, Need::ANY, &[1]);
        check(&fixture, Selection { sieve: pool.sieve(&Filter::default().with_tag(b"blue")), ..all }, Need::ANY, &[1]);
        check(&fixture, Selection { standing: Standing::Pending, ..all }, Need::ANY, &[1, 3, 2, 0]);
        check(&fixture, Selection { standing: Standing::LastGood, ..all }, Need::ANY, &[1, 3, 6, 2, 0]);
        check(&fixture, Selection { standing: Standing::Drained, ..all }, Need::ANY, &[4, 1, 3, 6, 2, 0]);
        check(&fixture, Selection { standing: Standing::Drained, sampling: Sampling::InOrder, ..all }, Need::ANY, &[0, 1, 2, 3, 4, 6]);
        fixture.drained.extend(locality(1));
        check(&fixture, all, Need::ANY, &[2, 0]);
        check(&fixture, Selection { sampling: Sampling::InOrder, ..all }, Need::ANY, &[0, 2]);
        assert_eq!((pool.len(), pool.members_healthy(), pool.standing(5), pool.steady_ms()), (7, 3, Standing::Drained, 1000));
        assert!(pool.knows_tag(b"blue") && !pool.knows_tag(b"red") && pool.has(1, Need::V6) && !pool.has(0, Need::V6));
    }

    #[test]
    fn weighted_and_multivalue_limit_their_answers() {
        let json = |kind: PolicyKind| format!(r#"{{"policy":"{}"}}"#, format!("{kind:?}").to_lowercase());
        let twenty = "eu/1:h ".repeat(20);
        for (kind, size) in [(PolicyKind::Weighted, 1), (PolicyKind::Multivalue, 8), (PolicyKind::Simple, 20), (PolicyKind::Nearest, 20)] {
            let fixture = Fixture::new(&[("web", &json(kind), &twenty)]);
            let start = super::super::Start::Service(ServiceId(0), &Filter::ALL);
            assert_eq!(fixture.answer(start, "eu", 5, 0).split(',').count(), size, "{kind:?}");
        }
    }

    /// What is known of a locality without looking at its rows is what looking at them shows.
    #[test]
    fn rows_need_not_be_looked_at() {
        let fixture = Fixture::new(&[]);
        for seed in 0..300u64 {
            let roll = |n: u64, of: u64| hash::mix(seed, n) % of;
            let standings = ["h", "h", "h", "p", "l", "u", "d"];
            let word = |n: u64| {
                let (region, az) = (["eu", "us"][roll(n, 2) as usize], 1 + roll(n + 100, 2));
                let weight = if roll(n + 200, 60) == 0 { 0 } else { 1 + roll(n + 300, 60) };
                let warmth = if roll(n + 400, 5) == 0 { 1 + roll(n + 500, 100) } else { 100 };
                format!("{region}/{az}:{}*{weight}%{warmth}#x", standings[roll(n + 600, 7) as usize])
            };
            let text: Vec<String> = (0..1 + roll(1000, 60)).map(word).collect();
            let mut list = members(&fixture.places, &text.join(" "));
            if seed % 3 == 0 {
                list.iter_mut().step_by(2).for_each(|member| member.has = Need::V4.and(Need::V6));
            }
            let tree = fixture.tree(r#"{"policy":"simple","branches":[{"records":{"A":["x"]}}]}"#);
            let pool = Pool::build(tree, &list, &fixture.places);
            for sampling in [Sampling::ByWeight, Sampling::Equally, Sampling::InOrder, Sampling::Sticky] {
                for (n, standing) in [Standing::Healthy, Standing::Pending, Standing::Unhealthy].into_iter().enumerate() {
                    let region = (roll(n as u64 + 2000, 2) == 0).then(|| fixture.region("eu"));
                    let known = Selection { standing, region, ..selection(&pool, sampling, u16::MAX) };
                    // All bear the tag, but that is found out row by row.
                    let looked_at = Selection { sieve: pool.sieve(&Filter::default().with_tag(b"x")), ..known };
                    for (need, limit) in [(Need::V4, 1), (Need::V4, 5), (Need::V6, 3), (Need::ANY, 64)] {
                        let draw = hash::mix(seed, limit as u64 + 3000);
                        let picks = |selection: &Selection<'_>| {
                            let mut found = Vec::new();
                            pick(&fixture, selection, need, limit, draw, |picked| found.push(picked));
                            (found, expected_shares(&fixture, selection, need, limit))
                        };
                        assert_eq!(picks(&known), picks(&looked_at), "{text:?} {sampling:?} {standing:?} {need:?} {limit}");
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn shares_hold_for_all_weights_and_limits(weights in prop::collection::vec(prop_oneof![0u32..4, 0u32..300, Just(65_535)], 1..30), limit in 1usize..12) {
            let fixture = Fixture::new(&[]);
            let text: Vec<String> = weights.iter().enumerate().map(|(n, w)| format!("{}/{}:h*{w}", ["eu", "us"][n % 2], 1 + n % 3 % 2)).collect();
            let pool = pool(&fixture, &text.join(" "));
            for sampling in [Sampling::ByWeight, Sampling::Equally, Sampling::InOrder] {
                check_shares(&fixture, &selection(&pool, sampling, u16::MAX), limit);
            }
        }
    }
}
