//! The decision: from a name's policy and a client to the instances or records that answer.

use std::net::IpAddr;

use super::hash::unmix;
use super::urn::draw_salt;
use super::walk::{Asker, Ground, Walk};
use super::{Filter, LocalityId, Origins, Places, Pool, Selection, ServiceId, Standing, Step, Trace, Tree};
use crate::model::{AllDown, Out, Share};

/// The world that a decision sees.
pub trait World {
    /// A service's instances; `None` where the slot is empty (the service is not registered yet).
    fn pool(&self, service: ServiceId) -> Option<&Pool>;
    /// How far the locality, or its region, is out of answers.
    fn out(&self, locality: LocalityId) -> Out;
    /// Whether no locality is out of answers, for whomever, nor about to be: then nobody needs to ask one by one.
    fn is_serving(&self) -> bool {
        false
    }
    /// Whether the locality, or its region, is drained for everybody.
    fn is_drained(&self, locality: LocalityId) -> bool {
        self.out(locality).share == Share::ALL
    }
    /// Regions and azs.
    fn places(&self) -> &Places;
    /// Where clients are.
    fn origins(&self) -> &Origins;
}

/// Where a decision starts.
#[derive(Debug, Clone, Copy)]
pub enum Start<'w> {
    /// A service's own policy, over the instances that match.
    Service(ServiceId, &'w Filter<'w>),
    /// The same where the service's pool is at hand.
    Pool(ServiceId, &'w Pool, &'w Filter<'w>),
    /// A name's policy.
    Tree(&'w Tree),
}

/// Most levels of one decision: the chosen one and `tiers` more.
pub const MAX_TIERS: usize = 4;

/// What answers.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'w> {
    /// Instances of a service.
    Instances(Selection<'w>),
    /// The tree's record sets of that branch: a range of their numbers.
    Records {
        /// The service whose policy holds them; `None`: the name's own.
        service: Option<ServiceId>,
        /// First record set.
        first: u16,
        /// How many.
        count: u16,
    },
}

/// The decision for one name and one client: the same for every type asked.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'w> {
    /// The chosen level, and further ones where asked for; `None` first: nothing to answer. The levels of one service's rule are
    /// disjoint; those of different branches may share instances where the branches do.
    pub tiers: [Option<Choice<'w>>; MAX_TIERS],
    /// The prefix length for which it holds; 0 when it does not depend on the client.
    pub scope: u8,
    /// Nothing was healthy; the answer is what `all_down` says.
    pub fail_open: bool,
    /// Too little of the chosen level was healthy, so that all of it answers (`panic_threshold`).
    pub panic: bool,
    /// The branch of the start's own policy through which it was found, by its number.
    pub branch: Option<u32>,
    /// Another draw might have come to another branch.
    pub drawn: bool,
    /// Milliseconds in which the standing of what was looked at cannot change.
    pub steady_ms: u32,
}

impl Decision<'_> {
    /// Nothing to answer, for nobody in particular, until something is decided.
    #[inline(always)]
    pub fn nothing<'w>() -> Decision<'w> {
        // Each by itself: a copy of the whole array would be some hundred octets.
        let tiers = [None, None, None, None];
        Decision { tiers, scope: 0, fail_open: false, panic: false, branch: None, drawn: false, steady_ms: u32::MAX }
    }

    /// The same for an answer that carries the weights of its instances, as [`Selection::carrying_weights`] says.
    pub fn carry_weights(&mut self) {
        for choice in self.tiers.iter_mut().flatten() {
            if let Choice::Instances(selection) = choice {
                *selection = selection.carrying_weights();
            }
        }
    }
}

/// One attempt: what counts as healthy in it.
#[derive(Clone, Copy)]
struct Round {
    standing: Standing,
    /// Whether `min_healthy` holds.
    strict: bool,
    /// Whether what is out of answers for a part of the clients is so for this one, if it is among them.
    gated: bool,
    /// Whether the last resort is tried, and nothing else.
    resort: bool,
    /// What the trace says of it.
    why: &'static str,
}

impl Round {
    const fn new(standing: Standing, why: &'static str) -> Round {
        Round { standing, strict: true, gated: true, resort: false, why }
    }

    const fn lax(self) -> Round {
        Round { strict: false, ..self }
    }
}

/// Healthy instances; where nothing can be answered with them, also those that wait for their first result.
const ROUNDS: [Round; 2] = [
    Round::new(Standing::Healthy, "healthy instances"),
    Round::new(Standing::Pending, "nothing healthy: also instances without a result yet"),
];

/// What stands aside until all is down, well or with too little of it.
const RESORT: [Round; 2] = [
    Round { resort: true, ..Round::new(Standing::Healthy, "all down: the last resort") },
    Round { resort: true, ..Round::new(Standing::Pending, "all down: the last resort, also without a result yet").lax() },
];

/// Where something was healthy, but less of it than `min_healthy` asks: better that than what is unhealthy (DESIGN §9, invariant 1).
const TOO_FEW: [Round; 2] = [
    Round::new(Standing::Healthy, "all down: the healthy ones, although fewer than min_healthy").lax(),
    Round::new(Standing::Pending, "all down: also those without a result, although fewer than min_healthy").lax(),
];

const LAST_GOOD: Round = Round::new(Standing::LastGood, "all down: what was healthy last counts as healthy").lax();
const ALL: Round = Round::new(Standing::Unhealthy, "all down: what is not drained counts as healthy").lax();

/// Decides for a client: the ECS prefix or the resolver's address. `draw` is the query's random number; `tiers` how many further levels
/// are wanted (at most [`MAX_TIERS`] − 1).
///
/// The tree is run with healthy instances; where nothing can be answered, with pending ones too, and then as the root's `all_down`
/// says. Inner policies signal failure up: their own `all_down`, and that of services below a name's policy, play no part. What is
/// drained is never answered.
pub fn decide<'w, W: World, T: Trace>(
    world: &'w W,
    start: Start<'w>,
    client: IpAddr,
    draw: u64,
    tiers: usize,
    trace: &mut T,
) -> Decision<'w> {
    let mut decision = Decision::nothing();
    decide_into(&mut decision, world, &start, &client, draw, tiers, trace);
    decision
}

/// [`decide`] into a decision that is [`Decision::nothing`] before: it is some hundred octets, which an answer has no time to move.
pub fn decide_into<'w, W: World, T: Trace>(
    decision: &mut Decision<'w>,
    world: &'w W,
    start: &Start<'w>,
    client: &IpAddr,
    draw: u64,
    tiers: usize,
    trace: &mut T,
) {
    let asker = Asker::new(client);
    let ground = match start {
        Start::Tree(tree) => Ground::of(tree, &asker),
        Start::Service(service, filter) => {
            let Some(pool) = world.pool(*service) else { return };
            Ground::within(*service, pool, pool.sieve(filter), &asker)
        }
        Start::Pool(service, pool, filter) => Ground::within(*service, pool, pool.sieve(filter), &asker),
    };
    let mut walk = Walk::new(world, asker, draw, &mut decision.tiers, tiers, trace);
    walk.threshold = ground.tree.panic_threshold();
    let fail_open = run(&mut walk, &ground);
    let Walk { scope, panic, branch, drawn, steady_ms, .. } = walk;
    (decision.scope, decision.fail_open, decision.panic) = (scope, fail_open, panic);
    (decision.branch, decision.drawn, decision.steady_ms) = (branch, drawn, steady_ms);
}

/// So many draws that stand for all: where the start's own policy draws among branches, each is drawn in proportion.
pub fn even_draws(start: Start<'_>, count: u64) -> impl Iterator<Item = u64> {
    let salt = draw_salt(
        match start {
            Start::Service(service, _) | Start::Pool(service, ..) => Some(service),
            Start::Tree(_) => None,
        },
        0,
    );
    (0..count).map(move |n| unmix((u128::from(2 * n + 1) * (1 << 63) / u128::from(count)) as u64, salt))
}

/// Goes through the rounds until something answers; whether that was after all was down.
fn run<'w, W: World, T: Trace>(walk: &mut Walk<'w, '_, W, T>, ground: &Ground<'w>) -> bool {
    if go_through(walk, ground, &ROUNDS) {
        return false;
    }
    let last: &[Round] = match ground.tree.all_down() {
        AllDown::Nodata => {
            walk.trace.step(|| Step::new(0, "round".into(), "nothing", "all down, and all_down = \"nodata\"".into()));
            return false;
        }
        AllDown::LastGood => &[LAST_GOOD, ALL],
        AllDown::All | AllDown::Resort => &[ALL],
    };
    (ground.tree.all_down() == AllDown::Resort && go_through(walk, ground, &RESORT))
        || (walk.short && go_through(walk, ground, &TOO_FEW))
        || last.iter().any(|round| go_through(walk, ground, &[*round]))
}

/// Goes through these rounds until something answers. What is on its way out of answers still serves others: where there is nothing
/// else, better that than nothing.
fn go_through<'w, W: World, T: Trace>(walk: &mut Walk<'w, '_, W, T>, ground: &Ground<'w>, rounds: &[Round]) -> bool {
    rounds.iter().any(|round| attempt(walk, ground, round))
        || (walk.gated && rounds.iter().any(|round| attempt(walk, ground, &Round { gated: false, ..*round })))
}

fn attempt<'w, W: World, T: Trace>(walk: &mut Walk<'w, '_, W, T>, ground: &Ground<'w>, round: &Round) -> bool {
    walk.standing = round.standing;
    walk.strict = round.strict;
    walk.honours = round.gated;
    walk.resort = round.resort;
    let moved = if round.gated { "" } else { "; nothing else: also what this client was moved away from" };
    walk.trace.step(|| Step::new(0, "round".into(), "runs", format!("{}{moved}", round.why)));
    walk.take(ground, 0)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, locality};
    use super::*;

    /// Draws that walk through all outcomes of small choices, with their seeds scattered by an odd factor.
    fn draws(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A service's own policy: instances, drained azs, client → answer.
    fn service(policy: &str, instances: &str, drained: &str, client: &str, expected: &str) {
        let mut world = Fixture::new(&[("web", policy, instances)]);
        world.drained = drained.split_whitespace().map(|az| world.places.locality(&locality(az)).unwrap()).collect();
        let answer = world.answer(Start::Service(ServiceId(0), &Filter::ALL), client, 7, 0);
        assert_eq!(answer, expected, "{policy} over {instances} without {drained} for {client}");
    }

    /// A name's policy over services, with further tiers.
    fn name(services: &[(&str, &str, &str)], policy: &str, tiers: usize, cases: &[(&str, &str)]) {
        let world = Fixture::new(services);
        let tree = world.tree(policy);
        for (client, expected) in cases {
            assert_eq!(world.answer(Start::Tree(&tree), client, 7, tiers), *expected, "{policy} for {client} over {services:?}");
        }
    }

    const NEAREST: &str = r#"{"policy":"nearest"}"#;

    #[test]
    fn nearest_goes_outward_to_the_first_level_with_a_healthy_instance() {
        service(NEAREST, "eu/1:h eu/2:h us/1:h", "", "eu/2", "web[1]@");
        service(NEAREST, "eu/1:h eu/2:u us/1:h", "", "eu/2", "web[0]@");
        service(NEAREST, "eu/1:u eu/2:u us/1:h ap/1:h", "", "eu/2", "web[2]@");
        service(NEAREST, "eu/1:h eu/2:h us/1:h", "", "eu", "web[0,1]@");
        service(NEAREST, "eu/1:h us/1:h ap/1:h", "", "~us", "web[1]@");
        service(NEAREST, "eu/1:h eu/2:h us/1:h", "eu/1 eu/2", "eu", "web[2]");
        service(NEAREST, "eu/1:h eu/2:h us/1:h us/2:h", "eu/1 eu/2", "eu/1", "web[2,3]@");
        service(NEAREST, "eu/1:h eu/2:h us/1:h", "", "?", "web[0,1,2]@");
        service(NEAREST, "eu/1:h eu/1:h", "", "us", "web[0,1]");
        service(NEAREST, "eu/1:h eu/1:u eu/2:u", "", "us", "web[0]");
        service(NEAREST, "", "", "eu", "-");
    }

    #[test]
    fn all_down_is_the_last_round_and_never_answers_what_is_drained() {
        service(NEAREST, "eu/1:u us/1:u", "", "us", "!web[1]@");
        service(NEAREST, "eu/1:u us/1:p", "", "eu", "web[1]");
        service(NEAREST, "eu/1:d us/1:u", "", "eu", "!web[1]");
        service(NEAREST, "eu/1:h us/1:u", "eu/1", "eu", "!web[1]");
        service(NEAREST, "eu/1:h us/1:u", "eu/1 us/1", "eu", "-");
        let last_good = r#"{"policy":"nearest","all_down":"last_good"}"#;
        service(last_good, "eu/1:u us/1:l", "", "eu", "!web[1]");
        service(last_good, "eu/1:u us/1:u", "", "eu", "!web[0]@");
        let nodata = r#"{"policy":"nearest","all_down":"nodata"}"#;
        service(nodata, "eu/1:u us/1:l", "", "eu", "-");
        service(nodata, "eu/1:u us/1:p", "", "eu", "web[1]");
    }

    #[test]
    fn min_healthy_is_counted_and_what_is_healthy_goes_before_what_is_not() {
        let two = r#"{"policy":"nearest","min_healthy":2}"#;
        service(two, "eu/1:h us/1:h us/1:u", "", "eu", "web[0]@");
        service(two, "eu/1:h us/1:u us/1:u", "", "us", "!web[0]");
        service(two, "eu/1:h us/1:p us/1:u", "", "us", "web[1]@");
        service(two, "us/1:p us/1:u", "", "us", "!web[0]");
        let web = |state: &'static str| [("web", NEAREST, state), ("far", NEAREST, "ap/1:h")];
        let policy = r#"{"policy":"failover","branches":[{"service":"web","min_healthy":2},{"service":"far"}]}"#;
        name(&web("eu/1:h us/1:h"), policy, 0, &[("eu", "web[0]@")]);
        name(&web("eu/1:h us/1:u"), policy, 0, &[("eu", "far[0]")]);
        let policy = r#"{"policy":"failover","branches":[
            {"policy":"latency","min_healthy":2,"branches":[{"service":"web","region":"eu"},{"service":"web","region":"us"}]},
            {"service":"far"}]}"#;
        name(&web("eu/1:h us/1:h"), policy, 0, &[("us", "web[1]@")]);
        name(&web("eu/1:h us/1:u"), policy, 0, &[("us", "far[0]")]);
    }

    #[test]
    fn simple_multivalue_failover_and_latency_over_a_service() {
        service(r#"{"policy":"simple"}"#, "us/1:h eu/1:u eu/1:h eu/2:h", "", "eu", "web[0,2,3]");
        // By the names of regions: their numbers depend on who came first (here eu, us, ap), and may differ after a restart.
        service(r#"{"policy":"failover"}"#, "us/1:h eu/1:u ap/1:h", "", "eu", "web[2]");
        service(r#"{"policy":"failover"}"#, "us/1:h eu/1:h ap/1:u", "", "eu", "web[1]");
        service(r#"{"policy":"latency"}"#, "ap/1:h us/1:h eu/1:u", "", "ap", "web[0]@");
        service(r#"{"policy":"latency"}"#, "ap/1:h us/1:h eu/1:h", "", "?", "web[0]@");
        service(r#"{"policy":"latency"}"#, "us/1:h us/2:h", "", "ap", "web[0,1]");
        let ten = "eu/1:h ".repeat(10);
        let world = Fixture::new(&[("web", r#"{"policy":"multivalue"}"#, &ten), ("one", r#"{"policy":"weighted"}"#, &ten)]);
        for draw in draws(100) {
            let most = |service| world.answer(Start::Service(ServiceId(service), &Filter::ALL), "?", draw, 0).split(',').count();
            assert_eq!((most(0), most(1)), (8, 1));
        }
    }

    #[test]
    fn what_moves_within_a_branch_shows_also_in_answers_of_those_behind_it() {
        let branches = r#"{"policy":"nearest","branches":[{"service":"web","region":"eu"},{"service":"web","region":"us"}]}"#;
        for instances in ["eu/1:h*0 eu/2:h us/1:h", "eu/1:h eu/2:h us/1:h"] {
            let mut world = Fixture::crowd(&[("web", NEAREST, instances)]);
            let tree = world.tree(branches);
            world.outs.insert(world.places.locality(&locality("eu/2")).unwrap(), Out { share: Share::of(0.5), moving: true });
            for n in 0..64 {
                let decision = decide(&world, Start::Tree(&tree), IpAddr::from([10, 0, n, 1]), 7, 0, &mut crate::routing::Silent);
                assert_eq!((decision.scope, decision.steady_ms), (24, 0), "client {n} of {instances}");
            }
        }
    }

    #[test]
    fn a_ramp_goes_on_where_all_is_down_or_too_little_is_healthy() {
        let two = r#"{"policy":"nearest","min_healthy":3}"#;
        let last_good = r#"{"policy":"nearest","all_down":"last_good"}"#;
        for (policy, instances) in
            [(NEAREST, "eu/1:u us/1:u"), (two, "eu/1:h us/1:h"), (two, "eu/1:h us/1:p"), (last_good, "eu/1:l us/1:l")]
        {
            let mut world = Fixture::crowd(&[("web", policy, instances)]);
            let az = world.places.locality(&locality("eu/1")).unwrap();
            let away = |world: &Fixture| -> Vec<u8> {
                let is_away =
                    |n: &u8| world.answer(Start::Service(ServiceId(0), &Filter::ALL), &format!("10.0.{n}.1"), 7, 0).contains("[1]");
                (0..=255).filter(is_away).collect()
            };
            assert!(away(&world).is_empty(), "{policy} {instances}");
            world.outs.insert(az, Out { share: Share::of(0.5), moving: true });
            let half = away(&world).len();
            assert!((96..160).contains(&half), "{half} of 256 have moved: {policy} over {instances}");
        }
        // Where there is nothing else, who was moved away is answered all the same.
        for (policy, instances) in [(NEAREST, "eu/1:u"), (two, "eu/1:h"), (last_good, "eu/1:l us/1:u")] {
            let mut world = Fixture::crowd(&[("web", policy, instances)]);
            world.outs.insert(world.places.locality(&locality("eu/1")).unwrap(), Out { share: Share::of(0.5), moving: true });
            for n in 0..64 {
                let answer = world.answer(Start::Service(ServiceId(0), &Filter::ALL), &format!("10.0.{n}.1"), 7, 0);
                assert!(answer.contains("web[0]"), "{answer} for {n}: {policy} over {instances}");
            }
        }
    }

    #[test]
    fn filters_combine_and_contradictions_match_nothing() {
        let world = Fixture::new(&[("web", NEAREST, "eu/1:h#blue eu/2:h us/1:h#blue us/2:h")]);
        let eu = Filter::default().in_region(world.region("eu"));
        let check = |filter: Filter<'static>, client: &str, expected: &str| {
            assert_eq!(world.answer(Start::Service(ServiceId(0), &filter), client, 0, 0), expected);
        };
        check(eu, "us", "web[0,1]@");
        check(eu.with_tag(b"blue"), "us", "web[0]");
        check(Filter::default().with_tag(b"blue"), "us", "web[2]@");
        check(Filter::default().with_tag(b"red"), "us", "-");
        check(eu.in_region(world.region("us")), "us", "-");
        check(Filter::default().in_az(world.places.az_name(b"2").unwrap()), "us/1", "web[3]@");
        let tree = world.tree(r#"{"policy":"failover","branches":[{"service":"web","region":"us","tag":"blue"},{"service":"web"}]}"#);
        assert_eq!(world.answer(Start::Tree(&tree), "eu", 0, 1), "web[2] > web[0,1]@");
    }

    #[test]
    fn failover_takes_the_first_healthy_branch_and_the_root_fails_open() {
        let policy = r#"{"policy":"failover","branches":[{"service":"a"},{"service":"b"},{"service":"gone"}]}"#;
        let world = |a, b| [("a", NEAREST, a), ("b", NEAREST, b), ("gone", NEAREST, "-")];
        name(&world("eu/1:h", "us/1:h"), policy, 0, &[("eu", "a[0]")]);
        name(&world("eu/1:u", "us/1:h"), policy, 0, &[("eu", "b[0]")]);
        name(&world("eu/1:u", "us/1:p"), policy, 0, &[("eu", "b[0]")]);
        name(&world("eu/1:u", "us/1:u"), policy, 0, &[("eu", "!a[0]")]);
        name(&world("eu/1:d", "us/1:u"), policy, 0, &[("eu", "!b[0]")]);
        name(&world("eu/1:h", "us/1:h"), policy, 3, &[("eu", "a[0] > b[0]")]);
        let records = r#"{"policy":"failover","branches":[{"service":"a"},{"records":{"A":["x"]}}]}"#;
        name(&world("eu/1:u", "us/1:h"), records, 0, &[("eu", "r0")]);
        name(&world("-", "us/1:h"), records, 0, &[("eu", "r0")]);
        // A branch's own all_down plays no part: only the root fails open.
        let inner =
            r#"{"policy":"failover","branches":[{"policy":"failover","all_down":"all","branches":[{"service":"a"}]},{"service":"b"}]}"#;
        name(&world("eu/1:u", "us/1:h"), inner, 0, &[("eu", "b[0]")]);
    }

    #[test]
    fn latency_takes_the_nearest_healthy_branch() {
        let policy = r#"{"policy":"latency","branches":[{"service":"a","region":"eu"},{"service":"b","region":"us"},{"service":"c","region":"ap"}]}"#;
        let world = |a, b| [("a", NEAREST, a), ("b", NEAREST, b), ("c", NEAREST, "ap/1:h")];
        name(&world("eu/1:h", "us/1:h"), policy, 0, &[("eu", "a[0]@"), ("~us", "b[0]@"), ("ap/1", "c[0]@"), ("?", "a[0]@")]);
        name(&world("eu/1:u", "us/1:h"), policy, 0, &[("eu", "b[0]@")]);
        name(&world("eu/1:u", "us/1:u"), policy, 0, &[("eu", "c[0]")]);
        name(&world("eu/1:h", "us/1:h"), policy, 2, &[("us", "b[0] > a[0] > c[0]@")]);
        // The goal of instances is limited to the region: b has none in ap.
        let narrowed = r#"{"policy":"latency","branches":[{"service":"b","region":"ap"},{"service":"c","region":"ap"}]}"#;
        name(&world("eu/1:h", "us/1:h"), narrowed, 0, &[("us", "c[0]")]);
    }

    #[test]
    fn geolocation_widens_from_subdivision_to_default() {
        let policy = r#"{"policy":"geolocation","branches":[
            {"service":"ma","subdivisions":["US-MA"]},{"service":"us","countries":["US"]},{"service":"eu","continents":["EU"]},
            {"service":"all","default":true}]}"#;
        let world = |ma, us, eu, all| [("ma", NEAREST, ma), ("us", NEAREST, us), ("eu", NEAREST, eu), ("all", NEAREST, all)];
        let (up, down) = ("us/1:h", "us/1:u");
        let cases = &[("US-MA", "ma[0]@"), ("US-NY", "us[0]@"), ("FR", "eu[0]@"), ("CA", "all[0]@"), ("?", "all[0]@")];
        name(&world(up, up, up, up), policy, 0, cases);
        name(&world(down, up, down, up), policy, 0, &[("US-MA", "us[0]@"), ("FR", "all[0]@")]);
        name(&world(up, up, up, up), policy, 3, &[("US-MA", "ma[0] > us[0] > all[0]@")]);
        name(&world(down, down, up, down), policy, 0, &[("US-MA", "!ma[0]@")]);
        let strict = r#"{"policy":"geolocation","branches":[{"service":"eu","continents":["EU"]},{"service":"us","countries":["US"]}]}"#;
        name(&world(up, up, up, up), strict, 0, &[("FR", "eu[0]@"), ("CA", "-@"), ("?", "-@")]);
        name(&world(up, up, down, up), strict, 0, &[("FR", "!eu[0]@")]);
        name(&world(up, up, up, up), r#"{"policy":"geolocation","branches":[{"service":"all","default":true}]}"#, 0, &[("FR", "all[0]")]);
        // No match below is no answer below: the policy above goes on.
        let nested = r#"{"policy":"failover","branches":[{"policy":"geolocation","branches":[{"service":"eu","continents":["EU"]}]},{"service":"all"}]}"#;
        name(&world(up, up, up, up), nested, 0, &[("FR", "eu[0]@"), ("US", "all[0]@")]);
    }

    #[test]
    fn nearest_over_branches_prefers_the_own_region() {
        let policy = r#"{"policy":"nearest","branches":[{"service":"a","region":"eu"},{"service":"b","region":"us"},{"service":"c"}]}"#;
        let world = [("a", NEAREST, "eu/1:h"), ("b", NEAREST, "us/1:h"), ("c", NEAREST, "ap/1:h")];
        name(&world, policy, 2, &[("us", "b[0] > a[0] > c[0]@"), ("~eu", "a[0] > b[0] > c[0]@")]);
    }

    #[test]
    fn tiers_of_nearest_are_disjoint_levels() {
        let instances = "eu/1:h eu/2:h us/1:h ap/1:u ap/2:h";
        let world = Fixture::new(&[("web", NEAREST, instances)]);
        let start = Start::Service(ServiceId(0), &Filter::ALL);
        assert_eq!(world.answer(start, "eu/1", 0, 3), "web[0] > web[1] > web[2] > web[4]@");
        assert_eq!(world.answer(start, "eu", 0, 9), "web[0,1] > web[2] > web[4]@");
    }

    #[test]
    fn weighted_draws_in_proportion_and_each_depth_by_itself() {
        let services = [("a", NEAREST, "eu/1:h"), ("b", NEAREST, "eu/1:h"), ("c", NEAREST, "eu/1:h"), ("d", NEAREST, "eu/1:u")];
        let world = Fixture::new(&services);
        let count = 20_000;
        let check = |policy: &str, expected: &[(&str, f64)]| {
            let tree = world.tree(policy);
            let mut found = std::collections::BTreeMap::new();
            for draw in draws(count) {
                *found.entry(world.answer(Start::Tree(&tree), "?", draw, 0)).or_insert(0) += 1;
            }
            assert_eq!(found.len(), expected.len(), "{policy}: {found:?}");
            for (answer, share) in expected {
                // Five standard deviations of a binomial count.
                let slack = 5.0 * (share * (1.0 - share) * count as f64).sqrt() + 1.0;
                assert!((f64::from(found[*answer]) - share * count as f64).abs() < slack, "{policy}: {found:?}");
            }
        };
        let weighted = |weights: [u32; 3], last: &str| {
            let branch = |(n, w): (usize, u32)| format!(r#"{{"service":"{}","weight":{w}}}"#, ["a", "b", last][n]);
            format!(r#"{{"policy":"weighted","branches":[{}]}}"#, weights.into_iter().enumerate().map(branch).collect::<Vec<_>>().join(","))
        };
        check(&weighted([70, 20, 10], "c"), &[("a[0]", 0.7), ("b[0]", 0.2), ("c[0]", 0.1)]);
        check(&weighted([0, 20, 60], "c"), &[("b[0]", 0.25), ("c[0]", 0.75)]);
        check(&weighted([0, 0, 0], "c"), &[("a[0]", 1.0 / 3.0), ("b[0]", 1.0 / 3.0), ("c[0]", 1.0 / 3.0)]);
        check(&weighted([0, 0, 90], "d"), &[("a[0]", 0.5), ("b[0]", 0.5)]);
        // Half of a half: were both drawn by the same number, b would never come or always.
        let half =
            r#"{"policy":"weighted","branches":[{"policy":"weighted","branches":[{"service":"a"},{"service":"b"}]},{"service":"c"}]}"#;
        check(half, &[("a[0]", 0.25), ("b[0]", 0.25), ("c[0]", 0.5)]);
        let multivalue = r#"{"policy":"multivalue","branches":[{"service":"a"},{"service":"b"},{"service":"d"}]}"#;
        check(multivalue, &[("a[0]", 0.5), ("b[0]", 0.5)]);
    }

    #[test]
    fn a_decision_holds_as_long_as_what_it_looked_at() {
        let world = Fixture::new(&[("web", NEAREST, "eu/1:h"), ("gone", NEAREST, "-")]);
        let steady = |start| decide(&world, start, world.client("eu"), 0, 0, &mut crate::routing::Silent).steady_ms;
        assert_eq!(steady(Start::Service(ServiceId(0), &Filter::ALL)), 1000);
        assert_eq!(steady(Start::Service(ServiceId(1), &Filter::ALL)), u32::MAX);
        let tree = world.tree(r#"{"policy":"failover","branches":[{"records":{"A":["x"]}},{"service":"web"}]}"#);
        assert_eq!(steady(Start::Tree(&tree)), u32::MAX, "the second branch was not looked at");
    }
}
