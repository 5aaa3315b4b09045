//! Drains: the operator's word that a part is out of answers.

use serde::{Deserialize, Serialize};

use super::instance::FieldError;
use super::{Out, Period, Timestamp};

/// What the operator asks; the body of `PUT /v1/drains/{kind}/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainFields {
    /// Why, for the next person; 1–1,000 octets.
    pub reason: String,
    /// When it ends by itself, 1 s to 72 h from now; default 4 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Period>,
}

/// A drain in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Why.
    pub reason: String,
    /// Who asked: the token's name, or `local` where the API needs none.
    pub author: String,
    /// Since when.
    pub started: Timestamp,
    /// When it ends by itself.
    pub expires: Timestamp,
}

/// How long a drain lasts unless it says otherwise.
pub const DEFAULT_DRAIN: Period = Period::seconds(4 * 3600);
/// The longest drain.
pub const LONGEST_DRAIN: Period = Period::seconds(72 * 3600);

impl Drain {
    /// How far its subject is out of answers.
    pub fn out(&self, _now: Timestamp) -> Out {
        Out::DRAINED
    }

    /// A drain that starts now.
    pub fn start(fields: DrainFields, author: &str, now: Timestamp) -> Result<Drain, FieldError> {
        if fields.reason.trim().is_empty() || fields.reason.len() > 1000 {
            return Err(FieldError::new("reason", "say why, in 1 to 1000 octets"));
        }
        let expires = fields.expires.unwrap_or(DEFAULT_DRAIN);
        if expires < Period::seconds(1) || expires > LONGEST_DRAIN {
            return Err(FieldError::new("expires", format!("1s to {LONGEST_DRAIN}, not {expires}")));
        }
        Ok(Drain { reason: fields.reason, author: author.into(), started: now, expires: now.plus(expires.0) })
    }
}
