//! The configuration source `file`, as the registry knows it.

use std::sync::Arc;

use cim_config_file::{FileSettings, FileSource};
use cim_core::{ConfigSource, PartContext, Problem, SourceKind};
use serde_json::Value;

/// The kind.
pub const KIND: SourceKind = SourceKind {
    name: cim_config_file::NAME,
    summary: "a directory with files for keys: for laptops, tests and GitOps",
    schema: cim_config_file::schema,
    validate: cim_config_file::validate,
    build,
};

fn build(context: PartContext, table: &Value) -> Result<Arc<dyn ConfigSource>, Problem> {
    Ok(Arc::new(FileSource::new(context.name, &FileSettings::read(table)?)?))
}
