//! A small world: one zone with services, one without, two regions, and a client of each.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};

use super::super::{Outcome, Query, Transport, Worker, answer, answer_again};
use crate::codec::code::rtype;
use crate::model::{
    BranchFields, Code, Coordinates, Counter, Counters, DnsSettings, Geo, Health, Instance, Label, Locality, Name, Out, Owner, Place,
    Policy, RecordSet, Region, Service, ServiceFields, Vitals, Zone,
};
use crate::snapshot::{InstanceView, ServiceView, Snapshot, Update};

pub struct World {
    pub snapshot: Snapshot,
    pub worker: Worker,
    pub now_ms: u64,
    /// How often the slow path was needed.
    pub punts: usize,
    services: BTreeMap<Label, Service>,
    instances: BTreeMap<Label, BTreeMap<Label, (Instance, Vitals, bool)>>,
}

pub fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A record from text: type and data of the few types that tests need.
pub fn record(text: &str) -> (u16, Box<[u8]>) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let numbers = |range: std::ops::Range<usize>| words[range].iter().flat_map(|w| w.parse::<u16>().unwrap().to_be_bytes());
    let named = |at: usize| Name::parse(words[at]).unwrap().wire().to_vec();
    match words[0] {
        "A" => (rtype::A, words[1].parse::<std::net::Ipv4Addr>().unwrap().octets().into()),
        "AAAA" => (rtype::AAAA, words[1].parse::<std::net::Ipv6Addr>().unwrap().octets().into()),
        "NS" => (rtype::NS, named(1).into()),
        "CNAME" => (rtype::CNAME, named(1).into()),
        "DNAME" => (rtype::DNAME, named(1).into()),
        "MX" => (rtype::MX, numbers(1..2).chain(named(2)).collect()),
        "SRV" => (rtype::SRV, numbers(1..4).chain(named(4)).collect()),
        "TXT" => (rtype::TXT, std::iter::once(words[1].len() as u8).chain(words[1].bytes()).collect()),
        "DS" => (rtype::DS, [0, 1, 8, 2].into_iter().chain([7; 32]).collect()),
        other => panic!("{other}"),
    }
}

/// A zone with records given as `owner TYPE data`, and policies as (owner, JSON).
pub fn zone(apex: &str, services: bool, records: &[&str], policies: &[(&str, &str)]) -> Zone {
    let apex = name(apex);
    let within = |text: &str| Name::parse_relative(text, Some(&apex)).unwrap();
    let mut sets: BTreeMap<(Name, u16), RecordSet> = BTreeMap::new();
    for line in records {
        let (owner, data) = line.split_once(' ').unwrap();
        let (rtype, data) = record(data);
        sets.entry((within(owner), rtype)).or_insert(RecordSet { ttl: 60, rdata: Vec::new() }).rdata.push(data);
    }
    let policy = |json: &str| {
        let fields: BranchFields = serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"));
        let parse = |rtype: &str, text: &str| Ok(record(&format!("{rtype} {text}")));
        Policy::from_fields(&fields, Owner::Name, &parse).unwrap()
    };
    let names = policies.iter().map(|(owner, json)| (within(owner), policy(json))).collect();
    let primary = within("ns1");
    Zone { services, records: sets, names, ..Zone::new(apex.clone(), "zones/test.toml", primary, 7) }
}

impl World {
    pub fn new(zones: &[Zone]) -> World {
        let code = |text: &str| Some(Code::parse(text).unwrap());
        let region = |latitude, longitude| Region {
            coordinates: Some(Coordinates { latitude, longitude }),
            azs: vec![label("az-1"), label("az-2")],
            ..Region::default()
        };
        let in_region = |region: &str, country: &str| Place { region: Some(label(region)), country: code(country), ..Place::default() };
        let geo = Geo {
            regions: Some([(label("boston"), region(42.4, -71.1)), (label("london"), region(51.5, -0.1))].into()),
            networks: vec![
                ("198.51.100.0/24".parse().unwrap(), in_region("boston", "US")),
                ("100.64.0.0/24".parse().unwrap(), Place { az: Some(label("az-2")), ..in_region("boston", "US") }),
                ("203.0.113.0/24".parse().unwrap(), in_region("london", "GB")),
                ("2001:db8:1::/48".parse().unwrap(), in_region("london", "GB")),
            ],
            rtt_ms: [((label("boston"), label("london")), 76.0)].into(),
            ..Geo::default()
        };
        let snapshot = Snapshot::empty().update(&[Update::Geo(&geo), Update::Zones(zones)]).unwrap();
        let worker = Worker::new(1, Arc::new(Counters::default()));
        World { snapshot, worker, now_ms: 0, punts: 0, services: BTreeMap::new(), instances: BTreeMap::new() }
    }

    /// Changes settings, as a reload does.
    pub fn dns(&mut self, change: impl FnOnce(&mut DnsSettings)) {
        change(Arc::make_mut(&mut self.snapshot.dns));
    }

    /// Declares a service's settings.
    pub fn service(mut self, service: &str, json: &str) -> World {
        let fields: ServiceFields = serde_json::from_str(json).unwrap();
        let parse = |rtype: &str, text: &str| Ok(record(&format!("{rtype} {text}")));
        self.services.insert(label(service), Service::from_fields(fields, &parse).unwrap());
        self
    }

    /// Registers instances: `web/b1 192.0.2.11,2001:db8::11 boston/az-1 http:8080 weight=5 tag=x health=unhealthy drained`.
    pub fn with(mut self, lines: &[&str]) -> World {
        for line in lines {
            self.put(line);
        }
        self.publish();
        self
    }

    fn put(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (service, id) = words.next().unwrap().split_once('/').unwrap();
        let addresses: Vec<IpAddr> = words.next().unwrap().split(',').map(|a| a.parse().unwrap()).collect();
        let (region, az) = words.next().unwrap().split_once('/').unwrap();
        let mut instance: Instance =
            serde_json::from_value(serde_json::json!({"addresses": addresses, "region": region, "az": az})).unwrap();
        let (mut vitals, mut drained) = (Vitals::default(), false);
        for word in words {
            match word.split_once('=') {
                Some(("weight", weight)) => instance.weight = weight.parse().unwrap(),
                Some(("tag", tag)) => drop(instance.tags.insert(label(tag))),
                Some(("health", "unhealthy")) => vitals.probed = Some(Health::Unhealthy),
                Some(("health", "pending")) => vitals.probed = Some(Health::Pending),
                None if word == "drained" => drained = true,
                None => {
                    let (port, number) = word.split_once(':').unwrap();
                    let number = number.parse::<u16>().map_or(serde_json::json!(number), |number| serde_json::json!(number));
                    let mut ports = BTreeMap::from(instance.ports.clone());
                    ports.insert(label(port), serde_json::from_value(number).unwrap());
                    instance.ports = ports.into();
                }
                _ => panic!("{word}"),
            }
        }
        self.instances.entry(label(service)).or_default().insert(label(id), (instance, vitals, drained));
    }

    fn publish(&mut self) {
        for (service, instances) in &self.instances {
            let settings = self.services.get(service).cloned().unwrap_or_default();
            let view = ServiceView {
                service: &settings,
                instances: instances
                    .iter()
                    .map(|(id, (instance, vitals, drained))| InstanceView {
                        id,
                        instance,
                        vitals,
                        out: if *drained { Out::DRAINED } else { Out::SERVING },
                        warmth: 100,
                    })
                    .collect(),
                out: Out::SERVING,
            };
            self.snapshot = self.snapshot.update(&[Update::Service(service, Some(view))]).unwrap();
        }
    }

    /// Drains regions and azs, given as `boston` and `boston/az-1`.
    pub fn drain(mut self, places: &[&str]) -> World {
        let regions = places.iter().filter(|p| !p.contains('/')).map(|p| (label(p), Out::DRAINED)).collect();
        let az = |(region, az): (&str, &str)| (Locality { region: label(region), az: label(az) }, Out::DRAINED);
        let azs = places.iter().filter_map(|p| p.split_once('/')).map(az).collect();
        self.snapshot = self.snapshot.update(&[Update::Drained { regions: &regions, azs: &azs }]).unwrap();
        self
    }

    /// Sends octets; the reply, if there is one.
    pub fn send(&mut self, octets: &[u8], peer: IpAddr, transport: Transport) -> Option<Vec<u8>> {
        let mut reply = vec![0xa5; if transport.is_stream() { 20_000 } else { 4096 }];
        let query = Query { bytes: octets, peer: SocketAddr::new(peer, 5353), transport, now_ms: self.now_ms };
        match answer(&self.snapshot, &mut self.worker, &query, &mut reply) {
            Outcome::Reply(length) => {
                reply.truncate(length);
                Some(reply)
            }
            Outcome::Drop => None,
            Outcome::Punt(punt) => {
                self.punts += 1;
                let draw = self.worker.drawn();
                match answer_again(&self.snapshot, &mut self.worker, &query, draw, &mut reply) {
                    Outcome::Reply(length) => {
                        reply.truncate(length);
                        Some(reply)
                    }
                    outcome => panic!("{punt:?}, and then {outcome:?}"),
                }
            }
        }
    }

    /// Asks `NAME TYPE [ecs=PREFIX] [from=IP] [size=N] [tcp] [tls] [noedns] [do] [nsid] [class=N] [opcode=N] [version=N]`, with options
    /// `[cookie=HEX] [keepalive=HEX] [pad=HEX] [option3=HEX]`, without question where `bare`.
    pub fn ask(&mut self, question: &str) -> String {
        let asked = Asked::read(question);
        let octets = asked.octets();
        let Some(reply) = self.send(&octets, asked.peer, asked.transport) else { return "dropped".into() };
        let question_end = asked.question_end();
        assert_eq!(&reply[..2], &octets[..2], "the id of {question}");
        if reply[4..6] == [0, 1] {
            assert_eq!(reply[12..question_end], octets[12..question_end], "the question of {question}, octet for octet");
        }
        read(&reply)
    }

    /// Checks a table of (question, reply).
    pub fn check(&mut self, table: &[(&str, &str)]) {
        for (question, expected) in table {
            assert_eq!(self.ask(question), *expected, "{question}");
        }
    }

    /// What was counted, other than nothing.
    pub fn counted(&self) -> String {
        let counted = |counter: &Counter| match self.worker.counters.get(*counter) {
            0 => None,
            count => Some(format!("{}={count}", counter.as_str())),
        };
        Counter::ALL.iter().filter_map(counted).collect::<Vec<_>>().join(" ")
    }
}

/// A question in words.
pub struct Asked {
    name: String,
    qtype: u16,
    class: u16,
    opcode: u16,
    version: u8,
    ecs: Option<String>,
    pub peer: IpAddr,
    pub transport: Transport,
    size: u16,
    edns: bool,
    dnssec: bool,
    nsid: bool,
    /// Options beside those, as octets.
    options: Vec<u8>,
    questions: u8,
}

impl Asked {
    pub fn read(question: &str) -> Asked {
        let mut words = question.split_whitespace();
        let mut asked = Asked {
            name: words.next().unwrap().into(),
            qtype: words.next().map_or(1, |t| t.parse::<u16>().unwrap_or_else(|_| t.parse::<RecordType>().unwrap().into())),
            class: 1,
            opcode: 0,
            version: 0,
            ecs: None,
            peer: "192.0.2.250".parse().unwrap(),
            transport: Transport::Udp,
            size: 1232,
            edns: true,
            dnssec: false,
            nsid: false,
            options: Vec::new(),
            questions: 1,
        };
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("ecs", prefix) => asked.ecs = Some(prefix.into()),
                ("from", peer) => asked.peer = peer.parse().unwrap(),
                ("size", size) => asked.size = size.parse().unwrap(),
                ("class", class) => asked.class = class.parse().unwrap(),
                ("opcode", opcode) => asked.opcode = opcode.parse().unwrap(),
                ("version", version) => asked.version = version.parse().unwrap(),
                ("tcp", _) => asked.transport = Transport::Tcp,
                ("noedns", _) => asked.edns = false,
                ("do", _) => asked.dnssec = true,
                ("nsid", _) => asked.nsid = true,
                ("tls", _) => asked.transport = Transport::Tls,
                ("bare", _) => asked.questions = 0,
                ("cookie", hex) => asked.option(10, hex),
                ("keepalive", hex) => asked.option(11, hex),
                ("pad", hex) => asked.option(12, hex),
                ("option3", hex) => asked.option(3, hex),
                _ => panic!("{word}"),
            }
        }
        asked
    }

    fn option(&mut self, code: u8, hex: &str) {
        self.options.extend([0, code, 0, (hex.len() / 2) as u8]);
        self.options.extend(hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()));
    }

    fn wire_name(&self) -> Vec<u8> {
        // The case that was written goes onto the wire; `Name` would fold it.
        let labels = self.name.trim_end_matches('.').split('.').filter(|l| !l.is_empty());
        labels.flat_map(|l| std::iter::once(l.len() as u8).chain(l.bytes())).chain([0]).collect()
    }

    pub fn question_end(&self) -> usize {
        12 + self.wire_name().len() + 4
    }

    pub fn octets(&self) -> Vec<u8> {
        let flags = 0x0110 | self.opcode << 11; // RD and CD
        let mut octets = vec![0x12, 0x34];
        octets.extend(flags.to_be_bytes());
        octets.extend([0, self.questions, 0, 0, 0, 0, 0, u8::from(self.edns)]);
        if self.questions == 1 {
            octets.extend(self.wire_name());
            octets.extend(self.qtype.to_be_bytes());
            octets.extend(self.class.to_be_bytes());
        }
        if self.edns {
            octets.extend([0, 0, 41]);
            octets.extend(self.size.to_be_bytes());
            octets.extend([0, self.version, u8::from(self.dnssec) << 7, 0]);
            let mut options = Vec::new();
            if let Some(prefix) = &self.ecs {
                let (address, length) = prefix.split_once('/').unwrap();
                let length: u8 = length.parse().unwrap();
                let (family, address) = match address.parse().unwrap() {
                    IpAddr::V4(v4) => (1, v4.octets().to_vec()),
                    IpAddr::V6(v6) => (2, v6.octets().to_vec()),
                };
                let address = &address[..usize::from(length.div_ceil(8))];
                options.extend([0, 8, 0, 4 + address.len() as u8, 0, family, length, 0]);
                options.extend(address);
            }
            if self.nsid {
                options.extend([0, 3, 0, 0]);
            }
            options.extend(&self.options);
            octets.extend((options.len() as u16).to_be_bytes());
            octets.extend(options);
        }
        octets
    }
}

/// A reply in words: `RCODE flags: records; auth: records; add: records; what OPT says`.
pub fn read(reply: &[u8]) -> String {
    let message = Message::from_vec(reply).unwrap_or_else(|e| panic!("{e}: {reply:02x?}"));
    let mut text = message.metadata.response_code.to_str_short();
    let flags = u16::from_be_bytes([reply[2], reply[3]]);
    for (bit, flag) in [(0x0400, "aa"), (0x0200, "tc"), (0x0080, "ra"), (0x0040, "z"), (0x0020, "ad"), (0x0010, "cd")] {
        if flags & bit != 0 {
            let _ = write!(text, " {flag}");
        }
    }
    let expected = if flags & 0x7800 == 0 { 0x8100 } else { 0x8000 };
    assert_eq!(flags & 0x8100, expected, "QR, and the query's RD where the opcode is QUERY");
    for (section, records) in [("", &message.answers), (" auth:", &message.authorities), (" add:", &message.additionals)] {
        if !records.is_empty() {
            let shown: Vec<String> = records.iter().map(shown).collect();
            let _ = write!(text, "{section} {}", shown.join(", "));
        }
    }
    if let Some(opt) = opt_of(reply) {
        let _ = write!(text, "{opt}");
    }
    text
}

fn shown(record: &Record) -> String {
    format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)
}

/// What the OPT at the end of a reply says beyond the usual.
fn opt_of(reply: &[u8]) -> Option<String> {
    let message = Message::from_vec(reply).ok()?;
    let edns = message.edns?;
    let mut text = String::new();
    if edns.max_payload() != 1232 {
        let _ = write!(text, " payload={}", edns.max_payload());
    }
    if edns.flags().dnssec_ok {
        text += " do";
    }
    for (code, option) in edns.options().options.iter() {
        let data: Vec<u8> = option.try_into().unwrap();
        let _ = match u16::from(*code) {
            8 => write!(text, " ecs={}/{}", data[2], data[3]),
            15 => write!(text, " ede={}", u16::from_be_bytes([data[0], data[1]])),
            3 => write!(text, " nsid={}", String::from_utf8_lossy(&data)),
            10 => write!(text, " cookie+{}", data.len() - 8),
            11 => write!(text, " keepalive={}", u16::from_be_bytes([data[0], data[1]])),
            12 => write!(text, " padding={}", data.len()),
            other => write!(text, " option{other}"),
        };
    }
    Some(text)
}

trait Short {
    fn to_str_short(&self) -> String;
}

impl Short for hickory_proto::op::ResponseCode {
    fn to_str_short(&self) -> String {
        crate::codec::code::rcode::name(u16::from(*self)).into()
    }
}
