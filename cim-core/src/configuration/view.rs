//! What people and metrics see of the configuration engine.

use serde::Serialize;

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
