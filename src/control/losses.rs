//! Losses: the world as it is and the world without a part of it, side by side, for simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Assumption, Control, compile};
use crate::model::{Generation, Health, InstanceKey, Label, Subject, Timestamp};
use crate::registry::{Refusal, Registry, ServiceEntry};
use crate::simulate::{DecidedName, MOST_DECISIONS, Population, Report, simulate, warnings};
use crate::snapshot::Snapshot;

/// Services that are compiled at once as they would be: what that takes is not there for all of a million.
const AT_ONCE: usize = 1024;

/// Something that is lost: two worlds to compare. It holds both, and nobody waits for whoever compares them.
#[derive(Clone)]
pub struct Loss {
    lost: Vec<Subject>,
    before: Arc<Snapshot>,
    after: Arc<Snapshot>,
    capacities: Arc<BTreeMap<Label, u8>>,
    generation: Generation,
}

impl Loss {
    /// What is lost.
    pub fn lost(&self) -> &[Subject] {
        &self.lost
    }

    /// The world with it.
    pub fn before(&self) -> &Snapshot {
        &self.before
    }

    /// Who would be served where; with `listed`, each client prefix by itself. This takes its time: up to [`MOST_DECISIONS`] are made in
    /// each world.
    pub fn simulate(&self, population: &Population, names: &[DecidedName], listed: bool) -> Report {
        let lost: Vec<String> = self.lost.iter().map(Subject::to_string).collect();
        let report = simulate(&self.before, &self.after, population, names, &lost, &self.capacities, listed);
        // Assuming makes a snapshot of its own; what was published is what others can ask about.
        Report { generation: self.generation.0, ..report }
    }

    /// The first `most` warnings of what [`Loss::simulate`] would report of all names, and how many more there are.
    pub fn warnings(&self, population: &Population, most: usize) -> (Vec<String>, usize) {
        let lost: Vec<String> = self.lost.iter().map(Subject::to_string).collect();
        warnings(&self.before, &self.after, population, &lost, &self.capacities, most)
    }
}

/// One region after the other: what N-1 is about.
#[derive(Clone)]
pub struct Losses {
    /// The number of the snapshot that was taken as the world as it is.
    pub generation: Generation,
    /// For each region that is declared or used, by name.
    pub regions: Vec<Loss>,
    before: Arc<Snapshot>,
}

impl Losses {
    /// The world with all regions.
    pub fn before(&self) -> &Snapshot {
        &self.before
    }

    /// So few of the clients that all regions together take a quarter of the decisions that one simulation may: this runs at every start and
    /// reload.
    pub fn thinned(&self, population: Population, names: usize) -> Population {
        population.at_most(MOST_DECISIONS / 4 / (names * self.regions.len()).max(1))
    }
}

impl Control {
    /// The world as it is, and the one without `lost`.
    ///
    /// # Errors
    /// [`Refusal::UnknownSubject`] for what is neither declared nor used.
    pub fn without(&self, lost: &[Subject]) -> Result<Loss, Refusal> {
        let (published, registry, now) = (self.publisher().load_full(), self.registry(), (self.shared.clock)());
        let generation = published.generation;
        let before = match registry.drains.is_empty() {
            true => published,
            // A ramp has come further since that was published: it must not look like a part of the loss.
            false => compile::assume(&published, &registry, &[], now)?,
        };
        let drained: Vec<Assumption> = lost.iter().cloned().map(Assumption::Drained).collect();
        let after = compile::assume(&before, &registry, &drained, now)?;
        Ok(Loss { lost: lost.to_vec(), before, after, capacities: capacities(&registry), generation })
    }

    /// The world as it is, and for each region the one without it. With `all_healthy`, every instance is taken for healthy in all of
    /// them: what is then missing is missing by design.
    ///
    /// # Errors
    /// With `all_healthy`, a policy that does not compile any more, because places that it speaks of are declared no more.
    pub fn losses(&self, all_healthy: bool) -> Result<Losses, Refusal> {
        let (published, registry, now) = (self.publisher().load_full(), self.registry(), (self.shared.clock)());
        let unwell = all_healthy && registry.services.values().any(is_unwell);
        if !unwell {
            return each(published, &registry, false, now);
        }
        // Copied: compiling many services takes longer than others should wait for the lock.
        let copy = registry.clone();
        drop(registry);
        each(published, &copy, true, now)
    }
}

/// For each region the world without it; `all_healthy`: of `published` with every instance healthy, else as it is.
fn each(published: Arc<Snapshot>, registry: &Registry, all_healthy: bool, now: Timestamp) -> Result<Losses, Refusal> {
    let generation = published.generation;
    let mut before = match registry.drains.is_empty() {
        true => published,
        false => compile::assume(&published, registry, &[], now)?,
    };
    let unwell: Vec<(&Label, &ServiceEntry)> = registry.services.iter().filter(|(_, entry)| all_healthy && is_unwell(entry)).collect();
    for part in unwell.chunks(AT_ONCE) {
        let healthy = |(service, entry): &(&Label, &ServiceEntry)| {
            let key = |id: &Label| InstanceKey { service: (*service).clone(), id: id.clone() };
            entry.instances.keys().map(|id| Assumption::Health(key(id), Health::Healthy)).collect::<Vec<_>>()
        };
        before = compile::assume(&before, registry, &part.iter().flat_map(healthy).collect::<Vec<_>>(), now)?;
    }
    let capacities = capacities(registry);
    let mut regions: BTreeSet<Label> = registry.localities().into_iter().map(|locality| locality.region).collect();
    regions.extend(registry.regions.iter().flatten().map(|(region, _)| region.clone()));
    let loss = |region: Label| {
        let lost = vec![Subject::Region(region)];
        // Only places are drained anew; services stay as they were assumed.
        let after = compile::assume(&before, registry, &[Assumption::Drained(lost[0].clone())], now)?;
        Ok(Loss { lost, before: before.clone(), after, capacities: capacities.clone(), generation })
    };
    let regions = regions.into_iter().map(loss).collect::<Result<_, Refusal>>()?;
    Ok(Losses { generation, regions, before })
}

/// Whether an instance of a service would be another if it were taken for healthy.
fn is_unwell(entry: &ServiceEntry) -> bool {
    entry.instances.values().any(|instance| instance.vitals.health() != Health::Healthy || instance.vitals.warming().is_some())
}

/// What regions say they can serve, in percent of a name's clients.
fn capacities(registry: &Registry) -> Arc<BTreeMap<Label, u8>> {
    let declared = registry.regions.iter().flatten();
    Arc::new(declared.filter_map(|(name, region)| Some((name.clone(), region.capacity?))).collect())
}
