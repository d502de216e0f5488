//! A call to the API server that failed, in words that say what to do.
//!
//! Owns the mapping of answers and faults to [`OrchestratorErrorKind`] and its texts. Left out: what a caller makes of a
//! status (a 404 may be an answer). Invariant: a text names the verb and the object, and the missing right where one is
//! missing; it holds at most [`MESSAGE`] characters of what the server said, and no credentials.

use std::error::Error;
use std::time::Duration;

use cim_core::{OrchestratorError, OrchestratorErrorKind};
use http::StatusCode;
use kube::core::Status;

use crate::rights::{Right, Scope};
use crate::server::Answer;

/// Most characters of the server's own words in a text.
const MESSAGE: usize = 300;

/// A call that failed; with its status, when the server answered at all.
#[derive(Debug)]
pub(crate) struct CallFailure {
    status: Option<StatusCode>,
    error: OrchestratorError,
}

impl CallFailure {
    /// A failure before, or in place of, a usable answer.
    pub(crate) fn unanswered(error: OrchestratorError) -> Self {
        Self { status: None, error }
    }

    pub(crate) fn is(&self, status: StatusCode) -> bool {
        self.status == Some(status)
    }

    pub(crate) fn is_answer(&self) -> bool {
        self.status.is_some()
    }

    /// An answer that says how things are, and no fault: it does not exist, or it does already.
    pub(crate) fn is_usual(&self) -> bool {
        self.is(StatusCode::NOT_FOUND) || self.is(StatusCode::CONFLICT)
    }

    pub(crate) fn error(&self) -> &OrchestratorError {
        &self.error
    }
}

impl From<CallFailure> for OrchestratorError {
    fn from(failure: CallFailure) -> Self {
        failure.error
    }
}

/// What a call is about, for the texts of its failures.
#[derive(Debug)]
pub(crate) struct About<'a> {
    /// The right it needs.
    pub(crate) right: &'a Right,
    /// What it names: `pod ns1/pod-1`.
    pub(crate) object: &'a str,
    /// Address of the server, as far as it is known.
    pub(crate) server: &'a str,
    /// The files that the credentials come from.
    pub(crate) whence: &'a str,
}

impl About<'_> {
    /// The server refused, or could not do it.
    pub(crate) fn refused(&self, answer: &Answer) -> CallFailure {
        use OrchestratorErrorKind::{Forbidden, Misconfigured, Unavailable};
        let Self { right, whence, .. } = self;
        let words = words(&answer.body);
        let (kind, why) = match answer.status {
            StatusCode::UNAUTHORIZED => {
                let why = format!(
                    "the API server does not accept the credentials (401); check {whence}, and that the service account still exists"
                );
                (Forbidden, why)
            }
            StatusCode::FORBIDDEN => (Forbidden, format!("{} ({words})", missing(right))),
            StatusCode::NOT_FOUND => (Misconfigured, format!("it does not exist ({words})")),
            StatusCode::TOO_MANY_REQUESTS => {
                let pause = answer
                    .retry_after
                    .map_or(String::new(), |pause| format!("; the next call is made in {pause:?}"));
                (Unavailable, format!("the API server asks for fewer calls (429){pause}"))
            }
            status
                if status.is_client_error()
                    && status != StatusCode::CONFLICT
                    && status != StatusCode::REQUEST_TIMEOUT =>
            {
                (Misconfigured, format!("the API server refuses it ({}: {words})", status.as_u16()))
            }
            status => {
                (Unavailable, format!("the API server cannot do it now ({}: {words})", status.as_u16()))
            }
        };
        CallFailure { status: Some(answer.status), error: self.error(kind, &why) }
    }

    /// There was no connection, or it broke; or the credentials cannot be put into a request.
    pub(crate) fn unreached(&self, error: kube::Error) -> CallFailure {
        use OrchestratorErrorKind::{Forbidden, Unavailable};
        // Its own text repeats that of its source.
        let source: Box<dyn Error + Send + Sync> = match error {
            kube::Error::Service(source) => source,
            kube::Error::HyperError(source) => source.into(),
            other => other.into(),
        };
        let (kind, why) = if source.is::<kube::client::AuthError>() {
            (Forbidden, format!("the credentials cannot be used; check {}", self.whence))
        } else {
            (Unavailable, format!("the API server at {} cannot be reached", self.server))
        };
        CallFailure::unanswered(self.error(kind, &why).with_source(source))
    }

    /// There was no answer in time.
    pub(crate) fn late(&self, limit: Duration) -> CallFailure {
        let why = format!("the API server at {} has not answered within {limit:?}", self.server);
        CallFailure::unanswered(self.error(OrchestratorErrorKind::Unavailable, &why))
    }

    /// The call was not made, because it would have had to wait for longer than it may.
    pub(crate) fn held(&self, pause: Duration) -> CallFailure {
        let why = format!(
            "the API server is not called for another {pause:.1?}: it asked for a pause, or there were too many calls"
        );
        CallFailure::unanswered(self.error(OrchestratorErrorKind::Unavailable, &why))
    }

    /// Something answered that is no API server, or an object that is not what was asked for.
    pub(crate) fn unreadable(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> CallFailure {
        let why = format!("the answer of the API server at {} cannot be read", self.server);
        CallFailure::unanswered(self.error(OrchestratorErrorKind::Unavailable, &why).with_source(source))
    }

    /// The request cannot be made: a name is not one.
    pub(crate) fn unbuilt(&self, source: kube::core::request::Error) -> CallFailure {
        let why = "its name cannot be one in Kubernetes";
        CallFailure::unanswered(self.error(OrchestratorErrorKind::Misconfigured, why).with_source(source))
    }

    fn error(&self, kind: OrchestratorErrorKind, why: &str) -> OrchestratorError {
        OrchestratorError::new(kind, format!("cannot {} {}: {why}", self.right.verb, self.object))
    }
}

fn missing(right: &Right) -> String {
    let place = match right.scope {
        Scope::OwnNamespace => "its namespace",
        Scope::Cluster => "all namespaces",
    };
    format!(
        "the service account has no right to `{}` in {place}; `cim manifest --rbac` prints the roles that grant it",
        right.phrase()
    )
}

/// What the server said: the message of a `Status`, or the beginning of whatever it is, on one line.
fn words(body: &[u8]) -> String {
    let message = serde_json::from_slice::<Status>(body).map(|status| status.message);
    let message = message.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned());
    let line: Vec<&str> = message.split_whitespace().collect();
    line.join(" ").chars().take(MESSAGE).collect()
}
