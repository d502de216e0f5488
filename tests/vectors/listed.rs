//! The cases that `docs/reference/differences.md` lists, for the tests that play the recorded ones.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/reference/differences.md");

/// Names of the cases of one file of vectors that are answered differently on purpose.
pub fn listed(file: &str) -> BTreeSet<String> {
    let section = PAGE.split("\n## ").find(|section| section.lines().next() == Some(file));
    let rows = section.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap_or_default().to_owned()).collect()
}
