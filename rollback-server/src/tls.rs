//! TLS for `wss://` links: the server's certificate, and the cryptography.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificate of a server with its private key.
#[derive(Clone)]
pub struct Certificate(Arc<ServerConfig>);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read, or has nothing of the kind.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// The certificate and the key do not belong together, or are of no use.
    #[error("the certificate and its key are of no use: {0}")]
    Refused(#[from] rustls::Error),
}

impl Certificate {
    /// Reads a certificate, followed by those between it and an authority that clients trust, and its key: two files in
    /// PEM, as ACME clients write them.
    ///
    /// # Errors
    /// When a file cannot be read, or they do not belong together.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let of = |path: &Path| {
            let path = path.to_owned();
            move |error| CertificateError::File { path, error }
        };
        let certificates = CertificateDer::pem_file_iter(chain).map_err(of(chain))?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(of(chain))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(of(key))?;
        // Named, because the library panics instead of choosing when a build has two providers.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}
