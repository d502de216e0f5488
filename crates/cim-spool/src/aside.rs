//! What was found in a spool directory and is not this spool's: spools of other pods, strange segments.
//!
//! Owns the directories `set-aside-…`: their names, their sizes, and how long they stay. Leaves out the decision what is
//! set aside. Invariant: setting aside deletes and overwrites nothing; only [`Spool::bound_set_aside`](crate::Spool::bound_set_aside)
//! deletes, oldest first, and only inside these directories.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::files::FileLayer;

pub(crate) const PREFIX: &str = "set-aside-";

/// How much of what was set aside stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsideLimits {
    /// Most bytes of all of it together; the files written longest ago go first.
    pub max_bytes: u64,
    /// What was set aside longer ago goes. `None`: no limit.
    pub max_age: Option<Duration>,
}

/// What [`Spool::bound_set_aside`](crate::Spool::bound_set_aside) left, and what it removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AsideUse {
    /// Bytes that stay.
    pub bytes: u64,
    /// Bytes removed because of [`AsideLimits::max_age`].
    pub too_old: u64,
    /// Bytes removed because of [`AsideLimits::max_bytes`].
    pub too_many: u64,
}

/// One directory `set-aside-…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsideReport {
    /// Its name.
    pub name: String,
    /// Bytes of all files in it.
    pub bytes: u64,
}

/// Makes a new directory for things of that epoch. Never one that exists: nothing in it is overwritten.
pub(crate) fn new_place(layer: &dyn FileLayer, dir: &Path, epoch: u64) -> io::Result<PathBuf> {
    let taken = layer.list_dirs(dir)?;
    let names = (1u64..).map(|nth| match nth {
        1 => format!("{PREFIX}{epoch:016x}"),
        nth => format!("{PREFIX}{epoch:016x}-{nth}"),
    });
    let mut free = names.filter(|name| !taken.contains(name));
    let place = dir.join(free.next().unwrap_or_default());
    layer.create_dir(&place)?;
    Ok(place)
}

/// Every directory set aside, by name.
pub(crate) fn report(layer: &dyn FileLayer, dir: &Path) -> io::Result<Vec<AsideReport>> {
    let mut names: Vec<_> =
        layer.list_dirs(dir)?.into_iter().filter(|name| name.starts_with(PREFIX)).collect();
    names.sort();
    let sized = names.into_iter().map(|name| {
        let bytes = Place::look(layer, &dir.join(&name))?.bytes();
        Ok(AsideReport { name, bytes })
    });
    sized.collect()
}

/// Removes what the limits do not allow.
pub(crate) fn bound(
    layer: &dyn FileLayer,
    dir: &Path,
    limits: AsideLimits,
    now: SystemTime,
) -> io::Result<AsideUse> {
    let mut used = AsideUse::default();
    let mut places = Vec::new();
    for name in layer.list_dirs(dir)?.into_iter().filter(|name| name.starts_with(PREFIX)) {
        let path = dir.join(name);
        let place = Place::look(layer, &path)?;
        // Its last change is its making: files are removed from the directories below.
        let age = layer.modified(&path).ok().and_then(|since| now.duration_since(since).ok());
        if limits.max_age.zip(age).is_some_and(|(max, age)| age > max) {
            used.too_old += place.remove(layer)?;
        } else {
            places.push(place);
        }
    }
    let mut bytes = places.iter().map(Place::bytes).sum::<u64>();
    let mut files: Vec<_> = places.iter().flat_map(|place| &place.files).collect();
    files.sort_by_key(|file| (file.modified, &file.path));
    for file in files {
        if bytes <= limits.max_bytes {
            break;
        }
        layer.unlink(&file.path)?;
        bytes -= file.bytes;
        used.too_many += file.bytes;
    }
    if used.too_many > 0 {
        bytes = 0;
        for place in places {
            let left = Place::look(layer, &place.path)?;
            if left.files.is_empty() {
                used.too_many += left.remove(layer)?;
            } else {
                bytes += left.bytes();
            }
        }
    }
    used.bytes = bytes;
    Ok(used)
}

struct Place {
    path: PathBuf,
    streams: Vec<PathBuf>,
    /// Of the streams.
    files: Vec<File>,
    /// Beside the streams: whose it was. They go last.
    labels: Vec<File>,
}

struct File {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

impl Place {
    fn look(layer: &dyn FileLayer, path: &Path) -> io::Result<Self> {
        let streams: Vec<_> = layer.list_dirs(path)?.into_iter().map(|name| path.join(name)).collect();
        let mut files = Vec::new();
        for stream in &streams {
            files.extend(listed(layer, stream)?);
        }
        Ok(Self { labels: listed(layer, path)?, path: path.to_owned(), streams, files })
    }

    fn bytes(&self) -> u64 {
        self.files.iter().chain(&self.labels).map(|file| file.bytes).sum()
    }

    /// Removes all of it; returns its bytes.
    fn remove(&self, layer: &dyn FileLayer) -> io::Result<u64> {
        for file in self.files.iter().chain(&self.labels) {
            layer.unlink(&file.path)?;
        }
        for stream in &self.streams {
            layer.remove_dir(stream)?;
        }
        layer.remove_dir(&self.path)?;
        Ok(self.bytes())
    }
}

fn listed(layer: &dyn FileLayer, dir: &Path) -> io::Result<Vec<File>> {
    let entries = layer.list(dir)?.into_iter().map(|entry| {
        let path = dir.join(entry.name);
        let modified = layer.modified(&path).unwrap_or(SystemTime::UNIX_EPOCH);
        File { path, bytes: entry.bytes, modified }
    });
    Ok(entries.collect())
}
