//! What must hold between the parts of a zone, and between zones.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Notes;
use super::rdata::type_name;
use super::zone::{CNAME, Draft, NS};
use crate::model::{Label, Name};

const A: u16 = 1;
const AAAA: u16 = 28;
/// Types that stand beside an alias: RRSIG and NSEC (RFC 4035 §2.5).
const BESIDE_ALIAS: [u16; 2] = [46, 47];

/// Checks all zones together.
pub(super) fn check(drafts: &[Draft], notes: &mut Notes) {
    let services = unique_services(drafts, notes);
    for draft in drafts {
        aliases(draft, notes);
        names(draft, notes);
        if draft.zone.services {
            beside_services(draft, &services, notes);
        }
        name_servers(draft, &services, notes);
        for (service, spot) in draft.uses.iter().filter(|(service, _)| !services.contains_key(service)) {
            let reason = format!("no zone file defines the service {service}: the branch is empty until instances of it are registered");
            notes.warnings.push(spot.finding(&draft.zone.file, reason));
        }
    }
}

/// All services with the file that defines each; services are one flat namespace (DESIGN §3).
fn unique_services<'d>(drafts: &'d [Draft], notes: &mut Notes) -> BTreeMap<Label, &'d str> {
    let mut services: BTreeMap<Label, &str> = BTreeMap::new();
    for draft in drafts {
        for (label, spot) in &draft.services {
            match services.get(label) {
                None => drop(services.insert(label.clone(), &draft.zone.file)),
                Some(file) => {
                    let reason = format!("is defined in {file} too; every zone with services shows it, so define it once");
                    notes.findings.push(spot.finding(&draft.zone.file, reason));
                }
            }
        }
    }
    services
}

/// An alias is the only record of its name (RFC 1034 §3.6.2, RFC 2181 §10.1).
fn aliases(draft: &Draft, notes: &mut Notes) {
    let zone = &draft.zone;
    for ((owner, _), spot) in draft.records.iter().filter(|((_, rtype), _)| *rtype == CNAME) {
        let types = zone.records.range((owner.clone(), 0)..=(owner.clone(), u16::MAX)).map(|((_, rtype), _)| *rtype);
        let other = types.filter(|t| *t != CNAME && !BESIDE_ALIAS.contains(t)).map(type_name).collect::<Vec<_>>();
        let reason = if *owner == zone.apex {
            "the apex has SOA and NS records, so it cannot be an alias; give it A and AAAA records, or a policy under [names]".to_string()
        } else if !other.is_empty() {
            format!("an alias is the only record of its name, and {owner} has {} too", other.join(", "))
        } else if zone.records.get(&(owner.clone(), CNAME)).is_some_and(|set| set.rdata.len() > 1) {
            "a name is an alias of one other name, not of several".to_string()
        } else {
            continue;
        };
        notes.findings.push(spot.finding(&zone.file, reason));
    }
}

/// A name has static records or a policy, not both.
fn names(draft: &Draft, notes: &mut Notes) {
    for (owner, spot) in &draft.names {
        let types: Vec<_> = draft
            .zone
            .records
            .range((owner.clone(), 0)..=(owner.clone(), u16::MAX))
            // The apex needs its other records, such as MX; a policy there is for addresses.
            .filter(|((name, rtype), _)| *name != draft.zone.apex || matches!(*rtype, A | AAAA | CNAME))
            .map(|((_, rtype), _)| type_name(*rtype))
            .collect();
        if !types.is_empty() {
            let reason = format!("{owner} has static records too ({}); a name has records or a policy", types.join(", "));
            notes.findings.push(spot.finding(&draft.zone.file, reason));
        }
    }
}

/// Nothing else stands on a service's name, below it, or on its RFC 2782 form (DESIGN §3).
fn beside_services(draft: &Draft, services: &BTreeMap<Label, &str>, notes: &mut Notes) {
    let zone = &draft.zone;
    let depth = zone.apex.labels().count();
    let taken = |owner: &Name| -> Option<String> {
        let labels: Vec<&[u8]> = owner.labels().collect();
        let below = &labels[..labels.len().checked_sub(depth)?];
        let service = |label: &[u8]| std::str::from_utf8(label).ok().and_then(|l| services.get_key_value(l));
        match below {
            [.., svc, b"_tcp" | b"_udp"] if svc.starts_with(b"_") => service(&svc[1..]),
            [.., last] => service(last),
            [] => None,
        }
        .map(|(label, file)| format!("{owner} belongs to the service {label}, which {file} defines"))
    };
    let records = draft.records.iter().map(|((owner, _), spot)| (owner, spot));
    for (owner, spot) in records.chain(&draft.names) {
        if let Some(reason) = taken(owner) {
            notes.findings.push(spot.finding(&zone.file, reason));
        }
    }
}

/// Name servers within the zone have addresses there, and are no aliases (RFC 1912 §2.8, RFC 2181 §10.3).
fn name_servers(draft: &Draft, services: &BTreeMap<Label, &str>, notes: &mut Notes) {
    let zone = &draft.zone;
    let has = |name: &Name, types: &[u16]| types.iter().any(|rtype| zone.records.contains_key(&(name.clone(), *rtype)));
    let mut said = BTreeSet::new();
    for name in zone.ns.iter().filter(|name| name.is_within(&zone.apex)) {
        if has(name, &[CNAME]) {
            notes.findings.push(draft.ns.finding(&zone.file, format!("{name} is an alias, which a name server cannot be")));
            continue;
        }
        let above: Vec<Name> = std::iter::successors(name.parent(), Name::parent).take_while(|n| n.is_within(&zone.apex)).collect();
        let wildcard = above.iter().filter_map(|n| n.child(b"*")).any(|n| has(&n, &[A, AAAA]));
        let delegated = std::iter::once(name).chain(&above).any(|n| *n != zone.apex && has(n, &[NS]));
        let first = name.labels().next().and_then(|l| std::str::from_utf8(l).ok());
        let service = zone.services && above.first() == Some(&zone.apex) && first.is_some_and(|l| services.contains_key(l));
        if !(has(name, &[A, AAAA]) || wildcard || delegated || service || zone.names.contains_key(name)) && said.insert(name) {
            let reason = format!("{name} has no address in the zone: add it under [records], such as A = [\"192.0.2.53\"]");
            notes.warnings.push(draft.ns.finding(&zone.file, reason));
        }
    }
}
