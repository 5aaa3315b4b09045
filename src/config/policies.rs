//! What deserves a second look in policies: they are served as written, and do something else than their author may think.
//!
//! Only what is certain from the files is said. Instances, RTTs and health come and go while a server runs.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::finding::Notes;
use super::references::spot;
use super::zone::{Draft, PolicyOwner, Written};
use crate::model::{BranchFields, Defined, Geo, Label, Place, PolicyKind};

/// Looks at the policies of all zones, whose references are resolved.
pub(super) fn look(drafts: &[Draft], geo: &Geo, notes: &mut Notes) {
    let services: BTreeMap<&Label, &Defined> = drafts.iter().flat_map(|draft| &draft.zone.defined).collect();
    let known = Known::of(geo);
    for draft in drafts {
        // What an ALIAS leads to is looked at where it is written.
        for written in draft.policies.iter().filter(|written| written.alias_of.is_none()) {
            let owner = match &written.owner {
                PolicyOwner::Service(label) => services.get(label).copied(),
                PolicyOwner::Name(_) => None,
            };
            let mut look = Look { file: &draft.zone.file, written, owner, services: &services, geo, known, notes };
            let root = written.resolved.as_ref().unwrap_or(&written.fields);
            look.root(root);
            look.policy(root, &written.fields, "");
        }
    }
}

/// What the files of `geo/` tell of clients.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// Countries, continents or subdivisions of some.
    countries: bool,
    /// Autonomous systems of some.
    asns: bool,
    /// Coordinates of some.
    coordinates: bool,
    /// By which regions can be ranked for some.
    ways: bool,
}

impl Known {
    fn of(geo: &Geo) -> Known {
        let mut known = Known { ways: !geo.pins.is_empty(), ..Known::default() };
        let place_of = |region: &Label| geo.regions.as_ref().and_then(|regions| regions.get(region)).and_then(|r| r.coordinates);
        // A region's own clients are where it is.
        known.coordinates = geo.networks.iter().filter_map(|(_, place)| place.region.as_ref()).any(|region| place_of(region).is_some());
        for (_, place) in geo.networks.iter().chain(geo.database.iter()) {
            known.add(place);
            if known.countries && known.asns && known.coordinates && known.ways {
                break;
            }
        }
        known
    }

    fn add(&mut self, place: &Place) {
        self.countries |= place.country.is_some() || place.continent.is_some();
        self.asns |= place.asn.is_some();
        // A country has a place too, if a rough one.
        let somewhere = place.coordinates.is_some() || place.country.is_some();
        self.coordinates |= somewhere;
        self.ways |= somewhere || place.region.is_some();
    }
}

struct Look<'l> {
    file: &'l str,
    written: &'l Written,
    /// The service whose policy it is; `None`: a name's.
    owner: Option<&'l Defined>,
    services: &'l BTreeMap<&'l Label, &'l Defined>,
    geo: &'l Geo,
    known: Known,
    notes: &'l mut Notes,
}

impl Look<'_> {
    fn warn(&mut self, path: &str, reason: impl Into<String>) {
        self.notes.warnings.push(spot(self.written, path).finding(self.file, reason));
    }

    /// What concerns the policy as a whole.
    fn root(&mut self, root: &BranchFields) {
        let resort = root.branches.iter().position(|branch| branch.resort);
        // Whom no branch is for is answered from the last resort, where there is one.
        if let Some((path, kind)) = left_out(root, "").filter(|_| resort.is_none()) {
            let others = match kind {
                PolicyKind::Cidr => "networks",
                PolicyKind::Asn => "systems",
                _ => "places",
            };
            let reason = format!(
                "there is no default branch: clients of other {others} get NODATA, whose scope some resolvers ignore (RFC 7871 §7.4)"
            );
            self.warn(&format!("{path}policy"), reason);
        }
        if let Some(n) = resort
            && is_always_healthy(root)
        {
            self.warn(&format!("branches[{n}].resort"), "is never taken: static records of another branch are always healthy");
        }
        let capacity = capacity(root);
        if capacity < 100 {
            self.warn("branches", format!("all branches together have capacity for {capacity} % of the clients"));
        }
        if let (Some(owner), Some(needed), true) = (self.owner, root.min_healthy, root.branches.is_empty()) {
            self.too_few("min_healthy", needed, owner.instances.len(), owner.instances.len());
        }
    }

    /// What concerns one policy, at every depth. What came with a name was said where that name's policy is written.
    fn policy(&mut self, node: &BranchFields, written: &BranchFields, within: &str) {
        let kind = node.policy.unwrap_or_default();
        match kind {
            PolicyKind::Weighted | PolicyKind::Sticky => self.weights(node, within),
            PolicyKind::Failover => self.order(node, within),
            // Who says nothing gets `nearest`, and has not thought of places.
            PolicyKind::Latency | PolicyKind::Nearest if node.policy.is_some() => self.ranking(node, kind, within),
            PolicyKind::Geoproximity => self.distances(node, within),
            PolicyKind::Geolocation if !self.known.countries => {
                let reason = "no client's country is known: geo/ has no database (*.mmdb) with countries, and networks.toml names none";
                self.warn(&format!("{within}policy"), reason);
            }
            PolicyKind::Asn if !self.known.asns => {
                let reason =
                    "no client's autonomous system is known: geo/ has no database (*.mmdb) with them, and networks.toml names none";
                self.warn(&format!("{within}policy"), reason);
            }
            _ => {}
        }
        for (n, (branch, written)) in node.branches.iter().zip(&written.branches).enumerate() {
            let path = format!("{within}branches[{n}]");
            if branch.policy.is_none() {
                self.instances(branch, &path);
            } else if written.name.is_none() {
                self.policy(branch, written, &format!("{path}."));
            }
        }
    }

    fn weights(&mut self, node: &BranchFields, within: &str) {
        let weights: Vec<_> = choices(node).map(|(_, branch)| branch.weight).collect();
        if weights.len() > 1 && weights.iter().all(|weight| *weight == Some(0)) {
            self.warn(&format!("{within}branches"), "all of them weigh nothing, so each is taken as often as the others");
        }
    }

    fn order(&mut self, node: &BranchFields, within: &str) {
        let branches: Vec<_> = choices(node).collect();
        if let Some(at) = branches.iter().position(|(_, branch)| is_always_alive(branch))
            && let Some((n, _)) = branches.get(at + 1)
        {
            let reason = format!("is never taken: branches[{}] before it has static records, which are always healthy", branches[at].0);
            self.warn(&format!("{within}branches[{n}]"), reason);
        }
    }

    fn ranking(&mut self, node: &BranchFields, kind: PolicyKind, within: &str) {
        let declared = self.owner.iter().flat_map(|owner| owner.instances.values()).map(|instance| &instance.region);
        let regions: BTreeSet<&Label> = match node.branches.is_empty() {
            true => declared.collect(),
            false => choices(node).filter_map(|(_, branch)| branch.region.as_ref()).collect(),
        };
        if regions.len() < 2 {
            return;
        }
        let path = format!("{within}policy");
        if !self.known.ways {
            let reason = format!(
                "`{kind}` cannot rank regions until measurements are posted: geo/ has no database (*.mmdb) with coordinates, no network with a \
                 region or coordinates, and no pin"
            );
            return self.warn(&path, reason);
        }
        let geo = self.geo;
        let ranked = |region: &Label| {
            let place = geo.regions.as_ref().and_then(|regions| regions.get(region)).and_then(|r| r.coordinates);
            place.is_some()
                || geo.rtt_ms.keys().any(|(from, to)| from == region || to == region)
                || geo.pins.iter().any(|(_, row)| row.contains_key(region))
                || geo.networks.iter().any(|(_, place)| place.region.as_ref() == Some(region))
        };
        let unranked: Vec<&str> = regions.into_iter().filter(|region| !ranked(region)).map(Label::as_str).collect();
        if !unranked.is_empty() {
            let reason = format!(
                "`{kind}` cannot rank {} until measurements are posted: geo/ has no coordinates and no milliseconds for it, so it comes last",
                unranked.join(", ")
            );
            self.warn(&path, reason);
        }
    }

    fn distances(&mut self, node: &BranchFields, within: &str) {
        if !self.known.coordinates {
            let reason = "no client's coordinates are known: geo/ has no database (*.mmdb) with them, and networks.toml names none";
            self.warn(&format!("{within}policy"), reason);
        }
        let geo = self.geo;
        let place = |region: &Label| geo.regions.as_ref().and_then(|regions| regions.get(region)).and_then(|r| r.coordinates);
        for (n, branch) in choices(node).filter(|(_, branch)| branch.latitude.is_none()) {
            if let Some(region) = branch.region.as_ref().filter(|region| place(region).is_none()) {
                let reason = format!("{region} has no coordinates in geo/regions.toml, so its distance is not known");
                self.warn(&format!("{within}branches[{n}].region"), reason);
            }
        }
    }

    /// Instances of a leaf: whether there are as many as must be healthy.
    fn instances(&mut self, branch: &BranchFields, path: &str) {
        let leads_elsewhere = branch.records.is_some() || branch.cname.is_some();
        let service = match &branch.service {
            Some(service) => self.services.get(service).copied(),
            None => self.owner.filter(|_| !leads_elsewhere),
        };
        let (Some(service), Some(needed)) = (service, branch.min_healthy) else { return };
        let fits = |limit: &Option<Label>, label: &Label| limit.as_ref().is_none_or(|limit| limit == label);
        let matching = service.instances.values().filter(|instance| {
            fits(&branch.region, &instance.region)
                && fits(&branch.az, &instance.az)
                && branch.tag.as_ref().is_none_or(|tag| instance.tags.contains(tag))
        });
        self.too_few(&format!("{path}.min_healthy"), needed, matching.count(), service.instances.len());
    }

    /// A service of which no file declares any instance is one whose instances are registered.
    fn too_few(&mut self, path: &str, needed: u32, found: usize, declared: usize) {
        if found < needed as usize && declared > 0 {
            let reason = format!("{needed} are needed and zone files declare {found}: it counts as down until more are registered");
            self.warn(path, reason);
        }
    }
}

/// The branches among which the rule chooses, with their numbers.
fn choices(node: &BranchFields) -> impl Iterator<Item = (usize, &BranchFields)> {
    node.branches.iter().enumerate().filter(|(_, branch)| !branch.resort)
}

/// The path of the policy below which some clients find no branch, with a dot behind it, and that policy's rule.
fn left_out(node: &BranchFields, within: &str) -> Option<(String, PolicyKind)> {
    let kind = node.policy.unwrap_or_default();
    let below =
        |(n, branch): (usize, &BranchFields)| branch.policy.is_some().then(|| left_out(branch, &format!("{within}branches[{n}].")))?;
    if kind.tells_clients_apart() {
        return match choices(node).find(|(_, branch)| branch.default) {
            Some(default) => below(default),
            None if kind == PolicyKind::Cidr && is_everybody(&node.branches) => None,
            None => Some((within.into(), kind)),
        };
    }
    // Clients without a branch in one policy are answered from another.
    let all: Option<Vec<_>> = choices(node).map(below).collect();
    all?.into_iter().next()
}

/// Whether the prefixes of all branches together hold every client.
fn is_everybody(branches: &[BranchFields]) -> bool {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for net in branches.iter().flat_map(|branch| &branch.cidrs) {
        match net {
            IpNet::V4(net) => v4.push(*net),
            IpNet::V6(net) => v6.push(*net),
        }
    }
    Ipv4Net::aggregate(&v4).iter().any(|net| net.prefix_len() == 0) && Ipv6Net::aggregate(&v6).iter().any(|net| net.prefix_len() == 0)
}

/// Whether enough branches of a policy are static records, at whatever depth, for it to be healthy for every client.
fn is_always_healthy(node: &BranchFields) -> bool {
    let kind = node.policy.unwrap_or_default();
    let needed = node.min_healthy.unwrap_or(1).max(1) as usize;
    !kind.tells_clients_apart() && choices(node).filter(|(_, branch)| is_always_alive(branch)).count() >= needed
}

fn is_always_alive(branch: &BranchFields) -> bool {
    branch.records.is_some() || branch.cname.is_some() || (branch.policy.is_some() && is_always_healthy(branch))
}

/// The share of the clients, in percent, that a policy's branches can serve together.
fn capacity(node: &BranchFields) -> u32 {
    if node.branches.is_empty() {
        return 100;
    }
    let of = |branch: &BranchFields| {
        let own = u32::from(branch.capacity.unwrap_or(100));
        if branch.policy.is_some() { own.min(capacity(branch)) } else { own }
    };
    choices(node).map(|(_, branch)| of(branch)).sum()
}
