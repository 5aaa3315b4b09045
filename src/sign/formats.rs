//! How keys are written in files: the `.private` and `.key` files that BIND, Knot's and ldns's tools read and write, and PEM.

use data_encoding::{BASE64, Specification};

use super::digest::key_tag;
use super::private::{PrivateKey, SECRET, Secret};
use crate::model::{Algorithm, KeyRole, Name, ZoneKey};

/// Why a text is no key that can be used. Nothing of a secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// It is neither of the forms.
    #[error("a .private file (\"Private-key-format: v1.3\") or PEM (\"-----BEGIN PRIVATE KEY-----\") is expected")]
    Form,
    /// A field of a .private file is missing.
    #[error("the field {0:?} is missing")]
    Missing(&'static str),
    /// The algorithm is none of ours.
    #[error("keys of algorithm {0} are not taken; 13 (ECDSAP256SHA256) and 15 (ED25519) are")]
    Algorithm(String),
    /// The octets are no key.
    #[error("the private key is none of {0}")]
    Key(&'static str),
    /// PEM of a key of another kind.
    #[error("the PEM holds no key of ECDSA on P-256 and none of Ed25519; it must not be encrypted")]
    Pem,
    /// The .key file has no DNSKEY record.
    #[error("the public file holds no DNSKEY record")]
    NoRecord,
    /// The DNSKEY record cannot be read.
    #[error("the DNSKEY record cannot be read: {0}")]
    Record(&'static str),
    /// The DNSKEY record is of another zone.
    #[error("the key is of {0}, not of {1}")]
    Zone(Name, Name),
    /// The two files do not belong together.
    #[error("the private key is not that of the DNSKEY record")]
    Pair,
}

/// A DNSKEY record as a `.key` file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicText {
    /// The zone.
    pub owner: Name,
    /// Flags.
    pub flags: u16,
    /// Algorithm number.
    pub algorithm: u8,
    /// The public key.
    pub public: Box<[u8]>,
}

/// Reads a private key: a `.private` file, or PEM.
pub fn private_key(text: &str) -> Result<PrivateKey, KeyTextError> {
    match (text.contains("-----BEGIN "), text.contains("Private-key-format:")) {
        (true, _) => pem(text),
        (_, true) => fields(text),
        _ => Err(KeyTextError::Form),
    }
}

/// Writes a private key as a `.private` file.
pub fn private_text(key: &PrivateKey) -> String {
    let algorithm = key.algorithm();
    let (number, name) = (algorithm.number(), algorithm.name().to_ascii_uppercase());
    format!("Private-key-format: v1.3\nAlgorithm: {number} ({name})\nPrivateKey: {}\n", BASE64.encode(&key.secret().0))
}

/// Writes the DNSKEY record of a key, as a `.key` file has it.
pub fn public_text(apex: &Name, role: KeyRole, key: &PrivateKey) -> String {
    let tag = key_tag(&key.dnskey(role));
    let (flags, algorithm, public) = (role.flags(), key.algorithm().number(), BASE64.encode(key.public()));
    format!("; {} of {apex}, key tag {tag}\n{apex} IN DNSKEY {flags} {} {algorithm} {public}\n", role.name(), ZoneKey::PROTOCOL)
}

/// Reads the DNSKEY record of a `.key` file.
pub fn public_key(text: &str) -> Result<PublicText, KeyTextError> {
    let wrong = KeyTextError::Record;
    // One record, perhaps in parentheses on several lines, with comments.
    let lines = text.lines().map(|line| line.split(';').next().unwrap_or_default());
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).filter(|word| !matches!(*word, "(" | ")")).collect();
    let at = words.iter().position(|word| word.eq_ignore_ascii_case("DNSKEY")).ok_or(KeyTextError::NoRecord)?;
    let owner = words.first().filter(|_| at > 0).ok_or(wrong("the owner is missing"))?;
    let owner = Name::parse(owner).map_err(|_| wrong("the owner is no name"))?;
    let [flags, protocol, algorithm, key @ ..] = &words[at + 1..] else {
        return Err(wrong("flags, protocol, algorithm and key are expected"));
    };
    let flags = flags.parse().map_err(|_| wrong("flags are a number"))?;
    if *protocol != "3" {
        return Err(wrong("the protocol of a key is 3"));
    }
    let algorithm = algorithm.parse().map_err(|_| wrong("the algorithm is a number"))?;
    let key: String = key.iter().flat_map(|part| part.chars()).filter(|c| !matches!(c, '(' | ')')).collect();
    let public = BASE64.decode(key.as_bytes()).map_err(|_| wrong("the key is no base64"))?;
    Ok(PublicText { owner, flags, algorithm, public: public.into() })
}

impl PublicText {
    /// Whether it is the public side of `key`, of the zone `apex`.
    pub fn matches(&self, apex: &Name, key: &PrivateKey) -> Result<(), KeyTextError> {
        if self.owner != *apex {
            return Err(KeyTextError::Zone(self.owner.clone(), apex.clone()));
        }
        match self.algorithm == key.algorithm().number() && *self.public == *key.public() {
            true => Ok(()),
            false => Err(KeyTextError::Pair),
        }
    }

    /// Whether it is a secure entry point.
    pub fn is_entry(&self) -> bool {
        self.flags & ZoneKey::SECURE_ENTRY != 0
    }
}

/// A `.private` file: `Name: value` lines.
fn fields(text: &str) -> Result<PrivateKey, KeyTextError> {
    let field = |name: &'static str| {
        let mut values =
            text.lines().filter_map(|line| line.split_once(':')).filter(|(n, _)| n.trim() == name).map(|(_, value)| value.trim());
        values.next().ok_or(KeyTextError::Missing(name))
    };
    let written = field("Algorithm")?;
    let number = written.split_whitespace().next().and_then(|number| number.parse().ok());
    let algorithm = number.and_then(Algorithm::of).ok_or_else(|| KeyTextError::Algorithm(written.chars().take(40).collect()))?;
    let wrong = KeyTextError::Key(algorithm.name());
    let octets = BASE64.decode(field("PrivateKey")?.as_bytes()).map_err(|_| wrong.clone())?;
    // Some write the number without its leading zeros.
    let short = octets.len() <= SECRET && (algorithm == Algorithm::EcdsaP256Sha256 || octets.len() == SECRET);
    if !short {
        return Err(wrong);
    }
    let mut secret = [0; SECRET];
    secret[SECRET - octets.len()..].copy_from_slice(&octets);
    PrivateKey::new(algorithm, Secret(secret)).map_err(|_| wrong)
}

/// The first private key of a PEM text (RFC 7468 §10, RFC 5915 §4).
fn pem(text: &str) -> Result<PrivateKey, KeyTextError> {
    let block = |label: &str| {
        let (_, behind) = text.split_once(&format!("-----BEGIN {label}-----"))?;
        Some(behind.split_once(&format!("-----END {label}-----"))?.0)
    };
    let inner = block("PRIVATE KEY").or_else(|| block("EC PRIVATE KEY")).ok_or(KeyTextError::Pem)?;
    let der = lenient().decode(inner.as_bytes()).map_err(|_| KeyTextError::Pem)?;
    PrivateKey::ecdsa_of_der(&der).or_else(|_| PrivateKey::ed25519_of_der(&der)).map_err(|_| KeyTextError::Pem)
}

/// Base64 with line ends in it.
fn lenient() -> data_encoding::Encoding {
    let mut form: Specification = BASE64.specification();
    form.ignore.push_str(" \t\r\n");
    form.encoding().unwrap_or(BASE64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of RFC 6605 §6.1 and RFC 8080 §6.1, and theirs of PKCS #8 as `openssl genpkey` writes it.
    const ECDSA: &str =
        "Private-key-format: v1.2\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=\n";
    const ECDSA_KEY: &str = "example.net. 3600 IN DNSKEY 257 3 13 (\n GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edb\n krSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA== )\n";
    const ED25519: &str = "Private-key-format: v1.2\nAlgorithm: 15 (ED25519)\nPrivateKey: ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=\n";
    const ED25519_KEY: &str = "; a comment\nexample.com. IN DNSKEY 257 3 15 l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=";

    #[test]
    fn the_keys_of_rfc_6605_and_8080_are_read_and_written() {
        for (private, public, zone) in [(ECDSA, ECDSA_KEY, "example.net"), (ED25519, ED25519_KEY, "example.com")] {
            let (key, record, apex) = (private_key(private).unwrap(), public_key(public).unwrap(), Name::parse(zone).unwrap());
            assert_eq!(record.matches(&apex, &key), Ok(()), "{zone}");
            assert!(record.is_entry());
            let again = private_key(&private_text(&key)).unwrap();
            assert_eq!((again.secret(), again.public()), (key.secret(), key.public()));
            assert_eq!(public_key(&public_text(&apex, KeyRole::Csk, &key)).unwrap(), record);
        }
        let (ecdsa, ed25519) = (private_key(ECDSA).unwrap(), public_key(ED25519_KEY).unwrap());
        assert_eq!(ed25519.matches(&ed25519.owner, &ecdsa), Err(KeyTextError::Pair));
        let other = Name::parse("other.example").unwrap();
        assert!(matches!(ed25519.matches(&other, &ecdsa), Err(KeyTextError::Zone(..))));
    }

    #[test]
    fn pem_is_read_in_each_form() {
        // What `openssl pkcs8` and `openssl ec` make of the keys above.
        let wrapped = |label: &str, der: &[u8]| {
            let base64 = BASE64.encode(der);
            let lines: Vec<String> = base64.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into()).collect();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
        };
        let ed25519 = private_key(ED25519).unwrap();
        let der = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &ed25519.secret().0].concat();
        assert_eq!(private_key(&wrapped("PRIVATE KEY", &der)).unwrap().public(), ed25519.public());
        let ecdsa = private_key(ECDSA).unwrap();
        let sec1 =
            [&[0x30, 0x31, 2, 1, 1, 4, 0x20][..], &ecdsa.secret().0, &[0xa0, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]].concat();
        assert_eq!(private_key(&wrapped("EC PRIVATE KEY", &sec1)).unwrap().public(), ecdsa.public());
        // In PKCS #8 the curve stands outside.
        let inner = [&[0x30, 0x25, 2, 1, 1, 4, 0x20][..], &ecdsa.secret().0].concat();
        let identifiers = [0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let inner = [&inner[..2], &inner[2..]].concat();
        let body = [&[2, 1, 0][..], &identifiers, &[4, inner.len() as u8], &inner].concat();
        let der = [&[0x30, body.len() as u8][..], &body].concat();
        assert_eq!(private_key(&wrapped("PRIVATE KEY", &der)).unwrap().public(), ecdsa.public());
        assert_eq!(private_key(&wrapped("RSA PRIVATE KEY", &der)).unwrap_err(), KeyTextError::Pem);
        assert_eq!(private_key(&wrapped("PRIVATE KEY", &der[..20])).unwrap_err(), KeyTextError::Pem);
    }

    #[test]
    fn what_is_no_key_is_told_apart_and_shows_no_secret() {
        let check = |text: &str, said: &str| {
            let error = private_key(text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("GU6SnQ"), "{text}: {error}");
        };
        check("", "is expected");
        check("Private-key-format: v1.3\nAlgorithm: 13", "\"PrivateKey\" is missing");
        check("Private-key-format: v1.3\nPrivateKey: GU6SnQ==", "\"Algorithm\" is missing");
        check(&ECDSA.replace("13 (ECDSAP256SHA256)", "8 (RSASHA256)"), "algorithm 8 (RSASHA256) are not taken");
        check(&ECDSA.replace("6mQ=", "6mQ"), "none of ecdsap256sha256");
        check(&ED25519.replace("ODIy", ""), "none of ed25519");
        // Zero, and the order of the group, are no scalars.
        check(&ECDSA.replace("GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=", &BASE64.encode(&[0; 32])), "none of");
        check(&ECDSA.replace("GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=", &BASE64.encode(&[0xff; 32])), "none of");
        for (text, said) in [
            ("example. IN A 192.0.2.1", "no DNSKEY"),
            ("DNSKEY 257 3 13 AQID", "owner"),
            ("example. DNSKEY 257 2 13 AQID", "protocol"),
            ("example. DNSKEY 257 3", "expected"),
            ("example. DNSKEY 257 3 13 A", "base64"),
        ] {
            let error = public_key(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
