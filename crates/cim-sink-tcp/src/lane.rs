//! The way of one class to the receiver: a connection that is made when it is needed, and the memory of its troubles.
//!
//! Owns the lock that keeps batches apart, the reuse of a connection, and the counting of broken ones. Left out: the
//! form of records, and which batches may go (`flights`). Invariant: after a failure or a dropped call no connection is
//! used again that may carry half a batch.

use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Mutex, PoisonError};

use cim_core::{DeliveryError, DeliveryErrorKind, Health, catalog};
use tokio::sync::MutexGuard;

use crate::connection::Connection;
use crate::flights::{Flight, Flights};
use crate::receivers::Receivers;

/// One class.
pub(crate) struct Lane {
    desk: tokio::sync::Mutex<Desk>,
    flights: Flights,
    trouble: Mutex<Option<String>>,
    disconnects: AtomicU64,
    sink: String,
    /// Label of what is counted under the old names: the pod.
    pod: Option<String>,
}

/// Bytes of a page that are kept in any case.
const KEPT_BYTES: usize = 64 << 10;
/// A page of that many times what a batch needed shrinks: not with each batch that is a little smaller than the one before.
const MUCH_LARGER: usize = 4;

/// What a delivery needs for itself.
#[derive(Default)]
pub(crate) struct Desk {
    connection: Option<Connection>,
    /// The reused buffer of the piece that is being made.
    pub page: Vec<u8>,
}

impl Lane {
    /// A lane of that sink, without a connection; `pod` for the lane of logs.
    pub(crate) fn new(sink: &str, pod: Option<&str>) -> Self {
        Self {
            desk: tokio::sync::Mutex::default(),
            flights: Flights::default(),
            trouble: Mutex::default(),
            disconnects: AtomicU64::new(0),
            sink: sink.to_owned(),
            pod: pod.map(ToOwned::to_owned),
        }
    }

    /// Begins a delivery, in the order of the calls, and waits until the ones before have written.
    ///
    /// # Errors
    /// One of those before has failed, or the sink was closed.
    pub(crate) async fn begin(&self) -> Result<(Flight<'_>, MutexGuard<'_, Desk>), DeliveryError> {
        let flight = self.flights.begin();
        let desk = self.desk.lock().await;
        flight.may_go()?;
        Ok((flight, desk))
    }

    /// The open connection, or a new one when there is none or its peer has gone. The caller owns it until it is
    /// given back.
    ///
    /// # Errors
    /// No receiver accepts; or the peer has gone with something of the batch before, which must come first again.
    pub(crate) async fn connection(
        &self,
        flight: &Flight<'_>,
        desk: &mut Desk,
        receivers: &Receivers,
    ) -> Result<Connection, DeliveryError> {
        if let Some(mut connection) = desk.connection.take() {
            if !connection.has_ended().await {
                return Ok(connection);
            }
            if !connection.wire().is_settled() && !flight.is_first() {
                let what = format!("the connection to {} broke during the batch before", connection.peer());
                return Err(DeliveryError::new(DeliveryErrorKind::Unavailable, what));
            }
        }
        receivers.connect().await.map_err(|none| self.troubled(none.into_error()))
    }

    /// Keeps the connection for the next batch.
    pub(crate) fn keep(desk: &mut Desk, connection: Connection) {
        desk.connection = Some(connection);
    }

    /// A batch is where it should be.
    pub(crate) fn delivered(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A batch has come to this end, and the desk is free. Where nothing is under way, a page that is much larger than the batch was
    /// shrinks, so that a burst does not cost its memory for good, and any page after a failure: an outage may follow.
    pub(crate) fn rest(&self, outcome: &Result<(), DeliveryError>) {
        let Ok(mut desk) = self.desk.try_lock() else { return };
        if desk.connection.as_ref().is_none_or(|connection| connection.wire().is_at_rest()) {
            let needed = if outcome.is_ok() { desk.page.len() } else { 0 };
            desk.page.clear();
            if desk.page.capacity() / MUCH_LARGER > needed {
                desk.page.shrink_to(needed.saturating_mul(2).max(KEPT_BYTES));
            }
        }
    }

    /// Memory that the page takes.
    #[cfg(test)]
    pub(crate) async fn page_bytes(&self) -> usize {
        self.desk.lock().await.page.capacity()
    }

    /// Counts what receivers have of a batch of that many records.
    pub(crate) fn count(&self, records: usize, outcome: &Result<(), DeliveryError>) {
        let Some(pod) = &self.pod else { return };
        let sent =
            outcome.as_ref().map_or_else(|error| error.undelivered().delivered_of(records), |()| records);
        if sent > 0 {
            metrics::counter!(catalog::OLD_SENT_TO_TCP, "pod" => pod.clone()).increment(sent as u64);
        }
    }

    /// Takes no more batches, and ends the connection once nothing is being delivered.
    pub(crate) async fn close(&self) {
        self.flights.close();
        if let Some(connection) = self.desk.lock().await.connection.take() {
            connection.end().await;
        }
    }

    /// A connection broke while it carried records.
    pub(crate) fn broken(&self, error: DeliveryError) -> DeliveryError {
        self.disconnects.fetch_add(1, Memory::Relaxed);
        metrics::counter!(catalog::TCP_DISCONNECTS, "sink" => self.sink.clone()).increment(1);
        if let Some(pod) = &self.pod {
            metrics::counter!(catalog::OLD_TCP_DISCONNECTS, "pod" => pod.clone()).increment(1);
        }
        self.troubled(error)
    }

    /// How many have broken.
    pub(crate) fn disconnects(&self) -> u64 {
        self.disconnects.load(Memory::Relaxed)
    }

    pub(crate) fn health(&self) -> Health {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone().map_or(Health::Ready, Health::Degraded)
    }

    fn troubled(&self, error: DeliveryError) -> DeliveryError {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(cim_core::chain(&error));
        error
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

    use super::*;

    #[tokio::test]
    async fn a_page_shrinks_when_it_is_much_larger_than_the_last_batch() {
        let lane = Lane::new("agent", None);
        let after = async |bytes: usize, outcome: Result<(), DeliveryError>| {
            lane.desk.lock().await.page.resize(bytes, 0);
            lane.rest(&outcome);
            lane.page_bytes().await
        };
        assert_eq!(after(1 << 20, Ok(())).await, 1 << 20);
        assert_eq!(after(300 << 10, Ok(())).await, 1 << 20, "a larger one may follow");
        assert_eq!(after(100 << 10, Ok(())).await, 200 << 10);
        assert_eq!(after(10, Ok(())).await, KEPT_BYTES);
        let failed = DeliveryError::new(DeliveryErrorKind::Unavailable, "gone");
        assert_eq!(after(1 << 20, Err(failed)).await, KEPT_BYTES);
    }
}
