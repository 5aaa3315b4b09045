//! The prober's own time, which stands still while this machine does not let it run.
//!
//! ```text
//!   the clock          ──┬──┬───┬──┬──────────────────────────────────┬──┬───┬──
//!   turns of the loop    ▲  ▲   ▲  ▲   stopped, swapped, throttled    ▲  ▲   ▲
//!   what is counted    ──┴──┴───┴──┴── TURN                           ┴──┴───┴──
//! ```
//!
//! A probe has its timeout in this time. An answer that has long been waiting when the prober comes back is found before any timeout is,
//! and what was still to be sent and received gets the time that it would have had: a starved prober calls no instance dead. It finds out
//! the dead ones later instead, by as much as it was starved.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// The longest turn of the loop that counts in full. A busy one with hundreds of answers takes a tenth of it.
const TURN: Duration = Duration::from_millis(50);

/// How often the loop turns at least while probes are under way: what is beyond [`TURN`] was not its own doing.
pub(super) const BEAT: Duration = Duration::from_millis(25);

/// How long the prober has been able to look at its probes.
#[derive(Debug)]
pub(super) struct Attention {
    /// When the last turn began.
    last: Cell<Instant>,
    /// What did not count so far.
    lost: Cell<Duration>,
    /// Whether probes are under way; without them the loop sleeps for as long as it likes.
    needed: Cell<bool>,
}

impl Attention {
    pub(super) fn new(now: Instant) -> Attention {
        Attention { last: Cell::new(now), lost: Cell::new(Duration::ZERO), needed: Cell::new(false) }
    }

    /// A turn of the loop begins: sockets have just been looked at.
    pub(super) fn turn(&self, now: Instant) {
        let gap = now.saturating_duration_since(self.last.replace(now));
        if self.needed.get() {
            self.lost.set(self.lost.get() + gap.saturating_sub(TURN));
        }
    }

    /// Notes whether probes are under way.
    pub(super) fn needed(&self, needed: bool) {
        self.needed.set(needed);
    }

    /// All the time in which the prober should have run and could not.
    pub(super) fn lost(&self) -> Duration {
        self.lost.get()
    }

    /// Drives the work of the prober; each time that it is polled is a turn.
    pub(super) async fn over<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.turn(Instant::now());
            work.as_mut().poll(context)
        })
        .await
    }

    /// What comes of `future` within `limit` of the prober's own time; `None`: nothing did.
    pub(super) async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let begin = self.now();
        let mut future = pin!(future);
        let mut left = limit;
        loop {
            // The future is looked at before the time is.
            if let Ok(output) = timeout(left, future.as_mut()).await {
                return Some(output);
            }
            left = limit.checked_sub(self.now().saturating_duration_since(begin)).filter(|left| !left.is_zero())?;
        }
    }

    /// The prober's own time at the beginning of this turn. What happens within the turn is not known yet, nor have its timers fired.
    fn now(&self) -> Instant {
        self.last.get() - self.lost.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_turns_that_were_ours_count() {
        // Gaps between turns in ms, and what of them is the prober's own time.
        for (needed, gaps, own) in [
            (true, &[25, 25, 25][..], 75),
            (true, &[25, 50, 50, 25], 150),
            (true, &[25, 1000, 25], 100),
            (true, &[150, 150, 150], 150),
            (false, &[25, 5000], 5025),
        ] {
            let begin = Instant::now();
            let attention = Attention::new(begin);
            attention.needed(needed);
            let mut now = begin;
            for gap in gaps {
                now += MS * *gap;
                attention.turn(now);
            }
            assert_eq!((attention.now() - begin, attention.lost()), (MS * own, now - begin - MS * own), "{gaps:?}");
        }
    }

    #[tokio::test]
    async fn a_standstill_takes_nothing_from_the_limit_and_an_answer_meanwhile_is_found() {
        let attention = Attention::new(Instant::now());
        let begin = Instant::now();
        let standstill = || {
            attention.needed(true);
            std::thread::sleep(1_500 * MS);
        };
        // Nobody answers: the limit is over after the standstill and itself.
        let nothing = async {
            let ((), over) = tokio::join!(async { standstill() }, attention.within(200 * MS, std::future::pending::<()>()));
            over
        };
        assert_eq!(attention.over(beating(nothing)).await, None);
        assert!(begin.elapsed() >= 1_600 * MS, "{:?}", begin.elapsed());
        // The answer is there when the prober comes back, and so is what takes another step after it.
        let steps = async {
            tokio::time::sleep(MS).await;
            standstill();
            tokio::time::sleep(20 * MS).await;
        };
        assert_eq!(attention.over(beating(attention.within(1_000 * MS, steps))).await, Some(()));
    }

    /// Turns at least every [`BEAT`], as the prober's loop does.
    async fn beating<F: Future>(work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            if let Ok(output) = timeout(BEAT, work.as_mut()).await {
                return output;
            }
        }
    }
}
