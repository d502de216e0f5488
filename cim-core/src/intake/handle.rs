//! The way in for callers in the same process.
//!
//! Shares one lane among all callers; each call returns the level that its message reached.

use std::sync::{Arc, Mutex, PoisonError};

use cim_wire::Class;
use thiserror::Error;
use tokio::sync::Notify;

use super::{Entrance, Lane, Level, Mark, Offer, Offered, RefusedReason};

/// Hands records to the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    entrance: Arc<Entrance>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lane: Mutex<Lane>,
    progress: Arc<Notify>,
}

/// A message that is safe at that level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its sequence in its class.
    pub seq: u64,
    /// How safe it is.
    pub level: Level,
}

/// A message that was not taken; it is counted in `cim_records_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("message refused: {0}")]
pub struct Refused(pub RefusedReason);

impl Intake {
    pub(crate) fn new(entrance: Arc<Entrance>) -> Self {
        let mut lane = Lane::new(Arc::clone(&entrance));
        let progress = Arc::new(Notify::new());
        let notify = Arc::clone(&progress);
        lane.on_progress(Arc::new(move || notify.notify_waiters()));
        Self { entrance, shared: Arc::new(Shared { lane: Mutex::new(lane), progress }) }
    }

    /// A lane of one's own, for a thread that publishes much.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane::new(Arc::clone(&self.entrance))
    }

    /// The only container that registered, if there is one: logs that do not name their container are its.
    pub(crate) fn registered(&self, container: Option<&str>) {
        self.entrance.registered.send_replace(container.map(|name| name.as_bytes().into()));
    }

    /// A log line of that container; returns once it is accepted. Waits for room under policy `block`.
    ///
    /// # Errors
    /// [`Refused`] when the message is not taken; it is counted.
    ///
    /// # Cancel safety
    /// When dropped, the line may or may not have been taken.
    pub async fn log(&self, container: &str, line: &[u8]) -> Result<Accepted, Refused> {
        self.accept(Class::Log, &log_message(container, "", line)).await
    }

    /// A line of CIM itself (wire contract §8.7), if there is room to spare: it is refused long before a line of the
    /// application would be. Never waits.
    ///
    /// # Errors
    /// [`Refused`] when the line is not taken; it is not counted, because it is no loss of the application.
    pub fn own_log(&self, container: &str, id: &str, line: &[u8]) -> Result<(), Refused> {
        if self.entrance.is_closed() {
            return Err(Refused(RefusedReason::Closed));
        }
        if !self.entrance.logs.has_room_to_spare() {
            return Err(Refused(RefusedReason::DropNewest));
        }
        let payload = log_message(container, id, line);
        let offer = Offer { class: Class::Log, headers: None, source: b"", payload: &payload, own: true };
        match self.with_lane(|lane| lane.place(&offer)) {
            Ok(_) => Ok(()),
            Err(Offered::Refused(reason)) => Err(Refused(reason)),
            Err(_) => Err(Refused(RefusedReason::DropNewest)),
        }
    }

    /// An event that CIM raises itself (wire contract §7.4); returns once it is accepted.
    ///
    /// # Errors
    /// [`Refused`] when the event is not taken; it is counted.
    ///
    /// # Cancel safety
    /// When dropped, the event may or may not have been taken.
    pub(crate) async fn raise(&self, event: &cim_wire::Event<'_>) -> Result<Accepted, Refused> {
        let mut payload = Vec::with_capacity(512);
        event.encode_flatbuffer(&mut payload);
        let offer = Offer { class: Class::Event, headers: None, source: b"", payload: &payload, own: true };
        self.accept_offer(&offer).await
    }

    /// A message as an application would publish it on LOG or EVENT; returns once it is accepted.
    ///
    /// # Errors
    /// [`Refused`] when the message is not taken; it is counted.
    ///
    /// # Cancel safety
    /// When dropped, the message may or may not have been taken.
    pub async fn accept(&self, class: Class, payload: &[u8]) -> Result<Accepted, Refused> {
        self.accept_offer(&Offer { class, headers: None, source: b"", payload, own: false }).await
    }

    async fn accept_offer(&self, offer: &Offer<'_>) -> Result<Accepted, Refused> {
        let (seq, mark) = self.offer(offer).await?;
        loop {
            let progress = self.shared.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.with_lane(|lane| {
                lane.flush();
                lane.is_accepted(&mark)
            }) {
                return Ok(Accepted { seq, level: self.entrance.queue(offer.class).level() });
            }
            progress.await;
        }
    }

    async fn offer(&self, offer: &Offer<'_>) -> Result<(u64, Mark), Refused> {
        loop {
            let progress = self.shared.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            match self.with_lane(|lane| lane.place(offer)) {
                Ok(placed) => return Ok(placed),
                Err(Offered::Refused(reason)) => return Err(Refused(reason)),
                Err(_) if self.entrance.is_closed() => return Err(Refused(RefusedReason::Closed)),
                Err(_) => progress.await,
            }
        }
    }

    fn with_lane<T>(&self, work: impl FnOnce(&mut Lane) -> T) -> T {
        work(&mut self.shared.lane.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A log line as an application would publish it.
fn log_message(container: &str, id: &str, line: &[u8]) -> Vec<u8> {
    let log = cim_wire::Log {
        container_id: id.as_bytes().into(),
        container_name: container.as_bytes().into(),
        payload: Some(line.into()),
    };
    let mut payload = Vec::with_capacity(line.len() + container.len() + id.len() + 64);
    log.encode_flatbuffer(&mut payload);
    payload
}
