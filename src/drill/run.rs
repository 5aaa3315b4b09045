//! One drill under way: what it is shown, and how its orders are carried out.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::DrillContext;
use super::machine::{Answer, Drill, Order, reason};
use super::metric::{INTERVAL, Metric};
use super::view::{MetricView, View, standing, survey};
use crate::control::ApplyError;
use crate::model::{Drain, DrillReport, DrillState, Forecast, Period, Subject, Timestamp};
use crate::registry::{Command, Refusal};

/// How often what stays is looked at, at most: it means looking at every instance.
const SURVEY: Duration = Duration::from_secs(1);
/// Of the time at most one part in so many goes into looking.
const SURVEY_SHARE: u32 = 20;

/// A drill under way.
#[derive(Debug)]
pub(super) struct Run {
    pub drill: Drill,
    metric: Option<(watch::Receiver<MetricView>, JoinHandle<()>)>,
    forecast: Option<oneshot::Receiver<Option<Forecast>>>,
    /// Healthy regions and weight, and when they are looked at again.
    survey: (u32, f64),
    survey_again: Option<tokio::time::Instant>,
}

impl Run {
    /// Makes ready; the drill has not begun. `before`: answers by region in the last minute.
    pub async fn prepare(report: DrillReport, before: BTreeMap<String, u64>, context: &DrillContext) -> Result<Run, String> {
        let metric = match &report.drill.abort.metric {
            None => None,
            Some(check) => Some(watch_metric(Metric::new(check)?).await),
        };
        let outlook = (context.forecast)(&report.drill.lose);
        let (told, forecast) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            // An error: the drill is over already.
            _ = told.send(outlook());
        });
        Ok(Run { drill: Drill::new(report, before), metric, forecast: Some(forecast), survey: (0, 0.0), survey_again: None })
    }

    /// One step: looks, and does what the drill wants done. Returns whether its state changed.
    pub async fn turn(&mut self, context: &DrillContext) -> bool {
        let before = (self.drill.report().state, self.drill.report().timeline.len());
        if let Some(Ok(forecast)) = self.forecast.as_mut().map(oneshot::Receiver::try_recv) {
            self.drill.report_mut().forecast = forecast;
            self.forecast = None;
        }
        let now = (context.clock)();
        let view = self.look(context, now);
        if let Some(order) = self.drill.step(now, &view) {
            self.carry_out(order, context).await;
        }
        before != (self.drill.report().state, self.drill.report().timeline.len())
    }

    fn look(&mut self, context: &DrillContext, now: Timestamp) -> View {
        let started = tokio::time::Instant::now();
        let report = self.drill.report();
        let registry = context.control.registry();
        let drain = standing(&registry, &report.drill.lose, &report.run, now);
        if self.survey_again.is_none_or(|at| at <= started) {
            self.survey = survey(&registry, &report.drill.lose);
            self.survey_again = Some(started + SURVEY.max(started.elapsed() * SURVEY_SHARE));
        }
        drop(registry);
        let snapshot = context.control.publisher().load();
        let ttls = snapshot.zones().map(|zone| (zone.ttl().min, zone.ttl().max));
        let (min, max) = ttls.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
        let counts = (context.counts)();
        View {
            drain,
            answers: counts.all,
            empty: counts.empty,
            fail_open: counts.fail_open,
            old: match &report.drill.lose {
                Subject::Region(region) => counts.by_region.get(region.as_str()).copied(),
                _ => None,
            },
            by_region: counts.by_region,
            healthy_regions: self.survey.0,
            healthy_weight: self.survey.1,
            metric: self.metric.as_ref().map(|(latest, _)| latest.borrow().clone()),
            ttl: (Duration::from_secs(min.into()), Duration::from_secs(max.into())),
        }
    }

    async fn carry_out(&mut self, order: Order, context: &DrillContext) {
        let (lose, author) = (self.drill.report().drill.lose.clone(), self.drill.report().author.clone());
        match order {
            Order::Drain(fields) => {
                let answer = match Drain::start(fields, &author, (context.clock)()) {
                    Ok(drain) => answer(context.control.apply(Command::Drain { subject: lose, drain }, &author).await),
                    Err(error) => Answer::Refused(error.to_string()),
                };
                self.drill.drained((context.clock)(), answer);
            }
            Order::Lift(ramp) => {
                let answer = lift(context, &lose, ramp, &author).await;
                self.drill.lifted((context.clock)(), answer);
            }
        }
    }

    /// The server is stopping: what is drained is lifted as the drill would have, which goes on in the store without us.
    pub async fn quit(mut self, context: &DrillContext) -> DrillReport {
        const WHY: &str = "the server is stopping";
        let now = (context.clock)();
        let report = self.drill.report_mut();
        if !report.state.is_over() {
            let (lose, author, run) = (report.drill.lose.clone(), report.author.clone(), report.run.clone());
            report.tell(now, "aborted", WHY);
            let answer = lift_own(context, &lose, &run, report.drill.lift(), &author).await;
            conclude(report, (context.clock)(), WHY, answer);
        }
        self.drill.report().clone()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some((_, reading)) = &self.metric {
            reading.abort();
        }
    }
}

/// Ends the report of a drill that did not live to its end, with what became of its drain.
pub(super) fn conclude(report: &mut DrillReport, now: Timestamp, why: &str, lifted: Option<Answer>) {
    match lifted {
        None => {}
        // Clients come back little by little here too: a restart is no reason to move all of them in one instant.
        Some(Answer::Done) if report.drill.lift().0.is_zero() => report.tell(now, "lift", "at once"),
        Some(Answer::Done) => report.tell(now, "lift", format!("over {}", report.drill.lift())),
        Some(Answer::Refused(error) | Answer::Unknown(error)) => {
            report.tell(now, "lift failed", format!("the drain ends by itself: {error}"));
        }
    }
    report.end(now, DrillState::Aborted, why);
}

/// Lifts the drain of a run if it is still in force; `None`: it is not.
pub(super) async fn lift_own(context: &DrillContext, lose: &Subject, run: &str, ramp: Period, author: &str) -> Option<Answer> {
    let is_ours = context.control.registry().drains.get(lose).is_some_and(|entry| entry.drain.reason == reason(run));
    match is_ours {
        true => Some(lift(context, lose, ramp, author).await),
        false => None,
    }
}

async fn lift(context: &DrillContext, lose: &Subject, ramp: Period, author: &str) -> Answer {
    let command = Command::Undrain { subject: lose.clone(), ramp: Some(ramp) };
    match context.control.apply(command, author).await {
        // Somebody was faster.
        Err(ApplyError::Refused(Refusal::NotDrained(_))) => Answer::Done,
        applied => answer(applied),
    }
}

fn answer<T>(applied: Result<T, ApplyError>) -> Answer {
    match applied {
        Ok(_) => Answer::Done,
        Err(error @ ApplyError::Unknown(_)) => Answer::Unknown(error.to_string()),
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// Reads a metric once, and from then on again and again.
async fn watch_metric(metric: Metric) -> (watch::Receiver<MetricView>, JoinHandle<()>) {
    let mut view = MetricView::default();
    take(&mut view, metric.read().await);
    let (tell, latest) = watch::channel(view.clone());
    let reading = tokio::spawn(async move {
        let mut beat = tokio::time::interval(INTERVAL);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        beat.tick().await;
        while !tell.is_closed() {
            beat.tick().await;
            take(&mut view, metric.read().await);
            tell.send_replace(view.clone());
        }
    });
    (latest, reading)
}

fn take(view: &mut MetricView, reading: Result<f64, String>) {
    *view = match reading {
        Ok(value) => MetricView { value: Some(value), failures: 0, error: None },
        Err(error) => MetricView { value: view.value, failures: view.failures + 1, error: Some(error) },
    };
}
