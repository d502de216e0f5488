//! ConfigMaps.

use cim_core::{Document, Orchestrator as _, OrchestratorErrorKind};
use cim_orchestrator_kubernetes::{Features, config_map};

use crate::rig::Workplace;

const DOCUMENTS: Features =
    Features { documents: true, restart: false, notices: false, node_agents: false, topology_gateway: false };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_made_once_and_read_as_it_was_made() {
    let Some(workplace) = Workplace::shared(DOCUMENTS) else { return };
    let orchestrator = workplace.orchestrator();
    let identity = orchestrator.identity().await.unwrap();
    let document = config_map(&identity, &serde_json::json!({"cimConfig": {"lmaas": {"max_age": 3}}}));
    assert_eq!(document.name, "svc-cim-v1-mgmt-cfg");
    workplace.wait_for_right("create", "configmaps", true);
    assert_eq!(orchestrator.document(&document.name).await.unwrap(), None);
    assert!(orchestrator.create_document(&document).await.unwrap());
    assert_eq!(orchestrator.document(&document.name).await.unwrap(), Some(document.clone()));

    let other = Document { data: vec![("cim.json".into(), "other".into())], ..document.clone() };
    assert!(!orchestrator.create_document(&other).await.unwrap(), "it exists");
    assert_eq!(orchestrator.document(&document.name).await.unwrap(), Some(document));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_cannot_be_one_is_an_error_that_names_it() {
    let Some(workplace) = Workplace::shared(DOCUMENTS) else { return };
    let orchestrator = workplace.orchestrator();
    workplace.wait_for_right("create", "configmaps", true);
    let document = Document { name: "Not A Name".into(), ..Document::default() };
    let error = orchestrator.create_document(&document).await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Misconfigured);
    assert!(error.to_string().contains("Not A Name"), "{error}");
    for name in ["", "a/b", "../pods", "a?b"] {
        let outcome = orchestrator.document(name).await;
        assert!(!matches!(outcome, Ok(Some(_))), "{name:?}: {outcome:?}");
    }
}
