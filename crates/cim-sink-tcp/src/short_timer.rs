//! Pauses much shorter than a millisecond.
//!
//! Owns one timer descriptor, because the timers of the runtime are exact to a millisecond only. Left out: what is
//! waited for. Invariant: a pause costs one wake-up and never spins.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// A timer of one task.
#[derive(Debug)]
pub(crate) struct ShortTimer(AsyncFd<OwnedFd>);

impl ShortTimer {
    /// A timer on the runtime of the caller.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe, and an owned descriptor keeps what that asks for"
        )]
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Waits for that time, at least a nanosecond.
    ///
    /// # Errors
    /// None that a working kernel gives.
    ///
    /// # Cancel safety
    /// May be dropped; the next pause sets the timer anew.
    pub(crate) async fn pause(&self, time: Duration) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(time.subsec_nanos().max(1)),
            },
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}
