//! Sequences of commands as texts: what each comes to, and what is there afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{Check, Defined, DrainFields, Health, Name, Period, Policy, RecordSet, ServiceFields, Status, Zone};

pub(crate) fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

pub(crate) fn key(text: &str) -> InstanceKey {
    let (service, id) = text.split_once('/').unwrap();
    InstanceKey { service: label(service), id: label(id) }
}

/// `{…}` over a plain instance in eu/1 at 192.0.2.1.
pub(crate) fn instance(json: &str) -> Arc<Instance> {
    let mut body = serde_json::json!({"addresses": ["192.0.2.1"], "region": "eu", "az": "1"});
    let given: serde_json::Value = serde_json::from_str(if json.is_empty() { "{}" } else { json }).unwrap();
    body.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(body).unwrap())
}

fn service(json: &str) -> Arc<Service> {
    let fields: ServiceFields = serde_json::from_str(if json.is_empty() { "{}" } else { json }).unwrap();
    Arc::new(Service::from_fields(fields, &|_, _| Ok((1, Box::new([192, 0, 2, 9])))).unwrap())
}

/// `{…}` over a drain at `now` that overrules every rule.
fn drain(subject: Subject, json: &str, now: Timestamp) -> Command {
    let mut body = serde_json::json!({"reason": "drill", "override": "test"});
    let given: serde_json::Value = serde_json::from_str(if json.is_empty() { "{}" } else { json }).unwrap();
    body.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    let fields: DrainFields = serde_json::from_value(body).unwrap();
    Command::Drain { subject, drain: Drain::start(fields, "me", now).unwrap() }
}

/// `put web/a {…}`, `delete web/a`, `service web {…}`, `drop web`, `drain region/eu {…}`, `safely region/eu {…}` (a drain that overrules
/// no rule), `undrain region/eu [RAMP]`, `pause region/eu`, `resume region/eu`, `push web/a`; behind a put or delete, `absent` or `at=N`
/// before the body demands a state.
pub(crate) fn command(text: &str) -> Command {
    command_at(text, Timestamp(0))
}

/// The same for drains that start at `now`.
pub(crate) fn command_at(text: &str, now: Timestamp) -> Command {
    let mut words = text.splitn(3, ' ');
    let (verb, name, mut body) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or(""));
    let mut precondition = Precondition::None;
    let (first, rest) = body.split_once(' ').unwrap_or((body, ""));
    if first == "absent" {
        (precondition, body) = (Precondition::Absent, rest);
    } else if let Some(revision) = first.strip_prefix("at=") {
        (precondition, body) = (Precondition::At(Revision(revision.parse().unwrap())), rest);
    }
    let subject = || Subject::parse(name).unwrap();
    match verb {
        "put" => Command::PutInstance { key: key(name), instance: instance(body), precondition },
        "delete" => Command::DeleteInstance { key: key(name), precondition },
        "service" => Command::PutService { name: label(name), service: service(body), precondition },
        "drop" => Command::DeleteService { name: label(name), precondition },
        "drain" => drain(subject(), body, now),
        "safely" => match drain(subject(), body, now) {
            Command::Drain { subject, drain } => Command::Drain { subject, drain: Drain { overridden: None, ..drain } },
            other => other,
        },
        "undrain" => {
            let ramp = (!body.is_empty()).then(|| body.parse().unwrap());
            Command::Undrain { subject: subject(), ramp }
        }
        "pause" => Command::Pause { subject: subject() },
        "resume" => Command::Resume { subject: subject() },
        "push" => Command::Push { key: key(name), pushed: Pushed { status: Status::Critical, note: body.into() } },
        _ => panic!("{text}"),
    }
}

/// Applies each line `command => created | done | part of the refusal`; the n-th line gets revision n.
fn check(registry: &mut Registry, script: &str) {
    for (n, line) in script.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let (text, expected) = line.split_once(" => ").unwrap();
        let before = registry.clone();
        let result = registry.apply(&command(text), Timestamp(n as u64), Revision(n as u64 + 1));
        let found = match result {
            Ok((_, Done { created: true, .. })) => "created".to_string(),
            Ok(_) => "done".to_string(),
            Err(refusal) => {
                assert_eq!(*registry, before, "{line}: refused, and changed something");
                match refusal {
                    Refusal::Field(error) => format!("{}: {}", error.field, error.expected),
                    other => other.to_string(),
                }
            }
        };
        assert!(found.starts_with(expected), "{line}: {found}");
    }
}

pub(crate) fn zone(file: &str, json: &str) -> Zone {
    let apex = Name::parse("svc.example.").unwrap();
    let read: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut zone = Zone { services: true, ..Zone::new(apex, file, Name::parse("ns1.example.").unwrap(), 1) };
    for owner in read["records"].as_array().into_iter().flatten() {
        let owner = Name::parse_relative(owner.as_str().unwrap(), Some(&zone.apex)).unwrap();
        zone.records.insert((owner, 1), RecordSet { ttl: 30, rdata: vec![Box::new([192, 0, 2, 7])] });
    }
    for owner in read["names"].as_array().into_iter().flatten() {
        let owner = Name::parse_relative(owner.as_str().unwrap(), Some(&zone.apex)).unwrap();
        zone.names.insert(owner, Policy::default());
    }
    for (name, defined) in read["services"].as_object().into_iter().flatten() {
        let instances = defined["instances"].as_object().into_iter().flatten();
        zone.defined.insert(
            label(name),
            Defined {
                service: (*service(&defined["service"].to_string().replace("null", "{}"))).clone(),
                instances: instances.map(|(id, body)| (label(id), (*instance(&body.to_string())).clone())).collect(),
            },
        );
    }
    zone
}

pub(crate) fn declared(azs: &[(&str, &[&str])]) -> Option<BTreeMap<Label, Region>> {
    let region = |azs: &[&str]| Region { coordinates: None, azs: azs.iter().map(|az| label(az)).collect(), ..Region::default() };
    Some(azs.iter().map(|(name, azs)| (label(name), region(azs))).collect())
}

#[test]
fn instances_come_and_go_and_take_an_implicit_service_with_them() {
    let mut registry = Registry::default();
    check(
        &mut registry,
        r#"
        put web/a => created
        put web/a {"weight": 3} => done
        put web/b => created
        delete web/a => done
        delete web/a => there is no instance web/a
        delete web/b => done
        drop web => there is no service web
        service web => created
        put web/a => created
        delete web/a => done
        service web {"policy": "simple"} => done
        put web/c => created
        drop web => done
        push web/c => there is no instance web/c
        "#,
    );
    assert!(registry.services.is_empty());
    assert_eq!(registry.revision, Revision(13));
}

#[test]
fn preconditions_name_the_revision_that_is() {
    check(
        &mut Registry::default(),
        r#"
        put web/a absent => created
        put web/a absent => the precondition does not hold: the resource is at revision 1
        put web/a at=1 => done
        put web/a at=1 => the precondition does not hold: the resource is at revision 3
        put web/b at=1 => the precondition does not hold: the resource is absent
        service web absent => the precondition does not hold: the resource is at revision 0
        service web at=0 => done
        delete web/a at=1 => the precondition
        delete web/a at=3 => done
        drop web at=7 => done
        "#,
    );
}

#[test]
fn places_ports_and_checks_are_refused_by_field() {
    let mut registry = Registry { regions: declared(&[("eu", &["1", "2"]), ("us", &[])]), ..Registry::default() };
    check(
        &mut registry,
        r#"
        put web/a {"region": "ap"} => region: one of eu, us, as geo/regions.toml declares, not ap
        put web/a {"az": "9"} => az: one of 1, 2, as geo/regions.toml declares for eu, not 9
        put web/a {"region": "us", "az": "any"} => created
        put web/a {"addresses": []} => addresses
        put _web/a => service: a service's name must not begin with '_'
        service _web => service
        service web {"branches": [{"region": "ap"}], "policy": "failover"} => branches[0].region: one of eu, us
        put web/a {"ports": {"http": 80}, "checks": [{"tcp": true, "port": "admin"}]} => checks[0].port: the instance has no port admin; its ports are http
        put web/a {"checks": [{"tcp": true}]} => checks[0].port: say which port to probe: the instance has no default port and it has no ports
        put web/a {"ports": {"dns": "53/udp"}, "checks": [{"tcp": true}]} => checks[0].port: a probe needs a TCP port, and dns is UDP
        put web/a {"ports": {"http": 80}, "checks": [{"tcp": true}]} => done
        put web/b {"ports": {"https": 443}} => ports: the service would have the ports http, https; say which is its `default_port` (PUT /v1/services/web)
        service web {"default_port": "http"} => done
        put web/b {"ports": {"https": 443}} => created
        service web => default_port: the service would have the ports http, https
        service web {"default_port": "http", "checks": [{"tcp": true, "port": "http"}]} => checks: instance b cannot be probed so
        service web {"default_port": "htttp"} => default_port: one of the service's ports http, https, not htttp
        service world {"policy": "geolocation", "branches": [{"countries": ["US", "UK"]}]} => branches[0].countries: UK is no ISO 3166-1 code; GB is
        service world {"policy": "geolocation", "branches": [{"subdivisions": ["UK-SCT"]}]} => branches[0].subdivisions: UK is no
        service late {"default_port": "grpc"} => created
        service api {"ports": {"a": 1, "b": 2}, "default_port": "c"} => default_port: one of the service's ports a, b, not c
        service api {"ports": {"a": 1, "b": 2}} => default_port: name the default one of the ports a, b
        service api {"ports": {"a": 1, "b": 2}, "default_port": "b", "checks": [{"tcp": true}]} => created
        put api/a => created
        put api/b {"ports": {"c": 1}} => ports: the service's check "tcp" needs one
        "#,
    );
    let probing = probing(&registry.services["api"].service, &registry.instance(&key("api/a")).unwrap().instance).unwrap();
    assert_eq!(probing.checks[0].1, 2);
}

#[test]
fn a_service_has_at_most_sixty_ports() {
    let mut registry = Registry::default();
    registry.apply(&command(r#"service web {"default_port": "p0"}"#), Timestamp(0), Revision(1)).unwrap();
    let put = |n: usize, from: usize| {
        let ports: BTreeMap<String, usize> = (from..from + 15).map(|p| (format!("p{p}"), 1000 + p)).collect();
        command(&format!("put web/i{n} {}", serde_json::json!({ "ports": ports })))
    };
    for n in 0..4 {
        registry.apply(&put(n, n * 15), Timestamp(0), Revision(2)).unwrap();
    }
    let refusal = registry.apply(&put(4, 46), Timestamp(0), Revision(3)).unwrap_err();
    assert!(matches!(refusal, Refusal::Field(error) if error.field == "ports" && error.expected.contains("60")));
    registry.apply(&put(3, 0), Timestamp(0), Revision(3)).unwrap();
    registry.apply(&put(4, 45), Timestamp(0), Revision(4)).unwrap();
}

#[test]
fn drains_need_something_to_drain() {
    let mut registry = Registry { regions: declared(&[("us", &["1"])]), ..Registry::default() };
    check(
        &mut registry,
        r#"
        drain region/eu => there is no region/eu
        drain region/us => created
        drain region/us => done
        drain az/us/2 => there is no az/us/2
        drain az/us/1 => created
        drain service/web => there is no service/web
        put web/a {"region": "us"} => created
        drain service/web => created
        drain instance/web/a => created
        undrain region/us => done
        undrain region/us => region/us is not drained
        undrain region/eu => there is no region/eu
        "#,
    );
    let by = |registry: &Registry| registry.drained_by(&key("web/a")).map(|(subject, _)| subject.to_string());
    assert_eq!(by(&registry).unwrap(), "instance/web/a");
    for (lift, next) in [("instance/web/a", Some("service/web")), ("service/web", Some("az/us/1")), ("az/us/1", None)] {
        registry.apply(&command(&format!("undrain {lift}")), Timestamp(0), Revision(0)).unwrap();
        assert_eq!(by(&registry).as_deref(), next);
    }
}

#[test]
fn drains_are_steered_only_where_they_can_be() {
    let mut registry = Registry::default();
    check(
        &mut registry,
        r#"
        put web/a => created
        pause region/eu => region/eu is not drained
        resume region/us => there is no region/us
        drain region/eu {"ramp": "10m", "expires": "10m10s"} => ramp: a drain is whole before it ends; announced for 30s it would be whole in 10m30s
        drain region/eu {"ramp": "10m"} => created
        resume region/eu => the drain of region/eu is not paused
        pause region/eu => done
        pause region/eu => the drain of region/eu does not move
        undrain region/eu 25h => ramp: 1s to 24h, not 25h
        resume region/eu => done
        drain region/eu => done
        pause region/eu => the drain of region/eu does not move
        undrain region/eu 10m => done
        "#,
    );
    // Lifted little by little: it is still there, and comes back from where it is.
    let back = |registry: &Registry, at: u64| registry.drains[&Subject::parse("region/eu").unwrap()].drain.out(Timestamp(at)).share.ratio();
    let (half, later) = (300_012, 400_000);
    assert_eq!(back(&registry, half), 0.5);
    registry.apply(&command_at(r#"drain region/eu {"ramp": "10m"}"#, Timestamp(half)), Timestamp(half), Revision(20)).unwrap();
    assert_eq!((back(&registry, half), back(&registry, half + 150_000)), (0.5, 0.75));
    registry.apply(&command("undrain region/eu 0s"), Timestamp(later), Revision(21)).unwrap();
    assert!(registry.drains.is_empty());
    assert_eq!(registry.lifted[&label("eu")], Timestamp(later));
}

#[test]
fn a_batch_holds_back_what_depends_on_it() {
    let hold = |script: &[&str]| -> String {
        let mut registry = Registry::default();
        registry.apply(&command(r#"put web/a {"ports": {"http": 80}}"#), Timestamp(0), Revision(1)).unwrap();
        let mut draft = Draft::default();
        let plan = |text: &&str| match registry.plan(&mut draft, &command(text), Timestamp(0)) {
            Ok(_) => 'y',
            Err(Hold::Refused(_)) => 'n',
            Err(Hold::Later) => '.',
        };
        script.iter().map(plan).collect()
    };
    assert_eq!(hold(&["put web/b", "put web/c", "put api/a", "delete web/a"]), "yyyy");
    assert_eq!(hold(&["put web/b", "delete web/b", "push web/b", "put web/b"]), "y...");
    assert_eq!(hold(&["delete web/x", "service web", "put web/b"]), "ny.");
    assert_eq!(hold(&["put web/b", "drain service/web", "drop web", "service web", "undrain region/eu"]), "y....");
    assert_eq!(hold(&["drain service/web", "put api/a"]), "y.");
    // Alone, another port name is refused; beside a change of the only instance that has the first, it has to wait.
    assert_eq!(hold(&[r#"put web/b {"ports": {"web": 81}}"#]), "n");
    assert_eq!(hold(&[r#"put web/a {"ports": {"web": 81}}"#, r#"put web/b {"ports": {"web": 81}}"#]), "yy");
    assert_eq!(hold(&["delete web/a", r#"put web/b {"ports": {"web": 81}}"#]), "y.");
    assert_eq!(hold(&["put web/c", r#"put web/a {"ports": {"web": 81}}"#]), "y.");
}

#[test]
fn files_go_before_registrations_which_come_back() {
    let mut registry = Registry::default();
    check(
        &mut registry,
        r#"
        service web {"policy": "simple"} => created
        put web/a => created
        put web/b => created
        "#,
    );
    let registered = registry.clone();
    let file = zone("z.toml", r#"{"services": {"web": {"service": {"tiers": 1}, "instances": {"a": {"weight": 7}, "f": {}}}}}"#);
    let warnings = registry.load(&[file], Timestamp(0)).unwrap();
    let subjects: BTreeSet<&str> = warnings.iter().map(|w| w.subject.as_str()).collect();
    assert_eq!(subjects, BTreeSet::from(["instance/web/a", "service/web"]));
    assert_eq!(registry.instance(&key("web/a")).unwrap().instance.weight, 7);
    assert_eq!(registry.services["web"].service.fields.tiers, Some(1));
    check(
        &mut registry,
        r#"
        put web/a => instance/web/a is defined in z.toml; change it there
        delete web/f => instance/web/f is defined in z.toml
        service web => service/web is defined in z.toml
        drop web => service/web is defined in z.toml
        push web/f => done
        put web/c => created
        delete web/c => done
        "#,
    );
    registry.load(&[], Timestamp(0)).unwrap();
    assert!(registry.services["web"].changed >= Revision(6), "who waits for it hears of what it missed");
    registry.services.get_mut("web").unwrap().changed = registered.services["web"].changed;
    assert_eq!(registry.services, registered.services);
}

#[test]
fn who_waits_for_a_service_hears_of_what_came_before_a_file_let_go_of_it() {
    let mut registry = Registry::default();
    check(&mut registry, "put x/a => created\nput web/a => created");
    registry.load(&[zone("z.toml", r#"{"services": {"web": {"instances": {"a": {}}}}}"#)], Timestamp(0)).unwrap();
    registry.touch(&label("web"), Revision(9));
    registry.load(&[], Timestamp(0)).unwrap();
    assert_eq!(registry.services["web"].changed, Revision(9));
}

#[test]
fn who_waits_for_a_service_hears_of_drained_regions() {
    let mut registry = Registry::default();
    let script = r#"
        put web/a => created
        put db/b {"region": "us", "az": "x"} => created
        drain region/us => created
        drain az/us/x => created
        undrain region/us => done
        drain service/web => created
        "#;
    let changed = |n: usize| {
        let mut registry = registry.clone();
        check(&mut registry, &script.lines().take(n + 1).collect::<Vec<_>>().join("\n"));
        ["web", "db"].map(|service| registry.services[service].changed.0)
    };
    assert_eq!([2, 3, 4, 5, 6].map(changed), [[1, 2], [1, 3], [1, 4], [1, 5], [6, 5]]);
    check(&mut registry, script);
    // Also of what came before files were loaded again, where nothing but a file speaks of the service.
    let file = zone("z.toml", r#"{"services": {"api": {"instances": {"f": {"region": "eu"}}}}}"#);
    registry.load(std::slice::from_ref(&file), Timestamp(0)).unwrap();
    registry.touch(&label("api"), Revision(9));
    registry.load(&[file], Timestamp(0)).unwrap();
    assert_eq!(registry.services["api"].changed, Revision(9));
}

#[test]
fn a_broken_file_changes_nothing_and_is_named() {
    let refused = |before: &str, files: &[&str], said: &str| {
        let mut registry = Registry { regions: declared(&[("eu", &[])]), ..Registry::default() };
        if !before.is_empty() {
            registry.apply(&command(before), Timestamp(0), Revision(1)).unwrap();
        }
        let zones: Vec<Zone> = files.iter().enumerate().map(|(n, json)| zone(&format!("{n}.toml"), json)).collect();
        let unchanged = registry.clone();
        let error = registry.load(&zones, Timestamp(0)).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
        assert_eq!(registry, unchanged);
    };
    let web = r#"{"services": {"web": {"instances": {"a": {}}}}}"#;
    refused("", &[web, web], "1.toml: services.web: the service is defined in 0.toml too");
    refused("", &[web, r#"{"records": ["web"]}"#], "0.toml: services.web: the name web is taken by a record or policy in 1.toml");
    refused("put web/a", &[r#"{"records": ["web"]}"#], "0.toml: web: a service named web is registered");
    refused("put web/a", &[r#"{"records": ["www.web"]}"#], "0.toml: web");
    refused("put web/a", &[r#"{"records": ["_web._tcp"]}"#], "0.toml: web");
    refused("put web/a", &[r#"{"names": ["web"]}"#], "0.toml: web");
    refused("", &[r#"{"services": {"_w": {}}}"#], "0.toml: services._w: service: a service's name must not begin");
    refused("", &[r#"{"services": {"w": {"instances": {"a": {"region": "us"}}}}}"#], "0.toml: services.w: instances.a.region: one of eu");
    refused("", &[r#"{"services": {"w": {"service": {"ports": {"a": 1, "b": 2}}}}}"#], "0.toml: services.w: default_port");

    let mut registry = Registry::default();
    registry.load(&[zone("z.toml", r#"{"records": ["ns1", "@", "*", "_other._tcp"]}"#)], Timestamp(0)).unwrap();
    check(&mut registry, "put ns1/a => the name ns1 is taken by a record or policy in z.toml\nput web/a => created");
}

#[test]
fn health_is_the_worst_part_and_says_why() {
    let checked = r#"{"ports": {"http": 80}, "checks": [{"tcp": true}], "heartbeat": "30s"}"#;
    let mut registry = Registry::default();
    let web = key("web/a");
    registry.apply(&command(&format!("put web/a {checked}")), Timestamp(0), Revision(1)).unwrap();
    let state = |registry: &Registry| {
        let vitals = &registry.instance(&web).unwrap().vitals;
        format!("{} since {} {}{}", vitals.health(), vitals.since.0, vitals.why(), if vitals.unconfirmed { " ?" } else { "" })
    };
    assert_eq!(state(&registry), "pending since 0 ");
    registry.observe(&web, Health::Healthy, false, "", Timestamp(1));
    assert_eq!(state(&registry), "healthy since 1 ");
    registry.beat(&web, false, Timestamp(2));
    assert_eq!(state(&registry), "unhealthy since 2 no heartbeat for 30s");
    registry.observe(&web, Health::Unhealthy, false, "connection refused", Timestamp(3));
    assert_eq!(state(&registry), "unhealthy since 2 connection refused");
    registry.beat(&web, true, Timestamp(4));
    assert_eq!(state(&registry), "unhealthy since 2 connection refused");
    let turn = registry.observe(&web, Health::Healthy, false, "", Timestamp(5)).unwrap();
    assert_eq!((turn.before, turn.after, turn.shows()), (Health::Unhealthy, Health::Healthy, true));
    assert_eq!(state(&registry), "healthy since 5 ");
    registry.apply(&command("push web/a disk full"), Timestamp(6), Revision(2)).unwrap();
    assert_eq!(state(&registry), "unhealthy since 6 critical: disk full");
    // The same again keeps the verdict; other checks on the same address leave it unconfirmed; another address starts anew.
    registry.apply(&command(&format!("put web/a {checked}")), Timestamp(7), Revision(3)).unwrap();
    assert_eq!(state(&registry), "unhealthy since 6 critical: disk full");
    registry.apply(&command(&format!("put web/a {}", checked.replace("80", "81"))), Timestamp(8), Revision(4)).unwrap();
    assert_eq!(state(&registry), "unhealthy since 6 critical: disk full ?");
    assert!(registry.observe(&web, Health::Healthy, false, "", Timestamp(9)).unwrap().resteadied);
    let moved = checked.replace("{\"ports", "{\"addresses\": [\"192.0.2.2\"], \"ports");
    registry.apply(&command(&format!("put web/a {moved}")), Timestamp(10), Revision(5)).unwrap();
    assert_eq!(registry.instance(&web).unwrap().vitals.probed, Some(Health::Pending));
    assert_eq!(registry.observe(&key("web/x"), Health::Healthy, false, "", Timestamp(1)), None);
    // Checks of the service hold for instances without any of their own, and go with them.
    registry.apply(&command("put api/a {\"ports\": {\"http\": 80}}"), Timestamp(11), Revision(6)).unwrap();
    assert_eq!(registry.observe(&key("api/a"), Health::Unhealthy, false, "late", Timestamp(12)), None);
    registry.apply(&command(r#"service api {"checks": [{"tcp": true}]}"#), Timestamp(13), Revision(7)).unwrap();
    assert_eq!(registry.instance(&key("api/a")).unwrap().vitals.health(), Health::Pending);
    registry.apply(&command("service api"), Timestamp(14), Revision(8)).unwrap();
    assert_eq!(registry.instance(&key("api/a")).unwrap().vitals.health(), Health::Healthy);
}

#[test]
fn what_was_known_before_a_restart_waits_to_be_confirmed() {
    let mut registry = Registry::default();
    registry.apply(&command(r#"put web/a {"heartbeat": "5s"}"#), Timestamp(9), Revision(1)).unwrap();
    registry.apply(&command("put web/b"), Timestamp(9), Revision(2)).unwrap();
    let mut known = Vitals { beating: Some(Health::Unhealthy), probed: Some(Health::Unhealthy), ..Vitals::default() };
    known.set_why("w");
    registry.recall(&key("web/a"), known.clone(), Timestamp(9));
    registry.recall(&key("web/b"), known, Timestamp(9));
    let vitals = |registry: &Registry, name| registry.instance(&key(name)).unwrap().vitals.clone();
    assert_eq!((vitals(&registry, "web/a").health(), vitals(&registry, "web/a").unconfirmed), (Health::Unhealthy, true));
    assert_eq!((vitals(&registry, "web/b").health(), vitals(&registry, "web/b").unconfirmed), (Health::Healthy, false));
    assert!(registry.beat(&key("web/a"), true, Timestamp(10)).unwrap().shows());
    assert!(!vitals(&registry, "web/a").unconfirmed);
}

#[test]
fn localities_are_those_declared_and_those_used() {
    let mut registry = Registry { regions: declared(&[("us", &["2", "1"]), ("ap", &[])]), ..Registry::default() };
    registry.services.insert(label("web"), ServiceEntry::implicit());
    registry.services.get_mut("web").unwrap().put(&label("a"), (*instance("")).clone(), Source::Api, Timestamp(0), Revision(1));
    let names: Vec<String> = registry.localities().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["eu/1", "us/1", "us/2"]);
}

#[test]
fn a_probe_goes_to_the_first_address_and_its_port() {
    let instance = instance(r#"{"addresses": ["2001:db8::1", "192.0.2.1"], "ports": {"http": 80, "admin": 81}}"#);
    let service = service(r#"{"default_port": "http", "checks": [{"tcp": true}, {"http": "/", "port": "admin", "interval": "1s"}]}"#);
    let probing = probing(&service, &instance).unwrap();
    assert_eq!(probing.address.to_string(), "2001:db8::1");
    let ports: Vec<u16> = probing.checks.iter().map(|(_, port)| *port).collect();
    assert_eq!(ports, [80, 81]);
    let check: &Check = &probing.checks[1].0;
    assert_eq!(check.interval, Period::seconds(1));
}

/// Short random scripts over few names, so that they meet.
fn scripts() -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec!["web/a", "web/b", "api/a"]);
    let service = prop::sample::select(vec!["web", "api"]);
    let body = prop::sample::select(vec![
        "",
        r#"{"ports": {"http": 80}}"#,
        r#"{"ports": {"web": 81}}"#,
        r#"{"region": "us", "heartbeat": "5s"}"#,
        "absent ",
        "at=2 ",
    ]);
    let settings = prop::sample::select(vec!["", r#"{"default_port": "web"}"#, r#"{"ports": {"http": 80}, "checks": [{"tcp": true}]}"#]);
    let subject = prop::sample::select(vec!["region/eu", "az/us/1", "service/web", "instance/web/a"]);
    let command = prop_oneof![
        6 => (name.clone(), body).prop_map(|(name, body)| format!("put {name} {body}")),
        3 => name.clone().prop_map(|name| format!("delete {name}")),
        2 => (service.clone(), settings).prop_map(|(name, body)| format!("service {name} {body}")),
        1 => service.prop_map(|name| format!("drop {name}")),
        1 => subject.clone().prop_map(|name| format!("drain {name}")),
        1 => subject.clone().prop_map(|name| format!("safely {name} {{\"ramp\": \"10s\"}}")),
        1 => (prop::sample::select(vec!["pause", "resume"]), subject.clone()).prop_map(|(verb, name)| format!("{verb} {name}")),
        1 => subject.prop_map(|name| format!("undrain {name}")),
        1 => name.prop_map(|name| format!("push {name} note")),
    ];
    prop::collection::vec(command, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A plan changes nothing, and a batch comes to the same as its commands one by one, with those that it holds back left for the
    /// next batch.
    #[test]
    fn batches_come_to_the_same_as_commands_one_by_one(script in scripts()) {
        let commands: Vec<Command> = script.iter().map(|text| command(text)).collect();
        let (mut batched, mut single) = (Registry::default(), Registry::default());
        let mut rest = &commands[..];
        let mut revision = 0;
        while !rest.is_empty() {
            revision += 1;
            let mut draft = Draft::default();
            let mut batch = Vec::new();
            let untouched = batched.clone();
            let mut taken = 0;
            for command in rest {
                match batched.plan(&mut draft, command, Timestamp(0)) {
                    Ok(change) => batch.push(Some(change)),
                    Err(Hold::Refused(_)) => batch.push(None),
                    Err(Hold::Later) => break,
                }
                taken += 1;
            }
            prop_assert!(taken > 0, "a first command is never held back");
            prop_assert_eq!(&batched, &untouched);
            for (command, planned) in rest[..taken].iter().zip(&batch) {
                let alone = single.apply(command, Timestamp(0), Revision(revision));
                prop_assert_eq!(alone.is_ok(), planned.is_some(), "{:?}", alone);
            }
            for change in batch.iter().flatten() {
                batched.carry_out(change, Timestamp(0), Revision(revision));
            }
            prop_assert_eq!(&batched, &single);
            rest = &rest[taken..];
        }
    }
}
