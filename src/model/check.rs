//! Checks: how an instance's health is found out.

use serde::{Deserialize, Serialize};

use super::instance::FieldError;
use super::{Label, Period};

/// One active probe of an instance, sent to the instance's own registered address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "CheckFields", into = "CheckFields")]
pub struct Check {
    /// What is sent and what counts as a pass.
    pub kind: CheckKind,
    /// The named port it goes to; `None`: the service's default port.
    pub port: Option<Label>,
    /// Time between the starts of two probes, 100 ms to 1 h; default 5 s.
    pub interval: Period,
    /// Longest time for one probe, 10 ms to 60 s; default 2 s.
    pub timeout: Period,
    /// Passes in a row until Healthy, 1–10; default 2.
    pub rise: u8,
    /// Failures in a row until Unhealthy, 1–10; default 3.
    pub fall: u8,
}

/// The probe itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// A TCP connection is accepted.
    Tcp,
    /// A GET is answered as expected; redirects are not followed and at most 64 KiB of the body are read.
    Http(Box<HttpCheck>),
}

/// What an HTTP or HTTPS probe asks and expects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpCheck {
    /// The path and query, beginning with `/`.
    pub path: String,
    /// TLS settings for HTTPS; `None` for HTTP.
    pub tls: Option<TlsCheck>,
    /// `Host` header; default: the instance's address and port.
    pub host: Option<String>,
    /// Status codes that pass, inclusive; default 200–399.
    pub status: (u16, u16),
    /// A text that the first 64 KiB of the body must hold.
    pub body: Option<String>,
}

/// The TLS side of an HTTPS probe.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TlsCheck {
    /// Server name indication (RFC 6066 §3); default: `host` if that is a name, else none.
    pub sni: Option<String>,
    /// Whether the certificate must be valid for `sni`; default no, as Route 53.
    pub verify: bool,
}

/// How a [`Check`] is written in files and in the API: `{ http = "/healthz", port = "http", interval = "5s" }`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckFields {
    /// Path of an HTTP probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Path of an HTTPS probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// `true` for a TCP probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<bool>,
    /// Named port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Label>,
    /// Time between two probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// Longest time for one probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// Passes in a row until Healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rise: Option<u8>,
    /// Failures in a row until Unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fall: Option<u8>,
    /// `200` or `200-299`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A text the body must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `Host` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Server name indication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Whether the certificate must be valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_tls: Option<bool>,
}

impl TryFrom<CheckFields> for Check {
    type Error = String;

    fn try_from(fields: CheckFields) -> Result<Check, String> {
        let only_http = |name: &str, given: bool| match given {
            true => Err(format!("`{name}` goes with `http` or `https` only")),
            false => Ok(()),
        };
        let only_https = |name: &str, given: bool| match given {
            true => Err(format!("`{name}` goes with `https` only")),
            false => Ok(()),
        };
        let kind = match (fields.http, fields.https, fields.tcp) {
            (None, None, Some(true)) => {
                only_http("status", fields.status.is_some())?;
                only_http("body", fields.body.is_some())?;
                only_http("host", fields.host.is_some())?;
                only_https("sni", fields.sni.is_some())?;
                only_https("verify_tls", fields.verify_tls.is_some())?;
                CheckKind::Tcp
            }
            (http, https, None | Some(false)) if http.is_some() != https.is_some() => {
                let tls = match https {
                    Some(_) => Some(TlsCheck { sni: fields.sni, verify: fields.verify_tls.unwrap_or(false) }),
                    None => {
                        only_https("sni", fields.sni.is_some())?;
                        only_https("verify_tls", fields.verify_tls.is_some())?;
                        None
                    }
                };
                let status = match &fields.status {
                    None => (200, 399),
                    Some(text) => status_range(text)?,
                };
                let path = http.or(https).unwrap_or_default();
                CheckKind::Http(Box::new(HttpCheck { path, tls, host: fields.host, status, body: fields.body }))
            }
            _ => return Err("a check is exactly one of `http = \"/path\"`, `https = \"/path\"` and `tcp = true`".into()),
        };
        Ok(Check {
            kind,
            port: fields.port,
            interval: fields.interval.unwrap_or(Period::seconds(5)),
            timeout: fields.timeout.unwrap_or(Period::seconds(2)),
            rise: fields.rise.unwrap_or(2),
            fall: fields.fall.unwrap_or(3),
        })
    }
}

/// `200` or `200-399`, as an inclusive range within 100–599.
fn status_range(text: &str) -> Result<(u16, u16), String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.trim().parse(), high.trim().parse()) {
        (Ok(low), Ok(high)) if 100 <= low && low <= high && high <= 599 => Ok((low, high)),
        _ => Err(format!("status {text:?} is neither a code such as 200 nor a range such as 200-399")),
    }
}

impl From<Check> for CheckFields {
    fn from(check: Check) -> CheckFields {
        let mut fields = CheckFields {
            port: check.port,
            interval: Some(check.interval),
            timeout: Some(check.timeout),
            rise: Some(check.rise),
            fall: Some(check.fall),
            ..CheckFields::default()
        };
        match check.kind {
            CheckKind::Tcp => fields.tcp = Some(true),
            CheckKind::Http(http) => {
                fields.status = Some(format!("{}-{}", http.status.0, http.status.1));
                fields.body = http.body;
                fields.host = http.host;
                match http.tls {
                    None => fields.http = Some(http.path),
                    Some(tls) => {
                        fields.https = Some(http.path);
                        fields.sni = tls.sni;
                        fields.verify_tls = Some(tls.verify);
                    }
                }
            }
        }
        fields
    }
}

impl Check {
    /// Checks the ranges.
    pub fn validate(&self) -> Result<(), FieldError> {
        let millis = |field: &str, period: Period, least: u64, most: u64| match (least..=most).contains(&period.millis()) {
            true => Ok(()),
            false => Err(FieldError::new(field, format!("{least}ms to {}s, not {period}", most / 1000))),
        };
        millis("interval", self.interval, 100, 3_600_000)?;
        millis("timeout", self.timeout, 10, 60_000)?;
        for (field, value) in [("rise", self.rise), ("fall", self.fall)] {
            if !(1..=10).contains(&value) {
                return Err(FieldError::new(field, format!("1 to 10, not {value}")));
            }
        }
        if let CheckKind::Http(http) = &self.kind {
            let field = if http.tls.is_some() { "https" } else { "http" };
            if !http.path.starts_with('/') || http.path.len() > 2000 || !http.path.bytes().all(|b| (0x21..0x7f).contains(&b)) {
                return Err(FieldError::new(field, "a path beginning with '/', of printable ASCII without blanks, at most 2000 octets"));
            }
            for (field, value) in [("host", &http.host), ("sni", &http.tls.as_ref().and_then(|t| t.sni.clone()))] {
                if value.as_ref().is_some_and(|v| v.is_empty() || v.len() > 255 || !v.bytes().all(|b| (0x21..0x7f).contains(&b))) {
                    return Err(FieldError::new(field, "a host name, at most 255 octets"));
                }
            }
        }
        Ok(())
    }

    /// A short description, such as `https /healthz`, for people.
    pub fn describe(&self) -> String {
        let port = self.port.as_ref().map(|p| format!(" on {p}")).unwrap_or_default();
        match &self.kind {
            CheckKind::Tcp => format!("tcp{port}"),
            CheckKind::Http(http) => format!("{} {}{port}", if http.tls.is_some() { "https" } else { "http" }, http.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_reads_what_it_writes() {
        for json in [
            r#"{"http":"/healthz","port":"http"}"#,
            r#"{"https":"/","sni":"www.example","verify_tls":true,"status":"204","body":"ok","host":"h"}"#,
            r#"{"tcp":true,"interval":"200ms","timeout":"100ms","rise":1,"fall":1}"#,
        ] {
            let check: Check = serde_json::from_str(json).unwrap();
            check.validate().unwrap();
            let again: Check = serde_json::from_str(&serde_json::to_string(&check).unwrap()).unwrap();
            assert_eq!(check, again);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for (json, said) in [
            (r#"{}"#, "exactly one"),
            (r#"{"http":"/","tcp":true}"#, "exactly one"),
            (r#"{"http":"/","sni":"x"}"#, "`sni` goes with `https`"),
            (r#"{"tcp":true,"status":"200"}"#, "`status` goes with"),
            (r#"{"http":"/","status":"99"}"#, "99"),
            (r#"{"http":"/","every":"1s"}"#, "every"),
        ] {
            let error = serde_json::from_str::<Check>(json).unwrap_err().to_string();
            assert!(error.contains(said), "{json}: {error}");
        }
        let fast: Check = serde_json::from_str(r#"{"tcp":true,"interval":"50ms"}"#).unwrap();
        assert_eq!(fast.validate().unwrap_err().field, "interval");
    }
}
