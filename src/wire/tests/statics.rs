//! Static records: RFC 1034 §4.3.2, RFC 2308, RFC 4592, RFC 8482, RFC 9471.

use super::super::explain;
use super::world::{Asked, World, name, zone};
use crate::codec::code::rtype;

fn world() -> World {
    World::new(&[
        zone(
            "plain.example.",
            false,
            &[
                "@ MX 10 mail.plain.example.",
                "ns1 A 192.0.2.1",
                "mail A 192.0.2.25",
                "mail AAAA 2001:db8::25",
                "www A 192.0.2.80",
                "www A 192.0.2.81",
                "alias CNAME www.plain.example.",
                "alias2 CNAME alias.plain.example.",
                "outside CNAME www.elsewhere.test.",
                "dangling CNAME nothing.plain.example.",
                "other CNAME www.second.example.",
                "loop1 CNAME loop2.plain.example.",
                "loop2 CNAME loop1.plain.example.",
                "tosub CNAME host.child.plain.example.",
                "a.b.deep TXT here",
                "*.wild A 192.0.2.99",
                "real.wild TXT real",
                "*.cwild CNAME www.plain.example.",
                "child NS ns.child.plain.example.",
                "child NS ns1.plain.example.",
                "child NS ns.elsewhere.test.",
                "child DS x",
                "ns.child A 192.0.2.70",
                "insecure NS ns.elsewhere.test.",
                "*.ds DS x",
                "_sip._tcp SRV 0 5 5060 mail.plain.example.",
            ],
            &[],
        ),
        zone("second.example.", false, &["www A 192.0.2.90", "back CNAME alias.plain.example."], &[]),
        zone("inner.second.example.", false, &["www A 192.0.2.91"], &[]),
    ])
}

const SOA: &str = "auth: plain.example. 5 SOA ns1.plain.example. hostmaster.plain.example. 7 7200 900 1209600 5";

#[test]
fn static_names_are_answered_as_rfc_1034_says() {
    let nodata = format!("NOERROR aa {SOA}");
    let nxdomain = format!("NXDOMAIN aa {SOA}");
    let www = "www.plain.example. 60 A 192.0.2.80, www.plain.example. 60 A 192.0.2.81";
    let referral = "auth: child.plain.example. 60 NS ns.child.plain.example., child.plain.example. 60 NS ns1.plain.example., \
                    child.plain.example. 60 NS ns.elsewhere.test. add: ns.child.plain.example. 60 A 192.0.2.70, \
                    ns1.plain.example. 60 A 192.0.2.1";
    world().check(&[
        ("plain.example SOA", "NOERROR aa plain.example. 3600 SOA ns1.plain.example. hostmaster.plain.example. 7 7200 900 1209600 5"),
        ("plain.example NS", "NOERROR aa plain.example. 3600 NS ns1.plain.example. add: ns1.plain.example. 60 A 192.0.2.1"),
        (
            "plain.example MX",
            "NOERROR aa plain.example. 60 MX 10 mail.plain.example. add: mail.plain.example. 60 A 192.0.2.25, \
             mail.plain.example. 60 AAAA 2001:db8::25",
        ),
        ("plain.example A", &nodata),
        ("www.plain.example A", &format!("NOERROR aa {www}")),
        ("wWw.PLAIN.example A", &format!("NOERROR aa {}", www.replace("www.plain", "wWw.PLAIN"))),
        ("www.plain.example AAAA", &nodata),
        ("www.plain.example 65280", &nodata),
        ("www.plain.example ANY", &format!("NOERROR aa {www}")),
        ("deep.plain.example A", &nodata),
        ("b.deep.plain.example ANY", &nodata),
        ("a.b.deep.plain.example TXT", "NOERROR aa a.b.deep.plain.example. 60 TXT here"),
        ("c.b.deep.plain.example TXT", &nxdomain),
        ("nothing.plain.example A", &nxdomain),
        ("nothing.plain.example A noedns", &nxdomain),
        ("_tcp.plain.example SRV", &nodata),
        (
            "_sip._tcp.plain.example SRV",
            "NOERROR aa _sip._tcp.plain.example. 60 SRV 0 5 5060 mail.plain.example. add: mail.plain.example. 60 A 192.0.2.25, \
             mail.plain.example. 60 AAAA 2001:db8::25",
        ),
        ("x.y.wild.plain.example A", "NOERROR aa x.y.wild.plain.example. 60 A 192.0.2.99"),
        ("x.wild.plain.example TXT", &nodata),
        ("real.wild.plain.example A", &nodata),
        ("x.real.wild.plain.example A", &nxdomain),
        ("child.plain.example A", &format!("NOERROR {referral}")),
        ("child.plain.example NS", &format!("NOERROR {referral}")),
        ("x.child.plain.example ANY", &format!("NOERROR {referral}")),
        ("ns.child.plain.example A", &format!("NOERROR {referral}")),
        ("insecure.plain.example DS", &nodata),
    ]);
    // A wildcard is a wildcard for DS too (RFC 4592 §4.6).
    for owner in ["child.plain.example", "x.ds.plain.example"] {
        let ds = world().ask(&format!("{owner} DS"));
        assert!(ds.starts_with(&format!("NOERROR aa {owner}. 60 DS ")), "{ds}");
    }
}

#[test]
fn aliases_are_followed_within_our_zones() {
    let www = "www.plain.example. 60 A 192.0.2.80, www.plain.example. 60 A 192.0.2.81";
    world().check(&[
        ("alias.plain.example CNAME", "NOERROR aa alias.plain.example. 60 CNAME www.plain.example."),
        ("alias.plain.example A", &format!("NOERROR aa alias.plain.example. 60 CNAME www.plain.example., {www}")),
        ("alias.plain.example AAAA", &format!("NOERROR aa alias.plain.example. 60 CNAME www.plain.example. {SOA}")),
        (
            "alias2.plain.example A",
            &format!(
                "NOERROR aa alias2.plain.example. 60 CNAME alias.plain.example., alias.plain.example. 60 CNAME www.plain.example., {www}"
            ),
        ),
        ("x.cwild.plain.example A", &format!("NOERROR aa x.cwild.plain.example. 60 CNAME www.plain.example., {www}")),
        ("outside.plain.example A", "NOERROR aa outside.plain.example. 60 CNAME www.elsewhere.test."),
        ("dangling.plain.example A", &format!("NXDOMAIN aa dangling.plain.example. 60 CNAME nothing.plain.example. {SOA}")),
        ("other.plain.example A", "NOERROR aa other.plain.example. 60 CNAME www.second.example., www.second.example. 60 A 192.0.2.90"),
        (
            "back.second.example A",
            &format!(
                "NOERROR aa back.second.example. 60 CNAME alias.plain.example., alias.plain.example. 60 CNAME www.plain.example., {www}"
            ),
        ),
        (
            "loop1.plain.example A",
            "NOERROR aa loop1.plain.example. 60 CNAME loop2.plain.example., loop2.plain.example. 60 CNAME loop1.plain.example.",
        ),
        (
            "tosub.plain.example A",
            "NOERROR aa tosub.plain.example. 60 CNAME host.child.plain.example. auth: child.plain.example. 60 NS ns.child.plain.example., \
             child.plain.example. 60 NS ns1.plain.example., child.plain.example. 60 NS ns.elsewhere.test. add: \
             ns.child.plain.example. 60 A 192.0.2.70, ns1.plain.example. 60 A 192.0.2.1",
        ),
        ("www.inner.second.example A", "NOERROR aa www.inner.second.example. 60 A 192.0.2.91"),
    ]);
}

#[test]
fn the_ds_of_a_child_is_the_parents() {
    let parent = zone("plain.example.", false, &["child NS ns1.child.plain.example.", "child DS x"], &[]);
    let mut world = World::new(&[parent, zone("child.plain.example.", false, &[], &[]), zone("lone.plain.example.", false, &[], &[])]);
    let ds = world.ask("child.plain.example DS");
    assert!(ds.starts_with("NOERROR aa child.plain.example. 60 DS "), "{ds}");
    let lone = "auth: lone.plain.example. 5 SOA ns1.lone.plain.example. hostmaster.lone.plain.example. 7 7200 900 1209600 5";
    world.check(&[
        ("child.plain.example NS", "NOERROR aa child.plain.example. 3600 NS ns1.child.plain.example."),
        ("lone.plain.example DS", &format!("NOERROR aa {lone}")),
    ]);
}

#[test]
fn a_long_chain_of_aliases_ends() {
    let records: Vec<String> = (0..20).map(|n| format!("a{n} CNAME a{}.plain.example.", n + 1)).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let mut world = World::new(&[zone("plain.example.", false, &records, &[])]);
    let reply = world.ask("a0.plain.example A");
    assert_eq!(reply.matches("CNAME").count(), 17, "{reply}");
    assert_eq!(world.counted(), "answered=1");
}

#[test]
fn a_dname_and_its_cname_are_written_with_pointers_where_they_may_be() {
    let records = ["old DNAME new.plain.example.", "away DNAME elsewhere.test.", "a.new CNAME b.old.plain.example.", "b.new A 192.0.2.9"];
    let mut world = World::new(&[zone("plain.example.", false, &records, &[])]);
    let mut check = |question: &str, expected: &[u8]| {
        let asked = Asked::read(question);
        let reply = world.send(&asked.octets(), asked.peer, asked.transport).unwrap();
        assert_eq!(&reply[asked.question_end()..], expected, "{question}");
    };
    // The question's name begins at 12: `a` 12, `old` 14, `plain.example` 18. The DNAME's own data is spelled out (RFC 3597 §4).
    let dname = b"\xc0\x0e\x00\x27\x00\x01\x00\x00\x00\x3c\x00\x13\x03new\x05plain\x07example\x00";
    check(
        "a.old.plain.example A noedns",
        &[
            &dname[..],
            b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x08\x01a\x03new\xc0\x12",
            // The alias stands in the data of the CNAME before, at 37 + 31 + 12.
            b"\xc0\x50\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x08\x01b\x03old\xc0\x12",
            b"\xc0\x64\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x08\x01b\x03new\xc0\x12",
            b"\xc0\x78\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x09",
        ]
        .concat(),
    );
    check(
        "a.away.plain.example A noedns",
        &[
            &b"\xc0\x0e\x00\x27\x00\x01\x00\x00\x00\x3c\x00\x10\x09elsewhere\x04test\x00"[..],
            b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x12\x01a\x09elsewhere\x04test\x00",
        ]
        .concat(),
    );
}

#[test]
fn names_in_the_additional_section_are_pointers_to_those_before() {
    let records = ["@ MX 10 a.plain.example.", "@ MX 20 b.plain.example.", "@ MX 30 a.plain.example.", "a A 192.0.2.9", "b A 192.0.2.10"];
    let sub = ["sub NS ns.sub.plain.example.", "ns.sub A 192.0.2.11"];
    let mut world = World::new(&[zone("plain.example.", false, &[&records[..], &sub].concat(), &[])]);
    let mut check = |question: &str, expected: &[u8]| {
        let asked = Asked::read(question);
        let reply = world.send(&asked.octets(), asked.peer, asked.transport).unwrap();
        assert_eq!(&reply[asked.question_end()..], expected, "{question}");
    };
    // The question ends at 31; a record's data begins 12 behind its start, the name in it 2 further on.
    check(
        "plain.example MX noedns",
        &[
            &b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x06\x00\x0a\x01a\xc0\x0c"[..],
            b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x06\x00\x14\x01b\xc0\x0c",
            b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x06\x00\x1e\x01a\xc0\x0c",
            b"\xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x09",
            b"\xc0\x3f\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x0a",
        ]
        .concat(),
    );
    check(
        "sub.plain.example A noedns",
        &[
            &b"\xc0\x0c\x00\x02\x00\x01\x00\x00\x00\x3c\x00\x09\x02ns\x03sub\xc0\x10"[..],
            b"\xc0\x2f\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x0b",
        ]
        .concat(),
    );
}

#[test]
fn explain_tells_where_a_dname_leads() {
    let records = ["old DNAME new.plain.example.", "www.new A 192.0.2.9"];
    let world = World::new(&[zone("plain.example.", false, &records, &[])]);
    let told = explain(&world.snapshot, &name("www.old.plain.example."), rtype::A, "192.0.2.250".parse().unwrap(), 0);
    let names: Vec<String> = told.names.iter().map(|name| format!("{} {:?}", name.name, name.kind)).collect();
    assert_eq!(names, ["www.old.plain.example. Redirected", "www.new.plain.example. Static"]);
    let answer: Vec<String> = told.answer.iter().map(|record| format!("{} {} {}", record.name, record.r#type, record.data)).collect();
    let expected = [
        "old.plain.example. DNAME new.plain.example.",
        "www.old.plain.example. CNAME www.new.plain.example.",
        "www.new.plain.example. A 192.0.2.9",
    ];
    assert_eq!(answer, expected);
}

#[test]
fn one_outcome_is_counted_for_each_query() {
    let mut world = world();
    for question in ["www.plain.example A", "www.plain.example AAAA", "x.plain.example A", "child.plain.example A", "elsewhere.test A"] {
        world.ask(question);
    }
    assert_eq!(world.counted(), "answered=1 nodata=1 nxdomain=1 referral=1 refused=1");
}
