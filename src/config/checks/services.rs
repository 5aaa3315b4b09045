//! Services and names with a policy, beside static records.

use std::collections::BTreeMap;

use super::super::finding::Notes;
use super::super::rdata::type_name;
use super::super::zone::{CNAME, Draft};
use crate::codec::code::rtype::{A, AAAA};
use crate::model::{Label, Name};

/// Checks one zone; `services` are those of all zones.
pub(super) fn check(draft: &Draft, services: &BTreeMap<Label, &str>, notes: &mut Notes) {
    names(draft, notes);
    if draft.zone.services {
        beside_services(draft, services, notes);
    }
    for (service, spot) in draft.uses.iter().filter(|(service, _)| !services.contains_key(service)) {
        let reason = format!("no zone file defines the service {service}: the branch is empty until instances of it are registered");
        notes.warnings.push(spot.finding(&draft.zone.file, reason));
    }
}

/// All services with the file that defines each; services are one flat namespace (DESIGN §3).
pub(super) fn unique<'d>(drafts: &'d [Draft], notes: &mut Notes) -> BTreeMap<Label, &'d str> {
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

/// A name has static records or a policy, not both.
fn names(draft: &Draft, notes: &mut Notes) {
    // What may stand beside an ALIAS is said where it is read.
    for (owner, spot) in draft.names.iter().filter(|(owner, _)| !draft.zone.aliases.contains_key(owner)) {
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
