//! Regions, availability zones, and where a client may be.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Label;

/// Where an instance or a server stands: a region and, within it, an az.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Locality {
    /// The region.
    pub region: Label,
    /// The availability zone, unique within its region.
    pub az: Label,
}

impl std::fmt::Display for Locality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.region, self.az)
    }
}

/// A point on the earth, in degrees: latitude −90…90 (north positive), longitude −180…180 (east positive).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    /// Degrees north of the equator.
    pub latitude: f64,
    /// Degrees east of Greenwich.
    pub longitude: f64,
}

/// A region as `geo/regions.toml` declares it, or as it was made on use (then without coordinates).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Region {
    /// Where it is; without it the region is ranked by the RTT table alone, and last where that is silent.
    pub coordinates: Option<Coordinates>,
    /// Its azs. If empty, azs are made on use.
    pub azs: Vec<Label>,
    /// The largest share of a name's clients that it can serve, in percent, 1–100; `None`: all of them. For `simulate`.
    pub capacity: Option<u8>,
}

/// What is known of the place of a client prefix. Every field may be unknown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Place {
    /// The region the client is in or nearest to, as the operator says in `geo/networks.toml`.
    pub region: Option<Label>,
    /// The az within that region.
    pub az: Option<Label>,
    /// Continent: AF, AN, AS, EU, NA, OC or SA.
    pub continent: Option<Code>,
    /// ISO 3166-1 alpha-2 country.
    pub country: Option<Code>,
    /// The part behind the hyphen of an ISO 3166-2 code (`US-MA` → `MA`), 1–3 characters.
    pub subdivision: Option<Code>,
    /// Where the client is.
    pub coordinates: Option<Coordinates>,
    /// The autonomous system that announces the prefix.
    pub asn: Option<u32>,
}

/// A short upper-case code: continent, country or subdivision; 1–3 ASCII letters or digits, padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code([u8; 3]);

impl Code {
    /// Parses a code, folding lower case.
    pub fn parse(text: &str) -> Result<Code, String> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > 3 || !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return Err(format!("{text:?} is no code of 1 to 3 letters or digits, such as EU, US or MA"));
        }
        let mut code = [0; 3];
        code[..bytes.len()].copy_from_slice(bytes);
        code.make_ascii_uppercase();
        Ok(Code(code))
    }

    /// The code as text, upper case.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|b| *b == 0).unwrap_or(3);
        std::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Code {
    type Error = String;
    fn try_from(text: String) -> Result<Code, String> {
        Code::parse(&text)
    }
}

impl From<Code> for String {
    fn from(code: Code) -> String {
        code.as_str().into()
    }
}

/// Everything under `geo/`, as values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Geo {
    /// `regions.toml`; `None` when there is no such file: then regions and azs are made on use.
    pub regions: Option<BTreeMap<Label, Region>>,
    /// `networks.toml`: client prefixes whose place the operator knows; a more specific prefix wins, and all win over a database.
    pub networks: Vec<(IpNet, Place)>,
    /// `latency.toml` `[rtt_ms]`: round trip in milliseconds from the first region to the second; symmetric where one direction is given.
    pub rtt_ms: BTreeMap<(Label, Label), f64>,
    /// `latency.toml` `[[pin]]`: round trip in milliseconds from a client prefix to regions; wins over every other source of latency.
    pub pins: Vec<(IpNet, BTreeMap<Label, f64>)>,
    /// The user's databases (`geo/*.mmdb`): disjoint prefixes and their places, already read.
    pub database: std::sync::Arc<[(IpNet, Place)]>,
}
