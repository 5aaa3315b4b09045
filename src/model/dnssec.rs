//! `[dnssec]`: which zones are signed, and how.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Algorithm, Denial, Name, Period};

/// `[dnssec]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnssecSettings {
    /// Apexes of the zones that are signed.
    pub zones: Vec<Name>,
    /// Every zone is.
    pub all: bool,
    /// What new keys are made for; default ECDSA on P-256. A zone keeps the algorithm of the keys that it has.
    pub algorithm: Algorithm,
    /// Whether a new zone gets a KSK and a ZSK, else one CSK; default no. A zone keeps what it has.
    pub split: bool,
    /// How it is proved that something is not there.
    pub denial: Denial,
    /// How long a signature holds, 1 to 90 days; default 14 days. It is made again when less than a quarter of it is left.
    pub validity: Period,
    /// How long a ZSK signs until another follows by itself, 1 day to 10 years; default 90 days. Zero: for ever.
    pub zsk_lifetime: Period,
    /// TTL of DNSKEY, CDS and CDNSKEY, 1 second to 7 days; default an hour.
    pub dnskey_ttl: Period,
    /// TTL of the DS in the parent, 1 second to 7 days; default a day.
    pub ds_ttl: Period,
    /// How long after a change every server of a zone has it, up to 7 days; default 5 minutes.
    pub propagation: Period,
    /// The same of the parent; default an hour.
    pub parent_propagation: Period,
    /// Servers of the parents of zones, or resolvers that know them, which are asked for the DS; of `None`: of every other zone. Default
    /// nobody: somebody says what is there.
    pub parents: BTreeMap<Option<Name>, Vec<SocketAddr>>,
}

impl Default for DnssecSettings {
    fn default() -> DnssecSettings {
        const DAY: u64 = 86_400;
        DnssecSettings {
            zones: Vec::new(),
            all: false,
            algorithm: Algorithm::default(),
            split: false,
            denial: Denial::default(),
            validity: Period::seconds(14 * DAY),
            zsk_lifetime: Period::seconds(90 * DAY),
            dnskey_ttl: Period::seconds(3600),
            ds_ttl: Period::seconds(DAY),
            propagation: Period::seconds(300),
            parent_propagation: Period::seconds(3600),
            parents: BTreeMap::new(),
        }
    }
}

impl DnssecSettings {
    /// Whether a zone is signed.
    pub fn signs(&self, apex: &Name) -> bool {
        self.all || self.zones.contains(apex)
    }

    /// Who is asked for the DS of a zone.
    pub fn parents(&self, apex: &Name) -> &[SocketAddr] {
        let of = |apex: Option<Name>| self.parents.get(&apex);
        of(Some(apex.clone())).or_else(|| of(None)).map_or(&[], Vec::as_slice)
    }
}
