//! The spool directory of a pod that names none, in a directory that pods share.
//!
//! Owns making it, for this user alone. Left out: where it is (`settings`). The invariant: a directory that the operator named is
//! never let go of; one that nobody asked for never keeps a pod from starting.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::settings::{Loaded, Place};

/// Makes the directory, or does without one.
pub fn prepare(loaded: &mut Loaded) {
    if !is_usual(loaded) {
        return;
    }
    let Some(dir) = loaded.settings.spool.dir.clone() else { return };
    if let Err(error) = make(&dir) {
        tracing::error!(dir = %dir.display(), %error,
            "the shared directory cannot hold a spool; records are in memory only");
        loaded.settings.spool.dir = None;
        loaded.settings.leftovers.dir = None;
    }
}

/// Whether nobody named the directory, so that it is one among those of other pods in a directory that CIM made.
pub fn is_usual(loaded: &Loaded) -> bool {
    matches!(loaded.place("spool.dir"), Place::Document(_))
}

/// Makes the directory and those around it, closed to others; one that is there has to be writable.
fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    Ok(rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}
