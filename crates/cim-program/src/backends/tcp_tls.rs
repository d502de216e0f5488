//! TLS for the TCP sink: joins two crates that do not know each other.
//!
//! Owns the translation of settings and errors. Left out: TLS itself (`cim-tls`) and its use (`cim-sink-tcp`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cim_core::{Problem, async_trait};
use cim_sink_tcp::{Channel, SecureError, Security, SecurityProvider, TlsSettings};
use cim_tls::{TlsClient, TlsError, TlsFiles, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// TLS by `cim-tls`.
pub struct Tls;

impl SecurityProvider for Tls {
    fn open(tls: &TlsSettings) -> Result<Arc<dyn Security>, Problem> {
        let client = tls.client_cert_file.clone().zip(tls.client_key_file.clone());
        let files = TlsFiles { authorities: tls.ca_file.clone(), client };
        Ok(Arc::new(TcpTls(TlsClient::new(files, tls.server_name.clone()))))
    }
}

struct TcpTls(TlsClient);

#[async_trait]
impl Security for TcpTls {
    async fn secure(&self, socket: TcpStream, host: &str) -> Result<Box<dyn Channel>, SecureError> {
        match self.0.connect(socket, host).await {
            Ok(stream) => Ok(Box::new(TlsChannel(stream))),
            Err(error) if error.is_about_files() => Err(SecureError::Files(error.into())),
            Err(TlsError::Broken(error)) => Err(SecureError::Broken(error)),
            Err(error) => Err(SecureError::Untrusted(error.into())),
        }
    }
}

struct TlsChannel(TlsStream<TcpStream>);

impl Channel for TlsChannel {
    fn socket(&self) -> &TcpStream {
        self.0.get_ref().0
    }
}

impl AsyncRead for TlsChannel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsChannel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
