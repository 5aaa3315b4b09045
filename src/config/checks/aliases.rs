//! CNAME and DNAME: alone at their names, without a circle, and leading to something.

use super::super::rdata::{is_signature, type_name};
use super::super::zone::{CNAME, NS};
use super::survey::{Sight, has, lead};
use super::{Look, and_more};
use crate::codec::code::rtype::{DNAME, NSEC3};
use crate::model::Name;
use crate::wire::MAX_ALIASES;

pub(super) fn check(look: &mut Look<'_>) {
    for (owner, rtype) in look.draft.records.keys() {
        match *rtype {
            CNAME => alias(look, owner),
            DNAME => redirection(look, owner),
            _ => {}
        }
    }
    below_redirections(look);
}

/// An alias is the only record of its name (RFC 1034 §3.6.2, RFC 2181 §10.1), but for what signs it (RFC 4035 §2.5).
fn alias(look: &mut Look<'_>, owner: &Name) {
    let zone = &look.draft.zone;
    let types = zone.records.range((owner.clone(), 0)..=(owner.clone(), u16::MAX)).map(|((_, rtype), _)| *rtype);
    let other = types.filter(|t| *t != CNAME && !is_signature(*t)).map(type_name).collect::<Vec<_>>();
    let several = zone.records.get(&(owner.clone(), CNAME)).is_some_and(|set| set.rdata.len() > 1);
    if *owner == zone.apex {
        let reason =
            "the apex has SOA and NS records, so it cannot be an alias; give it A and AAAA records, or ALIAS for those of another name";
        look.refuse(&look.draft.spot(owner, CNAME, 0), reason);
    } else if !other.is_empty() {
        let reason = format!("an alias is the only record of its name, and {owner} has {} too", other.join(", "));
        look.refuse(&look.draft.spot(owner, CNAME, 0), reason);
    } else if several {
        look.refuse(&look.draft.spot(owner, CNAME, 1), "a name is an alias of one other name, not of several");
    } else {
        chain(look, owner);
    }
}

/// Follows an alias as far as the zones of this server go.
fn chain(look: &mut Look<'_>, owner: &Name) {
    let mut way = vec![owner.clone()];
    let mut next = look.draft.zone.records.get(&(owner.clone(), CNAME)).and_then(|set| lead(CNAME, set.rdata.first()?));
    while let Some(name) = next.take() {
        if let Some(begin) = way.iter().position(|before| *before == name) {
            // Who only leads into a circle is told by those who are in it.
            if begin == 0 {
                way.push(name);
                let reason = format!("{}: the aliases lead in a circle, and never to an address", shown(&way));
                look.warn(&look.draft.spot(owner, CNAME, 0), reason);
            }
            return;
        }
        way.push(name.clone());
        // Twice as long as any server follows.
        if way.len() > 2 * MAX_ALIASES {
            return;
        }
        match look.survey.look(&name) {
            Sight::Alias(other) => {
                next = Some(other);
                if way.len() == MAX_ALIASES + 1 {
                    let reason = format!("{} aliases one behind the other: an answer follows {MAX_ALIASES}", MAX_ALIASES + 1);
                    look.warn(&look.draft.spot(owner, CNAME, 0), reason);
                }
            }
            // The alias before the end says it, not every one that leads there.
            Sight::Missing if way.len() == 2 => {
                let file = look.survey.zone_of(&name).map_or(String::new(), |(_, file)| format!(" in {file}"));
                look.warn(&look.draft.spot(owner, CNAME, 0), format!("leads to {name}, which does not exist{file}"));
            }
            _ => {}
        }
    }
}

fn shown(way: &[Name]) -> String {
    way.iter().map(Name::to_string).collect::<Vec<_>>().join(" → ")
}

/// What stands at a DNAME itself (RFC 6672 §2.3 and §2.4).
fn redirection(look: &mut Look<'_>, owner: &Name) {
    let zone = &look.draft.zone;
    let spot = look.draft.spot(owner, DNAME, 0);
    let Some(set) = zone.records.get(&(owner.clone(), DNAME)) else { return };
    if set.rdata.len() > 1 {
        look.refuse(&look.draft.spot(owner, DNAME, 1), "a name has one DNAME, not several (RFC 6672 §2.4)");
    }
    if *owner != zone.apex && has(look.draft, owner, NS) {
        look.refuse(&spot, format!("{owner} is delegated: a DNAME stands beside NS at the apex alone (RFC 6672 §2.3)"));
    }
    if owner.labels().next() == Some(b"*") {
        look.warn(&spot, "a wildcard that redirects is not defined well, and servers differ (RFC 6672 §3.3)");
    }
    if zone.services && *owner == zone.apex {
        look.refuse(&spot, "the zone shows services, and nothing stands below a DNAME (RFC 6672 §2.3)");
    }
    if set.rdata.first().and_then(|data| lead(DNAME, data)).is_some_and(|to| to.is_within(owner)) {
        look.warn(&spot, format!("leads to {owner} or below it: names grow until they are too long, and nothing is found (RFC 6672 §2.2)"));
    }
}

/// Nothing stands below a DNAME (RFC 6672 §2.3): what does would be hidden from some and not from others.
fn below_redirections(look: &mut Look<'_>) {
    let draft = look.draft;
    if !draft.records.keys().any(|(_, rtype)| *rtype == DNAME) {
        return;
    }
    let dname_above = |owner: &Name| std::iter::successors(owner.parent(), Name::parent).find(|above| has(draft, above, DNAME));
    let reason = |what: String, dname: &Name| format!("{what} is below the DNAME of {dname}, which answers for all names there");
    // The hash of a name stands at no name, and neither does its signature (RFC 5155 §3).
    let is_hash = |owner: &Name| has(draft, owner, NSEC3);
    for (owner, rtype) in draft.records.keys().filter(|(owner, _)| !is_hash(owner)) {
        if let Some(dname) = dname_above(owner) {
            let more = draft.zone.records.get(&(owner.clone(), *rtype)).map_or(0, |set| set.rdata.len().saturating_sub(1));
            let what = format!("{owner} {}", type_name(*rtype));
            look.refuse(&draft.spot(owner, *rtype, 0), reason(what, &dname) + &and_more(more));
        }
    }
    for (owner, spot) in &draft.names {
        if let Some(dname) = dname_above(owner) {
            look.refuse(spot, reason(owner.to_string(), &dname));
        }
    }
}
