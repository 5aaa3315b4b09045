//! Simulation: who would be served where without a region, an az, a service or an instance. Nothing changes.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::access::{Caller, Scope};
use super::problem::{Problem, Unavailable};
use super::{Shared, reply, request};
use crate::control::Loss;
use crate::model::{FieldError, Generation, Label, Name, Right, Subject};
use crate::simulate::{DecidedName, Population, Report};
use crate::snapshot::Snapshot;

/// Most things that are lost at once.
const MAX_LOST: usize = 16;
/// Most client prefixes that are listed.
const MAX_CLIENTS: usize = 1_000;

/// What is asked of `POST /v1/simulate`.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulationFields {
    /// What is lost, all of it at once: `region/eu-west`, `az/eu-west/eu-west-1a`, `service/web` or `instance/web/eu1`; 1–16.
    #[schema(value_type = Vec<String>)]
    pub lose: Vec<Subject>,
    /// The names that are looked at, such as `web.svc.example`; without it, every service and every name with a policy that the caller
    /// may see.
    #[serde(default)]
    pub names: Option<Vec<String>>,
    /// The clients: exactly these prefixes, each told by itself, decided as its first address; 1–1,000. Without it, the prefixes that were
    /// seen to ask this server, or, where nobody was, those whose place is known.
    #[serde(default)]
    pub clients: Option<Vec<String>>,
}

/// Each region lost by itself.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LossList {
    /// The number of the snapshot that was taken as the world as it is.
    pub generation: Generation,
    /// By region.
    pub losses: Vec<LossDocument>,
}

/// What becomes of clients when a region is lost.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LossDocument {
    /// The region: `region/eu-west`.
    pub lost: String,
    /// Clients that are served somewhere else, as a part of all, 0–1: the mean over all names.
    pub moved: f64,
    /// Names left without an answer, names of which nothing healthy is left, and capacities exceeded.
    pub warnings: Vec<String>,
}

/// N-1: each region that is declared or used, lost by itself, and what to be warned of then.
#[utoipa::path(get, path = "/v1/simulate", tag = "simulate", responses((status = 200, description = "The losses", body = LossList)))]
pub async fn list(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let document = apart(&api, move |api| {
        let losses = api.control.losses(false)?;
        let names = seen(&caller, losses.before());
        let population = losses.thinned(asking(api, losses.before()), names.len());
        let document = |loss: &Loss| {
            let report = loss.simulate(&population, &names, false);
            LossDocument { lost: report.lost.join(" and "), moved: report.total.moved, warnings: report.warnings() }
        };
        Ok(LossList { generation: losses.generation, losses: losses.regions.iter().map(document).collect() })
    });
    Ok(reply::json(StatusCode::OK, &document.await?))
}

/// Who would be served where without something: how many clients of each name move, from where to where, how much farther, and what is asked
/// of more than it can serve.
///
/// The very function that answers DNS queries decides here, in the world as it is and in the one without. Nothing changes.
#[utoipa::path(
    post, path = "/v1/simulate", tag = "simulate",
    request_body = SimulationFields,
    responses((status = 200, description = "The comparison", body = Report)),
)]
pub async fn compare(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>, body: Bytes) -> Result<Response, Problem> {
    let SimulationFields { lose, names, clients } = request::body(&body)?;
    bounded("lose", lose.len(), MAX_LOST)?;
    // Whether there is such a service is none of a stranger's business.
    lose.iter().filter_map(service_of).try_for_each(|service| allow(&caller, service.as_str()))?;
    {
        let registry = api.control.registry();
        let unknown = |(n, subject): (usize, &Subject)| (!registry.knows(subject)).then(|| (n, subject.to_string()));
        if let Some((n, subject)) = lose.iter().enumerate().find_map(unknown) {
            return Err(field(format!("lose[{n}]"), format!("something that is declared or used; there is no {subject}")));
        }
    }
    let clients = clients.map(|clients| nets(&clients)).transpose()?;
    let report = apart(&api, move |api| {
        let loss = api.control.without(&lose)?;
        let names = match names {
            None => seen(&caller, loss.before()),
            Some(names) => named(&names, &caller, loss.before())?,
        };
        let listed = clients.is_some();
        let population = clients.map_or_else(|| asking(api, loss.before()), Population::of);
        Ok(loss.simulate(&population, &names, listed))
    });
    Ok(reply::json(StatusCode::OK, &report.await?))
}

/// Works on a thread that may take its time, few at once: one simulation can keep a core busy for seconds.
async fn apart<T: Send + 'static>(
    api: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let stopping = || Problem::unavailable(Unavailable::Stopping, "the server is stopping");
    let place = api.place_to_wait()?;
    let turn = api.simulations.clone().acquire_owned().await.map_err(|_| stopping())?;
    let api = api.clone();
    // The turn is over when the work is, also where nobody waits for it any more.
    let work = tokio::task::spawn_blocking(move || {
        let _held = (place, turn);
        work(&api)
    });
    work.await.unwrap_or_else(|_| Err(Problem::internal("the simulation could not be finished; the log says why")))
}

/// The clients that were seen to ask.
fn asking(api: &Shared, world: &Snapshot) -> Population {
    Population::observed((api.clients)().into_iter(), &world.origins)
}

/// The names that the caller may see.
fn seen(caller: &Caller, world: &Snapshot) -> Vec<DecidedName> {
    let mut names = DecidedName::all(world);
    names.retain(|name| name.services(world).into_iter().all(|service| caller.sees(service)));
    names
}

/// The names of a request; one that the caller may not see is refused as explain refuses it.
fn named(names: &[String], caller: &Caller, world: &Snapshot) -> Result<Vec<DecidedName>, Problem> {
    let all = DecidedName::all(world);
    bounded("names", names.len(), all.len().max(1))?;
    let find = |(n, text): (usize, &String)| {
        let wrong = |expected: String| field(format!("names[{n}]"), expected);
        let name = Name::parse(text).map_err(|error| wrong(error.to_string()))?.to_string();
        let unknown = || wrong(format!("a service under its zone, or a name with a policy; {name} is neither"));
        let found = all.iter().find(|decided| decided.name == name).ok_or_else(unknown)?;
        found.services(world).into_iter().try_for_each(|service| allow(caller, service))?;
        Ok(found.clone())
    };
    names.iter().enumerate().map(find).collect()
}

/// The client prefixes of a request; an address stands for itself.
fn nets(clients: &[String]) -> Result<Vec<IpNet>, Problem> {
    bounded("clients", clients.len(), MAX_CLIENTS)?;
    let read = |(n, text): (usize, &String)| {
        let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        let wrong = |_| field(format!("clients[{n}]"), format!("a prefix such as 10.1.0.0/16 or 2001:db8::/48, not {text:?}"));
        address.or_else(|_| text.parse::<IpNet>()).map_err(wrong)
    };
    clients.iter().enumerate().map(read).collect()
}

fn bounded(name: &str, count: usize, most: usize) -> Result<(), Problem> {
    match (1..=most).contains(&count) {
        true => Ok(()),
        false => Err(field(name.into(), format!("1 to {most} of them, not {count}"))),
    }
}

fn field(name: String, expected: String) -> Problem {
    Problem::field(FieldError::new(name, expected))
}

/// What a simulation says of a service tells its health, as reading it does.
fn allow(caller: &Caller, service: &str) -> Result<(), Problem> {
    caller.may(Right::Read, &Scope::Service(service.to_string()))
}

/// The service that a loss is about; `None`: a region or an az.
fn service_of(subject: &Subject) -> Option<&Label> {
    match subject {
        Subject::Service(service) => Some(service),
        Subject::Instance(key) => Some(&key.service),
        Subject::Region(_) | Subject::Az(_) => None,
    }
}
