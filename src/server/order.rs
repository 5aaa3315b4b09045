//! Connections in the order of their last activity: linked lists through one arena, so that each step costs the same however many there are.

/// How many lists one entry is in.
pub(super) const LISTS: usize = 2;

/// Entries by their place in memory. A place is used again after its entry has gone; its ticket is not.
#[derive(Debug)]
pub(super) struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
    issued: u64,
}

#[derive(Debug)]
struct Slot<T> {
    ticket: u64,
    links: [Links; LISTS],
    entry: Option<T>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Links {
    before: Option<usize>,
    after: Option<usize>,
}

/// Names one entry for as long as it is there, and nothing afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    slot: usize,
    number: u64,
}

/// One list of entries: what came last is at its end. Its entries are linked by the links of one number, below [`LISTS`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct List {
    first: Option<usize>,
    last: Option<usize>,
    length: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena { slots: Vec::new(), free: Vec::new(), issued: 0 }
    }
}

impl<T> Arena<T> {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes `entry` in, as yet in no list.
    pub(super) fn insert(&mut self, entry: T) -> Ticket {
        let number = self.issued;
        self.issued += 1;
        let slot = Slot { ticket: number, links: Default::default(), entry: Some(entry) };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        Ticket { slot: at, number }
    }

    /// Takes an entry out. It is in no list any more: see [`List::remove`].
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let slot = self.slots.get_mut(ticket.slot).filter(|slot| slot.ticket == ticket.number)?;
        let entry = slot.entry.take()?;
        self.free.push(ticket.slot);
        Some(entry)
    }

    /// The entry of a ticket, while it is there.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&T> {
        self.slots.get(ticket.slot).filter(|slot| slot.ticket == ticket.number)?.entry.as_ref()
    }

    /// As [`Arena::get`], to change it.
    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        self.slots.get_mut(ticket.slot).filter(|slot| slot.ticket == ticket.number)?.entry.as_mut()
    }

    /// Every entry.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }
}

impl List {
    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The entry that has been in it for longest.
    pub(super) fn first<T>(&self, arena: &Arena<T>) -> Option<Ticket> {
        self.first.map(|slot| Ticket { slot, number: arena.slots[slot].ticket })
    }

    /// Puts an entry, which is in no list of these `links`, at the end.
    pub(super) fn push<T>(&mut self, arena: &mut Arena<T>, links: usize, ticket: Ticket) {
        arena.slots[ticket.slot].links[links] = Links { before: self.last, after: None };
        match self.last {
            Some(last) => arena.slots[last].links[links].after = Some(ticket.slot),
            None => self.first = Some(ticket.slot),
        }
        self.last = Some(ticket.slot);
        self.length += 1;
    }

    /// Takes out an entry, which is in this list.
    pub(super) fn remove<T>(&mut self, arena: &mut Arena<T>, links: usize, ticket: Ticket) {
        let Links { before, after } = std::mem::take(&mut arena.slots[ticket.slot].links[links]);
        match before {
            Some(before) => arena.slots[before].links[links].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => arena.slots[after].links[links].before = before,
            None => self.last = before,
        }
        self.length -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the plain thing: two vectors.
        #[test]
        fn lists_are_in_the_order_of_their_pushes(steps in prop::collection::vec((0..4u8, any::<prop::sample::Index>()), 1..200)) {
            let mut arena = Arena::default();
            let mut lists = [List::default(); LISTS];
            let mut expected: [Vec<(Ticket, usize)>; LISTS] = Default::default();
            let mut gone = Vec::new();
            for (value, (step, which)) in steps.into_iter().enumerate() {
                if step == 0 || expected[0].is_empty() {
                    let ticket = arena.insert(value);
                    for links in 0..LISTS {
                        lists[links].push(&mut arena, links, ticket);
                        expected[links].push((ticket, value));
                    }
                } else {
                    let (ticket, value) = expected[0][which.index(expected[0].len())];
                    let links = usize::from(step) % LISTS;
                    if step == 1 {
                        for links in 0..LISTS {
                            lists[links].remove(&mut arena, links, ticket);
                            expected[links].retain(|(t, _)| *t != ticket);
                        }
                        prop_assert_eq!(arena.remove(ticket), Some(value));
                        gone.push(ticket);
                    } else {
                        lists[links].remove(&mut arena, links, ticket);
                        lists[links].push(&mut arena, links, ticket);
                        expected[links].retain(|(t, _)| *t != ticket);
                        expected[links].push((ticket, value));
                    }
                }
                for (list, expected) in lists.iter().zip(&expected) {
                    prop_assert_eq!(list.len(), expected.len());
                    prop_assert_eq!(list.first(&arena), expected.first().map(|(t, _)| *t));
                }
                prop_assert_eq!(arena.len(), expected[0].len());
                prop_assert_eq!(arena.iter().count(), arena.len());
                prop_assert!(expected[1].iter().all(|(t, v)| arena.get(*t) == Some(v)));
                prop_assert!(gone.iter().all(|t| arena.get(*t).is_none()));
            }
            // Emptied from the front, each list gives its entries in order.
            for links in 0..LISTS {
                for (ticket, _) in &expected[links] {
                    prop_assert_eq!(lists[links].first(&arena), Some(*ticket));
                    lists[links].remove(&mut arena, links, *ticket);
                }
                prop_assert_eq!(lists[links].first(&arena), None);
            }
        }
    }
}
