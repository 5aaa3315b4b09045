//! Keys of signed zones: to look at them, to let one follow another, to say what the parent has, to bring keys of another server.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::{Shared, reply, request};
use crate::model::{Algorithm, FieldError, KeyRole, KeyStage, Name, Timestamp};
use crate::sign::RollRefusal;

/// Where keys are brought: their secrets never stand in the audit log.
pub(super) const IMPORT: &str = "/v1/keys/{zone}/import";

/// Most keys of one import.
const MOST_KEYS: usize = 4;

/// Those who keep the keys.
pub trait KeyDesk: Send + Sync {
    /// Every zone that has keys.
    fn list(&self) -> KeyList;
    /// One of them.
    fn zone(&self, apex: &Name) -> Result<ZoneKeysDocument, KeyRefusal>;
    /// Begins a roll; done when the new key is in answers.
    fn roll(&self, apex: Name, role: KeyRole) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>>;
    /// Takes somebody's word that the parent has the DS of a key.
    fn ds_seen(&self, apex: Name, tag: u16) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>>;
    /// Leads a zone out of DNSSEC.
    fn unsign(&self, apex: Name, step: UnsignStep) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>>;
    /// Takes keys of another server.
    fn import(&self, apex: Name, keys: Vec<ImportedKey>) -> BoxFuture<'_, Result<ZoneKeysDocument, KeyRefusal>>;
}

/// Why keys stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// This server has no such zone.
    #[error("this server has no zone {0}")]
    UnknownZone(Name),
    /// The zone is not signed.
    #[error("{0} is not signed: [dnssec] in signpost.toml says which zones are")]
    NotSigned(Name),
    /// Not as the keys are now.
    #[error(transparent)]
    Roll(#[from] RollRefusal),
    /// A field cannot stand as it is.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// They cannot be kept.
    #[error("the keys cannot be written: {0}")]
    Storage(String),
    /// Answers cannot show them, or the server is stopping.
    #[error("the zone cannot be served with them: {0}")]
    Unserved(String),
}

/// The keys of every zone that has some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeyList {
    /// By apex.
    pub zones: Vec<ZoneKeysDocument>,
}

/// The keys of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ZoneKeysDocument {
    /// The apex.
    pub zone: String,
    /// Whether answers are signed with them.
    pub signed: bool,
    /// The keys, in the order in which they came.
    pub keys: Vec<KeyDocument>,
    /// DS records for the parent: by SHA-256, which every parent takes, and by SHA-384.
    pub ds: Vec<String>,
    /// Whether the parent should have them now; else they come too early, or it is asked to remove every DS.
    pub ds_wanted: bool,
    /// What somebody should know or do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KeyDocument {
    /// Key tag.
    pub tag: u16,
    /// What it signs.
    pub role: KeyRole,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// How far it has come.
    pub stage: KeyStage,
    /// Since when; none: not in answers yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it was made, or imported.
    pub made: Timestamp,
    /// What comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<NextStep>,
    /// Its DNSKEY record.
    pub dnskey: String,
}

/// What comes next for a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NextStep {
    /// `introduce` a successor, `activate`, `submit` its DS, wait until its `ds_seen`, `remove`.
    #[schema(value_type = String)]
    pub step: &'static str,
    /// When; none: when somebody says that the parent has the DS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What to roll.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollFields {
    /// The role whose key is followed by another.
    key: KeyRole,
}

/// Whose DS is seen.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SeenFields {
    /// The key's tag.
    tag: u16,
}

/// A step out of DNSSEC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnsignStep {
    /// Ask the parent to remove every DS, with CDS and CDNSKEY (RFC 8078 §4). The zone stays signed.
    Ask,
    /// The parent has no DS any more. Once it is in no cache, the zone can be taken out of `[dnssec]`.
    Gone,
    /// Ask no more: the zone stays signed.
    Stay,
}

/// Which step.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnsignFields {
    /// Which step.
    step: UnsignStep,
}

/// Keys of another server.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportFields {
    /// One CSK, or a KSK and a ZSK.
    keys: Vec<ImportedKey>,
}

/// A key of another server.
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedKey {
    /// The text of its `.private` file, or of a PEM file.
    pub private: String,
    /// The text of its `.key` file: the DNSKEY record.
    #[serde(default)]
    pub public: Option<String>,
    /// What it signs; default: what the flags in `public` say, where it is the only key a CSK.
    #[serde(default)]
    pub role: Option<KeyRole>,
}

impl std::fmt::Debug for ImportedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImportedKey({:?})", self.role)
    }
}

type Zone = Result<Path<String>, PathRejection>;

/// The keys of every signed zone: tag, role, how far each has come, and what comes next.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, description = "The keys", body = KeyList)))]
pub(super) async fn list(State(api): State<Arc<Shared>>) -> Response {
    reply::json(StatusCode::OK, &api.keys.list())
}

/// The keys of a zone, and the DS records for its parent.
#[utoipa::path(
    get, path = "/v1/keys/{zone}", tag = "keys",
    params(("zone" = String, Path, description = "The apex")),
    responses((status = 200, description = "The keys", body = ZoneKeysDocument)),
)]
pub(super) async fn get(State(api): State<Arc<Shared>>, zone: Zone) -> Result<Response, Problem> {
    Ok(reply::json(StatusCode::OK, &api.keys.zone(&apex(zone)?)?))
}

/// Let a new key follow one of a zone's keys.
///
/// Answered once the new key is published. A ZSK follows by itself; a KSK or CSK waits until somebody says that the parent has its DS.
#[utoipa::path(
    post, path = "/v1/keys/{zone}/roll", tag = "keys",
    params(("zone" = String, Path, description = "The apex")),
    request_body = RollFields,
    responses((status = 200, description = "The new key is published", body = ZoneKeysDocument)),
)]
pub(super) async fn roll(State(api): State<Arc<Shared>>, zone: Zone, body: Bytes) -> Result<Response, Problem> {
    let (apex, fields) = (apex(zone)?, request::body::<RollFields>(&body)?);
    Ok(reply::json(StatusCode::OK, &api.keys.roll(apex, fields.key).await?))
}

/// Say that every server of the parent has the DS of a key, and none that of the key before.
#[utoipa::path(
    post, path = "/v1/keys/{zone}/ds-seen", tag = "keys",
    params(("zone" = String, Path, description = "The apex")),
    request_body = SeenFields,
    responses((status = 200, description = "The key is in use", body = ZoneKeysDocument)),
)]
pub(super) async fn ds_seen(State(api): State<Arc<Shared>>, zone: Zone, body: Bytes) -> Result<Response, Problem> {
    let (apex, fields) = (apex(zone)?, request::body::<SeenFields>(&body)?);
    Ok(reply::json(StatusCode::OK, &api.keys.ds_seen(apex, fields.tag).await?))
}

/// Lead a zone out of DNSSEC without a moment in which it cannot be validated.
///
/// First `ask`: CDS and CDNSKEY ask the parent to remove every DS. Then, once no server of the parent has one, `gone`. When no cache has
/// one either, `note` says so, and the zone can be taken out of `[dnssec]`. `stay` takes it back.
#[utoipa::path(
    post, path = "/v1/keys/{zone}/unsign", tag = "keys",
    params(("zone" = String, Path, description = "The apex")),
    request_body = UnsignFields,
    responses((status = 200, description = "Done", body = ZoneKeysDocument)),
)]
pub(super) async fn unsign(State(api): State<Arc<Shared>>, zone: Zone, body: Bytes) -> Result<Response, Problem> {
    let (apex, fields) = (apex(zone)?, request::body::<UnsignFields>(&body)?);
    Ok(reply::json(StatusCode::OK, &api.keys.unsign(apex, fields.step).await?))
}

/// Take keys of another server, whose DS the parent may have.
///
/// Best before the zone stands in `[dnssec]`: it is signed with them from the start. Where it is signed already, they take the place of its keys as long as
/// its parent was not asked for a DS of those. The audit log has no word of the body.
#[utoipa::path(
    post, path = "/v1/keys/{zone}/import", tag = "keys",
    params(("zone" = String, Path, description = "The apex")),
    request_body = ImportFields,
    responses((status = 200, description = "They are kept, and in answers if the zone is signed", body = ZoneKeysDocument)),
)]
pub(super) async fn import(State(api): State<Arc<Shared>>, zone: Zone, body: Bytes) -> Result<Response, Problem> {
    let unread = |problem: Problem| match problem.status {
        422 => Problem::field(unreadable(problem.field.as_deref().unwrap_or_default())),
        _ => Problem::syntax("a JSON object with `keys` is expected"),
    };
    let (apex, fields) = (apex(zone)?, request::body::<ImportFields>(&body).map_err(unread)?);
    if fields.keys.is_empty() || fields.keys.len() > MOST_KEYS {
        return Err(Problem::field(FieldError::new("keys", format!("1 to {MOST_KEYS} keys are expected"))));
    }
    Ok(reply::json(StatusCode::OK, &api.keys.import(apex, fields.keys).await?))
}

/// What is wrong with a field of an import that cannot be read, without a word of what it holds: a problem's words stand in the audit log, and what is
/// in the wrong place may be a secret, be it as the name of a field.
fn unreadable(field: &str) -> FieldError {
    let expect = |field: &str, expected: String| FieldError::new(field, expected);
    let key = field.strip_prefix("keys[").and_then(|rest| rest.split_once(']')).filter(|(n, _)| n.parse::<usize>().is_ok());
    match (field, key) {
        ("keys", _) => expect(field, format!("a list of 1 to {MOST_KEYS} keys is expected: [{{ \"private\": \"…\" }}]")),
        (_, Some((_, ""))) => expect(field, "an object is expected: { \"private\": \"…\", \"public\": \"…\", \"role\": \"…\" }".into()),
        (_, Some((_, ".private"))) => expect(field, "the text of a .private file, or of a PEM file, is expected".into()),
        (_, Some((_, ".public"))) => expect(field, "the text of a .key file is expected".into()),
        (_, Some((_, ".role"))) => expect(field, "one of csk, ksk and zsk is expected".into()),
        (_, Some((n, _))) => expect(&format!("keys[{n}]"), "a key has `private`, `public` and `role`, and nothing else".into()),
        _ => expect("body", "an object with `keys`, and nothing else, is expected".into()),
    }
}

fn apex(zone: Zone) -> Result<Name, Problem> {
    let Path(text) = zone.map_err(|error| Problem::parameter("zone", error.body_text()))?;
    Name::parse(&text).map_err(|error| Problem::field(FieldError::new("zone", error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_of_an_import_is_named_and_never_quoted() {
        let cases = [
            (r#"{"keys": "HUSH"}"#, "keys", "a list of 1 to 4 keys"),
            (r#"{"keys": {"HUSH": 1}}"#, "keys", "a list of 1 to 4 keys"),
            (r#"{}"#, "keys", "a list of 1 to 4 keys"),
            (r#"{"keys": ["HUSH"]}"#, "keys[0]", "an object is expected"),
            (r#"{"keys": [{"private": "HUSH"}, {"private": {"HUSH": 1}}]}"#, "keys[1].private", "the text of a .private file"),
            (r#"{"keys": [{"public": "HUSH"}]}"#, "keys[0].private", "the text of a .private file"),
            (r#"{"keys": [{"private": "HUSH", "public": ["HUSH"]}]}"#, "keys[0].public", "the text of a .key file"),
            (r#"{"keys": [{"private": "HUSH", "role": "HUSH"}]}"#, "keys[0].role", "one of csk, ksk and zsk"),
            (r#"{"keys": [{"private": "HUSH", "HUSH": 1}]}"#, "keys[0]", "a key has `private`"),
            (r#"{"keys": [{"HUSH.HUSH": 1}]}"#, "keys[0]", "a key has `private`"),
            (r#"{"HUSH": 1}"#, "body", "an object with `keys`"),
        ];
        for (body, field, expected) in cases {
            let problem = request::body::<ImportFields>(body.as_bytes()).unwrap_err();
            let said = unreadable(problem.field.as_deref().unwrap_or_default());
            assert!(said.field == field && said.expected.starts_with(expected), "{body}: {said:?}");
            assert!(!format!("{said:?}").contains("HUSH"), "{said:?}");
        }
    }
}
