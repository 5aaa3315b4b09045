//! What is counted beside the outcome: regions in answers, and answers that drains left empty.

use super::world::{World, label, zone};

fn regions(world: &World) -> [u64; 2] {
    let places = &world.snapshot.places;
    ["boston", "london"].map(|region| world.worker.counters.region(places.region(label(region).as_str().as_bytes()).unwrap().0))
}

#[test]
fn answers_count_for_each_region_they_hold_once() {
    let mut world = World::new(&[zone("svc.example.", true, &["ns1 A 192.0.2.53"], &[])]).service("tiers", r#"{"tiers":1}"#).with(&[
        "web/b1 192.0.2.11 boston/az-1 http:80",
        "web/b2 192.0.2.12 boston/az-2 http:80",
        "web/l1 192.0.2.21 london/az-1 http:80",
        "tiers/b1 192.0.2.61 boston/az-1 http:80",
        "tiers/l1 192.0.2.63 london/az-1 http:80",
    ]);
    let mut check = |question: &str, expected: [u64; 2]| {
        world.ask(question);
        assert_eq!(regions(&world), expected, "{question}");
    };
    check("web.svc.example A from=198.51.100.1", [1, 0]);
    check("web.svc.example A from=203.0.113.1", [1, 1]);
    check("tiers.svc.example SRV from=203.0.113.1", [2, 2]);
    check("b1.id.web.svc.example A", [3, 2]);
    // Nothing of a region is in these.
    check("web.svc.example AAAA from=198.51.100.1", [3, 2]);
    check("ns1.svc.example A", [3, 2]);
    check("web.svc.example MX", [3, 2]);
}

#[test]
fn answers_that_drains_left_empty_are_counted_and_no_others() {
    let only = r#"{"policy":"failover","branches":[{"service":"web","region":"boston"}]}"#;
    let geo = r#"{"policy":"geolocation","branches":[{"service":"web","countries":["US"]}]}"#;
    let mut world = World::new(&[zone("svc.example.", true, &[], &[("only", only), ("geo", geo)])]).with(&[
        "web/b 192.0.2.11 boston/az-1 http:80",
        "web/l 192.0.2.21 london/az-1 http:80",
        "one/b 192.0.2.12 boston/az-1 http:80",
    ]);
    let questions = [
        // It has one elsewhere.
        ("web.svc.example A from=198.51.100.1", 0),
        // It had one, and has none.
        ("one.svc.example A", 1),
        ("only.svc.example A", 1),
        // It never had one: of this type, or for this client.
        ("web.svc.example AAAA", 0),
        ("geo.svc.example A from=203.0.113.1", 0),
        // It says itself where it wants to be led.
        ("boston.region.web.svc.example A", 0),
        ("b.id.web.svc.example A", 0),
    ];
    for (question, _) in questions {
        world.ask(question);
    }
    assert!(!world.counted().contains("empty"), "{}", world.counted());
    let mut world = world.drain(&["boston"]);
    let mut before = 0;
    for (question, empty) in questions {
        world.ask(question);
        let now = world.worker.counters.get(crate::model::Counter::Empty);
        assert_eq!(now - before, empty, "{question}");
        before = now;
    }
}
