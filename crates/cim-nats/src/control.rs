//! The listener's remote control.
//!
//! Owns the requests that other threads make and the waking of the loop. Leaves out carrying them out. Invariant: a
//! request is seen even when the loop was about to sleep.

use crate::notice::Parcel;
use crate::subject;
use cim_core::subscriptions::Answers;
use mio::Waker;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes of messages published from inside that may wait for the loop.
const QUEUE: usize = 4 << 20;

/// A message published from inside the process.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub subject: Vec<u8>,
    pub headers: Option<Vec<u8>>,
    pub payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    bytes: usize,
}

/// What the loop and its controls share.
#[derive(Debug)]
pub(crate) struct Shared {
    waker: Waker,
    pub stop: AtomicBool,
    pub close: AtomicBool,
    pub closed: AtomicBool,
    progress: AtomicBool,
    interested: AtomicBool,
    queue: Mutex<Queue>,
    parcels: Mutex<VecDeque<Parcel>>,
    /// Largest payload of a message, in bytes.
    pub max_payload: usize,
    /// Where answers to notifications go.
    pub answers: Arc<OnceLock<Arc<Answers>>>,
}

impl Shared {
    pub(crate) fn new(waker: Waker, max_payload: usize) -> Self {
        Self {
            waker,
            stop: AtomicBool::new(false),
            close: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            progress: AtomicBool::new(false),
            interested: AtomicBool::new(false),
            queue: Mutex::default(),
            parcels: Mutex::default(),
            max_payload,
            answers: Arc::default(),
        }
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "failed to wake the NATS listener");
        }
    }

    /// The engine advanced; wakes the loop only if somebody waits for that.
    pub(crate) fn progress(&self) {
        self.progress.store(true, SeqCst);
        if self.interested.swap(false, SeqCst) {
            self.wake();
        }
    }

    /// Says whether progress is to wake the loop; true: it happened already, do not sleep.
    pub(crate) fn await_progress(&self, interested: bool) -> bool {
        self.interested.store(interested, SeqCst);
        interested && self.progress.load(SeqCst)
    }

    /// Whether the engine advanced since the last call.
    pub(crate) fn take_progress(&self) -> bool {
        self.progress.swap(false, SeqCst)
    }

    /// Takes notifications; whoever hands them over bounds them. After the end they are dropped, which their sender hears.
    pub(crate) fn notify(&self, parcel: Parcel) {
        // Under the lock, so that none comes after the last look.
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.closed.load(SeqCst) {
            parcels.push_back(parcel);
            self.wake();
        }
    }

    pub(crate) fn take_parcels(&self) -> VecDeque<Parcel> {
        std::mem::take(&mut *self.parcels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take_outgoing(&self) -> VecDeque<Outgoing> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.bytes = 0;
        std::mem::take(&mut queue.messages)
    }
}

/// Why a message from inside the process was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The subject is empty, has an empty token, a wildcard or a byte that NATS does not allow.
    #[error("invalid subject")]
    Subject,
    /// The header block does not begin with `NATS/1.0` or does not end with an empty line.
    #[error("invalid header block")]
    Headers,
    /// 4 MiB wait for the listener already.
    #[error("too many messages wait for the listener")]
    Full,
    /// The listener has ended.
    #[error("the listener has ended")]
    Closed,
}

/// Steers a running listener from any thread.
#[derive(Debug, Clone)]
pub struct ListenerControl {
    pub(crate) shared: Arc<Shared>,
}

impl ListenerControl {
    /// Stops taking new connections; those that exist go on.
    pub fn stop_accepting(&self) {
        self.shared.stop.store(true, SeqCst);
        self.shared.wake();
    }

    /// Ends the listener: nothing more is read, what was taken is handed on and answered, then the loop returns.
    /// The limit is [`NatsConfig::close_deadline`](crate::NatsConfig::close_deadline).
    pub fn close(&self) {
        self.shared.close.store(true, SeqCst);
        self.shared.wake();
    }

    /// Publishes to subscribers in the pod, in order of the calls. `headers` is a whole NATS header block.
    ///
    /// # Errors
    /// [`PublishError`]; the message was not taken then.
    pub fn publish(
        &self,
        subject: &[u8],
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<(), PublishError> {
        if !subject::is_literal(subject) {
            return Err(PublishError::Subject);
        }
        if headers.is_some_and(|block| !block.starts_with(b"NATS/1.0") || !block.ends_with(b"\r\n\r\n")) {
            return Err(PublishError::Headers);
        }
        if self.shared.closed.load(SeqCst) {
            return Err(PublishError::Closed);
        }
        let size = subject.len() + headers.map_or(0, <[u8]>::len) + payload.len();
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.bytes + size > QUEUE {
            return Err(PublishError::Full);
        }
        queue.bytes += size;
        queue.messages.push_back(Outgoing {
            subject: subject.to_vec(),
            headers: headers.map(<[u8]>::to_vec),
            payload: payload.to_vec(),
        });
        drop(queue);
        self.shared.wake();
        Ok(())
    }
}
