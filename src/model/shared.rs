//! Values of which there are many equal ones, held once.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// The values of one kind that are in use.
///
/// One table for the process: what a million instances have in common is a few values, and whoever makes one, from JSON, a file or the
/// store, need not know of it. Nothing that can be seen depends on it but memory. What nobody uses any more is dropped when the table has
/// doubled.
pub(crate) struct Shared<T>(Mutex<Known<T>>);

struct Known<T> {
    all: Option<hashbrown::HashSet<Arc<T>, foldhash::fast::RandomState>>,
    sweep_at: usize,
}

/// A table of fewer is not swept.
const FEW: usize = 1024;

impl<T: Eq + Hash> Shared<T> {
    /// A table of none.
    pub const fn new() -> Shared<T> {
        Shared(Mutex::new(Known { all: None, sweep_at: FEW }))
    }

    /// The one of all values that are equal to this.
    pub fn one(&self, value: T) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { all, sweep_at } = &mut *known;
        let all = all.get_or_insert_default();
        if let Some(known) = all.get(&value) {
            return known.clone();
        }
        if all.len() >= *sweep_at {
            all.retain(|value| Arc::strong_count(value) > 1);
            *sweep_at = FEW.max(2 * all.len());
        }
        let value = Arc::new(value);
        all.insert(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_those_of_nobody_are_dropped() {
        let table: Shared<String> = Shared::new();
        let (one, other) = (table.one("a".into()), table.one("b".into()));
        assert!(Arc::ptr_eq(&one, &table.one("a".into())) && !Arc::ptr_eq(&one, &other));
        let kept: Vec<Arc<String>> = (0..FEW).map(|n| table.one(n.to_string())).collect();
        (0..10 * FEW).for_each(|n| drop(table.one(format!("x{n}"))));
        let count = table.0.lock().unwrap().all.as_ref().map_or(0, |all| all.len());
        assert!((kept.len() + 2..=3 * FEW).contains(&count), "{count}");
        assert!(Arc::ptr_eq(&one, &table.one("a".into())) && Arc::ptr_eq(&kept[7], &table.one("7".into())));
    }
}
