//! What a connection is made of: a TCP socket, plain or made private.
//!
//! Owns the traits an assembly plugs TLS into, so that this crate links none. Left out: what is sent. Invariant:
//! whatever lies above it, the socket itself stays reachable for questions to the kernel.

use std::error::Error;
use std::sync::Arc;

use cim_core::{Problem, async_trait};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::settings::TlsSettings;

/// A byte stream over a TCP socket.
pub trait Channel: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// The socket below.
    fn socket(&self) -> &TcpStream;

    /// Whether a byte that was written is a byte in the socket's send queue, neither held back nor transformed.
    fn is_transparent(&self) -> bool {
        false
    }
}

impl Channel for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn is_transparent(&self) -> bool {
        true
    }
}

/// Makes connected sockets private.
#[async_trait]
pub trait Security: Send + Sync {
    /// Shakes hands with the peer, which must prove to be `host` unless the settings name another.
    ///
    /// # Errors
    /// [`SecureError`] when that cannot work until somebody changes something, or did not work this time.
    ///
    /// # Cancel safety
    /// May be dropped; the socket goes with it.
    async fn secure(&self, socket: TcpStream, host: &str) -> Result<Box<dyn Channel>, SecureError>;
}

/// Why a connection could not be made private.
#[derive(Debug, Error)]
pub enum SecureError {
    /// Certificates or keys cannot be used as they are.
    #[error("the files of `tls` cannot be used")]
    Files(#[source] Box<dyn Error + Send + Sync>),
    /// One side does not accept what the other one shows.
    #[error("the TLS certificates do not satisfy both sides")]
    Untrusted(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke, or the peer speaks no TLS.
    #[error("the TLS handshake failed")]
    Broken(#[source] std::io::Error),
}

/// Where a build gets its TLS from.
pub trait SecurityProvider {
    /// Prepares TLS with those settings; reads no file that may change later.
    ///
    /// # Errors
    /// [`Problem`] relative to the table of the sink, when this build or these settings cannot do it.
    fn open(tls: &TlsSettings) -> Result<Arc<dyn Security>, Problem>;
}

/// A build without TLS.
#[derive(Debug)]
pub struct NoSecurity;

impl SecurityProvider for NoSecurity {
    fn open(_: &TlsSettings) -> Result<Arc<dyn Security>, Problem> {
        Err(Problem::new("tls", "TLS is not part of this build; build with `--features tls`"))
    }
}
