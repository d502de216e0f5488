//! Free TCP ports below the range from which the kernel takes ports for outgoing connections.
//!
//! A client that keeps dialling a dead listener on an ephemeral port may connect to itself; ports chosen here cannot
//! be hit that way. A port is only likely to stay free: the caller binds it at once.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::error::{BenchError, Result};
use crate::noise::Noise;

/// Lowest port tried.
const LOW: u64 = 12_000;
/// Highest port tried: Linux takes outgoing ports from 32768 up.
const HIGH: u64 = 32_000;
/// Ports tried before giving up.
const ATTEMPTS: usize = 200;

/// A free address on 127.0.0.1.
///
/// # Errors
/// No port could be bound.
pub fn free_port() -> Result<SocketAddr> {
    let mut noise = Noise::new(Noise::fresh_seed());
    for _ in 0..ATTEMPTS {
        let port = u16::try_from(noise.between(LOW, HIGH)).unwrap_or(12_345);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(BenchError::Invalid("no free port on 127.0.0.1".into()))
}
