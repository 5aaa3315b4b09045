//! What updates over DNS changed of zones (RFC 2136): listed, and dropped.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::access::Caller;
use super::problem::Problem;
use super::views::Written;
use super::{Shared, reply};
use crate::codec::present;
use crate::model::{Name, Revision, SecondaryState, Timestamp};
use crate::registry::{Command, OverlaySet, Registry, UpdateRefusal, type_text};

/// What updates changed of a zone.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct UpdateList {
    /// The revision at which they were read.
    pub revision: Revision,
    /// The apex.
    #[schema(value_type = String)]
    pub zone: String,
    /// Whether the zone is served; else what was changed of it waits for its file to come back.
    pub served: bool,
    /// The serial as it is answered: the file's and the number of changes.
    pub serial: u32,
    /// How many changes there were.
    pub changes: u32,
    /// RRsets that are otherwise than in the zone's file.
    pub updates: Vec<UpdateDocument>,
}

/// An RRset that is otherwise than in the zone's file.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct UpdateDocument {
    /// The owner.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Seconds; none where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// Its records; none where it is gone.
    pub records: Vec<String>,
    /// The key that it was changed with.
    pub key: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Whether the file says something else than it did then.
    pub file_changed: bool,
    /// Whether it is answered; where it does not go with what the file says now, the file's is.
    pub answered: bool,
}

impl UpdateList {
    fn new(registry: &Registry, apex: &Name) -> Result<UpdateList, Problem> {
        let zone = registry.zone(apex).map(|(zone, _)| zone);
        let overlay = registry.overlays.get(apex);
        if zone.is_none() && overlay.is_none() {
            return Err(crate::registry::Refusal::from(UpdateRefusal::NotAuth(apex.clone())).into());
        }
        let changes = overlay.map_or(0, |overlay| overlay.changes);
        let document = |(key, set): (&(Name, u16), &OverlaySet)| UpdateDocument {
            name: key.0.to_string(),
            rtype: type_text(key.1),
            ttl: set.set.as_ref().map(|set| set.ttl),
            records: set.set.iter().flat_map(|set| &set.rdata).map(|data| present(key.1, data)).collect(),
            key: set.author.to_string(),
            at: set.at,
            file_changed: registry.is_stale(apex, key),
            answered: set.fits && zone.is_some(),
        };
        Ok(UpdateList {
            revision: registry.revision,
            zone: apex.to_string(),
            served: zone.is_some(),
            serial: zone.map_or(0, |zone| zone.soa.serial).wrapping_add(changes),
            changes,
            updates: overlay.into_iter().flat_map(|overlay| &overlay.sets).map(document).collect(),
        })
    }
}

/// What updates over DNS changed of a zone, beside its file.
#[utoipa::path(
    get, path = "/v1/zones/{zone}/updates", tag = "zones",
    params(("zone" = String, Path, description = "The apex, such as `example.com`")),
    responses((status = 200, description = "RRsets that are otherwise than in the file", body = UpdateList)),
)]
pub async fn list(State(api): State<Arc<Shared>>, zone: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let apex = apex(zone)?;
    let list = UpdateList::new(&api.control.registry(), &apex)?;
    Ok(reply::revised(&list, list.revision))
}

/// Drop all that updates changed of a zone: it is as its file says, with a later serial.
#[utoipa::path(
    delete, path = "/v1/zones/{zone}/updates", tag = "zones",
    params(("zone" = String, Path, description = "The apex, such as `example.com`")),
    responses((status = 200, description = "The zone is as its file says", body = Written)),
)]
pub async fn delete(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    zone: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let command = Command::DropUpdates { apex: apex(zone)?, author: caller.author().into() };
    let applied = api.control.apply(command, caller.author()).await?;
    Ok(reply::written(&applied, None, false))
}

/// Zones that are copied from other servers.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SecondaryList {
    /// By name.
    pub secondaries: Vec<SecondaryState>,
}

/// Zones that are copied from other servers: their serials, when they are looked at again, and why they are not current.
#[utoipa::path(
    get, path = "/v1/secondaries", tag = "zones",
    responses((status = 200, description = "The zones", body = SecondaryList)),
)]
pub async fn secondaries(State(api): State<Arc<Shared>>) -> Response {
    reply::json(StatusCode::OK, &SecondaryList { secondaries: (api.secondaries)() })
}

/// A zone that a path names.
fn apex(zone: Result<Path<String>, PathRejection>) -> Result<Name, Problem> {
    let Path(text) = zone.map_err(|error| Problem::parameter("zone", error.body_text()))?;
    Name::parse(&text).map_err(|error| Problem::parameter("zone", error.to_string()))
}
