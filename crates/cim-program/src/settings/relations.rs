//! What must fit together across sections: names that are used, addresses that exclude each other.
//!
//! Each rule looks at the parts that could be read, so that one broken section does not hide the problems of another.
//! Left out: single values (`check`). The invariant: a configuration without a problem here can be started, as far as
//! that can be told without opening anything.

use std::net::SocketAddr;
use std::path::Path;

use cim_core::settings::{DeadLetterSettings, RoutesSettings, Secret, SubscriptionSettings};
use cim_core::{Problem, Registry};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::check::check;
use super::configuration::ConfigurationSettings;
use super::credentials::Credentials;
use super::external_nats::ExternalNatsSettings;
use super::lifecycle::{NO_SPILL, SPILL_STDOUT};
use super::listen::NatsAuth;
use super::metrics::AlignedSettings;
use super::path;
use super::schema::Schema;
use crate::backends;

/// Everything that does not fit together in the merged value.
#[must_use]
pub fn problems(merged: &Value, registry: &Registry) -> Vec<Problem> {
    let mut problems = sinks(merged, registry);
    problems.extend(source(merged, registry));
    problems.extend(orchestrator(merged, registry));
    problems.extend(subscriptions(merged, registry));
    problems.extend(node_agents(merged));
    problems.extend(route("logs", merged));
    problems.extend(route("events", merged));
    if merged.pointer("/spool/dir").is_some_and(|dir| *dir == "") {
        problems.push(Problem::new("spool.dir", "must not be empty; leave it out for level `memory`"));
    }
    problems.extend(dead_letters(merged));
    problems.extend(names(merged));
    problems.extend(spill(merged));
    problems.extend(leftovers(merged, registry));
    problems.extend(aligned(merged));
    let auth = merged.pointer("/nats/auth").filter(|auth| !auth.is_null());
    if let Some(Err(found)) =
        auth.and_then(|auth| NatsAuth::deserialize(auth).ok()).map(|auth| Credentials::load(&auth))
    {
        problems.extend(found);
    }
    problems.extend(external_nats(merged));
    let shut = merged.pointer("/api/paths").is_some_and(|paths| *paths == "contract");
    problems.extend(listeners(merged, auth.is_some(), shut));
    problems.extend(api_token(merged));
    problems
}

/// A store that cannot hold the largest record could only drop it.
fn dead_letters(merged: &Value) -> Option<Problem> {
    let settings = DeadLetterSettings::deserialize(merged.pointer("/spool/dead_letters")?).ok()?;
    let (found, least) = (settings.max_bytes, DeadLetterSettings::LEAST);
    let what = || format!("{found} may be less than one refused record needs; give it {least} or more");
    (found < least).then(|| Problem::new("spool.dead_letters.max_bytes", what()))
}

/// The server of others, if there is one.
fn external_nats(merged: &Value) -> Vec<Problem> {
    let table = merged.pointer("/nats/external").filter(|table| !table.is_null());
    let Some(Ok(settings)) = table.map(ExternalNatsSettings::deserialize) else { return Vec::new() };
    let mut problems = settings.problems();
    problems.extend(backends::external_nats(&settings).err());
    problems
}

/// The token of the HTTP server, which must be there before the server is.
fn api_token(merged: &Value) -> Option<Problem> {
    let file = merged.pointer("/api/token_file").and_then(Value::as_str)?;
    let problem = |why| Problem::new("api.token_file", why);
    Secret::read(Path::new(file)).map(drop).map_err(problem).err()
}

/// Names that stand in keys of the store. With an empty one the keys of every microservice would look like the own ones.
fn names(merged: &Value) -> Vec<Problem> {
    let members = ["namespace", "pod", "microservice", "version"];
    let given = members.into_iter().filter_map(|name| {
        let text = merged.pointer(&format!("/identity/{name}"))?.as_str()?;
        Some((path::member("identity", name), text))
    });
    let wrong = given.filter_map(|(at, text)| match text {
        "" => Some(Problem::new(at, "must not be empty; leave it out for its default")),
        _ if text.contains('/') => {
            Some(Problem::new(at, "must not hold `/`: it is one part of the keys of the store"))
        }
        _ => None,
    });
    wrong.collect()
}

/// The limits of clock-aligned metrics.
fn aligned(merged: &Value) -> Option<Problem> {
    let table = merged.pointer("/metrics/aligned").filter(|table| !table.is_null())?;
    let problem = match AlignedSettings::deserialize(table).ok()?.plan() {
        Ok(plan) if plan.is_https && merged.pointer("/metrics/tls").is_none() => {
            let what = "`https` needs somebody to vouch for the exporters; name `ca_file` in [metrics.tls]";
            Problem::new("scheme", what)
        }
        checked => checked.err()?,
    };
    Some(problem.beneath("metrics.aligned"))
}

/// What is undelivered at the end can go to a sink that there is.
fn spill(merged: &Value) -> Option<Problem> {
    let name = merged.pointer("/lifecycle/spill")?.as_str()?;
    let known = [NO_SPILL, SPILL_STDOUT].contains(&name) || merged.pointer("/sinks")?.get(name).is_some();
    let what =
        || format!("no sink is called `{name}`; write `{SPILL_STDOUT}`, `{NO_SPILL}` or the name of one");
    (!known).then(|| Problem::new("lifecycle.spill", what()))
}

/// Files of an earlier sidecar need a spool to be noted in, and a log route that does not lead back to them.
fn leftovers(merged: &Value, registry: &Registry) -> Vec<Problem> {
    let Some(dir) = merged.pointer("/leftovers/dir").and_then(Value::as_str) else { return Vec::new() };
    let mut problems = Vec::new();
    if merged.pointer("/spool/dir").is_none_or(Value::is_null) {
        problems.push(Problem::new("leftovers.dir", "needs a spool: set `dir` in [spool]"));
    }
    let same = |name: &str| {
        let Some(sink) = merged.get("sinks").and_then(|sinks| sinks.get(name)) else { return false };
        let kind = sink.get("type").and_then(Value::as_str).unwrap_or_default();
        let schema = registry.find(kind, "").map(|kind| (kind.schema)()).unwrap_or_default();
        let into = sink.get("dir").or_else(|| schema.pointer("/properties/dir/default"));
        into.and_then(Value::as_str).map(Path::new) == Some(Path::new(dir))
    };
    for sink in texts(merged.pointer("/routes/logs/sink")).into_iter().filter(|sink| same(sink)) {
        let message = format!("logs go to files in this directory already, by sink `{sink}`; leave it out");
        problems.push(Problem::new("leftovers.dir", message));
    }
    problems
}

/// Judges each sink by the schema and the rules of its kind.
fn sinks(merged: &Value, registry: &Registry) -> Vec<Problem> {
    let mut problems = Vec::new();
    let routes = merged.get("routes").and_then(|routes| RoutesSettings::deserialize(routes).ok());
    for (name, table) in merged.get("sinks").and_then(Value::as_object).into_iter().flatten() {
        let at = path::member("sinks", name);
        if name.is_empty()
            || name.len() > 64
            || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        {
            problems
                .push(Problem::new(&at, "the name of a sink has letters, digits, `_` and `-`, at most 64"));
        }
        let Some(members) = table.as_object() else { continue };
        let at_kind = path::member(&at, "type");
        let Some(kind) = members.get("type").and_then(Value::as_str) else { continue };
        let kind = match registry.find(kind, &at_kind) {
            Ok(kind) => kind,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let format = routes.as_ref().map(|routes| routes.log_format(name)).unwrap_or_default();
        let validate = |members: &Value| (kind.validate)(members, format);
        problems.extend(table_of_kind((kind.schema)(), validate, without_type(members), &at));
    }
    problems
}

fn without_type(members: &Map<String, Value>) -> Value {
    let mut members = members.clone();
    members.remove("type");
    Value::Object(members)
}

/// Judges a table by the schema of its kind, then by the rules of the kind.
fn table_of_kind(
    schema: Value,
    validate: impl Fn(&Value) -> Vec<Problem>,
    members: Value,
    at: &str,
) -> Vec<Problem> {
    let found = check(Schema::new(&schema), &members, at);
    if !found.is_empty() {
        return found;
    }
    validate(&members).into_iter().map(|problem| problem.beneath(at)).collect()
}

/// The source of configuration that was chosen, and its table.
fn source(merged: &Value, registry: &Registry) -> Vec<Problem> {
    let Some(name) = merged.pointer("/configuration/source").and_then(Value::as_str) else {
        return Vec::new();
    };
    if name == ConfigurationSettings::NONE {
        return Vec::new();
    }
    let kind = match registry.sources().find(name, "configuration.source") {
        Ok(kind) => kind,
        Err(problem) => return vec![problem],
    };
    let at = path::member("configuration", name);
    let members = merged.pointer(&format!("/configuration/{name}")).filter(|table| table.is_object());
    let members = members.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    table_of_kind((kind.schema)(), kind.validate, members, &at)
}

/// The orchestrator that was chosen, and its table.
fn orchestrator(merged: &Value, registry: &Registry) -> Vec<Problem> {
    let Some(members) = merged.get("orchestrator").and_then(Value::as_object) else { return Vec::new() };
    let Some(name) = members.get("type").and_then(Value::as_str) else { return Vec::new() };
    if name == cim_core::standalone::KIND.name && members.len() == 1 {
        // The usual case; a schema takes longer to build than the configuration to read.
        return Vec::new();
    }
    match registry.orchestrators().find(name, "orchestrator.type") {
        Ok(kind) => table_of_kind((kind.schema)(), kind.validate, without_type(members), "orchestrator"),
        Err(problem) => vec![problem],
    }
}

/// The source of subscribed events is a sink that can be read.
fn subscriptions(merged: &Value, registry: &Registry) -> Vec<Problem> {
    let Some(settings) =
        merged.get("subscriptions").and_then(|table| SubscriptionSettings::deserialize(table).ok())
    else {
        return Vec::new();
    };
    let feeds = registry.feeds();
    let mut problems: Vec<_> = feeds.iter().flat_map(|feed| (feed.validate)(&settings)).collect();
    if settings.group.as_ref().is_some_and(String::is_empty) {
        problems.push(Problem::new("group", "must not be empty; leave it out for the name of the pod"));
    }
    if settings.ack_wait.get().is_zero() {
        problems.push(Problem::new("ack_wait", "must not be 0; the default is 30s"));
    }
    let name = settings.source.as_deref().filter(|name| *name != SubscriptionSettings::NONE);
    if let Some(name) = name {
        let sink = merged.get("sinks").and_then(|sinks| sinks.get(name));
        let kind = sink.and_then(|sink| sink.get("type")).and_then(Value::as_str);
        let readable: Vec<_> = feeds.iter().map(|feed| feed.name).collect();
        match kind {
            None => problems.push(Problem::new("source", format!("no sink is called {name:?}"))),
            Some(kind) if !readable.contains(&kind) => {
                let list = if readable.is_empty() { "none".to_owned() } else { readable.join(", ") };
                let what = format!(
                    "events cannot be read from sink `{name}` of type `{kind}` (types that can be read: {list})"
                );
                problems.push(Problem::new("source", what));
            }
            Some(_) => {}
        }
    }
    problems.into_iter().map(|problem| problem.beneath("subscriptions")).collect()
}

/// Agents of the own node are found by what knows the node.
fn node_agents(merged: &Value) -> Vec<Problem> {
    if merged.pointer("/orchestrator/type").is_none_or(|kind| *kind != cim_core::standalone::KIND.name) {
        return Vec::new();
    }
    let sinks = merged.get("sinks").and_then(Value::as_object).into_iter().flatten();
    let asking = sinks.filter(|(_, table)| table.get("node_agent").is_some_and(|agent| !agent.is_null()));
    asking
        .map(|(name, _)| {
            let at = path::member(&path::member("sinks", name), "node_agent");
            Problem::new(
                at,
                "needs an orchestrator that knows nodes; set `type = \"kubernetes\"` in [orchestrator]",
            )
        })
        .collect()
}

fn route(name: &str, merged: &Value) -> Vec<Problem> {
    let at = path::member("routes", name);
    let part = |key: &str| merged.pointer(&format!("/routes/{name}/{key}"));
    let defined: Vec<&str> = match merged.get("sinks").and_then(Value::as_object) {
        Some(sinks) => sinks.keys().map(String::as_str).collect(),
        None => Vec::new(),
    };
    let mut problems = Vec::new();
    let sinks = texts(part("sink"));
    let fallback = texts(part("fallback"));
    for (key, sink) in
        sinks.iter().map(|sink| ("sink", *sink)).chain(fallback.iter().map(|sink| ("fallback", *sink)))
    {
        if !defined.contains(&sink) {
            let hint = cim_core::registry::suggest(sink, defined.iter().copied());
            let hint = hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let message = format!("no sink is called {sink:?}{hint} (defined: {})", defined.join(", "));
            problems.push(Problem::new(path::member(&at, key), message));
        }
    }
    if fallback.iter().any(|fallback| sinks.contains(fallback)) {
        problems.push(Problem::new(path::member(&at, "fallback"), "is the sink it should stand in for"));
    }
    if part("sink").is_some_and(|sink| *sink == Value::Array(Vec::new())) {
        problems.push(Problem::new(
            path::member(&at, "sink"),
            "needs at least one sink; use type `null` to discard",
        ));
    }
    let mut seen = Vec::new();
    for sink in sinks {
        if seen.contains(&sink) {
            problems.push(Problem::new(path::member(&at, "sink"), format!("names `{sink}` twice")));
        }
        seen.push(sink);
    }
    problems
}

/// The texts of a value that is a text or a list of them.
fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(value) => value.as_str().into_iter().collect(),
        None => Vec::new(),
    }
}

/// `auth`: NATS clients must present something. `shut`: the API serves nothing that others may not see.
fn listeners(merged: &Value, auth: bool, shut: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut open: Vec<(SocketAddr, &str)> = Vec::new();
    for (pointer, path) in
        [("/nats/listen", "nats.listen"), ("/api/listen", "api.listen"), ("/health/listen", "health.listen")]
    {
        let addresses = texts(merged.pointer(pointer)).into_iter().filter_map(|text| text.parse().ok());
        open.extend(addresses.map(|address| (address, path)));
    }
    for (address, path) in open.iter().filter(|(address, _)| !address.ip().is_loopback()) {
        let advice = match *path {
            "nats.listen" if !auth => "set [nats.auth], or listen on 127.0.0.1",
            "api.listen" if !shut => {
                "set `paths = \"contract\"`, or listen on 127.0.0.1 and use `[health] listen` for probes and scrapers"
            }
            _ => continue,
        };
        problems.push(Problem::new(*path, format!("{address} is open to other hosts; {advice}")));
    }
    for (index, (address, path)) in open.iter().enumerate() {
        let same = |(other, _): &&(SocketAddr, &str)| collide(*other, *address);
        if let Some((_, other)) = open.iter().take(index).find(same) {
            problems.push(Problem::new(*path, format!("{address} is taken by {other} already")));
        }
    }
    problems
}

/// Whether two listeners cannot both have their address.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let overlap = a.ip() == b.ip()
        || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() == b.port() && a.port() != 0 && overlap
}
