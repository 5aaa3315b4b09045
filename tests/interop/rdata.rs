//! Every RR type as others encode it: one zone of all types is served by BIND, Knot and NSD, transferred, and each record's octets compared
//! with what `signpost` makes of the same text.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use signpost::config::zone_text;
use signpost::model::Name;

use crate::harness::{Peer, at, run, wait_until};

const HEAD: &str = "$TTL 3600\n@ SOA ns.other. host.other. 1 2 3 4 5\n@ NS ns.other.\n";

/// What BIND 9.18 does not read: types and SvcParams that it has no name for, mnemonics of RFC 7218, and a gateway without key.
const BIND_LACKS: &[&str] =
    &["MD", "MF", "IPSECKEY 10 1 0", "TLSA DANE", "HTTPS 1 . alpn=\"h2\" ohttp", "HTTPS 1 . tls-", "HTTPS 1 . doc", "CLA", "IPN"];
/// The same of Knot 3.2.
#[rustfmt::skip]
const KNOT_LACKS: &[&str] = &[
    "MD", "MF", "MB", "MG", "MR", "NULL", "WKS", "X25", "ISDN", "NSAP", "NSAP-PTR", "KEY 49152", "PX", "GPOS", "EID", "NIMLOC", "ATMA", "CERT PKIX", "A6",
    "SINK", "DS 60485 E", "IPSECKEY 10 1 0", "TLSA DANE", "HIP", "NINFO", "RKEY", "TALINK", "SVCB 1 dns", "SVCB 1 svc", "HTTPS 1 . alpn=\"h2\" ohttp",
    "HTTPS 1 . tls-", "HTTPS 1 . doc", "DSYNC", "HHIT", "BRID", "UINFO", "UID", "GID", "UNSPEC", "AVC", "DOA", "AMTRELAY", "RESINFO", "WALLET",
    "CLA", "IPN", "TA", "DLV",
];
/// The same of NSD 4.6.
#[rustfmt::skip]
const NSD_LACKS: &[&str] = &[
    "WKS 192.0.2.1 6", "NSAP-PTR", "KEY 49152", "GPOS", "EID", "NIMLOC", "ATMA", "A6", "SINK", "DS 60485 E", "IPSECKEY 10 1 0", "TLSA DANE", "HIP", "NINFO", "RKEY",
    "TALINK", "HTTPS 1 . alpn=\"h2\" ohttp", "HTTPS 1 . tls-", "HTTPS 1 . doc", "DSYNC", "HHIT", "BRID", "UINFO", "UID", "GID", "UNSPEC", "DOA", "IPSECKEY 10 1 0",
    "AMTRELAY", "RESINFO", "WALLET", "CLA", "IPN", "TA",
];
/// What none of them reads, or dig does not (an IPSECKEY without key, which Knot and NSD serve).
const UNPROVEN: &[&str] = &["IPSECKEY 10 1 0", "TLSA DANE", "HTTPS 1 . alpn=\"h2\" ohttp", "HTTPS 1 . tls-", "HTTPS 1 . doc", "CLA", "IPN"];

/// The lines of text; the octets below them are for the unit tests.
fn lines() -> Vec<&'static str> {
    include_str!("../rdata/records.txt").lines().filter(|line| !line.is_empty() && !line.starts_with(['#', ' '])).collect()
}

/// Whether a line is one of those listed; a word in the list is a whole type.
fn listed(line: &str, list: &[&str]) -> bool {
    list.iter().any(|item| if item.contains(' ') { line.starts_with(item) } else { line.split(' ').next() == Some(item) })
}

/// The zone, each line a name of its own, without what is listed. A DS stands beside NS.
fn zone(without: &[&str]) -> String {
    let records = lines().into_iter().enumerate().filter(|(_, line)| !listed(line, without));
    let text = |(n, line): (usize, &str)| match line.starts_with("DS ") {
        true => format!("r{n} {line}\nr{n} NS ns.other.\n"),
        false => format!("r{n} {line}\n"),
    };
    HEAD.to_string() + &records.map(text).collect::<String>()
}

/// Octets as RFC 3597 writes them, by first label and type.
type Records = BTreeMap<(String, String), String>;

/// The records of the zone without what is listed, as this crate reads them.
fn ours(without: &[&str]) -> Records {
    let (zone, _) = zone_text("rdata.example.zone", &zone(without)).expect("a zone without findings");
    let shown = zone.records.into_iter().map(|((owner, number), set)| {
        let octets: String = set.rdata[0].iter().map(|octet| format!("{octet:02X}")).collect();
        ((first_label(&owner), format!("TYPE{number}")), format!("{} {octets}", set.rdata[0].len()))
    });
    shown.collect()
}

fn first_label(owner: &Name) -> String {
    owner.labels().next().map(|label| String::from_utf8_lossy(label).into_owned()).unwrap_or_default()
}

/// The same as a server transfers them; the apex left out.
fn transferred(peer: &Peer) -> Records {
    let fixed = ["rdata.example.", "AXFR", "+unknownformat", "+noall", "+answer", "+onesoa", "+nosplit"].map(String::from);
    let printed = run("dig", &[at(peer.address).as_slice(), &fixed].concat());
    let records = printed.lines().filter(|line| line.starts_with('r') && !line.starts_with("rdata"));
    records
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [owner, _, _, rtype, "\\#", length, octets @ ..] = words.as_slice() else { panic!("no record: {line}") };
            let label = owner.split('.').next().unwrap_or_default();
            ((label.to_string(), rtype.to_string()), format!("{length} {}", octets.concat().to_uppercase()))
        })
        .collect()
}

fn compare(peer: &Peer, lacks: &[&str]) {
    let (ours, mut theirs) = (ours(lacks), BTreeMap::new());
    // Servers listen before they have read their zones.
    wait_until(Duration::from_secs(20), || {
        theirs = transferred(peer);
        !theirs.is_empty()
    });
    for ((label, rtype), octets) in &ours {
        let line = label[1..].parse::<usize>().ok().and_then(|n| lines().get(n).copied());
        assert_eq!(Some(octets), theirs.get(&(label.clone(), rtype.clone())), "{line:?} {rtype}\n{}", peer.log());
    }
    assert_eq!(ours.len(), theirs.len(), "{}", peer.log());
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file of the test");
    path.display().to_string()
}

#[test]
fn bind_encodes_alike() {
    let peer = Peer::start("named", |folder, address| {
        let file = write(folder, "zone", &zone(BIND_LACKS));
        let config = format!(
            "options {{ directory {0:?}; listen-on port {1} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none; session-keyfile none;\n\
             recursion no; allow-transfer {{ any; }}; check-names primary ignore; dnssec-validation no; }};\ncontrols {{ }};\n\
             zone \"rdata.example\" {{ type primary; file {file:?}; check-integrity no; }};\n",
            folder.display().to_string(),
            address.port(),
        );
        ["-g", "-c", &write(folder, "named.conf", &config)].map(String::from).to_vec()
    });
    compare(&peer, BIND_LACKS);
}

#[test]
fn knot_encodes_alike() {
    let peer = Peer::start("knotd", |folder, address| {
        let file = write(folder, "zone", &zone(KNOT_LACKS));
        let config = format!(
            "server:\n  listen: {}@{}\n  rundir: {folder}\ndatabase:\n  storage: {folder}\nacl:\n  - id: all\n    address: 127.0.0.1\n    action: transfer\n\
             zone:\n  - domain: rdata.example\n    file: {file}\n    acl: all\n    journal-content: none\n    zonefile-sync: -1\n",
            address.ip(),
            address.port(),
            folder = folder.display(),
        );
        ["-c", &write(folder, "knot.conf", &config)].map(String::from).to_vec()
    });
    compare(&peer, KNOT_LACKS);
}

#[test]
fn nsd_encodes_alike() {
    let peer = Peer::start("nsd", |folder, address| {
        let file = write(folder, "zone", &zone(NSD_LACKS));
        let config = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  pidfile: \"{folder}/pid\"\n  xfrdfile: \"\"\n\
             \x20 xfrdir: \"{folder}\"\n  zonelistfile: \"{folder}/zones\"\n  server-count: 1\nremote-control:\n  control-enable: no\n\
             zone:\n  name: rdata.example\n  zonefile: \"{file}\"\n  provide-xfr: 127.0.0.1 NOKEY\n",
            address.ip(),
            address.port(),
            folder = folder.display(),
        );
        ["-d", "-c", &write(folder, "nsd.conf", &config)].map(String::from).to_vec()
    });
    compare(&peer, NSD_LACKS);
}

/// What no peer reads is known by name, and nothing else.
#[test]
fn all_but_a_few_are_proven() {
    let unread = |line: &&str| [BIND_LACKS, KNOT_LACKS, NSD_LACKS].iter().all(|lacks| listed(line, lacks));
    for line in lines() {
        assert_eq!(unread(&line), listed(line, UNPROVEN), "{line}");
    }
}
