//! Whether a drain leaves enough: the rules of `[safety]`, asked before it is taken.
//!
//! Every other drain counts as whole here, from the moment it is announced until nothing is left of it: what it takes away may be away
//! by the time that it is missed. Where nothing at all is healthy, everything that is not drained is answered (DESIGN §4), so it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Refusal, Registry};
use crate::model::{Health, Instance, Label, Period, SafetySettings, Subject, Timestamp};

/// A rule that a drain would break, with the numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// Too few regions would be up.
    Regions {
        /// Those that would.
        up: usize,
        /// All that are declared or in use.
        of: usize,
        /// What `min_regions` says.
        least: usize,
    },
    /// A service would keep too little.
    Weight {
        /// Which.
        service: Label,
        /// The healthy weight in answers that it would keep.
        kept: u64,
        /// The weight of all its instances; of those without any weight, their number.
        registered: u64,
        /// What `min_healthy_weight` says, in percent.
        least: u8,
    },
    /// More services would; the worst are told.
    Weights(usize),
    /// Another region is out of answers.
    Together {
        /// Which.
        region: Label,
        /// Whether its drain is on its way back.
        lifting: bool,
    },
    /// Another region has come back only just now.
    Soon {
        /// Which.
        region: Label,
        /// How long ago.
        ago: Period,
        /// What `wait` says.
        wait: Period,
    },
}

/// Services that are told by name.
const TOLD: usize = 3;

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Breach::Regions { up, of, least } => write!(f, "{up} of {of} regions would be up, {least} is the least"),
            Breach::Weight { service, kept, registered, least } => {
                let percent = (kept * 100).checked_div(*registered).unwrap_or(0);
                write!(f, "service {service} would keep {kept} of {registered} weight ({percent} %), {least} % is the least")
            }
            Breach::Weights(more) => write!(f, "{more} more services would keep too little"),
            Breach::Together { region, lifting: false } => write!(f, "region {region} is drained already, and only one may be at a time"),
            Breach::Together { region, .. } => write!(f, "region {region} is still being lifted, and only one may be out at a time"),
            Breach::Soon { region, ago, wait } => {
                write!(f, "region {region} came back {ago} ago, and {wait} must pass before the next one goes")
            }
        }
    }
}

/// Breaches as a sentence.
pub(super) fn told(breaches: &[Breach]) -> String {
    breaches.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What is drained, by any drain that is not over.
#[derive(Default)]
struct Cover<'r> {
    regions: BTreeSet<&'r Label>,
    azs: BTreeSet<(&'r Label, &'r Label)>,
    services: BTreeSet<&'r Label>,
    instances: BTreeSet<(&'r Label, &'r Label)>,
}

impl<'r> Cover<'r> {
    fn add(&mut self, subject: &'r Subject) {
        match subject {
            Subject::Region(region) => self.regions.insert(region),
            Subject::Az(locality) => self.azs.insert((&locality.region, &locality.az)),
            Subject::Service(service) => self.services.insert(service),
            Subject::Instance(key) => self.instances.insert((&key.service, &key.id)),
        };
    }

    /// By its place.
    fn place(&self, instance: &Instance) -> bool {
        self.regions.contains(&instance.region) || self.azs.contains(&(&instance.region, &instance.az))
    }

    /// By itself or with its service.
    fn own(&self, service: &Label, id: &Label) -> bool {
        self.services.contains(service) || self.instances.contains(&(service, id))
    }
}

/// How many instances of a region there are.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// Not drained by themselves or with their service.
    open: usize,
    /// Nor with their place.
    before: usize,
    /// Nor with what is to be drained.
    after: usize,
}

/// The regions, by what is healthy in them and by what there is.
struct Census<'r> {
    healthy: BTreeMap<&'r Label, Count>,
    all: BTreeMap<&'r Label, Count>,
    /// Regions that are declared or in use.
    known: usize,
}

impl<'r> Census<'r> {
    /// What counts: what is healthy, or everything where nothing is.
    fn counts(&self) -> &BTreeMap<&'r Label, Count> {
        if self.healthy.values().any(|count| count.before > 0) { &self.healthy } else { &self.all }
    }
}

impl Registry {
    /// Whether draining `subject` leaves what it must. A drain of the same subject that is being lifted does not count.
    pub(super) fn check_safety(&self, subject: &Subject, now: Timestamp) -> Result<(), Refusal> {
        let SafetySettings { min_regions, min_healthy_weight, one_region_at_a_time, wait } = self.safety;
        let mut cover = Cover::default();
        self.drains.iter().filter(|(other, entry)| *other != subject && !entry.drain.is_over(now)).for_each(|(other, _)| cover.add(other));
        let mut breaches = Vec::new();
        if matches!(subject, Subject::Region(_) | Subject::Az(_)) {
            let census = self.census(&cover, Some(subject));
            let counts = census.counts();
            // At most one: the region of the subject.
            let lost = counts.iter().find(|(_, count)| count.before > 0 && count.after == 0).map(|(region, _)| *region);
            if let Some(lost) = lost {
                let up = counts.values().filter(|count| count.after > 0).count();
                if up < min_regions {
                    breaches.push(Breach::Regions { up, of: census.known, least: min_regions });
                }
                let out =
                    |region: &&Label| cover.regions.contains(region) || counts.get(region).is_some_and(|c| c.open > 0 && c.before == 0);
                let other = cover.regions.iter().copied().chain(counts.keys().copied()).find(|region| *region != lost && out(region));
                if let Some(region) = other.filter(|_| one_region_at_a_time) {
                    let drain = self.drains.get(&Subject::Region(region.clone()));
                    let lifting = drain.is_some_and(|entry| !entry.drain.holds(now));
                    breaches.push(Breach::Together { region: region.clone(), lifting });
                }
                let ended = self.lifted.iter().filter(|(region, _)| *region != lost).max_by_key(|(_, ended)| **ended);
                if let Some((region, ended)) = ended.filter(|(_, ended)| now < ended.plus(wait.0)) {
                    breaches.push(Breach::Soon { region: region.clone(), ago: Period::seconds(now.since(*ended).as_secs()), wait });
                }
            }
        }
        breaches.extend(self.weights(&cover, subject, min_healthy_weight));
        if breaches.is_empty() { Ok(()) } else { Err(Refusal::Unsafe { subject: subject.clone(), breaches }) }
    }

    /// How many regions are up, of how many that are declared or in use: what `min_regions` is compared with.
    pub fn regions_up(&self, now: Timestamp) -> (usize, usize) {
        let mut cover = Cover::default();
        self.drains.iter().filter(|(_, entry)| !entry.drain.is_over(now)).for_each(|(subject, _)| cover.add(subject));
        let census = self.census(&cover, None);
        (census.counts().values().filter(|count| count.before > 0).count(), census.known)
    }

    /// Takes a drain away that has ended at `now`. Returns the region that came back with it: others may have to wait.
    pub fn end_drain(&mut self, subject: &Subject, now: Timestamp) -> Option<Label> {
        let region = match subject {
            Subject::Region(region) => Some(region),
            Subject::Az(locality) => {
                let mut others = self.localities().into_iter().filter(|other| other.region == locality.region);
                others.all(|other| self.drains.contains_key(&Subject::Az(other))).then_some(&locality.region)
            }
            Subject::Service(_) | Subject::Instance(_) => None,
        };
        self.drains.remove(subject)?;
        self.lifted.insert(region?.clone(), now);
        region.cloned()
    }

    /// Counts the instances of each region.
    fn census(&self, cover: &Cover<'_>, subject: Option<&Subject>) -> Census<'_> {
        let mut census = Census { healthy: BTreeMap::new(), all: BTreeMap::new(), known: 0 };
        for (service, entry) in &self.services {
            for (id, instance) in entry.instances.iter().filter(|(id, _)| !cover.own(service, id)) {
                let before = !cover.place(&instance.instance);
                let after = before && !subject.is_some_and(|subject| concerns(subject, service, id, &instance.instance));
                let count = |counts: &mut BTreeMap<_, Count>| {
                    let count = counts.entry(&instance.instance.region).or_default();
                    count.open += 1;
                    count.before += usize::from(before);
                    count.after += usize::from(after);
                };
                count(&mut census.all);
                if instance.vitals.health() == Health::Healthy {
                    count(&mut census.healthy);
                }
            }
        }
        let mut known: BTreeSet<&Label> = self.regions.iter().flat_map(BTreeMap::keys).collect();
        known.extend(self.services.values().flat_map(|entry| &entry.instances).map(|(_, entry)| &entry.instance.region));
        census.known = known.len();
        census
    }

    /// The services that would keep too little, worst first.
    fn weights(&self, cover: &Cover<'_>, subject: &Subject, least: u8) -> Vec<Breach> {
        let mut short = Vec::new();
        let concerned = self.services.iter().filter(|(name, _)| match subject {
            _ if least == 0 => false,
            Subject::Service(service) => service == *name,
            Subject::Instance(key) => key.service == **name,
            Subject::Region(_) | Subject::Az(_) => true,
        });
        for (name, entry) in concerned {
            // Instances of which none has a weight are equal (DESIGN §3).
            let equal = entry.instances.values().all(|entry| entry.instance.weight == 0);
            let (mut kept, mut lost, mut registered) = (0, 0, 0);
            for (id, entry) in &entry.instances {
                let weight = if equal { 1 } else { u64::from(entry.instance.weight) };
                registered += weight;
                if entry.vitals.health() == Health::Healthy && !cover.own(name, id) && !cover.place(&entry.instance) {
                    *(if concerns(subject, name, id, &entry.instance) { &mut lost } else { &mut kept }) += weight;
                }
            }
            if lost > 0 && kept * 100 < u64::from(least) * registered {
                short.push((kept * 1_000_000 / registered, Breach::Weight { service: name.clone(), kept, registered, least }));
            }
        }
        short.sort_by_key(|(share, _)| *share);
        let more = short.len().saturating_sub(TOLD);
        let told = short.into_iter().take(TOLD).map(|(_, breach)| breach);
        told.chain((more > 0).then_some(Breach::Weights(more))).collect()
    }
}

/// Whether a drain of `subject` takes the instance along.
pub fn concerns(subject: &Subject, service: &Label, id: &Label, instance: &Instance) -> bool {
    match subject {
        Subject::Region(region) => instance.region == *region,
        Subject::Az(locality) => instance.region == locality.region && instance.az == locality.az,
        Subject::Service(name) => name == service,
        Subject::Instance(key) => key.service == *service && key.id == *id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Health, Locality, Revision};
    use crate::registry::tests::{command_at, key};

    /// `eu/1 web/a=40` is a healthy instance of that weight; `!` before it an unhealthy one.
    fn registry(instances: &str) -> Registry {
        let mut registry = Registry::default();
        for words in instances.split(", ").map(|text| text.split(' ').collect::<Vec<_>>()) {
            let [place, named] = words[..] else { panic!("{words:?}") };
            let (region, az) = place.split_once('/').unwrap();
            let (name, weight) = named.split_once('=').unwrap_or((named, "100"));
            let name = name.trim_start_matches('!');
            let checked = r#""ports": {"http": 80}, "checks": [{"tcp": true}]"#;
            let text = format!(r#"put {name} {{"region": "{region}", "az": "{az}", "weight": {weight}, {checked}}}"#);
            registry.apply(&command_at(&text, Timestamp(0)), Timestamp(0), Revision(1)).unwrap();
            let health = if named.starts_with('!') { Health::Unhealthy } else { Health::Healthy };
            registry.observe(&key(name), health, false, "", Timestamp(0));
        }
        registry
    }

    /// Commands before the last one are carried out, whatever the rules say; the last one is held to them. `@N` before a command: at N
    /// seconds.
    fn check(instances: &str, safety: SafetySettings, commands: &str, expected: &str) {
        let mut registry = Registry { safety, ..registry(instances) };
        let commands: Vec<&str> = commands.split(", ").collect();
        let mut said = String::new();
        for (n, text) in commands.iter().enumerate() {
            let (at, text) = text.strip_prefix('@').and_then(|rest| rest.split_once(' ')).unwrap_or(("0", text));
            let now = Timestamp(at.parse::<u64>().unwrap() * 1_000);
            let text = match text.split_once(' ').unwrap() {
                ("undrain", _) => text.to_string(),
                (_, rest) if n + 1 < commands.len() => format!("drain {rest}"),
                (_, rest) => format!("safely {rest}"),
            };
            said = match registry.apply(&command_at(&text, now), now, Revision(2)) {
                Ok(_) => "fine".into(),
                Err(Refusal::Unsafe { breaches, .. }) => told(&breaches),
                Err(other) => other.to_string(),
            };
        }
        assert_eq!(said, expected, "{commands:?} over {instances}");
    }

    const RULES: SafetySettings =
        SafetySettings { min_regions: 1, min_healthy_weight: 0, one_region_at_a_time: true, wait: Period::seconds(0) };

    #[test]
    fn a_drain_leaves_regions_up() {
        let check = |instances: &str, commands: &str, expected: &str| {
            check(instances, SafetySettings { one_region_at_a_time: false, ..RULES }, commands, expected);
        };
        let two = "eu/1 web/a, us/1 web/b";
        check(two, "drain region/eu", "fine");
        check(two, "drain region/eu, drain region/us", "0 of 2 regions would be up, 1 is the least");
        check(two, "drain region/eu, drain region/eu", "fine");
        check("eu/1 web/a", "drain region/eu", "0 of 1 regions would be up, 1 is the least");
        // The other one is drained until nothing is left of its drain, and even before the first client moves.
        let ramped = r#"drain region/eu {"ramp": "100s"}"#;
        check(two, &format!("{ramped}, drain region/us"), "0 of 2 regions would be up, 1 is the least");
        check(two, &format!("{ramped}, @130 undrain region/eu, @229 drain region/us"), "0 of 2 regions would be up, 1 is the least");
        check(two, &format!("{ramped}, @130 undrain region/eu, @230 drain region/us"), "fine");
        // What is dead is no loss, and no help either.
        check("eu/1 !web/a, us/1 web/b", "drain region/eu", "fine");
        check("eu/1 !web/a, us/1 web/b", "drain region/us", "0 of 2 regions would be up, 1 is the least");
        // Where all is dead, all is answered.
        check("eu/1 !web/a, us/1 !web/b", "drain region/eu", "fine");
        check("eu/1 !web/a, us/1 !web/b", "drain region/eu, drain region/us", "0 of 2 regions would be up, 1 is the least");
        // Az by az.
        let azs = "eu/1 web/a, eu/2 web/b, eu/3 !web/c";
        check(azs, "drain az/eu/1", "fine");
        check(azs, "drain az/eu/1, drain az/eu/2", "0 of 1 regions would be up, 1 is the least");
        check(azs, "drain az/eu/1, drain az/eu/3", "fine");
        check(azs, "drain instance/web/a, drain az/eu/2", "0 of 1 regions would be up, 1 is the least");
        check(azs, "drain service/web, drain az/eu/2", "fine");
        // A service or an instance is the operator's to take out.
        check("eu/1 web/a", "drain service/web", "fine");
        check("eu/1 web/a", "drain instance/web/a", "fine");
        // While its drain is lifted a region is drained anew only if it may be; by then the other one has died.
        let mut registry = Registry { safety: RULES, ..registry(two) };
        let apply = |registry: &mut Registry, text: &str, at| registry.apply(&command_at(text, Timestamp(at)), Timestamp(at), Revision(3));
        apply(&mut registry, r#"safely region/eu {"ramp": "100s"}"#, 0).unwrap();
        apply(&mut registry, "undrain region/eu", 130_000).unwrap();
        registry.observe(&key("web/b"), Health::Unhealthy, false, "refused", Timestamp(140_000));
        assert!(matches!(apply(&mut registry, "safely region/eu", 150_000), Err(Refusal::Unsafe { .. })));
        assert_eq!(registry.regions_up(Timestamp(150_000)), (1, 2), "us, which is dead and answered as nothing else is");
        assert_eq!(registry.regions_up(Timestamp(300_000)), (1, 2), "eu");
    }

    #[test]
    fn more_regions_may_be_asked_for() {
        let rules = SafetySettings { min_regions: 2, one_region_at_a_time: false, ..RULES };
        let three = "eu/1 web/a, us/1 web/b, ap/1 web/c";
        check(three, rules, "drain region/eu", "fine");
        check(three, rules, "drain region/eu, drain region/us", "1 of 3 regions would be up, 2 is the least");
        check(three, SafetySettings { min_regions: 0, ..rules }, "drain region/eu, drain region/us, drain region/ap", "fine");
    }

    #[test]
    fn one_region_goes_at_a_time() {
        let three = "eu/1 web/a, eu/2 web/b, us/1 web/c, ap/1 web/d, sa/1 !web/e";
        check(three, RULES, "drain region/eu, drain region/us", "region eu is drained already, and only one may be at a time");
        check(three, RULES, "drain az/eu/1, drain region/us", "fine");
        check(three, RULES, "drain az/eu/1, drain az/eu/2, drain region/us", "region eu is drained already, and only one may be at a time");
        check(three, RULES, "drain region/us, drain az/eu/1, drain az/eu/2", "region us is drained already, and only one may be at a time");
        check(three, RULES, "drain region/eu, drain az/eu/2", "fine");
        check(three, RULES, "drain region/eu, drain region/sa", "fine");
        check(three, RULES, "drain region/eu, undrain region/eu, drain region/us", "fine");
        check(
            three,
            RULES,
            r#"drain region/eu {"ramp": "60s"}, @90 undrain region/eu, @91 drain region/us"#,
            "region eu is still being lifted, and only one may be out at a time",
        );
    }

    #[test]
    fn regions_wait_for_each_other() {
        let three = "eu/1 web/a, eu/2 web/b, us/1 web/c, ap/1 web/d";
        let rules = SafetySettings { wait: Period::seconds(60), ..RULES };
        let soon = "region eu came back 20s ago, and 1m must pass before the next one goes";
        check(three, rules, "drain region/eu, @10 undrain region/eu, @30 drain region/us", soon);
        check(three, rules, "drain region/eu, @10 undrain region/eu, @70 drain region/us", "fine");
        check(three, rules, "drain region/eu, @10 undrain region/eu, @30 drain region/eu", "fine");
        check(three, rules, "drain region/eu, @10 undrain region/eu, @30 drain az/eu/1", "fine");
        check(three, rules, "drain az/eu/1, drain az/eu/2, @10 undrain az/eu/2, @30 drain region/us", soon);
        check(three, rules, "drain az/eu/1, @10 undrain az/eu/1, @30 drain region/us", "fine");
    }

    #[test]
    fn services_keep_a_share_of_their_weight() {
        let rules = SafetySettings { min_healthy_weight: 50, one_region_at_a_time: false, ..RULES };
        let some = "eu/1 web/a=40, us/1 web/b=60, us/2 web/c=0, eu/1 db/a=0, us/1 db/b=0, ap/1 !web/x=0";
        check(some, rules, "drain region/us", "service web would keep 40 of 100 weight (40 %), 50 % is the least");
        check(some, rules, "drain region/eu", "fine");
        check(some, rules, "drain service/db", "service db would keep 0 of 2 weight (0 %), 50 % is the least");
        check(some, rules, "drain instance/web/b", "service web would keep 40 of 100 weight (40 %), 50 % is the least");
        check(some, rules, "drain instance/web/c", "fine");
        check(some, rules, "drain az/us/1", "service web would keep 40 of 100 weight (40 %), 50 % is the least");
        check(some, rules, "drain instance/web/a, drain az/us/2", "fine");
        check(some, rules, "drain region/eu, drain instance/db/b", "service db would keep 0 of 2 weight (0 %), 50 % is the least");
        check(
            "eu/1 !web/a=60, us/1 web/b=40, us/2 web/c=40",
            rules,
            "drain az/us/2",
            "service web would keep 40 of 140 weight (28 %), 50 % is the least",
        );
        let many = (0..5).map(|n| format!("eu/1 s{n}/a={n}, us/1 s{n}/b=9, ap/1 t/b")).collect::<Vec<_>>().join(", ");
        let short = |n: u64| format!("service s{n} would keep {n} of {} weight ({} %), 50 % is the least; ", n + 9, n * 100 / (n + 9));
        check(&many, rules, "drain region/us", &format!("{}{}{}2 more services would keep too little", short(0), short(1), short(2)));
    }

    #[test]
    fn drains_of_azs_end_together() {
        let mut registry = registry("eu/1 web/a, eu/2 web/b");
        registry.apply(&command_at("drain az/eu/1", Timestamp(0)), Timestamp(0), Revision(1)).unwrap();
        let az = Subject::Az(Locality { region: "eu".parse().unwrap(), az: "1".parse().unwrap() });
        assert_eq!(registry.end_drain(&az, Timestamp(5)), None, "the other one was in answers");
        assert_eq!(registry.end_drain(&az, Timestamp(5)), None, "there is none any more");
    }
}
