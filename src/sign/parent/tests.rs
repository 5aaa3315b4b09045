//! Replies of servers as tables, and what follows from them.

use std::time::Duration;

use super::*;
use crate::model::{Algorithm, KeyRole, Timestamp};
use crate::sign::{PrivateKey, Secret, Step, Timing};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const TIMING: Timing = Timing {
    dnskey_ttl: 60,
    longest_ttl: 60,
    ds_ttl: 3600,
    propagation: Duration::ZERO,
    parent_propagation: Duration::from_secs(60),
    zsk_lifetime: Duration::ZERO,
};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A record: section 0 to 2, owner, type, TTL, data.
type Line<'l> = (usize, &'l str, u16, u32, &'l [u8]);

/// A reply with id 7 to a question.
fn message(flags: u16, (qname, qtype): (&str, u16), lines: &[Line<'_>]) -> Vec<u8> {
    let count = |section: usize| lines.iter().filter(|line| line.0 == section).count() as u8;
    let mut message = vec![0, 7, (flags >> 8) as u8, flags as u8, 0, 1, 0, count(0), 0, count(1), 0, count(2)];
    message.extend_from_slice(name(qname).wire());
    message.extend([qtype.to_be_bytes(), [0, 1]].concat());
    for (_, owner, rtype, ttl, data) in lines {
        message.extend_from_slice(name(owner).wire());
        message.extend([rtype.to_be_bytes(), [0, 1]].concat());
        message.extend(ttl.to_be_bytes());
        message.extend((data.len() as u16).to_be_bytes());
        message.extend_from_slice(data);
    }
    message
}

#[test]
fn a_server_speaks_for_the_parent_or_is_of_no_help() {
    let soa = |zone: &str| [name(zone).wire(), name(zone).wire(), &[0; 20]].concat();
    let (above, own, beside) = (soa("example"), soa("svc.example"), soa("other"));
    let ds: &[u8] = &[0, 1, 13, 2, 9];
    let asked = ("svc.example", rtype::DS);
    let parent = |ds: &[&[u8]], ttl: u32| Ok(Heard::Parent(Delegated { ds: ds.iter().map(|ds| Box::from(*ds)).collect(), ttl }));
    let check = |flags: u16, lines: &[Line<'_>], expected: Result<Heard, NoHelp>| {
        assert_eq!(heard(&message(flags, asked, lines), 7, &name("SVC.example")), expected, "{flags:04x} {lines:?}");
    };
    check(
        QR | AA,
        &[(0, "svc.example", rtype::DS, 300, ds), (0, "svc.example", rtype::DS, 300, &[0, 2, 13, 2, 9])],
        parent(&[ds, &[0, 2, 13, 2, 9]], 300),
    );
    check(QR | AA, &[(1, "example", rtype::SOA, 300, &above)], parent(&[], 0));
    check(QR | AA, &[(1, "svc.example", rtype::SOA, 300, &own)], Err(NoHelp::Child));
    check(QR | AA, &[(1, "other", rtype::SOA, 300, &beside)], Err(NoHelp::Silent));
    check(QR | AA, &[(0, "other", rtype::DS, 300, ds)], Err(NoHelp::Silent));
    check(QR | AA | rcode::NXDOMAIN, &[(1, "example", rtype::SOA, 300, &above)], Err(NoHelp::Rcode(rcode::NXDOMAIN)));
    check(QR | RA, &[(0, "svc.example", rtype::DS, 300, ds)], Ok(Heard::Resolver));
    check(QR, &[], Err(NoHelp::Lame));
    check(AA, &[(0, "svc.example", rtype::DS, 300, ds)], Err(NoHelp::Stranger));
    check(QR | AA | TC, &[(0, "svc.example", rtype::DS, 300, ds)], Err(NoHelp::Stranger));
    let whole = message(QR | AA, asked, &[(0, "svc.example", rtype::DS, 300, ds)]);
    assert_eq!(heard(&whole, 8, &name("svc.example")), Err(NoHelp::Stranger), "another id");
    assert_eq!(heard(&whole, 7, &name("www.example")), Err(NoHelp::Stranger), "another question");
    for cut in 0..whole.len() {
        assert!(heard(&whole[..cut], 7, &name("svc.example")).is_err(), "{cut}");
    }
    assert_eq!(question(7, &name("svc.example"), rtype::DS)[2..], message(0x0100, asked, &[])[2..]);
}

#[test]
fn a_resolver_says_who_speaks_for_the_parent() {
    let soa = [name("a").wire(), name("a").wire(), &[0; 20]].concat();
    let apex = |lines: &[Line<'_>], flags: u16| is_apex(&message(QR | RA | flags, ("example", rtype::SOA), lines), 7, &name("example"));
    assert_eq!(apex(&[(0, "example", rtype::SOA, 1, &soa)], 0), Ok(true));
    assert_eq!(apex(&[(1, "example", rtype::SOA, 1, &soa)], 0), Ok(false));
    assert_eq!(apex(&[], rcode::NXDOMAIN), Ok(false));
    assert_eq!(apex(&[], rcode::SERVFAIL), Err(NoHelp::Rcode(rcode::SERVFAIL)));
    let (one, two) = (name("ns1.example"), name("ns2.example"));
    let asked = ("example", rtype::NS);
    let servers = |lines: &[Line<'_>]| servers_of(&message(QR | RA, asked, lines), 7, &name("example"));
    let (b, a) = ((0, "example", rtype::NS, 1, two.wire()), (0, "example", rtype::NS, 1, one.wire()));
    assert_eq!(servers(&[b, a, b]), Ok(vec![one.clone(), two]));
    assert_eq!(servers(&[]), Err(NoHelp::Silent));
    let found = |qtype: u16, lines: &[Line<'_>]| addresses_of(&message(QR | RA, ("ns1.example", qtype), lines), 7, &one, qtype);
    assert_eq!(found(rtype::A, &[(0, "other", rtype::A, 1, &[192, 0, 2, 1])]), Ok(vec![[192, 0, 2, 1].into()]), "behind an alias");
    assert_eq!(found(rtype::AAAA, &[(0, "other", rtype::A, 1, &[192, 0, 2, 1])]), Ok(vec![]));
}

#[test]
fn a_step_follows_from_what_all_servers_say() {
    let apex = name("svc.example");
    let key = |n: u8| PrivateKey::new(Algorithm::Ed25519, Secret([n; 32])).unwrap();
    let mut keys = ZoneKeys::begin(&[(KeyRole::Csk, &key(1))], true, &TIMING, NOW).unwrap();
    keys.confirm(NOW);
    let of = |n: u8, digest: DigestType| ds(&apex, &key(n).dnskey(KeyRole::Csk), digest);
    let (old, new) = (of(1, DigestType::Sha256), of(2, DigestType::Sha256));
    let said = |sets: &[&[&[u8]]]| -> Vec<(String, Result<Delegated, String>)> {
        let one =
            |(n, set): (usize, &&[&[u8]])| (format!("ns{n}"), Ok(Delegated { ds: set.iter().map(|ds| Box::from(*ds)).collect(), ttl: 60 }));
        sets.iter().enumerate().map(one).collect()
    };
    let waits = |keys: &ZoneKeys, sets: &[&[&[u8]]]| match verdict(keys, &apex, &said(sets)) {
        Verdict::Wait(why) => why,
        other => format!("{other:?}"),
    };
    assert_eq!(waits(&keys, &[&[&old]]), "nothing is waited for");
    keys.roll(KeyRole::Csk, &key(2), NOW).unwrap();
    keys.confirm(NOW);
    let (first, tag) = (keys.keys()[0].tag, keys.keys()[1].tag);
    keys.take(Step::Submit(tag));
    assert_eq!(waits(&keys, &[&[&new]]), "nothing is waited for", "nobody knows yet that the parent is asked");
    keys.confirm(NOW);
    assert_eq!(waits(&keys, &[]), "no server of the parent is known");
    assert_eq!(waits(&keys, &[&[&new], &[&old]]), format!("ns1 has no DS of key {tag} yet"));
    assert_eq!(waits(&keys, &[&[&new], &[]]), format!("ns1 has no DS of key {tag} yet"));
    assert_eq!(waits(&keys, &[&[&new], &[&new, &old]]), format!("ns1 has the DS of key {first} still"));
    // Of a digest that is not known: not enough to be taken for the new one, enough to be taken for the old one.
    let odd = |tag: u16| [&tag.to_be_bytes()[..], &[15, 77, 1]].concat();
    assert_eq!(waits(&keys, &[&[&odd(tag)]]), format!("ns0 has no DS of key {tag} yet"));
    assert_eq!(waits(&keys, &[&[&new, &odd(first)]]), format!("ns0 has the DS of key {first} still"));
    let mut silent = said(&[&[&new]]);
    silent.push(("ns1".into(), Err("it does not reply".into())));
    assert_eq!(verdict(&keys, &apex, &silent), Verdict::Wait("ns1: it does not reply".into()));
    let foreign: &[u8] = &[0, 9, 13, 2, 1];
    let all = [&[&*new][..], &[&of(2, DigestType::Sha384)], &[&new, foreign]];
    assert_eq!(verdict(&keys, &apex, &said(&all)), Verdict::Seen(tag));
    // What was seen is waited for, whatever the settings say; and no longer than anybody keeps it.
    keys.observe_ds(7200);
    keys.ds_seen(tag).unwrap();
    keys.confirm(NOW);
    assert_eq!(keys.next_due(&TIMING), Some(NOW.plus(Duration::from_secs(7260))));
    keys.observe_ds(u32::MAX);
    assert_eq!(keys.next_due(&TIMING), Some(NOW.plus(Duration::from_secs(7 * 86_400 + 60))));
    keys.take(Step::Remove(first));
    keys.leave(true);
    assert_eq!(waits(&keys, &[&[], &[foreign]]), "ns1 has a DS still");
    assert_eq!(verdict(&keys, &apex, &said(&[&[], &[]])), Verdict::Gone);
    keys.ds_gone(NOW).unwrap();
    assert_eq!(waits(&keys, &[&[], &[]]), "nothing is waited for");
}
