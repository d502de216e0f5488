//! How the own pod ends, as its object tells it (wire contract §9.1, §11).
//!
//! Owns which members are read. Left out: asking for the object, and what is done in the time that is left. Invariant: the
//! time left is never more than what the kubelet gives, as far as the clock of the API server tells.

use std::time::{Duration, SystemTime};

use crate::pod::Pod;
use cim_core::{Departure, PodEnd};

/// A restart policy that makes a native sidecar of an init container.
const ALWAYS: &str = "Always";
/// The condition of a pod that the kubelet evicts, or ends with its node: nobody asks for its deletion before it is gone.
const DISRUPTED: &str = "DisruptionTarget";
/// The phase that the kubelet gives such a pod.
const FAILED: &str = "Failed";
/// The grace that the API server writes where nobody says another one.
const USUAL_GRACE: Duration = Duration::from_secs(30);

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

/// Whether the pod goes at `now`, by the clock of the server. The grace of a deletion counts from the moment it was asked for, and
/// hooks and containers that ended before this one have used a part of it. When that of an eviction began nobody tells.
pub(crate) fn departure(pod: &Pod, now: SystemTime) -> Departure {
    let metadata = &pod.metadata;
    let at = metadata.deletion_timestamp.as_ref().map(|time| SystemTime::from(time.0));
    let left = at.map(|at| at.duration_since(now).unwrap_or_default());
    let grace = metadata.deletion_grace_period_seconds.map(seconds);
    match (grace, left) {
        (Some(grace), Some(left)) => Departure::Leaving(grace.min(left)),
        (Some(time), None) | (None, Some(time)) => Departure::Leaving(time),
        (None, None) if is_disrupted(pod) => Departure::Leaving(pod_end(pod).grace.unwrap_or(USUAL_GRACE)),
        (None, None) => Departure::Staying,
    }
}

/// Whether the kubelet ends the pod without a deletion: an eviction, or a shutdown of its node.
fn is_disrupted(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let mut conditions = status.conditions.iter().flatten();
    status.phase.as_deref() == Some(FAILED)
        || conditions.any(|condition| condition.kind == DISRUPTED && condition.status == "True")
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

    #[test]
    fn a_pod_that_its_kubelet_ends_goes_though_nobody_deletes_it() {
        let condition = |kind: &str, status: &str| serde_json::json!([{ "type": kind, "status": status }]);
        let of = |status: serde_json::Value| {
            let spec = serde_json::json!({ "terminationGracePeriodSeconds": 45 });
            departure(&pod(serde_json::json!({ "spec": spec, "status": status })), SystemTime::UNIX_EPOCH)
        };
        let leaving = Departure::Leaving(Duration::from_secs(45));
        let rows = [
            (serde_json::json!({ "phase": "Failed", "reason": "Evicted" }), leaving),
            (
                serde_json::json!({ "phase": "Running", "conditions": condition("DisruptionTarget", "True") }),
                leaving,
            ),
            (serde_json::json!({ "conditions": condition("DisruptionTarget", "False") }), Departure::Staying),
            (
                serde_json::json!({ "phase": "Running", "conditions": condition("Ready", "True") }),
                Departure::Staying,
            ),
        ];
        for (status, expected) in rows {
            assert_eq!(of(status.clone()), expected, "{status}");
        }
        let deleted = pod(serde_json::json!({
            "metadata": { "deletionGracePeriodSeconds": 8 }, "status": { "phase": "Failed" },
        }));
        assert_eq!(departure(&deleted, SystemTime::UNIX_EPOCH), Departure::Leaving(Duration::from_secs(8)));
    }
}
