//! What one change of health costs the writer: to take it, to compile and publish it, and to let the snapshot before it go.

use std::time::{Duration, Instant};

use signpost::control::{Observation, Writer};
use signpost::model::{Geo, Health, InstanceKey, Revision, Settings, Timestamp};
use signpost::snapshot::{Publisher, Snapshot};

use crate::world::{self, Dice};

/// How long each row is measured.
const TIME: Duration = Duration::from_secs(2);

/// Prints a row for each size, or for that one, in worlds of as many instances.
pub fn run(instances: usize, only: Option<usize>) {
    println!(
        "{:>8} {:>9} {:>6} {:>9} {:>9} {:>9} {:>9}  µs per change of health",
        "size", "services", "batch", "take", "compile", "publish", "all"
    );
    for size in [1, 10, 100, 1000, 10_000] {
        if size > instances || only.is_some_and(|only| only != size) {
            continue;
        }
        let services = instances / size;
        let mut desk = Desk::new(services, size);
        for batch in [1, 64] {
            desk.measure(size, batch);
        }
    }
}

struct Desk {
    writer: Writer<()>,
    publisher: Publisher,
    orders: Vec<(InstanceKey, u64)>,
    healthy: Vec<bool>,
    now: Timestamp,
}

impl Desk {
    fn new(services: usize, size: usize) -> Desk {
        let now = Timestamp(1_790_000_000_000);
        let items = world::items(services, size);
        let writer = Writer::begin((Revision(1), items), Vec::new(), Geo::default(), &Settings::default().dns, now).unwrap();
        let orders = world::orders(writer.probe_orders().into_iter(), services, size);
        let publisher = Publisher::new(Snapshot::clone(writer.snapshot()));
        let mut desk = Desk { writer, publisher, healthy: vec![true; orders.len()], orders, now };
        let all: Vec<Observation> = (0..desk.orders.len()).map(|number| desk.observation(number, true)).collect();
        desk.writer.observe(now, all.into_iter());
        desk.publish();
        desk
    }

    fn observation(&self, number: usize, healthy: bool) -> Observation {
        let (key, order) = &self.orders[number];
        let (health, why) = if healthy { (Health::Healthy, String::new()) } else { (Health::Unhealthy, "tcp: connection refused".into()) };
        Observation { key: key.clone(), order: *order, health, wavers: false, why }
    }

    fn publish(&mut self) -> Duration {
        let output = self.writer.output(self.now);
        let begin = Instant::now();
        self.publisher.publish(output.snapshot.unwrap());
        begin.elapsed()
    }

    fn measure(&mut self, size: usize, batch: usize) {
        let mut dice = Dice(7);
        let (mut take, mut compile, mut publish, mut changes) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0_u32);
        let (begin, mut seen) = (Instant::now(), Vec::new());
        while begin.elapsed() < TIME {
            seen.extend((0..batch).map(|_| {
                let number = dice.below(self.orders.len());
                self.healthy[number] = !self.healthy[number];
                self.observation(number, self.healthy[number])
            }));
            let started = Instant::now();
            self.writer.observe(self.now, seen.drain(..));
            let taken = Instant::now();
            let published = self.publish();
            (take, publish, changes) = (take + (taken - started), publish + published, changes + batch as u32);
            compile += taken.elapsed() - published;
        }
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(changes);
        let (take, compile, publish) = (micros(take), micros(compile), micros(publish));
        let services = self.orders.len() / size;
        println!("{size:>8} {services:>9} {batch:>6} {take:>9.2} {compile:>9.2} {publish:>9.2} {:>9.2}", take + compile + publish);
    }
}
