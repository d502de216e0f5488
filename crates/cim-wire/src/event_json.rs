//! An event as a JSON object with the members of wire contract §7.1.
//!
//! Owns the members; leaves out size and depth limits (`json_input`) and CloudEvents (`cloud_event`). Invariant:
//! types are strict, while unknown members are ignored: an alarm is not lost for an extra remark. That includes
//! `sourceHeaders`: the identity of the pod is CIM's to state.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::json_input::{self, PairList, bytes};
use crate::{DecodeError, Event, MAX_PAIRS};

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventDocument {
    event_name: String,
    event_time: Option<i64>,
    event_source_type: Option<String>,
    managed_object: Option<PairList>,
    additional_info: Option<PairList>,
    threshold_info: Option<PairList>,
    monitored_attributes: Option<PairList>,
    state_change_definition: Option<PairList>,
    container_id: Option<String>,
    source_name: Option<String>,
    source_id: Option<String>,
}

pub(crate) fn decode(payload: &[u8]) -> Result<Event<'static>, DecodeError> {
    let document: EventDocument = json_input::parse(payload)?;
    let mut left = MAX_PAIRS;
    let mut pairs = |list: Option<PairList>| list.map(|list| list.into_pairs(&mut left)).transpose();
    Ok(Event {
        event_name: bytes(Some(document.event_name)),
        event_time: document.event_time.unwrap_or(0),
        container_id: bytes(document.container_id),
        managed_object: pairs(document.managed_object)?,
        additional_info: pairs(document.additional_info)?,
        threshold_info: pairs(document.threshold_info)?,
        state_change_definition: pairs(document.state_change_definition)?,
        monitored_attributes: pairs(document.monitored_attributes)?,
        source_id: bytes(document.source_id),
        source_name: bytes(document.source_name),
        event_source_type: bytes(document.event_source_type),
        own: false,
    })
}

/// Says whether the object has the member `specversion`, which every CloudEvent must have.
pub(crate) fn is_cloud_event(payload: &[u8]) -> bool {
    memchr::memmem::find(payload, b"\"specversion\"").is_some()
        && json_input::parse::<SpecVersion>(payload).is_ok_and(|SpecVersion(present)| present)
}

/// Whether the outermost object has a member `specversion`.
struct SpecVersion(bool);

impl<'de> Deserialize<'de> for SpecVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SpecVersionVisitor)
    }
}

struct SpecVersionVisitor;

impl<'de> Visitor<'de> for SpecVersionVisitor {
    type Value = SpecVersion;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SpecVersion, A::Error> {
        let mut present = false;
        while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
            present |= name == "specversion";
        }
        Ok(SpecVersion(present))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pair;

    #[test]
    fn members_become_fields() {
        let payload = br#"{"eventName":"E","eventTime":-5,"eventSourceType":"t","managedObject":null,
            "additionalInfo":[{"name":"a","value":"b"},{"name":"c"},{"name":"d","value":null}],"thresholdInfo":[],
            "containerId":"c","sourceName":"sn","sourceId":"si","sourceHeaders":{"podId":"other"},"remark":1}"#;
        let event = decode(payload).unwrap();
        assert_eq!(event.event_name.as_ref(), b"E");
        assert_eq!(event.event_time, -5);
        assert_eq!(event.managed_object, None);
        let info = event.additional_info.unwrap();
        assert_eq!(info.first(), Some(&Pair::new("a", "b")));
        assert_eq!(info.iter().filter(|pair| pair.value.is_none()).count(), 2);
        assert_eq!(event.threshold_info, Some(Vec::new()));
        assert_eq!(event.source_id.as_ref(), b"si");
    }

    #[test]
    fn wrong_types_are_refused() {
        for payload in [
            r#"{}"#,
            r#"{"eventName":1}"#,
            r#"{"eventName":"E","eventTime":"5"}"#,
            r#"{"eventName":"E","eventTime":1.5}"#,
            r#"{"eventName":"E","eventTime":1e400}"#,
            r#"{"eventName":"E","eventTime":9223372036854775808}"#,
            r#"{"eventName":"E","additionalInfo":{"a":"b"}}"#,
            r#"{"eventName":"E","additionalInfo":[{"name":"a","value":1}]}"#,
            r#"{"eventName":"E","additionalInfo":[{"value":"a"}]}"#,
            r#"{"eventName":"E","eventName":"F"}"#,
            r#"["E"]"#,
            "null",
            "",
        ] {
            let error = decode(payload.as_bytes()).unwrap_err();
            assert_eq!(error.reason(), "bad_json", "{payload}");
        }
    }

    #[test]
    fn limits_hold() {
        let pairs = |count: usize| {
            format!(
                r#"{{"eventName":"E","managedObject":[{}{{"name":""}}]}}"#,
                r#"{"name":""},"#.repeat(count - 1)
            )
        };
        assert!(decode(pairs(MAX_PAIRS).as_bytes()).is_ok());
        assert_eq!(decode(pairs(MAX_PAIRS + 1).as_bytes()).unwrap_err().reason(), "too_large");
        let deep = format!(r#"{{"eventName":"E","x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(decode(deep.as_bytes()).unwrap_err().reason(), "too_deep");
        let long = vec![b' '; crate::MAX_JSON_BYTES + 1];
        assert_eq!(decode(&long).unwrap_err().reason(), "too_large");
    }
}
