//! Writing what goes out: JSON with a line end, entity tags, and the revision that a client waits on.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::Problem;
use super::views::{DrainDocument, Written};
use crate::control::Applied;
use crate::model::{Revision, Timestamp};

/// The revision of what was read: what to give as `after` to wait for the next change.
pub const REVISION: HeaderName = HeaderName::from_static("x-signpost-revision");

/// The revision that a write made, kept beside the response for the audit log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made(pub Revision);

/// A document as JSON. A line end follows, for people at a terminal.
pub fn json(status: StatusCode, document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(mut body) => {
            body.push(b'\n');
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(error) => Problem::internal(format!("the document cannot be written: {error}")).into_response(),
    }
}

/// A document with the revision at which it was read.
pub fn revised(document: &impl Serialize, revision: Revision) -> Response {
    let mut response = json(StatusCode::OK, document);
    response.headers_mut().insert(REVISION, HeaderValue::from(revision.0));
    response
}

/// A response with an entity tag: the revision in quotes (RFC 9110 §8.8.3).
pub fn tagged(mut response: Response, revision: Revision) -> Response {
    // Digits in quotes are always a valid header value.
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", revision.0)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// What was written: 201 where the resource is new, else 200. `tag`: whether the resource still exists, and so has an entity tag.
pub fn written(applied: &Applied, expires: Option<Timestamp>, tag: bool) -> Response {
    let response = made(applied, &Written { revision: applied.revision, expires, whole: None, over: None });
    if tag { tagged(response, applied.revision) } else { response }
}

/// What was written of a drain, and how it stands with it; `None`: it is gone.
pub fn drained(applied: &Applied, drain: Option<&DrainDocument>) -> Response {
    let (expires, whole, over) = (drain.map(|drain| drain.expires), drain.and_then(|d| d.whole), drain.and_then(|d| d.over));
    made(applied, &Written { revision: applied.revision, expires, whole, over })
}

fn made(applied: &Applied, document: &Written) -> Response {
    let status = if applied.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = json(status, document);
    response.extensions_mut().insert(Made(applied.revision));
    response
}
