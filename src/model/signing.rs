//! What a signed zone shows of its keys (RFC 4034 §2): the public side. Private keys stand in `sign`.

use serde::{Deserialize, Serialize};

/// How a zone is signed, as far as its answers show it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ZoneSigning {
    /// Every key of the zone, published or not, in the order of their tags.
    pub keys: Vec<ZoneKey>,
    /// TTL of DNSKEY, CDS and CDNSKEY, in seconds.
    pub dnskey_ttl: u32,
    /// How it is proved that something is not there.
    pub denial: Denial,
    /// RDATA of the CDS records at the apex, which ask the parent for its DS (RFC 7344 §3.1); none: nothing is asked.
    pub cds: Vec<Box<[u8]>>,
    /// RDATA of the CDNSKEY records at the apex, which ask the same (RFC 7344 §3.2).
    pub cdnskey: Vec<Box<[u8]>>,
    /// Names the keys that sign and what each of them signs: while it is the same, signatures that were made may be used again, also
    /// after a restart.
    pub epoch: u64,
}

/// The public side of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ZoneKey {
    /// [`ZoneKey::ZONE`], and [`ZoneKey::SECURE_ENTRY`] where it is what the parent's DS names.
    pub flags: u16,
    /// Algorithm number (RFC 4034 §A.1).
    pub algorithm: u8,
    /// Key tag (RFC 4034 §B): no two keys of a zone have the same.
    pub tag: u16,
    /// The public key as it stands in a DNSKEY.
    pub public: Box<[u8]>,
    /// It signs DNSKEY, CDS and CDNSKEY.
    pub signs_keys: bool,
    /// It signs everything else.
    pub signs_zone: bool,
    /// It stands in the DNSKEY RRset.
    pub published: bool,
}

/// How it is proved that something is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Denial {
    /// An NSEC at the name itself, made for each answer (RFC 9824).
    #[default]
    Compact,
    /// NSEC3 around the hash of the name, made for each answer (RFC 5155; RFC 7129 §B).
    Nsec3,
}

impl ZoneKey {
    /// Bit 7 of the flags: the key of a zone (RFC 4034 §2.1.1).
    pub const ZONE: u16 = 0x0100;
    /// Bit 15 of the flags: a secure entry point (RFC 4034 §2.1.1).
    pub const SECURE_ENTRY: u16 = 0x0001;
    /// The one protocol number that there is (RFC 4034 §2.1.2).
    pub const PROTOCOL: u8 = 3;

    /// RDATA of its DNSKEY and CDNSKEY.
    pub fn rdata(&self) -> Box<[u8]> {
        let [high, low] = self.flags.to_be_bytes();
        [&[high, low, ZoneKey::PROTOCOL, self.algorithm], &*self.public].concat().into()
    }
}

impl ZoneSigning {
    /// RDATA of the DNSKEY RRset.
    pub fn dnskey(&self) -> Vec<Box<[u8]>> {
        self.keys.iter().filter(|key| key.published).map(ZoneKey::rdata).collect()
    }
}

/// What keys are made for, and sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 6605), which every validator knows.
    #[default]
    EcdsaP256Sha256,
    /// Ed25519 (RFC 8080).
    Ed25519,
}

impl Algorithm {
    /// Both.
    pub const ALL: [Algorithm; 2] = [Algorithm::EcdsaP256Sha256, Algorithm::Ed25519];

    /// Its number (RFC 4034 §A.1).
    pub const fn number(self) -> u8 {
        match self {
            Algorithm::EcdsaP256Sha256 => 13,
            Algorithm::Ed25519 => 15,
        }
    }

    /// The algorithm of a number.
    pub fn of(number: u8) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.number() == number)
    }

    /// Its name, as settings and key files have it.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::EcdsaP256Sha256 => "ecdsap256sha256",
            Algorithm::Ed25519 => "ed25519",
        }
    }
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyRole {
    /// The keys: the parent's DS names it.
    Ksk,
    /// Everything else.
    Zsk,
    /// Both.
    Csk,
}

impl KeyRole {
    /// The flags of its DNSKEY (RFC 4034 §2.1.1).
    pub fn flags(self) -> u16 {
        match self {
            KeyRole::Zsk => ZoneKey::ZONE,
            KeyRole::Ksk | KeyRole::Csk => ZoneKey::ZONE | ZoneKey::SECURE_ENTRY,
        }
    }

    /// Whether the parent's DS names it.
    pub fn is_entry(self) -> bool {
        self != KeyRole::Zsk
    }

    /// Its name: `ksk`, `zsk` or `csk`.
    pub fn name(self) -> &'static str {
        match self {
            KeyRole::Ksk => "ksk",
            KeyRole::Zsk => "zsk",
            KeyRole::Csk => "csk",
        }
    }
}

/// How far a key has come on its way through a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyStage {
    /// It stands among the zone's keys, so that caches learn of it.
    Published,
    /// The parent is asked for its DS.
    Submitted,
    /// It is in use: a KSK or CSK has its DS at the parent, a ZSK signs the zone.
    Active,
    /// Another is in use. It stands among the keys until no cache needs it.
    Retired,
}

impl std::fmt::Display for KeyStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KeyStage::Published => "published",
            KeyStage::Submitted => "submitted",
            KeyStage::Active => "active",
            KeyStage::Retired => "retired",
        })
    }
}
