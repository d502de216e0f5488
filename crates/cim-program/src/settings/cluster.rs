//! What every pod of a cluster finds around itself: where the API server is, and the namespace it runs in.
//!
//! Owns the variables `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`, and the file `namespace` beside the token.
//! Left out: asking the API server. The invariant: they only fill gaps, and only of the orchestrator `kubernetes` without a
//! kubeconfig: a pod that has another orchestrator is given the same variables.

use std::path::{Path, PathBuf};

use cim_core::Registry;
use serde_json::{Value, json};

use super::environment::Variables;
use super::place::{Located, Place, Places};

/// The orchestrator whose gaps are filled.
const KIND: &str = "kubernetes";
const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";

/// Fills what nobody gave. Returns what cannot be used, as warnings.
pub fn complete(
    merged: &mut Value,
    places: &mut Places,
    variables: &Variables,
    registry: &Registry,
) -> Vec<Located> {
    let given =
        |key: &str| merged.pointer(&format!("/orchestrator/{key}")).is_some_and(|value| !value.is_null());
    if merged.pointer("/orchestrator/type").and_then(Value::as_str) != Some(KIND) || given("kubeconfig") {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let mut found = Vec::new();
    if let Some(host) = variable(variables, HOST).filter(|_| !given("host")) {
        found.push(("orchestrator", "host", json!(host), Place::Environment(HOST.to_owned())));
        // A port belongs to its host: that of a host which somebody gave is not ours to tell.
        if let Some(port) = variable(variables, PORT).filter(|_| !given("port")) {
            let place = Place::Environment(PORT.to_owned());
            match port.trim().parse::<u16>() {
                Ok(port) => found.push(("orchestrator", "port", json!(port), place)),
                Err(_) => {
                    let text = "the variable is not a port number; it has no effect";
                    warnings.push(Located::new(place, "orchestrator.port", text));
                }
            }
        }
    }
    if !places.names("identity.namespace")
        && let Some(file) = namespace_file(merged, registry)
        && let Some(namespace) = word(&file)
    {
        found.push(("identity", "namespace", json!(namespace), Place::File { file, line: None }));
    }
    for (section, key, value, place) in found {
        if let Some(table) = merged.get_mut(section).and_then(Value::as_object_mut) {
            table.insert(key.to_owned(), value);
            places.note(format!("{section}.{key}"), place);
        }
    }
    warnings
}

fn variable<'v>(variables: &'v Variables, name: &str) -> Option<&'v str> {
    let found = variables.iter().find(|(other, _)| other == name)?;
    found.1.to_str().filter(|value| !value.is_empty())
}

/// The file beside the token, which the same volume brings.
fn namespace_file(merged: &Value, registry: &Registry) -> Option<PathBuf> {
    let token = merged.pointer("/orchestrator/token_file").and_then(Value::as_str).map(PathBuf::from);
    let usual = || {
        let schema = (registry.orchestrators().find(KIND, "").ok()?.schema)();
        Some(PathBuf::from(schema.pointer("/properties/token_file/default")?.as_str()?))
    };
    Some(token.or_else(usual)?.with_file_name("namespace"))
}

/// A file of one word; `None` when it is not there or holds anything else.
fn word(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let text = text.trim();
    (!text.is_empty() && !text.contains(char::is_whitespace)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    /// The section after the gaps are filled, and the warnings.
    fn completed(orchestrator: Value, pairs: &[(&str, &str)]) -> (Value, usize) {
        let mut merged = json!({ "orchestrator": orchestrator, "identity": { "namespace": "default" } });
        let registry = Registry::new();
        let warnings = complete(&mut merged, &mut Places::default(), &variables(pairs), &registry);
        (merged["orchestrator"].clone(), warnings.len())
    }

    const BOTH: &[(&str, &str)] = &[(HOST, "10.0.0.1"), (PORT, "6443")];

    #[test]
    fn the_variables_of_a_pod_fill_gaps_of_this_orchestrator_and_nothing_else() {
        for (given, expected) in [
            (json!({ "type": KIND }), json!({ "type": KIND, "host": "10.0.0.1", "port": 6443 })),
            (json!({ "type": KIND, "port": 1 }), json!({ "type": KIND, "host": "10.0.0.1", "port": 1 })),
            (json!({ "type": KIND, "host": "h" }), json!({ "type": KIND, "host": "h" })),
            (json!({ "type": KIND, "kubeconfig": "k" }), json!({ "type": KIND, "kubeconfig": "k" })),
            (json!({ "type": "standalone" }), json!({ "type": "standalone" })),
        ] {
            assert_eq!(completed(given, BOTH), (expected, 0));
        }
        assert_eq!(
            completed(json!({ "type": KIND }), &[(PORT, "6443"), (HOST, "")]).0,
            json!({ "type": KIND })
        );
        let (section, warnings) = completed(json!({ "type": KIND }), &[(HOST, "h"), (PORT, "tcp://h:1")]);
        assert_eq!((section, warnings), (json!({ "type": KIND, "host": "h" }), 1));
    }

    #[test]
    fn the_namespace_is_that_of_the_file_beside_the_token_unless_somebody_gives_another() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("namespace"), "shop\n").unwrap();
        let table = json!({ "type": KIND, "token_file": dir.path().join("token") });
        let mut places = Places::default();
        let namespace = |places: &mut Places| {
            let mut merged = json!({ "orchestrator": table, "identity": { "namespace": "default" } });
            complete(&mut merged, places, &Variables::new(), &Registry::new());
            merged["identity"]["namespace"].clone()
        };
        assert_eq!(namespace(&mut places), "shop");
        assert!(matches!(places.of("identity.namespace"), Place::File { .. }));
        let mut given = Places::default();
        given.note("identity.namespace", Place::Environment("K8S_NAMESPACE".to_owned()));
        assert_eq!(namespace(&mut given), "default");
        std::fs::write(dir.path().join("namespace"), "two words").unwrap();
        assert_eq!(namespace(&mut Places::default()), "default");
    }
}
