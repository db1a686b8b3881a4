//! TLS for `wss://` links: which certificates are trusted, and which cryptography is used.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::load_native_certs;
use tokio_tungstenite::Connector;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// Without any trusted certificate every server would be refused.
    #[error("this system has no trusted certificates: {0}")]
    NoRoots(String),
    /// The library refuses its own defaults.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

/// Trusts what the operating system trusts, or the file that `SSL_CERT_FILE` names. Reads files.
pub(crate) fn system_connector() -> Result<Connector, TlsError> {
    let found = load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoRoots(reasons.join("; ")));
    }
    connector(roots)
}

/// Trusts these certificates.
pub(crate) fn connector(roots: RootCertStore) -> Result<Connector, TlsError> {
    // Named, because the library panics instead of choosing when a build has two providers.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Connector::Rustls(Arc::new(config)))
}
