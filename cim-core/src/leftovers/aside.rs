//! Finding the files of this pod and moving them aside.
//!
//! They are renamed into a hidden directory beside them, so that the fallback of this process may write a file of the
//! same name, and no `*.log` pattern of the node picks them up. Invariant: a file that somebody has open for writing, whose
//! name is not exactly this pod's, or whose place beside is taken, stays where it is. A mark beside the files says that they
//! were taken, for the day when the spool is lost and the directory is not: what came later is this process's own.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cim_wire::LogFileName;

use crate::contract::Identity;

/// Device and inode: a file whatever its name.
type FileId = (u64, u64);

/// Beside the files that were taken. No file of a pod has such a name.
const MARK: &str = ".taken";

/// Where the files of this pod go.
pub(super) fn directory(dir: &Path, identity: &Identity) -> PathBuf {
    dir.join(".cim-leftovers").join(format!("{}_{}", identity.namespace, identity.pod))
}

/// Whether the files were taken before, also by a process with another spool.
pub(super) fn is_marked(aside: &Path) -> bool {
    fs::symlink_metadata(aside.join(MARK)).is_ok()
}

/// Notes that the files were taken. A directory that is not there is left so: where nothing was, nothing can be mistaken yet.
pub(super) fn mark(dir: &Path, aside: &Path) -> io::Result<()> {
    if is_marked(aside) || !dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(aside)?;
    fs::File::create(aside.join(MARK))?.sync_all()
}

/// Moves every file of this pod in `dir` to `aside`.
pub(super) fn take(dir: &Path, aside: &Path, identity: &Identity) -> io::Result<()> {
    let own = |path: &PathBuf| name_of(path).is_some_and(|name| of_pod(name, identity).is_some());
    let found: Vec<_> = regular_files(dir)?.into_iter().filter(own).collect();
    if found.is_empty() {
        return Ok(());
    }
    let written = open_for_writing();
    fs::create_dir_all(aside)?;
    for path in found {
        if written.contains(&id(&fs::symlink_metadata(&path)?)) {
            tracing::warn!(file = %path.display(), "left alone: somebody has it open for writing");
            continue;
        }
        let Some(name) = path.file_name() else { continue };
        let target = aside.join(name);
        if fs::symlink_metadata(&target).is_ok() {
            // One that was set aside before the spool was lost, and is not delivered yet: it would be gone.
            let (file, target) = (path.display(), target.display());
            tracing::warn!(%file, "left alone: {target} waits under the same name; once that is gone, copy the lines yourself");
            continue;
        }
        fs::rename(&path, target)?;
    }
    Ok(())
}

/// The files set aside, the one changed longest ago first.
pub(super) fn files(aside: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = regular_files(aside)?;
    files.retain(|path| name_of(path) != Some(MARK));
    files.sort_by_cached_key(|path| {
        let changed = fs::symlink_metadata(path).and_then(|data| data.modified()).ok();
        (changed, path.clone())
    });
    Ok(files)
}

/// What the file name says, if it is one of this pod's.
pub(super) fn of_pod<'n>(name: &'n str, identity: &Identity) -> Option<LogFileName<'n>> {
    LogFileName::parse(name, &identity.pod, &identity.namespace)
}

pub(super) fn name_of(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

/// None where the directory is not there.
fn regular_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // Not followed: a link or a pipe with such a name is nothing the original made.
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn id(data: &fs::Metadata) -> FileId {
    (data.dev(), data.ino())
}

/// The files that a process of this pod has open for writing, as far as `/proc` shows them.
fn open_for_writing() -> HashSet<FileId> {
    let mut written = HashSet::new();
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    for process in entries("/proc".into()) {
        for descriptor in entries(process.path().join("fd")) {
            let info = process.path().join("fdinfo").join(descriptor.file_name());
            if fs::read_to_string(info).is_ok_and(|info| may_write(&info))
                && let Ok(data) = fs::metadata(descriptor.path())
            {
                written.insert(id(&data));
            }
        }
    }
    written
}

/// Whether the flags in an `fdinfo` page are those of a writer: the last octal digit is not that of read-only.
fn may_write(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & 0o3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { namespace: "ns1".into(), pod: "pod-1".into(), ..Identity::default() }
    }

    #[test]
    fn only_closed_files_of_exactly_this_pod_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "pod-1_ns1_app-c1.log",
            "pod-1_ns1_app-c1-2021-03-01T00-00-00.123.log_bkp",
            "pod-12_ns1_app-c1.log",
            "pod-1_ns12_app-c1.log",
            "other.log",
        ];
        for name in names {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let open = fs::File::create(dir.path().join("pod-1_ns1_busy-c1.log")).unwrap();
        std::os::unix::fs::symlink("/etc/hosts", dir.path().join("pod-1_ns1_link-c1.log")).unwrap();
        let aside = directory(dir.path(), &identity());
        take(dir.path(), &aside, &identity()).unwrap();
        let mut taken: Vec<_> = fs::read_dir(&aside).unwrap().map(|e| e.unwrap().file_name()).collect();
        taken.sort();
        assert_eq!(taken, [names[1], names[0]]);
        for left in [&names[2..], &["pod-1_ns1_busy-c1.log", "pod-1_ns1_link-c1.log"]].concat() {
            assert!(fs::symlink_metadata(dir.path().join(left)).is_ok(), "{left}");
        }
        drop(open);
    }

    #[test]
    fn a_file_set_aside_earlier_is_never_replaced_by_one_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (name, aside) = ("pod-1_ns1_app-c1.log", directory(dir.path(), &identity()));
        for text in ["first", "second"] {
            fs::write(dir.path().join(name), text).unwrap();
            take(dir.path(), &aside, &identity()).unwrap();
        }
        assert_eq!(fs::read_to_string(aside.join(name)).unwrap(), "first");
        assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "second");
    }
}
