//! One decision, however it is asked for: what queries are answered, what explain says, what is simulated and what a drain then does.
//!
//! The world is that of the proof of scopes (`tests/overlap`), told as a story: no sockets, virtual time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Record, RecordType};
use ipnet::IpNet;
use signpost::model::{Counters, Name, Out, Subject};
use signpost::simulate::{DecidedName, NameReport, Place, Population, simulate};
use signpost::snapshot::{Snapshot, Update};
use signpost::wire::{self, Explanation, Outcome, Query, Transport, Worker};

use crate::message::Question;
use crate::overlap::{self, DOWN, DRAINED, Dice, FILES, PARTLY};
use crate::transcripts::Story;

/// The story up to where the proof of scopes begins.
fn begin() -> Story {
    let mut story = Story::of_files(FILES);
    for (service, ids) in DOWN {
        ids.iter().for_each(|id| story.tell(&format!("push {service}/{id} critical")));
    }
    DRAINED.iter().for_each(|subject| story.tell(&format!("drain {subject} override")));
    for subject in PARTLY {
        story.tell(&format!("drain {subject} override"));
        story.tell(&format!("undrain {subject} ramp=100s"));
        story.tell("advance 40s");
        story.tell(&format!("pause {subject}"));
    }
    story
}

/// Clients from everywhere, the same ones in each run.
fn clients(seed: u64, count: usize) -> Vec<IpAddr> {
    let mut dice = Dice(seed);
    let mut addresses = overlap::addresses(&mut dice, 6_000);
    dice.shuffle(&mut addresses);
    addresses.truncate(count);
    addresses
}

/// What is answered to a query with that draw: its records and its scope.
fn answer(snapshot: &Snapshot, name: &str, rtype: RecordType, client: IpAddr, seed: u64) -> (Vec<Record>, u8) {
    let length = if client.is_ipv4() { 32 } else { 128 };
    let mut question = Question::parse(&format!("{name} A ecs={client}/{length}"));
    question.rtype = rtype.into();
    let (bytes, mut reply) = (question.bytes(), vec![0; 65_535]);
    let query = Query { bytes: &bytes, peer: SocketAddr::new(question.from, 40_000), transport: Transport::Tcp, now_ms: 0 };
    let Outcome::Reply(length) = wire::answer(snapshot, &mut Worker::new(seed, Arc::new(Counters::default())), &query, &mut reply) else {
        panic!("{name} is not answered")
    };
    let message = Message::from_vec(&reply[..length]).unwrap();
    match message.edns.as_ref().and_then(|edns| edns.option(EdnsCode::Subnet)) {
        Some(EdnsOption::Subnet(subnet)) => (message.answers, subnet.scope_prefix()),
        _ => panic!("{name} is answered without the client's subnet"),
    }
}

/// The same, explained.
fn explained(snapshot: &Snapshot, name: &str, rtype: RecordType, client: IpAddr, seed: u64) -> Explanation {
    // A worker's draws are those of SplitMix64, and so are the dice.
    wire::explain(snapshot, &Name::parse(name).unwrap(), rtype.into(), client, Dice(seed).next())
}

/// Where every address of the world's instances is: its region.
fn regions() -> HashMap<String, String> {
    let mut regions = HashMap::new();
    for (_, text) in FILES.iter().filter(|(path, _)| path.starts_with("zones/")) {
        let zone: toml::Table = toml::from_str(&text.replacen("services = true\n", "", 1)).unwrap();
        let services = zone.get("services").and_then(|services| services.as_table());
        for instance in services.into_iter().flatten().flat_map(|(_, service)| service["instances"].as_table().unwrap()) {
            let region = instance.1["region"].as_str().unwrap();
            for address in instance.1["addresses"].as_array().unwrap() {
                regions.insert(address.as_str().unwrap().to_string(), region.to_string());
            }
        }
    }
    regions
}

/// Where an answer of type A to a query for `name` leads.
fn places(regions: &HashMap<String, String>, name: &str, answer: &[Record]) -> BTreeSet<Place> {
    let own: Vec<&Record> = answer.iter().filter(|record| record.name.to_ascii() == name).collect();
    if own.is_empty() {
        return [Place::Nothing].into();
    }
    let place = |record: &&Record| regions.get(&record.data.to_string()).map_or(Place::Records, |region| Place::Region(region.clone()));
    own.iter().map(place).collect()
}

#[test]
fn what_is_answered_is_what_is_explained() {
    let story = begin();
    let snapshot = story.snapshot();
    let regions = regions();
    let names = DecidedName::all(&snapshot);
    assert!(names.len() > 40, "{names:?}");
    let mut wrong = Vec::new();
    for (n, client) in clients(1, 60).into_iter().enumerate() {
        for (m, DecidedName { name, .. }) in names.iter().enumerate() {
            let seed = (n * 1_000 + m) as u64;
            for rtype in [RecordType::A, RecordType::AAAA, RecordType::SRV] {
                let (records, scope) = answer(&snapshot, name, rtype, client, seed);
                let told = explained(&snapshot, name, rtype, client, seed);
                // One that is IPv4-mapped is explained as the IPv4 client that it is.
                let scope = if client.to_canonical() == client { scope } else { scope.saturating_sub(96) };
                let records: Vec<String> = records.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data)).collect();
                let answer: Vec<String> = told.answer.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.r#type, r.data)).collect();
                if (&records, scope) != (&answer, told.scope) {
                    wrong
                        .push(format!("{name} {rtype} for {client}: {records:?} of scope {scope}, explained {answer:?} of {}", told.scope));
                }
                // The instances that explain says are picked are those whose addresses are answered.
                let last = told.names.last().unwrap();
                let picked = last.levels.iter().flat_map(|level| &level.instances).filter(|instance| instance.picked);
                let picked: BTreeSet<&str> = picked.map(|instance| instance.region.as_str()).collect();
                let answered: BTreeSet<&str> =
                    told.answer.iter().filter_map(|record| regions.get(&record.data)).map(String::as_str).collect();
                if rtype == RecordType::A && picked != answered {
                    wrong.push(format!("{name} for {client}: picked in {picked:?}, answered from {answered:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are told otherwise than answered:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

/// Holds what is simulated of each client against what it is answered, before and after.
fn hold(report: &[NameReport], before: &Snapshot, after: &Snapshot, count: usize) -> BTreeMap<String, usize> {
    let regions = regions();
    let mut wrong = Vec::new();
    let mut moved = BTreeMap::new();
    for NameReport { name, listed, .. } in report {
        assert_eq!(listed.len(), count, "{name}");
        for client in listed {
            for (snapshot, simulated) in [(before, &client.from), (after, &client.to)] {
                let draws = if simulated.len() > 1 { 64 } else { 3 };
                let answers = (0..draws).map(|seed| answer(snapshot, name, RecordType::A, client.client.addr(), seed).0);
                let found: BTreeSet<Place> = answers.flat_map(|records| places(&regions, name, &records)).collect();
                let possible: BTreeSet<Place> =
                    simulated.iter().filter(|(_, share)| **share > 0.0).map(|(place, _)| place.clone()).collect();
                if found != possible {
                    wrong.push(format!("{name} for {}: {simulated:?}, answered from {found:?}", client.client));
                }
            }
            *moved.entry(name.clone()).or_default() += usize::from(client.from != client.to);
        }
    }
    assert!(wrong.is_empty(), "{} are answered otherwise than simulated:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    moved
}

#[test]
fn what_is_simulated_is_what_a_drain_then_does() {
    let mut story = begin();
    let before = story.snapshot();
    let nets = clients(2, 60).into_iter().map(IpNet::from);
    let population = Population::of(nets);
    let names = DecidedName::all(&before);
    let mut outs = story.outs();
    outs.insert(Subject::parse("region/ams").unwrap(), Out::DRAINED);
    let (mut regions, mut azs) = (BTreeMap::new(), BTreeMap::new());
    for (subject, out) in outs {
        match subject {
            Subject::Region(region) => _ = regions.insert(region, out),
            Subject::Az(az) => _ = azs.insert(az, out),
            Subject::Service(_) | Subject::Instance(_) => {}
        }
    }
    let after = before.update(&[Update::Drained { regions: &regions, azs: &azs }]).unwrap();
    let lost = ["region/ams".to_string()];
    let report = simulate(&before, &after, &population, &names, &lost, &BTreeMap::new(), true);
    story.tell("drain region/ams override");
    let moved = hold(&report.names, &before, &story.snapshot(), population.len());
    // Whom nothing serves from there, or who is served from elsewhere already, stays.
    for (name, moves) in [("web", true), ("half", true), ("nested", true), ("by-prefix", false), ("weighted", false), ("latency", false)] {
        assert_eq!(moved[&format!("{name}.svc.example.")] > 0, moves, "{name}");
    }
}
