//! The application in the pod, as CIM calls it (wire contract §5).
//!
//! Owns the contract between the configuration engine and whatever speaks HTTP. Left out: when a call is made and what an
//! answer means, which is the engine's business.

use async_trait::async_trait;
use thiserror::Error;

use super::component::Component;

/// A change for the application (wire contract §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push<'a> {
    /// The whole key of the change.
    pub change_set_key: &'a str,
    /// The patch as stored; sequences that are no UTF-8 arrive as U+FFFD.
    pub patch: &'a [u8],
    /// Name of the document.
    pub data_key: &'a str,
    /// Revision as written in the key.
    pub revision: &'a str,
}

/// What the application answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The first 64 KiB of the body at most.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the status says success (2xx).
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A call that was not answered.
#[derive(Debug, Error)]
pub enum CallError {
    /// Nobody listens, or the connection broke before an answer.
    #[error("the application cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("the application did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// What came back is no HTTP answer.
    #[error("the application answered something that is not HTTP: {0}")]
    Malformed(String),
}

/// The application in the pod.
#[async_trait]
pub trait Application: Component {
    /// Hands over a change: `POST /updateConfig`.
    ///
    /// # Errors
    /// [`CallError`] when there is no answer. The application may have acted on the call nevertheless.
    ///
    /// # Cancel safety
    /// When dropped, the call may or may not have reached the application.
    async fn update_config(&self, push: &Push<'_>) -> Result<Answer, CallError>;

    /// Hands over the first configuration, byte for byte: `POST /api/v1/_operations/loadConfig`.
    ///
    /// # Errors
    /// As for [`update_config`](Self::update_config).
    ///
    /// # Cancel safety
    /// As for [`update_config`](Self::update_config).
    async fn load_config(&self, document: &[u8]) -> Result<Answer, CallError>;

    /// Tells it that the pod ends: `POST /api/v1/_operations/shutdown` with an empty body (wire contract §5.3). 200 means
    /// that it will say when it is done.
    ///
    /// # Errors
    /// As for [`update_config`](Self::update_config).
    ///
    /// # Cancel safety
    /// As for [`update_config`](Self::update_config).
    async fn shutdown(&self) -> Result<Answer, CallError>;

    /// Reads a path of the application, for checks after a push.
    ///
    /// # Errors
    /// [`CallError`] when there is no answer.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn get(&self, path: &str) -> Result<Answer, CallError>;
}
