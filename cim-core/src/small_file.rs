//! Small files that are replaced whole.
//!
//! Left out: what is in them. The invariant: under its name stands either what was there before or the new content, never a part
//! of either.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::contract::Level;

/// Puts a file in the place of the one that is there, if any. It outlives this process; with [`Level::Synced`] a power cut, too.
///
/// # Errors
/// When it cannot be written; the one before is still there.
pub fn replace_file(path: &Path, content: &[u8], level: Level) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".tmp");
    let mut file = File::create(&draft)?;
    file.write_all(content)?;
    if level == Level::Synced {
        file.sync_data()?;
    }
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        for (content, level) in [("one", Level::Written), ("two", Level::Synced)] {
            replace_file(&path, content.as_bytes(), level).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace_file(&dir.path().join("no/where"), b"", Level::Written).is_err());
    }
}
