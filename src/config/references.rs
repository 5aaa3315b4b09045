//! Branches that lead to other names of this server: `{ name = "api.other.example." }`.
//!
//! A reference is replaced by what the name is, as Route 53's alias records are, once all zones are read:
//!
//! | the name is | the branch becomes |
//! | --- | --- |
//! | a name with a policy | that policy below: its rule, branches and `min_healthy` |
//! | a service, labels for `region`, `az` and `tag` in front | `service`, with `region`, `az` and `tag` |
//! | static records | `records`, all of its types |
//!
//! An ALIAS is as a name whose policy is the other's own: last resort and `all_down` included, for it has no way to say another.
//!
//! What the branch says of when it is taken (weight, clients, region, bias, capacity, resort) stays. What a name does when all is down
//! is for the name that is asked to say: `all_down`, `panic_threshold` and branches of last resort do not come along.
//!
//! What leads into a zone that is copied from another server depends on what that one says today, and stands in nobody's way: where nothing
//! can be led to there, a warning says so, and the branch has nothing to answer until a copy has it. A policy goes on to its other branches
//! then, as where all instances of one are down; where there are none, and for an ALIAS, the answer is NODATA.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::atlas::{Atlas, Lead, Nowhere};
use super::copying::Copying;
use super::document::Spot;
use super::finding::Notes;
use super::rdata;
use super::zone::{CNAME, Draft, PolicyOwner, Written, branch_place};
use crate::model::{BranchFields, Geo, MAX_DEPTH, MAX_LEAVES, Name, Owner, Policy, PolicyKind};

/// Resolves the references of all zones and builds the policies of their names. Returns the apexes of the zones that anything leads to.
pub(super) fn resolve(drafts: &mut [Draft], geo: &Geo, copying: &Copying, notes: &mut Notes) -> BTreeSet<Name> {
    let mut built = Vec::new();
    let mut resolver = Resolver { atlas: Atlas::new(drafts, copying), geo, notes, states: BTreeMap::new(), path: Vec::new() };
    for (zone, draft) in drafts.iter().enumerate() {
        for (n, written) in draft.policies.iter().enumerate() {
            if let PolicyOwner::Name(owner) = &written.owner
                && let Some(resolved) = resolver.policy(owner)
            {
                built.push((zone, n, owner.clone(), resolved));
            }
        }
    }
    let led = resolver.atlas.led();
    for (zone, n, owner, resolved) in built {
        if let Some(alias) = drafts[zone].zone.aliases.get_mut(&owner) {
            alias.ttl = resolved.longest;
        }
        drafts[zone].zone.names.insert(owner, resolved.policy.clone());
        drafts[zone].policies[n].resolved = Some(resolved.fields.clone());
    }
    led
}

/// Where the value at `path` of a policy whose references were resolved stands in the file: within a reference, the reference itself.
pub(super) fn spot(written: &Written, path: &str) -> Spot {
    let mut branches = &written.fields.branches;
    let mut at = 0;
    while let Some(rest) = path[at..].strip_prefix("branches[")
        && let Some((number, rest)) = rest.split_once(']')
        && let Some(branch) = number.parse::<usize>().ok().and_then(|n| branches.get(n))
    {
        let inner = path.len() - rest.len();
        let key = rest.trim_start_matches('.');
        let came_along = ["policy", "branches", "records", "service", "min_healthy"].iter().any(|k| key.starts_with(k));
        if branch.name.is_some() && came_along && !written.outline.holds(path) {
            return written.outline.spot(&format!("{}.name", &path[..inner]));
        }
        branches = &branch.branches;
        at = path.len() - key.len();
    }
    written.outline.spot(path)
}

/// Why an apex is no alias.
const NO_ALIAS: &str = "the apex has SOA and NS records, so no branch of it can end in a CNAME (RFC 1034 §3.6.2)";

/// A policy whose references were replaced.
struct Resolved {
    /// As if everything had been written in one place; names in records are absolute.
    fields: BranchFields,
    policy: Policy,
    /// Levels of nodes.
    depth: usize,
    /// The names through which the deepest leaf is reached, the policy's own first.
    deepest: Vec<Name>,
    /// The names through which an alias is reached, where there is one.
    alias: Option<Alias>,
    /// A name that another server has records of, if a branch leads to one.
    copied: Option<Name>,
    /// The longest TTL in seconds, where ALIAS or the records that it leads to say one.
    longest: u32,
}

/// A leaf that answers a CNAME.
#[derive(Clone)]
struct Alias {
    /// The branch of the policy that leads there.
    path: String,
    /// The names on the way, the policy's own first.
    chain: Vec<Name>,
}

enum State {
    Open,
    /// It was said why.
    Failed,
    Done(Rc<Resolved>),
}

struct Resolver<'d, 'n> {
    atlas: Atlas<'d>,
    geo: &'d Geo,
    notes: &'n mut Notes,
    states: BTreeMap<Name, State>,
    /// The names that are being resolved, each led to by the one before.
    path: Vec<Name>,
}

/// What is gathered on the way through one policy.
struct Tour<'d> {
    draft: &'d Draft,
    written: &'d Written,
    owner: &'d Name,
    leaves: usize,
    deepest: (usize, Vec<Name>),
    alias: Option<Alias>,
    copied: Option<Name>,
    /// The names on the way to what the branch at hand leads to, the policy's own first.
    way: Vec<Name>,
    failed: bool,
}

impl<'d> Resolver<'d, '_> {
    /// The policy of a name; `None` where it cannot be built, which has been said.
    fn policy(&mut self, owner: &Name) -> Option<Rc<Resolved>> {
        match self.states.get(owner) {
            Some(State::Done(resolved)) => return Some(resolved.clone()),
            Some(State::Open | State::Failed) => return None,
            None => {}
        }
        let (&owner, &(draft, written)) = self.atlas.policies.get_key_value(owner)?;
        self.states.insert(owner.clone(), State::Open);
        self.path.push(owner.clone());
        let resolved = self.build(draft, written, owner).map(Rc::new);
        self.path.pop();
        self.states.insert(owner.clone(), resolved.clone().map_or(State::Failed, State::Done));
        resolved
    }

    fn build(&mut self, draft: &'d Draft, written: &'d Written, owner: &'d Name) -> Option<Resolved> {
        if let Some(of) = &written.alias_of {
            let mut way = vec![owner.clone(), of.clone()];
            let reason = match self.addresses_of(draft, written, owner, &mut way) {
                Ok(built) => return Some(built),
                Err(reason) => reason?,
            };
            let spot = written.outline.spot("");
            if self.is_copied(&way) {
                self.notes.warnings.push(spot.finding(&draft.zone.file, self.answered_nothing(&way, &reason)));
                let missing = vec![BranchFields { missing: true, ..BranchFields::default() }];
                let fields = BranchFields { policy: Some(PolicyKind::Simple), branches: missing, ..BranchFields::default() };
                let parse = |rtype: &str, text: &str| rdata::parse_record(rtype, text, &draft.zone.apex);
                let policy = Policy::from_fields(&fields, Owner::Name, &parse).ok()?;
                return Some(Resolved {
                    fields,
                    policy,
                    depth: 1,
                    deepest: vec![owner.clone()],
                    alias: None,
                    copied: None,
                    longest: u32::MAX,
                });
            }
            self.notes.findings.push(spot.finding(&draft.zone.file, reason));
            return None;
        }
        let mut tour = Tour {
            draft,
            written,
            owner,
            leaves: 0,
            deepest: (1, vec![owner.clone()]),
            alias: None,
            copied: None,
            way: Vec::new(),
            failed: false,
        };
        let mut fields = written.fields.clone();
        let kind = fields.policy.unwrap_or_default();
        self.branches(&mut tour, kind, &mut fields.branches, "", 1);
        if tour.failed {
            return None;
        }
        let apex = &draft.zone.apex;
        let policy = match Policy::from_fields(&fields, Owner::Name, &|rtype, text| rdata::parse_record(rtype, text, apex)) {
            Ok(policy) => policy,
            Err(error) => {
                self.notes.findings.push(spot(written, &error.field).finding(&draft.zone.file, error.expected));
                return None;
            }
        };
        if let Some(alias) = tour.alias.as_ref().filter(|_| owner == apex) {
            let way = if alias.chain.len() > 1 { format!("{}: ", chain(&alias.chain)) } else { String::new() };
            let reason = format!("{way}{NO_ALIAS}");
            self.notes.findings.push(spot(written, &alias.path).finding(&draft.zone.file, reason));
            return None;
        }
        absolute(&mut fields.branches, apex);
        Some(Resolved {
            fields,
            policy,
            depth: tour.deepest.0,
            deepest: tour.deepest.1,
            alias: tour.alias,
            copied: tour.copied,
            longest: u32::MAX,
        })
    }

    /// The policy of an ALIAS: that of the name it leads to, whole, or its service or static addresses. The error is empty where it was said
    /// elsewhere what is wrong.
    fn addresses_of(
        &mut self,
        draft: &'d Draft,
        written: &'d Written,
        owner: &'d Name,
        way: &mut Vec<Name>,
    ) -> Result<Resolved, Option<String>> {
        let mut fields = BranchFields { policy: Some(PolicyKind::Simple), ..BranchFields::default() };
        let (mut depth, mut deepest, mut copied) = (1, vec![owner.clone()], None);
        let mut longest = draft.zone.aliases.get(owner).map_or(u32::MAX, |alias| alias.ttl);
        while let Some(name) = way.last().cloned() {
            let because = |way: &[Name], reason: String| Some(format!("{}: {reason}", chain(way)));
            match self.atlas.find(&name) {
                Err(Nowhere::Elsewhere(reason)) => {
                    return Err(because(way, format!("{reason}; ALIAS leads to names alone that this server answers itself")));
                }
                Err(Nowhere::Here(reason)) => {
                    let Some(service) = self.atlas.unregistered(&name) else { return Err(because(way, reason)) };
                    let reason =
                        format!("no zone file defines the service {service}: there are no addresses until instances are registered");
                    self.notes.warnings.push(written.outline.spot("").finding(&draft.zone.file, reason));
                    fields.branches.push(BranchFields { service: Some(service), ..BranchFields::default() });
                }
                Ok(Lead::Policy(name)) => {
                    self.circle(&name)?;
                    let below = self.policy(&name).ok_or(None)?;
                    if let Some(alias) = &below.alias {
                        way.extend(alias.chain.iter().skip(1).cloned());
                        return Err(because(way, "a branch of it ends in a CNAME, and ALIAS is for addresses".into()));
                    }
                    (fields, copied) = (below.fields.clone(), below.copied.clone());
                    longest = longest.min(below.longest);
                    (depth, deepest) = (below.depth, [std::slice::from_ref(owner), &below.deepest].concat());
                }
                Ok(Lead::Service { service, .. }) if self.atlas.aliasing.contains(&service) => {
                    return Err(because(way, format!("a branch of the service {service} ends in a CNAME, and ALIAS is for addresses")));
                }
                Ok(Lead::Service { service, region, az, tag }) => {
                    let branch = BranchFields { service: Some(service), region, az, tag, ..BranchFields::default() };
                    branch_place(self.geo, &branch).map_err(|(_, reason)| because(way, reason))?;
                    fields.branches.push(branch);
                }
                Ok(Lead::Records(mut records, ttl)) => {
                    longest = longest.min(ttl);
                    let leads = alias_in(&records);
                    if let Some(next) = leads {
                        if way.contains(&next) {
                            way.push(next);
                            return Err(because(way, "the names lead in a circle".into()));
                        }
                        way.push(next);
                        continue;
                    }
                    records.retain(|rtype, _| matches!(rtype.as_str(), "A" | "AAAA"));
                    if records.is_empty() {
                        return Err(because(way, "has no addresses".into()));
                    }
                    copied = self.atlas.is_copied(&name).then_some(name);
                    fields.branches.push(BranchFields { records: Some(records), ..BranchFields::default() });
                }
            }
            break;
        }
        let parse = |rtype: &str, text: &str| rdata::parse_record(rtype, text, &draft.zone.apex);
        let policy = Policy::from_fields(&fields, Owner::Name, &parse).map_err(|error| Some(error.expected))?;
        Ok(Resolved { fields, policy, depth, deepest, alias: None, copied, longest })
    }

    /// Whether what another server says plays a part in where names lead, of which the first is one that leads.
    fn is_copied(&self, way: &[Name]) -> bool {
        way.iter().skip(1).any(|name| self.atlas.is_copied(name))
    }

    /// What is said where names lead to nothing that can be answered, and that is another server's doing.
    fn answered_nothing(&self, way: &[Name], reason: &str) -> String {
        match way.last().map(|last| self.atlas.find(last)) {
            Some(Err(_)) => format!("{reason}: nothing of that name is there now: answered NODATA"),
            _ => format!("{reason}, and another server says what is there: answered NODATA"),
        }
    }

    /// Replaces the references among branches, at every depth. `within` is the path of the branches' policy with a dot behind it.
    fn branches(&mut self, tour: &mut Tour<'d>, rule: PolicyKind, branches: &mut [BranchFields], within: &str, depth: usize) {
        if depth > tour.deepest.0 {
            tour.deepest = (depth, vec![tour.owner.clone()]);
        }
        for (n, branch) in branches.iter_mut().enumerate() {
            let path = format!("{within}branches[{n}]");
            let several = branch.service.is_some() || branch.cname.is_some() || branch.policy.is_some() || branch.records.is_some();
            // The model says that a branch leads to one thing only.
            if let Some(text) = branch.name.clone().filter(|_| !several) {
                tour.way = vec![tour.owner.clone()];
                let Err(reason) = self.reference(tour, rule, branch, &text, &path, depth) else { continue };
                let spot = tour.written.outline.spot(&format!("{path}.name"));
                match reason {
                    Some(reason) if self.is_copied(&tour.way) => {
                        tour.leaves += 1;
                        self.notes.warnings.push(spot.finding(&tour.draft.zone.file, self.answered_nothing(&tour.way, &reason)));
                        (branch.name, branch.az, branch.tag, branch.missing) = (None, None, None, true);
                    }
                    reason => {
                        tour.failed = true;
                        self.notes.findings.extend(reason.map(|reason| spot.finding(&tour.draft.zone.file, reason)));
                    }
                }
            } else if let Some(rule) = branch.policy {
                self.branches(tour, rule, &mut branch.branches, &format!("{path}."), depth + 1);
            } else {
                tour.leaves += 1;
                self.leaf(tour, branch, &path);
            }
        }
    }

    /// Notes whether a leaf answers a CNAME.
    fn leaf(&mut self, tour: &mut Tour<'d>, branch: &BranchFields, path: &str) {
        let direct = branch.cname.is_some() || branch.records.iter().flatten().any(|(rtype, _)| rtype.eq_ignore_ascii_case("CNAME"));
        let of_service = branch.service.as_ref().is_some_and(|service| self.atlas.aliasing.contains(service));
        if tour.alias.is_none() && (direct || of_service) {
            let key = [("service", of_service), ("cname", branch.cname.is_some())].into_iter().find(|(_, given)| *given);
            let path = format!("{path}.{}", key.map_or("records", |(key, _)| key));
            tour.alias = Some(Alias { path, chain: vec![tour.owner.clone()] });
        }
        // What cannot be read is said when the policy is built.
        let target = branch.cname.as_ref().and_then(|text| Name::parse_relative(text, Some(&tour.draft.zone.apex)).ok());
        if target.as_ref() == Some(tour.owner) {
            tour.failed = true;
            let reason = format!("{} would be an alias of itself", tour.owner);
            self.notes.findings.push(tour.written.outline.spot(&format!("{path}.cname")).finding(&tour.draft.zone.file, reason));
        }
    }

    /// Replaces a reference by what the name is. The error is empty where it was said elsewhere what is wrong.
    fn reference(
        &mut self,
        tour: &mut Tour<'d>,
        rule: PolicyKind,
        branch: &mut BranchFields,
        text: &str,
        path: &str,
        depth: usize,
    ) -> Result<(), Option<String>> {
        let target = Name::parse_relative(text, Some(&tour.draft.zone.apex)).map_err(|error| error.to_string())?;
        let both = [tour.owner.clone(), target.clone()];
        let because = |reason: String| Some(format!("{}: {reason}", chain(&both)));
        if !branch.branches.is_empty() || branch.all_down.is_some() {
            return Err(because("`branches` and `all_down` go with `policy`, and the name has its own".into()));
        }
        tour.way.push(target.clone());
        let lead = self.atlas.find(&target).map_err(|nowhere| because(nowhere.into()))?;
        let alias = match &lead {
            Lead::Policy(_) => false,
            Lead::Service { service, .. } => self.atlas.aliasing.contains(service),
            Lead::Records(records, _) => records.contains_key("CNAME"),
        };
        if let (Lead::Records(records, _), true) = (&lead, self.is_copied(&tour.way)) {
            beside(tour, records.keys()).map_err(because)?;
            tour.copied.get_or_insert(target);
        }
        if alias {
            tour.alias.get_or_insert_with(|| Alias { path: format!("{path}.name"), chain: both.to_vec() });
        }
        match lead {
            Lead::Policy(name) => {
                self.circle(&name)?;
                limits(rule, branch).map_err(because)?;
                let below = self.policy(&name).ok_or(None)?;
                if let Some(copied) = &below.copied {
                    tour.way.push(copied.clone());
                    let mut types = Vec::new();
                    types_of(&below.fields.branches, &mut types);
                    beside(tour, types.into_iter()).map_err(|reason| format!("{}: {reason}", chain(&tour.way)))?;
                    tour.copied.get_or_insert(copied.clone());
                }
                tour.descend(&below, path, depth)?;
                self.warn_of_resort(tour, &below, &name, path);
                branch.policy = below.fields.policy;
                branch.branches = below.fields.branches.iter().filter(|inner| !inner.resort).cloned().collect();
                branch.min_healthy = branch.min_healthy.or(below.fields.min_healthy);
            }
            Lead::Service { service, region, az, tag } => {
                for (what, outer, inner) in
                    [("region", &mut branch.region, region), ("az", &mut branch.az, az), ("tag", &mut branch.tag, tag)]
                {
                    if let Some(inner) = inner
                        && let Some(outer) = outer.replace(inner.clone())
                        && outer != inner
                    {
                        let reason = format!("the branch is limited to {what} {outer} and the name to {what} {inner}; say one of them");
                        return Err(because(reason));
                    }
                }
                branch_place(self.geo, branch).map_err(|(_, reason)| because(reason))?;
                tour.leaves += 1;
                branch.service = Some(service);
            }
            Lead::Records(..) if branch.az.is_some() || branch.tag.is_some() => {
                return Err(because("has static records, which have no `az` and no `tag`".into()));
            }
            Lead::Records(records, _) => {
                tour.leaves += 1;
                branch.records = Some(records);
            }
        }
        branch.name = None;
        Ok(())
    }

    /// Whether the name is one of those under way.
    fn circle(&self, name: &Name) -> Result<(), String> {
        match self.path.iter().position(|open| open == name) {
            Some(begin) => {
                let all = [&self.path[begin..], std::slice::from_ref(name)].concat();
                Err(format!("{}: the names lead in a circle", chain(&all)))
            }
            None => Ok(()),
        }
    }

    /// A name's last resort is its own: where the policy that leads to it says nothing of the kind, that may not be what was meant.
    fn warn_of_resort(&mut self, tour: &Tour<'d>, below: &Resolved, name: &Name, path: &str) {
        let root = &tour.written.fields;
        let silent = root.all_down.is_none() && !root.branches.iter().any(|branch| branch.resort);
        if silent && below.fields.branches.iter().any(|branch| branch.resort) {
            let reason = format!("{name} has a last resort, which is not used here: give {} one of its own, or `all_down`", tour.owner);
            self.notes.warnings.push(tour.written.outline.spot(&format!("{path}.name")).finding(&tour.draft.zone.file, reason));
        }
    }
}

impl Tour<'_> {
    /// Goes through the policy of another name, unless that were too deep or too broad.
    fn descend(&mut self, below: &Resolved, path: &str, depth: usize) -> Result<(), String> {
        let onward = |names: &[Name]| [std::slice::from_ref(self.owner), names].concat();
        let total = depth + below.depth;
        if total > MAX_DEPTH {
            return Err(format!("{}: policies nest at most {MAX_DEPTH} deep, and these {total}", chain(&onward(&below.deepest))));
        }
        self.leaves += below.policy.leaves();
        if self.leaves > MAX_LEAVES {
            return Err(format!(
                "{}: at most {MAX_LEAVES} branches in all, those of the names it leads to included; up to here there are {}",
                chain(&onward(&below.deepest[..1])),
                self.leaves
            ));
        }
        if let Some(alias) = below.alias.as_ref().filter(|_| self.alias.is_none()) {
            self.alias = Some(Alias { path: format!("{path}.name"), chain: onward(&alias.chain) });
        }
        if total > self.deepest.0 {
            self.deepest = (total, onward(&below.deepest));
        }
        Ok(())
    }
}

/// Whether records that another server has can stand where a policy's name has records of its own. Where this one's files say all of it,
/// that is looked at when the zone is compiled.
fn beside<'t>(tour: &Tour<'_>, mut types: impl Iterator<Item = &'t String>) -> Result<(), String> {
    let zone = &tour.draft.zone;
    let own = |least, most| zone.records.range((tour.owner.clone(), least)..=(tour.owner.clone(), most)).next().is_some();
    let clash = types.find(|rtype| match rdata::type_number(rtype) {
        Ok(CNAME) => *tour.owner == zone.apex || own(0, u16::MAX),
        Ok(number) => own(number, number),
        Err(_) => false,
    });
    match clash {
        Some(rtype) if rtype == "CNAME" && *tour.owner == zone.apex => Err(NO_ALIAS.into()),
        Some(rtype) => Err(format!("{rtype} is there, which cannot stand beside what {} has itself", tour.owner)),
        None => Ok(()),
    }
}

/// The types of static records among branches, at every depth.
fn types_of<'b>(branches: &'b [BranchFields], types: &mut Vec<&'b String>) {
    for branch in branches {
        types.extend(branch.records.iter().flat_map(BTreeMap::keys));
        types_of(&branch.branches, types);
    }
}

/// Whether a branch that leads to another policy says only what such a branch can.
fn limits(rule: PolicyKind, branch: &BranchFields) -> Result<(), String> {
    let ranks = matches!(rule, PolicyKind::Latency | PolicyKind::Nearest | PolicyKind::Geoproximity);
    match (&branch.region, &branch.az, &branch.tag) {
        (_, Some(_), _) | (_, _, Some(_)) => Err("has a policy; `az` and `tag` limit instances at its own leaves".into()),
        (Some(_), ..) if !ranks => Err(format!("has a policy; regions are named at its own leaves, and `{rule}` ranks nothing by them")),
        _ => Ok(()),
    }
}

/// The name that records say is meant instead, where they are an alias.
fn alias_in(records: &BTreeMap<String, Vec<String>>) -> Option<Name> {
    let (_, data) = rdata::parse_record("CNAME", records.get("CNAME")?.first()?, &Name::root()).ok()?;
    Some(Name::from_wire(&data))
}

/// Names that lead to each other, as people read them.
fn chain(names: &[Name]) -> String {
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(" → ")
}

/// Writes names in records and aliases with a last dot, so that the branches can stand in a zone with another apex.
fn absolute(branches: &mut [BranchFields], apex: &Name) {
    for branch in branches {
        if let Some(text) = &mut branch.cname
            && let Ok(name) = Name::parse_relative(text, Some(apex))
        {
            *text = name.to_string();
        }
        for (rtype, texts) in branch.records.iter_mut().flatten() {
            for text in texts {
                if let Ok((number, data)) = rdata::parse_record(rtype, text, apex)
                    && rdata::holds_names(number)
                {
                    *text = generic(&data);
                }
            }
        }
        absolute(&mut branch.branches, apex);
    }
}

/// A record's data in the form that every type has (RFC 3597 §5).
pub(super) fn generic(data: &[u8]) -> String {
    let digits: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("\\# {} {digits}", data.len())
}
