//! Every policy against every part that can fail: what one client is answered.

use super::fixture::{Fixture, locality};
use super::{Filter, ServiceId, Start};
use crate::model::{Out, Share};

/// Instances 0 and 1 are in eu, 2 in us, 3 in ap.
const WEB: &str = "eu/1:h eu/2:h us/1:h ap/1:h";

/// What fails: its title, instances by standing, and azs drained for a share of the clients in percent.
type Failure = (&'static str, &'static str, &'static [(&'static str, u8)]);

const FAILURES: [Failure; 8] = [
    ("nothing", WEB, &[]),
    ("eu/1 is down", "eu/1:u eu/2:h us/1:h ap/1:h", &[]),
    ("eu is down", "eu/1:u eu/2:u us/1:h ap/1:h", &[]),
    ("eu is drained", WEB, &[("eu/1", 100), ("eu/2", 100)]),
    ("eu ramps", WEB, &[("eu/1", 50), ("eu/2", 50)]),
    ("eu, us are down", "eu/1:u eu/2:u us/1:u ap/1:h", &[]),
    ("all are down", "eu/1:u eu/2:u us/1:u ap/1:u", &[]),
    ("all are drained", WEB, &[("eu/1", 100), ("eu/2", 100), ("us/1", 100), ("ap/1", 100)]),
];

/// A table: policies down, failures across.
fn check(client: &str, policies: &[(&str, &str)], expected: &str) {
    let mut lines = vec![format!("{:<14}", client)];
    for (what, ..) in FAILURES {
        lines[0] += &format!("| {what:<16}");
    }
    for (title, json) in policies {
        let mut line = format!("{title:<14}");
        for (_, instances, outs) in FAILURES {
            let is_name = json.contains("service");
            let own = if is_name { r#"{"policy":"multivalue"}"# } else { json };
            let mut world = Fixture::new(&[("web", own, instances)]);
            for (az, percent) in outs {
                let number = world.places.locality(&locality(az)).unwrap();
                let out = Out { share: Share::of(f64::from(*percent) / 100.0), moving: false };
                world.outs.insert(number, out);
            }
            let answer = match is_name {
                true => world.answer(Start::Tree(&world.tree(json)), client, 7, 0),
                false => world.answer(Start::Service(ServiceId(0), &Filter::ALL), client, 7, 0),
            };
            line += &format!("| {:<16}", answer);
        }
        lines.push(line);
    }
    let found: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert!(found == expected, "found\n{}\nexpected\n{}", found.join("\n"), expected.join("\n"));
}

#[test]
fn services_answer_with_what_is_left() {
    let rules = ["simple", "multivalue", "weighted", "failover", "latency", "nearest", "sticky"];
    let policies = rules.map(|rule| (rule, format!(r#"{{"policy":"{rule}"}}"#)));
    let policies: Vec<(&str, &str)> = policies.iter().map(|(rule, json)| (*rule, json.as_str())).collect();
    check(
        "eu/1",
        &policies,
        "
        eu/1          | nothing         | eu/1 is down    | eu is down      | eu is drained   | eu ramps        | eu, us are down | all are down    | all are drained
        simple        | web[0,1,2,3]    | web[1,2,3]      | web[2,3]        | web[2,3]        | web[2,3]@       | web[3]          | !web[0,1,2,3]   | -
        multivalue    | web[3,0,1,2]    | web[3,1,2]      | web[3,2]        | web[3,2]        | web[3,2]@       | web[3]          | !web[3,0,1,2]   | -
        weighted      | web[3]          | web[3]          | web[3]          | web[3]          | web[3]@         | web[3]          | !web[3]         | -
        failover      | web[3]          | web[3]          | web[3]          | web[3]          | web[3]@         | web[3]          | !web[3]         | -
        latency       | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -
        nearest       | web[0]@         | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0]@        | -
        sticky        | web[3]@         | web[3]@         | web[3]@         | web[3]@         | web[3]@         | web[3]          | !web[3]@        | -",
    );
}

#[test]
fn names_answer_with_the_branch_that_is_left() {
    let regions = |of: [&str; 3]| {
        let branch = |(region, more): (&str, &str)| format!(r#"{{"service":"web","region":"{region}"{more}}}"#);
        ["eu", "us", "ap"].into_iter().zip(of).map(branch).collect::<Vec<_>>().join(",")
    };
    let fork = |rule: &str, branches: String, rest: &str| format!(r#"{{"policy":"{rule}","branches":[{branches}]{rest}}}"#);
    let plain = || regions(["", "", ""]);
    let table = [
        ("failover", fork("failover", plain(), "")),
        ("weighted", fork("weighted", regions([r#","weight":1"#, r#","weight":0"#, r#","weight":0"#]), "")),
        ("sticky", fork("sticky", regions([r#","weight":60"#, r#","weight":30"#, r#","weight":10"#]), "")),
        ("latency", fork("latency", plain(), "")),
        ("nearest", fork("nearest", plain(), "")),
        ("geoproximity", fork("geoproximity", plain(), "")),
        ("bias ap 95", fork("geoproximity", regions(["", "", r#","bias":95"#]), "")),
        ("geolocation", fork("geolocation", regions([r#","continents":["EU"]"#, r#","countries":["US"]"#, r#","default":true"#]), "")),
        ("no default", fork("geolocation", regions([r#","continents":["EU"]"#, r#","countries":["US"]"#, r#","countries":["SG"]"#]), "")),
        ("cidr", fork("cidr", regions([r#","cidrs":["10.0.0.0/16"]"#, r#","cidrs":["10.0.0.0/8"]"#, r#","default":true"#]), "")),
        ("asn", fork("asn", regions([r#","asns":[64512]"#, r#","asns":[64513]"#, r#","default":true"#]), "")),
        (
            "2 of 3",
            fork(
                "failover",
                format!(r#"{{"policy":"failover","min_healthy":2,"branches":[{}]}},{{"records":{{"A":["x"]}}}}"#, plain()),
                "",
            ),
        ),
        ("resort", fork("latency", plain() + r#",{"records":{"A":["x"]},"resort":true}"#, "")),
        ("nodata", fork("latency", plain(), r#","all_down":"nodata""#)),
        ("panic 60", fork("latency", plain(), r#","panic_threshold":60"#)),
    ];
    let table: Vec<(&str, &str)> = table.iter().map(|(title, json)| (*title, json.as_str())).collect();
    check(
        "eu/1",
        &table,
        "
        eu/1          | nothing         | eu/1 is down    | eu is down      | eu is drained   | eu ramps        | eu, us are down | all are down    | all are drained
        failover      | web[0,1]        | web[1]          | web[2]          | web[2]          | web[2]@         | web[3]          | !web[0,1]       | -
        weighted      | web[0,1]        | web[1]          | web[2]          | web[2]          | web[2]@         | web[3]          | !web[0,1]       | -
        sticky        | web[2]@         | web[2]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[2]@        | -
        latency       | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -
        nearest       | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -
        geoproximity  | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -
        bias ap 95    | web[0,1]@       | web[1]@         | web[3]@         | web[3]@         | web[3]@         | web[3]          | !web[0,1]@      | -
        geolocation   | web[3]@         | web[3]@         | web[3]@         | web[3]@         | web[3]@         | web[3]@         | !web[3]@        | -
        no default    | -@              | -@              | -@              | -@              | -@              | -@              | -@              | -
        cidr          | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]@         | !web[0,1]@      | -
        asn           | web[3]@         | web[3]@         | web[3]@         | web[3]@         | web[3]@         | web[3]@         | !web[3]@        | -
        2 of 3        | web[0,1]        | web[1]          | web[2]          | web[2]          | web[2]@         | r0              | r0              | r0
        resort        | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !r0             | !r0
        nodata        | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | -               | -
        panic 60      | web[0,1]@       | *web[0,1]@      | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -",
    );
    check(
        "FR",
        &table,
        "
        FR            | nothing         | eu/1 is down    | eu is down      | eu is drained   | eu ramps        | eu, us are down | all are down    | all are drained
        failover      | web[0,1]        | web[1]          | web[2]          | web[2]          | web[2]@         | web[3]          | !web[0,1]       | -
        weighted      | web[0,1]        | web[1]          | web[2]          | web[2]          | web[2]@         | web[3]          | !web[0,1]       | -
        sticky        | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -
        latency       | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -
        nearest       | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -
        geoproximity  | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -
        bias ap 95    | web[3]@         | web[3]@         | web[3]@         | web[3]@         | web[3]@         | web[3]          | !web[3]@        | -
        geolocation   | web[0,1]@       | web[1]@         | web[3]@         | web[3]@         | web[3]@         | web[3]@         | !web[0,1]@      | -
        no default    | web[0,1]@       | web[1]@         | !web[0,1]@      | -@              | web[0,1]@       | !web[0,1]@      | !web[0,1]@      | -
        cidr          | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]@         | !web[0,1]@      | -
        asn           | web[0,1]@       | web[1]@         | web[3]@         | web[3]@         | web[3]@         | web[3]@         | !web[0,1]@      | -
        2 of 3        | web[0,1]        | web[1]          | web[2]          | web[2]          | web[2]@         | r0              | r0              | r0
        resort        | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | !r0             | !r0
        nodata        | web[0,1]@       | web[1]@         | web[2]@         | web[2]@         | web[2]@         | web[3]          | -               | -
        panic 60      | web[0,1]@       | *web[0,1]@      | web[2]@         | web[2]@         | web[2]@         | web[3]          | !web[0,1]@      | -",
    );
}
