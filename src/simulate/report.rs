//! What a simulation found.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::served::Served;
use crate::model::Label;
use crate::routing::Tree;
use crate::snapshot::Snapshot;

/// Where a client is served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// By instances in this region.
    Region(String),
    /// By static records, or another name.
    Records,
    /// Not at all: NODATA.
    Nothing,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Region(name) => write!(f, "region/{name}"),
            Place::Records => f.write_str("records"),
            Place::Nothing => f.write_str("nothing"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A comparison of two worlds. Shares are parts of all clients, 0–1.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Report {
    /// What is lost, such as `region/eu-west`.
    pub lost: Vec<String>,
    /// The number of the snapshot that was taken as the world as it is.
    pub generation: u64,
    /// Client prefixes that were looked at.
    pub clients: usize,
    /// Client prefixes there are.
    pub population: usize,
    /// The mean over all names.
    pub total: NameReport,
    /// Names, those of which most clients move first.
    pub names: Vec<NameReport>,
}

/// What becomes of the clients of one name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct NameReport {
    /// The name; empty for the mean over all names.
    pub name: String,
    /// Clients that are served somewhere else.
    pub moved: f64,
    /// Clients that are answered with nothing, and were not before.
    pub emptied: f64,
    /// Clients that are answered although nothing is healthy.
    pub fail_open: f64,
    /// From where to where, the largest first.
    pub moves: Vec<Move>,
    /// What is asked of more clients than it says it can serve.
    pub exceeded: Vec<Exceeded>,
    /// Round trips before, of clients for whom they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Latency>,
    /// Round trips after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Latency>,
    /// Clients one by one, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<ClientReport>,
}

/// A share of clients that moves.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Move {
    /// From where: `region/…`, `records` or `nothing`.
    #[schema(value_type = String)]
    pub from: Place,
    /// To where.
    #[schema(value_type = String)]
    pub to: Place,
    /// How many of all clients.
    pub share: f64,
    /// Their mean round trip before, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<f64>,
    /// Their mean round trip after, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<f64>,
}

/// Something that is asked of more than it can serve.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Exceeded {
    /// `region/…`, or `branch N`.
    pub what: String,
    /// The share of the name's clients that it would serve.
    pub share: f64,
    /// The share that it says it can serve.
    pub capacity: f64,
}

/// A distribution of round trips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Latency {
    /// The mean in milliseconds.
    pub mean_ms: f64,
    /// What 95 of 100 clients stay below, in milliseconds.
    pub p95_ms: f64,
}

/// What becomes of one client prefix.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ClientReport {
    /// The prefix.
    #[schema(value_type = String)]
    pub client: IpNet,
    /// Where it is served, with the share of its queries, 0–1.
    #[serde(serialize_with = "places")]
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    pub from: BTreeMap<Place, f64>,
    /// Where it would be.
    #[serde(serialize_with = "places")]
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    pub to: BTreeMap<Place, f64>,
    /// Its round trip before, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_ms: Option<f64>,
    /// And after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<f64>,
}

fn places<S: Serializer>(places: &BTreeMap<Place, f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(places.iter().map(|(place, share)| (place.to_string(), share)))
}

/// What is less than this is the rounding of sums.
const NOTHING: f64 = 1e-9;

impl Report {
    pub(super) fn new(lost: &[String], before: &Snapshot, clients: &[(IpNet, f64)], population: usize) -> Report {
        let (generation, total) = (before.generation.0, NameReport::default());
        Report { lost: lost.to_vec(), generation, clients: clients.len(), population, total, names: Vec::new() }
    }

    /// Makes the mean and brings names into order.
    pub(super) fn finish(&mut self) {
        let count = self.names.len().max(1) as f64;
        let mean = |of: &dyn Fn(&NameReport) -> f64| self.names.iter().map(of).sum::<f64>() / count;
        let mut moves: BTreeMap<(Place, Place), Vec<&Move>> = BTreeMap::new();
        for found in self.names.iter().flat_map(|name| &name.moves) {
            moves.entry((found.from.clone(), found.to.clone())).or_default().push(found);
        }
        let merged = moves.into_iter().map(|((from, to), found)| {
            let share: f64 = found.iter().map(|m| m.share).sum();
            let ms = |of: fn(&Move) -> Option<f64>| {
                let sum: Option<f64> = found.iter().map(|m| Some(of(m)? * m.share)).sum();
                sum.map(|sum| sum / share)
            };
            Move { from, to, share: share / count, before_ms: ms(|m| m.before_ms), after_ms: ms(|m| m.after_ms) }
        });
        let latency = |of: fn(&NameReport) -> Option<Latency>| {
            let known: Vec<Latency> = self.names.iter().filter_map(of).collect();
            let mean = |of: fn(&Latency) -> f64| known.iter().map(of).sum::<f64>() / known.len() as f64;
            (!known.is_empty()).then(|| Latency { mean_ms: mean(|l| l.mean_ms), p95_ms: mean(|l| l.p95_ms) })
        };
        let mut total = NameReport {
            moved: mean(&|name| name.moved),
            emptied: mean(&|name| name.emptied),
            fail_open: mean(&|name| name.fail_open),
            moves: merged.collect(),
            before: latency(|name| name.before),
            after: latency(|name| name.after),
            ..NameReport::default()
        };
        total.moves.sort_by(|a, b| b.share.total_cmp(&a.share));
        self.total = total;
        self.put_in_order();
    }

    /// Those of which most clients move first.
    pub(super) fn put_in_order(&mut self) {
        self.names.sort_by(|a, b| b.moved.total_cmp(&a.moved).then_with(|| a.name.cmp(&b.name)));
    }

    /// What an operator should know before: names left without answer, nothing healthy left, capacities exceeded.
    pub fn warnings(&self) -> Vec<String> {
        let lost = self.lost.join(" and ");
        let mut warnings = Vec::new();
        for name in &self.names {
            if name.emptied > NOTHING {
                warnings.push(format!("without {lost}, {} of the clients of {} get no answer", percent(name.emptied), name.name));
            }
            if name.fail_open > NOTHING {
                let share = percent(name.fail_open);
                warnings.push(format!("without {lost}, nothing healthy is left of {} for {share} of its clients", name.name));
            }
            for exceeded in &name.exceeded {
                warnings.push(format!(
                    "without {lost}, {} serves {} of the clients of {}, and says it can serve {}",
                    exceeded.what,
                    percent(exceeded.share),
                    name.name,
                    percent(exceeded.capacity),
                ));
            }
        }
        warnings
    }
}

/// A share as people read it: in percent, with one decimal. What is there is never shown as nothing.
pub fn percent(share: f64) -> String {
    match 100.0 * share {
        little if little > 0.0 && little < 0.05 => "< 0.1 %".into(),
        percent => format!("{percent:.1} %"),
    }
}

impl NameReport {
    /// How many warnings [`Report::warnings`] has of it.
    pub(super) fn warnings(&self) -> usize {
        usize::from(self.emptied > NOTHING) + usize::from(self.fail_open > NOTHING) + self.exceeded.len()
    }
}

/// What was found of one name so far.
#[derive(Default)]
pub(super) struct Tally {
    report: NameReport,
    moves: BTreeMap<(Place, Place), Sum>,
    /// By place and by branch, after.
    places: BTreeMap<Place, f64>,
    branches: BTreeMap<u32, f64>,
    before_ms: Vec<(f64, f64)>,
    after_ms: Vec<(f64, f64)>,
}

/// Of clients that move alike.
#[derive(Default)]
struct Sum {
    share: f64,
    before: Option<f64>,
    after: Option<f64>,
}

impl Tally {
    pub fn add(&mut self, weight: f64, client: IpNet, before: &Served, after: &Served, listed: bool) {
        let lost: Vec<(&Place, f64)> = before.places.iter().map(|(p, s)| (p, s - after.places.get(p).unwrap_or(&0.0))).collect();
        let gained: Vec<(&Place, f64)> = after.places.iter().map(|(p, s)| (p, s - before.places.get(p).unwrap_or(&0.0))).collect();
        let moved: f64 = lost.iter().map(|(_, share)| share.max(0.0)).sum();
        for (from, out) in lost.iter().filter(|(_, share)| *share > NOTHING) {
            for (to, into) in gained.iter().filter(|(_, share)| *share > NOTHING) {
                // What leaves one place goes to those that gain, in proportion.
                let share = weight * out * into / moved;
                let sum = self.moves.entry(((*from).clone(), (*to).clone())).or_default();
                let add = |sum: Option<f64>, ms: Option<f64>, first: bool| match (sum, ms) {
                    (None, Some(ms)) if first => Some(share * ms),
                    (Some(sum), Some(ms)) => Some(sum + share * ms),
                    _ => None,
                };
                let first = sum.share == 0.0;
                (sum.before, sum.after) = (add(sum.before, before.ms, first), add(sum.after, after.ms, first));
                sum.share += share;
            }
        }
        let nothing = |served: &Served| served.places.get(&Place::Nothing).copied().unwrap_or(0.0);
        self.report.moved += weight * moved;
        self.report.emptied += weight * (nothing(after) - nothing(before)).max(0.0);
        self.report.fail_open += weight * after.fail_open;
        after.places.iter().for_each(|(place, share)| *self.places.entry(place.clone()).or_default() += weight * share);
        after.branches.iter().for_each(|(branch, share)| *self.branches.entry(*branch).or_default() += weight * share);
        self.before_ms.extend(before.ms.map(|ms| (ms, weight)));
        self.after_ms.extend(after.ms.map(|ms| (ms, weight)));
        if listed {
            let (from, to) = (before.places.clone(), after.places.clone());
            self.report.listed.push(ClientReport { client, from, to, before_ms: before.ms, after_ms: after.ms });
        }
    }

    /// What is to be reported, but for the name.
    pub fn finish(self, policy: Option<&Tree>, capacities: &BTreeMap<Label, u8>) -> NameReport {
        let mut report = self.report;
        let moves = self.moves.into_iter().map(|((from, to), sum)| {
            let mean = |total: Option<f64>| total.map(|total| total / sum.share);
            Move { from, to, share: sum.share, before_ms: mean(sum.before), after_ms: mean(sum.after) }
        });
        report.moves = moves.collect();
        report.moves.sort_by(|a, b| b.share.total_cmp(&a.share));
        let regions = self.places.iter().filter_map(|(place, share)| match place {
            Place::Region(label) => Some((place.to_string(), *share, *capacities.iter().find(|(known, _)| known.as_str() == label)?.1)),
            _ => None,
        });
        let stated = |branch: u32| policy.and_then(|tree| tree.branch_capacity(branch));
        let branches = self.branches.iter().filter_map(|(n, share)| Some((format!("branch {}", n + 1), *share, stated(*n)?)));
        let all = regions.chain(branches).map(|(what, share, percent)| Exceeded { what, share, capacity: f64::from(percent) / 100.0 });
        report.exceeded = all.filter(|exceeded| exceeded.share > exceeded.capacity + NOTHING).collect();
        report.before = latency(self.before_ms);
        report.after = latency(self.after_ms);
        report
    }
}

/// The distribution of round trips by weight.
fn latency(mut known: Vec<(f64, f64)>) -> Option<Latency> {
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sum: f64 = known.iter().map(|(_, weight)| weight).sum();
    let mean_ms = known.iter().map(|(ms, weight)| ms * weight).sum::<f64>() / sum;
    let mut left = 0.95 * sum;
    let p95 = known.iter().find(|(_, weight)| {
        left -= weight;
        left <= NOTHING
    });
    Some(Latency { mean_ms, p95_ms: p95.or(known.last())?.0 })
}
