//! What two replies to one query must have in common, and what each must be for itself.

use std::collections::{HashMap, HashSet};

use super::message::{A, AAAA, CNAME, DNAME, Message, NS, Name, Record, SOA, is_within, parent, upwards};
use super::queries::Query;

/// A family as it was loaded: every record, from a peer's own transfer.
pub struct Known {
    pub zones: Vec<Zone>,
}

/// One zone of a family.
pub struct Zone {
    pub apex: Name,
    pub records: Vec<Record>,
    by_owner: HashMap<Name, Vec<usize>>,
}

impl Zone {
    pub fn new(apex: Name, records: Vec<Record>) -> Zone {
        let mut by_owner: HashMap<Name, Vec<usize>> = HashMap::new();
        for (n, record) in records.iter().enumerate() {
            by_owner.entry(record.owner.clone()).or_default().push(n);
        }
        Zone { apex, records, by_owner }
    }

    /// Whether a name exists: with records, or with names below it (RFC 4592 §2.2.2).
    pub fn has_name(&self, name: &[u8]) -> bool {
        self.records.iter().any(|r| is_within(&r.owner, name))
    }

    /// What stands at a name.
    pub fn at(&self, owner: &[u8]) -> impl Iterator<Item = &Record> {
        self.by_owner.get(owner).into_iter().flatten().map(|n| &self.records[*n])
    }
}

impl Known {
    pub fn is_apex(&self, name: &[u8]) -> bool {
        self.zones.iter().any(|zone| zone.apex == name)
    }

    /// The zone that a name is in.
    pub fn zone_of(&self, name: &[u8]) -> Option<&Zone> {
        self.zones.iter().filter(|zone| is_within(name, &zone.apex)).max_by_key(|zone| zone.apex.len())
    }

    /// The zone that delegates at a name.
    fn zone_above(&self, cut: &[u8]) -> Option<&Zone> {
        self.zone_of(parent(cut)?)
    }

    /// The zones' records of a record's RRset, each with the owner that it has there: a wildcard, where the record may have come from one.
    fn sources(&self, record: &Record) -> Vec<&Record> {
        let wildcards = upwards(&record.owner).skip(1).map(|above| [&b"\x01*"[..], above].concat());
        let mut owners: Vec<Name> = std::iter::once(record.owner.clone()).chain(wildcards).collect();
        owners.dedup();
        let all = self.zones.iter().flat_map(|zone| owners.iter().flat_map(|owner| zone.at(owner)));
        all.filter(|source| source.rtype == record.rtype).collect()
    }

    /// Whether the family has all of these: at their owners, or at wildcards that their owners may have come from.
    pub fn holds(&self, records: &[Record]) -> bool {
        records.iter().all(|record| self.sources(record).iter().any(|source| source.ttl == record.ttl && source.data == record.data))
    }

    /// Whether a record stands in a zone as it is, under its own owner.
    pub fn stands(&self, record: &Record) -> bool {
        self.zones.iter().any(|zone| zone.at(&record.owner).any(|other| other == record))
    }

    /// How many records a record's RRset has, where the record itself stands.
    pub fn set_length(&self, record: &Record) -> usize {
        let mut from = self.sources(record).into_iter().filter(|source| source.ttl == record.ttl && source.data == record.data);
        let of_set = |r: &&Record, from: &Record| r.rtype == record.rtype && r.owner == from.owner;
        // A name in two zones is answered from the one below.
        from.next().and_then(|from| Some(self.zone_of(&from.owner)?.at(&from.owner).filter(|r| of_set(r, from)).count())).unwrap_or(0)
    }
}

/// Something that two replies have not in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    Rcode,
    /// AA.
    Authoritative,
    /// TC.
    Truncated,
    /// Any other flag.
    Flags,
    /// Whether there is an OPT, and DO in it.
    Edns,
    /// The records of the answer section.
    Answer,
    /// The order of aliases in it.
    Order,
    /// The SOA of a negative answer.
    Soa,
    /// The name servers of a referral.
    Referral,
}

/// Something that no reply may be, whatever others say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    Unreadable,
    /// The question is not the query's, octet for octet.
    Question,
    /// More octets than the client takes.
    TooLong,
    /// A referral without the addresses of name servers below the cut (RFC 9471 §3.1).
    NoGlue,
    /// An additional or authority record that is in no zone.
    Untrue,
    /// A record in the authority section that says nothing there.
    Stray,
    /// A compressed name where RFC 3597 §4 forbids it.
    Compressed,
    /// A record twice.
    Twice,
    /// TC although everything would fit, or records beyond those that the whole answer has.
    Cut,
}

/// What is wrong with a reply by itself.
pub fn faults(query: &Query, message: &Message, known: &Known) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut note = |wrong: bool, fault| {
        if wrong && !faults.contains(&fault) {
            faults.push(fault);
        }
    };
    note(message.question != [&query.name[..], &query.rtype.to_be_bytes(), &[0, 1]].concat(), Fault::Question);
    note(message.octets > query.limit(), Fault::TooLong);
    note(!message.compressed.is_empty(), Fault::Compressed);
    note(message.authority().iter().any(|r| r.rtype != SOA && r.rtype != NS), Fault::Stray);
    note(
        message.authority().iter().chain(message.additional()).any(|r| r.rtype != SOA && !known.holds(std::slice::from_ref(r))),
        Fault::Untrue,
    );
    for section in &message.sections {
        let distinct: HashSet<&Record> = section.iter().collect();
        note(distinct.len() < section.len(), Fault::Twice);
    }
    for ns in referral(message, known).filter(|_| !message.has(Message::TC)) {
        let glue = known.zone_above(&ns.owner).into_iter().flat_map(|zone| zone.at(&ns.data));
        let mut glue = glue.filter(|r| is_within(&ns.data, &ns.owner) && (r.rtype == A || r.rtype == AAAA));
        note(glue.any(|r| !message.additional().contains(r)), Fault::NoGlue);
    }
    faults
}

/// The name servers that a reply refers to. Those of an apex stand beside positive answers (RFC 1034 §6.2.1) and refer nowhere.
fn referral<'m>(message: &'m Message, known: &'m Known) -> impl Iterator<Item = &'m Record> {
    message.authority().iter().filter(|r| r.rtype == NS && !known.is_apex(&r.owner))
}

/// The SOA of a negative answer (RFC 2308 §3).
fn soa(message: &Message) -> impl Iterator<Item = &Record> {
    message.authority().iter().filter(|r| r.rtype == SOA)
}

/// What `ours` and `theirs`, two whole replies, have not in common.
pub fn differences(ours: &Message, theirs: &Message, known: &Known) -> Vec<Aspect> {
    let mut aspects = heads(ours, theirs);
    let mut note = |differs: bool, aspect| {
        if differs {
            aspects.push(aspect);
        }
    };
    note(ours.has(Message::TC) != theirs.has(Message::TC), Aspect::Truncated);
    note(sorted(ours.answer()) != sorted(theirs.answer()), Aspect::Answer);
    note(aliases(ours) != aliases(theirs), Aspect::Order);
    note(sorted(soa(ours)) != sorted(soa(theirs)), Aspect::Soa);
    note(sorted(referral(ours, known)) != sorted(referral(theirs, known)), Aspect::Referral);
    aspects
}

/// The same where a reply was cut: `whole` is ours over TCP. What `theirs` has must be of it, and all of it unless TC says otherwise.
pub fn differences_when_cut(whole: &Message, theirs: &Message, known: &Known) -> Vec<Aspect> {
    if !theirs.has(Message::TC) {
        return differences(whole, theirs, known);
    }
    let mut aspects = heads(whole, theirs);
    if !is_part(theirs.answer(), whole.answer()) {
        aspects.push(Aspect::Answer);
    }
    aspects
}

/// Whether a cut reply of ours is right about the whole one.
pub fn is_cut_of(cut: &Message, whole: &Message, query: &Query) -> bool {
    match cut.has(Message::TC) {
        true => whole.octets > query.limit() && (0..3).all(|n| is_part(&cut.sections[n], &whole.sections[n])),
        false => cut.sections[..2] == whole.sections[..2] && is_part(cut.additional(), whole.additional()),
    }
}

fn heads(ours: &Message, theirs: &Message) -> Vec<Aspect> {
    const OTHERS: u16 = !(Message::AA | Message::TC);
    let edns = |message: &Message| message.opt.map(|(_, flags)| flags);
    [
        (ours.rcode != theirs.rcode, Aspect::Rcode),
        (ours.has(Message::AA) != theirs.has(Message::AA), Aspect::Authoritative),
        (ours.flags & OTHERS != theirs.flags & OTHERS, Aspect::Flags),
        (edns(ours) != edns(theirs), Aspect::Edns),
    ]
    .into_iter()
    .filter_map(|(differs, aspect)| differs.then_some(aspect))
    .collect()
}

/// Whether every record of `part` is in `whole`.
pub fn is_part(part: &[Record], whole: &[Record]) -> bool {
    part.iter().all(|record| whole.contains(record))
}

/// A set of records: how often a record stands in it is a fault of its own.
fn sorted<'r>(records: impl IntoIterator<Item = &'r Record>) -> Vec<&'r Record> {
    let mut records: Vec<&Record> = records.into_iter().collect();
    records.sort();
    records.dedup();
    records
}

/// The chain of aliases, in its order; each once.
pub fn aliases(message: &Message) -> Vec<(&[u8], u16)> {
    let mut aliases: Vec<(&[u8], u16)> = Vec::new();
    for r in message.answer().iter().filter(|r| r.rtype == CNAME || r.rtype == DNAME) {
        if !aliases.contains(&(&r.owner, r.rtype)) {
            aliases.push((&r.owner, r.rtype));
        }
    }
    aliases
}

#[test]
fn whatever_differs_is_noticed() {
    use super::lab::wire_name;
    use super::queries::Shape;

    let record =
        |owner: &str, rtype: u16, ttl: u32, data: &[u8]| Record { owner: wire_name(owner), rtype, class: 1, ttl, data: data.into() };
    let soa = record("z.test.", SOA, 60, b"an SOA");
    let ns = record("cut.z.test.", NS, 60, &wire_name("ns.cut.z.test."));
    let glue = record("ns.cut.z.test.", A, 60, &[192, 0, 2, 1]);
    let alias = |from: &str, to: &str| record(from, CNAME, 60, &wire_name(to));
    let chain = [alias("a.z.test.", "b.z.test."), alias("b.z.test.", "www.cut.z.test.")];
    let all = [vec![soa.clone(), ns.clone(), glue.clone()], chain.to_vec()].concat();
    let known = Known { zones: vec![Zone::new(wire_name("z.test."), all)] };
    let shape = Shape { payload: Some(4096), dnssec_ok: false, recursion_desired: false };
    let query = Query { name: wire_name("a.z.test."), rtype: A, shape };
    let good = Message {
        flags: 1 << 15 | Message::AA,
        rcode: 0,
        question: query.bytes()[12..12 + query.name.len() + 4].into(),
        sections: [chain.to_vec(), vec![ns], vec![glue.clone()]],
        opt: Some((4096, 0)),
        compressed: Vec::new(),
        octets: 200,
    };
    type Change<'c> = &'c dyn Fn(&mut Message);
    let check = |change: Change<'_>, aspects: &[Aspect], own: &[Fault]| {
        let mut other = good.clone();
        change(&mut other);
        assert_eq!(differences(&good, &other, &known), aspects, "{other}");
        assert_eq!(differences(&other, &good, &known), aspects, "{other}");
        assert_eq!(faults(&query, &other, &known), own, "{other}");
    };
    check(&|_| {}, &[], &[]);
    check(&|m| m.rcode = 3, &[Aspect::Rcode], &[]);
    check(&|m| m.flags ^= Message::AA, &[Aspect::Authoritative], &[]);
    check(&|m| m.flags |= Message::TC, &[Aspect::Truncated], &[]);
    check(&|m| m.flags |= 1 << 7, &[Aspect::Flags], &[]);
    check(&|m| m.opt = None, &[Aspect::Edns], &[]);
    check(&|m| m.sections[0][0].ttl = 61, &[Aspect::Answer], &[]);
    check(&|m| m.sections[0][1].data = wire_name("cut.z.test."), &[Aspect::Answer], &[]);
    check(&|m| drop(m.sections[0].pop()), &[Aspect::Answer, Aspect::Order], &[]);
    check(&|m| m.sections[0].reverse(), &[Aspect::Order], &[]);
    check(&|m| m.sections[0].push(chain[0].clone()), &[], &[Fault::Twice]);
    check(&|m| m.sections[1].push(soa.clone()), &[Aspect::Soa], &[]);
    check(&|m| m.sections[1][0].ttl = 61, &[Aspect::Referral], &[Fault::Untrue]);
    check(&|m| m.sections[1].clear(), &[Aspect::Referral], &[]);
    check(&|m| m.sections[1].push(glue.clone()), &[], &[Fault::Stray]);
    check(&|m| m.sections[2].clear(), &[], &[Fault::NoGlue]);
    check(&|m| m.sections[2].push(record("ns.cut.z.test.", A, 60, &[192, 0, 2, 2])), &[], &[Fault::Untrue]);
    check(&|m| m.question[1] ^= 0x20, &[], &[Fault::Question]);
    check(&|m| m.octets = 4097, &[], &[Fault::TooLong]);
    check(&|m| m.compressed.push(33), &[], &[Fault::Compressed]);
}
