//! Services, and the instances of one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::drains::{DrainLine, drained_by};
use super::{count, health_style, length, page, read, share_style};
use crate::cli::Page;
use crate::cli::table::{Cell, FAINT, ODD, Table, plain, push};
use crate::model::Timestamp;

/// `services`
pub(in crate::cli) fn services(document: Value) -> Result<Page, serde_json::Error> {
    let list: ServiceList = read(&document)?;
    let mut table = Table::new(["SERVICE", "POLICY", "AVAILABLE", "INSTANCES", "HEALTHY", "DRAINED", "SET BY"]);
    for service in &list.services {
        table.row([
            Cell::new(&service.name),
            Cell::new(&service.policy),
            Cell::number(service.available).styled(share_style(service.available, service.instances)),
            Cell::number(service.instances),
            Cell::number(service.healthy),
            count(service.drained, ODD),
            Cell::new(service.file.as_ref().unwrap_or(&service.source)).styled(FAINT),
        ]);
    }
    let empty = "no services yet: `signpost register SERVICE/ID …` makes the first\n";
    Ok(page(document, if list.services.is_empty() { empty.into() } else { table.render() }))
}

/// `instances SERVICE`
pub(in crate::cli) fn instances(document: Value, now: Timestamp) -> Result<Page, serde_json::Error> {
    let service: ServiceDetail = read(&document)?;
    let mut table = Table::new(["ID", "ADDRESSES", "PORTS", "LOCALITY", "WEIGHT", "TAGS", "DRAINED BY", "HEALTH"]);
    for instance in &service.instances {
        // An instance without ports of its own has the service's.
        let ports = if instance.ports.is_empty() { &service.settings.ports } else { &instance.ports };
        table.row([
            Cell::new(&instance.id),
            Cell::list(&instance.addresses),
            Cell::list(ports.iter().map(|(name, port)| format!("{name}={}", port_text(port)))),
            Cell::new(format!("{}/{}", instance.region, instance.az)),
            Cell::number(instance.weight),
            if instance.tags.is_empty() { Cell::default() } else { Cell::list(&instance.tags) },
            instance.drained_by.as_ref().map(|d| Cell::new(drained_by(d)).styled(ODD)).unwrap_or_default(),
            Cell::new(instance.health(now)).styled(health_style(&instance.health)),
        ]);
    }
    let available =
        service.instances.iter().filter(|i| i.health == "healthy" && i.drained_by.as_ref().is_none_or(|d| d.share < 100.0)).count();
    let mut text = if service.instances.is_empty() { String::new() } else { table.render() };
    let name = plain(&service.name);
    match service.instances.len() {
        0 => push(&mut text, &format!("{name} has no such instances\n"), FAINT),
        shown => {
            let policy = plain(&service.policy);
            push(&mut text, &format!("{available} of {shown} available, policy {policy}\n"), FAINT);
        }
    }
    Ok(page(document, text))
}

#[derive(Debug, Deserialize)]
struct ServiceList {
    services: Vec<ServiceLine>,
}

#[derive(Debug, Deserialize)]
struct ServiceLine {
    name: String,
    #[serde(default)]
    policy: String,
    instances: u64,
    healthy: u64,
    drained: u64,
    available: u64,
    #[serde(default)]
    source: String,
    #[serde(default)]
    file: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ServiceDetail {
    name: String,
    #[serde(default)]
    policy: String,
    #[serde(default)]
    settings: Settings,
    instances: Vec<InstanceLine>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    ports: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct InstanceLine {
    id: String,
    addresses: Vec<String>,
    #[serde(default)]
    ports: BTreeMap<String, Value>,
    region: String,
    az: String,
    #[serde(default)]
    weight: u64,
    #[serde(default)]
    tags: Vec<String>,
    health: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    since: Option<Timestamp>,
    #[serde(default)]
    unconfirmed: bool,
    #[serde(default)]
    wavering: bool,
    #[serde(default)]
    warmth: Option<u8>,
    #[serde(default)]
    drained_by: Option<DrainLine>,
}

impl InstanceLine {
    /// `unhealthy 12s: http /healthz: connection refused`, `healthy 20s, 40% warm`
    fn health(&self, now: Timestamp) -> String {
        let mut text = self.health.clone();
        if let Some(since) = self.since {
            text.push(' ');
            text.push_str(&length(now.since(since)));
        }
        if let Some(warmth) = self.warmth {
            text.push_str(&format!(", {warmth}% warm"));
        }
        if self.wavering {
            text.push_str(", wavering");
        }
        if self.unconfirmed {
            text.push_str(" (from before the restart)");
        }
        if !self.why.is_empty() {
            text.push_str(": ");
            text.push_str(&self.why);
        }
        text
    }
}

/// A port: `8080`, `53/udp`.
fn port_text(port: &Value) -> String {
    port.as_str().map_or_else(|| port.to_string(), str::to_owned)
}
