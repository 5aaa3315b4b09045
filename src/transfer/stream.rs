//! The messages of a transfer, one after another: each filled with as many records as fit (RFC 5936 §2.2), of one version from first to last.

use std::collections::VecDeque;
use std::sync::Arc;

use super::content::{Record, Records, Version, Walk};
use super::journal::{Difference, Journal};
use super::packer::Packer;
use super::request::{Asked, Extent};
use super::serials::is_newer;
use crate::codec::HEADER;
use crate::tsig::Signer;

/// Why a transfer ends before its end: what was sent of it is no zone, and its client sees that no SOA ends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A record that no message holds.
    #[error("a record of type {rtype} does not fit in a message")]
    Record {
        /// Its type.
        rtype: u16,
    },
}

/// A part of a transfer.
#[derive(Debug)]
enum Part {
    Records(Arc<Records>),
    Statics(Walk),
}

/// A transfer under way. It holds what it sends, whatever becomes of the zone meanwhile, and one message of memory.
#[derive(Debug)]
pub struct Stream {
    asked: Asked,
    signer: Option<Signer>,
    packer: Packer,
    parts: VecDeque<Part>,
    /// Records that are at hand, and the next of them.
    held: Arc<Records>,
    at: usize,
    walk: Option<Walk>,
    /// Octets of a message.
    limit: usize,
    first: bool,
    over: bool,
}

impl Stream {
    /// The reply to a request, over a stream.
    pub fn new(asked: Asked, version: &Version, journal: &Journal, signer: Option<Signer>) -> Stream {
        let parts = match asked.extent {
            Extent::Whole => whole(version),
            Extent::Since(serial) => since(serial, version, journal),
        };
        Stream::of(asked, parts, signer, 65_535)
    }

    /// The reply to a request that came as a datagram: IXFR, where it fits in one; else the SOA alone, so that its client asks again over a
    /// stream (RFC 1995 §2). `payload`: the largest datagram that is sent, in octets.
    pub fn datagram(
        asked: &Asked,
        version: &Version,
        journal: &Journal,
        signer: Option<&Signer>,
        payload: u16,
        now: u64,
    ) -> Option<Vec<u8>> {
        let limit = usize::from(payload.min(asked.payload));
        let only = |parts: VecDeque<Part>| {
            let mut stream = Stream::of(asked.clone(), parts, signer.cloned(), limit);
            let message = stream.next(now)?.ok()?;
            stream.is_over().then_some(message)
        };
        let parts = match asked.extent {
            Extent::Whole => VecDeque::new(),
            // A zone as a whole is for streams.
            Extent::Since(serial) if !is_newer(version.serial(), serial) => soa(version),
            Extent::Since(serial) => journal.since(serial).map(|differences| changes(version, differences)).unwrap_or_default(),
        };
        (!parts.is_empty()).then(|| only(parts)).flatten().or_else(|| only(soa(version)))
    }

    fn of(asked: Asked, parts: VecDeque<Part>, signer: Option<Signer>, limit: usize) -> Stream {
        let room = signer.as_ref().map_or(0, Signer::room) + asked.opt.len();
        Stream {
            asked,
            signer,
            packer: Packer::new(),
            parts,
            held: Arc::default(),
            at: 0,
            walk: None,
            limit: limit.saturating_sub(room),
            first: true,
            over: false,
        }
    }

    /// Whether the last message was made.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The next message, signed at the time `now` in seconds since the Unix epoch; `None` behind the last.
    pub fn next(&mut self, now: u64) -> Option<Result<Vec<u8>, StreamError>> {
        if self.over {
            return None;
        }
        // RFC 5936 §2.2.1: the question stands in the first message.
        let mut opening = std::mem::take(&mut self.asked.opening);
        if !self.first {
            opening.truncate(HEADER);
            opening[4..6].fill(0);
        }
        self.packer.begin(&opening, self.limit);
        (self.asked.opening, self.first) = (opening, false);
        let mut refused = None;
        while let Some((record, next)) = refill(&mut self.held, &mut self.at, &mut self.walk, &mut self.parts) {
            if self.packer.add(record).is_err() {
                refused = Some(record.rtype);
                break;
            }
            self.at = next;
        }
        self.over = refused.is_none();
        if let Some(rtype) = refused.filter(|_| self.packer.is_empty()) {
            self.over = true;
            return Some(Err(StreamError::Record { rtype }));
        }
        let mut message = self.packer.finish();
        message.extend_from_slice(&self.asked.opt);
        if let Some(signer) = &mut self.signer
            && signer.sign(&mut message, now).is_err()
        {
            // Cannot happen: room was kept.
            self.over = true;
            return None;
        }
        Some(Ok(message))
    }
}

/// The next record, and where the one behind it begins.
fn refill<'r>(
    held: &'r mut Arc<Records>,
    at: &mut usize,
    walk: &mut Option<Walk>,
    parts: &mut VecDeque<Part>,
) -> Option<(Record<'r>, usize)> {
    while held.at(*at).is_none() {
        *at = 0;
        if let Some(under_way) = walk {
            let mut records = Arc::unwrap_or_clone(std::mem::take(held));
            records.clear();
            if !under_way.take(&mut records) {
                *walk = None;
            }
            *held = Arc::new(records);
            continue;
        }
        match parts.pop_front()? {
            Part::Records(records) => *held = records,
            Part::Statics(statics) => (*walk, *held) = (Some(statics), Arc::default()),
        }
    }
    held.at(*at)
}

/// RFC 5936 §2.2: the SOA stands first and last.
fn whole(version: &Version) -> VecDeque<Part> {
    let soa = || Part::Records(version.soa().clone());
    [soa(), Part::Statics(Walk::new(version.zone().clone())), Part::Records(version.rendered().clone()), soa()].into()
}

fn soa(version: &Version) -> VecDeque<Part> {
    [Part::Records(version.soa().clone())].into()
}

fn since(serial: u32, version: &Version, journal: &Journal) -> VecDeque<Part> {
    // RFC 1995 §2: who has the latest version gets its SOA alone. Who has a later one is not brought back.
    if serial == version.serial() || is_newer(serial, version.serial()) {
        return soa(version);
    }
    match journal.since(serial) {
        Some(differences) => changes(version, differences),
        None => whole(version),
    }
}

/// RFC 1995 §4: the new SOA, then version by version what is gone behind the SOA before, and what is new behind the SOA from then on, and the
/// new SOA again.
fn changes(version: &Version, differences: Vec<Arc<Difference>>) -> VecDeque<Part> {
    let mut parts = soa(version);
    for difference in differences {
        let Difference { from, removed, to, added } = &*difference;
        parts.extend([from, removed, to, added].map(|records| Part::Records(records.clone())));
    }
    parts.push_back(Part::Records(version.soa().clone()));
    parts
}
