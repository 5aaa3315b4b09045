//! The writer's mind, without IO: commands wait in line, depart as one commit, and land as state, orders, events and answers.
//!
//! ```text
//!   Input ──▶ queue ── depart ──▶ Departure ─▶ store ─▶ land ──▶ registry, Effects
//!     │                                                              ▲
//!     └── observation, beat, deadline: at once, persisted behind ────┘
//! ```
//!
//! One departure is under way at a time, and everyone who waited meanwhile goes with the next: commands of many callers become many
//! commits, which the store brings to disk together. The registry changes when it lands, never before; what needs no store (health, expiry) goes
//! on meanwhile. Time is an argument, and `T` is whatever the caller wants back with an answer: a channel in the server, a number in
//! transcripts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::behind::Behind;
use super::heartbeats::Heartbeats;
use super::lapse::Round;
use super::orders::Orders;
use super::told::Told;
use super::{Applied, ApplyError, Event, Observation, ProbeOrder};
use crate::model::{InstanceKey, Label, Name, Revision, SafetySettings, Subject, Timestamp};
use crate::registry::{Change, Command, Draft, Hold, Refusal, Registry};
use crate::store::{CommitError, Key, MAX_OPERATIONS, Operation};

/// How long after a failure what can wait is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// Instances that one commit deregisters of a service that is removed: each may take two operations.
const PURGE: usize = MAX_OPERATIONS / 2 - 2;
/// Most commits of commands that depart together: bounds how long the first of their callers waits.
const MAX_COMMITS: usize = 16;

/// What comes in.
#[derive(Debug)]
pub enum Input<T> {
    /// A command of a caller.
    Command {
        /// Given back with the answer.
        reply: T,
        /// What is asked.
        command: Command,
        /// By whom.
        author: String,
    },
    /// A heartbeat that the writer has to hear of.
    Beat {
        /// Given back with the answer.
        reply: T,
        /// Of which instance.
        key: InstanceKey,
    },
    /// A verdict of the prober.
    Observation(Observation),
    /// What drains must leave from now on.
    Safety(SafetySettings),
}

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

/// What came of it, in the order in which it is to be made known: answers last.
#[derive(Debug)]
pub struct Effects<T> {
    /// Services that are no longer as they were, and how far.
    pub services: BTreeMap<Label, Extent>,
    /// Whether drains of regions or azs changed.
    pub drained: bool,
    /// Zones whose records are no longer as they were.
    pub zones: BTreeSet<Name>,
    /// For the prober.
    pub orders: Vec<ProbeOrder>,
    /// For everyone who listens.
    pub events: Vec<Event>,
    /// For the callers.
    pub answers: Vec<(T, Result<Applied, ApplyError>)>,
}

impl<T> Default for Effects<T> {
    fn default() -> Effects<T> {
        Effects {
            services: BTreeMap::new(),
            drained: false,
            zones: BTreeSet::new(),
            orders: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
        }
    }
}

/// How far a service is no longer as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// Anything of it may have changed, or it is gone.
    Whole,
    /// Nothing but the health of these instances, by their places in the order of ids. One that turned twice stands here twice.
    Health(Vec<usize>),
}

impl<T> Effects<T> {
    /// Anything of a service may have changed.
    pub(super) fn whole(&mut self, service: Label) {
        self.services.insert(service, Extent::Whole);
    }

    /// The health of an instance has changed, or how steady it is. `place`: its place in the order of ids, where nothing else has.
    pub(super) fn health(&mut self, service: &Label, place: Option<usize>) {
        let Some(place) = place else { return self.whole(service.clone()) };
        match self.services.get_mut(service) {
            Some(Extent::Whole) => {}
            Some(Extent::Health(places)) => places.push(place),
            None => _ = self.services.insert(service.clone(), Extent::Health(vec![place])),
        }
    }
}

/// Says whether a service's settings, or a zone's records, can be compiled into answers.
pub type Trial<'a> = &'a mut dyn FnMut(&Registry, &Change) -> Result<(), Refusal>;

/// See the module.
#[derive(Debug)]
pub struct Core<T> {
    pub(super) registry: Arc<RwLock<Registry>>,
    pub(super) beats: Arc<Heartbeats>,
    pub(super) orders: Arc<Orders>,
    /// How often an instance was held down.
    pub(super) flaps_suppressed: Arc<AtomicU64>,
    /// When each service takes its next step in slow starts.
    pub(super) steps: BTreeMap<Label, Timestamp>,
    /// In the order in which they came.
    pub(super) queue: VecDeque<Queued<T>>,
    /// Beats of instances that are being deregistered: they learn how that went.
    pub(super) waiting: Vec<(T, InstanceKey)>,
    pub(super) flight: Option<Flight<T>>,
    pub(super) behind: Behind,
    /// When what is to be looked at; entries may be void by then.
    pub(super) deadlines: BinaryHeap<Reverse<(Timestamp, Due)>>,
    /// When each drain is to be looked at.
    pub(super) rounds: BTreeMap<Subject, Round>,
    pub(super) effects: Effects<T>,
    pub(super) told: Told,
    /// Whether a commit failed in such a way that the store may hold something else than is known here.
    pub(super) unsure: bool,
    /// Instances that the first command in the queue, which is carried out in parts, has removed so far.
    pub(super) removed: usize,
}

#[derive(Debug)]
pub(super) struct Queued<T> {
    pub command: Command,
    pub origin: Origin<T>,
}

/// Who wants a change.
#[derive(Debug)]
pub(super) enum Origin<T> {
    Caller {
        reply: T,
        author: String,
    },
    /// Heartbeats that this instance missed.
    Expiry(InstanceKey),
}

/// What is under way.
#[derive(Debug)]
pub(super) struct Flight<T> {
    /// By commit.
    planned: Vec<Vec<Planned<T>>>,
    /// The caller of the first command in the queue, a part of which is under way, learns of failure.
    part: bool,
}

#[derive(Debug)]
pub(super) struct Planned<T> {
    pub change: Change,
    /// `None` for a part of a command that is still in the queue.
    pub origin: Option<Origin<T>>,
    pub author: String,
}

/// What a deadline is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Drain(Subject),
    /// The end of a hold.
    Hold(InstanceKey),
    /// A step in the slow starts of a service.
    Step(Label),
}

impl<T> Core<T> {
    /// A writer of this registry. `written`: when each drain and health in the store was written.
    pub(super) fn new(registry: Registry, written: HashMap<Key, Revision>, now: Timestamp) -> Core<T> {
        let mut core = Core {
            registry: Arc::default(),
            beats: Arc::default(),
            orders: Arc::default(),
            flaps_suppressed: Arc::default(),
            steps: BTreeMap::new(),
            queue: VecDeque::new(),
            waiting: Vec::new(),
            flight: None,
            behind: Behind::new(written),
            deadlines: BinaryHeap::new(),
            rounds: BTreeMap::new(),
            effects: Effects::default(),
            told: Told::default(),
            unsure: false,
            removed: 0,
        };
        core.begin(registry, now);
        core
    }

    /// Takes one input; effects are collected until [`Core::effects`].
    pub fn handle(&mut self, now: Timestamp, input: Input<T>) {
        match input {
            Input::Command { reply, command, author } => {
                self.queue.push_back(Queued { command, origin: Origin::Caller { reply, author } });
            }
            Input::Beat { reply, key } => self.beat(now, reply, key),
            Input::Observation(Observation { key, order, health, wavers, why }) => {
                if self.orders.is_in_force(&key, order) {
                    let turn = self.write().observe(&key, health, wavers, why, now);
                    self.turned(now, &key, turn, "");
                }
            }
            Input::Safety(safety) => self.write().safety = safety,
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp) {
        loop {
            let other = self.deadlines.peek().map(|Reverse((at, _))| *at).filter(|at| *at <= now);
            if let Some((key, lapse)) = self.beats.lapse(other.unwrap_or(now), now) {
                self.lapse(now, key, lapse);
                continue;
            }
            let Some(Reverse((at, due))) = other.and_then(|_| self.deadlines.pop()) else { break };
            match due {
                Due::Drain(subject) => self.look_at_drain(now, at, subject),
                Due::Hold(key) => self.release(now, key),
                Due::Step(service) => self.step(now, at, service),
            }
        }
        if let Some(sum) = self.told.sum(now) {
            self.tell(now, "health", "instances".into(), sum, "");
        }
    }

    /// When [`Core::tick`] is needed next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let due = self.deadlines.peek().map(|Reverse((at, _))| *at);
        [due, self.beats.next_look(), self.behind.rests_until(), self.told.due()].into_iter().flatten().min()
    }

    /// Commands in line.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is anything left to bring to the store.
    pub fn is_idle(&self) -> bool {
        self.flight.is_none() && self.queue.is_empty() && self.behind.is_empty()
    }

    /// Whether the store must be read anew before the next departure.
    pub fn is_unsure(&self) -> bool {
        self.unsure && self.flight.is_none()
    }

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
    pub(super) fn refuse(&mut self, now: Timestamp, why: &str) {
        for queued in std::mem::take(&mut self.queue) {
            let failure = match std::mem::take(&mut self.removed) {
                0 => ApplyError::Store(why.to_string()),
                removed => ApplyError::Partly { removed, why: why.to_string() },
            };
            self.fail(now, queued.origin, failure);
        }
    }

    /// What came of all that since the last call.
    pub fn effects(&mut self) -> Effects<T> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Registry> {
        write(&self.registry)
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

/// Locks for looking; a thread that panicked while it held the lock has left whole values behind.
pub(super) fn read(registry: &RwLock<Registry>) -> RwLockReadGuard<'_, Registry> {
    registry.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write(registry: &RwLock<Registry>) -> RwLockWriteGuard<'_, Registry> {
    registry.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
