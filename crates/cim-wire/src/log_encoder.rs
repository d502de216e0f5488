//! Log lines as sinks write them (wire contract §8.2).
//!
//! Owns the two record formats; leaves out separators and file names. Invariant: the bytes equal the original's,
//! except where its toolchain wrote `\b` and `\f` for `\u0008` and `\u000c`.

use crate::{Log, json};

/// Who the lines come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogContext {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
}

/// The form of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `{"container_name":…,"log":…,"kubernetes":{…}}`.
    #[default]
    Json,
    /// The text alone.
    Text,
}

/// Turns lines into records; what is the same for every line is made once.
#[derive(Debug, Clone)]
pub struct LogEncoder {
    format: LogFormat,
    suffix: Vec<u8>,
}

impl LogEncoder {
    /// An encoder for lines of one pod.
    #[must_use]
    pub fn new(context: &LogContext, format: LogFormat) -> Self {
        let mut suffix = b"\",\"kubernetes\":{\"namespace_name\":".to_vec();
        json::push_string(context.namespace.as_bytes(), &mut suffix);
        suffix.extend_from_slice(b",\"pod_name\":");
        json::push_string(context.pod.as_bytes(), &mut suffix);
        suffix.extend_from_slice(b"}}");
        Self { format, suffix }
    }

    /// Appends the record of `log`, without a separator.
    #[inline]
    pub fn encode(&self, log: &Log<'_>, out: &mut Vec<u8>) {
        match self.format {
            LogFormat::Text => out.extend_from_slice(log.text()),
            LogFormat::Json => {
                out.extend_from_slice(b"{\"container_name\":\"");
                json::push_escaped(&log.container_name, out);
                out.extend_from_slice(b"\",\"log\":\"");
                json::push_escaped(log.text(), out);
                out.extend_from_slice(&self.suffix);
            }
        }
    }
}
