//! The real disk. Owns the system calls of the spool; leaves out every decision about them.
//!
//! Invariant: files are 0600 in directories of 0700, and a file name that is a symbolic link is never followed.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags};

use crate::files::{DirEntry, DirLock, FileLayer, SpoolFile};

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

struct RealFile(File);

struct RealLock(File);

impl SpoolFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len))?)
    }
}

impl DirLock for RealLock {
    fn holds(&self, dir: &Path) -> bool {
        // A link to the directory is as good as the directory: it was opened in the same way.
        match (self.0.metadata(), fs::metadata(dir)) {
            (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
            _ => false,
        }
    }
}

impl FileLayer for RealFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let handle = open_dir(dir)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive))?;
        Ok(Box::new(RealLock(handle)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn SpoolFile>> {
        let file = options().write(true).create(true).truncate(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path, write: bool) -> io::Result<Arc<dyn SpoolFile>> {
        Ok(Arc::new(RealFile(options().write(write).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            // A file may vanish between the listing and the look at it.
            if let (Ok(name), Ok(data)) = (entry.file_name().into_string(), entry.metadata()) {
                found.push(DirEntry { name, bytes: data.len() });
            }
        }
        Ok(found)
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let (true, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
                found.push(name);
            }
        }
        Ok(found)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        open_dir(dir)?.sync_all()
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        fs::symlink_metadata(path)?.modified()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stats = rustix::fs::statvfs(dir)?;
        Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600).custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits() as i32);
    options
}

fn open_dir(dir: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::DIRECTORY.bits() as i32).open(dir)
}
