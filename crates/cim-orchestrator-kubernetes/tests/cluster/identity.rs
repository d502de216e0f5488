//! Who the pod is.

use cim_core::{Component as _, Health, Orchestrator as _, OrchestratorErrorKind, Tmaas};
use cim_orchestrator_kubernetes::Features;

use crate::rig::{LABELS, TMAAS, Workplace};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_read_once_however_often_and_by_however_many_it_is_asked_for() {
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    let orchestrator = workplace.orchestrator();
    let (first, second, third) =
        tokio::join!(orchestrator.identity(), orchestrator.identity(), orchestrator.identity());
    let identity = first.unwrap();
    assert_eq!(second.unwrap(), identity);
    assert_eq!(third.unwrap(), identity);
    for _ in 0..1_000 {
        orchestrator.identity().await.unwrap();
    }
    assert_eq!(workplace.asked(), ["get pods"]);

    assert_eq!(identity.namespace, workplace.namespace.name());
    assert_eq!((identity.pod.as_str(), identity.microservice.as_str()), ("pod-1", "shop"));
    assert_eq!((identity.version.as_str(), identity.node.as_str()), ("v1", "node-1"));
    assert_eq!((identity.uhn.as_str(), identity.cnfc_uuid.as_str()), ("u", "c"));
    assert_eq!(Some(identity.uid), workplace.namespace.pod_uid("pod-1"));
    assert_eq!(
        identity.tmaas,
        Tmaas {
            vendor_id: "v".into(),
            xgvela_id: "x1".into(),
            nf_class: "c".into(),
            nf_type: "amf".into(),
            nf_id: "amf1".into(),
            nf_service_id: "svc-1".into(),
            nf_service_type: "svc".into(),
        }
    );
    assert_eq!(orchestrator.probe().await, Health::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_a_version_has_version_v0() {
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    workplace.namespace.create_pod("plain", "node-1", LABELS, &[("xgvela.com/tmaas", "{}")]);
    assert_eq!(workplace.orchestrator_of("plain").identity().await.unwrap().version, "v0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_described_wrongly_is_said_so_until_it_is_corrected() {
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    workplace.namespace.create_pod("bare", "node-1", LABELS, &[("xgvela.com/tmaas", "null")]);
    let orchestrator = workplace.orchestrator_of("bare");
    let error = orchestrator.identity().await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Misconfigured);
    let text = error.to_string();
    let pod = format!("pod {}/bare", workplace.namespace.name());
    assert!(text.contains(&pod) && text.contains("annotation `xgvela.com/tmaas`"), "{text}");
    assert_eq!(orchestrator.probe().await, Health::Degraded(text));

    let annotation = format!("xgvela.com/tmaas={TMAAS}");
    workplace.namespace.kubectl(&["annotate", "pod", "bare", "--overwrite", &annotation]);
    assert_eq!(orchestrator.identity().await.unwrap().tmaas.nf_id, "amf1");
    assert_eq!(orchestrator.probe().await, Health::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_does_not_exist_is_a_wrong_name_and_not_an_outage() {
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    let error = workplace.orchestrator_of("nobody").identity().await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Misconfigured);
    let expected = format!("cannot get pod {}/nobody: it does not exist", workplace.namespace.name());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubeconfig_serves_in_place_of_a_service_account() {
    use cim_orchestrator_kubernetes::{KubernetesOrchestrator, KubernetesSettings};
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    let namespace = workplace.namespace.name();
    std::fs::write(file.path(), workplace.kubernetes.kubeconfig(&workplace.token_file(), namespace)).unwrap();
    let settings = KubernetesSettings {
        kubeconfig: Some(file.path().to_owned()),
        host: "not.used.invalid".into(),
        ..workplace.settings()
    };
    let orchestrator = KubernetesOrchestrator::new("cluster", settings, namespace, "pod-1");
    assert_eq!(orchestrator.identity().await.unwrap().microservice, "shop");
}
