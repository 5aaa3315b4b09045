//! Drains over time: their ends, ramps, and how long one region waits for another.

use super::*;

#[test]
fn drains_end_by_themselves_even_while_the_store_is_down() {
    check(
        r#"
        0 put web/a => registered instance/web/a 192.0.2.1 in eu/1 by me
        1 drain region/eu {"expires": "10s"} => drained region/eu until 1970-01-01T00:00:11.000Z: drill; safety rules overruled: test by me
        2 drain region/eu {"expires": "20s"} => drained region/eu until 1970-01-01T00:00:22.000Z: drill; safety rules overruled: test by me
        11 =>
        21 store down =>
        22 => drain_expired region/eu drill
        22 keys => drains/region/eu instances/web/a
        22.5 drain service/web => error nothing was changed: the store is unavailable: down
        23 store fine =>
        23 keys => instances/web/a lifted/eu
        24 drain region/eu {"expires": "20s"} => drained region/eu until 1970-01-01T00:00:44.000Z: drill; safety rules overruled: test by me
        25 undrain region/eu => undrained region/eu by me
        44 =>
        "#,
    );
}

#[test]
fn ramps_go_on_by_themselves() {
    check(
        r#"
        0 put web/a => registered instance/web/a 192.0.2.1 in eu/1 by me
        0 put web/b {"region": "us"} => registered instance/web/b 192.0.2.1 in us/1 by me
        1 safely region/eu {"ramp": "100s", "expires": "1000s"} => drained region/eu until 1970-01-01T00:16:41.000Z, from 1970-01-01T00:00:31.000Z on within 1m40s: drill by me
        2 drained region/eu => announced 0
        2 safely region/us => error 0 of 2 regions would be up, 1 is the least; region eu is drained already, and only one may be at a time; `--override` with a reason overrules
        56 drained region/eu => ramping 0.25
        56 pause region/eu => paused region/eu at 25.0 % by me
        60 drained region/eu => paused 0.25
        60 resume region/eu => resumed region/eu at 25.0 % by me
        85 undrain region/eu 200s => lifting region/eu until 1970-01-01T00:03:05.000Z by me
        85 safely region/us => error 0 of 2 regions would be up, 1 is the least; region eu is still being lifted, and only one may be out at a time; `--override` with a reason overrules
        184.9 store down =>
        185 => undrained region/eu
        185 keys => drains/region/eu instances/web/a instances/web/b
        186.5 store fine =>
        186.5 keys => instances/web/a instances/web/b lifted/eu
        200 safely service/web {"ramp": "10s", "expires": "100s"} => drained service/web until 1970-01-01T00:05:00.000Z, from 1970-01-01T00:03:50.000Z on within 10s: drill by me
        300 => drain_expired service/web drill; back in answers by 1970-01-01T00:05:10.000Z
        305 drained service/web => lifting 0.5
        310 => undrained service/web
        310 keys => instances/web/a instances/web/b lifted/eu
        "#,
    );
}

#[test]
fn a_ramp_is_shown_step_by_step_and_survives_a_restart() {
    let mut rig = Rig::new();
    rig.ask(command("put web/a"));
    for (subject, ramp) in [("region/eu", "100s"), ("service/web", "2s"), ("instance/web/a", "24h")] {
        rig.ask(command(&format!(r#"drain {subject} {{"ramp": "{ramp}", "expires": "72h"}}"#)));
    }
    rig.run();
    rig.core.effects();
    let subject = Subject::parse("region/eu").unwrap();
    let out = |rig: &Rig| read(&rig.core.registry).drains[&subject].drain.out(rig.now);
    let (mut steps, mut restarted) = ([0, 0], false);
    while rig.now < Timestamp(131_000) {
        rig.now = rig.core.next_deadline().unwrap();
        rig.run();
        let effects = rig.core.effects();
        assert!(effects.drained || !effects.services.is_empty(), "answers follow at {}", rig.now);
        steps[0] += usize::from(effects.drained);
        steps[1] += usize::from(!effects.services.is_empty());
        if rig.now >= Timestamp(80_000) && !restarted {
            restarted = true;
            let before = out(&rig);
            assert!((0.49..0.51).contains(&before.share.ratio()));
            rig.core = Core::new(Registry::default(), HashMap::new(), rig.now);
            rig.core.reread(rig.state(), &Arc::default(), &Geo::default(), rig.now).unwrap();
            rig.core.effects();
            assert_eq!(out(&rig), before);
        }
    }
    assert_eq!(out(&rig).share, Share::ALL);
    // 100 s in steps of a 256th of it; 2 s in steps of 100 ms, and a day in steps of 5 s.
    assert!((256..=260).contains(&steps[0]) && (38..=44).contains(&steps[1]), "{steps:?}");
}

#[test]
fn who_waits_for_a_region_waits_across_a_restart() {
    let mut rig = Rig::new();
    let wait = Input::Safety(SafetySettings { wait: "60s".parse().unwrap(), ..SafetySettings::default() });
    rig.core.handle(rig.now, wait);
    for text in ["put web/a", r#"put web/b {"region": "us"}"#, "safely region/eu", "undrain region/eu"] {
        rig.ask(command(text));
        rig.run();
    }
    rig.core.effects();
    let state = rig.state();
    rig.core = Core::new(records::read(state.0, state.1).unwrap().registry, HashMap::new(), rig.now);
    rig.core.handle(rig.now, Input::Safety(SafetySettings { wait: "60s".parse().unwrap(), ..SafetySettings::default() }));
    for (at, said) in [(59, "error region eu came back 59s ago, and 1m must pass before the next one goes; `--ov"), (60, "drained")] {
        rig.now = Timestamp(at * 1_000);
        rig.core.effects();
        rig.ask(command_at("safely region/us", rig.now));
        rig.run();
        let said_then = rig.said();
        assert!(said_then.starts_with(said), "{said_then}");
    }
}
