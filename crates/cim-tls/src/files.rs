//! The files a connection to a server is made from.
//!
//! Owns reading and checking them. Left out: watching them: they are small and connections are rare, so they are read
//! for each one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::TlsError;

/// PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The authorities that may have signed the server's certificate.
    pub authorities: PathBuf,
    /// The certificate shown to the server, with its chain, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// Reads them as they are now. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub fn read(&self) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.authorities)? {
            let unusable = |error| TlsError::Unusable(self.authorities.clone(), "an authority", error);
            roots.add(authority).map_err(unusable)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |error| TlsError::Unusable(self.authorities.clone(), "TLS", error);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = builder.with_root_certificates(roots);
        let Some((chain, key)) = &self.client else { return Ok(builder.with_no_client_auth()) };
        let unusable = |error| TlsError::Unusable(key.clone(), "the private key", error);
        builder.with_client_auth_cert(certificates(chain)?, private_key(key)?).map_err(unusable)
    }
}

pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let found = PrivateKeyDer::from_pem_slice(&contents(path)?);
    found.map_err(|_| TlsError::Missing(path.to_owned(), "private key"))
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let missing = || TlsError::Missing(path.to_owned(), "certificate");
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents(path)?).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(missing)
}

fn contents(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable(path.to_owned(), error))
}
