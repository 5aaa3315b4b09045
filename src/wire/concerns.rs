//! What a query that was asked before has to do with a change of services: whoever signs ahead asks the ones again that it concerns.

use super::names::{Meaning, resolve};
use crate::codec::code::rtype;
use crate::codec::{HEADER, Header, NameBuf, Request};
use crate::routing::ServiceId;
use crate::snapshot::Snapshot;

/// What a query asks for, and from where as it says itself: two queries of one subject, from one sender, differ in nothing but what is drawn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Box<[u8]>);

/// The subject of a query; `None`: it is none that can be read.
pub fn subject(query: &[u8]) -> Option<Subject> {
    let mut name = NameBuf::default();
    let request = Request::parse(Header::parse(query)?, query, &mut name);
    let question = request.plain_question()?;
    let subnet = request.edns.and_then(|edns| edns.subnet);
    let mut octets = [question.name.wire(), &question.qtype.to_be_bytes()].concat();
    if let Some(subnet) = subnet {
        octets.extend(format!("{subnet:?}").into_bytes());
    }
    Some(Subject(octets.into()))
}

/// Types whose data are names that answers follow, or have the addresses of.
const LEADS: [u16; 6] = [rtype::CNAME, rtype::NS, rtype::MX, rtype::SRV, rtype::SVCB, rtype::HTTPS];

/// Whether the answer to a query may be another one since these services changed. Where only looking would tell, it may.
pub fn concerns(snapshot: &Snapshot, query: &[u8], changed: &mut dyn FnMut(ServiceId) -> bool) -> bool {
    let Ok((name, _)) = NameBuf::parse(query, HEADER) else { return false };
    let Some(zone) = snapshot.zone(&name) else { return false };
    match resolve(snapshot, zone, &name) {
        Meaning::Service(name) => changed(name.id),
        Meaning::Instance(name) => snapshot.service(name.service.label().as_bytes()).is_some_and(|(id, _)| changed(id)),
        // It may be an alias of a service, or have one in the additional section.
        Meaning::Owner(owner) => {
            owner.sets().any(|set| LEADS.contains(&set.rtype()))
                || owner
                    .policy()
                    .is_some_and(|policy| policy.records.types().any(|t| LEADS.contains(&t)) || policy.tree.services().any(changed))
        }
        Meaning::Redirected { .. } => true,
        Meaning::Delegated { .. } | Meaning::Empty | Meaning::Missing => false,
    }
}
