//! The kinds of sink, configuration source and orchestrator this program was built with, as explicit tables of function
//! pointers.
//!
//! No link-time magic and no globals: the program (or an embedder) registers what it wants. A kind that was compiled
//! out registers a stand-in, so that the error can name the feature. Left out: reading configuration files.

mod kinds;

use std::fmt;
use std::sync::Arc;

use cim_wire::LogFormat;

use crate::contract::{ConfigSource, EventSink, EventSource, Identity, LogSink, Neighbours, Orchestrator};
use crate::settings::SubscriptionSettings;

pub use kinds::{Kind, Kinds};

/// One thing that is wrong with a configuration value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the value, dots between levels: `sinks.broker.brokers`.
    pub path: String,
    /// What is wrong and what to do, lower case.
    pub message: String,
}

impl Problem {
    /// A problem at that path.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// A problem of a part, whose path starts at the table that stands at `at`.
    #[must_use]
    pub fn beneath(self, at: &str) -> Self {
        let path = if self.path.is_empty() { at.to_owned() } else { format!("{at}.{}", self.path) };
        Self { path, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What a sink gets to know when it is built.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// Instance name: the key under `[sinks]`.
    pub name: String,
    /// Who this pod is.
    pub identity: Arc<Identity>,
    /// Form of log values on sinks where the contract lets the operator choose.
    pub log_format: LogFormat,
    /// Finds neighbours, for sinks that deliver to one.
    pub neighbours: Neighbours,
}

/// A built sink: for logs, for events, or for both.
#[derive(Clone, Default)]
pub struct Sink {
    /// The log side.
    pub logs: Option<Arc<dyn LogSink>>,
    /// The event side.
    pub events: Option<Arc<dyn EventSink>>,
}

impl Sink {
    /// A sink that takes both.
    #[must_use]
    pub fn both<S: LogSink + EventSink>(sink: Arc<S>) -> Self {
        Self { logs: Some(Arc::clone(&sink) as Arc<dyn LogSink>), events: Some(sink) }
    }

    /// A sink for logs only.
    #[must_use]
    pub fn logs(sink: Arc<dyn LogSink>) -> Self {
        Self { logs: Some(sink), events: None }
    }

    /// A sink for events only.
    #[must_use]
    pub fn events(sink: Arc<dyn EventSink>) -> Self {
        Self { logs: None, events: Some(sink) }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("logs", &self.logs.is_some())
            .field("events", &self.events.is_some())
            .finish()
    }
}

/// One kind of sink.
#[derive(Clone, Copy)]
pub struct SinkKind {
    /// The value of `type` under `[sinks.x]`.
    pub name: &'static str,
    /// One line for `cim config schema` and the reference page.
    pub summary: &'static str,
    /// JSON Schema of the table under `[sinks.x]`, without `type`.
    pub schema: fn() -> serde_json::Value,
    /// What the schema cannot say, given the form of log values on the route. Paths are relative to the table.
    pub validate: fn(&serde_json::Value, LogFormat) -> Vec<Problem>,
    /// Builds the sink. Opens nothing that may be absent: an unreachable target is the first delivery's business.
    pub build: fn(SinkContext, &serde_json::Value) -> Result<Sink, Problem>,
}

impl fmt::Debug for SinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkKind").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a configuration source or an orchestrator gets to know when it is built.
#[derive(Debug, Clone)]
pub struct PartContext {
    /// Its name on the status page.
    pub name: String,
    /// Who this pod is, as far as settings and environment tell.
    pub identity: Arc<Identity>,
}

/// One kind of configuration source: its `name` is the value of `source` under `[configuration]`, and its table is
/// `[configuration.<name>]`.
pub type SourceKind = PartKind<dyn ConfigSource>;

/// One kind of orchestrator: its `name` is the value of `type` under `[orchestrator]`, and its table is that section.
pub type OrchestratorKind = PartKind<dyn Orchestrator>;

/// One kind of part of which a process has one.
pub struct PartKind<T: ?Sized> {
    /// What selects it.
    pub name: &'static str,
    /// One line for `cim config schema` and the reference page.
    pub summary: &'static str,
    /// JSON Schema of its table.
    pub schema: fn() -> serde_json::Value,
    /// What the schema cannot say. Paths are relative to the table.
    pub validate: fn(&serde_json::Value) -> Vec<Problem>,
    /// Builds the part. Opens nothing that may be absent.
    pub build: fn(PartContext, &serde_json::Value) -> Result<Arc<T>, Problem>,
}

impl<T: ?Sized> Clone for PartKind<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for PartKind<T> {}

impl<T: ?Sized> fmt::Debug for PartKind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartKind").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a source of subscribed events gets to know when it is built.
#[derive(Debug, Clone)]
pub struct FeedContext {
    /// Its name on the status page: that of the sink whose table it shares.
    pub name: String,
    /// Who this pod is.
    pub identity: Arc<Identity>,
    /// What is to be read.
    pub settings: SubscriptionSettings,
}

/// A source of subscribed events, or what is wrong with its table.
pub type BuiltFeed = Result<Arc<dyn EventSource>, Problem>;

/// One kind of source of subscribed events. It reads where sinks of the same `name` write, and is described by the same table.
#[derive(Clone, Copy)]
pub struct EventSourceKind {
    /// The value of `type` under `[sinks.x]`.
    pub name: &'static str,
    /// What the schema cannot say of `[subscriptions]`. Paths are relative to it.
    pub validate: fn(&SubscriptionSettings) -> Vec<Problem>,
    /// Builds the source from the table under `[sinks.x]`. Opens nothing that may be absent.
    pub build: fn(FeedContext, &serde_json::Value) -> BuiltFeed,
}

impl fmt::Debug for EventSourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSourceKind").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Kind for EventSourceKind {
    const WHAT: &'static str = "source of subscribed events";
    fn name(&self) -> &'static str {
        self.name
    }
}

impl Kind for SinkKind {
    const WHAT: &'static str = "sink type";
    fn name(&self) -> &'static str {
        self.name
    }
}

impl Kind for SourceKind {
    const WHAT: &'static str = "configuration source";
    fn name(&self) -> &'static str {
        self.name
    }
}

impl Kind for OrchestratorKind {
    const WHAT: &'static str = "orchestrator type";
    fn name(&self) -> &'static str {
        self.name
    }
}

/// All kinds the program knows.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    sinks: Kinds<SinkKind>,
    sources: Kinds<SourceKind>,
    orchestrators: Kinds<OrchestratorKind>,
    feeds: Kinds<EventSourceKind>,
}

impl Registry {
    /// A registry with what is built in: sinks of kind `null`, and the orchestrator `standalone`.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Self::default();
        registry.sink(crate::null::KIND);
        registry.orchestrators.add(crate::standalone::KIND);
        registry
    }

    /// Adds a kind of sink; a later one of the same name replaces it.
    pub fn sink(&mut self, kind: SinkKind) -> &mut Self {
        self.sinks.add(kind);
        self
    }

    /// Notes a kind of sink that exists but was compiled out.
    pub fn compiled_out(&mut self, name: &'static str, feature: &'static str) -> &mut Self {
        self.sinks.compiled_out(name, feature);
        self
    }

    /// The kinds of sink that can be built, by name.
    pub fn sinks(&self) -> impl Iterator<Item = &SinkKind> {
        self.sinks.iter()
    }

    /// The kind of sink of that name; `path` is where the name stands, for the error.
    ///
    /// # Errors
    /// [`Problem`] for an unknown kind (with the list and a suggestion) and for one that was compiled out (with the
    /// feature to build with).
    pub fn find(&self, name: &str, path: &str) -> Result<&SinkKind, Problem> {
        self.sinks.find(name, path)
    }

    /// The kinds of configuration source.
    #[must_use]
    pub fn sources(&self) -> &Kinds<SourceKind> {
        &self.sources
    }

    /// The same, to be added to.
    pub fn sources_mut(&mut self) -> &mut Kinds<SourceKind> {
        &mut self.sources
    }

    /// The kinds of source of subscribed events.
    #[must_use]
    pub fn feeds(&self) -> &Kinds<EventSourceKind> {
        &self.feeds
    }

    /// The same, to be added to.
    pub fn feeds_mut(&mut self) -> &mut Kinds<EventSourceKind> {
        &mut self.feeds
    }

    /// The kinds of orchestrator.
    #[must_use]
    pub fn orchestrators(&self) -> &Kinds<OrchestratorKind> {
        &self.orchestrators
    }

    /// The same, to be added to.
    pub fn orchestrators_mut(&mut self) -> &mut Kinds<OrchestratorKind> {
        &mut self.orchestrators
    }
}

/// The candidate a person most likely meant, if one is near enough.
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
