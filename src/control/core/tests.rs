//! The writer on virtual time, beside a store that is a map: scripts of what happens and what comes of it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::control::records;
use crate::model::{FieldError, Geo, Health, SafetySettings, Share, Zone};
use crate::registry::tests::{command, command_at, key, label, zone};
use crate::store::{Condition, Item, Value};

/// How the store fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Commits are made.
    Fine,
    /// They are not.
    Down,
    /// Nobody knows, and they are made all the same (or are not).
    Fog(bool),
}

/// A writer and its store.
struct Rig {
    core: Core<usize>,
    items: BTreeMap<Key, (Revision, Value)>,
    revision: Revision,
    weather: Weather,
    now: Timestamp,
    asked: usize,
}

impl Rig {
    fn new() -> Rig {
        let core = Core::new(Registry::default(), HashMap::new(), Timestamp(0));
        Rig { core, items: BTreeMap::new(), revision: Revision(0), weather: Weather::Fine, now: Timestamp(0), asked: 0 }
    }

    fn ask(&mut self, command: Command) {
        self.asked += 1;
        self.core.handle(self.now, Input::Command { reply: self.asked, command, author: "me".into() });
    }

    fn beat(&mut self, key: InstanceKey) {
        self.asked += 1;
        self.core.handle(self.now, Input::Beat { reply: self.asked, key });
    }

    /// A verdict under the order in force, or one that is not.
    fn observe(&mut self, key: InstanceKey, health: Health, why: &str) {
        let order = self.core.orders.in_force(&key).unwrap_or(0);
        self.core.handle(self.now, Input::Observation(Observation { key, order, health, wavers: false, why: why.into() }));
    }

    fn depart(&mut self) -> Option<Departure> {
        self.core.depart(self.now, &mut |_, change| match change {
            Change::PutService { name, .. } if name.as_str() == "bad" => Err(FieldError::new("branches", "does not compile").into()),
            _ => Ok(()),
        })
    }

    fn commit(&mut self, operations: Vec<Operation>) -> Option<Result<Revision, CommitError>> {
        if operations.is_empty() {
            return None;
        }
        assert!(operations.len() <= MAX_OPERATIONS);
        if self.weather == Weather::Down || self.weather == Weather::Fog(false) {
            let error = if self.weather == Weather::Down { CommitError::Unavailable("down".into()) } else { CommitError::Unknown };
            return Some(Err(error));
        }
        for (number, operation) in operations.iter().enumerate() {
            let now = self.items.get(operation.key()).map(|(revision, _)| *revision);
            let (Operation::Put { condition, .. } | Operation::Delete { condition, .. }) = operation;
            let holds =
                matches!((condition, now), (Condition::Absent, None)) || matches!((condition, now), (Condition::At(r), Some(n)) if *r == n);
            if !holds {
                return Some(Err(CommitError::Conflict { operation: number, now }));
            }
        }
        self.revision.0 += 1;
        for operation in operations {
            match operation {
                Operation::Put { key, value, .. } => _ = self.items.insert(key, (self.revision, value)),
                Operation::Delete { key, .. } => _ = self.items.remove(&key),
            }
        }
        Some(if self.weather == Weather::Fine { Ok(self.revision) } else { Err(CommitError::Unknown) })
    }

    fn land(&mut self, departure: Departure) {
        let commands = departure.commands.into_iter().filter_map(|operations| self.commit(operations)).collect();
        let landing = Landing { commands, behind: self.commit(departure.behind) };
        if self.weather == Weather::Fine {
            let conflict = |outcome: &Result<_, _>| matches!(outcome, Err(CommitError::Conflict { .. }));
            assert!(self.core.unsure || !landing.commands.iter().chain(&landing.behind).any(conflict), "a conflict: {landing:?}");
        }
        self.core.land(self.now, landing);
        if self.core.is_unsure() {
            let state = self.state();
            self.core.reread(state, &Arc::default(), &Geo::default(), self.now).unwrap();
        }
    }

    /// Takes files, as a reload does.
    fn load(&mut self, zones: &[Zone]) {
        let (next, _) = read(&self.core.registry).loaded(zones, None, self.now).unwrap();
        self.core.replace(next, self.now);
    }

    fn state(&self) -> (Revision, Vec<Item>) {
        let item =
            |(key, (revision, value)): (&Key, &(Revision, Value))| Item { key: key.clone(), value: value.clone(), revision: *revision };
        (self.revision, self.items.iter().map(item).collect())
    }

    /// Lets everything depart and land that can.
    fn run(&mut self) {
        self.core.tick(self.now);
        while let Some(departure) = self.depart() {
            self.land(departure);
        }
    }

    /// What came of it: refusals and failures, then events, then orders to the prober.
    fn said(&mut self) -> String {
        let effects = self.core.effects();
        let mut said: Vec<String> = Vec::new();
        for (_, answer) in effects.answers {
            if let Err(error) = answer {
                said.push(format!("error {error}"));
            }
        }
        for event in effects.events {
            let author = if event.author.is_empty() { String::new() } else { format!(" by {}", event.author) };
            let detail = if event.detail.is_empty() { String::new() } else { format!(" {}", event.detail) };
            said.push(format!("{} {}{detail}{author}", event.kind, event.subject));
        }
        for order in effects.orders {
            let probes = order.probes.map(|probes| {
                let last = probes.last.map(|last| format!(" last {last}")).unwrap_or_default();
                format!("{}:{}{last}", probes.address, probes.checks.iter().map(|(_, port)| port.to_string()).collect::<Vec<_>>().join(","))
            });
            said.push(format!("probe {} {}", order.key, probes.unwrap_or("no more".into())));
        }
        said.join("; ")
    }
}

/// Each line: seconds, what happens (nothing, a command as in the registry's tests, `beat web/a`, `sees web/a unhealthy refused`,
/// `drained region/eu`, `store down`, `store silent`, `store fine`, `keys`), and behind ` => ` what comes of it.
fn check(script: &str) {
    let mut rig = Rig::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (happens, expected) = line.split_once(" =>").unwrap();
        let (at, what) = happens.split_once(' ').unwrap_or((happens, ""));
        rig.now = Timestamp((at.parse::<f64>().unwrap() * 1000.0) as u64);
        rig.core.tick(rig.now);
        let words: Vec<&str> = what.splitn(4, ' ').collect();
        let mut keys = String::new();
        match words[..] {
            [""] => {}
            ["store", "down"] => rig.weather = Weather::Down,
            ["store", "silent"] => rig.weather = Weather::Fog(true),
            ["store", "fine"] => rig.weather = Weather::Fine,
            ["keys"] => keys = rig.items.keys().map(|key| key.to_string()).collect::<Vec<_>>().join(" "),
            ["beat", name] => rig.beat(key(name)),
            ["sees", name, "healthy"] => rig.observe(key(name), Health::Healthy, ""),
            ["sees", name, "unhealthy", why] => rig.observe(key(name), Health::Unhealthy, why),
            ["drained", subject] => {
                let registry = read(&rig.core.registry);
                let drain = &registry.drains[&Subject::parse(subject).unwrap()].drain;
                keys = format!("{} {}", drain.stage(rig.now), drain.out(rig.now).share.ratio());
            }
            _ => rig.ask(command_at(what, rig.now)),
        }
        rig.run();
        let said = format!("{keys}{}", rig.said());
        assert_eq!(said, expected.trim(), "{line}");
    }
}

#[test]
fn what_happens_is_told_and_ordered() {
    check(
        r#"
        0 put web/a {"ports": {"http": 80}, "checks": [{"tcp": true}]} => registered instance/web/a 192.0.2.1 in eu/1 by me; probe web/a 192.0.2.1:80
        1 sees web/a healthy => health instance/web/a healthy
        2 put web/a {"ports": {"http": 80}, "checks": [{"tcp": true}], "weight": 2} => replaced instance/web/a 192.0.2.1 in eu/1 by me
        3 put web/a {"ports": {"http": 81}, "checks": [{"tcp": true}]} => replaced instance/web/a 192.0.2.1 in eu/1 by me; probe web/a 192.0.2.1:81 last healthy
        4 sees web/a unhealthy refused => health instance/web/a unhealthy: refused
        5 put web/b {"ports": {"http": 80}} => registered instance/web/b 192.0.2.1 in eu/1 by me
        6 service web {"checks": [{"tcp": true}]} => service_changed service/web changed, policy nearest by me; health instance/web/b pending by me; probe web/b 192.0.2.1:80
        7 service bad {} => error branches: does not compile
        8 push web/b late => health instance/web/b unhealthy: critical: late by me
        9 put web/a {"ports": {"x": 1}} => error ports: the service would have the ports http, x; say which is its `default_port` (PUT /v1/services/web)
        "#,
    );
    check(
        r#"
        0 put web/a {"ports": {"http": 80}, "checks": [{"tcp": true}]} => registered instance/web/a 192.0.2.1 in eu/1 by me; probe web/a 192.0.2.1:80
        1 sees web/a healthy => health instance/web/a healthy
        1 keys => health/web/a instances/web/a
        2 delete web/a => deregistered instance/web/a by me; probe web/a no more
        2 keys =>
        3 sees web/a healthy =>
        3 keys =>
        4 put web/a => registered instance/web/a 192.0.2.1 in eu/1 by me
        5 push web/a x => health instance/web/a unhealthy: critical: x by me
        6 service web => service_changed service/web changed, policy nearest by me
        6 keys => health/web/a instances/web/a services/web
        7 drop web => service_removed service/web with 1 instances by me
        7 keys =>
        "#,
    );
}

#[test]
fn heartbeats_are_missed_resumed_and_end_in_deregistration() {
    check(
        r#"
        0 put web/a {"heartbeat": "30s", "deregister_after": "60s"} => registered instance/web/a 192.0.2.1 in eu/1 by me
        29.9 =>
        30 => health instance/web/a unhealthy: no heartbeat for 30s
        30 keys => health/web/a instances/web/a
        40 beat web/a => health instance/web/a healthy
        69.9 =>
        70 => health instance/web/a unhealthy: no heartbeat for 30s
        129 store down =>
        130 =>
        130.9 =>
        131 store fine => expired instance/web/a deregistered, for its heartbeats stopped
        131 keys =>
        132 beat web/a => error there is no instance web/a
        133 put web/b => registered instance/web/b 192.0.2.1 in eu/1 by me
        134 beat web/b => error heartbeat: the instance was registered without one; register it with `heartbeat` to send beats
        140 put web/b {"heartbeat": "10s"} => replaced instance/web/b 192.0.2.1 in eu/1 by me
        149 put web/b {"heartbeat": "2s"} => replaced instance/web/b 192.0.2.1 in eu/1 by me
        151 => health instance/web/b unhealthy: no heartbeat for 2s
        152 put web/b {"heartbeat": "2s"} => replaced instance/web/b 192.0.2.1 in eu/1 by me; health instance/web/b healthy by me
        "#,
    );
}

/// Each line: seconds, what happens to the service's instances (nothing, a command, `beat a`, `a h`, `a h?`, `a u`, `a u?` for verdicts,
/// `old a h` for one under an order before the last, `restart`), and behind ` => ` how web/a is then, and how often the service was
/// compiled since the line before.
fn follow(script: &str) {
    let mut rig = Rig::new();
    let check = r#""ports": {"http": 80}, "checks": [{"tcp": true}]"#;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (happens, expected) = line.split_once(" =>").unwrap();
        let (at, what) = happens.split_once(' ').unwrap_or((happens, ""));
        let until = Timestamp((at.parse::<f64>().unwrap() * 1000.0) as u64);
        let mut compiled = 0;
        let mut count = |rig: &mut Rig| compiled += rig.core.effects().services.len();
        while let Some(due) = rig.core.next_deadline().filter(|due| *due <= until) {
            rig.now = due.max(rig.now);
            rig.run();
            count(&mut rig);
        }
        rig.now = until;
        let named = |id: &str| key(&format!("web/{id}"));
        match what.split(' ').collect::<Vec<_>>()[..] {
            [""] => {}
            ["restart"] => {
                rig.run();
                let now = rig.now;
                rig.core = Core::new(Registry::default(), HashMap::new(), now);
                rig.core.reread(rig.state(), &Arc::default(), &Geo::default(), now).unwrap();
            }
            ["beat", id] => rig.beat(named(id)),
            ["old", id, "h"] => {
                let order = rig.core.orders.in_force(&named(id)).unwrap() - 1;
                let late = Observation { key: named(id), order, health: Health::Healthy, wavers: false, why: String::new() };
                rig.core.handle(rig.now, Input::Observation(late));
            }
            [id, verdict] if !verdict.contains('/') && verdict != "web" => {
                let order = rig.core.orders.in_force(&named(id)).unwrap();
                let (health, why) = if verdict.starts_with('h') { (Health::Healthy, "") } else { (Health::Unhealthy, "refused") };
                let observation = Observation { key: named(id), order, health, wavers: verdict.ends_with('?'), why: why.into() };
                rig.core.handle(rig.now, Input::Observation(observation));
            }
            _ => rig.ask(command(&what.replace("CHECK", check))),
        }
        rig.run();
        count(&mut rig);
        let registry = read(&rig.core.registry);
        let vitals = &registry.instance(&key("web/a")).unwrap().vitals;
        let mut state = vitals.health().to_string();
        let mut add = |applies: bool, text: &str| state.push_str(if applies { text } else { "" });
        add(vitals.wavering(), "?");
        add(!vitals.is_steady() && !vitals.wavering(), " unsteady");
        add(vitals.unconfirmed, " unconfirmed");
        add(vitals.warmth(rig.now) < 100, &format!(" {}%", vitals.warmth(rig.now)));
        add(vitals.damping().held_until().is_some(), &format!(" ({})", vitals.reason()));
        add(compiled > 0, &format!(" x{compiled}"));
        assert_eq!(state, expected.trim(), "{line}");
    }
}

#[test]
fn a_service_is_compiled_when_an_instance_begins_to_waver_and_when_it_is_steady_again() {
    follow(
        r#"
        0 put web/a {CHECK} => pending x1
        1 a h => healthy x1
        2 a h =>  healthy
        3 a h? => healthy? x1
        4 a h? => healthy?
        5 a h => healthy x1
        6 a h? => healthy? x1
        7 a u => unhealthy x1
        8 a u? => unhealthy? x1
        9 a u => unhealthy x1
        10 push web/a x => unhealthy x1
        11 a u? => unhealthy
        "#,
    );
    follow(
        r#"
        0 put web/a {"heartbeat": "30s"} => healthy x1
        14 beat a => healthy
        28.9 => healthy
        29 => healthy? x1
        30 beat a => healthy x1
        44 put web/a {"heartbeat": "30s"} => healthy x1
        59 => healthy? x1
        60 put web/a {"heartbeat": "30s"} => healthy x1
        75 => healthy? x1
        90 => unhealthy x1
        91 beat a => healthy x1
        "#,
    );
}

#[test]
fn what_flaps_is_held_down_for_longer_each_time() {
    follow(
        r#"
        0 put web/a {CHECK} => pending x1
        1 a h => healthy x1
        2 a u => unhealthy x1
        3 a h => healthy x1
        4 a u => unhealthy x1
        5 a h => healthy x1
        6 a u => unhealthy (flapping: 3 turns; held down until 1970-01-01T00:00:36.000Z; refused) x1
        7 a h => unhealthy unsteady (flapping: 3 turns; held down until 1970-01-01T00:00:36.000Z) x1
        8 a u => unhealthy (flapping: 4 turns; held down until 1970-01-01T00:00:36.000Z; refused) x1
        9 a h => unhealthy unsteady (flapping: 4 turns; held down until 1970-01-01T00:00:36.000Z) x1
        35.9 => unhealthy unsteady (flapping: 4 turns; held down until 1970-01-01T00:00:36.000Z)
        36 => healthy x1
        40 a u => unhealthy (flapping: 5 turns; held down until 1970-01-01T00:01:40.000Z; refused) x1
        41 restart => unhealthy unsteady unconfirmed (flapping: 5 turns; held down until 1970-01-01T00:01:40.000Z; refused) x1
        42 a h => unhealthy unsteady (flapping: 5 turns; held down until 1970-01-01T00:01:40.000Z)
        100 => healthy x1
        101 a u => unhealthy (flapping: 6 turns; held down until 1970-01-01T00:03:41.000Z; refused) x1
        102 service web {"damping": false} => unhealthy x1
        103 a h => healthy x1
        104 a u => unhealthy x1
        105 a h => healthy x1
        106 a u => unhealthy x1
        107 a h => healthy x1
        108 a u => unhealthy x1
        "#,
    );
    // Its user may say what he likes, and a machine at another address is another machine.
    follow(
        r#"
        0 put web/a {"heartbeat": "2s"} => healthy x1
        3 beat a => healthy x3
        6 beat a => healthy x3
        9 => unhealthy (flapping: 3 turns; held down until 1970-01-01T00:00:38.000Z; no heartbeat for 2s) x2
        10 push web/a x => unhealthy (flapping: 3 turns; held down until 1970-01-01T00:00:38.000Z; no heartbeat for 2s) x1
        11 put web/a {"heartbeat": "2s", "addresses": ["192.0.2.9"]} => unhealthy x1
        "#,
    );
    follow(
        r#"
        0 put web/a => healthy x1
        1 push web/a x => unhealthy x1
        1 put web/a => unhealthy x1
        "#,
    );
}

#[test]
fn what_recovers_warms_up_in_twelve_steps_while_others_carry_the_load() {
    follow(
        r#"
        0 put web/a {CHECK} => pending x1
        0 put web/b {"az": "2"} => pending x1
        0 put web/c {"region": "us"} => pending x1
        1 a h => healthy x1
        2 a u => unhealthy x1
        3 a h => healthy 10% x1
        5 => healthy 13% x1
        33 => healthy 55% x5
        62.9 => healthy 99% x6
        65 => healthy x1
        300 => healthy
        301 a u => unhealthy x1
        302 drain az/eu/2 => unhealthy
        303 a h => healthy x1
        304 undrain az/eu/2 => healthy
        305 a u => unhealthy x1
        500 delete web/b => unhealthy x1
        501 a h => healthy x1
        502 put web/b => healthy x1
        700 a u => unhealthy x1
        701 a h => healthy 10% x1
        710 restart => healthy unsteady unconfirmed 23% x3
        711 a h => healthy 25% x1
        720 a u => unhealthy x3
        721 a h => healthy 10% x1
        722 service web {"slow_start": "0s"} => healthy x1
        "#,
    );
    // A heartbeat is as good as a check; a new instance need not warm up.
    follow(
        r#"
        0 put web/a {"heartbeat": "30s"} => healthy x1
        0 put web/b => healthy x1
        31 => unhealthy x2
        40 put web/a {"heartbeat": "30s"} => healthy 10% x1
        "#,
    );
}

#[test]
fn a_verdict_on_what_was_there_before_counts_no_longer() {
    follow(
        r#"
        0 put web/a {CHECK} => pending x1
        1 put web/a {CHECK, "addresses": ["192.0.2.9"]} => pending x1
        2 old a h => pending
        3 a h => healthy x1
        4 put web/a {CHECK, "addresses": ["192.0.2.9"], "weight": 7} => healthy x1
        5 a u => unhealthy x1
        "#,
    );
}

#[test]
fn drains_end_by_themselves_even_while_the_store_is_down() {
    check(
        r#"
        0 put web/a => registered instance/web/a 192.0.2.1 in eu/1 by me
        1 drain region/eu {"expires": "10s"} => drained region/eu until 1970-01-01T00:00:11.000Z: drill; safety rules overruled: test by me
        2 drain region/eu {"expires": "20s"} => drained region/eu until 1970-01-01T00:00:22.000Z: drill; safety rules overruled: test by me
        11 =>
        21 store down =>
        22 => drain_expired region/eu drill
        22 keys => drains/region/eu instances/web/a
        22.5 drain service/web => error nothing was changed: the store is unavailable: down
        23 store fine =>
        23 keys => instances/web/a lifted/eu
        24 drain region/eu {"expires": "20s"} => drained region/eu until 1970-01-01T00:00:44.000Z: drill; safety rules overruled: test by me
        25 undrain region/eu => undrained region/eu by me
        44 =>
        "#,
    );
}

#[test]
fn ramps_go_on_by_themselves() {
    check(
        r#"
        0 put web/a => registered instance/web/a 192.0.2.1 in eu/1 by me
        0 put web/b {"region": "us"} => registered instance/web/b 192.0.2.1 in us/1 by me
        1 safely region/eu {"ramp": "100s", "expires": "1000s"} => drained region/eu until 1970-01-01T00:16:41.000Z, from 1970-01-01T00:00:31.000Z on within 1m40s: drill by me
        2 drained region/eu => announced 0
        2 safely region/us => error 0 of 2 regions would be up, 1 is the least; region eu is drained already, and only one may be at a time; `--override` with a reason overrules
        56 drained region/eu => ramping 0.25
        56 pause region/eu => paused region/eu at 25.0 % by me
        60 drained region/eu => paused 0.25
        60 resume region/eu => resumed region/eu at 25.0 % by me
        85 undrain region/eu 200s => lifting region/eu until 1970-01-01T00:03:05.000Z by me
        85 safely region/us => error 0 of 2 regions would be up, 1 is the least; region eu is still being lifted, and only one may be out at a time; `--override` with a reason overrules
        184.9 store down =>
        185 => undrained region/eu
        185 keys => drains/region/eu instances/web/a instances/web/b
        186.5 store fine =>
        186.5 keys => instances/web/a instances/web/b lifted/eu
        200 safely service/web {"ramp": "10s", "expires": "100s"} => drained service/web until 1970-01-01T00:05:00.000Z, from 1970-01-01T00:03:50.000Z on within 10s: drill by me
        300 => drain_expired service/web drill; back in answers by 1970-01-01T00:05:10.000Z
        305 drained service/web => lifting 0.5
        310 => undrained service/web
        310 keys => instances/web/a instances/web/b lifted/eu
        "#,
    );
}

#[test]
fn a_ramp_is_shown_step_by_step_and_survives_a_restart() {
    let mut rig = Rig::new();
    rig.ask(command("put web/a"));
    for (subject, ramp) in [("region/eu", "100s"), ("service/web", "2s"), ("instance/web/a", "24h")] {
        rig.ask(command(&format!(r#"drain {subject} {{"ramp": "{ramp}", "expires": "72h"}}"#)));
    }
    rig.run();
    rig.core.effects();
    let subject = Subject::parse("region/eu").unwrap();
    let out = |rig: &Rig| read(&rig.core.registry).drains[&subject].drain.out(rig.now);
    let (mut steps, mut restarted) = ([0, 0], false);
    while rig.now < Timestamp(131_000) {
        rig.now = rig.core.next_deadline().unwrap();
        rig.run();
        let effects = rig.core.effects();
        assert!(effects.drained || !effects.services.is_empty(), "answers follow at {}", rig.now);
        steps[0] += usize::from(effects.drained);
        steps[1] += usize::from(!effects.services.is_empty());
        if rig.now >= Timestamp(80_000) && !restarted {
            restarted = true;
            let before = out(&rig);
            assert!((0.49..0.51).contains(&before.share.ratio()));
            rig.core = Core::new(Registry::default(), HashMap::new(), rig.now);
            rig.core.reread(rig.state(), &Arc::default(), &Geo::default(), rig.now).unwrap();
            rig.core.effects();
            assert_eq!(out(&rig), before);
        }
    }
    assert_eq!(out(&rig).share, Share::ALL);
    // 100 s in steps of a 256th of it; 2 s in steps of 100 ms, and a day in steps of 5 s.
    assert!((256..=260).contains(&steps[0]) && (38..=44).contains(&steps[1]), "{steps:?}");
}

#[test]
fn who_waits_for_a_region_waits_across_a_restart() {
    let mut rig = Rig::new();
    let wait = Input::Safety(SafetySettings { wait: "60s".parse().unwrap(), ..SafetySettings::default() });
    rig.core.handle(rig.now, wait);
    for text in ["put web/a", r#"put web/b {"region": "us"}"#, "safely region/eu", "undrain region/eu"] {
        rig.ask(command(text));
        rig.run();
    }
    rig.core.effects();
    let state = rig.state();
    rig.core = Core::new(records::read(state.0, state.1).unwrap().registry, HashMap::new(), rig.now);
    rig.core.handle(rig.now, Input::Safety(SafetySettings { wait: "60s".parse().unwrap(), ..SafetySettings::default() }));
    for (at, said) in [(59, "error region eu came back 59s ago, and 1m must pass before the next one goes; `--ov"), (60, "drained")] {
        rig.now = Timestamp(at * 1_000);
        rig.core.effects();
        rig.ask(command_at("safely region/us", rig.now));
        rig.run();
        let said_then = rig.said();
        assert!(said_then.starts_with(said), "{said_then}");
    }
}

#[test]
fn health_is_visible_while_the_store_is_down_and_persisted_later() {
    check(
        r#"
        0 put web/a {"ports": {"http": 80}, "checks": [{"tcp": true}]} => registered instance/web/a 192.0.2.1 in eu/1 by me; probe web/a 192.0.2.1:80
        1 store down =>
        1 sees web/a unhealthy refused => health instance/web/a unhealthy: refused
        1.5 put web/b => error nothing was changed: the store is unavailable: down
        1.6 push web/a => error nothing was changed: the store is unavailable: down
        1.7 keys => instances/web/a
        1.8 store fine =>
        1.8 store silent =>
        1.9 put web/c => error it is not known whether this was written: the store did not say whether the write was made; look before asking again
        2 store fine =>
        2 keys => health/web/a instances/web/a instances/web/c
        3 push web/a x =>
        "#,
    );
}

#[test]
fn what_happens_while_a_write_is_under_way_counts() {
    let mut rig = Rig::new();
    let checked = r#"{"ports": {"http": 80}, "checks": [{"tcp": true}], "heartbeat": "10s", "deregister_after": "10s"}"#;
    rig.ask(command(&format!("put web/a {checked}")));
    rig.run();
    rig.said();
    // Health that turns between departure and landing of a replacement stays.
    rig.ask(command(&format!("put web/a {}", checked.replace("{\"ports", "{\"weight\": 9, \"ports"))));
    let departure = rig.depart().unwrap();
    rig.observe(key("web/a"), Health::Unhealthy, "refused");
    assert_eq!(rig.said(), "health instance/web/a unhealthy: refused");
    assert_eq!(read(&rig.core.registry).instance(&key("web/a")).unwrap().instance.weight, 100, "not durable, not visible");
    rig.land(departure);
    assert_eq!(rig.said(), "replaced instance/web/a 192.0.2.1 in eu/1 by me");
    rig.run();
    assert!(rig.items.contains_key("health/web/a"));
    // A beat that comes while the instance is being deregistered learns how that went.
    for (weather, said) in [
        (Weather::Down, "health instance/web/a unhealthy: refused"),
        (
            Weather::Fine,
            "error there is no instance web/a; expired instance/web/a deregistered, for its heartbeats stopped; probe web/a no more",
        ),
    ] {
        rig.now = rig.now.plus(Duration::from_secs(20));
        rig.core.tick(rig.now);
        rig.now = rig.now.plus(Duration::from_secs(20));
        rig.core.tick(rig.now);
        rig.said();
        let departure = rig.depart().unwrap();
        rig.beat(key("web/a"));
        assert_eq!(rig.said(), "");
        rig.weather = weather;
        rig.land(departure);
        let answered = rig.said();
        assert!(weather == Weather::Down || answered == said, "{answered}");
    }
}

#[test]
fn a_big_service_is_removed_in_parts() {
    let mut rig = Rig::new();
    rig.ask(command("service web"));
    for n in 0..200 {
        rig.ask(command(&format!("put web/i{n} {{\"heartbeat\": \"5s\"}}")));
    }
    rig.run();
    assert_eq!(rig.core.effects().answers.len(), 201);
    rig.now = Timestamp(5_000);
    rig.run();
    assert_eq!(rig.items.len(), 401, "all of them have health to erase");
    rig.ask(command("drop web at=9"));
    rig.run();
    assert!(matches!(rig.core.effects().answers[..], [(_, Err(ApplyError::Refused(_)))]));
    // The store fails half way: the caller learns of it, and what is gone is gone everywhere.
    rig.ask(command("drop web"));
    let departure = rig.depart().unwrap();
    rig.land(departure);
    rig.weather = Weather::Down;
    rig.run();
    let effects = rig.core.effects();
    let [(_, Err(error))] = &effects.answers[..] else { panic!("{effects:?}") };
    assert!(error.to_string().starts_with("62 instances were removed, and then no more: "), "{error}");
    let left = read(&rig.core.registry).services["web"].instances.len();
    assert_eq!(rig.items.keys().filter(|key| key.starts_with("instances/")).count(), left);
    rig.weather = Weather::Fine;
    rig.ask(command("drop web"));
    rig.run();
    assert!(matches!(rig.core.effects().answers[..], [(_, Ok(_))]));
    assert!(rig.items.is_empty() && read(&rig.core.registry).services.is_empty());
}

#[test]
fn a_service_that_a_file_takes_while_it_is_removed_is_gone_in_part() {
    let mut rig = Rig::new();
    for n in 0..100 {
        rig.ask(command(&format!("put web/i{n}")));
    }
    rig.run();
    rig.core.effects();
    rig.ask(command("drop web"));
    let departure = rig.depart().unwrap();
    rig.land(departure);
    rig.load(&[zone("z.toml", r#"{"services": {"web": {}}}"#)]);
    rig.run();
    let effects = rig.core.effects();
    let [(_, Err(error))] = &effects.answers[..] else { panic!("{effects:?}") };
    assert_eq!(
        error.to_string(),
        "62 instances were removed, and then no more: service/web is defined in z.toml; change it there; look before asking again"
    );
}

#[test]
fn files_that_are_loaded_say_nothing_of_what_the_store_holds() {
    let mut rig = Rig::new();
    rig.weather = Weather::Fog(true);
    rig.ask(command("put web/a"));
    let departure = rig.depart().unwrap();
    let commands = departure.commands.into_iter().filter_map(|operations| rig.commit(operations)).collect();
    let landing = Landing { commands, behind: None };
    rig.core.land(rig.now, landing);
    assert!(rig.core.is_unsure());
    rig.load(&[]);
    assert!(rig.core.is_unsure(), "what the store made of web/a is still to be read");
}

#[test]
fn a_drain_that_ended_before_the_store_was_read_anew_is_erased() {
    let mut rig = Rig::new();
    rig.ask(command("put web/a"));
    rig.run();
    rig.weather = Weather::Fog(true);
    rig.ask(command_at(r#"drain region/eu {"expires": "1s"}"#, rig.now));
    let departure = rig.depart().unwrap();
    let commands = departure.commands.into_iter().filter_map(|operations| rig.commit(operations)).collect();
    let landing = Landing { commands, behind: None };
    rig.core.land(rig.now, landing);
    rig.weather = Weather::Fine;
    rig.now = Timestamp(5_000);
    let state = rig.state();
    rig.core.reread(state, &Arc::default(), &Geo::default(), rig.now).unwrap();
    rig.run();
    assert_eq!(rig.items.keys().map(|key| &**key).collect::<Vec<_>>(), ["instances/web/a", "lifted/eu"]);
    // One that was lifted without the writer hearing of it has ended as well.
    rig.ask(command_at("drain region/eu", rig.now));
    rig.run();
    rig.weather = Weather::Fog(true);
    rig.now = Timestamp(9_000);
    rig.ask(command("undrain region/eu"));
    rig.run();
    rig.weather = Weather::Fine;
    rig.run();
    assert_eq!(read(&rig.core.registry).lifted[&label("eu")], rig.now);
    assert_eq!(rig.items.keys().map(|key| &**key).collect::<Vec<_>>(), ["instances/web/a", "lifted/eu"]);
}

#[test]
fn an_instance_expires_again_once_a_file_lets_go_of_it() {
    let mut rig = Rig::new();
    let body = r#"{"heartbeat": "10s", "deregister_after": "10s"}"#;
    rig.ask(command(&format!("put web/a {body}")));
    rig.run();
    rig.load(&[zone("z.toml", &format!(r#"{{"services": {{"web": {{"instances": {{"a": {body}}}}}}}}}"#))]);
    for seconds in [10, 20, 30, 100] {
        rig.now = Timestamp(seconds * 1000);
        rig.run();
    }
    assert!(rig.items.contains_key("instances/web/a"), "what a file says is not for the server to remove");
    rig.load(&[]);
    for seconds in [110, 120, 130] {
        rig.now = Timestamp(seconds * 1000);
        rig.run();
    }
    assert!(rig.items.is_empty(), "{:?}", rig.items.keys());
}

/// Who reads a revision and then waits for one after it must not have seen only a part of that revision.
#[test]
fn a_revision_is_visible_as_a_whole() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut rig = Rig::new();
    let (registry, over) = (rig.core.registry.clone(), Arc::new(AtomicBool::new(false)));
    let done = over.clone();
    let reader = std::thread::spawn(move || {
        let mut seen: BTreeMap<Revision, BTreeSet<usize>> = BTreeMap::new();
        while !done.load(Ordering::Relaxed) {
            if let Some(service) = read(&registry).services.get(&label("web")) {
                seen.entry(service.changed).or_default().insert(service.instances.len());
            }
            std::hint::spin_loop();
        }
        seen
    });
    for n in 0..60 * MAX_OPERATIONS {
        rig.ask(command(&format!("put web/i{n}")));
    }
    rig.run();
    over.store(true, Ordering::Relaxed);
    let torn: Vec<_> = reader.join().unwrap().into_iter().filter(|(_, sizes)| sizes.len() > 1).collect();
    assert!(torn.is_empty(), "{torn:?}");
}

#[test]
fn many_commands_go_in_few_commits() {
    let mut rig = Rig::new();
    for n in 0..1000 {
        rig.ask(command(&format!("put web/i{n}")));
    }
    rig.run();
    assert_eq!(rig.revision, Revision(8));
    let answers = rig.core.effects().answers;
    assert_eq!(answers.len(), 1000);
    assert!(answers.iter().enumerate().all(|(n, (reply, answer))| *reply == n + 1 && answer.is_ok()));
    assert_eq!(read(&rig.core.registry).services["web"].instances.get("i999").unwrap().revision, Revision(8));
}

/// Anything that can happen, in any order, with commits that fail or whose fate is unknown.
#[derive(Debug, Clone)]
enum Step {
    Ask(String),
    Observe(&'static str, bool),
    Beat(&'static str),
    Wait(u64),
    Depart,
    Land(Weather),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = prop::sample::select(vec!["web/a", "web/b", "api/a"]);
    let body = prop::sample::select(vec![
        "",
        r#"{"ports": {"http": 80}, "checks": [{"tcp": true}]}"#,
        r#"{"region": "us", "heartbeat": "5s", "deregister_after": "5s"}"#,
        r#"{"heartbeat": "3s"}"#,
    ]);
    let subject = prop::sample::select(vec!["region/eu", "service/web", "instance/web/a"]);
    let command = prop_oneof![
        6 => (name.clone(), body).prop_map(|(name, body)| format!("put {name} {body}")),
        2 => name.clone().prop_map(|name| format!("delete {name}")),
        1 => Just(r#"service web {"ports": {"http": 80}, "checks": [{"tcp": true}]}"#.to_string()),
        1 => Just("service web".to_string()),
        1 => Just("drop web".to_string()),
        1 => subject.clone().prop_map(|name| format!("drain {name}")),
        1 => subject.clone().prop_map(|name| format!("drain {name} {{\"ramp\": \"2s\", \"expires\": \"40s\"}}")),
        1 => (prop::sample::select(vec!["pause", "resume"]), subject.clone()).prop_map(|(verb, name)| format!("{verb} {name}")),
        1 => subject.prop_map(|name| format!("undrain {name}")),
        2 => name.clone().prop_map(|name| format!("push {name} note")),
    ];
    let weather = prop_oneof![
        5 => Just(Weather::Fine), 1 => Just(Weather::Down), 1 => Just(Weather::Fog(true)), 1 => Just(Weather::Fog(false))
    ];
    let step = prop_oneof![
        6 => command.prop_map(Step::Ask),
        3 => (name.clone(), any::<bool>()).prop_map(|(name, well)| Step::Observe(name, well)),
        2 => name.prop_map(Step::Beat),
        2 => (100u64..6000).prop_map(Step::Wait),
        4 => Just(Step::Depart),
        4 => weather.prop_map(Step::Land),
    ];
    prop::collection::vec(step, 1..60)
}

/// Registry and health as texts, without what a restart may forget.
fn essence(registry: &Registry) -> Vec<String> {
    let mut texts = Vec::new();
    for (name, service) in &registry.services {
        texts.push(format!("{name} {:?} {:?} {:?}", service.service.fields, service.source, service.revision));
        for (id, entry) in &service.instances {
            let vitals = &entry.vitals;
            // Without a word in the store, checks are pending and heartbeats on time.
            texts.push(format!(
                "{name}/{id} {:?} {:?} {:?}",
                entry.instance,
                entry.revision,
                (vitals.probed, vitals.beating, vitals.pushed())
            ));
        }
    }
    texts.extend(registry.drains.iter().map(|(subject, entry)| format!("{subject} {entry:?}")));
    texts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: every caller is answered once; what failed for certain is not visible; and once all is settled, a restart
    /// finds what was visible before.
    #[test]
    fn a_restart_finds_what_was_visible(steps in steps()) {
        let mut rig = Rig::new();
        let mut under_way = None;
        let mut answered = BTreeMap::new();
        for step in steps {
            match step {
                Step::Ask(text) => rig.ask(command_at(&text, rig.now)),
                Step::Observe(name, well) => rig.observe(key(name), if well { Health::Healthy } else { Health::Unhealthy }, "why"),
                Step::Beat(name) => rig.beat(key(name)),
                Step::Wait(millis) => {
                    rig.now = Timestamp(rig.now.0 + millis);
                    rig.core.tick(rig.now);
                }
                Step::Depart if under_way.is_none() => under_way = rig.depart(),
                Step::Depart => prop_assert_eq!(rig.depart(), None),
                Step::Land(weather) => {
                    rig.weather = weather;
                    let before = essence(&read(&rig.core.registry));
                    if let Some(departure) = under_way.take() {
                        let waiting = !rig.core.waiting.is_empty();
                        rig.land(departure);
                        if weather == Weather::Down && !waiting {
                            prop_assert_eq!(&before, &essence(&read(&rig.core.registry)));
                        }
                    }
                }
            }
            for (reply, answer) in rig.core.effects().answers {
                prop_assert!(answered.insert(reply, answer.is_ok()).is_none(), "{} is answered twice", reply);
            }
        }
        rig.weather = Weather::Fine;
        if let Some(departure) = under_way.take() {
            rig.land(departure);
        }
        rig.now = rig.now.plus(RETRY);
        rig.run();
        for (reply, answer) in rig.core.effects().answers {
            prop_assert!(answered.insert(reply, answer.is_ok()).is_none(), "{} is answered twice", reply);
        }
        prop_assert_eq!(answered.len(), rig.asked);
        prop_assert!(rig.core.is_idle());
        let visible = essence(&read(&rig.core.registry));
        let mut again: Core<usize> = Core::new(Registry::default(), HashMap::new(), rig.now);
        again.reread(rig.state(), &Arc::default(), &Geo::default(), rig.now).unwrap();
        prop_assert_eq!(visible, essence(&read(&again.registry)));
        let orphans = rig.items.keys().filter(|key| key.starts_with("health/"));
        let registry = read(&rig.core.registry);
        let instances = registry.services.iter().flat_map(|(service, entry)| entry.instances.keys().map(move |id| (service, id)));
        let key = |(service, id): (&Label, &Label)| records::health_key(&InstanceKey { service: service.clone(), id: id.clone() });
        let known: Vec<Key> = instances.map(key).collect();
        for orphan in orphans {
            prop_assert!(known.contains(orphan), "{} is left behind", orphan);
        }
    }
}
