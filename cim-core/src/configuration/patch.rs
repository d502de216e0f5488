//! JSON patches in the dialect of wire contract §4.3.
//!
//! RFC 6902, except that `replace` of a member that is missing in an existing object makes it. Left out: where documents
//! come from. Invariant: a patch is applied whole or not at all.

use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::Value;

/// Applies a patch, given as text.
///
/// # Errors
/// Says which operation cannot be applied and why; the document is as before.
pub fn apply(document: &Value, patch: &[u8]) -> Result<Value, String> {
    let patch: Patch =
        serde_json::from_slice(patch).map_err(|error| format!("the patch is not a JSON patch: {error}"))?;
    let mut result = document.clone();
    for (index, operation) in patch.0.into_iter().enumerate() {
        let operation = with_dialect(&result, operation);
        let path = operation.path().to_string();
        json_patch::patch(&mut result, std::slice::from_ref(&operation)).map_err(|error| {
            format!("operation {index} of the patch, at `{path}`, cannot be applied: {}", error.kind)
        })?;
    }
    Ok(result)
}

/// The patch that leads from one document to another, as text.
#[must_use]
pub fn between(from: &Value, to: &Value) -> Vec<u8> {
    serde_json::to_vec(&json_patch::diff(from, to)).unwrap_or_default()
}

/// `replace` of a missing member of an object that exists becomes `add`.
fn with_dialect(document: &Value, operation: PatchOperation) -> PatchOperation {
    let PatchOperation::Replace(replace) = &operation else { return operation };
    let Some((parent, name)) = replace.path.split_back() else { return operation };
    let parent = parent.resolve(document).ok().and_then(Value::as_object);
    match parent {
        Some(members) if !members.contains_key(name.decoded().as_ref()) => {
            let (path, value) = (replace.path.clone(), replace.value.clone());
            PatchOperation::Add(AddOperation { path, value })
        }
        _ => operation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(document: &Value, patch: Value) -> Result<Value, String> {
        apply(document, patch.to_string().as_bytes())
    }

    #[test]
    fn replacing_a_missing_leaf_makes_it() {
        let document = json!({"cimConfig": {"lmaas": {}}});
        let result =
            patched(&document, json!([{"op": "replace", "path": "/cimConfig/lmaas/new", "value": 1}]));
        assert_eq!(result, Ok(json!({"cimConfig": {"lmaas": {"new": 1}}})));
    }

    #[test]
    fn everything_else_is_strict_and_changes_nothing() {
        let document = json!({"a": {"b": [1, 2]}});
        for patch in [
            json!([{"op": "replace", "path": "/absent/x", "value": 1}]),
            json!([{"op": "remove", "path": "/a/absent"}]),
            json!([{"op": "move", "from": "/a/absent", "path": "/a/x"}]),
            json!([{"op": "test", "path": "/a/b/0", "value": 7}]),
            json!([{"op": "replace", "path": "/a/b/7", "value": 1}]),
            json!([{"op": "add", "path": "/a/x", "value": 1}, {"op": "remove", "path": "/a/absent"}]),
            json!({"op": "add"}),
            json!([{"op": "leap", "path": "/a"}]),
        ] {
            assert!(patched(&document, patch.clone()).is_err(), "{patch}");
        }
        assert!(apply(&document, b"").is_err());
        assert!(apply(&document, b"\xff").is_err());
    }

    #[test]
    fn all_operations_of_the_config_server_are_known() {
        let document = json!({"a": 1, "list": [1, 2], "b": {"c": 3}});
        let patch = json!([
            {"op": "add", "path": "/list/-", "value": 3},
            {"op": "remove", "path": "/list/0"},
            {"op": "replace", "path": "/a", "value": null},
            {"op": "move", "from": "/b/c", "path": "/d"},
            {"op": "copy", "from": "/d", "path": "/b/e"},
        ]);
        assert_eq!(patched(&document, patch), Ok(json!({"a": null, "list": [2, 3], "b": {"e": 3}, "d": 3})));
    }

    #[test]
    fn a_patch_leads_back() {
        let (before, after) =
            (json!({"a": 1, "b": {"c": [1]}}), json!({"a": 2, "b": {"c": [1, 2], "d": {}}}));
        assert_eq!(apply(&after, &between(&after, &before)), Ok(before));
    }
}
