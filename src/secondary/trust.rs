//! Whom primaries are believed to be, over TLS (RFC 9103): the certificate leads to a root and has the name, or nothing is asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// What transfers over TLS are called (RFC 9103 §7.1).
pub(super) const DOT: &[u8] = b"dot";

/// Why nobody can be believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    /// A file of roots cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, rustls::pki_types::pem::Error),
    /// It holds none.
    #[error("{0} holds no certificate that a root can have")]
    Empty(PathBuf),
    /// The system trusts nobody.
    #[error("the system trusts no certificates: `ca` in [secondary] names a file of roots")]
    System,
    /// TLS cannot be spoken.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

/// How to ask over TLS, with the roots of a file, or of the system. Read each time: whoever renews them need not say so.
pub(super) fn trust(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let unreadable = |error| TrustError::File(path.into(), error);
            let found: Vec<CertificateDer<'_>> =
                CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
            if roots.add_parsable_certificates(found).0 == 0 {
                return Err(TrustError::Empty(path.into()));
            }
        }
        None => {
            if roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs).0 == 0 {
                return Err(TrustError::System);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // RFC 9103 §7.2: 1.3 or later.
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![DOT.to_vec()];
    Ok(Arc::new(config))
}
