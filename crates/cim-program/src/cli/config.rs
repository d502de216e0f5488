//! `cim validate` and `cim config`: CIM's own configuration; that of the application is the business of `change`.
//!
//! Left out: loading. The invariant: no secret is printed.

use std::fmt::Write;
use std::path::PathBuf;

use cim_core::Neighbours;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Answer, change, explain};
use crate::backends;
use crate::engine;
use crate::exit::{CANNOT_START, Failure};
use crate::own_document::begin;
use crate::settings::{Loaded, Located, Place, Request, complete_schema, load};
use crate::who::Who;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Prints every setting in force; secrets are masked.
    Show {
        /// Where each value comes from: file and line, variable, program name or default.
        #[arg(long)]
        origins: bool,
    },
    /// Prints the JSON Schema of the configuration of this build.
    Schema,
    /// How the application's configuration is doing, as a running CIM tells.
    Status,
    /// The last changes of the application's configuration that have a result.
    History,
    /// Why a change stands where it stands, what happens next, and what a person can do.
    Explain(explain::Question),
    /// What the last change of a document changed.
    Diff {
        /// Name of the document, for example `app.json`.
        document: String,
    },
    /// Has the application undo the last change of a document.
    Rollback {
        /// Name of the document, for example `app.json`.
        document: String,
    },
    /// Writes a change into the directory of the source `file`.
    Push(change::Push),
}

pub(super) fn answer(command: &Command, files: &[PathBuf]) -> Result<Answer, Failure> {
    let registry = backends::registry();
    match command {
        Command::Status => change::status(files, &registry),
        Command::History => change::history(files, &registry),
        Command::Explain(question) => change::explained(question, files, &registry),
        Command::Diff { document } => change::diff(document, files, &registry),
        Command::Rollback { document } => change::rollback(document, files, &registry),
        Command::Push(push) => change::push(push, files, &registry),
        Command::Schema => {
            let schema = complete_schema(&registry);
            Ok(Answer::done(format!("{schema:#}"), schema))
        }
        Command::Show { origins } => {
            let request = Request::of_process(files.to_vec());
            let loaded = begin(&request, &registry).map_err(Failure::cannot_start)?.loaded;
            let shown = loaded.masked(&registry);
            let mut lines = Vec::new();
            flatten(&shown, "", &mut lines);
            if *origins {
                return Ok(Answer::done(aligned(&lines, &loaded), with_origins(&shown, "", &loaded)));
            }
            let text: Vec<_> = lines.iter().map(|(path, value)| format!("{path} = {value}")).collect();
            Ok(Answer::done(text.join("\n"), shown))
        }
    }
}

pub(super) fn validate(files: &[PathBuf]) -> Result<Answer, Failure> {
    let registry = backends::registry();
    let loaded = load(&Request::of_process(files.to_vec()), &registry).and_then(|loaded| {
        // Whether a sink is good enough for its route, only the sink knows.
        let built = engine::fitting(
            &loaded.settings,
            &Who::given(&loaded.settings),
            &Neighbours::default(),
            &registry,
        );
        built.map_err(|problems| loaded.located(problems)).map(|_| loaded)
    });
    match loaded {
        Ok(loaded) => {
            let warnings: Vec<_> = loaded.warnings.iter().map(document).collect();
            let mut text = String::new();
            for warning in &loaded.warnings {
                let _ = writeln!(text, "warning: {warning}");
            }
            text.push_str("the configuration is valid");
            Ok(Answer::done(text, json!({ "valid": true, "problems": [], "warnings": warnings })))
        }
        Err(problems) => {
            let list: Vec<_> = problems.list().iter().map(document).collect();
            let document = json!({ "valid": false, "problems": list, "warnings": [] });
            Ok(Answer { text: problems.to_string(), document, code: CANNOT_START })
        }
    }
}

fn document(located: &Located) -> Value {
    let mut document = json!({ "path": located.problem.path, "message": located.problem.message });
    let place = match &located.place {
        Place::File { file, line } => json!({ "file": file, "line": line }),
        Place::Document(name) => json!({ "file": name }),
        Place::Member { file, member } => json!({ "file": file, "member": member }),
        Place::Environment(name) => json!({ "variable": name }),
        Place::Name(name) => json!({ "program": name }),
        Place::Default => json!({}),
    };
    if let (Some(members), Value::Object(place)) = (document.as_object_mut(), place) {
        members.extend(place);
    }
    document
}

/// The settings as paths and values, tables opened.
fn flatten(value: &Value, at: &str, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                flatten(value, &crate::settings::member_path(at, key), lines);
            }
        }
        value => lines.push((at.to_owned(), value.to_string())),
    }
}

/// The same document with `{ value, origin }` in the place of each value.
fn with_origins(value: &Value, at: &str, loaded: &Loaded) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| {
                let at = crate::settings::member_path(at, key);
                (key.clone(), with_origins(value, &at, loaded))
            });
            Value::Object(members.collect())
        }
        value => json!({ "value": value, "origin": loaded.place(at).to_string() }),
    }
}

fn aligned(lines: &[(String, String)], loaded: &Loaded) -> String {
    let width =
        lines.iter().map(|(path, value)| path.len() + value.len() + 3).filter(|width| *width < 80).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for (path, value) in lines {
        let setting = format!("{path} = {value}");
        let _ = writeln!(text, "{setting:width$}  # {}", loaded.place(path));
    }
    text
}
