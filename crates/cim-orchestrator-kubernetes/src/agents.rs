//! Pods that are agents, as neighbours to connect to (wire contract §8.4).
//!
//! Owns which pods count and in what order. Left out: asking for them. Invariant: a pod without an address, or one that has
//! ended, is never given out; ready ones come first.

use std::net::{IpAddr, SocketAddr};

use crate::pod::Pod;
use cim_core::Peer;

/// The pods that can be connected to, ready ones first.
pub(crate) fn peers(pods: &[Pod], port: u16) -> Vec<Peer> {
    let mut found: Vec<(bool, Peer)> =
        pods.iter().filter_map(|pod| Some((!is_ready(pod), peer(pod, port)?))).collect();
    found.sort_by(|(late, peer), (other_late, other)| (late, &peer.name).cmp(&(other_late, &other.name)));
    found.into_iter().map(|(_, peer)| peer).collect()
}

fn peer(pod: &Pod, port: u16) -> Option<Peer> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let address: IpAddr = status.pod_ip.as_deref()?.parse().ok()?;
    let (namespace, name) = (pod.metadata.namespace.as_deref()?, pod.metadata.name.as_deref()?);
    Some(Peer { name: format!("{namespace}/{name}"), address: SocketAddr::new(address, port) })
}

/// Ready, and not about to go.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}
