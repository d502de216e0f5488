//! `cim config status`, `history`, `explain`, `diff`, `rollback` and `push`: what happens to the application's configuration.
//!
//! Left out: `show` and `schema` (`config`), which are about CIM's own. The invariant: a running CIM answers for itself; nothing
//! is read behind its back.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use cim_core::Registry;
use clap::Args;
use serde_json::{Value, json};

use super::Answer;
use super::explain::{Question, explain};
use crate::control::{self, Answer as Told, Request};
use crate::exit::Failure;
use crate::settings::{Loaded, Request as LoadRequest, load};

/// `cim config push`
#[derive(Debug, Args)]
pub(super) struct Push {
    /// File with the JSON patch.
    patch: PathBuf,
    /// Name of the document, for example `app.json`.
    #[arg(long, value_parser = document_name)]
    document: String,
    /// Revision; one more than the highest that is there, unless given.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    revision: Option<i32>,
    /// Map the document belongs to.
    #[arg(long, default_value = "ms", value_parser = ["ms", "nf"])]
    level: String,
}

/// A name that is one part of a key: any other would be a file elsewhere, and no change.
fn document_name(name: &str) -> Result<String, String> {
    let is_part = !name.contains('/') && !["", ".", ".."].contains(&name);
    is_part.then(|| name.to_owned()).ok_or_else(|| "a document has a plain name without `/`".to_owned())
}

fn loaded(files: &[PathBuf], registry: &Registry) -> Result<Loaded, Failure> {
    load(&LoadRequest::of_process(files.to_vec()), registry).map_err(Failure::cannot_start)
}

fn ask(request: &Request, files: &[PathBuf], registry: &Registry) -> Result<Value, Failure> {
    let loaded = loaded(files, registry)?;
    let Some(spool) = &loaded.settings.spool.dir else {
        return Err(Failure::failed(
            "a running cim is asked through its spool directory; set `dir` in [spool]",
        ));
    };
    match control::ask(spool, request) {
        Ok(Some(Told::Ok(value))) => Ok(value),
        Ok(Some(Told::Error(text))) => Err(Failure::failed(text)),
        Ok(None) => Err(Failure::failed(format!("no cim runs on the spool {}", spool.display()))),
        Err(error) => {
            Err(Failure::failed(format!("the cim on the spool {} does not answer: {error}", spool.display())))
        }
    }
}

pub(super) fn status(files: &[PathBuf], registry: &Registry) -> Result<Answer, Failure> {
    let value = ask(&Request::ConfigStatus, files, registry)?;
    let mut text = String::new();
    let watching = match (
        value.get("watching").and_then(Value::as_bool),
        value.get("trouble").and_then(Value::as_str),
    ) {
        (None, _) => "no source".to_owned(),
        (Some(true), _) => "watching".to_owned(),
        (Some(false), why) => format!("not watching: {}", why.unwrap_or("no reason is known")),
    };
    let registered = value.get("registered").and_then(Value::as_bool).unwrap_or_default();
    let _ = writeln!(text, "source       {watching}");
    let _ = writeln!(text, "application  {}", if registered { "registered" } else { "not registered yet" });
    let _ = writeln!(text, "day one      {}", word(&value, "day_one"));
    let _ = writeln!(text, "commits      {} waiting", word(&value, "commits_waiting"));
    text.push_str(&table(value.get("documents").and_then(Value::as_array).map_or(&[], Vec::as_slice)));
    Ok(Answer::done(text.trim_end(), value))
}

pub(super) fn history(files: &[PathBuf], registry: &Registry) -> Result<Answer, Failure> {
    let value = ask(&Request::ConfigHistory, files, registry)?;
    let text = table(value.as_array().map_or(&[], Vec::as_slice));
    let text = if text.is_empty() { "no change has a result yet".to_owned() } else { text };
    Ok(Answer::done(text.trim_end(), value))
}

pub(super) fn explained(
    question: &Question,
    files: &[PathBuf],
    registry: &Registry,
) -> Result<Answer, Failure> {
    let status = ask(&Request::ConfigStatus, files, registry)?;
    let history = ask(&Request::ConfigHistory, files, registry)?;
    let (text, changes) = explain(question, &status, &history).map_err(Failure::failed)?;
    Ok(Answer::done(text.trim_end(), changes))
}

pub(super) fn diff(document: &str, files: &[PathBuf], registry: &Registry) -> Result<Answer, Failure> {
    let value = ask(&Request::ConfigDiff { document: document.to_owned() }, files, registry)?;
    Ok(Answer::done(format!("{value:#}"), value))
}

pub(super) fn rollback(document: &str, files: &[PathBuf], registry: &Registry) -> Result<Answer, Failure> {
    let value = ask(&Request::ConfigRollback { document: document.to_owned() }, files, registry)?;
    Ok(Answer::done(format!("{document} is what it was before its last change"), value))
}

/// A line per change: document, revision, state, calls, reason.
fn table(changes: &[Value]) -> String {
    let mut text = String::new();
    if changes.is_empty() {
        return text;
    }
    let _ = writeln!(
        text,
        "{:<5} {:<24} {:>8}  {:<11} {:>5}  reason",
        "level", "document", "revision", "state", "calls"
    );
    for change in changes {
        let _ = writeln!(
            text,
            "{:<5} {:<24} {:>8}  {:<11} {:>5}  {}",
            word(change, "level"),
            word(change, "data_key"),
            word(change, "revision"),
            word(change, "state"),
            word(change, "attempts"),
            change.get("reason").and_then(Value::as_str).unwrap_or_default(),
        );
    }
    text
}

fn word(value: &Value, member: &str) -> String {
    match value.get(member) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

pub(super) fn push(push: &Push, files: &[PathBuf], registry: &Registry) -> Result<Answer, Failure> {
    let loaded = loaded(files, registry)?;
    let settings = &loaded.settings;
    let dir = settings.configuration.file.as_ref().and_then(|table| table.get("dir")).and_then(Value::as_str);
    let (Some(dir), "file") = (dir, settings.configuration.source.as_str()) else {
        return Err(Failure::failed(
            "changes are pushed into the source `file` only; set `source = \"file\"` in [configuration]",
        ));
    };
    let wrong =
        |what: &Path, error: &dyn std::fmt::Display| Failure::failed(format!("{}: {error}", what.display()));
    let patch = std::fs::read(&push.patch).map_err(|error| wrong(&push.patch, &error))?;
    serde_json::from_slice::<Vec<Value>>(&patch)
        .map_err(|error| wrong(&push.patch, &format!("not a JSON patch: {error}")))?;
    let identity = cim_core::Identity::from(&settings.identity);
    let folder = Path::new(dir)
        .join("change-set")
        .join(&identity.namespace)
        .join(&identity.microservice)
        .join(&identity.version)
        .join(&push.level)
        .join(&push.document);
    std::fs::create_dir_all(&folder).map_err(|error| wrong(&folder, &error))?;
    let revision = push.revision.unwrap_or_else(|| next(&folder));
    if folder.join(revision.to_string()).exists() {
        return Err(Failure::failed(format!(
            "revision {revision} of {} is there already, and no change is handed over twice; leave `--revision` out for the next one",
            push.document
        )));
    }
    let (fresh, file) = (folder.join(".fresh"), folder.join(revision.to_string()));
    std::fs::write(&fresh, patch)
        .and_then(|()| std::fs::rename(&fresh, &file))
        .map_err(|error| wrong(&file, &error))?;
    let text = format!("revision {revision} of {} is in {}", push.document, file.display());
    Ok(Answer::done(text, json!({ "document": push.document, "revision": revision, "file": file })))
}

/// One more than the highest revision in the folder.
fn next(folder: &Path) -> i32 {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let revisions = names.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    revisions.max().unwrap_or(0).saturating_add(1)
}
