//! ALIAS, in both forms of zone files.

use super::*;
use crate::model::{AliasOf, Goal, Policy};

const SVC: &str = r#"services = true
ns = ["ns1.other."]
[records]
www = { A = ["192.0.2.1"], TXT = ["x"] }
cdn = { CNAME = "www" }
text = { TXT = ["x"] }
sub = { NS = ["ns1.other."] }
[names.api]
policy = "failover"
branches = [{ service = "web" }, { records = { A = ["192.0.2.9"] }, resort = true }]
[names.away]
policy = "simple"
branches = [{ cname = "x.other." }]
[services.web]
"#;

/// A master file with these lines from line 4 on, beside [`SVC`].
fn master(lines: &str) -> Result<(Loaded, Vec<String>), Vec<String>> {
    let text = format!("$TTL 300\n@ SOA ns1.other. h 1 7200 900 1209600 300\n@ NS ns1.other.\n  NS ns2.other.\n{lines}\n");
    let loaded = load(&[("zones/svc.example.toml", SVC), ("zones/t.example.zone", &text)]);
    loaded.map(|(loaded, warnings)| (loaded, warnings.into_iter().filter(|w| w.starts_with("zones/t.")).collect()))
}

fn policy(loaded: &Loaded, name_: &str) -> (Policy, AliasOf) {
    let zone = loaded.zones.iter().find(|zone| zone.aliases.contains_key(&name(name_))).expect("an ALIAS");
    (zone.names[&name(name_)].clone(), zone.aliases[&name(name_)].clone())
}

#[test]
fn addresses_of_other_names() {
    let (loaded, warnings) = master(
        "@ 60 IN ALIAS web.svc.example.\n@ MX 10 mail\nmail A 192.0.2.4\nw ANAME api.svc.example.\nv ALIAS cdn.svc.example.\nu ALIAS w\n\
         *.wild ALIAS mail\nnew ALIAS newer.svc.example.",
    )
    .unwrap();
    let reason = "no zone file defines the service newer: there are no addresses until instances are registered";
    assert_eq!(warnings, [format!("zones/t.example.zone:12: new.t.example. ALIAS: {reason}")]);
    let (apex, of) = policy(&loaded, "t.example.");
    assert_eq!(of, AliasOf { name: name("web.svc.example."), ttl: 60 });
    assert!(matches!(&apex.branches[0].goal, Goal::Instances { service: Some(label), .. } if label.as_str() == "web"));
    // The other name's policy, whole.
    let (api, _) = policy(&loaded, "w.t.example.");
    let svc = loaded.zones.iter().find(|zone| zone.apex == name("svc.example.")).unwrap();
    assert_eq!(api, svc.names[&name("api.svc.example.")]);
    assert_eq!(policy(&loaded, "u.t.example.").0, api, "through another ALIAS");
    // Through a CNAME, and the addresses alone.
    let (cdn, _) = policy(&loaded, "v.t.example.");
    assert!(matches!(&cdn.branches[0].goal, Goal::Records(sets) if sets.len() == 1 && *sets[0].rdata[0] == [192, 0, 2, 1]), "{cdn:?}");

    let toml = "ns = [\"ns1.other.\", \"ns2.other.\"]\n[records]\n\"@\" = { ALIAS = [\"www.svc.example.\"], ttl = 10, MX = \"0 .\" }\n";
    let (loaded, warnings) = load(&[("zones/svc.example.toml", SVC), ("zones/t.example.toml", toml)]).unwrap();
    assert!(warnings.iter().all(|w| w.starts_with("zones/svc")), "{warnings:?}");
    assert_eq!(policy(&loaded, "t.example.").1, AliasOf { name: name("www.svc.example."), ttl: 10 });
}

#[test]
fn what_no_alias_can_be() {
    let check = |lines: &str, expected: &[&str]| {
        let said = master(lines).map(|(_, warnings)| warnings).unwrap_err();
        let matches = said.len() == expected.len() && said.iter().zip(expected).all(|(said, part)| said.contains(part));
        assert!(matches, "{lines}\nis {said:#?}\nand not {expected:#?}");
    };
    check(
        "@ ALIAS www.svc.example.\n@ A 192.0.2.1",
        &["zone:5: t.example. ALIAS: ALIAS answers A and AAAA, so t.example. cannot have A as well"],
    );
    check("w ALIAS www.svc.example.\nw CNAME x.", &["cannot have CNAME as well"]);
    check("w ALIAS www.svc.example.\nw ALIAS api.svc.example.", &["zone:6: w.t.example. ALIAS: a name is an ALIAS of one other name"]);
    check(
        "w ALIAS www.other.",
        &["zone:5: w.t.example. ALIAS: w.t.example. → www.other.: is in no zone of this server; ALIAS leads to names alone that"],
    );
    check("w ALIAS x.sub.svc.example.", &["is at or below the delegation of sub.svc.example., which other servers answer; ALIAS leads"]);
    check("w ALIAS text.svc.example.", &["text.svc.example.: has no addresses"]);
    check("w ALIAS nothing", &["does not exist"]);
    check("w ALIAS away.svc.example.", &["ends in a CNAME"]);
    check("a ALIAS b\nb ALIAS a", &["in a circle"]);
    check("a ALIAS b\nb CNAME c\nc CNAME b", &["in a circle"]);
    check("w ALIAS", &["one name is expected"]);
    check("sub NS ns1.other.\nx.sub ALIAS www.svc.example.", &["zone:6: x.sub.t.example. ALIAS: x.sub.t.example. is never answered"]);

    let below = format!("{SVC}[records.\"x.web\"]\nALIAS = \"www\"\n");
    let said = load(&[("zones/svc.example.toml", &below)]).map(|_| ()).unwrap_err();
    assert!(said[0].contains("x.web.svc.example. belongs to the service web"), "{said:?}");
    let both = format!("{SVC}[records.api]\nALIAS = \"www\"\n");
    let said = load(&[("zones/svc.example.toml", &both)]).map(|_| ()).unwrap_err();
    assert!(said[0].contains("records.api.ALIAS: api.svc.example. has a policy under [names] too"), "{said:?}");
    let branch = format!("{SVC}[names.b]\npolicy = \"simple\"\nbranches = [{{ records = {{ ALIAS = [\"www\"] }} }}]\n");
    let said = load(&[("zones/svc.example.toml", &branch)]).map(|_| ()).unwrap_err();
    assert!(said[0].contains("ALIAS stands among the records of a zone"), "{said:?}");
}
