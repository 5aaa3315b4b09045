//! Shares are in proportion to weights, and a pick holds what was asked for.

use proptest::prelude::*;

use super::{Sampling, Selection, expected_shares, pick};
use crate::model::PolicyKind;
use crate::routing::fixture::{Fixture, members};
use crate::routing::sieve::{Gate, Sieve};
use crate::routing::{Filter, Need, Pool, ServiceId, Standing, Start, hash};

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
        assert!((found[picked.member as usize] as f64 - exact).abs() <= 1.0, "{picked:?}: {} of {exact}", found[picked.member as usize]);
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
        let start = Start::Service(ServiceId(0), &Filter::ALL);
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
