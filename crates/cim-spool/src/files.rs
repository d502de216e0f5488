//! The file operations a spool needs, as a trait, so that a simulated disk can stand in for the real one.
//!
//! Owns the contract between the spool and its disk; leaves the doing to [`RealFiles`](crate::RealFiles) and
//! [`SimFiles`](crate::SimFiles). Invariant: an operation either did all it says or returns an error; interrupted
//! and short system calls are never visible above this line.

use std::{io, path::Path, sync::Arc, time::SystemTime};

/// One open file.
pub trait SpoolFile: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system's error; some of the bytes may then be in the file.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills `into` from `offset` as far as the file reaches; returns the bytes read.
    ///
    /// # Errors
    /// The system's error, such as EIO for a bad sector.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Length in bytes.
    ///
    /// # Errors
    /// The system's error.
    fn size(&self) -> io::Result<u64>;

    /// Cuts or extends with zeros to `len` bytes.
    ///
    /// # Errors
    /// The system's error.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Brings all written bytes to the device (fdatasync).
    ///
    /// # Errors
    /// The system's error. After one, nothing written since the last success may be relied on.
    fn sync_data(&self) -> io::Result<()>;

    /// Claims blocks for the first `len` bytes, extending the file.
    ///
    /// # Errors
    /// The system's error, or `Unsupported` where the file system cannot.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

/// A held directory lock; released on drop and by the death of the process.
pub trait DirLock: Send + Sync {
    /// Whether `dir` still is the directory that is locked (false when it was deleted or replaced).
    fn holds(&self, dir: &Path) -> bool;
}

/// One regular file of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// File name.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// A disk.
pub trait FileLayer: Send + Sync {
    /// Makes the directory and its parents, mode 0700; an existing one is fine.
    ///
    /// # Errors
    /// The system's error.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a directory, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when somebody else holds it; else the system's error.
    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>>;

    /// Creates a file, mode 0600, empty; a leftover of that name is emptied. Never follows a link.
    ///
    /// # Errors
    /// The system's error.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn SpoolFile>>;

    /// Opens an existing file, for writing too when `write` is set. Never follows a link.
    ///
    /// # Errors
    /// The system's error.
    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn SpoolFile>>;

    /// Renames, replacing what has the new name.
    ///
    /// # Errors
    /// The system's error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's error.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The system's error.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Regular files of a directory, in no order.
    ///
    /// # Errors
    /// The system's error.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Directories inside a directory, by name, in no order.
    ///
    /// # Errors
    /// The system's error.
    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes created, renamed and removed names durable.
    ///
    /// # Errors
    /// The system's error.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Time of the last write to a file, or of the last change of a directory's entries.
    ///
    /// # Errors
    /// The system's error.
    fn modified(&self, path: &Path) -> io::Result<SystemTime>;

    /// Bytes an unprivileged process may still write to the disk of this directory.
    ///
    /// # Errors
    /// The system's error.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}
