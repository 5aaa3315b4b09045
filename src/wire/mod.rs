//! Floor 3: the sans-IO answer: bytes in, bytes out.
//!
//! ```text
//! answer ┬─ Request::parse
//!        ├─ cookies         is the sender who it says it is
//!        ├─ judge ─┬─ chaos        class CH: what the server says of itself
//!        │         └─ walk         zone, then what the name is, alias by alias
//!        │              ├─ names      static names, names of services, wildcards
//!        │              ├─ records    static RRsets, referrals, negative answers
//!        │              ├─ services   decide, pick, and the records of instances (linked: SRV, HTTPS and their addresses)
//!        │              └─ signed     after each RRset its signature, from those that were made; denial, hashed: what proves that something is not there
//!        │              │               or from the zone, where its primary signed it (copied)
//!        ├─ limit           has its network had enough of that
//!        └─ Reply::finish, or a punt: the slow path answers again with the same draw, when it has what was missing
//! ```
//! [`look_ahead`] goes before, for queries that came together: what their answers will be read from is fetched for all at once.
//! [`explain()`] goes the same way with open eyes: the same functions, watched.

mod chaos;
mod concerns;
mod cookies;
mod copied;
mod defences;
mod denial;
mod empty;
mod explain;
mod hashed;
mod limit;
mod linked;
mod names;
mod records;
mod regions;
mod reply;
mod services;
mod signed;
pub mod update;
mod walk;
mod watch;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

pub use concerns::{Subject, concerns, subject};
use cookies::Proof;
use copied::Told;
pub use defences::Defences;
pub use explain::{
    ExplainedInstance, ExplainedLevel, ExplainedName, ExplainedOrigin, ExplainedRecord, Explanation, NameKind, RankedRegion, explain,
};
use limit::Verdict;
use reply::{Reply, Room, Terms};
use signed::Signing;
use walk::Asked;
pub(crate) use walk::MAX_ALIASES;
use watch::{Unwatched, Watch};

use crate::codec::code::{CLASS_CH, CLASS_IN, extended, rcode, rtype};
use crate::codec::{HEADER, Header, Keepalive, NameBuf, Question, Request};
use crate::model::{Counter, Counters, SAMPLED, Timestamp};
use crate::routing::ClientPrefix;
use crate::snapshot::{Ahead, Missing, Shelf, Snapshot};

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: the reply is cut to the client's payload size.
    Udp,
    /// A stream: up to 65,535 octets.
    Tcp,
    /// A stream that nobody else can read (RFC 7858).
    Tls,
    /// A request over HTTP/2 or HTTP/3 (RFC 8484).
    Https,
    /// A stream of a QUIC connection (RFC 9250).
    Quic,
}

impl Transport {
    /// Whether a connection was made, so that the sender is who it says it is, and replies may be long.
    #[inline]
    pub fn is_stream(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// Whether the connection carries queries alone, so that DNS says how long it may be idle (RFC 7828 §3); HTTP and QUIC have words of
    /// their own for that.
    #[inline]
    pub fn has_keepalive(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Tls)
    }

    /// Whether nobody on the way can read it: what padding is for (RFC 8467 §4.1).
    #[inline]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Transport::Tls | Transport::Https | Transport::Quic)
    }
}

/// A query as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The message.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub peer: SocketAddr,
    /// How.
    pub transport: Transport,
    /// When: milliseconds since the Unix epoch, read once for all queries that came together.
    pub now_ms: u64,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Send so many octets of the reply buffer.
    Reply(usize),
    /// Send nothing.
    Drop,
    /// Hand it to the slow path.
    Punt(Punt),
}

/// Why a query needs the slow path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Punt {
    /// Its name, or one that an alias of ours leads to, is in no zone of ours, and the client may ask for such names. What is ours of the
    /// answer, [`answer_again`] gives.
    Forward,
    /// It carries a TSIG: it is verified, what is within it answered, and the reply signed (RFC 8945).
    Authenticated,
    /// It asks for a copy of a zone (RFC 5936, RFC 1995). What [`answer_again`] gives is the refusal.
    Transfer,
    /// Another server says that a zone has changed there (RFC 1996). What [`answer_again`] gives is that nobody listens.
    Notify,
    /// Something in its answer has no signature yet. [`answer_again`] says what: [`Worker::missing`].
    Unsigned(Shelf),
}

/// What one worker keeps from query to query.
#[derive(Debug)]
pub struct Worker {
    /// Its counters.
    pub counters: Arc<Counters>,
    defences: Arc<Defences>,
    random: u64,
    /// The name that is asked for: room for it is made once.
    name: NameBuf,
    /// What had no signature when a query was answered again.
    missing: RefCell<Vec<Missing>>,
}

impl Worker {
    /// A worker that works alone; its draws and its defences follow from `seed`, which nobody else must know.
    pub fn new(seed: u64, counters: Arc<Counters>) -> Worker {
        Worker::beside(seed, counters, Arc::new(Defences::new(std::array::from_fn(|n| scramble(!seed ^ n as u64) as u8), 1024)))
    }

    /// A worker beside others, with the defences that they share; its draws follow from `seed`.
    pub fn beside(seed: u64, counters: Arc<Counters>, defences: Arc<Defences>) -> Worker {
        Worker { counters, defences, random: seed, name: NameBuf::default(), missing: RefCell::default() }
    }

    /// The random number of the query that was answered last: the slow path answers again with the same.
    pub fn drawn(&self) -> u64 {
        scramble(self.random)
    }

    /// Takes what had no signature when a query was answered again last.
    pub fn missing(&mut self) -> Vec<Missing> {
        self.missing.take()
    }
}

/// The next query's random number. Each policy that draws, draws from it alone.
#[inline]
fn draw(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    scramble(*random)
}

/// The output function of SplitMix64: every bit of the result depends on every bit of `x`.
#[inline]
fn scramble(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Answers one query from one snapshot into `reply`, which holds at least 512 octets for UDP (65,535 for TCP).
///
/// What ends in [`Outcome::Punt`] counts as [`Counter::Punted`]; what comes of it, the slow path counts.
pub fn answer(snapshot: &Snapshot, worker: &mut Worker, query: &Query<'_>, reply: &mut [u8]) -> Outcome {
    let draw = draw(&mut worker.random);
    answer_drawn::<false>(snapshot, worker, query, draw, false, reply)
}

/// Most queries that [`look_ahead`] looks at.
pub const AHEAD: usize = 64;

/// Fetches what the answers to queries that came together will be read from, where that pays: their names are read, and then each step of
/// the way to what stands there is gone for all of them, so that the processor waits for memory once for all and not for one after the other.
/// No answer depends on it.
#[inline]
pub fn look_ahead<'q>(snapshot: &Snapshot, worker: &mut Worker, queries: impl Iterator<Item = &'q [u8]>) {
    if snapshot.is_vast() {
        fetch(snapshot, &mut worker.name, queries);
    }
}

#[inline(never)]
fn fetch<'q>(snapshot: &Snapshot, name: &mut NameBuf, queries: impl Iterator<Item = &'q [u8]>) {
    let mut ways = [Ahead::Done; AHEAD];
    let mut count = 0;
    for (query, way) in queries.zip(&mut ways) {
        if name.read(query, HEADER).is_ok() {
            *way = snapshot.ahead(name);
        }
        count += 1;
    }
    let mut found = 0;
    for _ in 0..Snapshot::STEPS {
        found = ways[..count].iter_mut().fold(found, |found, way| found ^ snapshot.step_ahead(way));
    }
    // What nobody looked at would not be fetched.
    std::hint::black_box(found);
}

/// Answers a query that [`answer`] punted, with the random number that it drew: no rate is limited and no client noted twice.
///
/// It never ends in [`Punt::Forward`]: the reply holds what is ours of the answer, up to the alias that leads elsewhere. Where that is
/// nothing it is REFUSED, with everything that a reply of ours to this query has: RA, and the options of its OPT. It counts as
/// [`Counter::Forwarded`] in either case.
pub fn answer_again(snapshot: &Snapshot, worker: &mut Worker, query: &Query<'_>, draw: u64, reply: &mut [u8]) -> Outcome {
    worker.missing.get_mut().clear();
    answer_drawn::<true>(snapshot, worker, query, draw, false, reply)
}

/// As [`answer_again`], where what is missing could not be signed: TC over UDP, SERVFAIL over streams.
pub fn answer_unsigned(snapshot: &Snapshot, worker: &mut Worker, query: &Query<'_>, draw: u64, reply: &mut [u8]) -> Outcome {
    answer_drawn::<true>(snapshot, worker, query, draw, true, reply)
}

/// Whether a query that was punted may be told that it is refused, as far as the rate of errors to its sender goes; where not, that is counted.
pub fn admits_error(snapshot: &Snapshot, worker: &Worker, query: &Query<'_>) -> bool {
    let limits = &snapshot.dns.rate_limit;
    if !limits.is_on() || query.transport.is_stream() || limit::admits_error(limits, &worker.defences.table, query.peer.ip(), query.now_ms)
    {
        return true;
    }
    drop_it(&worker.counters, query, Counter::Limited);
    false
}

#[inline(always)]
fn answer_drawn<const AGAIN: bool>(
    snapshot: &Snapshot,
    worker: &mut Worker,
    query: &Query<'_>,
    draw: u64,
    gives_up: bool,
    reply: &mut [u8],
) -> Outcome {
    let Worker { counters, defences, name, missing, .. } = worker;
    // RFC 8906 §3: what is shorter than a header, or a response, gets no reply, or two servers could talk for ever.
    let Some(header) = Header::parse(query.bytes).filter(|header| !header.is_response()) else {
        return drop_it(counters, query, Counter::Dropped);
    };
    // What is read and what is under way are made where they stay: they are large.
    let mut request = Request::begin(header, query.bytes);
    request.read(query.bytes, name);
    let request = &request;
    let signing = signing(snapshot, query, request, AGAIN.then_some(missing), counters);
    let terms = terms(snapshot, defences, query, request, signing.as_ref());
    let Some(room) = Room::of(request, &terms, reply.len()) else {
        return drop_it(counters, query, Counter::Dropped);
    };
    let mut reply = Reply::new(request, &terms, room, reply);
    let subnet = request.edns.as_ref().and_then(|edns| edns.subnet?.client());
    // Not made canonical: an IPv4-mapped client is found as IPv4, but its scope counts in the family that the option came in.
    let client = subnet.unwrap_or(query.peer.ip());
    judge(snapshot, request, client, draw, &mut reply, &mut Unwatched::default());
    if !AGAIN && let Some(mark) = reply.proof().counter() {
        counters.count(mark);
    }
    // Over a stream and with a server cookie the sender is who it says it is, and harms nobody else. Those who may have names looked up for
    // them are listed, and ask as much as they need. Of who signs, the slow path knows who it is, and limits those who are not ([`admits_error`]).
    let is_free = AGAIN || matches!(reply.punt, Some(Punt::Forward | Punt::Authenticated));
    if !is_free && snapshot.dns.rate_limit.is_on() && !query.transport.is_stream() && reply.proof() != Proof::Valid {
        let (table, question) = (&defences.table, request.question.as_ref());
        match limit::verdict(snapshot, table, question, reply.outcome, query.peer.ip(), query.now_ms, scramble(draw)) {
            Verdict::Send => {}
            Verdict::Slip => {
                reply.slip(request);
                return send(counters, query, &mut reply);
            }
            Verdict::Drop => return drop_it(counters, query, Counter::Limited),
        }
    }
    if !AGAIN && let Some(punt) = reply.punt {
        counters.count(Counter::Punted);
        return Outcome::Punt(punt);
    }
    if let Some(shelf) = reply.unsigned {
        // Where it would not fit, whoever asked comes again by TCP, and it is signed then.
        let is_cut = reply.is_truncated() && !query.transport.is_stream();
        if is_cut || gives_up || !AGAIN && !snapshot.signatures().admits(shelf, Timestamp(query.now_ms)) {
            reply.give_up(request);
            return send(counters, query, &mut reply);
        }
        if !AGAIN {
            counters.count(Counter::Punted);
        }
        return Outcome::Punt(Punt::Unsigned(shelf));
    }
    if reply.is_truncated() {
        counters.count(Counter::Truncated);
    }
    if reply.is_of_instances() {
        if reply.by_client && draw.is_multiple_of(SAMPLED) {
            counters.clients.note(ClientPrefix::of(client).0);
        }
        mark(counters, &reply, subnet.is_some());
    }
    send(counters, query, &mut reply)
}

/// Counts what is said of answers that depend on instances.
#[inline]
fn mark(counters: &Counters, reply: &Reply<'_, '_>, has_subnet: bool) {
    let mark = |set: bool, mark: Counter| {
        if set {
            counters.count(mark);
        }
    };
    mark(reply.by_client && has_subnet, Counter::EcsUsed);
    mark(reply.fail_open, Counter::FailOpen);
    mark(reply.panic, Counter::Panic);
    mark(reply.empty, Counter::Empty);
    reply.regions.numbers().for_each(|region| counters.count_region(region));
}

/// What the reply to a request is written for.
#[inline(always)]
fn terms<'m>(
    snapshot: &'m Snapshot,
    defences: &Defences,
    query: &Query<'_>,
    request: &Request<'_>,
    signing: Option<&'m Signing<'m>>,
) -> Terms<'m> {
    let dns = &*snapshot.dns;
    let mut terms = Terms { dns, transport: query.transport, proof: Proof::Absent, cookie: None, recursion: false, signing };
    // No cookie, no hash.
    if let Some(cookie) = request.edns.as_ref().and_then(|edns| edns.cookie.as_ref()).filter(|_| dns.cookies.enabled) {
        (terms.proof, terms.cookie) = cookies::check(cookie, defences.secrets(&dns.cookies.secrets), query.peer.ip(), query.now_ms);
    }
    // Asked of the sender, whatever subnet it asks for: who may use us as its resolver is whoever sends us queries.
    if !dns.forward.is_empty() {
        terms.recursion = is_within(&dns.forward, query.peer.ip());
    }
    terms
}

/// Where signatures are taken from, for a query that has DO or asks for them by their type.
#[inline(always)]
fn signing<'m>(
    snapshot: &'m Snapshot,
    query: &Query<'_>,
    request: &Request<'_>,
    notes: Option<&'m RefCell<Vec<Missing>>>,
    counters: &'m Counters,
) -> Option<Signing<'m>> {
    let (edns, question) = (request.edns.as_ref(), request.question.as_ref()?);
    let (dnssec_ok, compact_ok) = edns.map_or((false, false), |edns| (edns.dnssec_ok, edns.compact_ok));
    if !dnssec_ok && !matches!(question.qtype, rtype::NSEC | rtype::RRSIG) || question.qclass != CLASS_IN {
        return None;
    }
    Some(Signing {
        snapshot,
        qtype: question.qtype,
        dnssec_ok,
        compact_ok,
        now: Timestamp(query.now_ms),
        notes,
        counters,
        told: Told::default(),
    })
}

#[inline(never)]
fn is_within(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Finishes and counts a reply.
#[inline(always)]
fn send(counters: &Counters, query: &Query<'_>, reply: &mut Reply<'_, '_>) -> Outcome {
    counters.count(reply.outcome);
    let length = reply.finish();
    counters.count_octets(query.bytes.len(), length);
    Outcome::Reply(length)
}

/// Counts a query that gets no reply.
#[cold]
fn drop_it(counters: &Counters, query: &Query<'_>, outcome: Counter) -> Outcome {
    counters.count(outcome);
    counters.count_octets(query.bytes.len(), 0);
    Outcome::Drop
}

/// Answers a question, or says what is odd about the query.
#[inline(always)]
fn judge<W: Watch>(snapshot: &Snapshot, request: &Request<'_>, client: IpAddr, draw: u64, reply: &mut Reply<'_, '_>, watch: &mut W) {
    let plain = request.plain_question().filter(|question| question.qclass == CLASS_IN && !is_meta(question.qtype));
    let Some(question) = plain.or_else(|| judge_odd(snapshot, request, reply)) else { return };
    walk::answer_name(&Asked { snapshot, client, draw, qtype: question.qtype }, question.name, reply, watch);
}

/// Whether nothing at a name is of the type (RFC 6895 §3.1). ANY stands for what is there.
#[inline(always)]
fn is_meta(qtype: u16) -> bool {
    matches!(qtype, 0 | rtype::OPT | rtype::NXNAME | rtype::TKEY..=rtype::MAILA)
}

/// What RFC 8906 asks of everyone: odd queries get the RCODE that says what is odd. Returns the question where it is answered all the same.
#[inline(never)]
fn judge_odd<'q>(snapshot: &Snapshot, request: &'q Request<'_>, reply: &mut Reply<'_, '_>) -> Option<&'q Question<'q>> {
    if request.signed && request.fault.is_none() {
        // RFC 8945 §5.2: before anything else. It is refused where nobody verifies it.
        reply.fail(rcode::NOTAUTH, Counter::Refused, extended::NOT_SUPPORTED, "no TSIG is verified here");
        reply.punt = Some(Punt::Authenticated);
        return None;
    }
    if update::is_update(&request.header) && request.fault.is_none() {
        // RFC 2136 §3.3 leaves it to the server whom it trusts, RFC 3007 §1 advises against trusting addresses.
        reply.fail(rcode::REFUSED, Counter::Refused, extended::PROHIBITED, "an update needs a TSIG");
        return None;
    }
    if !request.header.is_query() {
        // RFC 8906 §3.1.4.
        reply.fail(rcode::NOTIMP, Counter::Notimp, extended::NOT_SUPPORTED, "only the opcodes QUERY and UPDATE are offered");
        if update::is_notify(&request.header) && request.fault.is_none() && snapshot.dns.secondaries {
            // From whom it comes is looked at beside this path; where no zone is copied it is an opcode as any other.
            reply.punt = Some(Punt::Notify);
        }
        return None;
    }
    if let Some(fault) = request.fault {
        reply.fail(rcode::FORMERR, Counter::Formerr, extended::OTHER, fault.reason());
        return None;
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version != 0) {
        // RFC 6891 §6.1.3: the reply's OPT says which version is known.
        reply.conclude(rcode::BADVERS, Counter::Badvers);
        return None;
    }
    if request.edns.as_ref().is_some_and(|edns| edns.keepalive == Keepalive::Malformed) && reply.transport().has_keepalive() {
        // RFC 7828 §3.3.1: the timeout is the server's to say. In a datagram the option means nothing, whatever it holds.
        reply.fail(rcode::FORMERR, Counter::Formerr, extended::OTHER, "keepalive: a query holds no timeout");
        return None;
    }
    let Some(question) = &request.question else {
        // RFC 7873 §5.4: asked for nothing but a cookie, whose RCODE tells whether the one that came is good.
        match reply.proof() {
            Proof::New | Proof::Valid => reply.conclude(rcode::NOERROR, Counter::Answered),
            Proof::Invalid => reply.conclude(rcode::BADCOOKIE, Counter::Badcookie),
            Proof::Absent => reply.fail(rcode::FORMERR, Counter::Formerr, extended::OTHER, "QDCOUNT is not 1"),
        }
        return None;
    };
    match question.qclass {
        CLASS_IN => {}
        CLASS_CH => {
            chaos::answer(&snapshot.dns, question, reply);
            return None;
        }
        _ => {
            reply.fail(rcode::REFUSED, Counter::Refused, extended::NOT_SUPPORTED, "only class IN is served");
            return None;
        }
    }
    match question.qtype {
        rtype::AXFR | rtype::IXFR => {
            if snapshot.dns.transfers {
                reply.punt = Some(Punt::Transfer);
            }
            reply.fail(rcode::REFUSED, Counter::Refused, extended::NOT_SUPPORTED, "zone transfer is not offered");
            None
        }
        qtype if !is_meta(qtype) => Some(question),
        rtype::TKEY | rtype::MAILA | rtype::MAILB => {
            reply.fail(rcode::NOTIMP, Counter::Notimp, extended::NOT_SUPPORTED, "this type of query is not offered");
            None
        }
        // RFC 6895 §3.1: no data can be of these types, so nobody can ask for it. RFC 9824 §3.5 says it of NXNAME.
        _ => {
            reply.fail(rcode::FORMERR, Counter::Formerr, extended::INVALID_TYPE, "this type cannot be asked for");
            None
        }
    }
}

#[cfg(test)]
mod tests;
