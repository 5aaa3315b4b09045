//! The trace of a decision: what explain shows. The query path traces into [`Silent`], which compiles to nothing.

use serde::Serialize;

/// Takes the steps of a decision.
pub trait Trace {
    /// Whether steps are wanted; where not, none is even made.
    const WANTED: bool;
    /// Takes one step.
    fn step(&mut self, step: impl FnOnce() -> Step);
}

/// Takes nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Trace for Silent {
    const WANTED: bool = false;
    #[inline(always)]
    fn step(&mut self, _step: impl FnOnce() -> Step) {}
}

/// Keeps every step.
#[derive(Debug, Default)]
pub struct Steps(pub Vec<Step>);

impl Trace for Steps {
    const WANTED: bool = true;
    fn step(&mut self, step: impl FnOnce() -> Step) {
        self.0.push(step());
    }
}

/// One step: what was looked at and why it was taken or left.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Step {
    /// Depth in the tree, 0 for the root.
    pub depth: u8,
    /// What was looked at, such as `latency`, `branch 2: web in us-east` or `level eu-west/eu-west-1a`.
    pub at: String,
    /// What came of it: `chosen`, `filtered`, `passed over`, …
    pub outcome: String,
    /// Why, with the numbers that decided.
    pub reason: String,
}

impl Step {
    pub(super) fn new(depth: u8, at: String, outcome: &str, reason: String) -> Step {
        Step { depth, at, outcome: outcome.into(), reason }
    }
}

/// What steps say.
pub(super) mod words {
    use std::net::IpAddr;

    use crate::model::{PolicyKind, Share};
    use crate::routing::levels::{Level, Standpoint};
    use crate::routing::sieve::{Gate, Sieve};
    use crate::routing::tree::{Features, Lead, Part, Way};
    use crate::routing::views::{Fit, biased_km, whereabouts};
    use crate::routing::{Places, Pool, RegionId, Stand, Standing, World};

    pub fn rule(rule: PolicyKind) -> String {
        rule.to_string()
    }

    pub fn branches(count: u32) -> String {
        if count == 1 { "1 branch".into() } else { format!("{count} branches") }
    }

    pub fn too_few_branches(needed: usize) -> String {
        format!("fewer than {needed} branches are healthy")
    }

    pub fn too_few(needed: usize) -> String {
        format!("fewer than {needed} instances are healthy")
    }

    pub fn in_order(n: u32) -> String {
        format!("number {} in order", n + 1)
    }

    /// `branch 2: web in us-east`
    pub fn branch(n: u32, part: &Part, places: &Places) -> String {
        let mut text = format!("branch {}: ", n + 1);
        let ruled = |kind| match part.region {
            Some(region) => format!("{} in {}", rule(kind), places.region_label(region)),
            None => rule(kind),
        };
        match &part.way {
            Way::Fork(fork) => text += &ruled(fork.rule),
            Way::Own(kind) => text += &ruled(*kind),
            Way::Instances(lead) => {
                let Lead { service, narrowing } = &**lead;
                text += service.as_ref().map_or("instances", |(_, label)| label.as_str());
                match (narrowing.region, narrowing.az) {
                    (Some(region), Some(az)) => text += &format!(" in {}/{}", places.region_label(region), places.az_name_label(az)),
                    (Some(region), None) => text += &format!(" in {}", places.region_label(region)),
                    (None, Some(az)) => text += &format!(" in az {}", places.az_name_label(az)),
                    (None, None) => {}
                }
                if let Some(tag) = &narrowing.tag {
                    text += &format!(" tagged {tag}");
                }
                if narrowing.nowhere {
                    text += " in a place where nothing is";
                }
            }
            Way::Records { count, .. } => text += if *count == 1 { "a record set" } else { "record sets" },
        }
        text
    }

    pub fn share(share: u64, total: u64) -> String {
        match total {
            0 => "nothing is healthy".into(),
            _ => format!("weight {share} of {total}: {:.1} %", 100.0 * share as f64 / total as f64),
        }
    }

    pub fn latency(region: Option<RegionId>, own: Option<RegionId>, stand: &Stand) -> String {
        match region {
            None => "no region to rank it by".into(),
            Some(_) if region == own => "own region".into(),
            Some(region) => match stand.ranking.iter().find(|(r, _)| *r == region) {
                Some((_, ms)) => format!("{ms:.0} ms"),
                None => "no latency known: behind those with one".into(),
            },
        }
    }

    /// What is known of where the client is.
    fn client<W: World>(world: &W, client: IpAddr) -> String {
        let (origin, _) = world.origins().find(client);
        match (origin.country, origin.subdivision, origin.continent) {
            (Some(country), Some(subdivision), _) => format!("{country}-{subdivision}"),
            (Some(country), None, Some(continent)) => format!("{country} ({continent})"),
            (Some(country), None, None) => country.to_string(),
            (None, _, Some(continent)) => continent.to_string(),
            (None, _, None) => "an unknown place".into(),
        }
    }

    /// Why a branch stands where it does in the order of a view.
    pub fn fit<W: World>(world: &W, client: IpAddr, fit: Fit, branch: &Features) -> String {
        let place = || self::client(world, client);
        match fit {
            Fit::Subdivision => format!("client in {}: matches by subdivision", place()),
            Fit::Country => format!("client in {}: matches by country", place()),
            Fit::Continent => format!("client in {}: matches by continent", place()),
            Fit::Prefix(length) => format!("client {client}: in a prefix of {length} bits"),
            Fit::System => match world.origins().find(client).0.asn {
                Some(asn) => format!("client in AS{asn}"),
                None => "client's autonomous system".into(),
            },
            Fit::Distance => match (whereabouts(world.origins().find(client).0, world.places()), branch.place) {
                (Some(from), Some(to)) => match branch.bias {
                    0 => format!("{:.0} km", biased_km(from, to, 0)),
                    bias => format!("{:.0} km, with a bias of {bias}: {:.0} km", biased_km(from, to, 0), biased_km(from, to, bias)),
                },
                _ => "by distance".into(),
            },
            Fit::Default => format!("client in {}: the default", place()),
        }
    }

    pub fn unplaced() -> String {
        "nothing is known of its place: behind those with one".into()
    }

    pub fn resort() -> String {
        "the last resort".into()
    }

    pub fn other_clients<W: World>(world: &W, client: IpAddr) -> String {
        format!("client in {}: not among its clients", self::client(world, client))
    }

    pub fn carries(share: f64) -> String {
        format!("; carries {:.1} % of the load", 100.0 * share)
    }

    /// What is said of a place that is out of answers for a part of the clients.
    pub fn ramp(out: Share, moved: bool) -> String {
        format!("; drained for {:.1} % of the clients, {}for this one", 100.0 * out.ratio(), if moved { "" } else { "not " })
    }

    /// What is said of a level that is answered whole.
    pub const PANIC: &str = "; less than panic_threshold is healthy: all of it answers";

    /// `level eu-west/eu-west-1a`
    pub fn level_name(level: &Level, places: &Places) -> String {
        match (level.locality, level.region) {
            (Some(locality), _) => {
                format!("level {}/{}", places.region_label(places.region_of(locality)), places.az_label(locality))
            }
            (None, Some(region)) => format!("level {}", places.region_label(region)),
            (None, None) => "all instances".into(),
        }
    }

    pub fn level(places: &Places, census: &Census, level: &Level, standing: Standing, stand: Option<&Stand>) -> String {
        let place = match level.place {
            Standpoint::Everywhere | Standpoint::Declared => String::new(),
            Standpoint::OwnAz => "own az; ".into(),
            Standpoint::OwnRegion if level.except.is_some() => "rest of own region; ".into(),
            Standpoint::OwnRegion => "own region; ".into(),
            Standpoint::Unranked => "no latency known; ".into(),
            Standpoint::Ranked(ms) => match stand.and_then(|stand| stand.ranking.first()) {
                Some((best, least)) if level.region != Some(*best) => {
                    format!("{ms:.0} ms, {:.0} ms more than {}; ", ms - least, places.region_label(*best))
                }
                _ => format!("{ms:.0} ms; "),
            },
        };
        place + &census.text(standing)
    }

    pub fn shortage(census: &Census, standing: Standing, needed: usize) -> String {
        let text = census.text(standing);
        if needed > 1 { format!("{text}; {needed} are needed") } else { text }
    }

    /// Instances by what is known of them.
    #[derive(Default)]
    pub struct Census {
        healthy: usize,
        pending: usize,
        unhealthy: usize,
        drained: usize,
        /// In a drained az or region.
        out: usize,
    }

    impl Census {
        pub fn is_empty(&self) -> bool {
            self.total() == 0
        }

        fn total(&self) -> usize {
            self.healthy + self.pending + self.unhealthy + self.drained + self.out
        }

        /// `2 of 3 healthy, 1 drained`
        fn text(&self, standing: Standing) -> String {
            if self.is_empty() {
                return "no instances".into();
            }
            let mut text = format!("{} of {} healthy", self.healthy, self.total());
            let others = [
                (self.pending, "without a result yet"),
                (self.unhealthy, "unhealthy"),
                (self.drained, "drained"),
                (self.out, "in a drained az or region"),
            ];
            for (count, what) in others.iter().filter(|(count, _)| *count > 0) {
                text += &format!(", {count} {what}");
            }
            text + match standing {
                Standing::Healthy | Standing::Drained => "",
                Standing::Pending => "; those without a result count",
                Standing::LastGood => "; those that were healthy last count",
                Standing::Unhealthy => "; all that are not drained count",
            }
        }
    }

    pub fn census<W: World>(world: &W, pool: &Pool, sieve: &Sieve, level: Option<&Level>, gate: Gate) -> Census {
        let mut census = Census::default();
        let groups = pool.groups(level.and_then(|l| l.region)).iter();
        for group in groups.filter(|g| sieve.passes_group(g) && level.is_none_or(|l| l.has(g.locality))) {
            let rows = pool.rows(group, Standing::Unhealthy).iter().chain(pool.drained_rows(group));
            for row in rows.filter(|row| sieve.passes_row(pool, row)) {
                let count = match row.standing() {
                    _ if gate.shuts(world.out(group.locality).share) => &mut census.out,
                    Standing::Healthy | Standing::Pending if gate.shuts(pool.out(row.member)) => &mut census.drained,
                    Standing::Healthy => &mut census.healthy,
                    Standing::Pending => &mut census.pending,
                    Standing::LastGood | Standing::Unhealthy => &mut census.unhealthy,
                    Standing::Drained => &mut census.drained,
                };
                *count += 1;
            }
        }
        census
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, locality};
    use super::super::{Filter, ServiceId, Start, decide};
    use super::*;
    use crate::model::{Out, Share};

    fn explain(world: &Fixture, start: Start<'_>, client: &str, tiers: usize) -> String {
        let mut steps = Steps::default();
        decide(world, start, world.client(client), 1 << 40, tiers, &mut steps);
        let line = |step: &Step| format!("{}{}: {} ({})", "  ".repeat(step.depth.into()), step.at, step.outcome, step.reason);
        steps.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_step_says_what_was_looked_at_and_why_it_was_taken_or_left() {
        let nearest = r#"{"policy":"nearest"}"#;
        let services = [("web", nearest, "eu/1:u eu/2:h eu/2:d us/1:h us/2:h"), ("far", nearest, "ap/1:p"), ("gone", nearest, "-")];
        let mut world = Fixture::new(&services);
        world.drained.extend(world.places.locality(&locality("us/2")));
        let check = |start: Start<'_>, client: &str, tiers: usize, expected: &str| {
            let expected: Vec<&str> = expected.lines().map(|line| line.strip_prefix("            ").unwrap_or(line)).collect();
            assert_eq!(explain(&world, start, client, tiers), expected.join("\n").trim());
        };
        check(
            Start::Service(ServiceId(0), &Filter::ALL),
            "eu/1",
            1,
            "
            round: runs (healthy instances)
            level eu/1: unhealthy (own az; 0 of 1 healthy, 1 unhealthy)
            level eu: chosen (rest of own region; 1 of 2 healthy, 1 drained; carries 70.0 % of the load)
            level us: next tier (70 ms, 70 ms more than eu; 1 of 2 healthy, 1 in a drained az or region; carries 30.0 % of the load)",
        );
        let tree = world.tree(
            r#"{"policy":"failover","branches":[{"service":"far"},{"service":"gone"},
                {"policy":"latency","branches":[{"service":"web","region":"us"},{"service":"web","region":"eu","az":"1","tag":"blue"}]},
                {"records":{"A":["x"]}}]}"#,
        );
        check(
            Start::Tree(&tree),
            "eu",
            0,
            "
            round: runs (healthy instances)
            failover: entered (4 branches)
              branch 1: far: unhealthy (number 1 in order)
                instances: unhealthy (0 of 1 healthy, 1 without a result yet)
              branch 2: gone: unhealthy (number 2 in order)
                service gone: empty (not registered)
              branch 3: latency: chosen (number 3 in order)
                latency: entered (2 branches)
                  branch 2: web in eu/1 tagged blue: unhealthy (0 ms)
                    instances: unhealthy (no instances)
                  branch 1: web in us: chosen (70 ms)
                    level eu: empty (own region; no instances)
                    level us: chosen (70 ms, 70 ms more than eu; 1 of 2 healthy, 1 in a drained az or region)
              branch 4: a record set: passed over (number 4 in order)",
        );
        let tree = world.tree(
            r#"{"policy":"weighted","branches":[{"service":"web","region":"eu","weight":90},{"service":"far","weight":10},
                {"records":{"A":["x"]},"weight":30}]}"#,
        );
        check(
            Start::Tree(&tree),
            "~us",
            0,
            "
            round: runs (healthy instances)
            weighted: entered (3 branches)
              branch 2: far: unhealthy (not in the draw)
              branch 3: a record set: not drawn (weight 30 of 120: 25.0 %)
              branch 1: web in eu: chosen (weight 90 of 120: 75.0 %)
                level eu: chosen (90 ms, 70 ms more than us; 1 of 3 healthy, 1 unhealthy, 1 drained)",
        );
        let tree = world.tree(
            r#"{"policy":"geolocation","branches":[{"service":"far","countries":["FR"]},{"service":"web","continents":["NA"]},
                {"service":"web","default":true,"min_healthy":3}]}"#,
        );
        check(
            Start::Tree(&tree),
            "FR",
            0,
            "
            round: runs (healthy instances)
            geolocation: entered (3 branches)
              branch 1: far: unhealthy (client in FR (EU): matches by country)
                instances: unhealthy (0 of 1 healthy, 1 without a result yet)
              branch 3: web: unhealthy (client in FR (EU): the default)
                instances: unhealthy (fewer than 3 instances are healthy)
              branch 2: web: filtered (client in FR (EU): not among its clients)
            round: runs (nothing healthy: also instances without a result yet)
            geolocation: entered (3 branches)
              branch 1: far: chosen (client in FR (EU): matches by country)
                level ap: chosen (215 ms, 197 ms more than eu; 0 of 1 healthy, 1 without a result yet; those without a result count)
              branch 3: web: unhealthy (client in FR (EU): the default)
              branch 2: web: filtered (client in FR (EU): not among its clients)",
        );
    }

    #[test]
    fn a_ramp_is_told_to_those_who_have_moved_and_to_those_who_have_not() {
        let mut world = Fixture::new(&[("web", r#"{"policy":"nearest"}"#, "us/1:h us/2:h eu/1:h")]);
        let half = Out { share: Share::of(0.5), moving: true };
        for az in ["us/1", "us/2"] {
            world.outs.extend(world.places.locality(&locality(az)).map(|az| (az, half)));
        }
        let told = |client: &&str| {
            let text = explain(&world, Start::Service(ServiceId(0), &Filter::ALL), client, 0);
            let moved = text.contains("drained for 50.0 % of the clients, for this one");
            let stays = text.contains("drained for 50.0 % of the clients, not for this one");
            // Who has moved is served in eu.
            assert!(moved != stays && moved == text.contains("level eu: chosen"), "{client}: {text}");
            moved
        };
        let moved = ["us", "us/1", "us/2", "~us"].iter().filter(|client| told(client)).count();
        assert!(moved > 0 && moved < 4, "{moved}");
    }
}
