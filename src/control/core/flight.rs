//! One commit after the other: commands in line depart together, what was visible before goes with them, and all of it lands as the
//! store says.

use std::collections::BTreeSet;

use super::{Core, read, write};
use crate::control::{Applied, ApplyError};
use crate::model::{InstanceKey, Revision, Timestamp};
use crate::registry::{Change, Command, Draft, Hold, Refusal, Registry};
use crate::store::{CommitError, Key, MAX_OPERATIONS, Operation};

/// Instances that one commit deregisters of a service that is removed: each may take two operations.
const PURGE: usize = MAX_OPERATIONS / 2 - 2;
/// Most commits of commands that depart together: bounds how long the first of their callers waits.
const MAX_COMMITS: usize = 16;

/// What goes to the store: commits that touch different keys, so that each may fail alone.
#[derive(Debug, Default, PartialEq)]
pub struct Departure {
    /// Commands, whose callers wait: none of these commits is empty.
    pub commands: Vec<Vec<Operation>>,
    /// What was visible before: health, and drains that ended by themselves. May be empty.
    pub behind: Vec<Operation>,
}

/// What the store said.
#[derive(Debug, Default)]
pub struct Landing {
    /// Of each commit of commands, in their order; what is missing at the end is taken for [`CommitError::Unknown`].
    pub commands: Vec<Result<Revision, CommitError>>,
    /// Of what is persisted behind; `None` where there was nothing.
    pub behind: Option<Result<Revision, CommitError>>,
}

/// Says whether a service's settings, or a zone's records, can be compiled into answers.
type Trial<'a> = &'a mut dyn FnMut(&Registry, &Change) -> Result<(), Refusal>;

#[derive(Debug)]
pub struct Queued<T> {
    pub command: Command,
    pub origin: Origin<T>,
}

/// Who wants a change.
#[derive(Debug)]
pub enum Origin<T> {
    Caller {
        reply: T,
        author: String,
    },
    /// Heartbeats that this instance missed.
    Expiry(InstanceKey),
}

/// What is under way.
#[derive(Debug)]
pub struct Flight<T> {
    /// By commit.
    planned: Vec<Vec<Planned<T>>>,
    /// The caller of the first command in the queue, a part of which is under way, learns of failure.
    part: bool,
}

#[derive(Debug)]
pub struct Planned<T> {
    pub change: Change,
    /// `None` for a part of a command that is still in the queue.
    pub origin: Option<Origin<T>>,
    pub author: String,
}

impl<T> Core<T> {
    /// What goes to the store now. Refused commands are answered at once, without a departure.
    pub fn depart(&mut self, now: Timestamp, trial: Trial<'_>) -> Option<Departure> {
        if self.flight.is_some() {
            return None;
        }
        let registry = self.registry.clone();
        let registry = read(&registry);
        let mut draft = Draft::default();
        let mut flight = Flight { planned: Vec::new(), part: false };
        let mut departure = Departure::default();
        while let Some(Queued { command, origin }) = self.queue.pop_front() {
            if let Origin::Expiry(key) = &origin
                && !self.beats.is_overdue(key, now)
            {
                continue;
            }
            let planned = registry.plan(&mut draft, &command, now).and_then(|change| match &change {
                Change::Zone(zone) if zone.is_void() => Ok(change),
                Change::PutService { .. } | Change::Zone(_) => match trial(&registry, &change) {
                    Ok(()) => Ok(change),
                    Err(error) => {
                        // It was alone, and nothing is planned any more.
                        draft = Draft::default();
                        Err(error.into())
                    }
                },
                _ => Ok(change),
            });
            let change = match planned {
                Ok(change) => change,
                Err(Hold::Refused(refusal)) => {
                    // An instance that is to expire may have been deregistered by its owner.
                    if let Origin::Caller { reply, .. } = origin {
                        let refused = match std::mem::take(&mut self.removed) {
                            0 => refusal.into(),
                            removed => ApplyError::Partly { removed, why: refusal.to_string() },
                        };
                        self.effects.answers.push((reply, Err(refused)));
                    }
                    continue;
                }
                Err(Hold::Later) => {
                    self.queue.push_front(Queued { command, origin });
                    break;
                }
            };
            if let Change::Zone(zone) = &change
                && zone.is_void()
            {
                // It is so already, and durable.
                if let Origin::Caller { reply, .. } = origin {
                    let applied = Applied { revision: registry.revision, created: false };
                    self.effects.answers.push((reply, Ok(applied)));
                }
                continue;
            }
            if let Change::DeleteService { name, instances, .. } = &change
                && instances.len() > PURGE
            {
                let author = origin.author();
                let (mut operations, mut planned) = (Vec::new(), Vec::new());
                for (id, before) in &instances[..PURGE] {
                    let key = InstanceKey { service: name.clone(), id: id.clone() };
                    let change = Change::DeleteInstance { key, before: *before };
                    operations.extend(self.behind.operations(&change, &registry));
                    planned.push(Planned { change, origin: None, author: author.clone() });
                }
                departure.commands.push(operations);
                flight.planned.push(planned);
                flight.part = true;
                self.queue.push_front(Queued { command, origin });
                break;
            }
            let operations = self.behind.operations(&change, &registry);
            let planned = Planned { change, author: origin.author(), origin: Some(origin) };
            match (departure.commands.last_mut(), flight.planned.last_mut()) {
                (Some(last), Some(with)) if last.len() + operations.len() <= MAX_OPERATIONS => {
                    last.extend(operations);
                    with.push(planned);
                }
                _ => {
                    departure.commands.push(operations);
                    flight.planned.push(vec![planned]);
                }
            }
            if departure.commands.len() == MAX_COMMITS && departure.commands.last().is_some_and(|last| last.len() + 2 > MAX_OPERATIONS) {
                break;
            }
        }
        let touched: BTreeSet<Key> = match self.behind.is_empty() {
            true => BTreeSet::new(),
            false => departure.commands.iter().flatten().map(|operation| operation.key().clone()).collect(),
        };
        departure.behind = self.behind.depart(&registry, &touched, now);
        if flight.planned.is_empty() && departure.behind.is_empty() {
            return None;
        }
        self.flight = Some(flight);
        Some(departure)
    }

    /// Takes what the store said of the departure that is under way.
    pub fn land(&mut self, now: Timestamp, landing: Landing) {
        let Some(flight) = self.flight.take() else { return };
        // Held until all of it stands: who sees a revision sees the whole of it, and may wait for the next.
        let shared = self.registry.clone();
        let mut registry = write(&shared);
        let mut carried = Vec::new();
        if let Some(outcome) = landing.behind {
            self.unsure |= matches!(&outcome, Err(CommitError::Unknown | CommitError::Conflict { .. }));
            let (services, drains) = self.behind.land(outcome.as_ref().ok().copied(), now);
            if let Ok(revision) = outcome {
                // What was visible before is now part of a revision: readers who wait for one see it.
                services.iter().for_each(|service| registry.touch(service, revision));
                drains.iter().for_each(|subject| registry.touch_within(subject, revision));
            }
        }
        let mut outcomes = landing.commands.into_iter();
        let mut failed = false;
        for planned in flight.planned {
            match outcomes.next().unwrap_or(Err(CommitError::Unknown)) {
                Ok(revision) => {
                    self.removed = if flight.part { self.removed + planned.len() } else { 0 };
                    carried.extend(planned.into_iter().map(|planned| self.carry_out(&mut registry, now, planned, revision)));
                }
                Err(error) => {
                    failed = true;
                    self.unsure |= matches!(&error, CommitError::Unknown | CommitError::Conflict { .. });
                    let part = if flight.part { self.queue.pop_front().map(|queued| queued.origin) } else { None };
                    let why = error.to_string();
                    let failure = match (&error, std::mem::take(&mut self.removed)) {
                        (CommitError::Unknown, _) => ApplyError::Unknown(why),
                        (_, 0) => ApplyError::Store(why),
                        (_, removed) => ApplyError::Partly { removed, why },
                    };
                    for origin in planned.into_iter().filter_map(|planned| planned.origin).chain(part) {
                        self.fail(now, origin, failure.clone());
                    }
                }
            }
        }
        if failed {
            // Those that were made have taken note of theirs.
            self.behind.abandon();
        }
        drop(registry);
        carried.into_iter().for_each(|carried| self.make_known(now, carried));
        for (reply, key) in std::mem::take(&mut self.waiting) {
            self.beat(now, reply, key);
        }
    }

    /// Answers everyone in line that the store does not work.
    pub(in crate::control) fn refuse(&mut self, now: Timestamp, why: &str) {
        for queued in std::mem::take(&mut self.queue) {
            let failure = match std::mem::take(&mut self.removed) {
                0 => ApplyError::Store(why.to_string()),
                removed => ApplyError::Partly { removed, why: why.to_string() },
            };
            self.fail(now, queued.origin, failure);
        }
    }
}

impl<T> Origin<T> {
    fn author(&self) -> String {
        match self {
            Origin::Caller { author, .. } => author.clone(),
            Origin::Expiry(_) => String::new(),
        }
    }
}

impl<T> Flight<T> {
    /// Whether an instance is about to be gone.
    pub fn removes(&self, key: &InstanceKey) -> bool {
        self.planned.iter().flatten().any(|planned| match &planned.change {
            Change::DeleteInstance { key: gone, .. } => gone == key,
            Change::DeleteService { name, .. } => *name == key.service,
            _ => false,
        })
    }
}
