//! Policies as they are written: the keys of branches in zone files and in the API.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::de::{Error as DeserializeError, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::instance::FieldError;
use super::unrepeated::unrepeated;
use super::{AllDown, Code, Label, PolicyKind};

/// How a policy is written beside other keys of a service, a name or a branch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BranchFields {
    /// A service to lead to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Label>,
    /// Another name of this server's zones to lead to: its policy, its service, or its static records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A name anywhere, which is answered as CNAME; always healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cname: Option<String>,
    /// A policy below, with `branches`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyKind>,
    /// The branches of `policy`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub branches: Vec<BranchFields>,
    /// Static records: type → presentation forms (RFC 1035 §5.1).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "unrepeated")]
    pub records: Option<BTreeMap<String, Vec<String>>>,
    /// Region of the instances, or of the branch under `latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Label>,
    /// Az of the instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub az: Option<Label>,
    /// Tag of the instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Label>,
    /// Share under `weighted` and `sticky`, 0–65535.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "within::<0, 65535, _, _>")]
    pub weight: Option<u32>,
    /// Continents under `geolocation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub continents: Vec<Code>,
    /// Countries under `geolocation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub countries: Vec<Code>,
    /// Subdivisions under `geolocation`, written `US-MA`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subdivisions: Vec<String>,
    /// Client prefixes under `cidr`; the longest one that holds the client wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub cidrs: Vec<IpNet>,
    /// Autonomous systems under `asn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asns: Vec<u32>,
    /// Bias under `geoproximity`, −99 to 99.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "within::<-99, 99, _, _>")]
    pub bias: Option<i8>,
    /// Degrees north under `geoproximity`, where it is not its region's place that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// Used only where nothing else can be answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resort: bool,
    /// The largest share of the clients that it can serve, in percent, 1–100.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "within::<1, 100, _, _>")]
    pub capacity: Option<u8>,
    /// Whether it is the default branch under `geolocation`, `cidr` and `asn`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What to answer when all is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_down: Option<AllDown>,
    /// Healthy children needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_healthy: Option<u32>,
    /// Envoy's panic threshold in percent, 0–100; of a root policy.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "within::<0, 100, _, _>")]
    pub panic_threshold: Option<u8>,
    /// It leads to a name of a zone that is copied from another server, where nothing is now: it has nothing to answer, as a service that
    /// is not registered. Nobody writes it.
    #[serde(skip)]
    pub missing: bool,
}

/// Reads a whole number from `LEAST` to `MOST`: what lies outside is refused where it stands, in words that name the bounds.
pub(crate) fn within<'de, const LEAST: i64, const MOST: i64, N, D>(deserializer: D) -> Result<Option<N>, D::Error>
where
    N: TryFrom<i64>,
    D: Deserializer<'de>,
{
    let number = Option::<Within<LEAST, MOST>>::deserialize(deserializer)?;
    number.map(|Within(number)| N::try_from(number).map_err(|_| D::Error::custom("out of range"))).transpose()
}

/// A whole number from `LEAST` to `MOST`.
struct Within<const LEAST: i64, const MOST: i64>(i64);

impl<'de, const LEAST: i64, const MOST: i64> Deserialize<'de> for Within<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(Bounds::<LEAST, MOST>).map(Within)
    }
}

struct Bounds<const LEAST: i64, const MOST: i64>;

impl<const LEAST: i64, const MOST: i64> Visitor<'_> for Bounds<LEAST, MOST> {
    type Value = i64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a whole number from {LEAST} to {MOST}")
    }

    fn visit_i64<E: DeserializeError>(self, number: i64) -> Result<i64, E> {
        match (LEAST..=MOST).contains(&number) {
            true => Ok(number),
            false => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: DeserializeError>(self, number: u64) -> Result<i64, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }
}

impl BranchFields {
    /// Refuses countries that there are not. Apart from [`super::Policy::from_fields`], for what is stored must be read whatever countries come
    /// and go.
    pub fn check_countries(&self) -> Result<(), FieldError> {
        let known = |field: &str, code: &str| Code::parse(code).and_then(Code::country).map(drop).map_err(|e| FieldError::new(field, e));
        self.countries.iter().try_for_each(|code| known("countries", code.as_str()))?;
        self.subdivisions.iter().try_for_each(|text| known("subdivisions", text.split('-').next().unwrap_or_default()))
    }
}
