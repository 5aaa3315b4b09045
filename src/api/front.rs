//! What stands before every handler: guards, rights, the audit log, and a line in log and metrics for each request.
//!
//! ```text
//!   request → guard → authenticate → may? ─┬─ reads ──────────────────────────────────────────────▶ handler → reply
//!                                          ├─ heartbeats → body within its limit ───────────────────▶ handler → reply (audited: only what was not allowed)
//!                                          ├─ questions with a body → body within its limit ────────▶ handler → reply
//!                                          └─ writes → audit ready? → body within its limit → handler → audit line → reply
//! ```
//!
//! A write runs in a task of its own: a client that hangs up cannot stop it between the change and its audit line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::RequestExt;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::access::{Caller, Scope};
use super::audit::{self, Entry};
use super::problem::{Detail, Problem, Unavailable};
use super::reply::Made;
use super::routes::{self, Need, Route};
use super::{Answered, Shared, heartbeats, keys, measurements, request};

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Takes every request.
pub async fn front(State(api): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let route = request.extensions().get::<MatchedPath>().and_then(|matched| routes::find(&method, matched.as_str()));
    let mut response = if method.is_safe() {
        match admit(&api, &mut request, route).await {
            Ok(_) => next.run(request).await,
            Err(refused) => refused.problem.into_response(),
        }
    } else if route.is_some_and(|route| matches!(route.need, Need::Asked(_))) {
        ask(&api, request, route, next).await
    } else if let Some(route) = route.filter(|route| route.is_beat()) {
        beat(&api, request, route, next).await
    } else {
        write_apart(&api, request, route, next).await
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let (status, took) = (response.status().as_u16(), started.elapsed());
    tracing::debug!(%method, path, status, ?took, "request");
    // What is not in the table shares one label: a client must not be able to make new series.
    let (method, route) = route.map_or(("other", "none"), |route| (route.method, route.path));
    (api.answered)(&Answered { method, route, status, took });
    response
}

/// A request that is not let in, and who sent it, where that is known.
struct Refused {
    problem: Problem,
    caller: Option<Caller>,
}

/// Lets a request in, with its caller among its extensions, or says why not.
async fn admit(api: &Shared, request: &mut Request, route: Option<&Route>) -> Result<Caller, Refused> {
    let stranger = |problem| Refused { problem, caller: None };
    let access = api.access.load();
    access.guard(request.method(), request.uri(), request.headers()).map_err(stranger)?;
    let (right, scope) = match route.map(|route| route.need) {
        // Nothing is served there: the router says so, to everyone.
        None | Some(Need::Free) => (None, Scope::Narrowed),
        Some(Need::Named(right)) => (Some(right), named(request).await.map_err(stranger)?),
        Some(Need::Listed(right) | Need::Asked(right)) => (Some(right), Scope::Narrowed),
        Some(Need::Whole(right)) => (Some(right), Scope::Everything),
    };
    let caller = match right {
        None => Caller::Local,
        Some(right) => {
            let caller = access.authenticate(request.headers()).map_err(stranger)?;
            match caller.may(right, &scope) {
                Ok(()) => caller,
                Err(problem) => return Err(Refused { problem, caller: Some(caller) }),
            }
        }
    };
    request.extensions_mut().insert(caller.clone());
    Ok(caller)
}

/// A question that is too long for a query: it has a body, and changes nothing.
async fn ask(api: &Shared, mut request: Request, route: Option<&Route>, next: Next) -> Response {
    if let Err(refused) = admit(api, &mut request, route).await {
        return refused.problem.into_response();
    }
    match take_body(&mut request, request::MAX_BODY).await {
        Err(problem) => problem.into_response(),
        Ok(body) => {
            *request.body_mut() = Body::from(body);
            next.run(request).await
        }
    }
}

/// What the names in the path are about.
async fn named(request: &mut Request) -> Result<Scope, Problem> {
    let params: RawPathParams = request.extract_parts().await.map_err(|_| Problem::parameter("path", "a name in it is not UTF-8"))?;
    let get = |name: &str| params.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_ascii_lowercase());
    Ok(match (get("service"), get("kind").as_deref()) {
        (Some(service), _) => Scope::Service(service),
        (None, Some("service")) => Scope::Service(get("name").unwrap_or_default()),
        (None, Some("instance")) => Scope::Service(get("outer").unwrap_or_default()),
        _ => Scope::Everything,
    })
}

/// Runs a write in a task of its own, which [`Api::stop`](super::Api::stop) waits for.
async fn write_apart(api: &Arc<Shared>, request: Request, route: Option<&'static Route>, next: Next) -> Response {
    let Ok(permit) = api.writes.clone().acquire_owned().await else {
        return Problem::unavailable(Unavailable::Stopping, "the server is stopping").into_response();
    };
    let api = api.clone();
    let task = tokio::spawn(async move {
        let _permit = permit;
        match route {
            Some(route) => write(&api, request, route, next).await,
            // Nothing is served there, so nothing can change and nothing is audited.
            None => match api.access.load().guard(request.method(), request.uri(), request.headers()) {
                Ok(()) => next.run(request).await,
                Err(problem) => problem.into_response(),
            },
        }
    });
    task.await.unwrap_or_else(|_| Problem::internal("the request could not be finished; the log says why").into_response())
}

/// Takes heartbeats. They change nothing that an audit is about: only what somebody was not allowed to send is worth a line.
async fn beat(api: &Shared, mut request: Request, route: &Route, next: Next) -> Response {
    // Cheap to keep until it is known whether there will be a line.
    let (method, uri, peer) = (request.method().clone(), request.uri().clone(), request.extensions().get::<Peer>().copied());
    let (caller, response) = match admit(api, &mut request, Some(route)).await {
        Err(refused) => (refused.caller, refused.problem.into_response()),
        Ok(caller) if request.body().is_end_stream() => (Some(caller), next.run(request).await),
        Ok(caller) => match take_body(&mut request, most_body(route)).await {
            Err(problem) => (Some(caller), problem.into_response()),
            Ok(body) => {
                *request.body_mut() = Body::from(body);
                (Some(caller), next.run(request).await)
            }
        },
    };
    let refused = match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
        // Some of many.
        StatusCode::OK => response.extensions().get::<Detail>().is_some(),
        _ => false,
    };
    if !refused {
        return response;
    }
    let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let peer = peer.map(|peer| peer.0.to_string()).unwrap_or_default();
    audited(api, Asked { method, path, peer, caller, body: Bytes::new() }, route, response).await
}

/// What the audit log tells of a request.
struct Asked {
    method: Method,
    path: String,
    peer: String,
    caller: Option<Caller>,
    body: Bytes,
}

/// Carries out a write, and audits it.
async fn write(api: &Shared, mut request: Request, route: &Route, next: Next) -> Response {
    if let Err(error) = api.audit.ready().await {
        return Problem::unavailable(Unavailable::Audit, format!("nothing may change while the audit log cannot be written: {error}"))
            .into_response();
    }
    let mut asked = Asked::of(&request);
    let response = match admit(api, &mut request, Some(route)).await {
        Err(refused) => {
            asked.caller = refused.caller;
            refused.problem.into_response()
        }
        Ok(caller) => {
            asked.caller = Some(caller);
            match take_body(&mut request, most_body(route)).await {
                Err(problem) => problem.into_response(),
                Ok(body) => {
                    *request.body_mut() = Body::from(body.clone());
                    asked.body = body;
                    next.run(request).await
                }
            }
        }
    };
    audited(api, asked, route, response).await
}

impl Asked {
    fn of(request: &Request) -> Asked {
        Asked {
            method: request.method().clone(),
            path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            peer: request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default(),
            caller: None,
            body: Bytes::new(),
        }
    }
}

/// Writes the audit line of a request that was answered; gives the response that may then go out.
async fn audited(api: &Shared, asked: Asked, route: &Route, response: Response) -> Response {
    let Asked { method, path, peer, caller, body } = asked;
    let status = response.status();
    let revision = response.extensions().get::<Made>().map(|made| made.0);
    let reason = response.extensions().get::<Detail>().map(|detail| detail.0.clone());
    let author = caller.as_ref().map(Caller::author).unwrap_or_default();
    let at = (api.clock)();
    let left_out = match &caller {
        Some(_) => 0,
        None => match api.audit.admit_stranger(at) {
            Some(left_out) => left_out,
            None => return response,
        },
    };
    let revision_number = revision.map(|revision| revision.0);
    // What was made is told as an event as well, and stands in the audit log: a line for each is enough.
    match status.is_success() {
        true => tracing::debug!(%method, path, status = status.as_u16(), author, revision = revision_number, "write"),
        false => tracing::info!(%method, path, status = status.as_u16(), author, revision = revision_number, reason, "write"),
    }
    // Samples come by the thousand and change nothing that is written down: the line says that they came.
    // Secrets stand in no log.
    let body = if [measurements::PATH, keys::IMPORT].contains(&route.path) { None } else { audit::one_line(&body) };
    let (method, path, peer, status, reason) = (method.as_str(), path.as_str(), peer.as_str(), status.as_u16(), reason.as_deref());
    match api.audit.append(&Entry { at, author, peer, method, path, body, status, revision, reason, left_out }).await {
        Ok(()) => response,
        Err(error) => {
            tracing::error!(%error, "the audit log cannot be written; writes are refused until it can");
            let made = revision.map(|r| format!("the write was made at revision {}, but ", r.0)).unwrap_or_default();
            Problem::unavailable(Unavailable::Audit, format!("{made}its audit line could not be written: {error}")).into_response()
        }
    }
}

/// Most octets of a body.
fn most_body(route: &Route) -> usize {
    match route.path {
        measurements::PATH => measurements::MAX_BODY,
        heartbeats::PATH => heartbeats::MAX_BODY,
        _ => request::MAX_BODY,
    }
}

/// Takes the whole body, within limits of size and time.
async fn take_body(request: &mut Request, most: usize) -> Result<Bytes, Problem> {
    let body = Limited::new(std::mem::take(request.body_mut()), most);
    match tokio::time::timeout(BODY_TIME, body.collect()).await {
        Err(_) => Err(Problem::slow_body()),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(most)),
        Ok(Err(error)) => Err(Problem::syntax(format!("the body broke off: {error}"))),
    }
}
