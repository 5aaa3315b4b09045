//! DNS over TLS (RFC 7858): the conversation of [`super::tcp`], within TLS; and the handshake, which DNS over HTTPS shares.
//!
//! ```text
//!   accepted ─ a place, as any connection ─▶ ClientHello ─▶ turn: sign ─▶ rest of the handshake ─▶ conversation
//!                                               │ silent clients wait here, and hold nobody up
//!                                               └─────── time limit ───────┘
//! ```
//!
//! A signature takes up to a millisecond. They are made by turns, one at a time, so that a thousand handshakes that begin at once do not stand
//! between a connection and its answers: after each signature the others have their turn.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Answer;
use super::connections::{Connections, HandshakeEnd, Place};
use super::tcp::{self, Served};

/// The longest that a handshake may take; less where connections may be idle for less.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What handshakes on all addresses share.
#[derive(Debug)]
pub(super) struct Handshakes {
    turns: Semaphore,
    time: Duration,
    connections: Arc<Connections>,
}

impl Handshakes {
    pub(super) fn new(idle: Duration, connections: Arc<Connections>) -> Handshakes {
        Handshakes { turns: Semaphore::new(1), time: HANDSHAKE.min(idle), connections }
    }

    /// The longest that one may take.
    pub(super) fn time(&self) -> Duration {
        self.time
    }

    /// Waits for the turn to sign. Nobody closes it, so there always is one.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Where they are counted.
    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Does the handshake; `None` where it failed, took too long, or where its connection was told to go.
    pub(super) async fn shake(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        config: Arc<ServerConfig>,
        place: &Place,
    ) -> Option<TlsStream<TcpStream>> {
        let shaken = tokio::select! {
            () = place.told_to_go() => return None,
            shaken = tokio::time::timeout(self.time, self.take_turns(stream, config)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                self.connections.count_handshake(HandshakeEnd::Failed);
                tracing::debug!(%peer, %error, "TLS handshake failed");
                None
            }
            Err(_) => {
                self.connections.count_handshake(HandshakeEnd::TimedOut);
                None
            }
        }
    }

    async fn take_turns(&self, stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
        let started = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let rest = {
            let _turn = self.turn().await;
            // All that is slow happens here; what is left waits for the client.
            started.into_stream(config)
        };
        yield_now().await;
        rest.await
    }
}

/// One connection, from the handshake to its end.
pub(super) async fn serve<A: Answer>(
    stream: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    handshakes: Arc<Handshakes>,
    served: Arc<Served<A>>,
    place: Place,
) {
    let Some(mut stream) = handshakes.shake(stream, peer, config, &place).await else { return };
    let ended = tokio::select! {
        () = place.told_to_go() => false,
        result = tcp::converse(&mut stream, peer, &served, &place) => {
            if let Err(error) = result {
                tracing::debug!(%peer, %error, "TLS connection ended");
            }
            true
        }
    };
    if !ended && place.is_writing() {
        tcp::abandon(stream.get_ref().0);
    } else {
        // RFC 8446 §6.1: said before the end, where that takes no waiting.
        let _ = stream.shutdown().now_or_never();
    }
}
