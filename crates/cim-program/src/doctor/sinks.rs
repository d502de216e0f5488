//! The sinks that routes name: whether they can be built, what they say, and whether their directories take files.
//!
//! Left out: whether their hosts can be reached (`hosts`). The invariant: no record is delivered, so nothing is opened and
//! nothing has to be closed.

use std::path::Path;

use cim_core::{Component, Health, Identity, Neighbours, Registry};
use serde_json::Value;
use tokio::time::timeout;

use super::LIMIT;
use super::directory::{self, Writable, bytes};
use super::finding::Finding;
use crate::engine;
use crate::settings::Settings;
use crate::who::Who;

/// One finding for each sink, or one for what keeps all of them from being built.
pub(super) async fn check(
    settings: &Settings,
    identity: &Identity,
    neighbours: &Neighbours,
    registry: &Registry,
) -> Vec<Finding> {
    let who = Who { identity: identity.clone(), is_known: true };
    let built = match engine::sinks(settings, &who, neighbours, registry) {
        Ok(built) => built,
        Err(failure) => {
            let finding = Finding::fail("sinks", failure.text);
            return vec![finding.advice("mend what is named; `cim run` does not start with it")];
        }
    };
    let mut findings = Vec::new();
    for (name, sink) in built {
        let check = format!("sink {name}");
        let kind = settings.sinks.get(&name).map_or("", |table| table.kind.as_str());
        let logs = sink.logs.map(|sink| sink as std::sync::Arc<dyn Component>);
        let part = logs.or(sink.events.map(|sink| sink as std::sync::Arc<dyn Component>));
        let Some(part) = part else { continue };
        findings.push(match timeout(LIMIT, part.probe()).await {
            Ok(Health::Ready) => Finding::ok(check, format!("can be built ({kind})")),
            Ok(Health::Degraded(why)) => Finding::fail(check, why),
            Err(_) => Finding::fail(check, format!("no answer to a probe within {LIMIT:?}")),
        });
    }
    findings
}

/// Directories that sinks write into, and the one with files of an earlier sidecar.
pub(super) fn directories(settings: &Settings, registry: &Registry) -> Vec<Finding> {
    let used = engine::used(settings);
    let mut findings = Vec::new();
    for (name, table) in settings.sinks.iter().filter(|(name, _)| used.contains(name.as_str())) {
        // A kind that has a directory says so in its schema, with the default.
        let schema = registry.find(&table.kind, "").map(|kind| (kind.schema)()).unwrap_or_default();
        let usual = schema.pointer("/properties/dir/default");
        if let Some(dir) = table.members.get("dir").or(usual).and_then(Value::as_str) {
            findings.push(writable(format!("directory sinks.{name}.dir {dir}"), Path::new(dir)));
        }
    }
    if let Some(dir) = &settings.leftovers.dir {
        let check = format!("directory leftovers.dir {}", dir.display());
        findings.push(match std::fs::read_dir(dir) {
            Ok(_) => Finding::ok(check, "can be read"),
            Err(error) => Finding::warn(check, format!("cannot be read: {error}"))
                .advice("leave it out once the files of the earlier sidecar are delivered"),
        });
    }
    findings
}

fn writable(check: String, dir: &Path) -> Finding {
    match directory::writable(dir) {
        Writable::Yes => {
            let free = directory::free(dir).map_or(String::new(), |free| format!("; {} free", bytes(free)));
            Finding::ok(check, format!("can be written into{free}"))
        }
        Writable::Later => Finding::ok(check, "is not there yet; cim makes it"),
        Writable::No(why) => Finding::fail(check, why).advice("give cim a directory that it may write into"),
    }
}
