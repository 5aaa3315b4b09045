//! A small world for tests: regions `eu`, `us` and `ap` with azs `1` and `2`, and services written as text.

use std::collections::BTreeSet;

use super::*;
use crate::model::{BranchFields, Code, Geo, Label, Locality, Out, Owner, Policy};

pub(super) struct Fixture {
    pub places: Places,
    pools: Vec<(Label, Option<Pool>)>,
    pub drained: BTreeSet<LocalityId>,
}

impl World for Fixture {
    fn pool(&self, service: ServiceId) -> Option<&Pool> {
        self.pools.get(service.0 as usize)?.1.as_ref()
    }
    fn out(&self, locality: LocalityId) -> Out {
        if self.drained.contains(&locality) { Out::DRAINED } else { Out::SERVING }
    }
    fn places(&self) -> &Places {
        &self.places
    }
}

pub(super) fn locality(text: &str) -> Locality {
    let (region, az) = text.split_once('/').unwrap();
    Locality { region: Label::parse(region).unwrap(), az: Label::parse(az).unwrap() }
}

/// A policy from JSON with the keys of a zone file.
pub(super) fn policy(json: &str, owner: Owner) -> Policy {
    let fields: BranchFields = serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"));
    Policy::from_fields(&fields, owner, &|_, _| Ok((1, Box::new([])))).unwrap_or_else(|e| panic!("{json}: {e}"))
}

/// Instances from text: `eu/1:h` is a healthy one in az 1 of eu; `p` pending, `l` unhealthy but last good, `u` unhealthy,
/// `d` drained; `*50` its weight, `#blue` a tag.
pub(super) fn members(places: &Places, text: &str) -> Vec<Member> {
    let read = |word: &str| {
        let (word, tags) = word.split_once('#').map_or((word, Vec::new()), |(w, t)| (w, vec![Label::parse(t).unwrap()]));
        let (word, weight) = word.split_once('*').map_or((word, 100), |(w, n)| (w, n.parse().unwrap()));
        let (place, standing) = word.split_once(':').unwrap();
        let standing = match standing {
            "h" => Standing::Healthy,
            "p" => Standing::Pending,
            "l" => Standing::LastGood,
            "u" => Standing::Unhealthy,
            "d" => Standing::Drained,
            _ => panic!("{word}"),
        };
        let locality = places.locality(&locality(place)).unwrap();
        Member { locality, weight, standing, has: Need::V4, steady_ms: 1000, tags }
    };
    text.split_whitespace().map(read).collect()
}

impl Fixture {
    /// Services as (name, policy, instances); instances `-`: not registered.
    pub fn new(services: &[(&str, &str, &str)]) -> Fixture {
        let azs = ["eu/1", "eu/2", "us/1", "us/2", "ap/1", "ap/2"].map(locality);
        let places = Places::new(&Geo::default(), azs);
        let pools = services.iter().map(|(name, json, text)| {
            let tree = Tree::compile(&policy(json, Owner::Service), &places, &mut |_| None).unwrap();
            (Label::parse(name).unwrap(), (*text != "-").then(|| Pool::build(tree, &members(&places, text), &places)))
        });
        Fixture { pools: pools.collect(), drained: BTreeSet::new(), places }
    }

    pub fn tree(&self, json: &str) -> Tree {
        let slot = |label: &Label| self.pools.iter().position(|(name, _)| name == label).map(|n| ServiceId(n as u32));
        Tree::compile(&policy(json, Owner::Name), &self.places, &mut |label| slot(label)).unwrap()
    }

    pub fn region(&self, label: &str) -> RegionId {
        self.places.region(label.as_bytes()).unwrap()
    }

    /// A client: `eu/1` and `eu` are in a region, 0 ms from it; `~eu` is nowhere but 20 ms from eu; `FR` and `US-MA` are known by
    /// country; `?` is not known at all.
    pub fn client(&self, text: &str) -> Origin {
        let code = |text: &str| Some(Code::parse(text).unwrap());
        let continent = |country: &str| code(if country == "FR" { "EU" } else { "NA" });
        let ranking = |first: &str, base: f32| {
            let others = ["eu", "us", "ap"].into_iter().filter(|r| *r != first).enumerate();
            let rest = others.map(|(n, r)| (self.region(r), base + 70.0 * (n + 1) as f32));
            [(self.region(first), base)].into_iter().chain(rest).collect()
        };
        match text {
            "?" => Origin::default(),
            _ if text.contains('/') => {
                let number = self.places.locality(&locality(text)).unwrap();
                let region = &text[..2];
                Origin { region: Some(self.region(region)), locality: Some(number), ranking: ranking(region, 0.0), ..Origin::default() }
            }
            _ if text.starts_with('~') => Origin { ranking: ranking(&text[1..], 20.0), ..Origin::default() },
            _ if text.as_bytes()[0].is_ascii_lowercase() => {
                Origin { region: Some(self.region(text)), ranking: ranking(text, 0.0), ..Origin::default() }
            }
            _ => {
                let (country, subdivision) = text.split_once('-').unwrap_or((text, ""));
                Origin {
                    country: code(country),
                    continent: continent(country),
                    subdivision: Code::parse(subdivision).ok(),
                    ..Origin::default()
                }
            }
        }
    }

    /// What a client is answered, as text: services by name with the numbers of their instances, `rN` for record set N, tiers
    /// separated by ` > `; `!` before it for fail-open, `@24` behind it for an answer of that scope.
    pub fn answer(&self, start: Start<'_>, client: &str, draw: u64, tiers: usize) -> String {
        let origin = self.client(client);
        let client = Client { origin: &origin, scope: 24 };
        let decision = decide(self, start, client, draw, tiers, &mut Silent);
        let traced = decide(self, start, client, draw, tiers, &mut Steps::default());
        assert_eq!(self.text(&decision, draw), self.text(&traced, draw), "a trace changes nothing");
        self.text(&decision, draw)
    }

    pub fn text(&self, decision: &Decision<'_>, draw: u64) -> String {
        let choice = |choice: &Choice<'_>| match choice {
            Choice::Records { first, count, .. } => (*first..first + count).map(|n| format!("r{n}")).collect(),
            Choice::Instances(selection) => {
                let mut numbers = Vec::new();
                pick(self, selection, Need::ANY, 64, draw, |p| numbers.push(p.member.to_string()));
                format!("{}[{}]", self.pools[selection.service.0 as usize].0, numbers.join(","))
            }
        };
        let tiers: Vec<String> = decision.tiers.iter().flatten().map(choice).collect();
        let open = if decision.fail_open { "!" } else { "" };
        let scope = if decision.scope > 0 { format!("@{}", decision.scope) } else { String::new() };
        format!("{open}{}{scope}", if tiers.is_empty() { "-".into() } else { tiers.join(" > ") })
    }
}
