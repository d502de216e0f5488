//! What an application gives of `cim.json` when it registers (wire contract §6.1).
//!
//! Pure. Left out: when it counts. The invariant: what is not given stays as it is, but for a switch in a section that is given:
//! the original cannot tell a switch that is absent from one that is off.

use serde_json::{Map, Value, json};

/// Sections and their switches.
const SECTIONS: [(&str, &str); 2] = [("lmaas", "prefer_local_daemonset"), ("app_settings", "http2_enabled")];

/// The document with the sections of a registration laid over it.
pub(super) fn over(document: &Value, given: &Map<String, Value>) -> Value {
    let mut document = document.clone();
    for (section, switch) in SECTIONS {
        let Some(Value::Object(members)) = given.get(section) else { continue };
        let mut members: Map<String, Value> = members
            .iter()
            .filter(|(_, value)| is_given(value))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect();
        if members.is_empty() {
            continue;
        }
        members.entry(switch).or_insert(Value::Bool(false));
        if let Some(known) = member(member(&mut document, "cimConfig"), section).as_object_mut() {
            known.extend(members);
        }
    }
    document
}

/// Zero, the empty text and `false` are what the original has where nothing was given.
fn is_given(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64().is_none_or(|number| number > 0),
        Value::String(text) => !text.is_empty(),
        Value::Bool(on) => *on,
        _ => false,
    }
}

/// An object that is a member of a value, made where there is none.
fn member<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    if !value.is_object() {
        *value = json!({});
    }
    let member = &mut value[name];
    if !member.is_object() {
        *member = json!({});
    }
    member
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn what_is_given_is_laid_over_what_is_there() {
        let document = json!({"cimConfig": {
            "lmaas": {"max_age": 7, "logging_mode": "FILE", "prefer_local_daemonset": true},
            "haaas": {"hb_interval": 100},
            "app_settings": {"app_port": 9999, "http2_enabled": true},
        }});
        let sections = given(json!({"lmaas": {"Max_Age": 3, "buffer_size": 0, "logging_mode": ""}}));
        let merged = over(&document, &sections);
        assert_eq!(
            merged,
            json!({"cimConfig": {
                "lmaas": {"max_age": 3, "logging_mode": "FILE", "prefer_local_daemonset": false},
                "haaas": {"hb_interval": 100},
                "app_settings": {"app_port": 9999, "http2_enabled": true},
            }})
        );
    }

    #[test]
    fn sections_of_zeros_are_not_given() {
        let document = json!({"cimConfig": {"lmaas": {"prefer_local_daemonset": true}}});
        let zeros = json!({"lmaas": {"max_age": 0, "logging_mode": "", "prefer_local_daemonset": false}, "app_settings": {}});
        assert_eq!(over(&document, &given(zeros)), document);
        let port = given(json!({"app_settings": {"app_port": 8080}}));
        assert_eq!(
            over(&json!({}), &port),
            json!({"cimConfig": {"app_settings": {"app_port": 8080, "http2_enabled": false}}})
        );
    }
}
