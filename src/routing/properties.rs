//! Properties of decisions over random worlds, policies and clients (DESIGN §9, invariants 1, 2 and 8).

use proptest::prelude::*;

use super::fixture::{Fixture, locality, policy};
use super::*;
use crate::model::{AllDown, Branch, Goal, Owner, Policy, PolicyKind};

const AZS: [&str; 6] = ["eu/1", "eu/2", "us/1", "us/2", "ap/1", "ap/2"];
const REGIONS: [&str; 3] = ["eu", "us", "ap"];
const CLIENTS: [&str; 11] = ["eu/1", "eu/2", "us/1", "eu", "us", "~us", "~ap", "FR", "US-MA", "US", "?"];
const SERVICES: [&str; 3] = ["a", "b", "c"];

/// Choices that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    /// With one chance in three, the text made from a choice.
    fn maybe(&mut self, of: &[&str], text: impl Fn(&str) -> String) -> String {
        if self.roll(3) == 0 { text(self.one(of)) } else { String::new() }
    }

    /// `most`: how many can be healthy at all.
    fn rest(&mut self, most: usize) -> String {
        let all_down = self.maybe(&["all", "last_good", "nodata"], |a| format!(r#","all_down":"{a}""#));
        all_down + &self.maybe(&["1", "2", "3"][..most.min(3)], |n| format!(r#","min_healthy":{n}"#))
    }

    /// A service's policy: a rule over its instances, or branches of them.
    fn service(&mut self) -> String {
        let kinds = ["nearest", "simple", "multivalue", "weighted", "failover", "latency"];
        if self.roll(3) > 0 {
            return format!(r#"{{"policy":"{}"{}}}"#, self.one(&kinds), self.rest(3));
        }
        self.fork(2, false)
    }

    /// A rule over one to four branches.
    fn fork(&mut self, depth: usize, name: bool) -> String {
        let kind = self.one(&["nearest", "simple", "multivalue", "weighted", "failover", "latency", "geolocation"]);
        let mut clients: Vec<&str> = vec![
            r#","default":true"#,
            r#","continents":["EU"]"#,
            r#","countries":["US","CA"]"#,
            r#","subdivisions":["US-MA"],"continents":["NA"]"#,
        ];
        let branches: Vec<String> = (0..1 + self.roll(4))
            .map(|_| {
                let region = match kind {
                    "latency" => format!(r#","region":"{}""#, self.one(&REGIONS)),
                    _ => self.maybe(&REGIONS, |r| format!(r#","region":"{r}""#)),
                };
                let criterion = match kind {
                    "geolocation" => clients.remove(self.roll(clients.len())).to_string(),
                    "weighted" => format!(r#","weight":{}"#, self.one(&["0", "1", "30"])),
                    _ => String::new(),
                };
                let goal = match self.roll(6) {
                    0 | 1 if depth > 1 => {
                        let below = self.fork(depth - 1, name);
                        below[1..below.len() - 1].to_string()
                    }
                    2 if name => r#""records":{"A":["x"]}"#.to_string(),
                    _ => {
                        let service = if name { format!(r#""service":"{}""#, self.one(&SERVICES)) } else { r#""weight":null"#.to_string() };
                        let az = self.maybe(&["1", "2"], |az| format!(r#","az":"{az}""#));
                        let tag = self.maybe(&["blue", "red"], |tag| format!(r#","tag":"{tag}""#));
                        service + &az + &tag + &self.maybe(&["1", "2"], |n| format!(r#","min_healthy":{n}"#))
                    }
                };
                // A service's own instances have no key of their own; `weight` may stand for it only where none is given.
                let goal = goal.replace(r#""weight":null,"#, "").replace(r#""weight":null"#, "");
                format!("{{{goal}{region}{criterion}}}").replace("{,", "{")
            })
            .collect();
        format!(r#"{{"policy":"{kind}","branches":[{}]{}}}"#, branches.join(","), self.rest(branches.len()))
    }

    fn instances(&mut self) -> String {
        let one = |dice: &mut Dice| {
            let weight = dice.maybe(&["*0", "*1", "*50"], str::to_string);
            let tag = dice.maybe(&["#blue", "#red"], str::to_string);
            format!("{}:{}{weight}{tag}", dice.one(&AZS), dice.one(&["h", "h", "u", "u", "p", "l", "d"]))
        };
        if self.roll(12) == 0 { "-".into() } else { (0..self.roll(7)).map(|_| one(self)).collect::<Vec<_>>().join(" ") }
    }
}

/// A world as text and as compiled.
struct Scene {
    services: Vec<(&'static str, String, String)>,
    name: String,
    world: Fixture,
}

impl Scene {
    fn new(dice: &mut Dice) -> Scene {
        let services: Vec<_> = SERVICES.iter().map(|name| (*name, dice.service(), dice.instances())).collect();
        let texts: Vec<(&str, &str, &str)> = services.iter().map(|(n, p, i)| (*n, p.as_str(), i.as_str())).collect();
        let mut world = Fixture::new(&texts);
        for az in AZS {
            if dice.roll(6) == 0 {
                world.drained.extend(world.places.locality(&locality(az)));
            }
        }
        let name = dice.fork(3, true);
        Scene { services, name, world }
    }

    fn told(&self, client: &str) -> String {
        format!("{} for {client} over {:?}, drained {:?}", self.name, self.services, self.world.drained)
    }

    /// Whether the definition finds something healthy for the client: written over the policy as written, without the compiled tree.
    fn alive(
        &self,
        policy: &Policy,
        service: Option<usize>,
        narrowed: &[Filter<'_>],
        client: &Origin,
        worst: Standing,
        strict: bool,
    ) -> bool {
        let needed = |n: u32| if strict { n.max(1) as usize } else { 1 };
        let count = |service: usize, narrowed: &[Filter<'_>]| {
            let Some(pool) = self.world.pool(ServiceId(service as u32)) else { return 0 };
            let member = |n: &u32| {
                let at = pool.locality(*n);
                let words = self.services[service].2.split_whitespace().nth(*n as usize).unwrap();
                pool.standing(*n) <= worst
                    && !self.world.is_drained(at)
                    && narrowed.iter().all(|f| {
                        f.region.is_none_or(|r| r == self.world.places.region_of(at))
                            && f.az.is_none_or(|a| a == self.world.places.az_name_of(at))
                            && f.tags.iter().flatten().all(|t| words.ends_with(std::str::from_utf8(t).unwrap()))
                    })
            };
            (0..pool.len() as u32).filter(member).count()
        };
        if policy.branches.is_empty() {
            return service.is_some_and(|s| count(s, narrowed) >= needed(policy.min_healthy));
        }
        let lives = |branch: &Branch| match &branch.goal {
            Goal::Records(_) => true,
            Goal::Policy(below) => self.alive(below, service, narrowed, client, worst, strict),
            Goal::Instances { service: named, az, tag, min_healthy } => {
                let tag = tag.as_ref().map(|t| t.as_str().as_bytes());
                let filter = Filter {
                    region: branch.region.as_ref().and_then(|r| self.world.places.region(r.as_str().as_bytes())),
                    az: az.as_ref().and_then(|a| self.world.places.az_name(a.as_str().as_bytes())),
                    tags: [tag, None, None, None],
                    nothing: false,
                };
                let narrowed = [narrowed, &[filter]].concat();
                match named {
                    None => service.is_some_and(|s| count(s, &narrowed) >= needed(*min_healthy)),
                    Some(label) => {
                        let s = SERVICES.iter().position(|name| *name == label.as_str()).unwrap();
                        let own = fixture::policy(&self.services[s].1, Owner::Service);
                        self.world.pool(ServiceId(s as u32)).is_some()
                            && count(s, &narrowed) >= needed(*min_healthy)
                            && self.alive(&own, Some(s), &narrowed, client, worst, strict)
                    }
                }
            }
        };
        let is_for = |branch: &&Branch| {
            let clients = &branch.clients;
            client.country.zip(client.subdivision).is_some_and(|s| clients.subdivisions.contains(&s))
                || client.country.is_some_and(|c| clients.countries.contains(&c))
                || client.continent.is_some_and(|c| clients.continents.contains(&c))
                || clients.default
        };
        policy.branches.iter().filter(|b| lives(b)).count() >= needed(policy.min_healthy)
            && (policy.kind != PolicyKind::Geolocation || policy.branches.iter().filter(is_for).any(lives))
    }
}

/// All instances of an answer, level by level.
fn standings(world: &Fixture, decision: &Decision<'_>, draw: u64) -> Vec<(Standing, bool)> {
    let mut found = Vec::new();
    for choice in decision.tiers.iter().flatten() {
        if let Choice::Instances(selection) = choice {
            pick(world, selection, Need::ANY, 64, draw, |p| {
                found.push((selection.pool.standing(p.member), world.is_drained(selection.pool.locality(p.member))));
            });
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_keep_the_invariants(seed: u64, draw: u64, tiers in 0usize..4) {
        let scene = Scene::new(&mut Dice(seed));
        let world = &scene.world;
        let root = policy(&scene.name, Owner::Name);
        let tree = world.tree(&scene.name);
        let start = Start::Tree(&tree);
        let mut everybodys: Option<String> = None;
        let mut answers = Vec::new();
        for name in CLIENTS {
            let client = world.client(name);
            let origin = world.origins().find(client).0;
            let decision = decide(world, start, client, draw, tiers, &mut Silent);
            let found = standings(world, &decision, draw);
            let told = || scene.told(name);

            // Invariant 1.
            prop_assert!(found.iter().all(|(standing, drained)| *standing != Standing::Drained && !drained), "{}", told());
            let bad = found.iter().any(|(standing, _)| *standing > Standing::Pending);
            prop_assert!(!bad || decision.fail_open, "{}", told());
            prop_assert!(!bad || found.iter().all(|(standing, _)| *standing != Standing::Healthy), "{}", told());

            // Invariant 2, and its reverse: rounds end where the definition says.
            let alive = |worst, strict| scene.alive(&root, None, &[], origin, worst, strict);
            let served = decision.tiers[0].is_some();
            let in_time = alive(Standing::Pending, true);
            prop_assert_eq!(served && !decision.fail_open, in_time, "{}", told());
            if alive(Standing::Healthy, true) {
                prop_assert!(found.iter().all(|(standing, _)| *standing == Standing::Healthy), "{}", told());
            }
            let fails_open = !in_time && root.all_down != AllDown::Nodata && alive(Standing::Unhealthy, false);
            prop_assert_eq!(decision.fail_open, fails_open, "{}", told());
            let instances = decision.tiers.iter().flatten().filter(|c| matches!(c, Choice::Instances(_)));
            prop_assert!(instances.count() == 0 || !found.is_empty(), "a chosen level has somebody: {}", told());
            prop_assert!(decision.tiers.iter().flatten().count() <= tiers + 1);

            // A trace changes nothing.
            let text = world.text(&decision, draw);
            let mut steps = Steps::default();
            let traced = decide(world, start, client, draw, tiers, &mut steps);
            prop_assert_eq!(&text, &world.text(&traced, draw), "{}", told());
            prop_assert_eq!(decision.steady_ms, traced.steady_ms);
            prop_assert!(!steps.0.is_empty());

            // Invariant 8: an answer of scope 0 is everybody's.
            if decision.scope == 0 {
                everybodys.get_or_insert_with(|| text.clone());
            }
            answers.push((name, text.replace('@', "")));
        }
        if let Some(everybodys) = everybodys {
            for (name, answer) in &answers {
                prop_assert_eq!(answer, &everybodys, "{}", scene.told(name));
            }
        }
    }

    /// A service's own name, with what its name narrows it to.
    #[test]
    fn services_keep_the_invariants(seed: u64, draw: u64, az: bool, tag: bool) {
        let scene = Scene::new(&mut Dice(seed));
        let world = &scene.world;
        let mut filter = Filter::default();
        if az {
            filter = filter.in_az(world.places.az_name(b"1").unwrap());
        }
        if tag {
            filter = filter.with_tag(b"blue");
        }
        let own = policy(&scene.services[0].1, Owner::Service);
        for name in CLIENTS {
            let client = world.client(name);
            let origin = world.origins().find(client).0;
            let decision = decide(world, Start::Service(ServiceId(0), filter), client, draw, 0, &mut Silent);
            let alive = scene.alive(&own, Some(0), &[filter], origin, Standing::Pending, true);
            let expected = alive && world.pool(ServiceId(0)).is_some();
            // Records below a service without a slot are not reached.
            prop_assert_eq!(decision.tiers[0].is_some() && !decision.fail_open, expected, "{:?}", scene.told(name));
        }
    }
}
