//! Floor 1: what was registered, as last written. Pure: a command becomes a [`Change`] or a [`Refusal`], a change becomes state.
//!
//! The two steps are apart because a store stands between them: [`Registry::plan`] looks and changes nothing, then the store makes
//! the change durable, and only then [`Registry::carry_out`] makes it visible. So there is nothing to undo where a store fails, and
//! nobody ever sees what is not durable. [`Registry::apply`] is both at once, for those who have no store.

mod carry;
mod checks;
mod entry;
mod instances;
mod load;
mod plan;
mod safety;
pub(crate) mod updates;
mod vitals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use carry::{Change, Done, Steering};
pub use checks::{Probing, default_port, ports, probing};
pub use entry::{Said, ServiceEntry};
pub use instances::Instances;
pub use load::{LoadError, Warning};
pub use plan::{Draft, Hold};
pub use safety::{Breach, concerns};
pub use updates::{Becomes, MAX_SETS, Overlay, OverlaySet, Put, SetChange, UpdateRefusal, View, ZoneChange, type_text};
pub use vitals::Turn;

use crate::model::{
    Drain, FieldError, Instance, InstanceKey, Label, Locality, Name, Out, Period, Pushed, Region, Revision, SafetySettings, Service, Share,
    Source, Subject, Timestamp, UpdateRight, Vitals, Zone, ZoneTtl, ZoneUpdate,
};

/// What a caller demands of the resource before it is changed (RFC 9110 §13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: "REVISION"`
    At(Revision),
}

/// A change that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Register or replace an instance.
    PutInstance {
        /// Which.
        key: InstanceKey,
        /// As what.
        instance: Arc<Instance>,
        /// Provided that.
        precondition: Precondition,
    },
    /// Deregister an instance.
    DeleteInstance {
        /// Which.
        key: InstanceKey,
        /// Provided that.
        precondition: Precondition,
    },
    /// Set a service's policy, ports, checks and limits.
    PutService {
        /// Which.
        name: Label,
        /// To what.
        service: Arc<Service>,
        /// Provided that.
        precondition: Precondition,
    },
    /// Remove a service and its registered instances.
    DeleteService {
        /// Which.
        name: Label,
        /// Provided that.
        precondition: Precondition,
    },
    /// Take something out of answers, or replace the drain that is in force: the new one carries on from its share.
    Drain {
        /// What.
        subject: Subject,
        /// How.
        drain: Drain,
    },
    /// Lift a drain.
    Undrain {
        /// Of what.
        subject: Subject,
        /// Within which time, 1 s to 24 h for the whole way; `0s`: at once; `None`: as it was drained.
        ramp: Option<Period>,
    },
    /// Let a drain's share stand still; it expires all the same.
    Pause {
        /// Of what.
        subject: Subject,
    },
    /// Let it go on at the same rate.
    Resume {
        /// Of what.
        subject: Subject,
    },
    /// Say an instance's status.
    Push {
        /// Of which.
        key: InstanceKey,
        /// The status.
        pushed: Pushed,
    },
    /// Change records of a zone (RFC 2136).
    Update {
        /// What is asked for.
        update: Arc<ZoneUpdate>,
        /// The name of the key that asks for it.
        key: Name,
        /// What that key may do in the zone.
        rights: Vec<UpdateRight>,
    },
    /// Drop all that updates changed of a zone: it is as its file says.
    DropUpdates {
        /// Its apex.
        apex: Name,
        /// By whom.
        author: String,
    },
}

/// Why a command was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such instance.
    #[error("there is no instance {0}")]
    UnknownInstance(InstanceKey),
    /// There is no such service.
    #[error("there is no service {0}")]
    UnknownService(Label),
    /// Nothing is drained by that name.
    #[error("{0} is not drained")]
    NotDrained(Subject),
    /// What would be paused does not move.
    #[error("the drain of {0} does not move: it is paused already, or has come all the way")]
    NotMoving(Subject),
    /// What would go on is not paused.
    #[error("the drain of {0} is not paused")]
    NotPaused(Subject),
    /// A drain would leave too little.
    #[error("{}; `--override` with a reason overrules", safety::told(.breaches))]
    Unsafe {
        /// What would be drained.
        subject: Subject,
        /// The rules that it breaks.
        breaches: Vec<Breach>,
    },
    /// A drain of something that does not exist.
    #[error("there is no {0}")]
    UnknownSubject(Subject),
    /// A zone file says it; the API cannot change it.
    #[error("{what} is defined in {file}; change it there")]
    DefinedInFile {
        /// What.
        what: String,
        /// The file.
        file: String,
    },
    /// A static record or a name with a policy has the service's name.
    #[error("the name {0} is taken by a record or policy in {1}")]
    NameTaken(Label, String),
    /// An update of a zone.
    #[error(transparent)]
    Update(#[from] UpdateRefusal),
    /// A field cannot stand as it is.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The precondition does not hold.
    #[error("the precondition does not hold: the resource is {}", .0.map_or("absent".to_string(), |r| format!("at revision {}", r.0)))]
    Precondition(Option<Revision>),
}

/// An instance as the registry has it.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceEntry {
    /// As registered.
    pub instance: Instance,
    /// By whom.
    pub source: Source,
    /// When it was last written; 0 for those of files.
    pub revision: Revision,
    /// Its health.
    pub vitals: Vitals,
}

/// A drain as the registry has it.
#[derive(Debug, Clone, PartialEq)]
pub struct DrainEntry {
    /// The drain.
    pub drain: Drain,
    /// When it was written.
    pub revision: Revision,
}

/// What was registered, declared and drained.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry {
    /// Services by name.
    pub services: BTreeMap<Label, ServiceEntry>,
    /// Drains in force.
    pub drains: BTreeMap<Subject, DrainEntry>,
    /// Declared regions; `None`: regions and azs are made on use.
    pub regions: Option<BTreeMap<Label, Region>>,
    /// The newest revision.
    pub revision: Revision,
    /// What drains must leave.
    pub safety: SafetySettings,
    /// When regions came back that were drained: others may have to wait.
    pub lifted: BTreeMap<Label, Timestamp>,
    /// What updates changed of zones, by apex; also of zones that are served no more.
    pub overlays: BTreeMap<Name, Overlay>,
    /// The zones as their files say.
    files: Arc<Vec<Zone>>,
    /// Where each of them stands, by apex.
    places: Arc<BTreeMap<Name, usize>>,
    /// The longest TTL of answers in any zone, where there are zones.
    longest_ttl: Option<Period>,
    /// Names that records and policies of zones with services have, and the file that says so.
    taken: Arc<BTreeMap<Label, Arc<str>>>,
    /// Those of them that files say.
    named: Arc<BTreeMap<Label, Arc<str>>>,
    /// What was registered over the API and stands behind what files say of the same name.
    beneath: Beneath,
}

/// Registered settings and instances that a file's override; they come back when the file lets go of the name.
#[derive(Debug, Clone, Default, PartialEq)]
struct Beneath {
    services: BTreeMap<Label, (Arc<Service>, Revision)>,
    instances: BTreeMap<InstanceKey, InstanceEntry>,
}

impl Registry {
    /// Carries out a command at once: for tests and simulations, which have no store. `revision` is what the write gets.
    pub fn apply(&mut self, command: &Command, now: Timestamp, revision: Revision) -> Result<(Change, Done), Refusal> {
        match self.plan(&mut Draft::default(), command, now) {
            Ok(change) => {
                let done = self.carry_out(&change, now, revision);
                Ok((change, done))
            }
            Err(Hold::Refused(refusal)) => Err(refusal),
            // An empty draft holds nothing that a command could wait for.
            Err(Hold::Later) => Err(Refusal::Precondition(Some(self.revision))),
        }
    }

    /// Finds an instance.
    pub fn instance(&self, key: &InstanceKey) -> Option<&InstanceEntry> {
        self.services.get(&key.service)?.instances.get(&key.id)
    }

    /// Every locality in use or declared, in order.
    pub fn localities(&self) -> BTreeSet<Locality> {
        let declared = self
            .regions
            .iter()
            .flatten()
            .flat_map(|(region, declared)| declared.azs.iter().map(|az| Locality { region: region.clone(), az: az.clone() }));
        // Most instances share their localities: compare before cloning.
        let mut used: BTreeSet<(&Label, &Label)> = BTreeSet::new();
        for entry in self.services.values().flat_map(|service| service.instances.values()) {
            used.insert((&entry.instance.region, &entry.instance.az));
        }
        let used = used.into_iter().map(|(region, az)| Locality { region: region.clone(), az: az.clone() });
        declared.chain(used).collect()
    }

    /// The drain that keeps an instance out: its own, its service's, its az's or its region's.
    pub fn drained_by(&self, key: &InstanceKey) -> Option<(Subject, &DrainEntry)> {
        let locality = self.instance(key)?.instance.locality();
        let region = locality.region.clone();
        [Subject::Instance(key.clone()), Subject::Service(key.service.clone()), Subject::Az(locality), Subject::Region(region)]
            .into_iter()
            .find_map(|subject| self.drains.get(&subject).map(|entry| (subject, entry)))
    }

    /// Whether a drain keeps an instance out of everybody's answers: one that has come all the way, of its own, its service's, its az's
    /// or its region's.
    pub fn is_out(&self, key: &InstanceKey, now: Timestamp) -> bool {
        let Some(locality) = self.instance(key).filter(|_| !self.drains.is_empty()).map(|entry| entry.instance.locality()) else {
            return false;
        };
        let region = locality.region.clone();
        [Subject::Instance(key.clone()), Subject::Service(key.service.clone()), Subject::Az(locality), Subject::Region(region)]
            .iter()
            .filter_map(|subject| self.drains.get(subject))
            .any(|entry| entry.drain.out(now).share == Share::ALL)
    }

    /// How long a ramped drain is announced: the longest TTL of answers in any zone, so that none that was given before is left when the
    /// first client moves.
    pub fn announcement(&self) -> Period {
        self.longest_ttl.unwrap_or(ZoneTtl::default().max)
    }

    /// How far the regions and the azs are out of answers that have drains.
    pub fn drained_places(&self, now: Timestamp) -> (BTreeMap<Label, Out>, BTreeMap<Locality, Out>) {
        let mut places = (BTreeMap::new(), BTreeMap::new());
        for (subject, entry) in &self.drains {
            let out = entry.drain.out(now);
            match subject {
                Subject::Region(region) => _ = places.0.insert(region.clone(), out),
                Subject::Az(locality) => _ = places.1.insert(locality.clone(), out),
                Subject::Service(_) | Subject::Instance(_) => {}
            }
        }
        places
    }

    /// Whether there is, by declaration or by use, what could be drained.
    pub fn knows(&self, subject: &Subject) -> bool {
        let used = |matches: &dyn Fn(&Instance) -> bool| {
            self.services.values().flat_map(|service| service.instances.values()).any(|entry| matches(&entry.instance))
        };
        match subject {
            Subject::Region(region) => {
                self.regions.as_ref().is_some_and(|declared| declared.contains_key(region)) || used(&|i| i.region == *region)
            }
            Subject::Az(locality) => {
                let declared = self.regions.as_ref().and_then(|declared| declared.get(&locality.region));
                declared.is_some_and(|region| region.azs.contains(&locality.az))
                    || used(&|i| i.region == locality.region && i.az == locality.az)
            }
            Subject::Service(name) => self.services.contains_key(name),
            Subject::Instance(key) => self.instance(key).is_some(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
