//! What the system lets this process have: descriptors, and the size of a file.
//!
//! Left out: memory, which the budget of the engine bounds. The invariants: clients never use up the descriptors that
//! spool, sinks and HTTP need, and a file that may not grow is an error of a write, not the end of the process.

use std::io;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Descriptors that clients leave alone: open files of the file sink, segments, HTTP connections, and some to spare.
const RESERVED: u64 = 256;

/// How many of the wanted connections the limit on descriptors allows, after raising it as far as this process may. Of a
/// limit below 512, clients get half.
#[must_use]
pub fn connections(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if raised { maximum } else { current };
    let Some(limit) = limit else { return wanted };
    let left = limit.saturating_sub(RESERVED.min(limit / 2));
    let allowed = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
    if allowed < wanted {
        tracing::warn!(limit, wanted, allowed, "the limit on open descriptors allows fewer connections");
    }
    allowed
}

/// From now on, writing beyond the limit on the size of a file fails instead of ending the process.
///
/// # Errors
/// The handler cannot be installed.
pub fn survive_file_size_limit() -> io::Result<()> {
    // The handler stays when its receiver goes.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}
