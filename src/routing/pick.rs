//! The pick: which of the chosen instances stand in one answer.

use super::hash;
use super::pool::{Gate, Group, Row, Sieve};
use super::{Filter, LocalityId, Need, Pool, RegionId, ServiceId, Standing, World};

/// Instances of one service on one level, down to a standing.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'w> {
    /// The service.
    pub service: ServiceId,
    /// Its pool.
    pub pool: &'w Pool,
    /// What the name and the branches narrow it to.
    pub filter: Filter<'w>,
    /// Only this region, where the level is one.
    pub region: Option<RegionId>,
    /// Only this locality, where the level is an az.
    pub locality: Option<LocalityId>,
    /// Not this locality: it is a level of its own, before this one.
    pub except: Option<LocalityId>,
    /// The worst standing that takes part.
    pub standing: Standing,
    /// Most instances that the policy allows in one answer (`weighted`: 1); the answer's own limit holds beside it.
    pub most: usize,
    /// How instances are chosen where not all can stand in one answer.
    pub sampling: Sampling,
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
    /// The one that the client of this hash settles on: by weighted rendezvous, the same one for every query.
    Sticky(u64),
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
}

/// Calls `take` for each instance of one answer, at most `limit`.
///
/// By systematic sampling: with total weight W and largest weight w, `k = min(limit, n, ⌊W/w⌋)` instances are answered, each with
/// probability k·weight/W, so that a client which takes any of them at random reaches each in proportion to its weight. Instances of
/// weight zero are left out unless all are of weight zero: then all are equal. An instance that recovers weighs as much as it is warm.
pub fn pick<W: World>(world: &W, selection: &Selection<'_>, need: Need, limit: usize, draw: u64, mut take: impl FnMut(Picked)) {
    let lot = Lot::new(world, selection, need);
    let sums = lot.sums();
    let count = sums.count(selection, limit);
    let eligible = |row: &&Row| sums.weigh(row, Sampling::InOrder) > 0;
    if count == 0 {
        return;
    }
    if selection.sampling == Sampling::InOrder {
        return lot.in_order().filter(eligible).take(count).for_each(|row| take(picked(row)));
    }
    if let Sampling::Sticky(client) = selection.sampling {
        let score = |row: &Row| hash::score(client, row.seed(), sums.weigh(row, Sampling::ByWeight) as f64);
        let best = lot.rows().filter(eligible).max_by(|a, b| score(a).total_cmp(&score(b)));
        return best.into_iter().for_each(|row| take(picked(row)));
    }
    if count as u64 == sums.eligible {
        return lot.rows().filter(eligible).for_each(|row| take(picked(row)));
    }
    // Points at (u + j)·W/k for j in 0…k−1, where u = draw / 2⁶⁴. A point lies below a bound C where (u + j)·W < C·k, and since C·k is
    // whole, where ⌊u·W⌋ + j·W < C·k: exact in 64 bits, as weights sum to less than 2⁴⁸ and k is less than 2¹⁶. No weight exceeds the
    // distance W/k of two points, so no instance holds two.
    let total = sums.total(selection.sampling);
    let mut point = ((u128::from(draw) * u128::from(total)) >> 64) as u64;
    let mut covered = 0;
    let mut left = count;
    for row in lot.rows() {
        covered += sums.weigh(row, selection.sampling) * count as u64;
        if point < covered {
            take(picked(row));
            point += total;
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }
}

/// The distribution that [`pick`] draws from: each instance that takes part and the probability with which it stands in an answer.
pub fn expected_shares<W: World>(world: &W, selection: &Selection<'_>, need: Need, limit: usize) -> Vec<(Picked, f64)> {
    let lot = Lot::new(world, selection, need);
    let sums = lot.sums();
    let count = sums.count(selection, limit);
    if selection.sampling == Sampling::InOrder {
        let mut left = count;
        let mut share = |row: &Row| match left > 0 && sums.weigh(row, Sampling::InOrder) > 0 {
            true => {
                left -= 1;
                1.0
            }
            false => 0.0,
        };
        return lot.in_order().map(|row| (picked(row), share(row))).collect();
    }
    if let Sampling::Sticky(_) = selection.sampling {
        let mut settled = None;
        pick(world, selection, need, limit, 0, |picked| settled = Some(picked.member));
        return lot.rows().map(|row| (picked(row), if settled == Some(row.member) { 1.0 } else { 0.0 })).collect();
    }
    let total = sums.total(selection.sampling) as f64;
    let share = |row: &Row| count as f64 * sums.weigh(row, selection.sampling) as f64 / total;
    lot.rows().map(|row| (picked(row), share(row))).collect()
}

fn picked(row: &Row) -> Picked {
    Picked { member: row.member, weight: row.weight(), warmth: row.warmth() }
}

/// The instances that take part.
struct Lot<'a, W> {
    world: &'a W,
    selection: &'a Selection<'a>,
    sieve: Sieve,
    need: Need,
}

impl<'a, W: World> Lot<'a, W> {
    fn new(world: &'a W, selection: &'a Selection<'a>, need: Need) -> Lot<'a, W> {
        Lot { world, selection, sieve: selection.pool.sieve(&selection.filter), need }
    }

    fn has_group(&self, group: &Group) -> bool {
        self.sieve.passes_group(group)
            && self.selection.region.is_none_or(|r| r == group.region)
            && self.selection.locality.is_none_or(|l| l == group.locality)
            && self.selection.except != Some(group.locality)
            && !self.selection.gate.shuts(self.world.out(group.locality).share)
    }

    fn has_row(&self, row: &Row) -> bool {
        let pool = self.selection.pool;
        row.has(self.need) && self.sieve.passes_row(pool, row) && !self.selection.gate.shuts(pool.out(row.member))
    }

    /// In the order of groups.
    fn rows(&self) -> impl Iterator<Item = &'a Row> {
        let pool = self.selection.pool;
        let groups = pool.groups(self.selection.region).iter().filter(|g| self.has_group(g));
        groups.flat_map(|g| pool.rows(g, self.selection.standing)).filter(|row| self.has_row(row))
    }

    /// In the order of member numbers.
    fn in_order(&self) -> impl Iterator<Item = &'a Row> {
        let pool = self.selection.pool;
        let standing = self.selection.standing.min(Standing::Unhealthy);
        pool.rows_by_member().filter(move |row| row.standing() <= standing && self.has_row(row) && self.has_group(pool.group_of(row)))
    }

    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        let mut all = 0;
        for row in self.rows() {
            let weight = row.warm_weight();
            all += 1;
            sums.eligible += u64::from(weight > 0);
            sums.weights += weight;
            sums.largest = sums.largest.max(weight);
        }
        if sums.weights == 0 {
            sums = Sums { eligible: all, weights: all, largest: all.min(1), all_zero: true };
        }
        sums
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
    fn count(&self, selection: &Selection<'_>, limit: usize) -> usize {
        let most = limit.min(selection.most).min(self.eligible as usize).min(u16::MAX.into());
        match selection.sampling {
            Sampling::Sticky(_) => most.min(1),
            Sampling::ByWeight if self.largest > 0 => most.min((self.weights / self.largest) as usize),
            _ => most,
        }
    }

    fn total(&self, sampling: Sampling) -> u64 {
        if sampling == Sampling::ByWeight { self.weights } else { self.eligible }
    }

    /// What a row weighs in the draw.
    fn weigh(&self, row: &Row, sampling: Sampling) -> u64 {
        match sampling {
            _ if self.all_zero => 1,
            Sampling::ByWeight | Sampling::Sticky(_) => row.warm_weight(),
            Sampling::Equally | Sampling::InOrder => u64::from(row.weight() > 0),
        }
    }
}

#[cfg(test)]
mod tests {
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

    fn selection(pool: &Pool, sampling: Sampling, most: usize) -> Selection<'_> {
        let (filter, standing) = (Filter::default(), Standing::Healthy);
        let gate = Gate { hash: 0, honours: true };
        Selection { service: ServiceId(0), pool, filter, region: None, locality: None, except: None, standing, most, sampling, gate }
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
            let selection = selection(&pool, Sampling::ByWeight, usize::MAX);
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
        let check = |most: usize, sampling: Sampling, carried: &[u32]| {
            let carrying = selection(&pool, sampling, most).carrying_weights();
            assert_eq!(picks(&fixture, &carrying, 32, 1 << 63), carried);
        };
        check(usize::MAX, Sampling::ByWeight, &[0, 1]);
        check(1, Sampling::ByWeight, &[0]);
        check(usize::MAX, Sampling::InOrder, &[0, 1]);
        let many = self::pool(&fixture, "eu/1:h*90 eu/1:h*10 eu/1:h*5 eu/1:h*0");
        check_shares(&fixture, &selection(&many, Sampling::Equally, usize::MAX), 2);
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
        let all = selection(&pool, Sampling::ByWeight, usize::MAX);
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
        check(&fixture, Selection { filter: Filter::default().with_tag(b"blue"), ..all }, Need::ANY, &[1]);
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
            let start = super::super::Start::Service(ServiceId(0), Filter::default());
            assert_eq!(fixture.answer(start, "eu", 5, 0).split(',').count(), size, "{kind:?}");
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
                check_shares(&fixture, &selection(&pool, sampling, usize::MAX), limit);
            }
        }
    }
}
