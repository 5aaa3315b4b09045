//! From policies as they are written to policies that can be compiled: every leaf, criterion and limit is checked here.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::instance::FieldError;
use super::policy::{Branch, Clients, Goal, MAX_BRANCHES, MAX_DEPTH, MAX_LEAVES, Policy, PolicyKind, RecordData};
use super::{AllDown, BranchFields, Code, Coordinates};

/// Who writes the policy: what its leaves may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A service: leaves are its own instances, or static records.
    Service,
    /// A name with a policy of its own: leaves are services or static records.
    Name,
}

/// Turns presentation form into RDATA; the error says what is wrong with the text.
pub type RecordParser<'a> = &'a dyn Fn(&str, &str) -> Result<(u16, Box<[u8]>), String>;

impl Policy {
    /// Builds a policy from its fields: every leaf, criterion and limit checked. `fields` are those of the root, of which what speaks
    /// of a branch's place in a policy above is not looked at. [`BranchFields::name`] must have been resolved before.
    pub fn from_fields(fields: &BranchFields, owner: Owner, parse: RecordParser<'_>) -> Result<Policy, FieldError> {
        let policy = Policy::from_stored(fields, owner, parse)?;
        let leaves = policy.leaves();
        if leaves > MAX_LEAVES {
            return Err(FieldError::new(
                "branches",
                format!("at most {MAX_LEAVES} branches in all, at every depth together, not {leaves}"),
            ));
        }
        policy.check_needs()?;
        Ok(policy)
    }

    /// As [`Policy::from_fields`], without the bounds that were set after policies had been stored: what is stored must be read.
    pub fn from_stored(fields: &BranchFields, owner: Owner, parse: RecordParser<'_>) -> Result<Policy, FieldError> {
        let mut policy = Policy::build(fields.policy.unwrap_or_default(), fields, owner, parse, 1)?;
        let panic_threshold = fields.panic_threshold.unwrap_or(0);
        if panic_threshold > 100 {
            return Err(FieldError::new("panic_threshold", format!("0 to 100 percent, not {panic_threshold}")));
        }
        policy.panic_threshold = panic_threshold;
        let has_resort = policy.branches.iter().any(|branch| branch.resort);
        match fields.all_down {
            None if has_resort => policy.all_down = AllDown::Resort,
            Some(AllDown::Resort) if !has_resort => {
                return Err(FieldError::new("all_down", "`resort` needs a branch with `resort = true`"));
            }
            Some(other) if other != AllDown::Resort && has_resort => {
                return Err(FieldError::new("all_down", "a branch with `resort = true` is what is answered when all is down: `resort`"));
            }
            _ => {}
        }
        if has_resort && policy.branches.iter().all(|branch| branch.resort) {
            return Err(FieldError::new("branches", "at least one branch that is not the last resort"));
        }
        Ok(policy)
    }

    fn build(kind: PolicyKind, fields: &BranchFields, owner: Owner, parse: RecordParser<'_>, depth: usize) -> Result<Policy, FieldError> {
        let written = &fields.branches;
        if depth > MAX_DEPTH {
            return Err(FieldError::new("branches", format!("policies nest at most {MAX_DEPTH} deep")));
        }
        if written.len() > MAX_BRANCHES {
            return Err(FieldError::new("branches", format!("at most {MAX_BRANCHES} branches, not {}", written.len())));
        }
        if written.is_empty() && owner == Owner::Name {
            return Err(FieldError::new("branches", "a name's policy needs at least one branch"));
        }
        if fields.min_healthy == Some(0) {
            return Err(FieldError::new("min_healthy", "at least 1"));
        }
        if written.is_empty() && kind.needs_branches() {
            return Err(FieldError::new("branches", format!("{kind} needs branches, for it chooses among them by what they say")));
        }
        let mut branches = Vec::with_capacity(written.len());
        for (n, branch) in written.iter().enumerate() {
            let built = Branch::build(kind, branch, owner, parse, depth).map_err(|e| e.within(&format!("branches[{n}]")))?;
            branches.push(built);
        }
        if branches.iter().filter(|b| b.clients.default).count() > 1 {
            return Err(FieldError::new("branches", "at most one branch can be the default"));
        }
        for (n, branch) in branches.iter().enumerate() {
            let twice = |net: &&IpNet| branches[..n].iter().any(|other| other.clients.cidrs.contains(*net));
            if let Some(net) = branch.clients.cidrs.iter().find(twice) {
                return Err(FieldError::new(format!("branches[{n}].cidrs"), format!("{net} stands at an earlier branch too")));
            }
        }
        let all_down = fields.all_down.unwrap_or_default();
        Ok(Policy { kind, branches, all_down, min_healthy: fields.min_healthy.unwrap_or(1), panic_threshold: 0 })
    }

    /// Refuses policies that need more healthy branches than they have, at every depth.
    fn check_needs(&self) -> Result<(), FieldError> {
        if !self.branches.is_empty() && self.min_healthy as usize > self.branches.len() {
            return Err(FieldError::new("min_healthy", format!("at most {}, for there are no more branches", self.branches.len())));
        }
        self.branches.iter().enumerate().try_for_each(|(n, branch)| match &branch.goal {
            Goal::Policy(below) => below.check_needs().map_err(|error| error.within(&format!("branches[{n}]"))),
            _ => Ok(()),
        })
    }

    /// How many leaves there are at every depth together.
    pub fn leaves(&self) -> usize {
        let below = |branch: &Branch| match &branch.goal {
            Goal::Policy(below) => below.leaves(),
            _ => 1,
        };
        self.branches.iter().map(below).sum()
    }

    /// Whether every client is told apart by the branches and none of them is for the rest: those get NODATA.
    pub fn leaves_out_clients(&self) -> bool {
        self.kind.tells_clients_apart() && !self.branches.iter().any(|branch| branch.clients.default)
    }
}

impl Branch {
    /// A branch with nothing said of when it is taken.
    pub fn to(goal: Goal) -> Branch {
        Branch {
            goal,
            weight: super::instance::DEFAULT_WEIGHT,
            clients: Clients::default(),
            bias: 0,
            coordinates: None,
            resort: false,
            capacity: 100,
            region: None,
        }
    }

    fn build(parent: PolicyKind, fields: &BranchFields, owner: Owner, parse: RecordParser<'_>, depth: usize) -> Result<Branch, FieldError> {
        let clients = Clients::from_fields(parent, fields)?;
        if fields.weight.is_some() && !matches!(parent, PolicyKind::Weighted | PolicyKind::Sticky) {
            return Err(FieldError::new("weight", "a branch has a weight under `weighted` and `sticky` only"));
        }
        let weight = fields.weight.unwrap_or(super::instance::DEFAULT_WEIGHT);
        if weight > super::instance::MAX_WEIGHT {
            return Err(FieldError::new("weight", format!("0 to {}, not {weight}", super::instance::MAX_WEIGHT)));
        }
        if parent == PolicyKind::Latency && fields.region.is_none() && !fields.resort {
            return Err(FieldError::new("region", "`latency` ranks branches by their region: name it"));
        }
        let coordinates = proximity(parent, fields)?;
        if fields.resort && depth > 1 {
            return Err(FieldError::new("resort", "the last resort is a branch of the name's or service's own policy, not of one below"));
        }
        let capacity = fields.capacity.unwrap_or(100);
        if !(1..=100).contains(&capacity) {
            return Err(FieldError::new("capacity", format!("1 to 100 percent of the clients, not {capacity}")));
        }
        if fields.panic_threshold.is_some() {
            return Err(FieldError::new("panic_threshold", "it is the root policy's, and the service's own"));
        }
        let goals =
            [fields.policy.is_some(), fields.records.is_some(), fields.service.is_some(), fields.name.is_some(), fields.cname.is_some()];
        if goals.into_iter().filter(|given| *given).count() > 1 {
            return Err(FieldError::new("service", "a branch leads to exactly one of `service`, `name`, `cname`, `policy` and `records`"));
        }
        let goal = if fields.missing {
            // A name has no instances of its own, so this never has an answer.
            Goal::Instances { service: None, az: None, tag: None, min_healthy: 1 }
        } else if let Some(kind) = fields.policy {
            let policy = Policy::build(kind, fields, owner, parse, depth + 1)?;
            if fields.az.is_some() || fields.tag.is_some() {
                return Err(FieldError::new("az", "instances are limited at the leaf, not at a policy"));
            }
            if owner == Owner::Service && fields.branches.is_empty() {
                return Err(FieldError::new("branches", "a policy below another needs branches"));
            }
            Goal::Policy(Box::new(policy))
        } else if let Some(records) = &fields.records {
            Goal::Records(read_records(records, parse)?)
        } else if let Some(cname) = &fields.cname {
            let (rtype, rdata) = parse("CNAME", cname).map_err(|e| FieldError::new("cname", e))?;
            Goal::Records(vec![RecordData { rtype, rdata: vec![rdata] }])
        } else if fields.name.is_some() {
            return Err(FieldError::new("name", "only names under [names] lead to other names"));
        } else if fields.service.is_some() == (owner == Owner::Name) {
            Goal::Instances {
                service: fields.service.clone(),
                az: fields.az.clone(),
                tag: fields.tag.clone(),
                min_healthy: fields.min_healthy.unwrap_or(1),
            }
        } else if fields.service.is_some() {
            return Err(FieldError::new(
                "service",
                "a service's own policy leads to its own instances; give names that join services a policy under [names]",
            ));
        } else {
            return Err(FieldError::new(
                "service",
                "a branch leads to one of `service`, `name`, `cname`, `policy` with `branches`, and `records`",
            ));
        };
        let leaf = !matches!(goal, Goal::Policy(_));
        if leaf && (!fields.branches.is_empty() || fields.all_down.is_some()) {
            return Err(FieldError::new("branches", "`branches` and `all_down` go with `policy`"));
        }
        let bias = fields.bias.unwrap_or(0);
        Ok(Branch { goal, weight, clients, bias, coordinates, resort: fields.resort, capacity, region: fields.region.clone() })
    }
}

/// What `geoproximity` asks of a branch: its place, and a bias within bounds.
fn proximity(parent: PolicyKind, fields: &BranchFields) -> Result<Option<Coordinates>, FieldError> {
    let coordinates = match (fields.latitude, fields.longitude) {
        (Some(latitude), Some(longitude)) => Some(Coordinates { latitude, longitude }),
        (None, None) => None,
        (Some(_), None) => return Err(FieldError::new("longitude", "`latitude` and `longitude` go together")),
        (None, Some(_)) => return Err(FieldError::new("latitude", "`latitude` and `longitude` go together")),
    };
    if parent != PolicyKind::Geoproximity {
        return match (coordinates, fields.bias) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(FieldError::new("latitude", "a branch has coordinates under `geoproximity` only")),
            (_, Some(_)) => Err(FieldError::new("bias", "a branch has a bias under `geoproximity` only")),
        };
    }
    if coordinates.is_none() && fields.region.is_none() && !fields.resort {
        return Err(FieldError::new(
            "region",
            "`geoproximity` ranks branches by their place: name a `region`, or `latitude` and `longitude`",
        ));
    }
    if let Some(at) = coordinates
        && !((-90.0..=90.0).contains(&at.latitude) && (-180.0..=180.0).contains(&at.longitude))
    {
        return Err(FieldError::new("latitude", "-90 to 90 degrees north, and -180 to 180 degrees east"));
    }
    match fields.bias {
        Some(bias) if !(-99..=99).contains(&bias) => Err(FieldError::new("bias", format!("-99 to 99, not {bias}"))),
        _ => Ok(coordinates),
    }
}

impl Clients {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Clients::default()
    }

    fn from_fields(parent: PolicyKind, fields: &BranchFields) -> Result<Clients, FieldError> {
        const CONTINENTS: [&str; 7] = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];
        let given = [
            ("continents", !fields.continents.is_empty(), PolicyKind::Geolocation),
            ("countries", !fields.countries.is_empty(), PolicyKind::Geolocation),
            ("subdivisions", !fields.subdivisions.is_empty(), PolicyKind::Geolocation),
            ("cidrs", !fields.cidrs.is_empty(), PolicyKind::Cidr),
            ("asns", !fields.asns.is_empty(), PolicyKind::Asn),
        ];
        if let Some((field, _, kind)) = given.iter().find(|(_, given, kind)| *given && *kind != parent) {
            return Err(FieldError::new(*field, format!("clients are told apart by `{field}` under `{kind}` only")));
        }
        if fields.default && !parent.tells_clients_apart() {
            return Err(FieldError::new("default", "there is a default branch under `geolocation`, `cidr` and `asn` only"));
        }
        let some = fields.default || given.iter().any(|(_, given, _)| *given);
        if parent.tells_clients_apart() && some == fields.resort {
            let field = given.iter().find(|(_, _, kind)| *kind == parent).map_or("default", |(field, ..)| field);
            return Err(match (fields.resort, parent) {
                (true, _) => FieldError::new(field, "the last resort is for every client"),
                (false, PolicyKind::Geolocation) => FieldError::new(
                    "countries",
                    "say which clients it is for: `countries`, `continents`, `subdivisions` or `default = true`",
                ),
                (false, _) => FieldError::new(field, format!("say which clients it is for: `{field}` or `default = true`")),
            });
        }
        if let Some(code) = fields.continents.iter().find(|c| !CONTINENTS.contains(&c.as_str())) {
            return Err(FieldError::new("continents", format!("one of {}, not {code}", CONTINENTS.join(", "))));
        }
        if let Some(code) = fields.countries.iter().find(|c| c.as_str().len() != 2) {
            return Err(FieldError::new("countries", format!("an ISO 3166-1 code of two letters, not {code}")));
        }
        let mut subdivisions = Vec::new();
        for text in &fields.subdivisions {
            let parsed = text.split_once('-').and_then(|(country, part)| Some((Code::parse(country).ok()?, Code::parse(part).ok()?)));
            subdivisions
                .push(parsed.ok_or_else(|| FieldError::new("subdivisions", format!("an ISO 3166-2 code such as US-MA, not {text}")))?);
        }
        if let Some(net) = fields.cidrs.iter().find(|net| net.trunc() != **net) {
            return Err(FieldError::new("cidrs", format!("{} as a prefix, not {net}, which has bits behind its length", net.trunc())));
        }
        Ok(Clients {
            continents: fields.continents.clone(),
            countries: fields.countries.clone(),
            subdivisions,
            cidrs: fields.cidrs.clone(),
            asns: fields.asns.clone(),
            default: fields.default,
        })
    }
}

fn read_records(records: &BTreeMap<String, Vec<String>>, parse: RecordParser<'_>) -> Result<Vec<RecordData>, FieldError> {
    let mut sets = Vec::new();
    for (rtype, texts) in records {
        let mut rdata = Vec::new();
        let mut number = 0;
        for (n, text) in texts.iter().enumerate() {
            let (code, data) = parse(rtype, text).map_err(|e| FieldError::new(format!("records.{rtype}[{n}]"), e))?;
            number = code;
            rdata.push(data);
        }
        if rdata.is_empty() {
            return Err(FieldError::new(format!("records.{rtype}"), "at least one record"));
        }
        // `A`, `a` and `TYPE1` are one type (RFC 3597 §5).
        if sets.iter().any(|set: &RecordData| set.rtype == number) {
            return Err(FieldError::new(format!("records.{rtype}"), "this type stands twice"));
        }
        sets.push(RecordData { rtype: number, rdata });
    }
    match sets.is_empty() {
        true => Err(FieldError::new("records", "at least one RRset")),
        false => Ok(sets),
    }
}
