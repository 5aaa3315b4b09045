//! What happens by itself as time goes by: heartbeats that come or stay away, holds and drains that end, slow starts that go on. None of
//! it waits for the store.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Applied;
use super::core::{Core, Due, Origin, Queued, read, write};
use super::heartbeats::{Heartbeats, Lapse, Rhythm};
use crate::model::{FieldError, InstanceKey, Label, Source, Subject, Timestamp};
use crate::registry::{Command, Precondition, Refusal, Registry};

impl<T> Core<T> {
    /// Takes a heartbeat that changes what is known.
    pub(super) fn beat(&mut self, now: Timestamp, reply: T, key: InstanceKey) {
        if self.flight.as_ref().is_some_and(|flight| flight.removes(&key)) {
            self.waiting.push((reply, key));
            return;
        }
        let turn = self.write().beat(&key, true, now);
        let answer = match turn {
            Some(_) => {
                let next = self.beats.resume(&key, now);
                self.plan_look(next, &key);
                Ok(Applied { revision: read(&self.registry).revision, created: false })
            }
            None => Err(no_heartbeat(&read(&self.registry), &key).into()),
        };
        self.turned(now, &key, turn, "");
        self.effects.answers.push((reply, answer));
    }

    /// A heartbeat's deadline has come.
    pub(super) fn look(&mut self, now: Timestamp, at: Timestamp, key: InstanceKey) {
        let (lapse, next) = self.beats.look(&key, at, now);
        self.plan_look(next, &key);
        match lapse {
            Lapse::None => {}
            Lapse::Late => {
                let turn = self.write().waver(&key, now);
                self.turned(now, &key, turn, "");
            }
            Lapse::Missed => {
                let turn = self.write().beat(&key, false, now);
                self.turned(now, &key, turn, "");
            }
            Lapse::Overdue => {
                let command = Command::DeleteInstance { key: key.clone(), precondition: Precondition::None };
                self.queue.push_back(Queued { command, origin: Origin::Expiry(key) });
            }
        }
    }

    /// A drain's end has come: it ends now, whatever the store says; it is erased behind.
    pub(super) fn expire(&mut self, now: Timestamp, subject: Subject) {
        let expired = {
            let registry = self.registry.clone();
            let mut registry = write(&registry);
            match registry.drains.get(&subject) {
                Some(entry) if entry.drain.expires <= now => registry.drains.remove(&subject),
                _ => None,
            }
        };
        if let Some(entry) = expired {
            self.behind.drain(subject.clone());
            self.drains_changed(&subject);
            self.tell(now, "drain_expired", subject.to_string(), entry.drain.reason, "");
        }
    }

    /// The end of a hold has come, unless it has been lifted or another one has begun: health is what the parts say.
    pub(super) fn release(&mut self, now: Timestamp, key: InstanceKey) {
        let turn = self.write().release(&key, now);
        self.turned(now, &key, turn, "");
    }

    /// A step in the slow starts of a service has come.
    pub(super) fn step(&mut self, now: Timestamp, at: Timestamp, service: Label) {
        // Another one was planned before it.
        if self.steps.get(&service) != Some(&at) {
            return;
        }
        self.steps.remove(&service);
        let (any, next) = self.write().step(&service, now);
        if any {
            self.effects.services.insert(service.clone());
        }
        next.into_iter().for_each(|next| self.plan_step(next, &service));
    }

    /// Plans what an instance's hold and slow start need.
    pub(super) fn plan_recovery(&mut self, now: Timestamp, key: &InstanceKey) {
        let Some((held, warming)) = read(&self.registry).instance(key).map(|e| (e.vitals.damping.held_until(), e.vitals.warming)) else {
            return;
        };
        self.deadlines.extend(held.map(|until| Reverse((until, Due::Hold(key.clone())))));
        if let Some(warming) = warming {
            self.plan_step(warming.next_step(now), &key.service);
        }
    }

    /// Plans a step, unless one no later is planned already.
    fn plan_step(&mut self, at: Timestamp, service: &Label) {
        if self.steps.get(service).is_none_or(|planned| *planned > at) {
            self.steps.insert(service.clone(), at);
            self.deadlines.push(Reverse((at, Due::Step(service.clone()))));
        }
    }

    pub(super) fn plan_look(&mut self, at: Option<Timestamp>, key: &InstanceKey) {
        self.deadlines.extend(at.map(|at| Reverse((at, Due::Beat(key.clone())))));
    }
}

/// Why an instance's beat is not taken.
pub(super) fn no_heartbeat(registry: &Registry, key: &InstanceKey) -> Refusal {
    match registry.instance(key) {
        None => Refusal::UnknownInstance(key.clone()),
        Some(_) => {
            FieldError::new("heartbeat", "the instance was registered without one; register it with `heartbeat` to send beats").into()
        }
    }
}

/// Expects an instance's heartbeats from now on, or none any more.
pub(super) fn start_beats(
    beats: &Heartbeats,
    deadlines: &mut BinaryHeap<Reverse<(Timestamp, Due)>>,
    key: &InstanceKey,
    registry: &Registry,
    rhythm: Rhythm,
    now: Timestamp,
) {
    let Some(entry) = registry.instance(key) else { return beats.stop(key) };
    let Some(every) = entry.instance.heartbeat else { return beats.stop(key) };
    // What a file declares is not for the server to remove.
    let deregister_after = entry.instance.deregister_after.filter(|_| entry.source == Source::Api);
    let next = beats.start(key, every.0, deregister_after.map(|after| after.0), rhythm, now);
    deadlines.extend(next.map(|at| Reverse((at, Due::Beat(key.clone())))));
}
