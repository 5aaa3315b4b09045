//! Drills: what is defined and what was run, to begin one, to read its report, and to end it early.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::access::{Caller, Scope};
use super::problem::Problem;
use super::{Shared, reply, request};
use crate::model::{DrillFields, DrillList, DrillOrder, DrillRefusal, DrillReport, DrillRun, Label, Right};

/// Those who carry out drills.
pub trait DrillDesk: Send + Sync {
    /// What is defined, and what was run.
    fn list(&self) -> DrillList;
    /// The report of a run, as far as it has come.
    fn report(&self, run: &str) -> Option<Arc<DrillReport>>;
    /// A report as Markdown.
    fn page(&self, report: &DrillReport) -> String;
    /// Begins a drill; done when its drain is in force.
    fn begin(&self, order: DrillOrder, author: String) -> BoxFuture<'_, Result<DrillRun, DrillRefusal>>;
    /// Ends the drill under way early.
    fn abort(&self, run: String, author: String) -> BoxFuture<'_, Result<DrillRun, DrillRefusal>>;
}

/// The name of a drill of the configuration, in a body of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: Label,
}

/// The drills: those of the configuration with their next times, and the latest runs.
#[utoipa::path(get, path = "/v1/drills", tag = "drills", responses((status = 200, description = "The drills", body = DrillList)))]
pub async fn list(State(api): State<Arc<Shared>>) -> Response {
    reply::json(StatusCode::OK, &api.drills.list())
}

/// Begin a drill: one of the configuration by its name, or one that is described here.
///
/// Answered once its drain is in force and clients begin to move, or with the reason why it did not begin. One drill at a time. Only the
/// right `admin` may name a metric in a drill that is described here: this server will ask its URL.
#[utoipa::path(
    post, path = "/v1/drills", tag = "drills",
    request_body = DrillOrder,
    responses((status = 201, description = "It has begun", body = DrillRun, headers(("Location" = String, description = "Its report")))),
)]
pub async fn begin(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>, body: Bytes) -> Result<Response, Problem> {
    let order = order(&body)?;
    if let DrillOrder::Described(drill) = &order {
        drill.validate().map_err(Problem::field)?;
        if drill.abort.metric.is_some() {
            caller.may(Right::Admin, &Scope::Everything)?;
        }
    }
    let run = api.drills.begin(order, caller.author().to_string()).await?;
    let mut response = reply::json(StatusCode::CREATED, &run);
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/drills/{}", run.run)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The report of a run, also of one under way: JSON, or Markdown for those who accept `text/markdown`.
#[utoipa::path(
    get, path = "/v1/drills/{run}", tag = "drills",
    params(("run" = String, Path, description = "The run, as `GET /v1/drills` names it")),
    responses((status = 200, description = "The report", content((DrillReport = "application/json"), (String = "text/markdown")))),
)]
pub async fn get(
    State(api): State<Arc<Shared>>,
    run: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let run = named(run)?;
    let report = api.drills.report(&run).ok_or(DrillRefusal::UnknownRun(run))?;
    if !wants_markdown(&headers) {
        return Ok(reply::json(StatusCode::OK, &*report));
    }
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], api.drills.page(&report)).into_response())
}

/// End the drill under way early: clients are led back from now on, and its report says who stopped it.
#[utoipa::path(
    delete, path = "/v1/drills/{run}", tag = "drills",
    params(("run" = String, Path, description = "The run, as `GET /v1/drills` names it")),
    responses((status = 202, description = "Clients are being led back", body = DrillRun)),
)]
pub async fn delete(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    run: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let run = api.drills.abort(named(run)?, caller.author().to_string()).await?;
    Ok(reply::json(StatusCode::ACCEPTED, &run))
}

fn named(run: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    run.map(|Path(run)| run).map_err(|error| Problem::parameter("run", error.body_text()))
}

/// Reads an order: with `name` it is one of the configuration. Each kind has its own fields, so that a wrong one is blamed by name.
fn order(bytes: &[u8]) -> Result<DrillOrder, Problem> {
    let is_named = serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|body| body.get("name").is_some());
    match is_named {
        true => request::body::<Named>(bytes).map(|Named { name }| DrillOrder::Named { name }),
        false => {
            let drill: DrillFields = request::body(bytes)?;
            match drill.schedule {
                Some(_) => Err(Problem::parameter("schedule", "drills begin by themselves only from the configuration, as [drills.NAME]")),
                None => Ok(DrillOrder::Described(drill)),
            }
        }
    }
}

/// Whether Markdown is accepted, and not JSON as well before it (RFC 9110 §12.5.1; weights are not looked at).
fn wants_markdown(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let first = accepted.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    first.into_iter().find(|kind| matches!(kind.as_str(), "text/markdown" | "application/json")).is_some_and(|kind| kind == "text/markdown")
}
