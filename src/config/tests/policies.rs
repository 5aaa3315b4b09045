//! Each preset as a zone file says it, wrong combinations of keys, and what deserves a second look.

use super::*;
use crate::model::{AllDown, Goal, Label, Service};

const NETWORKS: &str = "[[network]]\ncidr = \"198.51.100.0/24\"\nregion = \"eu-west\"\ncountry = \"IE\"\nasn = 64500\n";
const PLACES: &str = "[regions.eu-west]\nlatitude = 53.3\nlongitude = -6.3\n[regions.us-east]\nlatitude = 39.0\nlongitude = -77.5\n";

/// Loads a zone beside geo files in which all is known.
fn load_known(text: &str) -> Result<(Loaded, Vec<String>), Vec<String>> {
    load(&[("zones/svc.example.toml", &format!("{HEAD}{text}")), ("geo/regions.toml", PLACES), ("geo/networks.toml", NETWORKS)])
}

#[test]
fn every_preset_is_read_from_a_zone_file_with_all_of_its_keys() {
    let text = r#"
[names.simple]
policy = "simple"
branches = [{ service = "web", az = "1a", tag = "green", min_healthy = 1, capacity = 100 }]
[names.multivalue]
policy = "multivalue"
branches = [{ service = "web", capacity = 60 }, { records = { A = ["192.0.2.1"] }, capacity = 40 }]
[names.weighted]
policy = "weighted"
all_down = "nodata"
branches = [{ service = "web", weight = 0 }, { service = "web", weight = 65535 }]
[names.failover]
policy = "failover"
min_healthy = 2
panic_threshold = 50
branches = [{ service = "web", region = "eu-west" }, { service = "web", region = "us-east" }, { cname = "elsewhere.example.", resort = true }]
[names.latency]
policy = "latency"
branches = [{ service = "web", region = "eu-west" }, { records = { A = ["192.0.2.1"] }, region = "us-east" }]
[names.geolocation]
policy = "geolocation"
branches = [{ service = "web", subdivisions = ["US-MA"] }, { service = "web", countries = ["us"], continents = ["EU"] }, { service = "web", default = true }]
[names.geoproximity]
policy = "geoproximity"
branches = [{ service = "web", region = "eu-west", bias = 99 }, { service = "web", region = "us-east", bias = -99 },
  { service = "web", latitude = -33.9, longitude = 151.2 }]
[names.cidr]
policy = "cidr"
branches = [{ service = "web", cidrs = ["10.0.0.0/8", "2001:db8::/32"] }, { service = "web", cidrs = ["10.1.0.0/16"], default = true }]
[names.asn]
policy = "asn"
branches = [{ service = "web", asns = [64500, 4294967295] }, { service = "web", default = true }]
[names.sticky]
policy = "sticky"
branches = [{ service = "web", weight = 1 }, { service = "web", weight = 2 }]
[names.nearest]
policy = "nearest"
branches = [{ service = "web", region = "eu-west" }, { policy = "sticky", region = "us-east", branches = [{ name = "web" }] }]
[services.web]
policy = "sticky"
panic_threshold = 100
slow_start = "0s"
damping = false
"#;
    let (loaded, warnings) = load_known(text).unwrap();
    assert_eq!(warnings, [""; 0]);
    let zone = &loaded.zones[0];
    for (owner, policy) in &zone.names {
        assert_eq!(owner.to_string(), format!("{}.svc.example.", policy.kind));
    }
    assert_eq!(zone.names.len(), 11, "every preset");
    let policy = |kind: &str| &zone.names[&name(&format!("{kind}.svc.example."))];
    let failover = policy("failover");
    assert_eq!((failover.all_down, failover.min_healthy, failover.panic_threshold), (AllDown::Resort, 2, 50));
    assert!(failover.branches[2].resort && matches!(&failover.branches[2].goal, Goal::Records(sets) if sets[0].rtype == 5));
    assert_eq!(policy("weighted").all_down, AllDown::Nodata);
    assert_eq!(policy("weighted").branches.iter().map(|b| b.weight).collect::<Vec<_>>(), [0, 65535]);
    assert_eq!(policy("multivalue").branches.iter().map(|b| b.capacity).collect::<Vec<_>>(), [60, 40]);
    let near = &policy("geoproximity").branches;
    assert_eq!(
        near.iter().map(|b| (b.bias, b.coordinates.map(|at| at.latitude))).collect::<Vec<_>>(),
        [(99, None), (-99, None), (0, Some(-33.9))]
    );
    assert_eq!(policy("cidr").branches[1].clients.cidrs, ["10.1.0.0/16".parse().unwrap()]);
    assert!(policy("cidr").branches[1].clients.default);
    assert_eq!(policy("asn").branches[0].clients.asns, [64500, u32::MAX]);
    assert_eq!(policy("geolocation").branches[1].clients.countries[0].as_str(), "US");
    assert_eq!(
        policy("simple").branches[0].goal,
        Goal::Instances { service: Label::parse("web").ok(), az: Label::parse("1a").ok(), tag: Label::parse("green").ok(), min_healthy: 1 }
    );
    let fields = &zone.defined[&Label::parse("web").unwrap()].service.fields;
    assert_eq!((fields.panic_threshold, fields.slow_start.map(|p| p.millis()), fields.damping), (Some(100), Some(0), Some(false)));
}

#[test]
fn wrong_combinations_are_refused_with_field_and_line() {
    let mut wrong = Vec::new();
    let mut check = |head: &str, branch: &str, expected: &str| {
        let text = format!("[services.web]\n[names.x]\n{head}\nbranches = [\n{{ service = \"web\", {branch} }},\n]\n");
        let said = load_known(&text).map(|(_, warnings)| warnings).unwrap_or_else(|findings| findings);
        let expected = format!("zones/svc.example.toml:{expected}");
        if said != [expected.clone()] {
            wrong.push(format!("{head} {branch}\n  - {expected}\n  + {said:#?}"));
        }
    };
    let under = |kind: &str| format!("policy = \"{kind}\"");
    // Keys and values.
    check(&under("geoproximty"), "", "5: names.x.policy: unknown value \"geoproximty\"; did you mean `geoproximity`?");
    check(&under("sticky"), "wieght = 1", "7: names.x.branches[0].wieght: unknown key; did you mean `weight`?");
    check(
        &under("sticky"),
        "weight = 65536",
        "7: names.x.branches[0].weight: a whole number from 0 to 65535 is expected, not integer `65536`",
    );
    check(&under("sticky"), "weight = -1", "7: names.x.branches[0].weight: a whole number from 0 to 65535 is expected, not integer `-1`");
    check(
        &under("geoproximity"),
        "bias = 100",
        "7: names.x.branches[0].bias: a whole number from -99 to 99 is expected, not integer `100`",
    );
    check(
        &under("geoproximity"),
        "bias = 0.5",
        "7: names.x.branches[0].bias: a whole number from -99 to 99 is expected, not floating point `0.5`",
    );
    check(&under("simple"), "capacity = 0", "7: names.x.branches[0].capacity: a whole number from 1 to 100 is expected, not integer `0`");
    check(
        "policy = \"simple\"\npanic_threshold = 101",
        "",
        "6: names.x.panic_threshold: a whole number from 0 to 100 is expected, not integer `101`",
    );
    check("policy = \"simple\"\npanic_treshold = 50", "", "6: names.x.panic_treshold: unknown key; did you mean `panic_threshold`?");
    check(
        &under("simple"),
        "panic_threshold = 1",
        "7: names.x.branches[0].panic_threshold: it is the root policy's, and the service's own",
    );
    check(
        &under("asn"),
        "asns = [\"64500\"]",
        "7: names.x.branches[0].asns[0]: a whole number from 0 to 4294967295 is expected, not the text \"64500\"",
    );
    check(
        &under("cidr"),
        "cidrs = [\"10.0.0.0/33\"]",
        "7: names.x.branches[0].cidrs[0]: a network such as 192.0.2.0/24 or 2001:db8::/32 is expected",
    );
    // Who is told apart by what.
    check(
        &under("geoproximity"),
        "",
        "7: names.x.branches[0].region: `geoproximity` ranks branches by their place: name a `region`, or `latitude` and `longitude`",
    );
    check(&under("geoproximity"), "latitude = 1.0", "7: names.x.branches[0].longitude: `latitude` and `longitude` go together");
    check(
        &under("geoproximity"),
        "latitude = 91.0, longitude = 0.0",
        "7: names.x.branches[0].latitude: -90 to 90 degrees north, and -180 to 180 degrees east",
    );
    check(&under("latency"), "", "7: names.x.branches[0].region: `latency` ranks branches by their region: name it");
    check(
        &under("latency"),
        "region = \"eu-west\", bias = 1",
        "7: names.x.branches[0].bias: a branch has a bias under `geoproximity` only",
    );
    check(&under("failover"), "weight = 1", "7: names.x.branches[0].weight: a branch has a weight under `weighted` and `sticky` only");
    check(&under("failover"), "asns = [1]", "7: names.x.branches[0].asns: clients are told apart by `asns` under `asn` only");
    check(
        &under("geolocation"),
        "cidrs = [\"10.0.0.0/8\"]",
        "7: names.x.branches[0].cidrs: clients are told apart by `cidrs` under `cidr` only",
    );
    check(
        &under("cidr"),
        "countries = [\"US\"]",
        "7: names.x.branches[0].countries: clients are told apart by `countries` under `geolocation` only",
    );
    check(
        &under("failover"),
        "default = true",
        "7: names.x.branches[0].default: there is a default branch under `geolocation`, `cidr` and `asn` only",
    );
    check(&under("cidr"), "", "7: names.x.branches[0].cidrs: say which clients it is for: `cidrs` or `default = true`");
    check(
        &under("cidr"),
        "cidrs = [\"10.1.0.0/8\"]",
        "7: names.x.branches[0].cidrs: 10.0.0.0/8 as a prefix, not 10.1.0.0/8, which has bits behind its length",
    );
    check(
        &under("cidr"),
        "cidrs = [\"10.0.0.0/8\"] },\n{ service = \"web\", cidrs = [\"10.0.0.0/8\"]",
        "8: names.x.branches[1].cidrs: 10.0.0.0/8 stands at an earlier branch too",
    );
    check(
        &under("asn"),
        "default = true },\n{ service = \"web\", default = true",
        "6: names.x.branches: at most one branch can be the default",
    );
    // The last resort, and what is needed.
    check(&under("failover"), "resort = true", "6: names.x.branches: at least one branch that is not the last resort");
    check("policy = \"failover\"\nall_down = \"resort\"", "", "6: names.x.all_down: `resort` needs a branch with `resort = true`");
    check(
        "policy = \"failover\"\nall_down = \"all\"",
        "},\n{ cname = \"y.\", resort = true",
        "6: names.x.all_down: a branch with `resort = true` is what is answered when all is down: `resort`",
    );
    check(
        &under("failover"),
        "},\n{ policy = \"simple\", branches = [\n{ cname = \"y.\", resort = true }]",
        "9: names.x.branches[1].branches[0].resort: the last resort is a branch of the name's or service's own policy, not of one below",
    );
    check(
        &under("cidr"),
        "default = true },\n{ cname = \"y.\", cidrs = [\"10.0.0.0/8\"], resort = true",
        "8: names.x.branches[1].cidrs: the last resort is for every client",
    );
    check("policy = \"failover\"\nmin_healthy = 2", "", "6: names.x.min_healthy: at most 1, for there are no more branches");
    check("policy = \"failover\"\nmin_healthy = 0", "", "6: names.x.min_healthy: at least 1");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    refused(
        "[services.a]\nslow_start = \"16m\"\n[services.b]\npanic_threshold = 101\n[services.c]\ndamping = \"yes\"\nslowstart = \"1m\"\n\
         [services.d]\npolicy = \"asn\"\n",
        &[
            "4: services.a.slow_start: 0s to 15m",
            "6: services.b.panic_threshold: a whole number from 0 to 100 is expected, not integer `101`",
            "8: services.c.damping: true or false is expected, not the text \"yes\"",
            "9: services.c.slowstart: unknown key; did you mean `slow_start`?",
            "10: services.d.branches: asn needs branches, for it chooses among them by what they say",
        ],
    );
}

#[test]
fn a_service_is_shown_as_it_was_written() {
    let toml = "panic_threshold = 40\nslow_start = \"45s\"\ndamping = false\npolicy = \"geoproximity\"\n\
                branches = [{ region = \"eu\", bias = -3, capacity = 70 }, { latitude = 1.5, longitude = 2.0 }, { cname = \"x.\", resort = true }]\n";
    let from_toml: crate::model::ServiceFields = toml::from_str(toml).unwrap();
    let service = Service::from_fields(from_toml.clone(), &|_, _| Ok((5, [0].into()))).unwrap();
    let shown = serde_json::to_value(&service.fields).unwrap();
    let expected = serde_json::json!({
        "panic_threshold": 40, "slow_start": "45s", "damping": false, "policy": "geoproximity",
        "branches": [
            { "region": "eu", "bias": -3, "capacity": 70 }, { "latitude": 1.5, "longitude": 2.0 }, { "cname": "x.", "resort": true },
        ],
    });
    assert_eq!(shown, expected);
    assert_eq!(serde_json::from_value::<crate::model::ServiceFields>(shown).unwrap(), from_toml);
}

#[test]
fn what_deserves_a_second_look_is_said() {
    let mut wrong = Vec::new();
    let mut check = |geo: &[(&str, &str)], text: &str, expected: &[&str]| {
        let zone = format!("{HEAD}[services.web]\n{text}");
        let files: Vec<_> = [("zones/svc.example.toml", zone.as_str())].into_iter().chain(geo.iter().copied()).collect();
        let said = load(&files).map(|(_, warnings)| warnings).unwrap_or_else(|findings| findings);
        let expected: Vec<String> = expected.iter().map(|e| format!("zones/svc.example.toml:{e}")).collect();
        if said != expected {
            wrong.push(format!("{text}\n  - {expected:#?}\n  + {said:#?}"));
        }
    };
    let known = [("geo/regions.toml", PLACES), ("geo/networks.toml", NETWORKS)];
    let web = |keys: &str| format!("{{ service = \"web\", {keys} }}");
    let x = |policy: &str, branches: &[String]| format!("[names.x]\npolicy = \"{policy}\"\nbranches = [\n{}\n]\n", branches.join(",\n"));
    let nodata = "there is no default branch: clients of other";
    let scope = "get NODATA, whose scope some resolvers ignore (RFC 7871 §7.4)";

    // Clients that no branch is for.
    check(&known, &x("geolocation", &[web("countries = [\"IE\"]")]), &[&format!("5: names.x.policy: {nodata} places {scope}")]);
    check(&known, &x("asn", &[web("asns = [64500]")]), &[&format!("5: names.x.policy: {nodata} systems {scope}")]);
    check(&known, &x("cidr", &[web("cidrs = [\"0.0.0.0/0\"]")]), &[&format!("5: names.x.policy: {nodata} networks {scope}")]);
    check(&known, &x("cidr", &[web("cidrs = [\"0.0.0.0/1\", \"::/0\"]"), web("cidrs = [\"128.0.0.0/1\"]")]), &[]);
    check(&known, &x("cidr", &[web("cidrs = [\"10.0.0.0/8\"]"), web("default = true")]), &[]);
    check(&known, &x("asn", &[web("asns = [64500]"), web("resort = true")]), &[]);
    let below = |policy: &str, branch: String, more: &str| format!("{{ policy = \"{policy}\", branches = [{branch}]{more} }}");
    let strict = || below("asn", web("asns = [1]"), "");
    check(&known, &x("failover", &[strict(), strict()]), &[&format!("7: names.x.branches[0].policy: {nodata} systems {scope}")]);
    check(&known, &x("failover", &[strict(), web("")]), &[]);
    let default = below("asn", web("asns = [1]"), ", default = true");
    check(
        &known,
        &x("cidr", &[web("cidrs = [\"10.0.0.0/8\"]"), default]),
        &[&format!("8: names.x.branches[1].policy: {nodata} systems {scope}")],
    );
    let referred =
        format!("{}[names.y]\npolicy = \"asn\"\nbranches = [{}]", x("weighted", &["{ name = \"y\" }".into()]), web("asns = [1]"));
    check(
        &known,
        &referred,
        &[&format!("7: names.x.branches[0].name: {nodata} systems {scope}"), &format!("10: names.y.policy: {nodata} systems {scope}")],
    );
    let service = "policy = \"asn\"\nbranches = [{ asns = [1] }]\n";
    check(&known, service, &[&format!("4: services.web.policy: {nodata} systems {scope}")]);

    // Branches that are never taken.
    let records = || "{ records = { A = [\"192.0.2.1\"] } }".to_string();
    let never = "is never taken: branches[0] before it has static records, which are always healthy";
    check(&known, &x("failover", &[records(), web(""), web("")]), &[&format!("8: names.x.branches[1]: {never}")]);
    check(&known, &x("failover", &[web(""), records()]), &[]);
    check(&known, &x("failover", &[below("weighted", records(), ""), web("")]), &[&format!("8: names.x.branches[1]: {never}")]);
    let two = below("weighted", format!("{}, {}", records(), web("")), ", min_healthy = 2");
    check(&known, &x("failover", &[two, web("")]), &[]);
    check(
        &known,
        &x("weighted", &[web(""), records(), "{ cname = \"y.\", resort = true }".into()]),
        &["9: names.x.branches[2].resort: is never taken: static records of another branch are always healthy"],
    );
    check(
        &known,
        &x("sticky", &[web("weight = 0"), web("weight = 0")]),
        &["6: names.x.branches: all of them weigh nothing, so each is taken as often as the others"],
    );
    check(&known, &x("sticky", &[web("weight = 0"), web("weight = 1")]), &[]);

    // What cannot be ranked, or told apart.
    let regions = [web("region = \"eu-west\""), web("region = \"us-east\"")];
    let ways = "cannot rank regions until measurements are posted: geo/ has no database (*.mmdb) with coordinates, no network with a region \
                or coordinates, and no pin";
    check(&[], &x("latency", &regions), &[&format!("5: names.x.policy: `latency` {ways}")]);
    check(&known[..1], &x("nearest", &regions), &[&format!("5: names.x.policy: `nearest` {ways}")]);
    check(&known, &x("latency", &regions), &[]);
    let unranked =
        "`latency` cannot rank us-east until measurements are posted: geo/ has no coordinates and no milliseconds for it, so it comes last";
    check(&known[1..], &x("latency", &regions), &[&format!("5: names.x.policy: {unranked}")]);
    check(&[known[1], ("geo/latency.toml", "rtt_ms.us-east.eu-west = 80.0\n")], &x("latency", &regions), &[]);
    check(
        &[],
        &x("geoproximity", &[web("region = \"eu-west\"")]),
        &[
            "5: names.x.policy: no client's coordinates are known: geo/ has no database (*.mmdb) with them, and networks.toml names none",
            "7: names.x.branches[0].region: eu-west has no coordinates in geo/regions.toml, so its distance is not known",
        ],
    );
    check(&known, &x("geoproximity", &[web("region = \"eu-west\""), web("latitude = 1.0, longitude = 1.0")]), &[]);
    check(
        &[],
        &x("geolocation", &[web("countries = [\"IE\"]"), web("default = true")]),
        &["5: names.x.policy: no client's country is known: geo/ has no database (*.mmdb) with countries, and networks.toml names none"],
    );
    check(
        &[],
        &x("asn", &[web("asns = [1]"), web("default = true")]),
        &[
            "5: names.x.policy: no client's autonomous system is known: geo/ has no database (*.mmdb) with them, and networks.toml names none",
        ],
    );

    // Numbers that do not add up.
    let one =
        |id: &str, region: &str| format!("[services.web.instances.{id}]\naddresses = [\"192.0.2.1\"]\nregion = \"{region}\"\naz = \"a\"\n");
    let needed = "2 are needed and zone files declare 1: it counts as down until more are registered";
    let instances = format!("{}{}", one("a", "eu-west"), one("b", "us-east"));
    check(
        &known,
        &format!("{instances}{}", x("simple", &[web("region = \"eu-west\", min_healthy = 2")])),
        &[&format!("15: names.x.branches[0].min_healthy: {needed}")],
    );
    check(&known, &format!("{instances}{}", x("simple", &[web("min_healthy = 2")])), &[]);
    check(&known, &format!("min_healthy = 2\n{}", one("a", "eu-west")), &[&format!("4: services.web.min_healthy: {needed}")]);
    check(&known, "min_healthy = 2\n", &[]);
    check(
        &known,
        &x("weighted", &[web("capacity = 30"), below("simple", web("capacity = 60"), ", capacity = 80")]),
        &["6: names.x.branches: all branches together have capacity for 90 % of the clients"],
    );
    check(&known, &x("weighted", &[web("capacity = 30"), web("")]), &[]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
