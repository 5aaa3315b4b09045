//! Heartbeats of many instances in one request, such as an agent sends them for all that runs on its machine.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::access::{Caller, Scope};
use super::problem::{Detail, Problem};
use super::{Shared, reply, request};
use crate::model::{FieldError, Right};

/// Where they are posted.
pub const PATH: &str = "/v1/heartbeats";
/// Most octets of a post.
pub const MAX_BODY: usize = 1024 * 1024;
/// Most beats of a post.
const MAX_BEATS: usize = 10_000;

/// Heartbeats of many instances.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Beats {
    /// The instances, each as `SERVICE/ID`; at most 10,000.
    #[schema(max_items = 10_000, example = json!(["web/eu1", "db/eu1"]))]
    instances: Vec<String>,
}

/// What came of them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Beaten {
    /// How many were renewed.
    pub renewed: usize,
    /// The others, in their order; missing where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Unbeaten>,
}

/// A heartbeat that was not taken.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Unbeaten {
    /// Its place in the list, from 0.
    pub index: usize,
    /// The instance, as it was named.
    pub instance: String,
    /// Why: as if the heartbeat had been sent by itself.
    pub problem: Problem,
}

/// Renew the heartbeats of many instances.
///
/// Each is taken or refused by itself, as if it had been sent by itself: an unknown instance does not keep the others from being renewed.
/// The answer is 200 as soon as the list can be read; look at `refused`.
#[utoipa::path(
    post, path = "/v1/heartbeats", tag = "instances",
    request_body = Beats,
    responses((status = 200, description = "Taken, but for those that are refused by name", body = Beaten)),
)]
pub async fn post(State(api): State<Arc<Shared>>, Extension(caller): Extension<Caller>, body: Bytes) -> Result<Response, Problem> {
    let Beats { instances } = request::body(&body)?;
    if instances.len() > MAX_BEATS {
        let expected = format!("at most {MAX_BEATS} heartbeats at once, not {}", instances.len());
        return Err(Problem::field(FieldError::new("instances", expected)));
    }
    // Names compare without case (RFC 4343).
    let fold = |text: &String| text.bytes().any(|octet| octet.is_ascii_uppercase()).then(|| text.to_ascii_lowercase());
    let folded: Vec<Option<String>> = instances.iter().map(fold).collect();
    let (mut names, mut places, mut refused) = (Vec::with_capacity(instances.len()), Vec::with_capacity(instances.len()), Vec::new());
    let mut forbidden = 0;
    for (index, (text, folded)) in instances.iter().zip(&folded).enumerate() {
        let Some(name) = folded.as_deref().unwrap_or(text).split_once('/') else {
            refused.push((index, Problem::field(FieldError::new(format!("instances[{index}]"), "SERVICE/ID"))));
            continue;
        };
        match caller.sees(name.0) {
            true => {
                names.push(name);
                places.push(index);
            }
            false => {
                forbidden += 1;
                let scope = Scope::Service(name.0.to_string());
                refused.extend(caller.may(Right::Register, &scope).err().map(|problem| (index, problem)));
            }
        }
    }
    for (place, error) in api.control.beat_all(&names).await {
        let (index, mut problem) = (places[place], Problem::from(error));
        // A name that cannot be one.
        if problem.field.as_deref() == Some("instances") {
            problem.field = Some(format!("instances[{index}]"));
        }
        refused.push((index, problem));
    }
    refused.sort_by_key(|(index, _)| *index);
    let renewed = instances.len() - refused.len();
    let unbeaten = |(index, problem): (usize, Problem)| Unbeaten { index, instance: instances[index].clone(), problem };
    let mut response = reply::json(StatusCode::OK, &Beaten { renewed, refused: refused.into_iter().map(unbeaten).collect() });
    if forbidden > 0 {
        // For the audit log.
        response.extensions_mut().insert(Detail(format!("{forbidden} heartbeats were for services that the token is not for")));
    }
    Ok(response)
}
