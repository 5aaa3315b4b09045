//! From a question to an answer: zone by zone, alias by alias (RFC 1034 §4.3.2).

use std::net::IpAddr;

use super::copied;
use super::denial;
use super::names::{Meaning, resolve};
use super::records;
use super::reply::{Alias, Here, Reply};
use super::scramble;
use super::services::{self, At};
use super::watch::Watch;
use crate::codec::NameBuf;
use crate::codec::code::{extended, rcode, rtype};
use crate::model::Counter;
use crate::snapshot::{CompiledZone, Lookup, Owner, RrSet, Snapshot, Unfit};

/// Most aliases that one answer follows, over all zones: CNAMEs, and DNAMEs by the CNAMEs that they stand for. Longer chains are left to
/// the resolver, which goes on from the last name; none that is in use comes near it (Knot follows 5, BIND 11, NSD all).
pub(crate) const MAX_ALIASES: usize = 16;

/// What is asked, by whom, and of which world.
pub(super) struct Asked<'s> {
    pub snapshot: &'s Snapshot,
    /// The client: its subnet, or the resolver.
    pub client: IpAddr,
    pub draw: u64,
    pub qtype: u16,
}

/// Answers a question of class IN.
#[inline(always)]
pub(super) fn answer_name<W: Watch>(asked: &Asked<'_>, name: &NameBuf, reply: &mut Reply<'_, '_>, watch: &mut W) {
    let here = Here::question(name);
    let zone = zone_of(asked, name);
    if let Some(unfit) = asked.snapshot.unfit(zone, name, asked.qtype) {
        return answer_unfit(unfit, reply);
    }
    let Some(zone) = zone else {
        watch.outside(name);
        reply.fail(rcode::REFUSED, Counter::Refused, extended::NOT_AUTHORITATIVE, "the name is in no zone of this server");
        reply.forward();
        return;
    };
    let way = Way { name, by: None, before: None };
    if let Some(alias) = answer_in(asked, zone, &here, &way, reply, watch) {
        follow(asked, &way, &alias, MAX_ALIASES, reply, watch);
        // What nothing stands behind but this.
        if reply.is_signing() && copied::prove_expansions(reply).is_err() {
            reply.truncate();
        }
    }
}

/// Answers for a zone that answers nobody. What its parent says of it would be as wrong, though that is served here.
#[inline(never)]
fn answer_unfit(unfit: Unfit, reply: &mut Reply<'_, '_>) {
    let (info, text) = match unfit {
        // RFC 1034 §4.3.5: data that could not be confirmed for so long is good for nothing.
        Unfit::Expired => (extended::INVALID_DATA, "the zone has expired: no primary answers"),
        Unfit::Awaited => (extended::NOT_READY, "the zone was not copied yet: no primary has answered"),
    };
    reply.fail(rcode::SERVFAIL, Counter::Servfail, info, text);
}

/// Goes on with the name that an alias leads to, as long as that is in a zone of this server; at most `left` of them.
#[inline(never)]
fn follow<W: Watch>(asked: &Asked<'_>, way: &Way<'_>, alias: &Alias, left: usize, reply: &mut Reply<'_, '_>, watch: &mut W) {
    // What stands in the answer already leads round in a circle: that is all there is to say.
    if way.names().any(|before| before.name.wire() == alias.name.wire()) {
        return;
    }
    let asked = Asked { draw: scramble(asked.draw), ..*asked };
    let zone = zone_of(&asked, &alias.name);
    if asked.snapshot.unfit(zone, &alias.name, asked.qtype).is_some() {
        // As where the alias leads to a zone of another server: whoever asks goes on there.
        return watch.outside(&alias.name);
    }
    let Some(zone) = zone else {
        reply.forward();
        return watch.outside(&alias.name);
    };
    let way = Way { name: &alias.name, by: alias.by, before: Some(way) };
    let next = answer_in(&asked, zone, &alias.here(), &way, reply, watch);
    if let Some(next) = next.filter(|_| left > 1) {
        follow(&asked, &way, &next, left - 1, reply, watch);
    }
}

/// The way to a name: the question's, or one that aliases lead to.
struct Way<'a> {
    name: &'a NameBuf,
    /// The DNAME that led there, known by its place in the snapshot.
    by: Option<*const u8>,
    before: Option<&'a Way<'a>>,
}

impl Way<'_> {
    /// The name, and those before it.
    fn names(&self) -> impl Iterator<Item = &Way<'_>> {
        std::iter::successors(Some(self), |way| way.before)
    }

    /// Whether an RRset is a DNAME that stands in the answer: an RRset stands there once (RFC 2181 §5), however often it redirects.
    fn told(&self, set: &RrSet<'_>) -> bool {
        set.rtype() == rtype::DNAME && self.names().any(|way| way.by == Some(set.place()))
    }
}

/// The zone that answers for a name: the one with the longest apex. The DS of a child's apex is in the zone above, where that
/// delegates to the child (RFC 4035 §3.1.4.1).
#[inline(always)]
fn zone_of<'s>(asked: &Asked<'s>, name: &NameBuf) -> Option<&'s CompiledZone> {
    let zone = asked.snapshot.zone(name)?;
    if asked.qtype == rtype::DS && zone.depth(name) == 0 && name.labels() > 0 {
        let above = asked.snapshot.zone_above(name);
        let delegates = |above: &&CompiledZone| matches!(above.lookup(name), Lookup::Delegated { at: Some(_), .. });
        return Some(above.filter(delegates).unwrap_or(zone));
    }
    Some(zone)
}

/// Answers as far as one name goes; returns the alias that it leads to.
#[inline(always)]
fn answer_in<W: Watch>(
    asked: &Asked<'_>,
    zone: &CompiledZone,
    here: &Here<'_>,
    way: &Way<'_>,
    reply: &mut Reply<'_, '_>,
    watch: &mut W,
) -> Option<Alias> {
    let meaning = resolve(asked.snapshot, zone, here.name);
    watch.name(asked.snapshot, zone, here.name, &meaning);
    // AA speaks of the first name of the answer (RFC 1034 §4.3.1): it is clear in a referral alone.
    if let Meaning::Delegated { delegation, at } = meaning {
        // RFC 4035 §3.1.4.1: DS is the one type that the parent answers at a cut.
        let Some(owner) = at.filter(|_| asked.qtype == rtype::DS) else {
            // A client that has names looked up for it wants the answer, and could do nothing with a referral (RFC 1034 §4.3.1).
            if reply.forward() {
                return None;
            }
            records::referral(zone, &delegation, here, reply);
            return None;
        };
        reply.set_authoritative();
        match owner.set(rtype::DS) {
            Some(set) => records::answer(zone, &set, set.ttl(), here, reply),
            None => records::nodata(zone, here, reply),
        }
        return None;
    }
    reply.set_authoritative();
    if reply.is_signing() && denial::begin(asked, zone, here, &meaning, reply) {
        return None;
    }
    let at = At { asked, zone, here };
    match &meaning {
        Meaning::Redirected { depth, redirection } => {
            let alias = records::redirect(zone, *redirection, *depth, way.told(redirection), here, reply);
            // Who asks for the CNAME has it (RFC 1034 §4.3.2 step 3a).
            return alias.filter(|_| asked.qtype != rtype::CNAME);
        }
        Meaning::Owner(owner) => return answer_owner(&at, *owner, way, reply, watch),
        Meaning::Service(name) => return services::answer_service(&at, name, reply, watch),
        Meaning::Instance(name) => services::answer_instance(&at, name, reply, watch),
        Meaning::Empty => records::nodata(zone, here, reply),
        Meaning::Missing | Meaning::Delegated { .. } => records::nxdomain(zone, here, reply),
    }
    None
}

/// Answers from what a zone has at a name.
#[inline(always)]
fn answer_owner<W: Watch>(at: &At<'_>, owner: Owner<'_>, way: &Way<'_>, reply: &mut Reply<'_, '_>, watch: &mut W) -> Option<Alias> {
    let mut qtype = at.asked.qtype;
    if qtype == rtype::ANY
        && let Some(set) = owner.sets().next()
    {
        // RFC 8482 §4.1: one RRset is answer enough.
        qtype = set.rtype();
    }
    if let Some(set) = owner.set(qtype) {
        // It led here, so it is answered. One at a wildcard is another RRset for every name that the wildcard makes.
        if way.told(&set) && matches!(at.zone.lookup(at.here.name), Lookup::Owner(_)) {
            return None;
        }
        records::answer(at.zone, &set, set.ttl(), at.here, reply);
        return None;
    }
    if let Some(set) = owner.set(rtype::CNAME) {
        return records::alias(at.zone, &set, set.ttl(), at.here, reply);
    }
    match owner.policy() {
        Some(policy) => services::answer_policy(at, policy, reply, watch),
        None => {
            records::nodata(at.zone, at.here, reply);
            None
        }
    }
}
