//! Server-sent events of every change (WHATWG HTML §9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use super::Shared;
use super::access::Caller;
use super::problem::Problem;
use crate::control::Event;
use crate::model::Revision;

/// Time between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Every change from now on, as server-sent events.
///
/// The first event is `connected` with the revision at which the stream starts. Then each change is an event named by its `kind`, with its
/// revision as id and an `Event` as data. `lagged` says that the reader was too slow and how many events it missed: read the state again.
/// Events of before the connection are not repeated, whatever `Last-Event-ID` says. The stream ends when its token is revoked or changed.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    responses((status = 200, description = "The stream", body = Event, content_type = "text/event-stream")),
)]
pub async fn stream(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let place = api.place_to_wait()?;
    let events = BroadcastStream::new(api.control.events());
    let revision = api.control.registry().revision;
    let mut stopping = api.stopping.clone();
    let (shared, mut reloads, bearer) = (api.clone(), api.reloads.clone(), caller.clone());
    let revoked = async move { while shared.access.load().holds(&bearer) && reloads.changed().await.is_ok() {} };
    let stop = Box::pin(async move {
        tokio::select! {
            () = super::stopped(&mut stopping) => {}
            () = revoked => {}
        }
    });
    let told = narrate(events, revision, caller).take_until(stop).map(move |event| {
        // The place is given up when the stream ends.
        let _ = &place;
        Ok::<_, Infallible>(event)
    });
    let mut response = Sse::new(told).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Proxies of the nginx kind otherwise hold events back until a buffer is full.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn narrate(
    events: impl Stream<Item = Result<Event, BroadcastStreamRecvError>>,
    revision: Revision,
    caller: Caller,
) -> impl Stream<Item = sse::Event> {
    let connected = sse::Event::default().event("connected").id(revision.0.to_string()).data(format!("{{\"revision\":{}}}", revision.0));
    let told = events.filter_map(move |event| {
        let told = match event {
            Ok(event) if !sees(&caller, &event.subject) => None,
            Ok(event) => sse::Event::default().event(event.kind).id(event.revision.0.to_string()).json_data(&event).ok(),
            Err(BroadcastStreamRecvError::Lagged(missed)) => {
                Some(sse::Event::default().event("lagged").data(format!("{{\"missed\":{missed}}}")))
            }
        };
        std::future::ready(told)
    });
    stream::iter([connected]).chain(told)
}

/// Whether an event's subject is among the services that the caller is for; what concerns all, everyone sees.
fn sees(caller: &Caller, subject: &str) -> bool {
    let mut parts = subject.split('/');
    match (parts.next(), parts.next()) {
        (Some("service" | "instance"), Some(service)) => caller.sees(service),
        _ => true,
    }
}
