//! Notices as Events of the pod, which `kubectl describe pod` shows.
//!
//! Owns how often one may be sent, and its form. Left out: sending. Invariant: the same reason passes at most once in
//! [`PAUSE`], and at most [`REASONS`] are remembered.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cim_core::{Notice, clock};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::core::ObjectMeta;
use tokio::time::Instant;

/// Time between two notices with the same reason.
const PAUSE: Duration = Duration::from_secs(60);
/// Reasons within one pause; one more is not sent.
const REASONS: usize = 64;
/// What the API accepts of a note, in bytes.
const NOTE: usize = 1024;
/// What the API accepts of a reason and of the name of the reporter, in bytes.
const NAME: usize = 128;

/// When which reason was sent last.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<BTreeMap<String, Instant>>);

impl Notices {
    /// Whether a notice with that reason may be sent now; counts it as sent if so.
    pub(crate) fn pass(&self, reason: &str, now: Instant) -> bool {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.retain(|_, at| now.duration_since(*at) < PAUSE);
        if sent.contains_key(reason) || sent.len() >= REASONS {
            return false;
        }
        sent.insert(reason.to_owned(), now);
        true
    }

    /// One that passed was not sent: the next one may be.
    pub(crate) fn take_back(&self, reason: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(reason);
    }
}

/// The Event about a pod.
pub(crate) fn event(namespace: &str, pod: &str, uid: &str, notice: &Notice) -> Event {
    let kind = if notice.is_warning { "Warning" } else { "Normal" };
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{pod}-")),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Timestamp::try_from(clock::now()).ok().map(MicroTime),
        reporting_controller: Some("cim".to_owned()),
        reporting_instance: Some(cut(pod, NAME)),
        action: Some("Report".to_owned()),
        reason: Some(cut(&notice.reason, NAME)),
        note: Some(cut(&notice.message, NOTE)),
        type_: Some(kind.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.to_owned()),
            namespace: Some(namespace.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

/// The beginning of a text, of at most so many bytes.
fn cut(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reason_passes_once_in_a_minute_and_others_beside_it() {
        let (notices, now) = (Notices::default(), Instant::now());
        assert!(notices.pass("Restart", now));
        assert!(!notices.pass("Restart", now + PAUSE - Duration::from_millis(1)));
        assert!(notices.pass("ConfigFailed", now));
        assert!(notices.pass("Restart", now + PAUSE));
        notices.take_back("Restart");
        assert!(notices.pass("Restart", now + PAUSE), "one that was not sent does not count");
    }

    #[test]
    fn a_flood_of_reasons_is_bounded() {
        let (notices, now) = (Notices::default(), Instant::now());
        let passed = (0..1_000).filter(|number| notices.pass(&number.to_string(), now)).count();
        assert_eq!(passed, REASONS);
        assert!(notices.pass("later", now + PAUSE));
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let notice = Notice { reason: "x".repeat(200), message: "é".repeat(2_000), is_warning: true };
        let event = event("ns1", "pod-1", "u-1", &notice);
        assert_eq!(event.note.unwrap().len(), NOTE);
        assert_eq!(event.reason.unwrap().len(), NAME);
        assert_eq!(event.type_.unwrap(), "Warning");
    }
}
