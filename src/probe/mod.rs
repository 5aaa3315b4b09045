//! Shell (floor 5): active checks, and the state machines that turn results into verdicts.
//!
//! ```text
//!   control ── orders ──▶ roster ── who is due ──▶ attempt ── pass or fail, why ──▶ roster ── only when it turns, wavers or steadies ──▶ control.observe
//!                         (schedule, CheckState)   (tcp, tls, http)
//! ```
//!
//! All of it runs on one thread of its own: one core carries 10,000 checks every 5 s, and no probe ever delays an answer. A probe goes to
//! the instance's own registered address and nowhere else: redirects are not followed, and addresses that only this machine can reach are
//! never probed (see `reach`).
// A shell: it reads the clock.
#![allow(clippy::disallowed_methods)]

mod attempt;
mod http;
mod reach;
mod roster;
mod schedule;
mod tcp;
mod tls;

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::control::{Control, Observation, ProbeOrder};
use crate::model::{ProbeResult, ProbeSettings};

use attempt::Probe;
use roster::{Due, Finding, Roster};
use schedule::Slot;
use tls::Tls;

/// Orders taken in one go before due probes get their turn.
const ORDERS_AT_ONCE: usize = 256;

/// The shortest time between two warnings that this machine cannot probe.
const WARNING_REST: Duration = Duration::from_secs(10);

/// The running prober. Dropping it stops it.
#[derive(Debug)]
pub struct Prober {
    tally: Arc<Tally>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

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
    /// By how many milliseconds the last probe started too late. More than a few: `[probe] concurrency`, or this core, is at its end.
    pub lag_ms: u64,
}

#[derive(Debug, Default)]
struct Tally {
    instances: AtomicU64,
    checks: AtomicU64,
    probes: AtomicU64,
    failures: AtomicU64,
    not_made: AtomicU64,
    in_flight: AtomicU64,
    lag_ms: AtomicU64,
}

/// Starts probing what `control` orders, and reports to it. With `enabled = false` nothing is probed, and nothing fails.
pub fn start(control: Control, settings: &ProbeSettings) -> io::Result<Prober> {
    let orders = settings.enabled.then(|| control.probe_orders());
    start_with(orders, settings, move |observation| control.observe(observation))
}

/// Starts probing what `orders` say, until they end, and hands each verdict that is news to `report`, on the prober's thread.
pub fn start_on(
    orders: UnboundedReceiver<ProbeOrder>,
    settings: &ProbeSettings,
    report: impl Fn(Observation) + Send + 'static,
) -> io::Result<Prober> {
    start_with(Some(orders), settings, report)
}

fn start_with(
    orders: Option<UnboundedReceiver<ProbeOrder>>,
    settings: &ProbeSettings,
    report: impl Fn(Observation) + Send + 'static,
) -> io::Result<Prober> {
    let tally = Arc::new(Tally::default());
    let Some(orders) = orders else { return Ok(Prober { tally, stop: None, thread: None }) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let concurrency = affordable(settings.concurrency.max(1));
    let (stop, stopped) = oneshot::channel();
    let work = tally.clone();
    let thread = std::thread::Builder::new().name("prober".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = run(orders, report, concurrency, &work) => {}
                // An error means that the prober was dropped, which ends it as well.
                _ = stopped => {}
            }
        });
        // Connections under way are let go; none of them blocks.
        runtime.shutdown_background();
    })?;
    Ok(Prober { tally, stop: Some(stop), thread: Some(thread) })
}

impl Prober {
    /// What it does.
    pub fn stats(&self) -> ProbeStats {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Tally { instances, checks, probes, failures, not_made, in_flight, lag_ms } = &*self.tally;
        ProbeStats {
            instances: get(instances),
            checks: get(checks),
            probes: get(probes),
            failures: get(failures),
            not_made: get(not_made),
            in_flight: get(in_flight),
            lag_ms: get(lag_ms),
        }
    }

    /// Stops probing and waits for the thread, which takes a moment: probes under way are abandoned.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by then, and there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.halt();
    }
}

/// The loop: orders, what is due, what came of it. Ends when no more orders can come.
async fn run(mut orders: UnboundedReceiver<ProbeOrder>, report: impl Fn(Observation), concurrency: usize, tally: &Tally) {
    let started = Instant::now();
    let tls = Tls::new();
    let mut roster: Roster<Probe> = Roster::default();
    let mut under_way = FuturesUnordered::new();
    let mut taken = Vec::new();
    let mut warned: Option<Instant> = None;
    loop {
        while under_way.len() < concurrency
            && let Some(due) = roster.start(started.elapsed())
        {
            tally.lag_ms.store(due.lag.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
            under_way.push(probed(due));
        }
        tally.in_flight.store(under_way.len() as u64, Ordering::Relaxed);
        // With all places taken nothing can start before a probe ends.
        let next = roster.next_due().filter(|_| under_way.len() < concurrency).map(|due| started + due);
        tokio::select! {
            count = orders.recv_many(&mut taken, ORDERS_AT_ONCE) => {
                if count == 0 {
                    return;
                }
                for order in taken.drain(..) {
                    let prepare = |check: &_, address| Probe::new(check, address, &tls);
                    if let Some(observation) = roster.order(order, started.elapsed(), prepare) {
                        report(observation);
                    }
                }
                let (instances, checks) = roster.len();
                tally.instances.store(instances as u64, Ordering::Relaxed);
                tally.checks.store(checks as u64, Ordering::Relaxed);
            }
            Some((slot, finding)) = under_way.next() => {
                tally.count(&finding);
                if let Finding::NotProbed(why) = &finding
                    && warned.is_none_or(|at| at.elapsed() >= WARNING_REST)
                {
                    warned = Some(Instant::now());
                    tracing::warn!(%why, "probes cannot be made from here; no instance is judged by them");
                }
                if let Some(observation) = roster.finish(slot, &finding, started.elapsed()) {
                    report(observation);
                }
            }
            () = at(next) => {}
        }
    }
}

async fn probed(due: Due<Probe>) -> (Slot, Finding) {
    // A panic, which no answer should cause, costs that probe its result and not every instance its checks.
    let finding = AssertUnwindSafe(due.probe.run()).catch_unwind().await;
    (due.slot, finding.unwrap_or_else(|_| Finding::NotProbed("the probe failed within itself".into())))
}

/// Waits until then; for ever without a then.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

impl Tally {
    fn count(&self, finding: &Finding) {
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
}

/// As many probes at once as the process has file descriptors for, the other half being for everyone else.
fn affordable(concurrency: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<usize>().ok());
    match files {
        Some(files) if files / 2 < concurrency => {
            tracing::warn!(
                concurrency,
                open_files = files,
                "fewer probes run at once than configured: the limit of open files allows {} (ulimit -n, LimitNOFILE)",
                files / 2
            );
            (files / 2).max(1)
        }
        _ => concurrency,
    }
}

#[cfg(test)]
mod tests;
