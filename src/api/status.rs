//! The server itself: what it is, how it is, and whether it is ready.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Problem, Unavailable};
use super::views::Tally;
use super::{RefusedFiles, Shared, reply};
use crate::model::{ForwardStats, Generation, InstanceKey, Label, Name, Revision, Timestamp};

/// The server's state.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct StatusDocument {
    /// The version of Signpost.
    pub version: &'static str,
    /// Since when it runs.
    pub started: Timestamp,
    /// For how many seconds it has run.
    pub uptime_seconds: u64,
    /// Whether zones and state are loaded.
    pub ready: bool,
    /// The number of the snapshot that queries see.
    pub generation: Generation,
    /// The newest revision of the store.
    pub revision: Revision,
    /// The region it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Label>,
    /// The az it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub az: Option<Label>,
    /// Whether its files are in force.
    pub files: FilesDocument,
    /// Apexes of the zones it answers for.
    pub zones: Vec<String>,
    /// How many services there are.
    pub services: usize,
    /// Their instances.
    pub instances: Tally,
    /// How many drains are in force.
    pub drains: usize,
    /// How names fare that are looked up elsewhere; none: nothing is forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<ForwardStats>,
    /// Where it listens.
    pub listen: Listen,
}

/// Configuration, zones and geo data, as last read.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FilesDocument {
    /// Whether they are served. If not, what was read before them is.
    pub in_force: bool,
    /// When they were read and refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Timestamp>,
    /// What is wrong with them, each with file and line; at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// Most findings that a status names; the log has them all.
const MOST_FINDINGS: usize = 20;

impl FilesDocument {
    fn new(refused: Option<&RefusedFiles>) -> FilesDocument {
        FilesDocument {
            in_force: refused.is_none(),
            refused: refused.map(|refused| refused.at),
            findings: refused.into_iter().flat_map(|refused| &refused.findings).take(MOST_FINDINGS).cloned().collect(),
        }
    }
}

/// The addresses it listens on.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Listen {
    /// DNS over UDP and TCP.
    #[schema(value_type = Vec<String>)]
    pub dns: Vec<SocketAddr>,
    /// This API.
    #[schema(value_type = String)]
    pub api: SocketAddr,
}

/// The server's version, state and addresses.
#[utoipa::path(get, path = "/v1/status", tag = "server", responses((status = 200, description = "The state", body = StatusDocument)))]
pub async fn get(State(api): State<Arc<Shared>>) -> Result<Response, Problem> {
    let (revision, services, instances, drains) = {
        let registry = api.control.registry();
        let now = (api.clock)();
        let mut instances = Tally::default();
        for (name, service) in &registry.services {
            for (id, entry) in &service.instances {
                let key = InstanceKey { service: name.clone(), id: id.clone() };
                instances.count(entry.vitals.health(), registry.is_out(&key, now));
            }
        }
        (registry.revision, registry.services.len(), instances, registry.drains.len())
    };
    let snapshot = api.control.publisher().load_full();
    let document = StatusDocument {
        version: api.version,
        started: api.started,
        uptime_seconds: (api.clock)().since(api.started).as_secs(),
        ready: *api.ready.borrow(),
        generation: snapshot.generation,
        revision,
        region: api.here.as_ref().map(|here| here.region.clone()),
        az: api.here.as_ref().map(|here| here.az.clone()),
        files: FilesDocument::new(api.refused.borrow().as_deref()),
        zones: snapshot.zones().map(|zone| Name::from_wire(zone.apex()).to_string()).collect(),
        services,
        instances,
        drains,
        forward: (api.forward)(),
        listen: Listen { dns: api.dns.clone(), api: api.address },
    };
    Ok(reply::json(StatusCode::OK, &document))
}

/// 200 for as long as the process can answer at all.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, description = "Alive", body = String, content_type = "text/plain")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// 200 once zones and state are loaded, 503 before that and while stopping.
#[utoipa::path(
    get, path = "/readyz", tag = "server",
    responses((status = 200, description = "Ready", body = String, content_type = "text/plain"), (status = 503, description = "Not ready")),
)]
pub async fn readyz(State(api): State<Arc<Shared>>) -> Result<&'static str, Problem> {
    match (*api.stopping.borrow(), *api.ready.borrow()) {
        (true, _) => Err(Problem::unavailable(Unavailable::Stopping, "the server is stopping")),
        (false, false) => Err(Problem::unavailable(Unavailable::Starting, "zones and state are not loaded yet")),
        (false, true) => Ok("ok\n"),
    }
}

/// Metrics in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "server",
    responses((status = 200, description = "Metrics", body = String, content_type = "application/openmetrics-text")),
)]
pub async fn metrics(State(api): State<Arc<Shared>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (api.metrics)()).into_response()
}
