//! `/loglevel`: the level of CIM's own messages, told and changed while the process runs.
//!
//! Left out: what a level means. The invariant: a request that cannot be understood changes nothing.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::route::{Answer, JSON, TEXT, not_allowed, not_found, plain};
use crate::state::ApiState;

/// Where it is.
pub(crate) const PATH: &str = "/loglevel";

/// GET tells the level, PUT changes it.
pub(crate) fn answer(method: &Method, body: &[u8], state: &dyn ApiState) -> Answer {
    let Some(level) = state.log_level() else { return not_found() };
    match *method {
        Method::GET | Method::HEAD => told(level),
        Method::PUT => {
            let done = wanted(body).and_then(|level| state.set_log_level(&level));
            match done {
                Ok(()) => told(state.log_level().unwrap_or(level)),
                Err(why) => plain(StatusCode::BAD_REQUEST, TEXT, format!("{why}\n")),
            }
        }
        _ => not_allowed(),
    }
}

fn told(level: &str) -> Answer {
    plain(StatusCode::OK, JSON, format!("{}\n", json!({ "level": level })))
}

/// The level that a body names: a word, or an object with a member `level`.
fn wanted(body: &[u8]) -> Result<String, String> {
    let unclear = || "send a level, or {\"level\":\"…\"}".to_owned();
    let text = std::str::from_utf8(body).map_err(|_| unclear())?.trim();
    if !text.starts_with('{') {
        return Ok(text.trim_matches('"').to_owned());
    }
    let document: Value = serde_json::from_str(text).map_err(|_| unclear())?;
    document.get("level").and_then(Value::as_str).map(ToOwned::to_owned).ok_or_else(unclear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_member() {
        for body in [&b"debug"[..], b"debug\n", b"\"debug\"", br#"{"level":"debug"}"#] {
            assert_eq!(wanted(body).as_deref(), Ok("debug"));
        }
        for body in [&b"{"[..], br#"{"level":7}"#, b"{}", b"\xff"] {
            assert!(wanted(body).is_err());
        }
    }
}
