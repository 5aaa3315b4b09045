//! Name servers, of the zone and of those below it: NS, DS, glue, and data that a delegation hides.

use std::collections::{BTreeMap, BTreeSet};

use super::super::document::Spot;
use super::super::rdata::{is_signature, type_name};
use super::super::zone::NS;
use super::survey::{Sight, has, lead};
use super::{Look, and_more};
use crate::codec::code::rtype::{A, AAAA, DS};
use crate::model::Name;

pub(super) fn check(look: &mut Look<'_>) {
    own_servers(look);
    let keys: Vec<&(Name, u16)> = look.draft.records.keys().filter(|(_, rtype)| matches!(*rtype, NS | DS)).collect();
    for (owner, rtype) in keys {
        match *rtype {
            NS => cut(look, owner),
            _ => signer(look, owner),
        }
    }
    hidden(look);
}

/// The zone's own name servers.
fn own_servers(look: &mut Look<'_>) {
    let zone = &look.draft.zone;
    // A zone with services is as a rule one that clients or recursors are sent to, and private names are never delegated.
    if zone.ns.len() == 1 && !zone.services && !is_private(&zone.apex) {
        let reason = format!("{} is the only name server: a zone has at least two, which do not fail together (RFC 2182 §5)", zone.ns[0]);
        look.warn(&look.draft.spot(&zone.apex, NS, 0), reason);
    }
    for (n, name) in zone.ns.iter().enumerate() {
        server(look, &look.draft.spot(&zone.apex, NS, n), name);
    }
}

/// A name server whose name is not within what it serves: it has an address, and is no alias (RFC 1912 §2.8, RFC 2181 §10.3).
fn server(look: &mut Look<'_>, spot: &Spot, name: &Name) {
    if !name.is_within(&look.draft.zone.apex) {
        return;
    }
    match look.survey.look(name) {
        Sight::Alias(_) => look.refuse(spot, format!("{name} is an alias, which a name server cannot be")),
        Sight::Redirected(dname) => {
            look.refuse(spot, format!("{name} is below the DNAME of {dname}, so it is an alias, which a name server cannot be"));
        }
        Sight::Delegated(cut) if !has_address(look, name) => {
            let reason =
                format!("{name} is delegated with {cut} and has no address here: add one, so that referrals carry it (RFC 9471 §2.2)");
            look.warn(spot, reason);
        }
        Sight::Missing | Sight::Bare => {
            look.warn(spot, format!("{name} has no address in the zone: add one, such as A 192.0.2.53"));
        }
        _ => {}
    }
}

/// A delegation: whoever is sent there must be able to reach it.
fn cut(look: &mut Look<'_>, owner: &Name) {
    let draft = look.draft;
    if owner.labels().next() == Some(b"*") {
        // What it would mean is undefined (RFC 4592 §4.2).
        return look.refuse(&draft.spot(owner, NS, 0), "a wildcard cannot be delegated (RFC 4592 §4.2)");
    }
    if cut_above(look, owner).is_some_and(|above| above != *owner) {
        return;
    }
    let Some(set) = draft.zone.records.get(&(owner.clone(), NS)) else { return };
    for (n, data) in set.rdata.iter().enumerate() {
        let Some(name) = lead(NS, data) else { continue };
        let spot = draft.spot(owner, NS, n);
        if !name.is_within(owner) {
            server(look, &spot, &name);
        } else if !has_address(look, &name) {
            // Legal, and served as such by others, who do not send it along either.
            if wildcard_address(look, owner, &name) {
                let reason =
                    format!("{name} has an address from a wildcard alone, which referrals do not carry (RFC 9471 §2.1): write it out");
                look.warn(&spot, reason);
                continue;
            }
            let reason =
                format!("{name} is below the delegation and has no address: without one (glue) nobody can reach it (RFC 9471 §2.1)");
            look.refuse(&spot, reason);
        }
    }
}

fn has_address(look: &Look<'_>, name: &Name) -> bool {
    has(look.draft, name, A) || has(look.draft, name, AAAA)
}

/// Whether a wildcard below a delegation would give a name that is not there an address.
fn wildcard_address(look: &Look<'_>, cut: &Name, name: &Name) -> bool {
    let records = &look.draft.zone.records;
    let is_there = |name: &Name| records.range((name.clone(), 0)..=(name.clone(), u16::MAX)).next().is_some();
    let below = std::iter::successors(name.parent(), Name::parent).take_while(|above| above.is_within(cut));
    !is_there(name) && below.filter_map(|above| above.child(b"*")).any(|wildcard| has_address(look, &wildcard))
}

/// DS stands at a delegation and nowhere else (RFC 4035 §2.4).
fn signer(look: &mut Look<'_>, owner: &Name) {
    let draft = look.draft;
    if *owner == draft.zone.apex {
        return look.refuse(&draft.spot(owner, DS, 0), "a zone's DS stands in the zone above it (RFC 4035 §2.4)");
    }
    if !has(draft, owner, NS) {
        // Whoever asks gets it, and nobody who validates does.
        look.warn(&draft.spot(owner, DS, 0), format!("{owner} is not delegated: DS stands beside NS alone (RFC 4035 §2.4)"));
    }
}

/// What a delegation, or another zone of this server, answers for instead (RFC 2181 §6.1): legal, and never seen.
fn hidden(look: &mut Look<'_>) {
    let draft = look.draft;
    let apex = &draft.zone.apex;
    let servers: BTreeSet<Name> = {
        let data = draft.zone.records.iter().filter(|((_, rtype), _)| *rtype == NS).flat_map(|(_, set)| &set.rdata);
        data.filter_map(|data| lead(NS, data)).chain(draft.zone.ns.iter().cloned()).collect()
    };
    // One warning for each delegation: at the first record, with the number of the others.
    let mut said: BTreeMap<Name, (Spot, String, usize)> = BTreeMap::new();
    for (owner, rtype) in draft.records.keys().filter(|(owner, _)| owner != apex) {
        let child = look.survey.zone_of(owner).filter(|(zone, _)| *zone != apex);
        let (top, by) = match (cut_above(look, owner), child) {
            (Some(cut), _) => (cut.clone(), format!("the delegation of {cut} hides it: its servers answer")),
            (None, Some((zone, file))) => (zone.clone(), format!("{file} answers for {zone}")),
            (None, None) => continue,
        };
        let glue = matches!(*rtype, A | AAAA) && servers.contains(owner);
        // RFC 4035 §2.3: the cut has an NSEC, and signatures of that and of the DS.
        let at_cut = *owner == top && (matches!(*rtype, NS | DS) || is_signature(*rtype));
        if glue || at_cut {
            continue;
        }
        let spot = draft.spot(owner, *rtype, 0);
        match said.get_mut(&top) {
            None => drop(said.insert(top, (spot, format!("{owner} {} is never answered: {by}", type_name(*rtype)), 0))),
            Some((first, reason, more)) => {
                *more += 1;
                if (&spot.file, spot.line) < (&first.file, first.line) {
                    (*first, *reason) = (spot, format!("{owner} {} is never answered: {by}", type_name(*rtype)));
                }
            }
        }
    }
    for (spot, reason, more) in said.into_values() {
        look.warn(&spot, reason + &and_more(more));
    }
    for (owner, spot) in &draft.names {
        if let Some(cut) = cut_above(look, owner) {
            look.refuse(spot, format!("{owner} is never answered: the delegation of {cut} hides it"));
        }
    }
}

/// The highest delegation at or above a name.
fn cut_above(look: &Look<'_>, name: &Name) -> Option<Name> {
    let apex = &look.draft.zone.apex;
    let above = std::iter::successors(Some(name.clone()), Name::parent).take_while(|above| above != apex);
    above.filter(|above| has(look.draft, above, NS)).last()
}

/// Names that no registry delegates (RFC 6761, RFC 6762, RFC 8375, and `internal`, which ICANN set aside).
fn is_private(apex: &Name) -> bool {
    let labels: Vec<&[u8]> = apex.labels().collect();
    matches!(labels.as_slice(), [.., b"internal" | b"test" | b"local" | b"localhost" | b"invalid"] | [.., b"home", b"arpa"])
}
