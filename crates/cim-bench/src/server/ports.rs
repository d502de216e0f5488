//! Free TCP ports, as the test harness chooses them.

use std::net::SocketAddr;

use crate::error::{BenchError, Result};

/// A free address on 127.0.0.1. A port is only likely to stay free: the caller binds it at once.
///
/// # Errors
/// No port could be bound.
pub fn free_port() -> Result<SocketAddr> {
    cim_services::free_port().map_err(BenchError::io("find a free port"))
}
