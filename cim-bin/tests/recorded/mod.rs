//! Folders of recorded cases: inputs, a line `--- expected`, and the outcome.
//!
//! Owns comparing and rewriting (`CIM_UPDATE_GOLDEN=1`). Left out: what inputs are, and what they lead to.

use std::fmt::Write;
use std::path::Path;

/// Holds every `*.txt` of a folder below `tests/golden` against what its inputs lead to. There must be at least so many.
pub fn as_recorded(folder: &str, least: usize, outcome: impl Fn(&str) -> String) {
    #[allow(clippy::disallowed_methods, reason = "the documented switch of this test")]
    let update = std::env::var_os("CIM_UPDATE_GOLDEN").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(files.len() >= least, "the folder with the cases is nearly empty");
    let mut wrong = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (inputs, expected) = text.split_once("--- expected\n").expect("a case has `--- expected`");
        let found = outcome(inputs);
        if found == expected {
            continue;
        }
        if update {
            std::fs::write(&file, format!("{inputs}--- expected\n{found}")).unwrap();
        }
        writeln!(wrong, "{}\nexpected:\n{expected}found:\n{found}", file.display()).unwrap();
    }
    assert!(update || wrong.is_empty(), "{wrong}");
}
