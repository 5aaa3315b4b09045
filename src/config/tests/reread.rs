//! Reading again: each zone by itself.

use super::*;
use crate::config::{Finding, Kept, Reread, Sources};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.0.path().join("zones")).unwrap();
        home
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join("zones").join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.path().join("zones").join(name)).unwrap();
    }

    fn settings(&self) -> Settings {
        let dir = |name: &str| self.0.path().join(name);
        Settings { file: Some(dir("signpost.toml")), zones_dir: dir("zones"), geo_dir: dir("geo"), ..Settings::default() }
    }

    /// Reads again: the addresses of `www` in each zone, what was refused, what was kept, and the sources of the next time.
    fn again(&self, last: Sources) -> (String, Vec<String>, Vec<(String, bool)>, Sources) {
        let loaded = Reread::new(self.settings(), last).world().unwrap();
        let www = |zone: &crate::model::Zone| {
            let set = &zone.records[&(zone.apex.child(b"www").unwrap(), 1)];
            format!("{}{}", zone.apex, set.rdata[0][3])
        };
        let zones: Vec<String> = loaded.zones.iter().map(www).collect();
        let prefix = format!("{}/zones/", self.0.path().display());
        let refused = loaded.refused.iter().map(|f| f.to_string().replace(&prefix, "")).collect();
        let kept = loaded.kept.into_iter().map(|Kept { file, serves }| (file, serves)).collect();
        (zones.join(" "), refused, kept, loaded.sources)
    }
}

fn zone(last: u8, more: &str) -> String {
    format!("ns = [\"ns.x.\", \"ns.y.\"]\n[records]\nwww = {{ A = \"192.0.2.{last}\" }}\n{more}")
}

const LEADS: &str = "[names.to]\npolicy = \"simple\"\nbranches = [{ name = \"www.a.\" }]\n";

#[test]
fn a_broken_zone_stays_as_it_was_and_others_move_on() {
    let home = Home::new();
    home.write("a.toml", &zone(1, ""));
    home.write("b.toml", &zone(1, LEADS));
    let sources = world(&home.settings()).unwrap().sources;

    home.write("a.toml", "x");
    home.write("b.toml", &zone(2, LEADS));
    home.write("new.toml", "x");
    let (zones, refused, kept, sources) = home.again(sources);
    assert_eq!(zones, "a.1 b.2");
    assert!(refused.len() == 2 && refused[0].starts_with("a.toml:1: ") && refused[1].starts_with("new.toml:1: "), "{refused:?}");
    assert_eq!(kept, [("a.toml".into(), true), ("new.toml".into(), false)]);

    // What was kept is what the next reading goes back to.
    home.write("b.toml", &zone(3, LEADS));
    home.write("new.toml", &zone(1, ""));
    let (zones, _, kept, sources) = home.again(sources);
    assert_eq!((zones.as_str(), kept), ("a.1 b.3 new.1", vec![("a.toml".into(), true)]));
    home.write("a.toml", &zone(4, ""));
    home.remove("new.toml");
    let (zones, refused, kept, _) = home.again(sources);
    assert_eq!((zones.as_str(), refused.len(), kept.len()), ("a.4 b.3", 0, 0));
}

#[test]
fn a_zone_that_would_break_another_stays_as_it_was() {
    let home = Home::new();
    home.write("a.toml", &zone(1, ""));
    home.write("b.toml", &zone(1, LEADS));
    home.write("c.toml", &zone(1, ""));
    let sources = world(&home.settings()).unwrap().sources;

    // `to.b.` leads to `www.a.`, which is no more.
    home.write("a.toml", &zone(2, "").replace("www", "other"));
    home.write("c.toml", &zone(2, ""));
    let (zones, refused, kept, sources) = home.again(sources);
    assert_eq!((zones.as_str(), kept), ("a.1 b.1 c.2", vec![("a.toml".into(), true)]));
    assert!(refused[0].starts_with("b.toml:6: names.to.branches[0].name: to.b. → www.a.: does not exist"), "{refused:?}");

    home.remove("a.toml");
    home.write("c.toml", &zone(3, ""));
    let (zones, _, kept, _) = home.again(sources);
    assert_eq!((zones.as_str(), kept), ("a.1 b.1 c.3", vec![("a.toml".into(), true)]));
}

#[test]
fn what_only_compiling_finds_keeps_a_zone_as_well() {
    let home = Home::new();
    home.write("a.toml", &zone(1, ""));
    home.write("b.toml", &zone(1, ""));
    let sources = world(&home.settings()).unwrap().sources;
    home.write("a.toml", &zone(2, ""));
    home.write("b.toml", &zone(2, ""));
    let mut reread = Reread::new(home.settings(), sources);
    assert_eq!(reread.world().unwrap().kept, []);
    let path = home.0.path().join("zones/a.toml").display().to_string();
    assert!(reread.refuse(Finding::of_file(path.clone(), "too much")));
    let loaded = reread.world().unwrap();
    assert_eq!(loaded.kept, [Kept { file: "a.toml".into(), serves: true }]);
    assert_eq!(loaded.refused[0].reason, "too much");
    assert!(!reread.refuse(Finding::of_file(path, "too much")), "it is as it was already");
    assert!(!reread.refuse(Finding::of_file("elsewhere", "x")));
}

#[test]
fn a_broken_file_in_the_place_of_another_of_its_zone_is_not_taken() {
    let home = Home::new();
    home.write("a.zone", "@ SOA ns.x. h 1 2h 1h 2w 1h\n@ NS ns.x.\nwww 300 A 192.0.2.1\n");
    home.write("b.toml", &zone(1, ""));
    let sources = world(&home.settings()).unwrap().sources;
    home.remove("a.zone");
    home.write("a.toml", "x");
    home.write("b.toml", &zone(2, ""));
    let kept = vec![("a.toml".into(), false), ("a.zone".into(), true)];
    let (zones, _, said, sources) = home.again(sources);
    assert_eq!((zones.as_str(), said), ("a.1 b.2", kept.clone()));
    let (zones, _, said, sources) = home.again(sources);
    assert_eq!((zones.as_str(), said), ("a.1 b.2", kept));
    home.write("a.toml", &zone(3, ""));
    let (zones, refused, said, _) = home.again(sources);
    assert_eq!((zones.as_str(), refused.len(), said.len()), ("a.3 b.2", 0, 0));
}

#[test]
fn an_included_file_that_is_wrong_is_watched() {
    let home = Home::new();
    let master = "@ SOA ns.x. h 1 2h 1h 2w 1h\n@ NS ns.x.\nwww 300 A 192.0.2.1\n";
    home.write("a.zone", master);
    let sources = world(&home.settings()).unwrap().sources;
    assert!(sources.included().is_empty());
    let new = home.0.path().join("zones/new.inc");
    home.write("a.zone", &format!("{master}$INCLUDE new.inc\n"));
    let (_, _, kept, sources) = home.again(sources);
    assert_eq!((kept.len(), sources.included().get(&new)), (1, Some(&None)), "it is not there");
    home.write("new.inc", "x");
    let (_, _, kept, sources) = home.again(sources);
    assert!(kept.len() == 1 && sources.included()[&new].is_some(), "it is wrong");
    home.write("new.inc", "x A 192.0.2.1\n");
    let (_, refused, _, sources) = home.again(sources);
    assert!(refused.is_empty() && sources.included().len() == 1);
}

#[test]
fn what_is_wrong_in_zones_is_told_beside_what_is_wrong_elsewhere() {
    let home = Home::new();
    home.write("a.toml", &zone(1, ""));
    let sources = world(&home.settings()).unwrap().sources;
    std::fs::create_dir(home.0.path().join("geo")).unwrap();
    std::fs::write(home.0.path().join("geo/x.mmdb"), "x").unwrap();
    home.write("a.toml", "y");
    let findings = Reread::new(home.settings(), sources).world().unwrap_err();
    assert!(findings.len() == 2 && findings[1].file.ends_with("a.toml"), "{findings:?}");
}

#[test]
fn geo_data_that_is_broken_or_breaks_zones_stays_as_it_was() {
    let home = Home::new();
    let regions = |text: &str| std::fs::write(home.0.path().join("geo/regions.toml"), text).unwrap();
    std::fs::create_dir(home.0.path().join("geo")).unwrap();
    regions("[regions]\neu = { azs = [\"a\"] }\n");
    let service = "[services.web.instances.one]\naddresses = [\"192.0.2.9\"]\nregion = \"eu\"\naz = \"a\"\n";
    home.write("a.toml", &format!("services = true\n{}{service}", zone(1, "")));
    let mut sources = world(&home.settings()).unwrap().sources;
    let geo = home.0.path().join("geo").display().to_string();
    // A region that is not there any more is missed by the zone, which did not change.
    for text in ["x", "[regions]\nus = {}\n"] {
        regions(text);
        home.write("b.toml", &zone(2, ""));
        let (zones, refused, kept, now) = home.again(sources);
        assert_eq!((zones.as_str(), refused.len(), kept), ("a.1 b.2", 1, vec![(geo.clone(), true)]), "{refused:?}");
        sources = now;
    }
    regions("[regions]\neu = { azs = [\"a\"] }\nus = {}\n");
    let (zones, refused, kept, _) = home.again(sources);
    assert!(zones == "a.1 b.2" && refused.is_empty() && kept.is_empty(), "{refused:?}");
}

/// Were one opened, the reading would wait for somebody who writes to it, and with it every reload behind.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_opened() {
    let home = Home::new();
    home.write("a.toml", &zone(1, ""));
    let sources = world(&home.settings()).unwrap().sources;
    std::os::unix::fs::symlink("/dev/zero", home.0.path().join("zones/b.toml")).unwrap();
    std::fs::create_dir(home.0.path().join("zones/c.zone")).unwrap();
    let fifo = home.0.path().join("zones/d.toml");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (_, refused, ..) = home.again(sources);
    assert_eq!(refused, ["b.toml: is no file", "c.zone: is no file", "d.toml: is no file"]);
}
