//! The handshake.
//!
//! Owns the order of its steps. Invariant: a stream that is handed out has not been refused by the server, as far as the
//! server has said so within a second.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::TlsError;
use crate::files::TlsFiles;

/// In TLS 1.3 the server judges our certificate after the handshake is over on our side. Servers say something then
/// (tickets or a refusal); one that is silent for so long has accepted.
const VERDICT: Duration = Duration::from_secs(1);

/// Makes connections private.
#[derive(Debug, Clone)]
pub struct TlsClient {
    files: TlsFiles,
    server_name: Option<String>,
}

impl TlsClient {
    /// A client that expects servers to carry `server_name`, or the name they are reached by.
    #[must_use]
    pub fn new(files: TlsFiles, server_name: Option<String>) -> Self {
        Self { files, server_name }
    }

    /// Shakes hands over a connected socket; `host` is the name or IP address it was reached by.
    ///
    /// # Errors
    /// [`TlsError`].
    ///
    /// # Cancel safety
    /// May be dropped; the socket is closed.
    pub async fn connect(&self, socket: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let server = ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name))?;
        let files = self.files.clone();
        let config = tokio::task::spawn_blocking(move || files.read()).await;
        let config = config.map_err(|error| TlsError::Broken(std::io::Error::other(error)))??;
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(server, socket).await.map_err(TlsError::of)?;
        let version = stream.get_ref().1.protocol_version();
        if self.files.client.is_some() && version == Some(ProtocolVersion::TLSv1_3) {
            verdict(&mut stream).await?;
        }
        Ok(stream)
    }
}

/// Waits for the first word of the server, and looks whether it is a refusal.
async fn verdict(stream: &mut TlsStream<TcpStream>) -> Result<(), TlsError> {
    if !matches!(timeout(VERDICT, stream.get_ref().0.readable()).await, Ok(Ok(()))) {
        return Ok(());
    }
    let mut nothing = [0; 1];
    let mut buffer = ReadBuf::new(&mut nothing);
    let read = std::future::poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
            Poll::Ready(Err(error)) => Err(TlsError::of(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        })
    });
    read.await
}
