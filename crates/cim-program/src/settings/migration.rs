//! The files of the original as a file of the operator: TOML text that says the same.
//!
//! Owns the form of the text. Left out: what the members mean (`original`). The invariant: the text, read again, gives the
//! values that the files stand for, and each of them says which member it came from.

use std::fmt::Write;
use std::path::Path;

use cim_core::Registry;
use serde_json::{Map, Value};

use super::environment::Variables;
use super::original::{Original, ROOT, Surroundings};
use super::place::{Located, Places, Problems};
use super::{name, path};

/// What the files stand for.
#[derive(Debug)]
pub struct Migration {
    /// The settings.
    pub sections: Map<String, Value>,
    /// What works but deserves a word.
    pub warnings: Vec<Located>,
    places: Places,
}

impl Migration {
    /// Reads a pair of files. `as_original`: with the defaults of the old name, in a cluster.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn of(
        cim_json: Option<&Path>,
        common_infra: Option<&Path>,
        as_original: bool,
        registry: &Registry,
    ) -> Result<Self, Problems> {
        let (original, mut problems) = Original::of_files(cim_json, common_infra);
        let original = if as_original { original.or_default() } else { original };
        let around = Surroundings { as_original, knows_nodes: as_original };
        let mapped = original.map(&|_| false, registry, around);
        problems.extend(mapped.problems);
        if !problems.is_empty() {
            return Err(Problems::new(problems));
        }
        let mut this = Self { sections: Map::new(), warnings: mapped.warnings, places: Places::default() };
        let cluster: Variables = vec![("KUBERNETES_SERVICE_HOST".into(), "kubernetes.default.svc".into())];
        let defaults = as_original.then(|| name::layer(&cluster, Some(Path::new(ROOT)), registry));
        for layer in defaults.into_iter().chain([mapped.layer]) {
            this.places.overlay(layer.places);
            for (section, value) in layer.value {
                lay(this.sections.entry(section).or_insert(Value::Null), value);
            }
        }
        Ok(this)
    }

    /// The text.
    #[must_use]
    pub fn toml(&self) -> String {
        let mut text = String::new();
        self.table(&mut text, &self.sections, "", "");
        text
    }

    /// The values of a table, then the tables in it. `head`: its name in TOML; `at`: as places know it.
    fn table(&self, text: &mut String, members: &Map<String, Value>, head: &str, at: &str) {
        let is_table = |value: &&Value| value.is_object();
        let plain = || members.iter().filter(|(_, value)| !is_table(value));
        if !head.is_empty() && plain().next().is_some() {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{head}]");
        }
        for (name, value) in plain() {
            let place = self.places.of(&path::member(at, name));
            let _ = writeln!(text, "{} = {}  # {place}", key(name), literal(value));
        }
        for (name, value) in members {
            if let Value::Object(members) = value {
                let head = if head.is_empty() { key(name) } else { format!("{head}.{}", key(name)) };
                self.table(text, members, &head, &path::member(at, name));
            }
        }
    }
}

/// Lays a value over another one.
fn lay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                lay(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// A key, in quotes where it needs them.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// The escapes of JSON are escapes of TOML, which wants one character more escaped.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("{} = {}", key(name), literal(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::toml_text;
    use proptest::prelude::*;
    use serde_json::json;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            prop::collection::vec(any::<String>(), 0..3).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::btree_map(any::<String>(), inner, 1..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn the_text_read_again_is_the_value(members in prop::collection::btree_map("[a-z]{1,4}|.{0,4}", value(), 0..5)) {
            let sections: Map<String, Value> = members.into_iter().collect();
            let migration = Migration { sections: sections.clone(), warnings: Vec::new(), places: Places::default() };
            let text = migration.toml();
            let read = toml_text::parse(&text, Path::new("cim.toml"));
            let (read, _) = read.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
            prop_assert_eq!(read, Value::Object(sections), "{}", text);
        }
    }

    #[test]
    fn every_value_says_which_member_it_came_from() {
        let home = tempfile::tempdir().unwrap();
        let (own, infra) = (home.path().join("cim.json"), home.path().join("common-infra.json"));
        let document = json!({"cimConfig": {"lmaas": {"logging_mode": "KAFKA", "max_age": 3},
            "cim_settings": {"kafka_client_id": "c"}}});
        std::fs::write(&own, document.to_string()).unwrap();
        std::fs::write(&infra, r#"{"kafka_brokers":["k:9092"],"etcd_url":"e:2379"}"#).unwrap();
        let registry = crate::backends::registry();
        let migration = Migration::of(Some(&own), Some(&infra), false, &registry).unwrap();
        let text = migration.toml();
        for line in [
            format!("sink = \"xgvela-kafka\"  # {}:1 (cimConfig.lmaas.logging_mode)", own.display()),
            format!("max_age = \"3d\"  # {}:1 (cimConfig.lmaas.max_age)", own.display()),
            format!("brokers = [\"k:9092\"]  # {}:1 (kafka_brokers)", infra.display()),
            "[sinks.xgvela-kafka.properties]".to_owned(),
            format!("\"client.id\" = \"c\"  # {}:1 (cimConfig.cim_settings.kafka_client_id)", own.display()),
        ] {
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }
}
