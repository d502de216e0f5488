//! Who this pod is: the members that records carry to their readers (wire contract §7.2, §8.2, §9.1).

/// The members of annotation `xgvela.com/tmaas`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the names are those of the annotation; wire contract §9.1 describes them")]
pub struct Tmaas {
    pub vendor_id: String,
    pub xgvela_id: String,
    pub nf_class: String,
    pub nf_type: String,
    pub nf_id: String,
    pub nf_service_id: String,
    pub nf_service_type: String,
}

/// Identity of the workload. Read once at start, never on the data path.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Label `microSvcName`.
    pub microservice: String,
    /// Annotation `svcVersion`, `v0` by default.
    pub version: String,
    /// `metadata.uid`; empty when unknown.
    pub uid: String,
    /// Node the pod runs on; empty when unknown.
    pub node: String,
    /// Label `uhn`; empty when absent.
    pub uhn: String,
    /// Label `cnfc_uuid`; empty when absent.
    pub cnfc_uuid: String,
    /// Annotation `xgvela.com/tmaas`.
    pub tmaas: Tmaas,
    /// Annotation `xgvela.com/mmaas` as it stands there; empty when absent.
    pub mmaas: String,
    /// Environment variable `NF`: replaces the network function in events that CIM raises itself; empty when unset.
    pub own_nf: String,
    /// Environment variable `NF_TYPE`: the same for its type.
    pub own_nf_type: String,
}

impl Identity {
    /// Whether these are the `metadata.uid` of two pods: of one of the same name and the one that followed it on its volume, for
    /// example. No where one of them is empty, for nobody knows it then.
    #[must_use]
    pub fn are_of_two_pods(uid: &str, other: &str) -> bool {
        ![uid, other].iter().any(|uid| uid.is_empty()) && uid != other
    }

    /// What the JSON form of a log line carries.
    #[must_use]
    pub fn log_context(&self) -> cim_wire::LogContext {
        cim_wire::LogContext { namespace: self.namespace.clone(), pod: self.pod.clone() }
    }

    /// What an event that CIM raises itself carries: less than one of the application (wire contract §7.4).
    #[must_use]
    pub fn own_headers(&self) -> cim_wire::SourceHeaders {
        let or =
            |given: &String, other: &String| if given.is_empty() { other.clone() } else { given.clone() };
        cim_wire::SourceHeaders {
            pod_id: self.pod.clone(),
            microservice: self.microservice.clone(),
            nf: or(&self.own_nf, &self.tmaas.nf_id),
            nf_prefix: self.namespace.clone(),
            nf_type: or(&self.own_nf_type, &self.tmaas.nf_type),
            svc_version: self.version.clone(),
            ..cim_wire::SourceHeaders::default()
        }
    }

    /// What turns events of this pod into JSON.
    #[must_use]
    pub fn event_encoder(&self) -> cim_wire::EventEncoder {
        cim_wire::EventEncoder::new(&self.source_headers()).with_own(&self.own_headers())
    }

    /// What an event of the application carries as `sourceHeaders` (wire contract §7.2).
    #[must_use]
    pub fn source_headers(&self) -> cim_wire::SourceHeaders {
        let tmaas = self.tmaas.clone();
        cim_wire::SourceHeaders {
            pod_uuid: self.uid.clone(),
            uhn: self.uhn.clone(),
            cnfc_uuid: self.cnfc_uuid.clone(),
            pod_id: self.pod.clone(),
            microservice: self.microservice.clone(),
            nf: tmaas.nf_id.clone(),
            nf_prefix: self.namespace.clone(),
            nf_type: tmaas.nf_type,
            svc_version: self.version.clone(),
            vendor_id: tmaas.vendor_id,
            xgvela_id: tmaas.xgvela_id,
            nf_class: tmaas.nf_class,
            nf_id: tmaas.nf_id,
            nf_service_id: tmaas.nf_service_id,
            nf_service_type: tmaas.nf_service_type,
        }
    }
}
