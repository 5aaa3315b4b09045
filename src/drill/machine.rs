//! A drill without IO: time and what is seen come in, orders go out, and the report grows.
//!
//! ```text
//!  checking ──▶ drain asked for ──▶ moving ──▶ holding ──▶ restoring ──▶ done
//!     │                 │              │          │            │
//!     ▼                 ▼              └────┬─────┴────────────┘   a condition, a stop, or the fate of the drain is not known
//!  refused           refused                ▼
//!                                      restoring, shorter ──▶ aborted
//! ```
//!
//! It never leaves a drain behind: its drain ends by itself soon after the drill is to be over, and a lift that fails is asked for again
//! until then. A drain that somebody else lifted or replaced is no longer the drill's: it ends there, and touches it no more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::regions::Stages;
use super::view::View;
use crate::model::{DrainFields, DrillAnswers, DrillReport, DrillState, LastOld, Period, Share, Timestamp, Watched};

/// How long the drain outlives the plan: long enough for a lift that has to be asked for again.
const MARGIN: Duration = Duration::from_secs(120);
/// The longest that clients are led back for when a drill is aborted: not all at once, and yet soon.
const SHORT_LIFT: Period = Period::seconds(10);
/// How long after a lift that failed it is asked for again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a drain that may or may not have been written is waited for.
const UNSURE: Duration = Duration::from_secs(10);
/// Readings of a metric that fail in a row before a drill is aborted: what is blind is stopped.
pub(super) const BLIND: u32 = 3;

/// What a drill wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Take its subject out of answers.
    Drain(DrainFields),
    /// Lead clients back, over that time; zero: all at once.
    Lift(Period),
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was carried out.
    Done,
    /// It was not, and why.
    Refused(String),
    /// It may have been carried out, or may still be.
    Unknown(String),
}

/// A drill under way, or over.
#[derive(Debug)]
pub struct Drill {
    report: DrillReport,
    phase: Phase,
    /// What the counters were when the drain was asked for.
    base: Base,
    stages: Stages,
    /// How much of the ramp was told of, in quarters; 0: nothing.
    quarters: u32,
    /// Answers that held what is lost, as last seen; and when their number grew last.
    old: (u64, Option<Timestamp>),
    /// When the drain was known to be in force.
    announced: Timestamp,
    /// Until when it may turn up yet.
    unsure: Option<Timestamp>,
    /// Whether TTLs dropped to their minimum then; and what minimum and maximum were.
    short: bool,
    ttl: (Duration, Duration),
    /// Why it is stopped before its time.
    abort: Option<String>,
    /// When the drain ends by itself.
    expires: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Checking,
    /// The drain was asked for.
    Asked,
    Moving,
    Holding {
        since: Timestamp,
    },
    /// The lift is asked for when `lift` has come; `None`: it was, and is under way.
    Restoring {
        lift: Option<Timestamp>,
    },
    Over,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Base {
    at: Timestamp,
    all: u64,
    empty: u64,
    fail_open: u64,
    old: u64,
}

impl Drill {
    /// A drill that is about to begin. `before`: answers by region in the last minute.
    pub fn new(report: DrillReport, before: BTreeMap<String, u64>) -> Drill {
        Drill {
            stages: Stages::new(before),
            report,
            phase: Phase::Checking,
            base: Base::default(),
            quarters: 0,
            old: (0, None),
            announced: Timestamp::default(),
            unsure: None,
            short: false,
            ttl: (Duration::ZERO, Duration::ZERO),
            abort: None,
            expires: Timestamp::default(),
        }
    }

    /// The report as far as it has come.
    pub fn report(&self) -> &DrillReport {
        &self.report
    }

    /// The report, for what is found out beside the drill.
    pub fn report_mut(&mut self) -> &mut DrillReport {
        &mut self.report
    }

    /// Whether nothing comes any more.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Ends it early, at the next step.
    pub fn stop(&mut self, why: impl Into<String>) {
        self.abort.get_or_insert(why.into());
    }

    /// Looks at the world, and says what is to be done now. The answer to an order comes before the next step.
    pub fn step(&mut self, now: Timestamp, view: &View) -> Option<Order> {
        match self.phase {
            Phase::Over | Phase::Asked => None,
            Phase::Checking => self.begin(now, view),
            Phase::Moving | Phase::Holding { .. } | Phase::Restoring { .. } => {
                self.measure(now, view);
                self.go_on(now, view)
            }
        }
    }

    /// Takes what became of the drain that was asked for.
    pub fn drained(&mut self, now: Timestamp, answer: Answer) {
        if self.phase != Phase::Asked {
            return;
        }
        self.announced = now;
        match answer {
            Answer::Done => {
                self.report.state = DrillState::Moving;
                let ramp = self.report.drill.ramp.map_or("at once".into(), |ramp| format!("over {ramp}"));
                let detail = format!("{} goes out of answers {ramp}; the drain ends by itself at {}", self.report.drill.lose, self.expires);
                self.report.tell(now, "announced", detail);
                self.phase = Phase::Moving;
            }
            Answer::Refused(why) => self.end(now, DrillState::Refused, why),
            Answer::Unknown(why) => {
                self.report.state = DrillState::Moving;
                self.report.tell(now, "announced", format!("not known whether it was written: {why}"));
                self.phase = Phase::Moving;
                self.unsure = Some(now.plus(UNSURE));
                self.stop(format!("it is not known whether the drain was written: {why}"));
            }
        }
    }

    /// Takes what became of the lift that was asked for.
    pub fn lifted(&mut self, now: Timestamp, answer: Answer) {
        let Phase::Restoring { lift } = &mut self.phase else { return };
        match answer {
            Answer::Done => *lift = None,
            Answer::Refused(why) | Answer::Unknown(why) => {
                *lift = Some(now.plus(RETRY));
                self.report.tell(now, "lift failed", format!("asked for again until the drain ends by itself: {why}"));
            }
        }
    }

    fn begin(&mut self, now: Timestamp, view: &View) -> Option<Order> {
        if let Err(why) = self.check(view) {
            self.end(now, DrillState::Refused, why);
            return None;
        }
        self.base = Base { at: now, all: view.answers, empty: view.empty, fail_open: view.fail_open, old: view.old.unwrap_or_default() };
        self.old = (self.base.old, None);
        self.ttl = view.ttl;
        self.stages.enter(DrillState::Moving, &view.by_region);
        self.phase = Phase::Asked;
        // The longest TTL may pass before anybody moves: answers live shorter first.
        let lives = self.report.drill.length().saturating_add(view.ttl.1).saturating_add(MARGIN);
        // In whole seconds, as people write them.
        let expires = Period(Duration::from_secs(lives.as_secs() + u64::from(lives.subsec_nanos() > 0)));
        self.expires = now.plus(expires.0);
        Some(Order::Drain(drain_fields(&self.report, expires)))
    }

    /// What is required, and what would end it at once.
    fn check(&mut self, view: &View) -> Result<(), String> {
        if let Some(why) = self.abort.take() {
            return Err(why);
        }
        if let Some(standing) = &view.drain {
            return Err(format!("{} is drained already: {}", self.report.drill.lose, standing.reason));
        }
        let require = self.report.drill.require.clone();
        let regions = require.min_healthy_regions.map(|least| {
            self.watch("require.min_healthy_regions", format!("at least {least}"), view.healthy_regions.to_string());
            (view.healthy_regions < least).then(|| format!("{} regions would stay healthy, and {least} are required", view.healthy_regions))
        });
        let weight = require.min_healthy_weight.map(|least| {
            self.watch("require.min_healthy_weight", format!("at least {least} %"), percent(view.healthy_weight));
            let found = percent(view.healthy_weight);
            (view.healthy_weight < f64::from(least))
                .then(|| format!("{found} of the weight that stays is healthy, and {least} % are required"))
        });
        if let Some(why) = [regions, weight].into_iter().flatten().flatten().next() {
            return Err(why);
        }
        if let (Some(_), Some(error)) = (&self.report.drill.abort.metric, view.metric.as_ref().and_then(|metric| metric.error.as_ref())) {
            return Err(format!("the metric cannot be read: {error}"));
        }
        self.condition(view).map_or(Ok(()), Err)
    }

    /// A condition that ends the drill.
    fn condition(&mut self, view: &View) -> Option<String> {
        let abort = self.report.drill.abort.clone();
        // Before the drain nothing was counted.
        let empty = if self.phase == Phase::Checking { 0 } else { view.empty.saturating_sub(self.base.empty) };
        let mut found = None;
        if abort.empty_answers > 0 {
            self.watch("abort.empty_answers", format!("below {}", abort.empty_answers), empty.to_string());
            if empty >= abort.empty_answers {
                found = Some(format!("{empty} answers were empty, and {} end the drill", abort.empty_answers));
            }
        }
        if let Some(least) = abort.min_healthy_weight {
            let weight = percent(view.healthy_weight);
            self.watch("abort.min_healthy_weight", format!("at least {least} %"), weight.clone());
            if view.healthy_weight < f64::from(least) {
                found.get_or_insert(format!("{weight} of the weight that stays is healthy, below {least} %"));
            }
        }
        if let (Some(check), Some(metric)) = (&abort.metric, &view.metric) {
            let shown = match (&metric.error, metric.value) {
                (Some(error), _) => format!("not readable: {error}"),
                (None, Some(value)) => value.to_string(),
                (None, None) => "not read yet".into(),
            };
            self.watch("abort.metric", format!("at most {}", check.max), shown);
            match metric.value.filter(|value| metric.error.is_none() && *value > check.max) {
                Some(value) => _ = found.get_or_insert(format!("the metric is {value}, above {}", check.max)),
                None if metric.failures >= BLIND => {
                    let error = metric.error.as_deref().unwrap_or_default();
                    found.get_or_insert(format!("the metric could not be read {} times in a row: {error}", metric.failures));
                }
                None => {}
            }
        }
        found
    }

    fn watch(&mut self, condition: &str, limit: String, last: String) {
        match self.report.watched.iter_mut().find(|watched| watched.condition == condition) {
            Some(watched) => watched.last = last,
            None => self.report.watched.push(Watched { condition: condition.into(), limit, last }),
        }
    }

    /// Brings the numbers of the report up to date.
    fn measure(&mut self, now: Timestamp, view: &View) {
        let base = self.base;
        self.report.answers = DrillAnswers {
            all: view.answers.saturating_sub(base.all),
            empty: view.empty.saturating_sub(base.empty),
            fail_open: view.fail_open.saturating_sub(base.fail_open),
        };
        self.stages.count(&view.by_region);
        self.report.regions = self.stages.shares();
        if matches!(self.phase, Phase::Restoring { .. }) {
            return;
        }
        if view.drain.as_ref().is_some_and(|drain| drain.out.moving) {
            self.short = true;
        }
        if let Some(old) = view.old {
            if old > self.old.0 {
                self.old = (old, Some(now));
            }
            let last = self.old.1.unwrap_or(base.at);
            // What was given before the TTL dropped lives as long as it may, what was given last as short as it may.
            let cached = match self.short {
                true => self.announced.plus(self.ttl.1).max(last.plus(self.ttl.0)),
                false => last.plus(self.ttl.1),
            };
            let seconds = |at: Timestamp| at.since(base.at).as_millis() as f64 / 1000.0;
            let (answers, last) = (self.old.0.saturating_sub(base.old), seconds(last));
            self.report.last_old = Some(LastOld { answers, last, cached: seconds(cached) });
        }
    }

    /// One step of a drill whose drain was asked for.
    fn go_on(&mut self, now: Timestamp, view: &View) -> Option<Order> {
        let restoring = matches!(self.phase, Phase::Restoring { .. });
        let Some(drain) = view.drain.as_ref().filter(|drain| drain.ours) else {
            match (restoring, &view.drain) {
                (true, None) => self.restored(now),
                (_, Some(other)) => self.lost(now, format!("its drain was replaced: {}", other.reason)),
                // What turns up yet is lifted; what does not was never there.
                (false, None) if self.unsure.is_some_and(|until| now < until) => {}
                (false, None) if self.abort.is_some() => self.restored(now),
                (false, None) if now >= self.expires => self.lost(now, "its drain ended by itself before it was lifted".into()),
                (false, None) => self.lost(now, "its drain was lifted by somebody else".into()),
            }
            return None;
        };
        let aborting = restoring && self.report.state == DrillState::Restoring && !self.report.why.is_empty();
        if !aborting && let Some(why) = self.abort.take().or_else(|| self.condition(view)) {
            self.report.tell(now, "aborted", why.clone());
            self.report.why = why;
            return self.restore(now, view);
        }
        match self.phase {
            Phase::Moving => {
                self.tell_of_share(now, drain.out.share);
                if drain.out.share == Share::ALL {
                    self.report.state = DrillState::Holding;
                    self.stages.enter(DrillState::Holding, &view.by_region);
                    self.phase = Phase::Holding { since: now };
                    let until = now.plus(self.report.drill.hold.0);
                    self.report.tell(now, "all moved", format!("held for {}, until {until}", self.report.drill.hold));
                }
                None
            }
            Phase::Holding { since } if now >= since.plus(self.report.drill.hold.0) => self.restore(now, view),
            Phase::Restoring { lift: Some(at) } if now >= at => Some(Order::Lift(self.lift())),
            Phase::Restoring { lift: None } if drain.out.share == Share::NONE && !drain.out.moving => {
                self.restored(now);
                None
            }
            _ => None,
        }
    }

    /// Tells of the first client that moves, and of each quarter.
    fn tell_of_share(&mut self, now: Timestamp, share: Share) {
        let ratio = share.ratio();
        // 1: the first client; then 25, 50 and 75 %. All of them have a moment of their own.
        let reached = if ratio > 0.0 { 1 + ((ratio * 4.0) as u32).min(3) } else { 0 };
        while self.quarters < reached {
            self.quarters += 1;
            match self.quarters {
                // An immediate drain moves everybody in the same moment.
                _ if share == Share::ALL && self.report.drill.ramp.is_none() => {}
                1 => self.report.tell(now, "first client moved", ""),
                quarter => self.report.tell(now, format!("{} % moved", (quarter - 1) * 25), ""),
            }
        }
    }

    /// Begins to lead clients back.
    fn restore(&mut self, now: Timestamp, view: &View) -> Option<Order> {
        self.tell_of_last(now);
        self.report.state = DrillState::Restoring;
        self.stages.enter(DrillState::Restoring, &view.by_region);
        self.phase = Phase::Restoring { lift: Some(now) };
        let lift = self.lift();
        self.report.tell(now, "lift", if lift.0.is_zero() { "at once".into() } else { format!("over {lift}") });
        Some(Order::Lift(lift))
    }

    /// The last old answer is known to have been the last once clients are led back.
    fn tell_of_last(&mut self, now: Timestamp) {
        if matches!(self.phase, Phase::Holding { .. })
            && let Some(last) = self.old.1
        {
            let cached = self.report.last_old.map_or(0.0, |old| old.cached);
            self.report.tell(last.min(now), "last old answer", format!("its TTL had run out {cached:.1} s after the drain was asked for"));
        }
    }

    /// Over how long clients are led back.
    fn lift(&self) -> Period {
        let planned = self.report.drill.lift();
        if self.report.why.is_empty() { planned } else { planned.min(SHORT_LIFT) }
    }

    fn restored(&mut self, now: Timestamp) {
        self.report.tell(now, "restored", "");
        let why = match self.abort.take() {
            Some(why) if self.report.why.is_empty() => why,
            _ => std::mem::take(&mut self.report.why),
        };
        let state = if why.is_empty() { DrillState::Done } else { DrillState::Aborted };
        self.end(now, state, why);
    }

    /// The drain is no longer the drill's.
    fn lost(&mut self, now: Timestamp, why: String) {
        self.report.tell(now, "aborted", why.clone());
        self.end(now, DrillState::Aborted, why);
    }

    fn end(&mut self, now: Timestamp, state: DrillState, why: String) {
        self.report.end(now, state, why);
        self.phase = Phase::Over;
    }
}

/// The drain that a drill asks for. Its reason names the run: by it a drill knows its own drain again, also after a restart.
pub(super) fn drain_fields(report: &DrillReport, expires: Period) -> DrainFields {
    DrainFields { reason: reason(&report.run), ramp: report.drill.ramp, expires: Some(expires), ..DrainFields::default() }
}

/// The reason of a run's drain.
pub fn reason(run: &str) -> String {
    format!("drill {run}")
}

fn percent(value: f64) -> String {
    format!("{value:.1} %")
}

#[cfg(test)]
mod tests;
