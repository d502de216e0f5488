//! A log line of the application (wire contract §3.4).
//!
//! Owns its fields and their place in each encoding; leaves out what a sink makes of it (`LogEncoder`).
//! Invariant: a line from a FlatBuffer or from text borrows the payload and costs no allocation.

use std::borrow::Cow;

use crate::flatbuffer::{Fault, Slot, Table, Writer};
use crate::limits::Budget;
use crate::{Class, DecodeError, Encoding, log_json};

/// One LOG message. All fields are bytes: the original never asked for UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log<'a> {
    /// Identifier of the container; empty when absent.
    pub container_id: Cow<'a, [u8]>,
    /// Name of the container; empty when absent.
    pub container_name: Cow<'a, [u8]>,
    /// The text, lines and all; `None` when the writer left it out, which every output shows as empty.
    pub payload: Option<Cow<'a, [u8]>>,
}

/// The three strings of a LOG FlatBuffer, as they stand in the payload.
struct Fields<'a> {
    container_id: &'a [u8],
    container_name: &'a [u8],
    payload: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    #[inline]
    fn read(payload: &'a [u8]) -> Result<Self, Fault> {
        let table = Table::root(payload)?;
        let fields = Self {
            container_id: table.string(0)?.unwrap_or_default(),
            container_name: table.string(1)?.unwrap_or_default(),
            payload: table.string(2)?,
        };
        let mut budget = Budget::for_payload(payload.len());
        budget.take_bytes(fields.container_id.len())?;
        budget.take_bytes(fields.container_name.len())?;
        budget.take_bytes(fields.payload.map_or(0, <[u8]>::len))?;
        Ok(fields)
    }
}

impl<'a> Log<'a> {
    /// Reads a LOG payload. `default_container` names the container of a text line, and of a JSON line
    /// that names none.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the payload is not a LOG message in this encoding.
    #[inline]
    pub fn decode(
        encoding: Encoding,
        payload: &'a [u8],
        default_container: &'a [u8],
    ) -> Result<Self, DecodeError> {
        match encoding {
            Encoding::FlatBuffer => {
                let fields = Fields::read(payload)?;
                Ok(Self {
                    container_id: Cow::Borrowed(fields.container_id),
                    container_name: Cow::Borrowed(fields.container_name),
                    payload: fields.payload.map(Cow::Borrowed),
                })
            }
            Encoding::Text => {
                check_text(payload)?;
                Ok(Self {
                    container_id: Cow::Borrowed(b""),
                    container_name: Cow::Borrowed(default_container),
                    payload: Some(Cow::Borrowed(payload)),
                })
            }
            Encoding::Json => log_json::decode(payload, default_container),
            Encoding::CloudEvent => Err(DecodeError::WrongEncoding { class: Class::Log, encoding }),
        }
    }

    /// Says whether [`Log::decode`] would succeed.
    #[inline]
    pub(crate) fn verify(encoding: Encoding, payload: &[u8]) -> Result<(), DecodeError> {
        match encoding {
            Encoding::FlatBuffer => {
                Fields::read(payload)?;
                Ok(())
            }
            Encoding::Text => check_text(payload),
            Encoding::Json | Encoding::CloudEvent => Log::decode(encoding, payload, b"").map(|_| ()),
        }
    }

    /// The text, empty when absent.
    #[must_use]
    #[inline]
    pub fn text(&self) -> &[u8] {
        self.payload.as_deref().unwrap_or_default()
    }

    /// Appends this line as a FlatBuffer, as an application would send it. Empty names are left out.
    pub fn encode_flatbuffer(&self, out: &mut Vec<u8>) {
        let slot = |present: bool| if present { Slot::Offset } else { Slot::Absent };
        let (mut writer, root) = Writer::new(out);
        let slots = [
            slot(!self.container_id.is_empty()),
            slot(!self.container_name.is_empty()),
            slot(self.payload.is_some()),
        ];
        let [id, name, text, ..] = writer.table(root, &slots);
        if !self.container_id.is_empty() {
            writer.string(id, &self.container_id);
        }
        if !self.container_name.is_empty() {
            writer.string(name, &self.container_name);
        }
        if let Some(payload) = &self.payload {
            writer.string(text, payload);
        }
    }
}

/// A text line is UTF-8 without NUL: what else arrives is a broken FlatBuffer, not a line.
fn check_text(payload: &[u8]) -> Result<(), DecodeError> {
    if memchr::memchr(0, payload).is_some() || std::str::from_utf8(payload).is_err() {
        return Err(DecodeError::NotText);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf8_without_nul() {
        let reason =
            |payload: &'static [u8]| Log::decode(Encoding::Text, payload, b"app").map_err(|e| e.reason());
        assert_eq!(reason("größe\n".as_bytes()).unwrap().text(), "größe\n".as_bytes());
        assert_eq!(reason(b"").unwrap().text(), b"");
        assert_eq!(reason(b"a\0b"), Err("not_text"));
        assert_eq!(reason(b"a\xff"), Err("not_text"));
    }

    #[test]
    fn a_cloud_event_is_no_log() {
        let error = Log::decode(Encoding::CloudEvent, b"{}", b"app").unwrap_err();
        assert_eq!(error.reason(), "wrong_encoding");
        assert_eq!(error.to_string(), "cloudevent is no encoding of a log message");
    }
}
