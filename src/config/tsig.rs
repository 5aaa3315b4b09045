//! `[tsig.NAME]`: keys that messages between servers are signed with. No finding shows a secret, or a part of one.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value;

use super::document::Item;
use super::finding::Finding;
use super::rdata::base64;
use super::suggest;
use crate::model::{Name, TsigAlgorithm, TsigKey, TsigSecret};

/// Fewer octets than 128 bits can be guessed (RFC 8945 §8 wants as many as the digest has).
const SHORTEST: usize = 16;
/// More are no secret but a wrong file.
const LONGEST: usize = 1024;

/// Reads the tables; relative paths of files are relative to `base`.
pub(super) fn read(table: &Item<'_>, base: &Path, findings: &mut Vec<Finding>) -> BTreeMap<Name, TsigKey> {
    let mut keys = BTreeMap::new();
    let Some(entries) = table.entries() else {
        findings.push(table.finding("", "keys are written as [tsig.NAME] tables with algorithm and secret"));
        return keys;
    };
    for (name, item) in entries {
        let before = findings.len();
        item.only_keys(&["algorithm", "secret", "secret_file"], findings);
        let name = match Name::parse(name) {
            Ok(name) if keys.contains_key(&name) => {
                findings.push(item.finding("", format!("two keys are named {name}")));
                continue;
            }
            Ok(name) => name,
            Err(error) => {
                findings.push(item.finding("", format!("a key is named by a domain name: {error}")));
                continue;
            }
        };
        let algorithm = item.get("algorithm").map_or(Ok(TsigAlgorithm::HmacSha256), |value| algorithm(&value));
        let secret = secret(&item, base);
        findings.extend(algorithm.as_ref().err().cloned());
        findings.extend(secret.as_ref().err().cloned());
        if let (Ok(algorithm), Ok(secret), true) = (algorithm, secret, findings.len() == before) {
            keys.insert(name.clone(), TsigKey { name, algorithm, secret });
        }
    }
    keys
}

fn algorithm(item: &Item<'_>) -> Result<TsigAlgorithm, Finding> {
    let text = text(item)?;
    let known = TsigAlgorithm::ALL.map(TsigAlgorithm::name);
    TsigAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == text.to_ascii_lowercase()).ok_or_else(|| {
        let reason = match text.to_ascii_lowercase().as_str() {
            weak @ ("hmac-sha1" | "hmac-md5" | "hmac-md5.sig-alg.reg.int") => format!("{weak} is too weak; known are {}", known.join(", ")),
            _ => format!("unknown algorithm; {}", suggest::instead_of(&text, known)),
        };
        item.finding("", reason)
    })
}

fn secret(item: &Item<'_>, base: &Path) -> Result<TsigSecret, Finding> {
    let (written, at) = match (item.get("secret"), item.get("secret_file")) {
        (Some(_), Some(file)) => return Err(file.finding("", "goes not with `secret`: say one of them")),
        (None, None) => return Err(item.finding("", "`secret` is missing, or `secret_file`")),
        (Some(secret), None) => (text(&secret)?, secret),
        (None, Some(file)) => {
            let path = base.join(text(&file)?);
            let read = std::fs::read_to_string(&path).map_err(|error| file.finding("", format!("{}: {error}", path.display())))?;
            (read, file)
        }
    };
    let octets = base64(&written.split_whitespace().collect::<String>()).map_err(|_| at.finding("", "base64 with padding is expected"))?;
    match octets.len() {
        SHORTEST..=LONGEST => Ok(TsigSecret(octets.into())),
        length => Err(
            at.finding("", format!("a secret has {SHORTEST} to {LONGEST} octets, this has {length}; `openssl rand -base64 32` makes one"))
        ),
    }
}

/// A text, of which an error says nothing but that it is none.
fn text(item: &Item<'_>) -> Result<String, Finding> {
    match item.read::<Value>(&[], &mut Vec::new()) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(item.finding("", "a text in quotes is expected")),
    }
}
