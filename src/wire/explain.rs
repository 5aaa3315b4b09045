//! Explain: the same answer, watched. Nothing is decided here; what the query path does is written down.

use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record, RecordType};
use serde::Serialize;

use super::cookies::Proof;
use super::names::Meaning;
use super::reply::{Reply, Room, Terms};
use super::services::{Among, Level};
use super::watch::Watch;
use super::{Transport, judge};
use crate::codec::code::{self, CLASS_IN, rtype};
use crate::codec::{Header, NameBuf, Request};
use crate::model::Name;
use crate::routing::{Decision, LocalityId, Need, Places, Standing, Step, Steps, expected_shares, pick};
use crate::snapshot::{CompiledZone, Snapshot};

/// Why a client is answered as it is.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Explanation {
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    pub r#type: String,
    /// The client.
    #[schema(value_type = String)]
    pub client: IpAddr,
    /// The number of the snapshot that was asked.
    pub generation: u64,
    /// What is known of the client's place.
    pub origin: ExplainedOrigin,
    /// The name, and every name that an alias led to.
    pub names: Vec<ExplainedName>,
    /// The RCODE, such as `NOERROR`.
    pub rcode: String,
    /// What the reply says beside the RCODE (RFC 8914).
    pub note: Option<String>,
    /// The prefix length of clients for which the answer holds; 0: for everybody (RFC 7871).
    pub scope: u8,
    /// Nothing was healthy.
    pub fail_open: bool,
    /// The answer section.
    pub answer: Vec<ExplainedRecord>,
    /// The authority section.
    pub authority: Vec<ExplainedRecord>,
    /// The additional section, without OPT.
    pub additional: Vec<ExplainedRecord>,
}

/// What is known of a client's place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ExplainedOrigin {
    /// The prefix length for which it is known.
    pub scope: u8,
    /// The region the operator put it in.
    pub region: Option<String>,
    /// The az the operator put it in.
    pub az: Option<String>,
    /// Continent.
    pub continent: Option<String>,
    /// Country.
    pub country: Option<String>,
    /// Subdivision of the country.
    pub subdivision: Option<String>,
    /// Degrees north and east.
    pub coordinates: Option<(f64, f64)>,
    /// Autonomous system.
    pub asn: Option<u32>,
    /// Regions from the nearest to the farthest, as far as they can be ranked: what `nearest` and `latency` go by. A region stands behind
    /// one that is a little slower, as long as it is not better by 10 ms and 15 %.
    pub ranking: Vec<RankedRegion>,
}

/// A region and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RankedRegion {
    /// The region.
    pub region: String,
    /// Milliseconds expected.
    pub ms: f32,
    /// Where they come from: `pinned` (`latency.toml`), `measured` (the client's prefix), `table` (`latency.toml`, from the client's
    /// region), `blended` (the distance, corrected by what was measured near by), or `distance`.
    #[schema(value_type = String)]
    pub source: &'static str,
}

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// Static records.
    Static,
    /// A policy of its own.
    Policy,
    /// ALIAS: the addresses of another name, and static records beside them.
    Alias,
    /// A service, or a part of it.
    Service,
    /// One instance.
    Instance,
    /// Only names below it.
    EmptyNonTerminal,
    /// At or below a delegation.
    Delegated,
    /// Below a DNAME: it stands for the name that the next entry tells.
    Redirected,
    /// It does not exist.
    Missing,
    /// In no zone of this server.
    OutOfZone,
}

/// One name on the way to the answer.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ExplainedName {
    /// The name.
    pub name: String,
    /// The zone it is in.
    pub zone: Option<String>,
    /// The zone's file.
    pub file: Option<String>,
    /// What it is.
    pub kind: NameKind,
    /// The service, where it is one or an instance of one.
    pub service: Option<String>,
    /// The instance, where it is one.
    pub instance: Option<String>,
    /// The name whose addresses it has, where it is an ALIAS.
    pub alias_of: Option<String>,
    /// What the labels before the service narrow it to: `region=…`, `az=…`, `tag=…`.
    pub narrowed: Vec<String>,
    /// How it was decided, step by step.
    pub steps: Vec<Step>,
    /// Nothing was healthy, and `all_down` answered.
    pub fail_open: bool,
    /// So little of the chosen level was healthy that all of it answered (`panic_threshold`).
    pub panic: bool,
    /// Milliseconds in which what was looked at cannot change.
    pub steady_ms: Option<u32>,
    /// The TTL that follows, in seconds.
    pub ttl: Option<u32>,
    /// The prefix length for which the decision holds.
    pub scope: u8,
    /// The levels that answer, best first, with their instances.
    pub levels: Vec<ExplainedLevel>,
}

/// A level of instances.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ExplainedLevel {
    /// The service.
    pub service: String,
    /// The region, where the level is one.
    pub region: Option<String>,
    /// The az, where the level is one.
    pub az: Option<String>,
    /// The worst standing that takes part.
    pub standing: String,
    /// The instances that take part.
    pub instances: Vec<ExplainedInstance>,
}

/// An instance that can stand in the answer.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ExplainedInstance {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Its az.
    pub az: String,
    /// How it stands.
    pub standing: String,
    /// Its weight.
    pub weight: u32,
    /// The probability with which an answer holds it, 0–1.
    pub share: f64,
    /// Whether this answer holds it.
    pub picked: bool,
}

/// A record of the answer, as `dig` would print it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ExplainedRecord {
    /// The owner.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// The type.
    pub r#type: String,
    /// The data in presentation form.
    pub data: String,
}

/// Explains how `client` is answered who asks for `name` and `qtype`. Where a policy draws, it draws `draw`.
pub fn explain(snapshot: &Snapshot, name: &Name, qtype: u16, client: IpAddr, draw: u64) -> Explanation {
    let client = client.to_canonical();
    let (origin, scope) = snapshot.origins.find(client);
    let places = &snapshot.places;
    let origin = ExplainedOrigin {
        scope,
        region: origin.region.map(|region| places.region_label(region).to_string()),
        az: origin.locality.map(|locality| places.az_label(locality).to_string()),
        continent: origin.continent.map(|code| code.to_string()),
        country: origin.country.map(|code| code.to_string()),
        subdivision: origin.subdivision.map(|code| code.to_string()),
        coordinates: origin.coordinates.map(|at| (at.latitude, at.longitude)),
        asn: origin.asn,
        ranking: ranking(snapshot, client),
    };
    let mut explanation = Explanation {
        name: name.to_string(),
        r#type: type_name(RecordType::from(qtype)),
        client,
        generation: snapshot.generation.0,
        origin,
        names: Vec::new(),
        rcode: code::rcode::name(code::rcode::SERVFAIL).into(),
        note: None,
        scope: 0,
        fail_open: false,
        answer: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
    };
    let query = query(name, qtype);
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let mut asked = NameBuf::default();
    let Some(header) = Header::parse(&query) else { return explanation };
    let request = &Request::parse(header, &query, &mut asked);
    let terms =
        Terms { dns: &snapshot.dns, transport: Transport::Tcp, proof: Proof::Absent, cookie: None, recursion: false, signing: None };
    let Some(room) = Room::of(request, &terms, buffer.len()) else { return explanation };
    let mut reply = Reply::new(request, &terms, room, &mut buffer);
    let mut notes = Notes { steps: Steps::default(), names: Vec::new() };
    judge(snapshot, request, client, draw, &mut reply, &mut notes);
    notes.close();
    explanation.names = notes.names;
    explanation.rcode = code::rcode::name(reply.rcode()).into();
    explanation.note = reply.note().map(str::to_owned);
    explanation.scope = reply.scope;
    explanation.fail_open = reply.fail_open;
    let length = reply.finish();
    if let Ok(message) = Message::from_vec(&buffer[..length]) {
        let shown = |records: &[Record]| records.iter().map(shown).collect();
        explanation.answer = shown(&message.answers);
        explanation.authority = shown(&message.authorities);
        explanation.additional = shown(&message.additionals);
    }
    explanation
}

fn ranking(snapshot: &Snapshot, client: IpAddr) -> Vec<RankedRegion> {
    let ranking = &snapshot.origins.stand(client).0.ranking;
    let sources = snapshot.origins.sources(client);
    let label = |region| snapshot.places.region_label(region).to_string();
    ranking.iter().zip(sources).map(|((r, ms), source)| RankedRegion { region: label(*r), ms: *ms, source: source.as_str() }).collect()
}

/// The query that a client would send, with EDNS, so that the reply carries its reason.
fn query(name: &Name, qtype: u16) -> Vec<u8> {
    let mut query = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    query.extend_from_slice(name.wire());
    query.extend_from_slice(&qtype.to_be_bytes());
    query.extend_from_slice(&CLASS_IN.to_be_bytes());
    query.extend_from_slice(&[0, 0, rtype::OPT as u8, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    query
}

fn shown(record: &Record) -> ExplainedRecord {
    ExplainedRecord {
        name: record.name.to_string(),
        ttl: record.ttl,
        r#type: type_name(record.record_type()),
        data: match &record.data {
            // hickory reads no DNAME.
            RData::Unknown { rdata, .. } if record.record_type() == RecordType::DNAME => {
                NameBuf::from_wire(&rdata.anything).map(|name| name.to_string()).unwrap_or_default()
            }
            data => data.to_string(),
        },
    }
}

fn type_name(rtype: RecordType) -> String {
    match rtype {
        // RFC 3597 §5.
        RecordType::Unknown(number) => format!("TYPE{number}"),
        known => known.to_string(),
    }
}

/// What is written down on the way.
struct Notes {
    steps: Steps,
    names: Vec<ExplainedName>,
}

impl Notes {
    /// Gives the steps taken so far to the name they were taken for.
    fn close(&mut self) {
        if let Some(last) = self.names.last_mut() {
            last.steps.append(&mut self.steps.0);
        }
    }

    fn open(&mut self, name: &NameBuf, zone: Option<&CompiledZone>, kind: NameKind) -> &mut ExplainedName {
        self.close();
        let explained = ExplainedName {
            name: name.to_string(),
            zone: zone.map(|zone| zone.name().to_string()),
            file: zone.map(|zone| zone.file().into()),
            kind,
            service: None,
            instance: None,
            alias_of: None,
            narrowed: Vec::new(),
            steps: Vec::new(),
            fail_open: false,
            panic: false,
            steady_ms: None,
            ttl: None,
            scope: 0,
            levels: Vec::new(),
        };
        let at = self.names.len();
        self.names.push(explained);
        &mut self.names[at]
    }
}

impl Watch for Notes {
    type Steps = Steps;

    fn trace(&mut self) -> &mut Steps {
        &mut self.steps
    }

    fn name(&mut self, snapshot: &Snapshot, zone: &CompiledZone, name: &NameBuf, meaning: &Meaning<'_>) {
        let kind = match meaning {
            Meaning::Owner(owner) if owner.is_empty() => NameKind::EmptyNonTerminal,
            Meaning::Owner(owner) if owner.policy().is_some_and(|policy| policy.alias.is_some()) => NameKind::Alias,
            Meaning::Owner(owner) if owner.policy().is_some() => NameKind::Policy,
            Meaning::Owner(_) => NameKind::Static,
            Meaning::Delegated { .. } => NameKind::Delegated,
            Meaning::Redirected { .. } => NameKind::Redirected,
            Meaning::Service(_) => NameKind::Service,
            Meaning::Instance(_) => NameKind::Instance,
            Meaning::Empty => NameKind::EmptyNonTerminal,
            Meaning::Missing => NameKind::Missing,
        };
        let explained = self.open(name, Some(zone), kind);
        match meaning {
            Meaning::Owner(owner) => {
                explained.alias_of = owner.policy().and_then(|policy| policy.alias.as_ref()).map(|alias| alias.name.to_string());
            }
            Meaning::Service(name) => {
                let places = &snapshot.places;
                explained.service = Some(name.service.label().to_string());
                explained.narrowed.extend(name.filter.region.map(|region| format!("region={}", places.region_label(region))));
                explained.narrowed.extend(name.filter.az.map(|az| format!("az={}", places.az_name_label(az))));
                explained.narrowed.extend(
                    name.filter.tags.iter().filter(|tag| !tag.is_empty()).map(|tag| format!("tag={}", String::from_utf8_lossy(tag))),
                );
            }
            Meaning::Instance(name) => {
                explained.service = Some(name.service.label().to_string());
                explained.instance = Some(name.service.id(name.member).to_string());
            }
            _ => {}
        }
    }

    fn outside(&mut self, name: &NameBuf) {
        self.open(name, None, NameKind::OutOfZone);
    }

    fn decided(&mut self, decision: &Decision<'_>, ttl: u32) {
        if let Some(last) = self.names.last_mut() {
            last.fail_open = decision.fail_open;
            last.panic = decision.panic;
            last.steady_ms = Some(decision.steady_ms);
            last.ttl = Some(ttl);
            last.scope = decision.scope;
        }
    }

    fn held(&mut self, ttl: u32) {
        if let Some(last) = self.names.last_mut() {
            last.ttl = Some(ttl);
        }
    }

    fn level(&mut self, snapshot: &Snapshot, level: &Level<'_>, need: Need, limit: usize, draw: u64) {
        let Some(last) = self.names.last_mut() else { return };
        let service = level.service;
        let places = &snapshot.places;
        let instance = |member: u32, weight: u32, share: f64, picked: bool| {
            let (region, az) = place(places, service.pool().locality(member));
            let standing = word(service.pool().standing(member)).into();
            ExplainedInstance { id: service.id(member).to_string(), region, az, standing, weight, share, picked }
        };
        let label = service.label().to_string();
        last.levels.push(match level.among {
            Among::Chosen(selection) => {
                let mut picked = Vec::new();
                pick(snapshot, selection, need, limit, draw, |one| picked.push(one.member));
                let shares = expected_shares(snapshot, selection, need, limit);
                ExplainedLevel {
                    service: label,
                    region: selection.region.map(|region| places.region_label(region).to_string()),
                    az: selection.locality.map(|locality| places.az_label(locality).to_string()),
                    standing: word(selection.standing).into(),
                    instances: shares
                        .into_iter()
                        .map(|(p, share)| instance(p.member, p.weight, share, picked.contains(&p.member)))
                        .collect(),
                }
            }
            Among::One(member) => {
                let has = service.pool().has(member, need);
                let one = instance(member, service.pool().weight(member), if has { 1.0 } else { 0.0 }, has);
                let (region, az) = (one.region.clone(), one.az.clone());
                ExplainedLevel { service: label, region: Some(region), az: Some(az), standing: one.standing.clone(), instances: vec![one] }
            }
        });
    }
}

fn place(places: &Places, locality: LocalityId) -> (String, String) {
    (places.region_label(places.region_of(locality)).to_string(), places.az_label(locality).to_string())
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Healthy => "healthy",
        Standing::Pending => "pending",
        Standing::LastGood => "last_good",
        Standing::Unhealthy => "unhealthy",
        Standing::Drained => "drained",
    }
}
