//! Names that are decided: services, instances, and names with a policy. Decide once, then write the records of what was picked.

use std::ops::Range;

use super::empty;
use super::linked::{AddressHead, Linked, MOST_SRV, SrvRecord, SrvWriter, write_https};
use super::names::{InstanceName, ServiceName};
use super::records::{self, Alias};
use super::reply::{Here, Reply};
use super::signed::{self, Covered, Owner};
use super::walk::Asked;
use super::watch::Watch;
use crate::codec::Full;
use crate::codec::code::{extended, rcode, rtype};
use crate::model::{Counter, Share};
use crate::routing::{
    Choice, Decision, MAX_TIERS, Need, Picked, Sampling, Selection, ServiceId, Standing, Start, World, decide_into, pick,
};
use crate::snapshot::{CompiledService, CompiledZone, LeafRecords, NamePolicy};

/// A type that instances have records of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    V4,
    V6,
    /// Of that port; `None`: the service's default port.
    Srv(Option<Need>),
    Txt,
    Https,
}

/// Whether instances of a service can have records of a type, at its name or at that of a port.
pub(super) fn can_answer(service: &CompiledService, port: Option<Need>, rtype: u16) -> bool {
    Wanted::of(rtype, port).is_some_and(|wanted| wanted.need(service).is_some())
}

impl Wanted {
    /// The type.
    fn rtype(self) -> u16 {
        match self {
            Wanted::V4 => rtype::A,
            Wanted::V6 => rtype::AAAA,
            Wanted::Srv(_) => rtype::SRV,
            Wanted::Txt => rtype::TXT,
            Wanted::Https => rtype::HTTPS,
        }
    }

    /// What is asked of a name; before `_port._proto` nothing but SRV stands.
    fn of(qtype: u16, port: Option<Need>) -> Option<Wanted> {
        match (qtype, port) {
            (rtype::SRV, port) => Some(Wanted::Srv(port)),
            (_, Some(_)) => None,
            (rtype::A, None) => Some(Wanted::V4),
            (rtype::AAAA, None) => Some(Wanted::V6),
            (rtype::TXT, None) => Some(Wanted::Txt),
            (rtype::HTTPS, None) => Some(Wanted::Https),
            _ => None,
        }
    }

    /// What an instance needs to have such records; `None` where no instance of the service has any.
    pub fn need(self, service: &CompiledService) -> Option<Need> {
        match self {
            Wanted::V4 => Some(Need::V4),
            Wanted::V6 => Some(Need::V6),
            Wanted::Srv(Some(port)) => Some(port),
            Wanted::Srv(None) => service.default_port().map(|(port, _)| port),
            Wanted::Txt => Some(Need::ANY),
            Wanted::Https => Some(Need::TLS),
        }
    }

    /// Most instances of an answer.
    pub fn limit(self, service: &CompiledService) -> usize {
        match self {
            Wanted::Srv(_) => service.max_srv().min(MOST_SRV),
            _ => service.max_addresses(),
        }
    }
}

/// The instances of one level, of which some are picked.
#[derive(Clone, Copy)]
pub(super) struct Level<'a> {
    pub service: &'a CompiledService,
    pub among: Among<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Among<'a> {
    /// Those that a decision chose.
    Chosen(&'a Selection<'a>),
    /// The one that the name says.
    One(u32),
}

impl<'a> Level<'a> {
    /// Whether the policy keeps its instances in order (`simple`).
    fn is_in_order(&self) -> bool {
        matches!(self.among, Among::Chosen(selection) if selection.sampling == Sampling::InOrder)
    }

    /// Calls `take` for each picked instance.
    #[inline]
    fn pick<W: World>(&self, world: &W, need: Need, limit: usize, draw: u64, mut take: impl FnMut(Picked)) {
        let pool = self.service.pool();
        match self.among {
            Among::Chosen(selection) => pick(world, selection, need, limit, draw, take),
            Among::One(member) if pool.has(member, need) => {
                take(Picked { member, weight: pool.weight(member), warmth: 100, region: pool.region(member) })
            }
            Among::One(_) => {}
        }
    }
}

/// Where an answer stands: what is asked, and the name and its zone.
pub(super) struct At<'a> {
    pub asked: &'a Asked<'a>,
    pub zone: &'a CompiledZone,
    pub here: &'a Here<'a>,
}

/// What has to be decided.
struct Plan<'a> {
    start: Start<'a>,
    /// The service that was asked for, where it was one.
    service: Option<(ServiceId, &'a CompiledService)>,
    wanted: Option<Wanted>,
    /// Further levels that SRV may carry.
    tiers: usize,
    /// Static records that the policy's own leaves hold.
    records: &'a LeafRecords,
    /// The longest TTL, in seconds, where the name says one.
    longest: Option<u32>,
}

/// Answers for a service, or a part of it.
#[inline(always)]
pub(super) fn answer_service<W: Watch>(at: &At<'_>, name: &ServiceName<'_>, reply: &mut Reply<'_, '_>, watch: &mut W) -> Option<Alias> {
    let mut wanted = Wanted::of(at.asked.qtype, name.port);
    if at.asked.qtype == rtype::ANY {
        records::any(at.zone, at.here, reply);
        return None;
    }
    if wanted.is_some_and(|wanted| wanted.need(name.service).is_none()) {
        wanted = None;
    }
    // `_port._proto` before a service stands for SRV alone, whatever static records its policy may end in.
    if wanted.is_none() && (name.port.is_some() || !name.service.records().can_answer(at.asked.qtype)) {
        records::nodata(at.zone, at.here, reply);
        return None;
    }
    let start = Start::Pool(name.id, name.service.pool(), &name.filter);
    let plan = Plan {
        start,
        service: Some((name.id, name.service)),
        wanted,
        tiers: name.service.tiers(),
        records: name.service.records(),
        longest: None,
    };
    answer_plan(at, &plan, reply, watch)
}

/// Answers for a name with a policy.
pub(super) fn answer_policy<W: Watch>(at: &At<'_>, policy: &NamePolicy, reply: &mut Reply<'_, '_>, watch: &mut W) -> Option<Alias> {
    let wanted = Wanted::of(at.asked.qtype, None);
    if at.asked.qtype == rtype::ANY {
        records::any(at.zone, at.here, reply);
        return None;
    }
    // ALIAS is for addresses: other types are what stands beside it.
    if policy.alias.is_some() && !matches!(wanted, Some(Wanted::V4 | Wanted::V6)) {
        records::nodata(at.zone, at.here, reply);
        return None;
    }
    // A service that the policy leads to may end in static records of its own.
    let others =
        || policy.tree.services().any(|id| at.asked.snapshot.service_at(id).is_some_and(|s| s.records().can_answer(at.asked.qtype)));
    if wanted.is_none() && !policy.records.can_answer(at.asked.qtype) && !others() {
        records::nodata(at.zone, at.here, reply);
        return None;
    }
    // How many levels SRV carries is for the service to say that is chosen first. Looking for more than any of them wants would make
    // the answer depend on what is not in it.
    let tiers = match wanted {
        Some(Wanted::Srv(_)) => {
            policy.tree.services().filter_map(|id| at.asked.snapshot.service_at(id)).map(CompiledService::tiers).max().unwrap_or(0)
        }
        _ => 0,
    };
    let plan = Plan {
        start: Start::Tree(&policy.tree),
        service: None,
        wanted,
        tiers,
        records: &policy.records,
        longest: policy.alias.as_ref().map(|alias| alias.ttl),
    };
    answer_plan(at, &plan, reply, watch)
}

/// Answers for one instance. Nothing is chosen: it stands for itself unless it is drained, so fail-open has nothing to overrule.
pub(super) fn answer_instance<W: Watch>(at: &At<'_>, name: &InstanceName<'_>, reply: &mut Reply<'_, '_>, watch: &mut W) {
    if at.asked.qtype == rtype::ANY {
        return records::any(at.zone, at.here, reply);
    }
    let Some(wanted) = Wanted::of(at.asked.qtype, name.port) else { return records::nodata(at.zone, at.here, reply) };
    let pool = name.service.pool();
    let standing = pool.standing(name.member);
    let out = at.asked.snapshot.out(pool.locality(name.member));
    if standing == Standing::Drained || out.share == Share::ALL {
        reply.explain(extended::OTHER, "the instance is drained");
        return records::nodata(at.zone, at.here, reply);
    }
    let ttl = match standing {
        Standing::Healthy if !out.moving => ttl_of(at.zone, pool.steady_ms()),
        _ => at.zone.ttl().min,
    };
    if matches!(standing, Standing::LastGood | Standing::Unhealthy) {
        reply.explain(extended::OTHER, "the instance is unhealthy");
    }
    watch.held(ttl);
    let level = Level { service: name.service, among: Among::One(name.member) };
    write(at, &[level], wanted, ttl, reply, watch);
}

/// Decides, and answers with what was chosen.
#[inline(never)]
fn answer_plan<W: Watch>(at: &At<'_>, plan: &Plan<'_>, reply: &mut Reply<'_, '_>, watch: &mut W) -> Option<Alias> {
    let snapshot = at.asked.snapshot;
    let is_srv = matches!(plan.wanted, Some(Wanted::Srv(_)));
    let tiers = if is_srv { plan.tiers } else { 0 };
    let mut decision = Decision::nothing();
    decide_into(&mut decision, snapshot, &plan.start, &at.asked.client, at.asked.draw, tiers, watch.trace());
    reply.by_client = true;
    // Behind an alias the answer holds where both decisions do: both prefixes hold the client, so that is the longer one.
    reply.scope = reply.scope.max(decision.scope);
    if decision.fail_open {
        reply.fail_open = true;
        reply.explain(extended::OTHER, "nothing is healthy: answered by all_down");
    }
    if decision.panic {
        reply.panic = true;
        reply.explain(extended::OTHER, "less is healthy than panic_threshold: all are answered");
    }
    let ttl = if decision.fail_open || decision.panic { at.zone.ttl().min } else { ttl_of(at.zone, decision.steady_ms) };
    let ttl = plan.longest.map_or(ttl, |longest| ttl.min(longest));
    watch.decided(&decision, ttl);
    match decision.tiers[0] {
        Some(Choice::Records { service, first, count }) => {
            let records = match service {
                Some(id) => snapshot.service_at(id).map(|service| service.records()),
                None => Some(plan.records),
            };
            let leaf = usize::from(first)..usize::from(first) + usize::from(count);
            return answer_leaf(at, records?, leaf, plan.wanted, ttl, reply);
        }
        Some(Choice::Instances(_)) => {}
        None => {
            reply.explain(extended::OTHER, "no instance can be answered: none matches, or all are drained or down");
            reply.empty = empty::by_drains(at.asked, plan.start);
        }
    }
    match plan.wanted {
        Some(wanted) => {
            if is_srv {
                // The client draws by the weights that SRV carries; the pick must not do it as well.
                decision.carry_weights();
            }
            match first_level(at.asked, plan, &decision) {
                Some(first) if is_srv => {
                    let (levels, count) = levels(at.asked, plan, first, &decision);
                    write(at, &levels[..count], wanted, ttl, reply, watch);
                }
                Some(first) => write(at, &[first], wanted, ttl, reply, watch),
                None => write(at, &[], wanted, ttl, reply, watch),
            }
        }
        None => records::nodata(at.zone, at.here, reply),
    }
    None
}

/// Answers from the static records of a leaf.
fn answer_leaf(
    at: &At<'_>,
    records: &LeafRecords,
    leaf: Range<usize>,
    wanted: Option<Wanted>,
    ttl: u32,
    reply: &mut Reply<'_, '_>,
) -> Option<Alias> {
    let set = |rtype| leaf.clone().filter_map(|n| records.get(n)).find(|set| set.rtype() == rtype);
    if let Some(set) = set(at.asked.qtype) {
        records::answer(at.zone, &set, ttl, at.here, reply);
        return None;
    }
    // A CNAME holds for every type of a name (RFC 1034 §3.6.2), and `_port._proto` before a service has nothing but SRV.
    if let Some(set) = set(rtype::CNAME).filter(|_| !matches!(wanted, Some(Wanted::Srv(Some(_))))) {
        return records::alias(at.zone, &set, ttl, at.here, reply);
    }
    records::nodata(at.zone, at.here, reply);
    None
}

/// The chosen level of a decision, if it is made of instances.
#[inline]
fn first_level<'a>(asked: &Asked<'a>, plan: &Plan<'a>, decision: &'a Decision<'a>) -> Option<Level<'a>> {
    level_of(asked, plan, decision.tiers[0].as_ref()?)
}

#[inline]
fn level_of<'a>(asked: &Asked<'a>, plan: &Plan<'a>, choice: &'a Choice<'a>) -> Option<Level<'a>> {
    let Choice::Instances(selection) = choice else { return None };
    let service = match plan.service {
        Some((id, service)) if id == selection.service => service,
        _ => asked.snapshot.service_at(selection.service)?,
    };
    Some(Level { service, among: Among::Chosen(selection) })
}

/// The levels of a decision that are made of instances, as many as the service of the `first` one says; and how many they are.
fn levels<'a>(asked: &Asked<'a>, plan: &Plan<'a>, first: Level<'a>, decision: &'a Decision<'a>) -> ([Level<'a>; MAX_TIERS], usize) {
    let mut levels = [first; MAX_TIERS];
    let mut count = 1;
    for level in decision.tiers.iter().skip(1).take(first.service.tiers()).flatten().filter_map(|choice| level_of(asked, plan, choice)) {
        levels[count] = level;
        count += 1;
    }
    (levels, count)
}

/// DESIGN §4: the time in which the state cannot change, within the zone's limits.
fn ttl_of(zone: &CompiledZone, steady_ms: u32) -> u32 {
    (steady_ms / 1000).min(zone.ttl().max).max(zone.ttl().min)
}

/// Writes what is wanted of the levels. Nothing found: NODATA, which holds for the clients for whom the decision does.
fn write<'a, W: Watch>(at: &At<'a>, levels: &[Level<'a>], wanted: Wanted, ttl: u32, reply: &mut Reply<'_, '_>, watch: &mut W) {
    let (before, start) = (reply.answers(), reply.position());
    reply.conclude(rcode::NOERROR, Counter::Answered);
    let mut linked = None;
    let mut written = Ok(());
    for (n, level) in levels.iter().enumerate() {
        let service = level.service;
        let limit = wanted.limit(service);
        let left = limit.saturating_sub((reply.answers() - before).into());
        // Every further level gets room for some: they are there for the day when the first is gone.
        let reserved = (levels.len() - n - 1) * (limit / 8).max(1);
        let most = left.saturating_sub(reserved).max(left.min(1));
        let Some(need) = wanted.need(service).filter(|_| most > 0) else { continue };
        // Who is drawn has room for all of its addresses: were more drawn than fit, the last ones would never be answered.
        let drawn = match wanted {
            Wanted::V4 | Wanted::V6 if !level.is_in_order() => match service.most_addresses(need) {
                1 => most,
                several => (most / several).max(1),
            },
            _ => most,
        };
        watch.level(at.asked.snapshot, level, need, drawn, at.asked.draw);
        // Instances of one host share its address, and an RRset holds no record twice (RFC 2181 §5).
        let seen = service.shares_addresses().then_some((start, before));
        let (owner, mut room) = (at.here.from(0), most);
        match wanted {
            Wanted::V4 => {
                let head = AddressHead::new(owner, rtype::A, ttl);
                written = write_level(at, level, need, drawn, reply, |picked, reply| {
                    head.write_unseen(service.v4(picked.member).as_chunks::<4>().0, seen, &mut room, reply)
                });
            }
            Wanted::V6 => {
                let head = AddressHead::new(owner, rtype::AAAA, ttl);
                written = write_level(at, level, need, drawn, reply, |picked, reply| {
                    head.write_unseen(service.v6(picked.member).as_chunks::<16>().0, seen, &mut room, reply)
                });
            }
            Wanted::Srv(_) => {
                let mut last = SrvRecord::new();
                let mut srv = SrvWriter::new(at, owner, (n, service), need, ttl, &mut last);
                let linked = linked.get_or_insert_with(Linked::new);
                written = write_level(at, level, need, drawn, reply, |picked, reply| srv.write(picked, linked, reply));
            }
            Wanted::Txt => {
                written = write_level(at, level, need, drawn, reply, |picked, reply| {
                    reply.record(owner, rtype::TXT, ttl, |writer| {
                        service.txt(&at.asked.snapshot.places, picked.member, |octets| writer.put(octets))
                    })
                });
            }
            Wanted::Https => {
                let linked = linked.get_or_insert_with(Linked::new);
                written = write_level(at, level, need, drawn, reply, |picked, reply| write_https(at, level, n, picked, ttl, linked, reply));
            }
        }
        if written.is_err() {
            break;
        }
    }
    if matches!(wanted, Wanted::V4 | Wanted::V6) && !levels.first().is_some_and(Level::is_in_order) {
        // Many clients take the first address: each gets its turn. Which instances answer was drawn with the upper bits.
        reply.rotate_answers(start, reply.answers() - before, at.asked.draw as u32);
    }
    let count = reply.answers() - before;
    if count > 0 && written.is_ok() && reply.is_signing() {
        // Its TTL follows health: one signature serves all TTLs that it can have.
        let covered = Covered { owner: Owner::at(at.here, 0), rtype: wanted.rtype(), ttl, original: at.zone.ttl().max.max(ttl) };
        written = signed::written(at.zone, &covered, start, count, reply);
    }
    if written.is_err() {
        reply.truncate();
    } else if count == 0 {
        records::nodata(at.zone, at.here, reply);
    } else if let Some(linked) = linked {
        linked.write_addresses(at, ttl, reply);
    }
}

/// Writes what is picked of a level, as far as it fits.
#[inline]
fn write_level<'m, 'r>(
    at: &At<'_>,
    level: &Level<'_>,
    need: Need,
    limit: usize,
    reply: &mut Reply<'r, 'm>,
    mut write: impl FnMut(Picked, &mut Reply<'r, 'm>) -> Result<(), Full>,
) -> Result<(), Full> {
    let mut written = Ok(());
    level.pick(at.asked.snapshot, need, limit, at.asked.draw, |picked| {
        if written.is_ok() {
            written = write(picked, reply);
            if written.is_ok() {
                reply.regions.add(picked.region);
            }
        }
    });
    written
}
