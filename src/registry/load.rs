//! Services of zone files beside registered ones. A file's word goes before the API's; what it overrides comes back when it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{InstanceEntry, Refusal, Registry, ServiceEntry, vitals};
use crate::model::{
    Defined, FieldError, Instance, InstanceKey, Label, Name, Period, Region, Revision, Service, Source, Timestamp, Vitals, Zone,
};

/// Why zone files cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {name}: {reason}")]
pub struct LoadError {
    /// The file.
    pub file: String,
    /// The name or setting within it.
    pub name: String,
    /// What is wrong and what was expected.
    pub reason: String,
}

/// Something that the operator should know of files that were taken nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub file: String,
    /// What it is about, such as `instance/web/eu1`.
    pub subject: String,
    /// What was found, and what became of it.
    pub found: String,
}

impl Registry {
    /// Takes the services of zone files in place of those of the files before, all or nothing. What was registered stays.
    ///
    /// # Errors
    /// Files that contradict each other, and a record that would take the name of a registered service out of answers.
    pub fn load(&mut self, zones: &[Zone], now: Timestamp) -> Result<Vec<Warning>, LoadError> {
        let (next, warnings) = self.loaded(zones, self.regions.clone(), now)?;
        *self = next;
        Ok(warnings)
    }

    /// What this registry becomes with these zone files and regions. Errors as of [`Registry::load`].
    pub fn loaded(
        &self,
        zones: &[Zone],
        regions: Option<BTreeMap<Label, Region>>,
        now: Timestamp,
    ) -> Result<(Registry, Vec<Warning>), LoadError> {
        let (next, warnings) = self.beside(zones, regions, now)?;
        // What is so already is no reason to refuse whatever else the files say.
        if let Some((name, file)) = next.hidden().find(|(name, _)| !self.taken.contains_key(*name)) {
            return Err(LoadError {
                reason: format!("a service named {name} is registered; deregister it or rename the record"),
                file: file.to_string(),
                name: name.to_string(),
            });
        }
        Ok((next, warnings))
    }

    /// What this registry, as it was read from the store, becomes beside these zone files and regions: what is registered never
    /// keeps a server from starting. A record or policy on the name of a registered service goes before it in answers.
    ///
    /// # Errors
    /// Files that contradict each other.
    ///
    /// Nothing is known of anyone's health yet: what was, [`Registry::recall`] says.
    pub fn restored(
        mut self,
        zones: &[Zone],
        regions: Option<BTreeMap<Label, Region>>,
        now: Timestamp,
    ) -> Result<(Registry, Vec<Warning>), LoadError> {
        self.regions = regions;
        self.longest_ttl = longest_ttl(zones);
        self.taken = Arc::new(taken(zones));
        let changed = |name: &Label| self.services.get(name).map(|before| (name.clone(), before.changed));
        let changed: BTreeMap<Label, Revision> = zones.iter().flat_map(|zone| zone.defined.keys()).filter_map(changed).collect();
        let revision = self.revision;
        let warnings = self.take_files(zones, |name| changed.get(name).copied().unwrap_or(revision))?;
        for ServiceEntry { terms, instances, .. } in self.services.values_mut() {
            for instance in instances.values_mut() {
                instance.vitals = vitals::fresh(&terms.service, &instance.instance, now);
                // What nothing is known of is as unconfirmed as the rest.
                instance.vitals.unconfirmed = instance.vitals.sensed().is_some();
            }
        }
        Ok((self, warnings))
    }

    /// Notes which names services cannot have because of what files say: as long as all of their records are at hand.
    pub(super) fn name_all(&mut self) {
        self.named = Arc::new(taken(&self.files));
    }

    /// Notes anew which names services cannot have.
    pub(super) fn take_names(&mut self) {
        let mut names = BTreeMap::clone(&self.named);
        for zone in self.files.iter().filter(|zone| zone.services) {
            let sets = self.overlays.get(&zone.apex).into_iter().flat_map(|overlay| &overlay.sets);
            for ((owner, _), _) in sets.filter(|(_, set)| set.fits && set.set.is_some()) {
                if let Some(name) = service_of(owner, &zone.apex) {
                    names.entry(name).or_insert_with(|| format!("an update of {}", zone.apex).into());
                }
            }
        }
        self.taken = Arc::new(names);
    }

    /// The registered service whose name, or a name below whose, `owner` is.
    pub(super) fn service_at(&self, zone: &Zone, owner: &Name) -> Option<&Label> {
        let name = service_of(owner, &zone.apex).filter(|_| zone.services)?;
        Some(self.services.get_key_value(&name)?.0)
    }

    /// Takes the names that services cannot have from a registry beside the same zone files: for one that was restored beside what was
    /// left of them.
    pub fn keep_taken(&mut self, from: &Registry) {
        self.named = from.named.clone();
        self.take_names();
    }

    /// Registered services whose names records or policies of files have, and the files.
    fn hidden(&self) -> impl Iterator<Item = (&Label, &str)> {
        self.services.keys().filter_map(|name| Some((name, &**self.taken.get(name)?)))
    }

    fn beside(
        &self,
        zones: &[Zone],
        regions: Option<BTreeMap<Label, Region>>,
        now: Timestamp,
    ) -> Result<(Registry, Vec<Warning>), LoadError> {
        let mut next = Registry {
            regions,
            drains: self.drains.clone(),
            revision: self.revision,
            safety: self.safety,
            lifted: self.lifted.clone(),
            overlays: self.overlays.clone(),
            files: self.files.clone(),
            places: self.places.clone(),
            named: self.named.clone(),
            longest_ttl: longest_ttl(zones),
            taken: Arc::new(taken(zones)),
            ..Registry::default()
        };
        next.take_registered(self);
        let changed = |name: &Label| self.services.get(name).map_or(self.revision, |before| before.changed);
        let warnings = next.take_files(zones, changed)?;
        next.carry_vitals(self, now);
        // Made in one go, the tree's nodes are full; grown name by name in their order, they are half empty.
        next.services = std::mem::take(&mut next.services).into_iter().collect();
        Ok((next, warnings))
    }

    /// Puts the services of zone files in front of what is registered. `changed`: when a service last changed.
    fn take_files(&mut self, zones: &[Zone], changed: impl Fn(&Label) -> Revision) -> Result<Vec<Warning>, LoadError> {
        let mut warnings = Vec::new();
        let mut files: BTreeMap<&Label, &str> = BTreeMap::new();
        for zone in zones {
            for (name, defined) in &zone.defined {
                if let Some(other) = files.insert(name, &zone.file) {
                    let reason = format!("the service is defined in {other} too; services are one namespace over all zones");
                    return Err(wrong(&zone.file, name, reason));
                }
                self.check_defined(zone, name, defined)?;
                self.take_defined(zone, name, defined, &mut warnings);
            }
        }
        for (name, file) in self.hidden() {
            let found = "a service of this name is registered too; what the file says is answered".to_string();
            warnings.push(Warning { file: file.to_string(), subject: format!("service/{name}"), found });
        }
        for (name, file) in files {
            self.check_joined(name, file, &mut warnings);
            // A service whose every part is a file's has nothing that was written: who waits for it must still hear of what it missed.
            self.touch(name, changed(name));
        }
        Ok(warnings)
    }

    /// Takes a service's settings from the store, as they were written at `revision`; `changed`: when the whole last changed.
    pub fn restore_service(&mut self, name: Label, service: Arc<Service>, revision: Revision, changed: Revision) {
        let entry = self.services.entry(name).or_insert_with(ServiceEntry::implicit);
        (entry.service, entry.source, entry.revision) = (service, Some(Source::Api), revision);
        entry.changed = changed;
    }

    /// Takes the health of instances that are the same in `from`, which knows it better than the store does, but for pushed statuses:
    /// these are as the store has them.
    pub fn carry_on(&mut self, from: &Registry, now: Timestamp) {
        for (name, entry) in &mut self.services {
            let Some(before) = from.services.get(name) else { continue };
            let ServiceEntry { terms, instances, .. } = entry;
            for (id, instance) in instances {
                if let Some(known) = before.instances.get(id) {
                    let before = (&*before.service, &known.instance);
                    let mut known = known.vitals.clone();
                    known.set_pushed(instance.vitals.pushed().cloned());
                    instance.vitals = vitals::carried(known, before, (&terms.service, &instance.instance), now);
                }
            }
        }
    }

    /// Takes over everything that was registered over the API, from in front of files and from behind them.
    fn take_registered(&mut self, from: &Registry) {
        for (name, entry) in &from.services {
            let settings = match &entry.source {
                Some(Source::Api) => Some((entry.service.clone(), entry.revision)),
                _ => from.beneath.services.get(name).cloned(),
            };
            let mut taken = ServiceEntry { changed: entry.changed, ..ServiceEntry::implicit() };
            if let Some((service, revision)) = settings {
                (taken.service, taken.revision, taken.source) = (service, revision, Some(Source::Api));
            }
            let registered = entry.instances.iter().filter(|(_, instance)| instance.source == Source::Api);
            taken.instances = registered.map(|(id, instance)| (id.clone(), instance.clone())).collect();
            if taken.source.is_some() || !taken.instances.is_empty() {
                self.services.insert(name.clone(), taken);
            }
        }
        for (key, entry) in &from.beneath.instances {
            let service = self.services.entry(key.service.clone()).or_insert_with(ServiceEntry::implicit);
            service.changed = from.services.get(&key.service).map_or(service.changed, |before| before.changed);
            service.instances.insert(key.id.clone(), entry.clone());
        }
    }

    /// Whether a file's service and instances can stand by themselves.
    fn check_defined(&self, zone: &Zone, name: &Label, defined: &Defined) -> Result<(), LoadError> {
        let field = |id: Option<&Label>, error: FieldError| {
            let instance = id.map(|id| format!("instances.{id}.")).unwrap_or_default();
            wrong(&zone.file, name, format!("{instance}{}: {}", error.field, error.expected))
        };
        match self.check_service_name(name) {
            Err(Refusal::Field(error)) => return Err(field(None, error)),
            Err(refusal) => return Err(wrong(&zone.file, name, refusal.to_string())),
            Ok(()) => {}
        }
        for (id, instance) in &defined.instances {
            instance.validate().and_then(|()| self.check_place(instance)).map_err(|error| field(Some(id), error))?;
        }
        self.check_service(name, &defined.service, defined.instances.iter()).map_err(|error| field(None, error))
    }

    /// Puts a file's service and instances in front of what was registered by the same names.
    fn take_defined(&mut self, zone: &Zone, name: &Label, defined: &Defined, warnings: &mut Vec<Warning>) {
        let entry = self.services.entry(name.clone()).or_insert_with(ServiceEntry::implicit);
        let service = std::mem::replace(&mut entry.service, Arc::new(defined.service.clone()));
        if entry.source.replace(Source::File(Arc::new(zone.file.clone()))).is_some() {
            self.beneath.services.insert(name.clone(), (service, entry.revision));
            let found = "settings are registered too; the file's hold".to_string();
            warnings.push(Warning { file: zone.file.clone(), subject: format!("service/{name}"), found });
        }
        entry.revision = Revision(0);
        for (id, instance) in &defined.instances {
            let source = Source::File(Arc::new(zone.file.clone()));
            let instance = InstanceEntry { instance: instance.clone(), source, revision: Revision(0), vitals: Vitals::default() };
            if let Some(registered) = entry.instances.insert(id.clone(), instance) {
                let key = InstanceKey { service: name.clone(), id: id.clone() };
                let found = "it is registered too; the file's holds".to_string();
                warnings.push(Warning { file: zone.file.clone(), subject: format!("instance/{key}"), found });
                self.beneath.instances.insert(key, registered);
            }
        }
    }

    /// Registered instances were checked against the settings of their time. A file that changes these is taken all the same: a
    /// registration must never keep a server from starting.
    fn check_joined(&self, name: &Label, file: &str, warnings: &mut Vec<Warning>) {
        let Some(entry) = self.services.get(name) else { return };
        let instances = entry.instances.iter().map(|(id, entry)| (id, &entry.instance));
        if let Err(error) = self.check_service(name, &entry.service, instances) {
            let found = format!("a registered instance does not go with the file's settings: {}: {}", error.field, error.expected);
            warnings.push(Warning { file: file.to_string(), subject: format!("service/{name}"), found });
        }
    }

    /// Health goes on where the same is probed as before.
    fn carry_vitals(&mut self, from: &Registry, now: Timestamp) {
        for (name, entry) in &mut self.services {
            let before = from.services.get(name);
            let ServiceEntry { terms, instances, .. } = entry;
            for (id, instance) in instances {
                instance.vitals = vitals::fresh(&terms.service, &instance.instance, now);
                instance.vitals.set_pushed(before.and_then(|before| before.instances.get(id)?.vitals.pushed().cloned()));
            }
        }
        self.carry_on(from, now);
    }
}

impl ServiceEntry {
    /// A service for which nobody set anything, with these instances from the store, as they were written, in the order of their ids.
    pub fn restored(instances: impl Iterator<Item = (Label, Instance, Revision)>) -> ServiceEntry {
        let mut entry = ServiceEntry::implicit();
        for (id, instance, revision) in instances {
            let instance = InstanceEntry { instance, source: Source::Api, revision, vitals: Vitals::default() };
            entry.instances.insert(id, instance);
        }
        entry
    }
}

/// The longest TTL of answers in any zone.
fn longest_ttl(zones: &[Zone]) -> Option<Period> {
    zones.iter().map(|zone| zone.ttl.max).max()
}

fn wrong(file: &str, service: &Label, reason: String) -> LoadError {
    LoadError { file: file.to_string(), name: format!("services.{service}"), reason }
}

/// The names that services cannot have, because records or policies of zones that show services have them, and in which file.
///
/// A service owns its name, everything below it, and its names of the RFC 2782 form.
fn taken(zones: &[Zone]) -> BTreeMap<Label, Arc<str>> {
    let mut taken = BTreeMap::new();
    for zone in zones.iter().filter(|zone| zone.services) {
        let file: Arc<str> = zone.file.as_str().into();
        let owners = zone.records.keys().map(|(owner, _)| owner).chain(zone.names.keys());
        for name in owners.filter_map(|owner| service_of(owner, &zone.apex)) {
            taken.entry(name).or_insert_with(|| file.clone());
        }
    }
    taken
}

/// The name of the service that would own `owner`.
fn service_of(owner: &Name, apex: &Name) -> Option<Label> {
    if !owner.is_within(apex) {
        return None;
    }
    let label = |label: &[u8]| Label::parse(std::str::from_utf8(label).ok()?).ok();
    let labels: Vec<&[u8]> = owner.labels().collect();
    match &labels[..labels.len() - apex.labels().count()] {
        [] => None,
        // `_web._tcp`: SRV of the service `web` (RFC 2782).
        [.., service, b"_tcp" | b"_udp"] => label(service.strip_prefix(b"_")?),
        [.., last] => label(last),
    }
}
