//! The only place that writes to standard output for people and programs.
//!
//! The invariant: a reader that went away is no error of ours.

use std::io::{self, Write};

use serde_json::Value;

/// Writes a text, ending its last line.
pub(super) fn text(text: &str) {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(io::stdout().lock(), "{text}{end}");
}

/// Writes one JSON document.
pub(super) fn document(document: &Value) {
    text(&format!("{document:#}"));
}

/// Tells why a command failed, on standard error.
pub(super) fn complaint(what: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {what}");
}
