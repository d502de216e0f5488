//! Where records go: the two contracts a backend implements.

use async_trait::async_trait;

use super::{Batch, Component, DeliveryError, Event, LogRecord, SinkProfile};

/// Takes log records.
#[async_trait]
pub trait LogSink: Component {
    /// Limits and promises. Read again before every batch, so it may change at run time.
    fn profile(&self) -> SinkProfile;

    /// Does what the first delivery would otherwise wait for, such as connecting. Called when the route begins, beside deliveries;
    /// it may take as long as it likes, and ends with the route. On a fallback it is called in each pause before the next attempt
    /// of the sink it stands in for, and ends with the pause. A failure is no error: a delivery or a probe tells of it. Sinks that
    /// are ready at once need not do anything.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn prepare(&self) {}

    /// Delivers the batch. `Ok` means that every record has reached the durability of [`LogSink::profile`];
    /// nothing is kept between calls, so there is no flush. An empty batch is `Ok`.
    ///
    /// # Errors
    /// [`DeliveryError`] with a kind and, if known, the positions that are not delivered.
    ///
    /// # Cancel safety
    /// The future may be dropped at any await point (timeout, shutdown). Records may then be delivered twice later;
    /// none is lost, because the engine still holds the batch.
    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError>;

    /// Gives up what earlier calls left unfinished: another sink gets it next (the fallback, or the sink that this one
    /// stands in for), or this one leaves the route. Once this returns, nothing of it reaches the reader any more, as far
    /// as the sink can prevent it; what is offered again all the same is new. Sinks that keep nothing between calls need
    /// not do anything.
    ///
    /// # Cancel safety
    /// May be dropped at any await point; what was left unfinished may then still reach the reader.
    async fn abandon(&self) {}
}

/// Takes events.
#[async_trait]
pub trait EventSink: Component {
    /// Limits and promises. Read again before every batch, so it may change at run time.
    fn profile(&self) -> SinkProfile;

    /// Does what the first delivery would otherwise wait for, such as connecting. Called when the route begins, beside deliveries;
    /// it may take as long as it likes, and ends with the route. On a fallback it is called in each pause before the next attempt
    /// of the sink it stands in for, and ends with the pause. A failure is no error: a delivery or a probe tells of it. Sinks that
    /// are ready at once need not do anything.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn prepare(&self) {}

    /// Delivers the batch. `Ok` means that every record has reached the durability of [`EventSink::profile`];
    /// nothing is kept between calls, so there is no flush. An empty batch is `Ok`.
    ///
    /// # Errors
    /// [`DeliveryError`] with a kind and, if known, the positions that are not delivered.
    ///
    /// # Cancel safety
    /// The future may be dropped at any await point (timeout, shutdown). Events may then be delivered twice later;
    /// none is lost, because the engine still holds the batch.
    async fn deliver(&self, batch: &Batch<Event<'_>>) -> Result<(), DeliveryError>;

    /// Gives up what earlier calls left unfinished: another sink gets it next (the fallback, or the sink that this one
    /// stands in for), or this one leaves the route. Once this returns, nothing of it reaches the reader any more, as far
    /// as the sink can prevent it; what is offered again all the same is new. Sinks that keep nothing between calls need
    /// not do anything.
    ///
    /// # Cancel safety
    /// May be dropped at any await point; what was left unfinished may then still reach the reader.
    async fn abandon(&self) {}
}
