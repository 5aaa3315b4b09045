//! ALIAS, also called ANAME: `@ 300 IN ALIAS web.svc.example.` gives a name the addresses of another name of this server.
//!
//! It is no record, but a policy with one branch, written where people look for it: asked for A or AAAA, the one decision of the other name
//! answers, for each client and with its health. Other types are what stands beside it. The TTL is the longest that an answer has.

use super::document::Outline;
use super::finding::Notes;
use super::rdata::{ALIAS, type_name};
use super::zone::{CNAME, Draft, PolicyOwner, Written};
use crate::codec::code::rtype::{A, AAAA};
use crate::model::{AliasOf, BranchFields, Name, PolicyKind};

/// Turns every ALIAS among the records of the zones into a policy, which `references` resolves.
pub(super) fn take(drafts: &mut [Draft], notes: &mut Notes) {
    for draft in drafts {
        let owners: Vec<Name> = draft.zone.records.keys().filter(|(_, rtype)| *rtype == ALIAS).map(|(owner, _)| owner.clone()).collect();
        for owner in owners {
            one(draft, owner, notes);
        }
    }
}

fn one(draft: &mut Draft, owner: Name, notes: &mut Notes) {
    let key = (owner.clone(), ALIAS);
    let (spot, second) = (draft.spot(&owner, ALIAS, 0), draft.spot(&owner, ALIAS, 1));
    draft.records.remove(&key);
    draft.further.remove(&key);
    let Some(set) = draft.zone.records.remove(&key) else { return };
    let mut refuse = |spot: &super::document::Spot, reason: String| notes.findings.push(spot.finding(&draft.zone.file, reason));
    if set.rdata.len() > 1 {
        refuse(&second, "a name is an ALIAS of one other name, not of several".into());
    }
    let beside = [A, AAAA, CNAME].into_iter().filter(|rtype| draft.zone.records.contains_key(&(owner.clone(), *rtype)));
    let beside: Vec<String> = beside.map(type_name).collect();
    if !beside.is_empty() {
        refuse(&spot, format!("ALIAS answers A and AAAA, so {owner} cannot have {} as well", beside.join(", ")));
    }
    if draft.names.contains_key(&owner) {
        return refuse(&spot, format!("{owner} has a policy under [names] too; a name has one"));
    }
    let Some(of) = set.rdata.first().map(|data| Name::from_wire(data)) else { return };
    draft.names.insert(owner.clone(), spot.clone());
    draft.zone.aliases.insert(owner.clone(), AliasOf { name: of.clone(), ttl: set.ttl });
    draft.policies.push(Written {
        owner: PolicyOwner::Name(owner),
        fields: BranchFields { policy: Some(PolicyKind::Simple), ..BranchFields::default() },
        resolved: None,
        outline: Outline::at(spot),
        alias_of: Some(of),
    });
}
