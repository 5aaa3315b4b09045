//! Where one client is served: the distribution over regions, records and nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::report::Place;
use crate::routing::{Choice, Need, Selection, Silent, Start, decide, even_draws, expected_shares};
use crate::snapshot::Snapshot;

/// How many draws stand for all where a policy draws among branches: spread evenly, the same ones each time.
const DRAWS: u64 = 256;

/// A question of one client.
pub(super) struct Asked<'w> {
    pub start: Start<'w>,
    pub client: IpAddr,
}

/// Where a client is served.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Served {
    /// Shares of its queries, which sum to 1.
    pub places: BTreeMap<Place, f64>,
    /// By the branches of the name's own policy.
    pub branches: BTreeMap<u32, f64>,
    /// The share that is answered although nothing was healthy.
    pub fail_open: f64,
    /// Mean round trip in milliseconds, where that is known for every region that serves it.
    pub ms: Option<f64>,
    /// The prefix length of clients for whom all but the round trip is the same.
    scope: u8,
}

impl Served {
    /// What is known of another client where this is what was found for `of`: the same, if it is in the same prefix.
    pub fn reused(&self, snapshot: &Snapshot, of: IpAddr, client: IpAddr) -> Option<Served> {
        let net = IpNet::new(of, self.scope).ok()?;
        let is_same = self.scope == 0 || net.contains(&client);
        is_same.then(|| Served { ms: distance(snapshot, client, &self.places), ..self.clone() })
    }
}

/// Where the client is served in the world of a snapshot.
pub(super) fn served(snapshot: &Snapshot, asked: &Asked<'_>) -> Served {
    let mut served = Served::default();
    let first = decide(snapshot, asked.start, asked.client, 0, 0, &mut Silent);
    let draws = if first.drawn { DRAWS } else { 1 };
    let share = 1.0 / draws as f64;
    for draw in even_draws(asked.start, draws) {
        let decision = if first.drawn { decide(snapshot, asked.start, asked.client, draw, 0, &mut Silent) } else { first };
        served.scope = served.scope.max(decision.scope);
        if decision.fail_open {
            served.fail_open += share;
        }
        if let Some(branch) = decision.branch {
            *served.branches.entry(branch).or_default() += share;
        }
        match decision.tiers[0] {
            Some(Choice::Instances(selection)) => served.add_regions(snapshot, &selection, share),
            Some(Choice::Records { .. }) => *served.places.entry(Place::Records).or_default() += share,
            None => *served.places.entry(Place::Nothing).or_default() += share,
        }
    }
    served.ms = distance(snapshot, asked.client, &served.places);
    served
}

impl Served {
    fn add_regions(&mut self, snapshot: &Snapshot, selection: &Selection<'_>, share: f64) {
        let places = &snapshot.places;
        let mut add = |region, part: f64| {
            if part > 0.0 {
                *self.places.entry(Place::Region(places.region_label(region).to_string())).or_default() += part;
            }
        };
        if let Some(region) = selection.region {
            return add(region, share);
        }
        let limit = snapshot.service_at(selection.service).map_or(1, |service| service.max_addresses());
        let shares = expected_shares(snapshot, selection, Need::ANY, limit);
        let sum: f64 = shares.iter().map(|(_, part)| part).sum();
        for (picked, part) in shares {
            add(places.region_of(selection.pool.locality(picked.member)), share * part / sum);
        }
    }
}

/// The mean round trip of a client to the regions that serve it.
fn distance(snapshot: &Snapshot, client: IpAddr, places: &BTreeMap<Place, f64>) -> Option<f64> {
    let (stand, _) = snapshot.origins.stand(client);
    let mut mean = 0.0;
    for (place, share) in places {
        let Place::Region(label) = place else { return None };
        let region = snapshot.places.region(label.as_bytes())?;
        let known = stand.ranking.iter().find(|(ranked, _)| *ranked == region).map(|(_, ms)| f64::from(*ms));
        mean += share * known?;
    }
    (!places.is_empty()).then_some(mean)
}
