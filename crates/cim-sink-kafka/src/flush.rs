//! The thread that tells the client when a batch is complete.
//!
//! A client without linger sends the first records of a batch before the last ones have entered. Those wait for the answer then,
//! and while they wait the library looks at its connection without a pause: half a processor for a steady stream. So it lingers,
//! and is told after each batch that nothing more comes, which costs no time (ADR 0021). Left out: what enters the client
//! (`sink`). Invariants: the thread keeps no client alive for longer than [`FLUSH_MS`]; without it records wait for the linger.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use rdkafka::bindings::rd_kafka_flush;
use rdkafka::producer::Producer as _;

use crate::reports::Client;

/// How long the client sends without lingering, in milliseconds. Its threads are awake long before, and the records of the next batch are to
/// linger again.
const FLUSH_MS: i32 = 1;

/// What the thread is to do next.
#[derive(Default)]
enum Order {
    #[default]
    Nothing,
    Flush(Weak<Client>),
    End,
}

/// Orders to the thread.
#[derive(Default)]
pub(crate) struct Flusher {
    order: Mutex<Order>,
    bell: Condvar,
}

impl Flusher {
    /// The client is to send what it holds. Returns at once.
    pub(crate) fn flush(&self, client: &Arc<Client>) {
        self.put(Order::Flush(Arc::downgrade(client)));
    }

    /// Ends the thread.
    pub(crate) fn end(&self) {
        self.put(Order::End);
    }

    fn put(&self, order: Order) {
        let mut next = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*next, Order::End) {
            *next = order;
        }
        drop(next);
        self.bell.notify_one();
    }

    /// Waits for an order to flush. `None`: the thread has to end.
    fn next(&self) -> Option<Weak<Client>> {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match std::mem::take(&mut *order) {
                Order::Flush(client) => return Some(client),
                Order::End => return None,
                Order::Nothing => order = self.bell.wait(order).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Starts the thread. Without one, which the system may refuse, records wait for the linger each time.
pub(crate) fn start(flusher: &Arc<Flusher>, sink: &str) {
    let orders = Arc::clone(flusher);
    let thread = std::thread::Builder::new().name("cim-kafka-flush".to_owned());
    let started = thread.spawn(move || {
        while let Some(client) = orders.next() {
            if let Some(client) = client.upgrade() {
                flush(&client);
            }
        }
    });
    if let Err(error) = started {
        tracing::warn!(%sink, %error, "cannot start the thread that flushes the kafka client; records leave a few milliseconds late");
    }
}

/// Returns once the client holds nothing, or after [`FLUSH_MS`].
#[allow(
    unsafe_code,
    reason = "the wrapper of the library flushes for no time at all, and takes reports meanwhile"
)]
fn flush(client: &Client) {
    // SAFETY: the client outlives the call, which any thread may make. What it returns, whether anything is left, does not matter.
    let _ = unsafe { rd_kafka_flush(client.client().native_ptr(), FLUSH_MS) };
}
