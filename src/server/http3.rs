//! DNS over HTTPS (RFC 8484) over QUIC: HTTP/3 (RFC 9114).
//!
//! `h3` gathers whole frames before it looks at them, however long they say they are. So what a stream may bring is limited below it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use h3::server::{RequestResolver, RequestStream};
use hyper::{Method, Request};

use super::Answer;
use super::connections::Place;
use super::doh::{self, Asked, Refusal};
use super::http::{Doh, LARGEST_HEAD};
use super::room::{ReplyRoom, Room};
use super::tcp::LARGEST_MESSAGE;

/// Its name in TLS (RFC 9114 §3.1).
pub(super) const PROTOCOL: &[u8] = b"h3";

/// Streams beside those of requests: control and QPACK's two (RFC 9114 §6.2, RFC 9204 §4.2), and some of kinds that we do not know.
pub(super) const OTHER_STREAMS: u32 = 8;

/// Octets that a stream may bring: head, body, and the frames around them.
const MOST: usize = LARGEST_HEAD + LARGEST_MESSAGE + (16 << 10);

/// Nothing is wrong (RFC 9114 §8.1).
const NO_ERROR: u32 = 0x100;

type Http3 = h3::server::Connection<Limited<h3_quinn::Connection>, Bytes>;
type Stream = RequestStream<Limited<h3_quinn::BidiStream<Bytes>>, Bytes>;

/// One connection, from the handshake to its end.
pub(super) async fn serve<A: Answer>(connection: quinn::Connection, doh: Arc<Doh<A>>, place: Place) {
    let (place, room) = (Arc::new(place), Room::new());
    let ended = tokio::select! {
        () = place.told_to_go() => Ok(()),
        ended = converse(&connection, &doh, &place, &room) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %connection.remote_address(), %error, "HTTP/3 connection ended");
    }
    connection.close(NO_ERROR.into(), b"");
}

async fn converse<A: Answer>(
    connection: &quinn::Connection,
    doh: &Arc<Doh<A>>,
    place: &Arc<Place>,
    room: &Room,
) -> Result<(), h3::error::ConnectionError> {
    let below = Limited::new(h3_quinn::Connection::new(connection.clone()));
    let mut http: Http3 = h3::server::builder().max_field_section_size(LARGEST_HEAD as u64).send_grease(false).build(below).await?;
    while let Some(resolver) = http.accept().await? {
        let (doh, place, room, peer) = (doh.clone(), place.clone(), room.clone(), connection.remote_address());
        tokio::spawn(async move {
            if let Err(error) = request(resolver, &doh, peer, &room, &place).await {
                tracing::debug!(%peer, %error, "HTTP/3 request ended");
            }
        });
    }
    Ok(())
}

/// One request and its response.
async fn request<A: Answer>(
    resolver: RequestResolver<Limited<h3_quinn::Connection>, Bytes>,
    doh: &Doh<A>,
    peer: SocketAddr,
    room: &Room,
    place: &Place,
) -> Result<(), h3::error::StreamError> {
    // A head that does not come whole in time is nobody's request.
    let Ok(resolved) = tokio::time::timeout(doh.patience, resolver.resolve_request()).await else { return Ok(()) };
    let (head, mut stream) = resolved?;
    let answered = answer(&head, &mut stream, doh, peer, room, place).await?;
    let (response, octets, _room) = match answered {
        Ok((reply, room)) => (doh::response(&reply), reply, Some(room)),
        Err(refusal) => {
            let (response, text) = refusal.response();
            (response, text, None)
        }
    };
    stream.send_response(response).await?;
    if *head.method() != Method::HEAD {
        stream.send_data(octets.into()).await?;
    }
    stream.finish().await
}

async fn answer<A: Answer>(
    head: &Request<()>,
    stream: &mut Stream,
    doh: &Doh<A>,
    peer: SocketAddr,
    room: &Room,
    place: &Place,
) -> Result<Result<(Vec<u8>, ReplyRoom), Refusal>, h3::error::StreamError> {
    let asked = match doh::asked(head.method(), head.uri(), head.headers(), &doh.path) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Asked::Query(query) = asked {
        return Ok(doh.answer(&query, peer, room, place).await);
    }
    let mut query = room.gather(LARGEST_MESSAGE);
    let gathered = tokio::time::timeout(doh.patience, async {
        while let Some(data) = stream.recv_data().await? {
            if let Err(excess) = query.push(data) {
                return Ok(Err(excess.into()));
            }
        }
        Ok::<_, h3::error::StreamError>(Ok(()))
    });
    match gathered.await {
        Ok(gathered) => match gathered? {
            Ok(()) => Ok(doh.answer(query.all(), peer, room, place).await),
            Err(refusal) => Ok(Err(refusal)),
        },
        Err(_) => Ok(Err(Refusal::SlowBody)),
    }
}

/// A connection, or a stream of one, of which each stream may bring only so many octets.
struct Limited<T> {
    inner: T,
    left: usize,
}

impl<T> Limited<T> {
    fn new(inner: T) -> Limited<T> {
        Limited { inner, left: MOST }
    }
}

impl<T: quic::Connection<Bytes>> quic::Connection<Bytes> for Limited<T> {
    type RecvStream = Limited<T::RecvStream>;
    type OpenStreams = Limited<T::OpenStreams>;

    fn poll_accept_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Self::RecvStream, ConnectionErrorIncoming>> {
        self.inner.poll_accept_recv(context).map_ok(Limited::new)
    }

    fn poll_accept_bidi(&mut self, context: &mut Context<'_>) -> Poll<Result<Self::BidiStream, ConnectionErrorIncoming>> {
        self.inner.poll_accept_bidi(context).map_ok(Limited::new)
    }

    fn opener(&self) -> Self::OpenStreams {
        Limited::new(self.inner.opener())
    }
}

impl<T: quic::OpenStreams<Bytes>> quic::OpenStreams<Bytes> for Limited<T> {
    type BidiStream = Limited<T::BidiStream>;
    type SendStream = T::SendStream;

    fn poll_open_bidi(&mut self, context: &mut Context<'_>) -> Poll<Result<Self::BidiStream, StreamErrorIncoming>> {
        self.inner.poll_open_bidi(context).map_ok(Limited::new)
    }

    fn poll_open_send(&mut self, context: &mut Context<'_>) -> Poll<Result<Self::SendStream, StreamErrorIncoming>> {
        self.inner.poll_open_send(context)
    }

    fn close(&mut self, code: h3::error::Code, reason: &[u8]) {
        self.inner.close(code, reason);
    }
}

impl<T: quic::RecvStream> quic::RecvStream for Limited<T> {
    type Buf = T::Buf;

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<T::Buf>, StreamErrorIncoming>> {
        let polled = self.inner.poll_data(context);
        if let Poll::Ready(Ok(Some(data))) = &polled {
            match self.left.checked_sub(data.remaining()) {
                Some(left) => self.left = left,
                None => {
                    let excess = h3::error::Code::H3_EXCESSIVE_LOAD.value();
                    self.inner.stop_sending(excess);
                    return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: excess }));
                }
            }
        }
        polled
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.inner.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.inner.recv_id()
    }
}

impl<T: quic::SendStream<Bytes>> quic::SendStream<Bytes> for Limited<T> {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_ready(context)
    }

    fn send_data<D: Into<WriteBuf<Bytes>>>(&mut self, data: D) -> Result<(), StreamErrorIncoming> {
        self.inner.send_data(data)
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.inner.poll_finish(context)
    }

    fn reset(&mut self, reset_code: u64) {
        self.inner.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.inner.send_id()
    }
}
