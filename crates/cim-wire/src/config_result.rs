//! What an application says of a change: the payload of CONFIG (wire contract §3.6).
//!
//! Owns the members; leaves out what they lead to. Invariant: a value that is a number or a boolean counts as its text, and
//! members that are not of the contract are ignored whatever they hold, so that a result is never lost for its form.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::DecodeError;
use crate::json_input;

/// A result as published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigResult {
    /// The key of the change, as it was handed over.
    pub change_set_key: String,
    /// Its revision; `None` when absent or empty.
    pub revision: Option<String>,
    /// `success`, `unused`, or anything else for a failure; `None` when absent.
    pub status: Option<String>,
    /// Free text.
    pub remarks: Option<String>,
}

impl ConfigResult {
    /// Reads a CONFIG payload.
    ///
    /// # Errors
    /// [`DecodeError`] when the payload is no JSON object, or names no change.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let result: Self = json_input::parse(payload)?;
        if result.change_set_key.is_empty() {
            return Err(json_input::missing("change-set-key"));
        }
        Ok(result)
    }
}

impl<'de> Deserialize<'de> for ConfigResult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = ConfigResult;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConfigResult, A::Error> {
        let mut result = ConfigResult::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "change-set-key" => result.change_set_key = map.next_value::<Text>()?.0.unwrap_or_default(),
                "revision" => result.revision = map.next_value::<Text>()?.0.filter(|text| !text.is_empty()),
                "status" => result.status = map.next_value::<Text>()?.0,
                "remarks" => result.remarks = map.next_value::<Text>()?.0,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(result)
    }
}

/// A text, or a plain value as its text; lists, objects and `null` are no text.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Plain).map(Self)
    }
}

struct Plain;

impl<'de> Visitor<'de> for Plain {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_read_whatever_plain_values_they_hold() {
        let result = ConfigResult::decode(
            br#"{"change-set-key":"k","revision":40,"status":"success","remarks":true,"extra":{"a":[1]}}"#,
        )
        .unwrap();
        assert_eq!(result.change_set_key, "k");
        assert_eq!(result.revision.as_deref(), Some("40"));
        assert_eq!(result.status.as_deref(), Some("success"));
        assert_eq!(result.remarks.as_deref(), Some("true"));
    }

    #[test]
    fn absent_and_odd_values_are_absent() {
        let result =
            ConfigResult::decode(br#"{"change-set-key":"k","revision":"","status":null,"remarks":["x"]}"#)
                .unwrap();
        assert_eq!((result.revision, result.status, result.remarks), (None, None, None));
    }

    #[test]
    fn what_names_no_change_is_refused() {
        for payload in [&b"{}"[..], b"", b"null", b"[]", b"text", br#"{"change-set-key":""}"#, b"\xff"] {
            assert!(ConfigResult::decode(payload).is_err(), "{}", String::from_utf8_lossy(payload));
        }
        let deep = format!(r#"{{"change-set-key":"k","x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert!(ConfigResult::decode(deep.as_bytes()).is_err());
    }
}
