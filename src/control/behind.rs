//! What is persisted behind, because it was visible at once: the last health of instances, the end of drains, when regions came back,
//! and that files were loaded. The last has no use but its revision: who waits for a change of a service must hear of what files say
//! of it, and revisions are the store's alone.
//!
//! Each record is written once for all that was learned of it meanwhile, and a backlog is worked off in steps with rests between them:
//! of a flood of changes most are void before they are written, and whoever waits for the store is not to wait for them.
//!
//! Every write is compare-and-put, so it is also known here when each of these keys was last written.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::core::RETRY;
use super::records;
use super::stale::Stale;
use crate::model::{InstanceKey, Label, Revision, Subject, Timestamp, Vitals};
use crate::registry::{Change, Registry, SetChange, Turn};
use crate::store::{Condition, Key, MAX_OPERATIONS, Operation};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// When each health, drain and return of a region in the store was written.
    written: HashMap<Key, Revision>,
    /// What the store does not hold as it is.
    stale: Stale<Record>,
    /// What is under way to the store.
    flight: Vec<(Record, Operation)>,
    /// What went to the store with a pushed status.
    pushed: HashMap<Key, Vitals>,
    /// Keys of health that is erased with its instance.
    erased: BTreeSet<Key>,
    /// Services of which files say something else since [`Record::Files`] was written.
    files: BTreeSet<Label>,
    /// After a failure, or a step of a backlog: not before.
    rest: Option<Timestamp>,
    /// No rests: the server stops.
    hurries: bool,
}

/// So many records are a backlog.
const BACKLOG: usize = 8 * MAX_OPERATIONS;
/// The rest after a step of a backlog.
const REST: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Record {
    Health(InstanceKey),
    Drain(Subject),
    Lifted(Label),
    Files,
    /// What nobody reads any more.
    Stray(Key),
}

impl Behind {
    /// `written`: when each health and each drain in the store was written.
    pub fn new(written: HashMap<Key, Revision>) -> Behind {
        Behind { written, ..Behind::default() }
    }

    /// Takes what the store holds after it was read anew; what is stale stays so.
    pub fn reread(&mut self, written: HashMap<Key, Revision>) {
        self.written = written;
    }

    /// The health of an instance is no longer as the store has it.
    pub fn health(&mut self, key: InstanceKey) {
        self.note(Record::Health(key));
    }

    fn note(&mut self, record: Record) {
        self.stale.note(record);
    }

    /// From now on what is left is written without rests.
    pub fn hurry(&mut self) {
        self.hurries = true;
    }

    /// An instance is new; the store may hold health of one before it.
    pub fn fresh(&mut self, key: &InstanceKey) {
        if self.written.contains_key(&records::health_key(key)) {
            self.health(key.clone());
        }
    }

    /// A drain has ended that the store may still have.
    pub fn drain(&mut self, subject: Subject) {
        self.note(Record::Drain(subject));
    }

    /// A region has come back that was drained.
    pub fn lifted(&mut self, region: Label) {
        self.note(Record::Lifted(region));
    }

    /// Files that were loaded say something else of these services.
    pub fn files(&mut self, services: BTreeSet<Label>) {
        if !services.is_empty() {
            self.files.extend(services);
            self.note(Record::Files);
        }
    }

    /// RRsets of updates that were dropped are to be erased.
    pub fn strays(&mut self, strays: impl Iterator<Item = (Key, Revision)>) {
        for (key, revision) in strays {
            self.written.insert(key.clone(), revision);
            self.note(Record::Stray(key));
        }
    }

    /// Whether the store holds everything.
    pub fn is_empty(&self) -> bool {
        self.stale.is_empty() && self.flight.is_empty()
    }

    /// When to go on.
    pub fn rests_until(&self) -> Option<Timestamp> {
        self.rest.filter(|_| !self.stale.is_empty())
    }

    /// The operations that make a change durable.
    pub fn operations(&mut self, change: &Change, registry: &Registry) -> Vec<Operation> {
        let put = |key: Key, value, before: Option<Revision>| Operation::Put { key, value, condition: condition(before) };
        let delete = |key: Key, before| Operation::Delete { key, condition: Condition::At(before) };
        let (written, erased) = (&self.written, &mut self.erased);
        let mut erase = |key: Key| {
            let before = written.get(&key)?;
            erased.insert(key.clone());
            Some(delete(key, *before))
        };
        match change {
            Change::PutInstance { key, instance, before } => {
                vec![put(records::instance_key(key), records::value(instance), *before)]
            }
            Change::DeleteInstance { key, before } => {
                let instance = delete(records::instance_key(key), *before);
                [instance].into_iter().chain(erase(records::health_key(key))).collect()
            }
            Change::PutService { name, service, before, .. } => {
                vec![put(records::service_key(name), records::service_value(service), *before)]
            }
            Change::DeleteService { name, before, instances } => {
                let mut operations: Vec<Operation> = before.iter().map(|before| delete(records::service_key(name), *before)).collect();
                for (id, before) in instances {
                    let key = InstanceKey { service: name.clone(), id: id.clone() };
                    operations.push(delete(records::instance_key(&key), *before));
                    operations.extend(erase(records::health_key(&key)));
                }
                operations
            }
            Change::Drain { subject, drain, .. } | Change::Steer { subject, drain, .. } => {
                let key = records::drain_key(subject);
                let before = self.written.get(&key).copied();
                vec![put(key, records::value(drain), before)]
            }
            Change::Undrain { subject, .. } => erase(records::drain_key(subject)).into_iter().collect(),
            Change::Zone(change) => {
                let zone = put(records::zone_key(&change.apex), records::zone_value(change), change.before);
                let set = |set: &SetChange| {
                    let key = records::set_key(&change.apex, change.epoch, &set.key);
                    match records::set_value(change, set) {
                        Some(value) => Some(put(key, value, set.before)),
                        None => set.before.map(|before| delete(key, before)),
                    }
                };
                [zone].into_iter().chain(change.sets.iter().filter_map(set)).collect()
            }
            Change::Push { key, pushed } => {
                let mut vitals = registry.instance(key).map(|entry| entry.vitals.clone()).unwrap_or_default();
                vitals.set_pushed(Some(pushed.clone()));
                let key = records::health_key(key);
                let before = self.written.get(&key).copied();
                let operation = put(key.clone(), records::value(&vitals), before);
                self.pushed.insert(key, vitals);
                vec![operation]
            }
        }
    }

    /// Takes note of a change that is durable and carried out.
    pub fn carried_out(&mut self, change: &Change, registry: &Registry, revision: Revision) {
        match change {
            Change::Push { key, .. } => {
                let stored_at = records::health_key(key);
                let sent = self.pushed.remove(&stored_at);
                self.written.insert(stored_at, revision);
                // What it came to, such as a slow start, and what else was learned meanwhile.
                if let (Some(sent), Some(entry)) = (sent, registry.instance(key))
                    && Turn::between(&sent, &entry.vitals).learned
                {
                    self.health(key.clone());
                }
            }
            Change::DeleteInstance { key, .. } => self.forget(key),
            Change::DeleteService { name, instances, .. } => {
                for (id, _) in instances {
                    self.forget(&InstanceKey { service: name.clone(), id: id.clone() });
                }
            }
            Change::Drain { subject, .. } | Change::Steer { subject, .. } => {
                self.written.insert(records::drain_key(subject), revision);
            }
            Change::Undrain { subject, .. } => {
                let stored_at = records::drain_key(subject);
                self.erased.remove(&stored_at);
                self.written.remove(&stored_at);
            }
            Change::PutInstance { .. } | Change::PutService { .. } | Change::Zone(_) => {}
        }
    }

    /// The change for which there were [`Behind::operations`] was not made.
    pub fn abandon(&mut self) {
        self.pushed.clear();
        self.erased.clear();
    }

    /// An instance is gone, and its health with it; health that came into the store meanwhile is erased later.
    fn forget(&mut self, key: &InstanceKey) {
        let stored_at = records::health_key(key);
        if self.erased.remove(&stored_at) {
            self.written.remove(&stored_at);
        }
        self.health(key.clone());
    }

    /// What goes to the store now, but for keys that commands of the same departure touch.
    pub fn depart(&mut self, registry: &Registry, touched: &BTreeSet<Key>, now: Timestamp) -> Vec<Operation> {
        if self.rest.is_some_and(|until| until > now) {
            return Vec::new();
        }
        let mut left = Vec::new();
        while self.flight.len() < MAX_OPERATIONS
            && let Some(record) = self.stale.take()
        {
            let key = match &record {
                Record::Health(key) => records::health_key(key),
                Record::Drain(subject) => records::drain_key(subject),
                Record::Lifted(region) => records::lifted_key(region),
                Record::Files => records::files_key(),
                Record::Stray(key) => key.clone(),
            };
            if touched.contains(&key) {
                left.push(record);
            } else if let Some(operation) = self.operation(&record, key, registry) {
                self.flight.push((record, operation));
            }
        }
        left.into_iter().for_each(|record| self.note(record));
        self.flight.iter().map(|(_, operation)| operation.clone()).collect()
    }

    /// What makes the store hold a record as it is; `None`: it does.
    fn operation(&self, record: &Record, key: Key, registry: &Registry) -> Option<Operation> {
        let before = self.written.get(&key).copied();
        let erase = before.map(|before| Operation::Delete { key: key.clone(), condition: Condition::At(before) });
        match record {
            Record::Health(instance) => match registry.instance(instance) {
                Some(entry) => Some(Operation::Put { key, value: records::value(&entry.vitals), condition: condition(before) }),
                None => erase,
            },
            Record::Drain(subject) if registry.drains.contains_key(subject) => None,
            Record::Drain(_) | Record::Stray(_) => erase,
            Record::Lifted(region) => match registry.lifted.get(region) {
                Some(ended) => Some(Operation::Put { key, value: records::value(ended), condition: condition(before) }),
                None => erase,
            },
            Record::Files => Some(Operation::Put { key, value: records::files_value(&self.files), condition: condition(before) }),
        }
    }

    /// Takes what the store said: the revision, or `None` for a failure. Returns the services whose health it was or of which files
    /// say something else, and the drains.
    pub fn land(&mut self, revision: Option<Revision>, now: Timestamp) -> (BTreeSet<Label>, Vec<Subject>) {
        let flight = std::mem::take(&mut self.flight);
        let Some(revision) = revision else {
            self.rest = Some(now.plus(RETRY));
            flight.into_iter().for_each(|(record, _)| self.note(record));
            return Default::default();
        };
        self.rest = (self.stale.len() > BACKLOG && !self.hurries).then(|| now.plus(REST));
        let (mut services, mut drains) = (BTreeSet::new(), Vec::new());
        for (record, operation) in flight {
            match operation {
                Operation::Put { key, .. } => _ = self.written.insert(key, revision),
                Operation::Delete { key, .. } => _ = self.written.remove(&key),
            }
            match record {
                Record::Health(key) => _ = services.insert(key.service),
                Record::Drain(subject) => drains.push(subject),
                Record::Lifted(_) | Record::Stray(_) => {}
                Record::Files => services.append(&mut self.files),
            }
        }
        (services, drains)
    }
}

fn condition(before: Option<Revision>) -> Condition {
    before.map_or(Condition::Absent, Condition::At)
}
