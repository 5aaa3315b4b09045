//! Lookups in small zones, and zones that cannot be served.

use super::*;
use crate::codec::NameHash;
use crate::model::{Defined, Denial, Label, Name, Period, RecordSet, Zone, ZoneKey, ZoneSigning};
use crate::routing::{Against, Origins, Places, Views};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A zone `svc.example` with records given as (owner, type, data).
fn zone(records: &[(&str, u16, &[u8])]) -> Zone {
    let apex = name("svc.example.");
    let mut zone = Zone::new(apex.clone(), "zones/svc.example.toml", name("ns1.svc.example."), 7);
    for (owner, rtype, data) in records {
        let owner = Name::parse_relative(owner, Some(&apex)).unwrap();
        let set = zone.records.entry((owner, *rtype)).or_insert(RecordSet { ttl: 60, rdata: Vec::new() });
        set.rdata.push((*data).into());
    }
    zone
}

impl CompiledZone {
    /// All of it, wherever it lies: what two zones have in common that answer alike.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut all = vec![format!("{:?} {:?} {:?}", (self.services, self.divided, self.ttl, self.epoch), self.soa_ttl, self.negative)];
        let mut at = 0;
        while let Some((key, owner, next)) = self.owner_from(at) {
            assert_eq!(self.at(key).map(|found| found.found.at), Some(at), "{key:?} is found where it lies");
            let place = |at: Option<usize>| at.map(|at| self.names.key(at));
            let extra = owner.extra.map(|extra| {
                assert_eq!(extra.at, at);
                let cut = extra.cut.as_ref().map(|cut| (cut.depth, &cut.glue, &cut.others));
                (extra.policy.is_some(), cut, place(extra.cut_above), extra.redirects, place(extra.wildcard))
            });
            let sets: Vec<_> =
                owner.sets().map(|set| (set.rtype(), set.octets(), set.holes().collect::<Vec<_>>(), set.before(), set.beside())).collect();
            all.push(format!("{key:?} {sets:?} {extra:?}"));
            at = next;
        }
        all
    }
}

fn compile(zone: &Zone) -> Result<CompiledZone, ZoneError> {
    let (places, origins) = (Places::default(), Origins::default());
    let mut against = Against { places: &places, origins: &origins, views: &mut Views::default() };
    CompiledZone::compile(zone, &mut against, &mut |_| None)
}

const A: &[u8] = &[192, 0, 2, 1];

/// What a lookup finds: the types, or in words what else.
fn found(zone: &CompiledZone, asked: &str) -> String {
    let asked = NameBuf::from_wire(name(asked).wire()).unwrap();
    match zone.lookup(&asked) {
        Lookup::Owner(owner) => format!("{:?}", owner.sets().map(|set| set.rtype()).collect::<Vec<_>>()),
        Lookup::Delegated { delegation, at } => {
            format!("cut {} {} {} {}", delegation.depth, at.is_some(), delegation.glue.names.len(), delegation.others.names.len())
        }
        Lookup::Redirected { depth, redirection } => {
            format!("redirected {depth} to {}", redirection.target(b"").unwrap().0)
        }
        Lookup::Missing { encloser, wildcard } => format!("missing {encloser} {}", wildcard.is_some()),
    }
}

#[test]
fn names_are_found_as_rfc_1034_and_4592_say() {
    let zone = compile(&zone(&[
        ("www", rtype::A, A),
        ("a.b.c", rtype::A, A),
        ("*.wild", rtype::A, A),
        ("host.wild", rtype::TXT, b"\x01x"),
        ("sub", rtype::NS, name("ns.sub.svc.example.").wire()),
        ("sub", rtype::NS, name("ns1.svc.example.").wire()),
        ("sub", rtype::DS, b"\x00\x01\x08\x02"),
        ("sub", rtype::NS, name("foo.wild.svc.example.").wire()),
        ("ns.sub", rtype::A, A),
    ]))
    .unwrap();
    let check = |asked: &str, expected: &str| assert_eq!(found(&zone, asked), expected, "{asked}");
    check("svc.example.", "[6, 2]");
    check("www.svc.example.", "[1]");
    check("b.c.svc.example.", "[]");
    check("c.svc.example.", "[]");
    check("x.svc.example.", "missing 0 false");
    check("x.y.z.svc.example.", "missing 0 false");
    check("x.b.c.svc.example.", "missing 2 false");
    check("x.www.svc.example.", "missing 1 false");
    check("x.wild.svc.example.", "missing 1 true");
    check("x.y.wild.svc.example.", "missing 1 true");
    check("*.wild.svc.example.", "[1]");
    check("host.wild.svc.example.", "[16]");
    check("x.host.wild.svc.example.", "missing 2 false");
    check("wild.svc.example.", "[]");
    check("x.*.wild.svc.example.", "missing 2 false");
    check("sub.svc.example.", "cut 1 true 1 1");
    check("x.sub.svc.example.", "cut 1 false 1 1");
    check("ns.sub.svc.example.", "cut 1 false 1 1");
    check("deep.sub.svc.example.", "cut 1 false 1 1");
}

#[test]
fn a_dname_redirects_what_is_below_it_alone() {
    let target = name("new.other.");
    let whole = compile(&zone(&[("@", rtype::DNAME, target.wire())])).unwrap();
    let zone = compile(&zone(&[
        ("old", rtype::DNAME, target.wire()),
        ("old", rtype::A, A),
        ("a.b.deep", rtype::DNAME, target.wire()),
        ("*", rtype::A, A),
        ("*.wild", rtype::DNAME, target.wire()),
    ]))
    .unwrap();
    let check = |asked: &str, expected: &str| assert_eq!(found(&zone, asked), expected, "{asked}");
    check("old.svc.example.", "[1, 39]");
    check("x.old.svc.example.", "redirected 1 to new.other.");
    check("*.x.old.svc.example.", "redirected 1 to new.other.");
    check("b.deep.svc.example.", "[]");
    check("x.b.deep.svc.example.", "missing 2 false");
    check("x.y.a.b.deep.svc.example.", "redirected 3 to new.other.");
    // RFC 6672 §3.2 looks at the last label that matched: a wildcard redirects what is below `*` itself (RFC 4592 §4.4).
    check("x.wild.svc.example.", "missing 1 true");
    check("x.*.wild.svc.example.", "redirected 2 to new.other.");

    assert_eq!(found(&whole, "svc.example."), "[6, 2, 39]");
    assert_eq!(found(&whole, "x.y.svc.example."), "redirected 0 to new.other.");
}

#[test]
fn what_a_delegation_occludes_is_loaded_and_changes_nothing() {
    let ns = name("ns.sub.svc.example.");
    let zone = |occluded: &[(&str, u16, &[u8])]| {
        let seen: [(&str, u16, &[u8]); 4] =
            [("sub", rtype::NS, ns.wire()), ("sub", rtype::DS, b"\x00\x01\x08\x02"), ("ns.sub", rtype::A, A), ("*", rtype::TXT, b"\x01x")];
        compile(&zone(&[&seen, occluded].concat())).unwrap()
    };
    let inner = name("ns.inner.sub.svc.example.");
    let occluded = zone(&[
        ("sub", rtype::A, A),
        ("sub", rtype::TXT, b"\x01x"),
        ("sub", rtype::SOA, b"\x00\x00xxxxxxxxxxxxxxxxxxxx"),
        ("inner.sub", rtype::NS, inner.wire()),
        ("inner.sub", rtype::DS, b"\x00\x01\x08\x02"),
        ("ns.inner.sub", rtype::A, A),
        ("*.sub", rtype::A, A),
        ("*.wild.sub", rtype::NS, inner.wire()),
        ("dname.sub", rtype::DNAME, inner.wire()),
        ("x.dname.sub", rtype::TXT, b"\x01x"),
        ("cname.sub", rtype::CNAME, inner.wire()),
        ("cname.sub", rtype::TXT, b"\x01x"),
        ("a.b.c.sub", rtype::TXT, b"\x01x"),
    ]);
    let plain = zone(&[]);
    let names = "svc sub.svc x.sub.svc ns.sub.svc inner.sub.svc ns.inner.sub.svc x.inner.sub.svc *.sub.svc x.wild.sub.svc dname.sub.svc \
                 x.dname.sub.svc cname.sub.svc b.c.sub.svc x.svc c.svc";
    for asked in names.split_whitespace() {
        let asked = format!("{asked}.example.");
        assert_eq!(found(&occluded, &asked), found(&plain, &asked), "{asked}");
        let cut = if asked == "sub.svc.example." { "cut 1 true 1 0" } else { "cut 1 false 1 0" };
        assert!(!asked.contains("sub") || found(&occluded, &asked) == cut, "{asked}");
    }
}

#[test]
fn addresses_of_names_in_data_are_those_that_the_zone_would_answer() {
    let zone = compile(&zone(&[
        ("@", rtype::MX, &[b"\x00\x05", name("mail.svc.example.").wire()].concat()),
        ("@", rtype::MX, &[b"\x00\x07", name("mail.svc.example.").wire()].concat()),
        ("mail", rtype::A, A),
        ("sub", rtype::NS, name("ns.sub.svc.example.").wire()),
        ("sub", rtype::NS, name("ns.other.svc.example.").wire()),
        ("sub", rtype::NS, name("mail.svc.example.").wire()),
        ("sub", rtype::NS, name("x.wild.svc.example.").wire()),
        ("ns.sub", rtype::A, A),
        ("other", rtype::NS, name("ns.other.svc.example.").wire()),
        ("ns.other", rtype::AAAA, &[1; 16]),
        ("*.wild", rtype::A, A),
        ("old", rtype::DNAME, name("mail.svc.example.").wire()),
        ("mx", rtype::MX, &[b"\x00\x05", name("ns.sub.svc.example.").wire()].concat()),
        ("mx", rtype::MX, &[b"\x00\x05", name("x.old.svc.example.").wire()].concat()),
        ("mx", rtype::MX, b"\x00\x00\x00"),
        ("alias", rtype::HTTPS, &[b"\x00\x00", name("mode.svc.example.").wire()].concat()),
        ("mode", rtype::HTTPS, b"\x00\x01\x00"),
        ("mode", rtype::A, A),
        ("none", rtype::HTTPS, b"\x00\x00\x00"),
        ("none", rtype::A, A),
        ("kx", rtype::KX, &[b"\x00\x00", name("mail.svc.example.").wire()].concat()),
    ]))
    .unwrap();
    let keys = |set: RrSet<'_>, beside: Option<&Beside>| -> Vec<Option<Vec<u8>>> {
        let key = |led: &Led| (!led.own).then(|| set.octets()[led.place as usize..][..led.key.into()].to_vec());
        beside.map_or(Vec::new(), |beside| beside.names.iter().map(key).collect())
    };
    let check = |at: &[u8], rtype: u16, expected: &[Option<&[u8]>]| {
        let set = zone.at(at).unwrap().set(rtype).unwrap();
        let expected: Vec<Option<Vec<u8>>> = expected.iter().map(|key| key.map(<[u8]>::to_vec)).collect();
        assert_eq!(keys(set, set.beside()), expected, "{at:?} {rtype}");
    };
    check(b"", rtype::MX, &[Some(b"\x04mail")]);
    // Referrals take what is at hand; nothing else is answered from below a delegation (RFC 1034 §4.2.1), or from below a DNAME.
    check(b"\x03sub", rtype::NS, &[]);
    let sub = NameBuf::from_wire(b"\x03sub\x03svc\x07example\x00").unwrap();
    let Lookup::Delegated { delegation: Delegation { ns, glue, others, .. }, .. } = zone.lookup(&sub) else { panic!("{sub}") };
    assert_eq!(keys(ns, Some(glue)), [Some(b"\x02ns\x03sub".to_vec())]);
    assert_eq!(keys(ns, Some(others)), [&b"\x01x\x04wild"[..], b"\x02ns\x05other", b"\x04mail"].map(|key| Some(key.to_vec())));
    assert_eq!(found(&zone, "sub.svc.example."), "cut 1 true 1 3");
    check(b"\x02mx", rtype::MX, &[]);
    check(b"\x05alias", rtype::HTTPS, &[Some(b"\x04mode")]);
    check(b"\x04mode", rtype::HTTPS, &[None]);
    check(b"\x04none", rtype::HTTPS, &[]);
    check(b"\x02kx", rtype::KX, &[Some(b"\x04mail")]);
}

#[test]
fn the_apex_carries_soa_and_ns_and_the_negative_ttl() {
    let zone = compile(&zone(&[])).unwrap();
    let apex = zone.at(b"").unwrap();
    assert_eq!(apex.set(rtype::SOA).unwrap().ttl(), 3600);
    assert!(apex.set(rtype::NS).unwrap().beside().is_none(), "it has no address");
    assert_eq!(zone.negative().ttl(), 5);
    let soa = zone.negative().records().next().unwrap().data;
    assert_eq!(soa[soa.len() - 20..][..4], 7u32.to_be_bytes());
    assert_eq!(soa[soa.len() - 4..], 5u32.to_be_bytes());
    assert_eq!(zone.ttl(), AnswerTtl { min: 5, max: 30 });
}

#[test]
fn a_zone_that_would_lie_is_refused_with_the_name() {
    let check = |records: &[(&str, u16, &[u8])], named: &str, said: &str| {
        let error = compile(&zone(records)).unwrap_err();
        assert_eq!((error.name.as_str(), error.file.as_str()), (named, "zones/svc.example.toml"));
        assert!(error.reason.contains(said), "{error}");
    };
    let ns = name("ns.other.");
    check(&[("a.other.", rtype::A, A)], "a.other.", "not within");
    check(&[("@", rtype::SOA, A)], "svc.example.", "SOA is made");
    check(&[("@", rtype::NS, ns.wire())], "svc.example.", "`ns`");
    check(&[("*.x", rtype::NS, ns.wire())], "*.x.svc.example.", "wildcard");
    check(&[("x", rtype::TSIG, A)], "x.svc.example.", "type 250");
    check(&[("x", rtype::A, &[1])], "x.svc.example.", "malformed");
    check(&[("x", rtype::CNAME, ns.wire()), ("x", rtype::A, A)], "x.svc.example.", "CNAME");
    check(&[("x", rtype::CNAME, ns.wire()), ("x", rtype::CNAME, name("b.").wire())], "x.svc.example.", "CNAME");
    check(&[("x", rtype::SOA, b"\x00\x00xxxxxxxxxxxxxxxxxxxx")], "x.svc.example.", "apex alone");
    check(&[("x", rtype::CNAME, ns.wire()), ("x", rtype::NS, ns.wire())], "x.svc.example.", "CNAME");
    check(&[("x", rtype::DNAME, ns.wire()), ("x", rtype::CNAME, ns.wire())], "x.svc.example.", "CNAME");
    check(&[("x", rtype::DNAME, ns.wire()), ("x", rtype::DNAME, name("b.").wire())], "x.svc.example.", "one DNAME");
    check(&[("x", rtype::DNAME, ns.wire()), ("x", rtype::NS, ns.wire())], "x.svc.example.", "beside NS");
    check(&[("x", rtype::DNAME, ns.wire()), ("y.x", rtype::A, A)], "y.x.svc.example.", "below the DNAME of x.svc.example.");
    check(&[("x", rtype::DNAME, ns.wire()), ("z.y.x", rtype::NS, ns.wire())], "z.y.x.svc.example.", "below the DNAME");
    check(&[("@", rtype::DNAME, ns.wire()), ("y", rtype::A, A)], "y.svc.example.", "below the DNAME of svc.example.");
    for above in ["@", "_tcp"] {
        let mut hiding = zone(&[(above, rtype::DNAME, ns.wire())]);
        assert!(compile(&hiding).is_ok());
        hiding.services = true;
        assert!(compile(&hiding).unwrap_err().reason.contains("services"), "{above}");
    }
    let mut nobody = zone(&[]);
    nobody.ns.clear();
    assert_eq!(compile(&nobody).unwrap_err().name, "ns");
    let mut doubled = zone(&[("web", rtype::A, A)]);
    doubled.services = true;
    doubled.defined.insert(Label::parse("web").unwrap(), Defined::default());
    assert_eq!(compile(&doubled).unwrap_err().name, "web.svc.example.");
    let mut inverted = zone(&[]);
    inverted.ttl.min = Period::seconds(60);
    assert_eq!(compile(&inverted).unwrap_err().name, "ttl.min");
}

#[test]
fn the_apex_of_a_signed_zone_carries_its_published_keys() {
    let key = |tag: u16, published: bool| ZoneKey {
        flags: ZoneKey::ZONE | ZoneKey::SECURE_ENTRY,
        algorithm: 13,
        tag,
        public: [tag as u8; 64].into(),
        signs_keys: true,
        signs_zone: true,
        published,
    };
    let signing = |cds: &[&[u8]]| ZoneSigning {
        keys: vec![key(7, true), key(8, false)],
        dnskey_ttl: 3600,
        denial: Denial::Compact,
        cds: cds.iter().map(|data| (*data).into()).collect(),
        cdnskey: Vec::new(),
        epoch: 1,
    };
    let mut signed = zone(&[("www", rtype::A, A)]);
    signed.signing = Some(signing(&[]).into());
    let apex = NameBuf::from_wire(signed.apex.wire()).unwrap();
    let compiled = compile(&signed).unwrap();
    assert_eq!(found(&compiled, "svc.example"), format!("{:?}", [rtype::SOA, rtype::NS, rtype::DNSKEY]));
    let Lookup::Owner(owner) = compiled.lookup(&apex) else { panic!("the apex is there") };
    let keys = owner.sets().find(|set| set.rtype() == rtype::DNSKEY).unwrap();
    let data: Vec<&[u8]> = keys.records().map(|record| record.data).collect();
    assert_eq!((keys.ttl(), data), (3600, vec![&[&[1, 1, 3, 13][..], &[7; 64]].concat()[..]]), "flags, protocol, algorithm, key");
    signed.signing = Some(signing(&[b"\0\x07\x0d\x02digest"]).into());
    assert_eq!(found(&compile(&signed).unwrap(), "svc.example"), format!("{:?}", [rtype::SOA, rtype::NS, rtype::DNSKEY, rtype::CDS]));
    let record = RecordSet { ttl: 60, rdata: vec![b"\x01\x01\x03\x0dx"[..].into()] };
    signed.records.insert((signed.apex.clone(), rtype::DNSKEY), record);
    let error = compile(&signed).unwrap_err();
    assert_eq!((error.name.as_str(), error.reason.contains("signed here")), ("svc.example.", true), "{error}");
}

/// A patched zone is what a zone compiled whole is, through hundreds of changes on top of each other, each of few names.
#[test]
fn a_zone_is_patched_as_it_would_be_compiled() {
    let apex = name("svc.example.");
    let mut whole = zone(&[
        ("www", rtype::A, A),
        ("*.wild", rtype::A, A),
        ("sub", rtype::NS, name("ns.sub.svc.example.").wire()),
        ("ns.sub", rtype::A, A),
        ("moved", rtype::DNAME, name("svc.example.").wire()),
    ]);
    let mut patched = compile(&whole).unwrap();
    let mut state = 1_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut made, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let owners =
            ["@", "www", "a.b.c", "b.c", "c", "x.wild", "*.wild", "y.x.wild", "*", "ns.sub", "deep.sub", "n.moved", "m1", "m2", "*.m3"];
        let count = 1 + draw(3);
        let mut next = whole.clone();
        next.soa.serial += 1;
        let mut changed = Vec::new();
        for _ in 0..count {
            let owner = Name::parse_relative(owners[draw(owners.len() as u64) as usize], Some(&apex)).unwrap();
            let to = Name::parse_relative(owners[draw(owners.len() as u64) as usize], Some(&apex)).unwrap();
            let (rtype, data) = match draw(6) {
                0 | 1 => (rtype::A, vec![192, 0, 2, draw(3) as u8]),
                2 => (rtype::MX, [&[0, 10], to.wire()].concat()),
                3 => (rtype::SRV, [&[0, 1, 0, 1, 0, 80], to.wire()].concat()),
                4 => (rtype::HTTPS, [&[0, 1], to.wire()].concat()),
                _ => (rtype::CNAME, to.wire().to_vec()),
            };
            let set = (draw(3) > 0).then(|| RecordSet { ttl: 60, rdata: vec![data.into()] });
            match &set {
                Some(set) => _ = next.records.insert((owner.clone(), rtype), set.clone()),
                None => _ = next.records.remove(&(owner.clone(), rtype)),
            }
            changed.retain(|(of, known, _)| (of, *known) != (&owner, rtype));
            changed.push((owner, rtype, set));
        }
        let sets = changed.iter().map(|(owner, rtype, set)| (owner, *rtype, set.as_ref().map(std::borrow::Cow::Borrowed))).collect();
        let outcome = patched.patched(&whole, &ZonePatch { sets, serial: next.soa.serial });
        match (compile(&next), outcome) {
            (Ok(compiled), Ok(Some(zone))) => {
                assert_eq!(zone.told(), compiled.told(), "{changed:?}");
                (whole, patched, made) = (next, zone, made + 1);
            }
            (Err(_), Err(_)) => refused += 1,
            (compiled, outcome) => panic!("{changed:?}: {:?}, but {:?}", compiled.err(), outcome.map(|zone| zone.is_some())),
        }
    }
    assert!(made > 500 && refused > 100, "{made} were made, {refused} refused");
    assert!(patched.besides.len() < 100 && patched.extras.len() < 100, "numbers are used again");
    // What only the whole zone tells is found when that is compiled: what concerns all names below, and keys of a zone that is signed here.
    let signing = ZoneSigning { keys: Vec::new(), cds: Vec::new(), cdnskey: Vec::new(), dnskey_ttl: 1, denial: Denial::Compact, epoch: 1 };
    let signed = Zone { signing: Some(signing.into()), ..whole.clone() };
    let set = RecordSet { ttl: 60, rdata: vec![[1, 0, 3, 13].into()] };
    let patch = |zone: &Zone| {
        patched.patched(zone, &ZonePatch { sets: vec![(&apex, rtype::CDS, Some(std::borrow::Cow::Borrowed(&set)))], serial: 1 })
    };
    assert!(matches!((patch(&signed), patch(&whole)), (Ok(None), Ok(Some(_)))));
    let below = Name::parse_relative("www", Some(&apex)).unwrap();
    for rtype in [rtype::NS, rtype::DNAME, rtype::SOA] {
        let patch = ZonePatch { sets: vec![(&below, rtype, None)], serial: 1 };
        assert!(matches!(patched.patched(&whole, &patch), Ok(None)));
    }
}

#[test]
fn hashes_of_other_parameters_are_left_alone() {
    const RRSIG: &[u8] = b"\x00\x06\x0d\x02\x00\x00\x00\x3c\x7f\x00\x00\x01\x00\x00\x00\x00\x00\x07\x03svc\x07example\x00x";
    let next = |salt: &[u8], iterations: u8| [&[1, 0, 0, iterations, salt.len() as u8], salt, &[20], &[7; 20]].concat();
    let (one, other) = (next(b"ab", 3), next(b"", 0));
    let labels = ["00000000000000000000000000000000", "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"];
    let begun: Vec<(&str, u16, &[u8])> = vec![
        ("@", rtype::RRSIG, RRSIG),
        ("@", rtype::NSEC, b"\x03svc\x07example\x00\x00\x01\x02"),
        (labels[0], rtype::NSEC3, &one),
        (labels[1], rtype::NSEC3, &other),
        ("www", rtype::A, A),
    ];
    let ring = |parameters: &[&[u8]]| {
        let with = parameters.iter().map(|parameters| ("@", rtype::NSEC3PARAM, *parameters));
        let compiled = compile(&zone(&begun.iter().copied().chain(with).collect::<Vec<_>>())).unwrap();
        let Some(Signer::Primary(proofs)) = compiled.signer() else { panic!("it came signed") };
        assert_eq!(proofs.expires(), 0x7f00_0001);
        let [first, last] = labels.map(|label| NameHash::of_label(label.as_bytes()).unwrap());
        proofs.hashes().map(|hashes| {
            let at = |hash| compiled.nsec3_around(hashes, hash).map(|(owner, is_at)| (owner.key()[1..].to_vec(), is_at)).unwrap();
            // Before the first comes the last, and behind the last nothing.
            let around = [at(first), at(last), at(first.next())];
            around.map(|(key, is_at)| (labels.iter().position(|label| *label.as_bytes() == *key).unwrap(), is_at))
        })
    };
    // RFC 5155 §10.4: without parameters the NSEC3 are not all there yet; §4.1.2: with flags they are not to be used.
    assert_eq!(ring(&[]), None);
    assert_eq!(ring(&[&[1, 1, 0, 0, 0]]), None);
    assert_eq!(ring(&[&[1, 0, 0, 9, 0]]), None, "none has these");
    assert_eq!(ring(&[&[1, 0, 0, 9, 0], &[1, 0, 0, 3, 2, b'a', b'b']]), Some([(0, true), (0, false), (0, false)]));
    assert_eq!(ring(&[&[1, 0, 0, 0, 0]]), Some([(1, false), (1, true), (1, false)]));
    // A hash is no name, and neither is anything below it.
    let compiled = compile(&zone(&begun)).unwrap();
    for name in [labels[0].to_string(), format!("x.{}", labels[0])] {
        assert_eq!(found(&compiled, &format!("{name}.svc.example")), "missing 0 false");
    }
    let many: [(&str, u16, &[u8]); 2] = [("@", rtype::NSEC3PARAM, &[1, 0, 1, 0, 0]), (labels[0], rtype::NSEC3, &[1, 0, 1, 0, 0, 20, 1])];
    let many = [&begun[..], &many].concat();
    assert!(compile(&zone(&many)).is_err_and(|error| error.reason.contains("256 further iterations")));
    // It is compiled whole, whatever changes.
    let whole = zone(&begun);
    let set = RecordSet { ttl: 60, rdata: vec![A.into()] };
    let owner = name("new.svc.example.");
    let patch = ZonePatch { sets: vec![(&owner, rtype::A, Some(std::borrow::Cow::Borrowed(&set)))], serial: 8 };
    assert!(matches!(compile(&whole).unwrap().patched(&whole, &patch), Ok(None)));
}
