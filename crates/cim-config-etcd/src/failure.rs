//! What the answers of etcd mean.
//!
//! | answer (gRPC code, text of etcd) | kind |
//! |---|---|
//! | `Unavailable`: no leader, leader changed, request timed out, stopped, connection refused or broken | `Unavailable` |
//! | `DeadlineExceeded`, `Cancelled`, `Aborted`, `Internal`, `DataLoss`, `Unknown`, no answer in time | `Unavailable` |
//! | `ResourceExhausted`: too many requests | `Unavailable` |
//! | `ResourceExhausted`: database space exceeded, message larger than max | `Full` |
//! | `InvalidArgument`: request is too large | `Full` |
//! | `Unauthenticated`, `PermissionDenied` | `Unauthorized` |
//! | `InvalidArgument`: authentication failed, user name is empty, revision of auth store is old | `Unauthorized` |
//! | `FailedPrecondition`: authentication is not enabled | `Misconfigured` |
//! | a certificate that one side does not accept, as far as the server's refusal arrives before it closes | `Unauthorized` |
//! | `Unimplemented`, other `InvalidArgument` and `FailedPrecondition`, an endpoint that is none | `Misconfigured` |
//! | `OutOfRange`: required revision has been compacted, is a future revision | none: the history is gone |
//!
//! Owns the table. Left out: what is done about it. Invariant: a text never holds a credential.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use cim_core::{SourceError, SourceErrorKind};
use etcd_client::Error;
use tokio::time::timeout;
use tonic::Code;

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store does not know that part of its history (any more, or yet).
    Gone,
    /// It failed.
    Failed(SourceError),
}

impl Failure {
    /// As an error, where a lost history cannot be.
    pub(crate) fn into_error(self, doing: &str) -> SourceError {
        match self {
            Self::Gone => SourceError::new(
                SourceErrorKind::Unavailable,
                format!("cannot {doing}: the store forgets its history faster than it can be read"),
            ),
            Self::Failed(error) => error,
        }
    }
}

/// Waits for an answer at most `limit` long.
pub(crate) async fn within<T>(
    limit: Duration,
    doing: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match timeout(limit, call).await {
        Ok(answer) => answer.map_err(|error| of(doing, error)),
        Err(_) => Err(Failure::Failed(late(doing, limit))),
    }
}

/// There was no answer in time.
pub(crate) fn late(doing: &str, limit: Duration) -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, format!("cannot {doing}: no answer within {limit:?}"))
}

/// The source was closed.
pub(crate) fn closed() -> SourceError {
    SourceError::new(SourceErrorKind::Closed, "the source is closed")
}

/// What an error of the client means.
pub(crate) fn of(doing: &str, error: Error) -> Failure {
    let status = match &error {
        Error::GRpcStatus(status) => status,
        Error::InvalidArgs(_)
        | Error::InvalidUri(_)
        | Error::InvalidMetadataValue(_)
        | Error::EndpointError(_) => {
            return failed(SourceErrorKind::Misconfigured, doing, "the client refuses the settings", error);
        }
        _ => return failed(SourceErrorKind::Unavailable, doing, "the connection failed", error),
    };
    match (status.code(), status.message()) {
        (Code::OutOfRange, text) if text.contains("compacted") || text.contains("future revision") => {
            Failure::Gone
        }
        (code, text) => {
            let text = text.strip_prefix("etcdserver: ").unwrap_or(text).to_owned();
            failed(kind(code, &text, &error), doing, &text, error)
        }
    }
}

/// Whether a watch was cancelled because its token is not valid any more. Newer servers look at it before each event.
pub(crate) fn is_logged_out(reason: &str) -> bool {
    ["invalid auth token", "auth store is old"].iter().any(|text| reason.contains(text))
}

/// What the text of a cancelled watch means: there is no code in it.
pub(crate) fn of_cancelled(doing: &str, reason: &str) -> SourceError {
    let refused = ["permission denied", "user name is empty"];
    let kind = if is_logged_out(reason) || refused.iter().any(|text| reason.contains(text)) {
        SourceErrorKind::Unauthorized
    } else {
        SourceErrorKind::Unavailable
    };
    let reason = if reason.is_empty() { "the server ended it" } else { reason };
    SourceError::new(kind, format!("cannot {doing}: {reason}"))
}

fn kind(code: Code, text: &str, error: &Error) -> SourceErrorKind {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match code {
        Code::ResourceExhausted if says(&["space exceeded", "larger than max"]) => SourceErrorKind::Full,
        Code::InvalidArgument if says(&["too large"]) => SourceErrorKind::Full,
        Code::InvalidArgument
            if says(&["authentication failed", "user name is empty", "auth store is old"]) =>
        {
            SourceErrorKind::Unauthorized
        }
        Code::Unauthenticated | Code::PermissionDenied => SourceErrorKind::Unauthorized,
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented => {
            SourceErrorKind::Misconfigured
        }
        _ if crate::security::is_distrust(error) => SourceErrorKind::Unauthorized,
        _ => SourceErrorKind::Unavailable,
    }
}

fn failed(kind: SourceErrorKind, doing: &str, why: &str, error: Error) -> Failure {
    let why = if why.is_empty() { "the connection failed" } else { why };
    Failure::Failed(SourceError::new(kind, format!("cannot {doing}: {why}")).with_source(Cause(error)))
}

/// The client's error with its causes, which it does not tell by itself.
#[derive(Debug)]
struct Cause(Error);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Error::GRpcStatus(status) => write!(f, "gRPC code {:?}", status.code()),
            other => other.fmt(f),
        }
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        cause(&self.0)
    }
}

/// What lies behind an error of the client.
pub(crate) fn cause(error: &Error) -> Option<&(dyn StdError + 'static)> {
    match error {
        Error::GRpcStatus(status) => status.source(),
        Error::TransportError(error) => error.source(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Status;

    #[test]
    fn each_row_of_the_table_holds() {
        use SourceErrorKind::{Full, Misconfigured, Unauthorized, Unavailable};
        for (code, text, expected) in [
            (Code::Unavailable, "etcdserver: no leader", Some(Unavailable)),
            (Code::Unavailable, "etcdserver: leader changed", Some(Unavailable)),
            (Code::Unavailable, "tcp connect error", Some(Unavailable)),
            (Code::DeadlineExceeded, "context deadline exceeded", Some(Unavailable)),
            (Code::Unknown, "", Some(Unavailable)),
            (Code::ResourceExhausted, "etcdserver: too many requests", Some(Unavailable)),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Some(Full)),
            (Code::ResourceExhausted, "grpc: received message larger than max (3 vs. 2)", Some(Full)),
            (Code::InvalidArgument, "etcdserver: request is too large", Some(Full)),
            (Code::Unauthenticated, "etcdserver: invalid auth token", Some(Unauthorized)),
            (Code::PermissionDenied, "etcdserver: permission denied", Some(Unauthorized)),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                Some(Unauthorized),
            ),
            (Code::InvalidArgument, "etcdserver: user name is empty", Some(Unauthorized)),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", Some(Unauthorized)),
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request", Some(Misconfigured)),
            (Code::FailedPrecondition, "etcdserver: authentication is not enabled", Some(Misconfigured)),
            (Code::Unimplemented, "unknown service", Some(Misconfigured)),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", None),
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision", None),
        ] {
            let found = match of("read", Error::GRpcStatus(Status::new(code, text))) {
                Failure::Gone => None,
                Failure::Failed(error) => {
                    assert!(
                        error.to_string().starts_with("cannot read: ")
                            && !error.to_string().contains("etcdserver")
                    );
                    Some(error.kind())
                }
            };
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(of_cancelled("watch", "etcdserver: permission denied").kind(), Unauthorized);
        assert_eq!(of_cancelled("watch", "etcdserver: no leader").kind(), Unavailable);
    }
}
