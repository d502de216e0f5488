//! What stands in for the event side of a sink until it is known who this pod is.
//!
//! Events carry the identity of the pod, so they wait in the spool; logs carry only names that are always known.

use std::sync::Arc;

use cim_core::{
    Batch, Component, DeliveryError, DeliveryErrorKind, Event, EventSink, Sink, SinkProfile, async_trait,
};

/// Refuses every batch for the time being.
struct AwaitingIdentity(Arc<dyn EventSink>);

#[async_trait]
impl Component for AwaitingIdentity {
    fn name(&self) -> &str {
        self.0.name()
    }
}

#[async_trait]
impl EventSink for AwaitingIdentity {
    fn profile(&self) -> SinkProfile {
        self.0.profile()
    }

    async fn deliver(&self, _batch: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        let what = "events wait until the orchestrator tells who this pod is";
        Err(DeliveryError::new(DeliveryErrorKind::Unavailable, what))
    }
}

/// The sink with its event side held back.
pub fn identity(sink: Sink) -> Sink {
    Sink {
        events: sink.events.map(|events| Arc::new(AwaitingIdentity(events)) as Arc<dyn EventSink>),
        ..sink
    }
}
