//! The connection to the server, which the client library opens again whenever it is lost.
//!
//! Owns its options and what is known of its state. Left out: subscriptions. Invariant: nothing here gives up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};

use crate::config::{Credentials, ExternalConfig};
use crate::tally::Tally;

/// Longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Logs, events and results of configuration changes.
const SUBJECTS: usize = 3;

/// What is known of the connection.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Why there is no connection.
    trouble: Mutex<Option<String>>,
    /// Why the messages of a subject do not arrive though there is one, by the place of the subject.
    subjects: Mutex<[Option<String>; SUBJECTS]>,
    /// Losses that the library told.
    told: AtomicU64,
    /// Losses as they are counted, by connection.
    tallies: Mutex<Vec<Arc<Tally>>>,
}

impl State {
    pub fn set(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// `place`: which of the subjects it is. What is said of one stands until it is said otherwise, whatever becomes of the others.
    pub fn set_subject(&self, place: usize, trouble: Option<String>) {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(subject) = subjects.get_mut(place) {
            *subject = trouble;
        }
    }

    pub fn trouble(&self) -> Option<String> {
        let connection = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        connection.or_else(|| {
            let subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
            subjects.iter().flatten().next().cloned()
        })
    }

    /// Counts the losses of one more connection; those that the library tells count no more.
    pub fn count(&self, tally: Arc<Tally>) {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).push(tally);
    }

    pub fn dropped(&self) -> u64 {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if tallies.is_empty() {
            return self.told.load(Ordering::Relaxed);
        }
        tallies.iter().map(|tally| tally.lost()).sum()
    }

    /// `is_guarded`: the certificate of the server has to be vouched for.
    fn hear(&self, event: &Event, is_guarded: bool) {
        match event {
            Event::Connected => {
                tracing::info!("connected to the NATS server");
                self.set(None);
            }
            Event::SlowConsumer(_) => {
                // The server keeps nothing for a plain subscription, so what found no room is gone.
                if self.told.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::error!("messages of the NATS server were lost for want of room; use JetStream");
                }
            }
            Event::Disconnected | Event::Closed => {
                tracing::warn!("the connection to the NATS server is lost; trying again");
                self.set(Some("not connected".to_owned()));
            }
            other => {
                let mut trouble = other.to_string();
                if is_guarded && matches!(event, Event::ClientError(_)) {
                    // The library leaves out why, and that is the likeliest reason.
                    trouble.push_str(
                        "; does the authority in `ca_file` vouch for the certificate of the server?",
                    );
                }
                tracing::warn!("the NATS server: {trouble}");
                self.set(Some(trouble));
            }
        }
    }
}

/// A client; the server may be away.
///
/// # Errors
/// What of the configuration cannot be used.
pub(crate) async fn open(config: &ExternalConfig, state: &Arc<State>) -> Result<Client, String> {
    let (heard, is_guarded) = (Arc::clone(state), config.ca_file.is_some());
    let mut options = ConnectOptions::new()
        .name("cim")
        .retry_on_initial_connect()
        .max_reconnects(None)
        .subscription_capacity(config.capacity.max(1))
        .reconnect_delay_callback(|attempt| pause(attempt).min(LONGEST_PAUSE))
        .event_callback(move |event| {
            let heard = Arc::clone(&heard);
            async move { heard.hear(&event, is_guarded) }
        });
    options = match &config.credentials {
        Credentials::None => options,
        Credentials::Token(token) => options.token(token.clone()),
        Credentials::User { name, password } => options.user_and_password(name.clone(), password.clone()),
        Credentials::File(file) => {
            let read = options.credentials_file(file).await;
            read.map_err(|error| format!("cannot read {}: {error}", file.display()))?
        }
    };
    if let Some(ca_file) = &config.ca_file {
        options = options.add_root_certificates(ca_file.clone()).require_tls(true);
    }
    options.connect(&config.servers).await.map_err(|error| error.to_string())
}

/// 0, 50 ms, 100 ms, 200 ms, …
fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.min(16)).unwrap_or(16);
    match doublings {
        0 => Duration::ZERO,
        more => Duration::from_millis(25 << more.min(10)),
    }
}
