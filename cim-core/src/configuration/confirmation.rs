//! Whether the application is well with a change: looked at after the change, before its result is told.
//!
//! Owns the looking. Left out: what follows from it. Invariant: an application that answers its probe throughout the window,
//! or for as long as the change lasts, is confirmed; one that fails it several times in a row is not.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::contract::Application;

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confirmation {
    /// Path of the health probe; 2xx is well.
    pub probe: Option<String>,
    /// How long it must stay well.
    pub window: Duration,
    /// Pause between two looks.
    pub interval: Duration,
    /// Failures in a row that decide.
    pub failures: u32,
    /// Path where the document can be read back; `{data_key}` stands for its name.
    pub read_back: Option<String>,
}

/// Time for one look, however late it is.
const ONE_LOOK: Duration = Duration::from_secs(1);

impl Confirmation {
    /// How long it takes where the application is well.
    pub(super) fn time(&self) -> Duration {
        ONE_LOOK + self.probe.as_ref().map_or(Duration::ZERO, |_| self.window)
    }

    /// Looks until the window is over, or until that moment, which leaves time for one look at least.
    ///
    /// # Errors
    /// What is wrong with the application.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn run(
        &self,
        application: &dyn Application,
        data_key: &str,
        expected: Option<&Value>,
        until: Instant,
    ) -> Result<(), String> {
        if let Some(path) = &self.probe {
            self.watch(application, path, until).await?;
        }
        let (Some(path), Some(expected)) = (&self.read_back, expected) else { return Ok(()) };
        let path = path.replace("{data_key}", data_key);
        match timeout_at(one_look_or(until), compare(application, &path, expected)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("reading back {path}: no answer before the time of the change ran out")),
        }
    }

    async fn watch(&self, application: &dyn Application, path: &str, until: Instant) -> Result<(), String> {
        let end = (Instant::now() + self.window).min(until);
        let mut failures = 0;
        loop {
            let what = match timeout_at(one_look_or(until), application.get(path)).await {
                Ok(Ok(answer)) if answer.is_success() => None,
                Ok(Ok(answer)) => Some(format!("answered {}", answer.status)),
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no answer before the time of the change ran out".to_owned()),
            };
            failures = what.as_ref().map_or(0, |_| failures + 1);
            match what {
                None if Instant::now() >= end => return Ok(()),
                Some(what) if failures >= self.failures || Instant::now() >= until => {
                    return Err(format!("the probe {path} failed {failures} times in a row: {what}"));
                }
                _ => sleep(self.interval).await,
            }
        }
    }

    /// Reads a document as the application has it; `None` where it does not show its documents.
    ///
    /// # Errors
    /// Why it cannot be read.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn read(&self, application: &dyn Application, data_key: &str) -> Option<Result<Value, String>> {
        let path = self.read_back.as_ref()?.replace("{data_key}", data_key);
        Some(read(application, &path).await)
    }
}

/// That moment, or the end of one look where it is too near.
fn one_look_or(until: Instant) -> Instant {
    until.max(Instant::now() + ONE_LOOK)
}

async fn compare(application: &dyn Application, path: &str, expected: &Value) -> Result<(), String> {
    if same(&read(application, path).await?, expected) {
        return Ok(());
    }
    Err(format!("reading back {path}: the application has another document than the change makes"))
}

/// Whether two documents say the same; a number may be written otherwise, `1.0` for `1`.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || (left.is_f64() != right.is_f64() && left.as_f64() == right.as_f64())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, left)| right.get(name).is_some_and(|right| same(left, right)))
        }
        _ => left == right,
    }
}

async fn read(application: &dyn Application, path: &str) -> Result<Value, String> {
    let answer = application.get(path).await.map_err(|error| format!("reading back {path}: {error}"))?;
    if !answer.is_success() {
        return Err(format!("reading back {path}: the application answered {}", answer.status));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|_| format!("reading back {path}: the answer is not the document"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_written_otherwise_is_the_same_and_any_other_is_not() {
        let document = json!({"a": [1, {"b": 2.5}], "c": "x", "d": null});
        assert!(same(&document, &json!({"c": "x", "d": null, "a": [1.0, {"b": 2.5}]})));
        for other in [
            json!({"a": [1, {"b": 2.5}], "c": "x"}),
            json!({"a": [1, {"b": 2.5}], "c": "x", "d": null, "e": 1}),
            json!({"a": [1, {"b": 2.25}], "c": "x", "d": null}),
            json!({"a": [1], "c": "x", "d": null}),
            json!({"a": [1, {"b": 2.5}], "c": "1", "d": null}),
            json!([]),
        ] {
            assert!(!same(&document, &other) && !same(&other, &document), "{other}");
        }
    }
}
