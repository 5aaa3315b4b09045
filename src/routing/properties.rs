//! Properties of decisions over random worlds, policies and clients (DESIGN §9, invariants 1, 2 and 8).

use std::net::IpAddr;

use proptest::prelude::*;

use super::fixture::{Fixture, locality, policy};
use super::hash::{mix, prefix};
use super::sieve::Gate;
use super::*;
use crate::model::{AllDown, Branch, Goal, Out, Owner, Policy, Share};

const AZS: [&str; 6] = ["eu/1", "eu/2", "us/1", "us/2", "ap/1", "ap/2"];
const REGIONS: [&str; 3] = ["eu", "us", "ap"];
const CLIENTS: [&str; 17] = [
    "eu/1",
    "eu/2",
    "us/1",
    "eu",
    "us",
    "~us",
    "~ap",
    "FR",
    "US-MA",
    "US",
    "@paris",
    "@tokyo",
    "?",
    "10.0.1.200",
    "10.0.2.1",
    "10.77.0.1",
    "2001:db8::1",
];
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
        all_down + &self.maybe(&["30", "60", "100"], |n| format!(r#","panic_threshold":{n}"#)) + &self.needed(most)
    }

    fn needed(&mut self, most: usize) -> String {
        self.maybe(&["1", "2", "3"][..most.min(3)], |n| format!(r#","min_healthy":{n}"#))
    }

    /// A service's policy: a rule over its instances, or branches of them.
    fn service(&mut self) -> String {
        let kinds = ["nearest", "simple", "multivalue", "weighted", "failover", "latency", "sticky"];
        if self.roll(3) > 0 {
            return format!(r#"{{"policy":"{}"{}}}"#, self.one(&kinds), self.rest(3));
        }
        self.fork(2, false, true)
    }

    /// A rule over one to four branches.
    fn fork(&mut self, depth: usize, name: bool, root: bool) -> String {
        const KINDS: [&str; 11] =
            ["nearest", "simple", "multivalue", "weighted", "failover", "latency", "geolocation", "geoproximity", "cidr", "asn", "sticky"];
        let kind = self.one(&KINDS);
        let mut clients: Vec<&str> = match kind {
            "geolocation" => vec![
                r#","default":true"#,
                r#","continents":["EU"]"#,
                r#","countries":["US","CA"]"#,
                r#","subdivisions":["US-MA"],"continents":["NA"]"#,
            ],
            "cidr" => vec![
                r#","default":true"#,
                r#","cidrs":["10.0.0.0/8","2001:db8::/32"]"#,
                r#","cidrs":["10.0.0.0/20","10.0.1.128/25"]"#,
                r#","cidrs":["10.0.1.0/24","0.0.0.0/0"]"#,
            ],
            "asn" => {
                vec![r#","default":true"#, r#","asns":[64512,64513]"#, r#","asns":[64514]"#, r#","asns":[64513,64515,64516]"#]
            }
            _ => Vec::new(),
        };
        let resort = root && self.roll(4) == 0;
        let mut branches: Vec<String> = (0..1 + self.roll(4))
            .map(|_| {
                let region = match kind {
                    "latency" | "geoproximity" => format!(r#","region":"{}""#, self.one(&REGIONS)),
                    _ => self.maybe(&REGIONS, |r| format!(r#","region":"{r}""#)),
                };
                let criterion = match kind {
                    "geolocation" | "cidr" | "asn" => clients.remove(self.roll(clients.len())).to_string(),
                    "geoproximity" => self.maybe(&["-80", "-10", "10", "90"], |b| format!(r#","bias":{b}"#)),
                    "weighted" | "sticky" => format!(r#","weight":{}"#, self.one(&["0", "1", "30"])),
                    _ => String::new(),
                };
                self.goal(depth, name) + &region + &criterion
            })
            .map(|branch| format!("{{{branch}}}").replace("{,", "{"))
            .collect();
        let most = branches.len();
        if resort {
            let region = if matches!(kind, "latency" | "geoproximity") { r#","region":"eu""# } else { "" };
            branches.insert(self.roll(most + 1), format!(r#"{{{}{region},"resort":true}}"#, self.goal(depth, name)).replace("{,", "{"));
        }
        let rest = match (root, resort) {
            (true, false) => self.rest(most),
            (true, true) => self.needed(most),
            // Inner policies have an `all_down` that plays no part.
            (false, _) => self.maybe(&["all", "nodata"], |a| format!(r#","all_down":"{a}""#)) + &self.needed(most),
        };
        format!(r#"{{"policy":"{kind}","branches":[{}]{rest}}}"#, branches.join(","))
    }

    /// Where a branch leads, as keys. A service's own instances have none.
    fn goal(&mut self, depth: usize, name: bool) -> String {
        match self.roll(6) {
            0 | 1 if depth > 1 => {
                let below = self.fork(depth - 1, name, false);
                below[1..below.len() - 1].to_string()
            }
            2 if name => r#""records":{"A":["x"]}"#.to_string(),
            _ => {
                let service = if name { format!(r#""service":"{}""#, self.one(&SERVICES)) } else { String::new() };
                let az = self.maybe(&["1", "2"], |az| format!(r#","az":"{az}""#));
                let tag = self.maybe(&["blue", "red"], |tag| format!(r#","tag":"{tag}""#));
                let needed = self.maybe(&["1", "2"], |n| format!(r#","min_healthy":{n}"#));
                (service + &az + &tag + &needed).trim_start_matches(',').to_string()
            }
        }
    }

    fn instances(&mut self) -> String {
        let one = |dice: &mut Dice| {
            let weight = dice.maybe(&["*0", "*1", "*50"], str::to_string);
            let warmth = dice.maybe(&["%10", "%60"], str::to_string);
            let out = dice.maybe(&["^30", "^80"], str::to_string);
            let tag = dice.maybe(&["#blue", "#red"], str::to_string);
            format!("{}:{}{weight}{warmth}{out}{tag}", dice.one(&AZS), dice.one(&["h", "h", "u", "u", "p", "l", "d"]))
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
            let number = world.places.locality(&locality(az)).unwrap();
            match dice.roll(8) {
                0 => _ = world.drained.insert(number),
                1 => _ = world.outs.insert(number, Out { share: Share::of(0.5), moving: dice.roll(2) == 0 }),
                _ => {}
            }
        }
        let name = dice.fork(3, true, true);
        Scene { services, name, world }
    }

    fn told(&self, client: &str) -> String {
        format!("{} for {client} over {:?}, drained {:?}, out {:?}", self.name, self.services, self.world.drained, self.world.outs)
    }

    /// Whether the definition finds something healthy for the client: written over the policy as written, without the compiled tree.
    fn alive(&self, policy: &Policy, service: Option<usize>, narrowed: &[Filter<'_>], asked: &Asked) -> bool {
        let needed = |n: u32| if asked.strict { n.max(1) as usize } else { 1 };
        let count = |service: usize, narrowed: &[Filter<'_>]| {
            let Some(pool) = self.world.pool(ServiceId(service as u32)) else { return 0 };
            let gate = self.gate(asked, pool);
            let member = |n: &u32| {
                let at = pool.locality(*n);
                let words = self.services[service].2.split_whitespace().nth(*n as usize).unwrap();
                pool.standing(*n) <= asked.worst
                    && !gate.shuts(self.world.out(at).share)
                    && !gate.shuts(pool.out(*n))
                    && narrowed.iter().all(|f| {
                        f.region.is_none_or(|r| r == self.world.places.region_of(at))
                            && f.az.is_none_or(|a| a == self.world.places.az_name_of(at))
                            && f.tags.iter().filter(|t| !t.is_empty()).all(|t| words.ends_with(std::str::from_utf8(t).unwrap()))
                    })
            };
            (0..pool.len() as u32).filter(member).count()
        };
        if policy.branches.is_empty() {
            return service.is_some_and(|s| count(s, narrowed) >= needed(policy.min_healthy));
        }
        let lives = |branch: &Branch| match &branch.goal {
            Goal::Records(_) => true,
            Goal::Policy(below) => self.alive(below, service, narrowed, &Asked { resort: false, ..*asked }),
            Goal::Instances { service: named, az, tag, min_healthy } => {
                let tag = tag.as_ref().map(|t| t.as_str().as_bytes());
                let filter = Filter {
                    region: branch.region.as_ref().and_then(|r| self.world.places.region(r.as_str().as_bytes())),
                    az: az.as_ref().and_then(|a| self.world.places.az_name(a.as_str().as_bytes())),
                    tags: [tag.unwrap_or_default(), &[], &[], &[]],
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
                            && self.alive(&own, Some(s), &narrowed, &Asked { resort: false, ..*asked })
                    }
                }
            }
        };
        let origin = self.world.origins().find(asked.client).0;
        let is_for = |branch: &&Branch| {
            let clients = &branch.clients;
            origin.country.zip(origin.subdivision).is_some_and(|s| clients.subdivisions.contains(&s))
                || origin.country.is_some_and(|c| clients.countries.contains(&c))
                || origin.continent.is_some_and(|c| clients.continents.contains(&c))
                || origin.asn.is_some_and(|asn| clients.asns.contains(&asn))
                || clients.cidrs.iter().any(|net| net.contains(&asked.client))
                || clients.default
        };
        if asked.resort {
            return policy.branches.iter().filter(|b| b.resort).any(lives);
        }
        let branches = || policy.branches.iter().filter(|b| !b.resort);
        branches().filter(|b| lives(b)).count() >= needed(policy.min_healthy)
            && (!policy.kind.tells_clients_apart() || branches().filter(is_for).any(lives))
    }

    fn gate(&self, asked: &Asked, pool: &Pool) -> Gate {
        Gate { hash: mix(prefix(asked.client).0, pool.seed()), honours: asked.gated }
    }
}

/// What the definition is asked.
#[derive(Clone, Copy)]
struct Asked {
    client: IpAddr,
    worst: Standing,
    strict: bool,
    gated: bool,
    resort: bool,
}

/// An instance of an answer.
struct Found {
    standing: Standing,
    drained: bool,
    /// It is out of answers for this client's part.
    shut: bool,
}

/// All instances of an answer, level by level.
fn found(scene: &Scene, asked: &Asked, decision: &Decision<'_>, draw: u64) -> Vec<Found> {
    let mut found = Vec::new();
    for choice in decision.tiers.iter().flatten() {
        if let Choice::Instances(selection) = choice {
            let gate = scene.gate(&Asked { gated: true, ..*asked }, selection.pool);
            pick(&scene.world, selection, Need::ANY, 64, draw, |p| {
                let at = selection.pool.locality(p.member);
                found.push(Found {
                    standing: selection.pool.standing(p.member),
                    drained: scene.world.is_drained(at),
                    shut: gate.shuts(scene.world.out(at).share) || gate.shuts(selection.pool.out(p.member)),
                });
            });
        }
    }
    found
}

/// Whether two clients are in one prefix of that length.
fn share_prefix(a: IpAddr, b: IpAddr, length: u8) -> bool {
    a.is_ipv4() == b.is_ipv4() && ipnet::IpNet::new(a, length).unwrap().contains(&b)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_keep_the_invariants(seed: u64, draw: u64, tiers in 0usize..4) {
        let scene = Scene::new(&mut Dice(seed));
        let world = &scene.world;
        let root = policy(&scene.name, Owner::Name);
        let tree = world.tree(&scene.name);
        let start = Start::Tree(&tree);
        let mut answers: Vec<(IpAddr, u8, String)> = Vec::new();
        for name in CLIENTS {
            let client = world.client(name);
            let asked = Asked { client, worst: Standing::Pending, strict: true, gated: true, resort: false };
            let decision = decide(world, start, client, draw, tiers, &mut Silent);
            let found = found(&scene, &asked, &decision, draw);
            let told = || scene.told(name);

            // Invariant 1.
            prop_assert!(found.iter().all(|f| f.standing != Standing::Drained && !f.drained), "{}", told());
            let bad = found.iter().any(|f| f.standing > Standing::Pending);
            prop_assert!(!bad || decision.fail_open || decision.panic, "{}", told());
            prop_assert!(!bad || decision.panic || found.iter().all(|f| f.standing != Standing::Healthy), "{}", told());

            // Invariant 2, and its reverse: rounds end where the definition says.
            let alive = |asked: Asked| scene.alive(&root, None, &[], &asked);
            let served = decision.tiers[0].is_some();
            let ungated = Asked { gated: false, ..asked };
            let in_time = alive(asked) || alive(ungated);
            prop_assert_eq!(served && !decision.fail_open, in_time, "{}", told());
            if alive(Asked { worst: Standing::Healthy, ..asked }) {
                prop_assert!(decision.panic || found.iter().all(|f| f.standing == Standing::Healthy), "{}", told());
            }
            if alive(asked) {
                prop_assert!(found.iter().all(|f| !f.shut), "nobody is sent to where he was moved away from: {}", told());
            }
            let lax = Asked { strict: false, ..ungated };
            let resort = root.all_down == AllDown::Resort && alive(Asked { resort: true, ..lax });
            let fails_open = !in_time && root.all_down != AllDown::Nodata && (resort || alive(Asked { worst: Standing::Unhealthy, ..lax }));
            prop_assert_eq!(decision.fail_open, fails_open, "{}", told());
            let instances = decision.tiers.iter().flatten().filter(|c| matches!(c, Choice::Instances(_)));
            prop_assert!(instances.count() == 0 || !found.is_empty(), "a chosen level has somebody: {}", told());
            prop_assert!(decision.tiers.iter().flatten().count() <= tiers + 1);

            // A trace changes nothing.
            let text = world.text(&decision, draw);
            let mut steps = Steps::default();
            let traced = decide(world, start, client, draw, tiers, &mut steps);
            prop_assert_eq!(&text, &world.text(&traced, draw), "{}", told());
            prop_assert_eq!((decision.steady_ms, decision.scope), (traced.steady_ms, traced.scope));
            prop_assert!(!steps.0.is_empty());

            // Invariant 8: an answer holds for all clients of its scope.
            for (other, scope, answer) in &answers {
                let is_told = *scope == 0 || share_prefix(*other, client, *scope);
                prop_assert!(!is_told || *answer == text.trim_end_matches('@'), "{other}/{scope} had {answer}, not {text}: {}", told());
                let is_told = decision.scope == 0 || share_prefix(client, *other, decision.scope);
                prop_assert!(!is_told || *answer == text.trim_end_matches('@'), "{}/{} has {text}, {other} had {answer}", name, decision.scope);
            }
            answers.push((client, decision.scope, text.trim_end_matches('@').to_string()));
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
            let asked = Asked { client: world.client(name), worst: Standing::Pending, strict: true, gated: true, resort: false };
            let decision = decide(world, Start::Service(ServiceId(0), &filter), asked.client, draw, 0, &mut Silent);
            let alive = |gated| scene.alive(&own, Some(0), &[filter], &Asked { gated, ..asked });
            let expected = (alive(true) || alive(false)) && world.pool(ServiceId(0)).is_some();
            // Records below a service without a slot are not reached.
            prop_assert_eq!(decision.tiers[0].is_some() && !decision.fail_open, expected, "{:?}", scene.told(name));
        }
    }
}
