//! Static RRsets, referrals and negative answers.

use super::reply::{Here, Reply, Section};
use crate::codec::code::{rcode, rtype};
use crate::codec::{Full, NameBuf};
use crate::model::Counter;
use crate::snapshot::{CompiledZone, Delegation, RrSet};

/// A name that an answer leads to.
pub(super) type Alias = Here;

/// Where the zone's apex begins in a name within it, as the number of a label.
fn apex_of(zone: &CompiledZone, here: &Here) -> usize {
    zone.depth(&here.name)
}

/// Answers with an RRset, and with the addresses of the names in it as far as they fit.
pub(super) fn answer(zone: &CompiledZone, set: &RrSet, ttl: u32, here: &Here, reply: &mut Reply<'_, '_>) {
    reply.conclude(rcode::NOERROR, Counter::Answered);
    if write_set(zone, set, ttl, here, 0, reply).is_err() {
        return reply.truncate();
    }
    reply.turn_to(Section::Additional);
    for key in set.wanted() {
        // RFC 2181 §9: what is left out here costs no TC.
        if write_addresses(zone, key, here, reply).is_err() {
            return;
        }
    }
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

/// Refers to the name servers of a zone below (RFC 1034 §4.3.2 step 3b).
pub(super) fn referral(zone: &CompiledZone, delegation: &Delegation, here: &Here, reply: &mut Reply<'_, '_>) {
    if reply.answers() == 0 {
        reply.conclude(rcode::NOERROR, Counter::Referral);
    }
    reply.turn_to(Section::Authority);
    let cut = apex_of(zone, here).saturating_sub(delegation.depth);
    if write_set(zone, &delegation.ns, delegation.ns.ttl(), here, cut, reply).is_err() {
        return reply.truncate();
    }
    reply.turn_to(Section::Additional);
    for glue in delegation.glue.iter().filter(|glue| glue.required) {
        // RFC 9471 §3.1: without these the referral leads nowhere.
        if write_addresses(zone, &glue.key, here, reply).is_err() {
            return reply.truncate();
        }
    }
    for glue in delegation.glue.iter().filter(|glue| !glue.required) {
        // RFC 9471 §3.2: the others may be left out.
        if write_addresses(zone, &glue.key, here, reply).is_err() {
            return;
        }
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

/// Writes the addresses that the zone has at a key: all of them or none.
fn write_addresses(zone: &CompiledZone, key: &[u8], here: &Here, reply: &mut Reply<'_, '_>) -> Result<(), Full> {
    let Some(owner) = zone.at(key) else { return Ok(()) };
    let apex = apex_of(zone, here);
    reply.whole(|reply| {
        [rtype::A, rtype::AAAA].into_iter().filter_map(|rtype| owner.set(rtype)).try_for_each(|set| {
            (0..set.len()).try_for_each(|n| reply.record(here.below(key, apex), set.rtype(), set.ttl(), |w| set.write(w, n, None)))
        })
    })
}
