//! Where configuration comes from: keys with values and revisions, and a place for results.
//!
//! Owns the contract between the configuration engine and a store (etcd, a directory). Left out: what the keys mean (see
//! `configuration::key`), retries and resubscription, which the engine does for every source.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::Stream;

use super::component::Component;
use super::outcome::{ConfigOutcome, Reported};

/// A moment in the history of a store; grows with every change in it. Zero: before any change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The time limit that a store attached to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease(pub i64);

/// Which keys concern this pod (wire contract §4.1). Every prefix ends in a slash, so that `amf` never sees `amfgw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigScope {
    /// Namespace of the pod.
    pub namespace: String,
    /// Microservice of the pod.
    pub microservice: String,
}

impl ConfigScope {
    /// The prefixes to read and watch: change-sets, and day-one documents with a revision.
    #[must_use]
    pub fn prefixes(&self) -> [String; 2] {
        let Self { namespace, microservice } = self;
        [format!("change-set/{namespace}/{microservice}/"), format!("config/{namespace}/{microservice}/")]
    }

    /// The one key that is read and watched beside the prefixes: the day-one document without a revision.
    #[must_use]
    pub fn key(&self) -> String {
        format!("config/{}/{}", self.namespace, self.microservice)
    }

    /// Whether a key lies in the scope.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.prefixes().iter().any(|prefix| key.starts_with(prefix.as_bytes()))
            || key == self.key().as_bytes()
    }
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key as stored; any bytes.
    pub key: Vec<u8>,
    /// The value as stored; any bytes.
    pub value: Arc<[u8]>,
    /// The change that wrote it.
    pub revision: Revision,
    /// Its time limit, if it has one: see [`ConfigSource::time_left`].
    pub lease: Option<Lease>,
}

/// Where a key stands among those that were written at the same moment, by one transaction for example: beside its
/// neighbours, and the changes of a document by their numbers, 9 before 10.
#[must_use]
pub fn key_order(key: &[u8]) -> impl Ord {
    let name = key.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (folder, name) = key.split_at(name);
    (folder, name.len(), name)
}

/// One item of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigUpdate {
    /// Everything in the scope at that revision, in the order of `revision` of the entries, then of [`key_order`]. What is
    /// not in it is gone.
    Reset {
        /// The moment of the reading.
        revision: Revision,
        /// Every entry.
        entries: Vec<ConfigEntry>,
    },
    /// A key was written.
    Put(ConfigEntry),
    /// A key was removed, or its lease ended.
    Delete {
        /// The key.
        key: Vec<u8>,
        /// The change that removed it.
        revision: Revision,
    },
}

/// A watch: updates in the order of their revisions, those of one revision in [`key_order`]; ends after the first error.
pub type ConfigStream = Pin<Box<dyn Stream<Item = Result<ConfigUpdate, SourceError>> + Send>>;

/// A store of configuration.
///
/// Sources know no engine: they neither retry a watch nor decide what a key means. Calls may run at the same time.
#[async_trait]
pub trait ConfigSource: Component {
    /// Watches the scope. The first item of a watch without `resume` is a [`ConfigUpdate::Reset`], even when nothing is
    /// there; with it the stream goes on with the change after that revision, or begins with a `Reset` when that history
    /// is gone. A `Reset` may come at any time (the store was restored, a watch turned out to be deaf). Nothing happens
    /// before the stream is polled, and dropping it ends the watch.
    fn watch(&self, scope: &ConfigScope, resume: Option<Revision>) -> ConfigStream;

    /// Whether a [`Revision`] means the same to every process that reads the store, before and after this one: then a change
    /// of a lower number that was written later than one of an earlier run is known to be of a new count, not an old change.
    fn has_lasting_revisions(&self) -> bool {
        false
    }

    /// Stores what became of a change. Idempotent: the same outcome again changes nothing. A revision that is lower than
    /// the stored one is never written over it ([`Reported::Superseded`]); `-1` and `-2` always are.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is known of the store then, and the call may be repeated.
    ///
    /// # Cancel safety
    /// When dropped, the outcome may or may not have been stored.
    async fn report(&self, outcome: &ConfigOutcome) -> Result<Reported, SourceError>;

    /// The value of one key that lies anywhere, for results of earlier runs; `None` when it does not exist.
    ///
    /// # Errors
    /// [`SourceError`] when the store cannot tell.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError>;

    /// Writes a note of CIM's own, without a time limit, if its key still holds `old` (`None`: if it does not exist). Returns
    /// whether it did: of several writers that looked at the same value one wins. In a directory that other processes write
    /// as well, two may.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is known of the store then, and the key is to be read again.
    ///
    /// # Cancel safety
    /// When dropped, the note may or may not have been written.
    async fn swap(&self, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, SourceError>;

    /// How long a lease lasts from now; `None` when it has ended or the source knows no leases.
    ///
    /// # Errors
    /// [`SourceError`] when the store cannot tell.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn time_left(&self, _lease: Lease) -> Result<Option<Duration>, SourceError> {
        Ok(None)
    }
}

/// What kind of failure of a source it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceErrorKind {
    /// Cannot be reached, does not answer in time, or has no quorum.
    Unavailable,
    /// Credentials are not accepted.
    Unauthorized,
    /// The configuration of the source cannot work.
    Misconfigured,
    /// The store takes nothing more: quota, size of a value.
    Full,
    /// The source was closed.
    Closed,
}

impl SourceErrorKind {
    /// The name used in metrics and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::Misconfigured => "misconfigured",
            Self::Full => "full",
            Self::Closed => "closed",
        }
    }
}

/// A source that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SourceError {
    kind: SourceErrorKind,
    what: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// An error of that kind; `what` says what could not be done and why, in lower case.
    #[must_use]
    pub fn new(kind: SourceErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// Keeps the underlying error as the source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> SourceErrorKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_one_moment_are_ordered_by_document_and_number() {
        let mut keys = ["ms/b/2", "ms/a/1000", "ms/a/999", "ms/a/10", "name", "ms/a/9", "ms/a/"];
        keys.sort_by(|a, b| key_order(a.as_bytes()).cmp(&key_order(b.as_bytes())));
        assert_eq!(keys, ["name", "ms/a/", "ms/a/9", "ms/a/10", "ms/a/999", "ms/a/1000", "ms/b/2"]);
    }
}
