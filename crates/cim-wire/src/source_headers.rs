//! The identity an event carries (wire contract §7.2).
//!
//! Owns the members and their order; leaves out where the values come from. Invariant: which members are present
//! decides the identity of alarms downstream, so empty ones are left out exactly where the original left them out.

use crate::json;

/// Members of `sourceHeaders`. Those marked optional are left out of the JSON when empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceHeaders {
    /// `pod_uuid`, optional: uid of the pod.
    pub pod_uuid: String,
    /// `uhn`, optional: label of the pod.
    pub uhn: String,
    /// `cnfc_uuid`, optional: label of the pod.
    pub cnfc_uuid: String,
    /// `podId`: name of the pod.
    pub pod_id: String,
    /// `microservice`: label `microSvcName`.
    pub microservice: String,
    /// `nf`: identifier of the network function.
    pub nf: String,
    /// `nfPrefix`: namespace of the pod.
    pub nf_prefix: String,
    /// `nfType`.
    pub nf_type: String,
    /// `svcVersion`.
    pub svc_version: String,
    /// `vendorId`, optional.
    pub vendor_id: String,
    /// `xgvelaId`, optional.
    pub xgvela_id: String,
    /// `nfClass`, optional.
    pub nf_class: String,
    /// `nfId`, optional; left out of CIM's own events.
    pub nf_id: String,
    /// `nfServiceId`, optional.
    pub nf_service_id: String,
    /// `nfServiceType`, optional.
    pub nf_service_type: String,
}

impl SourceHeaders {
    /// Appends the object.
    pub(crate) fn push_json(&self, out: &mut Vec<u8>) {
        let members = [
            ("pod_uuid", &self.pod_uuid, false),
            ("uhn", &self.uhn, false),
            ("cnfc_uuid", &self.cnfc_uuid, false),
            ("podId", &self.pod_id, true),
            ("microservice", &self.microservice, true),
            ("nf", &self.nf, true),
            ("nfPrefix", &self.nf_prefix, true),
            ("nfType", &self.nf_type, true),
            ("svcVersion", &self.svc_version, true),
            ("vendorId", &self.vendor_id, false),
            ("xgvelaId", &self.xgvela_id, false),
            ("nfClass", &self.nf_class, false),
            ("nfId", &self.nf_id, false),
            ("nfServiceId", &self.nf_service_id, false),
            ("nfServiceType", &self.nf_service_type, false),
        ];
        let mut separator = b'{';
        for (name, value, always) in members {
            if always || !value.is_empty() {
                out.push(separator);
                json::push_string(name.as_bytes(), out);
                out.push(b':');
                json::push_string(value.as_bytes(), out);
                separator = b',';
            }
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::SourceHeaders;

    #[test]
    fn six_members_are_always_there() {
        let mut out = Vec::new();
        SourceHeaders::default().push_json(&mut out);
        let expected = r#"{"podId":"","microservice":"","nf":"","nfPrefix":"","nfType":"","svcVersion":""}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
