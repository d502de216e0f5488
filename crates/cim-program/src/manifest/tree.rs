//! YAML as a tree that keeps the order of its members.
//!
//! Owns reading and writing. The invariant: a value keeps the type it has for Kubernetes, whose reader knows YAML 1.1: `0644`
//! is a number, `yes` a truth value, and a text that looks like either is written in quotes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Most values in a file, aliases expanded.
const MAX_NODES: usize = 100_000;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Null,
    Flag(bool),
    Whole(i64),
    Large(u64),
    Real(f64),
    Text(String),
    List(Vec<Tree>),
    Table(Vec<(String, Tree)>),
}

/// The documents of a file.
///
/// # Errors
/// The first mistake, with its line.
pub(super) fn read(text: &str) -> Result<Vec<Tree>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES },
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let said = error.without_snippet().to_string();
        let said = said.lines().next().and_then(|said| said.split(" at line ").next()).unwrap_or_default();
        format!("line {line}: {said}")
    })
}

/// The text of these documents.
///
/// # Errors
/// None is known.
pub(super) fn write(documents: &[Tree]) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: true, folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_multiple_with_options(documents, options).map_err(|error| error.to_string())
}

impl Tree {
    /// A text.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A member of a table.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Table(members) = self else { return None };
        members.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// As [`Tree::get`].
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        let Self::Table(members) = self else { return None };
        members.iter_mut().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Sets a member of a table; a new one goes to the end.
    pub(super) fn set(&mut self, name: &str, value: Self) {
        match self.get_mut(name) {
            Some(place) => *place = value,
            None => {
                if let Self::Table(members) = self {
                    members.push((name.to_owned(), value));
                }
            }
        }
    }

    /// Takes a member out of a table.
    pub(super) fn take(&mut self, name: &str) -> Option<Self> {
        let Self::Table(members) = self else { return None };
        let at = members.iter().position(|(key, _)| key == name)?;
        Some(members.remove(at).1)
    }

    /// A list in a table, made when absent or null; `None` when something else is there.
    pub(super) fn list_mut(&mut self, name: &str) -> Option<&mut Vec<Self>> {
        if self.get(name).is_none_or(|value| *value == Self::Null) {
            self.set(name, Self::List(Vec::new()));
        }
        if let Some(Self::List(items)) = self.get_mut(name) { Some(items) } else { None }
    }

    /// Makes an empty list in a table before that other member, unless there is something of that name.
    pub(super) fn list_before(&mut self, name: &str, other: &str) {
        let Self::Table(members) = self else { return };
        if members.iter().all(|(key, _)| key != name) {
            let at = members.iter().position(|(key, _)| key == other).unwrap_or(members.len());
            members.insert(at, (name.to_owned(), Self::List(Vec::new())));
        }
    }

    /// Its member `name`, by which Kubernetes knows the items of most lists.
    pub(super) fn name(&self) -> Option<&str> {
        self.get("name")?.as_text()
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Whole(number) => serializer.serialize_i64(*number),
            Self::Large(number) => serializer.serialize_u64(*number),
            Self::Real(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
            Self::Table(members) => {
                let mut table = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    table.serialize_entry(key, value)?;
                }
                table.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Whole(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Tree, E> {
        Ok(i64::try_from(number).map_or(Tree::Large(number), Tree::Whole))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Real(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut table = Vec::new();
        while let Some(member) = members.next_entry()? {
            table.push(member);
        }
        Ok(Tree::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::{read, write};

    #[test]
    fn values_keep_the_type_they_have_for_kubernetes() {
        let text = "mode: 0644\nflag: yes\nquoted: \"yes\"\nport: \"8080\"\nempty:\nlist: []\nzero: \"0644\"\n\
            script: |\n  one\n  two\nhalf: 0.5\n";
        let written = write(&read(text).unwrap()).unwrap();
        for line in ["mode: 420", "flag: true", "empty: null", "list: []", "script: |", "half: 0.5"] {
            assert!(written.lines().any(|found| found == line), "{line}\n{written}");
        }
        let again = read(&written).unwrap();
        assert_eq!(again, read(text).unwrap());
        for text in ["quoted", "port", "zero"] {
            assert!(again[0].get(text).unwrap().as_text().is_some(), "{text}\n{written}");
        }
    }

    #[test]
    fn documents_and_the_order_of_members_stay() {
        let text = "kind: B\na: 1\n---\nz: 1\nb: 2\n";
        assert_eq!(write(&read(text).unwrap()).unwrap(), text);
    }

    #[test]
    fn a_mistake_has_its_line() {
        assert!(read("a: 1\nb: [\n").unwrap_err().starts_with("line "));
    }
}
