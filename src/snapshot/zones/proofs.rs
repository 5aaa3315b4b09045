//! What proves that something is not there in a zone that its primary has signed: its NSEC in canonical order (RFC 4034 §6.1), or its NSEC3 in the
//! order of their hashes (RFC 5155 §1.3). Each is an array of places among the names, in which a query looks by halves.

use std::cmp::Ordering;

use super::compile::{Draft, Key};
use super::{CompiledZone, Lookup, Owner, RrSet, ZoneError};
use crate::codec::code::rtype;
use crate::codec::{MOST_ITERATED, NameBuf, NameHash, iterated};

/// What such a zone proves.
#[derive(Debug, Default)]
pub struct Proofs {
    /// Where names with an NSEC begin, in units of 8 octets, in canonical order.
    names: Box<[u32]>,
    hashes: Option<Hashes>,
    expires: u32,
}

/// Its NSEC3, of one set of parameters.
#[derive(Debug)]
pub struct Hashes {
    iterations: u16,
    salt: Box<[u8]>,
    /// Of each the hash, and where it begins, in units of 8 octets.
    ring: Box<[(NameHash, u32)]>,
}

impl Proofs {
    /// Its NSEC3, where it has them; else it has NSEC.
    pub fn hashes(&self) -> Option<&Hashes> {
        self.hashes.as_ref()
    }

    /// When the first of its signatures expires, in seconds since the Unix epoch (RFC 4034 §3.1.5).
    pub fn expires(&self) -> u32 {
        self.expires
    }
}

impl Hashes {
    /// The hash of a name in wire form, in lower case (RFC 5155 §5). At most [`MOST_ITERATED`] blocks are hashed for that, and those of the name.
    pub fn of(&self, name: &[u8]) -> NameHash {
        NameHash::salted(name, &self.salt, self.iterations)
    }
}

impl CompiledZone {
    /// What has the signatures of RRsets at a name: what stands there, or the wildcard that makes it.
    pub fn signed_at(&self, name: &NameBuf) -> Option<Owner<'_>> {
        match self.lookup(name) {
            Lookup::Owner(owner) | Lookup::Delegated { at: Some(owner), .. } => Some(owner),
            Lookup::Missing { wildcard, .. } => wildcard,
            Lookup::Delegated { at: None, .. } | Lookup::Redirected { .. } => None,
        }
    }

    /// What has the last NSEC that does not come behind a name, in canonical order: the name's own, or that around it.
    pub fn nsec_around(&self, proofs: &Proofs, name: &NameBuf) -> Option<Owner<'_>> {
        let depth = self.depth(name);
        let comes = |at: &u32| order(self.names.key(*at as usize * 8), name, depth) != Ordering::Greater;
        let behind = proofs.names.partition_point(comes);
        // The apex comes first.
        self.stands_at(proofs.names.get(behind.checked_sub(1)?).map(|at| *at as usize * 8))
    }

    /// What has the last NSEC3 that does not come behind a hash, and whether it is of that hash; before the first comes the last.
    pub fn nsec3_around(&self, hashes: &Hashes, hash: NameHash) -> Option<(Owner<'_>, bool)> {
        let behind = hashes.ring.partition_point(|(other, _)| *other <= hash);
        let (found, at) = behind.checked_sub(1).map_or(hashes.ring.last(), |at| hashes.ring.get(at))?;
        Some((self.stands_at(Some(*at as usize * 8))?, *found == hash))
    }
}

impl<'z> Owner<'z> {
    /// Labels before the apex, in lower-case wire form without root label.
    pub fn key(&self) -> &'z [u8] {
        self.zone.names.key(self.found.at)
    }

    /// RDATA of each RRSIG here that covers a type.
    pub fn signatures(&self, rtype: u16) -> impl Iterator<Item = &'z [u8]> + use<'z> {
        let all = self.set(rtype::RRSIG).into_iter().flat_map(|set| set.records());
        // RFC 4034 §3.1.1.
        all.map(|record| record.data).filter(move |data| data.starts_with(&rtype.to_be_bytes()))
    }
}

/// A key against a name that has so many labels before the apex, in canonical order.
fn order(key: &[u8], name: &NameBuf, depth: usize) -> Ordering {
    // A name has 127 labels at most.
    let (mut starts, mut count, mut at) = ([0_u8; 128], 0, 0);
    while let (Some(length), Some(start)) = (key.get(at), starts.get_mut(count)) {
        (*start, count) = (at as u8, count + 1);
        at += 1 + usize::from(*length);
    }
    let label = |n: usize| {
        let (length, rest) = key.get(starts[n].into()..)?.split_first()?;
        rest.get(..(*length).into())
    };
    for back in 1.. {
        let order = match (count.checked_sub(back), depth.checked_sub(back)) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(mine), Some(its)) => label(mine).unwrap_or_default().cmp(name.label(its)),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Octets that are in the order in which keys are canonically: label by label from the right, each ended by what is less than any octet.
fn sortable(key: &[u8]) -> Vec<u8> {
    let (mut labels, mut rest) = (Vec::new(), key);
    while let Some((label, behind)) = rest.split_first().and_then(|(length, rest)| rest.split_at_checked((*length).into())) {
        labels.push(label);
        rest = behind;
    }
    let mut octets = Vec::with_capacity(key.len() + 1);
    for label in labels.iter().rev() {
        for &octet in *label {
            match octet {
                0 | 1 => octets.extend([1, octet + 1]),
                other => octets.push(other),
            }
        }
        octets.push(0);
    }
    octets
}

/// Proofs as they are gathered, name by name.
#[derive(Default)]
pub(super) struct Gathering<'k> {
    names: Vec<(&'k Key, u32)>,
    hashes: Vec<(NameHash, u32, RrSet<'k>)>,
    expires: Option<u32>,
}

impl<'k> Gathering<'k> {
    /// Takes what stands at a key, which begins there among the names.
    pub fn take(&mut self, key: &'k Key, sets: impl Iterator<Item = RrSet<'k>>, at: usize) {
        for set in sets {
            let place = (at / 8) as u32;
            match set.rtype() {
                rtype::NSEC => self.names.push((key, place)),
                rtype::NSEC3 => {
                    let hash = key.split_first().and_then(|(length, rest)| NameHash::of_label(rest.get(..(*length).into())?));
                    self.hashes.extend(hash.map(|hash| (hash, place, set)));
                }
                rtype::RRSIG => {
                    let expire = |data: &[u8]| data.get(8..)?.first_chunk().map(|time| u32::from_be_bytes(*time));
                    self.expires = set.records().filter_map(|record| expire(record.data)).chain(self.expires).min();
                }
                _ => {}
            }
        }
    }

    /// All of them; `None`: no primary has signed the zone.
    pub fn finish(mut self, draft: &Draft<'_>) -> Result<Option<Proofs>, ZoneError> {
        let Some(expires) = self.expires.filter(|_| draft.zone.is_signed_elsewhere()) else { return Ok(None) };
        self.names.sort_by_cached_key(|(key, _)| sortable(key));
        let names = self.names.iter().map(|(_, at)| *at).collect();
        Ok(Some(Proofs { names, hashes: hashes(draft, &self.hashes)?, expires }))
    }
}

/// The NSEC3 whose parameters stand at the apex: all of them are there (RFC 5155 §4, §10.4).
fn hashes(draft: &Draft<'_>, all: &[(NameHash, u32, RrSet<'_>)]) -> Result<Option<Hashes>, ZoneError> {
    let Some(known) = draft.owners.get(&[][..]).and_then(|apex| apex.set(rtype::NSEC3PARAM)) else { return Ok(None) };
    for record in known.records() {
        let Some((flags, iterations, salt)) = parameters(record.data) else { continue };
        // §4.1.2: with other flags than these they are not to be used.
        if flags != 0 {
            continue;
        }
        let same = |set: &RrSet<'_>| {
            set.records().any(|record| parameters(record.data).is_some_and(|(_, other, of)| (other, of) == (iterations, salt)))
        };
        let mut ring: Vec<(NameHash, u32)> = all.iter().filter(|(.., set)| same(set)).map(|(hash, at, _)| (*hash, *at)).collect();
        if ring.is_empty() {
            continue;
        }
        if iterated(iterations, salt.len()) > MOST_ITERATED {
            let reason = format!(
                "{iterations} further iterations of NSEC3 take too long: at most {MOST_ITERATED} blocks are hashed (RFC 9276 §3.1)"
            );
            return Err(draft.error(&draft.zone.apex, reason));
        }
        ring.sort_unstable();
        return Ok(Some(Hashes { iterations, salt: salt.into(), ring: ring.into() }));
    }
    Ok(None)
}

/// Flags, iterations and salt of what is hashed by SHA-1 (RFC 5155 §3.2, §4.2).
fn parameters(data: &[u8]) -> Option<(u8, u16, &[u8])> {
    let [1, flags, i0, i1, length, rest @ ..] = data else { return None };
    Some((*flags, u16::from_be_bytes([*i0, *i1]), rest.get(..(*length).into())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_canonical_order() {
        // RFC 4034 §6.1, and labels that are beginnings of others, or hold octets that end nothing.
        let names: [&[u8]; 11] = [
            b"",
            b"\x01a",
            b"\x08yljkjljk\x01a",
            b"\x01z\x01a",
            b"\x04zabc\x01a",
            b"\x02a\x00",
            b"\x02aa",
            b"\x01z",
            b"\x01\x01\x01z",
            b"\x01*\x01z",
            b"\x01\xc8\x01z",
        ];
        for (a, one) in names.iter().enumerate() {
            for (b, other) in names.iter().enumerate() {
                let name = NameBuf::from_wire(&[*other, b"\x07example\0"].concat()).unwrap();
                assert_eq!(order(one, &name, name.labels() - 1), a.cmp(&b), "{one:?} {other:?}");
                assert_eq!(sortable(one).cmp(&sortable(other)), a.cmp(&b), "{one:?} {other:?}");
            }
        }
    }
}
