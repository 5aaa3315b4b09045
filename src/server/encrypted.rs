//! The listeners of DNS that nobody else can read, on threads of their own: their handshakes take computing time, and plain DNS must not wait
//! for it.
//!
//! ```text
//!   TCP   DNS over TLS        tls ─ handshake ─▶ the conversation of tcp
//!   TCP   DNS over HTTPS      tls ─ handshake ─▶ HTTP/1.1 or HTTP/2 ─┐
//!   UDP   DNS over HTTPS      quic ────────────▶ HTTP/3 ─────────────┼─▶ one query, one reply
//!   UDP   DNS over QUIC       quic ────────────▶ a stream each ──────┘
//! ```

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use quinn::Endpoint;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::model::TlsSettings;

use super::certificate::{Certificate, CertificateError};
use super::connections::{Connections, Place};
use super::http::{self, Doh};
use super::tcp::{self, Served};
use super::tls::{self, Handshakes};
use super::{Answer, ListenError, PORT_TRIES, TASKS_BETWEEN_LOOKS, doq, http3, quic};

/// TLS as of 2018 and 2008.
const EVERY_VERSION: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// What QUIC is made of (RFC 9001 §4.2).
const TLS_OF_QUIC: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// For how long clients may remember that HTTP/3 is spoken, in seconds.
const ALTERNATIVE_FOR: u32 = 86_400;

/// The longest that clients of QUIC are waited for when the server stops, so that they hear of it.
const GOODBYE: Duration = Duration::from_millis(100);

const TLS: &str = "TCP, for DNS over TLS";
const HTTPS: &str = "TCP, for DNS over HTTPS";
const HTTP3: &str = "UDP, for DNS over HTTPS";
const QUIC: &str = "UDP, for DNS over QUIC";

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
    pub(super) dot: Vec<(SocketAddr, std::net::TcpListener)>,
    /// TCP and UDP of one port.
    pub(super) doh: Vec<(SocketAddr, std::net::TcpListener, UdpSocket)>,
    pub(super) doh_path: String,
    pub(super) doq: Vec<(SocketAddr, UdpSocket)>,
}

/// The running listeners.
#[derive(Debug)]
pub(super) struct Encrypted {
    certificate: Arc<Certificate>,
    addresses: EncryptedAddresses,
    handshakes: Arc<Handshakes>,
    idle: Duration,
    listeners: Vec<Arc<TcpListener>>,
    endpoints: Vec<Endpoint>,
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
        let dot = settings.dot.iter().map(|address| listener(*address, idle, TLS)).collect::<Result<_, _>>()?;
        let doh = settings.doh.iter().map(|address| both(*address, idle)).collect::<Result<_, _>>()?;
        let doq = settings.doq.iter().map(|address| socket(*address, QUIC)).collect::<Result<_, _>>()?;
        Ok(Some(Bound { certificate, dot, doh, doh_path: settings.doh_path.clone(), doq }))
    }
}

fn listener(address: SocketAddr, idle: Duration, transport: &'static str) -> Result<(SocketAddr, std::net::TcpListener), ListenError> {
    let failed = |error| ListenError::Bind { address, transport, error };
    let listener = tcp::bind(address, idle).map_err(failed)?;
    Ok((listener.local_addr().map_err(failed)?, listener))
}

fn socket(address: SocketAddr, transport: &'static str) -> Result<(SocketAddr, UdpSocket), ListenError> {
    let failed = |error| ListenError::Bind { address, transport, error };
    let socket = quic::bind(address).map_err(failed)?;
    Ok((socket.local_addr().map_err(failed)?, socket))
}

/// TCP and UDP of one port, be it one that the kernel chose.
fn both(address: SocketAddr, idle: Duration) -> Result<(SocketAddr, std::net::TcpListener, UdpSocket), ListenError> {
    let mut tries = 0;
    loop {
        let (bound, listener) = listener(address, idle, HTTPS)?;
        match socket(bound, HTTP3) {
            Ok((_, socket)) => return Ok((bound, listener, socket)),
            Err(ListenError::Bind { error, .. })
                if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES =>
            {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

impl Encrypted {
    /// Threads for listeners, which come one by one.
    pub(super) fn new(bound: &Bound, threads: usize, idle: Duration, connections: Arc<Connections>) -> Result<Encrypted, io::Error> {
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
            idle,
            listeners: Vec::new(),
            endpoints: Vec::new(),
            runtime: Some(runtime),
        })
    }

    pub(super) fn addresses(&self) -> &EncryptedAddresses {
        &self.addresses
    }

    pub(super) fn renew(&self, settings: &TlsSettings) -> Result<(), CertificateError> {
        self.certificate.renew(settings)
    }

    pub(super) fn certificate_expires(&self) -> Option<Duration> {
        self.certificate.expires()
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
        self.accept(address, TLS, listener, move |stream, peer, place| {
            tls::serve(stream, peer, config.clone(), handshakes.clone(), served.clone(), place)
        })?;
        self.addresses.dot.push(address);
        tracing::info!(%address, "answering DNS over TLS");
        Ok(())
    }

    /// Answers DNS over HTTPS under a path, in every version of HTTP.
    pub(super) fn serve_https<A: Answer>(
        &mut self,
        address: SocketAddr,
        listener: std::net::TcpListener,
        socket: UdpSocket,
        served: Served<A>,
        path: String,
    ) -> Result<(), ListenError> {
        // RFC 7838 §3: who came over TCP learns that the same is to be had over QUIC.
        let alternative = HeaderValue::try_from(format!("h3=\":{}\"; ma={ALTERNATIVE_FOR}", address.port())).ok();
        let doh = Arc::new(Doh { served, path, alternative, patience: self.idle });
        let tls = self.certificate.offer(TLS_OF_QUIC, &[http3::PROTOCOL])?;
        let over_quic = doh.clone();
        self.accept_quic(address, HTTP3, socket, quic::config(tls, http3::OTHER_STREAMS, self.idle)?, move |connection, place| {
            http3::serve(connection, over_quic.clone(), place)
        })?;
        let config = Arc::new(self.certificate.offer(EVERY_VERSION, http::PROTOCOLS)?);
        let handshakes = self.handshakes.clone();
        self.accept(address, HTTPS, listener, move |stream, peer, place| {
            http::serve(stream, peer, config.clone(), handshakes.clone(), doh.clone(), place)
        })?;
        self.addresses.doh.push(address);
        tracing::info!(%address, "answering DNS over HTTPS, HTTP/3 among it");
        Ok(())
    }

    /// Answers DNS over QUIC.
    pub(super) fn serve_quic<A: Answer>(&mut self, address: SocketAddr, socket: UdpSocket, served: Served<A>) -> Result<(), ListenError> {
        let (served, idle) = (Arc::new(served), self.idle);
        let tls = self.certificate.offer(TLS_OF_QUIC, &[doq::PROTOCOL])?;
        // RFC 9250 §4.2: the client opens streams of both directions, and no others.
        self.accept_quic(address, QUIC, socket, quic::config(tls, 0, idle)?, move |connection, place| {
            doq::serve(connection, served.clone(), idle, place)
        })?;
        self.addresses.doq.push(address);
        tracing::info!(%address, "answering DNS over QUIC");
        Ok(())
    }

    /// Accepts connections on the threads of encrypted DNS.
    fn accept<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        address: SocketAddr,
        transport: &'static str,
        listener: std::net::TcpListener,
        serve: impl Fn(TcpStream, SocketAddr, Place) -> F + Send + Sync + 'static,
    ) -> Result<(), ListenError> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let _entered = runtime.enter();
        let listener = TcpListener::from_std(listener).map_err(|error| ListenError::Bind { address, transport, error })?;
        let listener = Arc::new(listener);
        self.listeners.push(listener.clone());
        runtime.spawn(tcp::accept(listener, self.handshakes.connections().clone(), serve));
        Ok(())
    }

    /// The same over QUIC.
    fn accept_quic<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        address: SocketAddr,
        transport: &'static str,
        socket: UdpSocket,
        config: quinn::ServerConfig,
        serve: impl Fn(quinn::Connection, Place) -> F + Clone + Send + Sync + 'static,
    ) -> Result<(), ListenError> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let _entered = runtime.enter();
        let endpoint = quic::endpoint(socket, config).map_err(|error| ListenError::Bind { address, transport, error })?;
        self.endpoints.push(endpoint.clone());
        runtime.spawn(quic::accept(endpoint, self.handshakes.clone(), serve));
        Ok(())
    }

    /// Says goodbye to clients of QUIC, who would else ask on until they lose patience, and frees the ports. Connections were told to go before.
    pub(super) fn stop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let endpoints = std::mem::take(&mut self.endpoints);
        for listener in self.listeners.drain(..) {
            let _ = socket2::SockRef::from(&*listener).shutdown(std::net::Shutdown::Both);
        }
        // On a thread of its own, as whoever drops a server may stand on a runtime itself, where nobody may wait.
        let stopping = std::thread::spawn(move || {
            runtime.block_on(async {
                endpoints.iter().for_each(|endpoint| endpoint.close(doq::Code::NoError.into(), b"the server stops"));
                let all = async {
                    for endpoint in &endpoints {
                        endpoint.wait_idle().await;
                    }
                };
                let _ = tokio::time::timeout(GOODBYE, all).await;
            });
            drop(endpoints);
            runtime.shutdown_timeout(GOODBYE);
        });
        let _ = stopping.join();
    }
}
