//! Signatures in replies (RFC 4035 §3.1): after each RRset that stands whole in a reply, where the query has DO and its zone is signed.
//!
//! An RRset is told by the hash of what its signature depends on, computed from what was written. Where there is no signature of it yet, the
//! RRset is noted in canonical form, the reply goes on, and in the end it is the slow path's: it signs and answers again. Those of a zone that
//! its primary has signed stand in the zone: `copied`.

use std::cell::RefCell;

use super::copied::{self, Told};
use super::names::{Meaning, resolve};
use super::reply::{Here, Reply};
use crate::codec::code::rtype;
use crate::codec::{Full, MAX_NAME, NameBuf, Rest, Spelling, Writer};
use crate::model::{Counter, Counters, Name, Timestamp};
use crate::snapshot::{CompiledZone, Lookup, Missing, RrSet, SetKey, Shelf, Signer, Snapshot, Unsigned};

/// What the signatures of a reply are taken from.
#[derive(Debug)]
pub(super) struct Signing<'m> {
    pub snapshot: &'m Snapshot,
    pub qtype: u16,
    /// The query has DO. Else it asks for NSEC or RRSIG themselves.
    pub dnssec_ok: bool,
    /// The query has CO (RFC 9824 §5.1).
    pub compact_ok: bool,
    pub now: Timestamp,
    /// Where RRsets are noted that have no signature, when a query is answered again.
    pub notes: Option<&'m RefCell<Vec<Missing>>>,
    pub counters: &'m Counters,
    /// What is known of the reply, as far as it is from zones that their primaries signed.
    pub told: Told,
}

/// The owner of an RRset: as it is signed, and as the reply spells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'n> {
    pub wire: &'n [u8],
    pub spelling: Spelling<'n>,
    /// The name that has it there, by which it is kept: what proves something of a name may stand elsewhere.
    pub of: &'n [u8],
}

impl<'n> Owner<'n> {
    /// The name that is being answered, from label `index` on.
    pub fn at(here: &Here<'n>, index: usize) -> Owner<'n> {
        let wire = &here.name.wire()[here.name.start(index)..];
        Owner { wire, spelling: here.from(index), of: wire }
    }
}

/// An RRset in a reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Covered<'n> {
    pub owner: Owner<'n>,
    pub rtype: u16,
    /// As answered, which the RRSIG has as well (RFC 4034 §3), in seconds.
    pub ttl: u32,
    /// As signed, of which that as answered is never more.
    pub original: u32,
}

/// The TTL under which an RRset is signed that has a TTL of its own and is answered with `ttl`. One of a policy has none: it is signed under
/// the longest that it can have.
pub(super) fn original(zone: &CompiledZone, own: u32, ttl: u32) -> u32 {
    if own == 0 { zone.ttl().max.max(ttl) } else { own }
}

/// Signs a static RRset that was just written.
#[inline(never)]
pub(super) fn set(
    zone: &CompiledZone,
    set: RrSet<'_>,
    ttl: u32,
    here: &Here<'_>,
    index: usize,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let covered = Covered { owner: Owner::at(here, index), rtype: set.rtype(), ttl, original: original(zone, set.ttl(), ttl) };
    set_of(zone, set, covered, reply)
}

/// Signs a static RRset that was just written, under that TTL.
pub(super) fn set_of(zone: &CompiledZone, set: RrSet<'_>, covered: Covered<'_>, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    let (signing, epoch) = match reply.signing(zone) {
        Some((signing, Signer::Here(epoch, _))) => (signing, epoch),
        Some((_, Signer::Primary(_))) => return copied::sign(zone, &covered, reply),
        None => return Ok(()),
    };
    let mut hash = signing.snapshot.signatures().hash(epoch, zone.apex().len(), covered.owner.wire, covered.rtype, covered.original);
    set.records().for_each(|record| hash.add(record.data));
    let key = hash.key();
    write(signing, &covered, key, reply).unwrap_or_else(|| {
        let mut room = [0; 2 * MAX_NAME];
        let mut long = Vec::new();
        let data = set.records().filter_map(|record| {
            let room = match record.data.len() <= MAX_NAME {
                true => &mut room[..],
                false => {
                    long.resize(record.data.len() + 2 * MAX_NAME, 0);
                    &mut long
                }
            };
            let mut writer = Writer::new(room);
            record.write(&mut writer, Rest::Spelled(zone.apex())).ok()?;
            Some(Box::from(writer.written(0)))
        });
        note(signing, zone, &covered, key, data, &mut reply.unsigned);
        keep_room(zone, &covered, reply)
    })
}

/// Signs the `count` records from `start` on, which were just written: all of one RRset, whose data holds no compressed name.
#[inline(never)]
pub(super) fn written(zone: &CompiledZone, covered: &Covered<'_>, start: usize, count: u16, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    match reply.signing(zone) {
        Some((signing, Signer::Here(epoch, _))) => written_by(signing, epoch, zone, covered, start, count, reply),
        Some((_, Signer::Primary(_))) => copied::sign(zone, covered, reply),
        None => Ok(()),
    }
}

/// The same, whether the query has DO or not.
pub(super) fn written_by(
    signing: &Signing<'_>,
    epoch: u64,
    zone: &CompiledZone,
    covered: &Covered<'_>,
    start: usize,
    count: u16,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let mut hash = signing.snapshot.signatures().hash(epoch, zone.apex().len(), covered.owner.wire, covered.rtype, covered.original);
    data_of(reply.written(start), covered.owner.spelling, count).for_each(|data| hash.add(data));
    let key = hash.key();
    write(signing, covered, key, reply).unwrap_or_else(|| {
        let (mut unsigned, spelling) = (reply.unsigned, covered.owner.spelling);
        note(signing, zone, covered, key, data_of(reply.written(start), spelling, count).map(Box::from), &mut unsigned);
        reply.unsigned = unsigned;
        keep_room(zone, covered, reply)
    })
}

/// Writes the RRSIGs of an RRset; `None`: there are none.
#[inline]
fn write(signing: &Signing<'_>, covered: &Covered<'_>, key: SetKey, reply: &mut Reply<'_, '_>) -> Option<Result<(), Full>> {
    signing.snapshot.signatures().find(key, signing.now, |signed| {
        if signing.notes.is_none() {
            signing.counters.count(Counter::SignatureFound);
        }
        reply.whole(|reply| {
            let Covered { owner, ttl, .. } = covered;
            signed.rdata().try_for_each(|rdata| reply.record(owner.spelling, rtype::RRSIG, *ttl, |writer| writer.put(rdata)))
        })
    })
}

/// Notes an RRset that has no signature.
#[cold]
fn note(
    signing: &Signing<'_>,
    zone: &CompiledZone,
    covered: &Covered<'_>,
    key: SetKey,
    data: impl Iterator<Item = Box<[u8]>>,
    unsigned: &mut Option<Shelf>,
) {
    let shelf = shelf_of(signing.snapshot, zone, covered.owner.of);
    *unsigned = (*unsigned).max(Some(shelf));
    if signing.notes.is_none() {
        signing.counters.count(Counter::SignatureMissing);
    }
    if let Some(notes) = signing.notes {
        // RFC 4034 §6.2: names in lower case and uncompressed; the owner is the one that was asked for, wildcard or not (RFC 9824 §3.3).
        let (apex, owner) = (Name::from_wire(zone.apex()), Name::from_wire(covered.owner.wire));
        let set = Unsigned::new(apex, owner, covered.rtype, covered.original, data.collect());
        notes.borrow_mut().push(Missing { key, shelf, set });
    }
}

/// Octets of an RRSIG's data beside the name of the signer: fixed fields (RFC 4034 §3.1), and a signature of either algorithm that there is
/// (RFC 6605 §4, RFC 8080 §4).
const RRSIG: usize = 18 + 64;

/// Writes what takes as much room as the signature will, so that what comes behind it fits as it will. Nobody gets to see it.
#[cold]
fn keep_room(zone: &CompiledZone, covered: &Covered<'_>, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    let room = [0; RRSIG + MAX_NAME];
    reply.record(covered.owner.spelling, rtype::RRSIG, covered.ttl, |writer| writer.put(&room[..RRSIG + zone.apex().len()]))
}

/// Most labels before the apex in the name of a service that everybody knows: `_port._proto.web`, `blue.tag.web`.
const KNOWN_LABELS: usize = 3;

/// Where the signature of an RRset of that owner belongs.
fn shelf_of(snapshot: &Snapshot, zone: &CompiledZone, owner: &[u8]) -> Shelf {
    let Some(name) = NameBuf::from_wire(owner) else { return Shelf::Asked };
    let known = match resolve(snapshot, zone, &name) {
        Meaning::Owner(_) => matches!(zone.lookup(&name), Lookup::Owner(_)),
        Meaning::Service(_) | Meaning::Empty => zone.depth(&name) <= KNOWN_LABELS || matches!(zone.lookup(&name), Lookup::Owner(_)),
        Meaning::Instance(_) | Meaning::Delegated { .. } => true,
        Meaning::Redirected { .. } | Meaning::Missing => false,
    };
    if known { Shelf::Zone } else { Shelf::Asked }
}

/// The data of records that were written under an owner.
fn data_of<'w>(written: &'w [u8], owner: Spelling<'_>, count: u16) -> impl Iterator<Item = &'w [u8]> + use<'w> {
    let name = owner.labels.len()
        + match owner.rest {
            Rest::At(_) => 2,
            Rest::Spelled(labels) => labels.len(),
        };
    let mut rest = written;
    (0..count).map_while(move |_| {
        let fixed = rest.get(name..)?;
        let length = usize::from(u16::from_be_bytes(*fixed.get(8..)?.first_chunk()?));
        let (data, behind) = fixed.get(10..)?.split_at_checked(length)?;
        rest = behind;
        Some(data)
    })
}
