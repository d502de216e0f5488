//! Reads captures: a file, a directory of log files, or a stream.
//!
//! Rotated files of one log are read oldest first, then the live file (wire contract §8.3: `<name>-<time>.log_bkp`,
//! `<name>.log`), so that order across a rotation is seen too. Left out: what stands in them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::documents;
use crate::origin::log_of_file;

/// Bytes of one read.
const READ_BYTES: usize = 256 * 1024;

/// A capture could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read {}", path.display())]
pub struct CaptureError {
    /// What was to be read.
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn reading(path: &Path) -> impl FnOnce(io::Error) -> CaptureError {
    |source| CaptureError { path: path.to_owned(), source }
}

/// The file, or the files of a directory (not of directories in it), in the order they were written.
///
/// # Errors
/// The path cannot be read.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    if !path.metadata().map_err(reading(path))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(reading(path))? {
        let entry = entry.map_err(reading(path))?;
        if entry.file_type().map_err(reading(path))?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort_by_cached_key(|file| place(file));
    Ok(files)
}

/// Calls `line` with every line of a stream, without its line end. A last line without one counts as a line.
///
/// # Errors
/// The stream cannot be read.
pub fn for_each_line(stream: impl Read, mut line: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(READ_BYTES, stream);
    let mut text = Vec::new();
    loop {
        text.clear();
        if reader.read_until(b'\n', &mut text)? == 0 {
            return Ok(());
        }
        line(text.strip_suffix(b"\n").unwrap_or(&text));
    }
}

/// Calls `document` with every record of a file: lines, or JSON objects one behind another without line ends, as a TCP
/// receiver gets them.
///
/// # Errors
/// The file cannot be read.
pub fn for_each_document(path: &Path, document: impl FnMut(&[u8])) -> Result<(), CaptureError> {
    let file = File::open(path).map_err(reading(path))?;
    documents::split(BufReader::with_capacity(READ_BYTES, file), document).map_err(reading(path))
}

/// Sort key: the log, then rotated files by their time, then the live file.
fn place(path: &Path) -> (String, bool, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let log = log_of_file(&name).unwrap_or(&name).to_owned();
    (log, !name.ends_with(".log_bkp"), name)
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
