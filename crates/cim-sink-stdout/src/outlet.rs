//! Where the bytes go: standard output, or any descriptor.
//!
//! Owns one write and the wait for room. Left out: what is written, and what an error means. Invariant: only the
//! writer thread calls into it, so a call may block as long as the reader likes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};

/// Something that takes bytes, possibly fewer than offered.
pub trait Outlet: Send + 'static {
    /// Writes some of the bytes and says how many. May block.
    ///
    /// # Errors
    /// As [`io::Write::write`]; `WouldBlock` when the descriptor is non-blocking and full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until there may be room again. Called after `WouldBlock`; may return early.
    ///
    /// # Errors
    /// When the wait itself is impossible.
    fn wait(&mut self) -> io::Result<()>;
}

/// An open descriptor. Written to directly: no buffer in between, no lock shared with `println!`.
impl Outlet for OwnedFd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&*self, bytes)?)
    }

    fn wait(&mut self) -> io::Result<()> {
        let descriptor = self.as_fd();
        poll(&mut [PollFd::new(&descriptor, PollFlags::OUT)], None)?;
        Ok(())
    }
}

/// A descriptor of this process's standard output.
///
/// # Errors
/// When the process has no descriptor left.
pub(crate) fn standard_output() -> io::Result<OwnedFd> {
    io::stdout().as_fd().try_clone_to_owned()
}
