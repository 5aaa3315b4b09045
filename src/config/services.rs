//! `[services.NAME]` of a zone file: the service's settings and the instances beside them.

use std::collections::{BTreeMap, BTreeSet};

use super::document::Item;
use super::finding::Notes;
use super::geo::known_place;
use super::rdata::parse_record;
use super::suggest;
use crate::model::{Check, Defined, Geo, Instance, Label, Name, Ports, Service, ServiceFields};

/// Reads a service; `None` where its settings are wrong.
pub(super) fn read(item: &Item<'_>, apex: &Name, geo: &Geo, notes: &mut Notes) -> Option<Defined> {
    let fields = item.read::<ServiceFields>(&["instances"], &mut notes.findings);
    let parse = |rtype: &str, text: &str| parse_record(rtype, text, apex);
    let service = fields.and_then(|fields| {
        let service = Service::from_fields(fields, &parse);
        service.map_err(|error| notes.findings.push(item.finding(&error.field, error.expected))).ok()
    });
    let mut instances = BTreeMap::new();
    let entries = item.get("instances").map(|table| match table.entries() {
        Some(entries) => entries,
        None => {
            notes.findings.push(table.finding("", "each one is written as [services.NAME.instances.ID]"));
            Vec::new()
        }
    });
    for (id, item) in entries.unwrap_or_default() {
        if let Some((id, instance)) = instance(id, &item, geo, notes)
            && instances.insert(id, instance).is_some()
        {
            notes.findings.push(item.finding("", "stands twice: ids are the same in upper and lower case"));
        }
    }
    let defined = Defined { service: service?, instances };
    ports(item, &defined, notes);
    Some(defined)
}

fn instance(id: &str, item: &Item<'_>, geo: &Geo, notes: &mut Notes) -> Option<(Label, Instance)> {
    let id = Label::parse(id).map_err(|error| notes.findings.push(item.finding("", error.to_string()))).ok();
    let instance: Instance = item.read(&[], &mut notes.findings)?;
    if let Err(error) = instance.validate() {
        notes.findings.push(item.finding(&error.field, error.expected));
    }
    if let Err((field, reason)) = known_place(geo, &instance.region, Some(&instance.az)) {
        notes.findings.push(item.finding(field, reason));
    }
    if instance.heartbeat.is_some() {
        // Beats come over the API, which cannot change what a file declares.
        notes
            .findings
            .push(item.finding("heartbeat", "instances of a file send no heartbeats; give it `checks`, or register it over the API"));
    }
    Some((id?, instance))
}

/// Checks that `default_port` and every check name a port that is there, and that nobody has to guess which one is meant (DESIGN §3).
fn ports(item: &Item<'_>, defined: &Defined, notes: &mut Notes) {
    let fields = &defined.service.fields;
    let all: BTreeSet<&Label> = fields.ports.keys().chain(defined.instances.values().flat_map(|i| i.ports.keys())).collect();
    let names = || all.iter().map(|l| l.as_str());
    match &fields.default_port {
        Some(port) if !all.is_empty() && !all.contains(port) => {
            notes
                .findings
                .push(item.finding("default_port", format!("no port is named {port}; {}", suggest::instead_of(port.as_str(), names()))));
        }
        None if all.len() > 1 => {
            let reason = format!(
                "has the ports {}: say with `default_port` which one its SRV records are for",
                names().collect::<Vec<_>>().join(", ")
            );
            notes.findings.push(item.finding("default_port", reason));
        }
        _ => {}
    }
    let mut check = |field: String, check: &Check, ports: &Ports| {
        let known = || ports.keys().map(Label::as_str);
        let wrong = match (&check.port, &fields.default_port) {
            (Some(port), _) if !ports.contains_key(port) => {
                Some(("port", format!("no port is named {port}; {}", suggest::instead_of(port.as_str(), known()))))
            }
            (None, _) if ports.is_empty() => Some(("port", "there is no port to check: add one to `ports`".to_string())),
            (None, Some(port)) if !ports.contains_key(port) => {
                Some(("port", format!("the default port {port} is not among its ports; {}", suggest::instead_of(port.as_str(), known()))))
            }
            // Several ports and no default were said above.
            _ => None,
        };
        if let Some((name, reason)) = wrong {
            let finding = item.finding(&format!("{field}.{name}"), reason);
            if !notes.findings.contains(&finding) {
                notes.findings.push(finding);
            }
        }
    };
    for (n, shared) in fields.checks.iter().enumerate() {
        let field = format!("checks[{n}]");
        // Instances that are registered later may bring ports of their own; where the service names ports, it means these.
        if defined.instances.is_empty() && !fields.ports.is_empty() {
            check(field.clone(), shared, &fields.ports);
        }
        for instance in defined.instances.values().filter(|i| i.checks.is_none()) {
            check(field.clone(), shared, effective(instance, fields));
        }
    }
    for (id, instance) in &defined.instances {
        for (n, own) in instance.checks.iter().flatten().enumerate() {
            check(format!("instances.{id}.checks[{n}]"), own, effective(instance, fields));
        }
    }
}

/// The ports of an instance: its own, or where it names none the service's.
fn effective<'a>(instance: &'a Instance, fields: &'a ServiceFields) -> &'a Ports {
    if instance.ports.is_empty() { &fields.ports } else { &instance.ports }
}
