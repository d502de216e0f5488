//! A directory as a descriptor, with the data of a ConfigMap volume if it is one.
//!
//! Owns resolving names. Left out: what files mean. Invariant: a name is resolved against a descriptor and without following
//! a link, but for the two links of a ConfigMap volume, which both stay in the directory; so nothing outside of it is
//! reached.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The link of a ConfigMap volume to what is valid now.
const DATA: &str = "..data";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Opens no pipe that blocks, and no link.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Which file it is, and which state of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    place: (u64, u64),
    pub size: u64,
    /// Seconds and nanoseconds.
    pub modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the width of these members differs between platforms"
    )]
    fn of(stat: &Stat) -> Self {
        Self {
            place: place(stat),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Folder,
    File(Stamp),
    /// A link that leads elsewhere, a pipe, a device.
    Other,
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Folder {
    descriptor: OwnedFd,
    /// Name and directory of the data, in a ConfigMap volume.
    data: Option<(Vec<u8>, OwnedFd)>,
}

impl Folder {
    /// Opens the directory at a path of the operator's, who may use links in it.
    pub(crate) fn root(path: &Path) -> Result<Self, Errno> {
        rustix::fs::open(path, DIRECTORY, Mode::empty()).map(Self::of)
    }

    fn of(descriptor: OwnedFd) -> Self {
        let data = data_name(&descriptor).and_then(|name| {
            let flags = DIRECTORY | OFlags::NOFOLLOW;
            let data = rustix::fs::openat(&descriptor, name.as_slice(), flags, Mode::empty()).ok()?;
            Some((name, data))
        });
        Self { descriptor, data }
    }

    /// Which directory it is.
    pub(crate) fn place(&self) -> Result<(u64, u64), Errno> {
        rustix::fs::fstat(&self.descriptor).map(|stat| place(&stat))
    }

    /// Whether the data is still that of the time of opening.
    pub(crate) fn is_current(&self) -> bool {
        data_name(&self.descriptor).as_deref() == self.data.as_ref().map(|(name, _)| name.as_slice())
    }

    /// The names in it, but for those that begin with a dot.
    pub(crate) fn names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.descriptor)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !name.starts_with(b".") {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    /// What stands under a name.
    pub(crate) fn look(&self, name: &[u8]) -> Result<Standing, Errno> {
        let stat = rustix::fs::statat(self.home(name)?, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Standing::Folder,
            FileType::RegularFile => Standing::File(Stamp::of(&stat)),
            _ => Standing::Other,
        })
    }

    /// A directory in it.
    pub(crate) fn enter(&self, name: &[u8]) -> Result<Self, Errno> {
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        rustix::fs::openat(self.home(name)?, name, flags, Mode::empty()).map(Self::of)
    }

    /// A file in it, whole if it has no more than `limit` bytes, and its state before and after it was read.
    pub(crate) fn read(&self, name: &[u8], limit: usize) -> Result<(Vec<u8>, Stamp, Stamp), Errno> {
        let file = rustix::fs::openat(self.home(name)?, name, FILE, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::ISDIR);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stat.st_size).unwrap_or(0).min(limit) + 1);
        let mut piece = [0; 16 << 10];
        while bytes.len() <= limit {
            match rustix::io::read(&file, &mut piece) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        let after = rustix::fs::fstat(&file)?;
        Ok((bytes, Stamp::of(&stat), Stamp::of(&after)))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// The directory in which the name really stands: this one, or its data when the name is a link of a ConfigMap volume.
    fn home(&self, name: &[u8]) -> Result<BorrowedFd<'_>, Errno> {
        let Some((_, data)) = &self.data else { return Ok(self.descriptor.as_fd()) };
        match rustix::fs::readlinkat(&self.descriptor, name, Vec::new()) {
            Ok(target) => {
                let inside = target.to_bytes().strip_prefix(DATA.as_bytes());
                let is_ours = inside.and_then(|rest| rest.strip_prefix(b"/")) == Some(name);
                Ok(if is_ours { data.as_fd() } else { self.descriptor.as_fd() })
            }
            Err(Errno::INVAL) => Ok(self.descriptor.as_fd()),
            Err(error) => Err(error),
        }
    }
}

/// Where the data of a ConfigMap volume is: one name in the same directory that begins with two dots.
fn data_name(descriptor: &OwnedFd) -> Option<Vec<u8>> {
    let target = rustix::fs::readlinkat(descriptor, DATA, Vec::new()).ok()?.into_bytes();
    let is_inside = target.starts_with(b"..") && target.len() > 2 && !target.contains(&b'/');
    is_inside.then_some(target)
}

#[allow(clippy::useless_conversion, reason = "the width of these members differs between platforms")]
fn place(stat: &Stat) -> (u64, u64) {
    (u64::from(stat.st_dev), u64::from(stat.st_ino))
}

/// The parts of a key that can be a path in the directory; `None` when one cannot be a name there.
pub(crate) fn parts(key: &[u8]) -> Option<Vec<&[u8]>> {
    let parts: Vec<_> = key.split(|byte| *byte == b'/').collect();
    let is_name = |part: &&[u8]| !part.is_empty() && !part.starts_with(b".") && !part.contains(&0);
    parts.iter().all(is_name).then_some(parts)
}

/// The path as people read it.
pub(crate) fn shown(root: &Path, path: &[u8]) -> std::path::PathBuf {
    root.join(OsStr::from_bytes(path))
}
