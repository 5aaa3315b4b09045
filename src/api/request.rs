//! Reading what comes in: bodies, names in paths, query parameters and preconditions. Whatever cannot be read names what is to blame.

use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, Uri, header};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::problem::Problem;
use crate::model::{FieldError, InstanceKey, Label, Period, Revision};
use crate::registry::{Precondition, Refusal};

/// Most octets of a body, but for those of measurements.
pub const MAX_BODY: usize = 64 * 1024;

/// Reads a JSON body. A text that is no JSON object is a syntax problem; a value of the wrong type, a missing or an unknown one is a field
/// problem that names the field's path.
pub fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    match bytes.iter().find(|octet| !octet.is_ascii_whitespace()) {
        Some(b'{') => {}
        None => return Err(Problem::syntax("the body is empty; a JSON object is needed")),
        // Without this, serde would take an array as the object's fields in their order.
        Some(_) => return Err(Problem::syntax("a JSON object is needed, which begins with '{'")),
    }
    // Who blames a field costs more than twice the time: only what cannot be read is read so.
    if let Ok(read) = serde_json::from_slice(bytes) {
        return Ok(read);
    }
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| Problem::syntax(error.to_string()))?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        Problem::field(blame(&path, &error.into_inner().to_string()))
    })
}

/// The field that serde's words are about: those on unknown and missing fields name the object that holds them, not the field.
fn blame(path: &str, said: &str) -> FieldError {
    let named = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| said.strip_prefix(start))
        .and_then(|rest| rest.split('`').next());
    let field = match (path, named) {
        (".", Some(name)) => name.to_string(),
        (path, Some(name)) if path.ends_with(&format!(".{name}")) || path == name => path.to_string(),
        (path, Some(name)) => format!("{path}.{name}"),
        (".", None) => "body".into(),
        (path, None) => path.to_string(),
    };
    FieldError::new(field, said)
}

/// Reads a name of a path or query.
pub fn label(field: &str, text: &str) -> Result<Label, Problem> {
    Label::parse(text).map_err(|error| Problem::field(FieldError::new(field, error.to_string())))
}

/// A service named in a path.
pub fn service(path: Result<Path<String>, PathRejection>) -> Result<Label, Problem> {
    let Path(name) = path.map_err(|error| Problem::parameter("service", error.body_text()))?;
    label("service", &name)
}

/// An instance named in a path.
pub fn instance(path: Result<Path<(String, String)>, PathRejection>) -> Result<InstanceKey, Problem> {
    let Path((service, id)) = path.map_err(|error| Problem::parameter("id", error.body_text()))?;
    Ok(InstanceKey { service: label("service", &service)?, id: label("id", &id)? })
}

/// The query parameters of a request.
#[derive(Debug)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the query. A parameter that is not among `known` is refused, so that a slip of the pen is not silently ignored.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Parameters, Problem> {
        let read: Result<Query<Vec<(String, String)>>, QueryRejection> = Query::try_from_uri(uri);
        let Query(pairs) = read.map_err(|error| Problem::parameter("query", error.body_text()))?;
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) if known.is_empty() => Err(Problem::parameter(name, "this takes no parameters")),
            Some((name, _)) => Err(Problem::parameter(name, format!("unknown; expected one of {}", known.join(", ")))),
            None => Ok(Parameters(pairs)),
        }
    }

    /// A parameter's text; the last one counts where it stands twice.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every text of a parameter that may be repeated.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A flag: `?healthy`, `?healthy=true` or `?healthy=false`.
    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(Problem::parameter(name, format!("true or false, not {other:?}"))),
        }
    }

    /// A name.
    pub fn label(&self, name: &str) -> Result<Option<Label>, Problem> {
        self.text(name).map(|text| Label::parse(text).map_err(|error| Problem::parameter(name, error.to_string()))).transpose()
    }

    /// `after` and `wait`: what a blocking read waits for; `None`: it does not wait.
    pub fn waiting(&self) -> Result<Option<(Revision, Duration)>, Problem> {
        let after = match self.text("after") {
            None if self.text("wait").is_some() => return Err(Problem::parameter("wait", "goes with `after`: the revision already known")),
            None => return Ok(None),
            Some(text) => text.parse().map_err(|_| Problem::parameter("after", format!("a revision such as 42, not {text:?}")))?,
        };
        let wait = match self.text("wait") {
            None => DEFAULT_WAIT,
            Some(text) => {
                let period: Period = text.parse().map_err(|error| Problem::parameter("wait", format!("{error}")))?;
                period.0
            }
        };
        if wait > LONGEST_WAIT {
            return Err(Problem::parameter("wait", format!("at most {}", Period(LONGEST_WAIT))));
        }
        Ok(Some((Revision(after), wait)))
    }
}

/// How long a blocking read waits that does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// The longest that a blocking read waits.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// Reads `If-Match` and `If-None-Match` (RFC 9110 §13.1). `now` is the resource's revision, `None` where there is no such resource:
/// the registry compares one revision, so `*` and lists are narrowed to the one that is there.
pub fn precondition(headers: &HeaderMap, now: Option<Revision>) -> Result<Precondition, Problem> {
    let text = |name: header::HeaderName| {
        let value = headers.get(&name).map(|value| value.to_str().map(str::trim));
        value.transpose().map_err(|_| Problem::parameter(name.as_str(), "printable ASCII is expected"))
    };
    match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Precondition::None),
        (Some(_), Some(_)) => Err(Problem::parameter("If-Match", "either If-Match or If-None-Match, not both")),
        (None, Some("*")) => Ok(Precondition::Absent),
        (None, Some(other)) => Err(Problem::parameter("If-None-Match", format!("only * is offered, not {other}"))),
        (Some("*"), None) => now.map(Precondition::At).ok_or_else(|| Refusal::Precondition(None).into()),
        (Some(list), None) => {
            let tags = list.split(',').map(|tag| entity_tag(tag.trim())).collect::<Result<Vec<_>, _>>()?;
            match tags.as_slice() {
                [Some(only)] => Ok(Precondition::At(*only)),
                _ => match now {
                    Some(now) if tags.contains(&Some(now)) => Ok(Precondition::At(now)),
                    now => Err(Refusal::Precondition(now).into()),
                },
            }
        }
    }
}

/// Reads one entity tag: `"REVISION"`. `None`: well-formed, but none of ours, or weak, which never matches here (RFC 9110 §13.1.1).
fn entity_tag(text: &str) -> Result<Option<Revision>, Problem> {
    let (weak, quoted) = text.strip_prefix("W/").map_or((false, text), |rest| (true, rest));
    let opaque = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(opaque) = opaque.filter(|o| !o.contains('"')) else {
        return Err(Problem::parameter("If-Match", format!("an ETag in quotes such as \"42\", or *, not {text}")));
    };
    Ok(opaque.parse().ok().filter(|_| !weak).map(Revision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DrainFields, Instance, ServiceFields};

    fn check<T: DeserializeOwned + std::fmt::Debug>(json: &str, status: u16, field: Option<&str>, said: &str) {
        let problem = body::<T>(json.as_bytes()).unwrap_err();
        assert_eq!((problem.status, problem.field.as_deref()), (status, field), "{json}: {}", problem.detail);
        assert!(problem.detail.contains(said), "{json}: {}", problem.detail);
    }

    #[test]
    fn a_wrong_body_names_the_field() {
        let instance = |rest: &str| format!(r#"{{"addresses":["192.0.2.1"],"region":"r","az":"a"{rest}}}"#);
        assert!(body::<Instance>(instance("").as_bytes()).is_ok());
        check::<Instance>("", 400, None, "empty");
        check::<Instance>("{", 400, None, "EOF");
        check::<Instance>(&(instance("") + "x"), 400, None, "trailing");
        check::<Instance>("[]", 400, None, "JSON object");
        check::<Instance>(r#"{"region":"r","az":"a"}"#, 422, Some("addresses"), "missing");
        check::<Instance>(r#"{"addresses":["192.0.2.999"],"region":"r","az":"a"}"#, 422, Some("addresses[0]"), "IP address");
        check::<Instance>(&instance(r#","wieght":1"#), 422, Some("wieght"), "expected one of");
        check::<Instance>(&instance(r#","weight":-1"#), 422, Some("weight"), "invalid value");
        check::<Instance>(&instance(r#","ports":{"http":0}"#), 422, Some("ports.http"), "1 to 65535");
        check::<Instance>(&instance(r#","ports":{"HTTP":80,"http":81}"#), 422, Some("ports.http"), "http stands twice");
        check::<Instance>(&instance(r#","ports":{"http":80,"a":1,"HTTP":81}"#), 422, Some("ports.HTTP"), "http stands twice");
        check::<Instance>(&instance(r#","ports":[80]"#), 422, Some("ports"), "a map");
        check::<Instance>(&instance(r#","meta":{"a":"1","a":"2"}"#), 422, Some("meta.a"), "a stands twice");
        check::<Instance>(&instance(r#","weight":1,"weight":1"#), 422, Some("weight"), "duplicate");
        check::<ServiceFields>(r#"{"ports":{"http":80,"http":81}}"#, 422, Some("ports.http"), "stands twice");
        let records = |records: &str| format!(r#"{{"branches":[{{"records":{{{records}}}}}]}}"#);
        check::<ServiceFields>(&records(r#""A":[],"A":[]"#), 422, Some("branches[0].records.A"), "stands twice");
        check::<Instance>(&instance(r#","heartbeat":"soon""#), 422, Some("heartbeat"), "length of time");
        check::<Instance>(&instance(r#","checks":[{"http":"/","every":"1s"}]"#), 422, Some("checks[0].every"), "unknown");
        check::<Instance>(&instance(r#","checks":[{"http":"/"},{}]"#), 422, Some("checks[1]"), "exactly one");
        check::<DrainFields>(r#"{"reason":"x","rmap":"10m"}"#, 422, Some("rmap"), "unknown");
        check::<DrainFields>(r#"{"reason":"x","ramp":"soon"}"#, 422, Some("ramp"), "length of time");
        check::<ServiceFields>(r#"{"policy":1}"#, 422, Some("policy"), "expected");
        check::<ServiceFields>(r#"{"branches":[{"policy":"fastest"}]}"#, 422, Some("branches[0].policy"), "fastest");
    }

    #[test]
    fn parameters_are_read_strictly() {
        let read = |query: &str| {
            let uri: Uri = format!("/v1/services/web?{query}").parse().unwrap();
            let parameters = Parameters::read(&uri, &["healthy", "region", "after", "wait"])?;
            Ok::<_, Problem>((parameters.flag("healthy")?, parameters.label("region")?, parameters.waiting()?))
        };
        let check = |query: &str, field: &str| assert_eq!(read(query).unwrap_err().field.as_deref(), Some(field), "{query}");
        let (healthy, region, waiting) = read("healthy&region=EU&after=7&wait=2s").unwrap();
        assert_eq!((healthy, region.unwrap().as_str()), (true, "eu"));
        assert_eq!(waiting, Some((Revision(7), Duration::from_secs(2))));
        assert_eq!(read("healthy=false").unwrap().0, read("").unwrap().0);
        assert_eq!(read("after=7").unwrap().2, Some((Revision(7), DEFAULT_WAIT)));
        check("healthy=maybe", "healthy");
        check("helthy", "helthy");
        check("region=a.b", "region");
        check("wait=2s", "wait");
        check("after=7&wait=6m", "wait");
        check("after=x", "after");
    }

    #[test]
    fn preconditions_become_one_revision() {
        let check = |name: &'static str, value: &'static str, now: Option<u64>, expected: Result<Precondition, u16>| {
            let headers = [(header::HeaderName::from_static(name), header::HeaderValue::from_static(value))].into_iter().collect();
            let found = precondition(&headers, now.map(Revision)).map_err(|problem| problem.status);
            assert_eq!(found, expected, "{name}: {value}");
        };
        assert_eq!(precondition(&HeaderMap::new(), None).unwrap(), Precondition::None);
        check("if-none-match", "*", Some(7), Ok(Precondition::Absent));
        check("if-none-match", "\"7\"", Some(7), Err(400));
        check("if-match", "\"6\"", Some(7), Ok(Precondition::At(Revision(6))));
        check("if-match", "*", Some(7), Ok(Precondition::At(Revision(7))));
        check("if-match", "*", None, Err(412));
        check("if-match", "\"6\", \"7\"", Some(7), Ok(Precondition::At(Revision(7))));
        check("if-match", "W/\"7\"", Some(7), Err(412));
        check("if-match", "\"other\"", Some(7), Err(412));
        check("if-match", "7", Some(7), Err(400));
    }
}
