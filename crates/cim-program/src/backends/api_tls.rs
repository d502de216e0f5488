//! TLS for the HTTP server: joins two crates that do not know each other.
//!
//! Owns the translation. Left out: TLS itself (`cim-tls`) and its use (`cim-api`).

use std::io;
use std::sync::Arc;

use cim_api::{AnyStream, Secured, Securing, Security};
use cim_core::Problem;
use cim_tls::{ServerFiles, TlsServer};

use crate::exit::chain;
use crate::fresh::Fresh;
use crate::settings::ApiTls;

/// TLS by `cim-tls`, with the files as they are.
pub(super) fn open(tls: &ApiTls) -> Result<Arc<dyn Security>, Problem> {
    let files = ServerFiles { certificate: tls.certificate_file.clone(), key: tls.key_file.clone() };
    let watched = vec![files.certificate.clone(), files.key.clone()];
    let server = Fresh::new(watched, move || files.read().map_err(|error| chain(&error)));
    Ok(Arc::new(ApiTlsServer(server.map_err(|why| Problem::new("api.tls", why))?)))
}

struct ApiTlsServer(Fresh<TlsServer>);

impl Security for ApiTlsServer {
    fn secure(&self, stream: AnyStream) -> Securing<'_> {
        let server = self.0.get();
        Box::pin(async move {
            let (stream, is_http2) =
                server.accept(stream).await.map_err(|error| io::Error::other(chain(&error)))?;
            Ok(Secured { stream: Box::new(stream), is_http2 })
        })
    }
}
