//! One message: what must hold, what is changed, and whether that may be (RFC 2136 §3).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::view::{self, View};
use super::{Becomes, MAX_SETS, SetChange, ZoneChange, fits};
use crate::codec::code::{extended, rcode, rtype};
use crate::model::{Edit, Name, Prerequisite, RecordSet, Timestamp, UpdateRight, ZoneUpdate};
use crate::registry::Registry;

/// Why an update was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateRefusal {
    /// The zone is not served here (RFC 2136 §3.1.1).
    #[error("{0} is no zone of this server")]
    NotAuth(Name),
    /// A name is not within the zone (§3.2.1, §3.4.1.1).
    #[error("{0} is not within the zone")]
    NotZone(Name),
    /// A name should not be in use, and is (§3.2.1).
    #[error("{0} is in use")]
    NameExists(Name),
    /// A name should be in use, and is not (§3.2.1).
    #[error("{0} is not in use")]
    NameMissing(Name),
    /// An RRset should not exist, and does (§3.2.1).
    #[error("{name} has {}", view::type_text(*.rtype))]
    SetExists {
        /// The owner.
        name: Name,
        /// The type.
        rtype: u16,
    },
    /// An RRset should exist, or hold other records than it does (§3.2.1, §3.2.3).
    #[error("{name} has no such {}", view::type_text(*.rtype))]
    SetMissing {
        /// The owner.
        name: Name,
        /// The type.
        rtype: u16,
    },
    /// The key may not change this (§3.3).
    #[error("this key may not change {} of {name}", .rtype.map_or("all records".into(), view::type_text))]
    NoRight {
        /// The owner.
        name: Name,
        /// The type; `None`: all that stand there.
        rtype: Option<u16>,
    },
    /// The name is a service's, or below one.
    #[error("{0} is a name of the service {1}, which registrations decide")]
    OfService(Name, String),
    /// The name has a policy.
    #[error("{0} has a policy in {1}; change it there")]
    OfPolicy(Name, String),
    /// The type is made by the signer alone.
    #[error("{} is made by whoever signs the zone", view::type_text(*.0))]
    Signature(u16),
    /// The zone could not be served with it.
    #[error("{0}: {1}")]
    Unfit(String, String),
    /// More RRsets than one commit of the store holds.
    #[error("an update changes at most {MAX_SETS} RRsets at once, not {0}: send it in parts")]
    TooLarge(usize),
}

impl UpdateRefusal {
    /// The RCODE that says so (RFC 2136 §2.2).
    pub fn rcode(&self) -> u16 {
        match self {
            UpdateRefusal::NotAuth(_) => rcode::NOTAUTH,
            UpdateRefusal::NotZone(_) => rcode::NOTZONE,
            UpdateRefusal::NameExists(_) => rcode::YXDOMAIN,
            UpdateRefusal::NameMissing(_) => rcode::NXDOMAIN,
            UpdateRefusal::SetExists { .. } => rcode::YXRRSET,
            UpdateRefusal::SetMissing { .. } => rcode::NXRRSET,
            UpdateRefusal::NoRight { .. }
            | UpdateRefusal::OfService(..)
            | UpdateRefusal::OfPolicy(..)
            | UpdateRefusal::Signature(_)
            | UpdateRefusal::Unfit(..)
            | UpdateRefusal::TooLarge(_) => rcode::REFUSED,
        }
    }

    /// The INFO-CODE of the extended error that goes with it (RFC 8914).
    pub fn extended(&self) -> u16 {
        match self {
            UpdateRefusal::NotAuth(_) => extended::NOT_AUTHORITATIVE,
            UpdateRefusal::NoRight { .. } | UpdateRefusal::OfService(..) | UpdateRefusal::OfPolicy(..) => extended::PROHIBITED,
            UpdateRefusal::Signature(_) | UpdateRefusal::TooLarge(_) => extended::NOT_SUPPORTED,
            _ => extended::OTHER,
        }
    }
}

/// RRSIG, NSEC, NSEC3, NSEC3PARAM, and SIG and NXT before them: nobody but the signer can keep them right.
const SIGNATURES: [u16; 6] = [24, 30, 46, 47, 50, 51];

/// What an update changes.
pub(in super::super) fn plan(
    registry: &Registry,
    update: &ZoneUpdate,
    key: &Name,
    rights: &[UpdateRight],
    now: Timestamp,
) -> Result<ZoneChange, UpdateRefusal> {
    let apex = &update.apex;
    let (zone, overlay) = registry.zone(apex).ok_or_else(|| UpdateRefusal::NotAuth(apex.clone()))?;
    // Who may change nothing learns nothing: prerequisites tell what the zone holds.
    if rights.is_empty() {
        return Err(UpdateRefusal::NoRight { name: apex.clone(), rtype: None });
    }
    let mut view = View::new(zone, overlay);
    prerequisites(&view, registry, &update.prerequisites)?;
    for edit in &update.edits {
        allow(&view, registry, edit, rights)?;
    }
    let mut serial = None;
    for edit in &update.edits {
        make(&mut view, edit, &mut serial);
    }
    let edits = std::mem::take(&mut view.edits);
    let changed: BTreeMap<_, _> =
        edits.into_iter().filter(|((name, rtype), set)| !view::same(view.served(name, *rtype).as_deref(), set.as_ref())).collect();
    view.edits = changed;
    for (name, rtype) in view.edits.keys() {
        if let Some(reason) = fits::unfit(registry, &view, name, *rtype) {
            return Err(UpdateRefusal::Unfit(name.to_string(), reason));
        }
    }
    // What leads to a name may be wrong because of what stands there now.
    if let Some((name, reason)) = fits::unfit_around(&view) {
        return Err(UpdateRefusal::Unfit(name.to_string(), reason));
    }
    let before = overlay.map_or(0, |overlay| overlay.changes);
    let void = view.edits.is_empty() && serial.is_none();
    let changes = match serial {
        Some(serial) => serial.wrapping_sub(zone.soa.serial),
        None => before.wrapping_add(u32::from(!void)),
    };
    let sets: Vec<SetChange> = std::mem::take(&mut view.edits).into_iter().map(|(key, set)| one(&view, key, set)).collect();
    if sets.len() > MAX_SETS {
        return Err(UpdateRefusal::TooLarge(sets.len()));
    }
    Ok(ZoneChange {
        apex: apex.clone(),
        changes,
        epoch: overlay.map_or(0, |overlay| overlay.epoch),
        before: overlay.and_then(|overlay| overlay.revision),
        sets,
        serial: zone.soa.serial.wrapping_add(changes),
        author: key.to_string().into(),
        at: now,
        void,
    })
}

/// Everything that updates changed of a zone is as its file says again; also where the zone is served no more.
pub(in super::super) fn plan_drop(registry: &Registry, apex: &Name, author: &str, now: Timestamp) -> Result<ZoneChange, UpdateRefusal> {
    let overlay = registry.overlays.get(apex);
    let zone = registry.zone(apex).map(|(zone, _)| zone);
    if zone.is_none() && overlay.is_none() {
        return Err(UpdateRefusal::NotAuth(apex.clone()));
    }
    let overlay = overlay.cloned().unwrap_or_default();
    let void = overlay.sets.is_empty();
    let changes = overlay.changes.wrapping_add(u32::from(!void));
    Ok(ZoneChange {
        apex: apex.clone(),
        changes,
        epoch: overlay.epoch.wrapping_add(u32::from(!void)),
        before: overlay.revision,
        sets: Vec::new(),
        serial: zone.map_or(0, |zone| zone.soa.serial).wrapping_add(changes),
        author: author.into(),
        at: now,
        void,
    })
}

/// What an RRset becomes in the overlay.
fn one(view: &View<'_>, key: (Name, u16), set: Option<RecordSet>) -> SetChange {
    let before = view.overlay.and_then(|overlay| overlay.sets.get(&key)).map(|set| set.revision);
    let file = view::in_file(view.zone, &key.0, key.1);
    let becomes = match set {
        // The SOA's serial is counted apart.
        set if key.1 != rtype::SOA && view::same(file.as_deref(), set.as_ref()) => Becomes::AsInFile,
        Some(set) => Becomes::Records(Arc::new(set)),
        None => Becomes::Gone,
    };
    SetChange { over: view::print(view.zone, &key.0, key.1), key, before, becomes }
}

/// RFC 2136 §3.2.
fn prerequisites(view: &View<'_>, registry: &Registry, prerequisites: &[Prerequisite]) -> Result<(), UpdateRefusal> {
    let apex = &view.zone.apex;
    // A name is in use also where a policy or a service answers for it.
    let in_use =
        |name: &Name| !view.types(name).is_empty() || view.zone.names.contains_key(name) || registry.service_at(view.zone, name).is_some();
    let missing = |name: &Name, rtype: u16| UpdateRefusal::SetMissing { name: name.clone(), rtype };
    let mut held: BTreeMap<(&Name, u16), BTreeSet<&[u8]>> = BTreeMap::new();
    for prerequisite in prerequisites {
        let (Prerequisite::InUse(name)
        | Prerequisite::Unused(name)
        | Prerequisite::Exists(name, _)
        | Prerequisite::Absent(name, _)
        | Prerequisite::Holds(name, ..)) = prerequisite;
        if !name.is_within(apex) {
            return Err(UpdateRefusal::NotZone(name.clone()));
        }
        match prerequisite {
            Prerequisite::InUse(name) if !in_use(name) => return Err(UpdateRefusal::NameMissing(name.clone())),
            Prerequisite::Unused(name) if in_use(name) => return Err(UpdateRefusal::NameExists(name.clone())),
            Prerequisite::Exists(name, rtype) if !view.has(name, *rtype) => return Err(missing(name, *rtype)),
            Prerequisite::Absent(name, rtype) if view.has(name, *rtype) => {
                return Err(UpdateRefusal::SetExists { name: name.clone(), rtype: *rtype });
            }
            Prerequisite::Holds(name, rtype, data) => _ = held.entry((name, *rtype)).or_default().insert(data),
            _ => {}
        }
    }
    // §3.2.3: RRsets are compared whole, once all of their records are known. TTLs do not count.
    for ((name, rtype), wanted) in held {
        let set = view.set(name, rtype).unwrap_or(Cow::Owned(RecordSet { ttl: 0, rdata: Vec::new() }));
        let found: BTreeSet<&[u8]> = set.rdata.iter().map(|data| &**data).collect();
        if found != wanted {
            return Err(missing(name, rtype));
        }
    }
    Ok(())
}

/// Whether an edit may be made by whoever has these rights (RFC 2136 §3.3, §3.4.1), and where updates may be made at all.
fn allow(view: &View<'_>, registry: &Registry, edit: &Edit, rights: &[UpdateRight]) -> Result<(), UpdateRefusal> {
    let (zone, name) = (view.zone, edit.name());
    if !name.is_within(&zone.apex) {
        return Err(UpdateRefusal::NotZone(name.clone()));
    }
    let granted = |rtype: Option<u16>| rights.iter().any(|right| right.grants(&zone.apex, name, rtype));
    match edit.rtype() {
        Some(rtype) if !granted(Some(rtype)) => {
            return Err(UpdateRefusal::NoRight { name: name.clone(), rtype: Some(rtype) });
        }
        Some(rtype) if SIGNATURES.contains(&rtype) => return Err(UpdateRefusal::Signature(rtype)),
        Some(_) => {}
        None => {
            // All that stand there, each of which must be granted.
            let refused = || UpdateRefusal::NoRight { name: name.clone(), rtype: None };
            let types = view.types(name).into_iter().filter(|rtype| *name != zone.apex || !matches!(*rtype, rtype::SOA | rtype::NS));
            if !granted(None) || !types.into_iter().all(|rtype| granted(Some(rtype))) {
                return Err(refused());
            }
        }
    }
    if let Some(service) = registry.service_at(zone, name) {
        return Err(UpdateRefusal::OfService(name.clone(), service.to_string()));
    }
    let addresses = |rtype: u16| matches!(rtype, rtype::A | rtype::AAAA | rtype::CNAME);
    match (zone.names.contains_key(name), zone.aliases.contains_key(name)) {
        // Beside an ALIAS other records may stand.
        (true, true) if !edit.rtype().is_some_and(addresses) => Ok(()),
        (true, _) => Err(UpdateRefusal::OfPolicy(name.clone(), zone.file.clone())),
        (false, _) => Ok(()),
    }
}

/// Makes one edit (RFC 2136 §3.4.2). `serial`: the SOA's, where an edit sets it.
fn make(view: &mut View<'_>, edit: &Edit, serial: &mut Option<u32>) {
    let apex = view.zone.apex.clone();
    match edit {
        Edit::Add { name, rtype, ttl, rdata } => add(view, name, *rtype, *ttl, rdata, serial),
        // §3.4.2.3: SOA and NS of the apex stay.
        Edit::DeleteSet(name, rtype::SOA | rtype::NS) if *name == apex => {}
        Edit::DeleteSet(name, rtype) => remove(view, name, *rtype),
        Edit::DeleteName(name) => {
            for rtype in view.types(name) {
                if *name != apex || !matches!(rtype, rtype::SOA | rtype::NS) {
                    remove(view, name, rtype);
                }
            }
        }
        // §3.4.2.4: nor does a single SOA go.
        Edit::DeleteRecord(_, rtype::SOA, _) => {}
        Edit::DeleteRecord(name, rtype, rdata) => {
            let Some(set) = view.set(name, *rtype) else { return };
            if !set.rdata.contains(rdata) {
                return;
            }
            let mut set = set.into_owned();
            // §3.4.2.4: the last NS of the apex stays.
            if *rtype == rtype::NS && *name == apex && set.rdata.len() == 1 {
                return;
            }
            set.rdata.retain(|data| data != rdata);
            match set.rdata.is_empty() {
                true => remove(view, name, *rtype),
                false => _ = view.edits.insert((name.clone(), *rtype), Some(set)),
            }
        }
    }
}

fn remove(view: &mut View<'_>, name: &Name, rtype: u16) {
    view.edits.insert((name.clone(), rtype), None);
}

/// RFC 2136 §3.4.2.2.
fn add(view: &mut View<'_>, name: &Name, rtype: u16, ttl: u32, rdata: &[u8], serial: &mut Option<u32>) {
    // A CNAME beside other records, or another record beside a CNAME, is left out without a word.
    let types = view.types(name);
    if types.iter().any(|there| (*there == rtype::CNAME) != (rtype == rtype::CNAME)) {
        return;
    }
    match rtype {
        rtype::SOA => {
            let Some((_, _, [new, ..])) = view::soa(rdata).filter(|_| *name == view.zone.apex) else { return };
            // RFC 1982 §3.2: only a later one counts.
            let current = serial.unwrap_or_else(|| view.serial());
            if new == current || new.wrapping_sub(current) > i32::MAX as u32 {
                return;
            }
            *serial = Some(new);
            view.edits.insert((name.clone(), rtype), Some(RecordSet { ttl, rdata: vec![rdata.into()] }));
        }
        // There is one at most: the new one replaces it (RFC 6672 §2.4 says it of DNAME).
        rtype::CNAME | rtype::DNAME => {
            view.edits.insert((name.clone(), rtype), Some(RecordSet { ttl, rdata: vec![rdata.into()] }));
        }
        _ => {
            let mut set = view.set(name, rtype).map_or(RecordSet { ttl, rdata: Vec::new() }, Cow::into_owned);
            // RFC 2181 §5.2: the records of an RRset have one TTL, which is the one said last.
            set.ttl = ttl;
            if !set.rdata.iter().any(|data| **data == *rdata) {
                set.rdata.push(rdata.into());
            }
            view.edits.insert((name.clone(), rtype), Some(set));
        }
    }
}
