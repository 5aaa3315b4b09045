//! Updates of zones, from the command to the answer and through a restart.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::codec::code::rtype;
use crate::model::{Denial, Name, RecordSet, Settings, Zone, ZoneKey, ZoneSigning};
use crate::registry::updates::tests::{rights, update};
use crate::registry::{UpdateRefusal, View};
use crate::store::{Condition, Item, Key, Operation, Value};

fn name(text: &str) -> Name {
    Name::parse_relative(text, Some(&Name::parse("x.example.").unwrap())).unwrap()
}

/// Two zones, one of which has records, a delegation, an alias and a DNAME.
fn zones() -> Vec<Zone> {
    let mut zone = Zone { services: true, ..Zone::new(name("@"), "x.example.zone", name("ns1"), 7) };
    let a = |last: u8| -> Box<[u8]> { Box::new([192, 0, 2, last]) };
    let lead = |to: &str| -> Box<[u8]> { name(to).wire().into() };
    for (owner, rtype, data) in [
        ("ns1", rtype::A, a(53)),
        ("n0", rtype::A, a(1)),
        ("n1", rtype::CNAME, lead("n0")),
        ("n2", rtype::NS, lead("n0.n2")),
        ("n0.n2", rtype::A, a(2)),
        ("n3", rtype::DNAME, lead("y.")),
        ("*.n4", rtype::A, a(3)),
    ] {
        zone.records.insert((name(owner), rtype), RecordSet { ttl: 30, rdata: vec![data] });
    }
    vec![zone, Zone::new(Name::parse("y.example.").unwrap(), "y.example.zone", Name::parse("ns.y.example.").unwrap(), 1)]
}

/// A writer whose store is a map.
struct Desk {
    writer: Writer<u32>,
    items: BTreeMap<Key, (Revision, Value)>,
    revision: Revision,
}

impl Desk {
    fn new() -> Desk {
        let writer = begin(Revision(0), Vec::new(), zones());
        Desk { writer, items: BTreeMap::new(), revision: Revision(0) }
    }

    fn items(&self) -> Vec<Item> {
        self.items.iter().map(|(key, (revision, value))| Item { key: key.clone(), value: value.clone(), revision: *revision }).collect()
    }

    fn commit(&mut self, operations: &[Operation]) -> Revision {
        self.revision.0 += 1;
        assert!(operations.len() <= crate::store::MOST_OPERATIONS);
        for operation in operations {
            let (Operation::Put { key, condition, .. } | Operation::Delete { key, condition }) = operation;
            let now = self.items.get(key).map_or(Condition::Absent, |(revision, _)| Condition::At(*revision));
            assert_eq!(now, *condition, "{key}");
            match operation {
                Operation::Put { key, value, .. } => _ = self.items.insert(key.clone(), (self.revision, value.clone())),
                Operation::Delete { key, .. } => _ = self.items.remove(key),
            }
        }
        self.revision
    }

    /// Carries out a command, and all that is to be written behind it.
    fn ask(&mut self, command: Command) -> Result<Applied, ApplyError> {
        let now = Timestamp(5_000);
        self.writer.handle(now, Input::Command { reply: 1, command, author: "key.".into() });
        let mut answers = Vec::new();
        while let Some(departure) = self.writer.depart(now) {
            let commands = departure.commands.iter().map(|operations| Ok(self.commit(operations))).collect();
            let behind = (!departure.behind.is_empty()).then(|| Ok(self.commit(&departure.behind)));
            self.writer.land(now, Landing { commands, behind });
            answers.extend(self.writer.output(now).answers);
        }
        answers.extend(self.writer.output(now).answers);
        answers.pop().unwrap().1
    }

    fn update(&mut self, script: &str) -> Result<Applied, ApplyError> {
        self.ask(Command::Update { update: Arc::new(update(script)), key: name("key."), rights: rights(&["**"], &[]) })
    }
}

fn begin(revision: Revision, items: Vec<Item>, zones: Vec<Zone>) -> Writer<u32> {
    Writer::begin((revision, items), zones, Geo::default(), &Settings::default().dns, Timestamp(5_000)).unwrap()
}

/// All RRsets that a snapshot answers in the first zone: owner, type, TTL and whole records.
fn answered(writer: &Writer<u32>) -> Vec<(String, u16, u32, usize)> {
    let registry = core::read(writer.registry());
    let (zone, overlay) = registry.zone(&name("@")).unwrap();
    let view = View::new(zone, overlay);
    let snapshot = writer.snapshot();
    let compiled = snapshot.zones().next().unwrap();
    let mut owners: Vec<Name> = zone.records.keys().map(|(owner, _)| owner.clone()).collect();
    owners.extend(overlay.into_iter().flat_map(|overlay| overlay.sets.keys()).map(|(owner, _)| owner.clone()));
    owners.push(name("@"));
    owners.sort();
    owners.dedup();
    let mut found = Vec::new();
    for owner in owners {
        let key = &owner.wire()[..owner.wire().len() - name("@").wire().len()];
        let mut types: Vec<u16> = compiled.at(key).iter().flat_map(|at| at.sets()).map(|set| set.rtype()).collect();
        types.sort_unstable();
        assert_eq!(types, view.types(&owner), "{owner}: what is compiled is what the registry says");
        for set in compiled.at(key).iter().flat_map(|at| at.sets()) {
            let said = view.set(&owner, set.rtype()).unwrap();
            assert_eq!((set.ttl(), usize::from(set.len())), (said.ttl, said.rdata.len()), "{owner} {}", set.rtype());
            found.push((owner.to_string(), set.rtype(), set.ttl(), usize::from(set.len())));
        }
    }
    found
}

#[test]
fn an_update_is_in_answers_and_comes_back_after_a_restart() {
    let mut desk = Desk::new();
    let second = Arc::as_ptr(desk.writer.snapshot());
    assert!(desk.update("yxdomain nothing; add a 60 A 192.0.2.9").is_err());
    assert_eq!(Arc::as_ptr(desk.writer.snapshot()), second, "a refused update publishes nothing");
    desk.update("add a 60 A 192.0.2.9; del n0; add @ 60 TXT text").unwrap();
    let found = answered(&desk.writer);
    assert!(found.contains(&("a.x.example.".into(), rtype::A, 60, 1)) && !found.iter().any(|(owner, ..)| owner == "n0.x.example."));
    let keys: Vec<&str> = desk.items.keys().map(|key| &**key).collect();
    let expected = ["updates/x.example.", "updates/x.example./0/a.x.example./1", "updates/x.example./0/n0.x.example./1"];
    assert_eq!(keys[..3], expected);
    let again = begin(desk.revision, desk.items(), zones());
    assert_eq!(answered(&again), found);
    assert_eq!(*core::read(again.registry()), *core::read(desk.writer.registry()));
    // Dropped at once, erased behind, and the serial goes on.
    desk.ask(Command::DropUpdates { apex: name("@"), author: "me".into() }).unwrap();
    assert_eq!(desk.items.keys().map(|key| &**key).collect::<Vec<_>>(), ["updates/x.example."]);
    assert_eq!(core::read(desk.writer.registry()).changed_zone(&name("@")).unwrap().soa.serial, 9);
    let again = begin(desk.revision, desk.items(), zones());
    assert_eq!(answered(&again), answered(&desk.writer));
}

/// Keys and serials move while an update is on its way to the store: what was compiled for it to be tried knows nothing of that.
#[test]
fn what_changes_while_an_update_is_written_is_in_answers_with_it() {
    let (mut desk, now, apex) = (Desk::new(), Timestamp(5_000), name("@"));
    // Without policies, so that what was tried is what is published.
    let command = Command::Update { update: Arc::new(update("add a 60 A 192.0.2.9")), key: name("key."), rights: rights(&["**"], &[]) };
    desk.writer.handle(now, Input::Command { reply: 1, command, author: "key.".into() });
    let departure = desk.writer.depart(now).unwrap();
    let key = ZoneKey { flags: 257, algorithm: 13, tag: 1, public: [7; 64].into(), signs_keys: true, signs_zone: true, published: true };
    let (cds, cdnskey) = (Vec::new(), Vec::new());
    let signing = ZoneSigning { keys: vec![key], dnskey_ttl: 60, denial: Denial::Compact, cds, cdnskey, epoch: 3 };
    desk.writer.sign(&[(apex.clone(), Some(Arc::new(signing)))].into()).unwrap();
    desk.writer.raise_serial(&apex, 8);
    let commands = departure.commands.iter().map(|operations| Ok(desk.commit(operations))).collect();
    desk.writer.land(now, Landing { commands, behind: None });
    assert!(desk.writer.output(now).answers.pop().unwrap().1.is_ok());
    let served = desk.writer.snapshot().zone_at(apex.wire()).unwrap().clone();
    assert!(served.at(b"\x01a").is_some(), "the update");
    assert_eq!((served.epoch(), served.at(b"").unwrap().set(rtype::DNSKEY).is_some()), (Some(3), true), "the keys");
    assert_eq!(served.serial(), 9, "the serial was raised, and moved with the update");
}

/// Records of a zone are in memory once, compiled; beside that they are kept of zones that may be compiled again with others.
#[test]
fn records_are_kept_of_zones_that_may_change_and_of_no_others() {
    let others = ["signed.", "copied.", "plain."];
    let all = || {
        let mut zones = zones();
        // As if `[update]` had its table no more.
        zones[0].held = false;
        for apex in others {
            let apex = Name::parse(apex).unwrap();
            let mut zone = Zone { held: false, ..Zone::new(apex.clone(), &format!("{apex}zone"), apex.child(b"ns").unwrap(), 1) };
            zone.records.insert((apex.child(b"www").unwrap(), rtype::A), RecordSet { ttl: 30, rdata: vec![[192, 0, 2, 1].into()] });
            zones.push(zone);
        }
        let (cds, cdnskey) = (Vec::new(), Vec::new());
        zones[2].signing =
            Some(Arc::new(ZoneSigning { keys: Vec::new(), dnskey_ttl: 60, denial: Denial::Compact, cds, cdnskey, epoch: 3 }));
        zones[3].held = true;
        zones
    };
    let check = |writer: &Writer<u32>, expected: &[&str]| {
        let registry = core::read(writer.registry());
        let kept = registry.files().iter().filter(|zone| !zone.records.is_empty()).map(|zone| zone.apex.to_string());
        assert_eq!(kept.collect::<Vec<_>>(), expected);
        for apex in others {
            let apex = Name::parse(apex).unwrap();
            assert!(writer.snapshot().zone_at(apex.wire()).unwrap().at(b"\x03www").is_some(), "{apex} is answered all the same");
        }
    };
    check(&begin(Revision(0), Vec::new(), all()), &["signed.", "copied."]);
    let mut desk = Desk::new();
    desk.update("add n5 60 A 192.0.2.5").unwrap();
    desk.writer.load(all(), Geo::default(), &Settings::default().dns, Timestamp(5_000)).unwrap();
    check(&desk.writer, &["x.example.", "signed.", "copied."]);
}

/// One zone is replaced or added, with what updates changed of it, and no other is touched; what does not compile changes nothing.
#[test]
fn a_zone_is_taken_alone() {
    let (mut desk, now) = (Desk::new(), Timestamp(5_000));
    desk.update("add a 60 A 192.0.2.9; add n0 60 A 192.0.2.8").unwrap();
    let zone = |apex: &str, serial: u32, owner: &str| {
        let apex = Name::parse(apex).unwrap();
        let mut zone = Zone::new(apex.clone(), &format!("kept/{apex}zone"), apex.child(b"ns").unwrap(), serial);
        let owner = Name::parse_relative(owner, Some(&apex)).unwrap();
        zone.records.insert((owner, rtype::A), RecordSet { ttl: 30, rdata: vec![[192, 0, 2, 1].into()] });
        zone
    };
    let look = |desk: &Desk, apex: &str, key: &[u8]| {
        let snapshot = desk.writer.snapshot();
        let zone = snapshot.zone_at(Name::parse(apex).unwrap().wire())?;
        Some((zone.serial(), zone.at(key).is_some()))
    };
    let other = desk.writer.snapshot().zone_at(name("@").wire()).unwrap().clone();
    desk.writer.put_zone(zone("new.example.", 5, "www"), now).unwrap();
    desk.writer.put_zone(zone("y.example.", 6, "www"), now).unwrap();
    desk.writer.put_zone(zone("new.example.", 7, "mail"), now).unwrap();
    assert_eq!((look(&desk, "new.example.", b"\x04mail"), look(&desk, "new.example.", b"\x03www")), (Some((7, true)), Some((7, false))));
    assert_eq!(look(&desk, "y.example.", b"\x03www"), Some((6, true)));
    assert!(Arc::ptr_eq(&other, desk.writer.snapshot().zone_at(name("@").wire()).unwrap()), "no other zone is compiled");
    assert_eq!(desk.writer.snapshot().zones().count(), 3);
    let (published, files) = (Arc::as_ptr(desk.writer.snapshot()), core::read(desk.writer.registry()).files().clone());
    for mut broken in [zone("new.example.", 8, "www"), zone("other.example.", 8, "www")] {
        broken.ns.clear();
        assert!(desk.writer.put_zone(broken, now).is_err());
        assert_eq!(Arc::as_ptr(desk.writer.snapshot()), published);
        assert_eq!(core::read(desk.writer.registry()).files(), &files);
        assert!(core::read(desk.writer.registry()).zone(&Name::parse("other.example.").unwrap()).is_none());
    }
    // What was changed of a zone lies over each copy of it.
    desk.writer.put_zone(zone("x.example.", 20, "www"), now).unwrap();
    assert_eq!((look(&desk, "x.example.", b"\x01a"), look(&desk, "x.example.", b"\x03www")), (Some((21, true)), Some((21, true))));
    assert_eq!(look(&desk, "x.example.", b"\x02n1"), Some((21, false)));
}

/// Updates that wait for each other: the next departs before what the last one changed is made known, and none is lost of answers.
#[test]
fn updates_that_come_together_are_all_in_answers() {
    let mut desk = Desk::new();
    let now = Timestamp(5_000);
    for n in 0..5 {
        let update = Arc::new(update(&format!("add u{n} 60 A 192.0.2.{n}; del n{n}")));
        let command = Command::Update { update, key: name("key."), rights: rights(&["**"], &[]) };
        desk.writer.handle(now, Input::Command { reply: n, command, author: "key.".into() });
    }
    let mut departures = 0;
    while let Some(departure) = desk.writer.depart(now) {
        let commands = departure.commands.iter().map(|operations| Ok(desk.commit(operations))).collect();
        desk.writer.land(now, Landing { commands, behind: None });
        departures += 1;
    }
    let answers = desk.writer.output(now).answers;
    assert!(answers.len() == 5 && answers.iter().all(|(_, answer)| answer.is_ok()), "{answers:?}");
    assert_eq!(departures, 5);
    let found = answered(&desk.writer);
    (0..5).for_each(|n| assert!(found.iter().any(|(owner, ..)| *owner == format!("u{n}.x.example.")), "u{n}"));
    assert_eq!(answered(&begin(desk.revision, desk.items(), zones())), found);
}

/// A crash between the drop and what is erased behind it: strays are nobody's, and go.
#[test]
fn strays_of_a_drop_are_erased_after_a_restart() {
    let mut desk = Desk::new();
    desk.update("add a 60 A 192.0.2.9").unwrap();
    let stray = desk.items.iter().find(|(key, _)| key.contains("/a.x.")).map(|(key, item)| (key.clone(), item.clone())).unwrap();
    desk.ask(Command::DropUpdates { apex: name("@"), author: "me".into() }).unwrap();
    desk.items.insert(stray.0.clone(), stray.1);
    let mut desk = Desk { writer: begin(desk.revision, desk.items(), zones()), ..desk };
    assert!(!answered(&desk.writer).iter().any(|(owner, ..)| owner == "a.x.example."));
    desk.update("add b 60 A 192.0.2.9").unwrap();
    assert!(!desk.items.contains_key(&stray.0));
}

/// What does not compile beside a file that changed is left out, whatever the reason, and never keeps a server from starting.
#[test]
fn a_file_that_contradicts_updates_is_served() {
    let mut desk = Desk::new();
    desk.update("add a.b 60 A 192.0.2.9; add c 60 A 192.0.2.9").unwrap();
    let mut changed = zones();
    changed[0].services = false;
    changed[0].records.insert((name("b"), rtype::DNAME), RecordSet { ttl: 30, rdata: vec![name("y.").wire().into()] });
    let again = begin(desk.revision, desk.items(), changed.clone());
    let found = answered(&again);
    assert!(found.iter().any(|(owner, ..)| owner == "c.x.example.") && !found.iter().any(|(owner, ..)| owner == "a.b.x.example."));
    desk.writer.load(changed, Geo::default(), &Settings::default().dns, Timestamp(5_000)).unwrap();
    assert_eq!(answered(&desk.writer), found);
    desk.writer.load(zones(), Geo::default(), &Settings::default().dns, Timestamp(5_000)).unwrap();
    assert!(answered(&desk.writer).iter().any(|(owner, ..)| owner == "a.b.x.example."));
    // The zone goes, and what was changed of it waits.
    desk.writer.load(zones().split_off(1), Geo::default(), &Settings::default().dns, Timestamp(5_000)).unwrap();
    let refused = desk.update("add c 60 A 192.0.2.1").unwrap_err();
    assert_eq!(refused, ApplyError::Refused(UpdateRefusal::NotAuth(name("@")).into()));
    desk.writer.load(zones(), Geo::default(), &Settings::default().dns, Timestamp(5_000)).unwrap();
    assert!(answered(&desk.writer).iter().any(|(owner, ..)| owner == "c.x.example."));
}

fn line() -> impl Strategy<Value = String> {
    let owner = prop_oneof![
        Just("@".to_string()),
        (0..6u8).prop_map(|n| format!("n{n}")),
        (0..6u8, 0..6u8).prop_map(|(a, b)| format!("n{a}.n{b}")),
        (0..6u8).prop_map(|n| format!("*.n{n}")),
        Just("ns1".to_string()),
    ];
    let data = prop_oneof![
        (0..4u8).prop_map(|n| format!("A 192.0.2.{n}")),
        (0..6u8).prop_map(|n| format!("CNAME n{n}")),
        (0..6u8, 0..6u8).prop_map(|(a, b)| format!("NS n{a}.n{b}")),
        Just("NS ns1".to_string()),
        Just("DNAME y.".to_string()),
        (0..3u8).prop_map(|n| format!("TXT t{n}")),
        Just("DS x".to_string()),
        (0..20u32).prop_map(|serial| format!("SOA {serial}")),
    ];
    (owner, data, 0..5u8).prop_map(|(owner, data, kind)| match kind {
        0 => format!("del {owner} {data}"),
        1 => format!("del {owner} {}", data.split(' ').next().unwrap()),
        2 => format!("del {owner}"),
        _ => format!("add {owner} 30 {data}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any accepted update leaves a zone that compiles, is what the registry says, and comes back after a restart; a refused one changes
    /// nothing, in the registry, the store or the answers.
    #[test]
    fn accepted_updates_are_served_and_refused_ones_change_nothing(
        updates in prop::collection::vec(prop::collection::vec(line(), 1..4), 1..8),
    ) {
        let mut desk = Desk::new();
        for lines in updates {
            let (before, items, served) =
                (core::read(desk.writer.registry()).clone(), desk.items.clone(), Arc::as_ptr(desk.writer.snapshot()));
            let serial = |desk: &Desk| {
                let registry = core::read(desk.writer.registry());
                registry.zone(&name("@")).map(|(zone, overlay)| View::new(zone, overlay).serial()).unwrap()
            };
            let last = serial(&desk);
            match desk.update(&lines.join(";")) {
                Ok(_) if desk.items == items => prop_assert_eq!(served, Arc::as_ptr(desk.writer.snapshot())),
                Ok(_) => {
                    let moved = serial(&desk).wrapping_sub(last);
                    prop_assert!(moved > 0 && moved < 1 << 31, "the serial goes forward");
                    let again = begin(desk.revision, desk.items(), zones());
                    prop_assert_eq!(answered(&again), answered(&desk.writer));
                    let told = |writer: &Writer<u32>| writer.snapshot().zones().next().unwrap().told();
                    prop_assert_eq!(told(&again), told(&desk.writer), "patched or compiled whole");
                }
                Err(ApplyError::Refused(_)) => {
                    prop_assert_eq!(&*core::read(desk.writer.registry()), &before);
                    prop_assert_eq!(&desk.items, &items);
                    prop_assert_eq!(served, Arc::as_ptr(desk.writer.snapshot()));
                }
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}
