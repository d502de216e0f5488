//! A page of an exporter in the pod, read whole (wire contract §5.4).
//!
//! Always HTTP/1.1, whatever the application speaks otherwise, because exporters speak that. Left out: what is on the page, and when it
//! is read. The invariant: a page is whole, or it is an error.

use std::time::Duration;

use bytes::Bytes;
use cim_core::{Answer, CallError};
use http_body_util::Full;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use thiserror::Error;
use tokio::time::timeout;

use crate::call;
use crate::client::AGENT;
use crate::connection::{Call, Connection};
use crate::security::Security;

/// Where exporters listen: in the same pod.
const HOST_NAME: &str = "localhost";

/// A page that was not read.
#[derive(Debug, Error)]
pub enum PageError {
    /// There was no answer, or no end of it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Another answer than 200.
    #[error("it answered {0}")]
    Status(u16),
    /// Longer than allowed.
    #[error("the page is longer than {0} bytes")]
    TooLong(usize),
    /// Bytes that are no text.
    #[error("the page is not UTF-8")]
    NoText,
}

/// Reads `path` on that port: at most that many bytes, within that time, over a connection of its own, which `security` makes private.
///
/// # Errors
/// [`PageError`] when the page is not there as a whole.
///
/// # Cancel safety
/// When dropped, the connection is closed.
pub async fn read_page(
    port: u16,
    path: &str,
    most: usize,
    limit: Duration,
    security: Option<&dyn Security>,
) -> Result<String, PageError> {
    let reading = timeout(limit, page(port, path, most, security));
    reading.await.unwrap_or_else(|_| Err(CallError::TimedOut(limit).into()))
}

async fn page(
    port: u16,
    path: &str,
    most: usize,
    security: Option<&dyn Security>,
) -> Result<String, PageError> {
    let mut connection = Connection::open(HOST_NAME, port, false, security).await?;
    let response =
        connection.send(request(port, path)?).await.map_err(|error| call::failure(error.error()))?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(PageError::Status(status));
    }
    let mut answer = Answer { status, body: Vec::new() };
    if !call::read(&mut connection, response, &mut answer, most).await? {
        return Err(PageError::TooLong(most));
    }
    // It may wait for hours.
    answer.body.shrink_to_fit();
    String::from_utf8(answer.body).map_err(|_| PageError::NoText)
}

fn request(port: u16, path: &str) -> Result<Call, CallError> {
    let odd = |what: &str| CallError::Unreachable(format!("`{what}` cannot stand in a request"));
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| odd(path))?;
    let host = format!("{HOST_NAME}:{port}");
    request.headers_mut().insert(HOST, HeaderValue::from_str(&host).map_err(|_| odd(&host))?);
    request.headers_mut().insert(USER_AGENT, AGENT);
    Ok(request)
}
