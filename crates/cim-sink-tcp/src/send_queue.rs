//! How many bytes of a connection the other side's kernel has confirmed, and how many it has not.
//!
//! Owns the questions to the kernel. Left out: when to ask. Invariant: a send queue of 0 means that every byte
//! written so far has been taken by the peer's kernel; what its process has read nobody can tell.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

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

/// Bytes of the socket that the peer has acknowledged since the connection began, whatever they were made from. 0 from a kernel that
/// does not count them (Linux does since 4.1).
///
/// # Errors
/// The descriptor is no TCP socket.
#[allow(unsafe_code, reason = "no safe wrapper of this option exists; see the comments at the calls")]
pub(crate) fn confirmed(socket: impl AsFd) -> io::Result<u64> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which has as many, and the new length to `length` (tcp(7)); both
    // live until the call returns, and the descriptor is borrowed for that time.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain integers, of which those that an older kernel does not write are the zeros from above.
    Ok(unsafe { info.assume_init() }.tcpi_bytes_acked)
}
