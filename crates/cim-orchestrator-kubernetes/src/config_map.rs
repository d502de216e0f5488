//! The ConfigMap with CIM's own configuration, made at the first registration (wire contract §9.4).
//!
//! Owns every member. Left out: whether and when it is made. Invariant: the same identity and configuration
//! give the same document, byte for byte.

use std::collections::BTreeMap;

use cim_core::configuration::own_map_name;
use cim_core::{Document, Identity};
use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::yang;

/// The document for this pod and the configuration it runs with.
#[must_use]
pub fn config_map(identity: &Identity, cim_json: &Value) -> Document {
    let service = &identity.tmaas.nf_service_type;
    let pairs = |list: &[(&str, &str)]| {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    Document {
        name: own_map_name(service, &identity.version),
        labels: pairs(&[("microSvcName", service)]),
        annotations: pairs(&[
            ("configMgmt", "enabled"),
            ("nwFnPrefix", &identity.namespace),
            ("svcVersion", &identity.version),
            ("xgvela.com/tmaas", &tmaas(identity)),
        ]),
        data: pairs(&[
            ("__CFG_TYPE", "mgmt-cfg"),
            ("cim.json", &indented(cim_json)),
            ("cim.yang", &yang::module(&identity.tmaas.nf_id, &identity.microservice)),
            ("revision", "0"),
            ("updatePolicy.json", r#"{"cim":"Dynamic"}"#),
        ]),
    }
}

/// The seven members, sorted by name.
fn tmaas(identity: &Identity) -> String {
    let tmaas = &identity.tmaas;
    let members = BTreeMap::from([
        ("vendorId", &tmaas.vendor_id),
        ("xgvelaId", &tmaas.xgvela_id),
        ("nfClass", &tmaas.nf_class),
        ("nfType", &tmaas.nf_type),
        ("nfId", &tmaas.nf_id),
        ("nfServiceId", &tmaas.nf_service_id),
        ("nfServiceType", &tmaas.nf_service_type),
    ]);
    serde_json::json!(members).to_string()
}

/// Indented by one space, as the original wrote it.
fn indented(value: &Value) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" "));
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => value.to_string(), // not reachable: a value and a vector do not fail
    }
}
