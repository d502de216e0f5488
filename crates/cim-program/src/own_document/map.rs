//! The ConfigMap of CIM's own document, for a pod without `/opt/conf/cim.json` (wire contract §9.4).
//!
//! Owns when it is read and made. Left out: what it looks like, and what its document means. The invariants: nothing waits for
//! the API server; a map that exists is let be, so replicas agree on the one that was first.

use std::sync::Arc;
use std::time::Duration;

use cim_core::{Document, Identity, Orchestrator, OrchestratorErrorKind, Pauses, chain};
use serde_json::Value;
use tokio::sync::watch;

use super::wish::Wishes;
use crate::backends;
use crate::registration::Engine;

/// Name of its data that is the document.
const DOCUMENT: &str = "cim.json";
const REVISION: &str = "revision";
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is needed to read and make the map.
#[derive(Clone)]
pub struct Map {
    /// Who keeps it.
    pub orchestrator: Arc<dyn Orchestrator>,
    /// Whom to tell of it.
    pub engine: Engine,
    /// Whether the application has registered.
    pub registered: watch::Receiver<bool>,
    /// The process, which has the document.
    pub wishes: Wishes,
}

impl Map {
    /// Reads the map, makes it at the registration when there is none, and tells whom it concerns.
    ///
    /// # Cancel safety
    /// When dropped, the map may or may not have been made.
    pub async fn settle(mut self) {
        let known = self.engine.wait_for(Option::is_some).await;
        let Some((configuration, identity)) = known.ok().and_then(|known| known.clone()) else { return };
        let Some(name) = backends::own_map_name(&identity) else { return };
        loop {
            let reading = || self.orchestrator.document(&name);
            let Some(found) = patiently(reading, "cannot be read").await else { return };
            if let Some(map) = found {
                if let Some(document) = document(&map) {
                    self.wishes.map(document).await;
                }
                return configuration.own_map_made(member(&map, REVISION).unwrap_or("0")).await;
            }
            if !configuration.view().registered && self.registered.wait_for(|is| *is).await.is_err() {
                return;
            }
            if !self.make(&identity).await {
                return;
            }
        }
    }

    /// Makes the map; `false` when that is not to be.
    async fn make(&self, identity: &Identity) -> bool {
        let Some(current) = self.wishes.current().await else { return false };
        let Some(map) = backends::own_map(identity, &current) else { return false };
        let making = || self.orchestrator.create_document(&map);
        match patiently(making, "cannot be made").await {
            Some(made) => {
                tracing::info!(map = map.name, made, "the ConfigMap of cim.json is there");
                true
            }
            None => false,
        }
    }
}

/// Calls until there is an answer; `None` when there will be none.
async fn patiently<T, F>(call: impl Fn() -> F, failed: &str) -> Option<T>
where
    F: Future<Output = Result<T, cim_core::OrchestratorError>>,
{
    let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        match call().await {
            Ok(answer) => return Some(answer),
            Err(error) if error.kind() == OrchestratorErrorKind::Unsupported => return None,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the ConfigMap of cim.json {failed}; it is tried again");
            }
        }
        pauses.wait().await;
    }
}

fn member<'d>(map: &'d Document, name: &str) -> Option<&'d str> {
    map.data.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str())
}

fn document(map: &Document) -> Option<Value> {
    let text = member(map, DOCUMENT);
    let parsed = text.map(serde_json::from_str::<Value>);
    match parsed {
        Some(Ok(document)) => Some(document),
        Some(Err(error)) => {
            tracing::error!(map = map.name, %error, "`{DOCUMENT}` of the ConfigMap is no JSON; it is left alone");
            None
        }
        None => {
            tracing::error!(map = map.name, "the ConfigMap has no `{DOCUMENT}`; it is left alone");
            None
        }
    }
}
