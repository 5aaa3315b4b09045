//! Shell (floor 5): drills: drains that are scheduled, measured, watched and lifted again, with a report.
//!
//! ```text
//!   schedule, API ─▶ task ─▶ machine::Drill ─▶ orders ─▶ control (drain, lift)
//!                      ▲                          │
//!    counters, registry, metric ── view           └▶ report ─▶ shelf: drills/<run>.json and .md
//! ```
//!
//! All decisions are in [`machine::Drill`], which does no IO; the task shows it the world ten times a second while a drill is under way,
//! which is also how closely "the last answer with it" is known: no clock stands on the query path.
//!
//! A drill never leaves a drain behind. Its drain ends by itself soon after its plan does; a server that stops in the middle lifts it, and
//! one that was killed does so when it starts again.
// A shell: it waits for the clock, reads metrics and writes reports.
#![allow(clippy::disallowed_methods)]

pub mod machine;
mod markdown;
mod metric;
mod plan;
mod regions;
mod run;
mod shelf;
mod task;
pub mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

pub use markdown::page;

use self::plan::Plan;
use self::shelf::Shelf;
use self::task::Call;
use crate::control::{Clock, Control};
use crate::model::{DrillFields, DrillList, DrillOrder, DrillRefusal, DrillReport, DrillRun, Forecast, Label, Subject};

/// What drills stand on.
#[derive(Clone)]
pub struct DrillContext {
    /// The single writer.
    pub control: Control,
    /// Tells the time.
    pub clock: Clock,
    /// The folder of the reports; made when the first is written.
    pub folder: PathBuf,
    /// What the server has answered since it started.
    pub counts: Arc<dyn Fn() -> Counts + Send + Sync>,
    /// Who would move where: takes the world as it is now, and works it out when called again, on a thread that may take its time.
    pub forecast: Arc<dyn Fn(&Subject) -> Outlook + Send + Sync>,
}

/// What works a forecast out; `None`: there is none.
pub type Outlook = Box<dyn FnOnce() -> Option<Forecast> + Send>;

/// What a server has answered since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queries answered.
    pub all: u64,
    /// Those that got nothing where something would have been answered without drains.
    pub empty: u64,
    /// Those answered although nothing was healthy.
    pub fail_open: u64,
    /// Those that held an instance of a region, by its name.
    pub by_region: BTreeMap<String, u64>,
}

/// The drills of a server. Cloning shares them. Dropping the last handle ends the schedule; a drill under way is then left to the expiry
/// of its drain: see [`Drills::stop`].
#[derive(Debug, Clone)]
pub struct Drills {
    calls: mpsc::Sender<Call>,
    shared: Arc<Shared>,
}

/// What handles and the task share.
#[derive(Debug)]
struct Shared {
    shelf: Mutex<Shelf>,
    plan: Mutex<Plan>,
}

/// Calls that wait for the task.
const CALLS: usize = 16;

/// Starts the schedule of `defined`, on the runtime of the caller. A drill that an earlier process did not live to end is aborted first.
pub fn start(defined: &BTreeMap<Label, DrillFields>, context: DrillContext) -> Drills {
    let shelf = Shelf::open(context.folder.clone());
    let mut plan = Plan::default();
    plan.define(defined, (context.clock)());
    let shared = Arc::new(Shared { shelf: Mutex::new(shelf), plan: Mutex::new(plan) });
    let (calls, called) = mpsc::channel(CALLS);
    tokio::spawn(task::run(context, shared.clone(), called));
    Drills { calls, shared }
}

impl Drills {
    /// What is defined, and what was run.
    pub fn list(&self) -> DrillList {
        let runs = self.shared.shelf().reports().rev().map(|report| report.line()).collect();
        DrillList { drills: self.shared.plan().list(), runs }
    }

    /// The report of a run, as far as it has come.
    pub fn report(&self, run: &str) -> Option<Arc<DrillReport>> {
        self.shared.shelf().get(run).cloned()
    }

    /// Begins a drill: returns once its drain is in force.
    ///
    /// # Errors
    /// Another is under way, what it requires does not hold, or the drain was refused; the refusal of a drill that was begun has a report.
    pub async fn run(&self, order: DrillOrder, author: &str) -> Result<DrillRun, DrillRefusal> {
        let (reply, answer) = oneshot::channel();
        self.call(Call::Run { order, author: author.into(), reply }, answer).await
    }

    /// Ends the drill under way early: clients are led back from now on.
    pub async fn abort(&self, run: &str, author: &str) -> Result<DrillRun, DrillRefusal> {
        let (reply, answer) = oneshot::channel();
        self.call(Call::Abort { run: run.into(), author: author.into(), reply }, answer).await
    }

    /// Takes new definitions from reloaded settings. A drill under way goes on as it was.
    pub fn define(&self, defined: &BTreeMap<Label, DrillFields>, clock: &Clock) {
        self.shared.plan().define(defined, clock());
    }

    /// Ends the schedule. A drill under way is aborted, and its drain lifted at once.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.calls.send(Call::Quit { reply }).await.is_ok() {
            // An error: the task has ended already.
            _ = stopped.await;
        }
    }

    async fn call(&self, call: Call, answer: oneshot::Receiver<Result<DrillRun, DrillRefusal>>) -> Result<DrillRun, DrillRefusal> {
        self.calls.send(call).await.map_err(|_| DrillRefusal::Stopping)?;
        answer.await.unwrap_or(Err(DrillRefusal::Stopping))
    }
}

impl Shared {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Whole reports stand on the shelf, whatever panicked.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
