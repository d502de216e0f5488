//! Feeds captures to a checker: a file, a directory of log files, or a stream.
//!
//! Rotated files of one log are read oldest first, then the live file (wire contract §8.3: `<name>-<time>.log_bkp`,
//! `<name>.log`), so that order across a rotation is checked too.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::Checker;
use crate::error::{BenchError, Result};

/// Bytes of one read.
const READ_BYTES: usize = 256 * 1024;
/// Length of `-yyyy-MM-ddTHH-mm-ss.SSS` in the name of a rotated file.
const ROTATION_SUFFIX: usize = 24;

/// Reads a file, or every file of a directory (not of directories in it), in the order they were written.
///
/// # Errors
/// The path cannot be read.
pub fn read_path(checker: &mut Checker, path: &Path) -> Result<()> {
    for file in files_of(path)? {
        let opened = File::open(&file).map_err(BenchError::io(format!("open {}", file.display())))?;
        read_stream(checker, opened)?;
    }
    Ok(())
}

/// Reads lines until the end of the stream. A last line without its line end counts as a line.
///
/// # Errors
/// The stream cannot be read.
pub fn read_stream(checker: &mut Checker, stream: impl Read) -> Result<()> {
    let mut reader = BufReader::with_capacity(READ_BYTES, stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = reader.read_until(b'\n', &mut line).map_err(BenchError::io("read the capture"))?;
        if count == 0 {
            return Ok(());
        }
        checker.line(line.strip_suffix(b"\n").unwrap_or(&line));
    }
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("read {}", path.display());
    if !path.metadata().map_err(BenchError::io(failed()))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(BenchError::io(failed()))? {
        let entry = entry.map_err(BenchError::io(failed()))?;
        if entry.file_type().map_err(BenchError::io(failed()))?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort_by_cached_key(|file| place(file));
    Ok(files)
}

/// Sort key: the log, then rotated files by their time, then the live file.
fn place(path: &Path) -> (String, bool, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(stem) = name.strip_suffix(".log_bkp") {
        let log = stem.get(..stem.len().saturating_sub(ROTATION_SUFFIX)).unwrap_or(stem).to_owned();
        return (log, false, name);
    }
    (name.strip_suffix(".log").unwrap_or(&name).to_owned(), true, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_come_before_the_live_one() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "p_n_a-1-2026-01-01T00-00-00.100.log_bkp",
            "p_n_a-1-2026-01-01T00-00-00.200.log_bkp",
            "p_n_a-1.log",
            "p_n_a-10.log",
        ];
        for name in names.iter().rev() {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        std::fs::create_dir(dir.path().join(".cim")).unwrap();
        let found = files_of(dir.path()).unwrap();
        let found: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(found, names);
    }
}
