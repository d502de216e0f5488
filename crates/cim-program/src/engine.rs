//! From settings to a running engine: builds the sinks that are used and starts delivery.
//!
//! Left out: listeners. The invariant: a sink that no route names is not built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cim_core::settings::SinkSettings;
use cim_core::{
    Cim, LogFormat, Neighbours, Problem, Registry, Sink, SinkContext, SniffRules, StartError, check_routes,
};
use serde_json::Value;

use crate::awaiting;
use crate::exit::{Failure, chain};
use crate::settings::Settings;
use crate::who::Who;

/// Starts an engine. Needs the runtime it will live on.
///
/// # Errors
/// What [`sinks`] says, or a spool that cannot be opened.
pub fn start(
    settings: &Settings,
    who: &Who,
    neighbours: &Neighbours,
    registry: &Registry,
) -> Result<Cim, Failure> {
    let mut builder = Cim::builder()
        .identity(who.identity.clone())
        .memory(settings.memory.clone())
        .spool(settings.spool.clone())
        .leftovers(settings.leftovers.clone())
        .routes(settings.routes.clone())
        .sniff(if settings.nats.flatbuffers_only { SniffRules::FLATBUFFERS_ONLY } else { SniffRules::ALL });
    for (name, sink) in sinks(settings, who, neighbours, registry)? {
        builder = builder.sink(name, sink);
    }
    builder.start().map_err(|error| Failure::cannot_start(advice(&error)))
}

/// What went wrong, and for a spool what to do about it.
fn advice(error: &StartError) -> String {
    let what = chain(error);
    match error {
        StartError::Spool { .. } => format!(
            "{what}\n  each cim needs a directory of its own that it may write to; \
             set `dir` in [spool], or CIM__SPOOL__DIR"
        ),
        _ => what,
    }
}

/// Builds the sinks that routes name. While it is not known who this pod is, they hold events back.
///
/// # Errors
/// All that [`fitting`] finds.
pub fn sinks(
    settings: &Settings,
    who: &Who,
    neighbours: &Neighbours,
    registry: &Registry,
) -> Result<BTreeMap<String, Sink>, Failure> {
    fitting(settings, who, neighbours, registry).map_err(|problems| Failure::cannot_start(list(&problems)))
}

/// The same, for who wants to tell where each problem stands.
///
/// # Errors
/// Sinks that cannot be built, or those that are not good enough for their route.
pub fn fitting(
    settings: &Settings,
    who: &Who,
    neighbours: &Neighbours,
    registry: &Registry,
) -> Result<BTreeMap<String, Sink>, Vec<Problem>> {
    let identity = Arc::new(who.identity.clone());
    let mut problems = Vec::new();
    let mut built = BTreeMap::new();
    for name in used(settings) {
        let Some(table) = settings.sinks.get(name) else { continue };
        let log_format = settings.routes.log_format(name);
        let context = SinkContext {
            name: name.to_owned(),
            identity: Arc::clone(&identity),
            log_format,
            neighbours: neighbours.clone(),
        };
        match build(table, context, registry) {
            Ok(sink) => {
                let sink = if who.is_known { sink } else { awaiting::identity(sink) };
                built.insert(name.to_owned(), sink);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        problems = check_routes(&settings.routes, &settings.spool, &built);
    }
    if problems.is_empty() { Ok(built) } else { Err(problems) }
}

/// A sink that no route needs to name, for logs as text.
///
/// # Errors
/// What is wrong with its section.
pub fn spare(
    settings: &Settings,
    name: &str,
    who: &Who,
    neighbours: &Neighbours,
    registry: &Registry,
) -> Result<Sink, Problem> {
    let at = format!("sinks.{name}");
    let table = settings.sinks.get(name).ok_or_else(|| Problem::new(at, "there is no such sink"))?;
    let context = SinkContext {
        name: name.to_owned(),
        identity: Arc::new(who.identity.clone()),
        log_format: LogFormat::Text,
        neighbours: neighbours.clone(),
    };
    build(table, context, registry)
}

/// The sinks that routes name.
#[must_use]
pub fn used(settings: &Settings) -> BTreeSet<&str> {
    let routes = [&settings.routes.logs, &settings.routes.events];
    routes
        .into_iter()
        .flat_map(|route| route.sink.names().into_iter().chain(route.fallback.as_deref()))
        .collect()
}

fn build(table: &SinkSettings, context: SinkContext, registry: &Registry) -> Result<Sink, Problem> {
    let at = format!("sinks.{}", context.name);
    let kind = registry.find(&table.kind, &at)?;
    let members = Value::Object(table.members.clone().into_iter().collect());
    (kind.build)(context, &members).map_err(|problem| problem.beneath(&at))
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
