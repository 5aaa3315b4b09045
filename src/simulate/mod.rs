//! Floor 3: who would be served where, if something were otherwise. Pure.
//!
//! [`simulate()`] decides for every client prefix of a [`Population`], in the world as it is and in another one, and compares. Both worlds
//! are [`Snapshot`]s and both decisions are [`crate::routing::decide()`]'s, so what is simulated is what queries would be answered. Where a
//! policy draws, what counts is the distribution.
//!
//! ```text
//! Population ──┐            ┌─ decide before ─┐
//!              ├─ prefix ───┤                 ├─ moved? from where to where? how far? ──▶ Report
//! names ───────┘            └─ decide after ──┘
//! ```

mod population;
mod report;
mod served;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

pub use population::Population;
use report::Tally;
pub use report::{ClientReport, Exceeded, Latency, Move, NameReport, Place, Report, percent};
use served::{Asked, Served, served};

use crate::codec::NameBuf;
use crate::model::{Label, Name};
use crate::routing::{Filter, ServiceId, Start, Tree};
use crate::snapshot::{CompiledZone, Snapshot};

/// Most decisions of one simulation; beyond, only a part of the clients is looked at.
pub const MOST_DECISIONS: usize = 4_000_000;

/// A name that is decided: a service, or a name with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedName {
    /// The name, absolute.
    pub name: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Service(ServiceId),
    /// In the zone of that apex, at that key.
    Policy {
        apex: Box<[u8]>,
        key: Box<[u8]>,
    },
}

impl DecidedName {
    /// Every name that `snapshot` decides: services under the first zone that shows them, and names with policies. By name.
    pub fn all(snapshot: &Snapshot) -> Vec<DecidedName> {
        let mut names: Vec<DecidedName> = Kind::all(snapshot).map(|kind| kind.named(snapshot)).collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        names
    }

    /// How many names `snapshot` decides.
    pub fn count(snapshot: &Snapshot) -> usize {
        Kind::all(snapshot).count()
    }

    /// The services that its answers may come from in a snapshot, and its own, if it is one; each as often as it is named.
    pub fn services<'w>(&self, snapshot: &'w Snapshot) -> Vec<&'w str> {
        let (own, tree) = match self.start(snapshot) {
            Some(Start::Service(id, _) | Start::Pool(id, ..)) => (Some(id), snapshot.service_at(id).map(|service| service.pool().tree())),
            Some(Start::Tree(tree)) => (None, Some(tree)),
            None => (None, None),
        };
        let all = own.into_iter().chain(tree.into_iter().flat_map(Tree::services));
        all.filter_map(|id| Some(snapshot.service_at(id)?.label())).collect()
    }

    /// Where the decision starts in a snapshot; `None` where it has no such name.
    fn start<'w>(&self, snapshot: &'w Snapshot) -> Option<Start<'w>> {
        self.kind.start(snapshot)
    }
}

impl Kind {
    /// Of every name that `snapshot` decides.
    fn all(snapshot: &Snapshot) -> impl Iterator<Item = Kind> + '_ {
        let shown = snapshot.services_zone().into_iter().flat_map(|_| snapshot.all_services());
        let services = shown.filter(|(_, service)| !service.is_empty()).map(|(id, _)| Kind::Service(id));
        let policies = |zone| {
            let policies = CompiledZone::policies(zone);
            policies.map(|(key, _)| Kind::Policy { apex: CompiledZone::apex(zone).into(), key: key.into() })
        };
        services.chain(snapshot.zones().flat_map(policies))
    }

    /// With its name.
    fn named(self, snapshot: &Snapshot) -> DecidedName {
        let name = match &self {
            Kind::Service(id) => {
                let apex = snapshot.services_zone().map(|zone| zone.name().to_string()).unwrap_or_default();
                format!("{}.{apex}", snapshot.service_at(*id).map_or("", |service| service.label()))
            }
            Kind::Policy { apex, key } => Name::from_wire(&[&key[..], &apex[..]].concat()).to_string(),
        };
        DecidedName { name, kind: self }
    }

    fn start<'w>(&self, snapshot: &'w Snapshot) -> Option<Start<'w>> {
        match self {
            Kind::Service(id) => snapshot.service_at(*id).map(|_| Start::Service(*id, &Filter::ALL)),
            Kind::Policy { apex, key } => Some(Start::Tree(&snapshot.zone(&NameBuf::from_wire(apex)?)?.at(key)?.policy()?.tree)),
        }
    }
}

/// Compares two worlds for every name and every client prefix.
///
/// `lost` is what the report says is otherwise; `capacities` is what regions say they can serve, in percent of a name's clients. With
/// `listed`, every prefix is also told by itself.
pub fn simulate(
    before: &Snapshot,
    after: &Snapshot,
    population: &Population,
    names: &[DecidedName],
    lost: &[String],
    capacities: &BTreeMap<Label, u8>,
    listed: bool,
) -> Report {
    let clients = population.within(MOST_DECISIONS / names.len().max(1));
    let mut report = Report::new(lost, before, &clients, population.len());
    for name in names {
        let found = compared(before, after, &clients, &name.kind, capacities, listed);
        report.names.extend(found.map(|found| NameReport { name: name.name.clone(), ..found }));
    }
    report.finish();
    report
}

/// The first `most` warnings of what [`simulate()`] would report of every name, and how many more there are: without the report, which of a
/// million names takes half a gigabyte.
pub fn warnings(
    before: &Snapshot,
    after: &Snapshot,
    population: &Population,
    lost: &[String],
    capacities: &BTreeMap<Label, u8>,
    most: usize,
) -> (Vec<String>, usize) {
    let clients = population.within(MOST_DECISIONS / DecidedName::count(before).max(1));
    let mut report = Report::new(lost, before, &clients, population.len());
    let mut count = 0;
    for kind in Kind::all(before) {
        let Some(found) = compared(before, after, &clients, &kind, capacities, false).filter(|found| found.warnings() > 0) else {
            continue;
        };
        count += found.warnings();
        report.names.push(NameReport { name: kind.named(before).name, ..found });
        if report.names.len() > 2 * most {
            report.put_in_order();
            report.names.truncate(most);
        }
    }
    report.put_in_order();
    let mut warnings = report.warnings();
    warnings.truncate(most);
    let more = count - warnings.len();
    (warnings, more)
}

/// What becomes of the clients of one name, without the name; `None` where one of the worlds has no such name.
fn compared(
    before: &Snapshot,
    after: &Snapshot,
    clients: &[(IpNet, f64)],
    kind: &Kind,
    capacities: &BTreeMap<Label, u8>,
    listed: bool,
) -> Option<NameReport> {
    let (from, to) = (kind.start(before)?, kind.start(after)?);
    let mut tally = Tally::default();
    // Of the client before; neighbours are often in one prefix.
    let mut last: Option<(IpAddr, Served, Served)> = None;
    for (net, weight) in clients {
        let client = net.addr();
        let known = last.as_ref().map(|(of, then, now)| (then.reused(before, *of, client), now.reused(after, *of, client)));
        let (then, now) = known.unwrap_or_default();
        let then = then.unwrap_or_else(|| served(before, &Asked { start: from, client }));
        let now = now.unwrap_or_else(|| served(after, &Asked { start: to, client }));
        tally.add(*weight, *net, &then, &now, listed);
        last = Some((client, then, now));
    }
    let policy = match to {
        Start::Tree(tree) => Some(tree),
        Start::Service(id, _) | Start::Pool(id, ..) => after.service_at(id).map(|service| service.pool().tree()),
    };
    Some(tally.finish(policy, capacities))
}

#[cfg(test)]
mod tests;
