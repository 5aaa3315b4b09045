//! A zone in TOML (DESIGN §11) → [`Zone`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::de::DeValue;

use super::document::{Document, Item, Outline, Spot};
use super::finding::Notes;
use super::geo::known_place;
use super::{rdata, services};
use crate::model::{APEX_TTL, AllDown, BranchFields, Geo, Label, Name, Period, PolicyKind, RecordSet, Zone, ZoneTtl, within};

pub(super) const NS: u16 = 2;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;

/// A zone on the way, and where its parts stand: for checks that concern several parts or files.
pub(super) struct Draft {
    pub zone: Zone,
    pub ns: Spot,
    pub soa: Spot,
    /// Where the first record of each RRset stands.
    pub records: BTreeMap<(Name, u16), Spot>,
    /// Where the others stand.
    pub further: BTreeMap<(Name, u16), Vec<Spot>>,
    pub names: BTreeMap<Name, Spot>,
    pub services: BTreeMap<Label, Spot>,
    /// Services that policies lead to.
    pub uses: Vec<(Label, Spot)>,
    /// The policies of names and services as written; those of names are built by `references`, once all zones are read.
    pub policies: Vec<Written>,
    /// Files that its master file includes, also those that could not be read.
    pub included: Vec<PathBuf>,
}

/// A policy as written, and where its parts stand.
pub(super) struct Written {
    pub owner: PolicyOwner,
    /// The fields of its root.
    pub fields: BranchFields,
    /// The same with every name replaced by what it is, once that was found.
    pub resolved: Option<BranchFields>,
    pub outline: Outline,
    /// The name whose addresses are its own, where it was written as ALIAS.
    pub alias_of: Option<Name>,
}

impl Written {
    fn new(owner: PolicyOwner, fields: BranchFields, outline: Outline) -> Written {
        Written { owner, fields, resolved: None, outline, alias_of: None }
    }
}

/// Whose policy it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PolicyOwner {
    Name(Name),
    Service(Label),
}

impl Draft {
    /// An empty zone.
    pub fn new(file: &str, apex: &Name, serial: u32) -> Draft {
        // Name servers come from the file; the primary is the first of them unless the file says another.
        let zone = Zone { ns: Vec::new(), ..Zone::new(apex.clone(), file, apex.clone(), serial) };
        Draft {
            zone,
            ns: Spot::default(),
            soa: Spot::default(),
            records: BTreeMap::new(),
            further: BTreeMap::new(),
            names: BTreeMap::new(),
            services: BTreeMap::new(),
            uses: Vec::new(),
            policies: Vec::new(),
            included: Vec::new(),
        }
    }

    /// Where record `n` of an RRset stands; the apex's own SOA and NS included.
    pub fn spot(&self, owner: &Name, rtype: u16, n: usize) -> Spot {
        let key = (owner.clone(), rtype);
        let further = n.checked_sub(1).and_then(|n| self.further.get(&key)?.get(n));
        let apex = *owner == self.zone.apex;
        further.or(self.records.get(&key)).cloned().unwrap_or_else(|| match rtype {
            SOA if apex => self.soa.clone(),
            NS if apex => self.ns.clone(),
            _ => Spot::default(),
        })
    }
}

/// Reads a zone file; `serial` is the SOA's unless the file says one. `None` where it is no TOML.
pub(super) fn read(file: &str, text: &str, apex: &Name, serial: u32, geo: &Geo, notes: &mut Notes) -> Option<Draft> {
    let (text, shown) = services_flag(text);
    let document = Document::parse(file, &text).map_err(|findings| notes.findings.extend(findings)).ok()?;
    let root = document.root();
    let mut reading = Reading { draft: Draft::new(file, apex, serial), geo, notes };
    reading.zone(&root, shown);
    Some(reading.draft)
}

/// Takes `services = true` out of the top of a file, for TOML takes it and `[services.web]` for two meanings of one key.
/// The text keeps its length and lines.
fn services_flag(text: &str) -> (Cow<'_, str>, Option<bool>) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            break;
        }
        let statement = line.split('#').next().unwrap_or(line);
        if let Some((key, value)) = statement.split_once('=')
            && key.trim() == "services"
            && let Ok(flag) = value.trim().parse()
        {
            let mut text = text.to_string();
            text.replace_range(at..at + statement.trim_end().len(), &" ".repeat(statement.trim_end().len()));
            return (text.into(), Some(flag));
        }
        at += line.len();
    }
    (text.into(), None)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TtlFields {
    min: Option<Period>,
    max: Option<Period>,
    negative: Option<Period>,
    apex: Option<Period>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameFields {
    policy: PolicyKind,
    branches: Vec<BranchFields>,
    all_down: Option<AllDown>,
    min_healthy: Option<u32>,
    #[serde(default, deserialize_with = "within::<0, 100, _, _>")]
    panic_threshold: Option<u8>,
}

impl NameFields {
    /// The fields of the policy at the root.
    fn root(&self) -> BranchFields {
        BranchFields {
            policy: Some(self.policy),
            branches: self.branches.clone(),
            all_down: self.all_down,
            min_healthy: self.min_healthy,
            panic_threshold: self.panic_threshold,
            ..BranchFields::default()
        }
    }
}

struct Reading<'r> {
    draft: Draft,
    geo: &'r Geo,
    notes: &'r mut Notes,
}

impl Reading<'_> {
    fn zone(&mut self, root: &Item<'_>, shown: Option<bool>) {
        root.only_keys(&["services", "ns", "contact", "serial", "ttl", "records", "names"], &mut self.notes.findings);
        // The TTLs first: records without one have the longest.
        if let Some(item) = root.get("ttl") {
            self.ttl(&item);
        }
        self.draft.zone.services = shown.unwrap_or(root.get("services").is_some());
        self.ns(root);
        if let Some(first) = self.draft.zone.ns.first() {
            self.draft.zone.soa.primary = first.clone();
        }
        // What is said of the SOA concerns the keys that it is made of; most are at the top.
        self.draft.soa = root.spot(if root.get("ttl").is_some() { "ttl" } else { "ns" });
        if let Some(item) = root.get("contact") {
            self.contact(&item);
        }
        if let Some(serial) = root.get("serial").and_then(|item| item.read(&[], &mut self.notes.findings)) {
            self.draft.zone.soa.serial = serial;
            self.draft.zone.soa.own_serial = true;
        }
        for (owner, item) in self.table(root, "records", "[records]") {
            self.records(owner, &item);
        }
        for (name, item) in self.table(root, "names", "[names.NAME]") {
            self.name(name, &item);
        }
        for (name, item) in self.table(root, "services", "true, false, or [services.NAME]") {
            self.service(name, &item);
        }
    }

    /// The entries of the table `key`; none where it is not there.
    fn table<'d>(&mut self, root: &Item<'d>, key: &str, written: &str) -> Vec<(&'d str, Item<'d>)> {
        let Some(item) = root.get(key) else { return Vec::new() };
        item.entries().unwrap_or_else(|| {
            self.notes.findings.push(item.finding("", format!("{written} is expected")));
            Vec::new()
        })
    }

    fn ttl(&mut self, item: &Item<'_>) {
        let Some(fields) = item.read::<TtlFields>(&[], &mut self.notes.findings) else { return };
        let (mut ttl, mut apex) = (ZoneTtl::default(), Period::seconds(APEX_TTL.into()));
        for (field, given, place) in [
            ("min", fields.min, &mut ttl.min),
            ("max", fields.max, &mut ttl.max),
            ("negative", fields.negative, &mut ttl.negative),
            ("apex", fields.apex, &mut apex),
        ] {
            let Some(given) = given else { continue };
            match given.millis() {
                // A week is the longest that resolvers keep anything (RFC 8767 §4).
                millis if !millis.is_multiple_of(1000) || millis > 7 * 86_400_000 => {
                    self.notes.findings.push(item.finding(field, format!("whole seconds up to 7 days are expected, not {given}")));
                }
                _ => *place = given,
            }
        }
        // A longer `min` or shorter `max` than the default of the other is meant for both.
        match (fields.min, fields.max) {
            (Some(_), None) => ttl.max = ttl.max.max(ttl.min),
            (None, Some(_)) => ttl.min = ttl.min.min(ttl.max),
            _ if ttl.min > ttl.max => self.notes.findings.push(item.finding("min", format!("{} is more than `max`, {}", ttl.min, ttl.max))),
            _ => {}
        }
        self.draft.zone.ttl = ttl;
        let apex = (apex.millis() / 1000).try_into().unwrap_or(APEX_TTL);
        (self.draft.zone.ns_ttl, self.draft.zone.soa.ttl) = (apex, apex);
    }

    fn ns(&mut self, root: &Item<'_>) {
        self.draft.ns = root.spot("ns");
        let apex = self.draft.zone.apex.clone();
        let Some(item) = root.get("ns") else {
            let default = apex.child(b"ns").unwrap_or_else(|| apex.clone());
            self.notes.warnings.push(root.finding("ns", format!("no name server is named, so {default} is announced")));
            self.draft.zone.ns = vec![default];
            return;
        };
        let Some(texts) = item.read::<Vec<String>>(&[], &mut self.notes.findings) else { return };
        for (n, text) in texts.iter().enumerate() {
            let field = format!("[{n}]");
            match Name::parse_relative(text, Some(&apex)) {
                Err(error) => self.notes.findings.push(item.finding(&field, error.to_string())),
                Ok(name) if self.draft.zone.ns.contains(&name) => {
                    self.notes.warnings.push(item.finding(&field, format!("{name} stands twice")));
                }
                Ok(name) => {
                    if n > 0 {
                        self.draft.further.entry((apex.clone(), NS)).or_default().push(item.spot(&field));
                    }
                    self.draft.zone.ns.push(name);
                }
            }
            self.undotted(&item, &field, text);
        }
        if texts.is_empty() {
            self.notes.findings.push(item.finding("", "a zone has at least one name server, such as \"ns1.example.\""));
        }
    }

    fn contact(&mut self, item: &Item<'_>) {
        let Some(text) = item.read::<String>(&[], &mut self.notes.findings) else { return };
        // The first label of an RNAME is the mailbox's local part, whose dots are escaped (RFC 1035 §8).
        let name = match text.split_once('@') {
            Some((local, domain)) if !local.is_empty() => {
                format!("{}.{}.", local.replace('\\', "\\\\").replace('.', "\\."), domain.trim_end_matches('.'))
            }
            _ => text.clone(),
        };
        match Name::parse_relative(&name, Some(&self.draft.zone.apex)) {
            Ok(name) => self.draft.zone.soa.contact = name,
            Err(error) => self.notes.findings.push(item.finding("", format!("a mail address is expected: {error}"))),
        }
    }

    /// An owner name within the zone.
    fn owner(&mut self, text: &str, item: &Item<'_>) -> Option<Name> {
        let apex = &self.draft.zone.apex;
        let reason = match Name::parse_relative(text, Some(apex)) {
            Ok(name) if name.is_within(apex) => return Some(name),
            Ok(name) => format!("{name} is not in the zone {apex}"),
            Err(error) => error.to_string(),
        };
        self.notes.findings.push(item.finding("", reason));
        None
    }

    fn records(&mut self, owner: &str, item: &Item<'_>) {
        let Some(name) = self.owner(owner, item) else { return };
        self.undotted(item, "", owner);
        let Some(entries) = item.entries() else {
            self.notes.findings.push(item.finding("", "a table of types is expected, such as { A = [\"192.0.2.1\"] }"));
            return;
        };
        let mut ttl = u32::try_from(self.draft.zone.ttl.max.0.as_secs()).unwrap_or(u32::MAX);
        if let Some(item) = item.get("ttl") {
            let text = match item.value() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                _ => String::new(),
            };
            match rdata::ttl(&text) {
                Some(seconds) => ttl = seconds,
                None => self.notes.findings.push(item.finding("", "seconds or a text such as \"1h\" are expected, at most 2147483647 s")),
            }
        }
        for (rtype, item) in entries.iter().filter(|(key, _)| *key != "ttl") {
            self.rrset(&name, ttl, rtype, item);
        }
    }

    fn rrset(&mut self, owner: &Name, ttl: u32, rtype: &str, item: &Item<'_>) {
        let number = match rdata::type_number(rtype) {
            Ok(number) => number,
            Err(reason) => return self.notes.findings.push(item.finding("", reason)),
        };
        let texts: Option<Vec<String>> = match item.value() {
            DeValue::String(one) => Some(vec![one.to_string()]),
            _ => item.read(&[], &mut self.notes.findings),
        };
        let apex = self.draft.zone.apex.clone();
        if number == SOA {
            let reason = "the SOA is made of `ns`, `contact`, `serial` and `ttl` at the top of the file";
            return self.notes.findings.push(item.finding("", reason));
        }
        if number == NS && *owner == apex {
            return self.notes.findings.push(item.finding("", "the zone's own name servers are `ns` at the top of the file"));
        }
        let mut set = RecordSet { ttl, rdata: Vec::new() };
        let mut further = Vec::new();
        for (n, text) in texts.iter().flatten().enumerate() {
            let field = format!("[{n}]");
            match rdata::parse_in_zone(rtype, text, &apex) {
                Err(reason) => self.notes.findings.push(item.finding(&field, reason)),
                Ok((_, data)) if set.rdata.contains(&data) => {
                    // RFC 2181 §5: an RRset holds no record twice.
                    self.notes.warnings.push(item.finding(&field, "stands twice, and is answered once"));
                }
                Ok((_, data)) => {
                    if !set.rdata.is_empty() {
                        further.push(item.spot(&field));
                    }
                    set.rdata.push(data);
                }
            }
            if rdata::holds_names(number) {
                self.undotted(item, &field, text);
            }
        }
        if texts.is_some_and(|t| t.is_empty()) {
            self.notes.findings.push(item.finding("", "at least one record is expected"));
        }
        let key = (owner.clone(), number);
        if self.draft.zone.records.contains_key(&key) {
            return self.notes.findings.push(item.finding("", format!("{owner} has {} twice", rdata::type_name(number))));
        }
        self.draft.records.insert(key.clone(), item.spot(""));
        if !further.is_empty() {
            self.draft.further.insert(key.clone(), further);
        }
        self.draft.zone.records.insert(key, set);
    }

    /// Warns of a name that repeats the zone's, because its last dot was forgotten.
    fn undotted(&mut self, item: &Item<'_>, field: &str, text: &str) {
        let apex = self.draft.zone.apex.to_string();
        let Some(bare) = apex.strip_suffix('.').filter(|bare| bare.contains('.')) else { return };
        let repeats = |word: &&str| {
            let word = word.to_ascii_lowercase();
            word.strip_suffix(bare).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if let Some(word) = text.split_ascii_whitespace().find(repeats) {
            let reason = format!("{word} has no dot at its end, so it is {word}.{apex}; write `{word}.` or leave the zone's name away");
            self.notes.warnings.push(item.finding(field, reason));
        }
    }

    fn name(&mut self, name: &str, item: &Item<'_>) {
        let Some(owner) = self.owner(name, item) else { return };
        let Some(fields) = item.read::<NameFields>(&[], &mut self.notes.findings) else { return };
        if self.draft.names.insert(owner.clone(), item.spot("")).is_some() {
            return self.notes.findings.push(item.finding("", "stands twice: names are the same in upper and lower case"));
        }
        let fields = fields.root();
        self.branches(item, &fields.branches, "");
        self.draft.policies.push(Written::new(PolicyOwner::Name(owner), fields, item.outline(&[])));
    }

    /// Checks what branches refer to, at every depth; `within` is the path of the branches' policy with a dot behind it.
    fn branches(&mut self, item: &Item<'_>, branches: &[BranchFields], within: &str) {
        for (n, branch) in branches.iter().enumerate() {
            let path = format!("{within}branches[{n}]");
            if let Some(service) = &branch.service {
                self.draft.uses.push((service.clone(), item.spot(&format!("{path}.service"))));
            }
            if let Err((field, reason)) = branch_place(self.geo, branch) {
                self.notes.findings.push(item.finding(&format!("{path}.{field}"), reason));
            }
            if let Err(error) = branch.check_countries() {
                self.notes.findings.push(item.finding(&format!("{path}.{}", error.field), error.expected));
            }
            for (field, text) in [("name", &branch.name), ("cname", &branch.cname)] {
                if let Some(text) = text {
                    self.undotted(item, &format!("{path}.{field}"), text);
                }
            }
            for (rtype, texts) in branch.records.iter().flatten() {
                let path = format!("{path}.records.{rtype}");
                if rtype.eq_ignore_ascii_case("CNAME") && (texts.len() > 1 || branch.records.iter().flatten().count() > 1) {
                    self.notes.findings.push(item.finding(&path, "an alias is a name's only record (RFC 2181 §10.1)"));
                }
                if texts.len() > MAX_RECORDS {
                    self.notes.findings.push(item.finding(&path, too_many_records(texts.len())));
                }
                for (n, text) in texts.iter().enumerate().filter(|_| rdata::type_number(rtype).is_ok_and(rdata::holds_names)) {
                    self.undotted(item, &format!("{path}[{n}]"), text);
                }
            }
            self.branches(item, &branch.branches, &format!("{path}."));
        }
    }

    fn service(&mut self, name: &str, item: &Item<'_>) {
        let label = match Label::parse(name) {
            Ok(label) => label,
            Err(error) => return self.notes.findings.push(item.finding("", error.to_string())),
        };
        let defined = services::read(item, &self.draft.zone.apex, self.geo, self.notes);
        if let Some(fields) = defined.as_ref().map(|d| d.service.fields.root()) {
            self.branches(item, &fields.branches, "");
            self.draft.policies.push(Written::new(PolicyOwner::Service(label.clone()), fields, item.outline(&["instances"])));
        }
        if self.draft.zone.defined.insert(label.clone(), defined.unwrap_or_default()).is_some() {
            self.notes.findings.push(item.finding("", "stands twice: names are the same in upper and lower case"));
        }
        self.draft.services.insert(label, item.spot(""));
    }
}

/// Most records of one type in a branch: as many as a service answers at most.
pub(super) const MAX_RECORDS: usize = 64;

/// What is wrong with more of them.
pub(super) fn too_many_records(found: usize) -> String {
    format!("at most {MAX_RECORDS} records of one type in a branch, not {found}")
}

/// Whether the region and az of a branch are declared; an az without region may be in any.
pub(super) fn branch_place(geo: &Geo, branch: &BranchFields) -> Result<(), (&'static str, String)> {
    match (&branch.region, &branch.az, &geo.regions) {
        (Some(region), az, _) => known_place(geo, region, az.as_ref()),
        (None, Some(az), Some(regions)) if !regions.values().any(|r| r.azs.is_empty() || r.azs.contains(az)) => {
            let azs = regions.values().flat_map(|r| r.azs.iter().map(Label::as_str));
            Err(("az", format!("no region has an az {az} in regions.toml; {}", super::suggest::instead_of(az.as_str(), azs))))
        }
        _ => Ok(()),
    }
}
