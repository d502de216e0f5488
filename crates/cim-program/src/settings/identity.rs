//! `[identity]`: who this pod is, when nothing else says so (wire contract §7.2, §9.1).
//!
//! Left out: asking an orchestrator. The invariant: every member has a usable value, so that a start without any
//! configuration labels its output.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[identity]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentitySettings {
    /// Namespace of the pod; `K8S_NAMESPACE` unless given.
    pub namespace: String,
    /// Name of the pod; `K8S_POD_ID` unless given, else the host name, which is the pod name in Kubernetes.
    pub pod: String,
    /// Name of the microservice; the pod name unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub microservice: Option<String>,
    /// Version of the microservice.
    pub version: String,
    /// `metadata.uid` of the pod; may be empty.
    pub uid: String,
    /// Node the pod runs on; may be empty.
    pub node: String,
    /// Label `uhn`; may be empty.
    pub uhn: String,
    /// Label `cnfc_uuid`; may be empty.
    pub cnfc_uuid: String,
    /// The network function this pod belongs to.
    pub tmaas: TmaasSettings,
    /// Network function in events that CIM raises itself; `NF` unless given, else that of `tmaas`.
    pub own_nf: String,
    /// Its type there; `NF_TYPE` unless given, else that of `tmaas`.
    pub own_nf_type: String,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        let empty = String::new;
        Self {
            namespace: "default".to_owned(),
            pod: "localhost".to_owned(),
            microservice: None,
            version: "v0".to_owned(),
            uid: empty(),
            node: empty(),
            uhn: empty(),
            cnfc_uuid: empty(),
            tmaas: TmaasSettings::default(),
            own_nf: empty(),
            own_nf_type: empty(),
        }
    }
}

/// `[identity.tmaas]`: the members of annotation `xgvela.com/tmaas`, as keys of this file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TmaasSettings {
    /// `vendorId`
    pub vendor_id: String,
    /// `xgvelaId`
    pub xgvela_id: String,
    /// `nfClass`
    pub nf_class: String,
    /// `nfType`
    pub nf_type: String,
    /// `nfId`
    pub nf_id: String,
    /// `nfServiceId`
    pub nf_service_id: String,
    /// `nfServiceType`
    pub nf_service_type: String,
}

impl From<&IdentitySettings> for cim_core::Identity {
    fn from(settings: &IdentitySettings) -> Self {
        let tmaas = settings.tmaas.clone();
        Self {
            namespace: settings.namespace.clone(),
            pod: settings.pod.clone(),
            microservice: settings.microservice.clone().unwrap_or_else(|| settings.pod.clone()),
            version: settings.version.clone(),
            uid: settings.uid.clone(),
            node: settings.node.clone(),
            uhn: settings.uhn.clone(),
            cnfc_uuid: settings.cnfc_uuid.clone(),
            tmaas: cim_core::contract::Tmaas {
                vendor_id: tmaas.vendor_id,
                xgvela_id: tmaas.xgvela_id,
                nf_class: tmaas.nf_class,
                nf_type: tmaas.nf_type,
                nf_id: tmaas.nf_id,
                nf_service_id: tmaas.nf_service_id,
                nf_service_type: tmaas.nf_service_type,
            },
            mmaas: String::new(),
            own_nf: settings.own_nf.clone(),
            own_nf_type: settings.own_nf_type.clone(),
        }
    }
}
