//! Health over time: heartbeats, verdicts that waver, flapping, recovery.

use super::*;

#[test]
fn heartbeats_are_missed_resumed_and_end_in_deregistration() {
    check(
        r#"
        0 put web/a {"heartbeat": "30s", "deregister_after": "60s"} => registered instance/web/a 192.0.2.1 in eu/1 by me
        29.9 =>
        30 => health instance/web/a unhealthy: no heartbeat for 30s
        30 keys => health/web/a instances/web/a
        40 beat web/a => health instance/web/a healthy
        69.9 =>
        70 => health instance/web/a unhealthy: no heartbeat for 30s
        129 store down =>
        130 =>
        130.9 =>
        131 store fine => expired instance/web/a deregistered, for its heartbeats stopped
        131 keys =>
        132 beat web/a => error there is no instance web/a
        133 put web/b => registered instance/web/b 192.0.2.1 in eu/1 by me
        134 beat web/b => error heartbeat: the instance was registered without one; register it with `heartbeat` to send beats
        140 put web/b {"heartbeat": "10s"} => replaced instance/web/b 192.0.2.1 in eu/1 by me
        149 put web/b {"heartbeat": "2s"} => replaced instance/web/b 192.0.2.1 in eu/1 by me
        151 => health instance/web/b unhealthy: no heartbeat for 2s
        152 put web/b {"heartbeat": "2s"} => replaced instance/web/b 192.0.2.1 in eu/1 by me; health instance/web/b healthy by me
        "#,
    );
}

/// Each line: seconds, what happens to the service's instances (nothing, a command, `beat a`, `a h`, `a h?`, `a u`, `a u?` for verdicts,
/// `old a h` for one under an order before the last, `restart`), and behind ` => ` how web/a is then, and how often the service was
/// compiled since the line before.
fn follow(script: &str) {
    let mut rig = Rig::new();
    let check = r#""ports": {"http": 80}, "checks": [{"tcp": true}]"#;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (happens, expected) = line.split_once(" =>").unwrap();
        let (at, what) = happens.split_once(' ').unwrap_or((happens, ""));
        let until = Timestamp((at.parse::<f64>().unwrap() * 1000.0) as u64);
        let mut compiled = 0;
        let mut count = |rig: &mut Rig| compiled += rig.core.effects().services.len();
        while let Some(due) = rig.core.next_deadline().filter(|due| *due <= until) {
            rig.now = due.max(rig.now);
            rig.run();
            count(&mut rig);
        }
        rig.now = until;
        let named = |id: &str| key(&format!("web/{id}"));
        match what.split(' ').collect::<Vec<_>>()[..] {
            [""] => {}
            ["restart"] => {
                rig.run();
                let now = rig.now;
                rig.core = Core::new(Registry::default(), HashMap::new(), now);
                rig.core.reread(rig.state(), &Arc::default(), &Geo::default(), now).unwrap();
            }
            ["beat", id] => rig.beat(named(id)),
            ["old", id, "h"] => {
                let order = rig.core.orders.in_force(&named(id)).unwrap() - 1;
                let late = Observation { key: named(id), order, health: Health::Healthy, wavers: false, why: String::new() };
                rig.core.handle(rig.now, Input::Observation(late));
            }
            [id, verdict] if !verdict.contains('/') && verdict != "web" => {
                let order = rig.core.orders.in_force(&named(id)).unwrap();
                let (health, why) = if verdict.starts_with('h') { (Health::Healthy, "") } else { (Health::Unhealthy, "refused") };
                let observation = Observation { key: named(id), order, health, wavers: verdict.ends_with('?'), why: why.into() };
                rig.core.handle(rig.now, Input::Observation(observation));
            }
            _ => rig.ask(command(&what.replace("CHECK", check))),
        }
        rig.run();
        count(&mut rig);
        let registry = read(&rig.core.registry);
        let vitals = &registry.instance(&key("web/a")).unwrap().vitals;
        let mut state = vitals.health().to_string();
        let mut add = |applies: bool, text: &str| state.push_str(if applies { text } else { "" });
        add(vitals.wavering(), "?");
        add(!vitals.is_steady() && !vitals.wavering(), " unsteady");
        add(vitals.unconfirmed, " unconfirmed");
        add(vitals.warmth(rig.now) < 100, &format!(" {}%", vitals.warmth(rig.now)));
        add(vitals.damping().held_until().is_some(), &format!(" ({})", vitals.reason()));
        add(compiled > 0, &format!(" x{compiled}"));
        assert_eq!(state, expected.trim(), "{line}");
    }
}

#[test]
fn a_service_is_compiled_when_an_instance_begins_to_waver_and_when_it_is_steady_again() {
    follow(
        r#"
        0 put web/a {CHECK} => pending x1
        1 a h => healthy x1
        2 a h =>  healthy
        3 a h? => healthy? x1
        4 a h? => healthy?
        5 a h => healthy x1
        6 a h? => healthy? x1
        7 a u => unhealthy x1
        8 a u? => unhealthy? x1
        9 a u => unhealthy x1
        10 push web/a x => unhealthy x1
        11 a u? => unhealthy
        "#,
    );
    follow(
        r#"
        0 put web/a {"heartbeat": "30s"} => healthy x1
        14 beat a => healthy
        28.9 => healthy
        29 => healthy? x1
        30 beat a => healthy x1
        44 put web/a {"heartbeat": "30s"} => healthy x1
        59 => healthy? x1
        60 put web/a {"heartbeat": "30s"} => healthy x1
        75 => healthy? x1
        90 => unhealthy x1
        91 beat a => healthy x1
        "#,
    );
}

#[test]
fn what_flaps_is_held_down_for_longer_each_time() {
    follow(
        r#"
        0 put web/a {CHECK} => pending x1
        1 a h => healthy x1
        2 a u => unhealthy x1
        3 a h => healthy x1
        4 a u => unhealthy x1
        5 a h => healthy x1
        6 a u => unhealthy (flapping: 3 turns; held down until 1970-01-01T00:00:36.000Z; refused) x1
        7 a h => unhealthy unsteady (flapping: 3 turns; held down until 1970-01-01T00:00:36.000Z) x1
        8 a u => unhealthy (flapping: 4 turns; held down until 1970-01-01T00:00:36.000Z; refused) x1
        9 a h => unhealthy unsteady (flapping: 4 turns; held down until 1970-01-01T00:00:36.000Z) x1
        35.9 => unhealthy unsteady (flapping: 4 turns; held down until 1970-01-01T00:00:36.000Z)
        36 => healthy x1
        40 a u => unhealthy (flapping: 5 turns; held down until 1970-01-01T00:01:40.000Z; refused) x1
        41 restart => unhealthy unsteady unconfirmed (flapping: 5 turns; held down until 1970-01-01T00:01:40.000Z; refused) x1
        42 a h => unhealthy unsteady (flapping: 5 turns; held down until 1970-01-01T00:01:40.000Z)
        100 => healthy x1
        101 a u => unhealthy (flapping: 6 turns; held down until 1970-01-01T00:03:41.000Z; refused) x1
        102 service web {"damping": false} => unhealthy x1
        103 a h => healthy x1
        104 a u => unhealthy x1
        105 a h => healthy x1
        106 a u => unhealthy x1
        107 a h => healthy x1
        108 a u => unhealthy x1
        "#,
    );
    // Its user may say what he likes, and a machine at another address is another machine.
    follow(
        r#"
        0 put web/a {"heartbeat": "2s"} => healthy x1
        3 beat a => healthy x3
        6 beat a => healthy x3
        9 => unhealthy (flapping: 3 turns; held down until 1970-01-01T00:00:38.000Z; no heartbeat for 2s) x2
        10 push web/a x => unhealthy (flapping: 3 turns; held down until 1970-01-01T00:00:38.000Z; no heartbeat for 2s) x1
        11 put web/a {"heartbeat": "2s", "addresses": ["192.0.2.9"]} => unhealthy x1
        "#,
    );
    follow(
        r#"
        0 put web/a => healthy x1
        1 push web/a x => unhealthy x1
        1 put web/a => unhealthy x1
        "#,
    );
}

#[test]
fn what_recovers_warms_up_in_twelve_steps_while_others_carry_the_load() {
    follow(
        r#"
        0 put web/a {CHECK} => pending x1
        0 put web/b {"az": "2"} => pending x1
        0 put web/c {"region": "us"} => pending x1
        1 a h => healthy x1
        2 a u => unhealthy x1
        3 a h => healthy 10% x1
        5 => healthy 13% x1
        33 => healthy 55% x5
        62.9 => healthy 99% x6
        65 => healthy x1
        300 => healthy
        301 a u => unhealthy x1
        302 drain az/eu/2 => unhealthy
        303 a h => healthy x1
        304 undrain az/eu/2 => healthy
        305 a u => unhealthy x1
        500 delete web/b => unhealthy x1
        501 a h => healthy x1
        502 put web/b => healthy x1
        700 a u => unhealthy x1
        701 a h => healthy 10% x1
        710 restart => healthy unsteady unconfirmed 23% x3
        711 a h => healthy 25% x1
        720 a u => unhealthy x3
        721 a h => healthy 10% x1
        722 service web {"slow_start": "0s"} => healthy x1
        "#,
    );
    // A heartbeat is as good as a check; a new instance need not warm up.
    follow(
        r#"
        0 put web/a {"heartbeat": "30s"} => healthy x1
        0 put web/b => healthy x1
        31 => unhealthy x2
        40 put web/a {"heartbeat": "30s"} => healthy 10% x1
        "#,
    );
}

#[test]
fn a_verdict_on_what_was_there_before_counts_no_longer() {
    follow(
        r#"
        0 put web/a {CHECK} => pending x1
        1 put web/a {CHECK, "addresses": ["192.0.2.9"]} => pending x1
        2 old a h => pending
        3 a h => healthy x1
        4 put web/a {CHECK, "addresses": ["192.0.2.9"], "weight": 7} => healthy x1
        5 a u => unhealthy x1
        "#,
    );
}
