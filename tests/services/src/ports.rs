//! Free TCP ports below the range from which the kernel takes ports for outgoing connections.
//!
//! A client that keeps dialling a dead listener on a port of that range may connect to itself; a port chosen here cannot be
//! hit that way. Left out: holding the port. Invariant: a port was free when it was given out, and is given out once by a
//! process.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

/// Lowest port given out.
const LOW: u16 = 12_000;
/// How many: Linux takes outgoing ports from 32768 up.
const COUNT: u16 = 20_000;

/// A free address on 127.0.0.1.
///
/// # Errors
/// No port could be bound.
pub fn free_port() -> io::Result<SocketAddr> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let random = RandomState::new();
    let candidates = (0..1000u32).map(|attempt| {
        let offset = u16::try_from(random.hash_one(attempt) % u64::from(COUNT)).unwrap_or_default();
        SocketAddr::from((Ipv4Addr::LOCALHOST, LOW + offset))
    });
    let mut given = GIVEN.lock().unwrap();
    let mut free =
        candidates.filter(|address| !given.contains(&address.port()) && TcpListener::bind(address).is_ok());
    let address = free.next().ok_or(io::ErrorKind::AddrInUse)?;
    drop(free);
    given.insert(address.port());
    Ok(address)
}
