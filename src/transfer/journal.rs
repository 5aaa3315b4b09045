//! What became of a zone from version to version, for those who have one of the versions (RFC 1995).
//!
//! It is kept beside the zone, so that a restart costs no secondary a whole transfer. What is kept says which version it leads to, by its SOA and a
//! hash of all records: where the zone is another now, whatever the reason, nothing of it counts.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::content::{Print, Record, Records, Version, Walk, serial_of};

/// Versions back that a secondary is brought forward from.
const MOST_DIFFERENCES: usize = 100;
/// Octets that the differences of a zone take together.
const MOST_OCTETS: usize = 4 << 20;

/// What became of a zone from one version to the next.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The SOA before.
    pub from: Arc<Records>,
    /// What is gone. A record whose TTL is another is gone and added.
    pub removed: Arc<Records>,
    /// The SOA from then on.
    pub to: Arc<Records>,
    /// What is new.
    pub added: Arc<Records>,
}

impl Difference {
    /// Compares two versions, of which `new` is the later one.
    pub fn between(old: &Version, new: &Version) -> Difference {
        let (mut removed, mut added) = (Records::default(), Records::default());
        if !Arc::ptr_eq(old.zone(), new.zone()) {
            statics(old, new, &mut removed, &mut added);
        }
        if !Arc::ptr_eq(old.rendered(), new.rendered()) {
            merge(old.rendered(), new.rendered(), &mut removed, &mut added);
        }
        Difference { from: old.soa().clone(), removed: Arc::new(removed), to: new.soa().clone(), added: Arc::new(added) }
    }

    /// Whether both versions hold the same, their serials aside.
    pub fn is_empty(&self) -> bool {
        let but_serial = |soa: &Records| {
            soa.at(0).map(|(record, _)| {
                let end = record.data.len().saturating_sub(20);
                (record.ttl, record.data.get(..end).map(<[u8]>::to_vec), record.data.get(end + 4..).map(<[u8]>::to_vec))
            })
        };
        self.removed.is_empty() && self.added.is_empty() && but_serial(&self.from) == but_serial(&self.to)
    }

    /// The serials before and from then on.
    pub fn serials(&self) -> (u32, u32) {
        (serial_of(&self.from), serial_of(&self.to))
    }

    /// What tells the later version from others, after that of the one before.
    pub fn print(&self, before: Print) -> Print {
        before.without(self.removed.print()).with(self.added.print())
    }

    fn size(&self) -> usize {
        self.from.size() + self.removed.size() + self.to.size() + self.added.size()
    }
}

/// Compares what stands at each name, in the order that both have.
fn statics(old: &Version, new: &Version, removed: &mut Records, added: &mut Records) {
    let (mut before, mut after) = (Walk::new(old.zone().clone()), Walk::new(new.zone().clone()));
    let same_apex = old.zone().apex() == new.zone().apex();
    let (mut left, mut right) = (Records::default(), Records::default());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, was)), Some((b, is))) => {
                // Sets are encoded alike wherever they lie.
                let same = || was.sets().map(|set| (set.rtype(), set.octets())).eq(is.sets().map(|set| (set.rtype(), set.octets())));
                if a == b && same_apex && same() {
                    before.skip();
                    after.skip();
                    continue;
                }
                a.cmp(b)
            }
        };
        match order {
            Ordering::Less => _ = before.take(removed),
            Ordering::Greater => _ = after.take(added),
            Ordering::Equal => {
                left.clear();
                right.clear();
                before.take(&mut left);
                after.take(&mut right);
                let (was, is): (BTreeSet<Record<'_>>, BTreeSet<Record<'_>>) = (left.iter().collect(), right.iter().collect());
                was.difference(&is).for_each(|record| removed.push(*record));
                is.difference(&was).for_each(|record| added.push(*record));
            }
        }
    }
}

/// Compares two lists that are in order.
fn merge(old: &Records, new: &Records, removed: &mut Records, added: &mut Records) {
    let (mut before, mut after) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.cmp(b),
        };
        if order != Ordering::Greater
            && let Some(record) = before.next()
            && order == Ordering::Less
        {
            removed.push(record);
        }
        if order != Ordering::Less
            && let Some(record) = after.next()
            && order == Ordering::Greater
        {
            added.push(record);
        }
    }
}

/// The latest differences of a zone, of which each begins where the one before ends.
#[derive(Debug, Default, Clone)]
pub struct Journal {
    differences: VecDeque<Arc<Difference>>,
    size: usize,
}

impl Journal {
    /// Adds the latest. One that does not begin where the last one ends leaves nothing of those before.
    pub fn push(&mut self, difference: Difference) {
        if self.differences.back().is_some_and(|last| last.to != difference.from) {
            self.clear();
        }
        self.size += difference.size();
        self.differences.push_back(Arc::new(difference));
        while self.size > MOST_OCTETS || self.differences.len() > MOST_DIFFERENCES {
            let Some(oldest) = self.differences.pop_front() else { break };
            self.size -= oldest.size();
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.differences.clear();
        self.size = 0;
    }

    /// What became of the zone since a serial; `None` where that is not known.
    pub fn since(&self, serial: u32) -> Option<Vec<Arc<Difference>>> {
        let first = self.differences.iter().position(|difference| serial_of(&difference.from) == serial)?;
        Some(self.differences.iter().skip(first).cloned().collect())
    }
}

/// What a kept journal begins with: another version of Signpost may write another.
const MAGIC: &[u8; 8] = b"SPixfr1\n";

impl Journal {
    /// What a file begins with that entries are appended to.
    pub const OPENING: &[u8] = MAGIC;

    /// The latest difference as it is kept, appended to those before; `print` is that of the version that it leads to.
    ///
    /// ```text
    ///   octets of what follows the check, 4 │ check, 8 │ print, 16 │ four times: octets, 4; records
    /// ```
    pub fn entry(&self, print: Print) -> Vec<u8> {
        self.differences.back().map(|latest| entry(latest, print)).unwrap_or_default()
    }

    /// All of it as it is kept; `print` as of [`Journal::entry`].
    pub fn octets(&self, mut print: Print) -> Vec<u8> {
        let mut entries = Vec::new();
        for difference in self.differences.iter().rev() {
            entries.push(entry(difference, print));
            // Back to the version before.
            print = print.without(difference.added.print()).with(difference.removed.print());
        }
        let entries = entries.into_iter().rev().flatten();
        MAGIC.iter().copied().chain(entries).collect()
    }

    /// Reads what was kept, of which the end may be missing, beside the version that there is now. `None`: what was kept leads to another
    /// version, or is none, and whoever has an older one takes the whole zone.
    pub fn restore(mut octets: &[u8], version: &Version, print: Print) -> Option<Journal> {
        octets = octets.strip_prefix(MAGIC)?;
        let (mut journal, mut leads_to) = (Journal::default(), None);
        while let Some((difference, after, behind)) = read(octets) {
            leads_to = Some((difference.to.clone(), after));
            journal.push(difference);
            octets = behind;
        }
        (leads_to? == (version.soa().clone(), print)).then_some(journal)
    }
}

fn entry(difference: &Difference, print: Print) -> Vec<u8> {
    let mut body = print.0.to_be_bytes().to_vec();
    for records in [&difference.from, &difference.removed, &difference.to, &difference.added] {
        body.extend((records.size() as u32).to_be_bytes());
        body.extend_from_slice(records.octets());
    }
    let mut entry = Vec::with_capacity(12 + body.len());
    entry.extend((body.len() as u32).to_be_bytes());
    entry.extend(check(&body).to_be_bytes());
    entry.extend(body);
    entry
}

/// The entry that octets begin with, and what stands behind it; `None`: there is none that is whole.
fn read(octets: &[u8]) -> Option<(Difference, Print, &[u8])> {
    let (length, rest) = octets.split_first_chunk::<4>()?;
    let (checked, rest) = rest.split_first_chunk::<8>()?;
    let (body, behind) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    if u64::from_be_bytes(*checked) != check(body) {
        return None;
    }
    let (print, mut body) = body.split_first_chunk::<16>()?;
    let mut next = || {
        let (length, rest) = body.split_first_chunk::<4>()?;
        let (records, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        body = rest;
        Records::parse(records).map(Arc::new)
    };
    let difference = Difference { from: next()?, removed: next()?, to: next()?, added: next()? };
    Some((difference, Print(u128::from_be_bytes(*print)), behind))
}

fn check(body: &[u8]) -> u64 {
    let mut hash = SipHasher13::new_with_key(b"signpost journal");
    hash.write(body);
    hash.finish()
}
