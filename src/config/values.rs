//! Values of keys: each is read as what it is to be, or said to be something else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Value;

use super::suggest;
use crate::model::{CookieSecret, CookieSettings, FieldError, Label, Name, Period, Right, Token};

/// An error about the value itself.
pub(super) fn here(expected: impl Into<String>) -> FieldError {
    FieldError::new("", expected)
}

/// A value as an error shows it: what it is, and not more of it than fits a line.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
        other => other.to_string(),
    }
}

pub(super) fn text(value: Value) -> Result<String, FieldError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(here(format!("a text in quotes is expected, not {}", shown(&other)))),
    }
}

pub(super) fn texts(value: Value) -> Result<Vec<String>, FieldError> {
    match value {
        // One address is often enough; why ask for brackets.
        Value::String(one) => Ok(vec![one]),
        Value::Array(all) => {
            let each = |(n, value)| text(value).map_err(|e| FieldError::new(format!("[{n}]"), e.expected));
            all.into_iter().enumerate().map(each).collect()
        }
        other => Err(here(format!("a list of texts is expected, not {}", shown(&other)))),
    }
}

pub(super) fn truth(value: Value) -> Result<bool, FieldError> {
    value.as_bool().ok_or_else(|| here(format!("true or false is expected, not {}", shown(&value))))
}

pub(super) fn whole(value: Value, least: i64, most: i64) -> Result<i64, FieldError> {
    match value {
        Value::Integer(number) if (least..=most).contains(&number) => Ok(number),
        other => Err(here(format!("a whole number from {least} to {most} is expected, not {}", shown(&other)))),
    }
}

pub(super) fn period(value: Value, least: u64, most: u64) -> Result<Period, FieldError> {
    let period: Period = text(value)?.parse().map_err(|e: crate::model::PeriodError| here(e.to_string()))?;
    match (least..=most).contains(&period.millis()) {
        true => Ok(period),
        false => Err(here(format!("{least}ms to {}s, not {period}", most / 1000))),
    }
}

/// Milliseconds.
pub(super) const DAY: u64 = 86_400_000;

/// The number of one of these words.
pub(super) fn one_of<const N: usize>(value: Value, words: [&'static str; N]) -> Result<usize, FieldError> {
    let text = text(value)?;
    words.iter().position(|word| *word == text).ok_or_else(|| here(format!("{text:?} is unknown; {}", suggest::instead_of(&text, words))))
}

pub(super) fn label(value: Value) -> Result<Label, FieldError> {
    Label::parse(&text(value)?).map_err(|e| here(e.to_string()))
}

pub(super) fn folder(value: Value, base: &Path) -> Result<PathBuf, FieldError> {
    let text = text(value)?;
    match text.is_empty() {
        true => Err(here("a path is expected, not an empty text")),
        false => Ok(base.join(text)),
    }
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| format!("an address and port such as \"127.0.0.1:5300\" or \"[::1]:5300\" is expected, not {text:?}"))
}

/// Addresses to listen on, each once.
pub(super) fn sockets(value: Value) -> Result<Vec<SocketAddr>, FieldError> {
    let mut listen: Vec<SocketAddr> = Vec::new();
    for (n, text) in texts(value)?.iter().enumerate() {
        let address = socket(text).map_err(|e| FieldError::new(format!("[{n}]"), e))?;
        if listen.contains(&address) && address.port() != 0 {
            return Err(FieldError::new(format!("[{n}]"), format!("{address} stands twice")));
        }
        listen.push(address);
    }
    Ok(listen)
}

/// Servers of parents: of all zones, or by zone.
pub(super) fn parents(value: Value) -> Result<BTreeMap<Option<Name>, Vec<SocketAddr>>, FieldError> {
    let of = |value: Value| {
        let each = texts(value)?.into_iter().enumerate().map(|(n, text)| {
            let address = text.parse().or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)));
            address.map_err(|_| FieldError::new(format!("[{n}]"), format!("an address is expected, with or without a port, not {text:?}")))
        });
        each.collect::<Result<Vec<SocketAddr>, FieldError>>()
    };
    let Value::Table(table) = value else { return of(value).map(|servers| [(None, servers)].into()) };
    let each = table.into_iter().map(|(name, value)| {
        let at = |error: FieldError| FieldError::new(format!("{name:?}{}", error.field), error.expected);
        let apex = match name.as_str() {
            "*" => None,
            name => Some(Name::parse(name).map_err(|error| at(here(error.to_string())))?),
        };
        Ok((apex, of(value).map_err(at)?))
    });
    each.collect()
}

/// The path of a URL, as it stands in requests (RFC 3986 §3.3, of which percent-encoding is left out).
pub(super) fn url_path(value: Value) -> Result<String, FieldError> {
    let text = text(value)?;
    let is_fine = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&b);
    match text.starts_with('/') && text.len() <= 255 && text.bytes().all(is_fine) {
        true => Ok(text),
        false => Err(here(format!("a path such as \"/dns-query\" is expected, without query and percent signs, not {text:?}"))),
    }
}

/// One character-string of a TXT record (RFC 1035 §3.3).
pub(super) fn chaos(value: Value) -> Result<String, FieldError> {
    let text = text(value)?;
    match text.len() {
        1..=255 => Ok(text),
        length => Err(here(format!("1 to 255 octets are expected, not {length}"))),
    }
}

pub(super) fn tokens(value: Value) -> Result<Vec<Token>, FieldError> {
    let Value::Array(tables) = value else {
        return Err(here("tokens are written as [[api.token]] tables"));
    };
    let mut tokens: Vec<Token> = Vec::new();
    for (n, table) in tables.into_iter().enumerate() {
        let within = |e: FieldError| match e.field.is_empty() {
            true => FieldError::new(format!("[{n}]"), e.expected),
            false => FieldError::new(format!("[{n}].{}", e.field), e.expected),
        };
        let token = token(table).map_err(within)?;
        if tokens.iter().any(|t| t.name == token.name) {
            return Err(within(FieldError::new("name", format!("two tokens are named {:?}", token.name))));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn token(value: Value) -> Result<Token, FieldError> {
    const FIELDS: [&str; 4] = ["name", "hash", "rights", "services"];
    let Value::Table(mut fields) = value else {
        return Err(here("a token is a table with name, hash and rights"));
    };
    if let Some(key) = fields.keys().find(|k| !FIELDS.contains(&k.as_str())) {
        return Err(FieldError::new(key.clone(), format!("unknown key; {}", suggest::instead_of(key, FIELDS))));
    }
    let mut take = |field: &str| fields.remove(field);
    let at = |field: &'static str| move |e: FieldError| FieldError::new(format!("{field}{}", e.field), e.expected);
    let missing = |field: &str| here(format!("`{field}` is missing"));

    let name = take("name").ok_or_else(|| missing("name")).and_then(|v| text(v).map_err(at("name")))?;
    if name.trim().is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
        return Err(FieldError::new("name", "a name of 1 to 100 octets is expected: the audit log shows it"));
    }
    let hash = take("hash").ok_or_else(|| missing("hash")).and_then(|v| text(v).map_err(at("hash")))?;
    let hash = sha256(&hash).ok_or_else(|| {
        FieldError::new(
            "hash",
            "\"sha256:\" and the 64 hex digits of the secret's SHA-256 are expected; the secret itself never stands here",
        )
    })?;
    let mut rights = Vec::new();
    let written = take("rights").ok_or_else(|| missing("rights")).and_then(|v| texts(v).map_err(at("rights")))?;
    for (n, word) in written.iter().enumerate() {
        let right = match word.as_str() {
            "read" => Right::Read,
            "register" => Right::Register,
            "operate" => Right::Operate,
            "admin" => Right::Admin,
            other => {
                let known = ["read", "register", "operate", "admin"];
                let reason = format!("unknown right {other:?}; {}", suggest::instead_of(other, known));
                return Err(FieldError::new(format!("rights[{n}]"), reason));
            }
        };
        if !rights.contains(&right) {
            rights.push(right);
        }
    }
    if rights.is_empty() {
        return Err(FieldError::new("rights", "at least one of read, register, operate and admin is expected"));
    }
    let services = take("services").map(|v| texts(v).map_err(at("services"))).transpose()?;
    if services.as_ref().is_some_and(Vec::is_empty) {
        // Without the key it is every service; a list that came out empty must not become that.
        return Err(FieldError::new("services", "at least one prefix of service names is expected; leave `services` away for all"));
    }
    let services = services.unwrap_or_default();
    for (n, prefix) in services.iter().enumerate() {
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let reason = format!("a prefix of service names is expected, without wildcard, not {prefix:?}; leave `services` away for all");
            return Err(FieldError::new(format!("services[{n}]"), reason));
        }
    }
    let services = services.iter().map(|s| s.to_ascii_lowercase()).collect();
    Ok(Token { name, hash, rights, services })
}

/// Secrets. What is wrong with one is said without it.
pub(super) fn secrets(value: Value) -> Result<Vec<CookieSecret>, FieldError> {
    let all = match value {
        Value::Array(all) => all,
        one @ Value::String(_) => vec![one],
        _ => return Err(here("a list of texts of 32 hex digits is expected")),
    };
    let mut secrets: Vec<CookieSecret> = Vec::new();
    for (n, value) in all.iter().enumerate() {
        let wrong = |expected: String| FieldError::new(format!("[{n}]"), expected);
        let Some(text) = value.as_str() else { return Err(wrong("a text of 32 hex digits is expected".into())) };
        let Some(octets) = hex::<16>(text) else {
            let found = match text.len() {
                32 => "something else".into(),
                length => format!("{length} octets"),
            };
            return Err(wrong(format!("32 hex digits are expected (`openssl rand -hex 16` makes some), not {found}")));
        };
        if secrets.contains(&CookieSecret(octets)) {
            return Err(wrong("this secret stands twice".into()));
        }
        if octets.iter().all(|octet| *octet == octets[0]) {
            return Err(wrong("this secret is easily guessed; `openssl rand -hex 16` makes a better one".into()));
        }
        secrets.push(CookieSecret(octets));
    }
    match secrets.len() {
        0..=CookieSettings::MOST_SECRETS => Ok(secrets),
        many => Err(here(format!("at most {} secrets are expected, not {many}", CookieSettings::MOST_SECRETS))),
    }
}

/// Networks, or single addresses.
pub(super) fn networks(value: Value) -> Result<Vec<IpNet>, FieldError> {
    let texts = texts(value)?;
    if texts.len() > 256 {
        return Err(here(format!("at most 256 networks are expected, not {}", texts.len())));
    }
    let each = |(n, text): (usize, &String)| {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse().ok().map(|address: IpAddr| IpNet::from(address)));
        let expected = || format!("a network such as \"192.0.2.0/24\" or \"2001:db8::/32\" is expected, not {text:?}");
        network.map(|n| n.trunc()).ok_or_else(|| FieldError::new(format!("[{n}]"), expected()))
    };
    texts.iter().enumerate().map(each).collect()
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    hex(text.strip_prefix("sha256:")?)
}

/// So many octets in hex digits.
fn hex<const OCTETS: usize>(digits: &str) -> Option<[u8; OCTETS]> {
    if digits.len() != 2 * OCTETS || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut octets = [0; OCTETS];
    for (n, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(octets)
}
