//! Instances: register, look, deregister, beat, push a status.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::access::Caller;
use super::problem::Problem;
use super::views::{InstanceDocument, Written};
use super::{Shared, reply, request};
use crate::model::{FieldError, Instance, InstanceKey, Label, Pushed, Revision};
use crate::registry::{Command, Refusal};

type Named = Result<Path<(String, String)>, PathRejection>;

/// Register an instance, or replace it.
///
/// When this answers 201 or 200, the registration is durable and in the answers of every worker. `If-None-Match: *` registers only what is
/// not there yet, `If-Match: "REVISION"` replaces only what was last written at that revision.
#[utoipa::path(
    put, path = "/v1/services/{service}/instances/{id}", tag = "instances",
    params(("service" = Label, Path, description = "The service; made where it is new"), ("id" = Label, Path, description = "The instance's id within it")),
    request_body = Instance,
    responses((status = 201, description = "Registered", body = Written), (status = 200, description = "Replaced", body = Written)),
)]
pub async fn put(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let key = request::instance(named)?;
    let instance: Instance = request::body(&body)?;
    instance.validate().map_err(Problem::field)?;
    let precondition = request::precondition(&headers, revision(&api, &key))?;
    let applied = api.control.apply(Command::PutInstance { key, instance: Arc::new(instance), precondition }, caller.author()).await?;
    Ok(reply::written(&applied, None, true))
}

/// One instance: as registered, with its health, why it has it, and what keeps it out of answers.
#[utoipa::path(
    get, path = "/v1/services/{service}/instances/{id}", tag = "instances",
    params(("service" = Label, Path, description = "The service"), ("id" = Label, Path, description = "The instance's id")),
    responses((status = 200, description = "The instance; its ETag is the revision of its last write", body = InstanceDocument)),
)]
pub async fn get(State(api): State<Arc<Shared>>, named: Named) -> Result<Response, Problem> {
    let key = request::instance(named)?;
    let document = {
        let registry = api.control.registry();
        let entry = registry.instance(&key).ok_or_else(|| Refusal::UnknownInstance(key.clone()))?;
        InstanceDocument::new(&registry, key.clone(), entry, (api.clock)())
    };
    Ok(reply::tagged(reply::json(StatusCode::OK, &document), document.revision))
}

/// Deregister an instance.
#[utoipa::path(
    delete, path = "/v1/services/{service}/instances/{id}", tag = "instances",
    params(("service" = Label, Path, description = "The service"), ("id" = Label, Path, description = "The instance's id")),
    responses((status = 200, description = "Deregistered: durable, and out of every answer", body = Written)),
)]
pub async fn delete(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = request::instance(named)?;
    let precondition = request::precondition(&headers, revision(&api, &key))?;
    let applied = api.control.apply(Command::DeleteInstance { key, precondition }, caller.author()).await?;
    Ok(reply::written(&applied, None, false))
}

/// Renew an instance's heartbeat.
///
/// An instance registered with `heartbeat` is Unhealthy when that much time passes without one. Registering counts as the first.
#[utoipa::path(
    put, path = "/v1/services/{service}/instances/{id}/heartbeat", tag = "instances",
    params(("service" = Label, Path, description = "The service"), ("id" = Label, Path, description = "The instance's id")),
    responses((status = 204, description = "Renewed")),
)]
pub async fn beat(State(api): State<Arc<Shared>>, named: Named) -> Result<Response, Problem> {
    api.control.beat(&request::instance(named)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Push an instance's status: `critical` takes it out of answers, `passing` and `warning` do not.
#[utoipa::path(
    put, path = "/v1/services/{service}/instances/{id}/status", tag = "instances",
    params(("service" = Label, Path, description = "The service"), ("id" = Label, Path, description = "The instance's id")),
    request_body = Pushed,
    responses((status = 200, description = "Taken", body = Written)),
)]
pub async fn push(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    body: Bytes,
) -> Result<Response, Problem> {
    let key = request::instance(named)?;
    let pushed: Pushed = request::body(&body)?;
    if pushed.note.len() > MAX_NOTE {
        return Err(Problem::field(FieldError::new("note", format!("at most {MAX_NOTE} octets, not {}", pushed.note.len()))));
    }
    let applied = api.control.apply(Command::Push { key, pushed }, caller.author()).await?;
    Ok(reply::written(&applied, None, false))
}

/// Most octets of a pushed note.
const MAX_NOTE: usize = 1000;

fn revision(api: &Shared, key: &InstanceKey) -> Option<Revision> {
    api.control.registry().instance(key).map(|entry| entry.revision)
}
