//! Who the pod of these tests is.

use cim_core::Identity;

/// The identity that their keys name.
pub fn identity() -> Identity {
    Identity {
        namespace: "ns".to_owned(),
        pod: "pod-1".to_owned(),
        microservice: "svc".to_owned(),
        version: "v0".to_owned(),
        ..Identity::default()
    }
}
