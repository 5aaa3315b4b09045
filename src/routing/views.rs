//! Views: the clients as one rule tells them apart, compiled to disjoint prefixes with the order of branches for each.
//!
//! A table of places knows far more than a policy asks: neighbouring prefixes that lead to the same order are one prefix here, so an
//! answer's scope is no longer than it must be. Rules that ask the same share one view.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use foldhash::fast::FixedState;
use ipnet::IpNet;

use super::prefixes::Prefixes;
use super::ranking::{Point, distance_km};
use super::{Origin, Origins, Places, RegionId};
use crate::model::{Branch, Clients, Coordinates, PolicyKind};

/// What a rule asks of its clients, branch by branch. Equal criteria have one view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Criteria {
    pub rule: PolicyKind,
    pub branches: Vec<Criterion>,
}

/// What one branch says of its clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Criterion {
    pub clients: Clients,
    /// Under `geoproximity`: where it is.
    pub place: Option<Point>,
    pub bias: i8,
}

/// How a branch came to its place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fit {
    Subdivision,
    Country,
    Continent,
    /// A client prefix of that length.
    Prefix(u8),
    System,
    /// By its distance, the bias counted; not how far, so that clients who see the same order are alike.
    Distance,
    Default,
}

/// Branches in the order in which they are tried; those that are not for the client are left out.
pub(super) type Order = Box<[(u8, Fit)]>;

/// The clients as one rule sees them.
#[derive(Debug)]
pub(super) struct View {
    orders: Box<[Order]>,
    prefixes: Prefixes,
}

/// All views of a snapshot, each once, as long as a policy has it. They hold for the origins they were made of.
#[derive(Debug, Clone, Default)]
pub struct Views(Arc<HashMap<Criteria, Weak<View>, FixedState>>);

impl Views {
    /// The view of these criteria, compiled where it is new.
    pub(super) fn get(&mut self, criteria: Criteria, origins: &Origins, places: &Places) -> Arc<View> {
        if let Some(known) = self.0.get(&criteria).and_then(Weak::upgrade) {
            return known;
        }
        let view = Arc::new(View::build(&criteria, origins, places));
        let known = Arc::make_mut(&mut self.0);
        if known.len() == known.capacity() {
            // Policies come and go: room is made before more is taken.
            known.retain(|_, view| view.strong_count() > 0);
        }
        known.insert(criteria, Arc::downgrade(&view));
        view
    }
}

impl View {
    /// The order for a client, and the length of the prefix for which it holds; 0: for everybody.
    pub fn find(&self, client: IpAddr) -> (&[(u8, Fit)], u8) {
        if let [order] = &*self.orders {
            return (order, 0);
        }
        let (number, length) = self.prefixes.find(client);
        (&self.orders[number as usize], length)
    }

    fn build(criteria: &Criteria, origins: &Origins, places: &Places) -> View {
        let mut census = Census::default();
        let prefixes = match criteria.rule {
            PolicyKind::Cidr => census.sweep(criteria),
            _ => {
                let numbers: Vec<u32> = origins.all().iter().map(|origin| census.number(order(criteria, origin, places))).collect();
                origins.prefixes().renumbered(|old| numbers[old as usize])
            }
        };
        View { orders: census.orders.into(), prefixes }
    }
}

/// Gives numbers to orders.
#[derive(Default)]
struct Census {
    orders: Vec<Order>,
    numbers: HashMap<Order, u32, FixedState>,
}

impl Census {
    fn number(&mut self, order: Order) -> u32 {
        *self.numbers.entry(order).or_insert_with_key(|order| {
            self.orders.push(order.clone());
            self.orders.len() as u32 - 1
        })
    }

    /// Client prefixes, the more specific within the more general.
    fn sweep(&mut self, criteria: &Criteria) -> Prefixes {
        let nets =
            criteria.branches.iter().enumerate().flat_map(|(n, criterion)| criterion.clients.cidrs.iter().map(move |net| (n as u8, *net)));
        let sources: Vec<(u8, IpNet)> = nets.collect();
        let cover = |around: &Vec<(u8, u8)>, source: usize| {
            let (branch, net) = sources[source];
            // The most specific prefix first; a branch stands once, for its most specific one.
            let mut held = vec![(branch, net.prefix_len())];
            held.extend(around.iter().filter(|(other, _)| *other != branch));
            held
        };
        let default = criteria.branches.iter().position(|criterion| criterion.clients.default).map(|n| n as u8);
        let numbered = sources.iter().enumerate().map(|(n, (_, net))| (*net, n));
        Prefixes::sweep(numbered, Vec::new(), cover, |held| {
            let default = default.filter(|default| !held.iter().any(|(branch, _)| branch == default));
            let found = held.iter().map(|(branch, length)| (*branch, Fit::Prefix(*length)));
            self.number(found.chain(default.map(|branch| (branch, Fit::Default))).collect())
        })
    }
}

/// The order of branches for the clients of one origin.
fn order(criteria: &Criteria, origin: &Origin, places: &Places) -> Order {
    let branches = || criteria.branches.iter().enumerate().map(|(n, criterion)| (n as u8, criterion));
    let mut found: Vec<(u8, Fit)> = match criteria.rule {
        PolicyKind::Geoproximity => {
            let Some(at) = whereabouts(origin, places) else { return Box::default() };
            let distance = |criterion: &Criterion| Some(biased_km(at, criterion.place?.into(), criterion.bias));
            let mut ranked: Vec<(f64, u8)> = branches().filter_map(|(n, criterion)| Some((distance(criterion)?, n))).collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            return ranked.into_iter().map(|(_, n)| (n, Fit::Distance)).collect();
        }
        PolicyKind::Asn => {
            let fit = |clients: &Clients| {
                let known = origin.asn.is_some_and(|asn| clients.asns.contains(&asn));
                if known { Some(Fit::System) } else { clients.default.then_some(Fit::Default) }
            };
            branches().filter_map(|(n, criterion)| Some((n, fit(&criterion.clients)?))).collect()
        }
        _ => branches().filter_map(|(n, criterion)| Some((n, area(&criterion.clients, origin)?))).collect(),
    };
    found.sort_by_key(|(n, fit)| (fit.rank(), *n));
    found.into()
}

/// How closely a branch of `geolocation` is for the client.
fn area(clients: &Clients, origin: &Origin) -> Option<Fit> {
    let subdivision = origin.country.zip(origin.subdivision);
    if subdivision.is_some_and(|s| clients.subdivisions.contains(&s)) {
        Some(Fit::Subdivision)
    } else if origin.country.is_some_and(|c| clients.countries.contains(&c)) {
        Some(Fit::Country)
    } else if origin.continent.is_some_and(|c| clients.continents.contains(&c)) {
        Some(Fit::Continent)
    } else {
        clients.default.then_some(Fit::Default)
    }
}

/// Where the clients of an origin are: in the region that the operator put them in, else where the data says.
pub(super) fn whereabouts(origin: &Origin, places: &Places) -> Option<Coordinates> {
    origin.region.and_then(|region| places.coordinates(region)).or(origin.coordinates)
}

/// A distance as Route 53 biases it: from 1 to 99 it shrinks to next to nothing, from -1 to -99 it grows a hundredfold.
pub(super) fn biased_km(from: Coordinates, to: Coordinates, bias: i8) -> f64 {
    let (km, ratio) = (distance_km(from, to), f64::from(bias) / 100.0);
    if bias >= 0 { km * (1.0 - ratio) } else { km / (1.0 + ratio) }
}

impl Fit {
    /// The closest first.
    fn rank(self) -> u8 {
        match self {
            Fit::Subdivision => 0,
            Fit::Country => 1,
            Fit::Continent => 2,
            Fit::Prefix(_) | Fit::System | Fit::Distance => 3,
            Fit::Default => 4,
        }
    }
}

/// The criterion of a branch, its place resolved; the last resort is for nobody in particular, and takes no part.
pub(super) fn criterion(branch: &Branch, region: Option<RegionId>, places: &Places) -> Criterion {
    if branch.resort {
        return Criterion::default();
    }
    let place = branch.coordinates.or_else(|| places.coordinates(region?)).map(Point::from);
    Criterion { clients: branch.clients.clone(), place, bias: branch.bias }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_kept_as_long_as_somebody_has_it() {
        let (origins, places) = (Origins::default(), Places::default());
        let criteria = |asn: u32| {
            let clients = Clients { asns: vec![asn], ..Clients::default() };
            Criteria { rule: PolicyKind::Asn, branches: vec![Criterion { clients, ..Criterion::default() }] }
        };
        let mut views = Views::default();
        let held = views.get(criteria(0), &origins, &places);
        let mut most = 0;
        for asn in 1..1000 {
            let before = views.clone();
            views.get(criteria(asn), &origins, &places);
            most = most.max(views.0.len());
            assert!(before.0.contains_key(&criteria(0)), "an older snapshot's");
        }
        assert!(most < 100, "{most} views, of which one is in use");
        assert!(Arc::ptr_eq(&held, &views.get(criteria(0), &origins, &places)), "and that one is found again");
    }
}
