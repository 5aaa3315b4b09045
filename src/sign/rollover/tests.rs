//! Rollovers told as tables, and on a virtual clock with validators that fetched whatever they could at any moment.

use std::collections::BTreeSet;

use super::super::private::Secret;
use super::*;
use crate::model::Name;

mod validators;

/// A key whose secret is a number.
fn key(n: u32) -> PrivateKey {
    let mut secret = [0; 32];
    secret[28..].copy_from_slice(&n.to_be_bytes());
    secret[0] = 1;
    PrivateKey::new(Algorithm::Ed25519, Secret(secret)).unwrap()
}

fn tag(n: u32, role: KeyRole) -> u16 {
    key_tag(&key(n).dnskey(role))
}

const HOUR: u64 = 3_600_000;
const START: Timestamp = Timestamp(1_700_000_000_000);

const TIMING: Timing = Timing {
    dnskey_ttl: 3600,
    longest_ttl: 7200,
    ds_ttl: 86_400,
    propagation: Duration::from_secs(600),
    parent_propagation: Duration::from_secs(3600),
    zsk_lifetime: Duration::from_secs(90 * 86_400),
};

/// Hours since the start.
fn at(hours: f64) -> Timestamp {
    Timestamp(START.0 + (hours * HOUR as f64).round() as u64)
}

/// The keys in words: role, stage, what each signs.
fn shown(keys: &ZoneKeys) -> String {
    let apex = Name::parse("a.test").unwrap();
    let signing = keys.signing(&apex, 3600);
    let words = keys.keys().iter().map(|key| {
        let shown = signing.keys.iter().find(|shown| shown.tag == key.tag).unwrap();
        let signs = match (shown.signs_keys, shown.signs_zone) {
            (true, true) => " signs all",
            (true, false) => " signs keys",
            (false, true) => " signs zone",
            (false, false) => "",
        };
        let asked = keys.asked_for().is_some_and(|asked| asked.tag == key.tag && !signing.cds.is_empty());
        format!("{} {}{signs}{}", key.role.name(), key.stage, if asked { " cds" } else { "" })
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Takes every step that is due by then, each at its time.
fn run(keys: &mut ZoneKeys, until: Timestamp) -> Vec<(f64, Step)> {
    let mut taken = Vec::new();
    while let Some(due) = keys.next_due(&TIMING).filter(|due| *due <= until) {
        let step = keys.due(&TIMING, due).unwrap();
        if step == Step::Introduce {
            keys.roll(KeyRole::Zsk, &key(900 + taken.len() as u32), due).unwrap();
        }
        keys.take(step);
        keys.confirm(due);
        keys.check().unwrap();
        taken.push(((due.0 - START.0) as f64 / HOUR as f64, step));
    }
    taken
}

#[test]
fn a_zsk_is_published_before_it_signs_and_stays_until_its_signatures_are_gone() {
    let mut keys = ZoneKeys::begin(&[(KeyRole::Ksk, &key(1)), (KeyRole::Zsk, &key(2))], true, &TIMING, START).unwrap();
    keys.confirm(START);
    let first = tag(2, KeyRole::Zsk);
    assert_eq!(shown(&keys), "ksk active signs keys cds, zsk active signs zone");
    let taken = run(&mut keys, at(90.0 * 24.0));
    assert_eq!(taken, [(2160.0, Step::Introduce)], "after its lifetime");
    assert_eq!(shown(&keys), "ksk active signs keys cds, zsk active signs zone, zsk published");
    let second = keys.keys()[2].tag;
    assert_eq!(keys.roll(KeyRole::Zsk, &key(3), at(2160.0)), Err(RollRefusal::Underway(KeyRole::Zsk, second, KeyStage::Published)));
    // An hour of TTL and ten minutes of propagation; then two hours and ten minutes.
    let (activated, removed) = (2160.0 + 70.0 / 60.0, 2160.0 + 200.0 / 60.0);
    let taken = run(&mut keys, at(2170.0));
    assert_eq!(taken.iter().map(|(_, step)| *step).collect::<Vec<_>>(), [Step::Activate(second), Step::Remove(first)]);
    assert!((taken[0].0 - activated).abs() < 0.001 && (taken[1].0 - removed).abs() < 0.001, "{taken:?}");
    assert_eq!(shown(&keys), "ksk active signs keys cds, zsk active signs zone");
    let forever = Timing { zsk_lifetime: Duration::ZERO, ..TIMING };
    assert_eq!(keys.next_due(&forever), None, "0: never by itself");
}

#[test]
fn a_csk_follows_once_its_ds_is_seen() {
    let mut keys = ZoneKeys::begin(&[(KeyRole::Csk, &key(1))], false, &TIMING, START).unwrap();
    let (first, second) = (tag(1, KeyRole::Csk), tag(2, KeyRole::Csk));
    assert_eq!(keys.next_due(&TIMING), None, "nobody knows yet that answers show it");
    keys.confirm(START);
    // Nothing unsigned is in caches after the longest TTL; then the parent is asked.
    assert_eq!(shown(&keys), "csk published signs all");
    assert_eq!(keys.ds_seen(first), Err(RollRefusal::NotSubmitted(first, KeyStage::Published)));
    assert_eq!(run(&mut keys, at(100.0)), [(130.0 / 60.0, Step::Submit(first))]);
    assert_eq!(shown(&keys), "csk submitted signs all cds");
    assert!(matches!(keys.may_roll(KeyRole::Csk), Err(RollRefusal::Underway(KeyRole::Csk, _, KeyStage::Submitted))));
    assert_eq!(keys.next_of(&keys.keys()[0].clone(), &TIMING), Some((Step::SeeDs(first), Due::Told)), "for as long as it takes");
    keys.ds_seen(first).unwrap();
    keys.confirm(at(100.0));
    assert_eq!(shown(&keys), "csk active signs all cds");

    assert_eq!(keys.roll(KeyRole::Csk, &key(1), at(200.0)), Err(RollRefusal::Tag(first)));
    assert!(matches!(keys.roll(KeyRole::Zsk, &key(2), at(200.0)), Err(RollRefusal::NoSuchRole(KeyRole::Zsk, _))));
    let p256 = PrivateKey::new(Algorithm::EcdsaP256Sha256, Secret([9; 32])).unwrap();
    assert_eq!(keys.roll(KeyRole::Csk, &p256, at(200.0)), Err(RollRefusal::Algorithm(Algorithm::Ed25519)));
    keys.roll(KeyRole::Csk, &key(2), at(200.0)).unwrap();
    keys.confirm(at(200.0));
    assert_eq!(shown(&keys), "csk active signs all cds, csk published signs keys");
    assert_eq!(run(&mut keys, at(300.0)), [(200.0 + 70.0 / 60.0, Step::Submit(second))]);
    assert_eq!(shown(&keys), "csk active signs all, csk submitted signs keys cds");
    keys.ds_seen(second).unwrap();
    keys.confirm(at(300.0));
    assert_eq!(shown(&keys), "csk retired signs keys, csk active signs all cds");
    assert_eq!(run(&mut keys, at(400.0)), [(325.0, Step::Remove(first))], "a day of DS and an hour of propagation");
    assert_eq!(shown(&keys), "csk active signs all cds");
}

#[test]
fn a_zone_leaves_only_when_no_ds_is_in_caches() {
    let apex = Name::parse("a.test").unwrap();
    let mut keys = ZoneKeys::begin(&[(KeyRole::Csk, &key(1))], false, &TIMING, START).unwrap();
    keys.confirm(START);
    assert_eq!(keys.free_from(&TIMING), Some(Timestamp(0)), "nobody was asked for a DS yet");
    run(&mut keys, at(3.0));
    assert_eq!(keys.free_from(&TIMING), None);
    assert_eq!(keys.ds_gone(at(4.0)), Err(RollRefusal::Staying));
    keys.leave(true);
    let signing = keys.signing(&apex, 3600);
    // RFC 8078 §4.
    assert_eq!((&*signing.cds[0], &*signing.cdnskey[0]), (&[0, 0, 0, 0, 0][..], &[0, 0, 3, 0, 0][..]));
    assert_eq!(keys.may_roll(KeyRole::Csk), Err(RollRefusal::Leaving));
    assert_eq!(keys.ds_seen(tag(1, KeyRole::Csk)), Err(RollRefusal::Leaving));
    keys.ds_gone(at(5.0)).unwrap();
    keys.ds_gone(at(6.0)).unwrap();
    assert_eq!(keys.free_from(&TIMING), Some(at(31.0)), "a day of DS, an hour of propagation and one of DNSKEY after it was first said");
    keys.leave(false);
    assert_eq!((keys.free_from(&TIMING), keys.signing(&apex, 3600).cds.len()), (None, 1));
    keys.begin_again();
    assert_eq!(shown(&keys), "csk published signs all");
}

#[test]
fn time_that_nobody_watched_counts_for_nothing() {
    let watched = |run: u64, hours: f64| Watched { run, seen: at(hours) };
    let begun = || {
        let mut keys = ZoneKeys::begin(&[(KeyRole::Ksk, &key(1)), (KeyRole::Zsk, &key(2))], true, &TIMING, START).unwrap();
        keys.confirm(START);
        keys.roll(KeyRole::Zsk, &key(3), START).unwrap();
        keys.confirm(START);
        keys.watch(watched(1, 0.0));
        keys
    };
    let due = |keys: &ZoneKeys| keys.next_due(&TIMING).unwrap();
    let usual = due(&begun());
    // Down for a year, or a clock that was set forward: as if no time had passed since the keys were last watched.
    let mut keys = begun();
    keys.resume(Some(watched(1, 0.5)), watched(2, 8760.0));
    assert_eq!(due(&keys).0, usual.0 + at(8760.0).0 - at(0.5).0);
    // It died before it said anything but this; then the clock went back, and forward again, to before that: the whole wait.
    keys.resume(Some(watched(1, 0.5)), watched(3, 0.1));
    assert_eq!(due(&keys).since(at(0.1)), usual.since(START));
    keys.resume(Some(watched(1, 0.5)), watched(4, 0.4));
    assert_eq!(due(&keys).since(at(0.4)), usual.since(START));
    // Nobody knows when the keys were last watched but this document.
    let mut keys = begun();
    keys.resume(None, watched(2, 1.0));
    assert_eq!(due(&keys).since(at(1.0)), usual.since(START));
}

#[test]
fn a_ttl_that_shrinks_is_waited_for_as_it_was() {
    let short = Timing { dnskey_ttl: 60, longest_ttl: 60, ..TIMING };
    let mut keys = ZoneKeys::begin(&[(KeyRole::Ksk, &key(1)), (KeyRole::Zsk, &key(2))], true, &TIMING, START).unwrap();
    keys.confirm(START);
    assert!(keys.observe(&short, at(1.0)) && !keys.observe(&short, at(1.1)));
    keys.roll(KeyRole::Zsk, &key(3), at(1.5)).unwrap();
    keys.confirm(at(1.5));
    let wait = |keys: &ZoneKeys, from: f64| keys.next_due(&short).unwrap().since(at(from)).as_secs();
    assert_eq!(wait(&keys, 1.5), 3600 + 600, "DNSKEY of the old TTL are in caches until 2:00");
    let mut keys = ZoneKeys::begin(&[(KeyRole::Ksk, &key(1)), (KeyRole::Zsk, &key(2))], true, &TIMING, START).unwrap();
    keys.observe(&short, at(1.0));
    keys.confirm(at(1.0));
    keys.roll(KeyRole::Zsk, &key(3), at(2.5)).unwrap();
    keys.confirm(at(2.5));
    assert_eq!(wait(&keys, 2.5), 60 + 600, "and no longer");
}

#[test]
fn documents_are_written_read_and_checked() {
    let mut keys = ZoneKeys::begin(&[(KeyRole::Ksk, &key(1)), (KeyRole::Zsk, &key(2))], false, &TIMING, START).unwrap();
    keys.confirm(START);
    let text = serde_json::to_string(&keys).unwrap();
    assert_eq!(serde_json::from_str::<ZoneKeys>(&text).unwrap(), keys);
    let odd = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        serde_json::from_str::<ZoneKeys>(&text.replacen(from, to, 1)).unwrap().check().unwrap_err()
    };
    assert_eq!(odd("\"version\":1", "\"version\":2"), OddKeys::Version(2));
    assert_eq!(odd("\"stage\":\"active\"", "\"stage\":\"retired\""), OddKeys::Unsigned("zone"));
    assert_eq!(odd("\"role\":\"ksk\"", "\"role\":\"zsk\""), OddKeys::Tag(tag(1, KeyRole::Ksk)), "the flags are part of the tag");
    assert!(serde_json::from_str::<ZoneKeys>(&text.replacen("version", "vresion", 1)).is_err());
    for roles in [&[(KeyRole::Ksk, &key(1))][..], &[(KeyRole::Zsk, &key(1))], &[], &[(KeyRole::Csk, &key(1)), (KeyRole::Zsk, &key(2))]] {
        assert_eq!(ZoneKeys::begin(roles, false, &TIMING, START), Err(RollRefusal::Roles));
    }
}
