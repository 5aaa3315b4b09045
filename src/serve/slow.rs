//! The slow path at the roof: what a punted query needs, the shells have; none of them knows of the others.
//!
//! ```text
//!   Punt::Update  ─▶ updates: signed, allowed, durable, published
//!   Punt::Forward ─▶ what is ours of the answer (wire::answer_again) ─▶ the rest from an upstream
//! ```

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::updates::Updates;
use crate::server::{Punted, Replies, Slow};
use crate::snapshot::Publisher;
use crate::wire::{Outcome, Punt};

/// The largest message.
const LARGEST_MESSAGE: usize = 65_535;

/// Joins what the slow path needs.
#[derive(Debug)]
pub(super) struct SlowPath {
    publisher: Arc<Publisher>,
    updates: Arc<Updates>,
}

impl SlowPath {
    /// Answers from what `publisher` holds.
    pub(super) fn new(publisher: Arc<Publisher>, updates: Arc<Updates>) -> SlowPath {
        SlowPath { publisher, updates }
    }

    /// What is ours of the answer; `None` where the query deserves none.
    fn own(&self, punted: &Punted, replies: &Replies) -> Option<Vec<u8>> {
        let mut reply = vec![0; LARGEST_MESSAGE];
        match replies.answer_again(&self.publisher.load(), punted, &mut reply) {
            Outcome::Reply(length) => {
                reply.truncate(length);
                Some(reply)
            }
            Outcome::Drop => None,
            // `answer_again` does not forward, and an update is not answered again.
            Outcome::Punt(Punt::Forward | Punt::Update) => None,
        }
    }
}

impl Slow for SlowPath {
    fn answer(self: Arc<Self>, query: Punted, mut replies: Replies) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            match query.why {
                Punt::Update => {
                    // On its own: a client that hangs up cannot stop it between the change and its audit line.
                    let answered = tokio::spawn(async move { self.updates.answer(&query).await }).await;
                    if let Ok(Some(reply)) = answered {
                        let _ = replies.send(reply).await;
                    }
                }
                Punt::Forward => {
                    if let Some(own) = self.own(&query, &replies) {
                        // Who has gone needs no reply.
                        let _ = replies.send(own).await;
                    }
                }
            }
        })
    }
}
