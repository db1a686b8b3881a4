//! TLS for `wss://` links and for TURN servers: which certificates are trusted, and which cryptography is used.

use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::load_native_certs;

use crate::error::JoinError;

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

/// What is trusted: what the operating system trusts, or the file that `SSL_CERT_FILE` names, and the certificates of
/// the configuration. The system's are read when they are needed, and once.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    added: Vec<CertificateDer<'static>>,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Trust {
    /// Trusts these certificates, in DER, besides those of the system.
    ///
    /// # Errors
    /// When one of them is no certificate of an authority.
    pub(crate) fn new(added: Vec<Vec<u8>>) -> Result<Self, JoinError> {
        let added: Vec<CertificateDer<'static>> = added.into_iter().map(Into::into).collect();
        let mut roots = RootCertStore::empty();
        for certificate in &added {
            let added = roots.add(certificate.clone());
            added.map_err(|error| JoinError::Certificate { reason: error.to_string() })?;
        }
        Ok(Self { added, config: OnceLock::new() })
    }

    /// The configuration of a client. Reads files the first time.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let found = load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        roots.add_parsable_certificates(self.added.iter().cloned());
        if roots.is_empty() {
            let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            return Err(TlsError::NoRoots(reasons.join("; ")));
        }
        let config = client_config(roots)?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

/// Trusts these certificates.
pub(crate) fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, TlsError> {
    // Named, because the library panics instead of choosing when a build has two providers.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
