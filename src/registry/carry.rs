//! From a change that is durable to the state that everyone sees.

use std::sync::Arc;

use super::{DrainEntry, InstanceEntry, Instances, Registry, ServiceEntry, ZoneChange, vitals};
use crate::model::{Drain, Instance, InstanceKey, Label, Pushed, Revision, Service, Source, Subject, Timestamp};

/// A change that was planned. `before` is when the resource was last written, `None` where it is new: the condition of the write.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An instance is registered or replaced.
    PutInstance {
        /// Which.
        key: InstanceKey,
        /// As what.
        instance: Arc<Instance>,
        /// When it was last written.
        before: Option<Revision>,
    },
    /// An instance is deregistered.
    DeleteInstance {
        /// Which.
        key: InstanceKey,
        /// When it was last written.
        before: Revision,
    },
    /// A service's settings are written.
    PutService {
        /// Which.
        name: Label,
        /// To what.
        service: Arc<Service>,
        /// When they were last written; `None` also for a service that exists because instances do.
        before: Option<Revision>,
        /// Whether the service existed.
        exists: bool,
    },
    /// A service is removed, with its instances.
    DeleteService {
        /// Which.
        name: Label,
        /// When its settings were last written; `None`: there are none.
        before: Option<Revision>,
        /// Its instances, and when each was last written.
        instances: Vec<(Label, Revision)>,
    },
    /// A drain is written.
    Drain {
        /// Of what.
        subject: Subject,
        /// How.
        drain: Drain,
        /// When it was last written.
        before: Option<Revision>,
    },
    /// A drain is lifted at once: it is gone.
    Undrain {
        /// Of what.
        subject: Subject,
        /// When it was last written.
        before: Revision,
    },
    /// A drain that stays in force moves otherwise.
    Steer {
        /// Of what.
        subject: Subject,
        /// The drain with its new course.
        drain: Drain,
        /// When it was last written.
        before: Revision,
        /// What was asked.
        steering: Steering,
    },
    /// A status is pushed.
    Push {
        /// Of which instance.
        key: InstanceKey,
        /// The status.
        pushed: Pushed,
    },
    /// Records of a zone are changed.
    Zone(ZoneChange),
}

/// How a drain's course is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// Back into answers.
    Lift,
    /// It stands still.
    Pause,
    /// It goes on.
    Resume,
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Whether the resource is new.
    pub created: bool,
    /// The turn of the instance's health, where the change is a push.
    pub turn: Option<super::Turn>,
}

impl Change {
    /// The service that is no longer as it was; `None`: a drain of a region or an az changed, or a zone.
    pub fn service(&self) -> Option<&Label> {
        match self {
            Change::PutInstance { key, .. } | Change::DeleteInstance { key, .. } | Change::Push { key, .. } => Some(&key.service),
            Change::PutService { name, .. } | Change::DeleteService { name, .. } => Some(name),
            Change::Zone(_) => None,
            Change::Drain { subject, .. } | Change::Undrain { subject, .. } | Change::Steer { subject, .. } => match subject {
                Subject::Service(name) => Some(name),
                Subject::Instance(key) => Some(&key.service),
                Subject::Region(_) | Subject::Az(_) => None,
            },
        }
    }
}

impl Registry {
    /// Makes a planned change visible. `revision` is what the store gave it; `now` starts the life of what is new.
    ///
    /// Health may have changed between plan and now; nothing else may.
    pub fn carry_out(&mut self, change: &Change, now: Timestamp, revision: Revision) -> Done {
        self.revision = self.revision.max(revision);
        let mut done = Done { created: false, turn: None };
        match change {
            Change::PutInstance { key, instance, .. } => {
                let before = self.instance(key).map(|entry| entry.vitals.health());
                let service = self.services.entry(key.service.clone()).or_insert_with(ServiceEntry::implicit);
                done.created = service.put(&key.id, Instance::clone(instance), Source::Api, now, revision);
                before.into_iter().for_each(|before| self.warm_up(key, before, now));
            }
            Change::DeleteInstance { key, .. } => self.remove_instance(key, revision),
            Change::Zone(change) => self.change_zone(change, revision),
            Change::PutService { name, service, exists, .. } => {
                done.created = !exists;
                let entry = self.services.entry(name.clone()).or_insert_with(ServiceEntry::implicit);
                entry.source = Some(Source::Api);
                entry.revision = revision;
                let before: Vec<_> = entry.instances.iter().map(|(id, entry)| (id.clone(), entry.vitals.health())).collect();
                entry.set(service.clone(), now);
                for (id, before) in before {
                    self.warm_up(&InstanceKey { service: name.clone(), id }, before, now);
                }
            }
            Change::DeleteService { name, .. } => _ = self.services.remove(name),
            Change::Drain { subject, drain, before } => {
                done.created = before.is_none();
                self.drains.insert(subject.clone(), DrainEntry { drain: drain.clone(), revision });
            }
            Change::Steer { subject, drain, .. } => _ = self.drains.insert(subject.clone(), DrainEntry { drain: drain.clone(), revision }),
            Change::Undrain { subject, .. } => _ = self.end_drain(subject, now),
            Change::Push { key, pushed } => done.turn = self.push(key, pushed.clone(), now),
        }
        match change {
            Change::Drain { subject, .. } | Change::Undrain { subject, .. } | Change::Steer { subject, .. } => {
                self.touch_within(subject, revision);
            }
            _ => change.service().into_iter().for_each(|name| self.touch(name, revision)),
        }
        done
    }

    /// Notes that something in a service changed at `revision`, for readers who wait.
    pub fn touch(&mut self, service: &Label, revision: Revision) {
        self.revision = self.revision.max(revision);
        if let Some(entry) = self.services.get_mut(service) {
            entry.changed = entry.changed.max(revision);
        }
    }

    /// Notes that the drain of `subject` changed at `revision`: in every service with instances there, so that who waits for a change
    /// of a service hears of a drained region too.
    pub fn touch_within(&mut self, subject: &Subject, revision: Revision) {
        self.revision = self.revision.max(revision);
        for (name, entry) in &mut self.services {
            let mut instances = entry.instances.values().map(|entry| &entry.instance);
            let concerned = match subject {
                Subject::Region(region) => instances.any(|i| i.region == *region),
                Subject::Az(locality) => instances.any(|i| i.region == locality.region && i.az == locality.az),
                Subject::Service(service) => name == service,
                Subject::Instance(key) => *name == key.service,
            };
            if concerned {
                entry.changed = entry.changed.max(revision);
            }
        }
    }

    /// Removes an instance, and a service that existed because of it alone.
    fn remove_instance(&mut self, key: &InstanceKey, revision: Revision) {
        if let Some(service) = self.services.get_mut(&key.service) {
            service.instances.remove(&key.id);
            service.changed = service.changed.max(revision);
            if service.instances.is_empty() && service.source.is_none() {
                self.services.remove(&key.service);
            }
        }
    }
}

impl ServiceEntry {
    /// A service that exists because instances do.
    pub(super) fn implicit() -> ServiceEntry {
        ServiceEntry::of(Instances::default(), Revision(0))
    }

    /// Writes an instance; returns whether it is new. What is known of its health stays as far as it still holds.
    pub(super) fn put(&mut self, id: &Label, instance: Instance, source: Source, now: Timestamp, revision: Revision) -> bool {
        let before = self.instances.remove(id);
        let created = before.is_none();
        let vitals = match before {
            Some(before) => vitals::registered(before.vitals, (&self.service, &before.instance), (&self.service, &instance), now),
            None => vitals::fresh(&self.service, &instance, now),
        };
        self.instances.insert(id.clone(), InstanceEntry { instance, source, revision, vitals });
        created
    }

    /// Writes the settings; instances that go by them are probed otherwise from now on.
    pub(super) fn set(&mut self, service: Arc<Service>, now: Timestamp) {
        let before = std::mem::replace(&mut self.service, service);
        let ServiceEntry { terms, instances, .. } = self;
        for entry in instances.values_mut() {
            let vitals = std::mem::take(&mut entry.vitals);
            entry.vitals = vitals::carried(vitals, (&before, &entry.instance), (&terms.service, &entry.instance), now);
        }
    }
}
