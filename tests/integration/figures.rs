//! Figures, not tests: they take long and depend on the machine, so they run when asked for, in a release build:
//! `cargo test --release --test integration -- --ignored --nocapture figures`

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::durability::{body, lost_by_kills, stale_after_registering};
use crate::process::{Home, Http};

#[test]
#[ignore = "a figure: 10,000 registrations in a row"]
fn ten_thousand_registrations_in_a_row() {
    let begin = std::time::Instant::now();
    let stale = stale_after_registering(10_000);
    println!("10,000 registrations, each followed by two queries: {stale} stale, {:.1} s", begin.elapsed().as_secs_f64());
    assert_eq!(stale, 0);
}

#[test]
#[ignore = "a figure: five kills under eight writers"]
fn five_kills_under_eight_writers() {
    let (acknowledged, lost) = lost_by_kills(5);
    println!("5 × kill -9 under 8 writers: {acknowledged} acknowledged, {lost} lost");
    assert_eq!(lost, 0);
}

#[test]
#[ignore = "a figure: ready again with 100,000 instances"]
fn ready_again_with_a_hundred_thousand_instances() {
    let home = Home::new(&[]);
    let (server, _) = home.start();
    let begin = std::time::Instant::now();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut http = Http::connect(home.api).unwrap();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= 100_000 {
                        break;
                    }
                    let path = format!("/v1/services/s{}/instances/i{n}", n / 10);
                    assert_eq!(http.call("PUT", &path, &body(n)).unwrap().0, 201);
                }
            });
        }
    });
    println!("100,000 registrations by 64 writers: {:.1} s", begin.elapsed().as_secs_f64());
    server.kill();
    let (_server, took) = home.start();
    println!("ready again after kill -9 with 100,000 instances: {} ms", took.as_millis());
    assert!(took.as_secs() < 1);
}
