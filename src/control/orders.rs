//! The numbers of probe orders: a verdict counts only under the order that is in force.
//!
//! Verdicts and orders pass each other in their channels. A verdict on an address that an instance had a moment ago must not become
//! one on the address that it has now.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::keyed::{self, Keyed};
use crate::model::InstanceKey;

/// The order in force for each instance that is probed. Shared by the writer, which gives numbers, and those who hand orders out anew.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    in_force: Keyed<u64>,
    hasher: foldhash::quality::RandomState,
}

impl Orders {
    /// Numbers a new order for an instance; what came under the one before it counts no longer.
    pub fn renew(&self, key: &InstanceKey) -> u64 {
        let mut numbers = self.numbers();
        numbers.last += 1;
        let number = numbers.last;
        let (hash, place) = numbers.find(key);
        match place.and_then(|place| numbers.in_force.at(place)) {
            Some((_, known)) => *known = number,
            None => {
                let Numbers { in_force, hasher, .. } = &mut *numbers;
                in_force.add(hash, key.clone(), number, hasher);
            }
        }
        number
    }

    /// The instance is not probed any more.
    pub fn end(&self, key: &InstanceKey) {
        let mut numbers = self.numbers();
        let (hash, _) = numbers.find(key);
        numbers.in_force.remove(hash, key);
    }

    /// The order in force for an instance; `None`: it is not probed.
    pub fn in_force(&self, key: &InstanceKey) -> Option<u64> {
        let numbers = self.numbers();
        numbers.find(key).1.and_then(|place| numbers.in_force.get(place)).map(|(_, number)| *number)
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    /// The hash of an instance, and its place.
    fn find(&self, key: &InstanceKey) -> (u64, Option<u32>) {
        let (service, id) = (key.service.as_str(), key.id.as_str());
        let hash = keyed::hash(&self.hasher, service, id);
        (hash, self.in_force.find(hash, service, id))
    }
}
