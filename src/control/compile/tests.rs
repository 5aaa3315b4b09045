//! What follows a change of health is what compiling everything whole comes to.

use std::collections::BTreeSet;

use super::*;
use crate::control::core::{Input, Landing, read};
use crate::control::{Observation, Writer};
use crate::model::{Geo, Revision, Settings};
use crate::registry::tests::{command_at, key};

/// Choices that follow from a seed.
pub(in crate::control) struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    pub fn instance(&mut self) -> String {
        format!("{}/{}", self.one(&["web", "web", "api"]), self.one(&["a", "b", "c", "d", "e", "f"]))
    }

    fn subject(&mut self) -> String {
        match self.roll(4) {
            0 => "service/web".into(),
            1 => "region/eu".into(),
            _ => format!("instance/{}", self.instance()),
        }
    }

    pub fn command(&mut self) -> String {
        let checked = r#""ports":{"http":80},"checks":[{"tcp":true,"interval":"2s"}]"#;
        match self.roll(12) {
            0..5 => {
                let weight = self.one(&["", r#","weight":0"#, r#","weight":7"#]);
                let tags = self.one(&["", r#","tags":["blue"]"#, r#","tags":["blue","red"]"#]);
                let beats = self.one(&["", "", r#","heartbeat":"5s""#]);
                let (name, region) = (self.instance(), self.one(&["eu", "us"]));
                format!(r#"put {name} {{"region":"{region}",{checked}{weight}{tags}{beats}}}"#)
            }
            5 | 6 => {
                let slow = self.one(&["0s", "20s"]);
                let rest = self.one(&[
                    r#""policy":"sticky","all_down":"last_good""#,
                    r#""policy":"weighted","damping":false"#,
                    r#""branches":[{"region":"eu"},{"region":"us","tag":"blue"}],"policy":"failover","damping":false"#,
                ]);
                format!(r#"service {} {{"slow_start":"{slow}",{rest}}}"#, self.one(&["web", "api"]))
            }
            7 => format!("delete {}", self.instance()),
            8 => format!(r#"drain {} {{"expires":"9s"}}"#, self.subject()),
            9 => format!(r#"drain {} {{"ramp":"5s","expires":"20s"}}"#, self.subject()),
            10 => format!("undrain {}", self.subject()),
            _ => format!("push {} note", self.instance()),
        }
    }
}

/// The writer beside a store that takes everything, and what has become of the snapshot.
struct Rig {
    writer: Writer<()>,
    snapshot: Snapshot,
    revision: u64,
    now: Timestamp,
    turned: usize,
}

impl Rig {
    fn new() -> Rig {
        let (now, dns) = (Timestamp(1_000_000), Settings::default().dns);
        let writer = Writer::begin((Revision(1), Vec::new()), Vec::new(), Geo::default(), &dns, now).unwrap();
        Rig { snapshot: Snapshot::clone(writer.snapshot()), writer, revision: 1, now, turned: 0 }
    }

    fn step(&mut self, dice: &mut Dice) {
        match dice.roll(12) {
            0 | 1 => {
                let command = command_at(&dice.command(), self.now);
                self.writer.handle(self.now, Input::Command { reply: (), command, author: String::new() });
            }
            2 => {
                self.now = Timestamp(self.now.0 + dice.roll(3000) as u64);
                self.writer.tick(self.now);
            }
            // Time passes, and nobody has looked at what is due.
            3 => self.now = Timestamp(self.now.0 + dice.roll(900) as u64),
            4 => self.writer.handle(self.now, Input::Beat { reply: (), key: key(&dice.instance()) }),
            _ => {
                let key = key(&dice.instance());
                let health = if dice.roll(2) == 0 { Health::Healthy } else { Health::Unhealthy };
                let Some(order) = self.writer.core.orders.in_force(&key) else { return };
                let observation = Observation { key, order, health, wavers: dice.roll(3) == 0, why: "why".into() };
                self.writer.handle(self.now, Input::Observation(observation));
            }
        }
        while let Some(departure) = self.writer.depart(self.now) {
            let mut next = || {
                self.revision += 1;
                Ok(Revision(self.revision))
            };
            let commands = departure.commands.iter().map(|_| next()).collect();
            let behind = (!departure.behind.is_empty()).then(next);
            self.writer.land(self.now, Landing { commands, behind });
        }
    }

    /// Follows what happened, both ways.
    fn publish(&mut self) {
        let effects = self.writer.core.effects();
        let registry = read(&self.writer.core.registry);
        let whole = effects.services.keys().map(|name| (name, &Extent::Whole));
        let whole = compile(&self.snapshot, &registry, whole, effects.drained, self.now).unwrap();
        let next = compile(&self.snapshot, &registry, effects.services.iter(), effects.drained, self.now).unwrap();
        let told =
            |snapshot: &Snapshot| -> Vec<String> { snapshot.all_services().map(|(id, service)| format!("{id:?} {service:#?}")).collect() };
        assert_eq!(told(&next), told(&whole), "{:?}", effects.services);
        let restood = |(name, extent): (&Label, &Extent)| restand(&self.snapshot, &registry, name, extent, self.now).is_some();
        self.turned += effects.services.iter().filter(|service| restood(*service)).count();
        self.snapshot = next;
    }
}

/// Bit for bit: pools with all their sums, who was healthy last, how long answers hold.
#[test]
fn a_service_that_turned_is_the_service_compiled_whole() {
    let mut turned = 0;
    let mut sizes = BTreeSet::new();
    for seed in 0..200 {
        let (mut rig, mut dice) = (Rig::new(), Dice(seed));
        for _ in 0..150 {
            rig.step(&mut dice);
            if dice.roll(2) == 0 {
                rig.publish();
            }
        }
        turned += rig.turned;
        sizes.extend(rig.snapshot.all_services().map(|(_, service)| service.len()));
    }
    assert!(turned > 2000 && sizes.len() > 4, "{turned} turned, of {sizes:?}");
}
