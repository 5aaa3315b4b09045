//! Requests for transfers: who may have what, and the messages of what they get.

use std::sync::Arc;
use std::time::Duration;

use super::{Counts, Kept, Transfers, count, now};
use crate::codec::code::{extended, rcode};
use crate::server::{Punted, Replies};
use crate::transfer::{Asked, Extent, Journal, Stream, Version, is_rendered, permits, refusal};
use crate::tsig::Signer;
use crate::wire::Transport;

/// How long a client may take for one message, which has up to 64 KiB.
const SLOWEST: Duration = Duration::from_secs(30);

impl Transfers {
    /// Answers a request for a transfer. `query` is without the TSIG that `signer` goes on from.
    pub async fn answer(&self, query: &Punted, signer: Option<Signer>, replies: &mut Replies) {
        let mut signer = signer;
        let refused = match self.begin(query, signer.as_ref()).await {
            Err(refused) => refused,
            Ok((asked, version, journal)) if !query.transport.is_stream() => {
                let payload = self.lock().rules.settings.dns.udp_payload;
                let reply = Stream::datagram(&asked, &version, &journal, signer.as_ref(), payload, now());
                if let Some(reply) = reply {
                    _ = replies.send(reply).await;
                    count(&self.counts.sent);
                }
                return;
            }
            Ok((asked, version, journal)) => {
                let Ok(_place) = self.places.try_acquire() else {
                    count(&self.counts.refused);
                    let refused = Refused(rcode::REFUSED, extended::OTHER, "too many transfers are under way");
                    return refused.send(query, signer, replies).await;
                };
                let mut stream = Stream::new(asked, &version, &journal, signer.clone());
                drop(journal);
                let under_way = UnderWay(&self.counts);
                loop {
                    let message = match stream.next(now()) {
                        None => return under_way.conclude(),
                        Some(Ok(message)) => message,
                        Some(Err(error)) => {
                            tracing::error!(%error, peer = %query.peer, "a transfer ended early");
                            signer = None;
                            break Refused(rcode::SERVFAIL, extended::OTHER, "a record does not fit in a message");
                        }
                    };
                    // Who reads nothing holds a place that others need.
                    match tokio::time::timeout(SLOWEST, replies.send(message)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return,
                        Err(_) => return tracing::warn!(peer = %query.peer, "a transfer ended early: its client does not read"),
                    }
                }
            }
        };
        count(&self.counts.refused);
        refused.send(query, signer, replies).await;
    }

    /// What is sent, if it may be.
    async fn begin(&self, query: &Punted, signer: Option<&Signer>) -> Result<(Asked, Arc<Version>, Journal), Refused> {
        let asked = Asked::read(&query.query).map_err(|fault| Refused(rcode::FORMERR, extended::OTHER, fault.reason()))?;
        let rules = self.lock().rules.clone();
        let snapshot = self.control.publisher().load_full();
        // RFC 5936 §2.2.1: NOTAUTH for what is no zone of ours.
        let Some(zone) = snapshot.zone_at(asked.apex.wire()) else {
            return Err(Refused(rcode::NOTAUTH, extended::NOT_AUTHORITATIVE, "the name is no zone of this server"));
        };
        let Some(settings) = rules.of(&asked.apex) else {
            return Err(Refused(rcode::REFUSED, extended::PROHIBITED, "the zone is not transferred"));
        };
        if !permits(settings, query.peer.ip(), signer.map(|signer| signer.key().name())) {
            return Err(Refused(rcode::REFUSED, extended::PROHIBITED, "the zone is not transferred to this client"));
        }
        if snapshot.is_expired(zone) {
            // RFC 1034 §4.3.5: what has expired is nobody's data, and no secondary's either.
            let text = "the zone has expired: none of its primaries has answered for long";
            return Err(Refused(rcode::SERVFAIL, extended::INVALID_DATA, text));
        }
        if matches!(query.transport, Transport::Https | Transport::Quic) {
            // A request over HTTP has one response (RFC 8484 §4.2), and so far a stream of QUIC has one as well: a zone would be cut without a word.
            return Err(Refused(rcode::REFUSED, extended::NOT_SUPPORTED, "zones are transferred over TCP and TLS"));
        }
        if settings.tls && query.transport != Transport::Tls {
            return Err(Refused(rcode::REFUSED, extended::PROHIBITED, "the zone is transferred over TLS alone"));
        }
        if query.transport == Transport::Udp && asked.extent == Extent::Whole {
            // RFC 5936 §4.2.
            return Err(Refused(rcode::REFUSED, extended::NOT_SUPPORTED, "AXFR is for streams"));
        }
        let rendered = is_rendered(zone, settings.services);
        let is_latest = |kept: &Kept| match rendered {
            true => kept.version.serial() == zone.serial(),
            false => Arc::ptr_eq(kept.version.zone(), zone),
        };
        let latest = self.lock().zones.get(&asked.apex).is_some_and(is_latest);
        if !latest {
            self.refresh(&asked.apex).await;
        }
        let state = self.lock();
        let Some(kept) = state.zones.get(&asked.apex) else {
            return Err(Refused(rcode::SERVFAIL, extended::OTHER, "the zone is too large to be transferred as it is rendered"));
        };
        Ok((asked, kept.version.clone(), kept.journal.clone()))
    }
}

/// A transfer, which was broken off unless it says that it is sent.
struct UnderWay<'c>(&'c Counts);

impl UnderWay<'_> {
    fn conclude(self) {
        count(&self.0.sent);
        std::mem::forget(self);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        count(&self.0.broken_off);
    }
}

/// Why there is no transfer: RCODE, extended error and text.
struct Refused(u16, u16, &'static str);

impl Refused {
    async fn send(self, query: &Punted, signer: Option<Signer>, replies: &mut Replies) {
        let Some(mut reply) = refusal(&query.query, self.0, self.1, self.2) else { return };
        if let Some(mut signer) = signer
            && signer.sign(&mut reply, now()).is_err()
        {
            return;
        }
        // Who has gone needs no reply.
        _ = replies.send(reply).await;
    }
}
