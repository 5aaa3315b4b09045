//! What every name of every zone is, as far as the files say: for checks of what leads where.

use std::collections::{BTreeMap, BTreeSet};

use super::super::atlas::existing;
use super::super::zone::{CNAME, Draft, NS};
use crate::codec::code::rtype::{A, AAAA, DNAME, HTTPS, MX, SRV};
use crate::model::{Label, Name};

pub(super) const SVCB: u16 = 64;

/// All names of all zones.
pub(super) struct Survey<'d> {
    zones: BTreeMap<&'d Name, Ground<'d>>,
    services: &'d BTreeMap<Label, &'d str>,
}

struct Ground<'d> {
    draft: &'d Draft,
    /// The owners, and the empty names above them.
    existing: BTreeSet<Name>,
    dnames: bool,
}

/// What a name is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// In no zone of this server.
    Elsewhere,
    /// At or below the delegation of this name; other servers answer.
    Delegated(Name),
    /// Below the DNAME of this name.
    Redirected(Name),
    /// An alias of that name.
    Alias(Name),
    /// It has addresses: static ones, or those that a policy or a service chooses.
    Addresses,
    /// It exists and has no address.
    Bare,
    /// It does not exist.
    Missing,
}

impl<'d> Survey<'d> {
    pub fn new(drafts: &'d [Draft], services: &'d BTreeMap<Label, &'d str>) -> Survey<'d> {
        let ground = |draft: &'d Draft| {
            let dnames = draft.records.keys().any(|(_, rtype)| *rtype == DNAME);
            (&draft.zone.apex, Ground { draft, existing: existing(draft), dnames })
        };
        Survey { zones: drafts.iter().map(ground).collect(), services }
    }

    /// The zone of this server that answers for a name, and its file.
    pub fn zone_of(&self, name: &Name) -> Option<(&'d Name, &'d str)> {
        let ground = self.ground(name)?;
        Some((&ground.draft.zone.apex, ground.draft.zone.file.as_str()))
    }

    /// What a name is.
    pub fn look(&self, name: &Name) -> Sight {
        let Some(ground) = self.ground(name) else { return Sight::Elsewhere };
        let draft = ground.draft;
        let apex = &draft.zone.apex;
        let above: Vec<Name> = std::iter::successors(Some(name.clone()), Name::parent).take_while(|above| above != apex).collect();
        if let Some(cut) = above.iter().rev().find(|above| has(draft, above, NS)) {
            return Sight::Delegated(cut.clone());
        }
        let dname = || above.iter().skip(1).chain((name != apex).then_some(apex)).find(|above| has(draft, above, DNAME));
        if let Some(dname) = ground.dnames.then(dname).flatten() {
            return Sight::Redirected(dname.clone());
        }
        if ground.existing.contains(name) && !self.is_service(ground, &above) {
            return self.stands(draft, name);
        }
        if self.is_service(ground, &above) {
            return Sight::Addresses;
        }
        // RFC 4592 §3.3.1: the wildcard at the closest encloser, which is the first name above that exists.
        let encloser = above.iter().skip(1).chain([apex]).find(|above| ground.existing.contains(*above));
        match encloser.and_then(|encloser| encloser.child(b"*")).filter(|wildcard| ground.existing.contains(wildcard)) {
            Some(wildcard) => self.stands(draft, &wildcard),
            None => Sight::Missing,
        }
    }

    fn ground(&self, name: &Name) -> Option<&Ground<'d>> {
        std::iter::successors(Some(name.clone()), Name::parent).find_map(|apex| self.zones.get(&apex))
    }

    /// Whether the name, given with those above it, is a service's or below one.
    fn is_service(&self, ground: &Ground<'_>, above: &[Name]) -> bool {
        let label = above.last().and_then(|last| last.labels().next()).and_then(|label| std::str::from_utf8(label).ok());
        ground.draft.zone.services && label.is_some_and(|label| self.services.contains_key(label))
    }

    fn stands(&self, draft: &Draft, name: &Name) -> Sight {
        if let Some(set) = draft.zone.records.get(&(name.clone(), CNAME)) {
            return set.rdata.first().and_then(|data| name_at(data, 0)).map_or(Sight::Bare, Sight::Alias);
        }
        match draft.names.contains_key(name) || has(draft, name, A) || has(draft, name, AAAA) {
            true => Sight::Addresses,
            false => Sight::Bare,
        }
    }
}

/// Whether a zone has records of a type at a name.
pub(super) fn has(draft: &Draft, name: &Name, rtype: u16) -> bool {
    draft.zone.records.contains_key(&(name.clone(), rtype))
}

/// The name in the data of a type that leads somewhere; `None` for other types.
pub(super) fn lead(rtype: u16, data: &[u8]) -> Option<Name> {
    let at = match rtype {
        NS | CNAME | DNAME => 0,
        MX | SVCB | HTTPS => 2,
        SRV => 6,
        _ => return None,
    };
    name_at(data, at)
}

/// The name that begins at an octet of record data.
fn name_at(data: &[u8], at: usize) -> Option<Name> {
    let mut end = at;
    loop {
        let length = usize::from(*data.get(end)?);
        end += 1 + length;
        if length == 0 {
            return (end - at <= 255).then(|| Name::from_wire(&data[at..end]));
        }
        if length > 63 {
            return None;
        }
    }
}
