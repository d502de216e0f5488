//! TOML text to a value with lines.
//!
//! The invariant: every key and value has the line it stands on, and every syntax error is reported, not only the
//! first.

use std::path::Path;

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::place::{Located, Place, Places};
use super::{path, toml_repeats};

/// Parses a TOML document.
///
/// # Errors
/// All syntax errors, and values that no setting can have.
pub(super) fn parse(text: &str, file: &Path) -> Result<(Value, Places), Vec<Located>> {
    let mut reader = Reader::new(text, file);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut repeated = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        if error.message() == toml_repeats::MESSAGE {
            repeated.push(span);
        } else {
            reader.problems.push(Located::new(reader.place(span.start), "", error.message()));
        }
    }
    if !repeated.is_empty() {
        repeated.sort_by_key(|span| span.start);
        repeated.dedup();
        reader.problems.extend(toml_repeats::problems(text, file, &repeated));
    }
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    let value = reader.table(document.get_ref(), "");
    if reader.problems.is_empty() { Ok((value, reader.places)) } else { Err(reader.problems) }
}

/// What is being read.
pub(super) struct Reader<'t> {
    text: &'t str,
    file: &'t Path,
    /// Where the keys and values stand that were read.
    pub places: Places,
    problems: Vec<Located>,
}

impl<'t> Reader<'t> {
    /// Nothing has been read yet.
    pub fn new(text: &'t str, file: &'t Path) -> Self {
        Self { text, file, places: Places::default(), problems: Vec::new() }
    }
}

impl Reader<'_> {
    /// The line of that byte.
    pub fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place::File { file: self.file.to_owned(), line: Some(line) }
    }

    /// The table that stands at that path.
    pub fn table(&mut self, table: &DeTable<'_>, at: &str) -> Value {
        let mut members = Map::new();
        for (key, value) in table {
            let path = path::member(at, key.get_ref());
            let place = self.place(key.span().start);
            self.places.note(path.clone(), place);
            members.insert(key.get_ref().to_string(), self.value(value.get_ref(), &path));
        }
        Value::Object(members)
    }

    fn value(&mut self, value: &DeValue<'_>, at: &str) -> Value {
        match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) => Value::Number(number.into()),
                Err(_) => self.refuse(at, "the number is too large"),
            },
            DeValue::Float(digits) => match digits.as_str().parse().ok().and_then(Number::from_f64) {
                Some(number) => Value::Number(number),
                None => self.refuse(at, "not a finite number"),
            },
            DeValue::Datetime(time) => Value::String(time.to_string()),
            DeValue::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let path = path::item(at, index);
                    let place = self.place(item.span().start);
                    self.places.note(path.clone(), place);
                    list.push(self.value(item.get_ref(), &path));
                }
                Value::Array(list)
            }
            DeValue::Table(table) => self.table(table, at),
        }
    }

    fn refuse(&mut self, at: &str, message: &str) -> Value {
        self.problems.push(Located::new(self.places.of(at).clone(), at, message));
        Value::Null
    }
}
