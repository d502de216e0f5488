//! One question to a running CIM over the API: its socket in the file system, else its port.
//!
//! Left out: what is asked. The invariant: only an answer with status 200 counts as one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cim_core::settings::Secret;
use serde_json::Value;

use crate::settings::{ApiSettings, reachable};

/// Time for the whole exchange.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// Asks; `what` is method and path, `body` may be empty.
///
/// # Errors
/// Nobody answers, or otherwise than with a document.
pub(super) fn ask(api: &ApiSettings, what: &str, body: &str) -> Result<Value, String> {
    let nobody = |error: std::io::Error| format!("no cim answers at {}: {error}", place(api));
    let answer = match &api.socket {
        Some(path) => {
            let stream = UnixStream::connect(path).map_err(nobody)?;
            let _ = stream.set_read_timeout(Some(PATIENCE));
            exchange(stream, &request(what, body, None)).map_err(nobody)?
        }
        None => {
            let address = address(api).ok_or("[api] listens nowhere")?;
            let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(nobody)?;
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let token = api.token_file.as_deref().map(Secret::read).transpose()?;
            exchange(stream, &request(what, body, token.as_ref())).map_err(nobody)?
        }
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200 ") {
        let status = head.lines().next().unwrap_or_default();
        return Err(format!("{} says: {status}: {}", place(api), body.trim()));
    }
    serde_json::from_str(body).map_err(|error| format!("{} says something else: {error}", place(api)))
}

fn place(api: &ApiSettings) -> String {
    let address = || address(api).map(|address| address.to_string()).unwrap_or_default();
    api.socket.as_ref().map_or_else(address, |path| path.display().to_string())
}

fn address(api: &ApiSettings) -> Option<SocketAddr> {
    api.listen.list().first().copied().map(reachable)
}

fn request(what: &str, body: &str, token: Option<&Secret>) -> String {
    let token =
        token.map(|token| format!("Authorization: Bearer {}\r\n", token.reveal())).unwrap_or_default();
    let length = body.len();
    format!(
        "{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}
