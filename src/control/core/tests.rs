//! The writer on virtual time, beside a store that is a map: scripts of what happens and what comes of it.

mod commits;
mod drains;
mod health;
mod restart;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::control::{ApplyError, records};
use crate::model::{FieldError, Geo, Health, SafetySettings, Share, Zone};
use crate::registry::Change;
use crate::registry::tests::{command, command_at, key, label, zone};
use crate::store::{CommitError, Condition, Item, MAX_OPERATIONS, Operation, Value};

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
