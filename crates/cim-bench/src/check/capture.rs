//! Feeds captures to a checker: a file, a directory of log files, or a stream.
//!
//! Left out: the order of rotated files, which `cim-verify` knows.

use std::io::Read;
use std::path::Path;

use super::Checker;
use crate::error::{BenchError, Result};

/// Reads a file, or every file of a directory (not of directories in it), in the order they were written.
///
/// # Errors
/// The path cannot be read.
pub fn read_path(checker: &mut Checker, path: &Path) -> Result<()> {
    for file in cim_verify::files_of(path)? {
        let opened =
            std::fs::File::open(&file).map_err(BenchError::io(format!("open {}", file.display())))?;
        read_stream(checker, opened)?;
    }
    Ok(())
}

/// Reads lines until the end of the stream. A last line without its line end counts as a line.
///
/// # Errors
/// The stream cannot be read.
pub fn read_stream(checker: &mut Checker, stream: impl Read) -> Result<()> {
    cim_verify::for_each_line(stream, |line| checker.line(line)).map_err(BenchError::io("read the capture"))
}
