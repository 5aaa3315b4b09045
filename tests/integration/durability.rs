//! What was acknowledged is durable and visible (DESIGN §9, invariant 3).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::ask::Asker;
use crate::process::{Home, Http};

/// A registration body with an address that follows from a number.
pub fn body(number: usize) -> String {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    format!(r#"{{"addresses":["10.{a}.{b}.{c}"],"ports":{{"http":8080}},"region":"eu-west","az":"eu-west-1a"}}"#)
}

/// Registers `count` instances one after the other; after each 2xx the very next query must see it. Returns how many were not seen.
pub fn stale_after_registering(count: usize) -> usize {
    let home = Home::new(&[]);
    let (_server, _) = home.start();
    let (mut http, mut asker) = (Http::connect(home.api).unwrap(), Asker::new(home.dns));
    let mut stale = 0;
    for n in 0..count {
        // One service each, so that the service's own name must show it too.
        let (status, text) = http.call("PUT", &format!("/v1/services/s{n}/instances/i"), &body(n)).unwrap();
        assert_eq!(status, 201, "{text}");
        let address: std::net::IpAddr = format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255).parse().unwrap();
        let seen =
            asker.addresses(&format!("i.id.s{n}.svc.example.")) == [address] && asker.addresses(&format!("s{n}.svc.example.")) == [address];
        stale += usize::from(!seen);
    }
    stale
}

/// Rounds of eight writers and a `kill -9` at a random moment; returns (acknowledged, lost).
pub fn lost_by_kills(rounds: usize) -> (usize, usize) {
    let home = Home::new(&[]);
    let (mut acknowledged, mut lost) = (0, 0);
    for round in 0..rounds {
        let (server, _) = home.start();
        let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let names: Vec<(String, usize)> = thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let (api, stop, count) = (home.api, &stop, &count);
                    scope.spawn(move || {
                        let mut acknowledged = Vec::new();
                        let Ok(mut http) = Http::connect(api) else { return acknowledged };
                        for n in 0.. {
                            if stop.load(Ordering::Relaxed) {
                                break;
                            }
                            let number = (round * 8 + writer) * 100_000 + n;
                            let id = format!("r{round}-{n}");
                            match http.call("PUT", &format!("/v1/services/w{writer}/instances/{id}"), &body(number)) {
                                Ok((201, _)) => {
                                    acknowledged.push((format!("{id}.id.w{writer}.svc.example."), number));
                                    count.fetch_add(1, Ordering::Relaxed);
                                }
                                Ok((status, text)) => panic!("{status}: {text}"),
                                Err(_) => break,
                            }
                        }
                        acknowledged
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(100 + RandomState::new().build_hasher().finish() % 700));
            // A slow machine has hardly begun by then.
            while count.load(Ordering::Relaxed) < 8 && !writers.iter().any(|writer| writer.is_finished()) {
                thread::sleep(Duration::from_millis(5));
            }
            server.kill();
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().flat_map(|w| w.join().unwrap()).collect()
        });
        let (_server, _) = home.start();
        let mut asker = Asker::new(home.dns);
        for (name, number) in &names {
            let [_, a, b, c] = (*number as u32).to_be_bytes();
            lost += usize::from(asker.addresses(name) != [std::net::IpAddr::from([10, a, b, c])]);
        }
        acknowledged += names.len();
    }
    (acknowledged, lost)
}

#[test]
fn an_acknowledged_registration_is_in_the_very_next_answer() {
    assert_eq!(stale_after_registering(300), 0);
}

#[test]
fn an_acknowledged_registration_survives_kill_9() {
    let (acknowledged, lost) = lost_by_kills(2);
    assert!(acknowledged > 10, "only {acknowledged} registrations were acknowledged");
    assert_eq!(lost, 0, "of {acknowledged}");
}

#[test]
fn drains_status_and_services_survive_kill_9() {
    let home = Home::new(&[]);
    let (server, _) = home.start();
    let mut http = Http::connect(home.api).unwrap();
    let mut put = |path: &str, body: &str| {
        let (status, text) = http.call("PUT", path, body).unwrap();
        assert!((200..300).contains(&status), "{path}: {status} {text}");
    };
    put("/v1/services/web/instances/a", &body(1));
    put("/v1/services/web/instances/b", &body(2));
    put("/v1/services/web/instances/c", &body(3));
    put("/v1/services/web", r#"{"policy":"simple","max_addresses":2}"#);
    put("/v1/drains/instance/web/a", r#"{"reason":"test"}"#);
    put("/v1/services/web/instances/b/status", r#"{"status":"critical","note":"disk full"}"#);
    let mut asker = Asker::new(home.dns);
    let expected = [std::net::IpAddr::from([10, 0, 0, 3])];
    assert_eq!(asker.addresses("web.svc.example."), expected);
    server.kill();
    let (_server, _) = home.start();
    assert_eq!(asker.addresses("web.svc.example."), expected);
    let (_, text) = Http::connect(home.api).unwrap().call("GET", "/v1/services/web", "").unwrap();
    for expected in ["\"simple\"", "disk full", "instance/web/a"] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}
