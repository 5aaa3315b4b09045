//! Policies: how an owner name chooses among branches, as written. `routing` compiles and runs them.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Code, Coordinates, Label};

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
    /// The branch whose place is nearest to the client, its distance stretched or shrunk by a bias (Route 53).
    Geoproximity,
    /// The branch with the longest prefix that holds the client, else the default one (Azure's subnet method).
    Cidr,
    /// The branch for the client's autonomous system, else the default one.
    Asn,
    /// One branch (or instance) for each client prefix, in proportion to the weights, the same one every time.
    Sticky,
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
    /// Answer with the branches that are `resort = true`, which are not used otherwise.
    Resort,
    /// Answer nothing: NODATA.
    Nodata,
}

/// A node of a policy tree: one rule over its branches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// The rule.
    pub kind: PolicyKind,
    /// The branches, in the order written. Empty on a service: its own instances.
    pub branches: Vec<Branch>,
    /// What to answer when all is down.
    pub all_down: AllDown,
    /// How many branches (of a leaf: instances) must be healthy for the node to count as healthy; at least 1; default 1.
    pub min_healthy: u32,
    /// In percent, 0–100: a level of instances of which less is healthy (by weight) is answered whole, healthy or not, once the levels
    /// together carry less than the load (Envoy's panic threshold; under rules that do not spill: once that level does); 0, the default:
    /// never. Of the root's.
    pub panic_threshold: u8,
}

/// One branch: where it leads and when it is taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// Where it leads.
    pub goal: Goal,
    /// Its share under `weighted` and `sticky`, 0–65535; default 100. Zero: never, unless all that are healthy are zero (Route 53).
    pub weight: u32,
    /// Under `geolocation`, `cidr` and `asn`: the clients it is for.
    pub clients: Clients,
    /// Under `geoproximity`: −99 to 99. A positive bias shrinks its distance d to d·(1 − bias/100), a negative one stretches it to
    /// d/(1 + bias/100).
    pub bias: i8,
    /// Under `geoproximity`: where it is, if not where its region is.
    pub coordinates: Option<Coordinates>,
    /// It is used only where nothing else can be answered.
    pub resort: bool,
    /// The largest share of the name's clients that it can serve, in percent, 1–100; 100 where none is stated. For `simulate`.
    pub capacity: u8,
    /// The region by which `latency` ranks it; under every rule, a goal of instances is limited to it.
    pub region: Option<Label>,
}

/// Where a branch leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// A policy below.
    Policy(Box<Policy>),
    /// A service's own policy over its instances that match. `None`: the service whose policy this is.
    Instances {
        /// The service. A name has no instances of its own: there, `None` has nothing to answer.
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

/// The clients that a branch is for; any of the lists may match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Clients {
    /// AF, AN, AS, EU, NA, OC, SA.
    pub continents: Vec<Code>,
    /// ISO 3166-1 alpha-2.
    pub countries: Vec<Code>,
    /// ISO 3166-2, as (country, subdivision).
    pub subdivisions: Vec<(Code, Code)>,
    /// Client prefixes.
    pub cidrs: Vec<IpNet>,
    /// Autonomous systems.
    pub asns: Vec<u32>,
    /// Also every client that no other branch is for.
    pub default: bool,
}

/// Most branches of a node.
pub const MAX_BRANCHES: usize = 64;
/// Most levels of nodes.
pub const MAX_DEPTH: usize = 8;
/// Most leaves of a policy, those of the names that it leads to included.
pub const MAX_LEAVES: usize = 1024;

impl PolicyKind {
    /// Whether branches say which clients they are for.
    pub fn tells_clients_apart(self) -> bool {
        matches!(self, PolicyKind::Geolocation | PolicyKind::Cidr | PolicyKind::Asn)
    }

    /// Whether the rule has nothing to choose by without branches.
    pub(super) fn needs_branches(self) -> bool {
        self.tells_clients_apart() || self == PolicyKind::Geoproximity
    }

    /// The name by which users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyKind::Simple => "simple",
            PolicyKind::Multivalue => "multivalue",
            PolicyKind::Weighted => "weighted",
            PolicyKind::Failover => "failover",
            PolicyKind::Latency => "latency",
            PolicyKind::Geolocation => "geolocation",
            PolicyKind::Geoproximity => "geoproximity",
            PolicyKind::Cidr => "cidr",
            PolicyKind::Asn => "asn",
            PolicyKind::Sticky => "sticky",
            PolicyKind::Nearest => "nearest",
        }
    }
}

impl std::fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
