//! DNS over HTTPS (RFC 8484) over TCP: HTTP/2, and HTTP/1.1 for who knows no other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ALT_SVC, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::Answer;
use super::connections::{Place, Waiting};
use super::doh::{self, Asked, Refusal};
use super::room::{ReplyRoom, Room};
use super::tcp::{LARGEST_MESSAGE, Served};
use super::tls::Handshakes;

/// Names of the protocols in TLS (RFC 7301): the better one first.
pub(super) const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Octets that the head of a request may have.
pub(super) const LARGEST_HEAD: usize = 16 << 10;

/// Requests on one connection at once.
pub(super) const STREAMS: u32 = 100;

/// Octets of all bodies together that a client may send before we take them.
const WINDOW: u32 = 128 << 10;

/// Octets of a reply that are handed on at once, where the client takes fewer.
const PIECE: usize = 4096;

/// How long the rest of a body of no use is listened to.
const DISMISSAL: Duration = Duration::from_secs(1);

/// How long a connection that is told to go may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(250);

/// What DNS over HTTPS on one address shares, whatever the version of HTTP.
pub(super) struct Doh<A> {
    pub(super) served: Served<A>,
    /// Where it is answered.
    pub(super) path: String,
    /// Where HTTP/3 is spoken (RFC 7838).
    pub(super) alternative: Option<HeaderValue>,
    /// The longest that a body may take.
    pub(super) patience: Duration,
}

impl<A: Answer> Doh<A> {
    /// The reply to a query.
    pub(super) async fn answer(&self, query: &[u8], peer: SocketAddr, room: &Room, place: &Place) -> Result<(Vec<u8>, ReplyRoom), Refusal> {
        let answered = room.answer(self.served.answer_one(query, peer)).await.ok_or(Refusal::NoQuery)?;
        place.touch(Instant::now());
        Ok(answered)
    }
}

/// One connection, from the handshake to its end.
pub(super) async fn serve<A: Answer>(
    stream: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    handshakes: Arc<Handshakes>,
    doh: Arc<Doh<A>>,
    place: Place,
) {
    let Some(stream) = handshakes.shake(stream, peer, config, &place).await else { return };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let (place, room, idle) = (Arc::new(place), Room::new(), doh.patience);
    let service = {
        let place = place.clone();
        service_fn(move |request: Request<Incoming>| {
            let (doh, room, place) = (doh.clone(), room.clone(), place.clone());
            async move { Ok::<_, Infallible>(respond(&doh, request, peer, &room, &place).await) }
        })
    };
    let io = TokioIo::new(stream);
    let ended = if is_http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(LARGEST_HEAD as u32)
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(WINDOW / 2)
            .max_send_buf_size(LARGEST_MESSAGE)
            .serve_connection(io, service);
        until_told(connection, &place).await
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_buf_size(LARGEST_HEAD)
            .half_close(true)
            .serve_connection(io, service);
        until_told(connection, &place).await
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "HTTPS connection ended");
    }
}

/// Serves a connection until it ends or is told to go; then it may finish what is under way, if that takes no time.
async fn until_told<C: GracefulConnection<Error = hyper::Error>>(connection: C, place: &Place) -> Result<(), hyper::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        () = place.told_to_go() => {}
        ended = connection.as_mut() => return ended,
    }
    connection.as_mut().graceful_shutdown();
    tokio::time::timeout(GOODBYE, connection).await.unwrap_or(Ok(()))
}

async fn respond<A: Answer>(doh: &Doh<A>, request: Request<Incoming>, peer: SocketAddr, room: &Room, place: &Place) -> Response<Reply> {
    let (head, mut body) = request.into_parts();
    let is_head = head.method == Method::HEAD;
    let asked = doh::asked(&head.method, &head.uri, &head.headers, &doh.path);
    let answered = match asked {
        Ok(Asked::Query(query)) => doh.answer(&query, peer, room, place).await,
        Ok(Asked::InBody) => answer_body(doh, &mut body, peer, room, place).await,
        Err(refusal) => Err(refusal),
    };
    let (head, octets, room) = match answered {
        Ok((reply, room)) => (doh::response(&reply), reply, Some(room)),
        Err(refusal) => {
            if head.version < Version::HTTP_2 {
                let _ = tokio::time::timeout(DISMISSAL.min(doh.patience), drain(&mut body)).await;
            }
            let (head, text) = refusal.response();
            (head, text, None)
        }
    };
    let octets = if is_head { Bytes::new() } else { octets.into() };
    let mut response = head.map(|()| Reply { octets, _room: room });
    if let Some(alternative) = &doh.alternative {
        response.headers_mut().insert(ALT_SVC, alternative.clone());
    }
    response
}

/// Answers the query that a body holds.
async fn answer_body<A: Answer>(
    doh: &Doh<A>,
    body: &mut Incoming,
    peer: SocketAddr,
    room: &Room,
    place: &Place,
) -> Result<(Vec<u8>, ReplyRoom), Refusal> {
    let mut query = room.gather(LARGEST_MESSAGE);
    let gathered = tokio::time::timeout(doh.patience, async {
        place.waits(Waiting::ForRest);
        while let Some(frame) = body.frame().await {
            // A body that breaks off is nobody's query; there is hardly anybody left to tell.
            let Ok(data) = frame.map_err(|_| Refusal::NoQuery)?.into_data() else { continue };
            query.push(data)?;
        }
        Ok(())
    });
    gathered.await.unwrap_or(Err(Refusal::SlowBody))?;
    place.waits(Waiting::ForQuery);
    doh.answer(query.all(), peer, room, place).await
}

/// Reads the rest of a body of no use, if it is not too long: most clients of HTTP/1.1 send all of it before they listen, and were the
/// connection closed under them, they might not hear why.
async fn drain(body: &mut Incoming) {
    let mut most = 2 * LARGEST_MESSAGE;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match most.checked_sub(length) {
            Some(left) => most = left,
            None => return,
        }
    }
}

/// The body of a response, and the room that it takes until it is handed on.
struct Reply {
    octets: Bytes,
    _room: Option<ReplyRoom>,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.octets.len().min(PIECE);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(self.octets.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.octets.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.octets.len() as u64)
    }
}
