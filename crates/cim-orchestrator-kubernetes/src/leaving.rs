//! How the own pod ends, as its object tells it (wire contract §9.1, §11).
//!
//! Owns which members are read. Left out: asking for the object, and what is done in the time that is left. Invariant: the
//! time left is never more than what the kubelet gives, as far as the clock of the API server tells.

use std::time::{Duration, SystemTime};

use crate::pod::Pod;
use cim_core::{Departure, PodEnd};

/// A restart policy that makes a native sidecar of an init container.
const ALWAYS: &str = "Always";

/// What the pod was made with.
pub(crate) fn pod_end(pod: &Pod) -> PodEnd {
    let Some(spec) = &pod.spec else { return PodEnd::default() };
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some(ALWAYS));
    PodEnd {
        grace: spec.termination_grace_period_seconds.map(seconds),
        sidecars: sidecars.map(|container| container.name.clone()).collect(),
    }
}

/// Whether the pod is being deleted at `now`, by the clock of the server. The grace counts from the moment the deletion was
/// asked for, and hooks and containers that ended before this one have used a part of it.
pub(crate) fn departure(pod: &Pod, now: SystemTime) -> Departure {
    let metadata = &pod.metadata;
    let at = metadata.deletion_timestamp.as_ref().map(|time| SystemTime::from(time.0));
    let left = at.map(|at| at.duration_since(now).unwrap_or_default());
    let grace = metadata.deletion_grace_period_seconds.map(seconds);
    match (grace, left) {
        (Some(grace), Some(left)) => Departure::Leaving(grace.min(left)),
        (Some(time), None) | (None, Some(time)) => Departure::Leaving(time),
        (None, None) => Departure::Staying,
    }
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: serde_json::Value) -> Pod {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn only_an_init_container_that_is_restarted_always_is_a_native_sidecar() {
        let end = pod_end(&pod(serde_json::json!({ "spec": {
            "terminationGracePeriodSeconds": 45,
            "initContainers": [
                { "name": "wait" }, { "name": "cim", "restartPolicy": "Always" }, { "name": "once", "restartPolicy": "Never" },
            ],
            "containers": [{ "name": "app" }],
        }})));
        assert_eq!((end.grace, end.sidecars), (Some(Duration::from_secs(45)), vec!["cim".to_owned()]));
        assert_eq!(pod_end(&Pod::default()), PodEnd::default());
    }

    #[test]
    fn the_time_left_is_the_shorter_of_the_grace_and_what_the_clock_says() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let leaving = |seconds| Departure::Leaving(Duration::from_secs(seconds));
        let deleted = pod(serde_json::json!({ "metadata": {
            "deletionTimestamp": "1970-01-01T00:01:40Z", "deletionGracePeriodSeconds": 30,
        }}));
        for (now, left) in [(70, 30), (60, 30), (95, 5), (200, 0)] {
            assert_eq!(departure(&deleted, at(now)), leaving(left), "at {now}");
        }
        let graced = pod(serde_json::json!({ "metadata": { "deletionGracePeriodSeconds": 8 } }));
        assert_eq!(departure(&graced, at(0)), leaving(8));
        assert_eq!(departure(&Pod::default(), at(0)), Departure::Staying);
    }
}
