//! `cim config explain`: why a change stands where it stands, what happens next, and what a person can do.
//!
//! Pure, from what a running CIM tells of itself. Left out: asking it (`change`). The invariant: every state has its sentence, and
//! nothing is said that the status does not show.

use std::fmt::Write;

use cim_core::ChangeState;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

/// `cim config explain`
#[derive(Debug, Args)]
pub(super) struct Question {
    /// Name of the document, for example `app.json`.
    pub document: String,
    /// Revision of the change. Default: the one at work, or the last one.
    pub revision: Option<i32>,
}

/// What is read of a change.
#[derive(Debug, Deserialize)]
struct Change {
    data_key: String,
    level: String,
    revision: i32,
    state: ChangeState,
    reason: Option<String>,
    attempts: u32,
    #[serde(default)]
    pending: usize,
    deadline_left_seconds: Option<f64>,
}

/// What is read of the engine.
#[derive(Debug, Default, Deserialize)]
struct Engine {
    #[serde(default)]
    registered: bool,
    watching: Option<bool>,
    trouble: Option<String>,
    #[serde(default)]
    commits_waiting: usize,
}

/// What there is to say of a state.
struct Story {
    why: String,
    next: &'static str,
    can: &'static str,
}

/// The changes that are asked for: of the status, else of the history, newest first.
fn asked<'v>(question: &Question, status: &'v Value, history: &'v Value) -> Vec<&'v Value> {
    let is_asked = |change: &&Value| {
        let is = |member: &str, wanted: &Value| change.get(member) == Some(wanted);
        is("data_key", &question.document.as_str().into())
            && question.revision.is_none_or(|revision| is("revision", &revision.into()))
    };
    let list = |value: Option<&'v Value>| value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut found: Vec<_> = list(status.get("documents")).iter().filter(is_asked).collect();
    if found.is_empty() {
        found.extend(list(Some(history)).iter().rev().find(is_asked));
    }
    found
}

/// The answer, and the changes it is about; else what is known instead.
pub(super) fn explain(
    question: &Question,
    status: &Value,
    history: &Value,
) -> Result<(String, Value), String> {
    let found = asked(question, status, history);
    if found.is_empty() {
        return Err(unknown(question, status));
    }
    let engine =
        Engine::deserialize(status).map_err(|error| format!("the status cannot be read: {error}"))?;
    let mut paragraphs = Vec::new();
    for change in &found {
        let change =
            Change::deserialize(*change).map_err(|error| format!("the change cannot be read: {error}"))?;
        paragraphs.push(paragraph(&change, &engine));
    }
    Ok((paragraphs.join("\n"), found.into_iter().cloned().collect()))
}

fn unknown(question: &Question, status: &Value) -> String {
    let documents = status.get("documents").and_then(Value::as_array).into_iter().flatten();
    let known: Vec<_> = documents.filter_map(|document| document.get("data_key")?.as_str()).collect();
    let what = match question.revision {
        Some(revision) => format!("revision {revision} of {}", question.document),
        None => question.document.clone(),
    };
    match known.as_slice() {
        [] => format!("nothing is known of {what}: no change has arrived yet; see `cim config status`"),
        known if known.contains(&question.document.as_str()) => {
            format!("nothing is known of {what}; `cim config history` shows the changes that are remembered")
        }
        known => format!("nothing is known of {what}; documents with changes: {}", known.join(", ")),
    }
}

fn paragraph(change: &Change, engine: &Engine) -> String {
    let story = story(change, engine);
    let mut text = String::new();
    let Change { data_key, level, revision, state, .. } = change;
    let _ = writeln!(text, "{data_key} ({level}), revision {revision}: {}", state.as_str());
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(text, "  {name:<10} {what}");
    };
    line("why", &story.why);
    if let Some(reason) = &change.reason {
        line("reason", reason);
    }
    line("calls", &change.attempts.to_string());
    if let Some(left) = change.deadline_left_seconds {
        line("time left", &format!("{left:.0} s, then it is given up"));
    }
    if change.pending > 1 {
        line("behind it", &format!("{} later changes wait", change.pending - 1));
    }
    if change.state.is_final() && engine.commits_waiting > 0 {
        line("store", &format!("{} results are not stored yet", engine.commits_waiting));
    }
    if engine.watching == Some(false) {
        let trouble = engine.trouble.as_deref().unwrap_or("no reason is known");
        line("source", &format!("later changes do not arrive: {trouble}"));
    }
    line("next", story.next);
    line("you can", story.can);
    text
}

fn story(change: &Change, engine: &Engine) -> Story {
    let told = |why: &str, next, can| Story { why: why.to_owned(), next, can };
    let correct = "correct the cause and write the change again with a higher revision";
    match change.state {
        ChangeState::Received if !engine.registered => told(
            "the application has not registered, and nothing is handed over before",
            "it is handed over as soon as the application registers",
            "look why the application does not call /api/v1/_operations/xgvela/register",
        ),
        ChangeState::Received => told(
            "it waits for its turn: the change before it, or the storing of that one's result, is not over",
            "it is handed over when that is stored, or at the next attempt",
            "see `cim config history` for the change before, and /readyz for the store",
        ),
        ChangeState::Pushed => told(
            "the application has it and has not told the result yet",
            "a call that failed is repeated after a pause, and a missing result asked for by another call",
            "look into the log of the application for its answer to /updateConfig and its result on CONFIG",
        ),
        ChangeState::Applied => told(
            "the application told that it is in force",
            "nothing",
            "see what it changed with `cim config diff`, undo it with `cim config rollback`",
        ),
        ChangeState::Unused => told(
            "the application told that it has no use for it",
            "nothing; the document counts as being at this revision",
            "leave it, or write a change that the application uses",
        ),
        ChangeState::Failed => told(
            "it is not in force: the application refused it, or it did not pass the checks before",
            "the next revision is handed over; a result of -1 has the config server delete the pod",
            correct,
        ),
        ChangeState::RolledBack => told(
            "it was in force, the application became ill with it, and it was undone",
            "the document before it stays in force; the next revision is handed over",
            correct,
        ),
        ChangeState::Expired => told(
            "its time ran out before there was a result",
            "the next revision is handed over; of this one the config server is told no result",
            "look why the application was slow, then write the change again with a higher revision",
        ),
        ChangeState::Superseded => told(
            "a later revision had its result before, and none is handed over after a higher one",
            "nothing",
            "see the later revision with `cim config explain`",
        ),
    }
}

#[cfg(test)]
#[path = "../../tests/recorded/mod.rs"]
mod recorded;

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(inputs: &str) -> String {
        let part = |name: &str| {
            let text = inputs.split("--- ").find_map(|block| block.strip_prefix(name));
            text.map(str::trim).unwrap_or_default().to_owned()
        };
        let question = part("explain");
        let mut words = question.split_whitespace();
        let document = words.next().unwrap().to_owned();
        let revision = words.next().map(|word| word.parse().unwrap());
        let json = |name| serde_json::from_str::<Value>(&part(name)).unwrap();
        match explain(&Question { document, revision }, &json("status"), &json("history")) {
            Ok((text, _)) => text,
            Err(why) => format!("{why}\n"),
        }
    }

    #[test]
    fn every_state_is_explained_as_recorded() {
        recorded::as_recorded("explain", 12, outcome);
    }
}
