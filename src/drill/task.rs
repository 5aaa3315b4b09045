//! The task: begins what is due or asked for, one drill at a time, and takes its steps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::regions::difference;
use super::run::{self, Run};
use super::{DrillContext, Shared};
use crate::model::{DrillFields, DrillOrder, DrillRefusal, DrillReport, DrillRun, DrillState, Label, Timestamp};

/// Who asks for a drill whose time has come.
const SCHEDULE: &str = "schedule";
/// Between two steps of a drill under way; "the last old answer" is known as closely.
const STEP: Duration = Duration::from_millis(100);
/// Between two looks at the schedule.
const LOOK: Duration = Duration::from_secs(1);
/// Between two samples of the counters while no drill is under way, and how many are kept: the minute before.
const SAMPLE: Duration = Duration::from_secs(10);
const SAMPLES: usize = 7;

/// What a handle asks of the task.
#[derive(Debug)]
pub(super) enum Call {
    Run { order: DrillOrder, author: String, reply: Reply },
    Abort { run: String, author: String, reply: Reply },
    Quit { reply: oneshot::Sender<()> },
}

pub(super) type Reply = oneshot::Sender<Result<DrillRun, DrillRefusal>>;

struct Task {
    context: DrillContext,
    shared: Arc<Shared>,
    current: Option<Run>,
    /// Answers by region, every so often.
    samples: VecDeque<(Timestamp, BTreeMap<String, u64>)>,
}

/// Runs until every handle is gone, or one says so.
pub(super) async fn run(context: DrillContext, shared: Arc<Shared>, mut calls: mpsc::Receiver<Call>) {
    let mut task = Task { context, shared, current: None, samples: VecDeque::new() };
    task.clear_up().await;
    loop {
        task.follow_schedule().await;
        task.turn().await;
        let nap = if task.current.is_some() { STEP } else { LOOK };
        tokio::select! {
            call = calls.recv() => match call {
                Some(Call::Run { order, author, reply }) => {
                    // Whoever asked may have gone; the drill goes on.
                    _ = reply.send(task.begin_asked(order, author).await);
                }
                Some(Call::Abort { run, author, reply }) => _ = reply.send(task.abort(&run, &author).await),
                Some(Call::Quit { reply }) => {
                    task.quit().await;
                    _ = reply.send(());
                    return;
                }
                None => return,
            },
            () = tokio::time::sleep(nap) => {}
        }
    }
}

impl Task {
    /// Aborts what an earlier process did not live to end.
    async fn clear_up(&mut self) {
        const WHY: &str = "the server was restarted";
        let left: Vec<_> = self.shared.shelf().reports().filter(|report| !report.state.is_over()).cloned().collect();
        for report in left {
            let mut report = DrillReport::clone(&report);
            let lifted = run::lift_own(&self.context, &report.drill.lose, &report.run, report.drill.lift(), &report.author).await;
            let now = (self.context.clock)();
            report.tell(now, "aborted", WHY);
            run::conclude(&mut report, now, WHY, lifted);
            self.tell(&report);
            self.write(&report).await;
        }
    }

    /// Begins what is due; what cannot begin leaves a line.
    async fn follow_schedule(&mut self) {
        let now = (self.context.clock)();
        self.sample(now);
        let due = self.shared.plan().due(now);
        for due in due {
            let why = match &self.current {
                _ if due.late => "its time came while the server did not run".to_string(),
                Some(run) => format!("drill {} was under way", run.drill.report().run),
                None => {
                    // A refusal has its report.
                    _ = self.begin(Some(due.name), due.drill, SCHEDULE).await;
                    continue;
                }
            };
            let mut report = self.report(Some(due.name), due.drill, SCHEDULE, now);
            report.end(now, DrillState::Skipped, why);
            self.tell(&report);
            self.write(&report).await;
        }
    }

    async fn begin_asked(&mut self, order: DrillOrder, author: String) -> Result<DrillRun, DrillRefusal> {
        if let Some(run) = &self.current {
            return Err(DrillRefusal::Busy(run.drill.report().run.clone()));
        }
        let (name, mut drill) = match order {
            DrillOrder::Described(drill) => (None, drill),
            DrillOrder::Named { name } => {
                let drill = self.shared.plan().get(&name).cloned();
                (Some(name.clone()), drill.ok_or(DrillRefusal::UnknownDrill(name))?)
            }
        };
        // By hand now; its schedule is another matter.
        drill.schedule = None;
        drill.validate()?;
        self.begin(name, drill, &author).await
    }

    /// Begins a drill: returns when its drain is in force, or it is over.
    async fn begin(&mut self, name: Option<Label>, drill: DrillFields, author: &str) -> Result<DrillRun, DrillRefusal> {
        let now = (self.context.clock)();
        let mut report = self.report(name, drill, author, now);
        let counts = (self.context.counts)().by_region;
        let before = self.samples.front().map(|(_, then)| difference(then, &counts)).unwrap_or_default();
        // On disk before anything is touched: whoever starts after a crash knows what to clear up.
        self.write(&report).await;
        let mut run = match Run::prepare(report.clone(), before, &self.context).await {
            Ok(run) => run,
            Err(why) => {
                report.end((self.context.clock)(), DrillState::Refused, why);
                return self.refused(&report).await;
            }
        };
        run.turn(&self.context).await;
        let report = run.drill.report().clone();
        if report.state == DrillState::Refused {
            return self.refused(&report).await;
        }
        self.tell(&report);
        self.write(&report).await;
        self.current = Some(run);
        Ok(report.line())
    }

    async fn refused(&mut self, report: &DrillReport) -> Result<DrillRun, DrillRefusal> {
        self.tell(report);
        self.write(report).await;
        Err(DrillRefusal::Refused { run: report.run.clone(), why: report.why.clone() })
    }

    /// One step of the drill under way.
    async fn turn(&mut self) {
        let Some(run) = &mut self.current else { return };
        let is_news = run.turn(&self.context).await;
        let report = run.drill.report().clone();
        if report.state.is_over() {
            self.current = None;
            self.samples.clear();
            self.tell(&report);
        }
        match is_news {
            true => self.write(&report).await,
            false => self.shared.shelf().keep(&report),
        }
    }

    async fn abort(&mut self, run: &str, author: &str) -> Result<DrillRun, DrillRefusal> {
        match &mut self.current {
            Some(current) if current.drill.report().run == run => current.drill.stop(format!("stopped by {author}")),
            _ if self.shared.shelf().has(run) => return Err(DrillRefusal::Over(run.into())),
            _ => return Err(DrillRefusal::UnknownRun(run.into())),
        }
        self.turn().await;
        let found = self.shared.shelf().get(run).map(|report| report.line());
        found.ok_or_else(|| DrillRefusal::UnknownRun(run.into()))
    }

    async fn quit(&mut self) {
        if let Some(run) = self.current.take() {
            let report = run.quit(&self.context).await;
            self.tell(&report);
            self.write(&report).await;
        }
    }

    /// A report with a name of its own.
    fn report(&self, name: Option<Label>, drill: DrillFields, author: &str, now: Timestamp) -> DrillReport {
        let mut report = DrillReport::begin(name, drill, author, now);
        let shelf = self.shared.shelf();
        let first = report.run.clone();
        for n in 2.. {
            if !shelf.has(&report.run) {
                break;
            }
            report.run = format!("{first}-{n}");
        }
        report
    }

    /// Tells of the beginning or the end.
    fn tell(&self, report: &DrillReport) {
        let lose = &report.drill.lose;
        let (kind, detail) = match report.state {
            DrillState::Done => ("drill_ended", format!("{lose} is restored")),
            DrillState::Aborted => ("drill_aborted", report.why.clone()),
            DrillState::Refused => ("drill_refused", report.why.clone()),
            DrillState::Skipped => ("drill_skipped", report.why.clone()),
            _ => ("drill_began", format!("{lose} goes out of answers")),
        };
        self.context.control.tell(kind, format!("drill/{}", report.run), detail, &report.author);
    }

    /// Brings a report to disk. A disk that fails costs the report, not the drill.
    async fn write(&self, report: &DrillReport) {
        let work = self.shared.shelf().write(report);
        let written = tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other).flatten();
        if let Err(error) = written {
            tracing::error!(run = report.run, %error, "the report of a drill could not be written");
        }
        self.shared.shelf().keep(report);
    }

    /// Notes the counters, so that a drill knows the minute before it.
    fn sample(&mut self, now: Timestamp) {
        if self.current.is_some() || self.samples.back().is_some_and(|(at, _)| now.since(*at) < SAMPLE) {
            return;
        }
        self.samples.push_back((now, (self.context.counts)().by_region));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }
}
