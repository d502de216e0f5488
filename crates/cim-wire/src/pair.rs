//! A named value of an event.
//!
//! Owns the pair and its place in a FlatBuffer (wire contract §3.5, `KeyValue`); leaves out the lists that hold pairs.
//! Invariant: an absent value stays distinguishable from an empty one until it is encoded as JSON.

use std::borrow::Cow;

use crate::flatbuffer::{Fault, Slot, Table, Writer};
use crate::limits::Budget;

/// A name and its value, as bytes: neither needs to be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pair<'a> {
    /// The name; empty when absent in the payload.
    pub name: Cow<'a, [u8]>,
    /// The value; `None` when absent, which JSON output shows as the empty string.
    pub value: Option<Cow<'a, [u8]>>,
}

impl<'a> Pair<'a> {
    /// A pair of two borrowed texts.
    #[must_use]
    pub fn new(name: &'a str, value: &'a str) -> Self {
        Self { name: Cow::Borrowed(name.as_bytes()), value: Some(Cow::Borrowed(value.as_bytes())) }
    }

    /// A pair that owns its texts.
    #[must_use]
    pub fn owned(name: &str, value: &str) -> Pair<'static> {
        let bytes = |text: &str| Cow::Owned(text.as_bytes().to_vec());
        Pair { name: bytes(name), value: Some(bytes(value)) }
    }

    pub(crate) fn read(table: Table<'a>, budget: &mut Budget) -> Result<Self, Fault> {
        let name = table.string(0)?.unwrap_or_default();
        let value = table.string(1)?;
        budget.take_bytes(name.len())?;
        budget.take_bytes(value.map_or(0, <[u8]>::len))?;
        Ok(Self { name: Cow::Borrowed(name), value: value.map(Cow::Borrowed) })
    }

    pub(crate) fn write(&self, at: usize, writer: &mut Writer<'_>) {
        let slots = [
            if self.name.is_empty() { Slot::Absent } else { Slot::Offset },
            if self.value.is_some() { Slot::Offset } else { Slot::Absent },
        ];
        let [name, value, ..] = writer.table(at, &slots);
        if !self.name.is_empty() {
            writer.string(name, &self.name);
        }
        if let Some(content) = &self.value {
            writer.string(value, content);
        }
    }
}
