//! What belongs beside an RRset: the addresses of the names that it leads to, found and encoded once, when the zone is compiled.

use std::sync::Arc;

use super::Entry;
use super::compile::{Draft, Key, upwards};
use super::rrset::{RrSet, owner_pointer, record_length};
use crate::codec::code::rtype;
use crate::codec::{HEADER, Pointer};

/// Octets that are kept at most: no message holds more.
const MOST: usize = 65_535;

/// What belongs beside an RRset: the records of each name that it leads to, one name after the other, as they stand in the answer to a
/// question for the RRset's owner. Their owners are pointers to the names in the RRset.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Beside {
    /// The names, each once.
    pub names: Arc<[Led]>,
    /// All records.
    pub octets: Arc<[u8]>,
    /// How many.
    pub count: u16,
    /// The offset in the message at which the RRset stands, behind header and question, for the pointers to be right.
    pub base: u16,
    /// The octets can be copied as they are, or with all pointers moved: none is out of reach, and no record depends on which name is asked.
    pub whole: bool,
}

/// A name that an RRset leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Led {
    /// The offset in the RRset's octets at which the name begins.
    pub place: u32,
    /// Octets of its records.
    pub length: u32,
    /// The number of the record that leads there; the first, where several do.
    pub record: u16,
    /// How many records it has.
    pub count: u16,
    /// Octets before the apex.
    pub key: u8,
    /// It is the RRset's own name, as it was asked for, which does not stand in the RRset.
    pub own: bool,
}

impl Led {
    /// Its records, whole, of octets that begin with them.
    pub fn records<'o>(&self, mut octets: &'o [u8]) -> impl Iterator<Item = &'o [u8]> + use<'o> {
        (0..self.count).map_while(move |_| {
            let (record, behind) = octets.split_at_checked(record_length(octets)?)?;
            octets = behind;
            Some(record)
        })
    }
}

impl Draft<'_> {
    /// What belongs beside the NS of a delegation at `cut`: name servers below it, which nobody could reach without, and the others.
    pub fn glue(&self, cut: &[u8], ns: RrSet<'_>) -> (Beside, Beside) {
        let below = |led: &Found<'_>| led.key.as_ref().is_some_and(|key| upwards(key).any(|key| key == cut));
        let (glue, others) = self.led(cut, ns).into_iter().partition(below);
        (self.encode_beside(cut, ns, glue), self.encode_beside(cut, ns, others))
    }

    /// What belongs beside `set`, which stands at `owner` (RFC 1034 §4.3.2 step 6); `None`: nothing.
    pub fn beside(&self, owner: &[u8], set: RrSet<'_>) -> Option<Beside> {
        let found = self.led(owner, set);
        (!found.is_empty()).then(|| self.encode_beside(owner, set, found))
    }

    /// The names that `set` leads to and that have something for the additional section; each once.
    fn led(&self, owner: &[u8], set: RrSet<'_>) -> Vec<Found<'_>> {
        let apex = self.zone.apex.wire();
        let mut names: Vec<(Option<Key>, u16, usize)> = set
            .leads_to(apex)
            .filter_map(|(record, place, name)| match name {
                None => Some((None, record, place)),
                Some(name) => {
                    let start = (0..=name.labels()).map(|n| name.start(n)).find(|start| &name.wire()[*start..] == apex)?;
                    Some((Some(name.wire()[..start].into()), record, place))
                }
            })
            .collect();
        names.sort();
        names.dedup_by(|(later, ..), (name, ..)| later == name);
        let found = |(key, record, place): (Option<Key>, u16, usize)| {
            let at = match &key {
                None => owner,
                Some(key) => self.addresses_of(key, set.rtype())?,
            };
            let entry = self.owners.get(at)?;
            set.additional_types().any(|rtype| entry.set(rtype).is_some()).then_some(Found { key, record, place, entry })
        };
        names.into_iter().filter_map(found).collect()
    }

    fn encode_beside(&self, owner: &[u8], set: RrSet<'_>, found: Vec<Found<'_>>) -> Beside {
        // Behind the question: its name, type and class.
        let base = HEADER + owner.len() + self.zone.apex.wire().len() + 4;
        let binding = matches!(set.rtype(), rtype::SVCB | rtype::HTTPS);
        // Whose records are left out because they stand in the answer depends on the name that is asked for, and a wildcard has many.
        let wildcard = owner.starts_with(b"\x01*");
        let leads_to_itself = found.first().is_some_and(|first| first.key.is_none());
        let mut beside = Beside { base: base as u16, whole: !(binding && wildcard), ..Beside::default() };
        let (mut octets, mut names) = (Vec::new(), Vec::with_capacity(found.len()));
        for Found { key, record, place, entry } in found {
            let is_owner = key.as_deref().is_none_or(|key| !wildcard && key == owner);
            if is_owner && key.is_some() && leads_to_itself {
                continue;
            }
            let pointer = match &key {
                None => owner_pointer(0),
                Some(_) => Pointer::to(base + place).map_or([0; 2], Pointer::octets),
            };
            // A longer name may be asked for, and moves them farther.
            beside.whole &= key.is_none() || Pointer::to(base + place + 255).is_some();
            let (begin, mut count) = (octets.len(), 0);
            // RFC 2181 §5: no RRset stands in a reply twice.
            let sets = set.additional_types().filter(|rtype| !is_owner || *rtype != set.rtype()).filter_map(|rtype| entry.set(rtype));
            for (added, record) in sets.flat_map(|added| added.records().map(move |record| (added, record))) {
                octets.extend(pointer);
                octets.extend_from_slice(&added.octets()[record.at + 2..record.end()]);
                count += 1;
            }
            if octets.len() > MOST {
                octets.truncate(begin);
                break;
            }
            beside.count += count;
            let key_length = key.as_ref().map_or(0, |key| key.len()) as u8;
            let length = (octets.len() - begin) as u32;
            names.push(Led { place: place as u32, length, record, count, key: key_length, own: key.is_none() });
        }
        (beside.octets, beside.names) = (octets.into(), names.into());
        beside
    }

    /// The key of the owner that has the records of a name: its own, or the wildcard that covers it (RFC 1034 §4.3.3).
    fn addresses_of<'k>(&'k self, key: &'k [u8], rtype: u16) -> Option<&'k [u8]> {
        // Glue is there so that referrals work; it is nobody's answer (RFC 1034 §4.2.1, RFC 2181 §5.4.1).
        let usable = |key: &[u8]| rtype == rtype::NS || self.cut_above(key).is_none();
        if self.owners.contains_key(key) {
            return Some(key).filter(|key| usable(key));
        }
        // Which names exist in a zone with services is known when somebody asks.
        let covered = !self.zone.services && self.redirection_above(key).is_none();
        let encloser = upwards(key).find(|key| self.owners.contains_key(*key)).filter(|_| covered)?;
        let (wildcard, _) = self.owners.get_key_value([&b"\x01*"[..], encloser].concat().as_slice())?;
        Some(&**wildcard).filter(|key| usable(key))
    }
}

/// A name that an RRset leads to, and the entry that has its addresses.
struct Found<'d> {
    /// The name's key; `None`: the RRset's own name.
    key: Option<Key>,
    record: u16,
    place: usize,
    entry: &'d Entry,
}
