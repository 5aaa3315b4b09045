//! Upstreams that know the same names: which of them is asked, and which one next.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Timing;
use super::message::Stored;
use super::question::Asked;
use super::upstream::{Failure, Known};

/// One query in so many goes to another upstream than the quickest first, so that it is known when that one becomes quicker.
const EXPLORES: u64 = 32;

/// Upstreams that know the same names.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) upstreams: Vec<Arc<Known>>,
}

impl Group {
    /// Asks them one after the other until one answers: the quickest of those that are well first, the next when it fails or takes its time.
    /// The first answer counts. It is over by `deadline`.
    pub(super) async fn ask(&self, asked: &Arc<Asked>, timing: Timing, draw: u64) -> Result<Stored, Failure> {
        let begin = Instant::now();
        let deadline = begin + timing.deadline;
        let mut waiting = self.order(draw).into_iter();
        let mut asked_so_far: Vec<(Arc<Known>, Instant, bool)> = Vec::new();
        let mut running = FuturesUnordered::new();
        let mut worst: Option<Failure> = None;
        loop {
            if running.is_empty() || asked_so_far.last().is_some_and(|(last, since, _)| since.elapsed() >= last.patience()) {
                match waiting.next() {
                    Some(known) => {
                        let (number, now) = (asked_so_far.len(), Instant::now());
                        // A little less than there is, so that its silence is heard.
                        let within = deadline.saturating_duration_since(now).saturating_sub(timing.deadline / 50);
                        let (one, asked) = (known.clone(), asked.clone());
                        running.push(async move { (number, one.ask(asked, within).await) });
                        asked_so_far.push((known, now, false));
                    }
                    None if running.is_empty() => return Err(worst.unwrap_or(Failure::Silent)),
                    None => {}
                }
            }
            let next = asked_so_far.last().filter(|_| waiting.len() > 0).map(|(last, since, _)| *since + last.patience());
            tokio::select! {
                Some((number, result)) = running.next() => {
                    if let Some((_, _, ended)) = asked_so_far.get_mut(number) {
                        *ended = true;
                    }
                    match result {
                        Ok(stored) => {
                            for (known, since, _) in asked_so_far.iter().filter(|(_, _, ended)| !ended) {
                                known.outrun(since.elapsed());
                            }
                            return Ok(stored);
                        }
                        // What an upstream says tells more than that another says nothing.
                        Err(failure) => if !matches!(worst, Some(Failure::Declined(_))) {
                            worst = Some(failure);
                        }
                    }
                }
                () = tokio::time::sleep_until(next.unwrap_or(deadline)) => {
                    if Instant::now() >= deadline {
                        return Err(worst.unwrap_or(Failure::Silent));
                    }
                }
            }
        }
    }

    /// Those that are well by how quick they are, then the others.
    fn order(&self, draw: u64) -> Vec<Arc<Known>> {
        let mut order = self.upstreams.clone();
        order.sort_by_key(|known| (known.is_aside(), known.round_trip()));
        let well = order.iter().filter(|known| !known.is_aside()).count();
        if well > 1 && draw.is_multiple_of(EXPLORES) {
            let other = 1 + (draw / EXPLORES) as usize % (well - 1);
            order[..=other].rotate_right(1);
        }
        order
    }
}
