//! What a landing comes to: state, orders for the prober, events and answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::{Core, Origin, Planned, RETRY, read, write};
use super::heartbeats::Rhythm;
use super::lapse::start_beats;
use super::orders::Orders;
use super::records::{self, Stored};
use super::{Applied, ApplyError, Event, ProbeOrder, Probes, StartError};
use crate::model::{Course, Drain, Geo, Health, InstanceKey, Label, Revision, Service, Subject, Timestamp, Vitals, Zone};
use crate::registry::{Change, DrainEntry, InstanceEntry, LoadError, OverlaySet, Probing, Registry, ServiceEntry, Steering, Turn, probing};
use crate::snapshot::ZoneError;
use crate::store::Item;

impl<T> Core<T> {
    /// Makes a change visible that is durable. What is to be told of it comes back: [`Core::make_known`] takes it once the registry is
    /// not locked any more.
    pub(super) fn carry_out(&mut self, registry: &mut Registry, now: Timestamp, planned: Planned<T>, revision: Revision) -> Carried<T> {
        let Planned { change, origin, author } = planned;
        let before = looks(registry, &change);
        if let Change::Zone(zone) = &change
            && let Some(overlay) = registry.overlays.get(&zone.apex).filter(|overlay| overlay.epoch != zone.epoch)
        {
            let dropped = |(key, set): (&_, &OverlaySet)| (records::set_key(&zone.apex, overlay.epoch, key), set.revision);
            self.behind.strays(overlay.sets.iter().map(dropped));
        }
        let done = registry.carry_out(&change, now, revision);
        let registry = &*registry;
        self.behind.carried_out(&change, registry, revision);
        let after = looks(registry, &change);
        for (key, look) in &before {
            if look.probing.is_some() && !after.contains_key(key) {
                self.order(key.clone(), None, None);
            }
        }
        let mut turned = Vec::new();
        for (key, look) in after {
            turned.extend(self.compare(&key, before.get(&key), look));
        }
        match &change {
            Change::PutInstance { key, .. } => start_beats(&self.beats, key, registry, Rhythm::OnTime, now),
            Change::DeleteInstance { key, .. } => self.beats.stop(key),
            Change::DeleteService { name, instances, .. } => {
                for (id, _) in instances {
                    self.beats.stop(&InstanceKey { service: name.clone(), id: id.clone() });
                }
            }
            Change::Drain { subject, drain, .. } | Change::Steer { subject, drain, .. } => {
                self.watch(now, subject, drain);
                self.drains_changed(subject);
            }
            Change::Undrain { subject, .. } => {
                self.rounds.remove(subject);
                let back = registry.lifted.iter().filter(|(_, ended)| **ended == now);
                back.for_each(|(region, _)| self.behind.lifted(region.clone()));
                self.drains_changed(subject);
            }
            Change::Zone(zone) => _ = self.effects.zones.insert(zone.apex.clone()),
            Change::PutService { .. } | Change::Push { .. } => {}
        }
        if let Change::Push { key, .. } = &change {
            turned.extend(done.turn.map(|turn| (key.clone(), turn)));
        }
        change.service().into_iter().for_each(|service| self.effects.whole(service.clone()));
        Carried { change, origin, author, turned, applied: Applied { revision, created: done.created } }
    }

    /// Tells of a change that was carried out.
    pub(super) fn make_known(&mut self, now: Timestamp, carried: Carried<T>) {
        let Carried { change, origin, author, turned, applied } = carried;
        let expired = matches!(origin, Some(Origin::Expiry(_)));
        if let Some((kind, subject, detail)) = news(&change, applied.created, expired, now) {
            self.tell(now, kind, subject, detail, &author);
        }
        for (key, turn) in turned {
            self.turned(now, &key, Some(turn), &author);
        }
        if let Some(Origin::Caller { reply, .. }) = origin {
            self.effects.answers.push((reply, Ok(applied)));
        }
    }

    /// Orders and persists what is new of an instance. Returns its turn, if it has one.
    fn compare(&mut self, key: &InstanceKey, before: Option<&Look>, after: Look) -> Option<(InstanceKey, Turn)> {
        if before.and_then(|before| before.probing.as_ref()) != after.probing.as_ref() {
            self.order(key.clone(), after.probing, after.vitals.probed);
        }
        let Some(before) = before else {
            self.behind.fresh(key);
            return None;
        };
        let turn = Turn::between(&before.vitals, &after.vitals);
        (turn.learned || turn.before != turn.after).then(|| (key.clone(), turn))
    }

    /// Orders what is to be probed of an instance from now on; `None`: nothing any more.
    fn order(&mut self, key: InstanceKey, probing: Option<Probing>, last: Option<Health>) {
        let order = match probing {
            Some(probing) => probes(self.orders.renew(&key), key, probing, last),
            None => {
                self.orders.end(&key);
                ProbeOrder { key, probes: None }
            }
        };
        self.effects.orders.push(order);
    }

    /// A change was not made durable, as far as is known: nothing has changed here, and who wanted it learns why.
    pub(super) fn fail(&mut self, now: Timestamp, origin: Origin<T>, why: ApplyError) {
        match origin {
            Origin::Caller { reply, .. } => self.effects.answers.push((reply, Err(why))),
            Origin::Expiry(key) => self.beats.postpone(&key, now.plus(RETRY)),
        }
    }

    /// Puts another registry in place of this one: at start, when files were loaded, or when the store was read anew. Callers have made
    /// sure that nothing is under way.
    pub(super) fn replace(&mut self, next: Registry, now: Timestamp) {
        let shared = self.registry.clone();
        let mut registry = write(&shared);
        let (mut turned, mut recovering) = (Vec::new(), Vec::new());
        for (name, entry) in &registry.services {
            let left = next.services.get(name);
            if left.is_none() {
                self.effects.whole(name.clone());
            }
            for (id, instance) in entry.instances.iter().filter(|(id, _)| left.is_none_or(|left| !left.instances.contains_key(id))) {
                let key = InstanceKey { service: name.clone(), id: id.clone() };
                self.beats.stop(&key);
                self.behind.health(key.clone());
                if probing(&entry.service, &instance.instance).is_some() {
                    self.order(key, None, None);
                }
            }
        }
        for (name, entry) in &next.services {
            let known = registry.services.get(name);
            if known == Some(entry) {
                continue;
            }
            self.effects.whole(name.clone());
            for (id, instance) in &entry.instances {
                let known = known.and_then(|known| Some((known, known.instances.get(id)?)));
                let key = InstanceKey { service: name.clone(), id: id.clone() };
                let before = known.map(|(service, known)| Look::at(service, known));
                let (held, warming) = (instance.vitals.damping().held_until(), instance.vitals.warming());
                if held.is_some() || warming.is_some() {
                    recovering.push((key.clone(), held, warming));
                }
                turned.extend(self.compare(&key, before.as_ref(), Look::at(entry, instance)));
                // Also where a file's word becomes a registration or the other way round: only the latter can expire.
                if known.is_none_or(|(_, known)| known.instance != instance.instance || known.source != instance.source) {
                    start_beats(&self.beats, &key, &next, rhythm(&instance.vitals), now);
                }
            }
        }
        for subject in registry.drains.keys().filter(|subject| !next.drains.contains_key(subject)) {
            self.rounds.remove(subject);
            self.drains_changed(subject);
        }
        for (subject, entry) in &next.drains {
            self.drains_changed(subject);
            self.watch(now, subject, &entry.drain);
        }
        let apexes = registry.overlays.keys().chain(next.overlays.keys());
        let changed = apexes.filter(|apex| registry.overlays.get(*apex) != next.overlays.get(*apex));
        self.effects.zones.extend(changed.cloned());
        *registry = next;
        drop(registry);
        for (key, turn) in turned {
            self.turned(now, &key, Some(turn), "");
        }
        recovering.iter().for_each(|(key, held, warming)| self.plan_recovery(now, key, *held, *warming));
    }

    /// Begins with a registry, before there is anything else: as [`Core::replace`] does, but that nobody has to hear of it. Most of what is
    /// registered needs nothing of what is asked for here, and there may be a million of it.
    pub(super) fn begin(&mut self, registry: Registry, now: Timestamp) {
        let mut recovering = Vec::new();
        for (name, entry) in &registry.services {
            for (id, instance) in &entry.instances {
                let probed = probing(&entry.service, &instance.instance).is_some();
                let (held, warming) = (instance.vitals.damping().held_until(), instance.vitals.warming());
                if !probed && held.is_none() && warming.is_none() && instance.instance.heartbeat.is_none() {
                    continue;
                }
                let key = InstanceKey { service: name.clone(), id: id.clone() };
                if probed {
                    // The order itself is made for the prober, when it asks.
                    self.orders.renew(&key);
                }
                start_beats(&self.beats, &key, &registry, rhythm(&instance.vitals), now);
                if held.is_some() || warming.is_some() {
                    recovering.push((key, held, warming));
                }
            }
        }
        for (subject, entry) in &registry.drains {
            self.watch(now, subject, &entry.drain);
        }
        *self.write() = registry;
        recovering.iter().for_each(|(key, held, warming)| self.plan_recovery(now, key, *held, *warming));
    }

    /// Takes what the store holds when a commit's fate was not known: what is there counts. What is known of health goes on. `zones` are
    /// those in force, whose records nobody needs.
    pub(super) fn reread(
        &mut self,
        (revision, items): (Revision, Vec<Item>),
        zones: &Arc<Vec<Zone>>,
        geo: &Geo,
        now: Timestamp,
    ) -> Result<(), StartError> {
        let Stored { registry, health, written, strays } = records::read(revision, items)?;
        let (mut next, _) = registry.restored(zones, geo.regions.clone(), now).map_err(zone_error)?;
        next.ground(zones.clone());
        let gone = recall(&mut next, health, now);
        {
            let known = read(&self.registry);
            (next.safety, next.lifted) = (known.safety, known.lifted.clone());
            next.keep_taken(&known);
            // One that is known here and not there was lifted, by a commit whose fate was not known: it ends with the others.
            for (subject, entry) in &known.drains {
                let missing =
                    DrainEntry { drain: Drain { expires: now, course: Course::default(), ..entry.drain.clone() }, ..entry.clone() };
                next.drains.entry(subject.clone()).or_insert(missing);
            }
        }
        let over = next.drains.iter().filter(|(_, entry)| entry.drain.is_over(now));
        let ended: Vec<_> = over.map(|(subject, entry)| (subject.clone(), entry.drain.over())).collect();
        let back: Vec<Label> = ended.iter().filter_map(|(subject, ended)| next.end_drain(subject, *ended)).collect();
        let stored: Vec<(InstanceKey, Vitals)> = vitals(&next).map(|(key, vitals)| (key, vitals.clone())).collect();
        next.carry_on(&read(&self.registry), now);
        let strays: Vec<_> = strays.into_iter().filter_map(|key| Some((key.clone(), *written.get(&key)?))).collect();
        self.behind.reread(written);
        self.behind.strays(strays.into_iter());
        for ((key, stored), (_, known)) in stored.into_iter().zip(vitals(&next)) {
            if Turn::between(&stored, known).learned {
                self.behind.health(key);
            }
        }
        gone.into_iter().for_each(|key| self.behind.health(key));
        ended.into_iter().for_each(|(subject, _)| self.behind.drain(subject));
        back.into_iter().for_each(|region| self.behind.lifted(region));
        self.replace(next, now);
        // Here alone: files that are loaded say nothing of what the store holds.
        self.unsure = false;
        Ok(())
    }

    /// Something was learned of an instance's health.
    pub(super) fn turned(&mut self, now: Timestamp, key: &InstanceKey, turn: Option<Turn>, author: &str) {
        let Some(turn) = turn else { return };
        if turn.learned {
            self.behind.health(key.clone());
        }
        if turn.shows() {
            self.effects.health(&key.service, turn.place);
        }
        if turn.held {
            self.flaps_suppressed.fetch_add(1, Ordering::Relaxed);
        }
        if turn.held || turn.before != turn.after {
            self.plan_recovery(now, key, turn.held_until, turn.warming);
        }
        if turn.before != turn.after && self.told.admit(now, turn.after) {
            let why = read(&self.registry).instance(key).map(|entry| entry.vitals.reason()).unwrap_or_default();
            let detail = if why.is_empty() { turn.after.to_string() } else { format!("{}: {why}", turn.after) };
            self.tell(now, "health", format!("instance/{key}"), detail, author);
        }
    }

    /// Says that something happened.
    pub(super) fn tell(&mut self, now: Timestamp, kind: &'static str, subject: String, detail: String, author: &str) {
        let revision = read(&self.registry).revision;
        self.effects.events.push(Event { at: now, revision, kind, subject, detail, author: author.to_string() });
    }

    /// A drain of this is no longer as it was.
    pub(super) fn drains_changed(&mut self, subject: &Subject) {
        match subject {
            Subject::Region(_) | Subject::Az(_) => self.effects.drained = true,
            Subject::Service(name) => self.effects.whole(name.clone()),
            Subject::Instance(key) => self.effects.whole(key.service.clone()),
        }
    }
}

/// How an instance beats that is expected to from now on.
fn rhythm(vitals: &Vitals) -> Rhythm {
    match vitals.beating {
        Some(Health::Unhealthy) => Rhythm::Missed,
        _ if vitals.unconfirmed => Rhythm::Unsure,
        // A beat will be news: answers show that it was late.
        _ if vitals.wavers.beating => Rhythm::Late,
        _ => Rhythm::OnTime,
    }
}

/// Gives instances the health that they had. Returns those that there are no longer.
pub(super) fn recall(registry: &mut Registry, health: Vec<(InstanceKey, Vitals)>, now: Timestamp) -> Vec<InstanceKey> {
    let mut gone = Vec::new();
    for (key, vitals) in health {
        match registry.instance(&key) {
            Some(_) => registry.recall(&key, vitals, now),
            None => gone.push(key),
        }
    }
    gone
}

pub(super) fn zone_error(error: LoadError) -> ZoneError {
    ZoneError { file: error.file, name: error.name, reason: error.reason }
}

/// What a prober that begins now is to probe. An instance that is about to be ordered is left out: its order comes.
pub(super) fn standing_orders(registry: &Registry, orders: &Orders) -> Vec<ProbeOrder> {
    let of = |(name, entry): (&Label, &ServiceEntry)| -> Vec<ProbeOrder> {
        let order = |(id, instance): (&Label, &InstanceEntry)| {
            let probing = probing(&entry.service, &instance.instance)?;
            let key = InstanceKey { service: name.clone(), id: id.clone() };
            Some(probes(orders.in_force(&key)?, key, probing, instance.vitals.probed))
        };
        entry.instances.iter().filter_map(order).collect()
    };
    registry.services.iter().flat_map(of).collect()
}

/// What is known of every instance.
fn vitals(registry: &Registry) -> impl Iterator<Item = (InstanceKey, &Vitals)> {
    let instances = registry.services.iter().flat_map(|(name, entry)| entry.instances.iter().map(move |found| (name, found)));
    instances.map(|(name, (id, instance))| (InstanceKey { service: name.clone(), id: id.clone() }, &instance.vitals))
}

/// A change that was carried out, and what is to be told of it.
pub(super) struct Carried<T> {
    change: Change,
    origin: Option<Origin<T>>,
    author: String,
    turned: Vec<(InstanceKey, Turn)>,
    applied: Applied,
}

/// An instance as it is before and after something.
struct Look {
    probing: Option<Probing>,
    vitals: Vitals,
}

impl Look {
    fn at(service: &ServiceEntry, instance: &InstanceEntry) -> Look {
        Look { probing: probing(&service.service, &instance.instance), vitals: instance.vitals.clone() }
    }
}

/// The instances that a change is about.
fn looks(registry: &Registry, change: &Change) -> BTreeMap<InstanceKey, Look> {
    let Some(name) = change.service() else { return BTreeMap::new() };
    let Some(entry) = registry.services.get(name) else { return BTreeMap::new() };
    let one = |id: &Label| {
        let key = InstanceKey { service: name.clone(), id: id.clone() };
        entry.instances.get(id).map(|instance| (key, Look::at(entry, instance)))
    };
    match change {
        Change::PutInstance { key, .. } | Change::DeleteInstance { key, .. } => one(&key.id).into_iter().collect(),
        Change::PutService { .. } | Change::DeleteService { .. } => entry.instances.keys().filter_map(one).collect(),
        Change::Push { .. } | Change::Drain { .. } | Change::Undrain { .. } | Change::Steer { .. } | Change::Zone(_) => BTreeMap::new(),
    }
}

/// What the prober is told of an instance. `last`: its verdict so far.
fn probes(order: u64, key: InstanceKey, probing: Probing, last: Option<Health>) -> ProbeOrder {
    let last = last.filter(|health| *health != Health::Pending);
    ProbeOrder { key, probes: Some(Probes { order, address: probing.address, checks: probing.checks, last }) }
}

/// The event that a change is: its kind, subject and detail.
fn news(change: &Change, created: bool, expired: bool, now: Timestamp) -> Option<(&'static str, String, String)> {
    Some(match change {
        Change::PutInstance { key, instance, .. } => {
            let addresses: Vec<String> = instance.addresses.iter().map(|address| address.to_string()).collect();
            let detail = format!("{} in {}", addresses.join(", "), instance.locality());
            (if created { "registered" } else { "replaced" }, format!("instance/{key}"), detail)
        }
        Change::DeleteInstance { key, .. } => match expired {
            true => ("expired", format!("instance/{key}"), "deregistered, for its heartbeats stopped".to_string()),
            false => ("deregistered", format!("instance/{key}"), String::new()),
        },
        Change::PutService { name, service, .. } => {
            let detail = format!("{}, policy {}", if created { "created" } else { "changed" }, word(service));
            ("service_changed", format!("service/{name}"), detail)
        }
        Change::DeleteService { name, instances, .. } => {
            ("service_removed", format!("service/{name}"), format!("with {} instances", instances.len()))
        }
        Change::Drain { subject, drain, .. } => ("drained", subject.to_string(), about(drain)),
        Change::Steer { subject, drain, steering, .. } => match steering {
            Steering::Lift => ("lifting", subject.to_string(), format!("until {}", drain.over())),
            Steering::Pause => ("paused", subject.to_string(), format!("at {:.1} %", shown(drain, now))),
            Steering::Resume => ("resumed", subject.to_string(), format!("at {:.1} %", shown(drain, now))),
        },
        Change::Undrain { subject, .. } => ("undrained", subject.to_string(), String::new()),
        Change::Zone(zone) => {
            let what = match zone.sets.len() {
                0 => "as its file says".to_string(),
                1 => "1 RRset".to_string(),
                n => format!("{n} RRsets"),
            };
            ("zone_changed", format!("zone/{}", zone.apex), format!("{what}, serial {}", zone.serial))
        }
        Change::Push { .. } => return None,
    })
}

/// Until when a drain is in force, how it comes into force, and why.
fn about(drain: &Drain) -> String {
    let ramp =
        if drain.course.ramp.0.is_zero() { String::new() } else { format!(", from {} on within {}", drain.course.from, drain.course.ramp) };
    let overruled = drain.overridden.as_ref().map(|why| format!("; safety rules overruled: {why}")).unwrap_or_default();
    format!("until {}{ramp}: {}{overruled}", drain.expires, drain.reason)
}

/// The share that is out of answers, in percent.
fn shown(drain: &Drain, now: Timestamp) -> f64 {
    drain.out(now).share.ratio() * 100.0
}

/// The name of a service's policy.
fn word(service: &Service) -> String {
    service.policy.kind.to_string()
}
