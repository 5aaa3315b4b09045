//! The numbers of probe orders: a verdict counts only under the order that is in force.
//!
//! Verdicts and orders pass each other in their channels. A verdict on an address that an instance had a moment ago must not become
//! one on the address that it has now.

use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::keyed::{self, Keyed};
use crate::model::InstanceKey;

/// The order in force for each instance that is probed. Shared by the writer, which gives numbers, and those who hand orders out anew.
///
/// A number says where the instance stands here, so that whether a verdict counts is seen without looking for its name: there may be a
/// hundred thousand of them in a second.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    /// The high half of the last number.
    last: u32,
    /// The high halves of numbers; the low half of each is its place.
    in_force: Keyed<u32>,
    hasher: foldhash::quality::RandomState,
}

impl Orders {
    /// Numbers a new order for an instance; what came under the one before it counts no longer.
    pub fn renew(&self, key: &InstanceKey) -> u64 {
        let mut numbers = self.numbers();
        // Nobody's verdict waits while four billion orders are made.
        numbers.last = numbers.last.wrapping_add(1);
        let high = numbers.last;
        let (hash, place) = numbers.find(key);
        let Numbers { in_force, hasher, .. } = &mut *numbers;
        let place = place.unwrap_or_else(|| in_force.add(hash, key.clone(), high, hasher));
        if let Some((_, known)) = in_force.at(place) {
            *known = high;
        }
        number(high, place)
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
        let place = numbers.find(key).1?;
        numbers.in_force.get(place).map(|(_, high)| number(*high, place))
    }

    /// Whether that order is in force for an instance.
    pub fn is_in_force(&self, key: &InstanceKey, order: u64) -> bool {
        let numbers = self.numbers();
        let place = order as u32;
        numbers.in_force.get(place).is_some_and(|(known, high)| number(*high, place) == order && known == key)
    }

    /// Reads what [`Orders::is_in_force`] will, for all of these orders at once.
    pub fn look_ahead(&self, orders: impl Iterator<Item = u64>) {
        let numbers = self.numbers();
        let found = orders.filter_map(|order| numbers.in_force.get(order as u32)).map(|(_, high)| *high as usize);
        black_box(found.sum::<usize>());
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(high: u32, place: u32) -> u64 {
    u64::from(high) << 32 | u64::from(place)
}

impl Numbers {
    /// The hash of an instance, and its place.
    fn find(&self, key: &InstanceKey) -> (u64, Option<u32>) {
        let (service, id) = (key.service.as_str(), key.id.as_str());
        let hash = keyed::hash(&self.hasher, service, id);
        (hash, self.in_force.find(hash, service, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Label;

    fn key(id: &str) -> InstanceKey {
        InstanceKey { service: Label::parse("web").unwrap(), id: Label::parse(id).unwrap() }
    }

    #[test]
    fn an_order_is_in_force_until_the_next_or_the_end_and_for_its_instance_alone() {
        let orders = Orders::default();
        let (a, b) = (key("a"), key("b"));
        let (first, other) = (orders.renew(&a), orders.renew(&b));
        let second = orders.renew(&a);
        assert_eq!((orders.in_force(&a), orders.in_force(&b), orders.in_force(&key("c"))), (Some(second), Some(other), None));
        for (key, order, expected) in [
            (&a, first, false),
            (&a, second, true),
            (&a, other, false),
            (&b, other, true),
            (&b, second, false),
            (&a, 0, false),
            (&a, u64::MAX, false),
        ] {
            assert_eq!(orders.is_in_force(key, order), expected, "{key} {order}");
        }
        // Whoever comes to the place of one that is gone has another number.
        orders.end(&a);
        let third = orders.renew(&key("c"));
        assert_eq!(third as u32, second as u32, "the same place");
        assert!(!orders.is_in_force(&a, second) && !orders.is_in_force(&key("c"), second) && orders.is_in_force(&key("c"), third));
    }
}
