//! The own pod, as the API server describes it (wire contract §9.1).
//!
//! Owns which annotations and labels are read, and what is said when one is missing. Left out: asking for it. Invariant: a
//! pod that is described wrongly is told apart from one that is not known, and still has its uid and its node.

use crate::pod::Pod;
use cim_core::{Identity, PodEnd, Tmaas};
use serde::Deserialize as _;
use serde_json::{Map, Value};

const TMAAS: &str = "xgvela.com/tmaas";
const MMAAS: &str = "xgvela.com/mmaas";
const VERSION: &str = "svcVersion";
const GATEWAY: &str = "topogw.fqdn";
const USUAL_VERSION: &str = "v0";
const MICROSERVICE: &str = "microSvcName";
/// What the annotation should look like.
const WANTED: &str = r#"{"vendorId":"…","xgvelaId":"…","nfClass":"…","nfType":"…","nfId":"…","nfServiceId":"…","nfServiceType":"…"}"#;

/// What is remembered of the own pod.
#[derive(Debug, Clone)]
pub(crate) struct OwnPod {
    pub(crate) uid: String,
    /// Empty before the pod has a node.
    pub(crate) node: String,
    /// Annotation `topogw.fqdn`; empty when absent.
    pub(crate) topology_gateway: String,
    pub(crate) end: PodEnd,
    /// Who it is, or what has to be changed about the pod.
    pub(crate) identity: Result<Identity, String>,
}

impl OwnPod {
    /// Reads the pod that was asked for by this namespace and name.
    pub(crate) fn read(namespace: &str, name: &str, pod: &Pod) -> Self {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        let identity = identity(namespace, name, pod, &uid, &node)
            .map_err(|problem| format!("pod {namespace}/{name} is not described as it must be: {problem}"));
        let annotations = pod.metadata.annotations.as_ref();
        let topology_gateway = annotations.and_then(|all| all.get(GATEWAY)).cloned().unwrap_or_default();
        Self { uid, node, topology_gateway, end: crate::leaving::pod_end(pod), identity }
    }
}

fn identity(namespace: &str, name: &str, pod: &Pod, uid: &str, node: &str) -> Result<Identity, String> {
    let annotation = |key: &str| pod.metadata.annotations.as_ref()?.get(key).map(String::as_str);
    let label = |key: &str| pod.metadata.labels.as_ref()?.get(key).cloned();
    let microservice = label(MICROSERVICE).filter(|value| !value.is_empty()).ok_or_else(|| {
        format!("label `{MICROSERVICE}` is missing; set it to the name of the microservice")
    })?;
    Ok(Identity {
        namespace: namespace.to_owned(),
        pod: name.to_owned(),
        microservice,
        version: version(annotation(VERSION))?,
        uid: uid.to_owned(),
        node: node.to_owned(),
        uhn: label("uhn").unwrap_or_default(),
        cnfc_uuid: label("cnfc_uuid").unwrap_or_default(),
        tmaas: tmaas(annotation(TMAAS))?,
        // Read by those whom it concerns: a pod is described well without it, and with one that makes no sense.
        mmaas: annotation(MMAAS).unwrap_or_default().to_owned(),
        ..Identity::default()
    })
}

/// It is one part of the keys of the store: with another one in it, they would be those of somebody else.
fn version(text: Option<&str>) -> Result<String, String> {
    let version = text.filter(|text| !text.is_empty()).unwrap_or(USUAL_VERSION);
    if version.contains(|letter: char| letter == '/' || letter.is_control()) {
        return Err(format!(
            "annotation `{VERSION}` must hold neither `/` nor control characters, and is {version:?}"
        ));
    }
    Ok(version.to_owned())
}

fn tmaas(text: Option<&str>) -> Result<Tmaas, String> {
    let text = text.ok_or_else(|| format!("annotation `{TMAAS}` is missing; set it to {WANTED}"))?;
    let wrong = |why: &dyn std::fmt::Display| {
        format!("annotation `{TMAAS}` cannot be read ({why}); it must be an object of strings: {WANTED}")
    };
    // As an object first: as a structure, an array of strings would pass.
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| wrong(&error))?;
    Tmaas::deserialize(Value::Object(object)).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotation: Option<&str>, labels: &[(&str, &str)]) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.uid = Some("u-1".to_owned());
        pod.metadata.annotations = annotation.map(|text| [(TMAAS.to_owned(), text.to_owned())].into());
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        pod.metadata.labels = Some(labels.collect());
        pod
    }

    fn problem(annotation: Option<&str>, labels: &[(&str, &str)]) -> String {
        OwnPod::read("ns1", "pod-1", &pod(annotation, labels)).identity.unwrap_err()
    }

    const SERVICE: &[(&str, &str)] = &[(MICROSERVICE, "shop")];

    #[test]
    fn an_annotation_folded_over_lines_is_read_and_unknown_members_are_let_be() {
        let text = "{\n  \"vendorId\" :\t\"v\",\r\n \"nfId\":\"n\", \"later\": [1] }\n";
        let own = OwnPod::read("ns1", "pod-1", &pod(Some(text), SERVICE));
        let identity = own.identity.unwrap();
        assert_eq!((identity.tmaas.vendor_id.as_str(), identity.tmaas.nf_id.as_str()), ("v", "n"));
        assert_eq!(
            (identity.version.as_str(), identity.uid.as_str(), own.uid.as_str()),
            ("v0", "u-1", "u-1")
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_the_pod_and_what_is_wanted() {
        for (annotation, why) in [
            (None, "is missing"),
            (Some("null"), "cannot be read"),
            (Some(""), "cannot be read"),
            (Some("[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\"]"), "cannot be read"),
            (Some("{\"nfId\": 7}"), "cannot be read"),
            (Some("{\"nfId\": \"x\""), "cannot be read"),
        ] {
            let problem = problem(annotation, SERVICE);
            for part in ["pod ns1/pod-1", TMAAS, why, "\"nfServiceType\":"] {
                assert!(problem.contains(part), "{annotation:?}: `{problem}` does not say `{part}`");
            }
        }
        for labels in [&[][..], &[(MICROSERVICE, "")]] {
            assert!(problem(Some("{}"), labels).contains("label `microSvcName` is missing"));
        }
        for (version, shown) in [("v1/nf", "\"v1/nf\""), ("v1\n", "\"v1\\n\"")] {
            let mut pod = pod(Some("{}"), SERVICE);
            pod.metadata.annotations.as_mut().unwrap().insert(VERSION.to_owned(), version.to_owned());
            let problem = OwnPod::read("ns1", "pod-1", &pod).identity.unwrap_err();
            assert!(problem.contains("`svcVersion`") && problem.contains(shown), "{problem}");
        }
    }
}
