//! What was told of the directory so far, compared with what stands there now.
//!
//! Owns when a file counts as written whole. Left out: waiting, and numbering changes. Invariants: a content is told once;
//! a file is told only in a state that it has had for a while, so that no half of it is.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cim_core::{ConfigScope, SourceError, key_order};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::fault::fault;
use crate::folder::{Folder, Stamp, parts};
use crate::listing::{Holder, Listing, MAX_FILE};

/// How long a file has to stay as it is.
pub(crate) const SETTLE: Duration = Duration::from_millis(200);

type Digest = [u8; 32];

/// Something that is different from what was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put { key: Vec<u8>, value: Vec<u8> },
    Delete { key: Vec<u8> },
}

impl Change {
    fn key(&self) -> &[u8] {
        let (Self::Put { key, .. } | Self::Delete { key }) = self;
        key
    }
}

/// What one look at the directory brought.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// What is different, in the order in which it was written, as far as the files tell.
    pub changes: Vec<Change>,
    /// Files that hold no key, and why.
    pub skipped: BTreeMap<Vec<u8>, String>,
    /// Some files are still being written.
    pub is_unsettled: bool,
    /// Which directory it was.
    pub place: (u64, u64),
    /// What finding the files cost.
    pub cost: Duration,
}

/// Everything that was told.
#[derive(Debug, Default)]
pub(crate) struct Census {
    told: BTreeMap<Vec<u8>, (Stamp, Digest)>,
    /// Files in a state that was not told, and since when they are in it.
    fresh: BTreeMap<Vec<u8>, (Stamp, Instant)>,
    /// Files that cannot be read in their state, and why.
    refused: BTreeMap<Vec<u8>, (Stamp, String)>,
}

impl Census {
    /// Looks at the directory and remembers what is told now. Takes milliseconds per thousand files.
    ///
    /// # Errors
    /// When not everything could be seen; nothing is remembered then.
    pub(crate) fn take(&mut self, root: &Path, scope: &ConfigScope) -> Result<Round, SourceError> {
        let begun = Instant::now();
        let listing = Listing::take(root, scope)?;
        let cost = begun.elapsed();
        let mut round = Round { place: listing.place, cost, ..Round::default() };
        let is_gone = |key: &&Vec<u8>| !listing.keys.contains_key(*key) && !listing.may_hide(key);
        let gone: Vec<_> = self.told.keys().filter(is_gone).cloned().collect();
        for key in gone {
            self.told.remove(&key);
            round.changes.push(Change::Delete { key });
        }
        round.skipped = listing.skipped;
        let before = std::mem::take(self);
        self.told = before.told;
        let mut written = Vec::new();
        for (key, Holder { path, stamp }) in listing.keys {
            if self.told.get(&key).is_some_and(|(told, _)| *told == stamp) {
                continue;
            }
            if let Some((_, why)) = before.refused.get(&key).filter(|(refused, _)| *refused == stamp) {
                round.skipped.insert(path, why.clone());
                self.refused.insert(key, (stamp, why.clone()));
                continue;
            }
            let since = before.fresh.get(&key).filter(|(fresh, _)| *fresh == stamp);
            let since = since.map_or(begun, |(_, since)| *since);
            match if begun.duration_since(since) < SETTLE { None } else { read(root, &path, stamp) } {
                None => {
                    self.fresh.insert(key, (stamp, since));
                }
                Some(Err(errno)) => {
                    let why = format!("cannot be read: {}", std::io::Error::from(errno));
                    round.skipped.insert(path, why.clone());
                    self.refused.insert(key, (stamp, why));
                }
                Some(Ok(value)) => written.extend(self.tell(key, value, stamp)),
            }
        }
        // Clocks of file systems are coarse: many files may have been written at one moment of theirs.
        written
            .sort_by(|one, other| (one.0, key_order(one.1.key())).cmp(&(other.0, key_order(other.1.key()))));
        round.changes.extend(written.into_iter().map(|(_, change)| change));
        round.is_unsettled = !self.fresh.is_empty();
        Ok(round)
    }

    /// Remembers a content as told; the change, when it is another one than before.
    fn tell(&mut self, key: Vec<u8>, value: Vec<u8>, stamp: Stamp) -> Option<((i64, i64), Change)> {
        let digest = Sha256::digest(&value).into();
        let told = self.told.insert(key.clone(), (stamp, digest));
        told.is_none_or(|(_, told)| told != digest).then_some((stamp.modified, Change::Put { key, value }))
    }
}

/// Reads a file; `None` when it is not in the state it was in.
fn read(root: &Path, path: &[u8], stamp: Stamp) -> Option<Result<Vec<u8>, Errno>> {
    match find(root, path) {
        Ok((value, before, after)) => (before == stamp && after == stamp).then_some(Ok(value)),
        // It was there a moment ago; the next look tells.
        Err(Errno::NOENT) => None,
        Err(errno) => Some(Err(errno)),
    }
}

fn find(root: &Path, path: &[u8]) -> Result<(Vec<u8>, Stamp, Stamp), Errno> {
    let mut parts = parts(path).ok_or(Errno::NOENT)?;
    let name = parts.pop().ok_or(Errno::NOENT)?;
    let mut folder = Folder::root(root)?;
    for part in parts {
        folder = folder.enter(part)?;
    }
    folder.read(name, MAX_FILE)
}

/// Reads what stands under a key anywhere in the directory; `None` when no file does.
pub(crate) fn value(root: &Path, key: &str) -> Result<Option<Vec<u8>>, SourceError> {
    // Whether the directory itself is there has to be known apart from whether the key is.
    Folder::root(root).map_err(|errno| fault("read the directory", root, errno))?;
    match find(root, key.as_bytes()) {
        Ok((value, _, _)) if value.len() <= MAX_FILE => Ok(Some(value)),
        Ok(_) => Err(fault("read", &root.join(key), Errno::FBIG)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(fault("read", &root.join(std::ffi::OsStr::from_bytes(key.as_bytes())), errno)),
    }
}
