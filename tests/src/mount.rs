//! A file system for one test.
//!
//! Owns its making and unmounting. Invariant: it is unmounted when dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;

/// A small file system of its own, unmounted when dropped.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// A file system in memory with these mount options. `None` where none can be mounted, after `skipped:` was said.
    #[must_use]
    pub fn new(at: &Path, size: &str) -> Option<Self> {
        Self::of(at, &["-t", "tmpfs", "-o", &format!("{size},mode=700"), "tmpfs"])
    }

    /// A file system of the kind a node has, in a file beside it. `None` as for [`Mount::new`].
    #[must_use]
    pub fn ext4(at: &Path) -> Option<Self> {
        let image = at.with_extension("image");
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(&image).status();
        if !made.is_ok_and(|status| status.success()) {
            skip("mkfs.ext4 is not here: no file system can be made to go read-only");
            return None;
        }
        Self::of(at, &["-o", "loop", &image.display().to_string()])
    }

    fn of(at: &Path, arguments: &[&str]) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let output = Command::new("mount").args(arguments).arg(at).output();
        if output.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        skip("a file system cannot be mounted here (needs root)");
        None
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes files until no other one can be made; they are there for as long as the value is.
    #[must_use]
    pub fn use_up_inodes(&self) -> Inodes {
        let files = (0..).map(|n| self.0.join(format!("other{n}")));
        Inodes(files.take_while(|file| std::fs::write(file, b"").is_ok()).collect())
    }

    /// Mounts it again with another option.
    pub fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

/// Files that are in the way of others.
#[derive(Debug)]
pub struct Inodes(Vec<PathBuf>);

impl Drop for Inodes {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
