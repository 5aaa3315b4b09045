//! What happens by itself as time goes by: heartbeats that come or stay away, holds that end, slow starts that go on, and drains that move
//! and end. None of it waits for the store.

use std::cmp::Reverse;

use super::Applied;
use super::core::{Core, Due, Origin, Queued, read};
use super::heartbeats::{Heartbeats, Lapse, Rhythm};
use crate::model::{Drain, FieldError, InstanceKey, Label, Source, Subject, Timestamp, Toward, Warming};
use crate::registry::{Command, Precondition, Refusal, Registry};

/// When a drain was looked at last, and when it is next: other deadlines of its subject are void.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub last: Timestamp,
    pub next: Timestamp,
}

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
                self.beats.resume(&key, now);
                Ok(Applied { revision: read(&self.registry).revision, created: false })
            }
            None => Err(no_heartbeat(&read(&self.registry), &key).into()),
        };
        self.turned(now, &key, turn, "");
        self.effects.answers.push((reply, answer));
    }

    /// Beats of an instance have stayed away.
    pub(super) fn lapse(&mut self, now: Timestamp, key: InstanceKey, lapse: Lapse) {
        match lapse {
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

    /// A drain has moved, or its end has come. All that waits for nobody: it ends now, whatever the store says, and is erased behind.
    pub(super) fn look_at_drain(&mut self, now: Timestamp, at: Timestamp, subject: Subject) {
        let Some(round) = self.rounds.get(&subject).copied().filter(|round| round.next == at) else { return };
        let registry = self.registry.clone();
        let found = read(&registry).drains.get(&subject).map(|entry| entry.drain.clone());
        let Some(drain) = found else {
            self.rounds.remove(&subject);
            return;
        };
        let over = drain.is_over(now);
        if over {
            self.end_drain(now, &subject, drain.over());
        } else {
            self.watch(now, &subject, &drain);
        }
        self.drains_changed(&subject);
        let expires = drain.course.toward == Toward::Out && round.last < drain.expires && drain.expires <= now;
        if expires {
            let until = if over { String::new() } else { format!("; back in answers by {}", drain.over()) };
            self.tell(now, "drain_expired", subject.to_string(), format!("{}{until}", drain.reason), "");
        }
        if over && !expires {
            self.tell(now, "undrained", subject.to_string(), String::new(), "");
        }
    }

    /// Takes a drain away that ended at `ended`.
    pub(super) fn end_drain(&mut self, now: Timestamp, subject: &Subject, ended: Timestamp) {
        let region = self.write().end_drain(subject, ended.min(now));
        region.into_iter().for_each(|region| self.behind.lifted(region));
        self.rounds.remove(subject);
        self.behind.drain(subject.clone());
    }

    /// Looks at a drain from now on.
    pub(super) fn watch(&mut self, now: Timestamp, subject: &Subject, drain: &Drain) {
        let next = drain.next(now).unwrap_or(now);
        self.rounds.insert(subject.clone(), Round { last: now, next });
        self.deadlines.push(Reverse((next, Due::Drain(subject.clone()))));
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
            self.effects.whole(service.clone());
        }
        next.into_iter().for_each(|next| self.plan_step(next, &service));
    }

    /// Plans what an instance's hold and slow start need.
    pub(super) fn plan_recovery(&mut self, now: Timestamp, key: &InstanceKey, held: Option<Timestamp>, warming: Option<Warming>) {
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
pub(super) fn start_beats(beats: &Heartbeats, key: &InstanceKey, registry: &Registry, rhythm: Rhythm, now: Timestamp) {
    let Some(entry) = registry.instance(key) else { return beats.stop(key) };
    let Some(every) = entry.instance.heartbeat else { return beats.stop(key) };
    // What a file declares is not for the server to remove.
    let deregister_after = entry.instance.deregister_after.filter(|_| entry.source == Source::Api);
    beats.start(key, every.0, deregister_after.map(|after| after.0), rhythm, now);
}
