//! The files that are shown to users are read as written, without a word.

use std::path::Path;

use super::{load, name};
use crate::config::{settings, world};
use crate::model::{Label, PolicyKind, Settings};

#[test]
fn the_design_s_zone_is_read_as_written() {
    // DESIGN §11, `services = true` beside [services.web] included, which TOML as such has no way to say.
    let text = r#"
services = true   # shown
ns = ["ns1.svc.example."]
ttl = { min = "5s", max = "30s", negative = "5s" }
contact = "dns.admin@example.org"
[records]
"@" = { MX = ["10 mail.example."] }
ns1 = { A = ["192.0.2.53"] }
www = { A = "192.0.2.80", ttl = "1h" }
[services.web]
policy = "nearest"
checks = [{ http = "/healthz", port = "http" }]
[services.web.instances.eu1]
addresses = ["192.0.2.10"]
ports = { http = 8080 }
region = "eu-west"
az = "eu-west-1a"
[names.api]
policy = "failover"
branches = [
  { service = "web", region = "eu-west" },
  { policy = "weighted", branches = [{ service = "blue", weight = 90 }, { service = "green", weight = 10 }] },
  { records = { A = ["192.0.2.200"] } },
]
[names.shop]
policy = "geolocation"
branches = [
  { service = "web", region = "eu-west", continents = ["EU"] },
  { service = "web", region = "us-east", countries = ["US", "CA"] },
  { service = "web", default = true },
]
"#;
    let (loaded, warnings) = load(&[("zones/Svc.example.toml", text)]).unwrap();
    assert_eq!(warnings.len(), 3, "blue and green are registered later, and no client has a country: {warnings:?}");
    let zone = &loaded.zones[0];
    assert_eq!((zone.apex.clone(), zone.services, zone.ns.clone()), (name("svc.example."), true, vec![name("ns1.svc.example.")]));
    assert_eq!(zone.soa.contact, name(r"dns\.admin.example.org."));
    assert!(zone.soa.serial > 1_700_000_000, "the time of writing");
    let ttls: Vec<(String, u16, u32)> = zone.records.iter().map(|((owner, rtype), set)| (owner.to_string(), *rtype, set.ttl)).collect();
    let expected = [("ns1.svc.example.", 1, 30), ("www.svc.example.", 1, 3600), ("svc.example.", 15, 30)];
    for (owner, rtype, ttl) in expected {
        assert!(ttls.contains(&(owner.into(), rtype, ttl)), "{owner} {rtype} {ttl}: {ttls:?}");
    }
    let web = &zone.defined[&Label::parse("web").unwrap()];
    assert_eq!((web.service.policy.kind, web.service.fields.checks.len(), web.instances.len()), (PolicyKind::Nearest, 1, 1));
    assert_eq!(zone.names[&name("api.svc.example.")].branches.len(), 3);
    assert_eq!(zone.names.len(), 2);

    let hidden = text.replace("services = true", "services = false");
    assert!(!load(&[("zones/svc.example.toml", &hidden)]).unwrap().0.zones[0].services);
    let implied = text.replace("services = true", "");
    assert!(load(&[("zones/svc.example.toml", &implied)]).unwrap().0.zones[0].services);
}

#[test]
fn the_example_and_the_defaults_load_without_a_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = settings(Some(&root.join("examples/quickstart/signpost.toml")), &Default::default()).unwrap();
    assert_eq!(config.data_dir, root.join("examples/quickstart/data"));
    let loaded = world(&config).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.zones[0].defined[&Label::parse("web").unwrap()].instances.len(), 4);
    assert_eq!(loaded.geo.regions.unwrap().len(), 2);
    assert_eq!(loaded.geo.networks.len(), 2);

    let clone = Settings { zones_dir: root.join("zones"), geo_dir: root.join("geo"), ..Settings::default() };
    let loaded = world(&clone).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!((loaded.zones[0].apex.clone(), loaded.zones[0].services), (name("service.internal."), true));
    assert_eq!(loaded.geo, Default::default());
    // The examples are what they claim to be.
    let examples = ["regions.toml", "networks.toml", "latency.toml"]
        .map(|file| (format!("geo/{file}"), std::fs::read_to_string(root.join(format!("geo/{file}.example"))).unwrap()));
    let examples = examples.each_ref().map(|(file, text)| (file.as_str(), text.as_str()));
    assert_eq!(load(&examples).unwrap().0.geo.regions.unwrap().len(), 2);
}

#[test]
fn the_example_of_policies_has_every_preset_and_loads_without_a_word() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies/signpost.toml");
    let loaded = world(&settings(Some(&file), &Default::default()).unwrap()).unwrap();
    assert_eq!(loaded.warnings, []);
    let zone = &loaded.zones[0];
    let kinds = zone.names.values().map(|policy| policy.kind.as_str());
    let kinds: std::collections::BTreeSet<_> = kinds.chain(zone.defined.values().map(|d| d.service.policy.kind.as_str())).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["asn", "cidr", "failover", "geolocation", "geoproximity", "latency", "multivalue", "nearest", "simple", "sticky", "weighted"]
    );
}
