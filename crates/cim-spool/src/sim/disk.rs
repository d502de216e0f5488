//! The state of a simulated disk: what is written, what is durable, what the next crash may take.
//!
//! Leaves out the file operations. Invariant: `durable` only ever holds what was written at some time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Fault;

#[derive(Default)]
pub(super) struct Disk {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) durable_names: BTreeMap<PathBuf, u64>,
    pub(super) journal: Vec<NameChange>,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Handles of an earlier life are dead.
    pub(super) life: u64,
    pub(super) next_inode: u64,
    pub(super) calls: u64,
    pub(super) fault: Option<(u64, u64, Fault)>,
    /// Bytes of an inode that cannot be read.
    pub(super) worn_out: Option<(u64, Range<u64>)>,
    pub(super) failing_syncs: u32,
    pub(super) capacity: Option<u64>,
    pub(super) clock: Duration,
    pub(super) random: u64,
}

#[derive(Default)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) pending: Vec<Change>,
    pub(super) modified: Duration,
}

#[derive(Clone)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

pub(super) struct NameChange {
    pub(super) dir: PathBuf,
    pub(super) remove: Option<PathBuf>,
    pub(super) add: Option<(PathBuf, u64)>,
}

pub(super) fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::NoSpace => io::Error::from(io::ErrorKind::StorageFull),
        Fault::Io => io::Error::from_raw_os_error(5),
        Fault::FileTooLarge => io::Error::from(io::ErrorKind::FileTooLarge),
    }
}

pub(super) fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

/// Writes `bytes` at `offset`, with zeros before it where the file was shorter.
pub(super) fn overwrite(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = offset as usize;
    if content.len() < start + bytes.len() {
        content.resize(start + bytes.len(), 0);
    }
    for (place, byte) in content.iter_mut().skip(start).zip(bytes) {
        *place = *byte;
    }
}

impl Change {
    /// Applies all of it, or the first `limit` bytes.
    pub(super) fn apply(&self, content: &mut Vec<u8>, limit: usize) {
        match self {
            Self::Write(offset, bytes) => {
                overwrite(content, *offset, bytes.get(..limit.min(bytes.len())).unwrap_or_default());
            }
            Self::Truncate(len) => content.resize(*len as usize, 0),
        }
    }
}

impl Disk {
    pub(super) fn chance(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    pub(super) fn lose_power(&mut self) {
        let kept = self.chance(self.journal.len() as u64 + 1) as usize;
        for change in std::mem::take(&mut self.journal).into_iter().take(kept) {
            self.make_durable(change);
        }
        self.names = self.durable_names.clone();
        let mut inodes = std::mem::take(&mut self.inodes);
        for inode in inodes.values_mut() {
            let pending = std::mem::take(&mut inode.pending);
            let whole = self.chance(pending.len() as u64 + 1) as usize;
            // Every other time pages reach the disk in no order.
            let unordered = self.chance(2) == 0;
            let mut content = std::mem::take(&mut inode.durable);
            for (index, change) in pending.iter().enumerate() {
                if index < whole || (index > whole && unordered && self.chance(2) == 0) {
                    change.apply(&mut content, usize::MAX);
                } else if let (true, Change::Write(_, bytes)) = (index == whole, change) {
                    let torn = self.chance(bytes.len() as u64 + 1) as usize;
                    change.apply(&mut content, torn);
                }
            }
            inode.live = content.clone();
            inode.durable = content;
        }
        self.inodes = inodes;
    }

    pub(super) fn make_durable(&mut self, change: NameChange) {
        if let Some(path) = change.remove {
            self.durable_names.remove(&path);
        }
        if let Some((path, inode)) = change.add {
            self.durable_names.insert(path, inode);
        }
    }

    pub(super) fn new_inode(&mut self) -> u64 {
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, Inode { modified: self.clock, ..Inode::default() });
        self.next_inode
    }

    pub(super) fn make_dirs(&mut self, dir: &Path) {
        self.dirs.extend(dir.ancestors().map(Path::to_owned));
    }

    /// Counts a call; the planned fault, when it is its turn.
    pub(super) fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.fault {
            Some((first, last, fault)) if (first..=last).contains(&self.calls) => Err(error(fault)),
            _ => Ok(()),
        }
    }

    /// EIO when a read of these bytes touches the place that is worn out.
    pub(super) fn reach(&self, inode: u64, offset: u64, len: usize) -> io::Result<()> {
        match &self.worn_out {
            Some((worn, bytes))
                if *worn == inode && offset < bytes.end && bytes.start < offset + len as u64 =>
            {
                Err(error(Fault::Io))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn name_of(&self, inode: u64) -> Option<PathBuf> {
        self.names.iter().find(|(_, named)| **named == inode).map(|(path, _)| path.clone())
    }

    pub(super) fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|inode| self.inodes.get(inode))
            .map(|inode| inode.live.len() as u64)
            .sum()
    }

    pub(super) fn room_for(&self, growth: u64) -> bool {
        self.capacity.is_none_or(|capacity| self.used() + growth <= capacity)
    }

    pub(super) fn change(&mut self, inode: u64, change: Change) {
        let clock = self.clock;
        if let Some(inode) = self.inodes.get_mut(&inode) {
            change.apply(&mut inode.live, usize::MAX);
            inode.pending.push(change);
            inode.modified = clock;
        }
    }
}
