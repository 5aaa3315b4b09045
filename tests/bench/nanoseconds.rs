//! Nanoseconds per answer by kind, without sockets: `cargo bench --bench nanoseconds [-- ROW]`. They depend on the machine and on what else
//! runs; for figures that do not, see `instructions.rs`. `NAMES` in the environment is the number of the many names, 100,000 without it.
#![allow(clippy::disallowed_methods)]

mod world;

use std::time::{Duration, Instant};

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
}
