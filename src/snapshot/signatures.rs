//! Signatures that were made, found by every query without a lock, and bounded whatever is asked.
//!
//! ```text
//!   find(key)    a query: the RRset that it was answered is told by a hash of all that its signature depends on
//!     │ none: the slow path signs
//!   put(missing, signatures)
//!     │ its shelf is full: what was not asked for again goes first
//!   due(now)     the signer, behind everything: what grows old is signed anew where it is asked for, and dropped where it is not
//! ```
//! Two shelves, so that a flood of names that nobody has cannot displace what a zone holds: see [`Shelf`].

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use papaya::HashMap;

use super::Unsigned;
use crate::model::Timestamp;

/// Most signed RRsets of what zones hold. One takes about half a kilobyte.
const MOST_OF_ZONES: usize = 131_072;
/// Most signed RRsets that owe their name to whoever asked.
const MOST_ASKED: usize = 16_384;
/// Signatures that may be made in [`WINDOW_MS`] for names that nobody has: about a sixth of a core.
const ASKED_PER_WINDOW: u64 = 64;
const WINDOW_MS: u64 = 10;

/// Where a signature is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// What zones and services hold: as many as there are names, types and subsets of instances.
    Zone,
    /// What owes its name to whoever asked: denials of names that do not exist, names that a wildcard makes, labels stacked without need. As
    /// many as somebody cares to make up.
    Asked,
}

/// Signatures by the RRset that they cover. The same in every snapshot.
pub struct Signatures {
    secret: OnceLock<Secret>,
    zone: Kept,
    asked: Kept,
    /// The window, and how many signatures were admitted in it.
    admitted: AtomicU64,
    made: AtomicU64,
}

/// What tells an RRset from all others: a hash under a secret of its zone's epoch, owner, type, original TTL and set of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetKey(u128);

/// The hash of an RRset under way.
#[derive(Debug, Clone, Copy)]
pub struct SetHash<'s> {
    secret: &'s Secret,
    sum: u128,
}

/// An RRset whose signature was looked for and not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its key.
    pub key: SetKey,
    /// Where its signature belongs.
    pub shelf: Shelf,
    /// What to sign.
    pub set: Unsigned,
}

/// A query that needed a signature: asked again after the world changed, it tells what will be needed next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The message.
    pub query: Vec<u8>,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Whether it came over a stream, so that more of its answer fits.
    pub stream: bool,
    /// What it drew.
    pub draw: u64,
}

/// The signatures of an RRset.
#[derive(Debug)]
pub struct Signed {
    set: Unsigned,
    /// RDATA of each RRSIG behind its length.
    octets: Box<[u8]>,
    refresh: Timestamp,
    expires: Timestamp,
    sample: Option<Arc<Sample>>,
    /// How often it was found since the shelf was last swept, up to [`OFTEN`]. Once is who had it made.
    used: AtomicU8,
}

/// Found by more than the one who had it made.
const OFTEN: u8 = 2;

impl Signed {
    /// RDATA of each RRSIG.
    #[inline]
    pub fn rdata(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.octets;
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let (rdata, behind) = behind.split_at_checked(u16::from_be_bytes(*length).into())?;
            rest = behind;
            Some(rdata)
        })
    }

    /// Not written where nothing changes: many readers share the line.
    #[inline]
    fn touch(&self) {
        let used = self.used.load(Ordering::Relaxed);
        if used < OFTEN {
            self.used.store(used + 1, Ordering::Relaxed);
        }
    }
}

/// One shelf.
struct Kept {
    map: HashMap<SetKey, Signed, Trusted>,
    most: usize,
    sweeping: AtomicBool,
}

impl Kept {
    fn new(most: usize) -> Kept {
        Kept { map: HashMap::with_hasher(Trusted), most, sweeping: AtomicBool::new(false) }
    }

    /// Drops what was not asked for since it was last swept; where that is not enough, an eighth of the rest.
    fn sweep(&self) {
        if self.sweeping.swap(true, Ordering::Acquire) {
            return;
        }
        let map = self.map.pin();
        map.retain(|_, signed| signed.used.swap(1, Ordering::Relaxed) >= OFTEN);
        let over = map.len().saturating_sub(self.most - self.most / 8);
        map.keys().take(over).for_each(|key| _ = map.remove(key));
        self.sweeping.store(false, Ordering::Release);
    }
}

impl Default for Signatures {
    fn default() -> Signatures {
        Signatures::bounded(MOST_OF_ZONES, MOST_ASKED)
    }
}

impl Signatures {
    /// None yet, and never more than so many of each shelf.
    pub fn bounded(most_of_zones: usize, most_asked: usize) -> Signatures {
        let (secret, zone, asked) = (OnceLock::new(), Kept::new(most_of_zones), Kept::new(most_asked));
        Signatures { secret, zone, asked, admitted: AtomicU64::new(0), made: AtomicU64::new(0) }
    }

    /// Makes keys follow from what nobody else knows, so that nobody can make two RRsets of one key. Heard once, before the first query.
    pub fn seed(&self, random: [u8; 32]) {
        _ = self.secret.set(Secret(std::array::from_fn(|n| {
            random.iter().skip(8 * n).take(8).fold(0, |word, octet| word << 8 | u64::from(*octet)) | 1
        })));
    }

    /// Begins the key of an RRset: the epoch of its zone's keys, how many octets of the owner are the apex, the owner in lower case, the
    /// type, and the original TTL.
    #[inline]
    pub fn hash(&self, epoch: u64, apex: usize, owner: &[u8], rtype: u16, ttl: u32) -> SetHash<'_> {
        let secret = self.secret.get_or_init(Secret::known);
        let fixed = u64::from(ttl) << 32 | (apex as u64) << 16 | u64::from(rtype);
        SetHash { secret, sum: secret.hash(epoch, fixed, owner) }
    }

    /// Calls `read` with the signatures of an RRset, if there are any that are valid at `now`.
    #[inline]
    pub fn find<R>(&self, key: SetKey, now: Timestamp, read: impl FnOnce(&Signed) -> R) -> Option<R> {
        let map = self.zone.map.pin();
        if let Some(signed) = map.get(&key).filter(|signed| now < signed.expires) {
            signed.touch();
            return Some(read(signed));
        }
        drop(map);
        let map = self.asked.map.pin();
        let signed = map.get(&key).filter(|signed| now < signed.expires)?;
        signed.touch();
        Some(read(signed))
    }

    /// Whether a signature may be made at that time for a name that whoever asks made up. At most so many in a time, lest the
    /// flood take all there is of the signer.
    pub fn admits(&self, shelf: Shelf, now: Timestamp) -> bool {
        if shelf == Shelf::Zone {
            return true;
        }
        let window = now.0 / WINDOW_MS;
        let take = |admitted: u64| match admitted >> 16 == window & (u64::MAX >> 16) {
            false => Some(window << 16 | 1),
            true => (admitted & 0xffff < ASKED_PER_WINDOW).then_some(admitted + 1),
        };
        self.admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Keeps the signatures of an RRset, as RDATA of RRSIGs: they are made again from `refresh` on, which whoever signs spreads, and worth
    /// nothing from `expires` on.
    pub fn put<'r>(
        &self,
        missing: Missing,
        rdata: impl Iterator<Item = &'r [u8]>,
        (refresh, expires): (Timestamp, Timestamp),
        sample: Option<Arc<Sample>>,
    ) {
        let Missing { key, shelf, set } = missing;
        let octets = rdata.flat_map(|rdata| (rdata.len() as u16).to_be_bytes().into_iter().chain(rdata.iter().copied())).collect();
        let kept = self.kept(shelf);
        if kept.map.len() >= kept.most {
            kept.sweep();
        }
        kept.map.pin().insert(key, Signed { set, octets, refresh, expires, sample, used: AtomicU8::new(0) });
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// What is to be signed anew at `now`, at most so many: what grows old and was asked for. What was not is dropped.
    pub fn due(&self, now: Timestamp, most: usize) -> Vec<(Missing, Option<Arc<Sample>>)> {
        let mut due = Vec::new();
        for shelf in [Shelf::Zone, Shelf::Asked] {
            let map = self.kept(shelf).map.pin();
            for (key, signed) in map.iter().filter(|(_, signed)| signed.refresh <= now) {
                if shelf == Shelf::Asked || signed.used.load(Ordering::Relaxed) < OFTEN {
                    map.remove(key);
                } else if due.len() < most {
                    due.push((Missing { key: *key, shelf, set: signed.set.clone() }, signed.sample.clone()));
                }
            }
        }
        due
    }

    /// Queries that needed what is in use now, each once and at most so many.
    pub fn samples(&self, most: usize) -> Vec<Arc<Sample>> {
        let mut seen = BTreeSet::new();
        let map = self.zone.map.pin();
        let used = map.values().filter(|signed| signed.used.load(Ordering::Relaxed) > 0);
        used.filter_map(|signed| signed.sample.clone()).filter(|sample| seen.insert(Arc::as_ptr(sample) as usize)).take(most).collect()
    }

    /// How many signed RRsets there are on a shelf.
    pub fn len(&self, shelf: Shelf) -> usize {
        self.kept(shelf).map.len()
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.zone.map.is_empty() && self.asked.map.is_empty()
    }

    /// How many RRsets were signed.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    fn kept(&self, shelf: Shelf) -> &Kept {
        match shelf {
            Shelf::Zone => &self.zone,
            Shelf::Asked => &self.asked,
        }
    }
}

impl std::fmt::Debug for Signatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signatures").field("zone", &self.zone.map.len()).field("asked", &self.asked.map.len()).finish()
    }
}

impl SetHash<'_> {
    /// Adds the data of a record, in whatever order: the RRset is a set.
    #[inline]
    pub fn add(&mut self, data: &[u8]) {
        self.sum = self.sum.wrapping_add(self.secret.hash(!0, data.len() as u64, data));
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> SetKey {
        SetKey(self.sum)
    }
}

/// What keys follow from, all of it odd.
#[derive(Debug)]
struct Secret([u64; 4]);

impl Secret {
    /// For tests, and wherever nobody asks from outside: the digits of pi.
    fn known() -> Secret {
        Secret([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89])
    }

    /// Two products per 16 octets, each of both words under secrets of their own: 128 bits, of which nobody can make two alike who does not
    /// know the secret.
    #[inline]
    fn hash(&self, first: u64, second: u64, octets: &[u8]) -> u128 {
        let [k0, k1, k2, k3] = self.0;
        let (mut a, mut b) = (fold(first ^ k0, second ^ k1), fold(first ^ k2, second.rotate_left(32) ^ k3));
        let (pieces, rest) = octets.as_chunks::<16>();
        for piece in pieces {
            (a, b) = self.mix(a, b, piece);
        }
        if !rest.is_empty() {
            let mut piece = [0; 16];
            piece[..rest.len()].copy_from_slice(rest);
            (a, b) = self.mix(a ^ rest.len() as u64, b, &piece);
        }
        u128::from(fold(a ^ k2, b ^ k1)) << 64 | u128::from(fold(b ^ k0, a.rotate_left(29) ^ k3))
    }

    #[inline(always)]
    fn mix(&self, a: u64, b: u64, piece: &[u8; 16]) -> (u64, u64) {
        let [k0, k1, k2, k3] = self.0;
        let word = u128::from_le_bytes(*piece);
        let (x, y) = (word as u64, (word >> 64) as u64);
        (fold(x ^ a ^ k1, y ^ k2), fold(x ^ k3, y ^ b ^ k0))
    }
}

/// The two halves of a product, folded into one.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Keys are hashes already.
#[derive(Debug, Clone, Copy, Default)]
struct Trusted;

impl BuildHasher for Trusted {
    type Hasher = Low;

    fn build_hasher(&self) -> Low {
        Low(0)
    }
}

struct Low(u64);

impl Hasher for Low {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        octets.iter().for_each(|octet| self.0 = self.0.rotate_left(8) ^ u64::from(*octet));
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::code::rtype;
    use crate::model::Name;

    fn missing(signatures: &Signatures, shelf: Shelf, owner: &str, data: &[&[u8]]) -> Missing {
        let owner = Name::parse(owner).unwrap();
        let mut hash = signatures.hash(7, 9, owner.wire(), rtype::A, 30);
        data.iter().for_each(|data| hash.add(data));
        let set = Unsigned::new(Name::parse("example").unwrap(), owner, rtype::A, 30, data.iter().map(|data| (*data).into()).collect());
        Missing { key: hash.key(), shelf, set }
    }

    fn found(signatures: &Signatures, key: SetKey, now: u64) -> Option<Vec<Vec<u8>>> {
        signatures.find(key, Timestamp(now), |signed| signed.rdata().map(<[u8]>::to_vec).collect())
    }

    const TIMES: (Timestamp, Timestamp) = (Timestamp(1000), Timestamp(1400));

    #[test]
    fn an_rrset_has_one_key_in_whatever_order_it_stands() {
        let signatures = Signatures::default();
        signatures.seed(std::array::from_fn(|n| n as u8 * 7));
        let key = |owner: &str, data: &[&[u8]]| missing(&signatures, Shelf::Zone, owner, data).key;
        let (one, two, three) = (&[192, 0, 2, 1][..], &[192, 0, 2, 2][..], &[192, 0, 2, 3][..]);
        assert_eq!(key("a.example", &[one, two, three]), key("a.example", &[three, one, two]));
        let mut keys = std::collections::HashSet::new();
        let owner = Name::parse("a.example").unwrap();
        for data in [&[][..], &[one], &[two], &[one, two], &[one, three], &[b""], &[b"\0"], &[b"\0\0"], &[&[0; 16]], &[&[0; 17]]] {
            assert!(keys.insert(key("a.example", data)), "{data:?}");
            assert!(keys.insert(key("b.example", data)), "{data:?}");
        }
        for (epoch, apex, rtype, ttl) in [(8, 9, 1, 30), (7, 1, 1, 30), (7, 9, 28, 30), (7, 9, 1, 31)] {
            assert!(keys.insert(signatures.hash(epoch, apex, owner.wire(), rtype, ttl).key()), "{epoch} {apex} {rtype} {ttl}");
        }
        let other = Signatures::default();
        assert!(keys.insert(missing(&other, Shelf::Zone, "a.example", &[one]).key), "another secret, other keys");
    }

    #[test]
    fn signatures_are_found_until_they_expire() {
        let signatures = Signatures::default();
        let set = missing(&signatures, Shelf::Zone, "a.example", &[b"abcd"]);
        assert_eq!(found(&signatures, set.key, 0), None);
        signatures.put(set.clone(), [&b"one"[..], b"another"].into_iter(), TIMES, None);
        assert_eq!(found(&signatures, set.key, 1399), Some(vec![b"one".to_vec(), b"another".to_vec()]));
        assert_eq!(found(&signatures, set.key, 1400), None);
        assert_eq!((signatures.len(Shelf::Zone), signatures.len(Shelf::Asked), signatures.made()), (1, 0, 1));
    }

    #[test]
    fn what_grows_old_is_signed_anew_where_it_is_asked_for() {
        let signatures = Signatures::default();
        let [often, once] = ["a.example", "b.example"].map(|owner| missing(&signatures, Shelf::Zone, owner, &[b"abcd"]));
        let sample = Arc::new(Sample { query: vec![1], peer: ([127, 0, 0, 1], 53).into(), stream: false, draw: 1 });
        for set in [&often, &once] {
            signatures.put(set.clone(), [&b"x"[..]].into_iter(), TIMES, Some(sample.clone()));
            found(&signatures, set.key, 0);
        }
        found(&signatures, often.key, 0);
        assert!(signatures.due(Timestamp(999), 9).is_empty());
        assert_eq!(signatures.samples(9), std::slice::from_ref(&sample));
        assert_eq!(signatures.due(Timestamp(1000), 9), [(often.clone(), Some(sample))]);
        assert_eq!((found(&signatures, often.key, 1000).is_some(), found(&signatures, once.key, 1000)), (true, None));
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_displaces_nothing_that_a_zone_holds() {
        let signatures = Signatures::bounded(64, 32);
        let name = |n: usize| format!("n{n}.example");
        for n in 0..48 {
            let set = missing(&signatures, Shelf::Zone, &name(n), &[b"abcd"]);
            signatures.put(set.clone(), [&b"x"[..]].into_iter(), TIMES, None);
        }
        let again = missing(&signatures, Shelf::Asked, "typo.example", &[b"abcd"]);
        signatures.put(again.clone(), [&b"x"[..]].into_iter(), TIMES, None);
        for n in 0..10_000 {
            (0..2).for_each(|_| _ = found(&signatures, again.key, 0));
            let set = missing(&signatures, Shelf::Asked, &name(1000 + n), &[b"abcd"]);
            signatures.put(set.clone(), [&b"x"[..]].into_iter(), TIMES, None);
            found(&signatures, set.key, 0);
            assert!(signatures.len(Shelf::Asked) <= 33);
        }
        assert!((0..48).all(|n| found(&signatures, missing(&signatures, Shelf::Zone, &name(n), &[b"abcd"]).key, 0).is_some()));
        assert!(found(&signatures, again.key, 0).is_some(), "what is asked for again and again stays");
        // What a zone holds is bounded as well: where all of it is in use, some goes.
        for n in 0..1000 {
            let set = missing(&signatures, Shelf::Zone, &name(n), &[b"abcd"]);
            signatures.put(set.clone(), [&b"x"[..]].into_iter(), TIMES, None);
            (0..3).for_each(|_| _ = found(&signatures, set.key, 0));
            assert!(signatures.len(Shelf::Zone) <= 65);
        }
    }

    #[test]
    fn only_so_many_denials_are_signed_in_a_time() {
        let signatures = Signatures::default();
        let admitted = |at: u64| (0..1000).filter(|_| signatures.admits(Shelf::Asked, Timestamp(at))).count() as u64;
        assert_eq!((admitted(0), admitted(9), admitted(10)), (ASKED_PER_WINDOW, 0, ASKED_PER_WINDOW));
        assert_eq!(admitted(1_800_000_000_000), ASKED_PER_WINDOW);
        assert!(signatures.admits(Shelf::Zone, Timestamp(10)));
    }
}
