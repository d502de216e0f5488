//! A directory that is to be written into.
//!
//! Owns the trial of writing, the room, and what kind of file system it is. The invariant: nothing is left behind and nobody
//! sees the trial: its file never has a name.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use rustix::fs::{Access, CWD, Mode, OFlags};
use rustix::io::Errno;

/// What is written as a trial, bytes: a block.
const TRIAL: usize = 4096;

/// How a directory is.
pub(super) enum Writable {
    /// It can be written into.
    Yes,
    /// It is not there, and can be made.
    Later,
    /// Why not.
    No(String),
}

/// Whether files can be made there.
pub(super) fn writable(dir: &Path) -> Writable {
    match std::fs::metadata(dir) {
        Ok(data) if !data.is_dir() => Writable::No("is not a directory".to_owned()),
        Ok(_) => trial(dir).map_or_else(
            |error| Writable::No(format!("cannot be written into: {error}")),
            |()| Writable::Yes,
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => later(dir),
        Err(error) => Writable::No(format!("cannot be looked at: {error}")),
    }
}

fn trial(dir: &Path) -> std::io::Result<()> {
    let made =
        rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    match made {
        Ok(file) => File::from(file).write_all(&[0; TRIAL]),
        // A file system that makes no files without a name.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
            Ok(rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// The nearest directory that is there decides.
fn later(dir: &Path) -> Writable {
    let above = dir.ancestors().skip(1).find(|above| above.as_os_str().is_empty() || above.exists());
    let above = above.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match rustix::fs::accessat(CWD, above, Access::WRITE_OK | Access::EXEC_OK, rustix::fs::AtFlags::empty()) {
        Ok(()) => Writable::Later,
        Err(error) => {
            let error = std::io::Error::from(error);
            Writable::No(format!("is not there and cannot be made in {}: {error}", above.display()))
        }
    }
}

/// Bytes that are free for this process; `None` when that cannot be told.
pub(super) fn free(dir: &Path) -> Option<u64> {
    let data = rustix::fs::statvfs(dir).ok()?;
    Some(data.f_bavail.saturating_mul(data.f_frsize))
}

/// Bytes of the files in it, two levels deep.
pub(super) fn used(dir: &Path) -> u64 {
    fn within(dir: &Path, depth: u32) -> u64 {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let sizes = entries.map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() && depth > 0 => within(&entry.path(), depth - 1),
            Ok(data) if data.is_file() => data.len(),
            _ => 0,
        });
        sizes.sum()
    }
    within(dir, 1)
}

/// A file system that has a name here, and what speaks against it.
pub(super) fn file_system(dir: &Path) -> Option<(&'static str, Option<&'static str>)> {
    const KINDS: [(u64, &str, Option<&str>); 9] = [
        (0xef53, "ext4", None),
        (0x5846_5342, "xfs", None),
        (0x9123_683e, "btrfs", None),
        (0xf2f5_2010, "f2fs", None),
        (0x0102_1994, "tmpfs", Some("it is in memory: what waits is lost when the pod or the node goes")),
        (
            0x794c_7630,
            "overlay",
            Some("it is the container's own layer: what waits is lost when the container is replaced"),
        ),
        (0x6969, "nfs", Some("locks and fdatasync depend on a server")),
        (0xff53_4d42, "cifs", Some("locks and fdatasync depend on a server")),
        (0x6573_5546, "fuse", Some("whether fdatasync keeps its promise depends on the program behind it")),
    ];
    let kind = u64::try_from(rustix::fs::statfs(dir).ok()?.f_type).ok()? & 0xffff_ffff;
    KINDS.into_iter().find(|(number, ..)| *number == kind).map(|(_, name, against)| (name, against))
}

/// A number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", count / unit, (count % unit) * 10 / unit),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_largest_unit_that_fits() {
        for (count, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"), (5 << 30, "5.0 GiB")]
        {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn a_trial_leaves_nothing_and_says_why_it_cannot_be_made() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(writable(home.path()), Writable::Yes));
        assert!(matches!(writable(&home.path().join("a/b")), Writable::Later));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
        let file = home.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(writable(&file), Writable::No(why) if why == "is not a directory"));
        assert_eq!(used(home.path()), 1);
    }
}
