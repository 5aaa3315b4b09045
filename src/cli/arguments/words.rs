//! Single words of the command line: what each is to be, and what is said where it is something else.

use std::net::IpAddr;

use reqwest::Url;

use crate::model::{InstanceKey, Label, Name, Subject};

pub(super) fn api_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    url.ok_or_else(|| "expected a URL such as http://127.0.0.1:8053".into())
}

pub(in crate::cli) fn instance_key(text: &str) -> Result<InstanceKey, String> {
    let (service, id) = text.split_once('/').ok_or("expected SERVICE/ID, such as web/eu1")?;
    let label = |text: &str| Label::parse(text).map_err(|e| e.to_string());
    Ok(InstanceKey { service: label(service)?, id: label(id)? })
}

/// A zone's name, as it stands in a path.
pub(super) fn zone_path(text: &str) -> Result<String, String> {
    let name = Name::parse(text).map_err(|e| e.to_string())?;
    Ok(name.to_string().bytes().map(|b| if b"/%?#\\".contains(&b) { format!("%{b:02X}") } else { char::from(b).into() }).collect())
}

pub(super) fn subject(text: &str) -> Result<Subject, String> {
    Subject::parse(text).map_err(|e| match e.expected.contains(" not ") || e.expected.contains('"') {
        true => format!("expected {}", e.expected),
        false => e.expected,
    })
}

pub(super) fn assumption(text: &str) -> Result<String, String> {
    let (what, state) = text.split_once('=').ok_or("expected SUBJECT=STATE, such as region/eu-west=drained")?;
    subject(what)?;
    match state {
        "drained" | "serving" | "healthy" | "unhealthy" | "pending" => Ok(text.to_owned()),
        _ => Err(format!("expected drained, serving, healthy, unhealthy or pending behind '=', not {state:?}")),
    }
}

pub(super) fn zone(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|e| e.to_string())
}

pub(super) fn prefix(text: &str) -> Result<String, String> {
    match text.parse::<IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("expected a prefix such as 10.1.0.0/16 or 2001:db8::/48".into()),
    }
}

pub(super) fn token_name(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b)) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 64 letters, digits and '-', '_', '.', '@'".into()),
    }
}

pub(super) fn service_prefix(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("expected the beginning of service names, such as web-".into()),
    }
}
