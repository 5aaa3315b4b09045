//! From the registry to a snapshot: views of services, and what explain assumes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Assumption;
use super::core::Extent;
use crate::model::{FieldError, Health, InstanceKey, Label, Out, Service, ServiceFields, Subject, Timestamp, Vitals};
use crate::registry::{Refusal, Registry, ServiceEntry};
use crate::snapshot::{InstanceView, ServiceView, Snapshot, TurnedView, Update, ZoneError};

/// `snapshot` with these services, as far as they have changed, and the drains of places if `drained`, as the registry now has them.
pub(super) fn compile<'a>(
    snapshot: &Snapshot,
    registry: &'a Registry,
    services: impl Iterator<Item = (&'a Label, &'a Extent)>,
    drained: bool,
    now: Timestamp,
) -> Result<Snapshot, ZoneError> {
    let (regions, azs) = registry.drained_places(now);
    let update = |(name, extent): (&'a Label, &'a Extent)| match restand(snapshot, registry, name, extent, now) {
        Some(turned) => turned,
        None => Update::Service(name, view(registry, name, now)),
    };
    let mut updates: Vec<Update<'_>> = services.map(update).collect();
    if drained {
        updates.push(Update::Drained { regions: &regions, azs: &azs });
    }
    snapshot.update(&updates)
}

/// A service of which nothing but the health of instances has changed, where that can be told without compiling it whole.
fn restand<'a>(snapshot: &Snapshot, registry: &'a Registry, name: &Label, extent: &Extent, now: Timestamp) -> Option<Update<'a>> {
    let Extent::Health(turned) = extent else { return None };
    let entry = registry.services.get(name)?;
    let mut outs: BTreeMap<&Label, Out> = BTreeMap::new();
    for (subject, drain) in &registry.drains {
        match subject {
            Subject::Service(of) if of == name => return None,
            Subject::Instance(key) if key.service == *name => _ = outs.insert(&key.id, drain.drain.out(now)),
            Subject::Service(_) | Subject::Instance(_) | Subject::Region(_) | Subject::Az(_) => {}
        }
    }
    let instance = |place: usize| {
        let (id, entry) = entry.instances.at(place)?;
        let out = if outs.is_empty() { Out::SERVING } else { outs.get(id).copied().unwrap_or_default() };
        Some(InstanceView { id, instance: &entry.instance, vitals: &entry.vitals, out, warmth: entry.vitals.warmth(now) })
    };
    let view = TurnedView { service: &entry.service, turned, outs: &outs, count: entry.instances.len(), instance: &instance };
    snapshot.restand(name, &view)
}

/// `snapshot` with one service as the registry now has it. A policy that cannot be compiled, because it speaks of places that are
/// declared no more, is left for the default one, and `astray` notes it: its instances had better be answered than not at all.
pub(super) fn compile_anyway(
    snapshot: &Snapshot,
    registry: &Registry,
    name: &Label,
    astray: &mut BTreeSet<Label>,
    now: Timestamp,
) -> Result<Snapshot, ZoneError> {
    let error = match compile(snapshot, registry, std::iter::once((name, &Extent::Whole)), false, now) {
        Ok(next) => {
            astray.remove(name);
            return Ok(next);
        }
        Err(error) => error,
    };
    let Some(view) = view(registry, name, now) else { return Err(error) };
    let plain = plain(view.service);
    let next = snapshot.update(&[Update::Service(name, Some(ServiceView { service: &plain, ..view }))])?;
    if astray.insert(name.clone()) {
        tracing::error!(service = %name, reason = error.reason, "its policy cannot be compiled; it is answered by the default policy");
    }
    Ok(next)
}

/// The settings of a service without its policy.
pub(super) fn plain(service: &Service) -> Service {
    let fields = ServiceFields { policy: None, branches: Vec::new(), ..service.fields.clone() };
    Service { fields, ..Service::default() }
}

/// A service as the registry has it; `None`: it is gone.
pub(super) fn view<'a>(registry: &'a Registry, name: &Label, now: Timestamp) -> Option<ServiceView<'a>> {
    let entry = registry.services.get(name)?;
    let drains = registry.drains.iter().map(|(subject, entry)| (subject, entry.drain.out(now)));
    Some(view_of(name, entry, drains, None, now))
}

/// Whether the settings of a service can be compiled, with the instances that are there.
pub(super) fn try_service(
    snapshot: &Snapshot,
    registry: &Registry,
    name: &Label,
    service: &Service,
    now: Timestamp,
) -> Result<(), FieldError> {
    let view = match view(registry, name, now) {
        Some(view) => ServiceView { service, ..view },
        None => ServiceView { service, instances: Vec::new(), out: Out::SERVING },
    };
    snapshot.update(&[Update::Service(name, Some(view))]).map(drop).map_err(|error| FieldError::new("branches", error.reason))
}

/// The snapshot as it would be.
pub(super) fn assume(
    snapshot: &Snapshot,
    registry: &Registry,
    assumptions: &[Assumption],
    now: Timestamp,
) -> Result<Arc<Snapshot>, Refusal> {
    let mut drains: BTreeMap<&Subject, Out> = registry.drains.iter().map(|(subject, entry)| (subject, entry.drain.out(now))).collect();
    let mut vitals: BTreeMap<&InstanceKey, Vitals> = BTreeMap::new();
    let mut services: BTreeSet<&Label> = BTreeSet::new();
    for assumption in assumptions {
        match assumption {
            Assumption::Drained(subject) | Assumption::Serving(subject) => {
                if !registry.knows(subject) {
                    return Err(Refusal::UnknownSubject(subject.clone()));
                }
                match subject {
                    Subject::Service(name) => _ = services.insert(name),
                    Subject::Instance(key) => _ = services.insert(&key.service),
                    Subject::Region(_) | Subject::Az(_) => {}
                }
                match assumption {
                    Assumption::Serving(_) => _ = drains.remove(subject),
                    _ => _ = drains.insert(subject, Out::DRAINED),
                }
            }
            Assumption::Health(key, health) => {
                let entry = registry.instance(key).ok_or_else(|| Refusal::UnknownInstance(key.clone()))?;
                vitals.insert(key, assumed(&entry.vitals, *health));
                services.insert(&key.service);
            }
        }
    }
    let (mut regions, mut azs) = (BTreeMap::new(), BTreeMap::new());
    for (subject, out) in &drains {
        match subject {
            Subject::Region(region) => _ = regions.insert(region.clone(), *out),
            Subject::Az(locality) => _ = azs.insert(locality.clone(), *out),
            Subject::Service(_) | Subject::Instance(_) => {}
        }
    }
    let mut updates = vec![Update::Drained { regions: &regions, azs: &azs }];
    for name in services {
        let entry = registry.services.get(name);
        updates.push(Update::Service(
            name,
            entry.map(|entry| view_of(name, entry, drains.iter().map(|(subject, out)| (*subject, *out)), Some(&vitals), now)),
        ));
    }
    // Nothing that could be contradictory is updated; if it were all the same, the world stays as it is.
    snapshot.update(&updates).map(Arc::new).map_err(|error| FieldError::new("with", error.to_string()).into())
}

/// A service and its instances, with these drains in force and these vitals instead of those known.
fn view_of<'a>(
    name: &Label,
    entry: &'a ServiceEntry,
    drains: impl Iterator<Item = (&'a Subject, Out)>,
    vitals: Option<&'a BTreeMap<&InstanceKey, Vitals>>,
    now: Timestamp,
) -> ServiceView<'a> {
    let mut all = Out::SERVING;
    let mut some: BTreeMap<&Label, Out> = BTreeMap::new();
    for (subject, out) in drains {
        match subject {
            Subject::Service(of) if of == name => all = out,
            Subject::Instance(key) if key.service == *name => _ = some.insert(&key.id, out),
            Subject::Service(_) | Subject::Instance(_) | Subject::Region(_) | Subject::Az(_) => {}
        }
    }
    let vitals = vitals.filter(|vitals| !vitals.is_empty());
    // Looked up one by one: the assumptions may be about every instance of every service.
    let instead = |id: &Label| vitals?.get(&InstanceKey { service: name.clone(), id: id.clone() });
    let instances = entry.instances.iter().map(|(id, instance)| {
        let vitals = instead(id).unwrap_or(&instance.vitals);
        let out = some.get(id).copied().unwrap_or_default();
        InstanceView { id, instance: &instance.instance, vitals, out, warmth: vitals.warmth(now) }
    });
    ServiceView { service: &entry.service, instances: instances.collect(), out: all }
}

/// Vitals that come to `health`.
fn assumed(known: &Vitals, health: Health) -> Vitals {
    let mut vitals = Vitals { probed: Some(health), since: known.since, unconfirmed: known.unconfirmed, ..Vitals::default() };
    vitals.set_why("assumed");
    vitals
}

#[cfg(test)]
pub(super) mod tests;
