//! Documents as ConfigMaps.
//!
//! Owns the two directions. Left out: asking. Invariant: a document that is made and read again is the same, up to the order
//! of its members; binary members of a ConfigMap are not seen.

use std::collections::BTreeMap;

use cim_core::Document;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ObjectMeta;

/// The ConfigMap that holds a document.
pub(crate) fn to_config_map(document: &Document, namespace: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(document.name.clone()),
            namespace: Some(namespace.to_owned()),
            labels: Some(map(&document.labels)),
            annotations: Some(map(&document.annotations)),
            ..ObjectMeta::default()
        },
        data: Some(map(&document.data)),
        ..ConfigMap::default()
    }
}

/// The document in a ConfigMap.
pub(crate) fn from_config_map(map: ConfigMap) -> Document {
    let list = |map: Option<BTreeMap<String, String>>| map.unwrap_or_default().into_iter().collect();
    Document {
        name: map.metadata.name.unwrap_or_default(),
        labels: list(map.metadata.labels),
        annotations: list(map.metadata.annotations),
        data: list(map.data),
    }
}

fn map(list: &[(String, String)]) -> BTreeMap<String, String> {
    list.iter().cloned().collect()
}
