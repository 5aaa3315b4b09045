//! QUIC (RFC 9000) below DNS over QUIC and HTTP/3: the socket, handshakes, and limits.
//!
//! ```text
//!   Initial ─▶ shown that its address is its own?
//!     │ yes: a place, as any connection ────────────────▶ handshake ─▶ streams
//!     │ no, and few such handshakes are under way ──────▶ handshake ─▶ a place ─▶ streams
//!     └ no, and many are ─▶ Retry: it comes again with a token, and we remember nothing (RFC 9000 §8.1.2)
//! ```
//!
//! Who has not shown its address gets no place, as a place may be another one's loss: from a forged address of a resolver, somebody else could
//! have that resolver's connections displaced.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::task::yield_now;

use super::certificate::CertificateError;
use super::connections::{Connections, HandshakeEnd, Place};
use super::tls::Handshakes;

/// Handshakes under way whose clients have not shown that their address is theirs.
const UNPROVEN: usize = 256;

/// What the kernel may hold for us.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Octets that may be on their way on one connection, in each direction.
const WINDOW: u32 = 256 << 10;

/// The same on one stream: more than a message and what is around it.
const STREAM_WINDOW: u32 = 72 << 10;

/// Streams of queries on one connection at once.
const STREAMS: u32 = 100;

/// A socket of one address.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As much as the system gives (net.core.rmem_max).
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// QUIC with this TLS; the client may open so many streams beside those of queries.
pub(super) fn config(tls: rustls::ServerConfig, others: u32, idle: Duration) -> Result<ServerConfig, CertificateError> {
    let broken = |error: &dyn std::fmt::Display| CertificateError::Tls(rustls::Error::General(error.to_string()));
    let tls = QuicServerConfig::try_from(tls).map_err(|error| broken(&error))?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(others.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(WINDOW.into())
        .send_window(WINDOW.into())
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(VarInt::from_u32(u32::try_from(idle.as_millis()).unwrap_or(u32::MAX)).into()));
    config.transport_config(Arc::new(transport));
    // What waits until it is accepted: hardly anything does.
    config.max_incoming(4 * UNPROVEN).incoming_buffer_size(16 << 10).incoming_buffer_size_total(4 << 20);
    Ok(config)
}

/// An endpoint on a socket, on the runtime that the caller has entered.
pub(super) fn endpoint(socket: std::net::UdpSocket, config: ServerConfig) -> io::Result<Endpoint> {
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
}

/// Accepts connections for ever. Each gets a place, and a task that does `serve`.
pub(super) async fn accept<F>(
    endpoint: Endpoint,
    handshakes: Arc<Handshakes>,
    serve: impl Fn(Connection, Place) -> F + Clone + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let unproven = Arc::new(AtomicUsize::new(0));
    while let Some(incoming) = endpoint.accept().await {
        let connections = handshakes.connections();
        if incoming.remote_address_validated() {
            if let Some(place) = connections.enter(incoming.remote_address().ip(), Instant::now()) {
                let (handshakes, serve) = (handshakes.clone(), serve.clone());
                tokio::spawn(async move {
                    let shaken = tokio::select! {
                        () = place.told_to_go() => None,
                        shaken = shake(incoming, &handshakes) => shaken,
                    };
                    if let Some(connection) = shaken {
                        serve(connection, place).await;
                    }
                });
            }
        } else if let Some(guest) = Guest::new(&unproven) {
            let (handshakes, serve) = (handshakes.clone(), serve.clone());
            tokio::spawn(async move {
                let shaken = shake(incoming, &handshakes).await;
                drop(guest);
                if let Some(connection) = shaken
                    && let Some(place) = handshakes.connections().enter(connection.remote_address().ip(), Instant::now())
                {
                    serve(connection, place).await;
                }
            });
        } else {
            connections.count_handshake(HandshakeEnd::Retried);
            // Who comes with a token has shown its address and does not come here.
            let _ = incoming.retry();
        }
        // A signature was made, or soon will be: others have their turn.
        yield_now().await;
    }
}

/// Does the handshake; `None` where it failed or took too long.
async fn shake(incoming: Incoming, handshakes: &Handshakes) -> Option<Connection> {
    let (peer, connections) = (incoming.remote_address(), handshakes.connections());
    let accepted = {
        let _turn = handshakes.turn().await;
        // All that is slow happens here.
        incoming.accept()
    };
    yield_now().await;
    let shaken = match accepted {
        Ok(connecting) => tokio::time::timeout(handshakes.time(), connecting).await,
        Err(error) => Ok(Err(error)),
    };
    match shaken {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            failed(connections, peer, &error);
            None
        }
        Err(_) => {
            connections.count_handshake(HandshakeEnd::TimedOut);
            None
        }
    }
}

fn failed(connections: &Connections, peer: SocketAddr, error: &quinn::ConnectionError) {
    connections.count_handshake(match error {
        quinn::ConnectionError::TimedOut => HandshakeEnd::TimedOut,
        _ => HandshakeEnd::Failed,
    });
    tracing::debug!(%peer, %error, "QUIC handshake failed");
}

/// A handshake under way whose client has not shown its address.
struct Guest(Arc<AtomicUsize>);

impl Guest {
    fn new(unproven: &Arc<AtomicUsize>) -> Option<Guest> {
        let more = |now: usize| (now < UNPROVEN).then_some(now + 1);
        unproven.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Guest(unproven.clone()))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
