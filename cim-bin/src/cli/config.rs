//! `cim validate` and `cim config`.
//!
//! Left out: loading. The invariant: no secret is printed.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Answer;
use crate::backends;
use crate::exit::{CANNOT_START, Failure};
use crate::settings::{Loaded, Located, Place, Request, complete_schema, load};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Prints every setting in force and where it comes from; secrets are masked.
    Show,
    /// Prints the JSON Schema of the configuration of this build.
    Schema,
}

pub(super) fn answer(command: &Command, files: &[PathBuf]) -> Result<Answer, Failure> {
    let registry = backends::registry();
    match command {
        Command::Schema => {
            let schema = complete_schema(&registry);
            Ok(Answer::done(format!("{schema:#}"), schema))
        }
        Command::Show => {
            let loaded =
                load(&Request::of_process(files.to_vec()), &registry).map_err(Failure::cannot_start)?;
            let shown = loaded.masked(&registry);
            let mut lines = Vec::new();
            flatten(&shown, "", &mut lines);
            Ok(Answer::done(aligned(&lines, &loaded), shown))
        }
    }
}

pub(super) fn validate(files: &[PathBuf]) -> Result<Answer, Failure> {
    match load(&Request::of_process(files.to_vec()), &backends::registry()) {
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
        Place::Environment(name) => json!({ "variable": name }),
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
