//! A pool after changes of health: some instances stand otherwise than before, and nothing else has changed.
//!
//! Rows move within their groups, whose ends and sums are counted anew. Nothing is sorted by name, hashed or looked up, and what does not
//! depend on health is shared with the pool before.

use super::build::row_of;
use super::{Body, Group, Healthy, Pool, Row, Standing};

/// How an instance stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stance {
    /// Its number.
    pub member: u32,
    /// How it stands.
    pub standing: Standing,
    /// In percent of the weight, 1–100.
    pub warmth: u8,
}

/// Groups and rows that are fetched ahead; more of them are read in their order, which the processor guesses.
const FETCHED: usize = 16;

impl Pool {
    /// This pool with some instances standing as given: what [`Pool::build`] makes of all of them. One that is named twice stands as said
    /// last. `steady_ms`: in which no standing of all of them can change.
    pub fn restand(&self, stances: &[Stance], steady_ms: u32) -> Pool {
        let Body { tree, groups, rows, particulars, .. } = &*self.body;
        let (mut groups, mut rows) = (groups.clone(), rows.clone());
        let mut touched: Vec<usize> = Vec::with_capacity(stances.len());
        for stance in stances {
            let at = self.row_at(stance.member);
            let row = &mut rows[at as usize];
            (row.standing, row.warmth) = (stance.standing, stance.warmth.clamp(1, 100));
            touched.push(self.group_at(at));
        }
        touched.sort_unstable();
        touched.dedup();
        for group in touched {
            groups[group].recount(&mut rows);
        }
        let body = Body {
            tree: tree.clone(),
            row_of: row_of(&rows),
            healthy: Healthy::of(&groups, &rows),
            groups,
            rows,
            particulars: particulars.clone(),
            steady_ms,
        };
        Pool { seed: self.seed, body: body.held() }
    }

    /// Reads what [`Pool::restand`] copies: a number that means nothing, but for which it had to be fetched.
    pub fn fetch(&self) -> usize {
        let Body { groups, rows, row_of, .. } = &*self.body;
        let (groups, rows) = (groups.iter().take(FETCHED), rows.iter().take(FETCHED));
        let row_of = row_of.first().copied().unwrap_or_default();
        groups.map(|group| group.start as usize).sum::<usize>() + rows.map(|row| usize::from(row.weight)).sum::<usize>() + row_of as usize
    }

    /// The members that stand so.
    pub fn standing_as(&self, standing: Standing) -> impl Iterator<Item = u32> + '_ {
        self.body.rows.iter().filter(move |row| row.standing == standing).map(|row| row.member)
    }

    /// The members that are not as warm as can be.
    pub fn warming(&self) -> impl Iterator<Item = u32> + '_ {
        self.body.rows.iter().filter(|row| row.warmth < 100).map(|row| row.member)
    }

    /// Whether any member is drained by itself or with the service.
    pub fn has_drained(&self) -> bool {
        self.body.groups.iter().any(|group| !self.drained_rows(group).is_empty())
    }
}

impl Group {
    /// Puts its rows in order again and counts them.
    fn recount(&mut self, rows: &mut [Row]) {
        let own = &mut rows[self.start as usize..self.end as usize];
        // All but a few are in order: that takes hardly more than one pass.
        own.sort_by_key(|row| (row.standing, row.member));
        (self.end, self.ends, self.largest, self.full) = (self.start, [self.start; 4], [0; 4], 0);
        let mut through = 0;
        for row in own {
            through += row.warm_weight();
            row.through = through;
            self.count(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Label, Share};
    use crate::routing::fixture::{Fixture, locality};
    use crate::routing::{Member, Need, seed_of};

    const AZS: [&str; 5] = ["eu/1", "eu/2", "us/1", "us/2", "ap/1"];
    const STANDINGS: [Standing; 5] = [Standing::Healthy, Standing::Pending, Standing::LastGood, Standing::Unhealthy, Standing::Drained];
    const POLICIES: [&str; 4] = [
        r#"{"policy":"nearest"}"#,
        r#"{"policy":"sticky"}"#,
        r#"{"policy":"weighted","panic_threshold":30}"#,
        r#"{"policy":"latency","branches":[{"region":"eu","tag":"blue"},{"region":"us","az":"1"},{"region":"ap","min_healthy":2}]}"#,
    ];

    /// Place, standing, weight, warmth, share drained, tag, what it has.
    type Drawn = (usize, usize, u32, u8, u8, bool, u64);

    fn drawn() -> impl Strategy<Value = Drawn> {
        let weight = prop_oneof![Just(0), Just(100), 1u32..70_000];
        let (warmth, out) = (prop_oneof![Just(100), 0u8..=100], prop_oneof![4 => Just(0), 1 => 1u8..100]);
        (0..AZS.len(), 0..STANDINGS.len(), weight, warmth, out, any::<bool>(), 0u64..64)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whoever turns, in however many steps, the pool is the one that is built of how all stand in the end, to the last sum: so are
        /// all decisions, picks and traces.
        #[test]
        fn a_pool_that_turned_is_the_pool_that_is_built(
            drawn in prop_oneof![prop::collection::vec(drawn(), 1..12), prop::collection::vec(drawn(), 60..80)],
            policy in prop::sample::select(&POLICIES[..]),
            steps in prop::collection::vec(prop::collection::vec((any::<usize>(), 0..STANDINGS.len(), 0u8..=100), 0..6), 1..6),
        ) {
            let fixture = Fixture::new(&[]);
            let member = |(n, (az, standing, weight, warmth, out, tag, has)): (usize, Drawn)| Member {
                locality: fixture.places.locality(&locality(AZS[az])).unwrap(),
                weight,
                warmth,
                standing: STANDINGS[standing],
                out: Share::of(f64::from(out) / 100.0),
                seed: seed_of(format!("i{n}").as_bytes()),
                has: Need(has),
                steady_ms: 1000,
                tags: if tag { vec![Label::parse("blue").unwrap()] } else { Vec::new() },
            };
            let mut members: Vec<Member> = drawn.into_iter().enumerate().map(member).collect();
            let tree = fixture.service_tree(policy);
            let mut pool = Pool::build(tree.clone(), &members, &fixture.places);
            for (n, step) in steps.into_iter().enumerate() {
                let steady_ms = n as u32 * 10;
                let stance = |(number, standing, warmth): (usize, usize, u8)| {
                    Stance { member: (number % members.len()) as u32, standing: STANDINGS[standing], warmth }
                };
                let stances: Vec<Stance> = step.into_iter().map(stance).collect();
                pool = pool.restand(&stances, steady_ms);
                members.iter_mut().for_each(|member| member.steady_ms = steady_ms);
                for stance in &stances {
                    let member = &mut members[stance.member as usize];
                    (member.standing, member.warmth) = (stance.standing, stance.warmth);
                }
                let built = Pool::build(tree.clone(), &members, &fixture.places);
                prop_assert_eq!(format!("{pool:?}"), format!("{built:?}"));
            }
        }
    }
}
