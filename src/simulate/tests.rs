//! Small worlds, and what becomes of their clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::{
    BranchFields, Geo, Health, Instance, Locality, Out, Owner, Place as Whereabouts, Policy, Region, Service, ServiceFields, Vitals, Zone,
};
use crate::snapshot::{InstanceView, ServiceView, Update};

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

/// Three regions, of each of which a /18 of clients is known, 10 ms near and farther to the others; service `web` has an instance in each
/// but as said; and names with the policies given.
fn world(instances: &[(&str, Health)], service: &str, names: &[(&str, &str)]) -> Snapshot {
    let mut geo = Geo { regions: Some(BTreeMap::new()), ..Geo::default() };
    for (n, region) in ["eu", "us", "ap"].into_iter().enumerate() {
        geo.regions.as_mut().unwrap().insert(label(region), Region { azs: vec![label("1")], ..Region::default() });
        let net: IpNet = format!("10.{n}.0.0/18").parse().unwrap();
        geo.networks.push((net, Whereabouts { region: Some(label(region)), ..Whereabouts::default() }));
        let rtt = ["eu", "us", "ap"].into_iter().enumerate().map(|(m, to)| (label(to), 10.0 + 80.0 * ((m + 3 - n) % 3) as f64));
        geo.pins.push((net, rtt.collect()));
    }
    let parse = |_: &str, _: &str| Ok((1, Box::from([192, 0, 2, 1])));
    let name = |text: &str| Name::parse(text).unwrap();
    let policy = |json: &str| {
        let fields: BranchFields = serde_json::from_str(json).unwrap();
        Policy::from_fields(&fields, Owner::Name, &parse).unwrap()
    };
    let zone = Zone {
        services: true,
        names: names.iter().map(|(owner, json)| (name(owner), policy(json))).collect(),
        ..Zone::new(name("test."), "zones/test.toml", name("ns.test."), 1)
    };
    let fields: ServiceFields = serde_json::from_str(service).unwrap();
    let service = Service::from_fields(fields, &parse).unwrap();
    let list: Vec<(Label, Arc<Instance>, Vitals)> = instances
        .iter()
        .map(|(id, health)| {
            let json = format!(r#"{{"addresses":["192.0.2.9"],"region":"{}","az":"1"}}"#, &id[..2]);
            let instance: Instance = serde_json::from_str(&json).unwrap();
            (label(id), Arc::new(instance), Vitals { probed: Some(*health), ..Vitals::default() })
        })
        .collect();
    let view = |(id, instance, vitals)| InstanceView { id, instance, vitals, out: Out::SERVING, warmth: 100 };
    let instances = list.iter().map(|(id, instance, vitals)| view((id, instance, vitals))).collect();
    let view = ServiceView { service: &service, instances, out: Out::SERVING };
    Snapshot::empty().update(&[Update::Geo(&geo), Update::Zones(&[zone]), Update::Service(&label("web"), Some(view))]).unwrap()
}

fn without(snapshot: &Snapshot, region: &str, percent: f64) -> Snapshot {
    let regions = [(label(region), Out { share: crate::model::Share::of(percent / 100.0), moving: false })].into();
    snapshot.update(&[Update::Drained { regions: &regions, azs: &BTreeMap::<Locality, Out>::new() }]).unwrap()
}

/// `name: moved % | from → to %, ms → ms; … | emptied, exceeded`
fn text(report: &Report) -> Vec<String> {
    let ms = |ms: Option<f64>| ms.map_or("?".into(), |ms| format!("{ms:.0}"));
    let line = |name: &NameReport| {
        let moves: Vec<String> = name
            .moves
            .iter()
            .map(|m| format!("{} → {} {:.1} %, {} → {} ms", m.from, m.to, 100.0 * m.share, ms(m.before_ms), ms(m.after_ms)))
            .collect();
        let mut text = format!("{}: {:.1} % | {}", name.name, 100.0 * name.moved, moves.join("; "));
        if name.emptied > 0.0 {
            text += &format!(" | emptied {:.1} %", 100.0 * name.emptied);
        }
        name.exceeded.iter().for_each(|e| text += &format!(" | {} {:.1} of {:.0} %", e.what, 100.0 * e.share, 100.0 * e.capacity));
        text
    };
    report.names.iter().map(line).collect()
}

const H: Health = Health::Healthy;

fn check(snapshot: &Snapshot, lost: &str, percent: f64, capacities: &[(&str, u8)], expected: &[&str]) -> Report {
    let after = without(snapshot, lost, percent);
    let capacities = capacities.iter().map(|(region, percent)| (label(region), *percent)).collect();
    let population = Population::spread(&snapshot.origins);
    let names = DecidedName::all(snapshot);
    let report = simulate(snapshot, &after, &population, &names, &[format!("region/{lost}")], &capacities, true);
    assert_eq!(text(&report), expected, "without {lost}");
    let all = report.warnings();
    for most in [1, 2, 100] {
        let first = all.len().min(most);
        let told = warnings(snapshot, &after, &population, &[format!("region/{lost}")], &capacities, most);
        assert_eq!(told, (all[..first].to_vec(), all.len() - first), "the first {most}");
    }
    for listed in report.names.iter().flat_map(|name| &name.listed) {
        assert!((listed.from.values().sum::<f64>() - 1.0).abs() < 1e-9 && (listed.to.values().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(percent < 100.0 || !listed.to.contains_key(&Place::Region(lost.into())), "nobody is left in {lost}: {listed:?}");
    }
    report
}

#[test]
fn a_lost_region_moves_its_clients_and_nobody_else() {
    let api = r#"{"policy":"failover","branches":[{"service":"web","region":"eu"},{"records":{"A":["x"]}}]}"#;
    let only = r#"{"policy":"geolocation","branches":[{"service":"web","region":"eu","default":true}]}"#;
    let drawn =
        r#"{"policy":"weighted","branches":[{"service":"web","region":"eu","weight":75},{"service":"web","region":"us","weight":25}]}"#;
    let world = world(&[("eu1", H), ("us1", H), ("ap1", H)], "{}", &[("api.test.", api), ("only.test.", only), ("drawn.test.", drawn)]);
    let report = check(
        &world,
        "eu",
        100.0,
        &[("us", 60), ("ap", 20)],
        &[
            "api.test.: 100.0 % | region/eu → records 100.0 %, 90 → ? ms",
            "only.test.: 100.0 % | region/eu → nothing 100.0 %, 90 → ? ms | emptied 100.0 %",
            "drawn.test.: 75.0 % | region/eu → region/us 75.0 %, 90 → 90 ms | region/us 100.0 of 60 %",
            "web.test.: 33.3 % | region/eu → region/us 33.3 %, 10 → 90 ms | region/ap 33.3 of 20 % | region/us 66.7 of 60 %",
        ],
    );
    assert_eq!(report.warnings().len(), 4);
    assert_eq!((report.total.moved * 1000.0).round(), 771.0);
    check(
        &world,
        "ap",
        100.0,
        &[],
        &[
            "web.test.: 33.3 % | region/ap → region/eu 33.3 %, 10 → 90 ms",
            "api.test.: 0.0 % | ",
            "drawn.test.: 0.0 % | ",
            "only.test.: 0.0 % | ",
        ],
    );
}

#[test]
fn a_ramp_moves_its_share_and_spill_takes_up_the_rest() {
    let half = world(&[("eu1", H), ("eu2", Health::Unhealthy), ("us1", H), ("ap1", H)], "{}", &[]);
    let report = check(&half, "us", 100.0, &[], &["web.test.: 44.8 % | region/us → region/ap 44.8 %, 30 → 110 ms"]);
    assert!(report.warnings().is_empty());
    let whole = world(&[("eu1", H), ("us1", H)], "{}", &[]);
    check(&whole, "eu", 50.0, &[], &["web.test.: 34.4 % | region/eu → region/us 34.4 %, 52 → 132 ms"]);
}
