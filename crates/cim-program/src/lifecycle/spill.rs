//! Records that are not delivered when the time is over, as lines that `cim replay` reads.
//!
//! A line is `cim-spill1 <class> <checksum> <record>`: `L` for logs or `E` for events, the CRC32C of the record in eight
//! hexadecimal digits, and the record as the queue stored it, in base64. It may stand anywhere in a longer line, because
//! container runtimes and log shippers put things around what a container writes. Left out: where lines go. The invariant: what is
//! read back is exactly what was written, or is told to be damaged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cim_core::Class;

/// What a line is known by.
const MARK: &str = "cim-spill1 ";
/// Container under which the lines go to a sink.
pub const CONTAINER: &str = "cim-spill";

/// A record and its class.
pub type Spilled = (Class, Vec<u8>);

/// A line that was marked and cannot be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a spilled record is cut or damaged")]
pub struct Damaged;

/// The line of a record, without its end.
#[must_use]
pub fn line(class: Class, record: &[u8]) -> String {
    let class = match class {
        Class::Log => 'L',
        Class::Event => 'E',
    };
    format!("{MARK}{class} {:08x} {}", crc32c::crc32c(record), STANDARD.encode(record))
}

/// The record in a line; `None` where none is marked.
///
/// # Errors
/// [`Damaged`] when there is one that cannot be read.
pub fn read(line: &str) -> Option<Result<Spilled, Damaged>> {
    let (_, rest) = line.split_once(MARK)?;
    let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric() && !['+', '/', '='].contains(&c));
    let (class, checksum, record) = (words.next(), words.next(), words.next());
    let class = match class {
        Some("L") => Class::Log,
        Some("E") => Class::Event,
        _ => return Some(Err(Damaged)),
    };
    let record = record.and_then(|record| STANDARD.decode(record).ok());
    let checksum = checksum.and_then(|checksum| u32::from_str_radix(checksum, 16).ok());
    let intact = record.filter(|record| Some(crc32c::crc32c(record)) == checksum);
    Some(intact.map(|record| (class, record)).ok_or(Damaged))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back_whatever_stands_around_it(record: Vec<u8>, is_log: bool) {
            let class = if is_log { Class::Log } else { Class::Event };
            let line = line(class, &record);
            for (before, after) in [("", ""), ("2026-01-01T00:00:00Z stdout F ", ""), ("{\"log\":\"", "\\n\"}"), ("", "\r")] {
                let found = read(&format!("{before}{line}{after}"));
                prop_assert_eq!(found, Some(Ok((class, record.clone()))));
            }
        }

        #[test]
        fn a_line_that_is_cut_or_changed_is_damaged(record in proptest::collection::vec(any::<u8>(), 1..100), at: usize) {
            let line = line(Class::Log, &record);
            let at = MARK.len() + at % (line.len() - MARK.len());
            prop_assert_eq!(read(&line[..at]), Some(Err(Damaged)));
        }

        #[test]
        fn any_line_is_read_without_panic(line: String) {
            let _ = read(&line);
            let _ = read(&format!("{MARK}{line}"));
        }
    }

    #[test]
    fn other_lines_are_left_alone() {
        assert_eq!(read("level=info stopped delivered=5"), None);
        assert_eq!(read(""), None);
    }
}
