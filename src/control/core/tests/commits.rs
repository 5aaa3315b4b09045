//! Commits that fail, whose fate is unknown, that other things happen beside, and that hold many commands.

use super::*;

#[test]
fn health_is_visible_while_the_store_is_down_and_persisted_later() {
    check(
        r#"
        0 put web/a {"ports": {"http": 80}, "checks": [{"tcp": true}]} => registered instance/web/a 192.0.2.1 in eu/1 by me; probe web/a 192.0.2.1:80
        1 store down =>
        1 sees web/a unhealthy refused => health instance/web/a unhealthy: refused
        1.5 put web/b => error nothing was changed: the store is unavailable: down
        1.6 push web/a => error nothing was changed: the store is unavailable: down
        1.7 keys => instances/web/a
        1.8 store fine =>
        1.8 store silent =>
        1.9 put web/c => error it is not known whether this was written: the store did not say whether the write was made; look before asking again
        2 store fine =>
        2 keys => health/web/a instances/web/a instances/web/c
        3 push web/a x =>
        "#,
    );
}

#[test]
fn what_happens_while_a_write_is_under_way_counts() {
    let mut rig = Rig::new();
    let checked = r#"{"ports": {"http": 80}, "checks": [{"tcp": true}], "heartbeat": "10s", "deregister_after": "10s"}"#;
    rig.ask(command(&format!("put web/a {checked}")));
    rig.run();
    rig.said();
    // Health that turns between departure and landing of a replacement stays.
    rig.ask(command(&format!("put web/a {}", checked.replace("{\"ports", "{\"weight\": 9, \"ports"))));
    let departure = rig.depart().unwrap();
    rig.observe(key("web/a"), Health::Unhealthy, "refused");
    assert_eq!(rig.said(), "health instance/web/a unhealthy: refused");
    assert_eq!(read(&rig.core.registry).instance(&key("web/a")).unwrap().instance.weight, 100, "not durable, not visible");
    rig.land(departure);
    assert_eq!(rig.said(), "replaced instance/web/a 192.0.2.1 in eu/1 by me");
    rig.run();
    assert!(rig.items.contains_key("health/web/a"));
    // A beat that comes while the instance is being deregistered learns how that went.
    for (weather, said) in [
        (Weather::Down, "health instance/web/a unhealthy: refused"),
        (
            Weather::Fine,
            "error there is no instance web/a; expired instance/web/a deregistered, for its heartbeats stopped; probe web/a no more",
        ),
    ] {
        rig.now = rig.now.plus(Duration::from_secs(20));
        rig.core.tick(rig.now);
        rig.now = rig.now.plus(Duration::from_secs(20));
        rig.core.tick(rig.now);
        rig.said();
        let departure = rig.depart().unwrap();
        rig.beat(key("web/a"));
        assert_eq!(rig.said(), "");
        rig.weather = weather;
        rig.land(departure);
        let answered = rig.said();
        assert!(weather == Weather::Down || answered == said, "{answered}");
    }
}

#[test]
fn a_big_service_is_removed_in_parts() {
    let mut rig = Rig::new();
    rig.ask(command("service web"));
    for n in 0..200 {
        rig.ask(command(&format!("put web/i{n} {{\"heartbeat\": \"5s\"}}")));
    }
    rig.run();
    assert_eq!(rig.core.effects().answers.len(), 201);
    rig.now = Timestamp(5_000);
    rig.run();
    assert_eq!(rig.items.len(), 401, "all of them have health to erase");
    rig.ask(command("drop web at=9"));
    rig.run();
    assert!(matches!(rig.core.effects().answers[..], [(_, Err(ApplyError::Refused(_)))]));
    // The store fails half way: the caller learns of it, and what is gone is gone everywhere.
    rig.ask(command("drop web"));
    let departure = rig.depart().unwrap();
    rig.land(departure);
    rig.weather = Weather::Down;
    rig.run();
    let effects = rig.core.effects();
    let [(_, Err(error))] = &effects.answers[..] else { panic!("{effects:?}") };
    assert!(error.to_string().starts_with("62 instances were removed, and then no more: "), "{error}");
    let left = read(&rig.core.registry).services["web"].instances.len();
    assert_eq!(rig.items.keys().filter(|key| key.starts_with("instances/")).count(), left);
    rig.weather = Weather::Fine;
    rig.ask(command("drop web"));
    rig.run();
    assert!(matches!(rig.core.effects().answers[..], [(_, Ok(_))]));
    assert!(rig.items.is_empty() && read(&rig.core.registry).services.is_empty());
}

#[test]
fn a_service_that_a_file_takes_while_it_is_removed_is_gone_in_part() {
    let mut rig = Rig::new();
    for n in 0..100 {
        rig.ask(command(&format!("put web/i{n}")));
    }
    rig.run();
    rig.core.effects();
    rig.ask(command("drop web"));
    let departure = rig.depart().unwrap();
    rig.land(departure);
    rig.load(&[zone("z.toml", r#"{"services": {"web": {}}}"#)]);
    rig.run();
    let effects = rig.core.effects();
    let [(_, Err(error))] = &effects.answers[..] else { panic!("{effects:?}") };
    assert_eq!(
        error.to_string(),
        "62 instances were removed, and then no more: service/web is defined in z.toml; change it there; look before asking again"
    );
}

#[test]
fn files_that_are_loaded_say_nothing_of_what_the_store_holds() {
    let mut rig = Rig::new();
    rig.weather = Weather::Fog(true);
    rig.ask(command("put web/a"));
    let departure = rig.depart().unwrap();
    let commands = departure.commands.into_iter().filter_map(|operations| rig.commit(operations)).collect();
    let landing = Landing { commands, behind: None };
    rig.core.land(rig.now, landing);
    assert!(rig.core.is_unsure());
    rig.load(&[]);
    assert!(rig.core.is_unsure(), "what the store made of web/a is still to be read");
}

#[test]
fn a_drain_that_ended_before_the_store_was_read_anew_is_erased() {
    let mut rig = Rig::new();
    rig.ask(command("put web/a"));
    rig.run();
    rig.weather = Weather::Fog(true);
    rig.ask(command_at(r#"drain region/eu {"expires": "1s"}"#, rig.now));
    let departure = rig.depart().unwrap();
    let commands = departure.commands.into_iter().filter_map(|operations| rig.commit(operations)).collect();
    let landing = Landing { commands, behind: None };
    rig.core.land(rig.now, landing);
    rig.weather = Weather::Fine;
    rig.now = Timestamp(5_000);
    let state = rig.state();
    rig.core.reread(state, &Arc::default(), &Geo::default(), rig.now).unwrap();
    rig.run();
    assert_eq!(rig.items.keys().map(|key| &**key).collect::<Vec<_>>(), ["instances/web/a", "lifted/eu"]);
    // One that was lifted without the writer hearing of it has ended as well.
    rig.ask(command_at("drain region/eu", rig.now));
    rig.run();
    rig.weather = Weather::Fog(true);
    rig.now = Timestamp(9_000);
    rig.ask(command("undrain region/eu"));
    rig.run();
    rig.weather = Weather::Fine;
    rig.run();
    assert_eq!(read(&rig.core.registry).lifted[&label("eu")], rig.now);
    assert_eq!(rig.items.keys().map(|key| &**key).collect::<Vec<_>>(), ["instances/web/a", "lifted/eu"]);
}

/// Who reads a revision and then waits for one after it must not have seen only a part of that revision.
#[test]
fn a_revision_is_visible_as_a_whole() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut rig = Rig::new();
    let (registry, over) = (rig.core.registry.clone(), Arc::new(AtomicBool::new(false)));
    let done = over.clone();
    let reader = std::thread::spawn(move || {
        let mut seen: BTreeMap<Revision, BTreeSet<usize>> = BTreeMap::new();
        while !done.load(Ordering::Relaxed) {
            if let Some(service) = read(&registry).services.get(&label("web")) {
                seen.entry(service.changed).or_default().insert(service.instances.len());
            }
            std::hint::spin_loop();
        }
        seen
    });
    for n in 0..60 * MAX_OPERATIONS {
        rig.ask(command(&format!("put web/i{n}")));
    }
    rig.run();
    over.store(true, Ordering::Relaxed);
    let torn: Vec<_> = reader.join().unwrap().into_iter().filter(|(_, sizes)| sizes.len() > 1).collect();
    assert!(torn.is_empty(), "{torn:?}");
}

#[test]
fn many_commands_go_in_few_commits() {
    let mut rig = Rig::new();
    for n in 0..1000 {
        rig.ask(command(&format!("put web/i{n}")));
    }
    rig.run();
    assert_eq!(rig.revision, Revision(8));
    let answers = rig.core.effects().answers;
    assert_eq!(answers.len(), 1000);
    assert!(answers.iter().enumerate().all(|(n, (reply, answer))| *reply == n + 1 && answer.is_ok()));
    assert_eq!(read(&rig.core.registry).services["web"].instances.get("i999").unwrap().revision, Revision(8));
}
