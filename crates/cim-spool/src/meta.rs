//! Whose spool a directory is: `spool.meta`, its epoch, and setting aside what belongs to somebody else.
//!
//! Leaves out the contents of streams, apart from borrowing the epoch of a segment when `spool.meta` is lost.
//! Invariant: nothing of another namespace or pod stays where it could be read as ours, and nothing is deleted.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    aside,
    error::OpenError,
    files::FileLayer,
    format::{BLOCK, Decoded, Meta, SegmentHeader, VERSION, name_hash, parse_segment_name},
    reserve::Reserve,
    spool::SetAside,
};

const META: &str = "spool.meta";
const META_BYTES: usize = 66 << 10;

/// A number nobody can guess, seeded by the system for every call.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Makes the directory ours; returns its epoch, and what was set aside.
///
/// # Errors
/// [`OpenError::NewerFormat`], [`OpenError::Foreign`], or the file operation that failed.
pub(crate) fn claim(
    layer: &Arc<dyn FileLayer>,
    dir: &Path,
    identity: &str,
    reserve: &Reserve,
) -> Result<(u64, Option<SetAside>), OpenError> {
    let path = dir.join(META);
    let found = match read_meta(layer.as_ref(), &path)? {
        Decoded::Newer(found) => return Err(OpenError::NewerFormat { path, found, supported: VERSION }),
        Decoded::Valid(meta) if meta.identity == identity => return Ok((meta.epoch, None)),
        Decoded::Valid(meta) => Some((meta.epoch, meta.identity)),
        Decoded::Damaged => match find_header(layer.as_ref(), dir)? {
            Some(header) if header.identity == name_hash(identity) => {
                write_meta(layer.as_ref(), dir, header.epoch, identity, reserve)?;
                return Ok((header.epoch, None));
            }
            Some(header) => Some((header.epoch, format!("identity {:016x}", header.identity))),
            None => None,
        },
    };
    let aside = match found {
        Some((epoch, owner)) => {
            Some(set_aside(layer.as_ref(), dir, epoch, &owner).map_err(|source| OpenError::Foreign {
                path: dir.to_owned(),
                found: owner,
                source,
            })?)
        }
        None => None,
    };
    let epoch = random_u64();
    write_meta(layer.as_ref(), dir, epoch, identity, reserve)?;
    Ok((epoch, aside))
}

/// Reads `spool.meta`; a missing one counts as damaged.
pub(crate) fn read_meta(layer: &dyn FileLayer, path: &Path) -> Result<Decoded<Meta>, OpenError> {
    let file = match layer.open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Decoded::Damaged),
        Err(error) => return Err(OpenError::io("open", path)(error)),
    };
    let mut bytes = vec![0u8; META_BYTES];
    let read = file.read_at(0, &mut bytes).map_err(OpenError::io("read", path))?;
    bytes.truncate(read);
    Ok(Meta::decode(&bytes))
}

pub(crate) fn meta_path(dir: &Path) -> PathBuf {
    dir.join(META)
}

fn write_meta(
    layer: &dyn FileLayer,
    dir: &Path,
    epoch: u64,
    identity: &str,
    reserve: &Reserve,
) -> Result<(), OpenError> {
    let bytes = Meta { epoch, identity: identity.to_owned() }.encode();
    let (path, fresh) = (dir.join(META), dir.join("spool.meta.tmp"));
    let write = || {
        let file = layer.create(&fresh)?;
        file.write_at(0, &bytes)?;
        file.sync_data()?;
        layer.rename(&fresh, &path)?;
        layer.sync_dir(dir)
    };
    reserve.with(write).map_err(OpenError::io("write", &path))
}

/// The first intact segment header in any stream.
pub(crate) fn find_header(layer: &dyn FileLayer, dir: &Path) -> Result<Option<SegmentHeader>, OpenError> {
    for name in layer.list_dirs(dir).map_err(OpenError::io("list", dir))? {
        if name.starts_with(aside::PREFIX) {
            continue;
        }
        let stream = dir.join(name);
        for entry in layer.list(&stream).map_err(OpenError::io("list", &stream))? {
            if parse_segment_name(&entry.name).is_none() {
                continue;
            }
            let path = stream.join(entry.name);
            match read_header(layer, &path) {
                Decoded::Valid(header) => return Ok(Some(header)),
                Decoded::Newer(found) => {
                    return Err(OpenError::NewerFormat { path, found, supported: VERSION });
                }
                Decoded::Damaged => {}
            }
        }
    }
    Ok(None)
}

/// Reads the header of a segment; one that cannot be read counts as damaged.
pub(crate) fn read_header(layer: &dyn FileLayer, path: &Path) -> Decoded<SegmentHeader> {
    let mut bytes = [0u8; BLOCK];
    match layer.open(path, false).and_then(|file| file.read_at(0, &mut bytes)) {
        Ok(BLOCK) => SegmentHeader::decode(&bytes),
        _ => Decoded::Damaged,
    }
}

/// Moves every stream and the meta file into a directory of their own.
fn set_aside(layer: &dyn FileLayer, dir: &Path, epoch: u64, owner: &str) -> io::Result<SetAside> {
    let place = aside::new_place(layer, dir, epoch)?;
    let mut bytes = 0;
    for name in layer.list_dirs(dir)? {
        if !name.starts_with(aside::PREFIX) {
            bytes += layer.list(&dir.join(&name))?.iter().map(|entry| entry.bytes).sum::<u64>();
            layer.rename(&dir.join(&name), &place.join(&name))?;
        }
    }
    match layer.rename(&dir.join(META), &place.join(META)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => layer.sync_dir(dir)?,
    }
    Ok(SetAside { owner: owner.to_owned(), path: place, bytes })
}
