//! Health changes and heartbeats at scale, in a server that runs within this process:
//!
//! ```text
//! cargo bench --bench flow -- cost [INSTANCES] [SIZE]               µs per change of health, by size of the service
//! cargo bench --bench flow -- flaps SERVICES SIZE RATE SECONDS      RATE changes/s (0: none), their delay to the answer, queries beside them
//! cargo bench --bench flow -- beats SERVICES SIZE RATE SECONDS [N]  heartbeats over HTTP, N in a request (1: a PUT each)
//! cargo bench --bench flow -- flood SERVICES SIZE RATE SECONDS      RATE queries/s beside a flood of names that nobody has, signed
//! ```
//!
//! `QUERIES=20000` sets the queries/s beside the changes. Questions and beats come from a process of their own.
#![allow(clippy::disallowed_methods)]

mod asking;
mod beats;
mod cost;
mod flaps;
mod flood;
mod world;

/// The product's: malloc and free are a good part of what a change of health costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |at: usize, default: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (services, size, rate, seconds) = (number(1, 10_000), number(2, 10), number(3, 100_000), number(4, 10));
    match arguments.first().map(String::as_str) {
        None | Some("cost") => cost::run(number(1, 100_000), arguments.get(2).and_then(|text| text.parse().ok())),
        Some("flaps") => flaps::run(services, size, rate, seconds as u64),
        Some("beats") => beats::run(services, size, rate, seconds as u64, number(5, 1000)),
        Some("flood") => flood::run(number(1, 1000), number(2, 4), number(3, 5_000), number(4, 10) as u64),
        Some("drown") => flood::drown(&arguments[1..]),
        Some("ask") => asking::run(&arguments[1..]),
        Some("send") => beats::send(&arguments[1..]),
        Some(other) => panic!("what is {other}?"),
    }
}
