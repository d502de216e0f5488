//! Keys that stand in a TOML text several times: which they are, and where the first of them stands.
//!
//! The parser tells where a repeated key stands, and neither its path nor the first one. Left out: other errors. Invariant: a key is
//! told by the path that it would have, whether it is a value, the header of a table or a part of a dotted key.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use toml::de::DeTable;

use super::path;
use super::place::{Located, Place, Places};
use super::toml_text::Reader;

/// What the parser says of such a key.
pub(super) const MESSAGE: &str = "duplicate key";

/// The problems that the keys in these places of the text are.
pub(super) fn problems(text: &str, file: &Path, spans: &[Range<usize>]) -> Vec<Located> {
    // A name that stands nowhere else in the text takes the place of each, so that all of it can be read.
    let mut name = "repeated-".to_owned();
    while text.contains(&name) {
        name.push('-');
    }
    let mut marked = text.to_owned();
    for (number, span) in spans.iter().enumerate().rev() {
        if marked.get(span.clone()).is_some() {
            marked.replace_range(span.clone(), &format!("{name}{number}"));
        }
    }
    let mut reader = Reader::new(&marked, file);
    let (document, _) = DeTable::parse_recoverable(&marked);
    let value = reader.table(document.get_ref(), "");
    let told = spans.iter().enumerate().map(|(number, span)| {
        let key = plain(text.get(span.clone()).unwrap_or_default());
        let around = table_of(&value, &format!("{name}{number}"), "").unwrap_or_default();
        let at = path::member(&around, &key);
        let advice = advice(&at, &value, &reader.places);
        Located::new(Reader::new(text, file).place(span.start), at, advice)
    });
    told.collect()
}

/// A key without its quotes.
fn plain(written: &str) -> String {
    let line = format!("{written} = 0");
    let (table, _) = DeTable::parse_recoverable(&line);
    let key = table.get_ref().keys().next().map(|key| key.get_ref().to_string());
    key.unwrap_or_else(|| written.to_owned())
}

/// Path of the table that has that key.
fn table_of(value: &Value, key: &str, at: &str) -> Option<String> {
    match value {
        Value::Object(members) if members.contains_key(key) => Some(at.to_owned()),
        Value::Object(members) => {
            members.iter().find_map(|(name, value)| table_of(value, key, &path::member(at, name)))
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, value)| table_of(value, key, &path::item(at, index)))
        }
        _ => None,
    }
}

/// What is to be done about it.
fn advice(at: &str, document: &Value, places: &Places) -> String {
    let is_table =
        || at.split('.').try_fold(document, |value, key| value.get(key)).is_some_and(Value::is_object);
    match places.of_value(at) {
        Place::File { line: Some(line), .. } if is_table() => {
            format!("begins in line {line} already; put all of it there")
        }
        Place::File { line: Some(line), .. } => {
            format!("stands in line {line} already; leave one of them out")
        }
        _ => "stands there several times; leave one of them".to_owned(),
    }
}
