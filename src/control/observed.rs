//! Verdicts of the prober that came together.
//!
//! Among a million instances nothing of the one that turns is in the processor's caches: its order, its service's slot, what is compiled of it,
//! and the counts of all that stands beside it in the directory. Taken one after the other, each verdict waits for each of these in turn. So they
//! are read for all verdicts before any is taken, as `wire` does for queries (`snapshot::ahead`), and the waits of one are over with those of
//! the others.

use super::core::Input;
use super::{Observation, Writer};
use crate::model::Timestamp;

impl<T> Writer<T> {
    /// Takes verdicts, in their order: what [`Writer::handle`] makes of each.
    pub fn observe(&mut self, now: Timestamp, observations: impl Iterator<Item = Observation>) {
        let mut observations = observations.peekable();
        let mut together = Vec::with_capacity(observations.size_hint().0.min(TOGETHER));
        while observations.peek().is_some() {
            together.extend(observations.by_ref().take(TOGETHER));
            if together.len() > 1 {
                self.look_ahead(&together);
            }
            together.drain(..).for_each(|observation| self.handle(now, Input::Observation(observation)));
        }
    }

    fn look_ahead(&self, observations: &[Observation]) {
        self.core.orders.look_ahead(observations.iter().map(|observation| observation.order));
        self.snapshot().look_ahead(observations.iter().map(|observation| &observation.key.service));
    }
}

/// Verdicts that are looked ahead for at once.
const TOGETHER: usize = 64;
