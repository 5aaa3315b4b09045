//! Publishing a snapshot: readers never wait, and a query that comes after [`Publisher::publish`] returned sees the new one.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::Snapshot;

/// Holds the current snapshot.
#[derive(Debug)]
pub struct Publisher {
    current: ArcSwap<Snapshot>,
    /// Those before, as long as anybody else has them. A reader that drops what it read must never be the last: it would take apart a
    /// world, which may be all zones and geo data of before a reload, between two queries. So the last is always this list, and it is
    /// no longer than there are readers.
    before: Mutex<Vec<Arc<Snapshot>>>,
    /// Who waits for the next.
    next: Condvar,
}

impl Publisher {
    /// Starts with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Publisher {
        Publisher { current: ArcSwap::from_pointee(snapshot), before: Mutex::default(), next: Condvar::new() }
    }

    /// The current snapshot, for a batch of queries: load once, drop before blocking.
    #[inline]
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The current snapshot, to keep for longer.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Makes `snapshot` the current one, and drops those before that nobody reads any more.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let last = self.current.swap(snapshot);
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.push(last);
        // Nobody can come by one again that is not current: a count of one stays one.
        before.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.next.notify_all();
    }

    /// Waits until another snapshot than `seen` is the current one, or so long. Wakes early now and then.
    pub fn wait(&self, seen: &Arc<Snapshot>, longest: Duration) {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever publishes takes this lock behind the swap, and wakes within it.
        if Arc::ptr_eq(&self.current.load(), seen) {
            drop(self.next.wait_timeout(before, longest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_hears_of_the_next() {
        let publisher = Publisher::new(Snapshot::empty());
        let seen = publisher.load_full();
        std::thread::scope(|scope| {
            // Without the wake-up this would take an hour.
            let waiting = scope.spawn(|| {
                while Arc::ptr_eq(&publisher.load(), &seen) {
                    publisher.wait(&seen, Duration::from_secs(3600));
                }
            });
            publisher.publish(Arc::new(Snapshot::empty()));
            waiting.join().unwrap();
        });
        publisher.wait(&seen, Duration::from_secs(3600));
    }

    #[test]
    fn what_a_reader_holds_is_kept_and_dropped_by_the_publisher() {
        let publisher = Publisher::new(Snapshot::empty());
        let kept = || publisher.before.lock().unwrap().len();
        let guard = publisher.load();
        let weak = Arc::downgrade(&guard);
        for _ in 0..10 {
            publisher.publish(Arc::new(Snapshot::empty()));
            assert_eq!(kept(), 1, "the one that is read, and no other");
        }
        drop(guard);
        assert!(weak.strong_count() == 1, "the reader did not take it apart");
        publisher.publish(Arc::new(Snapshot::empty()));
        assert_eq!((kept(), weak.strong_count()), (0, 0));
    }
}
