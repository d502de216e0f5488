//! The source of configuration: whether it answers.
//!
//! Left out: what is in it. The invariant: a key of results and one of stories are read, as at every start, and nothing is
//! written.

use cim_core::configuration::{DocumentId, MapLevel, OWN_DOCUMENT, commit_key, status_key};
use cim_core::{Health, Identity, Registry, SourceErrorKind};
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
    let own = DocumentId { level: MapLevel::Ms, data_key: OWN_DOCUMENT.to_owned() };
    let keys = [commit_key(identity, MapLevel::Ms, false), status_key(identity, &own)];
    let reading = async {
        for key in &keys {
            source.read(key).await.map_err(|error| match error.kind() {
                // The rights of one key are not those of the other.
                SourceErrorKind::Unauthorized => format!("{key}: {}", chain(&error)),
                _ => chain(&error),
            })?;
        }
        Ok::<(), String>(())
    };
    let finding = match timeout(LIMIT, reading).await {
        Ok(Ok(())) => match source.probe().await {
            Health::Ready => Finding::ok(check, "answers"),
            Health::Degraded(why) => Finding::warn(check, format!("answers, but {why}")),
        },
        Ok(Err(why)) => Finding::fail(check, why).advice(advice(name)),
        Err(_) => Finding::fail(check, format!("has not answered within {LIMIT:?}")).advice(advice(name)),
    };
    let _ = timeout(LIMIT, source.close()).await;
    Some(finding)
}

fn advice(source: &str) -> String {
    format!("changes wait until it answers; see [configuration.{source}] and the findings about its hosts")
}
