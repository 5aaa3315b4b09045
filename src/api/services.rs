//! Services: the list, one with its instances, its settings; and reads that wait for a change.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::access::Caller;
use super::problem::Problem;
use super::request::Parameters;
use super::views::{ServiceDocument, ServiceLine, ServiceList, Written};
use super::{Shared, reply, request};
use crate::model::{Health, Label, Period, Revision, Service, ServiceFields};
use crate::registry::{Command, InstanceEntry, Refusal, Registry};

type Named = Result<Path<String>, PathRejection>;

const FILTERS: [&str; 5] = ["healthy", "region", "tag", "after", "wait"];

/// The services, with counts of their instances.
///
/// Filters count only the instances that match, and leave out services without any.
#[utoipa::path(
    get, path = "/v1/services", tag = "services",
    params(
        ("healthy" = Option<bool>, Query, description = "Only instances that are healthy and not drained; `?healthy` is enough"),
        ("region" = Option<Label>, Query, description = "Only instances in this region"),
        ("tag" = Option<Label>, Query, description = "Only instances that bear this tag"),
        ("after" = Option<u64>, Query, description = "Wait until anything has changed after this revision"),
        ("wait" = Option<Period>, Query, description = "How long to wait, at most 5m; default 30s"),
    ),
    responses((status = 200, description = "The services; X-Signpost-Revision holds the revision", body = ServiceList)),
)]
pub async fn list(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>, uri: Uri) -> Result<Response, Problem> {
    let parameters = Parameters::read(&uri, &FILTERS)?;
    let filter = Filter::read(&parameters)?;
    if let Some((after, wait)) = parameters.waiting()? {
        wait_until_changed(&api, after, wait, |registry| Some(registry.revision)).await?;
    }
    let list = {
        let registry = api.control.registry();
        let seen = registry.services.iter().filter(|(name, _)| caller.sees_label(name));
        let now = (api.clock)();
        let lines = seen.map(|(name, entry)| ServiceLine::new(&registry, name, entry, |i, drained| filter.holds(i, drained), now));
        ServiceList { revision: registry.revision, services: lines.filter(|line| filter.is_open() || line.instances > 0).collect() }
    };
    Ok(reply::revised(&list, list.revision))
}

/// One service: its settings and its instances.
#[utoipa::path(
    get, path = "/v1/services/{service}", tag = "services",
    params(
        ("service" = Label, Path, description = "The service"),
        ("healthy" = Option<bool>, Query, description = "Only instances that are healthy and not drained; `?healthy` is enough"),
        ("region" = Option<Label>, Query, description = "Only instances in this region"),
        ("tag" = Option<Label>, Query, description = "Only instances that bear this tag"),
        ("after" = Option<u64>, Query, description = "Wait until the service has changed after this revision"),
        ("wait" = Option<Period>, Query, description = "How long to wait, at most 5m; default 30s"),
    ),
    responses((status = 200, description = "The service; its ETag is the revision of its settings, X-Signpost-Revision what to give as `after`", body = ServiceDocument)),
)]
pub async fn get(State(api): State<Arc<Shared>>, named: Named, uri: Uri) -> Result<Response, Problem> {
    let name = request::service(named)?;
    let parameters = Parameters::read(&uri, &FILTERS)?;
    let filter = Filter::read(&parameters)?;
    if let Some((after, wait)) = parameters.waiting()? {
        wait_until_changed(&api, after, wait, |registry| registry.services.get(&name).map(|entry| entry.changed)).await?;
    }
    let document = {
        let registry = api.control.registry();
        let entry = registry.services.get(&name).ok_or_else(|| Refusal::UnknownService(name.clone()))?;
        ServiceDocument::new(&registry, &name, entry, |i, drained| filter.holds(i, drained), (api.clock)())
    };
    Ok(reply::tagged(reply::revised(&document, document.revision), document.written))
}

/// Set a service's policy, ports, checks and limits. What is left out takes its default; instances stay.
#[utoipa::path(
    put, path = "/v1/services/{service}", tag = "services",
    params(("service" = Label, Path, description = "The service")),
    request_body = ServiceFields,
    responses((status = 201, description = "Made", body = Written), (status = 200, description = "Replaced", body = Written)),
)]
pub async fn put(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let name = request::service(named)?;
    let fields: ServiceFields = request::body(&body)?;
    let service = Service::from_fields(fields, &api.records).map_err(Problem::field)?;
    let precondition = request::precondition(&headers, revision(&api, &name))?;
    let applied = api.control.apply(Command::PutService { name, service: Arc::new(service), precondition }, caller.author()).await?;
    Ok(reply::written(&applied, None, true))
}

/// Remove a service and its registered instances.
#[utoipa::path(
    delete, path = "/v1/services/{service}", tag = "services",
    params(("service" = Label, Path, description = "The service")),
    responses((status = 200, description = "Removed", body = Written)),
)]
pub async fn delete(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    named: Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = request::service(named)?;
    let precondition = request::precondition(&headers, revision(&api, &name))?;
    let applied = api.control.apply(Command::DeleteService { name, precondition }, caller.author()).await?;
    Ok(reply::written(&applied, None, false))
}

fn revision(api: &Shared, name: &Label) -> Option<Revision> {
    api.control.registry().services.get(name).map(|entry| entry.revision)
}

/// Waits until `changed` gives a revision after `after`, or nothing any more, or `wait` is over, or the server stops.
///
/// A revision from the future is one of another store, which was lost or replaced: there is nothing to wait for.
async fn wait_until_changed(
    api: &Shared,
    after: Revision,
    wait: Duration,
    changed: impl Fn(&Registry) -> Option<Revision>,
) -> Result<(), Problem> {
    let _place = api.place_to_wait()?;
    let mut revisions = api.control.revisions();
    let mut stopping = api.stopping.clone();
    let over = tokio::time::sleep(wait);
    tokio::pin!(over);
    loop {
        revisions.mark_unchanged();
        {
            let registry = api.control.registry();
            let news = changed(&registry).is_none_or(|revision| revision > after);
            if news || after > registry.revision {
                return Ok(());
            }
        }
        tokio::select! {
            () = &mut over => return Ok(()),
            told = revisions.changed() => if told.is_err() { return Ok(()) },
            () = super::stopped(&mut stopping) => return Ok(()),
        }
    }
}

/// Which instances are wanted.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub healthy: bool,
    pub region: Option<Label>,
    pub tag: Option<Label>,
}

impl Filter {
    fn read(parameters: &Parameters) -> Result<Filter, Problem> {
        Ok(Filter { healthy: parameters.flag("healthy")?, region: parameters.label("region")?, tag: parameters.label("tag")? })
    }

    /// Whether every instance is wanted.
    fn is_open(&self) -> bool {
        !self.healthy && self.region.is_none() && self.tag.is_none()
    }

    /// Whether an instance is wanted; `drained`: whether anything keeps it out of answers.
    pub fn holds(&self, entry: &InstanceEntry, drained: bool) -> bool {
        let available = entry.vitals.health() == Health::Healthy && !drained;
        (available || !self.healthy)
            && self.region.as_ref().is_none_or(|region| *region == entry.instance.region)
            && self.tag.as_ref().is_none_or(|tag| entry.instance.tags.contains(tag))
    }
}
