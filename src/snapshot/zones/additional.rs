//! What belongs beside an RRset: the addresses of the names that it leads to, found once, when the zone is compiled.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::compile::{Draft, Key, upwards};
use super::{Delegation, RrSet, Wanted};
use crate::codec::code::rtype;

/// The number of every owner.
pub(super) type Keys = HashMap<Key, u32, FixedState>;

impl Draft<'_> {
    /// A delegation at `cut` to the name servers in `ns`.
    pub fn delegation(&self, keys: &Keys, cut: &[u8], ns: &RrSet) -> Delegation {
        let below = |wanted: &Wanted| wanted.key.as_ref().is_some_and(|key| upwards(key).any(|key| key == cut));
        let (glue, others): (Vec<_>, Vec<_>) = self.wanted(keys, cut, ns).into_iter().partition(below);
        Delegation { depth: upwards(cut).count() - 1, ns: ns.clone(), glue: glue.into(), others: others.into() }
    }

    /// The names that `set`, which stands at `owner`, leads to and that have something for the additional section (RFC 1034 §4.3.2 step 6);
    /// each once.
    pub fn wanted(&self, keys: &Keys, owner: &[u8], set: &RrSet) -> Vec<Wanted> {
        let apex = self.zone.apex.wire();
        let mut names: Vec<(Option<Key>, u16)> = set
            .leads_to()
            .filter_map(|(record, name)| match name {
                None => Some((None, record)),
                Some(name) => {
                    let start = (0..=name.labels()).map(|n| name.start(n)).find(|start| &name.wire()[*start..] == apex)?;
                    Some((Some(name.wire()[..start].into()), record))
                }
            })
            .collect();
        names.sort();
        names.dedup_by(|(later, _), (name, _)| later == name);
        let found = |(key, record): (Option<Key>, u16)| {
            let at = match &key {
                None => owner,
                Some(key) => self.addresses_of(key, set.rtype())?,
            };
            let entry = self.owners.get(at)?;
            set.additional_types().any(|rtype| entry.set(rtype).is_some()).then_some(())?;
            let owner = *keys.get(at)?;
            Some(Wanted { key, record, offset: set.name_offset(), owner })
        };
        names.into_iter().filter_map(found).collect()
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
