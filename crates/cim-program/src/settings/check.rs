//! Judges a value against a schema and tells everything that is wrong, each with its path.
//!
//! Left out: what a schema cannot say (`relations`), and where a value stands (`place`). The invariant: a value with
//! no problem here is one the structs can be read from.

use cim_core::Problem;
use cim_core::registry::suggest;
use cim_core::settings::{ByteSize, Period};
use serde_json::Value;
use std::borrow::Cow;
use std::net::SocketAddr;

use super::path;
use super::schema::Schema;

/// Longest part of a value that is repeated in a message, in characters.
const SHOWN: usize = 60;

/// Everything that is wrong with `value`, which stands at `path`.
#[must_use]
pub fn check(schema: Schema<'_>, value: &Value, path: &str) -> Vec<Problem> {
    let alternatives = schema.alternatives();
    if let Some(problem) = choice(schema, &alternatives, value, path) {
        return problem;
    }
    let fitting: Vec<_> = alternatives.iter().filter(|schema| takes(**schema, value)).collect();
    if fitting.is_empty() {
        return vec![Problem::new(path, mismatch(schema, value))];
    }
    let mut best: Option<Vec<Problem>> = None;
    for schema in fitting {
        let problems = one(*schema, value, path);
        if best.as_ref().is_none_or(|best| problems.len() < best.len()) {
            best = Some(problems);
        }
    }
    best.unwrap_or_default()
}

/// Judges a value that must be one of several words. `None`: the schema is not about words.
fn choice(
    schema: Schema<'_>,
    alternatives: &[Schema<'_>],
    value: &Value,
    path: &str,
) -> Option<Vec<Problem>> {
    let choices: Vec<&str> = alternatives.iter().filter_map(|schema| schema.choices()).flatten().collect();
    let only_words = !choices.is_empty()
        && alternatives.iter().all(|schema| schema.choices().is_some() || schema.types().contains("null"));
    let word = value.as_str().filter(|_| only_words)?;
    if choices.contains(&word) {
        return Some(Vec::new());
    }
    let message = if schema.names("x-later").contains(&word) {
        format!("`{word}` is not part of this build (this build has: {})", choices.join(", "))
    } else {
        format!("`{}` is not one of: {}{}", clipped(word), choices.join(", "), hint(word, &choices))
    };
    Some(vec![Problem::new(path, message)])
}

fn takes(schema: Schema<'_>, value: &Value) -> bool {
    let types = schema.types();
    types.is_empty() || types.contains(kind(value)) || (types.contains("number") && value.is_number())
}

/// The JSON type of a value.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn mismatch(schema: Schema<'_>, value: &Value) -> String {
    let types = schema.types();
    let mut expected: Vec<_> =
        types.iter().filter(|name| **name != "null").map(|name| article(name)).collect();
    expected.sort_unstable_by_key(|name| *name == article("array"));
    let found = match value {
        _ if schema.secret() => article(kind(value)).to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("{} {value}", bare(kind(value))),
        Value::String(text) => format!("the text {:?}", clipped(text)),
        _ => article(kind(value)).to_owned(),
    };
    format!("expected {}, found {found}{}", expected.join(" or "), remedy(schema, value))
}

/// How to write the value that is meant, if that is plain.
fn remedy(schema: Schema<'_>, value: &Value) -> Cow<'static, str> {
    let takes_inner =
        |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|inner| takes(schema, &inner));
    match value {
        _ if schema.secret() => "".into(),
        Value::Null => "; leave it out for the default".into(),
        Value::String(text) if takes_inner(text) => "; write it without quotes".into(),
        Value::Bool(_) | Value::Number(_) if schema.types().contains("string") => {
            let words: Vec<_> =
                schema.alternatives().into_iter().filter_map(Schema::choices).flatten().collect();
            match words.as_slice() {
                [] => "; write it in quotes".into(),
                words => format!("; write one of: {}", words.join(", ")).into(),
            }
        }
        _ => "".into(),
    }
}

/// A type as it stands in a sentence.
#[must_use]
pub fn article(kind: &str) -> &'static str {
    match kind {
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        "object" => "a table",
        _ => "null",
    }
}

fn bare(kind: &str) -> &'static str {
    match kind {
        "boolean" => "the value",
        _ => "the number",
    }
}

fn one(schema: Schema<'_>, value: &Value, path: &str) -> Vec<Problem> {
    match value {
        Value::Object(members) => table(schema, members, path),
        Value::Array(items) => list(schema, items, path),
        Value::Number(number) => range(schema, number, path),
        Value::String(text) => word(schema, text, path),
        Value::Null | Value::Bool(_) => Vec::new(),
    }
}

fn table(schema: Schema<'_>, members: &serde_json::Map<String, Value>, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in members {
        let at = path::member(path, key);
        match schema.member(key) {
            Some(schema) => problems.extend(check(schema, value, &at)),
            None if !schema.open() => problems.push(Problem::new(at, unknown(schema, key))),
            None => {}
        }
    }
    for required in schema.names("required") {
        if !members.contains_key(required) {
            problems.push(Problem::new(path::member(path, required), "is required"));
        }
    }
    problems
}

fn unknown(schema: Schema<'_>, key: &str) -> String {
    if schema.names("x-later").contains(&key) {
        return format!("`{key}` is not part of this build");
    }
    let known: Vec<_> = schema.members().into_iter().map(|(key, _)| key).collect();
    if known.is_empty() {
        return "unknown key; nothing can be set here".to_owned();
    }
    format!("unknown key{} (known: {})", hint(key, &known), known.join(", "))
}

/// A suggestion, if one word is near enough.
fn hint(word: &str, known: &[&str]) -> String {
    suggest(word, known.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

fn list(schema: Schema<'_>, items: &[Value], path: &str) -> Vec<Problem> {
    let least = schema.keyword("minItems").and_then(Value::as_u64).unwrap_or(0);
    if (items.len() as u64) < least {
        return vec![Problem::new(path, format!("needs at least {least}, found {}", items.len()))];
    }
    let Some(schema) = schema.items() else { return Vec::new() };
    let judged = items.iter().enumerate().map(|(index, item)| check(schema, item, &path::item(path, index)));
    judged.flatten().collect()
}

fn range(schema: Schema<'_>, number: &serde_json::Number, path: &str) -> Vec<Problem> {
    let value = number.as_f64().unwrap_or(f64::NAN);
    let bound = |keyword: &str| schema.keyword(keyword).and_then(Value::as_f64);
    if schema.keyword("format").and_then(Value::as_str) == Some("bytes") && number.as_u64().is_none() {
        return vec![Problem::new(path, format!("a size is a whole number, 0 or more; found {number}"))];
    }
    let message = match (bound("minimum"), bound("maximum")) {
        (Some(least), _) if value < least => format!("must be at least {least}, found {number}"),
        (_, Some(most)) if value > most => format!("must be at most {most}, found {number}"),
        _ => return Vec::new(),
    };
    vec![Problem::new(path, message)]
}

fn word(schema: Schema<'_>, text: &str, path: &str) -> Vec<Problem> {
    let least = schema.keyword("minLength").and_then(Value::as_u64).unwrap_or(0);
    if least > 0 && text.is_empty() {
        return vec![Problem::new(path, "must not be empty")];
    }
    let message = match schema.keyword("format").and_then(Value::as_str) {
        Some("bytes") => text.parse::<ByteSize>().err().map(|error| error.to_string()),
        Some("duration") => text.parse::<Period>().err().map(|error| error.to_string()),
        Some("listen-address") => text.parse::<SocketAddr>().err().map(|_| address(text)),
        _ => None,
    };
    message.map(|message| Problem::new(path, message)).into_iter().collect()
}

fn address(text: &str) -> String {
    let text = clipped(text);
    format!(
        "`{text}` is not an address to listen on; write an IP address and a port, for example 127.0.0.1:4222"
    )
}

/// At most [`SHOWN`] characters, control characters made visible.
fn clipped(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("{}{more}", shown.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""))
}
