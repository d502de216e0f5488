//! A log line as a JSON object: `{container_name, container_id, log}`.
//!
//! Owns the members; leaves out size and depth limits (`json_input`). Invariant: no member is silently dropped:
//! an object with any other member is not a log object.

use std::borrow::Cow;

use crate::{DecodeError, Log, json_input};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct LogDocument {
    container_name: Option<String>,
    container_id: Option<String>,
    log: String,
}

pub(crate) fn decode<'a>(payload: &[u8], default_container: &'a [u8]) -> Result<Log<'a>, DecodeError> {
    let document: LogDocument = json_input::parse(payload)?;
    let container_name = match document.container_name {
        Some(name) if !name.is_empty() => Cow::Owned(name.into_bytes()),
        _ => Cow::Borrowed(default_container),
    };
    Ok(Log {
        container_id: json_input::bytes(document.container_id),
        container_name,
        payload: Some(Cow::Owned(document.log.into_bytes())),
    })
}

/// Says whether [`decode`] would succeed.
pub(crate) fn is_log_object(payload: &[u8]) -> bool {
    json_input::parse::<LogDocument>(payload).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_become_fields() {
        let payload = br#"{"log":"a\nb","container_name":"app","container_id":"c1"}"#;
        let log = decode(payload, b"default").unwrap();
        assert_eq!(log.container_name.as_ref(), b"app");
        assert_eq!(log.container_id.as_ref(), b"c1");
        assert_eq!(log.text(), b"a\nb");
        let log = decode(br#"{"log":"","container_name":""}"#, b"default").unwrap();
        assert_eq!(log.container_name.as_ref(), b"default");
        assert_eq!(log.container_id.as_ref(), b"");
    }

    #[test]
    fn what_is_no_log_object_is_refused_with_the_cause() {
        let cause = |payload: &[u8]| match decode(payload, b"").unwrap_err() {
            DecodeError::BadJson { source } => source.to_string(),
            other => other.to_string(),
        };
        assert!(cause(br#"{"log":7}"#).contains("expected a string"), "{}", cause(br#"{"log":7}"#));
        assert!(cause(br#"{"container_name":"a"}"#).contains("missing field `log`"));
        assert!(cause(br#"{"log":"a","level":"info"}"#).contains("unknown field `level`"));
        assert!(cause(br#"{"log":"a","log":"b"}"#).contains("duplicate field `log`"));
        assert!(cause(br#"{"log":"\ud800"}"#).contains("hex escape"), "a lone surrogate");
        assert!(cause(br#"{"log":"a"} x"#).contains("trailing characters"));
    }
}
