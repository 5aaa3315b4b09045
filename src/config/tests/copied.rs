//! What leads into zones that other servers say: it stands in nobody's way.

use super::*;
use crate::model::{Goal, Policy};

/// A server with these lines of `t.example.zone` from line 4 on and these of `p.example.toml` from line 3 on, which copies `prim.example.`, below
/// `example.`; `copy` is what is kept of it.
fn copying(master: &str, policies: &str, copy: Option<&str>, catalog: bool) -> Result<(Loaded, Vec<String>), Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let head = "$TTL 300\n@ SOA ns1.other. h 1 7200 900 1209600 300\n@ NS ns1.other.\n@ NS ns2.other.\n";
    write("zones/t.example.zone", &format!("{head}{master}\n"));
    write("zones/p.example.toml", &format!("{HEAD}{policies}\n"));
    // A wildcard above answers nothing of what is copied.
    write("zones/example.zone", &format!("{head}* A 192.0.2.99\nsub NS ns1.other.\n"));
    if let Some(copy) = copy {
        write("data/secondary/prim.example.zone", &format!("{head}{copy}\n"));
    }
    let mut settings = Settings {
        file: Some(dir.path().join("signpost.toml")),
        zones_dir: dir.path().join("zones"),
        geo_dir: dir.path().join("geo"),
        data_dir: dir.path().join("data"),
        ..Settings::default()
    };
    let secondary = |catalog| SecondarySettings { catalog, ..SecondarySettings::default() };
    settings.secondary.insert(name("prim.example."), secondary(false));
    if catalog {
        settings.secondary.insert(name("catalog.invalid."), secondary(true));
    }
    let prefix = format!("{}/", dir.path().display());
    let texts = |findings: &[super::super::Finding]| findings.iter().map(|f| f.to_string().replace(&prefix, "")).collect::<Vec<_>>();
    match world(&settings) {
        Ok(loaded) => {
            let warnings = texts(&loaded.warnings);
            Ok((loaded, warnings.into_iter().filter(|warning| warning.contains("answered NODATA")).collect()))
        }
        Err(findings) => Err(texts(&findings)),
    }
}

/// What a policy leads to, in short.
fn outline(policy: &Policy) -> String {
    let goal = |goal: &Goal| match goal {
        Goal::Policy(below) => outline(below),
        Goal::Instances { service: Some(service), .. } => service.to_string(),
        Goal::Instances { service: None, .. } => "nothing".into(),
        Goal::Records(sets) => sets.iter().map(|set| format!("{:?}", set.rdata[0])).collect::<Vec<_>>().join(" "),
    };
    let branches: Vec<String> = policy.branches.iter().map(|branch| goal(&branch.goal)).collect();
    format!("{}({})", policy.kind, branches.join(", "))
}

const ABSENT: &str = "nothing of that name is there now: answered NODATA";
const COPY: &str = "@ MX 10 www\nwww A 192.0.2.1\ntext TXT x\ncdn CNAME www\naway CNAME x.elsewhere.\nround CNAME a.t.example.\nmail A 192.0.2.2\nmail MX 10 www\nsub NS ns1.other.";

#[test]
fn an_alias_into_a_copy_is_answered_with_nothing_until_there_is_something() {
    let mut wrong = Vec::new();
    let mut check = |of: &str, copy: Option<&str>, expected: &str, warning: &str| {
        let (found, said) = match copying(&format!("a ALIAS {of}\n"), "", copy, false) {
            Ok((loaded, said)) => {
                let zone = loaded.zones.iter().find(|zone| zone.apex == name("t.example.")).unwrap();
                assert!(loaded.led.contains(&name("prim.example.")), "{of}: what comes is read with all");
                assert_eq!(loaded.zones.len(), 3 + usize::from(copy.is_some()), "{of}: the copy is taken");
                (outline(&zone.names[&name("a.t.example.")]), said)
            }
            Err(findings) => ("refused".into(), findings),
        };
        let is_said = match warning {
            "" => said.is_empty(),
            _ => {
                matches!(&said[..], [one] if one.starts_with("zones/t.example.zone:5: a.t.example. ALIAS: a.t.example. → ") && one.ends_with(warning))
            }
        };
        if found != expected || !is_said {
            wrong.push(format!("{of}: {found} {said:#?}"));
        }
    };
    let nothing = "simple(nothing)";
    check(
        "www.prim.example.",
        None,
        nothing,
        &format!("www.prim.example.: is in prim.example., which is copied from another server and has not come yet: {ABSENT}"),
    );
    check("prim.example.", None, nothing, ABSENT);
    let one = "simple([192, 0, 2, 1])";
    check("www.prim.example.", Some(COPY), one, "");
    check("cdn.prim.example.", Some(COPY), one, "");
    check(
        "gone.prim.example.",
        Some(COPY),
        nothing,
        &format!("gone.prim.example.: does not exist in data/secondary/prim.example.zone: {ABSENT}"),
    );
    check("x.sub.prim.example.", Some(COPY), nothing, ABSENT);
    check("text.prim.example.", Some(COPY), nothing, "has no addresses, and another server says what is there: answered NODATA");
    check(
        "away.prim.example.",
        Some(COPY),
        nothing,
        &format!(
            "away.prim.example. → x.elsewhere.: is in no zone of this server; ALIAS leads to names alone that this server answers itself: {ABSENT}"
        ),
    );
    check("round.prim.example.", Some(COPY), nothing, "the names lead in a circle, and another server says what is there: answered NODATA");
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What is this server's own is refused as ever.
    for of in ["www.elsewhere.", "gone.t.example.", "x.sub.example."] {
        let said = copying(&format!("a ALIAS {of}\n"), "", Some(COPY), false).map(|(_, warnings)| warnings).unwrap_err();
        assert!(said.len() == 1 && said[0].contains(of), "{said:?}");
    }
}

#[test]
fn a_catalog_may_bring_what_is_in_no_zone() {
    for of in ["www.elsewhere.", "x.sub.example."] {
        let (loaded, said) = copying(&format!("a ALIAS {of}\n"), "", Some(COPY), true).unwrap();
        assert!(matches!(&said[..], [one] if one.contains(of) && one.contains(ABSENT)), "{said:?}");
        assert!(loaded.led.contains(&name(of)) || loaded.led.contains(&name("example.")), "whichever zone brings it: {:?}", loaded.led);
    }
    let said = copying("a ALIAS gone\n", "", Some(COPY), true).map(|(_, warnings)| warnings).unwrap_err();
    assert!(said[0].contains("does not exist in"), "{said:?}");
}

#[test]
fn a_policy_goes_on_where_a_copy_has_nothing() {
    let mut wrong = Vec::new();
    let mut check = |owner: &str, more: &str, branches: &str, copy: Option<&str>, expected: &str, warnings: usize| {
        let text =
            format!("[records]\n\"@\" = {{ MX = [\"10 m\"] }}\n{more}[names.\"{owner}\"]\npolicy = \"failover\"\nbranches = [{branches}]");
        let (found, said) = match copying("", &text, copy, false) {
            Ok((loaded, said)) => {
                let zone = loaded.zones.iter().find(|zone| zone.apex == name("p.example.")).unwrap();
                let owner = Name::parse_relative(owner, Some(&name("p.example."))).unwrap();
                (outline(&zone.names[&owner]), said)
            }
            Err(findings) => ("refused".into(), findings),
        };
        if found != expected || said.len() != warnings {
            wrong.push(format!("{branches}: {found} {said:#?}"));
        }
    };
    let www = "{ name = \"www.prim.example.\" }";
    let own = "{ records = { A = [\"192.0.2.7\"] } }";
    check("a", "", www, None, "failover(nothing)", 1);
    check("a", "", &format!("{www}, {own}"), None, "failover(nothing, [192, 0, 2, 7])", 1);
    check("a", "", &format!("{www}, {own}"), Some(COPY), "failover([192, 0, 2, 1], [192, 0, 2, 7])", 0);
    check("a", "", "{ name = \"gone.prim.example.\" }", Some(COPY), "failover(nothing)", 1);
    // What no copy can have is not refused once it comes either.
    check("a", "", "{ name = \"www.prim.example.\", tag = \"blue\" }", Some(COPY), "failover(nothing)", 1);
    // An apex has other records beside its policy: the copy's of their types are not there, and no CNAME is.
    check("@", "", "{ name = \"mail.prim.example.\" }", Some(COPY), "failover(nothing)", 1);
    check("@", "", "{ name = \"cdn.prim.example.\" }", Some(COPY), "failover(nothing)", 1);
    check("@", "", www, Some(COPY), "failover([192, 0, 2, 1])", 0);
    let through = "[names.b]\npolicy = \"simple\"\nbranches = [{ name = \"cdn.prim.example.\" }]\n";
    check("@", through, "{ name = \"b\" }", Some(COPY), "failover(nothing)", 1);
    check(
        "a",
        through,
        "{ name = \"b\" }",
        Some(COPY),
        "failover(simple([3, 119, 119, 119, 4, 112, 114, 105, 109, 7, 101, 120, 97, 109, 112, 108, 101, 0]))",
        0,
    );
    check("a", through, "{ name = \"b\" }", None, "failover(simple(nothing))", 1);
    assert!(wrong.is_empty(), "{wrong:#?}");
    // An ALIAS of such a name.
    let (loaded, said) = copying("a ALIAS b.p.example.\n", through, Some(COPY), false).unwrap();
    let zone = loaded.zones.iter().find(|zone| zone.apex == name("t.example.")).unwrap();
    assert_eq!((outline(&zone.names[&name("a.t.example.")]).as_str(), said.len()), ("simple(nothing)", 1), "{said:?}");
}
