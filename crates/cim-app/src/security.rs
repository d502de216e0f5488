//! TLS as this client sees it: something that makes a connection private.
//!
//! Left out: certificates and the handshake, which the program brings. The invariant: where it is asked for, nothing is said in the
//! clear.

use cim_core::{CallError, async_trait};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes from and to a server.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream of any kind.
pub type AnyStream = Box<dyn Stream>;

/// Makes connections private.
#[async_trait]
pub trait Security: std::fmt::Debug + Send + Sync {
    /// Shakes hands as the client; `host` is the name the server was reached by.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] with the reason.
    ///
    /// # Cancel safety
    /// When dropped, the connection is closed.
    async fn secure(&self, socket: TcpStream, host: &str) -> Result<AnyStream, CallError>;
}
