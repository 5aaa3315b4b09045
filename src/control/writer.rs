//! The single writer, without IO: the mind of [`Core`], and the snapshot that follows it. The server drives it with a clock, a store
//! and channels; transcripts drive it with virtual time and none of these.

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

use super::core::{Core, Departure, Effects, Input, Landing, read};
use super::outcome::{recall, zone_error};
use super::records::{self, Stored};
use super::{Applied, ApplyError, Event, ProbeOrder, StartError, compile};
use crate::model::{DnsSettings, Geo, Label, Revision, Timestamp, Zone};
use crate::registry::{Registry, Warning};
use crate::snapshot::{Snapshot, Update, ZoneError};
use crate::store::Item;

/// See the module.
#[derive(Debug)]
pub struct Writer<T> {
    pub(super) core: Core<T>,
    snapshot: Arc<Snapshot>,
    zones: Vec<Zone>,
    geo: Geo,
    /// Whether the snapshot was loaded and not yet given out.
    loaded: bool,
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
    /// their full time, and drains that ended meanwhile are dropped.
    pub fn begin(
        (revision, items): (Revision, Vec<Item>),
        zones: Vec<Zone>,
        geo: Geo,
        dns: &DnsSettings,
        now: Timestamp,
    ) -> Result<Writer<T>, StartError> {
        let Stored { registry, health, written } = records::read(revision, items)?;
        let (mut registry, warnings) = registry.loaded(&zones, geo.regions.clone(), now).map_err(zone_error)?;
        warn(&warnings);
        let over = registry.drains.iter().filter(|(_, entry)| entry.drain.is_over(now));
        let ended: Vec<_> = over.map(|(subject, entry)| (subject.clone(), entry.drain.over())).collect();
        let gone = recall(&mut registry, health, now);
        let updates = [Update::Geo(&geo), Update::Dns(dns), Update::Zones(&zones)];
        let snapshot = Snapshot::empty().update(&updates)?;
        let snapshot = Arc::new(compile::compile(&snapshot, &registry, registry.services.keys(), true, now)?);
        let mut core = Core::new(registry, written, now);
        ended.into_iter().for_each(|(subject, ended)| core.end_drain(now, &subject, ended));
        gone.into_iter().for_each(|key| core.behind.health(key));
        // Nobody has seen anything yet: the snapshot is whole, and the prober asks for all its orders.
        core.effects();
        Ok(Writer { core, snapshot, zones, geo, loaded: false })
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
        self.core.next_deadline()
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
        let next = {
            let registry = read(&self.core.registry);
            let (next, warnings) = registry.loaded(&zones, geo.regions.clone(), now).map_err(zone_error)?;
            let mut updates = vec![Update::Dns(dns), Update::Zones(&zones)];
            let same_places = geo == self.geo;
            if !same_places {
                updates.insert(0, Update::Geo(&geo));
            }
            let changed = |name: &&Label| !same_places || registry.services.get(*name) != next.services.get(*name);
            let gone = registry.services.keys().filter(|name| !next.services.contains_key(*name));
            updates.extend(gone.map(|name| Update::Service(name, None)));
            updates.extend(next.services.keys().filter(changed).map(|name| Update::Service(name, compile::view(&next, name, now))));
            self.snapshot = Arc::new(self.snapshot.update(&updates)?);
            warn(&warnings);
            next
        };
        self.core.replace(next, now);
        let detail = format!("{} zones, {} services", zones.len(), read(&self.core.registry).services.len());
        self.core.tell(now, "reloaded", "config".into(), detail, "");
        (self.zones, self.geo, self.loaded) = (zones, geo, true);
        Ok(())
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
            self.snapshot = Arc::new(follow(&self.snapshot, &registry, &services, drained, now));
            changed = true;
        }
        let snapshot = changed.then(|| self.snapshot.clone());
        Output { snapshot, orders, events, answers }
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

/// The snapshot with what changed. Settings were tried before they were taken, so every service compiles; should one not, it stays as
/// it is, and no other suffers.
fn follow(snapshot: &Snapshot, registry: &Registry, services: &BTreeSet<Label>, drained: bool, now: Timestamp) -> Snapshot {
    let error = match compile::compile(snapshot, registry, services.iter(), drained, now) {
        Ok(next) => return next,
        Err(error) => error,
    };
    tracing::error!(%error, "a change does not compile; answers leave it out");
    let mut next = snapshot.clone();
    let parts = services.iter().map(|name| (Some(name), false)).chain(drained.then_some((None, true)));
    for (name, drained) in parts {
        if let Ok(with) = compile::compile(&next, registry, name.into_iter(), drained, now) {
            next = with;
        }
    }
    next
}

fn warn(warnings: &[Warning]) {
    for Warning { file, subject, found } in warnings {
        tracing::warn!(file, subject, "{found}");
    }
}
