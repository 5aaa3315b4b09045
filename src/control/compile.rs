//! From the registry to a snapshot: views of services, and what explain assumes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Assumption;
use crate::model::{FieldError, Health, InstanceKey, Label, Service, Subject, Vitals};
use crate::registry::{Refusal, Registry, ServiceEntry};
use crate::snapshot::{InstanceView, ServiceView, Snapshot, Update, ZoneError};

/// `snapshot` with these services, and the drains of places if `drained`, as the registry now has them.
pub(super) fn compile<'a>(
    snapshot: &Snapshot,
    registry: &'a Registry,
    services: impl Iterator<Item = &'a Label>,
    drained: bool,
) -> Result<Snapshot, ZoneError> {
    let (regions, azs) = registry.drained_places();
    let mut updates: Vec<Update<'_>> = services.map(|name| Update::Service(name, view(registry, name))).collect();
    if drained {
        updates.push(Update::Drained { regions: &regions, azs: &azs });
    }
    snapshot.update(&updates)
}

/// A service as the registry has it; `None`: it is gone.
pub(super) fn view<'a>(registry: &'a Registry, name: &Label) -> Option<ServiceView<'a>> {
    let entry = registry.services.get(name)?;
    Some(view_of(name, entry, registry.drains.keys(), None))
}

/// Whether the settings of a service can be compiled, with the instances that are there.
pub(super) fn try_service(snapshot: &Snapshot, registry: &Registry, name: &Label, service: &Service) -> Result<(), FieldError> {
    let view = match view(registry, name) {
        Some(view) => ServiceView { service, ..view },
        None => ServiceView { service, instances: Vec::new(), drained: false },
    };
    snapshot.update(&[Update::Service(name, Some(view))]).map(drop).map_err(|error| FieldError::new("branches", error.reason))
}

/// The snapshot as it would be.
pub(super) fn assume(snapshot: &Snapshot, registry: &Registry, assumptions: &[Assumption]) -> Result<Arc<Snapshot>, Refusal> {
    let mut drains: BTreeSet<&Subject> = registry.drains.keys().collect();
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
                    _ => _ = drains.insert(subject),
                }
            }
            Assumption::Health(key, health) => {
                let entry = registry.instance(key).ok_or_else(|| Refusal::UnknownInstance(key.clone()))?;
                vitals.insert(key, assumed(&entry.vitals, *health));
                services.insert(&key.service);
            }
        }
    }
    let (mut regions, mut azs) = (BTreeSet::new(), BTreeSet::new());
    for subject in &drains {
        match subject {
            Subject::Region(region) => _ = regions.insert(region.clone()),
            Subject::Az(locality) => _ = azs.insert(locality.clone()),
            Subject::Service(_) | Subject::Instance(_) => {}
        }
    }
    let mut updates = vec![Update::Drained { regions: &regions, azs: &azs }];
    for name in services {
        let entry = registry.services.get(name);
        updates.push(Update::Service(name, entry.map(|entry| view_of(name, entry, drains.iter().copied(), Some(&vitals)))));
    }
    // Nothing that could be contradictory is updated; if it were all the same, the world stays as it is.
    snapshot.update(&updates).map(Arc::new).map_err(|error| FieldError::new("with", error.to_string()).into())
}

/// A service and its instances, with these drains in force and these vitals instead of those known.
fn view_of<'a>(
    name: &Label,
    entry: &'a ServiceEntry,
    drains: impl Iterator<Item = &'a Subject>,
    vitals: Option<&'a BTreeMap<&InstanceKey, Vitals>>,
) -> ServiceView<'a> {
    let mut drained = false;
    let mut out: BTreeSet<&Label> = BTreeSet::new();
    for subject in drains {
        match subject {
            Subject::Service(of) => drained |= of == name,
            Subject::Instance(key) if key.service == *name => _ = out.insert(&key.id),
            Subject::Instance(_) | Subject::Region(_) | Subject::Az(_) => {}
        }
    }
    let instead: BTreeMap<&Label, &Vitals> =
        vitals.into_iter().flatten().filter(|(key, _)| key.service == *name).map(|(key, vitals)| (&key.id, vitals)).collect();
    let instances = entry.instances.iter().map(|(id, instance)| InstanceView {
        id,
        instance: &instance.instance,
        vitals: instead.get(id).copied().unwrap_or(&instance.vitals),
        drained: out.contains(id),
    });
    ServiceView { service: &entry.service, instances: instances.collect(), drained }
}

/// Vitals that come to `health`.
fn assumed(known: &Vitals, health: Health) -> Vitals {
    Vitals { probed: Some(health), beating: None, pushed: None, why: "assumed".into(), ..known.clone() }
}
