//! What a topic holds, as kcat reads it.
//!
//! Owns the reading. Left out: what is expected. Invariant: the reader shares no code with the program under test, and
//! lengths, not separators, divide what it prints.

use std::process::Command;

use super::Kafka;

/// For each record a line `partition offset time length-of-key length-of-value headers`, then key and value.
const FORMAT: &str = "%p %o %T %K %S %h\\n%k%s\\n";

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: usize,
    /// Its offset there.
    pub offset: u64,
    /// Its time, milliseconds since 1970.
    pub time: i64,
    /// Its key; `None`: no key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in their order.
    pub headers: Vec<(String, String)>,
}

impl Record {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The value as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Kafka {
    /// Everything in a topic now, each partition in its order.
    #[must_use]
    pub fn records(&self, topic: &str) -> Vec<Record> {
        let mut command = Command::new("kcat");
        command.args([
            "-C",
            "-q",
            "-e",
            "-o",
            "beginning",
            "-b",
            &self.bootstrap(),
            "-t",
            topic,
            "-f",
            FORMAT,
        ]);
        let output = command.output().expect("kcat runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kcat -t {topic}: {errors}");
        let mut rest = output.stdout.as_slice();
        let mut records = Vec::new();
        while !rest.is_empty() {
            records.push(record(&mut rest).unwrap_or_else(|| panic!("not what kcat prints: {rest:?}")));
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

fn record(rest: &mut &[u8]) -> Option<Record> {
    let line = rest.split(|byte| *byte == b'\n').next()?;
    *rest = rest.get(line.len() + 1..)?;
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.splitn(6, ' ');
    let partition = fields.next()?.parse().ok()?;
    let offset = fields.next()?.parse().ok()?;
    let time = fields.next()?.parse().ok()?;
    let lengths: [i64; 2] = [fields.next()?.parse().ok()?, fields.next()?.parse().ok()?];
    let headers = fields.next()?.split(',').filter_map(|header| header.split_once('='));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let key = bytes(rest, lengths[0])?;
    let value = bytes(rest, lengths[1])?;
    *rest = rest.strip_prefix(b"\n")?;
    Some(Record { partition, offset, time, key, value, headers })
}

/// So many bytes; a negative length is an absent value.
fn bytes(rest: &mut &[u8], length: i64) -> Option<Option<Vec<u8>>> {
    let Ok(length) = usize::try_from(length) else { return Some(None) };
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(Some(taken.to_vec()))
}
