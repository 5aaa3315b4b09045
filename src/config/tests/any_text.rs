//! Whatever text a file holds, it is read or there is a finding.

use proptest::prelude::*;

use super::name;
use crate::config::finding::Notes;
use crate::config::{master, parse_record, policies, references, zone};
use crate::model::Geo;

/// Pieces of files rather than noise: noise ends at the first syntax error.
fn text() -> impl Strategy<Value = String> {
    let pieces = [
        "services",
        "records",
        "names",
        "instances",
        "ns",
        "ttl",
        "web",
        "branches",
        "policy",
        "service",
        "A",
        "TXT",
        "SOA",
        "HTTPS",
        "CAA",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        "=",
        "\"",
        "\\",
        ";",
        ".",
        ",",
        "\n",
        " ",
        "@",
        "$TTL",
        "$ORIGIN",
        "$INCLUDE",
        "$GENERATE",
        "1-3/2",
        "${1,2,n}",
        "$",
        "LOC",
        "APL",
        "IPSECKEY",
        "\\#",
        "\\255",
        "true",
        "1",
        "65536",
        "-1",
        "5s",
        "192.0.2.1",
        "::1",
        "alpn=",
        "key1",
        "mandatory=",
        "\u{e9}",
        "\r",
        "\t",
        "IN",
        "failover",
        "\"web\"",
        " = ",
        "]]",
        "[[",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..40).prop_map(|parts| parts.concat())
}

/// Names that lead to each other at random, some of them deep, some by way of services and records.
fn graph() -> impl Strategy<Value = String> {
    let branch = proptest::sample::select(vec![
        "{ name = \"a\" }",
        "{ name = \"b\" }",
        "{ name = \"c\" }",
        "{ name = \"d\" }",
        "{ name = \"web\" }",
        "{ name = \"www\" }",
        "{ name = \"nothing\" }",
        "{ cname = \"a\" }",
        "{ service = \"web\" }",
        "{ policy = \"simple\", branches = [{ name = \"d\" }, { name = \"c\" }] }",
    ]);
    let branches = proptest::collection::vec(branch, 1..9);
    proptest::collection::vec(branches, 4).prop_map(|names| {
        let name =
            |(name, branches): (&str, &Vec<&str>)| format!("[names.{name}]\npolicy = \"failover\"\nbranches = [{}]\n", branches.join(", "));
        let names: String = ["a", "b", "c", "d"].into_iter().zip(&names).map(name).collect();
        format!("[records]\nwww = {{ A = \"192.0.2.1\" }}\n{names}[services.web]\n")
    })
}

proptest! {
    #[test]
    fn references_resolve_or_are_findings(text in graph()) {
        let mut notes = Notes::default();
        let mut drafts = Vec::from_iter(zone::read("x", &text, &name("svc.example."), 1, &Geo::default(), &mut notes));
        prop_assert_eq!(notes.findings.len(), 0);
        references::resolve(&mut drafts, &Geo::default(), &Default::default(), &mut notes);
        policies::look(&drafts, &Geo::default(), &mut notes);
        let missing = ["a", "b", "c", "d"].iter().filter(|n| !drafts[0].zone.names.contains_key(&name(&format!("{n}.svc.example.")))).count();
        prop_assert_eq!(missing == 0, notes.findings.is_empty(), "{:?}", notes.findings);
        prop_assert!(notes.findings.iter().all(|finding| finding.line.is_some()), "{:?}", notes.findings);
        for policy in drafts[0].zone.names.values() {
            prop_assert!((1..=crate::model::MAX_LEAVES).contains(&policy.leaves()));
        }
    }

    #[test]
    fn never_panics(text in text(), rtype in proptest::sample::select(vec!["A", "TXT", "HTTPS", "CAA", "MX", "TYPE4711", "OPENPGPKEY", "DS"])) {
        let apex = name("svc.example.");
        let _ = parse_record(rtype, &text, &apex);
        let mut drafts = Vec::from_iter(zone::read("x", &text, &apex, 1, &Geo::default(), &mut Notes::default()));
        references::resolve(&mut drafts, &Geo::default(), &Default::default(), &mut Notes::default());
        policies::look(&drafts, &Geo::default(), &mut Notes::default());
        let mut none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let _ = master::read("x", &text, &apex, master::From::Operator, &mut none, &mut Notes::default());
    }
}
