//! The slow path at the roof: what a punted query needs, the shells have; none of them knows of the others.
//!
//! ```text
//!   Punt::Forward ─▶ what is ours of the answer (wire::answer_again) ─▶ the rest from an upstream
//! ```

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::codec::{Header, NameBuf, Request};
use crate::forward::{Forward, ToForward};
use crate::server::{Punted, Replies, Slow};
use crate::snapshot::Publisher;
use crate::wire::{Outcome, Punt};

/// The largest message.
const LARGEST_MESSAGE: usize = 65_535;

/// Least UDP payload that everyone takes (RFC 1035 §2.3.4).
const LEAST_PAYLOAD: usize = 512;

/// Joins what the slow path needs.
#[derive(Debug)]
pub(super) struct SlowPath {
    publisher: Arc<Publisher>,
    forward: Arc<Forward>,
}

impl SlowPath {
    /// Answers from what `publisher` holds, and what is not there by `forward`.
    pub(super) fn new(publisher: Arc<Publisher>, forward: Arc<Forward>) -> SlowPath {
        SlowPath { publisher, forward }
    }

    /// How long the reply to a query may be, in octets.
    fn limit(&self, punted: &Punted) -> usize {
        if punted.transport.is_stream() {
            return LARGEST_MESSAGE;
        }
        let Some(header) = Header::parse(&punted.query) else { return LEAST_PAYLOAD };
        let mut name = NameBuf::default();
        // RFC 6891 §6.2.3: less than 512 counts as 512. Never more than we want to send in one datagram.
        let payload = Request::parse(header, &punted.query, &mut name).edns.map_or(0, |edns| usize::from(edns.payload));
        payload.clamp(LEAST_PAYLOAD, usize::from(self.publisher.load().dns.udp_payload).max(LEAST_PAYLOAD))
    }

    /// What is ours of the answer; `None` where the query deserves none.
    fn own(&self, punted: &Punted, replies: &Replies, limit: usize) -> Option<Vec<u8>> {
        let mut reply = vec![0; limit];
        match replies.answer_again(&self.publisher.load(), punted, &mut reply) {
            Outcome::Reply(length) => {
                reply.truncate(length);
                Some(reply)
            }
            Outcome::Drop => None,
            // `answer_again` does not forward.
            Outcome::Punt(Punt::Forward) => None,
        }
    }
}

impl Slow for SlowPath {
    fn answer(self: Arc<Self>, query: Punted, mut replies: Replies) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            match query.why {
                Punt::Forward => {
                    let limit = self.limit(&query);
                    let Some(own) = self.own(&query, &replies, limit) else { return };
                    let to_forward = ToForward { query: &query.query, own: &own, limit, draw: query.draw };
                    if let Some(reply) = self.forward.answer(to_forward).await {
                        // Who has gone needs no reply.
                        let _ = replies.send(reply).await;
                    }
                }
            }
        })
    }
}
