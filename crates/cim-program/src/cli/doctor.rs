//! `cim doctor`: whether everything that the configuration needs is there, for people and programs.
//!
//! Left out: the checks (`doctor`). The invariant: exit code 1 when something fails, 0 otherwise, also with warnings.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::json;

use super::Answer;
use crate::backends;
use crate::doctor::{Finding, Verdict, examine};
use crate::exit::{DONE, FAILED, Failure};

pub(super) fn answer(files: &[PathBuf]) -> Result<Answer, Failure> {
    let findings = examine(files.to_vec(), &backends::registry())?;
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    let document = json!({ "verdict": worst.max(Verdict::Ok), "checks": findings });
    let code = if worst == Verdict::Fail { FAILED } else { DONE };
    Ok(Answer { text: text(&findings), document, code })
}

fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).filter(|length| *length < 60).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for Finding { check, verdict, text: found, advice } in findings {
        let _ = writeln!(text, "{:<4}  {check:width$}  {found}", verdict.as_str());
        if let Some(advice) = advice {
            let _ = writeln!(text, "      → {advice}");
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let _ = write!(
        text,
        "{}, {}, {} ok, {} skipped",
        plural(count(Verdict::Fail), "failure"),
        plural(count(Verdict::Warn), "warning"),
        count(Verdict::Ok),
        count(Verdict::Skip)
    );
    text
}
