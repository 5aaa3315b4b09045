//! Shell (floor 5): active checks, and the state machines that turn results into verdicts.
//!
//! ```text
//!   control ── orders ──▶ roster ── who is due ──▶ attempt ── pass or fail, why ──▶ roster ── only when it turns, wavers or steadies ──▶ control.observe
//!                         (schedule, CheckState)   (tcp, tls, http)
//! ```
//!
//! All of it runs on one thread of its own: one core carries 100,000 checks every 5 s, and no probe ever delays an answer. Where more is
//! asked than it can do, all intervals stretch alike; where it does not get to run, its timeouts wait (see `attention`). A probe goes to
//! the instance's own registered address and nowhere else: redirects are not followed, and addresses that only this machine can reach are
//! never probed (see `reach`).
// A shell: it reads the clock.
#![allow(clippy::disallowed_methods)]

mod attempt;
mod attention;
mod http;
mod reach;
mod roster;
mod schedule;
mod tally;
mod tcp;
mod tls;

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::control::{Control, Observation, ProbeOrder};
use crate::model::ProbeSettings;

use attempt::Probe;
use attention::{Attention, BEAT};
use roster::{Due, Finding, Roster};
use schedule::Slot;
pub use tally::ProbeStats;
use tally::{Lateness, Tally};
use tls::Tls;

/// Orders taken in one go before due probes get their turn.
const ORDERS_AT_ONCE: usize = 256;

/// Probes started in one go before sockets and timers are looked at again.
const STARTS_AT_ONCE: usize = 64;

/// Results taken in one go before more is started.
const ENDS_AT_ONCE: usize = 256;

/// With fewer probes at once than these, some thousand dead instances are enough to hold up the others.
const FEW: usize = 2_000;

/// The shortest time between two warnings that this machine cannot probe.
const WARNING_REST: Duration = Duration::from_secs(10);

/// The running prober. Dropping it stops it.
#[derive(Debug)]
pub struct Prober {
    tally: Arc<Tally>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
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
            let attention = Attention::new(Instant::now());
            // Thousands of probes are one task here: with the budget of one, those beyond it would wake each other in vain, turn by turn.
            let work = tokio::task::unconstrained(run(orders, report, concurrency, &work, &attention));
            tokio::select! {
                () = attention.over(work) => {}
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
        self.tally.stats()
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
async fn run(
    mut orders: UnboundedReceiver<ProbeOrder>,
    report: impl Fn(Observation),
    concurrency: usize,
    tally: &Tally,
    attention: &Attention,
) {
    let started = Instant::now();
    let tls = Tls::new();
    let mut roster: Roster<Probe> = Roster::default();
    let mut under_way = FuturesUnordered::new();
    let mut lateness = Lateness::default();
    let mut taken = Vec::new();
    let mut warned: Option<Instant> = None;
    let mut conclude = |roster: &mut Roster<Probe>, (slot, finding): (Slot, Finding)| {
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
    };
    loop {
        let (mut starts, now) = (0, started.elapsed());
        while starts < STARTS_AT_ONCE
            && under_way.len() < concurrency
            && let Some(due) = roster.start(now)
        {
            lateness.started(&due, tally);
            under_way.push(probed(due, attention));
            starts += 1;
        }
        // Whatever is ready, in one go; what was just started is sent its first packet by this.
        for _ in 0..ENDS_AT_ONCE {
            let Some(Some(ended)) = under_way.next().now_or_never() else { break };
            conclude(&mut roster, ended);
        }
        let full = under_way.len() >= concurrency;
        if full {
            lateness.full();
        }
        if let Some(turn) = lateness.look_back(started.elapsed(), attention.lost(), tally) {
            turn.log(concurrency);
        }
        tally.under_way(under_way.len(), attention.lost());
        attention.needed(!under_way.is_empty());
        let beat = (!under_way.is_empty()).then(|| Instant::now() + BEAT);
        // With all places taken nothing can start before a probe ends; with more due than was started, sockets and timers come first.
        let more = starts == STARTS_AT_ONCE && !full;
        let next = roster.next_due().filter(|_| !full && !more).map(|due| started + due);
        tokio::select! {
            count = orders.recv_many(&mut taken, ORDERS_AT_ONCE) => {
                if count == 0 {
                    return;
                }
                for order in taken.drain(..) {
                    if let Some(observation) = roster.order(order, started.elapsed(), |check| Probe::new(check, &tls)) {
                        report(observation);
                    }
                }
                tally.known(roster.len());
                // However many orders there are, sockets and timers come between them.
                tokio::task::yield_now().await;
            }
            Some(ended) = under_way.next() => conclude(&mut roster, ended),
            () = tokio::task::yield_now(), if more => {}
            () = at(next.into_iter().chain(beat).min()) => {}
        }
    }
}

async fn probed(due: Due<Probe>, attention: &Attention) -> (Slot, Finding) {
    // A panic, which no answer should cause, costs that probe its result and not every instance its checks.
    let finding = AssertUnwindSafe(due.plan.probe.run(due.address, attention)).catch_unwind().await;
    (due.slot, finding.unwrap_or_else(|_| Finding::NotProbed("the probe failed within itself".into())))
}

/// Waits until then; for ever without a then.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// As many probes at once as the process has file descriptors for, the other half being for everyone else.
fn affordable(concurrency: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<usize>().ok());
    let places = files.map_or(concurrency, |files| (files / 2).clamp(1, concurrency));
    // Enough for most; whoever runs out of more is told so then.
    if places < concurrency.min(FEW) {
        tracing::warn!(
            concurrency,
            open_files = files,
            "fewer probes run at once than configured: the limit of open files allows {places} (ulimit -n, LimitNOFILE)"
        );
    }
    places
}

#[cfg(test)]
mod tests;
