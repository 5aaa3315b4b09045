//! Every refusal as RFC 9457 `application/problem+json`: what is wrong, which field is to blame, what was expected.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::keys::KeyRefusal;
use crate::control::ApplyError;
use crate::model::{DrillRefusal, FieldError, Revision};
use crate::registry::{Refusal, UpdateRefusal};
use crate::sign::RollRefusal;

/// A problem document (RFC 9457 §3). Nothing was changed, unless `detail` says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// What kind of problem: `urn:signpost:problem:NAME`, or `about:blank` where the status says it all.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind in words, the same each time.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, and what was expected.
    pub detail: String,
    /// The field, query parameter or header to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The revision at which the resource is, where a precondition did not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub revision: Option<Revision>,
    /// What `WWW-Authenticate` asks for.
    #[serde(skip)]
    challenge: Option<&'static str>,
}

/// The name of a kind of problem, as a URN.
macro_rules! urn {
    ($name:literal) => {
        concat!("urn:signpost:problem:", $name)
    };
}

/// Why something cannot be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The server has not loaded everything yet.
    Starting,
    /// The server is stopping.
    Stopping,
    /// The store does not take writes.
    Store,
    /// The audit log cannot be written.
    Audit,
    /// Too many others wait.
    Waiting,
}

/// The `detail` of a problem, kept beside the response for the audit log.
#[derive(Debug, Clone)]
pub(super) struct Detail(pub String);

/// Seconds after which a client may try again what could not be done now.
const RETRY_AFTER: &str = "1";

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem { kind, title, status: status.as_u16(), detail: detail.into(), field: None, revision: None, challenge: None }
    }

    fn blank(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem::new(status, "about:blank", status.canonical_reason().unwrap_or("Error"), detail)
    }

    fn blame(self, field: impl Into<String>) -> Problem {
        Problem { field: Some(field.into()), ..self }
    }

    /// 404: no such path.
    pub fn no_route(path: &str) -> Problem {
        Problem::blank(StatusCode::NOT_FOUND, format!("there is nothing at {path}; /openapi.json lists what there is"))
    }

    /// 405: the path exists, the method does not. The `Allow` header is added by the router.
    pub fn method(method: &str, path: &str) -> Problem {
        Problem::blank(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not offered at {path}"))
    }

    /// 413: a body above the limit.
    pub fn too_large(limit: usize) -> Problem {
        Problem::blank(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} octets"))
    }

    /// 408: a body that did not arrive in time.
    pub fn slow_body() -> Problem {
        Problem::blank(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")
    }

    /// 400: a body that is no JSON, or broke off.
    pub fn syntax(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, urn!("syntax"), "The body is not the JSON it should be", detail)
    }

    /// 400: a query parameter, header or path that cannot be read.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, urn!("parameter"), "A parameter cannot be read", detail).blame(name)
    }

    /// 422: a field that cannot stand as it is.
    pub fn field(error: FieldError) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, urn!("field"), "A field cannot stand as it is", error.expected).blame(error.field)
    }

    /// 401: tokens are needed and none that is known was given (RFC 6750 §3).
    pub fn unauthenticated(detail: impl Into<String>, challenge: &'static str) -> Problem {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, urn!("unauthenticated"), "A token is needed", detail);
        Problem { challenge: Some(challenge), ..problem }
    }

    /// 403: the token is known and may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, urn!("forbidden"), "The token may not do this", detail)
    }

    /// 403: the request looks like a browser that was tricked into sending it.
    pub fn cross_site(field: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, urn!("cross-site"), "The request may come from another site", detail).blame(field)
    }

    /// 503: it cannot be done now.
    pub fn unavailable(why: Unavailable, detail: impl Into<String>) -> Problem {
        let kind = match why {
            Unavailable::Starting => urn!("starting"),
            Unavailable::Stopping => urn!("stopping"),
            Unavailable::Store => urn!("store"),
            Unavailable::Audit => urn!("audit"),
            Unavailable::Waiting => urn!("waiting"),
        };
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, "It cannot be done now", detail)
    }

    /// 500: a fault of the server's own.
    pub fn internal(detail: impl Into<String>) -> Problem {
        Problem::blank(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let detail = refusal.to_string();
        let unknown = |kind| Problem::new(StatusCode::NOT_FOUND, kind, "There is no such thing", detail.clone());
        match refusal {
            Refusal::UnknownInstance(_) => unknown(urn!("unknown-instance")),
            Refusal::UnknownService(_) => unknown(urn!("unknown-service")),
            Refusal::NotDrained(_) => unknown(urn!("not-drained")),
            Refusal::UnknownSubject(_) => unknown(urn!("unknown-subject")),
            Refusal::NotMoving(_) => Problem::new(StatusCode::CONFLICT, urn!("not-moving"), "There is nothing to pause", detail),
            Refusal::NotPaused(_) => Problem::new(StatusCode::CONFLICT, urn!("not-paused"), "There is nothing to resume", detail),
            Refusal::Unsafe { .. } => Problem::new(StatusCode::CONFLICT, urn!("unsafe"), "The drain would leave too little", detail),
            Refusal::DefinedInFile { .. } => Problem::new(StatusCode::CONFLICT, urn!("defined-in-file"), "A zone file defines it", detail),
            Refusal::NameTaken(..) => Problem::new(StatusCode::CONFLICT, urn!("name-taken"), "The name is taken", detail),
            Refusal::Update(UpdateRefusal::NotAuth(_)) => unknown(urn!("unknown-zone")),
            Refusal::Update(_) => Problem::new(StatusCode::CONFLICT, urn!("update"), "The zone cannot be changed so", detail),
            Refusal::Field(error) => Problem::field(error),
            Refusal::Precondition(revision) => Problem {
                revision,
                ..Problem::new(StatusCode::PRECONDITION_FAILED, urn!("precondition"), "The precondition does not hold", detail)
            },
        }
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Problem {
        match error {
            ApplyError::Refused(refusal) => refusal.into(),
            ApplyError::Store(_) | ApplyError::Unknown(_) | ApplyError::Partly { .. } => {
                Problem::unavailable(Unavailable::Store, error.to_string())
            }
            ApplyError::Stopping => Problem::unavailable(Unavailable::Stopping, error.to_string()),
        }
    }
}

impl From<DrillRefusal> for Problem {
    fn from(refusal: DrillRefusal) -> Problem {
        let detail = refusal.to_string();
        let unknown = |kind| Problem::new(StatusCode::NOT_FOUND, kind, "There is no such thing", detail.clone());
        let conflict = |kind, title| Problem::new(StatusCode::CONFLICT, kind, title, detail.clone());
        match refusal {
            DrillRefusal::UnknownDrill(_) => unknown(urn!("unknown-drill")),
            DrillRefusal::UnknownRun(_) => unknown(urn!("unknown-run")),
            DrillRefusal::Busy(_) => conflict(urn!("drill-busy"), "Another drill is under way"),
            DrillRefusal::Over(_) => conflict(urn!("drill-over"), "The drill is over"),
            DrillRefusal::Field(error) => Problem::field(error),
            DrillRefusal::Refused { .. } => conflict(urn!("drill-refused"), "The drill did not begin"),
            DrillRefusal::Stopping => Problem::unavailable(Unavailable::Stopping, detail),
        }
    }
}

impl From<KeyRefusal> for Problem {
    fn from(refusal: KeyRefusal) -> Problem {
        let detail = refusal.to_string();
        let unknown = |kind| Problem::new(StatusCode::NOT_FOUND, kind, "There is no such thing", detail.clone());
        let conflict = |kind| Problem::new(StatusCode::CONFLICT, kind, "Not as the keys are now", detail.clone());
        match refusal {
            KeyRefusal::UnknownZone(_) => unknown(urn!("unknown-zone")),
            KeyRefusal::NotSigned(_) => conflict(urn!("not-signed")),
            KeyRefusal::Roll(RollRefusal::Unknown(_)) => unknown(urn!("unknown-key")),
            KeyRefusal::Roll(_) => conflict(urn!("key-conflict")),
            KeyRefusal::Field(error) => Problem::field(error),
            KeyRefusal::Storage(_) => Problem::unavailable(Unavailable::Store, detail),
            KeyRefusal::Unserved(_) => Problem::unavailable(Unavailable::Stopping, detail),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = serde_json::to_vec(&self).unwrap_or_default();
        body.push(b'\n');
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(Detail(self.detail));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InstanceKey, Label, Subject};

    #[test]
    fn each_refusal_has_its_status_and_name() {
        let web = || Label::parse("web").unwrap();
        let key = InstanceKey { service: web(), id: Label::parse("eu1").unwrap() };
        let subject = || Subject::Service(web());
        let table: [(ApplyError, u16, &str, Option<&str>); 15] = [
            (Refusal::UnknownInstance(key).into(), 404, "unknown-instance", None),
            (Refusal::UnknownService(web()).into(), 404, "unknown-service", None),
            (Refusal::NotDrained(Subject::Service(web())).into(), 404, "not-drained", None),
            (Refusal::NotMoving(subject()).into(), 409, "not-moving", None),
            (Refusal::NotPaused(subject()).into(), 409, "not-paused", None),
            (Refusal::Unsafe { subject: subject(), breaches: vec![] }.into(), 409, "unsafe", None),
            (Refusal::UnknownSubject(Subject::Region(web())).into(), 404, "unknown-subject", None),
            (Refusal::DefinedInFile { what: "service web".into(), file: "zones/a.toml".into() }.into(), 409, "defined-in-file", None),
            (Refusal::NameTaken(web(), "zones/a.toml".into()).into(), 409, "name-taken", None),
            (Refusal::Field(FieldError::new("az", "one of 1a, 1b")).into(), 422, "field", Some("az")),
            (Refusal::Precondition(Some(Revision(7))).into(), 412, "precondition", None),
            (ApplyError::Store("disk full".into()), 503, "store", None),
            (ApplyError::Unknown("disk full".into()), 503, "store", None),
            (ApplyError::Partly { removed: 62, why: "disk full".into() }, 503, "store", None),
            (ApplyError::Stopping, 503, "stopping", None),
        ];
        for (error, status, name, field) in table {
            let problem = Problem::from(error);
            assert_eq!((problem.status, problem.field.as_deref()), (status, field), "{name}");
            assert_eq!(problem.kind, format!("urn:signpost:problem:{name}"));
            let response = problem.into_response();
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{name}");
        }
    }
}
