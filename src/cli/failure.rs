//! Why a subcommand failed, and what to do about it.

use std::path::PathBuf;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

/// Why a subcommand failed. Its text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Arguments that clap alone cannot judge.
    #[error("{0}")]
    Usage(String),
    /// A file that was named cannot be read.
    #[error("{}: {reason}", .path.display())]
    Input {
        /// The file; `-` is standard input.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nobody answers there.
    #[error("no Signpost answers at {api}: is `signpost serve` running? --api names another ({reason})")]
    Unreachable {
        /// The API's address.
        api: String,
        /// What the system said.
        reason: String,
    },
    /// Somebody answers there who is no Signpost.
    #[error("what answers at {api} does not look like Signpost ({reason}): --api names another")]
    Stranger {
        /// The API's address.
        api: String,
        /// What was answered.
        reason: String,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The server is not ready.
    #[error("not ready: {0}")]
    NotReady(String),
    /// The output could not be written.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

/// An RFC 9457 problem as the server gave it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// What kind of problem, as a URN.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// What kind of problem.
    pub title: String,
    /// What exactly.
    pub detail: String,
    /// The field that is wrong, if it is one.
    pub field: Option<String>,
    /// The document itself.
    #[serde(skip)]
    pub document: Value,
}

impl Failure {
    /// Wrong usage.
    pub(super) fn usage(text: impl Into<String>) -> Failure {
        Failure::Usage(text.into())
    }

    /// The exit code: 2 for usage, 1 for everything that was refused or could not be done.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::Input { .. } => 2,
            _ => 1,
        }
    }
}

impl Problem {
    /// Reads the body of a response with an error status.
    pub(super) fn read(status: StatusCode, body: &str) -> Problem {
        let document: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let mut problem: Problem = serde_json::from_value(document.clone()).unwrap_or_default();
        problem.status = status.as_u16();
        if problem.title.is_empty() {
            problem.title = status.canonical_reason().unwrap_or("refused").into();
        }
        problem.document = document;
        problem
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = if self.detail.is_empty() { &self.title } else { &self.detail };
        let said = super::table::plain(said);
        match &self.field {
            // The server's text may begin with the field already.
            Some(field) if !field.is_empty() && !said.starts_with(field.as_str()) => write!(f, "{}: {said}", super::table::plain(field))?,
            _ => f.write_str(&said)?,
        }
        match self.status {
            401 => f.write_str("\n  the API wants a token: pass --token-file FILE or set SIGNPOST_TOKEN; `signpost token create` makes one"),
            403 if self.kind.ends_with(":forbidden") => f.write_str("\n  the token is known but may not do this: its `rights` and `services` stand in [[api.token]] of the server's signpost.toml"),
            412 => f.write_str("\n  somebody changed it in between: look again, then repeat"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_field_once_and_says_what_to_do() {
        let said = |status, body: &str| Problem::read(StatusCode::from_u16(status).unwrap(), body).to_string();
        for (status, body, expected) in [
            (422, r#"{"title":"invalid","detail":"0 to 65535, not 70000","field":"weight"}"#, "weight: 0 to 65535, not 70000"),
            (422, r#"{"title":"invalid","detail":"weight: 0 to 65535","field":"weight"}"#, "weight: 0 to 65535"),
            (404, r#"{"title":"Not Found","detail":"there is no service web"}"#, "there is no service web"),
            (502, "<html>\u{1b}[31m", "Bad Gateway"),
            (409, r#"{"detail":"a\u001b[31mb"}"#, "a\\u{1b}[31mb"),
        ] {
            assert_eq!(said(status, body), expected, "{body}");
        }
        assert!(said(401, "{}").contains("--token-file"));
        assert!(said(403, r#"{"type":"urn:signpost:problem:forbidden"}"#).contains("[[api.token]]"));
        assert!(!said(403, r#"{"type":"urn:signpost:problem:cross-site"}"#).contains("[[api.token]]"), "no token would help");
    }
}
