//! Static RRsets, referrals and negative answers.

pub(super) use super::reply::Alias;
use super::reply::{Here, Reply, Section};
use crate::codec::code::{rcode, rtype};
use crate::codec::{Full, HEADER, Pointer, Rest, Spelling};
use crate::model::Counter;
use crate::snapshot::{Beside, CompiledZone, Delegation, FIXED, Led, RrSet};

/// Where the zone's apex begins in a name within it, as the number of a label.
fn apex_of(zone: &CompiledZone, here: &Here<'_>) -> usize {
    zone.depth(here.name)
}

/// Answers with an RRset, and with the addresses of the names in it as far as they fit.
#[inline(always)]
pub(super) fn answer(zone: &CompiledZone, set: RrSet<'_>, ttl: u32, here: &Here<'_>, reply: &mut Reply<'_, '_>) {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    let Ok(stands) = write_set(zone, set, ttl, here, 0, reply) else { return reply.truncate() };
    if let Some(beside) = set.beside() {
        reply.turn_to(Section::Additional);
        // RFC 2181 §9: what is left out here costs no TC.
        let _ = write_beside(zone, set, beside, here, &stands, reply);
    }
}

/// Answers with a CNAME; returns the name that it leads to.
pub(super) fn alias(zone: &CompiledZone, set: RrSet<'_>, ttl: u32, here: &Here<'_>, reply: &mut Reply<'_, '_>) -> Option<Alias> {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    if write_set(zone, set, ttl, here, 0, reply).is_err() {
        reply.truncate();
        return None;
    }
    let (name, hole) = set.target(zone.apex())?;
    let split = hole.zip(here.pointer(apex_of(zone, here)));
    let length = split.map_or(name.wire().len(), |(at, _)| at + 2);
    Some(Alias { name, base: reply.position() - length, split, by: None })
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
    if !told && write_set(zone, redirection, redirection.ttl(), here, owner, reply).is_err() {
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
    // RFC 6672 §3.1: the TTL is the DNAME's.
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
    let Delegation { depth, ns, glue, others } = *delegation;
    let cut = apex_of(zone, here).saturating_sub(depth);
    let Ok(stands) = write_set(zone, ns, ns.ttl(), here, cut, reply) else { return reply.truncate() };
    reply.turn_to(Section::Additional);
    // RFC 9471 §3.1: without the glue the referral leads nowhere. §3.2: what else is known may be left out.
    match write_beside(zone, ns, glue, here, &stands, reply) {
        Ok(()) => drop(write_beside(zone, ns, others, here, &stands, reply)),
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
    if write_set(zone, soa, soa.ttl(), here, apex_of(zone, here), reply).is_err() {
        reply.truncate();
    }
}

/// What ANY gets where there is no RRset at hand (RFC 8482 §4.2).
pub(super) fn any(zone: &CompiledZone, here: &Here<'_>, reply: &mut Reply<'_, '_>) {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    if reply.record(here.from(0), rtype::HINFO, zone.ttl().max, |writer| writer.put(b"\x07RFC8482\x00")).is_err() {
        reply.truncate();
    }
}

/// Writes an RRset whose owner is the name from label `index` on: as many whole records as fit.
///
/// Where the question holds the owner, all of them are copied as they were encoded, and their pointers and TTLs set where they differ from
/// what they were encoded for. Where they do not all fit, or the owner stands elsewhere, it goes record by record.
#[inline(always)]
fn write_set(
    zone: &CompiledZone,
    set: RrSet<'_>,
    ttl: u32,
    here: &Here<'_>,
    index: usize,
    reply: &mut Reply<'_, '_>,
) -> Result<Stands, Full> {
    let start = reply.position();
    if !here.is_question(index) || reply.records(set.len(), set.octets()).is_err() {
        return write_each(zone, set, ttl, here, index, reply);
    }
    let (owner, apex) = (here.name.start(index), here.name.start(apex_of(zone, here)));
    if owner != 0 || ttl != set.ttl() || (apex != set.before() && set.has_holes()) {
        adapt(set, ttl, owner, apex, start, reply);
    }
    Ok(Stands::Encoded(start))
}

/// Sets pointers and TTLs of an RRset that was copied to `start`: so many octets into the question's name do owner and apex begin.
#[inline]
fn adapt(set: RrSet<'_>, ttl: u32, owner: usize, apex: usize, start: usize, reply: &mut Reply<'_, '_>) {
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
fn write_each(
    zone: &CompiledZone,
    set: RrSet<'_>,
    ttl: u32,
    here: &Here<'_>,
    index: usize,
    reply: &mut Reply<'_, '_>,
) -> Result<Stands, Full> {
    let apex = here.pointer(apex_of(zone, here)).map_or(Rest::Spelled(zone.apex()), Rest::At);
    let mut places = [0_u16; NOTED];
    for (n, record) in set.records().enumerate() {
        reply.record(here.from(index), set.rtype(), ttl, |writer| {
            if let Some(place) = places.get_mut(n) {
                // A message holds no more than 65,535 octets.
                *place = writer.position() as u16;
            }
            record.write(writer, apex)
        })?;
    }
    Ok(Stands::Each(places))
}

/// How many records' places are noted where they are written one by one.
const NOTED: usize = 16;

/// Where the message holds an RRset, whose names need not be spelled again.
enum Stands {
    /// From there on, as it was encoded.
    Encoded(usize),
    /// The data of its first records.
    Each([u16; NOTED]),
}

impl Stands {
    /// Where a name of the RRset stands; `None` where that is unknown or out of a pointer's reach.
    fn place(&self, set: RrSet<'_>, led: &Led) -> Option<Pointer> {
        match self {
            _ if led.own => None,
            Stands::Encoded(start) => Pointer::to(start + led.place as usize),
            Stands::Each(places) => {
                let place = places.get(usize::from(led.record)).filter(|place| **place != 0)?;
                let record = set.records().nth(led.record.into())?;
                Pointer::to(usize::from(*place) + led.place as usize - record.begin())
            }
        }
    }
}

/// Writes what belongs beside an RRset: of each name all or nothing, as far as they fit.
#[inline]
fn write_beside(
    zone: &CompiledZone,
    set: RrSet<'_>,
    beside: &Beside,
    here: &Here<'_>,
    stands: &Stands,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    if let (true, Stands::Encoded(start)) = (beside.whole && here.is_question(0), stands) {
        let begin = reply.position();
        if reply.records(beside.count, &beside.octets).is_ok() {
            if *start != usize::from(beside.base) {
                point_anew(beside, *start, begin, reply);
            }
            return Ok(());
        }
    }
    write_each_beside(zone, set, beside, here, stands, reply)
}

/// Sets the owners of what was copied to `begin`, where the RRset that they stand in is at `start`.
fn point_anew(beside: &Beside, start: usize, begin: usize, reply: &mut Reply<'_, '_>) {
    let mut at = begin;
    for led in &beside.names {
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
    set: RrSet<'_>,
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
        reply.whole(|reply| {
            led.records(records).try_for_each(|record| {
                let (fixed, data) = record.split_at(FIXED.min(record.len()));
                let [_, _, t0, t1, _, _, ttl @ .., _, _] = *fixed.first_chunk::<FIXED>().ok_or(Full)?;
                let rtype = u16::from_be_bytes([t0, t1]);
                // RFC 2181 §5: no RRset stands in a reply twice.
                if (led.own || is_here) && rtype == set.rtype() {
                    return Ok(());
                }
                reply.record(spelling, rtype, u32::from_be_bytes(ttl), |writer| writer.put(data))
            })
        })
    })
}
