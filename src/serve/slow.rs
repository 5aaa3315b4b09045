//! The slow path at the roof: what a punted query needs, the shells have; none of them knows of the others.
//!
//! ```text
//!   Punt::Authenticated ─▶ its TSIG is verified ─▶ a transfer, an update (allowed, durable, published), a NOTIFY, or what is ours of the answer; signed
//!   Punt::Transfer ─▶ the zone, message after message
//!   Punt::Notify  ─▶ from a primary: its zone is looked at
//!   Punt::Unsigned ─▶ what is missing is signed, and the query answered again (signing)
//!   Punt::Forward ─▶ what is ours of the answer (wire::answer_again) ─▶ the rest from an upstream
//! ```

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::signing::Signer;
use super::transfers::{Transfers, now};
use super::updates::Updates;
use crate::codec::code::{extended, rcode, rtype};
use crate::codec::{HEADER, Header, NameBuf, Request};
use crate::forward::{Forward, ToForward};
use crate::model::Name;
use crate::secondary::Secondaries;
use crate::server::{Punted, Replies, Slow};
use crate::snapshot::Publisher;
use crate::transfer::refusal;
use crate::tsig::{self, Received, Tsig};
use crate::wire::update::{conclude, is_notify, is_update};
use crate::wire::{Outcome, Punt};

/// The largest message.
const LARGEST_MESSAGE: usize = 65_535;

/// Least UDP payload that everyone takes (RFC 1035 §2.3.4).
const LEAST_PAYLOAD: usize = 512;

/// Joins what the slow path needs.
#[derive(Debug)]
pub(super) struct SlowPath {
    /// Where the world is.
    pub publisher: Arc<Publisher>,
    /// What signs answers.
    pub signer: Arc<Signer>,
    /// Copies of zones.
    pub transfers: Arc<Transfers>,
    /// Changes of zones.
    pub updates: Arc<Updates>,
    /// Zones that are copied from elsewhere.
    pub secondaries: Secondaries,
    /// Names that are not ours.
    pub forward: Arc<Forward>,
}

impl SlowPath {
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
                let mut plain = Punted { query: tsig.plain(&query.query), ..query.clone() };
                // The reply has the id that came, which a forwarder may have changed (RFC 8945 §5.5).
                plain.query.iter_mut().zip(&query.query).take(2).for_each(|(id, came)| *id = *came);
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
        // Whoever cannot sign may be anybody, and anybody else may have sent it.
        let snapshot = self.publisher.load_full();
        if let Some(reply) = reply.filter(|_| replies.admits_error(&snapshot, &query)) {
            _ = replies.send(reply).await;
        }
    }

    /// Answers a message that was verified; it is without its TSIG.
    async fn signed(&self, plain: Punted, mut signer: tsig::Signer, mut replies: Replies) {
        let (mut name, header) = (NameBuf::default(), Header::parse(&plain.query));
        let Some(header) = header else { return };
        let request = Request::parse(header, &plain.query, &mut name);
        let qtype = request.question.as_ref().filter(|_| header.is_query()).map(|question| question.qtype);
        if is_update(&header) && request.fault.is_none() {
            if let Some(reply) = self.updates.take(plain.query, plain.peer, signer, now()).await {
                _ = replies.send(reply).await;
            }
            return;
        }
        if is_notify(&header) && request.fault.is_none() {
            if let Some(mut reply) = self.notified(&plain, Some(signer.key().name()))
                && signer.sign(&mut reply, now()).is_ok()
            {
                _ = replies.send(reply).await;
            }
            return;
        }
        if matches!(qtype, Some(rtype::AXFR | rtype::IXFR)) {
            return self.transfers.answer(&plain, Some(signer), &mut replies).await;
        }
        let Some(mut reply) = self.own(&plain, &replies, LARGEST_MESSAGE) else { return };
        if reply.len() + signer.room() > self.limit(&plain) {
            // RFC 8945 §5.3: what has no room beside its TSIG is sent with the question alone, and TC.
            reply.truncate(request.opening.len());
            let flags = Header::parse(&reply).map_or(0, |header| header.flags & !0xf | Header::TC);
            let counts = [header.counts.get(0), 0, 0, 0].into();
            let Some(opening) = reply.get_mut(..HEADER) else { return };
            opening.copy_from_slice(&Header { id: header.id, flags, counts }.octets());
        }
        if signer.sign(&mut reply, now()).is_ok() {
            _ = replies.send(reply).await;
        }
    }

    /// The reply to a NOTIFY (RFC 1996 §3.12): its zone, and whether it is listened to.
    fn notified(&self, query: &Punted, key: Option<&Name>) -> Option<Vec<u8>> {
        let mut name = NameBuf::default();
        name.follow(&query.query, HEADER).ok()?;
        let zone = Name::from_wire(name.wire());
        match (self.secondaries.has(&zone), self.secondaries.notify(&zone, query.peer, key)) {
            (_, true) => conclude(&query.query, rcode::NOERROR, None),
            // RFC 1996 §3.10: who is no primary of the zone is not believed.
            (true, false) => {
                tracing::info!(%zone, peer = %query.peer, "a NOTIFY was ignored: it comes from none of the zone's primaries");
                conclude(&query.query, rcode::REFUSED, Some((extended::PROHIBITED, "not from a primary of this zone")))
            }
            (false, false) => conclude(&query.query, rcode::NOTIMP, Some((extended::NOT_SUPPORTED, "the zone is no secondary here"))),
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
                Punt::Notify => {
                    if let Some(reply) = self.notified(&query, None) {
                        _ = replies.send(reply).await;
                    }
                }
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
