//! A disk in memory that forgets what was not synced, for tests of this crate and of others.
//!
//! Owns files as pairs of what is written and what is durable, a journal of names, and planned faults. Leaves out
//! permissions and links. Invariant: after [`SimFiles::crash`] nothing is there that was not written, everything
//! synced is, and between the two lies chance, driven by the seed.

mod disk;
mod stall;

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use self::{
    disk::{Change, Disk, Inode, NameChange, error, lock, missing},
    stall::Stall,
};
use crate::files::{DirEntry, DirLock, FileLayer, SpoolFile};

/// How a crash goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process dies (SIGKILL): everything written stays.
    Process,
    /// The machine dies: of un-synced writes a random part stays, one of them torn at a random byte; of un-synced
    /// names a random beginning.
    Power,
}

/// An injected error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC; a write leaves half its bytes.
    NoSpace,
    /// EIO; a write leaves half its bytes.
    Io,
    /// EFBIG; a write leaves half its bytes.
    FileTooLarge,
}

/// The simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimFiles {
    disk: Arc<Mutex<Disk>>,
    stall: Arc<Stall>,
}

struct SimFile {
    disk: Arc<Mutex<Disk>>,
    stall: Arc<Stall>,
    inode: u64,
    life: u64,
}

struct SimLock {
    disk: Arc<Mutex<Disk>>,
    dir: PathBuf,
    life: u64,
}

impl SimFiles {
    /// An empty disk; the same seed gives the same crashes.
    pub fn new(seed: u64) -> Self {
        let disk = Disk { random: seed | 1, ..Disk::default() };
        Self { disk: Arc::new(Mutex::new(disk)), stall: Arc::default() }
    }

    /// Ends the life of every open file and lock, and loses what the crash loses.
    pub fn crash(&self, crash: Crash) {
        let mut disk = lock(&self.disk);
        disk.life += 1;
        disk.locks.clear();
        disk.fault = None;
        disk.failing_syncs = 0;
        if crash == Crash::Power {
            disk.lose_power();
        }
    }

    /// Lets the `nth` changing or reading call from now (1: the next) and the `more` calls after it fail.
    pub fn fail(&self, nth: u64, more: u64, fault: Fault) {
        let mut disk = lock(&self.disk);
        let first = disk.calls + nth;
        disk.fault = Some((first, first.saturating_add(more), fault));
    }

    /// Takes back what [`fail`](Self::fail) planned.
    pub fn heal(&self) {
        lock(&self.disk).fault = None;
    }

    /// Lets every read of these bytes of that file fail with EIO, as a bad place of a device does.
    pub fn wear_out(&self, path: &Path, bytes: Range<u64>) {
        let mut disk = lock(&self.disk);
        disk.worn_out = disk.names.get(path).map(|inode| (*inode, bytes));
    }

    /// Lets the next `count` fdatasyncs fail with EIO; what they should have synced counts as lost to the device.
    pub fn fail_syncs(&self, count: u32) {
        lock(&self.disk).failing_syncs = count;
    }

    /// Lets writes to that file, and its removal, wait; `None`: what waits goes on.
    pub fn stall(&self, path: Option<&Path>) {
        self.stall.set(path);
    }

    /// How many calls wait for a file that is stalled.
    pub fn waiting(&self) -> usize {
        self.stall.waiting()
    }

    /// Limits the disk; `None`: no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.disk).capacity = bytes;
    }

    /// Sets the clock that stamps writes, as time since 1970.
    pub fn set_clock(&self, since_epoch: Duration) {
        lock(&self.disk).clock = since_epoch;
    }

    /// Calls counted so far, as [`fail`](Self::fail) counts them.
    pub fn calls(&self) -> u64 {
        lock(&self.disk).calls
    }

    /// All files, by path.
    pub fn paths(&self) -> Vec<PathBuf> {
        lock(&self.disk).names.keys().cloned().collect()
    }

    /// The content of a file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = lock(&self.disk);
        disk.names.get(path).and_then(|inode| disk.inodes.get(inode)).map(|inode| inode.live.clone())
    }

    /// Replaces or makes a file, durably; missing directories are made.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = lock(&self.disk);
        disk.make_dirs(path.parent().unwrap_or(path));
        let inode = disk.new_inode();
        let modified = disk.clock;
        disk.inodes
            .insert(inode, Inode { live: bytes.clone(), durable: bytes, modified, ..Inode::default() });
        disk.names.insert(path.to_owned(), inode);
        disk.durable_names.insert(path.to_owned(), inode);
    }

    /// Removes a file, durably.
    pub fn remove(&self, path: &Path) {
        let mut disk = lock(&self.disk);
        disk.names.remove(path);
        disk.durable_names.remove(path);
    }

    fn file(&self, disk: &Disk, inode: u64) -> Arc<dyn SpoolFile> {
        let (shared, stall) = (Arc::clone(&self.disk), Arc::clone(&self.stall));
        Arc::new(SimFile { disk: shared, stall, inode, life: disk.life })
    }
}

impl SimFile {
    /// The disk, while this handle's life lasts, and the inode's length.
    fn disk(&self) -> io::Result<(MutexGuard<'_, Disk>, u64)> {
        let disk = lock(&self.disk);
        if disk.life != self.life {
            return Err(io::Error::other("a file of an earlier life"));
        }
        let len = disk.inodes.get(&self.inode).ok_or_else(missing)?.live.len() as u64;
        Ok((disk, len))
    }
}

impl SpoolFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let path = lock(&self.disk).name_of(self.inode);
        path.inspect(|path| self.stall.pass(path));
        let (mut disk, len) = self.disk()?;
        let growth = (offset + bytes.len() as u64).saturating_sub(len);
        let planned = disk.call().err();
        let failed = planned.or_else(|| (!disk.room_for(growth)).then(|| error(Fault::NoSpace)));
        let written = if failed.is_some() { bytes.len() / 2 } else { bytes.len() };
        let part = bytes.get(..written).unwrap_or_default().to_vec();
        disk.change(self.inode, Change::Write(offset, part));
        failed.map_or(Ok(()), Err)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let (mut disk, _) = self.disk()?;
        disk.call()?;
        disk.reach(self.inode, offset, into.len())?;
        let content = &disk.inodes.get(&self.inode).ok_or_else(missing)?.live;
        let from = content.get(offset as usize..).unwrap_or_default();
        let mut read = 0;
        for (place, byte) in into.iter_mut().zip(from) {
            *place = *byte;
            read += 1;
        }
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk()?.1)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let (mut disk, _) = self.disk()?;
        disk.call()?;
        disk.change(self.inode, Change::Truncate(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut disk, _) = self.disk()?;
        disk.call()?;
        let fails = disk.failing_syncs > 0;
        disk.failing_syncs = disk.failing_syncs.saturating_sub(1);
        if let Some(inode) = disk.inodes.get_mut(&self.inode) {
            // What a failed sync should have written is never tried again: the pages count as clean.
            for change in std::mem::take(&mut inode.pending) {
                if !fails {
                    change.apply(&mut inode.durable, usize::MAX);
                }
            }
        }
        if fails { Err(error(Fault::Io)) } else { Ok(()) }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let (mut disk, have) = self.disk()?;
        disk.call()?;
        if !disk.room_for(len.saturating_sub(have)) {
            return Err(error(Fault::NoSpace));
        }
        disk.change(self.inode, Change::Truncate(len.max(have)));
        Ok(())
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = lock(&self.disk);
        if disk.life == self.life {
            disk.locks.remove(&self.dir);
        }
    }
}

impl DirLock for SimLock {
    fn holds(&self, dir: &Path) -> bool {
        let disk = lock(&self.disk);
        disk.life == self.life && disk.dirs.contains(dir)
    }
}

impl FileLayer for SimFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.call()?;
        disk.make_dirs(dir);
        Ok(())
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut disk = lock(&self.disk);
        if !disk.locks.insert(dir.to_owned()) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        Ok(Box::new(SimLock { disk: Arc::clone(&self.disk), dir: dir.to_owned(), life: disk.life }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn SpoolFile>> {
        let mut disk = lock(&self.disk);
        disk.call()?;
        if !disk.room_for(0) {
            return Err(error(Fault::NoSpace));
        }
        let dir = path.parent().unwrap_or(path).to_owned();
        if !disk.dirs.contains(&dir) {
            return Err(missing());
        }
        let inode = match disk.names.get(path).copied() {
            Some(inode) => {
                disk.change(inode, Change::Truncate(0));
                inode
            }
            None => {
                let inode = disk.new_inode();
                disk.names.insert(path.to_owned(), inode);
                disk.journal.push(NameChange { dir, remove: None, add: Some((path.to_owned(), inode)) });
                inode
            }
        };
        Ok(self.file(&disk, inode))
    }

    fn open(&self, path: &Path, _write: bool) -> io::Result<Arc<dyn SpoolFile>> {
        let mut disk = lock(&self.disk);
        disk.call()?;
        let inode = disk.names.get(path).copied().ok_or_else(missing)?;
        Ok(self.file(&disk, inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.call()?;
        if let Some(inode) = disk.names.remove(from) {
            disk.names.insert(to.to_owned(), inode);
            let dir = to.parent().unwrap_or(to).to_owned();
            let add = Some((to.to_owned(), inode));
            disk.journal.push(NameChange { dir, remove: Some(from.to_owned()), add });
            return Ok(());
        }
        if !disk.dirs.remove(from) {
            return Err(missing());
        }
        disk.make_dirs(to);
        for durable in [false, true] {
            let names = if durable { &mut disk.durable_names } else { &mut disk.names };
            *names = std::mem::take(names)
                .into_iter()
                .map(|(path, inode)| {
                    (path.strip_prefix(from).map_or(path.clone(), |rest| to.join(rest)), inode)
                })
                .collect();
        }
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.stall.pass(path);
        let mut disk = lock(&self.disk);
        disk.call()?;
        disk.names.remove(path).ok_or_else(missing)?;
        let dir = path.parent().unwrap_or(path).to_owned();
        disk.journal.push(NameChange { dir, remove: Some(path.to_owned()), add: None });
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.call()?;
        if disk.dirs.remove(dir) { Ok(()) } else { Err(missing()) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut disk = lock(&self.disk);
        disk.call()?;
        let inside = disk.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|(path, inode)| {
                let name = path.file_name()?.to_str()?.to_owned();
                Some(DirEntry { name, bytes: disk.inodes.get(inode)?.live.len() as u64 })
            })
            .collect())
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = lock(&self.disk);
        let inside = disk.dirs.iter().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.call()?;
        let (now, later) =
            std::mem::take(&mut disk.journal).into_iter().partition(|change| change.dir == dir);
        disk.journal = later;
        let now: Vec<NameChange> = now;
        for change in now {
            disk.make_durable(change);
        }
        Ok(())
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        let disk = lock(&self.disk);
        let inode = disk.names.get(path).and_then(|inode| disk.inodes.get(inode)).ok_or_else(missing)?;
        Ok(SystemTime::UNIX_EPOCH + inode.modified)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let disk = lock(&self.disk);
        Ok(disk.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.used())))
    }
}
