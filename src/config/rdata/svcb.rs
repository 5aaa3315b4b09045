//! SvcParams of SVCB and HTTPS records (RFC 9460 §2).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::lexer::{Token, unescape};
use super::super::suggest;
use super::base64;

/// Keys with a name (RFC 9460 §14.3.2, RFC 9461 §5, RFC 9540 §4).
const KEYS: [(&str, u16); 9] = [
    ("mandatory", 0),
    ("alpn", 1),
    ("no-default-alpn", 2),
    ("port", 3),
    ("ipv4hint", 4),
    ("ech", 5),
    ("ipv6hint", 6),
    ("dohpath", 7),
    ("ohttp", 8),
];

/// Appends the parameters in wire form: sorted by key, each key once (RFC 9460 §2.2).
pub(super) fn encode(tokens: &[Token], rdata: &mut Vec<u8>) -> Result<(), String> {
    let mut params: Vec<(u16, Vec<u8>)> = Vec::new();
    for token in tokens {
        let (name, value) = match token.text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (token.text.as_str(), None),
        };
        let key = key(name)?;
        if params.iter().any(|(k, _)| *k == key) {
            return Err(format!("{name} stands twice"));
        }
        let unquoted = value.map(|v| v.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(v));
        let octets = unquoted.map(unescape).transpose()?;
        params.push((key, param(key, octets).map_err(|reason| format!("{name}: {reason}"))?));
    }
    params.sort();
    consistent(&params)?;
    for (key, value) in params {
        rdata.extend(key.to_be_bytes());
        rdata.extend(u16::try_from(value.len()).map_err(|_| "a value holds at most 65535 octets".to_string())?.to_be_bytes());
        rdata.extend(value);
    }
    Ok(())
}

/// Whether octets are parameters in strictly increasing order of their keys.
pub(super) fn well_formed(mut wire: &[u8]) -> bool {
    let mut last: Option<u16> = None;
    while let [k1, k2, l1, l2, rest @ ..] = wire {
        let key = u16::from_be_bytes([*k1, *k2]);
        let length = usize::from(u16::from_be_bytes([*l1, *l2]));
        if last.is_some_and(|last| last >= key) || rest.len() < length {
            return false;
        }
        last = Some(key);
        wire = &rest[length..];
    }
    wire.is_empty()
}

fn key(name: &str) -> Result<u16, String> {
    if let Some((_, key)) = KEYS.iter().find(|(known, _)| *known == name) {
        return Ok(*key);
    }
    // RFC 9460 §2.1: no leading zeros; 65535 is reserved.
    let number = name.strip_prefix("key").filter(|n| *n == "0" || !n.starts_with(['0', '+'])).and_then(|n| n.parse().ok());
    match number.filter(|n| *n != u16::MAX) {
        Some(number) => Ok(number),
        None => Err(format!("unknown parameter {name:?}; {}", suggest::instead_of(name, KEYS.map(|(known, _)| known)))),
    }
}

fn param(key: u16, value: Option<Vec<u8>>) -> Result<Vec<u8>, String> {
    let Some(value) = value.filter(|v| !v.is_empty()) else {
        return match key {
            // `no-default-alpn` and `ohttp` have no value; one in the keyNNNN form may be empty.
            2 | 8 | 9.. => Ok(Vec::new()),
            _ => Err("a value is expected".into()),
        };
    };
    let text = || std::str::from_utf8(&value).map_err(|_| "a text is expected".to_string());
    match key {
        0 => {
            let mut keys: Vec<u16> = text()?.split(',').map(self::key).collect::<Result<_, _>>()?;
            keys.sort();
            if keys.first() == Some(&0) || keys.windows(2).any(|w| w[0] == w[1]) {
                return Err("each other key once is expected (RFC 9460 §8)".into());
            }
            Ok(keys.into_iter().flat_map(u16::to_be_bytes).collect())
        }
        1 => {
            let mut wire = Vec::new();
            for protocol in list(&value) {
                let length = u8::try_from(protocol.len()).ok().filter(|n| *n > 0);
                wire.push(length.ok_or("a protocol name has 1 to 255 octets")?);
                wire.extend(protocol);
            }
            Ok(wire)
        }
        2 | 8 => Err("no value is expected".into()),
        3 => {
            let port: Option<u16> = text()?.parse().ok();
            Ok(port.ok_or_else(|| format!("a port number is expected, not {:?}", String::from_utf8_lossy(&value)))?.to_be_bytes().into())
        }
        4 => {
            let address =
                |t: &str| t.parse::<Ipv4Addr>().map(|a| a.octets()).map_err(|_| format!("an IPv4 address is expected, not {t:?}"));
            Ok(text()?.split(',').map(address).collect::<Result<Vec<_>, _>>()?.concat())
        }
        5 => base64(text()?),
        6 => {
            let address =
                |t: &str| t.parse::<Ipv6Addr>().map(|a| a.octets()).map_err(|_| format!("an IPv6 address is expected, not {t:?}"));
            Ok(text()?.split(',').map(address).collect::<Result<Vec<_>, _>>()?.concat())
        }
        _ => Ok(value),
    }
}

/// A list with commas; `\,` and `\\` are octets of an item (RFC 9460 appendix A.1).
fn list(value: &[u8]) -> Vec<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b',' => {
                items.push(Vec::new());
                continue;
            }
            b'\\' => octets.next().unwrap_or(&b'\\'),
            other => other,
        };
        if let Some(item) = items.last_mut() {
            item.push(*octet);
        }
    }
    items
}

/// RFC 9460 §2.4.3: what `mandatory` names is there, and `no-default-alpn` comes with `alpn`.
fn consistent(params: &[(u16, Vec<u8>)]) -> Result<(), String> {
    let has = |key: u16| params.iter().any(|(k, _)| *k == key);
    if has(2) && !has(1) {
        return Err("`no-default-alpn` needs `alpn`".into());
    }
    if let Some((0, mandatory)) = params.first() {
        for pair in mandatory.chunks_exact(2) {
            let key = u16::from_be_bytes([pair[0], pair[1]]);
            if !has(key) {
                let name = KEYS.iter().find(|(_, k)| *k == key).map_or_else(|| format!("key{key}"), |(name, _)| name.to_string());
                return Err(format!("`mandatory` names {name}, which is not there"));
            }
        }
    }
    Ok(())
}
