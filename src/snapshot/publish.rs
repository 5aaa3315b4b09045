//! Publishing a snapshot: readers never wait, and a query that comes after [`Publisher::publish`] returned sees the new one.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Snapshot;

/// Holds the current snapshot.
#[derive(Debug)]
pub struct Publisher(ArcSwap<Snapshot>);

impl Publisher {
    /// Starts with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Publisher {
        Publisher(ArcSwap::from_pointee(snapshot))
    }

    /// The current snapshot, for a batch of queries: load once, drop before blocking.
    #[inline]
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// The current snapshot, to keep for longer.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Makes `snapshot` the current one.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.0.store(snapshot);
    }
}
