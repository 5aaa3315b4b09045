//! Zonemaster, which registries judge delegations by, over a static zone and one of services: walked down to from the root, with reverse
//! and AS lookups that find something.

use std::collections::BTreeSet;

use crate::harness::run;
use crate::internet::{self, Internet};

/// What it may note, and why; anything else above INFO fails.
const EXCUSED: &[(&str, &[&str])] = &[
    // Nothing is signed.
    ("plain.example", &["NEITHER_DNSKEY_NOR_DS", "NOT_SIGNED"]),
    // Likewise. The rest is chosen: instances come and go within seconds, so a NODATA must not be kept for minutes (RFC 2308 §5), and
    // nobody transfers the zone, so refresh and retry time nothing.
    (
        "svc.example",
        &[
            "NEITHER_DNSKEY_NOR_DS",
            "NOT_SIGNED",
            "REFRESH_MINIMUM_VALUE_LOWER",
            "RETRY_MINIMUM_VALUE_LOWER",
            "SOA_DEFAULT_TTL_MAXIMUM_VALUE_LOWER",
        ],
    ),
];

/// Findings that are there only if it has asked Signpost: proof that it was at work.
const FOUND: &[&str] = &[
    "NAMESERVERS_IP_WITH_REVERSE",
    "NAMESERVER_IP_PTR_MATCH",
    "IPV4_DIFFERENT_ASN",
    "IPV6_DIFFERENT_ASN",
    "ONE_SOA_SERIAL",
    "ONE_NS_SET",
    "ADDRESSES_MATCH",
    "ARE_AUTHORITATIVE",
    "NO_RECURSOR",
    "EDNS0_SUPPORT",
    "AXFR_FAILURE",
    "SAME_SOURCE_IP",
    "NO_UPWARD_REFERRAL",
    "QNAME_CASE_SENSITIVE",
    "CASE_QUERIES_RESULTS_OK",
    "ONE_SOA",
];

#[test]
fn zonemaster_finds_nothing_wrong() {
    internet::alone("zonemaster::zonemaster_finds_nothing_wrong", || {
        let _internet = Internet::plain();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hints = folder.path().join("hints");
        std::fs::write(&hints, internet::hints()).expect("a hints file");
        for (zone, excused) in EXCUSED {
            let hints = hints.display().to_string();
            let text = run("zonemaster-cli", &["--hints", &hints, "--level", "INFO", "--raw", "--show-testcase", "--no-progress", zone]);
            // Seconds, level, test case, tag and its arguments.
            let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
            let tags = |above: bool| -> BTreeSet<&str> {
                let entries = lines.iter().filter(|words| words.len() >= 4 && (words[1] != "INFO") == above);
                entries.map(|words| words[3]).collect()
            };
            assert_eq!(tags(true), excused.iter().copied().collect(), "{zone}:\n{text}");
            let missing: Vec<_> = FOUND.iter().filter(|tag| !tags(false).contains(*tag)).collect();
            assert!(missing.is_empty(), "{zone}: {missing:?} are missing in\n{text}");
        }
    });
}
