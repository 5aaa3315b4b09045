//! The single writer, without IO: the mind of [`Core`], and the snapshot that follows it. The server drives it with a clock, a store
//! and channels; transcripts drive it with virtual time and none of these.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use super::core::{Core, Departure, Effects, Extent, Input, Landing, read};
use super::outcome::{recall, standing_orders, zone_error};
use super::records::{self, Stored};
use super::survey::{Sample, Surveys};
use super::{Applied, ApplyError, Event, ProbeOrder, StartError, compile, start};
use crate::model::{DnsSettings, FieldError, Geo, Label, Name, Revision, Service, Timestamp, Zone, ZoneSigning};
use crate::registry::{Registry, Warning};
use crate::routing::{Origins, Survey, Surveyed};
use crate::snapshot::{ServiceView, Snapshot, Update, ZoneError};
use crate::store::Item;

/// See the module.
#[derive(Debug)]
pub struct Writer<T> {
    pub(super) core: Core<T>,
    snapshot: Arc<Snapshot>,
    /// The zones in force, without their records: of a million names these took four times what the snapshot has of them.
    zones: Vec<Zone>,
    geo: Geo,
    /// Whether the snapshot was loaded, or measurements came into it, and it was not yet given out.
    loaded: bool,
    pub(super) surveys: Surveys,
    /// Registered services whose policies cannot be compiled: they are answered by the default one.
    astray: BTreeSet<Label>,
}

/// What is to be made known, in this order.
#[derive(Debug)]
pub struct Output<T> {
    /// To be published; `None`: answers are as they were.
    pub snapshot: Option<Arc<Snapshot>>,
    /// For the prober.
    pub orders: Vec<ProbeOrder>,
    /// For everyone who listens.
    pub events: Vec<Event>,
    /// For the callers.
    pub answers: Vec<(T, Result<Applied, ApplyError>)>,
}

impl<T> Writer<T> {
    /// Begins with what the store holds, beside what files say. Health from before is served until it is confirmed, heartbeats get
    /// their full time, and drains that ended meanwhile are dropped. What is registered never keeps a server from starting.
    pub fn begin(
        (revision, items): (Revision, Vec<Item>),
        zones: Vec<Zone>,
        geo: Geo,
        dns: &DnsSettings,
        now: Timestamp,
    ) -> Result<Writer<T>, StartError> {
        Writer::resume(records::read(revision, items)?, zones, geo, dns, now)
    }

    /// As [`Writer::begin`], with what was read of the store.
    pub(super) fn resume(stored: Stored, zones: Vec<Zone>, geo: Geo, dns: &DnsSettings, now: Timestamp) -> Result<Writer<T>, StartError> {
        let Stored { registry, health, written } = stored;
        let (mut registry, warnings) = registry.restored(&zones, geo.regions.clone(), now).map_err(zone_error)?;
        warn(&warnings);
        let over = registry.drains.iter().filter(|(_, entry)| entry.drain.is_over(now));
        let ended: Vec<_> = over.map(|(subject, entry)| (subject.clone(), entry.drain.over())).collect();
        let gone = recall(&mut registry, health, now);
        let updates = [Update::Geo(&geo), Update::Dns(dns), Update::Zones(&zones)];
        let snapshot = Snapshot::empty().update(&updates)?;
        let mut astray = BTreeSet::new();
        let snapshot = Arc::new(start::compile(&snapshot, &registry, &mut astray, now)?);
        let mut core = Core::new(registry, written, now);
        ended.into_iter().for_each(|(subject, ended)| core.end_drain(now, &subject, ended));
        gone.into_iter().for_each(|key| core.behind.health(key));
        // Nobody has seen anything yet: the snapshot is whole, and the prober asks for all its orders.
        core.effects();
        Ok(Writer { core, snapshot, zones: without_records(zones), geo, loaded: false, surveys: Surveys::default(), astray })
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Timestamp, input: Input<T>) {
        self.core.handle(now, input);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp) {
        self.core.tick(now);
    }

    /// When [`Writer::tick`] is needed next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        [self.core.next_deadline(), self.surveys.next_deadline()].into_iter().flatten().min()
    }

    /// Takes measured round trips: all of them or, where one cannot be, none.
    pub fn measure(&mut self, now: Timestamp, samples: &[Sample]) -> Result<(), FieldError> {
        self.surveys.take(now, samples, &self.snapshot.places)
    }

    /// What was measured lately, if it is to be compiled now: wherever there is time for it. [`Writer::surveyed`] waits for it.
    pub fn survey(&mut self, now: Timestamp) -> Option<Survey> {
        self.surveys.begin(now, &self.snapshot)
    }

    /// Takes what came of [`Writer::survey`]; `None`: nothing.
    pub fn surveyed(&mut self, surveyed: Option<Surveyed>) {
        if let Some(origins) = self.surveys.end(surveyed, &self.snapshot) {
            self.take_measured(origins);
        }
    }

    /// What goes to the store now; `None` also while something is under way.
    pub fn depart(&mut self, now: Timestamp) -> Option<Departure> {
        let snapshot = self.snapshot.clone();
        self.core.depart(now, &|registry, name, service| compile::try_service(&snapshot, registry, name, service, now))
    }

    /// Takes what the store said.
    pub fn land(&mut self, now: Timestamp, landing: Landing) {
        self.core.land(now, landing);
    }

    /// Replaces zones, geo data and answer settings, all or nothing. Nothing may be under way.
    pub fn load(&mut self, zones: Vec<Zone>, geo: Geo, dns: &DnsSettings, now: Timestamp) -> Result<(), ZoneError> {
        let before = self.snapshot.origins.clone();
        let (next, differ) = {
            let registry = read(&self.core.registry);
            let (next, warnings) = registry.loaded(&zones, geo.regions.clone(), now).map_err(zone_error)?;
            let same_places = geo == self.geo;
            let names: BTreeSet<&Label> = registry.services.keys().chain(next.services.keys()).collect();
            let differ: BTreeSet<Label> =
                names.into_iter().filter(|name| registry.services.get(*name) != next.services.get(*name)).cloned().collect();
            let plain: BTreeMap<&Label, Service> =
                self.astray.iter().filter_map(|name| Some((name, compile::plain(&next.services.get(name)?.service)))).collect();
            let update = |plain: &BTreeMap<&Label, Service>| {
                let mut updates = vec![Update::Dns(dns), Update::Zones(&zones)];
                if !same_places {
                    updates.insert(0, Update::Geo(&geo));
                }
                updates.extend(differ.iter().filter(|name| !next.services.contains_key(*name)).map(|name| Update::Service(name, None)));
                let changed = |name: &&Label| !same_places || differ.contains(*name) || self.astray.contains(*name);
                updates.extend(next.services.keys().filter(changed).map(|name| {
                    let view = compile::view(&next, name, now);
                    let service = plain.get(name);
                    Update::Service(name, view.map(|view| ServiceView { service: service.unwrap_or(view.service), ..view }))
                }));
                self.snapshot.update(&updates)
            };
            let snapshot = match update(&BTreeMap::new()) {
                // It was so before: no reason to refuse whatever else the files say.
                Err(_) if !plain.is_empty() => update(&plain)?,
                outcome => {
                    let snapshot = outcome?;
                    self.astray.clear();
                    snapshot
                }
            };
            self.snapshot = Arc::new(snapshot);
            warn(&warnings);
            (next, differ)
        };
        self.core.behind.files(differ);
        self.core.replace(next, now);
        let detail = format!("{} zones, {} services", zones.len(), read(&self.core.registry).services.len());
        self.core.tell(now, "reloaded", "config".into(), detail, "");
        (self.zones, self.geo, self.loaded) = (without_records(zones), geo, true);
        if !self.snapshot.origins.is_same_build(&before)
            && let Some(origins) = self.surveys.anew(now, &self.snapshot)
        {
            self.take_measured(origins);
        }
        Ok(())
    }

    /// Replaces what zones show of their keys, of those that are given, all or nothing.
    pub fn sign(&mut self, signing: &BTreeMap<Name, Option<Arc<ZoneSigning>>>) -> Result<(), ZoneError> {
        let mut zones = self.zones.clone();
        for zone in &mut zones {
            if let Some(signing) = signing.get(&zone.apex) {
                zone.signing = signing.clone();
            }
        }
        self.snapshot = Arc::new(self.snapshot.update(&[Update::Zones(&zones)])?);
        (self.zones, self.loaded) = (zones, true);
        Ok(())
    }

    /// Moves the serial of a zone: something of it changed that no file says.
    pub fn raise_serial(&mut self, apex: &Name, serial: u32) {
        let Some(zone) = self.zones.iter_mut().find(|zone| zone.apex == *apex) else { return };
        let by = serial.wrapping_sub(std::mem::replace(&mut zone.soa.serial, serial));
        // A serial contradicts nothing.
        if let Ok(snapshot) = self.snapshot.update(&[Update::Raised(apex, by)]) {
            (self.snapshot, self.loaded) = (Arc::new(snapshot), true);
        }
    }

    /// Takes what the store holds when a commit's fate was not known.
    pub fn reread(&mut self, state: (Revision, Vec<Item>), now: Timestamp) -> Result<(), StartError> {
        self.core.reread(state, &self.zones, &self.geo, now)
    }

    /// What is to be made known of all that since the last call.
    pub fn output(&mut self, now: Timestamp) -> Output<T> {
        let Effects { services, drained, orders, events, answers } = self.core.effects();
        let mut changed = std::mem::take(&mut self.loaded);
        if drained || !services.is_empty() {
            let registry = read(&self.core.registry);
            self.snapshot = Arc::new(follow(&self.snapshot, &registry, &services, drained, &mut self.astray, now));
            changed = true;
        }
        let snapshot = changed.then(|| self.snapshot.clone());
        Output { snapshot, orders, events, answers }
    }

    fn take_measured(&mut self, origins: Arc<Origins>) {
        // Measurements contradict nothing.
        if let Ok(snapshot) = self.snapshot.update(&[Update::Measured(origins)]) {
            (self.snapshot, self.loaded) = (Arc::new(snapshot), true);
        }
    }

    /// The orders of a prober that begins now.
    pub fn probe_orders(&self) -> Vec<ProbeOrder> {
        standing_orders(&read(&self.core.registry), &self.core.orders)
    }

    /// The snapshot as it now is.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What is registered. Only the writer changes it.
    pub fn registry(&self) -> &Arc<RwLock<Registry>> {
        &self.core.registry
    }
}

/// The snapshot with what changed. Settings were tried before they were taken, so every service compiles, but for those that have gone
/// astray; should another not, it stays as it is, and none beside it suffers.
fn follow(
    snapshot: &Snapshot,
    registry: &Registry,
    services: &BTreeMap<Label, Extent>,
    drained: bool,
    astray: &mut BTreeSet<Label>,
    now: Timestamp,
) -> Snapshot {
    // One that has gone astray is answered by another policy than the registry has.
    let extents = services.iter().map(|(name, extent)| (name, if astray.contains(name) { &Extent::Whole } else { extent }));
    if let Ok(next) = compile::compile(snapshot, registry, extents, drained, now) {
        astray.retain(|name| !services.contains_key(name));
        return next;
    }
    let mut next = snapshot.clone();
    for name in services.keys() {
        match compile::compile_anyway(&next, registry, name, astray, now) {
            Ok(with) => next = with,
            Err(error) => {
                tracing::error!(%error, "a change does not compile; answers leave it out");
                // What is answered is not what the registry has: the next change, of whatever kind, is compiled whole.
                astray.insert(name.clone());
            }
        }
    }
    if drained && let Ok(with) = compile::compile(&next, registry, std::iter::empty(), true, now) {
        next = with;
    }
    next
}

/// Zones once they are compiled: nobody asks for their records again, for what names they take the registry knows.
fn without_records(mut zones: Vec<Zone>) -> Vec<Zone> {
    zones.iter_mut().for_each(|zone| zone.records = BTreeMap::new());
    zones
}

fn warn(warnings: &[Warning]) {
    for Warning { file, subject, found } in warnings {
        tracing::warn!(file, subject, "{found}");
    }
}
