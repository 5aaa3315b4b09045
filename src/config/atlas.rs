//! All names of all zone files: what each one is, for branches that lead to it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::copying::Copying;
use super::zone::{CNAME, Draft, MAX_RECORDS, NS, PolicyOwner, Written, too_many_records};
use super::{rdata, references, suggest};
use crate::model::{BranchFields, Label, Name};

/// What a name is.
pub(super) enum Lead {
    Policy(Name),
    Service {
        service: Label,
        region: Option<Label>,
        az: Option<Label>,
        tag: Option<Label>,
    },
    /// Its static records, and their least TTL.
    Records(BTreeMap<String, Vec<String>>, u32),
}

/// Why nothing can lead to a name.
pub(super) enum Nowhere {
    /// Other servers answer it.
    Elsewhere(String),
    /// This server has nothing there that could be led to.
    Here(String),
}

impl From<String> for Nowhere {
    fn from(reason: String) -> Nowhere {
        Nowhere::Here(reason)
    }
}

impl From<Nowhere> for String {
    fn from(nowhere: Nowhere) -> String {
        match nowhere {
            Nowhere::Elsewhere(reason) => reason + "; use `cname` for names elsewhere",
            Nowhere::Here(reason) => reason,
        }
    }
}

/// All names of all zones.
pub(super) struct Atlas<'d> {
    copying: &'d Copying,
    zones: BTreeMap<&'d Name, Zone<'d>>,
    pub policies: BTreeMap<&'d Name, (&'d Draft, &'d Written)>,
    services: BTreeMap<&'d str, &'d Label>,
    /// Services whose own policy may answer a CNAME.
    pub aliasing: BTreeSet<&'d Label>,
    /// Zones in which something was looked for.
    led: RefCell<BTreeSet<Name>>,
}

struct Zone<'d> {
    draft: &'d Draft,
    /// The owners, and the empty names above them.
    existing: BTreeSet<Name>,
}

impl Zone<'_> {
    /// The topmost delegation among names below the apex, the lowest first.
    fn cut<'n>(&self, inside: &[&'n Name]) -> Option<&'n Name> {
        inside.iter().rev().find(|above| self.draft.zone.records.contains_key(&(Name::clone(above), NS))).copied()
    }
}

/// Where a name is.
enum Place<'a, 'd> {
    Here(&'a Zone<'d>),
    /// In a zone that is to be copied, of which nothing is here.
    Awaited(&'a Name),
    Nowhere,
}

impl<'d> Atlas<'d> {
    pub fn new(drafts: &'d [Draft], copying: &'d Copying) -> Atlas<'d> {
        let mut atlas = Atlas {
            copying,
            zones: BTreeMap::new(),
            policies: BTreeMap::new(),
            services: BTreeMap::new(),
            aliasing: BTreeSet::new(),
            led: RefCell::default(),
        };
        for draft in drafts {
            atlas.zones.insert(&draft.zone.apex, Zone { draft, existing: existing(draft) });
            atlas.services.extend(draft.services.keys().map(|label| (label.as_str(), label)));
            for written in &draft.policies {
                match &written.owner {
                    PolicyOwner::Name(owner) => drop(atlas.policies.insert(owner, (draft, written))),
                    PolicyOwner::Service(label) if answers_alias(&written.fields.branches) => drop(atlas.aliasing.insert(label)),
                    PolicyOwner::Service(_) => {}
                }
            }
        }
        atlas
    }

    /// What a name is; the error says why nothing can lead there.
    pub fn find(&self, name: &Name) -> Result<Lead, Nowhere> {
        let ancestors: Vec<Name> = std::iter::successors(Some(name.clone()), Name::parent).collect();
        let zone = match self.zone_of(&ancestors) {
            Place::Here(zone) => zone,
            Place::Awaited(apex) => {
                self.led.borrow_mut().insert(apex.clone());
                return Err(Nowhere::Here(format!("is in {apex}, which is copied from another server and has not come yet")));
            }
            Place::Nowhere if self.copying.catalogs => {
                // Whichever of them comes.
                self.led.borrow_mut().extend(ancestors);
                return Err(Nowhere::Here("is in no zone of this server, unless a catalog lists one that has not come yet".into()));
            }
            Place::Nowhere => return Err(Nowhere::Elsewhere("is in no zone of this server".into())),
        };
        let apex = &zone.draft.zone.apex;
        if !self.led.borrow().contains(apex) {
            self.led.borrow_mut().insert(apex.clone());
        }
        let inside: Vec<&Name> = ancestors.iter().take_while(|above| *above != apex).collect();
        if let Some(cut) = zone.cut(&inside) {
            return Err(Nowhere::Elsewhere(format!("is at or below the delegation of {cut}, which other servers answer")));
        }
        if let Some(lead) = self.owned(zone, name)? {
            return Ok(lead);
        }
        let mut labels: Vec<&[u8]> = name.labels().take(inside.len()).collect();
        if let Some(service) = labels.pop().and_then(|last| std::str::from_utf8(last).ok())
            && zone.draft.zone.services
        {
            if let Some(service) = self.services.get(service) {
                return Ok(narrowed(service, &labels)?);
            }
            if service.starts_with('_') {
                return Err(Nowhere::Here("is a name of SRV records; lead to the service's own name".into()));
            }
        }
        // RFC 4592 §3.3.1: the wildcard at the closest encloser, which is the first name above that exists.
        let encloser = ancestors.iter().skip(1).find(|above| zone.existing.contains(*above));
        if !zone.existing.contains(name)
            && let Some(wildcard) = encloser.and_then(|encloser| encloser.child(b"*"))
            && let Some(lead) = self.owned(zone, &wildcard)?
        {
            return Ok(lead);
        }
        if *name == *apex {
            return Err(Nowhere::Here("is a zone's apex, which has nothing but SOA and NS records".into()));
        }
        if zone.existing.contains(name) {
            return Err(Nowhere::Here("has no records: it only has names below it".into()));
        }
        if self.copying.kept(zone.draft) {
            return Err(Nowhere::Here(format!("does not exist in {}", zone.draft.zone.file)));
        }
        let known: Vec<String> = zone.existing.iter().filter(|known| *known != apex).map(Name::to_string).collect();
        let shown = self.services.keys().filter(|_| zone.draft.zone.services).filter_map(|label| apex.child(label.as_bytes()));
        let known: Vec<String> = known.into_iter().chain(shown.map(|name| name.to_string())).collect();
        let words: Vec<&str> = known.iter().map(String::as_str).collect();
        Err(Nowhere::Here(match suggest::nearest(&name.to_string(), &words) {
            Some(near) => format!("does not exist in {}; did you mean `{near}`?", zone.draft.zone.file),
            None => format!("does not exist in {}; a service that will be registered is named by `service`", zone.draft.zone.file),
        }))
    }

    /// Whether another server says, or may say once its zone has come, what a name is.
    pub fn is_copied(&self, name: &Name) -> bool {
        let ancestors: Vec<Name> = std::iter::successors(Some(name.clone()), Name::parent).collect();
        match self.zone_of(&ancestors) {
            Place::Awaited(_) => true,
            Place::Nowhere => self.copying.catalogs,
            Place::Here(zone) if self.copying.kept(zone.draft) => true,
            // A catalog may list what is delegated.
            Place::Here(zone) => {
                let inside: Vec<&Name> = ancestors.iter().take_while(|above| **above != zone.draft.zone.apex).collect();
                self.copying.catalogs && zone.cut(&inside).is_some()
            }
        }
    }

    /// The zone of a name, which `ancestors` begin with.
    fn zone_of<'a>(&'a self, ancestors: &'a [Name]) -> Place<'a, 'd> {
        let place = |apex: &'a Name| match self.zones.get(apex) {
            Some(zone) => Some(Place::Here(zone)),
            None => self.copying.apexes.contains(apex).then_some(Place::Awaited(apex)),
        };
        ancestors.iter().find_map(place).unwrap_or(Place::Nowhere)
    }

    /// The apexes of all zones in which something was found, or missed, so far.
    pub fn led(self) -> BTreeSet<Name> {
        self.led.into_inner()
    }

    /// The service that a missing name would be, were it registered.
    pub fn unregistered(&self, name: &Name) -> Option<Label> {
        let zone = self.zones.get(&name.parent()?).filter(|zone| zone.draft.zone.services && !zone.existing.contains(name))?;
        let label = name.labels().next().filter(|_| name.is_within(&zone.draft.zone.apex))?;
        Label::parse(std::str::from_utf8(label).ok()?).ok().filter(|label| !label.as_str().starts_with('_'))
    }

    /// What stands at a name itself.
    fn owned(&self, zone: &Zone<'_>, name: &Name) -> Result<Option<Lead>, String> {
        if self.policies.contains_key(name) {
            return Ok(Some(Lead::Policy(name.clone())));
        }
        let (mut records, mut least) = (BTreeMap::new(), u32::MAX);
        let all = zone.draft.zone.records.range((name.clone(), 0)..=(name.clone(), u16::MAX));
        // What signs them is worth nothing at another name.
        for ((_, rtype), set) in all.filter(|((_, rtype), _)| !rdata::is_signature(*rtype)) {
            let rtype = if *rtype == CNAME { "CNAME".to_string() } else { rdata::type_name(*rtype) };
            if set.rdata.len() > MAX_RECORDS {
                return Err(format!("{rtype}: {}", too_many_records(set.rdata.len())));
            }
            least = least.min(set.ttl);
            records.insert(rtype, set.rdata.iter().map(|data| references::generic(data)).collect());
        }
        Ok((!records.is_empty()).then_some(Lead::Records(records, least)))
    }
}

/// The names that a zone has: the owners, and the empty names above them.
pub(super) fn existing(draft: &Draft) -> BTreeSet<Name> {
    let mut existing = BTreeSet::from([draft.zone.apex.clone()]);
    for owner in draft.zone.records.keys().map(|(owner, _)| owner).chain(draft.names.keys()) {
        for name in std::iter::successors(Some(owner.clone()), Name::parent) {
            if !existing.insert(name) {
                break;
            }
        }
    }
    existing
}

/// A service's name with labels in front of it (DESIGN §3), from the left to the right, without the service's own.
fn narrowed(service: &Label, labels: &[&[u8]]) -> Result<Lead, String> {
    let mut limits: [(&str, Option<Label>); 3] = [("region", None), ("az", None), ("tag", None)];
    let text = |label: &[u8]| String::from_utf8_lossy(label).into_owned();
    if labels.iter().any(|label| label.starts_with(b"_")) {
        return Err("is a name of SRV records; lead to the service's own name".into());
    }
    if let [.., b"id"] = labels {
        return Err(format!("is one instance; lead to its service, {service}, and narrow it by `tag`, `region` or `az`"));
    }
    for pair in labels.rchunks(2) {
        let ([.., kind], Some(value)) = (pair, pair.first().filter(|_| pair.len() == 2)) else {
            return Err(format!("is no name of the service {service}: a value stands before `{}`", text(pair[0])));
        };
        let Some((kind, limit)) = limits.iter_mut().find(|(known, _)| known.as_bytes() == *kind) else {
            return Err(format!("is no name of the service {service}: `region`, `az` and `tag` stand before it, not `{}`", text(kind)));
        };
        let value = Label::parse(&text(value)).map_err(|error| error.to_string())?;
        match limit.replace(value.clone()) {
            Some(other) if other != value => {
                return Err(format!("is limited to {kind} {other} and {kind} {value}; a branch has one {kind}"));
            }
            _ => {}
        }
    }
    let [(_, region), (_, az), (_, tag)] = limits;
    Ok(Lead::Service { service: service.clone(), region, az, tag })
}

/// Whether any branch, at any depth, answers a CNAME.
fn answers_alias(branches: &[BranchFields]) -> bool {
    branches.iter().any(|branch| {
        let records = branch.records.iter().flatten().any(|(rtype, _)| rtype.eq_ignore_ascii_case("CNAME"));
        branch.cname.is_some() || records || answers_alias(&branch.branches)
    })
}
