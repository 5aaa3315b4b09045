//! A list that is mostly of one.

use std::ops::{Deref, DerefMut};

/// A list that holds its one item in itself: most services have one instance, in one place, and a box of its own would cost each of a
/// million of them 24 octets more, and each query a cache line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Few<T> {
    One([T; 1]),
    Many(Box<[T]>),
}

impl<T> Deref for Few<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Few::One(one) => one,
            Few::Many(many) => many,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Few::One(one) => one,
            Few::Many(many) => many,
        }
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut items: Vec<T>) -> Few<T> {
        match items.pop() {
            Some(item) if items.is_empty() => Few::One([item]),
            last => {
                items.extend(last);
                Few::Many(items.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_what_it_was_made_of() {
        for count in 0..4 {
            let items: Vec<String> = (0..count).map(|n| n.to_string()).collect();
            assert_eq!(*Few::from(items.clone()), *items);
        }
    }
}
