//! A small world for tests: regions `eu`, `us` and `ap` with azs `1` and `2`, and services written as text.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::*;
use crate::model::{BranchFields, Code, Coordinates, Geo, Label, Locality, Out, Owner, Place, Policy, Region, Share};

pub(super) struct Fixture {
    pub places: Places,
    origins: Origins,
    pools: Vec<(Label, Option<Pool>)>,
    /// Drained for everybody.
    pub drained: BTreeSet<LocalityId>,
    /// Out for a part of the clients.
    pub outs: BTreeMap<LocalityId, Out>,
}

impl World for Fixture {
    fn pool(&self, service: ServiceId) -> Option<&Pool> {
        self.pools.get(service.0 as usize)?.1.as_ref()
    }
    fn out(&self, locality: LocalityId) -> Out {
        if self.drained.contains(&locality) { Out::DRAINED } else { self.outs.get(&locality).copied().unwrap_or_default() }
    }
    fn is_serving(&self) -> bool {
        self.drained.is_empty() && self.outs.is_empty()
    }
    fn places(&self) -> &Places {
        &self.places
    }
    fn origins(&self) -> &Origins {
        &self.origins
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
/// `d` drained; `*50` its weight, `%10` its warmth in percent, `^30` drained for 30 % of the clients, `#blue` a tag, in this order.
pub(super) fn members(places: &Places, text: &str) -> Vec<Member> {
    let read = |(n, word): (usize, &str)| {
        let (word, tags) = word.split_once('#').map_or((word, Vec::new()), |(w, t)| (w, vec![Label::parse(t).unwrap()]));
        let (word, out) = word.split_once('^').map_or((word, Share::NONE), |(w, n)| (w, Share::of(n.parse::<f64>().unwrap() / 100.0)));
        let (word, warmth) = word.split_once('%').map_or((word, 100), |(w, n)| (w, n.parse().unwrap()));
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
        let (locality, seed) = (places.locality(&locality(place)).unwrap(), seed_of(format!("i{n}").as_bytes()));
        Member { locality, weight, warmth, standing, out, seed, has: Need::V4, steady_ms: 1000, tags }
    };
    text.split_whitespace().enumerate().map(read).collect()
}

/// Clients that tests speak of, beside those in regions: countries, and a few with coordinates.
const COUNTRIES: [&str; 7] = ["FR", "US", "US-MA", "US-CA", "US-NY", "CA", "BR"];
const CITIES: [(&str, f64, f64); 3] = [("@paris", 48.9, 2.4), ("@boston", 42.4, -71.1), ("@tokyo", 35.7, 139.7)];
const REGIONS: [(&str, f64, f64); 3] = [("eu", 53.3, -6.3), ("us", 38.9, -77.4), ("ap", 1.3, 103.8)];

/// Every client that has a place, by name.
fn clients() -> Vec<String> {
    let regions = REGIONS.iter().flat_map(|(r, ..)| [format!("{r}/1"), format!("{r}/2"), r.to_string(), format!("~{r}")]);
    let others = COUNTRIES.iter().map(|c| c.to_string()).chain(CITIES.iter().map(|(c, ..)| c.to_string()));
    regions.chain(others).collect()
}

fn geo() -> Geo {
    let azs = || vec![Label::parse("1").unwrap(), Label::parse("2").unwrap()];
    let label = |text: &str| Label::parse(text).unwrap();
    let region = |(r, latitude, longitude): (&str, f64, f64)| {
        (label(r), Region { coordinates: Some(Coordinates { latitude, longitude }), azs: azs(), ..Region::default() })
    };
    let mut geo = Geo { regions: Some(REGIONS.map(region).into()), ..Geo::default() };
    for (n, client) in clients().iter().enumerate() {
        let net: ipnet::IpNet = format!("10.0.{}.0/24", 2 * n + 1).parse().unwrap();
        let mut place = Place::default();
        let mut near = None;
        if let Some((_, latitude, longitude)) = CITIES.iter().find(|(name, ..)| name == client) {
            place.coordinates = Some(Coordinates { latitude: *latitude, longitude: *longitude });
        } else if let Some(region) = client.strip_prefix('~') {
            near = Some((region, 20.0));
        } else if client.as_bytes()[0].is_ascii_lowercase() {
            place.region = Some(label(&client[..2]));
            place.az = client.split_once('/').map(|(_, az)| label(az));
            near = Some((&client[..2], 0.0));
        } else {
            let (country, subdivision) = client.split_once('-').unwrap_or((client, ""));
            place.country = Some(Code::parse(country).unwrap());
            place.subdivision = Code::parse(subdivision).ok();
            place.asn = Some(64_500 + n as u32);
        }
        if let Some((first, base)) = near {
            let others = REGIONS.iter().map(|(r, ..)| *r).filter(|r| *r != first).enumerate();
            let rest = others.map(|(n, r)| (label(r), base + 70.0 * (n + 1) as f64));
            geo.pins.push((net, [(label(first), base)].into_iter().chain(rest).collect()));
        }
        geo.networks.push((net, place));
    }
    geo
}

impl Fixture {
    /// Services as (name, policy, instances); instances `-`: not registered.
    pub fn new(services: &[(&str, &str, &str)]) -> Fixture {
        Fixture::of(geo(), services)
    }

    /// The same, but all of 10/8 are clients in `eu/1`.
    pub fn crowd(services: &[(&str, &str, &str)]) -> Fixture {
        let mut geo = geo();
        let label = |text: &str| Some(Label::parse(text).unwrap());
        geo.networks = vec![("10.0.0.0/8".parse().unwrap(), Place { region: label("eu"), az: label("1"), ..Place::default() })];
        geo.pins.clear();
        Fixture::of(geo, services)
    }

    fn of(geo: Geo, services: &[(&str, &str, &str)]) -> Fixture {
        let places = Places::new(&geo, []);
        let origins = Origins::build(&places, &geo);
        let pools = services.iter().map(|(name, json, text)| {
            let mut against = Against { places: &places, origins: &origins, views: &mut Views::default() };
            let tree = Tree::compile(&policy(json, Owner::Service), name.as_bytes(), &mut against, &mut |_| None).unwrap();
            (Label::parse(name).unwrap(), (*text != "-").then(|| Pool::build(tree, &members(&places, text), &places)))
        });
        Fixture { pools: pools.collect(), drained: BTreeSet::new(), outs: BTreeMap::new(), origins, places }
    }

    pub fn tree(&self, json: &str) -> Tree {
        let slot = |label: &Label| self.pools.iter().position(|(name, _)| name == label).map(|n| ServiceId(n as u32));
        let mut against = Against { places: &self.places, origins: &self.origins, views: &mut Views::default() };
        Tree::compile(&policy(json, Owner::Name), b"name", &mut against, &mut |label| slot(label)).unwrap()
    }

    /// The policy of a service.
    pub fn service_tree(&self, json: &str) -> Tree {
        let mut against = Against { places: &self.places, origins: &self.origins, views: &mut Views::default() };
        Tree::compile(&policy(json, Owner::Service), b"web", &mut against, &mut |_| None).unwrap()
    }

    pub fn region(&self, label: &str) -> RegionId {
        self.places.region(label.as_bytes()).unwrap()
    }

    /// A client: `eu/1` and `eu` are in a region, 0 ms from it; `~eu` is nowhere but 20 ms from eu; `FR` and `US-MA` are known by
    /// country, and by an autonomous system of their own from AS64512 on; `@paris` by its coordinates; `?` is not known at all. An
    /// address is itself.
    pub fn client(&self, text: &str) -> IpAddr {
        match clients().iter().position(|client| client == text) {
            Some(n) => IpAddr::from([10, 0, (2 * n + 1) as u8, 7]),
            None if text == "?" => IpAddr::from([192, 0, 2, 7]),
            None => text.parse().unwrap_or_else(|_| panic!("client {text}")),
        }
    }

    /// What a client is answered, as text: services by name with the numbers of their instances, `rN` for record set N, tiers
    /// separated by ` > `; `!` before it for fail-open, `*` for panic, `@` behind it for an answer that depends on the client.
    pub fn answer(&self, start: Start<'_>, client: &str, draw: u64, tiers: usize) -> String {
        let client = self.client(client);
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
        let open = if decision.fail_open {
            "!"
        } else if decision.panic {
            "*"
        } else {
            ""
        };
        let scope = if decision.scope > 0 { "@" } else { "" };
        format!("{open}{}{scope}", if tiers.is_empty() { "-".into() } else { tiers.join(" > ") })
    }
}
