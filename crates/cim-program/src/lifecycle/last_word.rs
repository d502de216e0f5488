//! The last word of the process, where Kubernetes looks for it: one line of JSON in the file of `[lifecycle] termination_log`.
//!
//! Left out: the log, which says the same (`said`). The invariant: a file that is not there is not made, and a word that cannot
//! be written harms nobody.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use cim_core::StopReport;
use serde_json::{Value, json};

/// What it says.
#[must_use]
pub fn of(report: &StopReport, spilled: u64, exit_code: u8, trouble: Option<&str>) -> Value {
    let StopReport { delivered, dead_lettered, held, dropped, overdue } = *report;
    let mut word = json!({
        "exit_code": exit_code,
        "delivered": delivered,
        "held": held,
        "dropped": dropped,
        "dead_letters": dead_lettered,
        "spilled": spilled,
        "overdue": overdue,
    });
    if let (Some(trouble), Some(members)) = (trouble, word.as_object_mut()) {
        members.insert("trouble".to_owned(), trouble.into());
    }
    word
}

/// Writes it, if the file is there.
pub fn write(file: &Path, word: &Value) {
    let Ok(mut open) = OpenOptions::new().write(true).truncate(true).open(file) else { return };
    if let Err(error) = writeln!(open, "{word}") {
        tracing::debug!(file = %file.display(), %error, "the last word cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_and_never_made() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("termination-log");
        let report = StopReport { delivered: 5, dropped: 1, ..StopReport::default() };
        let word = of(&report, 1, 3, None);
        write(&file, &word);
        assert!(!file.exists());
        std::fs::write(&file, "x".repeat(4096)).unwrap();
        write(&file, &word);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), word);
    }
}
