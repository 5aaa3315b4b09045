//! Explain: the decision for one name and one client, with its trace, in this world or in one with assumptions.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use hickory_proto::rr::RecordType;

use super::access::{Caller, Scope};
use super::front::Peer;
use super::problem::Problem;
use super::request::Parameters;
use super::{Shared, reply};
use crate::control::Assumption;
use crate::model::{Health, Label, Name, Right, Subject};
use crate::wire::{self, Explanation};

/// Most assumptions of one question: each rebuilds a part of the world.
const MAX_ASSUMPTIONS: usize = 32;

/// What is drawn where a policy draws: always the same, so that asking twice gives one answer; the shares tell what else could come.
const DRAW: u64 = 0;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
struct Question {
    name: Name,
    rtype: u16,
    client: IpAddr,
    assumptions: Vec<Assumption>,
}

/// Why a client is answered as it is: the answer, the branches and levels that were looked at, and the reason for each.
///
/// The very function that answers DNS queries decides here, so the two cannot disagree; where it would draw at random, the distribution
/// is told.
#[utoipa::path(
    get, path = "/v1/explain", tag = "explain",
    params(
        ("name" = String, Query, description = "The owner name, such as `web.svc.example`"),
        ("type" = Option<String>, Query, description = "The RR type, such as `A`, `SRV` or `TYPE65`; default `A`"),
        ("client" = Option<String>, Query, description = "The client's address; default: whoever asks"),
        ("with" = Option<Vec<String>>, Query, description = "What to assume, such as `region/eu-west=drained`, `service/web=serving` or `instance/web/eu1=unhealthy`; may be repeated"),
    ),
    responses((status = 200, description = "The decision", body = Explanation)),
)]
pub async fn get(
    State(api): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    peer: Option<Extension<Peer>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let question = Question::read(&uri, peer.map(|Extension(peer)| peer.0.ip()))?;
    // Before the assumptions are made: whether there is such a service is none of a stranger's business either.
    question.assumptions.iter().filter_map(assumed_of).try_for_each(|service| allow(&caller, service.as_str()))?;
    let snapshot = match question.assumptions.as_slice() {
        [] => api.control.publisher().load_full(),
        assumptions => api.control.assume(assumptions)?,
    };
    let explanation = wire::explain(&snapshot, &question.name, question.rtype, question.client, DRAW);
    let services = explanation.names.iter().flat_map(|name| name.service.iter().chain(name.levels.iter().map(|level| &level.service)));
    services.into_iter().try_for_each(|service| allow(&caller, service))?;
    Ok(reply::json(StatusCode::OK, &explanation))
}

/// A trace tells the health of a service's instances, as reading the service does.
fn allow(caller: &Caller, service: &str) -> Result<(), Problem> {
    caller.may(Right::Read, &Scope::Service(service.to_string()))
}

/// The service that an assumption is about; `None`: a region or an az.
fn assumed_of(assumption: &Assumption) -> Option<&Label> {
    match assumption {
        Assumption::Health(key, _) => Some(&key.service),
        Assumption::Drained(subject) | Assumption::Serving(subject) => match subject {
            Subject::Service(service) => Some(service),
            Subject::Instance(key) => Some(&key.service),
            Subject::Region(_) | Subject::Az(_) => None,
        },
    }
}

impl Question {
    fn read(uri: &Uri, peer: Option<IpAddr>) -> Result<Question, Problem> {
        let parameters = Parameters::read(uri, &["name", "type", "client", "with"])?;
        let name = parameters.text("name").ok_or_else(|| Problem::parameter("name", "say which name, such as web.svc.example"))?;
        let name = Name::parse(name).map_err(|error| Problem::parameter("name", error.to_string()))?;
        let rtype = rtype(parameters.text("type").unwrap_or("A"))?;
        let client = match parameters.text("client") {
            None => peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Some(text) => text.parse().map_err(|_| Problem::parameter("client", format!("an IP address, not {text:?}")))?,
        };
        let assumptions = parameters.all("with").map(assumption).collect::<Result<Vec<_>, _>>()?;
        if assumptions.len() > MAX_ASSUMPTIONS {
            return Err(Problem::parameter("with", format!("at most {MAX_ASSUMPTIONS} assumptions")));
        }
        Ok(Question { name, rtype, client: client.to_canonical(), assumptions })
    }
}

/// Reads an RR type: its mnemonic, or `TYPE65` (RFC 3597 §5).
fn rtype(text: &str) -> Result<u16, Problem> {
    let upper = text.to_ascii_uppercase();
    let number = match upper.strip_prefix("TYPE") {
        Some(number) => number.parse().ok(),
        None => RecordType::from_str(&upper).ok().map(u16::from),
    };
    number.ok_or_else(|| Problem::parameter("type", format!("an RR type such as A, AAAA, SRV, HTTPS, TXT or TYPE65, not {text:?}")))
}

/// Reads `SUBJECT=STATE`.
fn assumption(text: &str) -> Result<Assumption, Problem> {
    let wrong = |expected: &str| Problem::parameter("with", format!("{expected}, not {text:?}"));
    let (subject, state) = text.split_once('=').ok_or_else(|| wrong("SUBJECT=STATE such as region/eu-west=drained"))?;
    let subject = Subject::parse(subject).map_err(|error| Problem::parameter("with", error.expected))?;
    let health = match (state, &subject) {
        ("drained", _) => return Ok(Assumption::Drained(subject)),
        ("serving", _) => return Ok(Assumption::Serving(subject)),
        ("healthy", _) => Health::Healthy,
        ("pending", _) => Health::Pending,
        ("unhealthy", _) => Health::Unhealthy,
        _ => return Err(wrong("one of drained, serving and, for an instance, healthy, pending or unhealthy")),
    };
    match subject {
        Subject::Instance(key) => Ok(Assumption::Health(key, health)),
        _ => Err(wrong("only an instance has a health; regions, azs and services are drained or serving")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InstanceKey;

    #[test]
    fn questions_are_read_strictly() {
        let read =
            |query: &str| Question::read(&format!("/v1/explain?{query}").parse().unwrap(), Some("::ffff:192.0.2.7".parse().unwrap()));
        let found = read("name=Web.svc.example&type=https&with=region/EU=drained&with=instance/web/a=unhealthy").unwrap();
        assert_eq!(
            (found.name.to_string().as_str(), found.rtype, found.client.to_string().as_str()),
            ("web.svc.example.", 65, "192.0.2.7")
        );
        let label = |text: &str| Label::parse(text).unwrap();
        let web = InstanceKey { service: label("web"), id: label("a") };
        let expected = [Assumption::Drained(Subject::Region(label("eu"))), Assumption::Health(web, Health::Unhealthy)];
        assert_eq!(found.assumptions, expected);
        assert_eq!(read("name=a.example&type=TYPE65").unwrap().rtype, 65);
        assert_eq!(read("name=a.example&client=2001:db8::1").unwrap().client.to_string(), "2001:db8::1");
        for (query, field) in [
            ("", "name"),
            ("name=a..b", "name"),
            ("name=a&type=FOO", "type"),
            ("name=a&type=TYPE65536", "type"),
            ("name=a&client=eu", "client"),
            ("name=a&with=region/eu", "with"),
            ("name=a&with=planet/eu=drained", "with"),
            ("name=a&with=region/eu=unhealthy", "with"),
            ("name=a&with=instance/web/a=sick", "with"),
            ("name=a&wiht=x", "wiht"),
        ] {
            assert_eq!(read(query).unwrap_err().field.as_deref(), Some(field), "{query}");
        }
    }
}
