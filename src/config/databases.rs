//! The user's databases (`geo/*.mmdb`), several read as one.

use std::path::PathBuf;

use ipnet::IpNet;

use super::finding::{Finding, Notes};
use super::sources::read_file;
use crate::model::Place;
use crate::routing::read_database;

/// Reads databases into disjoint prefixes; where several know the same, the first counts.
pub(super) fn read(paths: impl Iterator<Item = PathBuf>, notes: &mut Notes) -> Vec<(IpNet, Place)> {
    let mut database: Vec<(IpNet, Place)> = Vec::new();
    for path in paths {
        let read =
            read_file(&path, usize::MAX).map_err(|e| e.to_string()).and_then(|bytes| read_database(bytes).map_err(|e| e.to_string()));
        match read {
            Ok(places) if database.is_empty() => database = places,
            Ok(places) => database = joined(database, places),
            Err(reason) => notes.findings.push(Finding::of_file(path.display().to_string(), reason)),
        }
    }
    database
}

/// Two databases, such as cities and autonomous systems, as one of disjoint prefixes; what both say, the first says.
fn joined(mut first: Vec<(IpNet, Place)>, mut second: Vec<(IpNet, Place)>) -> Vec<(IpNet, Place)> {
    first.sort_by_key(|(net, _)| *net);
    second.sort_by_key(|(net, _)| *net);
    let mut all = Vec::with_capacity(first.len() + second.len());
    let (mut a, mut b) = (first.as_slice(), second.as_slice());
    while let (Some((x, _)), Some((y, _))) = (a.first(), b.first()) {
        if x.contains(y) {
            let inner = b.partition_point(|(net, _)| x.contains(net));
            split(*x, Some(&a[0].1), &b[..inner], &|outer, inner| filled(outer, inner), &mut all);
            (a, b) = (&a[1..], &b[inner..]);
        } else if y.contains(x) {
            let inner = a.partition_point(|(net, _)| y.contains(net));
            split(*y, Some(&b[0].1), &a[..inner], &|outer, inner| filled(inner, outer), &mut all);
            (a, b) = (&a[inner..], &b[1..]);
        } else if x < y {
            all.push(a[0].clone());
            a = &a[1..];
        } else {
            all.push(b[0].clone());
            b = &b[1..];
        }
    }
    all.extend_from_slice(a);
    all.extend_from_slice(b);
    all
}

/// Cuts `net` into the prefixes `inner` within it and those between them.
fn split(
    net: IpNet,
    outer: Option<&Place>,
    inner: &[(IpNet, Place)],
    join: &dyn Fn(&Place, &Place) -> Place,
    all: &mut Vec<(IpNet, Place)>,
) {
    match inner {
        [] => all.extend(outer.map(|place| (net, place.clone()))),
        [(same, place)] if *same == net => all.push((net, outer.map_or_else(|| place.clone(), |o| join(o, place)))),
        _ => {
            // Disjoint prefixes within `net`, none as large as it: two halves hold them all.
            let Ok(halves) = net.subnets(net.prefix_len() + 1) else { return };
            let mut rest = inner;
            for half in halves {
                let within = rest.partition_point(|(net, _)| half.contains(net));
                split(half, outer, &rest[..within], join, all);
                rest = &rest[within..];
            }
        }
    }
}

/// `place`, and what it does not know from `other`.
fn filled(place: &Place, other: &Place) -> Place {
    Place {
        region: place.region.clone().or_else(|| other.region.clone()),
        az: place.az.clone().or_else(|| other.az.clone()),
        continent: place.continent.or(other.continent),
        country: place.country.or(other.country),
        subdivision: place.subdivision.or(other.subdivision),
        coordinates: place.coordinates.or(other.coordinates),
        asn: place.asn.or(other.asn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    #[test]
    fn two_databases_become_one_of_disjoint_prefixes() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let country = |code: &str| Place { country: Code::parse(code).ok(), ..Place::default() };
        let asn = |asn: u32| Place { asn: Some(asn), ..Place::default() };
        let countries =
            vec![(net("10.0.0.0/8"), country("US")), (net("192.0.2.0/25"), country("GB")), (net("2001:db8::/32"), country("FR"))];
        let asns = vec![(net("10.64.0.0/10"), asn(1)), (net("192.0.2.0/24"), asn(2)), (net("198.51.100.0/24"), asn(3))];
        let shown: Vec<String> = joined(countries, asns)
            .into_iter()
            .map(|(net, place)| format!("{net} {} {}", place.country.map_or("-".into(), |c| c.to_string()), place.asn.unwrap_or(0)))
            .collect();
        assert_eq!(
            shown,
            [
                "10.0.0.0/10 US 0",
                "10.64.0.0/10 US 1",
                "10.128.0.0/9 US 0",
                "192.0.2.0/25 GB 2",
                "192.0.2.128/25 - 2",
                "198.51.100.0/24 - 3",
                "2001:db8::/32 FR 0"
            ]
        );
    }
}
