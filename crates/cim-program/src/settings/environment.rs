//! The environment as layers of the configuration: `CIM__SPOOL__DIR`, and the variables of wire contract §1.1.
//!
//! Values are converted by the type the schema wants, because the text `007` is a name in one place and a number in
//! another. Left out: judging values. The invariant: a variable that cannot be used is reported, never ignored.

use std::collections::BTreeMap;
use std::ffi::OsString;

use cim_core::Registry;
use serde_json::{Map, Value, json};

use super::document::Layer;
use super::path;
use super::place::{Located, Place};
use super::schema::{Schema, of_structs};

/// What stands before the path in a variable name.
const PREFIX: &str = "CIM__";

/// The variables of a process.
pub type Variables = Vec<(OsString, OsString)>;

/// The variables of this process.
#[must_use]
pub fn of_process() -> Variables {
    std::env::vars_os().collect()
}

/// The variables that the original program reads, for the settings they stand for (wire contract §1.1). Like there, a
/// port that is no number is a warning and the default stays.
#[must_use]
pub fn of_contract(variables: &Variables, as_original: bool) -> (Layer, Vec<Located>) {
    let mut layer = Layer { name: "environment".to_owned(), ..Layer::default() };
    let mut warnings = Vec::new();
    for (name, value) in variables {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        let both = |ipv4: &str, ipv6: &str| {
            let port = value.trim().parse::<u16>().ok()?;
            Some(json!([format!("{ipv4}:{port}"), format!("{ipv6}:{port}")]))
        };
        let (section, key, new) = match name {
            _ if value.is_empty() => continue,
            "K8S_NAMESPACE" => ("identity", "namespace", Some(json!(value))),
            "K8S_POD_ID" => ("identity", "pod", Some(json!(value))),
            "NF" => ("identity", "own_nf", Some(json!(value))),
            "NF_TYPE" => ("identity", "own_nf_type", Some(json!(value))),
            "MS_CONFIG_REVISION" => ("configuration", "ms_revision", Some(json!(value))),
            "NF_CONFIG_REVISION" => ("configuration", "nf_revision", Some(json!(value))),
            "CIM_REST_PORT" if as_original => ("api", "listen", both("0.0.0.0", "[::]")),
            "CIM_REST_PORT" => ("api", "listen", both("127.0.0.1", "[::1]")),
            "CIM_NATS_PORT" => ("nats", "listen", both("127.0.0.1", "[::1]")),
            // Any other word is as good as none, as in the original.
            "CTR_FIELDS_MANDATORY" if value != "true" => continue,
            "CTR_FIELDS_MANDATORY" => ("registration", "mandatory_fields", Some(json!(true))),
            _ => continue,
        };
        let at = path::member(section, key);
        let place = Place::Environment(name.to_owned());
        let Some(new) = new else {
            warnings.push(Located::new(place, at, "the variable is not a port number; it has no effect"));
            continue;
        };
        layer.places.note(at, place);
        put(&mut layer.value, &[section, key], new);
    }
    (layer, warnings)
}

/// The variables `CIM__A__B`. `lower` is what the layers below say: the type of a sink decides about its members.
#[must_use]
pub fn of_cim(variables: &Variables, lower: &Value, registry: &Registry) -> (Layer, Vec<Located>) {
    let mut named = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, value) in variables {
        let Some(path) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let name = format!("{PREFIX}{path}");
        let keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        let complaint = match value.to_str() {
            _ if keys.iter().any(String::is_empty) => "two underscores stand between the levels of a path",
            None => "the variable is not UTF-8 text",
            Some(value) => {
                named.insert(name, (keys, value.to_owned()));
                continue;
            }
        };
        problems.push(Located::new(Place::Environment(name), "", complaint));
    }
    let mut layer = Layer { name: "environment".to_owned(), ..Layer::default() };
    if named.is_empty() {
        // The usual case; a schema takes longer to build than the configuration to read.
        return (layer, problems);
    }
    let structs = of_structs();
    let kinds = Kinds::of(&named, lower, registry);
    for (name, (keys, text)) in named {
        let at = keys.iter().fold(String::new(), |at, key| path::member(&at, key));
        let value = kinds.convert(Schema::new(&structs), &keys, &text);
        layer.places.note(at.clone(), Place::Environment(name.clone()));
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        if !put(&mut layer.value, &keys, value) {
            let message = "another variable gives a plain value to a level above this one";
            problems.push(Located::new(Place::Environment(name), at, message));
        }
    }
    (layer, problems)
}

/// The schemas of the kinds that are named: of each sink, of the source and of the orchestrator.
struct Kinds {
    sinks: BTreeMap<String, Value>,
    sources: BTreeMap<String, Value>,
    orchestrator: Option<Value>,
}

impl Kinds {
    fn of(named: &BTreeMap<String, (Vec<String>, String)>, lower: &Value, registry: &Registry) -> Self {
        let mut kinds = BTreeMap::new();
        let below = lower.get("sinks").and_then(Value::as_object).into_iter().flatten();
        for (sink, table) in below {
            if let Some(kind) = table.get("type").and_then(Value::as_str) {
                kinds.insert(sink.clone(), kind.to_owned());
            }
        }
        for (keys, value) in named.values() {
            if let [section, sink, key] = keys.as_slice()
                && section == "sinks"
                && key == "type"
            {
                kinds.insert(sink.clone(), value.clone());
            }
        }
        let schema = |kind: &str| registry.find(kind, "").ok().map(|kind| (kind.schema)());
        let orchestrator = named.values().find(|(keys, _)| *keys == ["orchestrator", "type"]);
        let orchestrator = orchestrator.map(|(_, value)| value.as_str());
        let orchestrator = orchestrator
            .or_else(|| lower.pointer("/orchestrator/type").and_then(Value::as_str))
            .unwrap_or_default();
        Self {
            sinks: kinds.into_iter().filter_map(|(sink, kind)| Some((sink, schema(&kind)?))).collect(),
            sources: registry.sources().iter().map(|kind| (kind.name.to_owned(), (kind.schema)())).collect(),
            orchestrator: registry.orchestrators().find(orchestrator, "").ok().map(|kind| (kind.schema)()),
        }
    }

    /// `text` in the type that the schema wants at that path; as text when it has none.
    fn convert(&self, root: Schema<'_>, keys: &[String], text: &str) -> Value {
        let (schema, rest) = match keys {
            [section, sink, rest @ ..] if section == "sinks" && !rest.is_empty() => {
                (self.sinks.get(sink).map(Schema::new), rest)
            }
            [section, source, rest @ ..]
                if section == "configuration" && !rest.is_empty() && self.sources.contains_key(source) =>
            {
                (self.sources.get(source).map(Schema::new), rest)
            }
            [section, key] if section == "orchestrator" && key != "type" => {
                (self.orchestrator.as_ref().map(Schema::new), std::slice::from_ref(key))
            }
            _ => (Some(root), keys),
        };
        match rest.iter().try_fold(schema, |schema, key| Some(schema.and_then(|schema| descend(schema, key))))
        {
            Some(Some(schema)) => typed(schema, text),
            _ => Value::String(text.to_owned()),
        }
    }
}

fn descend<'s>(schema: Schema<'s>, key: &str) -> Option<Schema<'s>> {
    schema.alternatives().into_iter().find_map(|schema| schema.member(key))
}

fn typed(schema: Schema<'_>, text: &str) -> Value {
    let types = schema.types();
    let wants = |name: &str| types.contains(name);
    let parsed = || serde_json::from_str::<Value>(text).ok();
    let plain = || Value::String(text.to_owned());
    if wants("array")
        && let Some(list) = parsed().filter(Value::is_array)
    {
        return list;
    }
    if wants("string") || types.is_empty() {
        return plain();
    }
    if wants("integer") || wants("number") {
        let whole = text.trim().parse::<i64>().ok().map(Value::from);
        let real = || text.trim().parse::<f64>().ok().filter(|_| wants("number")).map(Value::from);
        return whole.or_else(real).unwrap_or_else(plain);
    }
    match text.trim() {
        "true" if wants("boolean") => Value::Bool(true),
        "false" if wants("boolean") => Value::Bool(false),
        list if wants("array") => list.split(',').map(|item| Value::String(item.trim().to_owned())).collect(),
        _ if wants("object") => parsed().filter(Value::is_object).unwrap_or_else(plain),
        _ => plain(),
    }
}

/// Whether a variable gives a value at that path.
#[must_use]
pub fn gives(variables: &Variables, keys: &[&str]) -> bool {
    let wanted = keys.join("__");
    let paths = variables.iter().filter_map(|(name, _)| name.to_str()?.strip_prefix(PREFIX));
    paths.into_iter().any(|path| path.eq_ignore_ascii_case(&wanted))
}

/// Puts a value at that path, making tables on the way. `false`: something else than a table is in the way.
pub(super) fn put(table: &mut Map<String, Value>, keys: &[&str], value: Value) -> bool {
    match keys {
        [] => false,
        [key] => {
            table.insert((*key).to_owned(), value);
            true
        }
        [key, rest @ ..] => {
            let inner = table.entry(*key).or_insert_with(|| Value::Object(Map::new()));
            inner.as_object_mut().is_some_and(|inner| put(inner, rest, value))
        }
    }
}
