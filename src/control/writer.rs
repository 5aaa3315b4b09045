//! The single writer, without IO: the mind of [`Core`], and the snapshot that follows it. The server drives it with a clock, a store
//! and channels; transcripts drive it with virtual time and none of these.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use super::core::{Core, Departure, Effects, Extent, Input, Landing, read};
use super::outcome::{recall, standing_orders, zone_error};
use super::records::{self, Stored};
use super::survey::{Sample, Surveys};
use super::{Applied, ApplyError, Event, ProbeOrder, StartError, compile, start};
use crate::model::{DnsSettings, FieldError, Geo, Label, Name, Revision, Service, Timestamp, Zone, ZoneSigning};
use crate::registry::{Change, Registry, UpdateRefusal, Warning};
use crate::routing::{Origins, Survey, Surveyed};
use crate::snapshot::{CompiledZone, ServiceView, Snapshot, Unfit, Update, ZoneError, ZonePatch};
use crate::store::Item;

/// See the module.
#[derive(Debug)]
pub struct Writer<T> {
    pub(super) core: Core<T>,
    snapshot: Arc<Snapshot>,
    geo: Geo,
    /// A zone that was compiled to see whether an update of it can be served, the change that this is, and the epoch.
    tried: Option<(Name, u32, u32, Arc<CompiledZone>)>,
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
        let Stored { registry, health, written, strays } = stored;
        let (mut registry, warnings) = registry.restored(&zones, geo.regions.clone(), now).map_err(zone_error)?;
        warn(&warnings);
        let zones = Arc::new(zones);
        warn(&registry.ground(zones));
        let over = registry.drains.iter().filter(|(_, entry)| entry.drain.is_over(now));
        let ended: Vec<_> = over.map(|(subject, entry)| (subject.clone(), entry.drain.over())).collect();
        let gone = recall(&mut registry, health, now);
        let first = Snapshot::empty().update(&[Update::Geo(&geo), Update::Dns(dns)])?;
        let snapshot = beside_updates(&mut registry, |_, served| first.update(&[Update::Served(served)]))?;
        registry.release_records();
        let mut astray = BTreeSet::new();
        let snapshot = Arc::new(start::compile(&snapshot, &registry, &mut astray, now)?);
        let strays: Vec<_> = strays.into_iter().filter_map(|key| Some((key.clone(), *written.get(&key)?))).collect();
        let mut core = Core::new(registry, written, now);
        core.behind.strays(strays.into_iter());
        ended.into_iter().for_each(|(subject, ended)| core.end_drain(now, &subject, ended));
        gone.into_iter().for_each(|key| core.behind.health(key));
        // Nobody has seen anything yet: the snapshot is whole, and the prober asks for all its orders.
        core.effects();
        Ok(Writer { core, snapshot, geo, tried: None, loaded: false, surveys: Surveys::default(), astray })
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
        // What is tried is tried beside all that landed before.
        self.follow_zones();
        let (snapshot, tried) = (self.snapshot.clone(), &mut self.tried);
        self.core.depart(now, &mut |registry, change| match change {
            Change::PutService { name, service, .. } => Ok(compile::try_service(&snapshot, registry, name, service, now)?),
            Change::Zone(change) => {
                let unfit = |error: ZoneError| UpdateRefusal::Unfit(error.name, error.reason);
                let patched = match registry.patch_with(change) {
                    Some((zone, sets)) => snapshot.patch_zone(zone, &ZonePatch { sets, serial: change.serial }).map_err(unfit)?,
                    None => None,
                };
                let compiled = match patched {
                    Some(patched) => Some(patched),
                    None => {
                        let Some(zone) = registry.zone_with(change) else { return Ok(()) };
                        snapshot.compile_zone(&zone).map_err(unfit)?
                    }
                };
                *tried = compiled.map(|compiled| (change.apex.clone(), change.changes, change.epoch, compiled));
                Ok(())
            }
            _ => Ok(()),
        })
    }

    /// Takes what the store said.
    pub fn land(&mut self, now: Timestamp, landing: Landing) {
        self.core.land(now, landing);
    }

    /// Replaces zones, geo data and answer settings, all or nothing. Nothing may be under way.
    pub fn load(&mut self, zones: Vec<Zone>, geo: Geo, dns: &DnsSettings, now: Timestamp) -> Result<(), ZoneError> {
        self.tried = None;
        let before = self.snapshot.origins.clone();
        let (next, differ, count) = {
            let registry = read(&self.core.registry);
            let (mut next, mut warnings) = registry.loaded(&zones, geo.regions.clone(), now).map_err(zone_error)?;
            let count = zones.len();
            warnings.extend(next.ground(Arc::new(zones)));
            let same_places = geo == self.geo;
            let names: BTreeSet<&Label> = registry.services.keys().chain(next.services.keys()).collect();
            let differ: BTreeSet<Label> =
                names.into_iter().filter(|name| registry.services.get(*name) != next.services.get(*name)).cloned().collect();
            let plain: BTreeMap<&Label, Service> =
                self.astray.iter().filter_map(|name| Some((name, compile::plain(&next.services.get(name)?.service)))).collect();
            let update = |next: &Registry, served: &[Cow<'_, Zone>], plain: &BTreeMap<&Label, Service>| {
                let mut updates = vec![Update::Dns(dns), Update::Served(served)];
                if !same_places {
                    updates.insert(0, Update::Geo(&geo));
                }
                updates.extend(differ.iter().filter(|name| !next.services.contains_key(*name)).map(|name| Update::Service(name, None)));
                let changed = |name: &&Label| !same_places || differ.contains(*name) || self.astray.contains(*name);
                updates.extend(next.services.keys().filter(changed).map(|name| {
                    let view = compile::view(next, name, now);
                    let service = plain.get(name);
                    Update::Service(name, view.map(|view| ServiceView { service: service.unwrap_or(view.service), ..view }))
                }));
                self.snapshot.update(&updates)
            };
            let snapshot = match beside_updates(&mut next, |next, served| update(next, served, &BTreeMap::new())) {
                // It was so before: no reason to refuse whatever else the files say.
                Err(_) if !plain.is_empty() => beside_updates(&mut next, |next, served| update(next, served, &plain))?,
                outcome => {
                    let snapshot = outcome?;
                    self.astray.clear();
                    snapshot
                }
            };
            self.snapshot = Arc::new(snapshot);
            next.release_records();
            warn(&warnings);
            (next, differ, count)
        };
        self.core.behind.files(differ);
        self.core.replace(next, now);
        let detail = format!("{count} zones, {} services", read(&self.core.registry).services.len());
        self.core.tell(now, "reloaded", "config".into(), detail, "");
        (self.geo, self.loaded) = (geo, true);
        if !self.snapshot.origins.is_same_build(&before)
            && let Some(origins) = self.surveys.anew(now, &self.snapshot)
        {
            self.take_measured(origins);
        }
        Ok(())
    }

    /// Replaces one zone, or adds it: one without policies and services, and to which none of others leads. All others stay as they are. Nothing may be
    /// under way.
    pub fn put_zone(&mut self, zone: Zone, now: Timestamp) -> Result<(), ZoneError> {
        self.tried = None;
        let apex = zone.apex.clone();
        let detail = format!("taken anew, serial {}", zone.soa.serial);
        let (before, warnings) = self.core.write().put_file(zone);
        match self.compile_zone(&apex) {
            Ok(snapshot) => {
                (self.snapshot, self.loaded) = (Arc::new(snapshot), true);
                warn(&warnings);
                self.core.tell(now, "zone_changed", format!("zone/{apex}"), detail, "");
                Ok(())
            }
            Err(error) => {
                self.core.write().take_back(&apex, before);
                Err(error)
            }
        }
    }

    /// The snapshot with one zone as it now is to be served; where what updates changed does not compile beside its file, without that.
    fn compile_zone(&mut self, apex: &Name) -> Result<Snapshot, ZoneError> {
        loop {
            let outcome = {
                let registry = read(&self.core.registry);
                let Some((zone, _)) = registry.zone(apex) else { return Ok(Snapshot::clone(&self.snapshot)) };
                match registry.changed_zone(apex) {
                    Some(changed) => self.snapshot.update(&[Update::Zone(&changed)]),
                    None => self.snapshot.update(&[Update::Zone(zone)]),
                }
            };
            let error = match outcome {
                Ok(next) => return Ok(next),
                Err(error) => error,
            };
            if !self.core.write().blame(&error.file, &error.name) {
                return Err(error);
            }
            tracing::error!(%error, "what updates changed does not go with the file: the file's is answered");
        }
    }

    /// Replaces what zones show of their keys, of those that are given, all or nothing.
    pub fn sign(&mut self, signing: &BTreeMap<Name, Option<Arc<ZoneSigning>>>) -> Result<(), ZoneError> {
        // What was compiled for an update under way shows the keys before.
        self.tried = None;
        let before = self.core.write().sign(signing);
        let outcome = {
            let registry = read(&self.core.registry);
            let served = |apex| registry.changed_zone(apex).or_else(|| Some(registry.zone(apex)?.0.clone()));
            let zones: Vec<Zone> = signing.keys().filter_map(served).collect();
            self.snapshot.update(&zones.iter().map(Update::Zone).collect::<Vec<_>>())
        };
        match outcome {
            Ok(snapshot) => {
                (self.snapshot, self.loaded) = (Arc::new(snapshot), true);
                Ok(())
            }
            Err(error) => {
                self.core.write().sign(&before);
                Err(error)
            }
        }
    }

    /// Moves the serial of a zone: something of it changed that no file says.
    pub fn raise_serial(&mut self, apex: &Name, serial: u32) {
        // As it does, what was compiled for an update under way has the serial before.
        self.tried = None;
        let Some(by) = self.core.write().raise_serial(apex, serial) else { return };
        // A serial contradicts nothing.
        if let Ok(snapshot) = self.snapshot.update(&[Update::Raised(apex, by)]) {
            (self.snapshot, self.loaded) = (Arc::new(snapshot), true);
        }
    }

    /// These zones, and no others, answer nobody.
    pub fn withhold(&mut self, apexes: &BTreeMap<Name, Unfit>) {
        // That contradicts nothing.
        if let Ok(snapshot) = self.snapshot.update(&[Update::Unfit(apexes)]) {
            (self.snapshot, self.loaded) = (Arc::new(snapshot), true);
        }
    }

    /// Takes what the store holds when a commit's fate was not known.
    pub fn reread(&mut self, state: (Revision, Vec<Item>), now: Timestamp) -> Result<(), StartError> {
        let zones = read(&self.core.registry).files().clone();
        self.core.reread(state, &zones, &self.geo, now)
    }

    /// What is to be made known of all that since the last call.
    pub fn output(&mut self, now: Timestamp) -> Output<T> {
        self.follow_zones();
        let Effects { services, drained, zones: _, orders, events, answers } = self.core.effects();
        let mut changed = std::mem::take(&mut self.loaded);
        if drained || !services.is_empty() {
            let registry = read(&self.core.registry);
            self.snapshot = Arc::new(follow(&self.snapshot, &registry, &services, drained, &mut self.astray, now));
            changed = true;
        }
        let snapshot = changed.then(|| self.snapshot.clone());
        Output { snapshot, orders, events, answers }
    }

    /// Takes the records of zones that changed, as they now are.
    fn follow_zones(&mut self) {
        for apex in std::mem::take(&mut self.core.effects.zones) {
            self.loaded |= self.follow_zone(&apex);
        }
    }

    /// Takes the records of a zone as they now are. Returns whether answers are otherwise.
    fn follow_zone(&mut self, apex: &Name) -> bool {
        let counts = match read(&self.core.registry).zone(apex) {
            None => return false,
            Some((_, overlay)) => overlay.map(|overlay| (overlay.changes, overlay.epoch)),
        };
        // It was compiled to be tried, and nothing else of the zone changed since.
        let tried = self.tried.take().filter(|(of, changes, epoch, _)| of == apex && counts == Some((*changes, *epoch)));
        let next = match tried {
            Some((.., compiled)) => self.snapshot.update(&[Update::Compiled(compiled)]),
            None => self.compile_zone(apex),
        };
        match next {
            Ok(next) => {
                self.snapshot = Arc::new(next);
                true
            }
            Err(error) => {
                tracing::error!(%error, "a zone does not compile; answers leave its change out");
                false
            }
        }
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

/// The snapshot that `compile` makes of the zones as they are to be served. What updates changed never keeps a zone from being served:
/// where it does not go with what the files say now, the files' records are.
fn beside_updates(
    registry: &mut Registry,
    compile: impl Fn(&Registry, &[Cow<'_, Zone>]) -> Result<Snapshot, ZoneError>,
) -> Result<Snapshot, ZoneError> {
    loop {
        let error = match compile(registry, &registry.served()) {
            Ok(snapshot) => return Ok(snapshot),
            Err(error) => error,
        };
        if !registry.blame(&error.file, &error.name) {
            return Err(error);
        }
        tracing::error!(%error, "what updates changed does not go with the file any more: the file's is answered");
    }
}

fn warn(warnings: &[Warning]) {
    for Warning { file, subject, found } in warnings {
        tracing::warn!(file, subject, "{found}");
    }
}
