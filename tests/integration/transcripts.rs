//! Runs the stories of `tests/transcripts/`: see the README there for their lines.
//!
//! The writer and the answer are the product's; the store always says yes, time is a number, and probes are lines of the story.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use signpost::config;
use signpost::control::{Input, Landing, Observation, ProbeOrder, Writer};
use signpost::model::{
    Algorithm, CheckState, Counter, Counters, Denial, Drain, DrainFields, Instance, InstanceKey, Label, Name, Out, Period, ProbeResult,
    Pushed, Revision, Service, ServiceFields, Settings, Subject, Timestamp,
};
use signpost::registry::{Command, Precondition};
use signpost::serve::signing::Signer;
use signpost::sign::Keyring;
use signpost::snapshot::Snapshot;
use signpost::wire::{Outcome, Query, Transport, Worker};

use crate::dnssec::{self, Anchors};
use crate::message::{CookieAsked, Question, cookie_of, render, summary};

/// Where a story's declared services come from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Declared {
    InTheZoneFile,
    OverTheApi,
}

/// An instance's check, as the prober would have it.
struct Checked {
    /// The number of the order.
    order: u64,
    state: CheckState,
}

/// The world of a story.
pub struct Story {
    declared: Declared,
    folder: tempfile::TempDir,
    files: BTreeMap<String, String>,
    /// Apexes of zones that are signed, each with its algorithm; `*`: all.
    signed: Vec<(String, Algorithm, Denial)>,
    signer: Signer,
    anchors: Anchors,
    /// The file of the zone that holds the declared services.
    zone: Option<String>,
    services: BTreeMap<String, Value>,
    instances: Vec<(InstanceKey, Value)>,
    writer: Option<Writer<usize>>,
    now: Timestamp,
    revision: u64,
    checks: HashMap<InstanceKey, Checked>,
    counters: Arc<Counters>,
    counted: HashMap<Counter, u64>,
    worker: Worker,
    questions: usize,
    /// The cookie that each client was given last.
    cookies: HashMap<IpAddr, Vec<u8>>,
}

impl Story {
    /// A story that has begun with these files: path and text.
    pub fn of_files(files: &[(&str, &str)]) -> Story {
        Story::signed(files, &[])
    }

    /// The same with these zones signed.
    pub fn signed(files: &[(&str, &str)], apexes: &[&str]) -> Story {
        let mut story = Story::new(Declared::InTheZoneFile);
        apexes.iter().for_each(|apex| story.tell(&format!("sign {apex}")));
        story.files = files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
        story.tell("start");
        story
    }

    /// Tells a line of which nothing is refused.
    pub fn tell(&mut self, line: &str) {
        let refused = self.line(line, &[]);
        assert!(refused.is_empty(), "{line}: {refused:?}");
    }

    /// The world as queries see it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.writer.as_ref().expect("the story has started").snapshot().clone()
    }

    /// Who signs, and what is signed.
    pub fn signer(&self) -> (&Signer, &Anchors) {
        (&self.signer, &self.anchors)
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What is out of answers, and how far.
    pub fn outs(&self) -> BTreeMap<Subject, Out> {
        let registry = self.writer.as_ref().expect("the story has started").registry().read().unwrap();
        registry.drains.iter().map(|(subject, entry)| (subject.clone(), entry.drain.out(self.now))).collect()
    }

    fn new(declared: Declared) -> Story {
        let counters = Arc::new(Counters::default());
        Story {
            declared,
            folder: tempfile::tempdir().unwrap(),
            files: BTreeMap::new(),
            signed: Vec::new(),
            signer: Signer::default(),
            anchors: Anchors::default(),
            zone: None,
            services: BTreeMap::new(),
            instances: Vec::new(),
            writer: None,
            now: Timestamp(1_800_000_000_000),
            revision: 0,
            checks: HashMap::new(),
            worker: Worker::new(7, counters.clone()),
            counters,
            counted: HashMap::new(),
            questions: 0,
            cookies: HashMap::new(),
        }
    }

    /// Takes one line and its block; returns the lines that come of it.
    fn line(&mut self, line: &str, block: &[&str]) -> Vec<String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "zone" => {
                let file = format!("zones/{rest}.toml");
                self.files.insert(file.clone(), block.join("\n") + "\n");
                self.zone.get_or_insert(file);
                Vec::new()
            }
            "geo" => {
                self.files.insert(format!("geo/{rest}.toml"), block.join("\n") + "\n");
                Vec::new()
            }
            "settings" => {
                self.files.insert("signpost.toml".into(), format!("version = 1\n{}\n", block.join("\n")));
                Vec::new()
            }
            "service" => {
                let (name, json) = rest.split_once(' ').unwrap();
                self.services.insert(name.into(), serde_json::from_str(json).unwrap());
                Vec::new()
            }
            "instance" => {
                let (key, json) = instance(rest);
                self.services.entry(key.service.to_string()).or_insert_with(|| json!({}));
                self.instances.push((key, json));
                Vec::new()
            }
            "sign" => {
                let mut words = rest.split(' ');
                let apex = words.next().unwrap().into();
                let (mut algorithm, mut denial) = (Algorithm::Ed25519, Denial::Compact);
                for word in words {
                    match Algorithm::ALL.into_iter().find(|known| known.name() == word) {
                        Some(known) => algorithm = known,
                        None if word == "nsec3" => denial = Denial::Nsec3,
                        None => panic!("{word} is no algorithm"),
                    }
                }
                self.signed.push((apex, algorithm, denial));
                Vec::new()
            }
            "start" => self.start(),
            "register" => {
                let (key, json) = instance(rest);
                match serde_json::from_value::<Instance>(json) {
                    Ok(instance) => {
                        self.command(Command::PutInstance { key, instance: Arc::new(instance), precondition: Precondition::None })
                    }
                    Err(error) => vec![format!("unreadable: {error}")],
                }
            }
            "deregister" => self.command(Command::DeleteInstance { key: key(rest), precondition: Precondition::None }),
            "drain" => {
                let mut words = rest.split(' ');
                let subject = Subject::parse(words.next().unwrap()).unwrap();
                let mut fields = DrainFields { reason: "a story".into(), ..DrainFields::default() };
                for word in words {
                    match word.split_once('=') {
                        Some(("ramp", period)) => fields.ramp = Some(period.parse().unwrap()),
                        None if word == "override" => fields.r#override = Some("a story".into()),
                        None => fields.expires = Some(word.parse().unwrap()),
                        Some(_) => panic!("{word} is no part of a drain"),
                    }
                }
                match Drain::start(fields, "somebody", self.now) {
                    Ok(drain) => self.command(Command::Drain { subject, drain }),
                    Err(error) => vec![format!("refused: {}: {}", error.field, error.expected)],
                }
            }
            "undrain" => {
                let (subject, ramp) = rest.split_once(' ').map_or((rest, None), |(subject, ramp)| (subject, Some(ramp)));
                let ramp = ramp.map(|ramp| ramp.strip_prefix("ramp=").unwrap().parse().unwrap());
                self.command(Command::Undrain { subject: Subject::parse(subject).unwrap(), ramp })
            }
            "pause" => self.command(Command::Pause { subject: Subject::parse(rest).unwrap() }),
            "resume" => self.command(Command::Resume { subject: Subject::parse(rest).unwrap() }),
            "push" => {
                let (instance, status) = rest.split_once(' ').unwrap();
                let pushed: Pushed = serde_json::from_value(json!({ "status": status })).unwrap();
                self.command(Command::Push { key: key(instance), pushed })
            }
            "beat" => self.input(Input::Beat { reply: 0, key: key(rest) }),
            "probe" => self.probe(rest),
            "advance" => self.advance(rest.parse().unwrap()),
            "counters" => self.count(),
            ">" => self.ask(&Question::parse(rest)),
            _ => panic!("{line:?} is no line of a transcript"),
        }
    }

    fn start(&mut self) -> Vec<String> {
        if self.declared == Declared::InTheZoneFile {
            let mut services = self.services.clone();
            for (key, instance) in &self.instances {
                services.get_mut(key.service.as_str()).unwrap()["instances"][key.id.as_str()] = instance.clone();
            }
            if !services.is_empty() {
                let toml = toml::to_string(&json!({ "services": services })).unwrap();
                let zone = self.files.get_mut(self.zone.as_ref().expect("a zone")).unwrap();
                zone.push_str(&toml);
                // Keys of the zone itself stand before its tables; `services = true` cannot stand beside `[services.…]`.
                *zone = zone.replacen("services = true\n", "", 1);
            }
        }
        for (name, text) in &self.files {
            let path = self.folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let file = self.folder.path().join("signpost.toml");
        let told = if file.exists() { config::settings(Some(&file), &BTreeMap::new()).unwrap() } else { Settings::default() };
        let settings =
            Settings { file: Some(file), zones_dir: self.folder.path().join("zones"), geo_dir: self.folder.path().join("geo"), ..told };
        let mut world = match config::world(&settings) {
            Ok(world) => world,
            Err(findings) => panic!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        };
        let mut keyring = Keyring::default();
        for (n, zone) in world.zones.iter_mut().enumerate() {
            let is_it = |(apex, ..): &&(String, Algorithm, Denial)| apex == "*" || Name::parse(apex).unwrap() == zone.apex;
            if let Some((_, algorithm, denial)) = self.signed.iter().find(is_it) {
                dnssec::sign(zone, *algorithm, *denial, 1 + n as u8, &mut keyring);
            }
        }
        self.signer = Signer::new(Arc::new(ArcSwap::from_pointee(keyring)));
        self.anchors = Anchors::of(&world.zones);
        self.writer = Some(Writer::begin((Revision(0), Vec::new()), world.zones, world.geo, &settings.dns, self.now).unwrap());
        let mut lines = Vec::new();
        if self.declared == Declared::OverTheApi {
            for (name, fields) in std::mem::take(&mut self.services) {
                let fields: ServiceFields = serde_json::from_value(fields).unwrap();
                if fields != ServiceFields::default() {
                    let service = Service::from_fields(fields, &|_, _| Err("records stand in zone files only".into())).unwrap();
                    let name = Label::parse(&name).unwrap();
                    lines.extend(self.command(Command::PutService { name, service: Arc::new(service), precondition: Precondition::None }));
                }
            }
            for (key, instance) in std::mem::take(&mut self.instances) {
                let instance = Arc::new(serde_json::from_value(instance).unwrap());
                lines.extend(self.command(Command::PutInstance { key, instance, precondition: Precondition::None }));
            }
        }
        // What the prober asks for when it starts.
        let orders = self.writer.as_ref().unwrap().probe_orders();
        self.order(orders);
        lines
    }

    fn command(&mut self, command: Command) -> Vec<String> {
        self.input(Input::Command { reply: 0, command, author: "somebody".into() })
    }

    /// Gives one input to the writer, carries what departs to the store that always says yes, and returns refusals.
    fn input(&mut self, input: Input<usize>) -> Vec<String> {
        let now = self.now;
        self.writer.as_mut().expect("the story has started").handle(now, input);
        self.settle()
    }

    fn settle(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let writer = self.writer.as_mut().unwrap();
            let departure = writer.depart(self.now);
            let output = writer.output(self.now);
            let folder = format!("{}/", self.folder.path().display());
            let refused = output.answers.into_iter().filter_map(|(_, answer)| answer.err());
            lines.extend(refused.map(|error| format!("refused: {error}").replace(&folder, "")));
            self.order(output.orders);
            let Some(departure) = departure else { return lines };
            let mut land = || {
                self.revision += 1;
                Ok(Revision(self.revision))
            };
            let commands = departure.commands.iter().map(|_| land()).collect();
            let landing = Landing { commands, behind: (!departure.behind.is_empty()).then(land) };
            self.writer.as_mut().unwrap().land(self.now, landing);
        }
    }

    /// What the prober would be told.
    fn order(&mut self, orders: Vec<ProbeOrder>) {
        for order in orders {
            match order.probes {
                Some(probes) => {
                    let state = CheckState::new(&probes.checks[0].0, probes.last);
                    self.checks.insert(order.key, Checked { order: probes.order, state });
                }
                None => _ = self.checks.remove(&order.key),
            }
        }
    }

    fn probe(&mut self, rest: &str) -> Vec<String> {
        let mut words = rest.split(' ');
        let key = key(words.next().unwrap());
        let result = match words.next().unwrap() {
            "pass" => ProbeResult::Pass,
            "fail" => ProbeResult::Fail("connection refused".into()),
            other => panic!("{other} is no result"),
        };
        let times = words.next().map_or(1, |n| n.parse().unwrap());
        let mut lines = Vec::new();
        for _ in 0..times {
            let Checked { order, state } = self.checks.get_mut(&key).unwrap_or_else(|| panic!("{key} has no check"));
            let wavered = state.wavers();
            if state.observe(&result) || state.wavers() != wavered {
                let (order, health, wavers, why) = (*order, state.health, state.wavers(), state.why.clone());
                lines.extend(self.input(Input::Observation(Observation { key: key.clone(), order, health, wavers, why })));
            }
        }
        lines
    }

    fn advance(&mut self, period: Period) -> Vec<String> {
        let end = self.now.plus(period.0);
        let mut lines = Vec::new();
        while let Some(due) = self.writer.as_ref().unwrap().next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.writer.as_mut().unwrap().tick(self.now);
            lines.extend(self.settle());
        }
        self.now = end;
        lines
    }

    fn ask(&mut self, question: &Question) -> Vec<String> {
        self.questions += 1;
        let mut question = question.clone();
        if let (Some(CookieAsked::Good), Some(cookie)) = (&question.cookie, self.cookies.get(&question.from)) {
            question.cookie = Some(CookieAsked::Octets(cookie.clone()));
        }
        let bytes = question.bytes();
        let snapshot = self.writer.as_ref().expect("the story has started").snapshot().clone();
        let mut reply = vec![0; 65_535];
        let peer = SocketAddr::new(question.from, 40_000);
        let transport = match (question.tcp, question.tls) {
            (_, true) => Transport::Tls,
            (true, _) => Transport::Tcp,
            _ => Transport::Udp,
        };
        let query = Query { bytes: &bytes, peer, transport, now_ms: self.now.0 };
        let mut answer = || match self.signer.answer(&snapshot, &mut self.worker, &query, &mut reply) {
            Outcome::Reply(length) => {
                let reply = reply[..length].to_vec();
                if question.flags & 0x80 != 0 && question.rtype != 255 && reply[3] & 15 != 1 {
                    dnssec::validate(&reply, &self.anchors, self.now.0).unwrap_or_else(|why| panic!("{}: {why}", question.name));
                }
                cookie_of(&reply).into_iter().for_each(|cookie| _ = self.cookies.insert(question.from, cookie));
                Some(reply)
            }
            Outcome::Drop => None,
            Outcome::Punt(punt) => panic!("nobody's names are forwarded here, and yet {punt:?}"),
        };
        let Some(draws) = question.draws else {
            return answer().map_or_else(|| vec!["no reply".into()], |reply| render(&reply, &question));
        };
        let mut shares: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..draws {
            *shares.entry(answer().map_or_else(|| "no reply".into(), |reply| summary(&reply))).or_default() += 1;
        }
        shares.iter().map(|(answer, n)| format!("{:.0}% {answer}", *n as f64 * 100.0 / draws as f64)).collect()
    }

    fn count(&mut self) -> Vec<String> {
        let mut line = String::new();
        for counter in Counter::ALL {
            let total = self.counters.get(*counter);
            let before = self.counted.insert(*counter, total).unwrap_or(0);
            if total > before {
                let _ = write!(line, " {}={}", counter.as_str(), total - before);
            }
        }
        vec![line.trim_start().into()]
    }
}

fn key(text: &str) -> InstanceKey {
    match Subject::parse(&format!("instance/{text}")) {
        Ok(Subject::Instance(key)) => key,
        _ => panic!("{text} is no SERVICE/ID"),
    }
}

/// Reads an instance's line.
fn instance(line: &str) -> (InstanceKey, Value) {
    let mut words = line.split_whitespace();
    let key = key(words.next().expect("SERVICE/ID"));
    let addresses: Vec<&str> = words.next().expect("addresses").split(',').collect();
    let (region, az) = words.next().and_then(|w| w.split_once('/')).expect("REGION/AZ");
    let mut body = json!({ "addresses": addresses, "region": region, "az": az });
    let mut tags = Vec::new();
    for word in words {
        match word.split_once(['=', ':']) {
            None if word == "check" => body["checks"] = json!([{ "tcp": true }]),
            Some(("weight", weight)) => body["weight"] = weight.parse::<u32>().expect("a weight").into(),
            Some(("tag", tag)) => tags.push(tag),
            Some(("meta", pair)) => {
                let (name, value) = pair.split_once('=').expect("meta=NAME=VALUE");
                body["meta"][name] = value.into();
            }
            Some(("heartbeat", period)) => body["heartbeat"] = period.into(),
            Some(("expire", period)) => body["deregister_after"] = period.into(),
            Some((port, number)) if word.contains(':') => {
                body["ports"][port] = number.parse::<u16>().map_or_else(|_| number.into(), Value::from);
            }
            _ => panic!("{word} is no part of an instance"),
        }
    }
    if !tags.is_empty() {
        body["tags"] = json!(tags);
    }
    (key, body)
}

/// Tells a whole file; returns it with what came of each line, and how many questions it asked.
fn tell(text: &str, declared: Declared) -> (String, usize) {
    let mut story = Story::new(declared);
    let mut told = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let _ = writeln!(told, "{line}");
        let mut block = Vec::new();
        while let Some(indented) = lines.peek().and_then(|next| next.strip_prefix("  ")) {
            block.push(indented);
            lines.next();
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let came = story.line(line, &block);
        // Blocks of files are kept; everything else is what came of the line.
        let kept: Vec<String> = if line.starts_with("zone ") || line.starts_with("geo ") || line == "settings" {
            block.iter().map(|l| l.to_string()).collect()
        } else {
            came
        };
        for line in kept {
            let _ = writeln!(told, "{}", format!("  {line}").trim_end());
        }
    }
    (told, story.questions)
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    files
}

fn check(declared: Declared) -> usize {
    let mut questions = 0;
    let mut wrong = String::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let (told, asked) = tell(&text, declared);
        questions += asked;
        if told == text {
            continue;
        }
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() && declared == Declared::InTheZoneFile {
            std::fs::write(&path, &told).unwrap();
            continue;
        }
        let _ = writeln!(wrong, "{} differs, with services {declared:?}:", path.file_name().unwrap().to_string_lossy());
        let (mut question, mut shown) = ("", 0);
        let (expected, found): (Vec<&str>, Vec<&str>) = (text.lines().collect(), told.lines().collect());
        let first = expected.iter().zip(&found).position(|(a, b)| a != b).unwrap_or(expected.len().min(found.len()));
        question = expected[..first].iter().rev().find(|l| !l.starts_with(' ')).unwrap_or(&question);
        let _ = writeln!(wrong, "  line {}, after {question}", first + 1);
        for line in expected.iter().skip(first).take(8) {
            shown += 1;
            let _ = writeln!(wrong, "  - {line}");
        }
        for line in found.iter().skip(first).take(shown) {
            let _ = writeln!(wrong, "  + {line}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    questions
}

#[test]
fn stories_hold_with_services_in_the_zone_file() {
    assert!(check(Declared::InTheZoneFile) >= 200);
}

#[test]
fn stories_hold_with_services_registered_over_the_api() {
    assert!(check(Declared::OverTheApi) >= 200);
}
