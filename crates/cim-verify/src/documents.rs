//! Cuts a byte stream into records: JSON objects one behind another, with or without line ends, or lines of text.
//!
//! Left out: what is in them. Invariant: no byte is lost; a line end always ends a record, because compact JSON has none
//! inside, so a damaged object spoils its own line at most.

use std::io::{self, BufRead};

/// Longest record; longer ones are cut there.
const LONGEST: usize = 64 << 20;

/// Where in a record the next byte stands.
#[derive(Debug, Default)]
struct Place {
    /// Open braces; 0 before an object and in text.
    depth: u32,
    in_string: bool,
    escaped: bool,
    text: bool,
}

impl Place {
    /// Takes one byte; says whether the record ends with it.
    fn step(&mut self, byte: u8) -> bool {
        if byte == b'\n' {
            return true;
        }
        if self.text {
            return false;
        }
        if self.in_string {
            self.in_string = self.escaped || byte != b'"';
            self.escaped = byte == b'\\' && !self.escaped;
            return false;
        }
        match byte {
            b'{' => self.depth = self.depth.saturating_add(1),
            b'}' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            b'"' if self.depth > 0 => self.in_string = true,
            _ if self.depth == 0 && !byte.is_ascii_whitespace() => self.text = true,
            _ => {}
        }
        false
    }
}

/// Calls `found` with every record of the stream, without line ends; empty ones are left out.
pub(crate) fn split(mut stream: impl BufRead, mut found: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut record, mut place) = (Vec::new(), Place::default());
    loop {
        let piece = match stream.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            piece => piece?,
        };
        let length = piece.len();
        let mut from = 0;
        for (at, byte) in piece.iter().enumerate() {
            let grown = record.len().saturating_add(at.saturating_sub(from));
            if place.step(*byte) || grown >= LONGEST {
                let end = at.saturating_add(1);
                record.extend_from_slice(piece.get(from..end).unwrap_or_default());
                tell(&record, &mut found);
                record.clear();
                place = Place::default();
                from = end;
            }
        }
        record.extend_from_slice(piece.get(from..).unwrap_or_default());
        if length == 0 {
            tell(&record, &mut found);
            return Ok(());
        }
        stream.consume(length);
    }
}

fn tell(record: &[u8], found: &mut impl FnMut(&[u8])) {
    let record = record.trim_ascii();
    if !record.is_empty() {
        found(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn records(stream: &str) -> Vec<String> {
        let mut all = Vec::new();
        for capacity in [1, 3, 4096] {
            let mut found = Vec::new();
            let reader = BufReader::with_capacity(capacity, stream.as_bytes());
            split(reader, |record| found.push(String::from_utf8(record.to_vec()).unwrap())).unwrap();
            all.push(found);
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "reads of another size cut elsewhere");
        all.remove(0)
    }

    #[test]
    fn objects_are_cut_with_and_without_line_ends() {
        let object = r#"{"a":{"b":"}{\"\\"},"c":"\n"}"#;
        assert_eq!(records(&format!("{object}{object}\n{object}\n\n  {object}")), [object; 4]);
    }

    #[test]
    fn text_is_cut_at_line_ends_and_a_broken_object_ends_with_its_line() {
        assert_eq!(records("one {two}\nthree\n"), ["one {two}", "three"]);
        assert_eq!(records("{\"a\":\"cut\n{\"b\":1}"), ["{\"a\":\"cut", "{\"b\":1}"]);
    }
}
