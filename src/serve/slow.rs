//! The slow path at the roof: what a punted query needs, the shells have; none of them knows of the others.
//!
//! ```text
//!   Punt::Authenticated ─▶ its TSIG is verified ─▶ a transfer, or what is ours of the answer; signed
//!   Punt::Transfer ─▶ the zone, message after message
//!   Punt::Unsigned ─▶ what is missing is signed, and the query answered again (signing)
//!   Punt::Forward ─▶ what is ours of the answer (wire::answer_again) ─▶ the rest from an upstream
//! ```

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::signing::Signer;
use super::transfers::{Transfers, now};
use crate::codec::code::{extended, rcode, rtype};
use crate::codec::{Header, NameBuf, Request};
use crate::forward::{Forward, ToForward};
use crate::server::{Punted, Replies, Slow};
use crate::snapshot::Publisher;
use crate::transfer::refusal;
use crate::tsig::{self, Received, Tsig};
use crate::wire::{Outcome, Punt};

/// The largest message.
const LARGEST_MESSAGE: usize = 65_535;

/// Least UDP payload that everyone takes (RFC 1035 §2.3.4).
const LEAST_PAYLOAD: usize = 512;

/// Joins what the slow path needs.
#[derive(Debug)]
pub(super) struct SlowPath {
    publisher: Arc<Publisher>,
    signer: Arc<Signer>,
    transfers: Arc<Transfers>,
    forward: Arc<Forward>,
}

impl SlowPath {
    /// Answers from what `publisher` holds, signs with `signer`, and has what is not there from `forward`.
    pub(super) fn new(publisher: Arc<Publisher>, signer: Arc<Signer>, transfers: Arc<Transfers>, forward: Arc<Forward>) -> SlowPath {
        SlowPath { publisher, signer, transfers, forward }
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

    /// Verifies a message, and answers what is in it; the reply is signed (RFC 8945 §5.2, §5.3).
    async fn authenticated(&self, query: Punted, mut replies: Replies) {
        let refuse = |code: u16, extended: u16, text: &str| refusal(&query.query, code, extended, text);
        let reply = match tsig::receive(&query.query, &self.transfers.keys(), now()) {
            Ok(Received::Signed(signer)) => {
                // It was found when it was verified.
                let Ok(Some(tsig)) = Tsig::find(&query.query) else { return };
                let plain = Punted { query: tsig.plain(&query.query), ..query.clone() };
                return self.signed(plain, signer, replies).await;
            }
            Ok(Received::Refused(refused)) => {
                tracing::debug!(peer = %query.peer, key = %refused.key(), error = %refused.error(), "a signed message is not what it says");
                refuse(rcode::NOTAUTH, extended::OTHER, "the TSIG of the query says why").and_then(|mut reply| {
                    refused.conclude(&mut reply, now()).ok()?;
                    Some(reply)
                })
            }
            Ok(Received::Unsigned) => None,
            Err(malformed) => refuse(rcode::FORMERR, extended::OTHER, &malformed.to_string()),
        };
        if let Some(reply) = reply {
            _ = replies.send(reply).await;
        }
    }

    /// Answers a message that was verified; it is without its TSIG.
    async fn signed(&self, plain: Punted, mut signer: tsig::Signer, mut replies: Replies) {
        let (mut name, header) = (NameBuf::default(), Header::parse(&plain.query));
        let Some(header) = header else { return };
        let request = Request::parse(header, &plain.query, &mut name);
        let qtype = request.question.as_ref().filter(|_| header.is_query()).map(|question| question.qtype);
        if matches!(qtype, Some(rtype::AXFR | rtype::IXFR)) {
            return self.transfers.answer(&plain, Some(signer), &mut replies).await;
        }
        let Some(mut reply) = self.own(&plain, &replies, LARGEST_MESSAGE) else { return };
        let most = match plain.transport.is_stream() {
            true => LARGEST_MESSAGE,
            false => request.edns.as_ref().map_or(512, |edns| usize::from(edns.payload.max(512))),
        };
        if reply.len() + signer.room() > most {
            // RFC 8945 §5.3: what has no room beside its TSIG is sent with the question alone, and TC.
            reply.truncate(request.opening.len());
            let flags = Header::parse(&reply).map_or(0, |header| header.flags & !0xf | Header::TC);
            let counts = [header.counts.get(0), 0, 0, 0].into();
            let Some(opening) = reply.get_mut(..crate::codec::HEADER) else { return };
            opening.copy_from_slice(&Header { id: header.id, flags, counts }.octets());
        }
        if signer.sign(&mut reply, now()).is_ok() {
            _ = replies.send(reply).await;
        }
    }

    /// What is ours of the answer; `None` where the query deserves none.
    fn own(&self, punted: &Punted, replies: &Replies, limit: usize) -> Option<Vec<u8>> {
        let mut reply = vec![0; limit];
        let snapshot = self.publisher.load();
        let outcome = self.signer.complete(&snapshot, &punted.query(), punted.draw, |gives_up| match gives_up {
            false => replies.answer_noting(&snapshot, punted, &mut reply),
            true => (replies.answer_unsigned(&snapshot, punted, &mut reply), Vec::new()),
        });
        match outcome {
            Outcome::Reply(length) => {
                reply.truncate(length);
                Some(reply)
            }
            Outcome::Drop => None,
            // `answer_again` does not forward, and gives up what it cannot sign.
            Outcome::Punt(_) => None,
        }
    }
}

impl Slow for SlowPath {
    fn answer(self: Arc<Self>, query: Punted, mut replies: Replies) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            match query.why {
                Punt::Authenticated => self.authenticated(query, replies).await,
                Punt::Transfer => self.transfers.answer(&query, None, &mut replies).await,
                Punt::Unsigned(_) => {
                    if let Some(own) = self.own(&query, &replies, LARGEST_MESSAGE) {
                        // Who has gone needs no reply.
                        let _ = replies.send(own).await;
                    }
                }
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
