//! Where a captured record came from, by its text or by the name of its file.
//!
//! Left out: decoding. A name stays as it is written, escapes included. Invariant: a record without a name has the empty
//! one, never that of a neighbour.

use std::path::Path;

/// Start of a log on a JSON sink (wire contract §8.2).
pub(crate) const JSON_LOG: &[u8] = b"{\"container_name\"";
/// Start of an event (wire contract §7.1).
const JSON_EVENT: &[u8] = b"{\"eventName\"";
const LOG_CONTAINER: &[u8] = b"{\"container_name\":\"";
const EVENT_CONTAINER: &[u8] = b"\"containerId\":\"";

/// What a record is; each class is numbered on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A log.
    Log,
    /// An event.
    Event,
}

impl Class {
    /// As reports name it: the NATS subject of its records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "LOG",
            Self::Event => "EVENT",
        }
    }

    /// What its bytes say. A log as text may begin like an event.
    pub(crate) fn of_record(record: &[u8]) -> Self {
        if record.starts_with(JSON_EVENT) { Self::Event } else { Self::Log }
    }

    /// The container that a record of this class names; empty if it names none.
    pub(crate) fn container(self, record: &[u8]) -> &[u8] {
        let name = match self {
            Self::Log => record.strip_prefix(LOG_CONTAINER),
            Self::Event => {
                let at = memchr::memmem::rfind(record, EVENT_CONTAINER);
                at.and_then(|at| record.get(at.saturating_add(EVENT_CONTAINER.len())..))
            }
        };
        name.map_or(b"", string)
    }
}

/// A JSON string without its quotes, from behind the first of them.
fn string(bytes: &[u8]) -> &[u8] {
    let mut escaped = false;
    let end = bytes.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.and_then(|end| bytes.get(..end)).unwrap_or_default()
}

/// `<container_name>-<container_id>` from `<pod>_<namespace>_<container_name>-<container_id>.log`, live or rotated
/// (wire contract §8.1, §8.3). Empty for any other name.
#[must_use]
pub fn container_of_file(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = log_of_file(&name).unwrap_or_default();
    stem.splitn(3, '_').nth(2).unwrap_or_default().to_owned()
}

/// The name of the log a file belongs to, without extension and time of rotation.
pub(crate) fn log_of_file(name: &str) -> Option<&str> {
    if let Some(stem) = name.strip_suffix(".log_bkp") {
        return stem.get(..stem.len().checked_sub(ROTATION_SUFFIX)?);
    }
    name.strip_suffix(".log")
}

/// Length of `-yyyy-MM-ddTHH-mm-ss.SSS` in the name of a rotated file.
const ROTATION_SUFFIX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn of_record(record: &[u8]) -> (&'static str, &[u8]) {
        let class = Class::of_record(record);
        (class.as_str(), class.container(record))
    }

    #[test]
    fn logs_and_events_name_their_container() {
        let log = br#"{"container_name":"a\"b","log":"{\"eventName\"","kubernetes":{}}"#;
        assert_eq!(of_record(log), ("LOG", &br#"a\"b"#[..]));
        let event =
            br#"{"eventName":"E","additionalInfo":[{"name":"containerId","value":"x"}],"containerId":"c"}"#;
        assert_eq!(of_record(event), ("EVENT", &b"c"[..]));
        assert_eq!(of_record(b"plain text"), ("LOG", &b""[..]));
        assert_eq!(of_record(br#"{"container_name":"cut"#), ("LOG", &b""[..]));
    }

    #[test]
    fn files_name_their_container() {
        let of = |name: &str| container_of_file(Path::new("/x").join(name).as_path());
        assert_eq!(of("pod-1_ns_app-0-id1.log"), "app-0-id1");
        assert_eq!(of("pod-1_ns_app-0-id1-2026-01-01T00-00-00.100.log_bkp"), "app-0-id1");
        assert_eq!((of("capture"), of("é.log_bkp")), (String::new(), String::new()));
    }
}
