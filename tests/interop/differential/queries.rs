//! Random queries about a family: its names, their neighbours, and what lies below wildcards, cuts and aliases.

use std::collections::HashSet;

use super::data::ASKED;
use super::message::{self, Name, Record, is_within, parent};
use super::random::Random;
use super::zones;

/// How a query is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// UDP payload size; `None`: no OPT.
    pub payload: Option<u16>,
    pub dnssec_ok: bool,
    pub recursion_desired: bool,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    /// As it is spelled.
    pub name: Name,
    pub rtype: u16,
    pub shape: Shape,
}

impl Query {
    /// The message (RFC 1035 §4, RFC 6891 §6.1), with ID 0.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0, 0, u8::from(self.shape.recursion_desired), 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.shape.payload.is_some())];
        bytes.extend(&self.name);
        bytes.extend(self.rtype.to_be_bytes());
        bytes.extend([0, 1]);
        if let Some(payload) = self.shape.payload {
            bytes.extend([0, 0, 41]);
            bytes.extend(payload.to_be_bytes());
            bytes.extend([0, 0, u8::from(self.shape.dnssec_ok) << 7, 0, 0, 0]);
        }
        bytes
    }

    /// The name in lower case.
    pub fn folded(&self) -> Name {
        self.name.to_ascii_lowercase()
    }

    /// The most octets that a reply over UDP may have.
    pub fn limit(&self) -> usize {
        self.shape.payload.map_or(512, |payload| payload.clamp(512, 4096)).into()
    }
}

/// `count` different queries about the records of a family whose apex is `apex`.
pub fn random(random: &mut Random, apex: &[u8], records: &[Record], count: usize) -> Vec<Query> {
    let mut pool = Pool::new(apex, records);
    let mut seen = HashSet::new();
    let mut queries = Vec::with_capacity(count);
    // A small family has few names: then fewer queries are all there are.
    for _ in 0..4 * count {
        let query = pool.query(random);
        if queries.len() < count && seen.insert(query.clone()) {
            queries.push(query);
        }
    }
    queries
}

struct Pool<'r> {
    apex: &'r [u8],
    records: &'r [Record],
    /// Names that data leads to.
    hosts: Vec<Name>,
    dnames: Vec<&'r Record>,
}

impl<'r> Pool<'r> {
    fn new(apex: &'r [u8], records: &'r [Record]) -> Pool<'r> {
        let mut hosts: Vec<Name> = records.iter().filter_map(host).filter(|name| is_within(name, apex)).collect();
        hosts.sort();
        hosts.dedup();
        let dnames = records.iter().filter(|record| record.rtype == message::DNAME).collect();
        Pool { apex, records, hosts, dnames }
    }

    fn query(&mut self, random: &mut Random) -> Query {
        let record = random.one(self.records);
        let owner = &record.owner;
        let name = match random.below(100) {
            0..36 => owner.clone(),
            36..51 => below(random, owner, 1),
            51..60 => sibling(random, owner),
            60..68 => below(random, owner, 2),
            68..73 => parent(owner).filter(|name| is_within(name, self.apex)).unwrap_or(owner).to_vec(),
            73..78 => [&b"\x01*"[..], owner].concat(),
            78..86 if !self.hosts.is_empty() => random.one(&self.hosts).clone(),
            86..90 if !self.dnames.is_empty() => below(random, &random.clone().one(&self.dnames).owner, 1),
            90..94 if !self.dnames.is_empty() => long(random, &random.clone().one(&self.dnames).owner),
            94..96 => below(random, self.apex, 4),
            96..98 => self.apex.to_vec(),
            98 => random.one(&[&b"\x00"[..], b"\x04test\x00", b"\x01a\x04test\x00", b"\x07outside\x07invalid\x00"]).to_vec(),
            _ => sibling(random, owner),
        };
        let rtype = match random.below(10) {
            // A type that is there.
            0..4 => record.rtype,
            4 => random.one(self.records).rtype,
            _ => *random.one(&ASKED),
        };
        let shape = Shape {
            payload: match random.below(100) {
                0..78 => Some(4096),
                78..86 => Some(512),
                86..90 => Some(1232),
                _ => None,
            },
            dnssec_ok: random.percent(10),
            recursion_desired: random.percent(20),
        };
        let shape = Shape { dnssec_ok: shape.dnssec_ok && shape.payload.is_some(), ..shape };
        let name = if name.len() <= 255 { name } else { owner.clone() };
        Query { name: if random.percent(25) { mixed(random, &name) } else { name }, rtype, shape }
    }
}

/// The name in a record's data that a query may be for.
pub fn host(record: &Record) -> Option<Name> {
    let at = match record.rtype {
        message::NS | message::CNAME | message::DNAME | 12 | 17 => 0,
        15 | 18 | 36 | 64 | 65 => 2,
        33 => 6,
        _ => return None,
    };
    let mut end = at;
    while let Some(length) = record.data.get(end).filter(|length| **length > 0) {
        end += 1 + usize::from(*length);
    }
    record.data.get(at..=end).map(<[u8]>::to_vec)
}

fn below(random: &mut Random, name: &[u8], labels: usize) -> Name {
    let mut name = name.to_vec();
    for _ in 0..random.between(1, labels) {
        let label = zones::label(random).to_ascii_lowercase();
        name = [&[label.len() as u8][..], &label, &name].concat();
    }
    name
}

fn sibling(random: &mut Random, name: &[u8]) -> Name {
    match parent(name) {
        Some(parent) => below(random, parent, 1),
        None => name.to_vec(),
    }
}

/// A name as long as names get, so that a DNAME makes it too long (RFC 6672 §2.2).
fn long(random: &mut Random, name: &[u8]) -> Name {
    let mut name = name.to_vec();
    let length = random.between(180, 255);
    while name.len() + 2 <= length {
        let label = (length - name.len() - 1).min(random.between(1, 63));
        name = [&[label as u8][..], &vec![b'l'; label], &name].concat();
    }
    name
}

/// The name in upper and lower case, letter by letter. No length of a label is a letter.
fn mixed(random: &mut Random, name: &[u8]) -> Name {
    let mut mixed = name.to_vec();
    let mut at = 0;
    while let Some(length) = mixed.get(at).copied().map(usize::from).filter(|length| *length > 0) {
        for octet in &mut mixed[at + 1..=at + length] {
            if random.percent(50) {
                *octet = octet.to_ascii_uppercase();
            }
        }
        at += 1 + length;
    }
    mixed
}
