//! The directory that holds the files, as a descriptor.
//!
//! Owns finding, creating and re-creating it, and every operation on a name inside it. Left out: what is written.
//! Invariant: a name is only ever resolved against the descriptor, without following a link, so that nothing
//! outside the directory can be reached through it.

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fchown, fstat};
use rustix::io::Errno;

/// Mode of new files (wire contract §8.3), less the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// Mode of a new directory, less the umask. The original's 0744 kept everyone but its own user out.
const DIRECTORY_MODE: u32 = 0o755;

/// Which file or directory a descriptor or a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    #[allow(clippy::useless_conversion, reason = "the width of these members differs between platforms")]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self { device: u64::from(stat.st_dev), inode: u64::from(stat.st_ino) }
    }
}

/// The open directory.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
    place: Place,
}

impl Folder {
    /// Opens the directory, creating it and its parents when absent.
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        let descriptor = match open_directory(path) {
            Err(Errno::NOENT) => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(DIRECTORY_MODE)
                    .create(path)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                open_directory(path)?
            }
            other => other?,
        };
        let place = Place::of(&fstat(&descriptor)?);
        Ok(Self { path: path.to_owned(), descriptor, place })
    }

    /// Whether the path still leads to this directory. One system call.
    pub(crate) fn is_current(&self) -> bool {
        rustix::fs::stat(&self.path).is_ok_and(|stat| Place::of(&stat) == self.place)
    }

    /// Opens a file for appending, creating it when absent.
    pub(crate) fn open_file(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        rustix::fs::openat(&self.descriptor, name, flags, FILE_MODE)
    }

    /// What stands under that name, links not followed.
    pub(crate) fn stat(&self, name: &str) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Renames, and answers `EEXIST` rather than replace what has the new name already.
    pub(crate) fn rename_new(&self, from: &str, to: &str) -> Result<(), Errno> {
        let here = &self.descriptor;
        match rustix::fs::renameat_with(here, from, here, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => self.link_then_unlink(from, to),
            other => other,
        }
    }

    /// The same for file systems that cannot do it in one step.
    fn link_then_unlink(&self, from: &str, to: &str) -> Result<(), Errno> {
        let here = &self.descriptor;
        match rustix::fs::linkat(here, from, here, to, AtFlags::empty()) {
            Ok(()) => self.remove(from),
            Err(Errno::PERM | Errno::OPNOTSUPP) => match self.stat(to) {
                Err(Errno::NOENT) => rustix::fs::renameat(here, from, here, to),
                Ok(_) => Err(Errno::EXIST),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Deletes a file.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty())
    }

    /// Makes new and changed names durable.
    pub(crate) fn sync(&self) -> Result<(), Errno> {
        rustix::fs::fsync(&self.descriptor)
    }

    /// The names in the directory for which `keep` answers. Names that are not UTF-8 are not ours.
    pub(crate) fn names<T>(&self, mut keep: impl FnMut(&str) -> Option<T>) -> Result<Vec<T>, Errno> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.descriptor)? {
            if let Ok(name) = entry?.file_name().to_str() {
                found.extend(keep(name));
            }
        }
        Ok(found)
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Gives a file the mode and owner of the one it follows, as far as the process may.
pub(crate) fn inherit(file: &OwnedFd, from: &Stat) {
    use rustix::fs::{Gid, Uid};
    // Best effort: a file of our own owner and mode is better than no file.
    let _ = fchmod(file, Mode::from_raw_mode(from.st_mode));
    let _ = fchown(file, Some(Uid::from_raw(from.st_uid)), Some(Gid::from_raw(from.st_gid)));
}

/// Whether it is a regular file.
pub(crate) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}
