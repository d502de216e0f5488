//! TLS as this server sees it: something that makes a stream private and tells which HTTP was agreed on.
//!
//! Left out: certificates and the handshake, which the program brings. The invariant: a client that begins like TLS gets
//! TLS or a close, never an answer in the clear.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes from and to a client.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A stream of any kind.
pub type AnyStream = Box<dyn Stream>;

/// What a handshake came to.
pub struct Secured {
    /// The private stream.
    pub stream: AnyStream,
    /// Both sides agreed on HTTP/2 (ALPN `h2`); otherwise it is HTTP/1.1.
    pub is_http2: bool,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("is_http2", &self.is_http2).finish_non_exhaustive()
    }
}

/// A handshake under way.
pub type Securing<'a> = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send + 'a>>;

/// Makes streams private. The server limits the time of a handshake; a dropped one closes the stream.
pub trait Security: Send + Sync {
    /// Shakes hands as the server; the first byte of the client is still in the stream.
    fn secure(&self, stream: AnyStream) -> Securing<'_>;
}
