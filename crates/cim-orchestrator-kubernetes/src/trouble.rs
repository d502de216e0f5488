//! What is wrong with the API server, as the status page tells it.
//!
//! Owns the last failure of each right. Left out: logging. Invariant: a right that works again is forgotten; that the
//! server cannot be reached is forgotten with any answer it gives.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cim_core::{OrchestratorErrorKind, chain};

use crate::failure::CallFailure;
use crate::rights::Right;

/// Failures that were not followed by a success, by what was tried. As many as there are rights.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<BTreeMap<String, (OrchestratorErrorKind, String)>>);

impl Trouble {
    /// Takes note of how a call ended.
    pub(crate) fn note(&self, right: &Right, failure: Option<&CallFailure>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&right.phrase());
        if failure.is_none_or(CallFailure::is_answer) {
            open.retain(|_, (kind, _)| *kind != OrchestratorErrorKind::Unavailable);
        }
        if let Some(error) = failure.filter(|failure| !failure.is_usual()).map(CallFailure::error) {
            open.insert(right.phrase(), (error.kind(), chain(error)));
        }
    }

    /// All of it in one text; `None` when there is nothing.
    pub(crate) fn text(&self) -> Option<String> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<&str> = open.values().map(|(_, text)| text.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use cim_core::OrchestratorError;
    use http::StatusCode;

    use super::*;
    use crate::failure::About;
    use crate::rights::{CREATE_EVENT, GET_POD};
    use crate::server::Answer;

    fn refused(right: &Right, status: StatusCode) -> CallFailure {
        let about = About { right, object: "it", server: "s", whence: "f" };
        about.refused(&Answer { status, retry_after: None, body: Vec::new() })
    }

    fn away() -> CallFailure {
        CallFailure::unanswered(OrchestratorError::new(OrchestratorErrorKind::Unavailable, "away"))
    }

    #[test]
    fn a_missing_right_is_told_until_that_call_works_and_an_outage_until_any_does() {
        let trouble = Trouble::default();
        trouble.note(&CREATE_EVENT, Some(&refused(&CREATE_EVENT, StatusCode::FORBIDDEN)));
        trouble.note(&GET_POD, Some(&away()));
        assert!(trouble.text().unwrap().contains("away"));
        // Any answer shows that the server is there.
        trouble.note(&CREATE_EVENT, Some(&refused(&CREATE_EVENT, StatusCode::FORBIDDEN)));
        let text = trouble.text().unwrap();
        assert!(text.contains("create events.events.k8s.io") && !text.contains("away"), "{text}");
        trouble.note(&GET_POD, None);
        assert!(trouble.text().is_some());
        trouble.note(&CREATE_EVENT, None);
        assert_eq!(trouble.text(), None);
    }

    #[test]
    fn what_does_not_exist_or_does_already_is_no_trouble() {
        let trouble = Trouble::default();
        for status in [StatusCode::NOT_FOUND, StatusCode::CONFLICT] {
            trouble.note(&GET_POD, Some(&refused(&GET_POD, status)));
        }
        assert_eq!(trouble.text(), None);
    }
}
