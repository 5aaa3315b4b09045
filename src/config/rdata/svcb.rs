//! SvcParams of SVCB and HTTPS records (RFC 9460 §2).

use super::super::lexer::{Token, unescape};
use super::super::suggest;
use super::digits::base64;
use super::networks::{v4, v6};

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;
const TLS_SUPPORTED_GROUPS: u16 = 9;
const DOCPATH: u16 = 10;

/// Keys with a name, in the order of their numbers: RFC 9460 §14.3.2, RFC 9461 §5, RFC 9540 §4, and what IANA registered since.
const KEYS: [&str; 11] =
    ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp", "tls-supported-groups", "docpath"];

/// Appends the parameters in wire form: sorted by key, each key once (RFC 9460 §2.2).
pub(super) fn encode(tokens: &[Token<'_>], rdata: &mut Vec<u8>) -> Result<(), String> {
    let mut params: Vec<(u16, Vec<u8>)> = Vec::new();
    for token in tokens {
        let (name, value) = match token.text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (token.text, None),
        };
        let (key, generic) = key(name)?;
        if params.iter().any(|(k, _)| *k == key) {
            return Err(format!("{name} stands twice"));
        }
        let said = |reason: String| format!("{name}: {reason}");
        let unquoted = value.map(|v| v.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(v));
        let octets = unquoted.map(unescape).transpose().map_err(said)?.unwrap_or_default();
        let wire = match generic {
            // RFC 9460 §2.1: what a key in the form keyNNNNN has are the octets themselves.
            true => octets.into_owned(),
            false => value_of(key, &octets).map_err(said)?,
        };
        fits(key, &wire).map_err(said)?;
        params.push((key, wire));
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

/// Whether octets are parameters in strictly increasing order of their keys, with values that their keys may have.
pub(super) fn well_formed(mut wire: &[u8]) -> bool {
    let mut params: Vec<(u16, Vec<u8>)> = Vec::new();
    while let [k1, k2, l1, l2, rest @ ..] = wire {
        let key = u16::from_be_bytes([*k1, *k2]);
        let length = usize::from(u16::from_be_bytes([*l1, *l2]));
        let Some(value) = rest.get(..length) else { return false };
        if params.last().is_some_and(|(last, _)| *last >= key) || key == u16::MAX || fits(key, value).is_err() {
            return false;
        }
        params.push((key, value.into()));
        wire = &rest[length..];
    }
    wire.is_empty() && consistent(&params).is_ok()
}

/// The number of a key, and whether it was written as one.
fn key(name: &str) -> Result<(u16, bool), String> {
    if let Some(key) = KEYS.iter().position(|known| *known == name) {
        return Ok((key as u16, false));
    }
    // RFC 9460 §2.1: no leading zeros; 65535 is reserved.
    let number = name.strip_prefix("key").filter(|n| *n == "0" || !n.starts_with(['0', '+'])).and_then(|n| n.parse().ok());
    match number.filter(|n| *n != u16::MAX) {
        Some(number) => Ok((number, true)),
        None => Err(format!("unknown parameter {name:?}; {}", suggest::instead_of(name, KEYS))),
    }
}

fn key_name(key: u16) -> String {
    KEYS.get(usize::from(key)).map_or_else(|| format!("key{key}"), |name| name.to_string())
}

/// The wire form of a named key's value.
fn value_of(key: u16, value: &[u8]) -> Result<Vec<u8>, String> {
    let text = || std::str::from_utf8(value).map_err(|_| "a text is expected".to_string());
    if value.is_empty() {
        return Ok(Vec::new());
    }
    Ok(match key {
        MANDATORY => {
            let mut keys: Vec<u16> = text()?.split(',').map(|name| self::key(name).map(|(key, _)| key)).collect::<Result<_, _>>()?;
            keys.sort();
            keys.into_iter().flat_map(u16::to_be_bytes).collect()
        }
        ALPN | DOCPATH => {
            let mut wire = Vec::new();
            for item in list(value) {
                wire.push(u8::try_from(item.len()).map_err(|_| "an item of the list has at most 255 octets")?);
                wire.extend(item);
            }
            wire
        }
        PORT => {
            let port: Option<u16> = text()?.parse().ok();
            port.ok_or_else(|| format!("a port number is expected, not {:?}", String::from_utf8_lossy(value)))?.to_be_bytes().into()
        }
        IPV4HINT => text()?.split(',').map(v4).collect::<Result<Vec<_>, _>>()?.concat(),
        IPV6HINT => text()?.split(',').map(v6).collect::<Result<Vec<_>, _>>()?.concat(),
        ECH => base64(text()?)?,
        TLS_SUPPORTED_GROUPS => {
            let group = |t: &str| t.parse::<u16>().map(u16::to_be_bytes).map_err(|_| format!("numbers of groups are expected, not {t:?}"));
            text()?.split(',').map(group).collect::<Result<Vec<_>, _>>()?.concat()
        }
        _ => value.into(),
    })
}

/// Whether octets may be the value of a key.
fn fits(key: u16, wire: &[u8]) -> Result<(), String> {
    let said = |reason: &str| Err(reason.to_string());
    let pairs = || wire.chunks(2).map(|pair| pair.iter().fold(0u16, |sum, octet| sum << 8 | u16::from(*octet)));
    match key {
        NO_DEFAULT_ALPN | OHTTP if !wire.is_empty() => said("no value is expected"),
        MANDATORY..=DOHPATH | TLS_SUPPORTED_GROUPS if wire.is_empty() && key != NO_DEFAULT_ALPN => said("a value is expected"),
        // RFC 9460 §8: in strictly increasing order, and not itself.
        MANDATORY if !wire.len().is_multiple_of(2) || wire.starts_with(&[0, 0]) || !pairs().is_sorted_by(|a, b| a < b) => {
            said("each other key once is expected (RFC 9460 §8)")
        }
        // RFC 9460 §7.1.1: names of 1 to 255 octets.
        ALPN if items(wire).is_none_or(|items| items.contains(&0)) => said("a protocol name has 1 to 255 octets"),
        PORT if wire.len() != 2 => said("a port number is expected"),
        IPV4HINT if !wire.len().is_multiple_of(4) => said("IPv4 addresses are expected"),
        IPV6HINT if !wire.len().is_multiple_of(16) => said("IPv6 addresses are expected"),
        // RFC 9461 §5: a relative URI template with the variable `dns`.
        DOHPATH if !is_template(wire) => said("a path with the variable dns is expected, such as /dns-query{?dns}"),
        TLS_SUPPORTED_GROUPS if !wire.len().is_multiple_of(2) => said("numbers of groups are expected"),
        TLS_SUPPORTED_GROUPS if pairs().enumerate().any(|(n, group)| pairs().take(n).any(|other| other == group)) => {
            said("each group once is expected")
        }
        DOCPATH if items(wire).is_none() => said("segments of a path are expected"),
        _ => Ok(()),
    }
}

/// The lengths of items that have them in front; `None` where the last is cut.
fn items(mut wire: &[u8]) -> Option<Vec<u8>> {
    let mut lengths = Vec::new();
    while let Some((length, rest)) = wire.split_first() {
        wire = rest.get(usize::from(*length)..)?;
        lengths.push(*length);
    }
    Some(lengths)
}

fn is_template(wire: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(wire).ok().filter(|text| text.starts_with('/')) else { return false };
    let mut expressions = text.split('{').skip(1).filter_map(|behind| behind.split_once('}').map(|(inside, _)| inside));
    // RFC 6570 §2.2: an operator, then names with commas between them, each with a modifier perhaps.
    expressions.any(|inside| {
        let names = inside.trim_start_matches(['?', '&', '+', '#', '.', '/', ';']).split(',');
        names.map(|name| name.split([':', '*']).next().unwrap_or(name)).any(|name| name == "dns")
    })
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

/// RFC 9460 §8: what `mandatory` names is there; §7.1.1: `no-default-alpn` comes with `alpn`.
fn consistent(params: &[(u16, Vec<u8>)]) -> Result<(), String> {
    let has = |key: u16| params.iter().any(|(k, _)| *k == key);
    if has(NO_DEFAULT_ALPN) && !has(ALPN) {
        return Err("`no-default-alpn` needs `alpn`".into());
    }
    if let Some((MANDATORY, mandatory)) = params.first() {
        for pair in mandatory.chunks_exact(2) {
            let key = u16::from_be_bytes([pair[0], pair[1]]);
            if !has(key) {
                return Err(format!("`mandatory` names {}, which is not there", key_name(key)));
            }
        }
    }
    Ok(())
}
