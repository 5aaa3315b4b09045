//! TLS of HTTPS checks.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::model::HttpCheck;

use super::attempt::Failure;

/// What HTTPS checks share: one configuration with verification and one without.
#[derive(Debug)]
pub(super) struct Tls {
    provider: Arc<CryptoProvider>,
    trusting: OnceLock<Result<Arc<ClientConfig>, String>>,
    verifying: OnceLock<Result<Arc<ClientConfig>, String>>,
}

/// How one check speaks TLS.
#[derive(Debug)]
pub(super) struct Session {
    config: Arc<ClientConfig>,
    /// `None`: the instance's address.
    name: Option<ServerName<'static>>,
}

impl Tls {
    pub(super) fn new() -> Tls {
        Tls { provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()), trusting: OnceLock::new(), verifying: OnceLock::new() }
    }

    /// The session of an HTTPS check; `None` for HTTP. Fails where the name to be indicated is none, or there are no roots to verify with.
    pub(super) fn session(&self, check: &HttpCheck) -> Result<Option<Session>, String> {
        let Some(tls) = &check.tls else { return Ok(None) };
        let config = match tls.verify {
            true => self.verifying.get_or_init(|| self.verifying_config()),
            false => self.trusting.get_or_init(|| self.trusting_config()),
        };
        let config = config.clone()?;
        let name = match (&tls.sni, &check.host) {
            (Some(sni), _) => Some(ServerName::try_from(sni.clone()).map_err(|_| format!("sni {sni:?} is no host name"))?),
            // An address is never sent as SNI (RFC 6066 §3); a certificate that is to be verified must then bear the address.
            (None, Some(host)) => ServerName::try_from(without_port(host).to_string()).ok(),
            (None, None) => None,
        };
        Ok(Some(Session { config, name }))
    }

    fn verifying_config(&self) -> Result<Arc<ClientConfig>, String> {
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::warn!(%error, "a root certificate of the system cannot be read");
        }
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(loaded.certs);
        if added == 0 {
            return Err("this system has no root certificates to verify with (install ca-certificates, or set SSL_CERT_FILE)".into());
        }
        let builder = ClientConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions();
        Ok(finished(builder.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth()))
    }

    fn trusting_config(&self) -> Result<Arc<ClientConfig>, String> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone()).with_safe_default_protocol_versions();
        let anything = Arc::new(Anything(self.provider.signature_verification_algorithms.supported_schemes()));
        let builder = builder.map_err(|e| e.to_string())?.dangerous().with_custom_certificate_verifier(anything);
        Ok(finished(builder.with_no_client_auth()))
    }
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session shows no certificate: every probe is a whole handshake, as a new client's would be.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// `host` without `:port`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.contains(':') => name,
        _ => host,
    }
}

impl Session {
    /// The handshake on a connection to the instance at `address`.
    pub(super) async fn handshake(&self, stream: TcpStream, address: IpAddr) -> Result<TlsStream<TcpStream>, Failure> {
        let connector = TlsConnector::from(self.config.clone());
        connector.connect(self.name(address), stream).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Failure::Instance("TLS: the connection was closed during the handshake".into()),
            _ => Failure::Instance(format!("TLS: {error}")),
        })
    }

    fn name(&self, address: IpAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or(ServerName::IpAddress(address.into()))
    }
}

/// Takes any certificate: a check without `verify_tls` asks whether the instance answers, not who it is (as Route 53 does).
#[derive(Debug)]
struct Anything(Vec<SignatureScheme>);

impl ServerCertVerifier for Anything {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Check, CheckKind};

    fn name(json: &str) -> Result<String, String> {
        let check: Check = serde_json::from_str(json).unwrap();
        let CheckKind::Http(http) = check.kind else { panic!() };
        let session = Tls::new().session(&http)?;
        Ok(session.map_or("plain".into(), |s| s.name("192.0.2.1".parse().unwrap()).to_str().into_owned()))
    }

    #[test]
    fn the_name_indicated_is_sni_or_the_host_if_that_is_a_name() {
        for (json, expected) in [
            (r#"{"http":"/","host":"www.example"}"#, "plain"),
            (r#"{"https":"/","sni":"a.example","host":"b.example"}"#, "a.example"),
            (r#"{"https":"/","host":"b.example"}"#, "b.example"),
            (r#"{"https":"/","host":"b.example:8443"}"#, "b.example"),
            (r#"{"https":"/","host":"198.51.100.7:8443"}"#, "198.51.100.7"),
            (r#"{"https":"/","host":"[2001:db8::1]:8443"}"#, "192.0.2.1"),
            (r#"{"https":"/"}"#, "192.0.2.1"),
        ] {
            assert_eq!(name(json).unwrap(), expected, "{json}");
        }
        assert!(name(r#"{"https":"/","sni":"a..example"}"#).unwrap_err().contains("a..example"));
    }
}
