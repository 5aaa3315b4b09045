//! Floor 0: the words of DESIGN §1 as values. No IO, no clock, no randomness, nothing that acts.

mod addresses;
mod branch_fields;
mod build_policy;
mod check;
mod counters;
mod country;
mod course;
mod dnssec;
mod drain;
mod drill;
mod forward;
mod health;
mod instance;
mod label;
mod name;
mod place;
mod policy;
mod port;
mod recovery;
mod report;
mod schedule;
mod secondary;
mod service;
mod settings;
mod share;
mod shared;
mod sightings;
mod signing;
mod time;
mod transfer;
mod tsig;
mod unrepeated;
mod update;
mod zone;

pub use addresses::Addresses;
pub use branch_fields::BranchFields;
pub(crate) use branch_fields::within;
pub use build_policy::{Owner, RecordParser};
pub use check::{Check, CheckFields, CheckKind, HttpCheck, TlsCheck};
pub use counters::{COUNTED_REGIONS, Counter, Counters};
pub use country::COUNTRIES;
pub use course::{Course, Toward};
pub use dnssec::DnssecSettings;
pub use drain::{DEFAULT_DRAIN, Drain, DrainFields, LONGEST_DRAIN, LONGEST_RAMP, SHORTEST_RAMP, Stage, check_ramp};
pub use drill::{Abort, DrillFields, DrillOrder, MetricCheck, MetricStep, Require};
pub use forward::{ForwardSettings, ForwardStats, Upstream, UpstreamError, UpstreamStats, UpstreamTransport};
pub use health::{CheckState, Health, ProbeResult, Pushed, Status, Vitals, Wavers};
pub use instance::{DEFAULT_WEIGHT, FieldError, Instance, InstanceFields, InstanceKey, MAX_WEIGHT, Shape};
pub use label::{Label, LabelError};
pub use name::{Name, NameError};
pub use place::{Code, Coordinates, Geo, Locality, Place, Region};
pub use policy::{AllDown, Branch, Clients, Goal, MAX_BRANCHES, MAX_DEPTH, MAX_LEAVES, Policy, PolicyKind, RecordData};
pub use port::{Port, Ports, Protocol};
pub use recovery::{Damping, FIRST_HOLD, LONGEST_HOLD, PENALTY_HALF_LIFE, Warming};
pub use report::{
    DefinedDrill, DrillAnswers, DrillList, DrillRefusal, DrillReport, DrillRun, DrillState, Forecast, ForecastLatency, ForecastMove,
    LastOld, Moment, RegionShares, Watched,
};
pub use schedule::{Schedule, ScheduleError};
pub use secondary::{CatalogError, CatalogSettings, SecondarySettings, SecondaryState, catalog_members, catalog_zone, copied, kept_file};
pub use service::{MAX_SERVICE_PORTS, Service, ServiceFields, Source, Subject};
pub use settings::{
    ApiSettings, CookieSecret, CookieSettings, DnsSettings, LogFormat, LogSettings, ProbeSettings, RateLimitSettings, Right,
    SafetySettings, Settings, TlsSettings, Token,
};
pub use share::{Out, Share};
pub(crate) use shared::Shared;
pub use sightings::{SAMPLED, Sightings};
pub use signing::{Algorithm, Denial, KeyRole, KeyStage, ZoneKey, ZoneSigning};
pub use time::{Period, PeriodError, Timestamp};
pub use transfer::{Peer, ServicesInTransfer, TransferSettings};
pub use tsig::{TsigAlgorithm, TsigKey, TsigSecret};
pub use update::{Edit, NamePattern, Prerequisite, UpdateRight, UpdateTypes, ZoneUpdate};
pub use zone::{APEX_TTL, AliasOf, Defined, RecordSet, Soa, Zone, ZoneTtl};

/// A store's revision: grows with every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Revision(pub u64);

/// The number of a snapshot, per server; grows with every publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, utoipa::ToSchema)]
pub struct Generation(pub u64);
