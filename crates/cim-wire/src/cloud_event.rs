//! An event as a CloudEvent in structured JSON mode.
//!
//! Owns the mapping `type` → event name, `time` → event time, `source` → source name, members of `data` →
//! additional information; leaves out the binary mode and all other attributes. Invariant: a value in `data` that
//! is no string is kept as its JSON text, byte for byte, so no digit is lost.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json_input::{self, PairList, bytes};
use crate::{DecodeError, Event, MAX_PAIRS, timestamp};

#[derive(serde::Deserialize)]
struct CloudEventDocument<'a> {
    #[serde(rename = "specversion")]
    _specversion: String,
    #[serde(rename = "type")]
    kind: String,
    source: Option<String>,
    time: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

pub(crate) fn decode(payload: &[u8]) -> Result<Event<'static>, DecodeError> {
    let document: CloudEventDocument<'_> = json_input::parse(payload)?;
    let event_time = match document.time {
        Some(time) => timestamp::millis_since_epoch(&time).ok_or(DecodeError::BadTime)?,
        None => 0,
    };
    let mut list = match document.data {
        Some(data) => data_pairs(data)?,
        None => PairList::default(),
    };
    if let Some(encoded) = document.data_base64 {
        list.push("data_base64".to_owned(), Some(encoded));
    }
    let pairs = list.into_pairs(&mut { MAX_PAIRS })?;
    Ok(Event {
        event_name: bytes(Some(document.kind)),
        event_time,
        source_name: bytes(document.source),
        additional_info: if pairs.is_empty() { None } else { Some(pairs) },
        ..Event::default()
    })
}

/// One pair per member of an object; anything else is one pair named `data`.
fn data_pairs(data: &RawValue) -> Result<PairList, DecodeError> {
    if data.get().starts_with('{') {
        return Ok(serde_json::from_str::<Members>(data.get())?.0);
    }
    let mut list = PairList::default();
    list.push("data".to_owned(), text_of(data)?);
    Ok(list)
}

/// A string as itself, `null` as absent, anything else as its JSON text.
fn text_of(value: &RawValue) -> Result<Option<String>, serde_json::Error> {
    match value.get() {
        "null" => Ok(None),
        text if text.starts_with('"') => serde_json::from_str(text).map(Some),
        text => Ok(Some(text.to_owned())),
    }
}

/// The members of an object, in their order.
struct Members(PairList);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut list = PairList::default();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            list.push(name, text_of(value).map_err(serde::de::Error::custom)?);
        }
        Ok(Members(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pair;

    #[test]
    fn attributes_and_data_become_fields() {
        let payload = br#"{"specversion":"1.0","id":"1","source":"/line/3","type":"door.open",
            "time":"2021-03-31T09:08:43Z","subject":"x",
            "data":{"b":"2","a":12345678901234567890.10,"n":null,"o":{"x":[1]},"t":true}}"#;
        let event = decode(payload).unwrap();
        assert_eq!(event.event_name.as_ref(), b"door.open");
        assert_eq!(event.event_time, 1_617_181_723_000);
        assert_eq!(event.source_name.as_ref(), b"/line/3");
        let expected = vec![
            Pair::new("b", "2"),
            Pair::new("a", "12345678901234567890.10"),
            Pair { value: None, ..Pair::new("n", "") },
            Pair::new("o", r#"{"x":[1]}"#),
            Pair::new("t", "true"),
        ];
        assert_eq!(event.additional_info, Some(expected));
    }

    #[test]
    fn data_may_be_anything() {
        let info = |member: &str| {
            let payload = format!(r#"{{"specversion":"1.0","type":"t"{member}}}"#);
            decode(payload.as_bytes()).unwrap().additional_info
        };
        assert_eq!(info(""), None);
        assert_eq!(info(r#","data":null"#), None);
        assert_eq!(info(r#","data":{}"#), None);
        assert_eq!(info(r#","data":"x""#), Some(vec![Pair::new("data", "x")]));
        assert_eq!(info(r#","data":[1,2]"#), Some(vec![Pair::new("data", "[1,2]")]));
        assert_eq!(info(r#","data_base64":"eA==""#), Some(vec![Pair::new("data_base64", "eA==")]));
    }

    #[test]
    fn wrong_types_are_refused() {
        let reason = |payload: &str| decode(payload.as_bytes()).unwrap_err().reason();
        assert_eq!(reason(r#"{"type":"t"}"#), "bad_json");
        assert_eq!(reason(r#"{"specversion":"1.0"}"#), "bad_json");
        assert_eq!(reason(r#"{"specversion":"1.0","type":5}"#), "bad_json");
        assert_eq!(reason(r#"{"specversion":"1.0","type":"t","time":"now"}"#), "bad_time");
        assert_eq!(reason(r#"{"specversion":"1.0","type":"t","data":{"a":"\ud800"}}"#), "bad_json");
    }
}
