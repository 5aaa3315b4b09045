//! The writer on virtual time, beside a store that is a map: scripts of what happens and what comes of it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::control::records;
use crate::model::{Drain, DrainFields, Geo, Health, Period, Zone};
use crate::registry::tests::{command, key, label, zone};
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

    fn observe(&mut self, key: InstanceKey, health: Health, why: &str) {
        self.core.handle(self.now, Input::Observation(Observation { key, health, why: why.into() }));
    }

    fn depart(&mut self) -> Option<Departure> {
        self.core.depart(self.now, &|_, name, _| match name.as_str() {
            "bad" => Err(FieldError::new("branches", "does not compile")),
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
        let landing = Landing { commands: self.commit(departure.commands), behind: self.commit(departure.behind) };
        if self.weather == Weather::Fine {
            let conflict = |outcome: &Option<Result<_, _>>| matches!(outcome, Some(Err(CommitError::Conflict { .. })));
            assert!(self.core.unsure || !conflict(&landing.commands) && !conflict(&landing.behind), "a conflict: {landing:?}");
        }
        self.core.land(self.now, landing);
        if self.core.is_unsure() {
            let state = self.state();
            self.core.reread(state, &[], &Geo::default(), self.now).unwrap();
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
/// `drain:SECONDS region/eu`, `store down`, `store silent`, `store fine`, `keys`), and behind ` => ` what comes of it.
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
            [verb, subject] if verb.starts_with("drain:") => {
                let fields = DrainFields { reason: "drill".into(), expires: Some(Period::seconds(verb[6..].parse().unwrap())) };
                let drain = Drain::start(fields, "me", rig.now).unwrap();
                rig.ask(Command::Drain { subject: Subject::parse(subject).unwrap(), drain });
            }
            _ => rig.ask(command(what)),
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

#[test]
fn drains_end_by_themselves_even_while_the_store_is_down() {
    check(
        r#"
        0 put web/a => registered instance/web/a 192.0.2.1 in eu/1 by me
        1 drain:10 region/eu => drained region/eu until 1970-01-01T00:00:11.000Z: drill by me
        2 drain:20 region/eu => drained region/eu until 1970-01-01T00:00:22.000Z: drill by me
        11 =>
        21 store down =>
        22 => drain_expired region/eu drill
        22 keys => drains/region/eu instances/web/a
        22.5 drain:10 service/web => error nothing was changed: the store is unavailable: down
        23 store fine =>
        23 keys => instances/web/a
        24 drain:20 region/eu => drained region/eu until 1970-01-01T00:00:44.000Z: drill by me
        25 undrain region/eu => undrained region/eu by me
        44 =>
        "#,
    );
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
    let landing = Landing { commands: rig.commit(departure.commands), behind: None };
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
    let fields = DrainFields { reason: "drill".into(), expires: Some(Period::seconds(1)) };
    let drain = Drain::start(fields, "me", rig.now).unwrap();
    rig.ask(Command::Drain { subject: Subject::parse("region/eu").unwrap(), drain });
    let departure = rig.depart().unwrap();
    let landing = Landing { commands: rig.commit(departure.commands), behind: None };
    rig.core.land(rig.now, landing);
    rig.weather = Weather::Fine;
    rig.now = Timestamp(5_000);
    let state = rig.state();
    rig.core.reread(state, &[], &Geo::default(), rig.now).unwrap();
    rig.run();
    assert_eq!(rig.items.keys().map(|key| &**key).collect::<Vec<_>>(), ["instances/web/a"]);
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
    assert_eq!(read(&rig.core.registry).services["web"].instances[&label("i999")].revision, Revision(8));
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
                (vitals.probed, vitals.beating, &vitals.pushed)
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
                Step::Ask(text) => rig.ask(command(&text)),
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
        again.reread(rig.state(), &[], &Geo::default(), rig.now).unwrap();
        prop_assert_eq!(visible, essence(&read(&again.registry)));
        let orphans = rig.items.keys().filter(|key| key.starts_with("health/"));
        let known: Vec<Key> = keys(&read(&rig.core.registry)).iter().map(records::health_key).collect();
        for orphan in orphans {
            prop_assert!(known.contains(orphan), "{} is left behind", orphan);
        }
    }
}
