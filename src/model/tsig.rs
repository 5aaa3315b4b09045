//! Keys that messages between servers are signed with (RFC 8945).

use std::fmt;

use super::Name;

/// `[tsig.NAME]`: a secret that two parties share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsigKey {
    /// Its name, which both parties know it by.
    pub name: Name,
    /// What is computed with it.
    pub algorithm: TsigAlgorithm,
    /// The secret.
    pub secret: TsigSecret,
}

/// What a message is signed with. MD5 and SHA-1 are not offered (RFC 8945 §6 lets a server do without the one, and advises against the other).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`
    HmacSha256,
    /// `hmac-sha384`
    HmacSha384,
    /// `hmac-sha512`
    HmacSha512,
}

impl TsigAlgorithm {
    /// All of them, as settings name them.
    pub const ALL: [TsigAlgorithm; 3] = [TsigAlgorithm::HmacSha256, TsigAlgorithm::HmacSha384, TsigAlgorithm::HmacSha512];

    /// Its name in settings, and the one label of its domain name (RFC 8945 §6).
    pub fn name(self) -> &'static str {
        match self {
            TsigAlgorithm::HmacSha256 => "hmac-sha256",
            TsigAlgorithm::HmacSha384 => "hmac-sha384",
            TsigAlgorithm::HmacSha512 => "hmac-sha512",
        }
    }

    /// Its domain name in wire form.
    pub fn wire(self) -> &'static [u8] {
        match self {
            TsigAlgorithm::HmacSha256 => b"\x0bhmac-sha256\x00",
            TsigAlgorithm::HmacSha384 => b"\x0bhmac-sha384\x00",
            TsigAlgorithm::HmacSha512 => b"\x0bhmac-sha512\x00",
        }
    }

    /// Octets of a whole MAC.
    pub fn mac_length(self) -> usize {
        match self {
            TsigAlgorithm::HmacSha256 => 32,
            TsigAlgorithm::HmacSha384 => 48,
            TsigAlgorithm::HmacSha512 => 64,
        }
    }
}

/// A shared secret. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct TsigSecret(pub Box<[u8]>);

impl fmt::Debug for TsigSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TsigSecret(…)")
    }
}
