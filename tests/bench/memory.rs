//! Octets of memory per instance by part, and the time it takes to begin with them: `cargo bench --bench memory [-- INSTANCES [PER_SERVICE]]`.
//!
//! Two shapes, where nothing is said: 1,000,000 instances in 100,000 services, and in as many services as instances. Each has one IPv4
//! address, one port, one of six localities, and a heartbeat or a TCP check. The heap is counted by the allocator: what is asked for, and
//! what glibc's malloc takes for it (a header of 8 octets, multiples of 16, at least 32). A part is what its end gives back.
#![allow(clippy::disallowed_methods)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use signpost::control::{Input, Observation, Writer};
use signpost::model::{Geo, Health, InstanceKey, Label, Revision, Settings, Timestamp};
use signpost::snapshot::Publisher;
use signpost::store::Item;

static ASKED: AtomicUsize = AtomicUsize::new(0);
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
struct Counting;

fn taken(size: usize) -> usize {
    ((size + 8).next_multiple_of(16)).max(32)
}

// SAFETY: every call is passed on to `System` as it came.
#[expect(unsafe_code, reason = "an allocator has no safe interface")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(layout.size(), Relaxed);
        TAKEN.fetch_add(taken(layout.size()), Relaxed);
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ASKED.fetch_sub(layout.size(), Relaxed);
        TAKEN.fetch_sub(taken(layout.size()), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.fetch_add(size, Relaxed);
        TAKEN.fetch_add(taken(size), Relaxed);
        ASKED.fetch_sub(layout.size(), Relaxed);
        TAKEN.fetch_sub(taken(layout.size()), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Octets that are in use: asked for, and taken.
fn heap() -> (usize, usize) {
    (ASKED.load(Relaxed), TAKEN.load(Relaxed))
}

/// Pages that the process has in memory, in octets.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// How instances show that they live.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Sign {
    Heartbeat,
    Check,
}

/// What a store holds of so many instances, in the order of its keys.
fn items(instances: usize, per_service: usize, sign: Sign) -> Vec<Item> {
    let sign = match sign {
        Sign::Heartbeat => r#""heartbeat":"10s""#,
        Sign::Check => r#""checks":[{"tcp":true,"port":"http","interval":"5s","timeout":"2s","rise":2,"fall":3}]"#,
    };
    let mut items = Vec::with_capacity(instances);
    for n in 0..instances {
        let (region, az) = (["eu-west", "us-east", "ap-south"][n % 3], ["a", "b"][n / 3 % 2]);
        let value = format!(
            r#"{{"addresses":["10.{}.{}.{}"],"ports":{{"http":8080}},"region":"{region}","az":"{region}-1{az}","weight":100,{sign}}}"#,
            n >> 16 & 255,
            n >> 8 & 255,
            n & 255,
        );
        let key = format!("instances/service-{:06}/i-{n:07}", n / per_service);
        items.push(Item { key: key.into(), value: value.into_bytes().into(), revision: Revision(n as u64 + 1) });
    }
    items
}

fn measure(instances: usize, per_service: usize, sign: Sign) {
    println!("{instances} instances in {} services, {sign:?}", instances.div_ceil(per_service));
    let dns = Settings::default().dns;
    let now = Timestamp(1_800_000_000_000);
    let items = items(instances, per_service, sign);
    let (before, heap_before) = (resident(), heap());
    let begin = Instant::now();
    let mut writer: Writer<usize> = Writer::begin((Revision(instances as u64), items), Vec::new(), Geo::default(), &dns, now).unwrap();
    println!(
        "  begins in {:.2} s; {} MB resident with what was read, {} before",
        begin.elapsed().as_secs_f64(),
        resident() >> 20,
        before >> 20
    );
    update(&mut writer, instances, per_service, sign, now);
    let per = |octets: usize| octets as f64 / instances as f64;
    let (registry, snapshot) = (writer.registry().clone(), writer.snapshot().clone());
    let mut last = heap();
    let mut part = |name: &str| {
        let now = heap();
        println!("  {name:<28} {:>8.1} asked {:>8.1} taken", per(last.0 - now.0), per(last.1 - now.1));
        last = now;
    };
    let whole = heap().1;
    drop(writer);
    part("beats, deadlines, orders");
    drop(registry);
    part("registry");
    drop(snapshot);
    part("snapshot");
    println!("  {:<28} {:>23.1} taken", "together", per(whole - heap().1));
    println!("  left {:?} of {:?}", heap(), heap_before);
}

/// What a turn of health takes until it is published, one service each.
fn update(writer: &mut Writer<usize>, instances: usize, per_service: usize, sign: Sign, now: Timestamp) {
    let publisher = Publisher::new((**writer.snapshot()).clone());
    let orders = writer.probe_orders();
    let rounds = 2000.min(instances / per_service);
    let (mut compiled, mut published) = (0, 0);
    let mut worst = 0;
    for n in 0..rounds {
        let at = n.wrapping_mul(0x9e37_79b1) % instances;
        let label = |text: String| Label::parse(&text).unwrap();
        let key = InstanceKey { service: label(format!("service-{:06}", at / per_service)), id: label(format!("i-{at:07}")) };
        match sign {
            Sign::Check => {
                let order = orders[at].probes.as_ref().unwrap().order;
                let turn = Observation { key, order, health: Health::Unhealthy, wavers: false, why: "refused".into() };
                writer.handle(now, Input::Observation(turn));
            }
            Sign::Heartbeat => writer.handle(now, Input::Beat { reply: 0, key }),
        }
        let begin = Instant::now();
        let output = writer.output(now);
        let middle = Instant::now();
        output.snapshot.into_iter().for_each(|snapshot| publisher.publish(snapshot));
        let end = Instant::now();
        compiled += (middle - begin).as_nanos();
        published += (end - middle).as_nanos();
        worst = worst.max((end - begin).as_nanos());
    }
    println!(
        "  a change: {:.1} µs to compile, {:.1} µs to publish, {:.1} µs at worst",
        compiled as f64 / rounds as f64 / 1000.0,
        published as f64 / rounds as f64 / 1000.0,
        worst as f64 / 1000.0
    );
    // As it was, for the figures of memory.
    drop(Arc::clone(writer.snapshot()));
}

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let instances = numbers.first().copied().unwrap_or(1_000_000);
    let shapes = numbers.get(1).map_or(vec![10, 1], |per_service| vec![*per_service]);
    for per_service in shapes {
        for sign in [Sign::Heartbeat, Sign::Check] {
            measure(instances, per_service, sign);
        }
    }
}
