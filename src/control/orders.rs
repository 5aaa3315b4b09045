//! The numbers of probe orders: a verdict counts only under the order that is in force.
//!
//! Verdicts and orders pass each other in their channels. A verdict on an address that an instance had a moment ago must not become
//! one on the address that it has now.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::InstanceKey;

/// The order in force for each instance that is probed. Shared by the writer, which gives numbers, and those who hand orders out anew.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    in_force: HashMap<InstanceKey, u64, foldhash::quality::RandomState>,
}

impl Orders {
    /// Numbers a new order for an instance; what came under the one before it counts no longer.
    pub fn renew(&self, key: &InstanceKey) -> u64 {
        let mut numbers = self.numbers();
        numbers.last += 1;
        let number = numbers.last;
        numbers.in_force.insert(key.clone(), number);
        number
    }

    /// The instance is not probed any more.
    pub fn end(&self, key: &InstanceKey) {
        self.numbers().in_force.remove(key);
    }

    /// The order in force for an instance; `None`: it is not probed.
    pub fn in_force(&self, key: &InstanceKey) -> Option<u64> {
        self.numbers().in_force.get(key).copied()
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
