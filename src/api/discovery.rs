//! Service discovery for others: Prometheus' `http_sd_config`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::access::Caller;
use super::problem::Problem;
use super::request::Parameters;
use super::services::Filter;
use super::{Shared, reply};
use crate::model::{InstanceKey, Label, Protocol, Timestamp};
use crate::registry::{InstanceEntry, Registry, ServiceEntry};

/// One scrape: an address with its labels, in the form that Prometheus reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ScrapeGroup {
    /// One `address:port`.
    #[serde(rename = "targets")]
    pub addresses: Vec<String>,
    /// `__meta_signpost_*`, for relabelling.
    pub labels: BTreeMap<String, String>,
}

/// Instances for Prometheus' `http_sd_config`: one entry for each TCP port of each instance, at its first address.
///
/// Labels: `__meta_signpost_service`, `_instance`, `_region`, `_az`, `_port` (its name), `_health`, `_drained`, `_tags` (`,a,b,`), and
/// `_meta_KEY` for each key of its metadata.
#[utoipa::path(
    get, path = "/v1/sd/prometheus", tag = "discovery",
    params(
        ("service" = Option<Label>, Query, description = "Only this service"),
        ("port" = Option<Label>, Query, description = "Only ports of this name"),
        ("healthy" = Option<bool>, Query, description = "Only instances that are healthy and not drained; `?healthy` is enough"),
    ),
    responses((status = 200, description = "The scrape groups", body = Vec<ScrapeGroup>)),
)]
pub async fn prometheus(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>, uri: Uri) -> Result<Response, Problem> {
    let parameters = Parameters::read(&uri, &["service", "port", "healthy"])?;
    let (service, port) = (parameters.label("service")?, parameters.label("port")?);
    let filter = Filter { healthy: parameters.flag("healthy")?, ..Filter::default() };
    let now = (api.clock)();
    let groups = {
        let registry = api.control.registry();
        let services = registry.services.iter().filter(|(name, _)| service.as_ref().is_none_or(|s| s == *name) && caller.sees_label(name));
        services.flat_map(|(name, entry)| groups(&registry, name, entry, &filter, port.as_ref(), now)).collect::<Vec<_>>()
    };
    Ok(reply::json(StatusCode::OK, &groups))
}

fn groups(
    registry: &Registry,
    name: &Label,
    service: &ServiceEntry,
    filter: &Filter,
    port: Option<&Label>,
    now: Timestamp,
) -> Vec<ScrapeGroup> {
    let mut groups = Vec::new();
    for (id, entry) in &service.instances {
        let drained = registry.is_out(&InstanceKey { service: name.clone(), id: id.clone() }, now);
        let Some(address) = entry.instance.addresses.first().filter(|_| filter.holds(entry, drained)) else { continue };
        let ports = if entry.instance.ports.is_empty() { &service.service.fields.ports } else { &entry.instance.ports };
        let wanted = ports.iter().filter(|(n, p)| p.protocol == Protocol::Tcp && port.is_none_or(|wanted| wanted == *n));
        groups.extend(wanted.map(|(port, number)| ScrapeGroup {
            addresses: vec![SocketAddr::new(address, number.number).to_string()],
            labels: labels(name, id, entry, port, drained),
        }));
    }
    groups
}

fn labels(service: &Label, id: &Label, entry: &InstanceEntry, port: &Label, drained: bool) -> BTreeMap<String, String> {
    let instance = &entry.instance;
    let tags: String = instance.tags.iter().flat_map(|tag| [tag.as_str(), ","]).collect();
    let fixed = [
        ("service", service.to_string()),
        ("instance", id.to_string()),
        ("region", instance.region.to_string()),
        ("az", instance.az.to_string()),
        ("port", port.to_string()),
        ("health", entry.vitals.health().to_string()),
        ("drained", drained.to_string()),
        // Commas around, so that a pattern need not care for first and last.
        ("tags", if tags.is_empty() { tags } else { format!(",{tags}") }),
    ];
    let meta = instance.meta.iter().map(|(key, value)| (format!("meta_{}", label_name(key)), value.clone()));
    fixed
        .into_iter()
        .map(|(key, value)| (key.to_string(), value))
        .chain(meta)
        .map(|(key, value)| (format!("__meta_signpost_{key}"), value))
        .collect()
}

/// A key as Prometheus allows it in a label's name.
fn label_name(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}
