//! What is remembered of CIM's own document between runs: one small file in the spool directory.
//!
//! Owns its form. The invariants: the file is replaced whole; one that cannot be read costs the changes that the file of the
//! document does not hold yet, never the start.

use std::io;
use std::path::Path;

use cim_core::contract::Level;
use cim_core::replace_file;
use serde::{Deserialize, Serialize};

use super::held::Held;

/// Its name in the spool directory.
const FILE: &str = "own-document.json";
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored<H> {
    format: u32,
    held: H,
}

/// What an earlier run left; `None` when there is nothing, or nothing that can be read.
#[must_use]
pub fn load(spool: &Path) -> Option<Held> {
    let file = spool.join(FILE);
    let read = std::fs::read(&file).and_then(|text| {
        let stored: Stored<Held> = serde_json::from_slice(&text)?;
        match stored.format {
            FORMAT => Ok(stored.held),
            other => Err(io::Error::other(format!("format {other} is not known here"))),
        }
    });
    match read {
        Ok(held) => Some(held),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(
                file = %file.display(), %error,
                "which cim.json was in force cannot be read; the file of the document counts"
            );
            None
        }
    }
}

/// Replaces the file.
///
/// # Errors
/// When it cannot be written; the old one is still there.
pub fn save(spool: &Path, held: &Held) -> io::Result<()> {
    replace_file(&spool.join(FILE), &serde_json::to_vec(&Stored { format: FORMAT, held })?, Level::Synced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_saved_is_read_back_and_anything_else_is_nothing() {
        let spool = tempfile::tempdir().unwrap();
        assert_eq!(load(spool.path()), None);
        let patch = br#"[{"op":"add","path":"/b","value":2}]"#;
        let held = Held::by_map(None, json!({"a": 1})).patched(patch).unwrap();
        save(spool.path(), &held).unwrap();
        assert_eq!(load(spool.path()), Some(held));
        for text in ["", "{", "[]", r#"{"format":2,"held":{}}"#, r#"{"format":1,"held":7}"#] {
            std::fs::write(spool.path().join(FILE), text).unwrap();
            assert_eq!(load(spool.path()), None, "{text}");
        }
    }
}
