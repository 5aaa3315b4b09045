//! Static RRsets, referrals and negative answers.

use super::copied;
use super::denial;
use super::linked::joined;
pub(super) use super::reply::Alias;
use super::reply::{Here, Reply, Section};
use super::signed::{self, Covered, Owner};
use crate::codec::code::{rcode, rtype};
use crate::codec::{Full, HEADER, MAX_NAME, NameBuf, Pointer, Rest, Spelling};
use crate::model::{Counter, Denial};
use crate::snapshot::{Beside, CompiledZone, Delegation, FIXED, Led, Lookup, RrSet, Signer};

/// Where the zone's apex begins in a name within it, as the number of a label.
fn apex_of(zone: &CompiledZone, here: &Here<'_>) -> usize {
    zone.depth(here.name)
}

/// Answers with an RRset, and with the addresses of the names in it as far as they fit.
#[inline(always)]
pub(super) fn answer(zone: &CompiledZone, set: &RrSet<'_>, ttl: u32, here: &Here<'_>, reply: &mut Reply<'_, '_>) {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    let mut stands = Stands::default();
    if write_set(zone, set, ttl, here, 0, reply, &mut stands).is_err() {
        return reply.truncate();
    }
    // RFC 4035 §3.1.1: what is answered comes with its signature, or TC is set.
    if reply.is_signing() && signed::set(zone, *set, ttl, here, 0, reply).and_then(|()| expanded(zone, here, reply)).is_err() {
        return reply.truncate();
    }
    if let Some(beside) = set.beside() {
        reply.turn_to(Section::Additional);
        // RFC 2181 §9: what is left out here costs no TC.
        let _ = write_led(zone, set, beside, here, &stands, reply);
    }
}

/// Proves of the last of all answers, and those before it, that wildcards made them rightly.
fn expanded(zone: &CompiledZone, here: &Here<'_>, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    copied::note(zone, here, reply);
    copied::prove_expansions(reply)
}

/// Answers with a CNAME; returns the name that it leads to.
pub(super) fn alias(zone: &CompiledZone, set: &RrSet<'_>, ttl: u32, here: &Here<'_>, reply: &mut Reply<'_, '_>) -> Option<Alias> {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    let written = write_set(zone, set, ttl, here, 0, reply, &mut Stands::default());
    let end = reply.position();
    if written.is_err() || reply.is_signing() && signed::set(zone, *set, ttl, here, 0, reply).is_err() {
        reply.truncate();
        return None;
    }
    if reply.is_signing() {
        copied::note(zone, here, reply);
    }
    let (name, hole) = set.target(zone.apex())?;
    let split = hole.zip(here.pointer(apex_of(zone, here)));
    let length = split.map_or(name.wire().len(), |(at, _)| at + 2);
    Some(Alias { name, base: end - length, split, by: None })
}

/// Answers with a DNAME, whose owner has `depth` labels before the apex, and with the CNAME that it stands for (RFC 6672 §3.1); returns
/// the name that it leads to. A DNAME that is `told` already stands in the answer.
pub(super) fn redirect(
    zone: &CompiledZone,
    redirection: RrSet<'_>,
    depth: usize,
    told: bool,
    here: &Here<'_>,
    reply: &mut Reply<'_, '_>,
) -> Option<Alias> {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    let owner = apex_of(zone, here).saturating_sub(depth);
    if !told && write_signed(zone, &redirection, here, owner, reply).is_err() {
        reply.truncate();
        return None;
    }
    let target = redirection.records().next()?.data;
    let Some(name) = here.name.moved(owner, target) else {
        // RFC 6672 §2.2: there is no such name.
        reply.conclude(rcode::YXDOMAIN, Counter::Answered);
        return None;
    };
    let split = zone.apex_in(&name).zip(here.pointer(apex_of(zone, here)));
    // RFC 6672 §3.1: the TTL is the DNAME's. §5.3.1: nobody signs it, the DNAME proves it.
    let written = reply.record(here.from(0), rtype::CNAME, redirection.ttl(), |writer| match split {
        None => writer.put(name.wire()),
        Some((at, apex)) => {
            writer.put(&name.wire()[..at])?;
            writer.pointer(apex)
        }
    });
    if written.is_err() {
        reply.truncate();
        return None;
    }
    let length = split.map_or(name.wire().len(), |(at, _)| at + 2);
    Some(Alias { name, base: reply.position() - length, split, by: Some(redirection.place()) })
}

/// Refers to the name servers of a zone below (RFC 1034 §4.3.2 step 3b).
pub(super) fn referral(zone: &CompiledZone, delegation: &Delegation<'_>, here: &Here<'_>, reply: &mut Reply<'_, '_>) {
    if reply.answers() == 0 {
        reply.conclude(rcode::NOERROR, Counter::Referral);
    }
    reply.turn_to(Section::Authority);
    let Delegation { depth, ns, glue, others, .. } = *delegation;
    let cut = apex_of(zone, here).saturating_sub(depth);
    let mut stands = Stands::default();
    if write_set(zone, &ns, ns.ttl(), here, cut, reply, &mut stands).is_err() {
        return reply.truncate();
    }
    // The NS of a cut are the child's to sign (RFC 4035 §2.2); what the parent signs is whether the child is signed.
    let secured = |reply: &mut _| denial::refer(zone, delegation, here, cut, reply).and_then(|()| copied::prove_expansions(reply));
    if reply.is_signing() && secured(reply).is_err() {
        return reply.truncate();
    }
    reply.turn_to(Section::Additional);
    // RFC 9471 §3.1: without the glue the referral leads nowhere. §3.2: what else is known may be left out.
    match write_beside(zone, &ns, glue, here, &stands, reply) {
        Ok(()) => drop(write_led(zone, &ns, others, here, &stands, reply)),
        Err(Full) => reply.truncate(),
    }
}

/// The name exists, the type does not (RFC 2308 §2.2).
pub(super) fn nodata(zone: &CompiledZone, here: &Here<'_>, reply: &mut Reply<'_, '_>) {
    negative(zone, here, reply, rcode::NOERROR, Counter::Nodata);
}

/// The name does not exist (RFC 2308 §2.1). Behind an alias this speaks of the last name (RFC 6604 §3).
pub(super) fn nxdomain(zone: &CompiledZone, here: &Here<'_>, reply: &mut Reply<'_, '_>) {
    negative(zone, here, reply, rcode::NXDOMAIN, Counter::Nxdomain);
}

fn negative(zone: &CompiledZone, here: &Here<'_>, reply: &mut Reply<'_, '_>, rcode: u16, outcome: Counter) {
    reply.conclude(rcode, outcome);
    reply.turn_to(Section::Authority);
    let soa = zone.negative();
    // RFC 2308 §3: caches need it, so it is not additional.
    let apex = apex_of(zone, here);
    if write_set(zone, &soa, soa.ttl(), here, apex, reply, &mut Stands::default()).is_err() {
        return reply.truncate();
    }
    if reply.is_signing() && negative_signed(zone, &soa, here, apex, rcode, outcome, reply).is_err() {
        reply.truncate();
    }
}

/// Signs a negative answer whose SOA was just written, and proves it.
#[inline(never)]
fn negative_signed(
    zone: &CompiledZone,
    soa: &RrSet<'_>,
    here: &Here<'_>,
    apex: usize,
    rcode: u16,
    outcome: Counter,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    if let Some((signing, signer)) = reply.signing(zone) {
        // RFC 9824 §3.1: the proof says that there is nothing at the name, so the name is there; §5.1: but for those who know better.
        if rcode == rcode::NXDOMAIN && !signing.compact_ok && matches!(signer, Signer::Here(_, Denial::Compact)) {
            reply.conclude(rcode::NOERROR, outcome);
        }
        // The SOA is signed as it stands in the zone, whose TTL may be more (RFC 4034 §3.1.4).
        let original = zone.soa_ttl();
        let covered = Covered { owner: Owner::at(here, apex), rtype: rtype::SOA, ttl: soa.ttl(), original };
        signed::set_of(zone, *soa, covered, reply)?;
        denial::deny(zone, here, reply)?;
    }
    copied::prove_expansions(reply)
}

/// What ANY gets where there is no RRset at hand (RFC 8482 §4.2).
pub(super) fn any(zone: &CompiledZone, here: &Here<'_>, reply: &mut Reply<'_, '_>) {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    let (start, ttl) = (reply.position(), zone.ttl().max);
    let written = reply.record(here.from(0), rtype::HINFO, ttl, |writer| writer.put(b"\x07RFC8482\x00"));
    let covered = Covered { owner: Owner::at(here, 0), rtype: rtype::HINFO, ttl, original: ttl };
    if written.and_then(|()| signed::written(zone, &covered, start, 1, reply)).is_err() {
        reply.truncate();
    }
}

/// Writes an RRset and its signature.
pub(super) fn write_signed(
    zone: &CompiledZone,
    set: &RrSet<'_>,
    here: &Here<'_>,
    index: usize,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    write_set(zone, set, set.ttl(), here, index, reply, &mut Stands::default())?;
    signed::set(zone, *set, set.ttl(), here, index, reply)
}

/// Writes an RRset whose owner is the name from label `index` on: as many whole records as fit.
///
/// Where the question holds the owner, all of them are copied as they were encoded, and their pointers and TTLs set where they differ from
/// what they were encoded for. Where they do not all fit, or the owner stands elsewhere, it goes record by record.
#[inline(always)]
fn write_set(
    zone: &CompiledZone,
    set: &RrSet<'_>,
    ttl: u32,
    here: &Here<'_>,
    index: usize,
    reply: &mut Reply<'_, '_>,
    stands: &mut Stands,
) -> Result<(), Full> {
    let start = reply.position();
    if !here.is_question(index) || reply.records(set.len(), set.octets()).is_err() {
        return write_each(zone, set, ttl, here, index, reply, stands);
    }
    let (owner, apex) = (here.name.start(index), here.name.start(apex_of(zone, here)));
    if owner != 0 || ttl != set.ttl() || (apex != set.before() && set.has_holes()) {
        adapt(set, ttl, owner, apex, start, reply);
    }
    stands.start = Some(start);
    Ok(())
}

/// Sets pointers and TTLs of an RRset that was copied to `start`: so many octets into the question's name do owner and apex begin.
#[inline]
fn adapt(set: &RrSet<'_>, ttl: u32, owner: usize, apex: usize, start: usize, reply: &mut Reply<'_, '_>) {
    let (Some(owner), Some(apex)) = (Pointer::to(HEADER + owner), Pointer::to(HEADER + apex)) else { return };
    let octets = reply.written_from(start);
    set.starts().for_each(|at| {
        if let Some(head) = octets.get_mut(at..).and_then(|record| record.first_chunk_mut::<FIXED>()) {
            head[..2].copy_from_slice(&owner.octets());
            head[6..10].copy_from_slice(&ttl.to_be_bytes());
        }
    });
    set.holes().for_each(|at| {
        if let Some(hole) = octets.get_mut(at..).and_then(|data| data.first_chunk_mut()) {
            *hole = apex.octets();
        }
    });
}

#[cold]
#[inline(never)]
fn write_each(
    zone: &CompiledZone,
    set: &RrSet<'_>,
    ttl: u32,
    here: &Here<'_>,
    index: usize,
    reply: &mut Reply<'_, '_>,
    stands: &mut Stands,
) -> Result<(), Full> {
    let apex = here.pointer(apex_of(zone, here)).map_or(Rest::Spelled(zone.apex()), Rest::At);
    for (n, record) in set.records().enumerate() {
        reply.record(here.from(index), set.rtype(), ttl, |writer| {
            if let Some(place) = stands.places.get_mut(n) {
                // A message holds no more than 65,535 octets.
                *place = writer.position() as u16;
            }
            record.write(writer, apex)
        })?;
    }
    Ok(())
}

/// How many records' places are noted where they are written one by one.
const NOTED: usize = 16;

/// Where the message holds an RRset, whose names need not be spelled again.
#[derive(Default)]
struct Stands {
    /// From there on, as it was encoded; `None`: it was written record by record.
    start: Option<usize>,
    /// The data of its first records, where they were written one by one.
    places: [u16; NOTED],
}

impl Stands {
    /// Where a name of the RRset stands; `None` where that is unknown or out of a pointer's reach.
    fn place(&self, set: &RrSet<'_>, led: &Led) -> Option<Pointer> {
        if led.own {
            return None;
        }
        if let Some(start) = self.start {
            return Pointer::to(start + led.place as usize);
        }
        let place = self.places.get(usize::from(led.record)).filter(|place| **place != 0)?;
        let record = set.records().nth(led.record.into())?;
        Pointer::to(usize::from(*place) + led.place as usize - record.begin())
    }
}

/// Writes what belongs beside an RRset, and the signatures of what is ours of that, as far as they fit.
#[inline]
fn write_led(
    zone: &CompiledZone,
    set: &RrSet<'_>,
    beside: &Beside,
    here: &Here<'_>,
    stands: &Stands,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    match reply.signing(zone) {
        None => write_beside(zone, set, beside, here, stands, reply),
        Some(_) => write_each_beside(zone, set, beside, here, stands, reply),
    }
}

/// Writes what belongs beside an RRset: of each name all or nothing, as far as they fit.
#[inline]
fn write_beside(
    zone: &CompiledZone,
    set: &RrSet<'_>,
    beside: &Beside,
    here: &Here<'_>,
    stands: &Stands,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    if let (true, Some(start)) = (beside.whole && here.is_question(0), stands.start) {
        let begin = reply.position();
        if reply.records(beside.count, &beside.octets).is_ok() {
            if start != usize::from(beside.base) {
                point_anew(beside, start, begin, reply);
            }
            return Ok(());
        }
    }
    write_each_beside(zone, set, beside, here, stands, reply)
}

/// Sets the owners of what was copied to `begin`, where the RRset that they stand in is at `start`.
fn point_anew(beside: &Beside, start: usize, begin: usize, reply: &mut Reply<'_, '_>) {
    let mut at = begin;
    for led in &*beside.names {
        for octets in led.records(&beside.octets[at - begin..]) {
            if !led.own {
                reply.point(at, start + led.place as usize);
            }
            at += octets.len();
        }
    }
}

#[cold]
fn write_each_beside(
    zone: &CompiledZone,
    set: &RrSet<'_>,
    beside: &Beside,
    here: &Here<'_>,
    stands: &Stands,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let apex = apex_of(zone, here);
    let asked = here.name.part(0, apex);
    // The RRset's own name stands first: whoever leads there by its name adds nothing.
    let own = beside.names.first().is_some_and(|led| led.own);
    let mut octets = &*beside.octets;
    beside.names.iter().try_for_each(|led| {
        let (records, behind) = octets.split_at(led.length as usize);
        octets = behind;
        let key = set.octets().get(led.place as usize..).and_then(|name| name.get(..led.key.into())).unwrap_or_default();
        let is_here = !led.own && key.eq_ignore_ascii_case(asked);
        if own && is_here {
            return Ok(());
        }
        let spelling = match stands.place(set, led) {
            _ if led.own => here.from(0),
            Some(at) => Spelling { labels: &[], rest: Rest::At(at) },
            None => here.below(key, apex),
        };
        // RFC 2181 §5: no RRset stands in a reply twice.
        let told = (led.own || is_here).then_some(set.rtype());
        if reply.signing(zone).is_some() {
            let mut room = [0; MAX_NAME];
            let wire = if led.own { here.name.wire() } else { joined(&mut room, key, zone.apex()).ok_or(Full)? };
            return write_signed_records(zone, Owner { wire, spelling, of: wire }, led.records(records), told, reply);
        }
        reply.whole(|reply| {
            led.records(records).try_for_each(|record| {
                let (rtype, ttl, data) = parts(record)?;
                if told == Some(rtype) {
                    return Ok(());
                }
                reply.record(spelling, rtype, ttl, |writer| writer.put(data))
            })
        })
    })
}

/// Type, TTL and data of a record whose owner is a pointer.
fn parts(record: &[u8]) -> Result<(u16, u32, &[u8]), Full> {
    let (fixed, data) = record.split_at(FIXED.min(record.len()));
    let [_, _, t0, t1, _, _, ttl @ .., _, _] = *fixed.first_chunk::<FIXED>().ok_or(Full)?;
    Ok((u16::from_be_bytes([t0, t1]), u32::from_be_bytes(ttl), data))
}

/// Writes the RRsets of a name beside an answer, but for those of the type that is `told`: each with its signature, or not at all
/// (RFC 4035 §3.1.1).
fn write_signed_records<'o>(
    zone: &CompiledZone,
    owner: Owner<'_>,
    records: impl Iterator<Item = &'o [u8]>,
    told: Option<u16>,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    // Glue is not ours to sign (RFC 4035 §2.2).
    let Some(name) = NameBuf::from_wire(owner.wire) else { return Ok(()) };
    let is_ours = !matches!(zone.lookup(&name), Lookup::Delegated { .. });
    // What a record leads to keeps its case; what is signed does not (RFC 4034 §6.2).
    let owner = Owner { wire: name.wire(), of: name.wire(), ..owner };
    let mut records = records.filter_map(|record| parts(record).ok()).filter(|(rtype, ..)| told != Some(*rtype)).peekable();
    while let Some((rtype, ttl, _)) = records.peek().copied() {
        reply.whole(|reply| {
            let (start, mut count) = (reply.position(), 0);
            while let Some((_, _, data)) = records.next_if(|(next, ..)| *next == rtype) {
                reply.record(owner.spelling, rtype, ttl, |writer| writer.put(data))?;
                count += 1;
            }
            let covered = Covered { owner, rtype, ttl, original: signed::original(zone, ttl, ttl) };
            if is_ours { signed::written(zone, &covered, start, count, reply) } else { Ok(()) }
        })?;
    }
    Ok(())
}
