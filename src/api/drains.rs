//! Drains: take a region, az, service or instance out of answers, at once or little by little, and lift that again.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use serde::Serialize;

use super::access::Caller;
use super::problem::Problem;
use super::request::Parameters;
use super::views::{DrainDocument, Written};
use super::{Shared, reply, request};
use crate::model::{Drain, DrainFields, Label, Period, Revision, Subject};
use crate::registry::{Command, Registry};

type Named = Result<RawPathParams, RawPathParamsRejection>;

/// The drains in force.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DrainList {
    /// The revision at which they were read.
    pub revision: Revision,
    /// By subject: regions, azs, services, instances.
    pub drains: Vec<DrainDocument>,
    /// The rules that drains are held to, and how it stands with them.
    pub safety: SafetyDocument,
}

/// `[safety]`, with the numbers of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SafetyDocument {
    /// Regions that must have a healthy instance left when a region is drained.
    pub min_regions: usize,
    /// Regions that have one now, beside every drain in force; where nothing is healthy, those with one that is not drained.
    pub regions_up: usize,
    /// Regions that are declared or in use.
    pub regions: usize,
    /// Percent of its weight that each service must keep in answers and healthy.
    pub min_healthy_weight: u8,
    /// Whether a region may be drained only while no other is.
    pub one_region_at_a_time: bool,
    /// Time between the end of one region's drain and the start of another's.
    pub wait: Period,
}

impl SafetyDocument {
    fn new(registry: &Registry, (regions_up, regions): (usize, usize)) -> SafetyDocument {
        let safety = registry.safety;
        SafetyDocument {
            min_regions: safety.min_regions,
            regions_up,
            regions,
            min_healthy_weight: safety.min_healthy_weight,
            one_region_at_a_time: safety.one_region_at_a_time,
            wait: safety.wait,
        }
    }
}

/// The drains in force, and the rules that drains are held to.
#[utoipa::path(get, path = "/v1/drains", tag = "drains", responses((status = 200, description = "The drains", body = DrainList)))]
pub async fn list(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let list = {
        let registry = api.control.registry();
        let seen = registry.drains.iter().filter(|(subject, _)| match subject {
            Subject::Service(service) => caller.sees_label(service),
            Subject::Instance(key) => caller.sees_label(&key.service),
            Subject::Region(_) | Subject::Az(_) => true,
        });
        let now = (api.clock)();
        DrainList {
            revision: registry.revision,
            drains: seen.map(|(subject, entry)| DrainDocument::new(subject, entry, now)).collect(),
            safety: SafetyDocument::new(&registry, registry.regions_up(now)),
        }
    };
    Ok(reply::revised(&list, list.revision))
}

/// Drain a region or a service, or replace the drain that is in force.
///
/// Drained instances are in no answer, whatever their health, until the drain is lifted or expires. With `ramp` the drain is announced
/// first: TTLs drop to their least, and once the longest TTL has passed clients move one after the other, each of them once. A drain
/// that replaces another carries on from its share. One that would leave too little is refused with 409 and the numbers, unless
/// `override` says why it is right all the same; what is drained already may always be drained again.
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
    steer(&api, &caller, subject.clone(), Command::Drain { subject, drain }).await
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
///
/// One with a ramp is lifted by its ramp, unless `ramp` says otherwise: clients move back in the reverse order, and then it is gone.
#[utoipa::path(
    delete, path = "/v1/drains/{kind}/{name}", tag = "drains",
    params(
        ("kind" = String, Path, description = "`region` or `service`"), ("name" = Label, Path, description = "Its name"),
        ("ramp" = Option<Period>, Query, description = "Within which time all clients would move back, 1s to 24h; `0s`: at once"),
    ),
    responses((status = 200, description = "Lifted, or on its way", body = Written)),
)]
pub async fn delete(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let subject = subject(named)?;
    refuse_preconditions(&headers)?;
    let parameters = Parameters::read(&uri, &["ramp"])?;
    let ramp = parameters.text("ramp").map(|text| text.parse().map_err(|error| Problem::parameter("ramp", format!("{error}"))));
    let ramp: Option<Period> = ramp.transpose()?;
    steer(&api, &caller, subject.clone(), Command::Undrain { subject, ramp }).await
}

/// Lift the drain of an az or an instance.
#[utoipa::path(
    delete, path = "/v1/drains/{kind}/{outer}/{name}", tag = "drains",
    params(
        ("kind" = String, Path, description = "`az` or `instance`"),
        ("outer" = Label, Path, description = "The az's region, or the instance's service"),
        ("name" = Label, Path, description = "The az, or the instance's id"),
        ("ramp" = Option<Period>, Query, description = "Within which time all clients would move back, 1s to 24h; `0s`: at once"),
    ),
    responses((status = 200, description = "Lifted, or on its way", body = Written)),
)]
pub async fn delete_inner(
    api: State<Arc<Shared>>,
    caller: Extension<Caller>,
    named: Named,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    delete(api, caller, named, headers, uri).await
}

/// Pause the drain of a region or a service: its share stands still, on its way out or back.
///
/// TTLs stay at their least, and it expires all the same.
#[utoipa::path(
    post, path = "/v1/drains/{kind}/{name}/pause", tag = "drains",
    params(("kind" = String, Path, description = "`region` or `service`"), ("name" = Label, Path, description = "Its name")),
    responses((status = 200, description = "It stands still", body = Written)),
)]
pub async fn pause(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>, named: Named) -> Result<Response, Problem> {
    let subject = subject(named)?;
    steer(&api, &caller, subject.clone(), Command::Pause { subject }).await
}

/// Pause the drain of an az or an instance: its share stands still, on its way out or back.
#[utoipa::path(
    post, path = "/v1/drains/{kind}/{outer}/{name}/pause", tag = "drains",
    params(
        ("kind" = String, Path, description = "`az` or `instance`"),
        ("outer" = Label, Path, description = "The az's region, or the instance's service"),
        ("name" = Label, Path, description = "The az, or the instance's id"),
    ),
    responses((status = 200, description = "It stands still", body = Written)),
)]
pub async fn pause_inner(api: State<Arc<Shared>>, caller: Extension<Caller>, named: Named) -> Result<Response, Problem> {
    pause(api, caller, named).await
}

/// Let the paused drain of a region or a service go on at the same rate.
#[utoipa::path(
    post, path = "/v1/drains/{kind}/{name}/resume", tag = "drains",
    params(("kind" = String, Path, description = "`region` or `service`"), ("name" = Label, Path, description = "Its name")),
    responses((status = 200, description = "It goes on", body = Written)),
)]
pub async fn resume(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>, named: Named) -> Result<Response, Problem> {
    let subject = subject(named)?;
    steer(&api, &caller, subject.clone(), Command::Resume { subject }).await
}

/// Let the paused drain of an az or an instance go on at the same rate.
#[utoipa::path(
    post, path = "/v1/drains/{kind}/{outer}/{name}/resume", tag = "drains",
    params(
        ("kind" = String, Path, description = "`az` or `instance`"),
        ("outer" = Label, Path, description = "The az's region, or the instance's service"),
        ("name" = Label, Path, description = "The az, or the instance's id"),
    ),
    responses((status = 200, description = "It goes on", body = Written)),
)]
pub async fn resume_inner(api: State<Arc<Shared>>, caller: Extension<Caller>, named: Named) -> Result<Response, Problem> {
    resume(api, caller, named).await
}

/// Carries out a command on a drain, and says how it stands with it.
async fn steer(api: &Shared, caller: &Caller, subject: Subject, command: Command) -> Result<Response, Problem> {
    let applied = api.control.apply(command, caller.author()).await?;
    let now = (api.clock)();
    let drain = DrainDocument::of(&api.control.registry(), &subject, now);
    Ok(reply::drained(&applied, drain.as_ref()))
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
