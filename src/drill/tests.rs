//! The task with a real control and its store in memory, on a clock that the test sets. The task itself naps by the machine's clock, at
//! most a tenth of a second while a drill is under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::control::Event;
use crate::model::{DnsSettings, DrillState, Geo, InstanceKey, Name, Period, Settings, Stage, Timestamp, Zone, ZoneTtl};
use crate::registry::{Command, Precondition};
use crate::store::{Embedded, Engine};

/// 2026-11-24, a Tuesday, a second before ten.
const BEGIN: u64 = 1_795_514_399_000;

struct House {
    control: Control,
    now: Arc<AtomicU64>,
    folder: tempfile::TempDir,
    drills: Drills,
}

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn drill(json: &str) -> DrillFields {
    serde_json::from_str(json).unwrap()
}

async fn control(clock: Clock) -> Control {
    let apex = Name::parse("svc.example.").unwrap();
    let ttl = ZoneTtl { min: Period::seconds(0), max: Period::seconds(0), ..ZoneTtl::default() };
    let zone = Zone { services: true, ttl, ..Zone::new(apex.clone(), "zones/svc.example.toml", apex, 1) };
    let engine = Engine::Embedded(Embedded::in_memory().unwrap());
    let dns: DnsSettings = Settings::default().dns;
    let control = Control::start(engine, vec![zone], Geo::default(), dns, None, clock).await.unwrap();
    for region in ["eu", "us"] {
        let instance = format!(r#"{{"addresses":["192.0.2.1"],"region":"{region}","az":"a"}}"#);
        let instance = Arc::new(serde_json::from_str(&instance).unwrap());
        let key = InstanceKey { service: label("web"), id: label(region) };
        control.apply(Command::PutInstance { key, instance, precondition: Precondition::None }, "t").await.unwrap();
    }
    control
}

impl House {
    async fn new(defined: &[(&str, &str)]) -> House {
        let now = Arc::new(AtomicU64::new(BEGIN));
        let told = now.clone();
        let clock: Clock = Arc::new(move || Timestamp(told.load(Ordering::Relaxed)));
        let control = control(clock.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let context = House::context(control.clone(), clock, folder.path());
        let defined = defined.iter().map(|(name, json)| (label(name), drill(json))).collect();
        House { control, now, folder, drills: start(&defined, context) }
    }

    fn context(control: Control, clock: Clock, folder: &std::path::Path) -> DrillContext {
        DrillContext {
            control,
            clock,
            folder: folder.join("drills"),
            counts: Arc::new(Counts::default),
            forecast: Arc::new(|_| Box::new(|| Some(Forecast { warnings: vec!["us is full".into()], ..Forecast::default() }))),
        }
    }

    fn pass(&self, time: Duration) {
        self.now.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Waits until a run is in that state, and says which and why; at most 5 s.
    async fn until(&self, state: DrillState) -> Arc<DrillReport> {
        for _ in 0..1000 {
            let found = self.drills.list().runs.into_iter().find(|run| run.state == state);
            if let Some(report) = found.and_then(|run| self.drills.report(&run.run)) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no drill is {state:?}: {:#?}", self.drills.list().runs);
    }

    fn is_drained(&self) -> bool {
        self.control.registry().drains.contains_key(&Subject::Region(label("eu")))
    }
}

const QUICK: &str = r#"{"lose":"region/eu","hold":"10s","require":{"min_healthy_regions":1,"min_healthy_weight":100}}"#;

#[tokio::test]
async fn a_drill_asked_for_goes_its_way_and_leaves_its_report() {
    let house = House::new(&[("evacuate-eu", QUICK)]).await;
    let mut events = house.control.events();
    let order = DrillOrder::Named { name: label("evacuate-eu") };
    let run = house.drills.run(order.clone(), "ann").await.unwrap();
    assert_eq!((run.state, run.run.as_str()), (DrillState::Moving, "20261124T095959Z-evacuate-eu"));
    assert!(house.is_drained());
    assert_eq!(house.drills.run(order, "bob").await, Err(DrillRefusal::Busy(run.run.clone())));
    house.until(DrillState::Holding).await;
    house.pass(Duration::from_secs(11));
    let report = house.until(DrillState::Done).await;
    assert!(!house.is_drained());
    assert_eq!((report.author.as_str(), report.forecast.as_ref().unwrap().warnings.len()), ("ann", 1));
    let kept = house.folder.path().join("drills").join(&report.run);
    let json: DrillReport = serde_json::from_slice(&std::fs::read(kept.with_extension("json")).unwrap()).unwrap();
    assert_eq!(json, *report);
    assert!(std::fs::read_to_string(kept.with_extension("md")).unwrap().starts_with("# Drill evacuate-eu: done"));
    let kinds: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).map(|Event { kind, .. }| kind).collect();
    assert_eq!(kinds, ["drained", "drill_began", "undrained", "drill_ended"]);
}

#[tokio::test]
async fn what_cannot_begin_says_why_and_touches_nothing() {
    let house = House::new(&[("two", r#"{"lose":"region/eu","require":{"min_healthy_regions":2}}"#)]).await;
    let refused = house.drills.run(DrillOrder::Named { name: label("two") }, "ann").await.unwrap_err();
    assert!(refused.to_string().ends_with("1 regions would stay healthy, and 2 are required"), "{refused}");
    let unknown = house.drills.run(DrillOrder::Described(drill(r#"{"lose":"region/mars"}"#)), "ann").await.unwrap_err();
    assert!(unknown.to_string().contains("there is no region/mars"), "{unknown}");
    let none = house.drills.run(DrillOrder::Named { name: label("x") }, "ann").await;
    assert_eq!(none, Err(DrillRefusal::UnknownDrill(label("x"))));
    assert_eq!(house.drills.abort("x", "ann").await, Err(DrillRefusal::UnknownRun("x".into())));
    let states: Vec<_> = house.drills.list().runs.iter().map(|run| run.state).collect();
    assert_eq!(states, [DrillState::Refused, DrillState::Refused]);
    assert!(!house.is_drained());
}

#[tokio::test]
async fn a_drill_begins_when_its_time_comes_and_another_is_skipped() {
    let both = [
        ("a", r#"{"lose":"region/eu","schedule":"Tue 10:00","hold":"1h"}"#),
        ("b", r#"{"lose":"region/us","schedule":"Tue 10:00","hold":"1h"}"#),
    ];
    let house = House::new(&both).await;
    assert!(!house.is_drained());
    house.pass(Duration::from_secs(1));
    let held = house.until(DrillState::Holding).await;
    assert_eq!((held.name.clone(), held.author.as_str()), (Some(label("a")), "schedule"));
    let skipped = house.until(DrillState::Skipped).await;
    assert_eq!((skipped.name.clone(), skipped.why.clone()), (Some(label("b")), format!("drill {} was under way", held.run)));
    house.drills.abort(&held.run, "ann").await.unwrap();
    let aborted = house.until(DrillState::Aborted).await;
    assert_eq!((aborted.why.as_str(), house.is_drained()), ("stopped by ann", false));
    assert_eq!(house.drills.abort(&held.run, "ann").await, Err(DrillRefusal::Over(held.run.clone())));
}

#[tokio::test]
async fn nothing_is_left_behind_by_a_server_that_ends() {
    // One that is told to stop lifts the drain itself.
    let house = House::new(&[]).await;
    let run = house.drills.run(DrillOrder::Described(drill(QUICK)), "ann").await.unwrap();
    house.drills.stop().await;
    let report = house.drills.report(&run.run).unwrap();
    assert_eq!((report.state, report.why.as_str(), house.is_drained()), (DrillState::Aborted, "the server is stopping", false));
    assert_eq!(house.drills.run(DrillOrder::Described(drill(QUICK)), "ann").await, Err(DrillRefusal::Stopping));

    // One that was killed does it when it starts again; until then the drain's own end stands by.
    let house = House::new(&[]).await;
    let run = house.drills.run(DrillOrder::Described(drill(QUICK)), "ann").await.unwrap();
    let expires = house.control.registry().drains.values().next().unwrap().drain.expires;
    assert_eq!(expires, Timestamp(BEGIN + 130_000));
    // Dropping the last handle ends the task without a word.
    let (control, now, folder) = (house.control.clone(), house.now.clone(), house.folder);
    drop(house.drills);
    let clock: Clock = Arc::new(move || Timestamp(now.load(Ordering::Relaxed)));
    let context = House::context(control, clock, folder.path());
    let house = House { control: house.control, now: house.now, folder, drills: start(&BTreeMap::new(), context) };
    let report = house.until(DrillState::Aborted).await;
    assert_eq!((report.run.as_str(), report.why.as_str()), (run.run.as_str(), "the server was restarted"));
    assert!(!house.is_drained());

    // What would have come back little by little still does.
    let ramped = r#"{"lose":"region/eu","hold":"10s","lift":"60s"}"#;
    house.pass(Duration::from_secs(1));
    let run = house.drills.run(DrillOrder::Described(drill(ramped)), "ann").await.unwrap();
    house.until(DrillState::Holding).await;
    house.drills.stop().await;
    let report = house.drills.report(&run.run).unwrap();
    let said = report.timeline.iter().any(|moment| moment.what == "lift" && moment.detail == "over 1m");
    assert!(said && house.is_drained(), "{:?}", report.timeline);
    let drain = house.control.registry().drains.values().next().unwrap().drain.clone();
    assert_eq!(drain.stage(Timestamp(house.now.load(Ordering::Relaxed))), Stage::Lifting);
}
