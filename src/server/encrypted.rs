//! The listeners of DNS that nobody else can read, on threads of their own: their handshakes take computing time, and plain DNS must not wait
//! for it.
//!
//! ```text
//!   TCP   DNS over TLS        tls ─ handshake ─▶ the conversation of tcp
//!   TCP   DNS over HTTPS      tls ─ handshake ─▶ HTTP/1.1 or HTTP/2 ─┐
//!   UDP   DNS over HTTPS      quic ────────────▶ HTTP/3 ─────────────┼─▶ one query, one reply
//!   UDP   DNS over QUIC       quic ────────────▶ a stream each ──────┘
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::model::TlsSettings;

use super::certificate::{Certificate, CertificateError};
use super::connections::Connections;
use super::tcp::{self, Served};
use super::tls::{self, Handshakes};
use super::{Answer, ListenError, TASKS_BETWEEN_LOOKS};

/// TLS as of 2008 and 2018.
const EVERY_VERSION: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Where DNS is answered that nobody else can read, with the ports that the kernel chose for port 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncryptedAddresses {
    /// DNS over TLS.
    pub dot: Vec<SocketAddr>,
    /// DNS over HTTPS.
    pub doh: Vec<SocketAddr>,
    /// DNS over QUIC.
    pub doq: Vec<SocketAddr>,
}

/// Sockets that are bound, before any of them is served.
pub(super) struct Bound {
    certificate: Arc<Certificate>,
    /// For DNS over TLS.
    pub(super) dot: Vec<(SocketAddr, std::net::TcpListener)>,
}

/// The running listeners.
#[derive(Debug)]
pub(super) struct Encrypted {
    certificate: Arc<Certificate>,
    addresses: EncryptedAddresses,
    handshakes: Arc<Handshakes>,
    listeners: Vec<Arc<TcpListener>>,
    /// `None` once it has stopped.
    runtime: Option<Runtime>,
}

impl Bound {
    /// Reads the certificate and binds every socket; `None` where nothing is encrypted.
    pub(super) fn new(settings: &TlsSettings, idle: Duration) -> Result<Option<Bound>, ListenError> {
        if !settings.is_on() {
            return Ok(None);
        }
        let certificate = Arc::new(Certificate::new(settings)?);
        let bind = |address: &SocketAddr| {
            let failed = |error| ListenError::Bind { address: *address, transport: "TCP (TLS)", error };
            let listener = tcp::bind(*address, idle).map_err(failed)?;
            Ok::<_, ListenError>((listener.local_addr().map_err(failed)?, listener))
        };
        let dot = settings.dot.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Bound { certificate, dot }))
    }
}

impl Encrypted {
    /// Threads for listeners, which come one by one.
    pub(super) fn new(bound: &Bound, threads: usize, idle: Duration, connections: Arc<Connections>) -> Result<Encrypted, std::io::Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("dns-tls")
            .event_interval(TASKS_BETWEEN_LOOKS)
            .enable_all()
            .build()?;
        Ok(Encrypted {
            certificate: bound.certificate.clone(),
            addresses: EncryptedAddresses::default(),
            handshakes: Arc::new(Handshakes::new(idle, connections)),
            listeners: Vec::new(),
            runtime: Some(runtime),
        })
    }

    pub(super) fn addresses(&self) -> &EncryptedAddresses {
        &self.addresses
    }

    pub(super) fn renew(&self, settings: &TlsSettings) -> Result<(), CertificateError> {
        self.certificate.renew(settings)
    }

    /// Answers DNS over TLS.
    pub(super) fn serve_tls<A: Answer>(
        &mut self,
        address: SocketAddr,
        listener: std::net::TcpListener,
        served: Served<A>,
    ) -> Result<(), ListenError> {
        // RFC 7858 §3.2 asks for no name of the protocol; clients that send one send what IANA keeps for it.
        let config = Arc::new(self.certificate.offer(EVERY_VERSION, &[b"dot"])?);
        let (served, handshakes) = (Arc::new(served), self.handshakes.clone());
        self.accept(address, listener, move |stream, peer, place| {
            tls::serve(stream, peer, config.clone(), handshakes.clone(), served.clone(), place)
        })?;
        self.addresses.dot.push(address);
        tracing::info!(%address, "answering DNS over TLS");
        Ok(())
    }

    /// Accepts connections on the threads of encrypted DNS.
    fn accept<F>(
        &mut self,
        address: SocketAddr,
        listener: std::net::TcpListener,
        serve: impl Fn(tokio::net::TcpStream, SocketAddr, super::connections::Place) -> F + Send + Sync + 'static,
    ) -> Result<(), ListenError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let _entered = runtime.enter();
        let listener = TcpListener::from_std(listener).map_err(|error| ListenError::Bind { address, transport: "TCP (TLS)", error })?;
        let listener = Arc::new(listener);
        self.listeners.push(listener.clone());
        runtime.spawn(tcp::accept(listener, self.handshakes.connections().clone(), serve));
        Ok(())
    }

    /// Frees the ports. Connections were told to go before.
    pub(super) fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        for listener in self.listeners.drain(..) {
            let _ = socket2::SockRef::from(&*listener).shutdown(std::net::Shutdown::Both);
        }
    }
}
