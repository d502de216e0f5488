//! JSON Schemas by name of the document: what a change must not make invalid.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use cim_core::Problem;
use cim_core::configuration::Check;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::settings::member_path;

struct Schemas(BTreeMap<String, Validator>);

impl Check for Schemas {
    fn judge(&self, data_key: &str, document: &Value) -> Result<(), String> {
        let Some(schema) = self.0.get(data_key) else { return Ok(()) };
        match schema.iter_errors(document).next() {
            None => Ok(()),
            Some(error) => {
                // Masked: a value may be a secret, and the reason goes into the log, the store and a notice of the cluster.
                let why = placed(&error, "the document", &error.masked());
                Err(format!("`{data_key}` would not fit its schema: {why}"))
            }
        }
    }
}

/// The complaint, behind where it is; `whole` is the name of the top.
fn placed(error: &ValidationError<'_>, whole: &str, complaint: &dyn Display) -> String {
    let place = error.instance_path().to_string();
    format!("{}: {complaint}", if place.is_empty() { whole } else { &place })
}

/// Reads the schemas.
///
/// # Errors
/// The first file that is none.
pub fn read(files: &BTreeMap<String, PathBuf>) -> Result<Option<Arc<dyn Check>>, Problem> {
    let mut schemas = BTreeMap::new();
    for (data_key, file) in files {
        let wrong = |what: String| {
            let at = member_path("configuration.schemas", data_key);
            Problem::new(at, format!("{}: {what}", file.display()))
        };
        let text = std::fs::read(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let value: Value =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        let schema = jsonschema::validator_for(&value).map_err(|error| {
            wrong(format!("is not a JSON Schema: {}", placed(&error, "the file", &error)))
        })?;
        schemas.insert(data_key.clone(), schema);
    }
    Ok((!schemas.is_empty()).then(|| Arc::new(Schemas(schemas)) as Arc<dyn Check>))
}
