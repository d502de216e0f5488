//! The connection of an application: async-nats as it comes, with its own way back.
//!
//! Owns the connection and the threads it lives on. Left out: what is said, and HTTP. Invariant: nobody connects or subscribes a
//! second time by hand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::runtime::Runtime;

/// Longest wait for an answer: what was under way when CIM was killed has none.
const ANSWER: Duration = Duration::from_secs(3);

/// The texts that arrived on a subject, in their order.
pub type Heard = Arc<Mutex<Vec<String>>>;

/// A connection.
pub struct Client {
    nats: async_nats::Client,
    runtime: Runtime,
}

impl Client {
    /// Connects, once.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let options = async_nats::ConnectOptions::new().name("app").request_timeout(Some(ANSWER));
        let nats = runtime.block_on(options.connect(format!("nats://{address}"))).unwrap();
        Self { nats, runtime }
    }

    /// Publishes a message and waits for the answer that it is accepted; `false`: that is not known.
    #[must_use]
    pub fn say(&self, subject: &'static str, payload: Vec<u8>) -> bool {
        self.runtime.block_on(self.nats.request(subject, payload.into())).is_ok()
    }

    /// Publishes a message that nobody answers.
    pub fn tell(&self, subject: &'static str, payload: Vec<u8>) {
        let told = async {
            self.nats.publish(subject, payload.into()).await.unwrap();
            self.nats.flush().await.unwrap();
        };
        self.runtime.block_on(told);
    }

    /// Subscribes, once; what arrives is kept.
    #[must_use]
    pub fn hear(&self, subject: &'static str) -> Heard {
        let heard = Heard::default();
        let (kept, nats) = (Arc::clone(&heard), self.nats.clone());
        let mut messages = self.runtime.block_on(async {
            let messages = nats.subscribe(subject).await.unwrap();
            nats.flush().await.unwrap();
            messages
        });
        self.runtime.spawn(async move {
            while let Some(message) = messages.next().await {
                kept.lock().unwrap().push(String::from_utf8_lossy(&message.payload).into_owned());
            }
        });
        heard
    }
}
