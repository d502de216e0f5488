//! What went wrong with a file, in the engine's terms.
//!
//! Owns the mapping from system errors to [`DeliveryErrorKind`] with a text an operator can act on. Left out: what
//! is done about it. Invariant: nothing here is ever `Rejected` or `TooLarge`, because no record is at fault for a
//! disk.

use std::fmt;

use cim_core::{DeliveryError, DeliveryErrorKind};
use rustix::io::Errno;

/// A failed step, with the name of the file.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: DeliveryErrorKind,
    what: String,
    source: Option<std::io::Error>,
}

impl Fault {
    /// A system error while `doing` something ("open", "write") with `name`.
    pub(crate) fn system(doing: &str, name: &str, error: Errno) -> Self {
        let (kind, why) = match error {
            Errno::ISDIR => (DeliveryErrorKind::Misconfigured, "a directory stands in its place"),
            Errno::LOOP => (
                DeliveryErrorKind::Misconfigured,
                "a symbolic link stands in its place, and links are not followed",
            ),
            Errno::NOTDIR => (DeliveryErrorKind::Misconfigured, "a part of the path is not a directory"),
            Errno::NXIO => (DeliveryErrorKind::Misconfigured, "a socket or device stands in its place"),
            Errno::ACCESS | Errno::PERM => (DeliveryErrorKind::Misconfigured, "permission denied"),
            Errno::NAMETOOLONG => (DeliveryErrorKind::Misconfigured, "the path is too long"),
            Errno::NOSPC => (DeliveryErrorKind::Unavailable, "the file system is full"),
            Errno::DQUOT => (DeliveryErrorKind::Unavailable, "the disk quota is used up"),
            Errno::ROFS => (DeliveryErrorKind::Unavailable, "the file system is read-only"),
            Errno::IO => (DeliveryErrorKind::Unavailable, "the device reports an input/output error"),
            Errno::MFILE | Errno::NFILE => (DeliveryErrorKind::Unavailable, "no file descriptor is left"),
            _ => (DeliveryErrorKind::Unavailable, "the system reports an error"),
        };
        Self { kind, what: format!("cannot {doing} `{name}`: {why}"), source: Some(error.into()) }
    }

    /// Something that is neither file, directory nor link stands where the file should be.
    pub(crate) fn not_a_file(name: &str) -> Self {
        Self {
            kind: DeliveryErrorKind::Misconfigured,
            what: format!("cannot open `{name}`: something that is not a regular file stands in its place"),
            source: None,
        }
    }

    /// Whether waiting may help, rather than a person.
    pub(crate) fn is_transient(&self) -> bool {
        self.kind == DeliveryErrorKind::Unavailable
    }

    /// The error for the engine; `None` for `undelivered` means all records.
    pub(crate) fn into_error(self, undelivered: Option<Vec<usize>>) -> DeliveryError {
        let mut error = DeliveryError::new(self.kind, self.what);
        if let Some(source) = self.source {
            error = error.with_source(source);
        }
        match undelivered {
            Some(positions) => error.only(positions),
            None => error,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
