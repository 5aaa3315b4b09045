//! What stands in the store: keys, and values as JSON.
//!
//! ```text
//! services/SERVICE           settings, and the RDATA of the static records in them
//! instances/SERVICE/ID       as registered
//! health/SERVICE/ID          the last known health, of files' instances too; written behind, but for pushed statuses
//! drains/KIND/NAME           drains in force
//! lifted/REGION              when a region's drain last ended; written behind
//! updates/APEX               how often a zone was changed by updates, and how often all of that was dropped: its epoch
//! updates/APEX/EPOCH/NAME/TYPE   an RRset that is otherwise than in the zone's file; `/` in names is written `\047`
//! files/loaded               which services were no longer the same when files were last loaded; its revision is what counts
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StartError;
use crate::model::{
    Branch, BranchFields, Goal, Instance, InstanceKey, Label, Name, RecordSet, Revision, Service, ServiceFields, Subject, Timestamp, Vitals,
};
use crate::registry::{Becomes, DrainEntry, Overlay, OverlaySet, Registry, ServiceEntry, SetChange, ZoneChange};
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

/// The key of how often a zone was changed.
pub(super) fn zone_key(apex: &Name) -> Key {
    format!("updates/{}", path(apex)).into()
}

/// The key of an RRset that was changed.
pub(super) fn set_key(apex: &Name, epoch: u32, (owner, rtype): &(Name, u16)) -> Key {
    format!("updates/{}/{epoch}/{}/{rtype}", path(apex), path(owner)).into()
}

/// A name as one part of a key.
fn path(name: &Name) -> String {
    name.to_string().replace('/', "\\047")
}

/// How often a zone was changed, as JSON.
pub(super) fn zone_value(change: &ZoneChange) -> Value {
    value(&StoredZone { changes: change.changes, epoch: change.epoch })
}

/// An RRset that was changed, as JSON; `None`: it leaves the store.
pub(super) fn set_value(change: &ZoneChange, set: &SetChange) -> Option<Value> {
    let set_of = |records: Option<&RecordSet>| {
        let hexadecimal = |rdata: &[u8]| rdata.iter().map(|octet| format!("{octet:02x}")).collect();
        value(&StoredSet {
            ttl: records.map(|records| records.ttl),
            rdata: records.into_iter().flat_map(|records| &records.rdata).map(|rdata| hexadecimal(rdata)).collect(),
            over: format!("{:x}", set.over),
            author: change.author.to_string(),
            at: change.at,
        })
    };
    match &set.becomes {
        Becomes::AsInFile => None,
        Becomes::Gone => Some(set_of(None)),
        Becomes::Records(records) => Some(set_of(Some(records))),
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredZone {
    changes: u32,
    epoch: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSet {
    /// Where it is gone, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rdata: Vec<String>,
    over: String,
    author: String,
    at: Timestamp,
}

fn read_set(stored: StoredSet, revision: Revision) -> Result<OverlaySet, String> {
    let rdata = stored.rdata.iter().map(|text| octets(text)).collect::<Result<Vec<_>, _>>()?;
    let set = stored.ttl.map(|ttl| Arc::new(RecordSet { ttl, rdata }));
    let over = u64::from_str_radix(&stored.over, 16).map_err(|error| format!("over: {error}"))?;
    Ok(OverlaySet { set, over, author: stored.author.into(), at: stored.at, revision, fits: true })
}

/// RDATA in hexadecimal.
fn octets(text: &str) -> Result<Box<[u8]>, String> {
    let octets = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
    octets.collect::<Option<_>>().ok_or_else(|| format!("{text:?} is no RDATA in hexadecimal"))
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
        let octets = octets(&record.rdata)?;
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
    /// When each record that is written behind was written: drains, health, returns of regions, files, and strays.
    pub written: HashMap<Key, Revision>,
    /// RRsets of updates that were dropped.
    pub strays: Vec<Key>,
}

/// Reads all items of a store, in the order of their keys.
pub(super) fn read(revision: Revision, items: Vec<Item>) -> Result<Stored, StartError> {
    let mut reading = Reading::default();
    items.iter().for_each(|item| reading.take(&item.key, item.revision, &item.value));
    joined(revision, reading, Reading::default())
}

/// What was read so far of a store.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Whether keys come against their order.
    backward: bool,
    /// Those that have instances.
    services: Vec<(Label, ServiceEntry)>,
    /// The service whose instances come now, as its name stands in their keys, and those that have come.
    current: Option<(Box<str>, Label)>,
    instances: Vec<(Label, Instance, Revision)>,
    settings: Vec<(Label, Service, Revision)>,
    drains: Vec<(Subject, DrainEntry)>,
    lifted: Vec<(Label, Timestamp)>,
    health: Vec<(InstanceKey, Vitals)>,
    written: Vec<(Key, Revision)>,
    zones: Vec<(Name, StoredZone, Revision)>,
    sets: Vec<(Name, u32, (Name, u16), OverlaySet)>,
    molds: HashMap<Box<[u8]>, Instance>,
    /// The first value that could not be read.
    failure: Option<StartError>,
}

/// Texts that instances share, kept while a store is read. A fleet has a few; others are read one by one.
const MOLDS: usize = 4096;

impl Reading {
    /// Reads keys in their order or, `backward`, against it.
    pub(super) fn new(backward: bool) -> Reading {
        Reading { backward, ..Reading::default() }
    }

    /// Takes the next item.
    pub(super) fn take(&mut self, key: &str, revision: Revision, value: &[u8]) {
        if self.failure.is_none()
            && let Err(reason) = self.try_take(key, revision, value)
        {
            self.failure = Some(StartError::Value { key: key.to_string(), reason });
        }
    }

    fn try_take(&mut self, key: &str, revision: Revision, value: &[u8]) -> Result<(), String> {
        let written = || (Key::from(key), revision);
        match key.split_once('/') {
            Some(("services", name)) => self.settings.push((label(name)?, read_service(read_value(value)?)?, revision)),
            Some(("instances", rest)) => {
                let (service, id) = rest.split_once('/').ok_or(NO_INSTANCE)?;
                if self.current.as_ref().is_none_or(|(current, _)| **current != *service) {
                    self.end_service();
                    self.current = Some((service.into(), label(service)?));
                }
                let instance = self.read_instance(value)?;
                self.instances.push((label(id)?, instance, revision));
            }
            Some(("health", rest)) => {
                let (service, id) = rest.split_once('/').ok_or(NO_INSTANCE)?;
                self.health.push((InstanceKey { service: label(service)?, id: label(id)? }, read_value(value)?));
                self.written.push(written());
            }
            Some(("drains", rest)) => {
                let subject = Subject::parse(rest).map_err(|error| error.expected)?;
                self.drains.push((subject, DrainEntry { drain: read_value(value)?, revision }));
                self.written.push(written());
            }
            Some(("lifted", region)) => {
                self.lifted.push((label(region)?, read_value(value)?));
                self.written.push(written());
            }
            Some(("files", _)) => self.written.push(written()),
            Some(("updates", rest)) => self.take_update(rest, revision, value)?,
            _ => return Err("its key is none of services/…, instances/…, health/…, drains/…, lifted/…, updates/… and files/…".into()),
        }
        Ok(())
    }

    fn take_update(&mut self, rest: &str, revision: Revision, value: &[u8]) -> Result<(), String> {
        let name = |text: &str| Name::parse(text).map_err(|error| error.to_string());
        match rest.split('/').collect::<Vec<_>>().as_slice() {
            [apex] => self.zones.push((name(apex)?, read_value(value)?, revision)),
            [apex, epoch, owner, rtype] => {
                let epoch = epoch.parse().map_err(|_| "its key has no epoch")?;
                let rtype = rtype.parse().map_err(|_| "its key has no type")?;
                self.sets.push((name(apex)?, epoch, (name(owner)?, rtype), read_set(read_value(value)?, revision)?));
            }
            _ => return Err("its key names no RRset".into()),
        }
        Ok(())
    }

    /// All instances of the current service have come.
    fn end_service(&mut self) {
        let Some((_, name)) = self.current.take() else { return };
        let mut instances = std::mem::take(&mut self.instances);
        if self.backward {
            instances.reverse();
        }
        self.services.push((name, ServiceEntry::restored(instances.drain(..))));
        self.instances = instances;
    }

    /// An instance. Those of a fleet say the same but for their addresses, which stand first where we wrote them: what comes behind
    /// them is read once for all.
    fn read_instance(&mut self, value: &[u8]) -> Result<Instance, String> {
        let Some((addresses, rest)) = addresses_first(value) else { return read_value(value) };
        if let Some(mold) = self.molds.get(rest) {
            let mut instance = mold.clone();
            instance.addresses = addresses.into();
            return Ok(instance);
        }
        let instance: Instance = read_value(value)?;
        if self.molds.len() < MOLDS {
            self.molds.insert(rest.into(), instance.clone());
        }
        Ok(instance)
    }
}

/// What two readings come to together, of which all keys of the first go before those of the second.
pub(super) fn joined(revision: Revision, mut first: Reading, mut second: Reading) -> Result<Stored, StartError> {
    for reading in [&mut first, &mut second] {
        reading.end_service();
        reading.failure.take().map_or(Ok(()), Err)?;
        if reading.backward {
            reading.services.reverse();
        }
    }
    let mut services = first.services;
    let mut behind = second.services.into_iter();
    if let Some((name, entry)) = behind.next() {
        match services.last_mut().filter(|(last, _)| *last == name) {
            Some((_, last)) => entry.instances.iter().for_each(|(id, instance)| _ = last.instances.insert(id.clone(), instance.clone())),
            None => services.push((name, entry)),
        }
    }
    services.extend(behind);
    // What was deregistered or lifted left no trace of when. Readers who wait look once more; that is better than to miss it.
    services.iter_mut().for_each(|(_, entry)| entry.changed = revision);
    // In one go: made in the order of its keys, a tree needs no search.
    let mut registry = Registry::default();
    (registry.services, registry.revision) = (services.into_iter().collect(), revision);
    for (name, service, written) in first.settings.into_iter().chain(second.settings) {
        registry.restore_service(name, Arc::new(service), written, revision);
    }
    registry.drains.extend(first.drains.into_iter().chain(second.drains));
    registry.lifted.extend(first.lifted.into_iter().chain(second.lifted));
    let mut written: HashMap<Key, Revision> = first.written.into_iter().chain(second.written).collect();
    for (apex, StoredZone { changes, epoch }, revision) in first.zones.into_iter().chain(second.zones) {
        registry.overlays.insert(apex, Overlay { changes, epoch, revision: Some(revision), sets: BTreeMap::new() });
    }
    let mut strays = Vec::new();
    for (apex, epoch, key, set) in first.sets.into_iter().chain(second.sets) {
        match registry.overlays.get_mut(&apex).filter(|overlay| overlay.epoch == epoch) {
            Some(overlay) => _ = overlay.sets.insert(key, set),
            // Dropped with all others of its epoch, and not yet erased.
            None => {
                let key = set_key(&apex, epoch, &key);
                written.insert(key.clone(), set.revision);
                strays.push(key);
            }
        }
    }
    let health = first.health.into_iter().chain(second.health).collect();
    Ok(Stored { registry, health, written, strays })
}

const NO_INSTANCE: &str = "its key names no instance";

fn label(text: &str) -> Result<Label, String> {
    Label::parse(text).map_err(|error| error.to_string())
}

/// The addresses of a stored instance and what comes behind them; `None` where they do not stand first as we write them.
fn addresses_first(value: &[u8]) -> Option<(Vec<IpAddr>, &[u8])> {
    let list = value.strip_prefix(b"{\"addresses\":[")?;
    let end = list.iter().position(|octet| *octet == b']')?;
    let one = |text: &str| text.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    let addresses = std::str::from_utf8(&list[..end]).ok()?.split(',').map(one).collect::<Option<Vec<IpAddr>>>()?;
    Some((addresses, &list[end..]))
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

    /// However a store is cut in two, it is the same; a fleet's instances are read from molds, others one by one.
    #[test]
    fn halves_come_to_the_whole() {
        let fleet = |n: u8| format!(r#"{{"addresses":["192.0.2.{n}"],"region":"eu","az":"1"}}"#);
        let mut keys: Vec<String> = ["a", "a-1", "a1", "b"]
            .iter()
            .flat_map(|service| (0..3).map(move |n| format!("instances/{service}/{}", ["i", "i-1", "i1"][n])))
            .chain(["drains/az/eu/1", "health/a/i", "lifted/eu", "services/a", "services/z"].map(String::from))
            .collect();
        keys.sort();
        let text = |n: usize, key: &str| match key.split('/').next() {
            Some("instances") => match n % 5 {
                0 => r#"{"addresses":["192.0.2.9","2001:db8::9"],"region":"eu","az":"1"}"#.to_string(),
                1 => r#"{"region":"eu","addresses": ["192.0.2.9"],"az":"2"}"#.to_string(),
                _ => fleet(n as u8),
            },
            Some("services") => r#"{"fields":{}}"#.into(),
            Some("health") => r#"{"probed":"unhealthy"}"#.into(),
            Some("drains") => r#"{"reason":"x","author":"y","started":"2026-11-20T12:00:00Z","expires":"2026-11-20T16:00:00Z"}"#.into(),
            _ => r#""2026-11-20T12:00:00Z""#.into(),
        };
        let items: Vec<Item> = keys.iter().enumerate().map(|(n, key)| item(key, text(n, key).as_bytes().into())).collect();
        let whole = read(Revision(9), items.clone()).unwrap();
        assert_eq!(whole.registry.services.len(), 5);
        for item in items.iter().filter(|item| item.key.starts_with("instances/")) {
            let (_, rest) = item.key.split_once('/').unwrap();
            let Subject::Instance(key) = Subject::parse(&format!("instance/{rest}")).unwrap() else { panic!("{rest}") };
            let expected: Instance = serde_json::from_slice(&item.value).unwrap();
            assert_eq!(whole.registry.instance(&key).unwrap().instance, expected);
        }
        for cut in 0..=items.len() {
            let (mut first, mut second) = (Reading::new(false), Reading::new(true));
            items[..cut].iter().for_each(|item| first.take(&item.key, item.revision, &item.value));
            items[cut..].iter().rev().for_each(|item| second.take(&item.key, item.revision, &item.value));
            let halves = joined(Revision(9), first, second).unwrap();
            assert_eq!((&halves.registry, &halves.health, &halves.written), (&whole.registry, &whole.health, &whole.written), "{cut}");
        }
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
