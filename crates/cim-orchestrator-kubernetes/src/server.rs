//! One call to the API server.
//!
//! Owns deadline, pace, credentials that changed, and the limit of an answer. Left out: what is asked and what the answer
//! means. Invariant: every call ends within `request_timeout`; nothing is sent but by a call, and nothing of an answer is
//! logged, since objects may hold secrets.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;

use crate::client;
use crate::failure::{About, CallFailure};
use crate::pace::Pace;
use crate::rights::Right;
use crate::settings::KubernetesSettings;
use crate::skew::{self, Skew};
use crate::trouble::Trouble;

/// Largest answer. A single object is at most some 1.5 MiB in etcd; the longest list has the agents of one node.
const LARGEST: usize = 8 << 20;
/// The pause after a 429 that names none.
const USUAL_PAUSE: Duration = Duration::from_secs(1);

/// What building a request gives.
pub(crate) type Built = Result<Request<Vec<u8>>, kube::core::request::Error>;

/// The API server, as this process sees it.
pub(crate) struct Server {
    settings: KubernetesSettings,
    /// Made by the first call, and again after the server refused its credentials.
    client: Mutex<Option<Client>>,
    pace: Pace,
    trouble: Trouble,
    /// By the last answer.
    skew: Mutex<Option<Skew>>,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The pause that the server asks for.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

impl Server {
    pub(crate) fn new(settings: KubernetesSettings) -> Self {
        Self {
            settings,
            client: Mutex::default(),
            pace: Pace::default(),
            trouble: Trouble::default(),
            skew: Mutex::default(),
        }
    }

    /// What went wrong last and was not right since.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.text()
    }

    /// How far its clock is from ours, by its last answer.
    pub(crate) fn skew(&self) -> Option<Skew> {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and reads the answer.
    ///
    /// # Cancel safety
    /// When dropped, the server may or may not have done what was asked.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        right: &Right,
        object: &str,
        request: Built,
    ) -> Result<T, CallFailure> {
        let (server, whence) = (client::address(&self.settings), client::whence(&self.settings));
        let about = About { right, object, server: &server, whence: &whence };
        let limit = self.settings.request_timeout.get();
        let exchange = tokio::time::timeout(limit, self.exchange(&about, request));
        // The client logs each failure as an error, and whole answers that it cannot read: the caller says it once, by
        // what is returned here.
        let answer = exchange
            .with_subscriber(tracing::Dispatch::none())
            .await
            .unwrap_or_else(|_| Err(about.late(limit)));
        let outcome = answer
            .and_then(|answer| serde_json::from_slice(&answer.body).map_err(|error| about.unreadable(error)));
        self.trouble.note(right, outcome.as_ref().err());
        outcome
    }

    /// Ends the connections.
    pub(crate) fn close(&self) {
        self.forget();
    }

    async fn exchange(&self, about: &About<'_>, request: Built) -> Result<Answer, CallFailure> {
        let request = request.map_err(|error| about.unbuilt(error))?;
        let mut answer = self.send(about, request.clone()).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            // The token may have been replaced since it was read.
            self.forget();
            answer = self.send(about, request).await?;
        }
        if let Some(pause) = answer.retry_after {
            self.pace.hold(Instant::now(), pause);
        }
        if answer.status.is_success() { Ok(answer) } else { Err(about.refused(&answer)) }
    }

    async fn send(&self, about: &About<'_>, request: Request<Vec<u8>>) -> Result<Answer, CallFailure> {
        let pause = self.pace.book(Instant::now(), self.settings.request_timeout.get());
        tokio::time::sleep(pause.map_err(|pause| about.held(pause))?).await;
        let client = self.client().await.map_err(CallFailure::unanswered)?;
        let answer = client.send(request.map(Body::from)).await.map_err(|error| about.unreached(error))?;
        let (head, body) = answer.into_parts();
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) =
            skew::of(&head.headers, cim_core::clock::now());
        let body = Limited::new(body, LARGEST).collect().await.map_err(|error| about.unreadable(error))?;
        let body = body.to_bytes().to_vec();
        let named = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let retry_after = retry_after(head.status, named.map(Duration::from_secs), &body);
        Ok(Answer { status: head.status, retry_after, body })
    }

    async fn client(&self) -> Result<Client, cim_core::OrchestratorError> {
        if let Some(client) = self.kept().clone() {
            return Ok(client);
        }
        let settings = self.settings.clone();
        let runtime = tokio::runtime::Handle::current();
        let made = tokio::task::spawn_blocking(move || runtime.block_on(client::new(&settings))).await;
        let client = made.map_err(|error| {
            let text = "the client for the API server could not be made";
            cim_core::OrchestratorError::new(cim_core::OrchestratorErrorKind::Unavailable, text)
                .with_source(error)
        })??;
        *self.kept() = Some(client.clone());
        Ok(client)
    }

    fn forget(&self) {
        *self.kept() = None;
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause that an answer asks for: by header, or in a `Status`.
fn retry_after(status: StatusCode, named: Option<Duration>, body: &[u8]) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let detail = || {
        let seconds = serde_json::from_slice::<Status>(body).ok()?.details?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    };
    let usual = (status == StatusCode::TOO_MANY_REQUESTS).then_some(USUAL_PAUSE);
    named.or_else(detail).or(usual)
}
