//! The source of configuration: whether it answers.
//!
//! Left out: what is in it. The invariant: one key is read, the one that CIM reads at every start, and nothing is written.

use cim_core::configuration::{MapLevel, commit_key};
use cim_core::{Health, Identity, Registry};
use tokio::time::timeout;

use super::LIMIT;
use super::finding::Finding;
use crate::configuration;
use crate::exit::chain;
use crate::settings::Settings;

/// A finding about the source, if there is one.
pub(super) async fn check(settings: &Settings, registry: &Registry, identity: &Identity) -> Option<Finding> {
    let name = &settings.configuration.source;
    let check = format!("source {name}");
    let source = match configuration::source(settings, registry) {
        Ok(source) => source?,
        Err(problem) => return Some(Finding::fail(check, problem.to_string())),
    };
    let key = commit_key(identity, MapLevel::Ms, false);
    let finding = match timeout(LIMIT, source.read(&key)).await {
        Ok(Ok(_)) => match source.probe().await {
            Health::Ready => Finding::ok(check, "answers"),
            Health::Degraded(why) => Finding::warn(check, format!("answers, but {why}")),
        },
        Ok(Err(error)) => Finding::fail(check, chain(&error)).advice(advice(name)),
        Err(_) => Finding::fail(check, format!("has not answered within {LIMIT:?}")).advice(advice(name)),
    };
    let _ = timeout(LIMIT, source.close()).await;
    Some(finding)
}

fn advice(source: &str) -> String {
    format!("changes wait until it answers; see [configuration.{source}] and the findings about its hosts")
}
