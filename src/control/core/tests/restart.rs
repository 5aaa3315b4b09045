//! Anything that can happen, in any order, with commits that fail or whose fate is unknown: a restart finds what was visible.

use proptest::prelude::*;

use super::*;

/// Anything that can happen, in any order, with commits that fail or whose fate is unknown.
#[derive(Debug, Clone)]
enum Step {
    Ask(String),
    Observe(&'static str, bool),
    Beat(&'static str),
    Wait(u64),
    Depart,
    Land(Weather),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = prop::sample::select(vec!["web/a", "web/b", "api/a"]);
    let body = prop::sample::select(vec![
        "",
        r#"{"ports": {"http": 80}, "checks": [{"tcp": true}]}"#,
        r#"{"region": "us", "heartbeat": "5s", "deregister_after": "5s"}"#,
        r#"{"heartbeat": "3s"}"#,
    ]);
    let subject = prop::sample::select(vec!["region/eu", "service/web", "instance/web/a"]);
    let command = prop_oneof![
        6 => (name.clone(), body).prop_map(|(name, body)| format!("put {name} {body}")),
        2 => name.clone().prop_map(|name| format!("delete {name}")),
        1 => Just(r#"service web {"ports": {"http": 80}, "checks": [{"tcp": true}]}"#.to_string()),
        1 => Just("service web".to_string()),
        1 => Just("drop web".to_string()),
        1 => subject.clone().prop_map(|name| format!("drain {name}")),
        1 => subject.clone().prop_map(|name| format!("drain {name} {{\"ramp\": \"2s\", \"expires\": \"40s\"}}")),
        1 => (prop::sample::select(vec!["pause", "resume"]), subject.clone()).prop_map(|(verb, name)| format!("{verb} {name}")),
        1 => subject.prop_map(|name| format!("undrain {name}")),
        2 => name.clone().prop_map(|name| format!("push {name} note")),
    ];
    let weather = prop_oneof![
        5 => Just(Weather::Fine), 1 => Just(Weather::Down), 1 => Just(Weather::Fog(true)), 1 => Just(Weather::Fog(false))
    ];
    let step = prop_oneof![
        6 => command.prop_map(Step::Ask),
        3 => (name.clone(), any::<bool>()).prop_map(|(name, well)| Step::Observe(name, well)),
        2 => name.prop_map(Step::Beat),
        2 => (100u64..6000).prop_map(Step::Wait),
        4 => Just(Step::Depart),
        4 => weather.prop_map(Step::Land),
    ];
    prop::collection::vec(step, 1..60)
}

/// Registry and health as texts, without what a restart may forget.
fn essence(registry: &Registry) -> Vec<String> {
    let mut texts = Vec::new();
    for (name, service) in &registry.services {
        texts.push(format!("{name} {:?} {:?} {:?}", service.service.fields, service.source, service.revision));
        for (id, entry) in &service.instances {
            let vitals = &entry.vitals;
            // Without a word in the store, checks are pending and heartbeats on time.
            texts.push(format!(
                "{name}/{id} {:?} {:?} {:?}",
                entry.instance,
                entry.revision,
                (vitals.probed, vitals.beating, vitals.pushed())
            ));
        }
    }
    texts.extend(registry.drains.iter().map(|(subject, entry)| format!("{subject} {entry:?}")));
    texts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: every caller is answered once; what failed for certain is not visible; and once all is settled, a restart
    /// finds what was visible before.
    #[test]
    fn a_restart_finds_what_was_visible(steps in steps()) {
        let mut rig = Rig::new();
        let mut under_way = None;
        let mut answered = BTreeMap::new();
        for step in steps {
            match step {
                Step::Ask(text) => rig.ask(command_at(&text, rig.now)),
                Step::Observe(name, well) => rig.observe(key(name), if well { Health::Healthy } else { Health::Unhealthy }, "why"),
                Step::Beat(name) => rig.beat(key(name)),
                Step::Wait(millis) => {
                    rig.now = Timestamp(rig.now.0 + millis);
                    rig.core.tick(rig.now);
                }
                Step::Depart if under_way.is_none() => under_way = rig.depart(),
                Step::Depart => prop_assert_eq!(rig.depart(), None),
                Step::Land(weather) => {
                    rig.weather = weather;
                    let before = essence(&read(&rig.core.registry));
                    if let Some(departure) = under_way.take() {
                        let waiting = !rig.core.waiting.is_empty();
                        rig.land(departure);
                        if weather == Weather::Down && !waiting {
                            prop_assert_eq!(&before, &essence(&read(&rig.core.registry)));
                        }
                    }
                }
            }
            for (reply, answer) in rig.core.effects().answers {
                prop_assert!(answered.insert(reply, answer.is_ok()).is_none(), "{} is answered twice", reply);
            }
        }
        rig.weather = Weather::Fine;
        if let Some(departure) = under_way.take() {
            rig.land(departure);
        }
        rig.now = rig.now.plus(RETRY);
        rig.run();
        for (reply, answer) in rig.core.effects().answers {
            prop_assert!(answered.insert(reply, answer.is_ok()).is_none(), "{} is answered twice", reply);
        }
        prop_assert_eq!(answered.len(), rig.asked);
        prop_assert!(rig.core.is_idle());
        let visible = essence(&read(&rig.core.registry));
        let mut again: Core<usize> = Core::new(Registry::default(), HashMap::new(), rig.now);
        again.reread(rig.state(), &Arc::default(), &Geo::default(), rig.now).unwrap();
        prop_assert_eq!(visible, essence(&read(&again.registry)));
        let orphans = rig.items.keys().filter(|key| key.starts_with("health/"));
        let registry = read(&rig.core.registry);
        let instances = registry.services.iter().flat_map(|(service, entry)| entry.instances.keys().map(move |id| (service, id)));
        let key = |(service, id): (&Label, &Label)| records::health_key(&InstanceKey { service: service.clone(), id: id.clone() });
        let known: Vec<Key> = instances.map(key).collect();
        for orphan in orphans {
            prop_assert!(known.contains(orphan), "{} is left behind", orphan);
        }
    }
}
