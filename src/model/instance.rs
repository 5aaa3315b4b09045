//! Instances: what a service runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::port::PortText;
use super::shared::Shared;
use super::unrepeated::unrepeated;
use super::{Addresses, Check, Label, Locality, Period, Ports};

/// Names one instance: its service and its id within it. Written `SERVICE/ID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// The service.
    pub service: Label,
    /// The instance's id, unique within the service.
    pub id: Label,
}

impl std::fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.id)
    }
}

/// The weight of an instance that does not say: so that a few percent more or less can be said in whole numbers.
pub const DEFAULT_WEIGHT: u32 = 100;

/// The largest weight: SRV carries 16 bits (RFC 2782).
pub const MAX_WEIGHT: u32 = 65_535;

/// Keys of an instance's TXT record that the server writes; no key of `meta`, in any case of its letters (RFC 6763 §6.4: who reads takes
/// the first of a key's pairs and no other).
const OWN_KEYS: [&str; 4] = ["id", "region", "az", "tag"];

/// An instance as registered or declared.
///
/// What instances of a kind have in common is held once for all of them: see [`Shape`], whose fields are fields of this. What must hold
/// beyond the types is said by [`Instance::validate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "InstanceFields", into = "InstanceFields")]
pub struct Instance {
    /// 1–16 IPv4 and IPv6 addresses that clients can reach.
    pub addresses: Addresses,
    /// Ports by name; at most 16. Where missing, the service's `ports` hold.
    pub ports: Ports,
    /// What it has in common with others.
    pub(crate) shape: Arc<Shape>,
}

/// What many instances have in common: everything but addresses and ports. As in [`InstanceFields`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are those of InstanceFields")]
pub struct Shape {
    pub region: Label,
    pub az: Label,
    pub weight: u32,
    pub tags: BTreeSet<Label>,
    pub meta: BTreeMap<String, String>,
    pub heartbeat: Option<Period>,
    pub deregister_after: Option<Period>,
    pub checks: Option<Vec<Check>>,
}

/// An instance as written; the body of `PUT /v1/services/{s}/instances/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Instance)]
pub struct InstanceFields {
    /// 1–16 IPv4 and IPv6 addresses that clients can reach; no unspecified, multicast or broadcast ones.
    #[schema(value_type = Vec<String>, format = "ip")]
    pub addresses: Addresses,
    /// Ports by name; at most 16. Where missing, the service's `ports` hold.
    #[serde(default, skip_serializing_if = "Ports::is_empty")]
    #[schema(value_type = BTreeMap<String, PortText>)]
    pub ports: Ports,
    /// The region it stands in.
    pub region: Label,
    /// The az within the region.
    pub az: Label,
    /// Its share of the clients relative to its peers, 0–65535; zero: only used where all are zero.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Labels by which names can select it (`<tag>.tag.web…`); at most 32.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Label>,
    /// Anything the user wants shown in TXT, as `key=value`; at most 32 pairs, a key and its value at most 254 octets together.
    /// `id`, `region`, `az` and `tag` are what the server says itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unrepeated")]
    pub meta: BTreeMap<String, String>,
    /// The longest time between two heartbeats, 1 s to 24 h; when it passes without one, the instance is Unhealthy. Send them more than
    /// twice within it: from half of it on without a beat, TTLs are at their minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Period>,
    /// How long after the last missed heartbeat the instance is removed, 1 s to 30 d; needs `heartbeat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregister_after: Option<Period>,
    /// Its own checks; at most 16. `None`: the service's checks hold; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<super::CheckFields>>)]
    pub checks: Option<Vec<Check>>,
}

impl From<InstanceFields> for Instance {
    fn from(fields: InstanceFields) -> Instance {
        let InstanceFields { addresses, ports, region, az, weight, tags, meta, heartbeat, deregister_after, checks } = fields;
        let shape = Shape { region, az, weight, tags, meta, heartbeat, deregister_after, checks };
        Instance { addresses, ports, shape: SHAPES.one(shape) }
    }
}

impl From<Instance> for InstanceFields {
    fn from(instance: Instance) -> InstanceFields {
        let Instance { addresses, ports, shape } = instance;
        let Shape { region, az, weight, tags, meta, heartbeat, deregister_after, checks } = Arc::unwrap_or_clone(shape);
        InstanceFields { addresses, ports, region, az, weight, tags, meta, heartbeat, deregister_after, checks }
    }
}

impl std::ops::Deref for Instance {
    type Target = Shape;
    fn deref(&self) -> &Shape {
        &self.shape
    }
}

impl std::ops::DerefMut for Instance {
    fn deref_mut(&mut self) -> &mut Shape {
        Arc::make_mut(&mut self.shape)
    }
}

impl utoipa::PartialSchema for Instance {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        InstanceFields::schema()
    }
}

impl utoipa::ToSchema for Instance {
    fn name() -> std::borrow::Cow<'static, str> {
        InstanceFields::name()
    }
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        InstanceFields::schemas(schemas);
    }
}

/// The shapes in use.
static SHAPES: Shared<Shape> = Shared::new();

fn default_weight() -> u32 {
    DEFAULT_WEIGHT
}

/// A value of the right type that cannot stand: which field, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {expected}")]
pub struct FieldError {
    /// The field's path, such as `addresses[1]` or `checks[0].timeout`.
    pub field: String,
    /// What was expected, and what was found.
    pub expected: String,
}

impl FieldError {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, expected: impl Into<String>) -> FieldError {
        FieldError { field: field.into(), expected: expected.into() }
    }

    /// The same error, seen from a level above.
    pub fn within(self, outer: &str) -> FieldError {
        FieldError { field: format!("{outer}.{}", self.field), expected: self.expected }
    }
}

impl Instance {
    /// The locality it stands in.
    pub fn locality(&self) -> Locality {
        Locality { region: self.region.clone(), az: self.az.clone() }
    }

    /// Checks everything that can be said without looking at other instances, regions or services.
    pub fn validate(&self) -> Result<(), FieldError> {
        let limit = |field: &str, found: usize, most: usize| match found > most {
            true => Err(FieldError::new(field, format!("at most {most} are allowed, {found} were given"))),
            false => Ok(()),
        };
        if self.addresses.is_empty() {
            return Err(FieldError::new("addresses", "at least one IPv4 or IPv6 address is needed"));
        }
        limit("addresses", self.addresses.len(), 16)?;
        limit("ports", self.ports.len(), 16)?;
        limit("tags", self.tags.len(), 32)?;
        limit("meta", self.meta.len(), 32)?;
        for (n, address) in self.addresses.iter().enumerate() {
            let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
            if address.is_unspecified() || address.is_multicast() || broadcast {
                return Err(FieldError::new(format!("addresses[{n}]"), format!("{address} is no address that a client could connect to")));
            }
            let field = || format!("addresses[{n}]");
            if let IpAddr::V6(v6) = address {
                // RFC 4291 §2.5.5.2: such an address never travels; in an AAAA record it would reach nobody.
                if let Some(v4) = v6.to_ipv4_mapped() {
                    return Err(FieldError::new(field(), format!("{v6} is an IPv4 address in IPv6 form; write {v4}")));
                }
                // RFC 4291 §2.5.6: without the interface, which DNS cannot say, it is no place.
                if v6.is_unicast_link_local() {
                    return Err(FieldError::new(field(), format!("{v6} holds on one link only; no client could connect to it")));
                }
            }
            if self.addresses.iter().take(n).any(|other| other == address) {
                return Err(FieldError::new(format!("addresses[{n}]"), format!("{address} stands twice")));
            }
        }
        if self.weight > MAX_WEIGHT {
            return Err(FieldError::new("weight", format!("0 to {MAX_WEIGHT}, not {}", self.weight)));
        }
        for (key, value) in &self.meta {
            // One TXT character-string holds the pair (RFC 1035 §3.3); RFC 6763 §6.4 gives the key's alphabet.
            if key.is_empty() || !key.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') {
                return Err(FieldError::new(format!("meta.{key}"), "a key is printable ASCII without '=', and not empty"));
            }
            if OWN_KEYS.iter().any(|own| own.eq_ignore_ascii_case(key)) {
                let reason = format!("the server writes {} into TXT records itself", OWN_KEYS.join(", "));
                return Err(FieldError::new(format!("meta.{key}"), reason));
            }
            if key.len() + value.len() > 254 {
                return Err(FieldError::new(format!("meta.{key}"), "key and value together hold at most 254 octets"));
            }
        }
        period_within("heartbeat", self.heartbeat, 1, 24 * 3600)?;
        period_within("deregister_after", self.deregister_after, 1, 30 * 24 * 3600)?;
        if self.deregister_after.is_some() && self.heartbeat.is_none() {
            return Err(FieldError::new("deregister_after", "needs `heartbeat`: it counts from the last missed heartbeat"));
        }
        if let Some(checks) = &self.checks {
            limit("checks", checks.len(), 16)?;
            for (n, check) in checks.iter().enumerate() {
                check.validate().map_err(|e| e.within(&format!("checks[{n}]")))?;
            }
        }
        Ok(())
    }
}

/// Refuses a period outside `least`…`most` seconds.
pub(super) fn period_within(field: &str, period: Option<Period>, least: u64, most: u64) -> Result<(), FieldError> {
    match period {
        Some(period) if period < Period::seconds(least) || period > Period::seconds(most) => {
            Err(FieldError::new(field, format!("{} to {}, not {period}", Period::seconds(least), Period::seconds(most))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(json: &str) -> Result<Instance, String> {
        serde_json::from_str::<Instance>(json).map_err(|e| e.to_string())
    }

    #[test]
    fn what_no_client_could_use_is_refused_by_field() {
        let check = |json: &str, field: &str| assert_eq!(instance(json).unwrap().validate().unwrap_err().field, field, "{json}");
        check(r#"{"addresses":[],"region":"r","az":"a"}"#, "addresses");
        check(r#"{"addresses":["0.0.0.0"],"region":"r","az":"a"}"#, "addresses[0]");
        check(r#"{"addresses":["192.0.2.1","::ffff:192.0.2.2"],"region":"r","az":"a"}"#, "addresses[1]");
        check(r#"{"addresses":["fe80::1"],"region":"r","az":"a"}"#, "addresses[0]");
        check(r#"{"addresses":["192.0.2.1","192.0.2.1"],"region":"r","az":"a"}"#, "addresses[1]");
        check(r#"{"addresses":["192.0.2.1"],"region":"r","az":"a","weight":65536}"#, "weight");
        check(r#"{"addresses":["192.0.2.1"],"region":"r","az":"a","deregister_after":"1m"}"#, "deregister_after");
        check(r#"{"addresses":["192.0.2.1"],"region":"r","az":"a","meta":{"a=b":"c"}}"#, "meta.a=b");
        check(r#"{"addresses":["192.0.2.1"],"region":"r","az":"a","meta":{"ids":"c","Id":"d"}}"#, "meta.Id");
        assert!(instance(r#"{"addresses":["192.0.2.1"],"region":"r","az":"a","wieght":1}"#).unwrap_err().contains("wieght"));
    }

    #[test]
    fn what_instances_have_in_common_is_held_once() {
        assert_eq!(size_of::<Instance>(), 48);
        let made = |address: u8, az: usize| {
            let json = format!(
                r#"{{"addresses":["192.0.2.{address}"],"region":"shapes","az":"a{az}","heartbeat":"10s","checks":[{{"tcp":true}}]}}"#
            );
            instance(&json).unwrap()
        };
        let (one, other) = (made(1, 0), made(2, 0));
        assert!(Arc::ptr_eq(&one.shape, &other.shape) && one != other && one == made(1, 0));
        let mut changed = one.clone();
        changed.weight = 7;
        assert_eq!((one.weight, changed.weight), (DEFAULT_WEIGHT, 7), "what is shared is not changed");
        assert_ne!(one, made(1, 1));
        assert!(Arc::ptr_eq(&one.shape, &made(3, 0).shape));
        let written = serde_json::to_string(&one).unwrap();
        assert_eq!(instance(&written).unwrap(), one);
    }
}
