//! The handshake with clients that come to us.
//!
//! Owns which HTTP may be agreed on. Left out: when the files are read again, and how long a client may take. Invariant:
//! HTTP/2 is offered first, and a client that asks for nothing gets HTTP/1.1.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::TlsError;
use crate::files::{certificates, private_key};

/// Names of HTTP in ALPN, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// PEM files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its certificate, with the chain.
    pub certificate: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
}

impl ServerFiles {
    /// Makes a server of the files as they are now. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read or used, or a key that is not that of the certificate.
    pub fn read(&self) -> Result<TlsServer, TlsError> {
        let unusable = |error| TlsError::Unusable(self.key.clone(), "the private key", error);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let (chain, key) = (certificates(&self.certificate)?, private_key(&self.key)?);
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(TlsServer(TlsAcceptor::from(Arc::new(config))))
    }
}

/// Makes connections of clients private.
#[derive(Clone)]
pub struct TlsServer(TlsAcceptor);

impl TlsServer {
    /// Shakes hands. `true`: both sides agreed on HTTP/2.
    ///
    /// # Errors
    /// [`TlsError`]: the client speaks no TLS, or nothing that both know.
    ///
    /// # Cancel safety
    /// May be dropped; the stream is closed.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, bool), TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.0.accept(stream).await.map_err(TlsError::of)?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == PROTOCOLS.first().copied();
        Ok((stream, is_http2))
    }
}

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}
