//! What people and metrics see of the configuration engine.
//!
//! Owns its form. Left out: who asks. Invariant: what passes with time is told as of the moment of the question, though the
//! engine renews the view only when something happens.

use serde::Serialize;
use tokio::time::Instant;

use super::counts::Counts;
use super::day_one::DayOneState;
use crate::contract::ChangeStatus;

/// One document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentView {
    /// The change at work, or the last one.
    #[serde(flatten)]
    pub change: ChangeStatus,
    /// Highest revision with a result.
    pub settled_revision: i32,
    /// Changes without a result.
    pub pending: usize,
    /// Seconds since the oldest of them was received, by this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending_seconds: Option<f64>,
    /// Seconds until the change at work must have a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_left_seconds: Option<f64>,
}

/// The result of a change that is not stored yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnstoredView {
    /// Name of the document.
    pub data_key: String,
    /// Map the document belongs to.
    pub level: String,
    /// Revision of the change.
    pub revision: i32,
    /// Seconds until it is given up; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_seconds: Option<f64>,
}

/// The engine at one moment, a quarter of a second old at most.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ConfigurationView {
    /// When it was renewed.
    #[serde(skip)]
    pub(super) renewed: Option<Instant>,
    /// Whether changes of the source arrive; absent without a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watching: Option<bool>,
    /// Why they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Whether the application registered.
    pub registered: bool,
    /// How far the first configuration has come.
    pub day_one: Option<DayOneState>,
    /// What went wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day_one_reason: Option<String>,
    /// Why the registration and what is known of changes is in memory only, and not in the spool; absent: it is in both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsaved: Option<String>,
    /// Results that are not stored yet, those of the start among them.
    pub commits_waiting: usize,
    /// Those that belong to a change.
    pub unstored: Vec<UnstoredView>,
    /// Every document that was changed.
    pub documents: Vec<DocumentView>,
    /// The last changes with a result, oldest first.
    #[serde(skip)]
    pub history: Vec<ChangeStatus>,
    /// Counters.
    #[serde(skip)]
    pub counts: Counts,
}

impl ConfigurationView {
    /// The same at a later moment, if nothing else happened.
    pub(super) fn at(mut self, now: Instant) -> Self {
        let renewed = self.renewed.replace(now).unwrap_or(now);
        let passed = now.saturating_duration_since(renewed).as_secs_f64();
        let left = |left: f64| (left - passed).max(0.0);
        for document in &mut self.documents {
            document.oldest_pending_seconds = document.oldest_pending_seconds.map(|age| age + passed);
            document.deadline_left_seconds = document.deadline_left_seconds.map(left);
        }
        for report in &mut self.unstored {
            report.left_seconds = report.left_seconds.map(left);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::contract::ChangeState;

    #[test]
    fn what_passes_with_time_is_that_of_the_moment_of_the_question() {
        let renewed = Instant::now();
        let change = ChangeStatus::example(4, ChangeState::Pushed);
        let waiting = DocumentView {
            change,
            settled_revision: 3,
            pending: 1,
            oldest_pending_seconds: Some(1.0),
            deadline_left_seconds: Some(5.0),
        };
        let settled =
            DocumentView { oldest_pending_seconds: None, deadline_left_seconds: None, ..waiting.clone() };
        let view = ConfigurationView {
            renewed: Some(renewed),
            documents: vec![waiting, settled],
            ..ConfigurationView::default()
        };
        let figures = |view: &ConfigurationView| {
            let of =
                |document: &DocumentView| (document.oldest_pending_seconds, document.deadline_left_seconds);
            view.documents.iter().map(of).collect::<Vec<_>>()
        };
        let later = view.at(renewed + Duration::from_secs(2));
        assert_eq!(figures(&later), [(Some(3.0), Some(3.0)), (None, None)]);
        let later = later.at(renewed + Duration::from_secs(9));
        assert_eq!(
            figures(&later),
            [(Some(10.0), Some(0.0)), (None, None)],
            "no time is left, and none is owed"
        );
    }
}
