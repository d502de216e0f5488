//! YAML text to a value with lines.
//!
//! The invariant: aliases are expanded within the parser's budget, so a small file cannot become a large value; a
//! number with leading zeros stays text.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::path;
use super::place::{Located, Place, Places};

/// Most values in a file, aliases expanded.
const MAX_NODES: usize = 20_000;

/// What a text holds.
#[derive(Default)]
pub(super) struct Parsed {
    /// The values; of members that stand there several times, the last one.
    pub value: Value,
    /// Where they stand.
    pub places: Places,
    /// Members that stand there several times.
    pub repeated: Vec<Located>,
}

/// Parses one YAML document.
///
/// # Errors
/// The first syntax error (the parser stops there), a number no setting can have, or members that stand there several times.
pub(super) fn parse(text: &str, file: &Path) -> Result<(Value, Places), Vec<Located>> {
    let Parsed { value, places, repeated } = read(text, file)?;
    if repeated.is_empty() { Ok((value, places)) } else { Err(repeated) }
}

/// The same; it is left to the caller what members mean that stand there several times.
///
/// # Errors
/// As for [`parse`].
pub(super) fn read(text: &str, file: &Path) -> Result<Parsed, Vec<Located>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES },
        // Told by `Notes`, which knows where the first one stands.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        leading_zero_numbers_as_strings: true,
        strict_booleans: true,
        with_snippet: false,
    };
    let place = |line: u64| {
        let line = usize::try_from(line).ok().filter(|line| *line > 0);
        Place::File { file: file.to_owned(), line }
    };
    if text.trim().is_empty() {
        return Ok(Parsed::default());
    }
    let node = serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        vec![Located::new(place(line), "", plain(&error.without_snippet().to_string()))]
    })?;
    let mut notes = Notes { places: Places::default(), repeated: Vec::new(), place: &place };
    let value = notes.take(node.value, "");
    Ok(Parsed { value, places: notes.places, repeated: notes.repeated })
}

/// What the parser says, without the line (which stands before it) and without advice to programmers.
fn plain(message: &str) -> String {
    if message.starts_with("budget breached") {
        return format!("too large: more than {MAX_NODES} values once aliases are expanded");
    }
    let message = message.lines().next().unwrap_or_default();
    [", set DuplicateKeyPolicy", " at line "]
        .iter()
        .fold(message, |text, end| text.split_once(end).map_or(text, |(text, _)| text))
        .to_owned()
}

/// Takes nodes apart into values and what is to be known of them.
struct Notes<'p> {
    places: Places,
    repeated: Vec<Located>,
    place: &'p dyn Fn(u64) -> Place,
}

impl Notes<'_> {
    fn take(&mut self, node: Node, at: &str) -> Value {
        match node {
            Node::Plain(value) => value,
            Node::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let path = path::item(at, index);
                    self.places.note(path.clone(), (self.place)(item.referenced.line()));
                    list.push(self.take(item.value, &path));
                }
                Value::Array(list)
            }
            Node::Table(members) => {
                let mut table = Map::new();
                for (key, value) in members {
                    let path = path::member(at, &key.value);
                    let place = (self.place)(key.referenced.line());
                    if table.contains_key(&key.value) {
                        self.repeat(place.clone(), &path);
                    }
                    self.places.note(path.clone(), place);
                    table.insert(key.value, self.take(value.value, &path));
                }
                Value::Object(table)
            }
        }
    }

    fn repeat(&mut self, place: Place, path: &str) {
        let message = match self.places.of(path) {
            Place::File { line: Some(line), .. } => {
                format!("stands in line {line} already; leave one of them out")
            }
            _ => "stands there several times; leave one of them".to_owned(),
        };
        self.repeated.push(Located::new(place, path, message));
    }
}

/// A YAML node whose children know their lines.
enum Node {
    Plain(Value),
    List(Vec<Spanned<Node>>),
    Table(Vec<(Spanned<String>, Spanned<Node>)>),
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Plain(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Plain(Value::Bool(flag)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Plain(Value::Number(number.into())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Plain(Value::Number(number.into())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Node::Plain(Value::Number(number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Plain(Value::String(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut table = Vec::new();
        while let Some(member) = members.next_entry()? {
            table.push(member);
        }
        Ok(Node::Table(table))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}
