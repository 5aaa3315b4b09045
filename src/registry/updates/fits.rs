//! What an RRset must be beside the others of its zone, or the zone could not be served: what the checks of files say, for one RRset.
//!
//! What only the whole zone tells, such as a name below a DNAME, is found when it is compiled, which is tried before anything is written.

use super::view::View;
use crate::codec::code::rtype;
use crate::model::Name;
use crate::registry::Registry;

/// Why an RRset does not go with the rest of its zone; `None`: it does.
pub(super) fn unfit(registry: &Registry, view: &View<'_>, name: &Name, rtype: u16) -> Option<String> {
    let zone = view.zone;
    let set = view.set(name, rtype)?;
    let apex = *name == zone.apex;
    if let Some(service) = registry.service_at(zone, name) {
        return Some(format!("is a name of the service {service}"));
    }
    if zone.names.contains_key(name) && (!zone.aliases.contains_key(name) || matches!(rtype, rtype::A | rtype::AAAA | rtype::CNAME)) {
        return Some("has a policy".into());
    }
    match rtype {
        rtype::SOA if !apex => return Some("an SOA stands at the apex alone".into()),
        rtype::CNAME if apex => return Some("a CNAME cannot stand at the apex, beside SOA and NS (RFC 1034 §3.6.2)".into()),
        rtype::CNAME if zone.names.contains_key(name) || view.types(name).len() > 1 => {
            return Some("a CNAME stands alone at its name (RFC 1034 §3.6.2)".into());
        }
        rtype::DNAME if !apex && view.has(name, rtype::NS) => return Some("a DNAME cannot stand beside NS (RFC 6672 §2.3)".into()),
        rtype::DNAME if apex && zone.services => return Some("a DNAME would hide the names of services, which stand below".into()),
        rtype::NS if name.labels().next() == Some(b"*") => return Some("a wildcard cannot be delegated (RFC 4592 §4.2)".into()),
        rtype::DS if apex => return Some("a zone's DS stands in the zone above it (RFC 4035 §2.4)".into()),
        _ => {}
    }
    if rtype != rtype::CNAME && view.has(name, rtype::CNAME) {
        return Some("a CNAME stands alone at its name (RFC 1034 §3.6.2)".into());
    }
    let above = std::iter::successors(name.parent(), Name::parent).take_while(|above| above.is_within(&zone.apex));
    if let Some(above) = above.clone().find(|above| view.has(above, rtype::DNAME)) {
        return Some(format!("nothing can stand below the DNAME of {above} (RFC 6672 §2.4)"));
    }
    let servers = set.rdata.iter().filter(|_| rtype == rtype::NS).map(|data| Name::from_wire(data));
    for server in servers {
        if let Some(reason) = unfit_server(view, name, &server) {
            return Some(reason);
        }
    }
    None
}

/// Delegations and servers of the apex that an edit leaves without what they need: their addresses, or no alias.
pub(super) fn unfit_around<'v>(view: &'v View<'_>) -> Option<(&'v Name, String)> {
    view.edits.keys().filter(|(_, rtype)| matches!(*rtype, rtype::A | rtype::AAAA | rtype::CNAME)).find_map(|(name, _)| {
        let above = std::iter::successors(Some(name.clone()), Name::parent).take_while(|above| above.is_within(&view.zone.apex));
        let cuts = above.filter_map(|cut| Some((view.set(&cut, rtype::NS)?, cut)));
        let leads = |(set, cut): (_, Name)| {
            let set: std::borrow::Cow<'_, crate::model::RecordSet> = set;
            let led = set.rdata.iter().any(|data| **data == *name.wire());
            led.then(|| unfit_server(view, &cut, name)).flatten()
        };
        cuts.map(leads).find_map(|reason| reason).map(|reason| (name, reason))
    })
}

/// Why a name server of `cut` cannot be one.
fn unfit_server(view: &View<'_>, cut: &Name, server: &Name) -> Option<String> {
    if !server.is_within(&view.zone.apex) {
        return None;
    }
    if view.has(server, rtype::CNAME) {
        return Some(format!("{server} is an alias, which a name server cannot be (RFC 2181 §10.3)"));
    }
    let reachable = view.has(server, rtype::A) || view.has(server, rtype::AAAA);
    // RFC 9471 §2.1: a referral carries the addresses of servers below it.
    (*cut != view.zone.apex && server.is_within(cut) && !reachable)
        .then(|| format!("{server} is below the delegation of {cut} and has no address: without one (glue) nobody can reach it"))
}
