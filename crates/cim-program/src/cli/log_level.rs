//! `cim log-level`: the level of the messages of a running CIM, told or changed.
//!
//! Asks over the control socket in the spool; without one, over the socket or the port of the API. The invariant: what is
//! printed is what the running CIM says is in force.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{Answer, api};
use crate::backends;
use crate::control::{self, Request};
use crate::exit::Failure;
use crate::settings::{ApiSettings, LogLevel, Request as LoadRequest, load};

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
    match level {
        Some(level) => api::ask(api, "PUT /loglevel", &json!({ "level": level }).to_string()),
        None => api::ask(api, "GET /loglevel", ""),
    }
}
