//! An event of the application (wire contract §3.5).
//!
//! Owns its fields and their place in a FlatBuffer; leaves out JSON in (`event_json`, `cloud_event`) and JSON out
//! (`EventEncoder`). Invariant: lists keep their order and their duplicates; nothing is sorted or searched.

use std::borrow::Cow;

use crate::flatbuffer::{Fault, Slot, Table, Writer};
use crate::limits::Budget;
use crate::{Class, DecodeError, Encoding, Pair, cloud_event, event_json};

/// One EVENT message. Strings are bytes, empty when absent; lists are `None` when absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event<'a> {
    /// Name of the event, the key to its definition.
    pub event_name: Cow<'a, [u8]>,
    /// When it happened: milliseconds since 1970-01-01 UTC; 0 when absent, and possibly negative.
    pub event_time: i64,
    /// Identifier of the container that raised it.
    pub container_id: Cow<'a, [u8]>,
    /// What the event is about.
    pub managed_object: Option<Vec<Pair<'a>>>,
    /// Free additions.
    pub additional_info: Option<Vec<Pair<'a>>>,
    /// The threshold that was crossed.
    pub threshold_info: Option<Vec<Pair<'a>>>,
    /// Old and new state.
    pub state_change_definition: Option<Vec<Pair<'a>>>,
    /// Attributes under watch.
    pub monitored_attributes: Option<Vec<Pair<'a>>>,
    /// Identifier of the source; part of the alarm's identity.
    pub source_id: Cow<'a, [u8]>,
    /// Name of the source.
    pub source_name: Cow<'a, [u8]>,
    /// Kind of the source.
    pub event_source_type: Cow<'a, [u8]>,
    /// CIM raised it itself, which gives it other headers and another key (wire contract §7.4). Never in a payload.
    pub own: bool,
}

/// Slots of the five lists.
const LISTS: [usize; 5] = [3, 4, 5, 6, 7];

impl<'a> Event<'a> {
    /// Reads an EVENT payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the payload is not an EVENT message in this encoding.
    pub fn decode(encoding: Encoding, payload: &'a [u8]) -> Result<Self, DecodeError> {
        match encoding {
            Encoding::FlatBuffer => Ok(Self::read(payload)?),
            Encoding::Json => event_json::decode(payload),
            Encoding::CloudEvent => cloud_event::decode(payload),
            Encoding::Text => Err(DecodeError::WrongEncoding { class: Class::Event, encoding }),
        }
    }

    /// When the event of this payload happened, without reading the rest of a FlatBuffer. `None` when the payload does
    /// not say, or is no EVENT message.
    #[must_use]
    pub fn time(encoding: Encoding, payload: &[u8]) -> Option<i64> {
        let time = match encoding {
            Encoding::FlatBuffer => Table::root(payload).and_then(|table| table.long(1)).ok()?,
            _ => Event::decode(encoding, payload).ok()?.event_time,
        };
        Some(time).filter(|time| *time != 0)
    }

    /// The name in this payload, without reading the rest of a FlatBuffer. `None` when the payload does not say, or is no
    /// EVENT message.
    #[must_use]
    pub fn name(encoding: Encoding, payload: &[u8]) -> Option<Cow<'_, [u8]>> {
        match encoding {
            Encoding::FlatBuffer => {
                Table::root(payload).and_then(|table| table.string(0)).ok()?.map(Cow::Borrowed)
            }
            _ => Some(Event::decode(encoding, payload).ok()?.event_name),
        }
    }

    /// Says whether [`Event::decode`] would succeed; walks a FlatBuffer without allocating.
    pub(crate) fn verify(encoding: Encoding, payload: &[u8]) -> Result<(), DecodeError> {
        if encoding != Encoding::FlatBuffer {
            return Event::decode(encoding, payload).map(|_| ());
        }
        let table = Table::root(payload)?;
        let mut budget = Budget::for_payload(payload.len());
        Event::read_scalars(table, &mut budget)?;
        for slot in LISTS {
            table.tables(
                slot,
                &mut budget,
                |_| (),
                |(), budget, element| Pair::read(element, budget).map(|_| ()),
            )?;
        }
        Ok(())
    }

    fn read(payload: &'a [u8]) -> Result<Self, Fault> {
        let table = Table::root(payload)?;
        let mut budget = Budget::for_payload(payload.len());
        let mut event = Self::read_scalars(table, &mut budget)?;
        let mut lists = [const { None }; LISTS.len()];
        for (list, slot) in lists.iter_mut().zip(LISTS) {
            *list = table.tables(slot, &mut budget, Vec::with_capacity, |pairs, budget, element| {
                pairs.push(Pair::read(element, budget)?);
                Ok(())
            })?;
        }
        [
            event.managed_object,
            event.additional_info,
            event.threshold_info,
            event.state_change_definition,
            event.monitored_attributes,
        ] = lists;
        Ok(event)
    }

    fn read_scalars(table: Table<'a>, budget: &mut Budget) -> Result<Self, Fault> {
        let mut string = |slot| -> Result<Cow<'a, [u8]>, Fault> {
            let content = table.string(slot)?.unwrap_or_default();
            budget.take_bytes(content.len())?;
            Ok(Cow::Borrowed(content))
        };
        Ok(Self {
            event_name: string(0)?,
            event_time: table.long(1)?,
            container_id: string(2)?,
            source_id: string(8)?,
            source_name: string(9)?,
            event_source_type: string(10)?,
            ..Self::default()
        })
    }

    /// Appends this event as a FlatBuffer, as an application would send it. Empty strings and a time of 0 are
    /// left out.
    pub fn encode_flatbuffer(&self, out: &mut Vec<u8>) {
        let text = |content: &[u8]| if content.is_empty() { Slot::Absent } else { Slot::Offset };
        let list = |pairs: &Option<Vec<Pair<'_>>>| if pairs.is_some() { Slot::Offset } else { Slot::Absent };
        let slots = [
            text(&self.event_name),
            if self.event_time == 0 { Slot::Absent } else { Slot::Long(self.event_time) },
            text(&self.container_id),
            list(&self.managed_object),
            list(&self.additional_info),
            list(&self.threshold_info),
            list(&self.state_change_definition),
            list(&self.monitored_attributes),
            text(&self.source_id),
            text(&self.source_name),
            text(&self.event_source_type),
        ];
        let (mut writer, root) = Writer::new(out);
        let [name, _, container, managed, info, threshold, state, attributes, id, source, kind] =
            writer.table(root, &slots);
        for (at, content) in [
            (name, &self.event_name),
            (container, &self.container_id),
            (id, &self.source_id),
            (source, &self.source_name),
            (kind, &self.event_source_type),
        ] {
            if !content.is_empty() {
                writer.string(at, content);
            }
        }
        for (at, pairs) in [
            (managed, &self.managed_object),
            (info, &self.additional_info),
            (threshold, &self.threshold_info),
            (state, &self.state_change_definition),
            (attributes, &self.monitored_attributes),
        ] {
            if let Some(pairs) = pairs {
                write_list(&mut writer, at, pairs);
            }
        }
    }
}

fn write_list(writer: &mut Writer<'_>, at: usize, pairs: &[Pair<'_>]) {
    let first = writer.offsets(at, pairs.len());
    for (index, pair) in pairs.iter().enumerate() {
        pair.write(first + 4 * index, writer);
    }
}
