//! `token create`: a secret for a client, and its hash for the server.

// A secret is the one thing here that must not be foreseeable.
#![allow(clippy::disallowed_methods)]

use std::fmt::Write;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Page;
use super::arguments::TokenArguments;
use super::failure::Failure;
use super::table::{FAINT, HEADING, push};

/// Octets of randomness in a secret.
const SECRET_OCTETS: usize = 32;

/// Makes a token. Nothing but the returned page knows the secret.
pub(super) fn create(arguments: TokenArguments) -> Result<Page, Failure> {
    let mut random = [0; SECRET_OCTETS];
    getrandom::fill(&mut random).map_err(|e| Failure::Output(std::io::Error::other(e.to_string())))?;
    Ok(page(arguments, &random))
}

fn page(mut arguments: TokenArguments, random: &[u8; SECRET_OCTETS]) -> Page {
    arguments.rights.sort();
    arguments.rights.dedup();
    // The prefix lets secret scanners and people recognise it.
    let secret = format!("signpost_{}", hex(random));
    let hash = format!("sha256:{}", hex(&Sha256::digest(secret.as_bytes())));
    let rights: Vec<&str> = arguments.rights.iter().map(|r| r.as_str()).collect();

    // Names, rights and prefixes are of letters, digits and a few marks: nothing in them needs escaping in TOML.
    let quoted = |items: &[&str]| items.iter().map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(", ");
    let services: Vec<&str> = arguments.services.iter().map(String::as_str).collect();
    let mut config = format!("[[api.token]]\nname = \"{}\"\nhash = \"{hash}\"\nrights = [{}]\n", arguments.name, quoted(&rights));
    if !services.is_empty() {
        let _ = writeln!(config, "services = [{}]", quoted(&services));
    }

    let mut text = String::new();
    push(&mut text, "The secret, for the client (SIGNPOST_TOKEN, or a file for --token-file). It is shown this once:\n", FAINT);
    push(&mut text, &secret, HEADING);
    push(&mut text, "\n\nFor the server's signpost.toml:\n", FAINT);
    text.push_str(&config);
    let document =
        json!({ "name": arguments.name, "secret": secret, "hash": hash, "rights": rights, "services": services, "config": config });
    Page { text, document }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::RightArgument;

    #[test]
    fn the_hash_is_of_the_secret_as_it_is_sent() {
        let arguments = TokenArguments {
            name: "ci".into(),
            rights: vec![RightArgument::Operate, RightArgument::Read, RightArgument::Read],
            services: vec!["web-".into()],
        };
        let page = page(arguments, &[7; SECRET_OCTETS]);
        let secret = page.document["secret"].as_str().unwrap();
        let config: toml::Value = toml::from_str(page.document["config"].as_str().unwrap()).unwrap();
        let token = &config["api"]["token"][0];
        assert_eq!(token["hash"].as_str().unwrap(), format!("sha256:{}", hex(&Sha256::digest(secret))));
        assert_eq!(token["rights"], toml::Value::from(vec!["read", "operate"]));
        assert_eq!(token["services"], toml::Value::from(vec!["web-"]));
        assert!(page.text.contains(secret));
        assert!(!page.document["config"].as_str().unwrap().contains(secret));
    }
}
