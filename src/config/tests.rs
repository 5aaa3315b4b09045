//! Worlds as files: what is read from them, and what is said about those that are wrong.

mod aliases;
mod any_text;
mod copied;
mod examples;
mod master;
mod policies;
mod references;
mod reread;
mod zone;

use super::{Loaded, settings, world};
use crate::model::{CatalogSettings, Name, SecondarySettings, Settings};

/// Writes files into a folder and loads it as a world; findings or warnings with paths relative to it.
fn load(files: &[(&str, &str)]) -> Result<(Loaded, Vec<String>), Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("zones")).unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let settings = Settings {
        file: Some(dir.path().join("signpost.toml")),
        zones_dir: dir.path().join("zones"),
        geo_dir: dir.path().join("geo"),
        ..Settings::default()
    };
    let prefix = format!("{}/", dir.path().display());
    let texts = |findings: &[super::Finding]| findings.iter().map(|f| f.to_string().replace(&prefix, "")).collect::<Vec<_>>();
    match world(&settings) {
        Ok(loaded) => {
            let warnings = texts(&loaded.warnings);
            Ok((loaded, warnings))
        }
        Err(findings) => Err(texts(&findings)),
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

const HEAD: &str = "ns = [\"ns1.other.\", \"ns2.other.\"]\n\n";
const GEO: &str = "[regions.eu-west]\nazs = [\"1a\", \"1b\"]\n[regions.us-east]\nazs = [\"1a\"]\n";

/// `text` behind a head of two lines is `svc.example.toml`; the whole must give exactly these findings.
fn refused(text: &str, expected: &[&str]) {
    let text = format!("{HEAD}{text}");
    let said = load(&[("zones/svc.example.toml", &text), ("geo/regions.toml", GEO)]).map(|(_, warnings)| warnings).unwrap_err();
    let expected: Vec<String> = expected.iter().map(|e| format!("zones/svc.example.toml:{e}")).collect();
    assert_eq!(said, expected, "{text}");
}

/// As [`refused`], and the zone is served with these warnings.
fn warned(text: &str, expected: &[&str]) {
    let text = format!("{HEAD}{text}");
    let (_, said) = load(&[("zones/svc.example.toml", &text), ("geo/regions.toml", GEO)]).unwrap();
    let expected: Vec<String> = expected.iter().map(|e| format!("zones/svc.example.toml:{e}")).collect();
    assert_eq!(said, expected, "{text}");
}

#[test]
fn tables_of_zones_that_are_not_here_are_worth_a_second_look() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("zones")).unwrap();
    std::fs::write(dir.path().join("zones/here.example.toml"), HEAD).unwrap();
    let mut settings = Settings { zones_dir: dir.path().join("zones"), geo_dir: dir.path().join("geo"), ..Settings::default() };
    for apex in ["here.example", "gone.example"] {
        settings.updates.insert(name(apex), Vec::new());
        settings.transfer.insert(Some(name(apex)), Default::default());
    }
    settings.transfer.insert(None, Default::default());
    let said =
        |settings: &Settings| -> Vec<String> { world(settings).unwrap().warnings.iter().map(|warning| warning.field.clone()).collect() };
    assert_eq!(said(&settings), ["transfer.\"gone.example\"", "update.\"gone.example\""]);

    settings.updates.clear();
    settings.transfer = [(Some(name("here.example")), Default::default())].into();
    let server = "192.0.2.1:53".parse().unwrap();
    settings.dnssec.parents =
        [(None, vec![server]), (Some(name("here.example")), vec![server]), (Some(name("gone.example")), vec![server])].into();
    assert_eq!(said(&settings), ["dnssec.parent.\"gone.example\""]);
    settings.dnssec.parents.clear();

    let catalog = |members: &[&str]| CatalogSettings { zones: Some(members.iter().map(|member| name(member)).collect()) };
    settings.catalogs = [(name("good.example"), catalog(&["here.example"])), (name("odd.example"), catalog(&["gone.example"]))].into();
    assert_eq!(said(&settings), ["catalog.\"odd.example\""]);
    settings.transfer.clear();
    settings.catalogs = [(name("good.example"), catalog(&["here.example"])), (name("here.example"), CatalogSettings::default())].into();
    assert_eq!(said(&settings), ["catalog.\"good.example\"", "catalog.\"here.example\""]);
    settings.catalogs.clear();

    let roots = |file: &str| SecondarySettings { ca: Some(dir.path().join(file)), ..SecondarySettings::default() };
    settings.secondary = [(name("a.example"), roots("zones/here.example.toml")), (name("b.example"), roots("nowhere.pem"))].into();
    assert_eq!(said(&settings), ["secondary.\"b.example\".ca"]);
}

#[test]
fn this_server_stands_in_a_region_that_there_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("zones")).unwrap();
    std::fs::create_dir(dir.path().join("geo")).unwrap();
    std::fs::write(dir.path().join("geo/regions.toml"), GEO).unwrap();
    let file = dir.path().join("signpost.toml");
    std::fs::write(&file, "version = 1\n[here]\nregion = \"eu-west\"\naz = \"1c\"").unwrap();
    let said = world(&settings(Some(&file), &Default::default()).unwrap()).unwrap_err();
    let reason = "region eu-west has no az 1c in regions.toml; did you mean `1a`?";
    assert_eq!(said[0].to_string(), format!("{}: here.az: {reason}", file.display()));
    std::fs::write(&file, "version = 1\n[drills.move-out]\nlose = \"region/eu-wets\"").unwrap();
    let said = world(&settings(Some(&file), &Default::default()).unwrap()).unwrap_err();
    let reason = "there is no region eu-wets in regions.toml; did you mean `eu-west`?";
    assert_eq!(said[0].to_string(), format!("{}: drills.move-out.lose: {reason}", file.display()));
}

#[test]
fn several_files() {
    let service = format!("{HEAD}[services.web]\n");
    let said = load(&[
        ("zones/a.example.toml", &service),
        ("zones/b.example.toml", &service),
        ("zones/A.example.zone", ""),
        ("zones/c d.toml", ""),
        ("zones/e.example.toml", "x"),
        ("zones/notes.md", "x"),
        ("geo/region.toml", ""),
    ])
    .map(|_| ())
    .unwrap_err();
    let expected = [
        "geo/region.toml: is not read; did you mean `regions.toml`?",
        "zones/a.example.toml: is the same zone as zones/A.example.zone; a zone is one file",
        "zones/A.example.zone: has no NS record at the apex",
        "zones/A.example.zone: has no SOA record at the apex",
        "zones/c d.toml: the file's name is the zone's, and ' ' is in none",
    ];
    for line in expected {
        assert!(said.iter().any(|s| s.starts_with(line)), "{line} is not among {said:#?}");
    }
    assert!(said.iter().any(|s| s.starts_with("zones/e.example.toml:1: ")), "{said:#?}");

    let said = load(&[("zones/a.example.toml", &service), ("zones/b.example.toml", &service)]).map(|_| ()).unwrap_err();
    assert_eq!(
        said,
        [
            "zones/b.example.toml:3: services.web: is defined in zones/a.example.toml too; every zone with services shows it, so define it once"
        ]
    );
    let (_, warnings) = load(&[("zones/a.example.txt", "x")]).unwrap();
    assert_eq!(
        warnings,
        [
            "zones: holds no zone: every name will be refused until there is a <apex>.toml",
            "zones/a.example.txt: is not read: a zone is <apex>.toml, or <apex>.zone in master file format",
        ]
    );
}

#[test]
fn without_any_file_there_is_a_zone_for_registered_services() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Settings { zones_dir: dir.path().join("none"), geo_dir: dir.path().join("none"), ..Settings::default() };
    assert!(world(&config).is_err(), "a folder that was named must be there");
    config.zones_dir = dir.path().into();
    config.dns.listen = vec!["0.0.0.0:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()];
    let loaded = world(&config).unwrap();
    let zone = &loaded.zones[0];
    assert_eq!((zone.apex.clone(), zone.services, zone.ns.clone()), (name("service.internal."), true, vec![name("ns.service.internal.")]));
    assert_eq!(zone.records[&(name("ns.service.internal."), 1)].rdata[0].as_ref(), [127, 0, 0, 1]);
    assert_eq!(zone.records[&(name("ns.service.internal."), 28)].rdata[0][..4], [0x20, 0x01, 0x0d, 0xb8]);
}
