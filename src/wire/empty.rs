//! Whether it is drains that left a name without an answer: what a drill must not do, so that it is counted.

use super::walk::Asked;
use crate::model::Out;
use crate::routing::{LocalityId, Origins, Places, Pool, ServiceId, Silent, Start, World, decide};
use crate::snapshot::Snapshot;

/// The world as if no region and no az were drained.
struct Undrained<'a>(&'a Snapshot);

impl World for Undrained<'_> {
    fn pool(&self, service: ServiceId) -> Option<&Pool> {
        self.0.pool(service)
    }

    fn out(&self, _: LocalityId) -> Out {
        Out::SERVING
    }

    fn is_serving(&self) -> bool {
        true
    }

    fn places(&self) -> &Places {
        &self.0.places
    }

    fn origins(&self) -> &Origins {
        &self.0.origins
    }
}

/// Whether a decision that came to nothing would have come to something without drains. Asked only where there is nothing to answer.
///
/// A name that says itself which region or az it wants (`eu-west.region.web.…`) is not meant: there is nowhere to lead its clients.
#[cold]
pub(super) fn by_drains(asked: &Asked<'_>, start: Start<'_>) -> bool {
    let is_of_place =
        matches!(start, Start::Service(_, filter) | Start::Pool(_, _, filter) if filter.region.is_some() || filter.az.is_some());
    if is_of_place || asked.snapshot.is_whole() {
        return false;
    }
    decide(&Undrained(asked.snapshot), start, asked.client, asked.draw, 0, &mut Silent).tiers[0].is_some()
}
