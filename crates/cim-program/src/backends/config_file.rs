//! The configuration source `file`, as the registry knows it.

use std::sync::Arc;

use cim_config_file::{FileSettings, FileSource};
use cim_core::{ConfigSource, PartContext, Problem, SourceKind};
use serde_json::Value;

/// The kind.
pub const KIND: SourceKind = SourceKind {
    name: "file",
    summary: "a directory with files for keys: for laptops, tests and GitOps",
    schema: || schemars::schema_for!(FileSettings).to_value(),
    validate: |table| match FileSettings::read(table) {
        Ok(settings) => settings.problems(),
        Err(problem) => vec![problem],
    },
    build,
};

fn build(context: PartContext, table: &Value) -> Result<Arc<dyn ConfigSource>, Problem> {
    Ok(Arc::new(FileSource::new(context.name, &FileSettings::read(table)?)))
}
