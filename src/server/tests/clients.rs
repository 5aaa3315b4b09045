//! Clients of encrypted DNS, for the tests of the listeners and those of the whole: other people's TLS, HTTP and QUIC.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(10);

/// TLS 1.3 and 1.2.
pub const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Takes every certificate: which one it was is looked at afterwards.
#[derive(Debug)]
struct Trusting(CryptoProvider);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client's side, for these versions and protocols.
pub fn client(versions: &[&'static rustls::SupportedProtocolVersion], protocols: &[&[u8]]) -> ClientConfig {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

fn name() -> ServerName<'static> {
    ServerName::try_from("dns.example").unwrap()
}

/// DNS over TLS, as one that waits for each answer.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection whose handshake is done.
pub fn shake(to: SocketAddr, config: ClientConfig) -> io::Result<Tls> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut connection = ClientConnection::new(Arc::new(config), name()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// What a request gets.
pub struct Answered {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub head: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// DNS over HTTPS.
pub enum Https {
    /// HTTP/1.1
    One(http1::SendRequest<Full<Bytes>>),
    /// HTTP/2
    Two(http2::SendRequest<Full<Bytes>>),
    /// HTTP/3
    Three(h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>),
}

/// Every version of HTTP.
pub const VERSIONS: [Version; 3] = [Version::HTTP_11, Version::HTTP_2, Version::HTTP_3];

impl Https {
    /// Connects.
    pub async fn connect(to: SocketAddr, version: Version) -> Https {
        if version == Version::HTTP_3 {
            let connection = quic(to, client(&[&rustls::version::TLS13], &[b"h3"])).await.unwrap();
            let (mut driver, requests) = h3::client::new(h3_quinn::Connection::new(connection)).await.unwrap();
            tokio::spawn(async move { poll_fn(|context| driver.poll_close(context)).await });
            return Https::Three(requests);
        }
        let protocol: &[u8] = if version == Version::HTTP_2 { b"h2" } else { b"http/1.1" };
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client(BOTH, &[protocol])));
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let stream = connector.connect(name(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        if version == Version::HTTP_2 {
            let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            Https::Two(requests)
        } else {
            let (requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            Https::One(requests)
        }
    }

    /// Sends a request, such as `GET /dns-query?dns=…`, with lines of its head, and waits for what it gets.
    pub async fn call(&mut self, request: &str, head: &[&str], body: &[u8]) -> Result<Answered, Box<dyn std::error::Error>> {
        let (method, path) = request.split_once(' ').unwrap();
        let with_host = match self {
            Https::One(_) => Request::builder().uri(path).header("host", "dns.example"),
            Https::Two(_) | Https::Three(_) => Request::builder().uri(format!("https://dns.example{path}")),
        };
        let lines = head.iter().map(|line| line.split_once(": ").unwrap());
        let request = lines.fold(with_host.method(method), |request, (name, value)| request.header(name, value));
        let whole = Full::new(Bytes::copy_from_slice(body));
        let answered = async {
            let response = match self {
                Https::One(requests) => {
                    requests.ready().await?;
                    requests.send_request(request.body(whole)?).await?
                }
                Https::Two(requests) => {
                    requests.ready().await?;
                    requests.send_request(request.body(whole)?).await?
                }
                Https::Three(requests) => {
                    let mut stream = requests.send_request(request.body(())?).await?;
                    if !body.is_empty() {
                        // The server may have answered before all of it was sent.
                        let _ = stream.send_data(Bytes::copy_from_slice(body)).await;
                    }
                    let _ = stream.finish().await;
                    let response = stream.recv_response().await?;
                    let mut body = Vec::new();
                    while let Some(mut data) = stream.recv_data().await? {
                        let length = data.remaining();
                        body.extend_from_slice(&data.copy_to_bytes(length));
                    }
                    let (parts, ()) = response.into_parts();
                    return Ok(Answered { status: parts.status, head: parts.headers, body: body.into() });
                }
            };
            let (parts, body) = response.into_parts();
            Ok(Answered { status: parts.status, head: parts.headers, body: body.collect().await?.to_bytes() })
        };
        tokio::time::timeout(PATIENCE, answered).await?
    }

    /// Asks by GET; the reply.
    pub async fn get(&mut self, query: &[u8]) -> Answered {
        self.call(&format!("GET /dns-query?dns={}", base64url(query)), &[], b"").await.unwrap()
    }

    /// Asks by POST; the reply.
    pub async fn post(&mut self, query: &[u8]) -> Answered {
        self.call("POST /dns-query", &[&format!("{CONTENT_TYPE}: application/dns-message")], query).await.unwrap()
    }
}

/// Octets in base64url without padding (RFC 4648 §5).
pub fn base64url(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        (0..=group.len()).map(|n| char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize])).collect::<String>()
    };
    octets.chunks(3).map(group).collect()
}

/// A QUIC connection from a port of its own.
pub async fn quic(to: SocketAddr, config: ClientConfig) -> Result<quinn::Connection, quinn::ConnectionError> {
    connecting(to, config).await
}

/// One whose handshake is not done.
pub fn connecting(to: SocketAddr, config: ClientConfig) -> quinn::Connecting {
    let endpoint = quinn::Endpoint::client(SocketAddr::new(to.ip(), 0)).unwrap();
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    endpoint.connect_with(quinn::ClientConfig::new(Arc::new(config)), to, "dns.example").unwrap()
}

/// DNS over QUIC.
pub async fn doq(to: SocketAddr) -> quinn::Connection {
    quic(to, client(&[&rustls::version::TLS13], &[b"doq"])).await.unwrap()
}

/// Sends octets on a stream of their own, with its end, and reads all that comes back.
pub async fn exchange(connection: &quinn::Connection, octets: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let exchanged = async {
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(octets).await?;
        send.finish()?;
        Ok(receive.read_to_end(1 << 20).await?)
    };
    tokio::time::timeout(PATIENCE, exchanged).await?
}
