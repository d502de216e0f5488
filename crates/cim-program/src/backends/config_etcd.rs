//! The configuration source `etcd`, as the registry knows it.

use std::sync::Arc;

use cim_config_etcd::{EtcdSettings, EtcdSource};
use cim_core::{ConfigSource, PartContext, Problem, SourceKind};
use serde_json::Value;

/// The kind.
pub const KIND: SourceKind = SourceKind {
    name: cim_config_etcd::NAME,
    summary: "keys of an etcd cluster, as the config server writes them",
    schema: cim_config_etcd::schema,
    validate: cim_config_etcd::validate,
    build,
};

fn build(context: PartContext, table: &Value) -> Result<Arc<dyn ConfigSource>, Problem> {
    Ok(Arc::new(EtcdSource::new(context.name, &EtcdSettings::read(table)?)?))
}
