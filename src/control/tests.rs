//! The handle, its task and a store together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::model::Settings;
use crate::registry::tests::{command, declared, key, zone};
use crate::routing::World as _;
use crate::store::{Embedded, Store as _, tests::breakable};

fn clock() -> (Clock, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(1_000_000));
    let shared = now.clone();
    (Arc::new(move || Timestamp(shared.load(Ordering::SeqCst))), now)
}

async fn start(store: Embedded) -> Control {
    let zones = vec![zone("svc.toml", "{}")];
    Control::start(Engine::Embedded(store), zones, Geo::default(), Settings::default().dns, None, clock().0).await.unwrap()
}

fn answers(control: &Control, service: &str, id: &str) -> bool {
    let snapshot = control.publisher().load();
    snapshot.service(service.as_bytes()).is_some_and(|(_, service)| service.member(id.as_bytes()).is_some())
}

/// A verdict under the order in force.
fn observe(control: &Control, name: &str, health: Health, why: &str) {
    let order = control.shared.numbers.in_force(&key(name)).unwrap();
    control.observe(Observation { key: key(name), order, health, wavers: false, why: why.into() });
}

/// The vitals of an instance, as text.
fn health(control: &Control, name: &str) -> String {
    let registry = control.registry();
    let vitals = &registry.instance(&key(name)).unwrap().vitals;
    format!("{}{}", vitals.health(), if vitals.unconfirmed { "?" } else { "" })
}

#[tokio::test]
async fn what_is_acknowledged_is_durable_and_in_answers() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(Embedded::open(folder.path()).unwrap()).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let control = control.clone();
        writers.spawn(async move {
            for n in 0..25 {
                let id = format!("i{writer}-{n}");
                let applied = control.apply(command(&format!("put web/{id}")), "me").await.unwrap();
                assert!(applied.created);
                assert!(answers(&control, "web", &id), "{id} is acknowledged and not in answers");
                assert!(control.registry().instance(&key(&format!("web/{id}"))).is_some_and(|i| i.revision == applied.revision));
                assert!(*control.revisions().borrow() >= applied.revision);
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    control.stop().await;
    assert!(matches!(control.apply(command("put web/late"), "me").await, Err(ApplyError::Stopping)));
    let control = start(Embedded::open(folder.path()).unwrap()).await;
    assert_eq!(control.registry().services["web"].instances.len(), 200);
}

#[tokio::test]
async fn a_store_that_fails_leaves_nothing() {
    let (store, broken) = breakable();
    let control = start(store).await;
    let first = control.apply(command("put web/a"), "me").await.unwrap();
    broken.store(true, Ordering::SeqCst);
    for text in ["put web/b", "put web/a {\"weight\": 7}", "delete web/a", "service web", "drop web", "drain service/web", "push web/a"] {
        let before = control.registry().clone();
        let error = control.apply(command(text), "me").await.unwrap_err();
        assert!(matches!(error, ApplyError::Store(_) | ApplyError::Unknown(_)), "{text}: {error}");
        assert_eq!(*control.registry(), before, "{text}");
        assert!(!answers(&control, "web", "b") && answers(&control, "web", "a"), "{text}");
    }
    broken.store(false, Ordering::SeqCst);
    let again = control.apply(command("put web/a at=1 {\"weight\": 7}"), "me").await.unwrap();
    assert!(again.revision > first.revision && !again.created);
}

#[tokio::test]
async fn a_restart_keeps_everything_and_serves_health_unconfirmed() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(Embedded::open(folder.path()).unwrap()).await;
    let checked = r#"{"ports": {"http": 80}, "checks": [{"tcp": true}]}"#;
    for text in [
        "service web {\"policy\": \"simple\"}",
        &format!("put web/up {checked}"),
        &format!("put web/down {checked}"),
        &format!("put web/new {checked}"),
        "put web/plain",
        "put web/beats {\"heartbeat\": \"5s\"}",
        "push web/plain",
        "drain region/eu",
    ] {
        control.apply(command(text), "me").await.unwrap();
    }
    let mut revisions = control.revisions();
    observe(&control, "web/up", Health::Healthy, "");
    observe(&control, "web/down", Health::Unhealthy, "refused");
    revisions.changed().await.unwrap();
    let known = control.registry().clone();
    control.stop().await;

    let control = start(Embedded::open(folder.path()).unwrap()).await;
    {
        let registry = control.registry();
        assert_eq!(registry.drains, known.drains);
        assert_eq!(registry.services["web"].service, known.services["web"].service);
        let revisions = |registry: &Registry| -> Vec<Revision> {
            registry.services["web"].instances.values().map(|instance| instance.revision).collect()
        };
        assert_eq!(revisions(&registry), revisions(&known));
        assert!(registry.services["web"].changed >= known.services["web"].changed, "who waits for it hears of what it missed");
    }
    let state = ["up", "down", "new", "plain", "beats"].map(|id| health(&control, &format!("web/{id}")));
    assert_eq!(state, ["healthy?", "unhealthy?", "pending?", "unhealthy", "healthy?"]);
    assert!(control.publisher().load().is_drained(crate::routing::LocalityId(0)));

    let mut orders = control.probe_orders();
    let mut told = BTreeMap::new();
    while let Ok(order) = orders.try_recv() {
        told.insert(order.key.to_string(), order.probes.unwrap().last);
    }
    let expected = [("web/down", Some(Health::Unhealthy)), ("web/new", None), ("web/up", Some(Health::Healthy))];
    assert_eq!(told, expected.map(|(name, last)| (name.to_string(), last)).into());

    control.beat(&key("web/beats")).await.unwrap();
    observe(&control, "web/up", Health::Healthy, "");
    control.apply(command("delete web/new"), "me").await.unwrap();
    assert_eq!(health(&control, "web/beats"), "healthy");
    assert_eq!(orders.recv().await.unwrap(), ProbeOrder { key: key("web/new"), probes: None });
}

#[tokio::test]
async fn a_restart_writes_nothing_that_is_written_already() {
    let folder = tempfile::tempdir().unwrap();
    let control = start(Embedded::open(folder.path()).unwrap()).await;
    control.apply(command(r#"put web/a {"ports": {"http": 80}, "checks": [{"tcp": true}]}"#), "me").await.unwrap();
    observe(&control, "web/a", Health::Healthy, "");
    let mut revisions = control.revisions();
    revisions.wait_for(|revision| revision.0 == 2).await.unwrap();
    control.stop().await;
    // Stopping brings everything to the store that is not there.
    start(Embedded::open(folder.path()).unwrap()).await.stop().await;
    let (_, revision, _) = Embedded::open(folder.path()).unwrap().read(&"".into(), true).await.unwrap();
    assert_eq!(revision, Revision(2));
}

#[tokio::test]
async fn what_is_registered_never_keeps_a_server_from_starting() {
    let store = Embedded::in_memory().unwrap();
    let control = start(store.clone()).await;
    for text in ["put web/a", "put shop/b", r#"service shop {"policy": "failover", "branches": [{"az": "9"}, {"az": "1"}]}"#] {
        control.apply(command(text), "me").await.unwrap();
    }
    control.stop().await;
    // Files that came since: a record has the name of one service, and the places that the policy of another speaks of are no more.
    let geo = Geo { regions: declared(&[("eu", &["1"])]), ..Geo::default() };
    let zones = vec![zone("new.toml", r#"{"records": ["web"]}"#)];
    let dns = Settings::default().dns;
    let engine = Engine::Embedded(store);
    let control = Control::start(engine, zones.clone(), geo.clone(), dns.clone(), None, clock().0).await.unwrap();
    assert!(answers(&control, "shop", "b"), "by the default policy");
    let refused = control.apply(command("put web/b"), "me").await.unwrap_err();
    assert!(matches!(refused, ApplyError::Refused(Refusal::NameTaken(..))), "{refused}");
    // What is in force already does not stand in the way of other changes; another conflict does.
    control.load(zones, geo.clone(), dns.clone()).await.unwrap();
    let error = control.load(vec![zone("new.toml", r#"{"records": ["web", "shop"]}"#)], geo.clone(), dns.clone()).await.unwrap_err();
    assert!(error.reason.starts_with("a service named shop is registered"), "{error}");
    control.apply(command("drop web"), "me").await.unwrap();
    control.apply(command("service shop"), "me").await.unwrap();
    assert!(answers(&control, "shop", "b"));
}

#[tokio::test]
async fn who_waits_for_a_change_hears_of_files() {
    let control = start(Embedded::in_memory().unwrap()).await;
    control.apply(command("put web/a"), "me").await.unwrap();
    control.apply(command("put other/a"), "me").await.unwrap();
    let (known, mut revisions) = (control.registry().revision, control.revisions());
    for (file, web) in [(r#"{"services": {"web": {"instances": {"f": {}}}}}"#, 2), ("{}", 1)] {
        revisions.mark_unchanged();
        let before = control.registry().services["web"].changed;
        control.load(vec![zone("svc.toml", file)], Geo::default(), Settings::default().dns).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), revisions.changed()).await.unwrap().unwrap();
        let registry = control.registry();
        assert_eq!(registry.services["web"].instances.len(), web);
        assert!(registry.services["web"].changed > before);
        assert!(registry.services["other"].changed <= known, "it is as it was");
    }
    // What changes nothing wakes nobody.
    control.load(vec![zone("svc.toml", "{}")], Geo::default(), Settings::default().dns).await.unwrap();
    control.apply(command("put other/b"), "me").await.unwrap();
    assert_eq!(control.registry().revision, Revision(known.0 + 3));
}

#[tokio::test]
async fn verdicts_and_beats_reach_answers_without_the_store() {
    let (store, broken) = breakable();
    let (clock, now) = clock();
    let zones = vec![zone("svc.toml", "{}")];
    let dns = Settings::default().dns;
    let control = Control::start(Engine::Embedded(store), zones, Geo::default(), dns, None, clock).await.unwrap();
    control.apply(command(r#"put web/a {"ports": {"http": 80}, "checks": [{"tcp": true}]}"#), "me").await.unwrap();
    control.apply(command(r#"put web/b {"heartbeat": "1s"}"#), "me").await.unwrap();
    control.apply(command("put web/c"), "me").await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let mut events = control.events();
    let generation = control.publisher().load().generation;
    observe(&control, "web/a", Health::Unhealthy, "refused");
    let event = events.recv().await.unwrap();
    assert_eq!((event.kind, event.subject.as_str(), event.detail.as_str()), ("health", "instance/web/a", "unhealthy: refused"));
    assert!(control.publisher().load().generation > generation, "an event is told when it is in answers");
    now.fetch_add(1_000, Ordering::SeqCst);
    assert_eq!(events.recv().await.unwrap().detail, "unhealthy: no heartbeat for 1s");
    control.beat(&key("web/b")).await.unwrap();
    assert_eq!(health(&control, "web/b"), "healthy");
    assert!(matches!(control.beat(&key("web/x")).await, Err(ApplyError::Refused(Refusal::UnknownInstance(_)))));
    assert!(matches!(control.beat(&key("web/c")).await, Err(ApplyError::Refused(Refusal::Field(error))) if error.field == "heartbeat"));
    // What could not be persisted is, once the store works again.
    broken.store(false, Ordering::SeqCst);
    now.fetch_add(2_000, Ordering::SeqCst);
    let mut revisions = control.revisions();
    tokio::time::timeout(Duration::from_secs(10), revisions.wait_for(|revision| revision.0 > 3)).await.unwrap().unwrap();
}

#[tokio::test]
async fn files_are_loaded_all_or_nothing() {
    let control = start(Embedded::in_memory().unwrap()).await;
    control.apply(command("put web/a"), "me").await.unwrap();
    let dns = Settings::default().dns;
    let (registry, snapshot) = (control.registry().clone(), control.publisher().load_full());
    for broken in [r#"{"records": ["web"]}"#, r#"{"services": {"x": {"service": {"ports": {"a": 1, "b": 2}}}}}"#] {
        let error = control.load(vec![zone("new.toml", broken)], Geo::default(), dns.clone()).await.unwrap_err();
        assert_eq!(error.file, "new.toml");
    }
    assert_eq!(*control.registry(), registry);
    assert!(Arc::ptr_eq(&control.publisher().load_full(), &snapshot));

    let mut events = control.events();
    let geo = Geo { regions: declared(&[("eu", &["1"]), ("us", &["2"])]), ..Geo::default() };
    let file = r#"{"services": {"db": {"instances": {"f": {"ports": {"sql": 5432}, "checks": [{"tcp": true}]}}}}}"#;
    let mut orders = control.probe_orders();
    control.load(vec![zone("new.toml", file)], geo.clone(), dns.clone()).await.unwrap();
    assert!(answers(&control, "db", "f") && answers(&control, "web", "a"));
    assert_eq!(events.recv().await.unwrap().kind, "reloaded");
    assert_eq!(orders.recv().await.unwrap().key, key("db/f"));
    let refused = control.apply(command("delete db/f"), "me").await.unwrap_err();
    assert_eq!(refused.to_string(), "instance/db/f is defined in new.toml; change it there");
    let refused = control.apply(command("put web/b {\"region\": \"ap\"}"), "me").await.unwrap_err();
    assert!(matches!(refused, ApplyError::Refused(Refusal::Field(error)) if error.field == "region"));
    let wrong = r#"service web {"policy": "failover", "branches": [{"az": "9"}]}"#;
    let refused = control.apply(command(wrong), "me").await.unwrap_err();
    assert!(matches!(refused, ApplyError::Refused(Refusal::Field(error)) if error.field.starts_with("branches")));
    control.load(vec![zone("new.toml", "{}")], geo, dns).await.unwrap();
    assert!(!answers(&control, "db", "f") && answers(&control, "web", "a"));
    assert_eq!(orders.recv().await.unwrap(), ProbeOrder { key: key("db/f"), probes: None });
}

#[tokio::test]
async fn assumptions_make_another_world_and_leave_this_one() {
    let control = start(Embedded::in_memory().unwrap()).await;
    control.apply(command("put web/a"), "me").await.unwrap();
    control.apply(command("put web/b {\"region\": \"us\"}"), "me").await.unwrap();
    control.apply(command("drain region/us"), "me").await.unwrap();
    let drained = |snapshot: &Snapshot| -> Vec<String> {
        let places = &snapshot.places;
        let out = places.localities().filter(|locality| snapshot.is_drained(*locality));
        out.map(|locality| places.region_label(places.region_of(locality)).to_string()).collect()
    };
    let subject = |text: &str| Subject::parse(text).unwrap();
    let standings = |snapshot: &Snapshot| {
        let (_, service) = snapshot.service(b"web").unwrap();
        [b"a", b"b"].map(|id| format!("{:?}", service.pool().standing(service.member(id).unwrap())))
    };
    let assume = |assumptions: &[Assumption]| control.assume(assumptions).unwrap();
    assert_eq!(drained(&assume(&[])), ["us"]);
    assert_eq!(drained(&assume(&[Assumption::Drained(subject("region/eu")), Assumption::Serving(subject("region/us"))])), ["eu"]);
    assert_eq!(standings(&assume(&[Assumption::Drained(subject("service/web"))])), ["Drained", "Drained"]);
    let sick = assume(&[Assumption::Health(key("web/b"), Health::Unhealthy), Assumption::Drained(subject("instance/web/a"))]);
    assert_eq!(standings(&sick), ["Drained", "Unhealthy"]);
    assert!(matches!(control.assume(&[Assumption::Drained(subject("service/x"))]), Err(Refusal::UnknownSubject(_))));
    assert!(matches!(control.assume(&[Assumption::Health(key("web/x"), Health::Healthy)]), Err(Refusal::UnknownInstance(_))));
    assert_eq!(drained(&control.publisher().load_full()), ["us"]);
    assert_eq!(standings(&control.publisher().load_full()), ["Healthy", "Healthy"]);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_does_not_start() {
    let store = Embedded::in_memory().unwrap();
    let put = crate::store::Operation::Put {
        key: "instances/web/a".into(),
        value: b"{}".as_slice().into(),
        condition: crate::store::Condition::Absent,
    };
    store.commit(vec![put]).await.unwrap();
    let outcome = Control::start(Engine::Embedded(store), vec![], Geo::default(), Settings::default().dns, None, clock().0).await;
    assert!(matches!(outcome.err().unwrap(), StartError::Value { key, .. } if key == "instances/web/a"));
}

#[tokio::test]
async fn measured_round_trips_come_into_answers() {
    let control = start(Embedded::in_memory().unwrap()).await;
    control.apply(command("put web/a"), "me").await.unwrap();
    let client = "198.51.100.7".parse().unwrap();
    let region = control.publisher().load().places.regions().next().unwrap();
    let label = control.publisher().load().places.region_label(region).clone();
    control.measure(vec![Sample { client: "198.51.100.7/32".parse().unwrap(), region: label, rtt_ms: 23.5 }]).await.unwrap();
    assert_eq!(control.measurements().len(), 1);
    let follows = async {
        while control.publisher().load().origins.stand(client).0.ranking.first() != Some(&(region, 24.0)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), follows).await.expect("answers follow");
    control.stop().await;
    assert!(matches!(control.measure(Vec::new()).await, Err(ApplyError::Stopping)));
}
