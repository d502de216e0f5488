//! Results on disk.
//!
//! Owns how they are written. Left out: when. Invariants: a reader sees the old content or the new one, never a part; a
//! lower revision is not written over a higher one (wire contract §4.2).

use std::os::fd::OwnedFd;
use std::path::Path;

use cim_core::{Commit, ConfigOutcome, Reported, SourceError, SourceErrorKind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::census::value;
use crate::fault::fault;
use crate::folder::{Folder, parts};

/// Modes of new files and directories, less the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// Stores a result and its story. One at a time, or a lower revision could be written last.
pub(crate) fn store(root: &Path, outcome: &ConfigOutcome) -> Result<Reported, SourceError> {
    let reported = match &outcome.commit {
        Some(commit) => settle(root, commit)?,
        None => Reported::Stored,
    };
    if let Some((key, story)) = &outcome.status {
        let text = serde_json::to_vec(story).map_err(|error| {
            SourceError::new(SourceErrorKind::Misconfigured, "failed to write a story").with_source(error)
        })?;
        write(root, key, &text)?;
    }
    Ok(reported)
}

/// Writes a file that still holds `old`; `None`: that does not exist.
pub(crate) fn swap(root: &Path, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, SourceError> {
    let is_unchanged = value(root, key)?.as_deref() == old;
    if is_unchanged {
        write(root, key, new)?;
    }
    Ok(is_unchanged)
}

fn settle(root: &Path, commit: &Commit) -> Result<Reported, SourceError> {
    let stored = value(root, &commit.key)?.unwrap_or_default();
    if let Some(stored) = commit.is_superseded_by(&stored) {
        return Ok(Reported::Superseded { stored });
    }
    let text = commit.value.to_string();
    if stored != text.as_bytes() {
        write(root, &commit.key, text.as_bytes())?;
    }
    Ok(Reported::Stored)
}

fn write(root: &Path, key: &str, content: &[u8]) -> Result<(), SourceError> {
    let Some((name, directories)) = parts(key.as_bytes()).and_then(|mut parts| Some((parts.pop()?, parts)))
    else {
        let text = format!("`{key}` cannot be a file: a part of it is empty or begins with a dot");
        return Err(SourceError::new(SourceErrorKind::Misconfigured, text));
    };
    let folder = Folder::root(root).map_err(|errno| fault("open the directory", root, errno))?;
    replace(&folder, &directories, name, content).map_err(|errno| fault("write", &root.join(key), errno))
}

fn replace(root: &Folder, directories: &[&[u8]], name: &[u8], content: &[u8]) -> Result<(), Errno> {
    let mut folder = rustix::io::dup(root.descriptor())?;
    for directory in directories {
        folder = descend(&folder, directory)?;
    }
    // Its name follows from the other one, so that what a killed process leaves is used again; and it is never too long.
    let digest = Sha256::digest(name);
    let fresh: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let fresh = format!(".{fresh}.tmp");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&folder, fresh.as_str(), flags, FILE_MODE)?;
    let written =
        fill(&file, content).and_then(|()| rustix::fs::renameat(&folder, fresh.as_str(), &folder, name));
    if written.is_err() {
        let _ = rustix::fs::unlinkat(&folder, fresh.as_str(), rustix::fs::AtFlags::empty());
    }
    written
}

/// Opens a directory, making it when absent.
fn descend(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let made = rustix::fs::mkdirat(folder, name, DIRECTORY_MODE);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match (rustix::fs::openat(folder, name, flags, Mode::empty()), made) {
        // Why it could not be made says more than that it is not there.
        (Err(Errno::NOENT), Err(why)) => Err(why),
        (opened, _) => opened,
    }
}

fn fill(file: &OwnedFd, mut content: &[u8]) -> Result<(), Errno> {
    while !content.is_empty() {
        match rustix::io::write(file, content) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => content = content.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    rustix::fs::fdatasync(file)
}
