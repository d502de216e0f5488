//! `cim log-level`: the level of the messages of a running CIM, told or changed.
//!
//! Asks over the control socket in the spool; without one, over the socket or the port of the API. The invariant: what is
//! printed is what the running CIM says is in force.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use cim_core::settings::Secret;
use clap::Args;
use serde_json::{Value, json};

use super::Answer;
use crate::backends;
use crate::control::{self, Request};
use crate::exit::Failure;
use crate::settings::{ApiSettings, LogLevel, Request as LoadRequest, load, reachable};

/// Time for the whole exchange.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct LogLevelCommand {
    /// The new level: error, warn, info, debug or trace. It holds until the configuration changes it, or the process ends.
    level: Option<String>,
}

pub(super) fn answer(command: &LogLevelCommand, files: &[PathBuf]) -> Result<Answer, Failure> {
    let level = command.level.as_deref().map(LogLevel::parse).transpose().map_err(Failure::failed)?;
    let level = level.map(|level| level.as_str().to_owned());
    let request = LoadRequest::of_process(files.to_vec());
    let settings = load(&request, &backends::registry()).map_err(Failure::cannot_start)?.settings;
    let wanted = Request::LogLevel { level: level.clone() };
    let asked = settings.spool.dir.as_ref().map_or(Ok(None), |dir| control::ask(dir, &wanted));
    let unclear = |error| Failure::failed(format!("the running cim does not answer: {error}"));
    let document = match asked.map_err(unclear)? {
        Some(control::Answer::Ok(document)) => document,
        Some(control::Answer::Error(text)) => return Err(Failure::failed(text)),
        None => over_http(&settings.api, level.as_deref()).map_err(Failure::failed)?,
    };
    let now = document.get("level").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Answer::done(now, document))
}

/// Asks the API.
fn over_http(api: &ApiSettings, level: Option<&str>) -> Result<Value, String> {
    let nobody = |error: std::io::Error| format!("no cim answers at {}: {error}", place(api));
    let answer = match &api.socket {
        Some(path) => {
            let stream = UnixStream::connect(path).map_err(nobody)?;
            let _ = stream.set_read_timeout(Some(PATIENCE));
            exchange(stream, &head(level, None)).map_err(nobody)?
        }
        None => {
            let address = address(api).ok_or("[api] listens nowhere")?;
            let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(nobody)?;
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let token = api.token_file.as_deref().map(Secret::read).transpose()?;
            exchange(stream, &head(level, token.as_ref())).map_err(nobody)?
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

fn head(level: Option<&str>, token: Option<&Secret>) -> String {
    let body = level.map(|level| json!({ "level": level }).to_string()).unwrap_or_default();
    let method = if body.is_empty() { "GET" } else { "PUT" };
    let token =
        token.map(|token| format!("Authorization: Bearer {}\r\n", token.reveal())).unwrap_or_default();
    let length = body.len();
    format!(
        "{method} /loglevel HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}
