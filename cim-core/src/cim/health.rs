//! What sinks say about themselves, asked now and then, for the health pages.
//!
//! Left out: deliveries, which tell more and are told apart (`delivery::condition`). The invariant: what is said here decides
//! nothing; it is only shown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Inner;
use crate::contract::{Component, Health};
use crate::supervisor::OnPanic;

/// How often sinks are asked. The health pages tell of an outage within 2 s, and a sink may need a second to notice.
const PERIOD: Duration = Duration::from_millis(500);
/// How long one may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// The last answers: what works less than it should, by name of the sink.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<String, String>>);

impl Troubles {
    /// What the sink of that name said.
    pub(super) fn of(&self, sink: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(sink).cloned()
    }

    async fn ask(&self, components: &[Arc<dyn Component>]) {
        let mut answers = BTreeMap::new();
        for component in components {
            let text = match tokio::time::timeout(ANSWER_TIME, component.probe()).await {
                Ok(Health::Ready) => continue,
                Ok(Health::Degraded(text)) => text,
                Err(_elapsed) => format!("no answer to a probe within {ANSWER_TIME:?}"),
            };
            answers.insert(component.name().to_owned(), text);
        }
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Once per trouble: what it says may change with every answer.
        for (sink, text) in answers.iter().filter(|(sink, _)| !troubles.contains_key(*sink)) {
            tracing::warn!(sink, trouble = %text, "a sink works less than it should");
        }
        *troubles = answers;
    }
}

/// Starts the task that asks.
pub(super) fn start(inner: &Arc<Inner>) {
    let weak = Arc::downgrade(inner);
    inner.supervisor.task("sink probes", OnPanic::Restart, move || {
        let weak = weak.clone();
        async move {
            while let Some(inner) = weak.upgrade() {
                let components = inner.generation().components.clone();
                inner.troubles.ask(&components).await;
                drop(inner);
                tokio::time::sleep(PERIOD).await;
            }
        }
    });
}
