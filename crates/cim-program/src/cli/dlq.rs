//! `cim dlq`: dead letters of a running CIM, or of a spool that nobody uses.
//!
//! `list` and `show` read the files: no lock is taken and nobody is asked, so they work beside a CIM that runs, or hangs.
//! `replay` and `purge` ask a running CIM over its socket; otherwise the spool is opened here, under its lock. The
//! invariant: letters leave the store only by `replay` or `purge`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cim_core::deadletter;
use clap::Subcommand;
use serde_json::Value;

use super::Answer;
use super::spool::directory;
use crate::control::{self, Request};
use crate::exit::{Failure, chain};
use crate::settings::{Request as LoadRequest, load};
use crate::{backends, engine, letters};

/// Characters of a payload that `list` shows on a terminal.
const SHOWN: usize = 60;
/// Time that replayed letters get to be delivered when no CIM runs; what is left stays in the spool.
const REPLAY_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the dead letters, oldest first.
    List {
        /// The spool directory. Default: `spool.dir` of the configuration.
        dir: Option<PathBuf>,
    },
    /// Shows one dead letter whole.
    Show {
        /// Its sequence number, from `list`. Each class counts for itself: all letters of that number are shown.
        seq: u64,
        /// The spool directory. Default: `spool.dir` of the configuration.
        dir: Option<PathBuf>,
    },
    /// Puts all dead letters back into their queues, and notifications to their subscriptions, to be delivered again.
    Replay,
    /// Forgets all dead letters.
    Purge,
}

pub(super) fn answer(command: &Command, files: &[PathBuf]) -> Result<Answer, Failure> {
    match command {
        Command::List { dir } => {
            let letters = read(&directory(dir.as_ref(), files)?)?;
            Ok(Answer::done(table(&letters), Value::Array(letters)))
        }
        Command::Show { seq, dir } => {
            let mut letters = read(&directory(dir.as_ref(), files)?)?;
            letters.retain(|letter| member(letter, "seq") == seq.to_string());
            if letters.is_empty() {
                return Err(Failure::failed(format!("there is no dead letter {seq}; see `cim dlq list`")));
            }
            Ok(Answer::done(letters.iter().map(whole).collect::<String>(), Value::Array(letters)))
        }
        Command::Replay => change(&Request::DlqReplay, files),
        Command::Purge => change(&Request::DlqPurge, files),
    }
}

/// The letters, as documents.
fn read(dir: &Path) -> Result<Vec<Value>, Failure> {
    let stored = deadletter::read(dir).map_err(|error| Failure::failed(chain(&error)))?;
    Ok(stored.iter().map(letters::document).collect())
}

fn ask(dir: &Path, request: &Request) -> Result<Option<Value>, Failure> {
    let asked = control::ask(dir, request);
    match asked.map_err(|error| Failure::failed(format!("the running cim does not answer: {error}")))? {
        None => Ok(None),
        Some(control::Answer::Ok(value)) => Ok(Some(value)),
        Some(control::Answer::Error(text)) => Err(Failure::failed(text)),
    }
}

/// Changes the store: through the running CIM, or with an engine of our own.
fn change(request: &Request, files: &[PathBuf]) -> Result<Answer, Failure> {
    let dir = directory(None, files)?;
    let value = match ask(&dir, request)? {
        Some(value) => value,
        None => offline::change(request, files)?,
    };
    let text = match request {
        Request::DlqReplay => {
            format!("{} dead letters put back", member(&value, "replayed"))
        }
        _ => format!("{} dead letters forgotten", member(&value, "purged")),
    };
    Ok(Answer::done(text, value))
}

fn table(letters: &[Value]) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut text = format!("{:<13} {:>10} {:<14} {:>8} payload\n", "class", "seq", "reason", "bytes");
    for letter in letters {
        let payload = payload(letter);
        let more = if payload.chars().nth(SHOWN).is_some() { "…" } else { "" };
        let payload: String = payload.chars().take(SHOWN).flat_map(char::escape_debug).collect();
        let _ = writeln!(
            text,
            "{:<13} {:>10} {:<14} {:>8} {payload}{more}",
            member(letter, "class"),
            member(letter, "seq"),
            member(letter, "reason"),
            member(letter, "bytes"),
        );
    }
    text
}

fn whole(letter: &Value) -> String {
    let mut text = String::new();
    for key in ["class", "seq", "route", "reason", "error", "arrived_ms", "bytes"] {
        let _ = writeln!(text, "{key}: {}", member(letter, key));
    }
    let _ = writeln!(text, "payload: {}", payload(letter).escape_debug());
    text
}

fn payload(letter: &Value) -> String {
    let text = member(letter, "payload");
    if text.is_empty() { member(letter, "payload_hex") } else { text }
}

/// A member of a document, as plain text.
fn member(document: &Value, key: &str) -> String {
    match document.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// The same on a spool that no process uses.
mod offline {
    use super::{
        Duration, Failure, LoadRequest, PathBuf, REPLAY_TIME, Request, Value, backends, control, engine, load,
    };
    use cim_core::Neighbours;

    use crate::configuration;
    use crate::who::Who;

    /// Starts an engine without listeners, carries the request out, and stops it.
    pub(super) fn change(request: &Request, files: &[PathBuf]) -> Result<Value, Failure> {
        let registry = backends::registry();
        let loaded =
            load(&LoadRequest::of_process(files.to_vec()), &registry).map_err(Failure::cannot_start)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
        runtime.block_on(async {
            let orchestrator = configuration::orchestrator(&loaded.settings, &registry);
            let neighbours = Neighbours::of(orchestrator.map_err(Failure::cannot_start)?);
            let cim = engine::start(&loaded.settings, &Who::given(&loaded.settings), &neighbours, &registry)?;
            let replays = *request == Request::DlqReplay;
            let answer = control::carry_out(request, &cim);
            let time = if replays { REPLAY_TIME } else { Duration::ZERO };
            cim.stop(time).await;
            match answer.map_err(Failure::failed)? {
                control::Answer::Ok(value) => Ok(value),
                control::Answer::Error(text) => Err(Failure::failed(text)),
            }
        })
    }
}
