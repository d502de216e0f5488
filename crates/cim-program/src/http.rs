//! The HTTP server of the process, as the settings want it: its limits, its token, its TLS.
//!
//! Left out: sockets (`listeners`) and answers (`face`). The invariant: a token or a certificate that cannot be read ends
//! the start, and never leaves the door open.

use std::sync::Arc;

use cim_api::{ApiState, HttpCounts, Limits, Server};
use cim_core::Problem;
use cim_core::settings::Secret;
use subtle::ConstantTimeEq as _;

use crate::backends;
use crate::fresh::Fresh;
use crate::settings::ApiSettings;

/// Makes the server ready.
///
/// # Errors
/// A file that cannot be used, or TLS in a build without it.
pub fn server(
    settings: &ApiSettings,
    state: Arc<dyn ApiState>,
    counts: Arc<HttpCounts>,
) -> Result<Server, Problem> {
    let limits = Limits { requests_per_second: settings.max_requests_per_second, ..Limits::default() };
    let mut server = Server::new(state, limits, counts);
    if let Some(file) = settings.token_file.clone() {
        let token = Fresh::new(vec![file.clone()], move || Secret::read(&file));
        let token = token.map_err(|why| Problem::new("api.token_file", why))?;
        // The same time wherever the first difference is.
        server = server
            .guarded_by(Box::new(move |shown| bool::from(token.get().reveal().as_bytes().ct_eq(shown))));
    }
    if let Some(security) = backends::api_security(settings.tls.as_ref())? {
        server = server.secured_by(security);
    }
    Ok(server)
}
