//! What stands in the store: keys, and values as JSON.
//!
//! ```text
//! services/SERVICE           settings, and the RDATA of the static records in them
//! instances/SERVICE/ID       as registered
//! health/SERVICE/ID          the last known health, of files' instances too; written behind, but for pushed statuses
//! drains/KIND/NAME           drains in force
//! lifted/REGION              when a region's drain last ended; written behind
//! files/loaded               which services were no longer the same when files were last loaded; its revision is what counts
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StartError;
use crate::model::{Branch, BranchFields, Drain, Goal, Instance, InstanceKey, Label, Revision, Service, ServiceFields, Subject, Vitals};
use crate::registry::{DrainEntry, Registry};
use crate::store::{Item, Key, Value};

/// The key of a service's settings.
pub(super) fn service_key(name: &Label) -> Key {
    format!("services/{name}").into()
}

/// The key of an instance.
pub(super) fn instance_key(key: &InstanceKey) -> Key {
    format!("instances/{key}").into()
}

/// The key of an instance's last health.
pub(super) fn health_key(key: &InstanceKey) -> Key {
    format!("health/{key}").into()
}

/// The key of a drain.
pub(super) fn drain_key(subject: &Subject) -> Key {
    format!("drains/{subject}").into()
}

/// The key of a region's return.
pub(super) fn lifted_key(region: &Label) -> Key {
    format!("lifted/{region}").into()
}

/// The key of what is noted of loaded files.
pub(super) fn files_key() -> Key {
    "files/loaded".into()
}

/// The services of which files say something else, as JSON: for people who look.
pub(super) fn files_value(services: &BTreeSet<Label>) -> Value {
    value(&BTreeMap::from([("services", services)]))
}

/// An instance, a drain or an instance's health as JSON.
pub(super) fn value(record: &impl Serialize) -> Value {
    // These types have no maps with keys other than texts and no fallible parts: they can always be written.
    serde_json::to_vec(record).unwrap_or_default().into()
}

/// A service's settings as JSON.
pub(super) fn service_value(service: &Service) -> Value {
    let mut records = Vec::new();
    collect(&service.fields.branches, &service.policy.branches, &mut records);
    value(&StoredService { fields: service.fields.clone(), records })
}

/// A service as stored: static records with the RDATA that they were read as, so that reading them needs no parser.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredService {
    fields: ServiceFields,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    records: Vec<StoredRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRecord {
    r#type: String,
    text: String,
    code: u16,
    rdata: String,
}

/// Pairs the texts of static records with their RDATA; fields and branches have the same shape.
fn collect(fields: &[BranchFields], branches: &[Branch], records: &mut Vec<StoredRecord>) {
    for (fields, branch) in fields.iter().zip(branches) {
        match (&branch.goal, &fields.records) {
            (Goal::Policy(below), _) => collect(&fields.branches, &below.branches, records),
            (Goal::Records(sets), Some(texts)) => {
                for ((rtype, texts), set) in texts.iter().zip(sets) {
                    records.extend(texts.iter().zip(&set.rdata).map(|(text, rdata)| StoredRecord {
                        r#type: rtype.clone(),
                        text: text.clone(),
                        code: set.rtype,
                        rdata: rdata.iter().map(|byte| format!("{byte:02x}")).collect(),
                    }));
                }
            }
            _ => {}
        }
    }
}

fn read_service(stored: StoredService) -> Result<Service, String> {
    let mut known = BTreeMap::new();
    for record in stored.records {
        let octets = (0..record.rdata.len()).step_by(2).map(|at| u8::from_str_radix(record.rdata.get(at..at + 2)?, 16).ok());
        let octets: Option<Box<[u8]>> = octets.collect();
        let octets = octets.ok_or_else(|| format!("{:?} is no RDATA in hexadecimal", record.rdata))?;
        known.insert((record.r#type, record.text), (record.code, octets));
    }
    let parse = |rtype: &str, text: &str| {
        let found = known.get(&(rtype.to_string(), text.to_string())).cloned();
        found.ok_or_else(|| format!("the RDATA of {rtype} {text:?} is not stored"))
    };
    Service::from_stored(stored.fields, &parse).map_err(|error| error.to_string())
}

/// Everything that was stored.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Services, instances and drains.
    pub registry: Registry,
    /// The last health of instances.
    pub health: Vec<(InstanceKey, Vitals)>,
    /// When each record that is written behind was written: drains, health, returns of regions and files.
    pub written: std::collections::HashMap<Key, Revision>,
}

/// Reads all items of a store.
pub(super) fn read(revision: Revision, items: Vec<Item>) -> Result<Stored, StartError> {
    let mut stored = Stored::default();
    for item in items {
        read_item(&item, &mut stored).map_err(|reason| StartError::Value { key: item.key.to_string(), reason })?;
    }
    stored.registry.revision = revision;
    // What was deregistered or lifted left no trace of when. Readers who wait look once more; that is better than to miss it.
    for entry in stored.registry.services.values_mut() {
        entry.changed = revision;
    }
    Ok(stored)
}

fn read_item(item: &Item, stored: &mut Stored) -> Result<(), String> {
    let label = |text: &str| Label::parse(text).map_err(|error| error.to_string());
    let instance = |rest: &str| {
        let (service, id) = rest.split_once('/').ok_or("its key names no instance")?;
        Ok::<_, String>(InstanceKey { service: label(service)?, id: label(id)? })
    };
    match item.key.split_once('/') {
        Some(("services", name)) => {
            let service = read_service(read_value(&item.value)?)?;
            stored.registry.restore_service(label(name)?, Arc::new(service), item.revision);
        }
        Some(("instances", rest)) => {
            let read: Instance = read_value(&item.value)?;
            stored.registry.restore_instance(instance(rest)?, read, item.revision);
        }
        Some(("health", rest)) => {
            stored.health.push((instance(rest)?, read_value(&item.value)?));
            stored.written.insert(item.key.clone(), item.revision);
        }
        Some(("drains", rest)) => {
            let subject = Subject::parse(rest).map_err(|error| error.expected)?;
            let drain: Drain = read_value(&item.value)?;
            stored.registry.drains.insert(subject, DrainEntry { drain, revision: item.revision });
            stored.written.insert(item.key.clone(), item.revision);
        }
        Some(("lifted", region)) => {
            stored.registry.lifted.insert(label(region)?, read_value(&item.value)?);
            stored.written.insert(item.key.clone(), item.revision);
        }
        Some(("files", _)) => _ = stored.written.insert(item.key.clone(), item.revision),
        _ => return Err("its key is none of services/…, instances/…, health/…, drains/…, lifted/… and files/…".into()),
    }
    Ok(())
}

fn read_value<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Writer;
    use crate::model::{Geo, Health, Out, Settings};

    fn item(key: &str, value: Value) -> Item {
        Item { key: key.into(), value, revision: Revision(7) }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let fields: ServiceFields = serde_json::from_str(
            r#"{"policy": "failover", "branches": [
                {"region": "eu"},
                {"policy": "weighted", "branches": [{"records": {"A": ["192.0.2.1", "192.0.2.2"], "TXT": ["x"]}, "weight": 3}]}]}"#,
        )
        .unwrap();
        let parse = |rtype: &str, text: &str| Ok((if rtype == "A" { 1 } else { 16 }, text.bytes().rev().collect()));
        let service = Service::from_fields(fields, &parse).unwrap();
        let instance: Instance = serde_json::from_str(
            r#"{"addresses": ["192.0.2.1"], "region": "eu", "az": "1", "checks": [{"tcp": true, "port": "p"}], "ports": {"p": 1}}"#,
        )
        .unwrap();
        let mut vitals = Vitals { probed: Some(Health::Unhealthy), ..Vitals::default() };
        vitals.set_why("refused");
        let items = vec![
            item("health/web/a", value(&vitals)),
            item("instances/web/a", value(&instance)),
            item("services/web", service_value(&service)),
        ];
        let stored = read(Revision(9), items).unwrap();
        assert_eq!(*stored.registry.services["web"].service, service);
        let key = InstanceKey { service: Label::parse("web").unwrap(), id: Label::parse("a").unwrap() };
        assert_eq!(stored.registry.instance(&key).unwrap().instance, instance);
        assert_eq!((stored.registry.revision, stored.health), (Revision(9), vec![(key, vitals)]));
    }

    /// As the first version with a store wrote it: before ramps, damping, slow start, and the bounds of what was added to policies.
    #[test]
    fn what_was_written_before_is_read() {
        let stored = [
            (
                "services/web",
                r#"{"fields":{"policy":"failover","min_healthy":3,"branches":[{"region":"eu-west"},{"policy":"weighted","min_healthy":2,
                    "branches":[{"records":{"A":["192.0.2.9"]},"weight":3}]}]},
                    "records":[{"type":"A","text":"192.0.2.9","code":1,"rdata":"c0000209"}]}"#,
            ),
            (
                "instances/web/a",
                r#"{"addresses":["192.0.2.1"],"ports":{"http":8080},"region":"eu-west","az":"eu-west-1a","weight":100,"heartbeat":"30s",
                    "deregister_after":"10m","checks":[{"http":"/healthz","port":"http","interval":"5s","timeout":"2s","rise":2,"fall":3}]}"#,
            ),
            (
                "health/web/a",
                r#"{"probed":"unhealthy","beating":"healthy","pushed":{"status":"warning","note":"slow"},"since":"2026-11-20T12:00:00Z",
                    "why":"refused","unconfirmed":true}"#,
            ),
            (
                "drains/region/eu-west",
                r#"{"reason":"works","author":"ann","started":"2026-11-20T12:00:00Z","expires":"2026-11-20T16:00:00Z"}"#,
            ),
        ];
        let items: Vec<Item> = stored.iter().map(|(key, text)| item(key, text.as_bytes().into())).collect();
        let read = read(Revision(9), items.clone()).unwrap();
        let drain = &read.registry.drains.values().next().unwrap().drain;
        let (started, expires) = (drain.started, drain.expires);
        assert_eq!((drain.out(started), drain.is_over(expires)), (Out::DRAINED, true));
        let (key, vitals) = &read.health[0];
        assert_eq!((vitals.health(), vitals.warmth(started), vitals.damping().is_untouched()), (Health::Unhealthy, 100, true));
        assert_eq!(read.registry.services["web"].service.policy.min_healthy, 3);
        assert!(read.registry.instance(key).is_some());
        let writer = Writer::<()>::begin((Revision(9), items), Vec::new(), Geo::default(), &Settings::default().dns, started).unwrap();
        assert!(!writer.snapshot().is_whole() && writer.snapshot().service(b"web").is_some_and(|(_, web)| web.len() == 1));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_named() {
        let check = |key: &str, text: &str, said: &str| {
            let error = read(Revision(1), vec![item(key, text.as_bytes().into())]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("the store holds {key}, which cannot be read: {said}")), "{error}");
        };
        check("instances/web/a", "{", "EOF");
        check("health/web", "{}", "its key names no instance");
        check("services/web", r#"{"fields": {"tiers": 9}}"#, "tiers: 0 to 3");
        check("drains/zone/x", "{}", "one of region/NAME");
        check("what", "{}", "its key is none of");
    }
}
