//! TOML text to a value with lines.
//!
//! The invariant: every key and value has the line it stands on, and every syntax error is reported, not only the
//! first.

use std::path::Path;

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::path;
use super::place::{Located, Place, Places};

/// Parses a TOML document.
///
/// # Errors
/// All syntax errors, and values that no setting can have.
pub(super) fn parse(text: &str, file: &Path) -> Result<(Value, Places), Vec<Located>> {
    let mut reader = Reader { text, file, places: Places::default(), problems: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = reader.place(error.span().unwrap_or_default().start);
        reader.problems.push(Located::new(place, "", error.message()));
    }
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    let value = reader.table(document.get_ref(), "");
    if reader.problems.is_empty() { Ok((value, reader.places)) } else { Err(reader.problems) }
}

struct Reader<'t> {
    text: &'t str,
    file: &'t Path,
    places: Places,
    problems: Vec<Located>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place::File { file: self.file.to_owned(), line: Some(line) }
    }

    fn table(&mut self, table: &DeTable<'_>, at: &str) -> Value {
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
