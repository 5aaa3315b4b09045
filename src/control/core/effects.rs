//! What came of what came in: for answers to queries, for the prober, for listeners and callers.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::{Applied, ApplyError, Event, ProbeOrder};
use crate::model::{Label, Name};

/// What came of it, in the order in which it is to be made known: answers last.
#[derive(Debug)]
pub struct Effects<T> {
    /// Services that are no longer as they were, and how far.
    pub services: BTreeMap<Label, Extent>,
    /// Whether drains of regions or azs changed.
    pub drained: bool,
    /// Zones whose records are no longer as they were.
    pub zones: BTreeSet<Name>,
    /// For the prober.
    pub orders: Vec<ProbeOrder>,
    /// For everyone who listens.
    pub events: Vec<Event>,
    /// For the callers.
    pub answers: Vec<(T, Result<Applied, ApplyError>)>,
}

impl<T> Default for Effects<T> {
    fn default() -> Effects<T> {
        Effects {
            services: BTreeMap::new(),
            drained: false,
            zones: BTreeSet::new(),
            orders: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
        }
    }
}

/// How far a service is no longer as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// Anything of it may have changed, or it is gone.
    Whole,
    /// Nothing but the health of these instances, by their places in the order of ids. One that turned twice stands here twice.
    Health(Vec<usize>),
}

impl<T> Effects<T> {
    /// Anything of a service may have changed.
    pub(in crate::control) fn whole(&mut self, service: Label) {
        self.services.insert(service, Extent::Whole);
    }

    /// The health of an instance has changed, or how steady it is. `place`: its place in the order of ids, where nothing else has.
    pub(in crate::control) fn health(&mut self, service: &Label, place: Option<usize>) {
        let Some(place) = place else { return self.whole(service.clone()) };
        match self.services.get_mut(service) {
            Some(Extent::Whole) => {}
            Some(Extent::Health(places)) => places.push(place),
            None => _ = self.services.insert(service.clone(), Extent::Health(vec![place])),
        }
    }
}
