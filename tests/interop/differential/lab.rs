//! Families served by all three, and queries judged.

use std::sync::Arc;

use signpost::config::zone_text;
use signpost::model::{Counters, Settings, Zone as ModelZone};
use signpost::snapshot::{Snapshot, Update};
use signpost::wire::{Outcome, Query as WireQuery, Transport, Worker, answer};

use super::compare::{self, Aspect, Fault, Known, Zone};
use super::excuses::{Allows, Difference, EXCUSES};
use super::message::{Message, NS, Name, Record, SOA, canonical_data};
use super::peers::{Kind, Peer, Served};
use super::queries::Query;
use super::zones::Family;

/// All three servers with the same families.
pub struct Lab {
    peers: Vec<Peer>,
    snapshot: Snapshot,
    families: Vec<Result<Known, Refusal>>,
}

/// Why a family cannot be asked about.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// Some take the zone, and others do not.
    Partial(String),
    /// Nobody takes it: it is not legal.
    Unanimous,
    /// All take it, and read other records.
    Misread(String),
}

/// A query, and what each said.
pub struct Case<'q> {
    pub family: usize,
    pub query: &'q Query,
    pub ours: Option<Message>,
    /// Ours over TCP, where the one over UDP or theirs was cut.
    pub whole: Option<Message>,
    pub theirs: Vec<Option<Message>>,
}

/// What came of comparing a case with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// The place of the rule in [`EXCUSES`].
    Excused(usize),
    Different(Vec<Aspect>),
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// By peer.
    pub verdicts: Vec<Verdict>,
    /// Ours.
    pub faults: Vec<Fault>,
    /// By peer: told, and no difference.
    pub their_faults: Vec<Vec<Fault>>,
}

/// The apex of the family of this number.
pub fn apex_text(family: usize) -> String {
    format!("z{family:05}.test.")
}

/// A name without escapes in wire form.
pub fn wire_name(text: &str) -> Name {
    let labels = text.split('.').filter(|label| !label.is_empty());
    labels.flat_map(|label| [&[label.len() as u8], label.to_ascii_lowercase().as_bytes()].concat()).chain([0]).collect()
}

impl Lab {
    pub fn start(families: &[Family]) -> Lab {
        let mut zones: Vec<(usize, Served)> = Vec::new();
        for (n, family) in families.iter().enumerate() {
            let apex = apex_text(n);
            for source in &family.zones {
                let name = source.apex_text(&apex).trim_end_matches('.').to_string();
                zones.push((n, Served { apex: name, text: source.text(&apex) }));
            }
        }
        let owners: Vec<usize> = zones.iter().map(|(n, _)| *n).collect();
        let zones: Vec<Served> = zones.into_iter().map(|(_, zone)| zone).collect();
        let peers = Kind::ALL.map(|kind| Peer::start(kind, &zones)).into();
        let mut lab = Lab { peers, snapshot: Snapshot::empty(), families: Vec::new() };
        lab.families = families.iter().map(|_| Ok(Known { zones: Vec::new() })).collect();
        let mut ours = Vec::new();
        for (n, zone) in owners.iter().zip(&zones) {
            match lab.load(zone) {
                Ok((model, known)) => {
                    ours.push(model);
                    if let Ok(family) = &mut lab.families[*n] {
                        family.zones.push(known);
                    }
                }
                Err(refusal) => lab.families[*n] = Err(refusal),
            }
        }
        let dns = signpost::model::DnsSettings { udp_payload: 4096, ..Settings::default().dns };
        let update = [Update::Dns(&dns), Update::Zones(&ours)];
        lab.snapshot = Snapshot::empty().update(&update).unwrap_or_else(|error| panic!("all zones together: {error}"));
        lab
    }

    /// Loads a zone with all three, and looks whether they hold the same records.
    fn load(&self, zone: &Served) -> Result<(ModelZone, Zone), Refusal> {
        let ours = zone_text(&format!("{}.zone", zone.apex.replace('*', "\\042")), &zone.text)
            .map_err(|findings| findings.iter().map(|f| format!("\n    {f}")).collect::<String>())
            .and_then(|(model, _)| {
                let compiled = Snapshot::empty().update(&[Update::Zones(std::slice::from_ref(&model))]);
                compiled.map(|_| model).map_err(|error| format!("\n    {error}"))
            });
        let theirs: Vec<Option<Vec<Record>>> = self.peers.iter().map(|peer| peer.transfer(&zone.apex)).collect();
        if ours.is_err() && theirs.iter().all(Option::is_none) {
            return Err(Refusal::Unanimous);
        }
        for (peer, theirs) in self.peers.iter().zip(&theirs) {
            if theirs.is_none() {
                let log: Vec<String> = peer.log().lines().filter(|line| line.contains(&zone.apex)).map(String::from).collect();
                return Err(Refusal::Partial(format!("{} does not load {}\n{}", peer.kind.name(), zone.apex, log.join("\n"))));
            }
        }
        let model = ours.map_err(|reason| Refusal::Partial(format!("Signpost does not load {}{reason}", zone.apex)))?;
        let held = records_of(&model);
        for (peer, theirs) in self.peers.iter().zip(&theirs) {
            let mut theirs = theirs.clone().unwrap_or_default();
            theirs.sort();
            if theirs != held {
                let only = |these: &[Record], not: &[Record]| {
                    these.iter().filter(|r| !not.contains(r)).map(|r| format!("\n    {r}")).collect::<String>()
                };
                let text = format!(
                    "{} and we hold other records of {}\n  theirs alone:{}\n  ours alone:{}",
                    peer.kind.name(),
                    zone.apex,
                    only(&theirs, &held),
                    only(&held, &theirs)
                );
                return Err(Refusal::Misread(text));
            }
        }
        Ok((model, Zone::new(wire_name(&zone.apex), held)))
    }

    /// The families that can be asked about.
    pub fn families(&self) -> &[Result<Known, Refusal>] {
        &self.families
    }

    /// Asks all three.
    pub fn ask<'q>(&self, queries: &[(usize, &'q Query)]) -> Vec<Case<'q>> {
        let bytes: Vec<Vec<u8>> = queries.iter().map(|(_, query)| query.bytes()).collect();
        std::thread::scope(|scope| {
            let asked: Vec<_> = self.peers.iter().map(|peer| scope.spawn(|| peer.ask(&bytes))).collect();
            let mut worker = Worker::new(1, Arc::new(Counters::default()));
            let ours: Vec<Option<Message>> = bytes.iter().map(|query| self.ask_ours(&mut worker, query, Transport::Udp)).collect();
            let theirs: Vec<Vec<Vec<u8>>> = asked.into_iter().map(|thread| thread.join().expect("a peer that answers")).collect();
            let cases = queries.iter().zip(ours).enumerate().map(|(n, ((family, query), ours))| {
                let theirs: Vec<Option<Message>> = theirs.iter().map(|replies| Message::read(&replies[n])).collect();
                let cut = [&ours].into_iter().chain(&theirs).flatten().any(|message| message.has(Message::TC));
                let whole = cut.then(|| self.ask_ours(&mut worker, &bytes[n], Transport::Tcp)).flatten();
                Case { family: *family, query, ours, whole, theirs }
            });
            cases.collect()
        })
    }

    fn ask_ours(&self, worker: &mut Worker, query: &[u8], transport: Transport) -> Option<Message> {
        let mut reply = vec![0; 65_535];
        let query = WireQuery { bytes: query, peer: ([127, 0, 0, 1], 53).into(), transport, now_ms: 0 };
        match answer(&self.snapshot, worker, &query, &mut reply) {
            Outcome::Reply(length) => Message::read(&reply[..length]),
            _ => None,
        }
    }

    /// Judges a case of a family that all have loaded.
    pub fn judge(&self, case: &Case<'_>, known: &Known) -> Judgement {
        let their_faults = |theirs: &Option<Message>| match theirs {
            Some(theirs) => compare::faults(case.query, theirs, known),
            None => vec![Fault::Unreadable],
        };
        let their_faults: Vec<Vec<Fault>> = case.theirs.iter().map(their_faults).collect();
        let Some(ours) = &case.ours else {
            return Judgement { verdicts: vec![Verdict::Same; case.theirs.len()], faults: vec![Fault::Unreadable], their_faults };
        };
        let mut faults = compare::faults(case.query, ours, known);
        if case.whole.as_ref().is_some_and(|whole| !compare::is_cut_of(ours, whole, case.query)) {
            faults.push(Fault::Cut);
        }
        let verdicts = case.theirs.iter().zip(Kind::ALL).map(|(theirs, peer)| {
            // What cannot be read is a fault of theirs, and nothing to compare with.
            let Some(theirs) = theirs else { return Verdict::Same };
            let aspects = match &case.whole {
                Some(whole) => compare::differences_when_cut(whole, theirs, known),
                None => compare::differences(ours, theirs, known),
            };
            if aspects.is_empty() {
                return Verdict::Same;
            }
            let ours = case.whole.as_ref().unwrap_or(ours);
            let difference = Difference { query: case.query, ours, theirs, peer, known, aspects: &aspects };
            match EXCUSES.iter().position(|excuse| (excuse.holds)(&difference)) {
                Some(rule) => Verdict::Excused(rule),
                None => Verdict::Different(aspects),
            }
        });
        let mut verdicts: Vec<Verdict> = verdicts.collect();
        // Where a peer is held to be wrong, the other one is not, or in another way.
        let alone = |verdict: &Verdict| matches!(verdict, Verdict::Excused(rule) if EXCUSES[*rule].allows == Allows::OursAlone);
        let both = verdicts.iter().all(|verdict| alone(verdict) && *verdict == verdicts[0]);
        if both || verdicts.iter().any(|verdict| matches!(verdict, Verdict::Different(_))) {
            verdicts.iter_mut().filter(|verdict| alone(verdict)).for_each(|verdict| *verdict = Verdict::Different(Vec::new()));
        }
        Judgement { verdicts, faults, their_faults }
    }
}

/// The records that a zone of ours holds, sorted.
fn records_of(zone: &ModelZone) -> Vec<Record> {
    let record = |owner: &[u8], rtype: u16, ttl: u32, data: &[u8]| Record {
        owner: owner.to_ascii_lowercase(),
        rtype,
        class: 1,
        ttl,
        data: canonical_data(rtype, data),
    };
    let soa = &zone.soa;
    let negative = u32::try_from(zone.ttl.negative.millis() / 1000).unwrap_or(u32::MAX);
    let numbers = [soa.serial, soa.refresh, soa.retry, soa.expire, negative].map(u32::to_be_bytes).concat();
    let soa_data = [soa.primary.wire(), soa.contact.wire(), &numbers].concat();
    let apex = zone.apex.wire();
    let mut records = vec![record(apex, SOA, soa.ttl, &soa_data)];
    records.extend(zone.ns.iter().map(|name| record(apex, NS, zone.ns_ttl, name.wire())));
    for ((owner, rtype), set) in &zone.records {
        records.extend(set.rdata.iter().map(|data| record(owner.wire(), *rtype, set.ttl, data)));
    }
    records.sort();
    records
}
