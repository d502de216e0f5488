//! Finds generated payloads in captured lines: bare, or inside JSON.
//!
//! Left out: what their numbers mean. Invariant: every byte of a line is a payload, the document around it, or reported as
//! torn, altered or foreign.

use crate::origin::JSON_LOG;
use crate::stamp::{self, Reading, Stamp};

/// What stands in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A whole payload.
    Payload(Stamp),
    /// The rest of a write that was cut.
    Torn,
    /// The start of a line that was cut before any payload, if a payload was to come.
    Beginning,
    /// The right place, the wrong bytes.
    Altered,
    /// No payload at all.
    Foreign,
}

/// Reads one captured line without its line end: a bare payload, or JSON with a payload inside.
pub fn scan(line: &[u8], mut found: impl FnMut(Found)) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // No receiver can use such a document, and it may lack the name of its container.
    let is_cut_document = line.starts_with(b"{\"") && !line.ends_with(b"}");
    let mut at = 0usize;
    let mut any = false;
    while let Some(rest) = line.get(at..)
        && let Some(start) = memchr::memmem::find(rest, stamp::MAGIC)
    {
        if is_cut(rest.get(..start).unwrap_or_default(), any) {
            found(Found::Torn);
        }
        any = true;
        let (what, used) = payload(rest.get(start..).unwrap_or_default());
        at = at.saturating_add(start).saturating_add(used);
        let is_last = || memchr::memmem::find(line.get(at..).unwrap_or_default(), stamp::MAGIC).is_none();
        let is_in_cut = matches!(what, Found::Payload(_)) && is_cut_document && is_last();
        found(if is_in_cut { Found::Torn } else { what });
    }
    if !any {
        found(if is_beginning(line) { Found::Beginning } else { Found::Foreign });
    }
}

/// Whether a kill may have left this of a line, before any payload: a part of the magic, or of a JSON document.
fn is_beginning(line: &[u8]) -> bool {
    let document = || serde_json::from_slice::<serde::de::IgnoredAny>(line);
    !line.is_empty()
        && (stamp::MAGIC.starts_with(line)
            || (line.starts_with(b"{") && document().is_err_and(|error| error.is_eof())))
}

/// What stands before a payload: nothing, the start of one JSON document, or the rest of a cut write.
fn is_cut(prefix: &[u8], behind_another: bool) -> bool {
    if prefix.is_empty() {
        return false;
    }
    let whole = if prefix.starts_with(JSON_LOG) {
        // A second start means that the first document was cut.
        memchr::memmem::rfind(prefix, JSON_LOG) == Some(0)
    } else {
        prefix.starts_with(b"{\"")
    };
    behind_another || !whole
}

/// The payload at the start of `bytes`, and how many bytes it takes.
fn payload(bytes: &[u8]) -> (Found, usize) {
    // A cut payload may be followed by a whole one in the same line: it ends where the next magic stands.
    let next = bytes.get(stamp::MAGIC.len()..).and_then(|rest| memchr::memmem::find(rest, stamp::MAGIC));
    let end = next.map_or(bytes.len(), |next| next.saturating_add(stamp::MAGIC.len()));
    let own = bytes.get(..end).unwrap_or_default();
    match stamp::read(own) {
        Reading::Whole(stamp) => {
            let length = stamp.length as usize;
            let good = ends_well(own.get(length), next.is_some());
            (if good { Found::Payload(stamp) } else { Found::Altered }, length)
        }
        Reading::Torn => (Found::Torn, own.len().max(1)),
        Reading::Altered if next.is_some() => (Found::Torn, own.len().max(1)),
        Reading::Altered | Reading::Foreign => (Found::Altered, own.len()),
    }
}

/// What may stand behind a payload: nothing, the end of a JSON string, or (the write was cut there) the next document.
fn ends_well(behind: Option<&u8>, another_follows: bool) -> bool {
    match behind {
        None | Some(b'"') => true,
        Some(b'{') => another_follows,
        Some(_) => false,
    }
}
