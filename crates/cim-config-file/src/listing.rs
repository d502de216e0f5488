//! What stands in the directory for one pod: keys and the files that hold them.
//!
//! Owns the shape of the directory and its bounds. Left out: contents. Invariant: a listing is of one moment of every
//! ConfigMap volume in it, and without an error there is nothing that was not seen.

use std::collections::BTreeMap;
use std::path::Path;

use cim_core::{ConfigScope, SourceError, SourceErrorKind};
use rustix::io::Errno;

use crate::fault::fault;
use crate::folder::{Folder, Stamp, Standing, parts, shown};

/// Most files.
const MAX_FILES: usize = 20_000;
/// Most bytes of all files together.
const MAX_TOTAL: u64 = 64 << 20;
/// Most bytes of a file.
pub(crate) const MAX_FILE: usize = 1 << 20;
/// Most levels below the directory of a microservice.
const MAX_DEPTH: usize = 16;
/// How often a listing is begun again because a volume was swapped under it.
const ATTEMPTS: usize = 5;
/// What a day-one document without a revision may have at its end.
const SUFFIX: &[u8] = b".json";

/// A file that holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its path below the directory.
    pub path: Vec<u8>,
    pub stamp: Stamp,
}

/// Everything that concerns one pod.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Which directory it was.
    pub place: (u64, u64),
    pub keys: BTreeMap<Vec<u8>, Holder>,
    /// Paths that hold no key, and why.
    pub skipped: BTreeMap<Vec<u8>, String>,
    total: u64,
}

/// Why a listing did not come about.
enum Failure {
    /// A volume was swapped meanwhile.
    Swapped,
    Fault(SourceError),
}

impl Listing {
    /// Looks through the directory.
    pub(crate) fn take(root: &Path, scope: &ConfigScope) -> Result<Self, SourceError> {
        for _ in 0..ATTEMPTS {
            match Self::attempt(root, scope) {
                Ok(listing) => return Ok(listing),
                Err(Failure::Swapped) => {}
                Err(Failure::Fault(error)) => return Err(error),
            }
        }
        let text = format!("{} changes faster than it can be read", root.display());
        Err(SourceError::new(SourceErrorKind::Unavailable, text))
    }

    /// Whether a key may be there although it is not listed: its file, or a directory above it, was left out.
    pub(crate) fn may_hide(&self, key: &[u8]) -> bool {
        let above =
            key.iter().enumerate().filter(|(_, byte)| **byte == b'/').filter_map(|(end, _)| key.get(..end));
        let is_left_out = |path: &[u8]| self.skipped.contains_key(path);
        above.chain([key]).any(is_left_out) || is_left_out(&[key, SUFFIX].concat())
    }

    fn attempt(root: &Path, scope: &ConfigScope) -> Result<Self, Failure> {
        let whole = |errno| Failure::Fault(fault("read the directory", root, errno));
        let folder = Folder::root(root).map_err(whole)?;
        let mut listing = Self { place: folder.place().map_err(whole)?, ..Self::default() };
        let walk = Walk { root, listing: &mut listing };
        walk.pod(&folder, scope)?;
        Ok(listing)
    }
}

struct Walk<'w> {
    root: &'w Path,
    listing: &'w mut Listing,
}

impl Walk<'_> {
    fn pod(mut self, root: &Folder, scope: &ConfigScope) -> Result<(), Failure> {
        let (namespace, microservice) = (scope.namespace.as_bytes(), scope.microservice.as_bytes());
        if parts(&[namespace, b"/", microservice].concat()).is_none_or(|parts| parts.len() != 2) {
            let text = format!("`{}` and `{}` cannot be directories", scope.namespace, scope.microservice);
            return Err(Failure::Fault(SourceError::new(SourceErrorKind::Misconfigured, text)));
        }
        for kind in [&b"change-set"[..], b"config"] {
            self.kind(root, kind, namespace, microservice)?;
        }
        Ok(())
    }

    fn kind(
        &mut self,
        root: &Folder,
        kind: &[u8],
        namespace: &[u8],
        microservice: &[u8],
    ) -> Result<(), Failure> {
        if let Some(upper) = self.below(root, kind, kind)? {
            let path = join(kind, namespace);
            if let Some(home) = self.below(&upper, namespace, &path)? {
                self.name(&home, &path, microservice, 0)?;
                if kind == b"config" {
                    self.document(&home, &path, microservice)?;
                }
                check(&home)?;
            }
            check(&upper)?;
        }
        check(root)
    }

    /// A directory, if it exists.
    fn below(&mut self, folder: &Folder, name: &[u8], path: &[u8]) -> Result<Option<Folder>, Failure> {
        match folder.look(name) {
            Ok(Standing::Folder) => self.enter(folder, name, path).map(Some),
            Ok(_) => {
                self.skip(path, "is not a directory of its own, and links are not followed");
                Ok(None)
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failure(path, errno)),
        }
    }

    /// Takes a file, or everything in a directory.
    fn name(&mut self, folder: &Folder, path: &[u8], name: &[u8], depth: usize) -> Result<(), Failure> {
        let below = join(path, name);
        match folder.look(name) {
            Ok(Standing::File(stamp)) => self.file(below.clone(), below, stamp),
            Ok(Standing::Folder) if depth == MAX_DEPTH => {
                self.skip(&below, "is a directory below too many others");
                Ok(())
            }
            Ok(Standing::Folder) => {
                let inner = self.enter(folder, name, &below)?;
                for name in inner.names().map_err(|errno| self.failure(&below, errno))? {
                    self.name(&inner, &below, &name, depth + 1)?;
                }
                check(&inner)
            }
            Ok(Standing::Other) => {
                self.skip(&below, "is neither a file nor a directory, and links are not followed");
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failure(&below, errno)),
        }
    }

    /// Takes the day-one document without a revision whose file has `.json` at its end.
    fn document(&mut self, folder: &Folder, path: &[u8], microservice: &[u8]) -> Result<(), Failure> {
        let name = [microservice, SUFFIX].concat();
        let (key, below) = (join(path, microservice), join(path, &name));
        match folder.look(&name) {
            Ok(Standing::File(_)) if self.listing.keys.contains_key(&key) => {
                self.skip(&below, "is left out, because the same without .json stands beside it");
                Ok(())
            }
            Ok(Standing::File(stamp)) => self.file(key, below, stamp),
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failure(&below, errno)),
        }
    }

    fn file(&mut self, key: Vec<u8>, path: Vec<u8>, stamp: Stamp) -> Result<(), Failure> {
        if stamp.size > MAX_FILE as u64 {
            self.skip(&path, "is larger than 1 MiB");
            return Ok(());
        }
        self.listing.total += stamp.size;
        self.listing.keys.insert(key, Holder { path, stamp });
        if self.listing.keys.len() > MAX_FILES || self.listing.total > MAX_TOTAL {
            let root = self.root.display();
            let text =
                format!("{root} holds more than {MAX_FILES} files or 64 MiB for this pod; remove old ones");
            return Err(Failure::Fault(SourceError::new(SourceErrorKind::Misconfigured, text)));
        }
        Ok(())
    }

    fn enter(&self, folder: &Folder, name: &[u8], path: &[u8]) -> Result<Folder, Failure> {
        match folder.enter(name) {
            // It was there a moment ago.
            Err(Errno::NOENT) => Err(Failure::Swapped),
            other => other.map_err(|errno| self.failure(path, errno)),
        }
    }

    fn skip(&mut self, path: &[u8], why: &str) {
        if self.listing.skipped.len() < MAX_FILES {
            self.listing.skipped.insert(path.to_vec(), why.to_owned());
        }
    }

    fn failure(&self, path: &[u8], errno: Errno) -> Failure {
        Failure::Fault(fault("look through", &shown(self.root, path), errno))
    }
}

/// What a volume held is of one moment only while it was not swapped.
fn check(folder: &Folder) -> Result<(), Failure> {
    if folder.is_current() { Ok(()) } else { Err(Failure::Swapped) }
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, b"/", name].concat()
}
