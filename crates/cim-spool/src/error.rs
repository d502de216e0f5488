//! What can go wrong, as types. Owns the wording; leaves the reaction to the caller.
//! Invariant: every I/O failure keeps its `io::Error` as source, and names the file it concerns where there is one.

use std::{io, path::Path, path::PathBuf};

/// Why a spool or a stream could not be opened. Nothing was changed, unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the lock of the directory.
    #[error("spool directory {} is in use by another process", path.display())]
    Locked {
        /// The spool directory.
        path: PathBuf,
    },
    /// Written by a newer version of this program; left untouched.
    #[error("{} has spool format {found}, newer than {supported}", path.display())]
    NewerFormat {
        /// The file that says so.
        path: PathBuf,
        /// Its format version.
        found: u16,
        /// The newest version this program reads.
        supported: u16,
    },
    /// The directory belongs to another namespace or pod and could not be set aside.
    #[error("spool directory {} belongs to {found:?} and cannot be set aside", path.display())]
    Foreign {
        /// The spool directory.
        path: PathBuf,
        /// The identity found in it.
        found: String,
        /// Why it could not be moved.
        source: io::Error,
    },
    /// A stream or cursor name is not made of 1 to 64 of `A-Z a-z 0-9 _ - .`, or starts with a dot.
    #[error("{name:?} is not a usable name in a spool")]
    Name {
        /// The refused name.
        name: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// Why an append was refused. The buffer comes back with it; no part of it is visible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The stream's own limit is reached.
    #[error("the stream holds {bytes} of {max_bytes} bytes")]
    Full {
        /// Bytes stored.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The disk or its quota is full.
    #[error("no space on the spool's disk")]
    NoSpace(#[source] io::Error),
    /// Writing failed for another reason; the segment is sealed at its last good record.
    #[error("cannot write to the spool")]
    Io(#[source] io::Error),
    /// The buffer is larger than a frame may be (64 MiB).
    #[error("{bytes} bytes are more than a frame may hold")]
    TooLarge {
        /// Size of the buffer.
        bytes: usize,
    },
    /// There was nothing to append, or frames handed to `reappend` are not the ones asked for.
    #[error("no records, or not the records that are due")]
    NotDue,
}

impl AppendError {
    pub(crate) fn from_io(error: io::Error) -> Self {
        if is_no_space(&error) { Self::NoSpace(error) } else { Self::Io(error) }
    }
}

/// Disk full, quota reached, or out of inodes. Not EFBIG: that is a limit of one file, and removing others is no help.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
