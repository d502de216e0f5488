//! The planted bugs of `scripts/sabotage` cannot rot: each patch fits the sources, and the test it names is there.
//!
//! Left out: planting them, which takes an hour (`make torture`). The invariant: what this test lets pass, that script can plant.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use cim_services::has_program;
use cim_tests::skip;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn patches() -> Vec<PathBuf> {
    let folder = root().join("tests/sabotage");
    let mut patches: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    patches.sort();
    assert!(!patches.is_empty());
    patches
}

/// A line `Name: text` above the diff.
fn field<'a>(patch: &'a str, name: &str) -> &'a str {
    let line = patch.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no line `{name}: …` in\n{patch}"))
}

#[test]
fn every_planted_bug_fits_the_sources() {
    if !has_program("patch") {
        return skip("patch is not installed");
    }
    for path in patches() {
        let mut command = Command::new("patch");
        // The context is short on purpose, so all of it has to be there.
        command.args(["--dry-run", "--batch", "--strip=1", "--fuzz=0", "--input"]).arg(&path);
        let output = command.current_dir(root()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{} does not fit any more: {said}", path.display());
    }
}

#[test]
fn every_planted_bug_names_a_suite_and_a_test_that_is_there() {
    for path in patches() {
        let patch = std::fs::read_to_string(&path).unwrap();
        assert!(!field(&patch, "Bug").is_empty());
        let words: Vec<&str> = field(&patch, "Suite").split(' ').collect();
        let ["-p", package, "--test", file, ..] = words[..] else { panic!("{}: {words:?}", path.display()) };
        let folder = ["", "crates"].map(|above| root().join(above).join(package)).into_iter();
        let folder = folder.chain([root().join("tests")]).find(|folder| folder.join("Cargo.toml").exists());
        let suite = folder.unwrap().join("tests").join(file);
        let test = field(&patch, "Caught by");
        assert!(
            text(&suite).contains(&format!("fn {test}(")),
            "{}: no {test} in {}",
            path.display(),
            suite.display()
        );
    }
}

/// A suite: a file, or the files of a folder.
fn text(suite: &Path) -> String {
    if let Ok(text) = std::fs::read_to_string(suite.with_extension("rs")) {
        return text;
    }
    let files = std::fs::read_dir(suite).into_iter().flatten().map(|entry| entry.unwrap().path());
    files.map(|file| std::fs::read_to_string(file).unwrap()).collect()
}
