//! TLS towards exporters of metrics: joins two crates that do not know each other.
//!
//! Owns the translation. Left out: TLS itself (`cim-tls`) and its use (`cim-app`).

use std::sync::Arc;

use cim_app::{AnyStream, Security};
use cim_core::{CallError, async_trait};
use cim_tls::{TlsClient, TlsFiles};
use tokio::net::TcpStream;

use crate::exit::chain;
use crate::settings::ExporterTls;

/// TLS by `cim-tls`, with the files as they are at each connection.
pub(super) fn open(tls: &ExporterTls) -> Arc<dyn Security> {
    let files = TlsFiles { authorities: tls.ca_file.clone(), client: None };
    Arc::new(ToExporter(TlsClient::new(files, tls.server_name.clone())))
}

#[derive(Debug)]
struct ToExporter(TlsClient);

#[async_trait]
impl Security for ToExporter {
    async fn secure(&self, socket: TcpStream, host: &str) -> Result<AnyStream, CallError> {
        match self.0.connect(socket, host).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(CallError::Unreachable(format!("TLS: {}", chain(&error)))),
        }
    }
}
