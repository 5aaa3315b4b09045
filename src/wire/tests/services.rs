//! Services: what each type answers, for whom it holds, and for how long.

use std::str::FromStr;

use super::super::{ExplainedRecord, NameKind, Worker, explain, scramble};
use super::world::{World, name, zone};
use crate::codec::code::rtype;

const BOSTON: &str = "ecs=198.51.100.0/24";
const LONDON: &str = "ecs=203.0.113.0/24";
const SOA: &str = "auth: svc.example. 5 SOA ns1.svc.example. hostmaster.svc.example. 7 7200 900 1209600 5";

fn world() -> World {
    let api = r#"{"policy":"failover","branches":[{"service":"web","region":"boston"},{"records":{"A":["192.0.2.200"],"TXT":["sorry"]}}]}"#;
    let shop = r#"{"policy":"geolocation","branches":[{"service":"web","countries":["US"]},{"records":{"CNAME":["web.svc.example."]},"countries":["GB"]}]}"#;
    let services = zone("svc.example.", true, &["ns1 A 192.0.2.53", "www CNAME web.svc.example."], &[("api", api), ("shop", shop)]);
    let plain = zone("plain.example.", false, &["alias CNAME web.svc.example."], &[("api", api)]);
    World::new(&[services, plain])
        .service("web", "{}")
        .service("tls", r#"{"default_port":"https","alpn":["h2"]}"#)
        .service("tiers", r#"{"tiers":1,"max_srv":2}"#)
        .service("wide", r#"{"policy":"simple","max_addresses":3}"#)
        .service("uneven", r#"{"policy":"multivalue"}"#)
        .service("resort", r#"{"policy":"failover","branches":[{"region":"boston"},{"records":{"A":["192.0.2.99"]}}]}"#)
        .with(&[
            "web/b1 192.0.2.11,2001:db8::11 boston/az-1 http:8080",
            "web/l1 192.0.2.21,2001:db8::21 london/az-1 http:8080 weight=7",
            "tls/s1 192.0.2.51,2001:db8::51 boston/az-1 https:443 http:80",
            "tls/s2 192.0.2.52 london/az-1 https:8443",
            "tiers/b1 192.0.2.61 boston/az-1 http:80",
            "tiers/b2 192.0.2.62 boston/az-1 http:80",
            "tiers/l1 192.0.2.63 london/az-1 http:80",
            "wide/a 192.0.2.71,192.0.2.72 boston/az-1 http:80",
            "wide/b 192.0.2.73,192.0.2.74 boston/az-1 http:80",
            "uneven/a 192.0.2.81 boston/az-1 http:80 weight=90",
            "uneven/b 192.0.2.82 boston/az-1 http:80 weight=10",
            "heavy/a 192.0.2.83 boston/az-1 http:80 weight=300 health=unhealthy",
            "heavy/b 192.0.2.84 boston/az-1 http:80 weight=200",
            "heavy/c 192.0.2.85 boston/az-1 http:80 weight=0",
            "idle/a 192.0.2.86 boston/az-1 http:80 weight=0",
            "resort/a 192.0.2.91 boston/az-1 http:80 health=unhealthy",
            "down/a 192.0.2.101 boston/az-1 http:80 health=unhealthy",
            "down/b 192.0.2.102 boston/az-1 http:80 drained",
            "down/c 192.0.2.103 london/az-1 http:80 health=pending drained",
        ])
}

#[test]
fn a_service_answers_each_type_with_its_instances() {
    let q = |text: &str| format!("web.svc.example {text} {BOSTON}");
    world().check(&[
        (&q("A"), "NOERROR aa web.svc.example. 30 A 192.0.2.11 ecs=24/24"),
        (&q("AAAA"), "NOERROR aa web.svc.example. 30 AAAA 2001:db8::11 ecs=24/24"),
        (
            &q("SRV"),
            "NOERROR aa web.svc.example. 30 SRV 0 25600 8080 b1.id.web.svc.example. add: b1.id.web.svc.example. 30 A 192.0.2.11, \
             b1.id.web.svc.example. 30 AAAA 2001:db8::11 ecs=24/24",
        ),
        (&q("TXT"), "NOERROR aa web.svc.example. 30 TXT id=b1region=bostonaz=az-1 ecs=24/24"),
        (&q("MX"), &format!("NOERROR aa {SOA} ecs=24/0")),
        (&q("ANY"), "NOERROR aa web.svc.example. 30 HINFO RFC8482  ecs=24/0"),
        ("web.svc.example A from=203.0.113.7", "NOERROR aa web.svc.example. 30 A 192.0.2.21"),
        ("web.svc.example A from=::ffff:203.0.113.7", "NOERROR aa web.svc.example. 30 A 192.0.2.21"),
        ("web.svc.example A ecs=203.0.113.0/24 from=198.51.100.1", "NOERROR aa web.svc.example. 30 A 192.0.2.21 ecs=24/24"),
        ("web.svc.example A ecs=203.0.113.77/32", "NOERROR aa web.svc.example. 30 A 192.0.2.21 ecs=32/24"),
        ("web.svc.example A ecs=2001:db8:1:2::/64", "NOERROR aa web.svc.example. 30 A 192.0.2.21 ecs=64/48"),
        // An IPv4-mapped subnet is of family 2: its scope counts from the start of the IPv6 address.
        ("web.svc.example A ecs=::ffff:203.0.113.7/128", "NOERROR aa web.svc.example. 30 A 192.0.2.21 ecs=128/120"),
        // RFC 7871 §7.1.2: source 0 means the client's subnet must not be used; the resolver's own address is.
        ("web.svc.example A ecs=0.0.0.0/0 from=203.0.113.7", "NOERROR aa web.svc.example. 30 A 192.0.2.21 ecs=0/0"),
        ("wEb.svc.example A from=203.0.113.7 noedns", "NOERROR aa wEb.svc.example. 30 A 192.0.2.21"),
        (
            "_http._tcp.web.svc.example SRV from=203.0.113.7",
            "NOERROR aa _http._tcp.web.svc.example. 30 SRV 0 1792 8080 l1.id.web.svc.example. add: l1.id.web.svc.example. 30 A 192.0.2.21, \
             l1.id.web.svc.example. 30 AAAA 2001:db8::21",
        ),
        (&format!("boston.region.web.svc.example A {LONDON}"), "NOERROR aa boston.region.web.svc.example. 30 A 192.0.2.11 ecs=24/0"),
    ]);
}

#[test]
fn https_records_stand_where_a_tls_port_is() {
    let mut world = world();
    world.check(&[
        (&format!("web.svc.example HTTPS {BOSTON}"), &format!("NOERROR aa {SOA} ecs=24/24")),
        (
            "s2.id.tls.svc.example HTTPS",
            "NOERROR aa s2.id.tls.svc.example. 30 HTTPS 1 . alpn=h2, port=8443 ipv4hint=192.0.2.52, add: \
             s2.id.tls.svc.example. 30 A 192.0.2.52",
        ),
        (
            "tls.svc.example HTTPS from=198.51.100.9",
            "NOERROR aa tls.svc.example. 30 HTTPS 1 s1.id.tls.svc.example. alpn=h2, ipv4hint=192.0.2.51, ipv6hint=2001:db8::51, \
             add: s1.id.tls.svc.example. 30 A 192.0.2.51, s1.id.tls.svc.example. 30 AAAA 2001:db8::51",
        ),
    ]);
}

#[test]
fn an_address_that_instances_share_is_answered_once() {
    let mut world = World::new(&[zone("svc.example.", true, &[], &[])]).with(&[
        "host/a 192.0.2.90,2001:db8::90 boston/az-1 http:8080",
        "host/b 192.0.2.90,2001:db8::90 boston/az-1 http:8081",
        "host/c 192.0.2.91,2001:db8::91 boston/az-1 http:8080",
    ]);
    for (rtype, shared) in [("A", "A 192.0.2.90"), ("AAAA", "AAAA 2001:db8::90")] {
        let reply = world.ask(&format!("host.svc.example {rtype} from=198.51.100.7"));
        assert_eq!((reply.matches(shared).count(), reply.matches("host.svc.example.").count()), (1, 2), "{reply}");
    }
    let reply = world.ask("host.svc.example SRV from=198.51.100.7");
    assert_eq!(reply.matches(" SRV ").count(), 3, "each is a port of its own: {reply}");
}

#[test]
fn limits_tiers_and_weights() {
    let mut world = world();
    world.check(&[
        // Three addresses of two instances with two each.
        (
            "wide.svc.example A",
            "NOERROR aa wide.svc.example. 30 A 192.0.2.71, wide.svc.example. 30 A 192.0.2.72, wide.svc.example. 30 A 192.0.2.73",
        ),
        // SRV carries the weights, so both stand in it: the client draws.
        (
            "uneven.svc.example SRV",
            "NOERROR aa uneven.svc.example. 30 SRV 0 23040 80 a.id.uneven.svc.example., uneven.svc.example. 30 SRV 0 2560 80 \
             b.id.uneven.svc.example. add: a.id.uneven.svc.example. 30 A 192.0.2.81, b.id.uneven.svc.example. 30 A 192.0.2.82",
        ),
        // Weights are spread as far as the service's heaviest instance allows, here by 2⁷, also while that one is down.
        (
            "heavy.svc.example SRV",
            "NOERROR aa heavy.svc.example. 30 SRV 0 25600 80 b.id.heavy.svc.example. add: b.id.heavy.svc.example. 30 A 192.0.2.84",
        ),
        // Zero for all is the same for all, and not zero.
        (
            "idle.svc.example SRV",
            "NOERROR aa idle.svc.example. 30 SRV 0 256 80 a.id.idle.svc.example. add: a.id.idle.svc.example. 30 A 192.0.2.86",
        ),
    ]);
    // max_srv 2 leaves one for the level behind.
    let tiers = world.ask(&format!("tiers.svc.example SRV {BOSTON}"));
    assert_eq!((tiers.matches("SRV 0 ").count(), tiers.matches("SRV 1 25600 80 l1.id").count()), (1, 1), "{tiers}");
    // Own az, own region, the next region: eight records leave one for each level behind the first.
    let many: Vec<String> =
        (0..30).map(|n| format!("deep/i{n} 192.0.2.{n} {} http:80", ["boston/az-1", "boston/az-2", "london/az-1"][n % 3])).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut world = world.service("deep", r#"{"tiers":3,"max_srv":8}"#).with(&many);
    let deep = world.ask("deep.svc.example SRV from=100.64.0.9");
    assert_eq!([0, 1, 2].map(|priority| deep.matches(&format!("SRV {priority} ")).count()), [6, 1, 1], "{deep}");
    // A carries none: 9 of 10 answers are the heavier one.
    let heavy = (0..1000).filter(|_| world.ask("uneven.svc.example A").contains("192.0.2.81")).count();
    assert!((860..940).contains(&heavy), "{heavy}");
}

/// Branches of a name may share instances: one that stands in a better tier stands in no other (RFC 2782: a priority each).
#[test]
fn an_instance_stands_in_one_tier() {
    let policy = r#"{"policy":"failover","branches":[{"service":"two","region":"boston"},{"service":"two"},{"service":"web"}]}"#;
    let services = zone("svc.example.", true, &[], &[("first", policy)]);
    let mut world = World::new(&[services]).service("two", r#"{"policy":"simple","tiers":2}"#).with(&[
        "two/b 192.0.2.11 boston/az-1 http:80",
        "two/l 192.0.2.12 london/az-1 http:80",
        "web/x 192.0.2.13 london/az-1 http:80",
    ]);
    let srv = |n: u16, target: &str| format!("first.svc.example. 30 SRV {n} 25600 80 {target}.svc.example.");
    let tiers = [srv(0, "b.id.two"), srv(1, "l.id.two"), srv(2, "x.id.web")].join(", ");
    let additional = "b.id.two.svc.example. 30 A 192.0.2.11, l.id.two.svc.example. 30 A 192.0.2.12, x.id.web.svc.example. 30 A 192.0.2.13";
    world.check(&[("first.svc.example SRV", &format!("NOERROR aa {tiers} add: {additional}"))]);
}

/// Branches behind the chosen one are looked at only for tiers that somebody wants: else SRV would hold for fewer clients than A.
#[test]
fn srv_of_a_name_without_tiers_holds_for_everybody_as_its_addresses_do() {
    let policy = r#"{"policy":"failover","branches":[{"service":"one"},{"service":"web"}]}"#;
    let services = zone("svc.example.", true, &[], &[("first", policy)]);
    let mut world = World::new(&[services]).with(&[
        "one/b 192.0.2.11 boston/az-1 http:80",
        "web/b 192.0.2.12 boston/az-1 http:80",
        "web/l 192.0.2.13 london/az-1 http:80",
    ]);
    let srv = "first.svc.example. 30 SRV 0 25600 80 b.id.one.svc.example. add: b.id.one.svc.example. 30 A 192.0.2.11";
    world.check(&[
        (&format!("first.svc.example A {BOSTON}"), "NOERROR aa first.svc.example. 30 A 192.0.2.11 ecs=24/0"),
        (&format!("first.svc.example SRV {BOSTON}"), &format!("NOERROR aa {srv} ecs=24/0")),
    ]);
}

/// RFC 7871 §7.2.1: an answer holds where each of its decisions does.
#[test]
fn the_scope_of_a_chain_is_its_longest() {
    let geolocation = r#"{"policy":"geolocation","branches":[
        {"records":{"CNAME":["web.svc.example."]},"continents":["NA"]},
        {"records":{"CNAME":["nosuch.svc.example."]},"default":true}]}"#;
    let plain = ["old DNAME svc.example.", "to CNAME a.old.plain.example.", "* CNAME web.svc.example."];
    let mut world = World::new(&[
        zone("plain.example.", false, &plain, &[("where", geolocation)]),
        zone("svc.example.", true, &["a CNAME web.svc.example.", "fix A 192.0.2.9"], &[]),
    ])
    .with(&["web/b 192.0.2.11 boston/az-1 http:80", "web/l 192.0.2.21 london/az-1 http:80"]);
    let scope = |world: &mut World, question: &str| {
        let reply = world.ask(question);
        let (rcode, rest) = reply.split_once(' ').unwrap();
        format!("{rcode} {} {}", rest.matches(" A 192").count(), rest.rsplit(' ').next().unwrap())
    };
    for (question, expected) in [
        ("web.old.plain.example A ecs=203.0.113.0/24", "NOERROR 1 ecs=24/24"),
        ("b.id.web.old.plain.example A ecs=203.0.113.0/24", "NOERROR 1 ecs=24/0"),
        ("fix.old.plain.example A ecs=203.0.113.0/24", "NOERROR 1 ecs=24/0"),
        ("nosuch.old.plain.example A ecs=203.0.113.0/24", "NXDOMAIN 0 ecs=24/0"),
        ("to.plain.example A ecs=203.0.113.0/24", "NOERROR 1 ecs=24/24"),
        ("to.plain.example A ecs=203.0.0.0/16", "NOERROR 2 ecs=16/18"),
        ("to.plain.example A ecs=0.0.0.0/0", "NOERROR 2 ecs=0/0"),
        ("some.plain.example A ecs=203.0.113.0/24", "NOERROR 1 ecs=24/24"),
        ("where.plain.example A ecs=198.51.100.0/24", "NOERROR 1 ecs=24/24"),
        // Nobody else in 200.0.0.0/5 is anywhere but in the default branch.
        ("where.plain.example A ecs=203.0.113.0/24", "NXDOMAIN 0 ecs=24/5"),
        ("where.plain.example MX ecs=203.0.113.0/24", "NXDOMAIN 0 ecs=24/5"),
    ] {
        assert_eq!(scope(&mut world, question), expected, "{question}: {}", world.ask(question));
    }
}

/// Instances with several addresses take up more of an answer; that must not cost those behind them their share.
#[test]
fn every_instance_gets_its_share_also_with_several_addresses() {
    let two: Vec<String> =
        (0..8).map(|n| format!("two/i{n} 192.0.2.{n},198.51.100.{n} {} http:80", ["boston/az-1", "london/az-1"][n % 2])).collect();
    let two: Vec<&str> = two.iter().map(String::as_str).collect();
    let mut world = World::new(&[zone("svc.example.", true, &[], &[])])
        .service("two", r#"{"policy":"multivalue"}"#)
        .service("many", r#"{"max_addresses":1}"#)
        .with(&two)
        .with(&["many/i0 192.0.2.1,192.0.2.2,192.0.2.3 boston/az-1 http:80"]);
    let mut found = [0; 8];
    for _ in 0..1000 {
        let answer = world.ask("two.svc.example A");
        for (n, found) in found.iter_mut().enumerate() {
            let addresses = [format!(" A 192.0.2.{n}"), format!(" A 198.51.100.{n}")].map(|address| answer.contains(&address));
            assert_eq!(addresses[0], addresses[1], "an instance stands there with all its addresses: {answer}");
            *found += usize::from(addresses[0]);
        }
    }
    assert!(found.iter().all(|count| (430..570).contains(count)), "half of the answers each: {found:?}");
    assert_eq!(world.ask("many.svc.example A").matches(" A ").count(), 1);
}

/// `_port._proto` before a service stands for SRV alone: an alias there would lead to a name that has no such SRV, and be
/// an alias for one type and none for the others.
#[test]
fn a_named_port_is_no_alias() {
    let services = zone("svc.example.", true, &[], &[]);
    let mut world = World::new(&[services])
        .service("away", r#"{"policy":"failover","branches":[{"region":"boston"},{"records":{"CNAME":["away.test."]}}]}"#)
        .with(&["away/a 192.0.2.1 boston/az-1 http:80 drained"]);
    world.check(&[
        ("away.svc.example SRV", "NOERROR aa away.svc.example. 30 CNAME away.test."),
        ("_http._tcp.away.svc.example SRV", &format!("NOERROR aa {SOA}")),
        ("_http._tcp.away.svc.example A", &format!("NOERROR aa {SOA}")),
    ]);
}

#[test]
fn health_and_drains_decide_what_stands_in_an_answer() {
    let mut world = world();
    world.check(&[
        ("down.svc.example A", "NOERROR aa down.svc.example. 5 A 192.0.2.101 ede=0"),
        ("a.id.down.svc.example A", "NOERROR aa a.id.down.svc.example. 5 A 192.0.2.101 ede=0"),
        ("b.id.down.svc.example A", &format!("NOERROR aa {SOA} ede=0")),
        ("resort.svc.example A", "NOERROR aa resort.svc.example. 30 A 192.0.2.99"),
        ("resort.svc.example AAAA", &format!("NOERROR aa {SOA}")),
    ]);
    assert_eq!(world.counted(), "answered=3 nodata=2 fail_open=1");
    let mut world = world.drain(&["boston"]);
    world.check(&[
        (&format!("web.svc.example A {BOSTON}"), "NOERROR aa web.svc.example. 30 A 192.0.2.21 ecs=24/0"),
        (&format!("boston.region.web.svc.example A {BOSTON}"), &format!("NOERROR aa {SOA} ecs=24/0 ede=0")),
        ("b1.id.web.svc.example A", &format!("NOERROR aa {SOA} ede=0")),
        ("down.svc.example A", &format!("NOERROR aa {SOA} ede=0")),
    ]);
}

#[test]
fn names_with_a_policy_lead_to_services_records_and_other_names() {
    let mut world = world();
    let srv =
        "SRV 0 25600 8080 b1.id.web.svc.example. add: b1.id.web.svc.example. 30 A 192.0.2.11, b1.id.web.svc.example. 30 AAAA 2001:db8::11";
    world.check(&[
        ("api.svc.example A", "NOERROR aa api.svc.example. 30 A 192.0.2.11"),
        ("api.svc.example SRV", &format!("NOERROR aa api.svc.example. 30 {srv}")),
        // In a zone without services, SRV leads to the zone that has them.
        ("api.plain.example SRV", &format!("NOERROR aa api.plain.example. 30 {srv}")),
        ("api.svc.example MX", &format!("NOERROR aa {SOA}")),
        (&format!("shop.svc.example A {BOSTON}"), "NOERROR aa shop.svc.example. 30 A 192.0.2.11 ecs=24/24"),
        (
            &format!("shop.svc.example A {LONDON}"),
            "NOERROR aa shop.svc.example. 30 CNAME web.svc.example., web.svc.example. 30 A 192.0.2.21 ecs=24/24",
        ),
        (&format!("shop.svc.example CNAME {LONDON}"), "NOERROR aa shop.svc.example. 30 CNAME web.svc.example. ecs=24/24"),
        // The answer is nothing for this client, and something for others: it must not be kept for them.
        ("shop.svc.example A ecs=192.0.2.0/24", &format!("NOERROR aa {SOA} ecs=24/6 ede=0")),
        (
            &format!("www.svc.example A {LONDON}"),
            "NOERROR aa www.svc.example. 60 CNAME web.svc.example., web.svc.example. 30 A 192.0.2.21 ecs=24/24",
        ),
        (
            &format!("alias.plain.example A {BOSTON}"),
            "NOERROR aa alias.plain.example. 60 CNAME web.svc.example., web.svc.example. 30 A 192.0.2.11 ecs=24/24",
        ),
    ]);
    let mut world = world.drain(&["boston"]);
    world.check(&[
        ("api.svc.example A", "NOERROR aa api.svc.example. 30 A 192.0.2.200"),
        ("api.svc.example TXT", "NOERROR aa api.svc.example. 30 TXT sorry"),
        ("api.svc.example SRV", &format!("NOERROR aa {SOA}")),
    ]);
}

#[test]
fn explain_says_what_the_answer_is_and_why() {
    let world = world();
    let ask = |asked: &str, qtype: u16, client: &str| explain(&world.snapshot, &name(asked), qtype, client.parse().unwrap(), 5);

    let web = ask("web.svc.example", rtype::A, "203.0.113.7");
    assert_eq!((web.rcode.as_str(), web.scope, web.names.len()), ("NOERROR", 24, 1));
    assert_eq!((web.names[0].kind, web.names[0].ttl), (NameKind::Service, Some(30)));
    assert_eq!(web.answer[0].data, "192.0.2.21");
    assert_eq!(web.origin.region.as_deref(), Some("london"));
    let ranking: Vec<(&str, f32, &str)> = web.origin.ranking.iter().map(|r| (r.region.as_str(), r.ms, r.source)).collect();
    assert_eq!(ranking, [("london", 0.0, "table"), ("boston", 76.0, "table")]);
    let level = &web.names[0].levels[0];
    assert_eq!((level.region.as_deref(), level.instances.len()), (Some("london"), 1));
    assert_eq!((level.instances[0].id.as_str(), level.instances[0].share, level.instances[0].picked), ("l1", 1.0, true));
    assert!(web.names[0].steps.iter().any(|step| step.outcome == "chosen"), "{:?}", web.names[0].steps);

    let uneven = ask("uneven.svc.example", rtype::A, "203.0.113.7");
    let shares: Vec<f64> = uneven.names[0].levels[0].instances.iter().map(|i| i.share).collect();
    assert_eq!(shares, [0.9, 0.1]);
    assert_eq!(uneven.names[0].levels[0].instances.iter().filter(|i| i.picked).count(), 1);

    let shop = ask("shop.svc.example", rtype::A, "203.0.113.7");
    let kinds: Vec<NameKind> = shop.names.iter().map(|n| n.kind).collect();
    assert_eq!(kinds, [NameKind::Policy, NameKind::Service]);
    assert!(shop.names.iter().all(|n| !n.steps.is_empty()));

    let none = ask("x.y.test", rtype::A, "203.0.113.7");
    assert_eq!((none.rcode.as_str(), none.names[0].kind), ("REFUSED", NameKind::OutOfZone));
    assert_eq!(none.note.as_deref(), Some("the name is in no zone of this server"));
    let instance = ask("b.id.down.svc.example", rtype::A, "203.0.113.7");
    assert_eq!((instance.names[0].kind, instance.note.as_deref()), (NameKind::Instance, Some("the instance is drained")));
}

/// What explain shows is what a client with that address is sent, for every name, type, client and draw.
#[test]
fn explain_and_answer_never_disagree() {
    let mut world = world().drain(&["boston/az-2"]);
    let names =
        ["web", "uneven", "tiers", "wide", "tls", "resort", "down", "api", "shop", "www", "_http._tcp.web", "b1.id.web", "id.web", "x"];
    let clients = ["198.51.100.7", "203.0.113.7", "2001:db8:1::7", "192.0.2.9"];
    for (n, (first, rtype)) in names.iter().flat_map(|n| ["A", "AAAA", "SRV", "HTTPS", "TXT", "MX", "ANY"].map(|t| (n, t))).enumerate() {
        for client in clients {
            let draw = scramble((n as u64).wrapping_add(0x9e37_79b9_7f4a_7c15));
            let asked = format!("{first}.svc.example");
            let number = hickory_proto::rr::RecordType::from_str(rtype).unwrap().into();
            let explained = explain(&world.snapshot, &name(&asked), number, client.parse().unwrap(), draw);
            world.worker = Worker::new(n as u64, world.worker.counters.clone());
            let text = world.ask(&format!("{asked} {rtype} tcp from={client}"));
            let section = |title: &str, records: &[ExplainedRecord]| {
                let records: Vec<String> = records.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.r#type, r.data)).collect();
                if records.is_empty() { String::new() } else { format!("{title} {}", records.join(", ")) }
            };
            let sections =
                [section("", &explained.answer), section(" auth:", &explained.authority), section(" add:", &explained.additional)].concat();
            let note = if explained.note.is_some() { " ede=0" } else { "" };
            assert_eq!(text, format!("{} aa{sections}{note}", explained.rcode), "{asked} {rtype} for {client}");
        }
    }
}
