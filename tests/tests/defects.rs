//! The page of the original's defects cannot lie: every defect of the list has its row, and every test that a row names exists.
//!
//! Left out: the tests themselves. The invariant: a row without a test, or with a part that is not proven yet, is one of the
//! list below, by its reason.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;

/// Defects that are not proven absent as a whole, and what is missing. The page says so in the row: `Open:`.
const OPEN: &[(&str, &str)] = &[];

/// What must stand on the page.
fn required() -> BTreeSet<String> {
    let of = |letter: char, last: u32| (1..=last).map(move |number| format!("{letter}-{number:02}"));
    of('B', 76).chain(of('N', 9)).collect()
}

struct Row {
    cells: Vec<String>,
    tests: Vec<String>,
}

fn rows() -> BTreeMap<String, Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/defects.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut rows = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| B-") || line.starts_with("| N-")) {
        let cells: Vec<String> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        assert_eq!(cells.len(), 4, "a row has four cells: {line}");
        let tests = cells[3].split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect();
        let number = cells[0].clone();
        assert!(rows.insert(number.clone(), Row { cells, tests }).is_none(), "{number} has two rows");
    }
    rows
}

/// Folders of the packages, by name.
fn packages() -> BTreeMap<String, PathBuf> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let folder = |path: &cargo_metadata::camino::Utf8Path| path.parent().unwrap().as_std_path().to_owned();
    metadata
        .packages
        .iter()
        .map(|package| (package.name.to_string(), folder(&package.manifest_path)))
        .collect()
}

/// Whether a file holds a test of that name: a function below an attribute that makes it one.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let heads = [format!("fn {name}("), format!("async fn {name}(")];
    let found = lines.iter().position(|line| heads.iter().any(|head| line.starts_with(head.as_str())));
    found.is_some_and(|at| {
        let above =
            lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

/// What is wrong with the name of a test, `package::file::test`, the file without its ending and relative to `src` or `tests`.
fn wrong(test: &str, packages: &BTreeMap<String, PathBuf>) -> Option<String> {
    let parts: Vec<&str> = test.split("::").collect();
    let [package, file, name] = parts.as_slice() else {
        return Some(format!("{test}: not package::file::test"));
    };
    let Some(folder) = packages.get(*package) else { return Some(format!("{test}: no package {package}")) };
    let files = ["src", "tests"].map(|part| folder.join(part).join(format!("{file}.rs")));
    let mut texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).peekable();
    if texts.peek().is_none() {
        return Some(format!("{test}: no file {file}.rs"));
    }
    (!texts.any(|text| has_test(&text, name))).then(|| format!("{test}: no test of that name"))
}

#[test]
fn every_defect_has_its_row_and_every_row_a_test() {
    let rows = rows();
    let missing: Vec<_> = required().into_iter().filter(|number| !rows.contains_key(number)).collect();
    assert!(missing.is_empty(), "no row: {missing:?}");
    let open: BTreeSet<&str> = OPEN.iter().map(|(number, _)| *number).collect();
    for (number, row) in &rows {
        let says = row.cells.iter().any(|cell| cell.contains("Open:"));
        assert_eq!(
            says,
            open.contains(number.as_str()),
            "{number}: the row and the list of open ones differ"
        );
        assert!(says || !row.tests.is_empty(), "{number} names no test");
    }
    for (number, why) in OPEN.iter().copied() {
        assert!(rows.contains_key(number), "{number} is open and has no row");
        println!("open: {number}: {why}");
    }
}

#[test]
fn the_tests_that_are_named_exist() {
    let packages = packages();
    let wrong: Vec<String> =
        rows().values().flat_map(|row| &row.tests).filter_map(|test| wrong(test, &packages)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_name_that_is_no_test_is_found_out() {
    let text = "#[test]\nfn a() {}\nfn b() {}\n    /// About it.\n    #[tokio::test(start_paused = true)]\n    async fn c() {}\n";
    assert!(has_test(text, "a") && has_test(text, "c"));
    assert!(!has_test(text, "b") && !has_test(text, "d"));
    let packages = packages();
    for test in [
        "cim-core",
        "cim-cire::lane::x",
        "cim-core::configuration/lain::x",
        "cim-core::configuration/lane/tests::x",
    ] {
        assert!(wrong(test, &packages).is_some(), "{test}");
    }
}
