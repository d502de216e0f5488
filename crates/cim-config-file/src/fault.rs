//! What an error of the system means to the engine.
//!
//! Owns the one mapping from numbers to kinds.

use std::path::Path;

use cim_core::{SourceError, SourceErrorKind};
use rustix::io::Errno;

/// `what` could not be done with `path`, because of that.
pub(crate) fn fault(what: &str, path: &Path, errno: Errno) -> SourceError {
    let kind = match errno {
        Errno::ACCESS | Errno::PERM => SourceErrorKind::Unauthorized,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => SourceErrorKind::Full,
        Errno::ROFS | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL => {
            SourceErrorKind::Misconfigured
        }
        _ => SourceErrorKind::Unavailable,
    };
    let text = format!("failed to {what} {}: {}", path.display(), std::io::Error::from(errno));
    SourceError::new(kind, text)
}
