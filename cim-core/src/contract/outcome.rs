//! What became of a change of configuration, as a source stores it (wire contract §4.2).
//!
//! Owns the values that leave CIM for the store. Left out: how an outcome comes about (see `configuration`).

use serde::{Deserialize, Serialize};

/// A value for the config server: the result of a change in the one number it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Key under `commit-config/`.
    pub key: String,
    /// The revision that is in force, or [`Commit::FAILED`] or [`Commit::UNUSED`].
    pub value: i32,
}

impl Commit {
    /// The change could not be applied. The config server deletes the pod when it reads this.
    pub const FAILED: i32 = -1;
    /// The change does not concern this pod.
    pub const UNUSED: i32 = -2;

    /// Whether `stored` must stay, because it is a later revision. Text that is no number never stays.
    #[must_use]
    pub fn is_superseded_by(&self, stored: &[u8]) -> Option<i32> {
        let stored: i32 = std::str::from_utf8(stored).ok()?.trim().parse().ok()?;
        (self.value >= 0 && stored > self.value).then_some(stored)
    }
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// Read from the source; an earlier change or the application is waited for.
    Received,
    /// Handed to the application; its word is waited for.
    Pushed,
    /// In force.
    Applied,
    /// The application has no use for it.
    Unused,
    /// Not in force, and given up.
    Failed,
    /// Never handed to the application, because it does not fit the document.
    Refused,
    /// Not in force any more: undone after the check that follows a push.
    RolledBack,
    /// Its time ran out before there was a result.
    Expired,
    /// A later revision was settled before.
    Superseded,
}

impl ChangeState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Pushed,
        Self::Applied,
        Self::Unused,
        Self::Failed,
        Self::Refused,
        Self::RolledBack,
        Self::Expired,
        Self::Superseded,
    ];

    /// The name used in metrics and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Pushed => "pushed",
            Self::Applied => "applied",
            Self::Unused => "unused",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
        }
    }

    /// Whether nothing more happens to the change.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Received | Self::Pushed)
    }
}

/// The story of one change, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeStatus {
    /// Name of the document, for example `app.json`.
    pub data_key: String,
    /// `ms` or `nf`.
    pub level: String,
    /// Revision of the change.
    pub revision: i32,
    /// How far it has come.
    pub state: ChangeState,
    /// Why it is so, when that does not go without saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it was handed to the application.
    pub attempts: u32,
    /// When it was first seen, milliseconds since the Unix epoch.
    pub received_ms: u64,
    /// When it was last handed to the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_ms: Option<u64>,
    /// When its result was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_ms: Option<u64>,
    /// When its time runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// The [revision](super::Revision) of the store that wrote the change, where it still means something in another process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_revision: Option<u64>,
    /// It counts from a map that was made anew: changes that the store got up to that revision are of an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_after: Option<u64>,
}

#[cfg(test)]
impl ChangeStatus {
    /// The story of a change of `app.json`, for tests.
    pub(crate) fn example(revision: i32, state: ChangeState) -> Self {
        Self {
            data_key: "app.json".to_owned(),
            level: "ms".to_owned(),
            revision,
            state,
            reason: None,
            attempts: 1,
            received_ms: 0,
            pushed_ms: None,
            settled_ms: None,
            deadline_ms: None,
            store_revision: None,
            count_after: None,
        }
    }
}

/// What a source has to store of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOutcome {
    /// For the config server; absent while there is no result.
    pub commit: Option<Commit>,
    /// Where the story goes, outside of `commit-config/`, and the story itself.
    pub status: Option<(String, ChangeStatus)>,
}

/// What a source did with an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is stored, now or already before.
    Stored,
    /// A later revision is stored and stays.
    Superseded {
        /// That revision.
        stored: i32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_revision_stays() {
        let commit = |value| Commit { key: String::new(), value };
        for (value, stored, stays) in [
            (7, "8", Some(8)),
            (7, "7", None),
            (7, "6", None),
            (7, "-1", None),
            (7, "seven", None),
            (Commit::FAILED, "8", None),
            (Commit::UNUSED, "8", None),
        ] {
            assert_eq!(commit(value).is_superseded_by(stored.as_bytes()), stays, "{value} over {stored}");
        }
    }
}
