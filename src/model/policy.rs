//! Policies: how an owner name chooses among branches, as written. `routing` compiles and runs them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::instance::FieldError;
use super::{Code, Label};

/// The presets, named as Route 53 names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyKind {
    /// Every healthy one, in a fixed order.
    Simple,
    /// Up to eight healthy ones, drawn per query.
    Multivalue,
    /// One branch (or instance), drawn per query in proportion to the weights.
    Weighted,
    /// The first healthy branch; on a service without branches: its regions in the order of their names.
    Failover,
    /// The healthy branch whose region is fewest milliseconds from the client.
    Latency,
    /// The branch for the client's subdivision, else country, else continent, else the default one.
    Geolocation,
    /// Own az, own region, then the next regions by latency.
    #[default]
    Nearest,
}

/// What to answer when nothing in the tree is healthy. Instances that are drained are never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllDown {
    /// Treat everything that is not drained as healthy and run the policy again (Route 53, Azure, gdnsd).
    #[default]
    All,
    /// Treat what was healthy last as healthy; where nothing ever was, as `all`.
    LastGood,
    /// Answer nothing: NODATA.
    Nodata,
}

/// A node of a policy tree: one rule over its branches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The rule.
    pub kind: PolicyKind,
    /// The branches, in the order written. Empty on a service: its own instances.
    pub branches: Vec<Branch>,
    /// What to answer when all is down.
    pub all_down: AllDown,
    /// How many branches (of a leaf: instances) must be healthy for the node to count as healthy; at least 1; default 1.
    pub min_healthy: u32,
}

/// One branch: where it leads and when it is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Where it leads.
    pub goal: Goal,
    /// Its share under `weighted`, 0–65535; default 100. Zero: never, unless all are zero.
    pub weight: u32,
    /// Under `geolocation`: the clients it is for.
    pub clients: Clients,
    /// The region by which `latency` ranks it; under every rule, a goal of instances is limited to it.
    pub region: Option<Label>,
}

/// Where a branch leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// A policy below.
    Policy(Box<Policy>),
    /// A service's own policy over its instances that match. `None`: the service whose policy this is.
    Instances {
        /// The service.
        service: Option<Label>,
        /// Only instances in an az of that name.
        az: Option<Label>,
        /// Only instances that bear this tag.
        tag: Option<Label>,
        /// How many of them must be healthy.
        min_healthy: u32,
    },
    /// Static records, which are always healthy: RRsets by type, in wire form.
    Records(Vec<RecordData>),
}

/// An RRset of a branch: its type and the data of its records in uncompressed wire form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordData {
    /// RR type (RFC 1035 §3.2.2).
    pub rtype: u16,
    /// RDATA of each record.
    pub rdata: Vec<Box<[u8]>>,
}

/// The clients that a geolocation branch is for; any of the lists may match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clients {
    /// AF, AN, AS, EU, NA, OC, SA.
    pub continents: Vec<Code>,
    /// ISO 3166-1 alpha-2.
    pub countries: Vec<Code>,
    /// ISO 3166-2, as (country, subdivision).
    pub subdivisions: Vec<(Code, Code)>,
    /// Also every client that no other branch is for.
    pub default: bool,
}

/// Most branches of a node.
pub const MAX_BRANCHES: usize = 64;
/// Most levels of nodes.
pub const MAX_DEPTH: usize = 8;

/// How a policy is written beside other keys of a service, a name or a branch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchFields {
    /// A service to lead to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Label>,
    /// A policy below, with `branches`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyKind>,
    /// The branches of `policy`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub branches: Vec<BranchFields>,
    /// Static records: type → presentation forms (RFC 1035 §5.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<BTreeMap<String, Vec<String>>>,
    /// Region of the instances, or of the branch under `latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Label>,
    /// Az of the instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub az: Option<Label>,
    /// Tag of the instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Label>,
    /// Share under `weighted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Continents under `geolocation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub continents: Vec<Code>,
    /// Countries under `geolocation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub countries: Vec<Code>,
    /// Subdivisions under `geolocation`, written `US-MA`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subdivisions: Vec<String>,
    /// Whether it is the default branch under `geolocation`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What to answer when all is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_down: Option<AllDown>,
    /// Healthy children needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_healthy: Option<u32>,
}

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
    /// Builds a policy from its fields: every leaf, criterion and limit checked.
    pub fn from_fields(
        kind: PolicyKind,
        branches: &[BranchFields],
        all_down: Option<AllDown>,
        min_healthy: Option<u32>,
        owner: Owner,
        parse: RecordParser<'_>,
    ) -> Result<Policy, FieldError> {
        Policy::build(kind, branches, all_down, min_healthy, owner, parse, 1)
    }

    fn build(
        kind: PolicyKind,
        fields: &[BranchFields],
        all_down: Option<AllDown>,
        min_healthy: Option<u32>,
        owner: Owner,
        parse: RecordParser<'_>,
        depth: usize,
    ) -> Result<Policy, FieldError> {
        if depth > MAX_DEPTH {
            return Err(FieldError::new("branches", format!("policies nest at most {MAX_DEPTH} deep")));
        }
        if fields.len() > MAX_BRANCHES {
            return Err(FieldError::new("branches", format!("at most {MAX_BRANCHES} branches, not {}", fields.len())));
        }
        if fields.is_empty() && owner == Owner::Name {
            return Err(FieldError::new("branches", "a name's policy needs at least one branch"));
        }
        if min_healthy == Some(0) {
            return Err(FieldError::new("min_healthy", "at least 1"));
        }
        if kind == PolicyKind::Geolocation && fields.is_empty() {
            return Err(FieldError::new("branches", "geolocation needs branches that say which clients they are for"));
        }
        let mut branches = Vec::with_capacity(fields.len());
        for (n, branch) in fields.iter().enumerate() {
            let built = Branch::build(kind, branch, owner, parse, depth).map_err(|e| e.within(&format!("branches[{n}]")))?;
            branches.push(built);
        }
        if kind == PolicyKind::Geolocation && branches.iter().filter(|b| b.clients.default).count() > 1 {
            return Err(FieldError::new("branches", "at most one branch can be the default"));
        }
        Ok(Policy { kind, branches, all_down: all_down.unwrap_or_default(), min_healthy: min_healthy.unwrap_or(1) })
    }
}

impl Branch {
    fn build(parent: PolicyKind, fields: &BranchFields, owner: Owner, parse: RecordParser<'_>, depth: usize) -> Result<Branch, FieldError> {
        let clients = Clients::from_fields(fields)?;
        match (parent == PolicyKind::Geolocation, clients == Clients::default()) {
            (true, true) => {
                return Err(FieldError::new(
                    "countries",
                    "say which clients it is for: `countries`, `continents`, `subdivisions` or `default = true`",
                ));
            }
            (false, false) => return Err(FieldError::new("countries", "clients are told apart under `geolocation` only")),
            _ => {}
        }
        if fields.weight.is_some() && parent != PolicyKind::Weighted {
            return Err(FieldError::new("weight", "a branch has a weight under `weighted` only"));
        }
        let weight = fields.weight.unwrap_or(super::instance::DEFAULT_WEIGHT);
        if weight > super::instance::MAX_WEIGHT {
            return Err(FieldError::new("weight", format!("0 to {}, not {weight}", super::instance::MAX_WEIGHT)));
        }
        if parent == PolicyKind::Latency && fields.region.is_none() {
            return Err(FieldError::new("region", "`latency` ranks branches by their region: name it"));
        }
        let goal = match (fields.policy, &fields.records, &fields.service) {
            (Some(kind), None, None) => {
                let policy = Policy::build(kind, &fields.branches, fields.all_down, fields.min_healthy, owner, parse, depth + 1)?;
                if fields.az.is_some() || fields.tag.is_some() {
                    return Err(FieldError::new("az", "instances are limited at the leaf, not at a policy"));
                }
                if owner == Owner::Service && fields.branches.is_empty() {
                    return Err(FieldError::new("branches", "a policy below another needs branches"));
                }
                Goal::Policy(Box::new(policy))
            }
            (None, Some(records), None) => Goal::Records(read_records(records, parse)?),
            (None, None, service) if service.is_some() == (owner == Owner::Name) => Goal::Instances {
                service: service.clone(),
                az: fields.az.clone(),
                tag: fields.tag.clone(),
                min_healthy: fields.min_healthy.unwrap_or(1),
            },
            (None, None, Some(_)) => {
                return Err(FieldError::new(
                    "service",
                    "a service's own policy leads to its own instances; give names that join services a policy under [names]",
                ));
            }
            (None, None, None) => {
                return Err(FieldError::new("service", "a branch leads to one of `service`, `policy` with `branches`, and `records`"));
            }
            _ => return Err(FieldError::new("service", "a branch leads to exactly one of `service`, `policy` and `records`")),
        };
        let leaf = !matches!(goal, Goal::Policy(_));
        if leaf && (!fields.branches.is_empty() || fields.all_down.is_some()) {
            return Err(FieldError::new("branches", "`branches` and `all_down` go with `policy`"));
        }
        Ok(Branch { goal, weight, clients, region: fields.region.clone() })
    }
}

impl Clients {
    fn from_fields(fields: &BranchFields) -> Result<Clients, FieldError> {
        const CONTINENTS: [&str; 7] = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"];
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
        Ok(Clients { continents: fields.continents.clone(), countries: fields.countries.clone(), subdivisions, default: fields.default })
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
        sets.push(RecordData { rtype: number, rdata });
    }
    match sets.is_empty() {
        true => Err(FieldError::new("records", "at least one RRset")),
        false => Ok(sets),
    }
}
