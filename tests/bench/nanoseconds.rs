//! Nanoseconds per answer by kind, without sockets: `cargo bench --bench nanoseconds [-- ROW]`. They depend on the machine and on what else
//! runs; for figures that do not, see `instructions.rs`. `NAMES` in the environment is the number of the many names, 100,000 without it.
#![allow(clippy::disallowed_methods)]

mod world;

use std::time::{Duration, Instant};

use signpost::snapshot::Snapshot;
use signpost::wire;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let names = std::env::var("NAMES").map_or(100_000, |names| names.parse().expect("NAMES is a number"));
    let snapshot = world::snapshot(names);
    let mut worker = world::worker();
    let mut reply = vec![0; 4096];
    println!("{:<18} {:>10} {:>8}", "row", "ns/answer", "octets");
    for row in world::rows(20_000, names) {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| row.label.contains(wanted.as_str())) {
            continue;
        }
        // The best of several rounds: what disturbs a round only adds to it.
        let mut best = Duration::MAX;
        let mut octets = 0;
        for _ in 0..20 {
            let begin = Instant::now();
            octets = row.queries.iter().map(|query| world::answer(&snapshot, &mut worker, query, &mut reply)).sum();
            best = best.min(begin.elapsed());
        }
        let count = row.queries.len();
        println!("{:<18} {:>10.1} {:>8.1}", row.label, best.as_nanos() as f64 / count as f64, octets as f64 / count as f64);
    }
    together(&snapshot, &wanted, names);
    signed(&wanted);
}

/// The many names, as they come to the server: some at once.
fn together(snapshot: &Snapshot, wanted: &[String], names: usize) {
    let mut worker = world::worker();
    let mut reply = vec![0; 4096];
    let rows = world::rows(200_000, names);
    let Some(row) = rows.iter().find(|row| row.label == "many names") else { return };
    for count in [1, 4, 16, 64] {
        let label = format!("{}, {count} at once", row.label);
        if !wanted.is_empty() && !wanted.iter().any(|wanted| label.contains(wanted.as_str())) {
            continue;
        }
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let begin = Instant::now();
            for queries in row.queries.chunks(count) {
                if count > 1 {
                    wire::look_ahead(snapshot, &mut worker, queries.iter().map(Vec::as_slice));
                }
                queries.iter().for_each(|query| _ = world::answer(snapshot, &mut worker, query, &mut reply));
            }
            best = best.min(begin.elapsed());
        }
        println!("{label:<24} {:>4.1}", best.as_nanos() as f64 / row.queries.len() as f64);
    }
}

/// The same with signatures: found, and made.
fn signed(wanted: &[String]) {
    let (snapshot, signer) = world::signed(1000);
    let mut worker = world::worker();
    let mut reply = vec![0; 4096];
    let is_wanted = |label: &str| wanted.is_empty() || wanted.iter().any(|wanted| label.contains(wanted.as_str()));
    for row in world::rows(2_000, 1000).into_iter().filter(|row| !row.label.contains("ECS")) {
        let label = format!("{}, DO", row.label);
        if !is_wanted(&label) {
            continue;
        }
        let queries: Vec<Vec<u8>> = row.queries.iter().map(|query| world::with_do(query)).collect();
        // Of names that nobody has, few are signed at a time.
        for (n, query) in (0..).zip(&queries) {
            world::answer_signed(&snapshot, &signer, &mut worker, query, world::NOW_MS + 10 * n, &mut reply);
        }
        let mut best = Duration::MAX;
        let mut octets = 0;
        for _ in 0..20 {
            let begin = Instant::now();
            octets = queries.iter().map(|query| world::answer(&snapshot, &mut worker, query, &mut reply)).sum();
            best = best.min(begin.elapsed());
        }
        let count = queries.len();
        println!("{label:<22} {:>6.1} {:>8.1}", best.as_nanos() as f64 / count as f64, octets as f64 / count as f64);
    }
    if is_wanted("signatures") {
        // As many RRsets that nobody has asked for yet.
        let (snapshot, signer) = world::signed(10_000);
        let queries: Vec<Vec<u8>> = (0..10_000).map(|n| world::with_do(&world::query(&format!("h{n}.many.test"), 1, None))).collect();
        let begin = Instant::now();
        queries.iter().for_each(|query| _ = world::answer_signed(&snapshot, &signer, &mut worker, query, world::NOW_MS, &mut reply));
        let took = begin.elapsed();
        let made = snapshot.signatures().made();
        println!(
            "signatures made: {made} in {took:?}, {:.0} a second, with the answers that they go with",
            made as f64 / took.as_secs_f64()
        );
    }
}
