//! The certificate of all encrypted listeners: read from two files, and changed under them while connections stay.
//!
//! ```text
//!   cert.pem ─┐                                          ┌─ DNS over TLS
//!             ├─ read ─ does the key fit? ─yes─▶ in force ┼─ DNS over HTTPS
//!   key.pem ──┘              │                            └─ DNS over QUIC
//!                            no: what is in force stays
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::validity::not_after;
use crate::model::TlsSettings;

/// Octets of a file of certificates or keys, at most. Chains have a few thousand.
const LARGEST_FILE: u64 = 1 << 20;

/// What is wrong with a certificate or its key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No files are named.
    #[error("[dns.tls] names no certificate and no key")]
    NotNamed,
    /// A file cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file is larger than any certificate or key.
    #[error("{}: has more than {LARGEST_FILE} octets; is it a PEM file?", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A file is no PEM.
    #[error("{}: {error}", file.display())]
    NotPem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: PemError,
    },
    /// A file is PEM, but has nothing of what it is for.
    #[error("{}: {expected}", file.display())]
    NothingThere {
        /// The file.
        file: PathBuf,
        /// What is missing.
        expected: &'static str,
    },
    /// The key is of a kind that cannot sign, or is broken.
    #[error("{}: this private key cannot be used: {error}", file.display())]
    Key {
        /// The file of the key.
        file: PathBuf,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// The first certificate is broken, or it is not that of the key.
    #[error("{}: {reason}", file.display())]
    Certificate {
        /// The file of the certificate.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificate are fine, and no listener can be made of them.
    #[error("TLS cannot be offered: {0}")]
    Tls(rustls::Error),
}

impl CertificateError {
    /// The file that it is about.
    pub fn file(&self) -> Option<&Path> {
        match self {
            CertificateError::Unreadable { file, .. }
            | CertificateError::TooLarge { file }
            | CertificateError::NotPem { file, .. }
            | CertificateError::NothingThere { file, .. }
            | CertificateError::Key { file, .. }
            | CertificateError::Certificate { file, .. } => Some(file),
            CertificateError::NotNamed | CertificateError::Tls(_) => None,
        }
    }

    /// What is wrong, without the file.
    pub fn reason(&self) -> String {
        let text = self.to_string();
        match self.file().map(|file| format!("{}: ", file.display())) {
            Some(file) => text.strip_prefix(&file).map_or(text.clone(), String::from),
            None => text,
        }
    }
}

/// Reads certificate and key, and says what is wrong with them; until when the certificate is good, since the Unix epoch, where that can be
/// read.
///
/// # Errors
/// With the file and the reason.
pub fn check_certificate(settings: &TlsSettings) -> Result<Option<Duration>, CertificateError> {
    read(settings, &provider()).map(|certified| expires(&certified))
}

/// Until when a certificate is good.
fn expires(certified: &CertifiedKey) -> Option<Duration> {
    certified.cert.first().and_then(|certificate| not_after(certificate))
}

/// The certificate in force.
#[derive(Debug)]
pub(super) struct Certificate {
    provider: Arc<CryptoProvider>,
    /// What clients bring to begin again where they were, encrypted with a key that this process alone has (RFC 8446 §2.2).
    tickets: Arc<dyn ProducesTickets>,
    in_force: ArcSwap<CertifiedKey>,
}

impl Certificate {
    pub(super) fn new(settings: &TlsSettings) -> Result<Certificate, CertificateError> {
        let provider = provider();
        let in_force = read(settings, &provider)?;
        warn_of_end(&in_force);
        let in_force = ArcSwap::from_pointee(in_force);
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(CertificateError::Tls)?;
        Ok(Certificate { provider, tickets, in_force })
    }

    /// Reads it again, from the same files or others. Who connects from now on sees the new one; whoever is connected notices nothing. Where
    /// it cannot be used, the old one stays.
    pub(super) fn renew(&self, settings: &TlsSettings) -> Result<(), CertificateError> {
        let next = read(settings, &self.provider)?;
        if next.cert != self.in_force.load().cert {
            tracing::info!("connections from now on see another certificate");
        }
        warn_of_end(&next);
        self.in_force.store(Arc::new(next));
        Ok(())
    }

    /// Until when the one in force is good, since the Unix epoch.
    pub(super) fn expires(&self) -> Option<Duration> {
        expires(&self.in_force.load())
    }

    /// TLS with this certificate, in these versions, for these protocols (RFC 7301 §3.2: who offers none of them is refused).
    ///
    /// Nothing is taken before the handshake is done: there is no 0-RTT (RFC 8446 §8, RFC 9250 §4.5).
    pub(super) fn offer(
        self: &Arc<Self>,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Result<ServerConfig, CertificateError> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone()).with_protocol_versions(versions);
        let mut config = builder.map_err(CertificateError::Tls)?.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // Tickets hold what the server would otherwise have to remember, under a lock.
        config.ticketer = self.tickets.clone();
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        config.max_early_data_size = 0;
        Ok(config)
    }
}

impl ResolvesServerCert for Certificate {
    /// The same for every name: whoever asks by address sends none (RFC 6066 §3).
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_force.load_full())
    }
}

/// Says where a certificate has run out. It is used all the same: plain DNS must not go down with it, and some clients do not look.
fn warn_of_end(certified: &CertifiedKey) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if let Some(end) = expires(certified).filter(|end| *end <= now) {
        tracing::warn!("the certificate of [dns.tls] ran out on {}", humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + end));
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn read(settings: &TlsSettings, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let (Some(file), Some(key_file)) = (&settings.certificate, &settings.key) else { return Err(CertificateError::NotNamed) };
    let not_pem = |file: &Path, error, expected| match error {
        PemError::NoItemsFound => CertificateError::NothingThere { file: file.into(), expected },
        error => CertificateError::NotPem { file: file.into(), error },
    };
    let chain: Result<Vec<CertificateDer<'static>>, PemError> = CertificateDer::pem_slice_iter(&octets(file)?).collect();
    let chain = chain.and_then(|chain| if chain.is_empty() { Err(PemError::NoItemsFound) } else { Ok(chain) });
    let chain = chain.map_err(|error| not_pem(file, error, "no certificate is in it (`-----BEGIN CERTIFICATE-----`)"))?;
    let key = PrivateKeyDer::from_pem_slice(&octets(key_file)?).map_err(|error| {
        not_pem(key_file, error, "no private key is in it (`-----BEGIN PRIVATE KEY-----`); an encrypted one cannot be used")
    })?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| CertificateError::Key { file: key_file.clone(), error })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let reason = format!("this certificate is not that of the private key in {}", key_file.display());
            Err(CertificateError::Certificate { file: file.clone(), reason })
        }
        Err(error) => {
            Err(CertificateError::Certificate { file: file.clone(), reason: format!("this certificate cannot be used: {error}") })
        }
    }
}

/// What a file says, if that is not too much.
fn octets(file: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |error| CertificateError::Unreadable { file: file.into(), error };
    match std::fs::metadata(file).map_err(unreadable)?.len() {
        0..=LARGEST_FILE => std::fs::read(file).map_err(unreadable),
        _ => Err(CertificateError::TooLarge { file: file.into() }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A certificate for `name`, signed by itself, and its key, as PEM.
    pub(in super::super) fn pair(name: &str) -> (String, String) {
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_and_the_certificate_in_force_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let settings = TlsSettings { certificate: Some(file("cert.pem")), key: Some(file("key.pem")), ..TlsSettings::default() };
        let (good, key) = pair("one.example");
        let (other, other_key) = pair("two.example");
        let write = |certificate: &str, key: &str| {
            std::fs::write(file("cert.pem"), certificate).unwrap();
            std::fs::write(file("key.pem"), key).unwrap();
        };
        write(&good, &key);
        let certificate = Certificate::new(&settings).unwrap();
        let first = certificate.in_force.load_full();
        let cut = &key[..key.len() / 2];
        let not_base64 = good.replacen("MII", "M\u{e9}I", 1);
        let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let large = " ".repeat(LARGEST_FILE as usize + 1);
        let cases = [
            (good.as_str(), "", "key.pem: no private key is in it"),
            ("", &key, "cert.pem: no certificate is in it"),
            (&key, &key, "cert.pem: no certificate is in it"),
            (&good, &good, "key.pem: no private key is in it"),
            (&good, cut, "key.pem: "),
            (&not_base64, &key, "cert.pem: "),
            (not_der, &key, "cert.pem: this certificate cannot be used"),
            (&good, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "key.pem: this private key cannot be used"),
            (&good, &other_key, "cert.pem: this certificate is not that of the private key in "),
            (&large, &key, "cert.pem: has more than 1048576 octets"),
        ];
        for (certificate_text, key_text, expected) in cases {
            write(certificate_text, key_text);
            let error = certificate.renew(&settings).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(&format!("/{expected}")), "{said} is not {expected}");
            assert_eq!(format!("{}: {}", error.file().unwrap().display(), error.reason()), said);
            assert!(Arc::ptr_eq(&first, &certificate.in_force.load_full()), "{said}");
        }
        write(&good, &key);
        std::fs::remove_file(file("key.pem")).unwrap();
        assert!(matches!(certificate.renew(&settings), Err(CertificateError::Unreadable { .. })));
        assert!(matches!(check_certificate(&TlsSettings::default()), Err(CertificateError::NotNamed)));
        // A chain, and text between its parts.
        write(&format!("two.example:\n{other}{good}"), &other_key);
        certificate.renew(&settings).unwrap();
        assert_eq!(certificate.in_force.load().cert.len(), 2);
    }
}
