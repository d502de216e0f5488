//! The connection to the cluster as far as it is known, for the decision to wait or to give up, and for people.
//!
//! Owns what the client's statistics and error events say. Left out: connecting, which the client does by itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cim_core::DeliveryError;
use rdkafka::error::RDKafkaErrorCode;

use crate::error_table;
use crate::statistics::{Epochs, Statistics};

/// How long the engine waits before it asks again. Asking costs nothing, the client connects by itself.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Interruptions below this are not worth a word. With a second for the statistics and half of one for the probe, an outage
/// is told within 2 s.
const SHORT: Duration = Duration::from_millis(250);
/// A first connection, with its name, TLS and password, takes longer than that.
const FIRST: Duration = Duration::from_millis(1_500);

#[derive(Debug)]
struct State {
    /// Since when no broker is connected.
    down_since: Option<Instant>,
    trouble: Option<(RDKafkaErrorCode, String)>,
    epochs: Epochs,
}

/// What is known of the connection.
#[derive(Debug)]
pub(crate) struct Link {
    state: Mutex<State>,
    /// Without any connected broker for so long, deliveries fail instead of waiting.
    patience: Duration,
}

impl Link {
    pub(crate) fn new(patience: Duration) -> Self {
        let state = State { down_since: None, trouble: None, epochs: Epochs::default() };
        Self { state: Mutex::new(state), patience }
    }

    /// A new client starts from nothing, with its own patience.
    pub(crate) fn begin(&self) {
        let mut state = self.lock();
        state.epochs = Epochs::default();
        state.down_since.get_or_insert_with(Instant::now);
    }

    /// Takes in the client's statistics; returns how many brokers are connected, and how many records at most may be in a
    /// topic twice because the client began a new epoch by itself.
    pub(crate) fn statistics(&self, json: &[u8]) -> Option<(usize, u64)> {
        let statistics = Statistics::parse(json)?;
        let connected = statistics.connected();
        self.connected(connected);
        Some((connected, self.lock().epochs.doubtful(&statistics)))
    }

    pub(crate) fn connected(&self, connected: usize) {
        let mut state = self.lock();
        if connected > 0 {
            state.down_since = None;
            state.trouble = None;
        } else {
            state.down_since.get_or_insert_with(Instant::now);
        }
    }

    /// A broker has answered.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        state.down_since = None;
        state.trouble = None;
    }

    /// Takes in an error event of the client.
    pub(crate) fn trouble(&self, code: RDKafkaErrorCode, text: &str) {
        let (code, text) = in_other_words(code, text);
        let mut state = self.lock();
        // "All brokers are down" says less than why.
        if code != RDKafkaErrorCode::AllBrokersDown || state.trouble.is_none() {
            state.trouble = Some((code, text));
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.lock().down_since.is_none()
    }

    /// The error of a delivery that cannot wait any longer; `None` while there is hope.
    pub(crate) fn hopeless(&self) -> Option<DeliveryError> {
        let state = self.lock();
        state.down_since.filter(|since| since.elapsed() >= self.patience)?;
        let (code, text) = match &state.trouble {
            Some((code, text)) => (*code, text.as_str()),
            None => (RDKafkaErrorCode::AllBrokersDown, "no broker answers"),
        };
        let what = format!("no connection to a broker: {text}");
        Some(DeliveryError::new(error_table::kind(code), what).retry_after(ASK_AGAIN))
    }

    /// What is wrong with the connection, in one line.
    pub(crate) fn complaint(&self) -> Option<String> {
        let state = self.lock();
        // A connection that was closed for being idle is back within a moment.
        let down = state.down_since.map(|since| since.elapsed())?;
        let usual = if state.trouble.is_some() { SHORT } else { FIRST };
        if down < self.patience.min(usual) {
            return None;
        }
        let why = state.trouble.as_ref().map_or("no answer yet", |(_, text)| text.as_str());
        Some(format!("no broker connected for {} s: {why}", down.as_secs()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the library says of certificates, for people who have no `ssl.ca.location`. It tells the same refusal now as one of
/// TLS, now as one of the connection, depending on the call that noticed it first.
fn in_other_words(code: RDKafkaErrorCode, text: &str) -> (RDKafkaErrorCode, String) {
    let hint = if text.contains("certificate verify failed") {
        "the broker's certificate is expired, not valid yet, of another host, or signed by nobody in `ca_file`"
    } else if is_refused_by_the_broker(text) {
        "the broker does not accept the certificate of this client, or wants one: see `certificate_file`"
    } else {
        return (code, text.to_owned());
    };
    let what = text.split(": broker certificate could not be verified").next().unwrap_or(text);
    (RDKafkaErrorCode::SSL, format!("{what}: {hint}"))
}

/// Whether the broker has answered with an alert about the certificate that it was shown, or was not: by the numbers of
/// RFC 8446, as the words for them change with the version of the library. With TLS 1.3 it comes after the handshake.
fn is_refused_by_the_broker(text: &str) -> bool {
    let alert = text.split_once("SSL alert number ").map(|(_, rest)| rest);
    let number = alert.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    matches!(number, Some(41..=46 | 48 | 116))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

    use cim_core::DeliveryErrorKind;

    use super::*;

    #[test]
    fn a_refused_certificate_is_named_whatever_the_library_calls_it() {
        let own = "ssl://a:1/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker \
                   certificate could not be verified, verify that ssl.ca.location is correctly configured (after 5ms)";
        let bare = "ssl://a:1/1: error:0A000086:SSL routines::certificate verify failed (after 4ms)";
        for (code, text) in [(RDKafkaErrorCode::SSL, own), (RDKafkaErrorCode::BrokerTransportFailure, bare)] {
            let link = Link::new(Duration::ZERO);
            link.begin();
            link.trouble(code, text);
            link.trouble(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
            let error = link.hopeless().unwrap();
            assert_eq!(error.kind(), DeliveryErrorKind::Unauthorized, "{error}");
            let told = error.to_string();
            assert!(told.contains("expired") && told.contains("`ca_file`"), "{told}");
            assert!(!told.contains("ssl.ca.location"), "{told}");
        }
    }

    #[test]
    fn a_broker_that_refuses_the_certificate_of_this_client_is_told_from_one_that_is_away() {
        let alert = |words: &str, number: u8| {
            let link = Link::new(Duration::ZERO);
            link.begin();
            let text = format!(
                "ssl://a:1/1: Receive failed: error:1:{words}: SSL alert number {number} (after 1ms)"
            );
            link.trouble(RDKafkaErrorCode::BrokerTransportFailure, &text);
            link.hopeless().unwrap()
        };
        for (words, number) in
            [("alert certificate unknown", 46), ("alert unknown ca", 48), ("alert certificate required", 116)]
        {
            let error = alert(words, number);
            assert_eq!(error.kind(), DeliveryErrorKind::Unauthorized, "{error}");
            assert!(error.to_string().contains("`certificate_file`"), "{error}");
        }
        let error = alert("alert internal error", 80);
        assert_eq!(error.kind(), DeliveryErrorKind::Unavailable, "{error}");
    }
}
