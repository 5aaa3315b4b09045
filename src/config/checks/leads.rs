//! Names that records lead to: mail exchanges, services, and the primary name server.

use super::super::document::Spot;
use super::super::rdata::type_name;
use super::Look;
use super::survey::{SVCB, Sight, lead};
use crate::codec::code::rtype::{HTTPS, MX, SOA, SRV};
use crate::model::Name;

pub(super) fn check(look: &mut Look<'_>) {
    let draft = look.draft;
    for ((owner, rtype), set) in &draft.zone.records {
        if !matches!(*rtype, MX | SRV | SVCB | HTTPS) {
            continue;
        }
        for (n, data) in set.rdata.iter().enumerate() {
            let Some(name) = lead(*rtype, data) else { continue };
            let spot = || draft.spot(owner, *rtype, n);
            // RFC 9460 §2.4.2: they should not be there, and whoever finds them ignores them.
            if matches!(*rtype, SVCB | HTTPS) && data.starts_with(&[0, 0]) && data.len() > 2 + name.wire().len() {
                look.warn(
                    &spot(),
                    format!("priority 0 makes an alias, whose parameters nobody looks at (RFC 9460 §2.4.2): {name} has its own"),
                );
            }
            if name == Name::root() {
                // RFC 7505 §3: who takes no mail has no other exchange.
                if *rtype == MX && set.rdata.len() > 1 {
                    look.warn(&spot(), "says that no mail is taken (RFC 7505), and there are other MX records beside it");
                }
                continue;
            }
            one(look, &spot(), *rtype, &name);
        }
    }
    let primary = &draft.zone.soa.primary;
    if primary.is_within(&draft.zone.apex) && !draft.zone.ns.contains(primary) {
        let spot = draft.spot(&draft.zone.apex, SOA, 0);
        match look.survey.look(primary) {
            Sight::Missing | Sight::Bare => look.warn(&spot, format!("{primary}, the primary name server, has no address in the zone")),
            Sight::Alias(_) => look.warn(&spot, format!("{primary}, the primary name server, is an alias")),
            _ => {}
        }
    }
}

/// One name in the data of a record.
fn one(look: &mut Look<'_>, spot: &Spot, rtype: u16, name: &Name) {
    let kind = type_name(rtype);
    if is_address(name, &look.draft.zone.apex) {
        return look.warn(spot, format!("{kind} leads to a name, and {name} looks like an address"));
    }
    let within = look.survey.zone_of(name).map(|(_, file)| file).unwrap_or_default();
    match look.survey.look(name) {
        // RFC 2181 §10.3 and RFC 2782 say so of MX and SRV; RFC 9460 §2.4.3 allows it.
        Sight::Alias(_) | Sight::Redirected(_) if matches!(rtype, MX | SRV) => {
            look.warn(spot, format!("{name} is an alias, to which {kind} does not lead (RFC 2181 §10.3)"));
        }
        Sight::Missing => look.warn(spot, format!("{name} does not exist in {within}")),
        Sight::Bare => look.warn(spot, format!("{name} has no address in {within}")),
        _ => {}
    }
}

/// Whether a name is an IPv4 address that was taken for a name: `192.0.2.1.`, or the same below the apex.
fn is_address(name: &Name, apex: &Name) -> bool {
    let labels: Vec<&[u8]> = name.labels().collect();
    let octet = |label: &&[u8]| std::str::from_utf8(label).is_ok_and(|text| text.parse::<u8>().is_ok());
    let four = labels.len() == 4 || (labels.len() == 4 + apex.labels().count() && name.is_within(apex));
    four && labels.iter().take(4).all(octet)
}
