//! Drains: take a region, az, service or instance out of answers, and lift that again.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Serialize;

use super::access::Caller;
use super::problem::Problem;
use super::views::{DrainDocument, Written};
use super::{Shared, reply, request};
use crate::model::{Drain, DrainFields, Label, Revision, Subject};
use crate::registry::Command;

type Named = Result<RawPathParams, RawPathParamsRejection>;

/// The drains in force.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DrainList {
    /// The revision at which they were read.
    pub revision: Revision,
    /// By subject: regions, azs, services, instances.
    pub drains: Vec<DrainDocument>,
}

/// The drains in force.
#[utoipa::path(get, path = "/v1/drains", tag = "drains", responses((status = 200, description = "The drains", body = DrainList)))]
pub async fn list(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let list = {
        let registry = api.control.registry();
        let seen = registry.drains.iter().filter(|(subject, _)| match subject {
            Subject::Service(service) => caller.sees_label(service),
            Subject::Instance(key) => caller.sees_label(&key.service),
            Subject::Region(_) | Subject::Az(_) => true,
        });
        DrainList { revision: registry.revision, drains: seen.map(|(subject, entry)| DrainDocument::new(subject, entry)).collect() }
    };
    Ok(reply::revised(&list, list.revision))
}

/// Drain a region or a service, or replace the drain that is in force.
///
/// Drained instances are in no answer, whatever their health, until the drain is lifted or expires.
#[utoipa::path(
    put, path = "/v1/drains/{kind}/{name}", tag = "drains",
    params(("kind" = String, Path, description = "`region` or `service`"), ("name" = Label, Path, description = "Its name")),
    request_body = DrainFields,
    responses((status = 201, description = "Drained", body = Written), (status = 200, description = "The drain was replaced", body = Written)),
)]
pub async fn put(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let subject = subject(named)?;
    refuse_preconditions(&headers)?;
    let fields: DrainFields = request::body(&body)?;
    let drain = Drain::start(fields, caller.author(), (api.clock)()).map_err(Problem::field)?;
    let expires = drain.expires;
    let applied = api.control.apply(Command::Drain { subject, drain }, caller.author()).await?;
    Ok(reply::written(&applied, Some(expires), false))
}

/// Drain an az (`az/REGION/AZ`) or an instance (`instance/SERVICE/ID`), or replace the drain that is in force.
#[utoipa::path(
    put, path = "/v1/drains/{kind}/{outer}/{name}", tag = "drains",
    params(
        ("kind" = String, Path, description = "`az` or `instance`"),
        ("outer" = Label, Path, description = "The az's region, or the instance's service"),
        ("name" = Label, Path, description = "The az, or the instance's id"),
    ),
    request_body = DrainFields,
    responses((status = 201, description = "Drained", body = Written), (status = 200, description = "The drain was replaced", body = Written)),
)]
pub async fn put_inner(
    api: State<Arc<Shared>>,
    caller: Extension<Caller>,
    named: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    put(api, caller, named, headers, body).await
}

/// Lift the drain of a region or a service.
#[utoipa::path(
    delete, path = "/v1/drains/{kind}/{name}", tag = "drains",
    params(("kind" = String, Path, description = "`region` or `service`"), ("name" = Label, Path, description = "Its name")),
    responses((status = 200, description = "Lifted", body = Written)),
)]
pub async fn delete(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let subject = subject(named)?;
    refuse_preconditions(&headers)?;
    let applied = api.control.apply(Command::Undrain { subject }, caller.author()).await?;
    Ok(reply::written(&applied, None, false))
}

/// Lift the drain of an az or an instance.
#[utoipa::path(
    delete, path = "/v1/drains/{kind}/{outer}/{name}", tag = "drains",
    params(
        ("kind" = String, Path, description = "`az` or `instance`"),
        ("outer" = Label, Path, description = "The az's region, or the instance's service"),
        ("name" = Label, Path, description = "The az, or the instance's id"),
    ),
    responses((status = 200, description = "Lifted", body = Written)),
)]
pub async fn delete_inner(
    api: State<Arc<Shared>>,
    caller: Extension<Caller>,
    named: Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    delete(api, caller, named, headers).await
}

/// The subject that a path names: `KIND/NAME` or `KIND/OUTER/NAME`.
fn subject(named: Named) -> Result<Subject, Problem> {
    let params = named.map_err(|error| Problem::parameter("subject", error.body_text()))?;
    let parts: Vec<&str> = params.iter().map(|(_, value)| value).collect();
    Subject::parse(&parts.join("/")).map_err(Problem::field)
}

/// A drain is replaced or lifted as it is: a condition that is not checked must not be taken as if it held.
fn refuse_preconditions(headers: &HeaderMap) -> Result<(), Problem> {
    match [header::IF_MATCH, header::IF_NONE_MATCH].into_iter().find(|name| headers.contains_key(name)) {
        Some(name) => Err(Problem::parameter(name.as_str(), "drains take no preconditions")),
        None => Ok(()),
    }
}
