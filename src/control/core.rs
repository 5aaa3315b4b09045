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

mod effects;
mod flight;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

pub use self::effects::{Effects, Extent};
use self::flight::Flight;
pub use self::flight::{Departure, Landing};
pub(super) use self::flight::{Origin, Planned, Queued};
use super::Observation;
use super::behind::Behind;
use super::heartbeats::Heartbeats;
use super::lapse::Round;
use super::orders::Orders;
use super::told::Told;
use crate::model::{InstanceKey, Label, Revision, SafetySettings, Subject, Timestamp};
use crate::registry::{Command, Registry};
use crate::store::Key;

/// How long after a failure what can wait is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

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

    /// What came of all that since the last call.
    pub fn effects(&mut self) -> Effects<T> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Registry> {
        write(&self.registry)
    }
}

/// Locks for looking; a thread that panicked while it held the lock has left whole values behind.
pub(super) fn read(registry: &RwLock<Registry>) -> RwLockReadGuard<'_, Registry> {
    registry.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write(registry: &RwLock<Registry>) -> RwLockWriteGuard<'_, Registry> {
    registry.write().unwrap_or_else(PoisonError::into_inner)
}
