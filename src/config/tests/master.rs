//! Master files as others write them, and what is said about those that are wrong.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{load, name};
use crate::config::finding::Notes;
use crate::config::{copied_text, master, zone_text};
use crate::model::Soa;

const HEAD: &str = "$TTL 300\n@ SOA ns hostmaster 1 2h 1h 2w 60\n@ NS ns\nns A 192.0.2.1\n";

/// Behind a head of four lines: the records as `owner type ttl octets`, those of the head left out.
fn read(text: &str) -> Result<Vec<String>, Vec<String>> {
    let plain = |f: &crate::config::Finding| f.to_string().trim_start_matches("svc.example.zone:").to_string();
    let (zone, _) = zone_text("svc.example.zone", &format!("{HEAD}{text}")).map_err(|all| all.iter().map(plain).collect::<Vec<_>>())?;
    let mut shown = Vec::new();
    for ((owner, number), set) in zone.records.iter().filter(|((owner, _), _)| *owner != name("ns.svc.example.")) {
        let owner = owner.to_string();
        let owner = owner.strip_suffix(".svc.example.").unwrap_or("@");
        shown.extend(set.rdata.iter().map(|data| format!("{owner} {number} {} {}", set.ttl, data.escape_ascii())));
    }
    Ok(shown)
}

fn good(text: &str, expected: &[&str]) {
    assert_eq!(read(text), Ok(expected.iter().map(|e| e.to_string()).collect()), "{text}");
}

fn wrong(text: &str, expected: &[&str]) {
    assert_eq!(read(text), Err(expected.iter().map(|e| e.to_string()).collect()), "{text}");
}

#[test]
fn master_files() {
    let text = "$TTL 1h\n@ IN SOA ns2 host.example.org. ( 7 ; serial\n 2h 1h 2w 60 )\n  NS ns1\n  NS ns2\n\
                ns1 A 192.0.2.1\nns2 300 IN A 192.0.2.2\n  IN 600 A 192.0.2.3\n$ORIGIN sub.svc.example.\na CNAME b\n@ TXT \"x y\" z\n";
    let (loaded, warnings) = load(&[("zones/svc.example.zone", text)]).unwrap();
    let zone = &loaded.zones[0];
    assert_eq!((zone.soa.serial, zone.ttl.negative.millis(), zone.services), (7, 60_000, false));
    assert_eq!(zone.ns, [name("ns1.svc.example."), name("ns2.svc.example.")]);
    let soa = Soa {
        ttl: 3600,
        refresh: 7200,
        retry: 3600,
        expire: 1_209_600,
        own_serial: true,
        ..Soa::new(name("ns2.svc.example."), name("host.example.org."), 7)
    };
    assert_eq!((&zone.soa, zone.ns_ttl), (&soa, 3600));
    assert_eq!(zone.records[&(name("ns2.svc.example."), 1)].rdata.len(), 2);
    assert_eq!(zone.records[&(name("ns2.svc.example."), 1)].ttl, 300);
    assert_eq!(zone.records[&(name("a.sub.svc.example."), 5)].rdata[0].as_ref(), name("b.sub.svc.example.").wire());
    assert_eq!(zone.records[&(name("sub.svc.example."), 16)].rdata[0].as_ref(), b"\x03x y\x01z");
    assert_eq!(
        warnings,
        [
            "zones/svc.example.zone:8: ns2.svc.example. A: the records of an RRset have one TTL; the least, 300, is answered",
            "zones/svc.example.zone:10: a.sub.svc.example. CNAME: leads to b.sub.svc.example., which does not exist in zones/svc.example.zone",
        ]
    );

    let wrong = "  A 192.0.2.1\n@ SOA ns. h. 1 2 3 4 5\n@ NS ns.\n@ SOA ns. h. 1 2 3 4 5\n$INCLUDE x\nwww CH TXT x\nwww 5m5 A 192.0.2.1\n\
                 www AA x\nwww A\nother. A 192.0.2.1\nx CNAME y\nx TXT \"a\nb A 192.0.2.1\n";
    let said = load(&[("zones/svc.example.zone", wrong)]).map(|_| ()).unwrap_err();
    // What cannot be split into words ends the reading, and what was found before is said.
    assert_eq!(said.last().map(String::as_str), Some("zones/svc.example.zone:12: a quote is not closed on its line"));
    let said = load(&[("zones/svc.example.zone", &wrong.replace("\"a", "a"))]).map(|_| ()).unwrap_err();
    assert_eq!(
        said,
        [
            "zones/svc.example.zone:1: the first record has no owner name",
            "zones/svc.example.zone:4: @: a second SOA; the first is in line 2",
            "zones/svc.example.zone:5: $INCLUDE: zones/x: No such file or directory (os error 2)",
            "zones/svc.example.zone:6: www: class CH is not served; only IN is",
            "zones/svc.example.zone:7: www: a TTL of at most 2147483647 s is expected, such as 300 or 1h30m, not \"5m5\"",
            "zones/svc.example.zone:8: www: unknown record type \"AA\"; did you mean `A`?",
            "zones/svc.example.zone:9: www: address: is missing; A is written \"192.0.2.1\"",
            "zones/svc.example.zone:10: other.: other. is not in the zone svc.example.",
            "zones/svc.example.zone:11: x.svc.example. CNAME: an alias is the only record of its name, and x.svc.example. has TXT too",
        ]
    );
}

#[test]
fn forms_of_an_entry() {
    for text in [
        "a TXT x",
        "a\tIN\tTXT\tx\r\n",
        "a 300 IN TXT x ; comment",
        "a IN 5m TXT x",
        "a CLASS1 300 TYPE16 \\# 2 01 78",
        "a class1 type16 (\\# 2\n 0178)",
        "a (TXT\n x)",
        "a TXT(x)",
        "A.Svc.Example. txt \"x\"",
        "$ORIGIN example.\na.svc TXT x",
        "$ORIGIN a\n@ TXT x",
        "\\097 TXT \\x",
    ] {
        good(text, &[r"a 16 300 \x01x"]);
    }
    good("$TTL 1w2d3h4m5s\na TXT x", &[r"a 16 788645 \x01x"]);
    // A number at the begin is an owner; behind a blank it is a TTL.
    good("10 PTR x.\n 300 TXT y", &[r"10 12 300 \x01x\x00", r"10 16 300 \x01y"]);
    good("in TXT x\n  IN TXT y\ntxt IN TXT ttl", &[r"in 16 300 \x01x", r"in 16 300 \x01y", r"txt 16 300 \x03ttl"]);
    good(r#"a\.b\032\$ TXT \"(\;) "\000\"" "é""#, &[r#"a\.b\032\$ 16 300 \x01\"\x01;\x02\x00\"\x02\xc3\xa9"#]);
    good("\\$TTL TXT x", &[r"\$ttl 16 300 \x01x"]);
    // RFC 1035 §5.1: without TTL, that of the record before; without any, MINIMUM, as in BIND.
    let bare = "@ SOA ns.x. h 1 2h 1h 2w 60\n@ NS ns.x.\na TXT x\nb 7 TXT y\nc TXT z";
    let (zone, _) = zone_text("svc.example.zone", bare).unwrap();
    let ttl = |owner: &str| zone.records[&(name(owner), 16)].ttl;
    assert_eq!((ttl("a.svc.example."), ttl("b.svc.example."), ttl("c.svc.example."), zone.ns_ttl, zone.soa.ttl), (60, 7, 7, 60, 60));
    assert!(zone_text("svc.example.zone", &format!("\u{feff}{bare}")).is_ok());
}

#[test]
fn what_is_wrong_with_an_entry() {
    wrong("a IN IN TXT x", &["5: a: unknown record type \"IN\"; did you mean `IPN`?"]);
    wrong("a CLASS3 TXT x", &["5: a: class CLASS3 is not served; only IN is"]);
    wrong("a NONE TXT x", &["5: a: class NONE is not served; only IN is"]);
    wrong("a 1h1 TXT x", &["5: a: a TTL of at most 2147483647 s is expected, such as 300 or 1h30m, not \"1h1\""]);
    wrong("a 4294967296 TXT x", &["5: a: a TTL of at most 2147483647 s is expected, such as 300 or 1h30m, not \"4294967296\""]);
    wrong("a\n", &["5: a: a type and data are expected, such as: www 300 IN A 192.0.2.1"]);
    wrong(
        "$TTLS 5\n$TTL\n$ORIGIN a b",
        &[
            "5: $TTLS: unknown directive; known are $ORIGIN, $TTL, $INCLUDE and $GENERATE",
            "6: $TTL: one value is expected",
            "7: $ORIGIN: one value is expected",
        ],
    );
    wrong("a TXT x\nb TXT \"x\ny\"", &["6: a quote is not closed on its line"]);
    wrong("a TXT x\nb TXT (x\n\n", &["6: a '(' is not closed"]);
    // One finding for each type of signature, however many there are.
    let signed = "a RRSIG A 13 3 300 x\nb RRSIG A 13\n@ DNSKEY 257 3 13 AQID\na NSEC b A\nb NSEC c A";
    wrong(
        signed,
        &[
            "5: a: RRSIG: the zone is signed by another program, whose signatures would not fit these answers; load the unsigned zone",
            "8: a: NSEC: the zone is signed by another program, whose signatures would not fit these answers; load the unsigned zone",
        ],
    );
    let many = read(&"a A x\n".repeat(2000)).unwrap_err();
    assert_eq!(many.len(), 1001);
    assert!(many.contains(&"1004: reading ends here, after 1000 findings".to_string()));
}

#[test]
fn what_a_primary_has_signed_is_taken() {
    let octets = |rtype: u16, data: &[u8]| {
        let digits: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("TYPE{rtype} \\# {} {digits}\n", data.len())
    };
    let copied = |lines: &str| {
        let read = copied_text("svc.example.zone", &format!("{HEAD}{lines}"));
        read.map_err(|all| all.into_iter().map(|finding| finding.reason).collect::<Vec<_>>().join("; "))
    };
    // RRSIGs of an alias, of its NSEC, with TTLs of their own.
    let rrsig = |rtype: u8, ttl: u8| [&[0, rtype, 13, 3, 0, 0, 0, ttl], &[0; 10][..], b"\x03Svc\x07example\0", &[7; 64]].concat();
    let nsec = b"\x01B\x03svc\x07example\0\0\x06\x04\0\0\0\0\x03";
    let lines =
        format!("a CNAME b\nb A 192.0.2.1\na 60 {}a 30 {}a 30 {}", octets(46, &rrsig(5, 60)), octets(46, &rrsig(47, 30)), octets(47, nsec));
    let (zone, warnings) = copied(&lines).unwrap();
    let set = |rtype: u16| &zone.records[&(name("a.svc.example."), rtype)].rdata;
    assert_eq!((set(46).len(), &*set(46)[0], &*set(47)[0]), (2, &*rrsig(5, 60), &nsec[..]));
    assert!(warnings.iter().all(|warning| !warning.field.starts_with("a.")), "{warnings:?}");
    assert!(!zone.is_signed_elsewhere(), "its apex is not signed");
    assert!(copied(&format!("@ {}", octets(46, &rrsig(6, 60)))).unwrap().0.is_signed_elsewhere());
    // What is none of it, and what would cost too much.
    let hashed = |iterations: u8, salt: usize| [&[1, 0, 0, iterations, salt as u8], &*vec![9; salt]].concat();
    let next = |length: u8| [&[length][..], &vec![3; length.into()], &[0, 1, 0x40]].concat();
    for (rtype, data, wrong) in [
        (46, rrsig(1, 60)[..31].to_vec(), "no RRSIG"),
        (46, b"\0\x01".to_vec(), "no RRSIG"),
        (47, b"\x01b\0\0\x01".to_vec(), "no NSEC"),
        (47, b"\x01b".to_vec(), "no NSEC"),
        (50, [hashed(0, 0), next(20)].concat(), ""),
        (50, [hashed(100, 35), next(20)].concat(), ""),
        (50, [hashed(101, 35), next(20)].concat(), "101 further iterations"),
        (50, [hashed(51, 36), next(20)].concat(), "102 blocks"),
        (50, [hashed(0, 0), next(19)].concat(), "20 octets"),
        (50, [hashed(0, 0), vec![20, 1]].concat(), "no NSEC3"),
        (50, vec![1, 0, 0, 0], "salt"),
        (51, hashed(0, 8), ""),
        (51, hashed(0, 8)[..8].to_vec(), "cut off"),
        (51, [hashed(0, 8), vec![1]].concat(), "no NSEC3PARAM"),
        (51, hashed(250, 0), "RFC 9276"),
    ] {
        let read = copied(&format!("a {}", octets(rtype, &data))).map(drop);
        match wrong {
            "" => assert_eq!(read, Ok(()), "{rtype} {data:?}"),
            wrong => assert!(read.as_ref().is_err_and(|said| said.contains(wrong)), "{rtype} {data:?}: {read:?}"),
        }
    }
}

/// A file that was named by mistake may hold anything.
#[test]
fn words_of_megabytes_are_not_repeated() {
    let long = "é".repeat(1 << 20);
    for text in [format!("{long} A 192.0.2.1"), format!("a {long} x"), format!("a A {long}"), format!("${long} x")] {
        let said = read(&text).unwrap_err();
        assert!(said[0].len() < 4200 && said[0].contains(" octets)"), "{} octets", said[0].len());
    }
}

#[test]
fn generated_records() {
    good("$GENERATE 1-5/2 h$ 60 IN A 192.0.2.$", &[r"h1 1 60 \xc0\x00\x02\x01", r"h3 1 60 \xc0\x00\x02\x03", r"h5 1 60 \xc0\x00\x02\x05"]);
    // As BIND has it, a text in quotes is what is in them.
    good("$GENERATE 7-7 h TXT \"a \\\"b $\\\"\"", &[r"h 16 300 \x01a\x03b 7"]);
    good("$ORIGIN r\n$GENERATE 7-7 ${1,2} MX 10 m-${0,3,x}", &[r"08.r 15 300 \x00\n\x05m-007\x01r\x03svc\x07example\x00"]);
    good("$GENERATE 10-10 ${0,3,n} PTR h.", &[r"a.0 12 300 \x01h\x00"]);
    wrong(
        "$GENERATE 1-3 h$ A 192.0.2.${253}\n$GENERATE 1-x h A 192.0.2.1\n$GENERATE 1-2 h\n$GENERATE 0-65536 a A 192.0.2.1",
        &[
            "5: $GENERATE: for 3: address: an IPv4 address is expected, not \"192.0.2.256\"; A is written \"192.0.2.1\"",
            "6: $GENERATE: a range such as 1-100 or 0-254/2 is expected, not \"1-x\"",
            "7: $GENERATE: a type and data are expected, such as: www 300 IN A 192.0.2.1",
            "8: $GENERATE: at most 65536 records are made by one $GENERATE, not 65537",
        ],
    );
    wrong("$GENERATE 1-1 h A", &["5: $GENERATE: the record data is missing"]);
    wrong("$GENERATE 1-1 h.other. A 192.0.2.1", &["5: $GENERATE: for 1: h.other. is not in the zone svc.example."]);
    let all = "$GENERATE 0-65535 h$ A 192.0.2.1\n".repeat(2);
    wrong(&all, &["6: $GENERATE: at most 70000 records of a zone are made by $GENERATE"]);
    let large = format!("$GENERATE 0-65535 h$ TXT{}\n", format!(" {}", "x".repeat(250)).repeat(200));
    wrong(&large, &["5: $GENERATE: a zone is at most 256 MiB of text with all that it includes, and that which $GENERATE writes"]);
}

#[test]
fn included_files() {
    let zone = "$TTL 300\n@ SOA ns h 1 3 2 9 5\n@ NS ns\nns A 192.0.2.1\n$INCLUDE parts/hosts.inc sub\n A 192.0.2.2\nrel A 192.0.2.3\n\
                $INCLUDE \"parts/more.inc\" ; as it is\nend A 192.0.2.4\n";
    let hosts = " TXT inherits\n@ A 192.0.2.10\nh A 192.0.2.11\n$INCLUDE more.inc\n$ORIGIN elsewhere.svc.example.\nx A 192.0.2.12\n";
    let more = "more TXT x\n$TTL 60\n";
    let files = [("zones/svc.example.zone", zone), ("zones/parts/hosts.inc", hosts), ("zones/parts/more.inc", more)];
    let (loaded, warnings) = load(&files).unwrap();
    let records: Vec<String> =
        loaded.zones[0].records.iter().map(|((owner, number), set)| format!("{owner} {number} {}", set.ttl)).collect();
    let expected = [
        "end.svc.example. 1 60",
        "more.sub.svc.example. 16 300",
        "h.sub.svc.example. 1 300",
        "ns.svc.example. 1 60",
        "ns.svc.example. 16 300",
        "more.svc.example. 16 60",
        "rel.svc.example. 1 60",
        "sub.svc.example. 1 300",
        "x.elsewhere.svc.example. 1 60",
    ];
    assert_eq!(BTreeSet::from_iter(records.iter().map(String::as_str)), BTreeSet::from(expected));
    let of_rrsets = |warnings: Vec<String>| Vec::from_iter(warnings.into_iter().filter(|w| w.contains("RRset") || w.contains("twice")));
    let warnings = of_rrsets(warnings);
    assert_eq!(warnings, ["zones/svc.example.zone:6: ns.svc.example. A: the records of an RRset have one TTL; the least, 60, is answered"]);

    // A file beside the zone that a zone includes is no stray file; findings and warnings have the name and line of their file.
    let zone = "@ SOA ns h 1 3 2 9 5\n@ NS ns\nns A 192.0.2.1\n$INCLUDE svc.hosts\n";
    let good = [("zones/svc.example.zone", zone), ("zones/svc.hosts", "\na 5 A 192.0.2.1\na 5 A 192.0.2.1\n")];
    assert_eq!(of_rrsets(load(&good).unwrap().1), ["zones/svc.hosts:3: a.svc.example. A: stands twice, and is answered once"]);
    let refused = |hosts: &str, expected: &[&str]| {
        let said = load(&[("zones/svc.example.zone", zone), ("zones/svc.hosts", hosts)]).map(|_| ()).unwrap_err();
        assert_eq!(said, expected, "{hosts}");
    };
    refused(
        "\na A x\n@ SOA a. b. 1 2 3 4 5\n",
        &[
            "zones/svc.hosts:2: a: address: an IPv4 address is expected, not \"x\"; A is written \"192.0.2.1\"",
            "zones/svc.hosts:3: @: a second SOA; the first is in line 1",
        ],
    );
    refused("a TXT \"", &["zones/svc.hosts:1: a quote is not closed on its line"]);
    refused("$INCLUDE svc.hosts", &["zones/svc.hosts:1: $INCLUDE: zones/svc.hosts would include itself"]);
    refused("$INCLUDE none", &["zones/svc.hosts:1: $INCLUDE: zones/none: No such file or directory (os error 2)"]);
    refused("$INCLUDE .", &["zones/svc.hosts:1: $INCLUDE: zones/.: is no file"]);
    refused(
        "$INCLUDE \"\"\n$INCLUDE",
        &[
            "zones/svc.hosts:1: $INCLUDE: the name of a file is expected",
            "zones/svc.hosts:2: $INCLUDE: a file is expected, and the origin in it if that is another: $INCLUDE hosts.inc sub",
        ],
    );
    refused(
        "a CNAME b\na A 192.0.2.1\n",
        &["zones/svc.hosts:1: a.svc.example. CNAME: an alias is the only record of its name, and a.svc.example. has A too"],
    );
}

/// Reads a zone whose files come from `include`.
fn included(zone: &str, mut include: impl FnMut(&Path) -> io::Result<String>) -> (usize, Vec<String>) {
    let mut notes = Notes::default();
    let draft = master::read(
        "z/svc.example.zone",
        &format!("{HEAD}{zone}"),
        &name("svc.example."),
        master::From::Operator,
        &mut |path| include(path).map(Arc::from),
        &mut notes,
    );
    let files = draft.map_or(0, |draft| draft.included.len());
    (files, notes.findings.iter().map(|f| f.to_string()).collect())
}

#[test]
fn files_within_files_have_bounds() {
    // Each file includes another one.
    let mut n = 0;
    let (files, said) = included("$INCLUDE 0", |_| {
        n += 1;
        Ok(format!("$INCLUDE {n}\n"))
    });
    assert_eq!((files, said), (8, vec!["z/7:1: $INCLUDE: files are included to a depth of 8 at most".to_string()]));
    let (files, said) = included("$INCLUDE a", |path| {
        let many = path.ends_with("a");
        Ok(if many { "$INCLUDE b\n".repeat(10_001) } else { String::new() })
    });
    assert_eq!((files, said.len(), said[0].as_str()), (10_000, 2, "z/a:10000: $INCLUDE: a zone is read from 10000 files at most"));
    let (_, said) = included("$INCLUDE a\n", |_| Ok(" ".repeat(master::MAX_TEXT)));
    assert_eq!(said, ["z/a: a zone is at most 256 MiB of text with all that it includes"]);
    let alone = read("$INCLUDE hosts.inc").unwrap_err();
    assert_eq!(alone, ["5: $INCLUDE: hosts.inc: nothing is included here: the zone is one text"]);
}

/// How long a million names take to read; printed, not judged: `cargo test --release --lib a_million -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_million_names() {
    for step in [1u32, 611_953] {
        // In order, and in none.
        let mut text = HEAD.to_string();
        for n in 0..1_000_000u32 {
            let n = n.wrapping_mul(step) % 1_000_000;
            text += &format!("host-{n:07} 300 IN A 10.{}.{}.{}\n", n >> 16 & 255, n >> 8 & 255, n & 255);
        }
        let begin = std::time::Instant::now();
        let mut none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let draft =
            master::read("svc.example.zone", &text, &name("svc.example."), master::From::Operator, &mut none, &mut Notes::default());
        let read = begin.elapsed();
        let sets = draft.map_or(0, |draft| draft.zone.records.len());
        let begin = std::time::Instant::now();
        let checked = zone_text("svc.example.zone", &text).map(|(zone, _)| zone.records.len());
        println!("{} MB, {sets} RRsets: read in {read:?}; with all checks {:?}", text.len() >> 20, begin.elapsed());
        assert_eq!(checked, Ok(1_000_001));
    }
}

proptest! {
    /// Pieces of master files in any order: reading ends, and every finding has its line.
    #[test]
    fn any_master_file_is_read_or_refused(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "a", "@", " ", "\n", "\n ", "\t", "\r\n", "(", ")", "\"", "\\", ";", "$ORIGIN ", "$TTL ", "$INCLUDE ", "$GENERATE ", "1-9 ",
            "0-65535/7 ", "$", "${1,3,n}", "${-9,2,x} ", "300 ", "1h ", "IN ", "CLASS1 ", "CH ", "A ", "192.0.2.1", "192.0.2.$", "TXT ", "MX ",
            "TYPE65280 ", "\\# ", "2 ", "0102", "SOA ", "NS ", "RRSIG ", "LOC ", "HTTPS ", "alpn=", "x.example. ", "sub ", "\\255", "é", "\u{feff}",
        ]), 0..60),
    ) {
        let text = pieces.concat();
        let mut depth = 0;
        let (_, said) = included(&text, |_| {
            depth += 1;
            if depth < 4 { Ok(text.clone()) } else { Err(io::ErrorKind::NotFound.into()) }
        });
        prop_assert!(said.iter().all(|finding| finding.starts_with("z/")), "{said:?}");
    }
}
