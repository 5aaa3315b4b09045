//! Zones as text, and what is said of them: `12!` a finding in line 12, `12?` a warning.

use super::super::zone_text;

/// Six lines without a fault; what is looked at comes behind.
pub(super) const HEAD: &str =
    "$TTL 300\n@ SOA ns1 host 1 7200 900 1209600 300\n@ NS ns1\n@ NS ns2.other.\nns1 A 192.0.2.1\nns1 AAAA 2001:db8::1\n";

/// `text` behind [`HEAD`], from line 7 on, gives exactly these: a line, `!` or `?`, and a part of the reason.
fn said(text: &str, expected: &[&str]) {
    exactly("t.example.zone", &format!("{HEAD}{text}\n"), expected);
}

fn exactly(file: &str, text: &str, expected: &[&str]) {
    let (mark, findings) = match zone_text(file, text) {
        Ok((_, warnings)) => ('?', warnings),
        Err(findings) => ('!', findings),
    };
    let lines: Vec<String> = findings.iter().map(|f| format!("{}{mark} {}", f.line.unwrap_or(0), f.reason)).collect();
    let matches = lines.len() == expected.len()
        && lines.iter().zip(expected).all(|(line, expected)| {
            let (place, part) = expected.split_once(' ').unwrap();
            line.starts_with(&format!("{place} ")) && line.contains(part)
        });
    assert!(matches, "{text}\nis {lines:#?}\nand not {expected:#?}");
}

#[test]
fn a_zone_without_a_fault() {
    said("", &[]);
    said("www A 192.0.2.1\nw CNAME www\n@ MX 10 ns1\n_x._tcp SRV 0 0 1 www\n*.wild A 192.0.2.1\n_a A 192.0.2.1\n@ MX 20 mail.other.", &[]);
    said(
        "sub NS ns.sub\nns.sub A 192.0.2.1\nsub DS 1 8 1 0000000000000000000000000000000000000000\nsub NS ns1\nlow NS low\nlow A 192.0.2.2",
        &[],
    );
    said("d DNAME other.\nd A 192.0.2.1\nnomail MX 0 .\nw HTTPS 1 . alpn=h2\nv HTTPS 0 w\nw A 192.0.2.1", &[]);
    said("sib NS ns.sub2\nsub2 NS ns.sub2\nns.sub2 A 192.0.2.9", &[]);
}

#[test]
fn aliases() {
    said("w CNAME a.\nw A 192.0.2.1", &["7! an alias is the only record of its name, and w.t.example. has A too"]);
    said("w CNAME a.\nw CNAME b.", &["8! not of several"]);
    said("@ CNAME a.", &["7! cannot be an alias"]);
    said("a CNAME b\nb CNAME a\nc CNAME a", &["7? a.t.example. → b.t.example. → a.t.example.", "8? in a circle"]);
    said("a CNAME a", &["7? a.t.example. → a.t.example."]);
    said("*.w CNAME *.w", &["7? in a circle"]);
    said("a CNAME b\nb CNAME c", &["8? leads to c.t.example., which does not exist in t.example.zone"]);
    said("a CNAME b.other.\nb CNAME x.ns1", &["8? x.ns1.t.example., which does not exist"]);
    let long: String = (0..17).map(|n| format!("c{n} CNAME c{}\n", n + 1)).collect();
    said(&format!("{long}c17 A 192.0.2.1"), &["7? 17 aliases one behind the other: an answer follows 16"]);
}

#[test]
fn redirections() {
    said("w DNAME a.\nw DNAME b.", &["8! one DNAME"]);
    said("w DNAME a.\nw NS ns1", &["7! is delegated"]);
    said("w DNAME a.\nw CNAME b.", &["8! an alias is the only record"]);
    said(
        "w DNAME a.\nx.w A 192.0.2.1\nx.y.w TXT x\nx.w A 192.0.2.2",
        &["8! x.w.t.example. A is below the DNAME of w.t.example.", "9! x.y.w"],
    );
    said("*.w DNAME a.", &["7? a wildcard"]);
    said("w DNAME x.w", &["7? grow until they are too long"]);
    said("@ NS x.w\nw DNAME other.", &["7! x.w.t.example. is below the DNAME of w.t.example., so it is an alias"]);
    said("@ DNAME other.", &["3! ns1.t.example. is below the DNAME", "5! ns1.t.example. A is below", "6! ns1.t.example. AAAA is below"]);
    said("@ MX 1 x.w\nw DNAME other.", &["7? is an alias, to which MX does not lead"]);
}

#[test]
fn name_servers_and_delegations() {
    let one = "$TTL 300\n@ SOA ns1 host 1 7200 900 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n";
    exactly("t.example.zone", one, &["3? ns1.t.example. is the only name server: a zone has at least two"]);
    exactly("t.internal.zone", one, &[]);
    said("@ NS w\nw CNAME ns1", &["7! w.t.example. is an alias, which a name server cannot be"]);
    said("@ NS w", &["7? w.t.example. has no address"]);
    said("sub NS ns1\nsub NS w\nw CNAME ns1", &["8! is an alias"]);
    said("sub NS ns1\nsub NS w\nw TXT x", &["8? w.t.example. has no address"]);
    said("sub NS ns1\nsub NS ns.sub", &["8! ns.sub.t.example. is below the delegation and has no address"]);
    said("sub NS ns.sub\n*.sub A 192.0.2.1", &["7? has an address from a wildcard alone", "8? *.sub.t.example. A is never answered"]);
    said("sub NS ns.sub\nns.sub TXT x\n*.sub A 192.0.2.1", &["7! nobody can reach it"]);
    said("sub NS ns.sub\nns.sub CNAME ns1", &["7! has no address"]);
    said("sub NS ns.sib\nsib NS ns.other.", &["7? is delegated with sib.t.example. and has no address here"]);
    said("*.w NS ns.other.", &["7! a wildcard cannot be delegated"]);
    said("w DS 1 8 1 0000000000000000000000000000000000000000", &["7? w.t.example. is not delegated"]);
    said("*.w DS 1 8 1 0000000000000000000000000000000000000000", &["7? *.w.t.example. is not delegated"]);
    said("@ DS 1 8 1 0000000000000000000000000000000000000000", &["7! stands in the zone above it"]);
    said("sub NS ns1\nsub DS 1 8 2 00000000", &["8! a digest of this type has 32 octets, not 4"]);
    said(
        "sub NS ns1\nsub TXT a\nx.sub TXT b\nx.sub A 192.0.2.1",
        &["8? sub.t.example. TXT is never answered: the delegation of sub.t.example. hides it: its servers answer (and 2 more like it)"],
    );
    said("sub NS ns1\na.sub NS b.a.sub", &["8? a.sub.t.example. NS is never answered"]);
}

#[test]
fn what_records_lead_to() {
    said("@ MX 1 w\n@ MX 2 ns1\nw CNAME ns1", &["7? w.t.example. is an alias, to which MX does not lead"]);
    said("@ MX 1 ns1\n@ MX 2 w", &["8? w.t.example. does not exist in t.example.zone"]);
    said("@ MX 1 w\nw TXT x", &["7? w.t.example. has no address"]);
    said("@ MX 1 b\na.b A 192.0.2.1", &["7? b.t.example. has no address"]);
    said("_a._tcp SRV 0 0 1 w\nw CNAME ns1", &["7? is an alias, to which SRV does not lead"]);
    said("_a._tcp SRV 0 0 1 w", &["7? w.t.example. does not exist"]);
    said("@ MX 1 192.0.2.1", &["7? looks like an address"]);
    said("@ MX 1 192.0.2.1.", &["7? looks like an address"]);
    said("@ MX 0 .\n@ MX 1 ns1", &["7? no mail is taken"]);
    said(
        "w HTTPS 0 ns1 alpn=h2\n_dns SVCB 0 dns.other. port=1\nv SVCB 0 .",
        &["7? priority 0 makes an alias", "8? dns.other. has its own"],
    );
    said("w HTTPS 1 v", &["7? v.t.example. does not exist"]);
    let soa = |primary: &str, contact: &str, timers: &str| {
        format!("$TTL 300\n@ SOA {primary} {contact} 1 {timers}\n@ NS ns.other.\n@ NS ns2.other.\nw CNAME x.\n")
    };
    exactly("t.example.zone", &soa("ns", "h", "7200 900 1209600 300"), &["2? ns.t.example., the primary name server, has no address"]);
    exactly("t.example.zone", &soa("w", "h", "7200 900 1209600 300"), &["2? the primary name server, is an alias"]);
    exactly("t.example.zone", &soa("ns.other.", "h@t.example.", "7200 900 1209600 300"), &["2? a dot in the place of its '@'"]);
    exactly(
        "t.example.zone",
        &soa("ns.other.", "h", "7200 900 8000 300"),
        &["2? expire, 8000 s, is less than refresh and retry together, 8100 s"],
    );
    exactly("t.example.zone", &soa("ns.other.", "h", "7200 9000 1209600 90000"), &["2? for 90000 s", "2? retry, 9000 s, is more"]);
}

#[test]
fn habits() {
    said("w_w A 192.0.2.1", &["7? w_w.t.example. is no name of a host"]);
    said("-w A 192.0.2.1\n*.v A 192.0.2.1\n_v A 192.0.2.1\nx.*.v TXT x", &["7? -w.t.example. is no name", "10? as the first label alone"]);
    said("@ MX 1 a_b\na_b AAAA 2001:db8::1", &["7? a_b.t.example. is no name", "8? a_b.t.example. is no name"]);
    said("@ NS a_b.other.", &["7? a_b.other. is no name of a name server"]);
    said("w 0 A 192.0.2.1\nv 0 TXT x", &["7? has TTL 0: no resolver keeps it, and each question comes here (and 1 more like it)"]);
    said("w TYPE46 \\# 4 00000000", &["7! RRSIG: the zone is signed by another program"]);
    said("w TYPE47 \\# 6 000006400000 ", &["7! NSEC: the zone is signed by another program"]);
    said("@ TYPE59 \\# 5 0000000000", &["7? the zone is not signed"]);
    said("@ SPF \"v=spf1 -all\"", &["7? write the same as TXT"]);
    said("@ TXT \"v=spf1 -all\"\n@ TXT \"v=spf1 +all\"\n@ TXT \"v=spf10\"", &["7? several \"v=spf1\" texts"]);
    let many = |number: usize| (0..number).map(|n| format!("w TXT \"{n:0>200}\"\n")).collect::<String>();
    said(&many(5), &[]);
    said(&many(6), &["7? 1278 octets do not fit in a datagram"]);
    said(&many(310), &["7! could never be answered"]);
    let servers: String = (0..4000).map(|n| format!("@ NS ns{n}.other.\n")).collect();
    said(&servers, &["3! could never be answered"]);
}

#[test]
fn the_same_is_said_of_toml() {
    let head = "ns = [\"ns1\", \"ns2.other.\"]\n[records]\nns1 = { A = \"192.0.2.1\" }\n";
    let said = |text: &str, expected: &[&str]| exactly("t.example.toml", &format!("{head}{text}"), expected);
    said("", &[]);
    said("sub = { NS = [\n\"ns1\",\n\"ns.sub\" ] }", &["6! ns.sub.t.example. is below the delegation and has no address"]);
    said("w = { DNAME = \"a.\" }\n\"x.w\" = { A = \"192.0.2.1\" }", &["5! is below the DNAME of w.t.example."]);
    said("\"@\" = { MX = [\n\"1 ns1\",\n\"2 w\"] }\n", &["6? w.t.example. does not exist in t.example.toml"]);
    said(
        "sub = { NS = \"ns1\" }\n[names.\"x.sub\"]\npolicy = \"simple\"\nbranches = [{ records = { A = [\"192.0.2.1\"] } }]\n",
        &["5! hides it"],
    );
    exactly("t.example.toml", "ns = [\"ns1.other.\"]", &["1? is the only name server"]);
    exactly("t.example.toml", "services = true\nns = [\"ns1.other.\"]", &[]);
}
