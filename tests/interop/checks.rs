//! Whatever kzonecheck or named-checkzone refuses or warns of, Signpost refuses or warns of, each zone by itself.

use std::process::Command;

use signpost::config::zone_text;

const HEAD: &str = "$TTL 300\n@ SOA ns1 host 1 7200 900 1209600 300\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.1\nns2 A 192.0.2.2\n";

/// Lines behind [`HEAD`], each a zone with one fault or none.
const ZONES: [&str; 43] = [
    "",
    "www A 192.0.2.1\nw CNAME www\n@ MX 10 ns1\n*.wild A 192.0.2.1\n_x._tcp SRV 0 0 1 www",
    "sub NS ns.sub\nns.sub A 192.0.2.1",
    "sub NS ns.sub",
    "sub NS ns.sub\nsub NS ns1",
    "sub NS ns.sub2\nsub2 NS ns.other.",
    "sub NS ns.sub\nns.sub CNAME ns1",
    "@ NS w\nw CNAME ns1",
    "@ NS w",
    "@ NS w\nw TXT x",
    "sub NS w\nw CNAME ns1",
    "sub NS w",
    "w CNAME a.\nw A 192.0.2.3",
    "w CNAME a.\nw CNAME b.",
    "@ CNAME a.",
    "*.w CNAME ns1\n*.w A 192.0.2.1",
    "w DNAME a.\nw DNAME b.",
    "w DNAME a.\nx.w A 192.0.2.3",
    "w DNAME a.\nx.y.w A 192.0.2.3",
    "w DNAME a.\nw NS ns1",
    "w DNAME a.\nw CNAME b.",
    "@ DNAME a.",
    "*.w DNAME a.",
    "*.w NS ns1",
    "@ DS 1 8 1 0000000000000000000000000000000000000000",
    "w DS 1 8 1 0000000000000000000000000000000000000000",
    "sub NS ns1\nsub DS 1 8 2 00000000",
    "sub NS ns1\nx.sub TXT a",
    "@ MX 10 w\nw CNAME ns1",
    "@ MX 10 w",
    "@ MX 10 w\nw TXT x",
    "@ MX 10 192.0.2.1",
    "_a._tcp SRV 0 0 1 w\nw CNAME ns1",
    "_a._tcp SRV 0 0 1 w",
    "other. A 192.0.2.1",
    "@ SOA ns1 host 2 7200 900 1209600 300",
    "w_w A 192.0.2.1",
    "@ MX 10 w_w\nw_w A 192.0.2.1",
    "a.*.b A 192.0.2.1",
    "w 10 A 192.0.2.3\nw 20 A 192.0.2.4",
    "@ SPF \"v=spf1 -all\"",
    "@ TYPE59 \\# 24 0001 08 01 0000000000000000000000000000000000000000",
    "w 4294967296 A 192.0.2.1",
];

/// Zones of which another program says something, and Signpost nothing; with the reason.
const EXCUSED: [(&str, &str); 0] = [];

/// What a program prints of a zone beyond that it is fine.
fn complaint(program: &str, arguments: &[&str], file: &str) -> Option<String> {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned()).concat();
    let quiet =
        |line: &&str| !(line.trim().is_empty() || line.contains("loaded serial") || *line == "OK" || line.contains("out of zone) has no"));
    let said: Vec<&str> = text.lines().filter(quiet).collect();
    (!output.status.success() || !said.is_empty()).then(|| said.join("\n"))
}

#[test]
fn what_other_checkers_say_is_said_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.example.zone");
    let file = path.to_str().unwrap();
    let (mut silent, mut agreed, mut fine) = (Vec::new(), 0, 0);
    for lines in ZONES {
        let text = format!("{HEAD}{lines}\n");
        std::fs::write(&path, &text).unwrap();
        let knot = complaint("kzonecheck", &["-o", "t.example"], file);
        let bind = complaint("named-checkzone", &["-i", "local", "t.example"], file);
        let ours = match zone_text("t.example.zone", &text) {
            Ok((_, warnings)) => warnings,
            Err(findings) => findings,
        };
        match (knot.or(bind), ours.is_empty()) {
            (Some(said), true) if !EXCUSED.iter().any(|(excused, _)| *excused == lines) => silent.push(format!("{lines}\n  {said}")),
            (Some(_), _) => agreed += 1,
            (None, _) => fine += 1,
        }
        assert!(ours.iter().all(|finding| finding.line.is_some()), "each has its line: {ours:?}");
    }
    assert!(silent.is_empty(), "others speak, Signpost is silent:\n{}", silent.join("\n"));
    assert!(agreed >= 30 && fine >= 3, "{agreed} agreed, {fine} fine: the programs do not look");
}
