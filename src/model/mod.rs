//! Floor 0: the words of DESIGN §1 as values. No IO, no clock, no randomness, nothing that acts.

mod check;
mod counters;
mod country;
mod drain;
mod health;
mod instance;
mod name;
mod place;
mod policy;
mod service;
mod settings;
mod share;
mod time;
mod zone;

pub use check::{Check, CheckFields, CheckKind, HttpCheck, TlsCheck};
pub use counters::{Counter, Counters};
pub use country::COUNTRIES;
pub use drain::{DEFAULT_DRAIN, Drain, DrainFields, LONGEST_DRAIN};
pub use health::{CheckState, Health, ProbeResult, Pushed, Status, Vitals};
pub use instance::{DEFAULT_WEIGHT, FieldError, Instance, InstanceKey, MAX_WEIGHT, Port, Protocol};
pub use name::{Label, LabelError, Name, NameError};
pub use place::{Code, Coordinates, Geo, Locality, Place, Region};
pub(crate) use policy::within;
pub use policy::{
    AllDown, Branch, BranchFields, Clients, Goal, MAX_BRANCHES, MAX_DEPTH, MAX_LEAVES, Owner, Policy, PolicyKind, RecordData, RecordParser,
};
pub use service::{MAX_SERVICE_PORTS, Service, ServiceFields, Source, Subject};
pub use settings::{ApiSettings, DnsSettings, LogFormat, LogSettings, ProbeSettings, Right, Settings, Token};
pub use share::{Out, Share};
pub use time::{Period, PeriodError, Timestamp};
pub use zone::{Defined, RecordSet, SOA_TIMERS, Zone, ZoneTtl};

/// A store's revision: grows with every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Revision(pub u64);

/// The number of a snapshot, per server; grows with every publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, utoipa::ToSchema)]
pub struct Generation(pub u64);
