//! The instances of one service, in the order of their ids.
//!
//! A sorted list and not a tree: a tree's node has room for eleven, which a service of one instance would pay for, and a list of many is
//! full but for an eighth. What is registered in the midst of a large service moves those behind it, 100 octets each: half a
//! millisecond for 100,000, less than it takes to compile such a service.

use std::borrow::Borrow;

use super::InstanceEntry;
use crate::model::Label;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Instances(Kept);

type Named = (Label, InstanceEntry);

#[derive(Debug, Clone, Default, PartialEq)]
enum Kept {
    #[default]
    None,
    One(Box<[Named; 1]>),
    /// Sorted by id, two at least.
    #[expect(clippy::box_collection, reason = "most services have one instance: a list in a box takes 8 octets of theirs, by itself 24")]
    Many(Box<Vec<Named>>),
}

impl Instances {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// The instance of that id.
    pub fn get<Id: Ord + ?Sized>(&self, id: &Id) -> Option<&InstanceEntry>
    where
        Label: Borrow<Id>,
    {
        let all = self.all();
        all.binary_search_by(|(known, _)| known.borrow().cmp(id)).ok().map(|at| &all[at].1)
    }

    /// The instance of that id, to be changed.
    pub fn get_mut(&mut self, id: &Label) -> Option<&mut InstanceEntry> {
        self.find_mut(id).map(|(_, entry)| entry)
    }

    /// The same with its place in the order of ids.
    pub fn find_mut(&mut self, id: &Label) -> Option<(usize, &mut InstanceEntry)> {
        let all = self.all_mut();
        all.binary_search_by(|(known, _)| known.cmp(id)).ok().map(|at| (at, &mut all[at].1))
    }

    /// Whether there is an instance of that id.
    pub fn contains_key(&self, id: &Label) -> bool {
        self.get(id).is_some()
    }

    /// Takes an instance; returns the one that it replaces.
    pub fn insert(&mut self, id: Label, entry: InstanceEntry) -> Option<InstanceEntry> {
        let all = self.all_mut();
        // Who reads a store comes in order.
        let behind = all.last().is_none_or(|(last, _)| *last < id);
        let found = if behind { Err(all.len()) } else { all.binary_search_by(|(known, _)| known.cmp(&id)) };
        let at = match found {
            Ok(at) => return Some(std::mem::replace(&mut all[at].1, entry)),
            Err(at) => at,
        };
        self.0 = match std::mem::take(&mut self.0) {
            Kept::None => Kept::One(Box::new([(id, entry)])),
            Kept::One(one) => {
                let mut many = Vec::with_capacity(2);
                many.extend(*one);
                many.insert(at, (id, entry));
                Kept::Many(Box::new(many))
            }
            Kept::Many(mut many) => {
                if many.len() == many.capacity() {
                    many.reserve_exact((many.len() / 8).max(2));
                }
                many.insert(at, (id, entry));
                Kept::Many(many)
            }
        };
        None
    }

    /// Takes an instance out.
    pub fn remove(&mut self, id: &Label) -> Option<InstanceEntry> {
        let at = self.all().binary_search_by(|(known, _)| known.cmp(id)).ok()?;
        match std::mem::take(&mut self.0) {
            Kept::None => None,
            Kept::One(one) => {
                let [(_, entry)] = *one;
                Some(entry)
            }
            Kept::Many(mut many) => {
                let (_, entry) = many.remove(at);
                self.0 = match (many.len(), many.pop()) {
                    (1, Some(last)) => Kept::One(Box::new([last])),
                    (_, last) => {
                        many.extend(last);
                        if many.capacity() > 2 * many.len() {
                            many.shrink_to_fit();
                        }
                        Kept::Many(many)
                    }
                };
                Some(entry)
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> Iter<'_> {
        self.all().iter().map(|(id, entry)| (id, entry))
    }

    /// Their ids.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Label> {
        self.all().iter().map(|(id, _)| id)
    }

    /// What is known of each.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &InstanceEntry> {
        self.all().iter().map(|(_, entry)| entry)
    }

    /// What is known of each, to be changed.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut InstanceEntry> {
        self.all_mut().iter_mut().map(|(_, entry)| entry)
    }

    /// The instance at a place in the order of ids.
    pub fn at(&self, place: usize) -> Option<(&Label, &InstanceEntry)> {
        self.all().get(place).map(|(id, entry)| (id, entry))
    }

    fn all(&self) -> &[Named] {
        match &self.0 {
            Kept::None => &[],
            Kept::One(one) => &**one,
            Kept::Many(many) => many,
        }
    }

    fn all_mut(&mut self) -> &mut [Named] {
        match &mut self.0 {
            Kept::None => &mut [],
            Kept::One(one) => &mut **one,
            Kept::Many(many) => many,
        }
    }
}

/// See [`Instances::iter`].
pub type Iter<'a> = std::iter::Map<std::slice::Iter<'a, Named>, fn(&'a Named) -> (&'a Label, &'a InstanceEntry)>;
/// The same, to be changed.
pub type IterMut<'a> = std::iter::Map<std::slice::IterMut<'a, Named>, fn(&'a mut Named) -> (&'a Label, &'a mut InstanceEntry)>;

impl<'a> IntoIterator for &'a Instances {
    type Item = (&'a Label, &'a InstanceEntry);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.all().iter().map(|(id, entry)| (id, entry))
    }
}

impl<'a> IntoIterator for &'a mut Instances {
    type Item = (&'a Label, &'a mut InstanceEntry);
    type IntoIter = IterMut<'a>;
    fn into_iter(self) -> IterMut<'a> {
        self.all_mut().iter_mut().map(|(id, entry)| (&*id, entry))
    }
}

impl FromIterator<(Label, InstanceEntry)> for Instances {
    fn from_iter<I: IntoIterator<Item = (Label, InstanceEntry)>>(entries: I) -> Instances {
        let mut instances = Instances::default();
        instances.extend(entries);
        instances
    }
}

impl Extend<(Label, InstanceEntry)> for Instances {
    fn extend<I: IntoIterator<Item = (Label, InstanceEntry)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(id, entry)| _ = self.insert(id, entry));
    }
}

impl IntoIterator for Instances {
    type Item = Named;
    type IntoIter = std::vec::IntoIter<Named>;
    fn into_iter(self) -> Self::IntoIter {
        match self.0 {
            Kept::None => Vec::new().into_iter(),
            Kept::One(one) => Vec::from(one as Box<[Named]>).into_iter(),
            Kept::Many(many) => many.into_iter(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Revision, Source, Vitals};

    fn entry(revision: u64) -> InstanceEntry {
        let instance = serde_json::from_str(r#"{"addresses":["192.0.2.1"],"region":"eu","az":"1"}"#).unwrap();
        InstanceEntry { instance, source: Source::Api, revision: Revision(revision), vitals: Vitals::default() }
    }

    #[test]
    fn an_instance_takes_few_octets() {
        assert_eq!((size_of::<Instances>(), size_of::<Named>()), (16, 104));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever comes and goes in which order, it is what a map would hold.
        #[test]
        fn instances_are_a_map(steps in prop::collection::vec((0u8..12, any::<bool>()), 0..60)) {
            let (mut instances, mut map) = (Instances::default(), BTreeMap::new());
            for (revision, (id, comes)) in steps.into_iter().enumerate() {
                let (id, revision) = (Label::parse(&format!("i{id}")).unwrap(), revision as u64);
                match comes {
                    true => prop_assert_eq!(instances.insert(id.clone(), entry(revision)), map.insert(id.clone(), entry(revision))),
                    false => prop_assert_eq!(instances.remove(&id), map.remove(&id)),
                }
                prop_assert_eq!(instances.get(&id), map.get(&id));
                prop_assert_eq!(instances.get(id.as_str()), map.get(&id));
                prop_assert!(instances.iter().eq(map.iter()));
                prop_assert_eq!((instances.len(), instances.is_empty()), (map.len(), map.is_empty()));
            }
        }
    }
}
