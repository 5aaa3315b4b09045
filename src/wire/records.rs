//! Static RRsets, referrals and negative answers.

use super::reply::{Here, Reply, Section};
use crate::codec::code::{rcode, rtype};
use crate::codec::{Full, NameBuf, Pointer, Rest, Spelling};
use crate::model::Counter;
use crate::snapshot::{CompiledZone, Delegation, RrSet, Wanted};

/// A name that an answer leads to.
pub(super) type Alias = Here;

/// Where the zone's apex begins in a name within it, as the number of a label.
fn apex_of(zone: &CompiledZone, here: &Here) -> usize {
    zone.depth(&here.name)
}

/// Answers with an RRset, and with the addresses of the names in it as far as they fit.
pub(super) fn answer(zone: &CompiledZone, set: &RrSet, ttl: u32, here: &Here, reply: &mut Reply<'_, '_>) {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    if set.wanted().is_empty() {
        if write_set(zone, set, ttl, here, 0, reply).is_err() {
            reply.truncate();
        }
        return;
    }
    let mut places = Places::unknown();
    if write_set_noting(zone, set, ttl, here, 0, &mut places, reply).is_err() {
        return reply.truncate();
    }
    reply.turn_to(Section::Additional);
    // RFC 2181 §9: what is left out here costs no TC.
    let _ = write_additional(zone, set, set.wanted(), here, &places, reply);
}

/// Answers with a CNAME; returns the name that it leads to.
pub(super) fn alias(zone: &CompiledZone, set: &RrSet, ttl: u32, here: &Here, reply: &mut Reply<'_, '_>) -> Option<Alias> {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    if write_set(zone, set, ttl, here, 0, reply).is_err() {
        reply.truncate();
        return None;
    }
    let data = set.data(0);
    let split = set.split(0).zip(here.pointer(apex_of(zone, here)));
    let length = split.map_or(data.len(), |(at, _)| usize::from(at) + 2);
    Some(Here::data(NameBuf::from_wire(data)?, reply.position() - length, split))
}

/// Answers with a DNAME, whose owner has `depth` labels before the apex, and with the CNAME that it stands for (RFC 6672 §3.1); returns
/// the name that it leads to. A DNAME that is `told` already stands in the answer.
pub(super) fn redirect(
    zone: &CompiledZone,
    redirection: &RrSet,
    depth: usize,
    told: bool,
    here: &Here,
    reply: &mut Reply<'_, '_>,
) -> Option<Alias> {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    let owner = apex_of(zone, here).saturating_sub(depth);
    if !told && write_set(zone, redirection, redirection.ttl(), here, owner, reply).is_err() {
        reply.truncate();
        return None;
    }
    let Some(name) = here.name.moved(owner, redirection.data(0)) else {
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
    Some(Here::data(name, reply.position() - length, split.map(|(at, apex)| (at as u16, apex))))
}

/// Refers to the name servers of a zone below (RFC 1034 §4.3.2 step 3b).
pub(super) fn referral(zone: &CompiledZone, delegation: &Delegation, here: &Here, reply: &mut Reply<'_, '_>) {
    if reply.answers() == 0 {
        reply.conclude(rcode::NOERROR, Counter::Referral);
    }
    reply.turn_to(Section::Authority);
    let cut = apex_of(zone, here).saturating_sub(delegation.depth);
    let (ns, mut places) = (&delegation.ns, Places::unknown());
    if write_set_noting(zone, ns, ns.ttl(), here, cut, &mut places, reply).is_err() {
        return reply.truncate();
    }
    reply.turn_to(Section::Additional);
    // RFC 9471 §3.1: without the glue the referral leads nowhere. §3.2: what else is known may be left out.
    match write_additional(zone, ns, &delegation.glue, here, &places, reply) {
        Ok(()) => drop(write_additional(zone, ns, &delegation.others, here, &places, reply)),
        Err(Full) => reply.truncate(),
    }
}

/// The name exists, the type does not (RFC 2308 §2.2).
pub(super) fn nodata(zone: &CompiledZone, here: &Here, reply: &mut Reply<'_, '_>) {
    negative(zone, here, reply, rcode::NOERROR, Counter::Nodata);
}

/// The name does not exist (RFC 2308 §2.1). Behind an alias this speaks of the last name (RFC 6604 §3).
pub(super) fn nxdomain(zone: &CompiledZone, here: &Here, reply: &mut Reply<'_, '_>) {
    negative(zone, here, reply, rcode::NXDOMAIN, Counter::Nxdomain);
}

fn negative(zone: &CompiledZone, here: &Here, reply: &mut Reply<'_, '_>, rcode: u16, outcome: Counter) {
    reply.conclude(rcode, outcome);
    reply.turn_to(Section::Authority);
    let soa = zone.negative();
    // RFC 2308 §3: caches need it, so it is not additional.
    if write_set(zone, soa, soa.ttl(), here, apex_of(zone, here), reply).is_err() {
        reply.truncate();
    }
}

/// What ANY gets where there is no RRset at hand (RFC 8482 §4.2).
pub(super) fn any(zone: &CompiledZone, here: &Here, reply: &mut Reply<'_, '_>) {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    if reply.record(here.from(0), rtype::HINFO, zone.ttl().max, |writer| writer.put(b"\x07RFC8482\x00")).is_err() {
        reply.truncate();
    }
}

/// Writes an RRset whose owner is the name from label `index` on: as many whole records as fit.
fn write_set(zone: &CompiledZone, set: &RrSet, ttl: u32, here: &Here, index: usize, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    let apex = here.pointer(apex_of(zone, here));
    (0..set.len()).try_for_each(|n| reply.record(here.from(index), set.rtype(), ttl, |writer| set.write(writer, n, apex)))
}

/// Where the message holds the data of an RRset's first records, whose names need not be spelled again.
struct Places([usize; 16]);

impl Places {
    fn unknown() -> Places {
        Places([0; 16])
    }

    /// Where the name of `wanted` stands; `None` where that is unknown or out of a pointer's reach.
    fn of(&self, wanted: &Wanted) -> Option<Pointer> {
        let place = self.0.get(usize::from(wanted.record)).filter(|place| **place != 0)?;
        Pointer::to(place + usize::from(wanted.offset))
    }
}

/// As [`write_set`]; notes where the data stands.
fn write_set_noting(
    zone: &CompiledZone,
    set: &RrSet,
    ttl: u32,
    here: &Here,
    index: usize,
    places: &mut Places,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let apex = here.pointer(apex_of(zone, here));
    (0..set.len()).try_for_each(|n| {
        reply.record(here.from(index), set.rtype(), ttl, |writer| {
            if let Some(place) = places.0.get_mut(n) {
                *place = writer.position();
            }
            set.write(writer, n, apex)
        })
    })
}

/// Writes what belongs beside an RRset, whose records stand at `places`: of each name all or nothing.
fn write_additional(
    zone: &CompiledZone,
    set: &RrSet,
    wanted: &[Wanted],
    here: &Here,
    places: &Places,
    reply: &mut Reply<'_, '_>,
) -> Result<(), Full> {
    let apex = apex_of(zone, here);
    let is_here = |key: &[u8]| *key == *here.name.part(0, apex);
    // The RRset's own name stands first: whoever leads there by its name adds nothing.
    let own = wanted.first().is_some_and(|wanted| wanted.key.is_none());
    wanted.iter().try_for_each(|wanted| {
        let Some(owner) = zone.wanted(wanted) else { return Ok(()) };
        let (spelling, answered) = match &wanted.key {
            Some(key) if own && is_here(key) => return Ok(()),
            Some(key) => {
                let known = places.of(wanted).map(|at| Spelling { labels: &[], rest: Rest::At(at) });
                (known.unwrap_or_else(|| here.below(key, apex)), is_here(key))
            }
            None => (here.from(0), true),
        };
        // RFC 2181 §5: no RRset stands in a reply twice.
        let mut sets = set.additional_types().filter(|rtype| !answered || *rtype != set.rtype()).filter_map(|rtype| owner.set(rtype));
        reply.whole(|reply| {
            sets.try_for_each(|set| {
                (0..set.len()).try_for_each(|n| reply.record(spelling, set.rtype(), set.ttl(), |w| set.write(w, n, None)))
            })
        })
    })
}
