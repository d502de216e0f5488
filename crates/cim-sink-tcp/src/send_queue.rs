//! How many bytes of a connection the other side's kernel has not confirmed yet.
//!
//! Owns the question to the kernel. Left out: when to ask. Invariant: a number of 0 means that every byte
//! written so far has been taken by the peer's kernel; what its process has read nobody can tell.

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ`, which is this number on every architecture that has it.
const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;

/// Bytes written to the TCP socket and not acknowledged by the peer, sent or not. After a reset it still tells how
/// many were never acknowledged.
///
/// # Errors
/// The descriptor is no connected socket.
#[allow(unsafe_code, reason = "no safe wrapper of this request exists; see the comment at the call")]
pub(crate) fn unconfirmed(socket: impl AsFd) -> io::Result<usize> {
    // SAFETY: SIOCOUTQ writes one C int to its argument and has no other effect (tcp(7)); the getter owns an int for
    // it and reads it only when the call has succeeded. The descriptor is borrowed for the time of the call.
    let bytes = unsafe { ioctl(socket, Getter::<SIOCOUTQ, libc::c_int>::new()) }?;
    Ok(usize::try_from(bytes).unwrap_or_default())
}
