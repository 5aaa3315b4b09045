//! What the prober does and how late it is, for metrics and for one line in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::ProbeResult;

use super::roster::{Due, Finding};

/// The time over which it is judged whether the prober keeps up.
const WINDOW: Duration = Duration::from_secs(10);

/// What the prober does, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeStats {
    /// Instances with at least one check.
    pub instances: u64,
    /// Their checks.
    pub checks: u64,
    /// Probes run since the start.
    pub probes: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Probes that this machine could not make, for want of file descriptors or ports: they count neither way.
    pub not_made: u64,
    /// Probes under way.
    pub in_flight: u64,
    /// By how many milliseconds the last probe started too late.
    pub lag_ms: u64,
    /// The same for the worst of the last 10 to 20 s.
    pub worst_lag_ms: u64,
    /// Probes since the start that started late by more than a tenth of their interval. When this grows, `[probe] concurrency` or this
    /// core is at its end, and all intervals stretch alike.
    pub late: u64,
    /// Milliseconds since the start in which probes were under way and the machine did not let the prober run. No timeout ran meanwhile.
    pub stalled_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    instances: AtomicU64,
    checks: AtomicU64,
    probes: AtomicU64,
    failures: AtomicU64,
    not_made: AtomicU64,
    in_flight: AtomicU64,
    lag_ms: AtomicU64,
    worst_lag_ms: AtomicU64,
    late: AtomicU64,
    stalled_ms: AtomicU64,
}

impl Tally {
    pub(super) fn stats(&self) -> ProbeStats {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Tally { instances, checks, probes, failures, not_made, in_flight, lag_ms, worst_lag_ms, late, stalled_ms } = self;
        ProbeStats {
            instances: get(instances),
            checks: get(checks),
            probes: get(probes),
            failures: get(failures),
            not_made: get(not_made),
            in_flight: get(in_flight),
            lag_ms: get(lag_ms),
            worst_lag_ms: get(worst_lag_ms),
            late: get(late),
            stalled_ms: get(stalled_ms),
        }
    }

    /// What came of a probe.
    pub(super) fn count(&self, finding: &Finding) {
        let add = |number: &AtomicU64| number.fetch_add(1, Ordering::Relaxed);
        match finding {
            Finding::NotProbed(_) => add(&self.not_made),
            Finding::Result(ProbeResult::Pass) => add(&self.probes),
            Finding::Result(ProbeResult::Fail(_)) => {
                add(&self.failures);
                add(&self.probes)
            }
        };
    }

    pub(super) fn known(&self, (instances, checks): (usize, usize)) {
        self.instances.store(instances as u64, Ordering::Relaxed);
        self.checks.store(checks as u64, Ordering::Relaxed);
    }

    pub(super) fn under_way(&self, count: usize, lost: Duration) {
        self.in_flight.store(count as u64, Ordering::Relaxed);
        self.stalled_ms.store(millis(lost), Ordering::Relaxed);
    }
}

/// Whether probes start when they should.
#[derive(Debug, Default)]
pub(super) struct Lateness {
    /// When the present window began, as all times here since the prober's start.
    since: Duration,
    starts: u64,
    late: u64,
    worst: Duration,
    /// The worst of the window before.
    before: Duration,
    /// Whether all places were taken at some time.
    full: bool,
    /// What was lost until the window began (see `Attention::lost`).
    lost: Duration,
    /// Whether it was said that the prober cannot keep up.
    behind: bool,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It cannot keep up.
    Behind {
        /// Starts in the last window.
        starts: u64,
        /// Those of them that were late.
        late: u64,
        /// By how much at most.
        worst: Duration,
        /// What is at its end.
        limit: Limit,
    },
    /// It keeps up again.
    Recovered,
}

/// What keeps probes from starting in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// As many are under way as may be.
    Places,
    /// Others have the machine.
    Machine,
    /// This core has no more to give.
    Core,
}

impl Lateness {
    /// A probe starts.
    pub(super) fn started<P>(&mut self, due: &Due<P>, tally: &Tally) {
        self.starts += 1;
        tally.lag_ms.store(millis(due.lag), Ordering::Relaxed);
        if due.lag > due.interval / 10 {
            self.late += 1;
            tally.late.fetch_add(1, Ordering::Relaxed);
        }
        if due.lag > self.worst {
            self.worst = due.lag;
            tally.worst_lag_ms.store(millis(self.worst.max(self.before)), Ordering::Relaxed);
        }
    }

    /// All places are taken.
    pub(super) fn full(&mut self) {
        self.full = true;
    }

    /// Looks back on a window that is over. Says once that the prober is behind (more than a hundredth of its starts were late), and once
    /// that it is not any more (none was).
    pub(super) fn look_back(&mut self, now: Duration, lost: Duration, tally: &Tally) -> Option<Turn> {
        if now.saturating_sub(self.since) < WINDOW {
            return None;
        }
        let Lateness { starts, late, worst, behind, .. } = *self;
        let limit = match (lost.saturating_sub(self.lost) > WINDOW / 10, self.full) {
            (true, _) => Limit::Machine,
            (_, true) => Limit::Places,
            _ => Limit::Core,
        };
        *self = Lateness { since: now, before: worst, lost, behind, ..Lateness::default() };
        tally.worst_lag_ms.store(millis(worst), Ordering::Relaxed);
        match behind {
            false if late * 100 > starts => {
                self.behind = true;
                Some(Turn::Behind { starts, late, worst, limit })
            }
            true if late == 0 => {
                self.behind = false;
                Some(Turn::Recovered)
            }
            _ => None,
        }
    }
}

impl Turn {
    /// Writes the line.
    pub(super) fn log(&self, concurrency: usize) {
        match self {
            Turn::Recovered => tracing::info!("probes start on time again"),
            Turn::Behind { starts, late, worst, limit } => {
                let limit = match limit {
                    Limit::Places => format!("all {concurrency} places are taken: raise [probe] concurrency and the limit of open files"),
                    Limit::Machine => "this machine does not let the prober run".into(),
                    Limit::Core => "one core runs no more: give checks longer intervals".into(),
                };
                let worst = worst.as_millis() as u64;
                tracing::warn!(starts, late, worst_ms = worst, "probes start late, and all intervals stretch alike; {limit}");
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ProbeOrder, Probes};
    use crate::model::InstanceKey;
    use crate::probe::roster::Roster;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn whoever_falls_behind_says_so_once_and_once_that_it_is_over() {
        let (tally, mut lateness, mut roster) = (Tally::default(), Lateness::default(), Roster::default());
        let key = InstanceKey { service: "web".parse().unwrap(), id: "eu1".parse().unwrap() };
        let checks = vec![(serde_json::from_str(r#"{"tcp":true,"interval":"5s"}"#).unwrap(), 80)];
        let probes = Some(Probes { order: 1, address: "192.0.2.1".parse().unwrap(), checks, last: None });
        roster.order(ProbeOrder { key, probes }, Duration::ZERO, |_| ());
        let mut due = roster.start(Duration::ZERO).unwrap();
        let behind = |late, worst, limit| Some(Turn::Behind { starts: 100, late, worst: MS * worst, limit });
        // Of 100 starts in each window: how many are late, and by how many ms; whether places run out; ms lost.
        for (window, (late, lag, full, lost, expected, worst)) in [
            (100, 500, false, 0, None, 500),
            (1, 501, true, 0, None, 501),
            (2, 501, true, 0, behind(2, 501, Limit::Places), 501),
            (100, 9000, true, 0, None, 9000),
            (1, 600, false, 0, None, 9000),
            (0, 0, false, 0, Some(Turn::Recovered), 600),
            (0, 0, false, 0, None, 0),
            (100, 700, true, 1001, behind(100, 700, Limit::Machine), 700),
            (0, 0, false, 1001, Some(Turn::Recovered), 700),
            (50, 700, false, 2000, behind(50, 700, Limit::Core), 700),
        ]
        .into_iter()
        .enumerate()
        {
            for number in 0..100 {
                due.lag = if number < late { MS * lag } else { Duration::ZERO };
                lateness.started(&due, &tally);
            }
            if full {
                lateness.full();
            }
            assert_eq!(tally.stats().worst_lag_ms, worst, "{window}");
            let end = WINDOW * (window as u32 + 1);
            assert_eq!(lateness.look_back(end - MS, MS * lost, &tally), None);
            assert_eq!(lateness.look_back(end, MS * lost, &tally), expected, "{window}");
        }
        assert_eq!(tally.stats().late, 1 + 2 + 100 + 1 + 100 + 50);
    }
}
