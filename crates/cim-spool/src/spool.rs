//! A spool directory: its lock, its owner, and the streams inside.
//!
//! Leaves out the contents of a stream. Invariant: while a [`Spool`] or one of its streams lives, no other process
//! has the directory; the lock dies with the process, so none is ever stale.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    aside::{self, AsideLimits, AsideUse},
    error::OpenError,
    files::{DirLock, FileLayer},
    format::name_hash,
    meta,
    recovery::{self, Recovery},
    reserve::Reserve,
    stream::Stream,
};

/// Pause before a lock that somebody holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// How to open a spool directory.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// The directory; made with mode 0700 when it does not exist.
    pub dir: PathBuf,
    /// Size of the file that is given up when the disk is full, so that cursors can be saved. 0: none.
    pub reserve_bytes: u64,
    /// `<namespace>/<pod>`: whose records these are. A spool of another identity is set aside, not read.
    pub identity: String,
    /// How long the lock is waited for when somebody holds it, as others do for a moment: who looks for spools of dead pods.
    pub patience: Duration,
}

impl SpoolOptions {
    /// Options with a reserve of 1 MiB, without waiting for the lock.
    pub fn new(dir: impl Into<PathBuf>, identity: impl Into<String>) -> Self {
        let patience = Duration::ZERO;
        Self { dir: dir.into(), reserve_bytes: 1 << 20, identity: identity.into(), patience }
    }
}

/// How to open one stream of a spool.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// Name of its subdirectory: 1 to 64 of `A-Z a-z 0-9 _ - .`, not starting with a dot.
    pub name: &'static str,
    /// A new segment is begun at this size, in bytes. Space comes back in whole segments, so at most a quarter of
    /// `max_bytes` is used; at least 1 KiB.
    pub segment_bytes: u64,
    /// Limit of all segments together, in bytes.
    pub max_bytes: u64,
    /// Whether saved cursors take part in [`Stream::begin_sync`], and are synced before a segment is removed.
    /// Without it a power cut may give a consumer's position, and sequences after the last synced one, out again.
    pub cursor_sync: bool,
    /// Segments whose last write is older are shed by [`Stream::enforce_age`].
    pub max_age: Option<Duration>,
}

impl StreamOptions {
    /// Options without age limit, and cursors that are written but not synced.
    pub fn new(name: &'static str, segment_bytes: u64, max_bytes: u64) -> Self {
        Self { name, segment_bytes, max_bytes, cursor_sync: false, max_age: None }
    }
}

/// What was found of another namespace or pod, and moved out of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Whose it is.
    pub owner: String,
    /// Where it is now.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// An open, locked spool directory.
pub struct Spool {
    home: Home,
    set_aside: Option<SetAside>,
}

/// What the streams of a spool have in common.
#[derive(Clone)]
pub(crate) struct Home {
    pub layer: Arc<dyn FileLayer>,
    pub dir: PathBuf,
    pub lock: Arc<dyn DirLock>,
    pub epoch: u64,
    pub identity: u64,
    pub reserve: Arc<Reserve>,
}

impl Spool {
    /// Opens the directory, making it when needed, and takes its lock. Reads a few small files only. Blocks for
    /// [`SpoolOptions::patience`] at most when another process has the lock.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it, [`OpenError::NewerFormat`] when a newer program wrote it
    /// (nothing is changed then), [`OpenError::Foreign`] when another pod's spool cannot be moved away, else the
    /// failed file operation.
    pub fn open(layer: Arc<dyn FileLayer>, options: SpoolOptions) -> Result<Self, OpenError> {
        let SpoolOptions { dir, reserve_bytes, identity, patience } = options;
        let lock = lock(layer.as_ref(), &dir, Instant::now() + patience)?;
        let reserve = Arc::new(Reserve::new(Arc::clone(&layer), dir.join("reserve"), reserve_bytes));
        let (epoch, set_aside) = meta::claim(&layer, &dir, &identity, &reserve)?;
        reserve.restore();
        let identity = name_hash(&identity);
        Ok(Self { home: Home { layer, dir, lock: Arc::from(lock), epoch, identity, reserve }, set_aside })
    }

    /// Random number of this spool: made with the directory, the same over restarts.
    pub fn epoch(&self) -> u64 {
        self.home.epoch
    }

    /// The spool directory.
    pub fn dir(&self) -> &Path {
        &self.home.dir
    }

    /// What belonged to another namespace or pod when the spool was opened.
    pub fn set_aside(&self) -> Option<&SetAside> {
        self.set_aside.as_ref()
    }

    /// Removes what was set aside, in this run or earlier, beyond the limits.
    ///
    /// # Errors
    /// The first file operation that failed; what was removed before stays removed.
    pub fn bound_set_aside(&self, limits: AsideLimits, now: SystemTime) -> io::Result<AsideUse> {
        aside::bound(self.home.layer.as_ref(), &self.home.dir, limits, now)
    }

    /// Whether the directory that was locked still has its name. False when it was deleted, replaced or unmounted:
    /// then drop the spool with its streams, open it again, and append again what is still in memory.
    pub fn is_present(&self) -> bool {
        self.home.lock.holds(&self.home.dir)
    }

    /// Bytes the disk has left.
    ///
    /// # Errors
    /// The system's error.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.home.layer.free_bytes(&self.home.dir)
    }

    /// Opens a stream and recovers it: reads the headers of all segments, scans the last one, cuts a torn tail.
    ///
    /// # Errors
    /// [`OpenError::Name`], [`OpenError::NewerFormat`] (nothing is changed then), else the failed file operation.
    /// Damage is not an error.
    pub fn stream(&mut self, options: StreamOptions) -> Result<(Stream, Recovery), OpenError> {
        check_name(options.name)?;
        recovery::recover(self.home.clone(), options)
    }
}

/// Makes the directory and takes its lock. Who takes spools of dead pods away may do so in between: then another one is made.
fn lock(layer: &dyn FileLayer, dir: &Path, until: Instant) -> Result<Box<dyn DirLock>, OpenError> {
    loop {
        match layer.create_dir(dir) {
            // It was there, and was taken away before it could be looked at.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && Instant::now() < until => {
                thread::sleep(TRY_AGAIN);
                continue;
            }
            made => made.map_err(OpenError::io("create", dir))?,
        }
        match layer.lock_dir(dir) {
            Ok(lock) if lock.holds(dir) => return Ok(lock),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound) => {}
            Err(error) => return Err(OpenError::io("lock", dir)(error)),
        }
        if Instant::now() >= until {
            return Err(OpenError::Locked { path: dir.to_owned() });
        }
        thread::sleep(TRY_AGAIN);
    }
}

/// Names become file names: nothing that could leave the directory or hide in it.
pub(crate) fn check_name(name: &str) -> Result<(), OpenError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let usable = (1..=64).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('.')
        && !name.starts_with(aside::PREFIX);
    if usable { Ok(()) } else { Err(OpenError::Name { name: name.to_owned() }) }
}
