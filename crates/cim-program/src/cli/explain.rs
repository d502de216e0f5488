//! `cim config explain`: why a change stands where it stands, what happens next, and what a person can do.
//!
//! Pure, from what a running CIM tells of itself. Left out: asking it (`change`). The invariant: every state has its sentence, and
//! nothing is said that the status does not show.

use std::borrow::Cow;
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
    unstored: Vec<Unstored>,
}

/// A result on its way to the store.
#[derive(Debug, Deserialize)]
struct Unstored {
    data_key: String,
    level: String,
    revision: i32,
    left_seconds: Option<f64>,
}

impl Engine {
    /// The result of that change, when it is known and not stored yet.
    fn unstored(&self, change: &Change) -> Option<&Unstored> {
        self.unstored.iter().find(|result| {
            result.data_key == change.data_key
                && result.level == change.level
                && result.revision == change.revision
        })
    }
}

/// What there is to say of a state.
struct Story {
    why: String,
    next: Cow<'static, str>,
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
    let known: Vec<_> = documents.filter_map(|document| Change::deserialize(document).ok()).collect();
    let Question { document, revision } = question;
    let what =
        revision.map_or_else(|| document.clone(), |revision| format!("revision {revision} of {document}"));
    if known.is_empty() {
        return format!("nothing is known of {what}: no change has arrived yet; see `cim config status`");
    }
    let Some(head) = known.iter().find(|change| change.data_key == *document) else {
        let known: Vec<_> = known.iter().map(|change| change.data_key.as_str()).collect();
        return format!("nothing is known of {what}; documents with changes: {}", known.join(", "));
    };
    let mut text =
        format!("nothing is known of {what}; `cim config history` shows the changes that are remembered");
    if head.pending > 1 && *revision > Some(head.revision) {
        let _ = write!(text, ", and {} behind revision {}, which is at work", waiting(head), head.revision);
    }
    text
}

/// How many wait behind a change.
fn waiting(change: &Change) -> String {
    match change.pending.saturating_sub(1) {
        1 => "1 later change waits".to_owned(),
        more => format!("{more} later changes wait"),
    }
}

fn paragraph(change: &Change, engine: &Engine) -> String {
    let mut story = story(change, engine);
    if let Some(result) = engine.unstored(change) {
        story.next = storing(result).into();
        story.can = "see /readyz and the log for what keeps the store from taking it";
    }
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
        line("behind it", &waiting(change));
    }
    if engine.watching == Some(false) {
        let trouble = engine.trouble.as_deref().unwrap_or("no reason is known");
        line("source", &format!("later changes do not arrive: {trouble}"));
    }
    line("next", &story.next);
    line("you can", story.can);
    text
}

/// What happens next to a change whose result is not stored yet.
fn storing(result: &Unstored) -> String {
    match result.left_seconds {
        Some(left) => format!(
            "its result is being written, for another {left:.0} s at most; then that is given up and announced \
             as CimCommitConfigFailure; the next change waits meanwhile"
        ),
        None => {
            "its result is being written until the store takes it; the next change waits meanwhile".to_owned()
        }
    }
}

fn story(change: &Change, engine: &Engine) -> Story {
    let told = |why: &str, next: &'static str, can| Story { why: why.to_owned(), next: next.into(), can };
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
            "it is not in force: the application refused it",
            "the next revision is handed over; a result of -1 has the config server delete the pod",
            correct,
        ),
        ChangeState::Refused => told(
            "it does not fit the document, so the application never saw it",
            "the document before it stays in force, and the pod lives on; the next revision is handed over",
            correct,
        ),
        ChangeState::RolledBack => told(
            "it was in force, the application became ill with it, and it was undone",
            "the document before it is in force again, and the pod lives on; the next revision is handed over",
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
#[path = "../../../../cim-bin/tests/recorded/mod.rs"]
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
