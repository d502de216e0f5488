//! The lines of one file, in chunks.
//!
//! Invariant: the offsets of the chunks add up to the length of the file; a line longer than [`MAX_LINE`] becomes
//! several, and a last line without its newline counts.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Longest line in one record: what a client could have published.
pub(super) const MAX_LINE: u64 = 1 << 20;

/// Bytes of one chunk; the line that crosses it still belongs to it.
const CHUNK: u64 = 256 << 10;

/// Lines that follow each other in a file.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Without their newlines.
    pub lines: Vec<Vec<u8>>,
    /// First byte after them.
    pub end: u64,
}

pub(super) struct Lines {
    reader: BufReader<File>,
    at: u64,
}

impl Lines {
    pub(super) fn open(path: &Path, from: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Self { reader: BufReader::with_capacity(64 << 10, file), at: from })
    }

    /// The next lines; `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        let start = self.at;
        while self.at - start < CHUNK {
            let mut line = Vec::new();
            let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            self.at += read as u64;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            chunk.lines.push(line);
        }
        chunk.end = self.at;
        Ok(if chunk.lines.is_empty() { None } else { Some(chunk) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(path: &Path, from: u64) -> (Vec<Vec<u8>>, u64) {
        let mut lines = Lines::open(path, from).unwrap();
        let (mut all, mut end) = (Vec::new(), from);
        while let Some(chunk) = lines.next().unwrap() {
            all.extend(chunk.lines);
            end = chunk.end;
        }
        (all, end)
    }

    proptest! {
        #[test]
        fn every_byte_belongs_to_one_line(texts in proptest::collection::vec("[a-c]{0,9}", 0..40), open: bool) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let mut text: String = texts.iter().map(|line| format!("{line}\n")).collect();
            if open {
                text.push_str("end");
            }
            std::fs::write(&path, &text).unwrap();
            let (lines, end) = read(&path, 0);
            prop_assert_eq!(end, text.len() as u64);
            let want: Vec<_> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(lines, want);
        }
    }

    #[test]
    fn a_line_without_end_becomes_several() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let length = usize::try_from(MAX_LINE).unwrap() + 10;
        std::fs::write(&path, vec![b'x'; length]).unwrap();
        let (lines, end) = read(&path, 0);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [length - 10, 10]);
        assert_eq!(end, length as u64);
        assert_eq!(read(&path, MAX_LINE).0.len(), 1);
    }
}
