//! JSON Schemas by name of the document: what a change must not make invalid.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cim_core::Problem;
use cim_core::configuration::Check;
use jsonschema::Validator;
use serde_json::Value;

use crate::settings::member_path;

struct Schemas(BTreeMap<String, Validator>);

impl Check for Schemas {
    fn judge(&self, data_key: &str, document: &Value) -> Result<(), String> {
        let Some(schema) = self.0.get(data_key) else { return Ok(()) };
        match schema.iter_errors(document).next() {
            None => Ok(()),
            Some(error) => {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "the document".to_owned() } else { place };
                Err(format!("`{data_key}` would not fit its schema: {place}: {error}"))
            }
        }
    }
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
        let schema = jsonschema::validator_for(&value)
            .map_err(|error| wrong(format!("is not a JSON Schema: {error}")))?;
        schemas.insert(data_key.clone(), schema);
    }
    Ok((!schemas.is_empty()).then(|| Arc::new(Schemas(schemas)) as Arc<dyn Check>))
}
