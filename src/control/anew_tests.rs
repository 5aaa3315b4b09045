//! Whatever happens, answers are those of a world that is compiled anew of what is registered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::compile::tests::Dice;
use super::core::{Input, Landing, read};
use super::*;
use crate::model::{BranchFields, Coordinates, Health, Name, Owner, Place, Policy, Settings, Zone};
use crate::registry::tests::{command_at, declared, key, label, zone};
use crate::routing::{Choice, Filter, Need, Picked, Silent, Start, decide, even_draws, expected_shares};
use crate::snapshot::Update;
use crate::store::{CommitError, Item, Key, Operation, Value};

const CLIENTS: [&str; 5] = ["10.0.1.7", "10.0.2.7", "10.0.3.7", "192.0.2.7", "2001:db8::7"];
const NAMES: [&str; 5] = [
    r#"{"policy":"failover","branches":[{"service":"web","region":"us","min_healthy":2},{"service":"api"},{"records":{"A":["x"]},"resort":true}]}"#,
    r#"{"policy":"latency","branches":[{"service":"web","region":"eu","az":"1"},{"service":"web","region":"us","tag":"blue"},{"service":"db","region":"us"}]}"#,
    r#"{"policy":"nearest","branches":[{"service":"web","region":"eu"},{"service":"web","region":"us"},{"service":"api","region":"ap"}]}"#,
    r#"{"policy":"sticky","branches":[{"service":"db","weight":1},{"service":"api","weight":3},{"service":"web","weight":2}]}"#,
    r#"{"policy":"weighted","branches":[{"records":{"A":["x"]},"weight":1},{"service":"api","weight":3},{"service":"web","weight":0}]}"#,
];

fn names(dice: &mut Dice) -> BTreeMap<Name, Policy> {
    let mut names = BTreeMap::new();
    for (n, json) in NAMES.iter().enumerate().filter(|_| dice.roll(3) > 0) {
        let fields: BranchFields = serde_json::from_str(json).unwrap();
        let policy = Policy::from_fields(&fields, Owner::Name, &|_, _| Ok((1, Box::new([192, 0, 2, 9])))).unwrap();
        names.insert(Name::parse(&format!("n{n}.svc.example.")).unwrap(), policy);
    }
    names
}

/// What files say: one of many.
fn files(dice: &mut Dice) -> (Vec<Zone>, Geo) {
    let defined = dice.one(&[
        "{}",
        r#"{"services":{"db":{"instances":{"f":{},"g":{"region":"us"}}}}}"#,
        r#"{"services":{"web":{"service":{"policy":"latency","slow_start":"0s"},"instances":{"c":{"weight":3},"f":{"region":"us"}}}}}"#,
        r#"{"services":{"api":{"service":{"slow_start":"0s"}}}}"#,
    ]);
    let mut zones = vec![Zone { names: names(dice), ..zone("svc.toml", defined) }];
    let other = Zone::new(Name::parse("other.").unwrap(), "other.toml", Name::parse("ns.other.").unwrap(), 1);
    zones.insert(dice.roll(2), Zone { services: dice.roll(2) == 0, ..other });
    let place = |region: &str, az: &str| Place { region: Some(label(region)), az: Some(label(az)), ..Place::default() };
    let network = |(n, place): (u8, Place)| (format!("10.0.{n}.0/24").parse().unwrap(), place);
    let networks = [(1, place("eu", "1")), (2, place("us", "2")), (3, place("ap", "1"))].map(network);
    let mut regions = declared(&[("ap", &["1", "2"]), ("us", &["1", "2"]), ("eu", &["1", "2"])]);
    for (n, region) in regions.iter_mut().flat_map(|regions| regions.values_mut()).enumerate() {
        let longitude = [100.0, 0.0, -70.0][(n + dice.roll(2)) % 3];
        region.coordinates = Some(Coordinates { latitude: 40.0, longitude });
    }
    let geo = if dice.roll(3) == 0 { Geo::default() } else { Geo { regions, networks: networks.into(), ..Geo::default() } };
    (zones, geo)
}

struct Rig {
    writer: Writer<()>,
    /// As last taken.
    geo: Geo,
    items: BTreeMap<Key, (Revision, Value)>,
    revision: Revision,
    now: Timestamp,
}

impl Rig {
    fn begin(dice: &mut Dice, items: BTreeMap<Key, (Revision, Value)>, revision: Revision, now: Timestamp) -> Rig {
        let (zones, geo) = files(dice);
        let held = items.iter().map(|(key, (revision, value))| Item { key: key.clone(), value: value.clone(), revision: *revision });
        let writer = Writer::begin((revision, held.collect()), zones, geo.clone(), &Settings::default().dns, now).unwrap();
        Rig { writer, geo, items, revision, now }
    }

    /// One commit: made and told, made and lost on the way back, or not made.
    fn commit(&mut self, operations: Vec<Operation>, dice: &mut Dice) -> Result<Revision, CommitError> {
        let luck = dice.roll(30);
        if luck == 0 {
            return Err(CommitError::Unavailable("down".into()));
        }
        self.revision.0 += 1;
        for operation in operations {
            match operation {
                Operation::Put { key, value, .. } => _ = self.items.insert(key, (self.revision, value)),
                Operation::Delete { key, .. } => _ = self.items.remove(&key),
            }
        }
        if luck == 1 { Err(CommitError::Unknown) } else { Ok(self.revision) }
    }

    fn step(&mut self, dice: &mut Dice) {
        match dice.roll(16) {
            0..5 => {
                // Who was healthy last is what nobody knows anew.
                let command = command_at(&dice.command().replace(r#","all_down":"last_good""#, ""), self.now);
                self.writer.handle(self.now, Input::Command { reply: (), command, author: String::new() });
            }
            5 => self.now = Timestamp(self.now.0 + dice.roll(9_000) as u64),
            6 => self.writer.handle(self.now, Input::Beat { reply: (), key: key(&dice.instance()) }),
            7 if dice.roll(3) == 0 => {
                let (zones, geo) = files(dice);
                if self.writer.load(zones, geo.clone(), &Settings::default().dns, self.now).is_ok() {
                    self.geo = geo;
                }
            }
            8 if dice.roll(6) == 0 => *self = Rig::begin(dice, std::mem::take(&mut self.items), self.revision, self.now),
            _ => {
                let verdicts: Vec<Observation> = (0..=dice.roll(4)).filter_map(|_| self.verdict(dice)).collect();
                self.writer.observe(self.now, verdicts.into_iter());
            }
        }
        self.writer.tick(self.now);
        if let Some(departure) = self.writer.depart(self.now) {
            let commands = departure.commands.into_iter().map(|operations| self.commit(operations, dice)).collect();
            let behind = (!departure.behind.is_empty()).then(|| self.commit(departure.behind, dice));
            self.writer.land(self.now, Landing { commands, behind });
            if self.writer.core.is_unsure() {
                let held = self.items.iter().map(|(key, (at, value))| Item { key: key.clone(), value: value.clone(), revision: *at });
                self.writer.reread((self.revision, held.collect()), self.now).unwrap();
            }
        }
    }

    fn verdict(&self, dice: &mut Dice) -> Option<Observation> {
        let key = key(&dice.instance());
        let order = self.writer.core.orders.in_force(&key)?;
        let health = if dice.roll(3) > 0 { Health::Healthy } else { Health::Unhealthy };
        Some(Observation { key, order, health, wavers: dice.roll(5) == 0, why: "why".into() })
    }

    /// The world of what is registered, as nobody has seen it before.
    fn anew(&self) -> Snapshot {
        let registry = read(&self.writer.core.registry);
        let served = registry.served();
        let updates = [Update::Geo(&self.geo), Update::Served(&served)];
        start::compile(&Snapshot::empty().update(&updates).unwrap(), &registry, &mut BTreeSet::new(), self.now).unwrap()
    }

    /// Whether all of it is as it was a moment ago: nothing warms up or moves on a ramp, of which answers take steps.
    fn stands(&self) -> bool {
        let registry = read(&self.writer.core.registry);
        let mut instances = registry.services.values().flat_map(|service| service.instances.values());
        !registry.drains.values().any(|entry| entry.drain.out(self.now).moving)
            && instances.all(|entry| entry.vitals.warmth(self.now) == 100)
    }
}

/// All that is answered to some clients, by name; where it is drawn, with which probability.
fn told(snapshot: &Snapshot) -> Vec<String> {
    let mut told = vec![format!("{:?} {}", snapshot.services_zone().map(|zone| zone.name().to_string()), snapshot.services())];
    let mut starts: Vec<(String, Start<'_>)> = Vec::new();
    for (id, service) in snapshot.all_services() {
        starts.push((service.label().to_string(), Start::Pool(id, service.pool(), &Filter::ALL)));
        for member in 0..service.len() as u32 {
            let (locality, port) =
                (service.pool().locality(member), service.default_port().map(|(need, _)| service.port_number(member, need)));
            let region = snapshot.places.region_label(snapshot.places.region_of(locality));
            told.push(format!("{}/{} {:?} {region} {port:?}", service.label(), service.id(member), service.v4(member)));
        }
    }
    for (key, policy) in snapshot.zones().flat_map(|zone| zone.policies()) {
        starts.push((format!("{key:?}"), Start::Tree(&policy.tree)));
    }
    let choice = |choice: &Choice<'_>| match choice {
        Choice::Records { first, count, .. } => format!("records {first} {count}"),
        Choice::Instances(selection) => {
            let service = snapshot.service_at(selection.service).unwrap();
            let of = |(picked, share): (Picked, f64)| format!("{}:{}:{share:.6}", service.id(picked.member), picked.weight);
            // Those that were healthy last lie before others that are down: in which order is no answer's matter.
            let asked = [(1, Need::ANY), (2, Need::V4), (64, Need::port(0))];
            let shares =
                asked.map(|(limit, need)| BTreeSet::from_iter(expected_shares(snapshot, selection, need, limit).into_iter().map(of)));
            format!("{} {}", service.label(), shares.map(|shares| Vec::from_iter(shares).join(" ")).join(" | "))
        }
    };
    for (name, start) in &starts {
        for client in CLIENTS {
            for (n, draw) in even_draws(*start, 4).enumerate() {
                let decision = decide(snapshot, *start, client.parse::<IpAddr>().unwrap(), draw, 2, &mut Silent);
                let tiers: Vec<String> = decision.tiers.iter().flatten().map(choice).collect();
                let manner = (decision.scope, decision.fail_open, decision.panic, decision.branch, decision.steady_ms);
                told.push(format!("{name} {client} {n}: {manner:?} {}", tiers.join(" > ")));
            }
        }
    }
    told.sort();
    told
}

#[test]
fn answers_are_those_of_a_world_compiled_anew() {
    let mut compared = 0;
    let seeds: u64 = std::env::var("SEEDS").map_or(9, |n| n.parse().unwrap());
    for seed in 0..seeds {
        let mut dice = Dice(seed);
        let mut rig = Rig::begin(&mut dice, BTreeMap::new(), Revision(1), Timestamp(1_000_000));
        for step in 0..120 {
            rig.step(&mut dice);
            if dice.roll(2) > 0 {
                continue;
            }
            rig.writer.output(rig.now);
            if rig.stands() {
                compared += 1;
                let (found, expected) = (told(rig.writer.snapshot()), told(&rig.anew()));
                let differing: Vec<_> = found.iter().zip(&expected).filter(|(found, expected)| found != expected).take(4).collect();
                assert!(found == expected, "seed {seed}, step {step}: {differing:#?} {} {}", found.len(), expected.len());
            }
        }
    }
    assert!(compared > 200, "{compared} compared");
}
