//! The JSON Schema of the configuration: the structs, with the kinds of this build.
//!
//! Owns finding a schema by path and what a schema accepts. Left out: judging values (`check`). The invariant: what is
//! printed by `cim config schema` is what values are judged against.

use std::collections::BTreeSet;

use cim_core::Registry;
use serde_json::{Map, Value, json};

use super::root::Settings;

/// A schema document: references inside it start at its root.
#[derive(Debug, Clone, Copy)]
pub struct Schema<'s> {
    root: &'s Value,
    node: &'s Value,
}

impl<'s> Schema<'s> {
    /// The schema at the root of a document.
    #[must_use]
    pub fn new(root: &'s Value) -> Self {
        Self { root, node: root }.resolved()
    }

    /// Another node of the same document.
    fn at(self, node: &'s Value) -> Self {
        Self { root: self.root, node }.resolved()
    }

    fn resolved(mut self) -> Self {
        // A reference to a reference is legal; eight of them are a mistake.
        for _ in 0..8 {
            let Some(target) = self.node.get("$ref").and_then(Value::as_str) else { break };
            let Some(node) = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else {
                break;
            };
            self.node = node;
        }
        self
    }

    /// A keyword of this schema.
    #[must_use]
    pub fn keyword(self, name: &str) -> Option<&'s Value> {
        self.node.get(name)
    }

    /// The alternatives of `anyOf` or `oneOf`; itself when there are none.
    #[must_use]
    pub fn alternatives(self) -> Vec<Schema<'s>> {
        let list = self.keyword("anyOf").or_else(|| self.keyword("oneOf")).and_then(Value::as_array);
        match list {
            Some(list) => list.iter().flat_map(|node| self.at(node).alternatives()).collect(),
            None => vec![self],
        }
    }

    /// The JSON types this schema takes; empty when it does not say.
    #[must_use]
    pub fn types(self) -> BTreeSet<&'s str> {
        let one = |schema: Schema<'s>| match schema.keyword("type") {
            Some(Value::String(name)) => vec![name.as_str()],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => schema.choices().map_or_else(Vec::new, |_| vec!["string"]),
        };
        self.alternatives().into_iter().flat_map(one).collect()
    }

    /// The values of `enum` or `const`, when this node is one of those.
    #[must_use]
    pub fn choices(self) -> Option<Vec<&'s str>> {
        if let Some(list) = self.keyword("enum").and_then(Value::as_array) {
            return Some(list.iter().filter_map(Value::as_str).collect());
        }
        self.keyword("const").and_then(Value::as_str).map(|value| vec![value])
    }

    /// The names of an extension list such as `x-later`.
    #[must_use]
    pub fn names(self, keyword: &str) -> Vec<&'s str> {
        let list = self.keyword(keyword).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    /// The members a table may have.
    #[must_use]
    pub fn members(self) -> Vec<(&'s str, Schema<'s>)> {
        let table = self.keyword("properties").and_then(Value::as_object);
        table
            .map(|table| table.iter().map(|(key, node)| (key.as_str(), self.at(node))).collect())
            .unwrap_or_default()
    }

    /// The schema of that member of a table: a listed one, or what is said of all others.
    #[must_use]
    pub fn member(self, key: &str) -> Option<Schema<'s>> {
        let listed = self.keyword("properties").and_then(|table| table.get(key));
        let other = self.keyword("additionalProperties").filter(|node| node.is_object());
        listed.or(other).map(|node| self.at(node))
    }

    /// Whether a table may have members that are not listed.
    #[must_use]
    pub fn open(self) -> bool {
        self.keyword("additionalProperties").is_none_or(|rule| *rule != Value::Bool(false))
    }

    /// The schema of the items of a list.
    #[must_use]
    pub fn items(self) -> Option<Schema<'s>> {
        self.keyword("items").map(|node| self.at(node))
    }

    /// Whether the value is a secret.
    #[must_use]
    pub fn secret(self) -> bool {
        self.alternatives().iter().any(|schema| schema.keyword("writeOnly") == Some(&Value::Bool(true)))
    }
}

/// The schema of the structs alone; `sinks.x` is not described any further.
#[must_use]
pub fn of_structs() -> Value {
    schemars::schema_for!(Settings).to_value()
}

/// The whole schema of this build, as `cim config schema` prints it: each kind of part with its members.
#[must_use]
pub fn complete(registry: &Registry) -> Value {
    let mut schema = of_structs();
    let mut definitions = Map::new();
    let sinks = registry.sinks().map(|kind| {
        let mut table = described((kind.schema)(), kind.name, kind.summary, &mut definitions);
        require_kind(&mut table, kind.name);
        table
    });
    let sinks = json!({ "oneOf": sinks.collect::<Vec<_>>() });
    let orchestrators = registry.orchestrators().iter().map(|kind| {
        let mut table = described((kind.schema)(), kind.name, kind.summary, &mut definitions);
        require_kind(&mut table, kind.name);
        table
    });
    let orchestrators = json!({ "oneOf": orchestrators.collect::<Vec<_>>() });
    let mut sources = Map::new();
    for kind in registry.sources().iter() {
        let table = described((kind.schema)(), kind.name, kind.summary, &mut definitions);
        sources.insert(kind.name.to_owned(), Value::Object(table));
    }
    for (pointer, node) in
        [("/properties/sinks/additionalProperties", sinks), ("/properties/orchestrator", orchestrators)]
    {
        if let Some(place) = schema.pointer_mut(pointer) {
            *place = node;
        }
    }
    if let Some(members) =
        schema.pointer_mut("/$defs/ConfigurationSettings/properties").and_then(Value::as_object_mut)
    {
        members.retain(|name, _| !["etcd", "file"].contains(&name.as_str()));
        members.extend(sources);
    }
    if let Some(all) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        all.remove("SinkSettings");
        all.remove("OrchestratorSettings");
        for (name, definition) in definitions {
            all.entry(name).or_insert(definition);
        }
    }
    schema
}

/// The table of a kind, fit for the whole document: its definitions go to those of the document.
fn described(
    table: Value,
    name: &str,
    summary: &str,
    definitions: &mut Map<String, Value>,
) -> Map<String, Value> {
    let Value::Object(mut table) = table else { return Map::new() };
    if let Some(Value::Object(inner)) = table.remove("$defs") {
        definitions.extend(inner);
    }
    table.remove("$schema");
    table.insert("title".to_owned(), json!(name));
    table.insert("description".to_owned(), json!(summary));
    table
}

fn require_kind(table: &mut Map<String, Value>, kind: &str) {
    if let Some(members) = table.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
        members.insert("type".to_owned(), json!({ "const": kind }));
    }
    if let Some(required) = table.entry("required").or_insert_with(|| json!([])).as_array_mut() {
        required.push(json!("type"));
    }
}
