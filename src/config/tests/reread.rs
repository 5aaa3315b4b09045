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
