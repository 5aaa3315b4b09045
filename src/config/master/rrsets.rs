//! The records of a master file become RRsets.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::super::document::Spot;
use super::super::finding::Notes;
use super::super::rdata;
use super::super::zone::{Draft, NS};
use crate::codec::code::rtype::RRSIG;
use crate::model::{Name, RecordSet};

/// Warnings of one zone about its records, beyond which they are only counted.
const MAX_WARNINGS: usize = 1_000;

/// A record, and where it stands.
pub(super) struct Placed {
    pub owner: Name,
    pub number: u16,
    pub data: Box<[u8]>,
    /// `None` where nothing in the file says one.
    pub ttl: Option<u32>,
    pub line: usize,
    /// Where it is not the zone's own file.
    pub file: Option<Arc<str>>,
}

impl Placed {
    fn spot(&self) -> Spot {
        Spot { line: Some(self.line), field: format!("{} {}", self.owner, rdata::type_name(self.number)), file: self.file.clone() }
    }
}

/// Puts all records into the zone. They are sorted and the maps built at once, which for a file in order is a walk through it.
pub(super) fn gather(draft: &mut Draft, mut records: Vec<Placed>, notes: &mut Notes) {
    let mut warnings = Warnings { notes, file: draft.zone.file.clone(), count: 0 };
    records.sort_by(|a, b| (&a.owner, a.number).cmp(&(&b.owner, b.number)));
    // RFC 1035 §3.3.13, §5.1: without any TTL, MINIMUM is it; at most 2^31 − 1 (RFC 2181 §8).
    let default = u32::try_from(draft.zone.ttl.negative.0.as_secs()).unwrap_or(u32::MAX).min(i32::MAX as u32);
    let (mut sets, mut spots) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    let mut records = records.into_iter().peekable();
    while let Some(first) = records.next() {
        let spot = first.spot();
        let mut set = RecordSet { ttl: first.ttl.unwrap_or(default), rdata: vec![first.data] };
        let mut further = Vec::new();
        while let Some(next) = records.next_if(|r| r.number == first.number && r.owner == first.owner) {
            // RFC 2181 §5.2: the records of an RRset have one TTL.
            let ttl = next.ttl.unwrap_or(default);
            // Signatures have that of what they cover (RFC 4034 §3), which they say themselves.
            if ttl != set.ttl && first.number != RRSIG {
                set.ttl = set.ttl.min(ttl);
                warnings.push(&next, || format!("the records of an RRset have one TTL; the least, {}, is answered", set.ttl));
            }
            if is_twice(&set.rdata, &next.data, &mut seen) {
                warnings.push(&next, || "stands twice, and is answered once".into());
            } else {
                further.push(next.spot());
                set.rdata.push(next.data);
            }
        }
        if !further.is_empty() {
            draft.further.insert((first.owner.clone(), first.number), further);
        }
        if first.number == NS && first.owner == draft.zone.apex {
            // The same name in upper and lower case is another record and no other server.
            let mut known = BTreeSet::new();
            let names = set.rdata.iter().map(|data| Name::from_wire(data)).filter(|name| known.insert(name.clone()));
            draft.zone.ns = names.collect();
            (draft.zone.ns_ttl, draft.ns) = (set.ttl, spot);
            continue;
        }
        sets.push(((first.owner.clone(), first.number), set));
        spots.push(((first.owner, first.number), spot));
    }
    warnings.finish();
    draft.zone.records = sets.into_iter().collect();
    draft.records = spots.into_iter().collect();
}

/// Whether an RRset has the record. Most sets are small; for one of thousands, which no reply can hold, `seen` keeps it from comparing
/// all with all.
fn is_twice(rdata: &[Box<[u8]>], data: &[u8], seen: &mut HashSet<Box<[u8]>>) -> bool {
    const SMALL: usize = 32;
    if rdata.len() < SMALL {
        return rdata.iter().any(|other| **other == *data);
    }
    if rdata.len() == SMALL {
        seen.clear();
        seen.extend(rdata.iter().cloned());
    }
    !seen.insert(data.into())
}

struct Warnings<'n> {
    notes: &'n mut Notes,
    file: String,
    count: usize,
}

impl Warnings<'_> {
    fn push(&mut self, record: &Placed, reason: impl FnOnce() -> String) {
        self.count += 1;
        if self.count <= MAX_WARNINGS {
            self.notes.warnings.push(record.spot().finding(&self.file, reason()));
        }
    }

    fn finish(self) {
        if let Some(more) = self.count.checked_sub(MAX_WARNINGS).filter(|more| *more > 0) {
            let reason = format!("{more} more records stand twice or differ in TTL from the others of their RRset");
            self.notes.warnings.push(super::Finding::of_file(self.file, reason));
        }
    }
}
