//! The reference pages in `docs/reference` are what the program generates.
//!
//! `CIM_UPDATE_REFERENCE=1 cargo test -p cim-program --test reference` writes them. Needs the default features.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::Path;

use cim_program::{backends, reference, settings};

fn compare(name: &str, page: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    #[allow(clippy::disallowed_methods, reason = "the documented switch of this test")]
    if std::env::var_os("CIM_UPDATE_REFERENCE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, page).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == page, "{} is stale; run this test with CIM_UPDATE_REFERENCE=1", file.display());
}

#[test]
fn the_configuration_page_is_current() {
    let registry = backends::registry();
    let kinds: Vec<_> = registry.sinks().map(|kind| kind.name).collect();
    assert_eq!(kinds, ["file", "kafka", "null", "stdout", "tcp"], "this test needs the default features");
    compare("config.md", &reference::config(&registry));
    compare("config.schema.json", &format!("{:#}\n", settings::complete_schema(&registry)));
}

#[test]
fn the_command_line_page_is_current() {
    compare("cli.md", &reference::command_line());
}

#[test]
fn the_metrics_page_is_current() {
    compare("metrics.md", &reference::metrics());
}
