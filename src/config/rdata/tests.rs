//! Record data as text, and the octets it becomes.

use hickory_proto::rr::RData;
use hickory_proto::serialize::binary::BinEncodable;

use super::*;

fn origin() -> Name {
    Name::parse("svc.example.").unwrap()
}

fn wire(rtype: &str, text: &str) -> Result<Vec<u8>, String> {
    parse_record(rtype, text, &origin()).map(|(_, rdata)| rdata.to_vec())
}

#[test]
fn what_hickory_can_read_is_read_alike() {
    for (rtype, text) in [
        ("A", "192.0.2.1"),
        ("AAAA", "2001:db8::1"),
        ("CNAME", "www.example."),
        ("NS", "ns1.example."),
        ("PTR", "www.example."),
        ("MX", "10 mail.example."),
        ("SRV", "10 100 443 www.example."),
        ("TXT", "\"a b\" \"c\""),
        ("HINFO", "\"PC\" \"Linux\""),
        ("CAA", "0 issue \"ca.example\""),
        ("CAA", "128 iodef \"mailto:a@example\""),
        ("TLSA", "3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971"),
        ("SSHFP", "4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789"),
        ("NAPTR", "10 100 \"S\" \"SIP+D2U\" \"\" _sip._udp.example."),
        ("OPENPGPKEY", "AQIDBA=="),
        ("HTTPS", "1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1"),
        ("SVCB", "16 pool.example. mandatory=alpn,port alpn=h2 no-default-alpn port=53 ech=AQIDBA=="),
        ("HTTPS", "0 www.example."),
    ] {
        let (number, ours) = parse_record(rtype, text, &origin()).unwrap_or_else(|e| panic!("{rtype} {text}: {e}"));
        let theirs = RData::try_from_str(number.into(), text).unwrap().to_bytes().unwrap();
        assert_eq!(ours.to_vec(), theirs, "{rtype} {text}");
        // And the octets, written as RFC 3597 has it, are the same record.
        let octets: String = ours.iter().map(|o| format!("{o:02x}")).collect();
        assert_eq!(wire(&format!("TYPE{number}"), &format!("\\# {} {octets}", ours.len())).unwrap(), theirs, "{rtype} {text}");
    }
}

#[test]
fn texts_names_and_escapes() {
    let check = |rtype: &str, text: &str, expected: &[u8]| assert_eq!(wire(rtype, text).as_deref(), Ok(expected), "{rtype} {text}");
    check("txt", "v=spf1 ip4:192.0.2.0/24; -all", b"\x1dv=spf1 ip4:192.0.2.0/24; -all");
    check("TXT", "", b"\0");
    check("TXT", r#""a\"b" "\200\001""#, b"\x03a\"b\x02\xc8\x01");
    check("CNAME", "www", b"\x03www\x03svc\x07example\0");
    check("CNAME", "@", b"\x03svc\x07example\0");
    check("MX", "0 .", b"\0\0\0");
    check("SOA", "a. b. 1 2h 1h 2w 5m", b"\x01a\0\x01b\0\0\0\0\x01\0\0\x1c\x20\0\0\x0e\x10\0\x12\x75\0\0\0\x01\x2c");
    check("DNAME", "Other.Example.", b"\x05other\x07example\0");
    check("URI", "10 1 \"https://a/\"", b"\0\x0a\0\x01https://a/");
    check("TYPE65280", "\\# 3 01 02 03", b"\x01\x02\x03");
    check("TYPE65280", "\\# 0", b"");
    check(
        "HTTPS",
        r#"1 www key667="a\255" alpn="h2,f\\,oo""#,
        b"\0\x01\x03www\x03svc\x07example\0\0\x01\0\x08\x02h2\x04f,oo\x02\x9b\0\x02a\xff",
    );
    let long = wire("TXT", &"x".repeat(300)).unwrap();
    assert_eq!((long.len(), long[0], long[256]), (302, 255, 45));
}

#[test]
fn what_is_wrong_is_said() {
    let check = |rtype: &str, text: &str, expected: &str| {
        let said = wire(rtype, text).unwrap_err();
        assert!(said.contains(expected), "{rtype} {text}: {said}");
    };
    check("A", "192.0.2.256", "address: an IPv4 address is expected, not \"192.0.2.256\"; A is written \"192.0.2.1\"");
    check("A", "", "address: is missing");
    check("A", "192.0.2.1 192.0.2.2", "\"192.0.2.2\" is too much");
    check("AAAA", "192.0.2.1", "an IPv6 address");
    check("MX", "mail.example.", "preference: a whole number from 0 to 65535 is expected, not \"mail.example.\"");
    check("MX", "10", "mail server: is missing; MX is written \"10 mail.example.\"");
    check("CNAME", "a..b.", "empty");
    check("TXT", &format!("\"{}\"", "x".repeat(256)), "at most 255 octets");
    check("TXT", "\"a", "not closed");
    check("CAA", "0 issue ca.example; policy=ev", "put the text that holds it in quotes");
    check("DS", "1 13 2 ABC", "hex digits");
    check("OPENPGPKEY", "AQIDBA", "base64");
    check("AAA", "x", "did you mean `");
    check("NOSUCHTYPE", "x", "TYPE123");
    check("ANY", "x", "no type of stored data");
    check("TYPE255", "\\# 0", "no type of stored data");
    check("TYPE65280", "x", "RFC 3597");
    check("A", "\\# 3 010203", "no A record");
    check("MX", "\\# 4 000ac000", "no MX record");
    check("A", "\\# 4 0102", "4 octets are announced, 2 are given");
    check("HTTPS", "1 . alpn=h2 alpn=h3", "alpn stands twice");
    check("HTTPS", "1 . mandatory=port alpn=h2", "`mandatory` names port");
    check("HTTPS", "1 . no-default-alpn", "needs `alpn`");
    check("HTTPS", "1 . prot=443", "did you mean `port`?");
    check("HTTPS", "1 . ipv4hint=::1", "IPv4");
}

#[test]
fn times_to_live() {
    assert_eq!((ttl("300"), ttl("1h"), ttl("1H30M"), ttl("1w")), (Some(300), Some(3600), Some(5400), Some(604_800)));
    assert_eq!((ttl("soon"), ttl("1500ms"), ttl("2147483648"), ttl("")), (None, None, None, None));
}

/// Each line of the file, with the octets that stand below it.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    let file = include_str!("../../../tests/rdata/records.txt");
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let pairs = lines.chunks_exact(2).map(|pair| (pair[0], pair[1].trim()));
    pairs.map(|(text, octets)| (text, if octets == "-" { Vec::new() } else { hex(octets).unwrap() })).collect()
}

/// Every type of the table as text, as octets, and again from its octets as RFC 3597 writes them.
#[test]
fn every_type() {
    let records = records();
    for row in TYPES.iter().filter(|row| !is_signature(row.number) && row.name != "SOA") {
        assert!(records.iter().any(|(text, _)| text.split(' ').next() == Some(row.name)), "{} has no line", row.name);
    }
    assert!(TYPES.is_sorted_by(|a, b| a.number < b.number));
    for (text, expected) in records {
        let (rtype, data) = text.split_once(' ').unwrap_or((text, ""));
        let tokens = lexer::one(data, Semicolon::Comment).unwrap();
        let number = type_number(rtype).unwrap();
        let rdata_example = Name::parse("rdata.example.").unwrap();
        let rdata = encode(number, &tokens, &rdata_example).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(*rdata, *expected, "{text}");
        let octets: String = expected.iter().map(|o| format!("{o:02X}")).collect();
        let (_, again) = parse_record(&format!("TYPE{number}"), &format!("\\# {} {octets}", expected.len()), &rdata_example).unwrap();
        assert_eq!(*again, *expected, "{text}");
        // Any octet less or more is noticed, or is data of its own: it never panics.
        for cut in 0..expected.len() {
            let octets: String = expected[..cut].iter().map(|o| format!("{o:02X}")).collect();
            let _ = parse_record(&format!("TYPE{number}"), &format!("\\# {cut} {octets}"), &rdata_example);
        }
    }
}

/// What is too short, too long or out of range for its type; and the same as octets.
#[test]
fn what_a_type_cannot_be() {
    let check = |rtype: &str, text: &str, expected: &str| {
        let said = wire(rtype, text).unwrap_err();
        assert!(said.contains(expected), "{rtype} {text}: {said}");
    };
    let digits = |octets: usize| "0a".repeat(octets);
    check("DS", &format!("1 13 2 {}", digits(31)), "a digest of this type has 32 octets, not 31");
    check("DS", &format!("1 13 1 {}", digits(32)), "has 20 octets");
    check("DS", &format!("1 ECDSAP256SHA384 1 {}", digits(20)), "may also be a name such as RSAMD5");
    check("TYPE43", &format!("\\# 5 00010d02{}", digits(1)), "has 32 octets");
    check("CDS", "1 0 0 00", "0 0 0 00");
    check("CDNSKEY", "257 3 0 AQID", "0 3 0 AA==");
    check("DNSKEY", "257 2 13 AQID", "protocol of a key is 3");
    check("TLSA", &format!("3 1 1 {}", digits(31)), "a hash of this type has 32 octets");
    check("SMIMEA", &format!("3 1 2 {}", digits(32)), "a hash of this type has 64 octets");
    check("SSHFP", &format!("4 2 {}", digits(20)), "a fingerprint of this type has 32 octets");
    check("ZONEMD", &format!("1 1 1 {}", digits(47)), "has 48 octets");
    check("ZONEMD", &format!("1 1 9 {}", digits(11)), "at least 12 octets");
    check("CAA", "0 is-sue \"x\"", "tag: letters and digits are expected");
    check("CAA", "\\# 4 00022d61", "no CAA record");
    check("URI", "1 1 \"\"", "must not be empty");
    check("SOA", "a. b. 1d 1 1 1 1", "serial: a whole number");
    check("LOC", "91 N 0 E 0", "degrees up to 90 are expected");
    check("LOC", "90 0 0.001 N 0 E 0", "90 degrees N or S are the most");
    check("LOC", "1 60 N 0 E 0", "minutes up to 59");
    check("LOC", "1 1 1.0001 N 0 E 0", "seconds up to 59");
    check("LOC", "1 N 1 E", "altitude is missing");
    check("LOC", "1 N 1 E -100000.01m", "an altitude from");
    check("LOC", "1 N 1 E 0 90000000.01m", "a size from");
    check("LOC", "\\# 16 01000000800000008000000000989680", "no LOC record");
    check("APL", "1:192.0.2.0/33", "a prefix such as");
    check("APL", "3:192.0.2.0/24", "a prefix such as");
    check("WKS", "192.0.2.1 tcp nosuchservice", "a port or a service");
    check("IPSECKEY", "10 4 2 . AQID", "from 0 to 3");
    check("IPSECKEY", "10 1 2 2001:db8::1 AQID", "IPv4");
    check("IPSECKEY", "10 0 2 .", "the key is missing");
    check("AMTRELAY", "10 2 1 192.0.2.1", "from 0 to 1");
    check("AMTRELAY", "10 0 0 192.0.2.1", "is expected of type 0");
    check("HIP", "2 2001 AQID a..b", "rendezvous servers");
    check("EUI48", "00-00-5e-00-53", "6 octets in hex");
    check("NID", "10 0014:4fff:ff20", "four groups");
    check("NSAP", "47.0005", "0x and hex digits");
    check("X25", "123", "at least 4 digits");
    check("GPOS", "a b c", "a number such as");
    check("CSYNC", "1 0 A NOTYPE", "unknown record type");
    check("NULL", "abc", "only written as octets");
    check("A6", "129 ::1 a.", "from 0 to 128");
    for rtype in ["RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "SIG", "NXT", "TYPE46"] {
        check(rtype, "\\# 1 00", "the zone is signed by another program");
    }
    check("NXNAME", "\\# 0", "no type of stored data");
}

/// RFC 9460 appendix D, success and failure, and what stands elsewhere in it.
#[test]
fn service_bindings() {
    let foo = b"\x03foo\x07example\x03com\0";
    let good = |text: &str, priority: u8, name: &[u8], params: &[u8]| {
        let expected = [&[0, priority], name, params].concat();
        for rtype in ["SVCB", "HTTPS"] {
            assert_eq!(wire(rtype, text).as_deref(), Ok(expected.as_slice()), "{text}");
        }
    };
    good("0 foo.example.com.", 0, foo, b"");
    good("1 .", 1, b"\0", b"");
    // RFC 9460 §2.4.2: parameters of an alias should not be there, and do no harm.
    good("0 foo.example.com. ohttp", 0, foo, b"\0\x08\0\0");
    good("\\# 7 0000 00 0008 0000", 0, b"\0", b"\0\x08\0\0");
    good("16 foo.example.com. port=53", 16, foo, b"\0\x03\0\x02\0\x35");
    good("1 foo.example.com. key667=hello", 1, foo, b"\x02\x9b\0\x05hello");
    good("1 foo.example.com. key667=\"hello\\210qoo\"", 1, foo, b"\x02\x9b\0\x09hello\xd2qoo");
    let hints = b"\0\x06\0\x20\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\x53\0\x01";
    good("1 foo.example.com. (ipv6hint=\"2001:db8::1,2001:db8::53:1\")", 1, foo, hints);
    let hint = b"\0\x06\0\x10\x20\x01\x0d\xb8\x01\x22\x03\x44\0\0\0\0\xc0\0\x02\x21";
    good("1 example.com. (ipv6hint=\"2001:db8:122:344::192.0.2.33\")", 1, b"\x07example\x03com\0", hint);
    let org = b"\x03foo\x07example\x03org\0";
    let params = b"\0\0\0\x04\0\x01\0\x04\0\x01\0\x09\x02h2\x05h3-19\0\x04\0\x04\xc0\0\x02\x01";
    good("16 foo.example.org. (alpn=h2,h3-19 mandatory=ipv4hint,alpn\nipv4hint=192.0.2.1)", 16, org, params);
    let alpn = b"\0\x01\0\x0c\x08f\\oo,bar\x02h2";
    good(r#"16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#, 16, org, alpn);
    good(r"16 foo.example.org. alpn=f\\\092oo\092,bar,h2", 16, org, alpn);
    // Keys by their numbers have octets, which must be what the key can have.
    good(r"1 . key3=\032\251", 1, b"\0", b"\0\x03\0\x02\x20\xfb");
    good("1 . tls-supported-groups=29,23 ohttp", 1, b"\0", b"\0\x08\0\0\0\x09\0\x04\0\x1d\0\x17");

    let bad = |text: &str, expected: &str| {
        let said = wire("SVCB", text).unwrap_err();
        assert!(said.contains(expected), "{text}: {said}");
    };
    bad("1 foo.example.com. (key123=abc key123=def)", "key123 stands twice");
    for key in ["mandatory", "alpn", "port", "ipv4hint", "ipv6hint", "ech", "dohpath"] {
        bad(&format!("1 foo.example.com. {key}"), &format!("{key}: a value is expected"));
    }
    bad("1 foo.example.com. no-default-alpn=abc", "no-default-alpn: no value is expected");
    bad("1 foo.example.com. mandatory=key123", "`mandatory` names key123, which is not there");
    bad("1 foo.example.com. mandatory=mandatory", "each other key once");
    bad("1 foo.example.com. (mandatory=key123,key123 key123=abc)", "each other key once");
    bad("1 . port=1 key3=\\000\\001", "key3 stands twice");
    bad("1 . key3=8443", "key3: a port number is expected");
    bad("1 . port=65536", "a port number is expected");
    bad("1 . alpn=h2,,h3", "1 to 255 octets");
    bad("1 . ipv4hint=192.0.2.1,", "an IPv4 address is expected");
    bad("1 . dohpath=/q", "with the variable dns");
    bad("1 . dohpath=dns-query{?dns}", "with the variable dns");
    bad("1 . ohttp=1", "no value is expected");
    bad("1 . tls-supported-groups=29,29", "each group once");
    bad("1 . key65535=a", "unknown parameter");
    bad("1 . key01=a", "unknown parameter");
    bad("\\# 12 0001 00 0004 0004 c0000201 00", "no SVCB record");
    bad("\\# 19 0001 00 0003 0002 0035 0001 0003 026832 000000", "no SVCB record");
}
