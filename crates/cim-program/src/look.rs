//! What a file looks like from outside, to tell whether it changed.
//!
//! Left out: when to look. The invariant: a file that was replaced looks different, also when a link on the way to it was
//! swapped, as Kubernetes does with a ConfigMap or a Secret.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Device, inode, size, time of change. `None`: it is not there.
pub type Look = Option<(u64, u64, u64, i64, i64)>;

/// Looks at a file.
#[must_use]
pub fn look(file: &Path) -> Look {
    let data = std::fs::metadata(file).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.ctime(), data.ctime_nsec()))
}
