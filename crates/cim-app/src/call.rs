//! One call and its answer.
//!
//! Owns reading a body and what an error of the connection means. Left out: which call it is. Invariant: a connection
//! is handed back only when its answer was read to the end and nothing says that it ends.

use std::error::Error as _;

use cim_core::{Answer, CallError, chain};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;

use crate::connection::Connection;

/// Reads at most that many bytes of the body into `answer`; `true`: to its end.
pub(crate) async fn read(
    connection: &mut Connection,
    response: Response<Incoming>,
    answer: &mut Answer,
    most: usize,
) -> Result<bool, CallError> {
    let mut body = response.into_body();
    while let Some(frame) = connection.driven(body.frame()).await {
        let frame = frame.map_err(|error| failure(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        let room = most - answer.body.len();
        answer.body.extend(data.iter().take(room));
        if data.len() > room {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What an error of the connection means to the caller.
pub(crate) fn failure(error: &hyper::Error) -> CallError {
    if error.is_parse() {
        return CallError::Malformed(chain(error));
    }
    if error.is_incomplete_message() {
        return CallError::Unreachable("it closed the connection before the end of its answer".to_owned());
    }
    // Above the text of the system stands one that says no more than "connection error".
    let text = error.source().map_or_else(|| chain(error), chain);
    CallError::Unreachable(text)
}
