//! The configurations under `examples`, which people copy, are valid as they stand.
#![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

use std::path::Path;
use std::process::Command;

#[test]
fn every_example_is_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let folders = std::fs::read_dir(examples).unwrap().map(|folder| folder.unwrap().path());
    let files: Vec<_> = folders.map(|folder| folder.join("cim.toml")).filter(|file| file.exists()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let command = Command::new(env!("CARGO_BIN_EXE_cim"))
            .args(["validate", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(command.status.success(), "{}", String::from_utf8_lossy(&command.stderr));
    }
}
