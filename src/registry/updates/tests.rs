use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;
use crate::codec::code::rtype;
use crate::model::{AliasOf, Edit, Policy, Prerequisite, UpdateRight, UpdateTypes, ZoneUpdate};
use crate::registry::tests::{command, label};
use crate::registry::{Change, Command, Draft, Hold, Refusal};

fn name(text: &str) -> Name {
    Name::parse_relative(text, Some(&Name::parse("x.example.").unwrap())).unwrap()
}

fn number(text: &str) -> u16 {
    match text {
        "A" => rtype::A,
        "NS" => rtype::NS,
        "CNAME" => rtype::CNAME,
        "SOA" => rtype::SOA,
        "TXT" => rtype::TXT,
        "AAAA" => rtype::AAAA,
        "DNAME" => rtype::DNAME,
        "DS" => rtype::DS,
        "RRSIG" => 46,
        other => panic!("{other}"),
    }
}

/// RDATA of a few types; an SOA is its serial.
fn data(rtype: u16, text: &str) -> Box<[u8]> {
    match rtype {
        rtype::A | rtype::AAAA => match text.parse().unwrap() {
            IpAddr::V4(v4) => v4.octets().into(),
            IpAddr::V6(v6) => v6.octets().into(),
        },
        rtype::NS | rtype::CNAME | rtype::DNAME => name(text).wire().into(),
        rtype::SOA => {
            let serial = text.parse::<u32>().unwrap().to_be_bytes();
            [name("ns1").wire(), name("admin").wire(), &serial, &[0, 0, 0, 60, 0, 0, 0, 30, 0, 0, 1, 0, 0, 0, 0, 9]].concat().into()
        }
        _ => [&[text.len() as u8], text.as_bytes()].concat().into(),
    }
}

/// `add NAME TTL TYPE DATA; del NAME [TYPE [DATA]]; yxdomain NAME; nxdomain NAME; yxrrset NAME TYPE [DATA]; nxrrset NAME TYPE`
pub(crate) fn update(script: &str) -> ZoneUpdate {
    let mut update = ZoneUpdate { apex: name("@"), prerequisites: Vec::new(), edits: Vec::new() };
    for line in script.split(';').map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["yxdomain", n] => update.prerequisites.push(Prerequisite::InUse(name(n))),
            ["nxdomain", n] => update.prerequisites.push(Prerequisite::Unused(name(n))),
            ["yxrrset", n, t] => update.prerequisites.push(Prerequisite::Exists(name(n), number(t))),
            ["nxrrset", n, t] => update.prerequisites.push(Prerequisite::Absent(name(n), number(t))),
            ["yxrrset", n, t, d] => update.prerequisites.push(Prerequisite::Holds(name(n), number(t), data(number(t), d))),
            ["add", n, ttl, t, d] => {
                let (rtype, ttl) = (number(t), ttl.parse().unwrap());
                update.edits.push(Edit::Add { name: name(n), rtype, ttl, rdata: data(rtype, d) });
            }
            ["del", n] => update.edits.push(Edit::DeleteName(name(n))),
            ["del", n, t] => update.edits.push(Edit::DeleteSet(name(n), number(t))),
            ["del", n, t, d] => update.edits.push(Edit::DeleteRecord(name(n), number(t), data(number(t), d))),
            _ => panic!("{line}"),
        }
    }
    update
}

pub(crate) fn rights(names: &[&str], types: &[&str]) -> Vec<UpdateRight> {
    let types = match types {
        [] => UpdateTypes::Every,
        some => UpdateTypes::These(some.iter().map(|text| number(text)).collect::<BTreeSet<u16>>()),
    };
    let names = names.iter().map(|text| crate::model::NamePattern::parse(text).unwrap()).collect();
    vec![UpdateRight { key: Name::parse("key.").unwrap(), names, types }]
}

/// A zone with a service, a policy, an ALIAS and some records.
pub(crate) fn world() -> Registry {
    let mut zone = Zone { services: true, ..Zone::new(name("@"), "x.example.zone", name("ns1"), 7) };
    zone.ns.push(name("ns.elsewhere."));
    for (owner, rtype, texts) in [
        ("ns1", "A", &["192.0.2.53"][..]),
        ("www", "A", &["192.0.2.1", "192.0.2.2"]),
        ("www", "TXT", &["old"]),
        ("alias", "CNAME", &["www"]),
        ("sub", "NS", &["ns.sub"]),
        ("ns.sub", "A", &["192.0.2.9"]),
        ("moved", "DNAME", &["elsewhere."]),
        ("_x._y", "TXT", &["deep"]),
    ] {
        let number = number(rtype);
        let rdata = texts.iter().map(|text| data(number, text)).collect();
        zone.records.insert((name(owner), number), RecordSet { ttl: 30, rdata });
    }
    zone.names.insert(name("pol"), Policy::default());
    zone.names.insert(name("@"), Policy::default());
    zone.aliases.insert(name("@"), AliasOf { name: name("www"), ttl: 60 });
    let mut registry = Registry::default();
    registry.load(std::slice::from_ref(&zone), Timestamp(0)).unwrap();
    registry.ground(Arc::new(vec![zone]));
    registry.apply(&command("put web/a"), Timestamp(0), Revision(1)).unwrap();
    registry
}

/// Carries out an update, and says what came of it: the RCODE, or the serial and how many RRsets changed.
fn ask(registry: &mut Registry, script: &str, rights: &[UpdateRight]) -> String {
    let command = Command::Update { update: Arc::new(update(script)), key: Name::parse("key.").unwrap(), rights: rights.to_vec() };
    let before = registry.clone();
    let revision = Revision(registry.revision.0 + 1);
    match registry.plan(&mut Draft::default(), &command, Timestamp(5)) {
        Ok(change) => {
            registry.carry_out(&change, Timestamp(5), revision);
            let Change::Zone(change) = change else { panic!("{script}") };
            match change.is_void() {
                true => "nothing".into(),
                false => format!("serial {}, {}", change.serial, change.sets.len()),
            }
        }
        Err(Hold::Refused(Refusal::Update(refusal))) => {
            assert_eq!(*registry, before, "{script}: refused, and changed something");
            format!("{} {refusal}", crate::codec::code::rcode::name(refusal.rcode()))
        }
        Err(other) => panic!("{script}: {other:?}"),
    }
}

fn served(registry: &Registry, owner: &str, rtype: &str) -> Option<RecordSet> {
    let (zone, overlay) = registry.zone(&name("@")).unwrap();
    View::new(zone, overlay).set(&name(owner), number(rtype)).map(|set| set.into_owned())
}

/// RFC 2136 §3.2: each prerequisite, met and not met, and nothing is changed by either.
#[test]
fn prerequisites_hold_or_say_what_does_not() {
    let mut registry = world();
    let mut check = |script: &str, expected: &str| {
        let found = ask(&mut registry, script, &rights(&["**"], &[]));
        assert!(found.starts_with(expected), "{script}: {found}");
    };
    check("yxdomain www", "nothing");
    check("yxdomain WWW", "nothing");
    check("yxdomain pol", "nothing");
    check("yxdomain web", "nothing");
    check("yxdomain @", "nothing");
    check("yxdomain nothing", "NXDOMAIN nothing.x.example. is not in use");
    // An empty non-terminal holds no records (§2.4.4).
    check("yxdomain _y", "NXDOMAIN");
    check("nxdomain nothing", "nothing");
    check("nxdomain www", "YXDOMAIN www.x.example. is in use");
    check("nxdomain web", "YXDOMAIN");
    check("yxrrset www A", "nothing");
    check("yxrrset @ SOA; yxrrset @ NS", "nothing");
    check("yxrrset www AAAA", "NXRRSET www.x.example. has no such AAAA");
    check("nxrrset www AAAA", "nothing");
    check("nxrrset www A", "YXRRSET www.x.example. has A");
    check("yxrrset www A 192.0.2.2; yxrrset www A 192.0.2.1", "nothing");
    check("yxrrset www A 192.0.2.1", "NXRRSET");
    check("yxrrset www A 192.0.2.1; yxrrset www A 192.0.2.2; yxrrset www A 192.0.2.3", "NXRRSET");
    check("yxrrset nothing A 192.0.2.1", "NXRRSET");
    check("yxrrset @ NS ns1; yxrrset @ NS ns.elsewhere.", "nothing");
    check("yxdomain www.example.", "NOTZONE www.example. is not within the zone");
    check("yxdomain nothing; add www 30 A 192.0.2.9", "NXDOMAIN");
    check("nxrrset www TXT; nxdomain nothing", "YXRRSET");
}

/// RFC 2136 §3.4.2, one after the other.
#[test]
fn edits_are_made_in_order_and_move_the_serial() {
    let mut registry = world();
    let every = rights(&["**"], &[]);
    let check = |registry: &mut Registry, script: &str, expected: &str| {
        let found = ask(registry, script, &every);
        assert!(found.starts_with(expected), "{script}: {found}");
    };
    check(&mut registry, "add new 60 A 192.0.2.5", "serial 8, 1");
    assert_eq!(served(&registry, "new", "A"), Some(RecordSet { ttl: 60, rdata: vec![data(1, "192.0.2.5")] }));
    // The same again is no change; another TTL is, for the whole RRset (RFC 2181 §5.2).
    check(&mut registry, "add new 60 A 192.0.2.5", "nothing");
    check(&mut registry, "add new 30 A 192.0.2.6", "serial 9, 1");
    assert_eq!(served(&registry, "new", "A").unwrap().ttl, 30);
    check(&mut registry, "del new A 192.0.2.5; del new A 192.0.2.7", "serial 10, 1");
    check(&mut registry, "del new A", "serial 11, 1");
    // As in the file again: nothing is left of it.
    assert!(registry.overlays[&name("@")].sets.is_empty());
    check(&mut registry, "del nothing; del nothing A; del www AAAA", "nothing");
    // In order: what is added is deleted, and the other way round.
    check(&mut registry, "add a 1 A 192.0.2.1; del a", "nothing");
    check(&mut registry, "del www A; add www 30 A 192.0.2.1; add www 30 A 192.0.2.2", "nothing");
    check(&mut registry, "del www", "serial 12, 2");
    assert_eq!((served(&registry, "www", "A"), served(&registry, "www", "TXT")), (None, None));
    check(&mut registry, "add www 30 A 192.0.2.2; add www 30 A 192.0.2.1", "serial 13, 1");
    assert_eq!(registry.overlays[&name("@")].sets.len(), 1);
    // §3.4.2.2: a CNAME and other data are left out without a word, and a CNAME replaces a CNAME.
    check(&mut registry, "add www 30 CNAME ns1", "nothing");
    check(&mut registry, "add alias 30 A 192.0.2.1", "nothing");
    check(&mut registry, "add alias 30 CNAME ns1", "serial 14, 1");
    assert_eq!(served(&registry, "alias", "CNAME").unwrap().rdata, [data(5, "ns1")]);
    check(&mut registry, "del alias; add alias 30 A 192.0.2.1", "serial 15, 2");
    // §3.4.2.2: an SOA with a later serial replaces, one with an earlier or the same one does not.
    check(&mut registry, "add @ 900 SOA 15", "nothing");
    check(&mut registry, "add @ 900 SOA 14; add @ 900 SOA 3000000000", "nothing");
    check(&mut registry, "add @ 900 SOA 100; add new 30 A 192.0.2.5", "serial 100, 2");
    check(&mut registry, "del new", "serial 101, 1");
    let soa = served(&registry, "@", "SOA").unwrap();
    let (primary, contact, numbers) = view::soa(&soa.rdata[0]).unwrap();
    assert_eq!((primary, contact, numbers, soa.ttl), (name("ns1"), name("admin"), [101, 60, 30, 256, 9], 900));
    let zone = registry.changed_zone(&name("@")).unwrap();
    assert_eq!((zone.soa.serial, zone.soa.refresh, zone.soa.contact), (101, 60, name("admin")));
    // §3.4.2.3 and §3.4.2.4: SOA and the last NS of the apex stay.
    check(&mut registry, "del @ SOA; del @ NS; del @; del @ SOA 101", "nothing");
    check(&mut registry, "del @ NS ns.elsewhere.; del @ NS ns1", "serial 102, 1");
    assert_eq!(served(&registry, "@", "NS").unwrap().rdata, [data(2, "ns1")]);
    check(&mut registry, "add @ 30 TXT text", "serial 103, 1");
    check(&mut registry, "del @", "serial 104, 1");
}

/// Serials go round (RFC 1982), and a file's new serial moves ours.
#[test]
fn serials_follow_changes_and_files() {
    let mut registry = world();
    let every = rights(&["**"], &[]);
    ask(&mut registry, "add a 1 A 192.0.2.1", &every);
    ask(&mut registry, "add b 1 A 192.0.2.1", &every);
    let mut files = Vec::clone(&registry.files);
    files[0].soa.serial = u32::MAX;
    registry.ground(Arc::new(files));
    assert_eq!(registry.changed_zone(&name("@")).unwrap().soa.serial, 1);
    assert_eq!(ask(&mut registry, "del a", &every), "serial 2, 1");
}

#[test]
fn what_may_not_be_changed_is_refused_with_the_reason() {
    let mut registry = world();
    let mut check = |names: &[&str], types: &[&str], script: &str, expected: &str| {
        let found = ask(&mut registry, script, &rights(names, types));
        assert!(found.starts_with(expected), "{script}: {found}");
    };
    check(&[], &[], "add www 1 A 192.0.2.1", "REFUSED this key may not change A of www.x.example.");
    check(&["*.dyn"], &["A"], "add a.dyn 1 A 192.0.2.1", "serial 8");
    check(&["*.dyn"], &["A"], "add a.dyn 1 TXT x", "REFUSED this key may not change TXT of a.dyn.x.example.");
    check(&["*.dyn"], &["A"], "add dyn 1 A 192.0.2.1", "REFUSED");
    check(&["*.dyn"], &["A"], "del www", "REFUSED this key may not change all records of www.x.example.");
    check(&["**"], &["A"], "del www", "REFUSED");
    check(&["**"], &["A", "TXT"], "del www A; add www 30 A 192.0.2.1; add www 30 A 192.0.2.2; del www A 192.0.2.7", "nothing");
    check(&["**"], &["A"], "add @ 1 SOA 900", "REFUSED");
    check(&["**"], &["A"], "add a.dyn 1 A 192.0.2.2; add a.dyn 1 TXT x", "REFUSED");
    check(&["**"], &[], "add y.example. 1 A 192.0.2.1", "NOTZONE");
    check(&["**"], &[], "add web 1 A 192.0.2.1", "REFUSED web.x.example. is a name of the service web");
    check(&["**"], &[], "del b.id.web", "REFUSED b.id.web.x.example. is a name of the service web");
    check(&["**"], &[], "add _web._tcp 1 TXT x", "REFUSED _web._tcp.x.example. is a name of the service web");
    check(&["**"], &[], "add pol 1 TXT x", "REFUSED pol.x.example. has a policy in x.example.zone");
    check(&["**"], &[], "add @ 1 A 192.0.2.1", "REFUSED x.example. has a policy");
    check(&["**"], &[], "add www 1 RRSIG x", "REFUSED TYPE46 is made by whoever signs the zone");
    check(&["**"], &[], "add @ 1 DS x", "REFUSED x.example.: a zone's DS");
    check(&["**"], &[], "add * 1 NS ns1", "REFUSED *.x.example.: a wildcard cannot be delegated");
    check(&["**"], &[], "add n 1 NS ns.n", "REFUSED n.x.example.: ns.n.x.example. is below the delegation");
    check(&["**"], &[], "add n 1 NS ns.n; add ns.n 1 A 192.0.2.1", "serial 9, 2");
    check(&["**"], &[], "del ns.n", "REFUSED ns.n.x.example.: ns.n.x.example. is below the delegation");
    check(&["**"], &[], "add n 1 NS alias", "REFUSED n.x.example.: alias.x.example. is an alias");
    check(&["**"], &[], "del ns1; add ns1 1 CNAME www", "REFUSED ns1.x.example.: ns1.x.example. is an alias");
    check(&["**"], &[], "add a.moved 1 A 192.0.2.1", "REFUSED a.moved.x.example.: nothing can stand below the DNAME");
    check(&["**"], &[], "add n 1 DNAME y.", "REFUSED n.x.example.: a DNAME cannot stand beside NS");
    let many: String = (0..=MAX_SETS).map(|n| format!("add n{n} 1 A 192.0.2.1;")).collect();
    check(&["**"], &[], &many, "REFUSED an update changes at most 6000 RRsets at once, not 6001");
    let mut other = update("add www 1 A 192.0.2.1");
    other.apex = Name::parse("y.example.").unwrap();
    let command = Command::Update { update: Arc::new(other), key: name("key."), rights: rights(&["**"], &[]) };
    let refused = registry.plan(&mut Draft::default(), &command, Timestamp(0));
    assert_eq!(refused, Err(Hold::Refused(UpdateRefusal::NotAuth(Name::parse("y.example.").unwrap()).into())));
}

/// A service cannot have a name that an update took, until the update is dropped.
#[test]
fn names_of_updates_are_taken() {
    let mut registry = world();
    let every = rights(&["**"], &[]);
    assert_eq!(ask(&mut registry, "add api 1 A 192.0.2.1", &every), "serial 8, 1");
    let refused = registry.apply(&command("put api/a"), Timestamp(1), Revision(3));
    assert_eq!(refused.unwrap_err(), Refusal::NameTaken(label("api"), "an update of x.example.".into()));
    let drop = Command::DropUpdates { apex: name("@"), author: "me".into() };
    let (change, _) = registry.apply(&drop, Timestamp(1), Revision(3)).unwrap();
    let Change::Zone(change) = change else { panic!() };
    assert_eq!((change.epoch, change.serial, change.sets.len()), (1, 9, 0));
    registry.apply(&command("put api/a"), Timestamp(1), Revision(4)).unwrap();
    assert!(matches!(registry.apply(&drop, Timestamp(1), Revision(5)), Ok((Change::Zone(change), _)) if change.is_void()));
}

/// A file that changes under an overlay: what was changed under it is told, what no longer fits is left out, and comes back.
#[test]
fn files_that_change_beneath_are_told_of() {
    let mut registry = world();
    let every = rights(&["**"], &[]);
    ask(&mut registry, "add www 30 A 192.0.2.3", &every);
    ask(&mut registry, "add new 30 TXT x", &every);
    let before = Vec::clone(&registry.files);
    assert!(registry.ground(Arc::new(before.clone())).is_empty());
    let mut files = before.clone();
    files[0].records.remove(&(name("www"), rtype::A));
    files[0].records.insert((name("new"), rtype::CNAME), RecordSet { ttl: 30, rdata: vec![data(5, "www")] });
    let warnings = registry.ground(Arc::new(files));
    let said: Vec<String> = warnings.iter().map(|warning| format!("{}: {}", warning.subject, warning.found)).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("new.x.example. TXT: was changed by an update, which does not go with the file any more: a CNAME"));
    assert!(said[1].starts_with("www.x.example. A: was changed in the file after an update"), "{said:?}");
    assert_eq!(served(&registry, "new", "TXT"), None);
    assert_eq!(served(&registry, "www", "A").unwrap().rdata.len(), 3);
    assert!(registry.is_stale(&name("@"), &(name("www"), rtype::A)));
    assert!(registry.ground(Arc::new(before)).is_empty());
    assert!(served(&registry, "new", "TXT").is_some());
}
