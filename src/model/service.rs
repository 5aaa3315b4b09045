//! Services: named groups of instances.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::instance::{FieldError, InstanceKey};
use super::{AllDown, BranchFields, Check, Label, Owner, Period, Policy, PolicyKind, Ports};

/// Settings of a service as written; the body of `PUT /v1/services/{s}` and the keys of `[services.NAME]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceFields {
    /// The rule by which the service's names choose; default `nearest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyKind>,
    /// Branches of the policy, over the service's own instances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<BranchFields>,
    /// What to answer when all is down; default `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_down: Option<AllDown>,
    /// Healthy instances (branches) needed for the service to count as healthy; default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_healthy: Option<u32>,
    /// In percent, 0–100: a level of which less is healthy, by weight, is answered whole once all levels together are short; default 0,
    /// never.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "super::within::<0, 100, _, _>")]
    pub panic_threshold: Option<u8>,
    /// After a recovery an instance's weight grows from a tenth to the whole within this time, 0–15 min; default 60 s; `0s`: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Period>,
    /// Whether instances that flap are held down, longer each time; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damping: Option<bool>,
    /// The named port behind the service's SRV and `_web._tcp` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_port: Option<Label>,
    /// Ports of instances that name none.
    #[serde(skip_serializing_if = "Ports::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, super::port::PortText>)]
    pub ports: Ports,
    /// Checks of instances that name none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<super::CheckFields>)]
    pub checks: Vec<Check>,
    /// Most addresses in an answer, 1–64; default 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_addresses: Option<u8>,
    /// Most SRV records in an answer, 1–64; default 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_srv: Option<u8>,
    /// How many further levels (azs, regions, branches) SRV carries as lower priorities, 0–3; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiers: Option<u8>,
    /// ALPN protocols that HTTPS records announce (RFC 9460 §7.1), such as `["h2", "http/1.1"]`; default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
}

impl ServiceFields {
    /// The fields of the policy at the root.
    pub fn root(&self) -> BranchFields {
        BranchFields {
            policy: self.policy,
            branches: self.branches.clone(),
            all_down: self.all_down,
            min_healthy: self.min_healthy,
            panic_threshold: self.panic_threshold,
            ..BranchFields::default()
        }
    }
}

/// Most distinct (port name, protocol) pairs of all instances of a service: routing keeps a bit for each.
pub const MAX_SERVICE_PORTS: usize = 60;

/// The longest slow start.
pub const LONGEST_SLOW_START: Period = Period::seconds(15 * 60);

/// The slow start of a service that does not say.
pub const DEFAULT_SLOW_START: Period = Period::seconds(60);

/// A service, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// As written.
    pub fields: ServiceFields,
    /// The policy built from the fields.
    pub policy: Policy,
}

impl Default for Service {
    fn default() -> Service {
        Service { fields: ServiceFields::default(), policy: Policy { min_healthy: 1, ..Policy::default() } }
    }
}

impl Service {
    /// The settings of services for which nobody set any: one for all of them.
    pub fn plain() -> Arc<Service> {
        static PLAIN: LazyLock<Arc<Service>> = LazyLock::new(Arc::default);
        PLAIN.clone()
    }

    /// Checks the fields and builds the policy. `parse` reads static records of branches.
    pub fn from_fields(fields: ServiceFields, parse: super::RecordParser<'_>) -> Result<Service, FieldError> {
        let policy = Policy::from_fields(&fields.root(), Owner::Service, parse)?;
        Service::with(fields, policy)
    }

    /// As [`Service::from_fields`], for what was stored, maybe by an earlier version: see [`Policy::from_stored`].
    pub fn from_stored(fields: ServiceFields, parse: super::RecordParser<'_>) -> Result<Service, FieldError> {
        let policy = Policy::from_stored(&fields.root(), Owner::Service, parse)?;
        Service::with(fields, policy)
    }

    fn with(fields: ServiceFields, policy: Policy) -> Result<Service, FieldError> {
        if fields.slow_start.is_some_and(|period| period > LONGEST_SLOW_START) {
            return Err(FieldError::new("slow_start", format!("0s to {LONGEST_SLOW_START}")));
        }
        for (field, value) in [("max_addresses", fields.max_addresses), ("max_srv", fields.max_srv)] {
            if value.is_some_and(|v| !(1..=64).contains(&v)) {
                return Err(FieldError::new(field, "1 to 64"));
            }
        }
        if fields.tiers.is_some_and(|t| t > 3) {
            return Err(FieldError::new("tiers", "0 to 3"));
        }
        if fields.alpn.iter().any(|a| a.is_empty() || a.len() > 32) || fields.alpn.len() > 8 {
            return Err(FieldError::new("alpn", "at most 8 protocol names of 1 to 32 octets"));
        }
        if fields.ports.len() > 16 || fields.checks.len() > 16 {
            return Err(FieldError::new(if fields.ports.len() > 16 { "ports" } else { "checks" }, "at most 16"));
        }
        for (n, check) in fields.checks.iter().enumerate() {
            check.validate().map_err(|e| e.within(&format!("checks[{n}]")))?;
        }
        Ok(Service { fields, policy })
    }

    /// Most addresses in an answer.
    pub fn max_addresses(&self) -> usize {
        self.fields.max_addresses.unwrap_or(8).into()
    }

    /// Most SRV records in an answer.
    pub fn max_srv(&self) -> usize {
        self.fields.max_srv.unwrap_or(32).into()
    }

    /// Within which time the weight of an instance grows after a recovery; zero: at once.
    pub fn slow_start(&self) -> Duration {
        self.fields.slow_start.unwrap_or(DEFAULT_SLOW_START).0
    }

    /// Whether instances that flap are held down.
    pub fn damps(&self) -> bool {
        self.fields.damping.unwrap_or(true)
    }

    /// Further levels that SRV carries.
    pub fn tiers(&self) -> usize {
        self.fields.tiers.unwrap_or(0).into()
    }
}

/// Who said it: decides who may change it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A zone file; the path is as the config names it.
    File(Arc<String>),
    /// The API.
    Api,
}

/// A name of something that can be drained.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A region.
    Region(Label),
    /// An az.
    Az(super::Locality),
    /// A service, everywhere.
    Service(Label),
    /// One instance.
    Instance(InstanceKey),
}

impl Subject {
    /// Parses `KIND/NAME`: `region/eu-west`, `az/eu-west/eu-west-1a`, `service/web`, `instance/web/eu1`.
    pub fn parse(text: &str) -> Result<Subject, FieldError> {
        let wrong = |expected: &str| FieldError::new("subject", format!("{expected}, not {text:?}"));
        let mut parts = text.split('/');
        let kind = parts.next().unwrap_or_default();
        let names: Vec<Label> = parts.map(Label::parse).collect::<Result<_, _>>().map_err(|e| FieldError::new("subject", e.to_string()))?;
        match (kind, names.as_slice()) {
            ("region", [name]) => Ok(Subject::Region(name.clone())),
            ("service", [name]) => Ok(Subject::Service(name.clone())),
            ("az", [region, az]) => Ok(Subject::Az(super::Locality { region: region.clone(), az: az.clone() })),
            ("instance", [service, id]) => Ok(Subject::Instance(InstanceKey { service: service.clone(), id: id.clone() })),
            ("region", _) => Err(wrong("region/NAME")),
            ("service", _) => Err(wrong("service/NAME")),
            ("az", _) => Err(wrong("az/REGION/AZ")),
            ("instance", _) => Err(wrong("instance/SERVICE/ID")),
            _ => Err(wrong("one of region/NAME, az/REGION/AZ, service/NAME, instance/SERVICE/ID")),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Region(name) => write!(f, "region/{name}"),
            Subject::Az(locality) => write!(f, "az/{locality}"),
            Subject::Service(name) => write!(f, "service/{name}"),
            Subject::Instance(key) => write!(f, "instance/{key}"),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = String;
    fn try_from(text: String) -> Result<Subject, String> {
        Subject::parse(&text).map_err(|e| e.expected)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> String {
        subject.to_string()
    }
}

impl Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Subject, D::Error> {
        let text = String::deserialize(deserializer)?;
        Subject::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_read_what_they_write() {
        for text in ["region/eu-west", "az/eu-west/1a", "service/web", "instance/web/eu1"] {
            assert_eq!(Subject::parse(text).unwrap().to_string(), text);
        }
        for text in ["region", "region/a/b", "az/eu-west", "zone/x", "", "instance/web"] {
            assert!(Subject::parse(text).is_err(), "{text}");
        }
    }
}
