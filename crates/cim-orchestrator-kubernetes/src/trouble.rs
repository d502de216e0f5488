//! What is wrong with the API server, as the status page tells it.
//!
//! Owns the last failure of each right. Left out: logging. Invariant: a right that works again is forgotten; that the
//! server cannot be reached is forgotten with any answer it gives; what is not from just now says so, because nobody asks only
//! to find out. What does not exist, or does already, is an answer, but
//! for the own pod, which always exists.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cim_core::{OrchestratorErrorKind, chain};
use tokio::time::Instant;

use crate::failure::CallFailure;
use crate::rights::{GET_POD, Right};

/// A failure that is told without its age.
const FRESH: Duration = Duration::from_secs(60);

/// Failures that were not followed by a success, by what was tried. As many as there are rights.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<BTreeMap<String, Failed>>);

/// The last failure of a right.
#[derive(Debug)]
struct Failed {
    kind: OrchestratorErrorKind,
    text: String,
    at: Instant,
}

impl Failed {
    fn told(&self) -> String {
        let age = self.at.elapsed();
        if age < FRESH {
            return self.text.clone();
        }
        format!("{} ({} min ago, not asked since)", self.text, age.as_secs() / 60)
    }
}

impl Trouble {
    /// Takes note of how a call ended.
    pub(crate) fn note(&self, right: &Right, failure: Option<&CallFailure>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&right.phrase());
        if failure.is_none_or(CallFailure::is_answer) {
            open.retain(|_, failed| failed.kind != OrchestratorErrorKind::Unavailable);
        }
        let is_fault = |failure: &&CallFailure| *right == GET_POD || !failure.is_usual();
        if let Some(error) = failure.filter(is_fault).map(CallFailure::error) {
            let failed = Failed { kind: error.kind(), text: chain(error), at: Instant::now() };
            open.insert(right.phrase(), failed);
        }
    }

    /// All of it in one text; `None` when there is nothing.
    pub(crate) fn text(&self) -> Option<String> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<String> = open.values().map(Failed::told).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use cim_core::OrchestratorError;
    use http::StatusCode;

    use super::*;
    use crate::failure::About;
    use crate::rights::{CREATE_EVENT, GET_DOCUMENT};
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

    #[tokio::test(start_paused = true)]
    async fn an_old_failure_says_how_old_it_is() {
        let trouble = Trouble::default();
        trouble.note(&CREATE_EVENT, Some(&away()));
        assert_eq!(trouble.text().unwrap(), "away");
        tokio::time::advance(Duration::from_secs(150)).await;
        assert_eq!(trouble.text().unwrap(), "away (2 min ago, not asked since)");
    }

    #[test]
    fn what_does_not_exist_or_does_already_is_no_trouble_unless_it_is_the_own_pod() {
        let trouble = Trouble::default();
        for status in [StatusCode::NOT_FOUND, StatusCode::CONFLICT] {
            trouble.note(&GET_DOCUMENT, Some(&refused(&GET_DOCUMENT, status)));
        }
        assert_eq!(trouble.text(), None);
        trouble.note(&GET_POD, Some(&refused(&GET_POD, StatusCode::NOT_FOUND)));
        assert!(trouble.text().unwrap().contains("does not exist"));
    }
}
