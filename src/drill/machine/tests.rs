//! Drills on virtual time, as transcripts: what is seen, what is ordered, what the report says.

use super::super::view::{MetricView, Standing};
use super::*;
use crate::model::{DrillFields, Out};

/// A world in which drains do as they are told: the share follows the ramp, a second for each step.
struct Stage {
    drill: Drill,
    view: View,
    now: Timestamp,
    /// When the ramp began and how long it takes, and whether it leads back.
    ramp: Option<(Timestamp, Duration, bool)>,
    orders: Vec<String>,
}

const BEGIN: Timestamp = Timestamp(1_795_514_400_000);

impl Stage {
    fn new(json: &str) -> Stage {
        let fields: DrillFields = serde_json::from_str(&format!(r#"{{"lose":"region/eu",{json}}}"#)).unwrap();
        fields.validate().unwrap();
        let report = DrillReport::begin(None, fields, "ann", BEGIN);
        let view = View {
            old: Some(0),
            healthy_regions: 2,
            healthy_weight: 100.0,
            ttl: (Duration::from_secs(5), Duration::from_secs(30)),
            ..View::default()
        };
        Stage { drill: Drill::new(report, BTreeMap::new()), view, now: BEGIN, ramp: None, orders: Vec::new() }
    }

    /// One step now; `answer` to whatever is ordered.
    fn step_with(&mut self, answer: Answer) {
        self.follow();
        let seconds = self.now.since(BEGIN).as_secs();
        match self.drill.step(self.now, &self.view) {
            Some(Order::Drain(fields)) => {
                self.orders.push(format!("{seconds}: drain for {}", fields.expires.unwrap()));
                if answer == Answer::Done {
                    let reason = fields.reason.clone();
                    self.view.drain = Some(Standing { ours: true, reason, out: Out { share: Share::NONE, moving: true } });
                    let ramp = self.drill.report().drill.ramp.map_or(Duration::ZERO, |ramp| ramp.0);
                    self.ramp = Some((self.now, ramp, false));
                }
                self.drill.drained(self.now, answer);
            }
            Some(Order::Lift(ramp)) => {
                self.orders.push(format!("{seconds}: lift over {ramp}"));
                if answer == Answer::Done {
                    self.ramp = Some((self.now, ramp.0, true));
                }
                self.drill.lifted(self.now, answer);
            }
            None => {}
        }
        self.follow();
    }

    fn follow(&mut self) {
        let (Some((since, length, back)), Some(drain)) = (self.ramp, self.view.drain.as_mut()) else { return };
        let done = if length.is_zero() { 1.0 } else { self.now.since(since).as_secs_f64() / length.as_secs_f64() };
        drain.out = Out { share: Share::of(if back { 1.0 - done } else { done }), moving: done < 1.0 };
        if back && done >= 1.0 {
            self.view.drain = None;
        }
    }

    /// Steps each second until `seconds` after the beginning; clients ask ten times a second.
    fn until(&mut self, seconds: u64) -> &mut Stage {
        while self.now.since(BEGIN).as_secs() < seconds {
            self.step_with(Answer::Done);
            self.now = self.now.plus(Duration::from_secs(1));
            let out = self.view.drain.as_ref().map_or(Share::NONE, |drain| drain.out.share);
            self.view.answers += 10;
            *self.view.old.as_mut().unwrap() += (10.0 * (1.0 - out.ratio())).ceil() as u64;
        }
        self
    }

    fn timeline(&self) -> Vec<String> {
        self.drill.report().timeline.iter().map(|moment| format!("{} {}", moment.after, moment.what)).collect()
    }

    fn check(&self, state: DrillState, why: &str, orders: &[&str]) {
        let report = self.drill.report();
        assert_eq!((report.state, &self.orders[..]), (state, &orders.iter().map(|o| o.to_string()).collect::<Vec<_>>()[..]), "{report:#?}");
        assert!(report.why.contains(why) && report.why.is_empty() == why.is_empty(), "{:?} is not {why:?}", report.why);
        assert_eq!(self.drill.is_over(), state.is_over());
    }
}

#[test]
fn a_drill_moves_holds_and_restores() {
    let mut stage = Stage::new(r#""ramp":"20s","hold":"10s""#);
    stage.until(5).check(DrillState::Moving, "", &["0: drain for 3m20s"]);
    stage.until(60).check(DrillState::Done, "", &["0: drain for 3m20s", "30: lift over 20s"]);
    let expected = [
        "0 announced",
        "1 first client moved",
        "5 25 % moved",
        "10 50 % moved",
        "15 75 % moved",
        "20 all moved",
        "20 last old answer",
        "30 lift",
        "50 restored",
    ];
    assert_eq!(stage.timeline(), expected);
    let report = stage.drill.report();
    let old = report.last_old.unwrap();
    // Given before the TTL dropped, at 0 s, it lives for 30 s; the last one of 20 s lives for 5 s.
    assert_eq!((old.last, old.cached), (20.0, 30.0), "{old:?}");
    assert_eq!((report.answers.all, report.answers.empty), (500, 0));
    assert_eq!(report.ended, Some(BEGIN.plus(Duration::from_secs(50))));
    assert_eq!(report.run, "20261124T100000Z-region-eu");
}

#[test]
fn what_is_required_is_looked_at_before_anything_is_touched() {
    let check = |json: &str, arrange: &dyn Fn(&mut Stage), why: &str| {
        let mut stage = Stage::new(json);
        arrange(&mut stage);
        stage.until(3).check(DrillState::Refused, why, &[]);
    };
    let regions = r#""require":{"min_healthy_regions":2}"#;
    check(regions, &|s| s.view.healthy_regions = 1, "1 regions would stay healthy, and 2 are required");
    let weight = r#""require":{"min_healthy_weight":80}"#;
    check(weight, &|s| s.view.healthy_weight = 79.94, "79.9 % of the weight that stays is healthy, and 80 % are required");
    check(
        r#""abort":{"min_healthy_weight":60}"#,
        &|s| s.view.healthy_weight = 59.0,
        "59.0 % of the weight that stays is healthy, below 60 %",
    );
    let metric = r#""abort":{"metric":{"url":"http://a","max":0.5}}"#;
    let failed = MetricView { value: None, failures: 1, error: Some("refused".into()) };
    check(metric, &|s| s.view.metric = Some(failed.clone()), "the metric cannot be read: refused");
    check(metric, &|s| s.view.metric = Some(MetricView { value: Some(0.6), ..MetricView::default() }), "the metric is 0.6, above 0.5");
    let other = Standing { ours: false, reason: "power".into(), out: Out::DRAINED };
    check(r#""hold":"1s""#, &|s| s.view.drain = Some(other.clone()), "region/eu is drained already: power");
    check(r#""hold":"1s""#, &|s| s.drill.stop("stopped by ann"), "stopped by ann");
}

#[test]
fn conditions_end_a_drill_with_a_short_lift() {
    let check = |json: &str, at: u64, arrange: &dyn Fn(&mut Stage), why: &str, lift: &str| {
        let mut stage = Stage::new(json);
        stage.until(at);
        arrange(&mut stage);
        stage.until(at + 1);
        assert_eq!((stage.drill.report().state, stage.orders.last().unwrap().as_str()), (DrillState::Restoring, lift), "{json}");
        stage.until(at + 100);
        let report = stage.drill.report();
        assert_eq!((report.state, report.why.as_str()), (DrillState::Aborted, why), "{json}");
        assert!(stage.view.drain.is_none() && stage.orders.len() == 2, "{:?}", stage.orders);
        assert!(stage.timeline().contains(&format!("{at} aborted")), "{:?}", stage.timeline());
    };
    let slow = r#""ramp":"60s","hold":"30s""#;
    check(slow, 20, &|s| s.view.empty = 2, "2 answers were empty, and 1 end the drill", "20: lift over 10s");
    check(slow, 70, &|s| s.drill.stop("stopped by ann"), "stopped by ann", "70: lift over 10s");
    let quick = r#""ramp":"60s","hold":"30s","lift":"3s","abort":{"empty_answers":3,"min_healthy_weight":60}"#;
    check(quick, 20, &|s| s.view.empty = 3, "3 answers were empty, and 3 end the drill", "20: lift over 3s");
    check(quick, 20, &|s| s.view.healthy_weight = 30.0, "30.0 % of the weight that stays is healthy, below 60 %", "20: lift over 3s");
    let metric = r#""hold":"60s","lift":"1m","abort":{"metric":{"url":"http://a","max":1}}"#;
    let large = MetricView { value: Some(1.5), ..MetricView::default() };
    check(metric, 20, &|s| s.view.metric = Some(large.clone()), "the metric is 1.5, above 1", "20: lift over 10s");
    let blind = MetricView { value: Some(0.5), failures: 3, error: Some("timeout".into()) };
    check(
        metric,
        20,
        &|s| s.view.metric = Some(blind.clone()),
        "the metric could not be read 3 times in a row: timeout",
        "20: lift over 10s",
    );
}

#[test]
fn what_is_allowed_does_not_end_a_drill() {
    let mut stage = Stage::new(r#""ramp":"10s","hold":"10s","abort":{"empty_answers":0,"metric":{"url":"http://a","max":1}}"#);
    stage.view.empty = 7;
    stage.until(5);
    stage.view.empty = 100;
    stage.view.metric = Some(MetricView { value: Some(1.0), failures: 2, error: Some("timeout".into()) });
    stage.until(60).check(DrillState::Done, "", &["0: drain for 3m", "20: lift over 10s"]);
    assert_eq!(stage.drill.report().answers.empty, 93);
    let watched: Vec<_> = stage.drill.report().watched.iter().map(|w| format!("{} {}: {}", w.condition, w.limit, w.last)).collect();
    assert_eq!(watched, ["abort.metric at most 1: not readable: timeout"]);
}

#[test]
fn an_immediate_drill_has_no_quarters() {
    let mut stage = Stage::new(r#""hold":"5s""#);
    stage.until(20).check(DrillState::Done, "", &["0: drain for 2m35s", "6: lift over 0s"]);
    assert_eq!(stage.timeline(), ["0 announced", "1 all moved", "6 lift", "7 restored"]);
}

#[test]
fn a_refused_drain_is_a_refused_drill() {
    let mut stage = Stage::new(r#""hold":"5s""#);
    stage.step_with(Answer::Refused("at least 2 regions must stay up".into()));
    stage.until(5).check(DrillState::Refused, "at least 2 regions", &["0: drain for 2m35s"]);
    // Whether this one was written nobody knows: it is lifted where it turns up, and the drill ends where it does not.
    let mut stage = Stage::new(r#""hold":"5s""#);
    stage.step_with(Answer::Unknown("the store said nothing".into()));
    stage.until(15).check(DrillState::Aborted, "it is not known whether the drain was written", &["0: drain for 2m35s"]);
    let mut stage = Stage::new(r#""hold":"5s""#);
    stage.step_with(Answer::Unknown("the store said nothing".into()));
    stage.until(3).check(DrillState::Moving, "", &["0: drain for 2m35s"]);
    stage.view.drain = Some(Standing { ours: true, reason: String::new(), out: Out::DRAINED });
    stage.until(15).check(DrillState::Aborted, "it is not known", &["0: drain for 2m35s", "3: lift over 0s"]);
}

#[test]
fn a_lift_that_fails_is_asked_for_again() {
    let mut stage = Stage::new(r#""hold":"5s""#);
    stage.until(6);
    stage.step_with(Answer::Refused("no space left".into()));
    stage.now = stage.now.plus(Duration::from_millis(500));
    stage.step_with(Answer::Done);
    stage.until(20).check(DrillState::Done, "", &["0: drain for 2m35s", "6: lift over 0s", "7: lift over 0s"]);
}

#[test]
fn a_drain_of_somebody_else_is_left_alone() {
    let check = |at: u64, drain: Option<Standing>, why: &str| {
        let mut stage = Stage::new(r#""ramp":"10s","hold":"10s""#);
        stage.until(at);
        let orders = stage.orders.len();
        (stage.view.drain, stage.ramp) = (drain, None);
        stage.until(at + 5);
        let report = stage.drill.report();
        assert_eq!((report.state, stage.orders.len()), (DrillState::Aborted, orders), "{report:#?}");
        assert!(report.why.contains(why), "{}", report.why);
    };
    check(5, None, "lifted by somebody else");
    check(15, Some(Standing { ours: false, reason: "power".into(), out: Out::DRAINED }), "its drain was replaced: power");
    check(25, Some(Standing { ours: false, reason: "power".into(), out: Out::DRAINED }), "its drain was replaced: power");
}
