//! Spools of pods that are gone, beside a spool of this pod: directories `<namespace>_<pod>` with one parent.
//!
//! Owns finding and removing them, whole and on the real disk. Leaves out whether a pod may touch its neighbours, which its caller
//! knows. Invariants: nothing is removed while somebody holds its lock, and only what says itself that it is the spool its name tells;
//! the name of a pod is locked for a moment only, because the pod may be about to start: what goes has another name meanwhile;
//! a symbolic link is never followed; a neighbour that cannot be removed keeps nobody else from going.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    aside::AsideLimits,
    files::{DirLock, FileLayer},
    format::{Decoded, name_hash},
    meta,
    real::RealFiles,
};

/// Begins the name of a spool that is being removed. No namespace begins so.
const GOING: &str = ".going-";

/// What [`bound_gone`] found and did.
#[derive(Debug, Default)]
pub struct GoneUse {
    /// Bytes that stay.
    pub bytes: u64,
    /// What was removed, in this order.
    pub removed: Vec<Gone>,
    /// What should have gone and could not, and why. Some of its files may be removed.
    pub failed: Vec<(PathBuf, io::Error)>,
}

/// The spool of a pod that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its directory.
    pub path: PathBuf,
    /// Bytes of all files in it.
    pub bytes: u64,
    /// Whether it went because of [`AsideLimits::max_age`]; otherwise because of [`AsideLimits::max_bytes`].
    pub is_too_old: bool,
    written: SystemTime,
    /// Its removal was begun in an earlier run.
    is_going: bool,
}

/// Removes spools beside `own` that nobody uses, beyond the limits: those that were written longest ago first. Age is counted from
/// the last write. Finishes removals that an earlier run began. Blocks for as long as listing and removing take.
///
/// # Errors
/// The directory around `own` cannot be listed.
pub fn bound_gone(own: &Path, limits: AsideLimits, now: SystemTime) -> io::Result<GoneUse> {
    let mut used = GoneUse::default();
    let (Some(home), Some(own)) = (own.parent(), own.file_name()) else { return Ok(used) };
    let names = RealFiles.list_dirs(home)?;
    let others = names.into_iter().filter(|name| name.as_str() != own);
    let mut found: Vec<_> = others.filter_map(|name| look(home, &name)).collect();
    found.sort_by(|left, right| {
        (!left.is_going, left.written, &left.path).cmp(&(!right.is_going, right.written, &right.path))
    });
    used.bytes = found.iter().map(|gone| gone.bytes).sum();
    for mut gone in found {
        let age = now.duration_since(gone.written).ok();
        gone.is_too_old = limits.max_age.zip(age).is_some_and(|(max, age)| age > max);
        if !gone.is_going && !gone.is_too_old && used.bytes <= limits.max_bytes {
            continue;
        }
        match remove(&gone.path) {
            Ok(()) => {
                used.bytes -= gone.bytes;
                used.removed.push(gone);
            }
            // Somebody began to use it just now.
            Err((_, error)) if error.kind() == io::ErrorKind::WouldBlock => used.bytes -= gone.bytes,
            Err(failed) => used.failed.push(failed),
        }
    }
    Ok(used)
}

/// The spool of that name, if it is one and nobody uses it. Holds its lock for a moment only: its pod may be about to start.
fn look(home: &Path, name: &str) -> Option<Gone> {
    let path = home.join(name);
    drop(lock(&path).ok()?);
    let is_going = name.starts_with(GOING);
    if !is_going && !is_spool_of(&path, &name.replacen('_', "/", 1)) {
        return None;
    }
    let mut gone = Gone { written: SystemTime::UNIX_EPOCH, path, bytes: 0, is_too_old: false, is_going };
    measure(&gone.path, &mut gone.bytes, &mut gone.written).ok()?;
    Some(gone)
}

/// The lock of the directory itself, not of what a link leads to.
fn lock(path: &Path) -> io::Result<Box<dyn DirLock>> {
    let lock = RealFiles.lock_dir(path)?;
    if fs::symlink_metadata(path)?.is_dir() && lock.holds(path) {
        Ok(lock)
    } else {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// By its label, or by a segment where the label is lost. What a newer program wrote is nobody's to remove.
fn is_spool_of(path: &Path, owner: &str) -> bool {
    match meta::read_meta(&RealFiles, &meta::meta_path(path)) {
        Ok(Decoded::Valid(meta)) => meta.identity == owner,
        Ok(Decoded::Damaged) => match meta::find_header(&RealFiles, path) {
            Ok(header) => header.is_some_and(|header| header.identity == name_hash(owner)),
            Err(_) => false,
        },
        Ok(Decoded::Newer(_)) | Err(_) => false,
    }
}

fn measure(dir: &Path, bytes: &mut u64, written: &mut SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let data = entry.metadata()?;
        if data.is_dir() {
            measure(&entry.path(), bytes, written)?;
        } else {
            *bytes += data.len();
            *written = data.modified()?.max(*written);
        }
    }
    Ok(())
}

/// Removes the spool, or tells what is left and why. Its lock is held until the end, for others of this kind.
fn remove(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        |error| (path, error)
    };
    let _held = lock(path).map_err(at(path))?;
    let going = match path.file_name().and_then(OsStr::to_str) {
        Some(name) if !name.starts_with(GOING) => path.with_file_name(format!("{GOING}{name}")),
        _ => path.to_owned(),
    };
    fs::rename(path, &going).map_err(at(path))?;
    fs::remove_dir_all(&going).map_err(at(&going))
}
