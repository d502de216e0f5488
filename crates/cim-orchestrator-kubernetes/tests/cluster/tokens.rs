//! Tokens that are replaced, refused, missing.

use cim_core::{Component as _, Health, Orchestrator as _, OrchestratorErrorKind};
use cim_orchestrator_kubernetes::Features;

use crate::rig::{ACCOUNT, Workplace};

const DOCUMENTS: Features =
    Features { documents: true, restart: false, notices: false, node_agents: false, topology_gateway: false };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_token_is_used_at_once_when_the_old_one_is_refused() {
    let Some(workplace) = Workplace::shared(DOCUMENTS) else { return };
    workplace.wait_for_right("get", "configmaps", true);
    let orchestrator = workplace.orchestrator();
    let good = workplace.namespace.token(ACCOUNT);
    workplace.write_token("worn-out");
    let error = orchestrator.document("any").await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Forbidden);
    let text = error.to_string();
    assert!(text.contains("(401)") && text.contains(&workplace.token_file().display().to_string()), "{text}");
    assert!(!text.contains("worn-out"), "a token is shown: {text}");

    // The client still has the refused token in memory, and would for a minute.
    workplace.write_token(&good);
    assert_eq!(orchestrator.document("any").await.unwrap(), None);
    workplace.replace_token();
    assert_eq!(orchestrator.document("any").await.unwrap(), None);
    assert_eq!(orchestrator.probe().await, Health::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_file_that_comes_late_is_found() {
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    let orchestrator = workplace.orchestrator();
    std::fs::remove_file(workplace.token_file()).unwrap();
    let error = orchestrator.identity().await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Unavailable);
    assert!(error.to_string().contains(&workplace.token_file().display().to_string()), "{error}");
    workplace.replace_token();
    orchestrator.identity().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_cannot_be_sent_is_said_and_not_shown() {
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    workplace.write_token("two\nlines");
    let error = workplace.orchestrator().identity().await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Forbidden, "{error}");
    let mut texts = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        texts = format!("{texts}: {inner}");
        source = inner.source();
    }
    assert!(texts.contains("credentials") && !texts.contains("two"), "{texts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_service_account_is_refused_with_what_to_check() {
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    let orchestrator = workplace.orchestrator();
    workplace.namespace.kubectl(&["delete", "serviceaccount", ACCOUNT]);
    let error = orchestrator.identity().await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Forbidden, "{error}");
    assert!(error.to_string().contains("service account still exists"), "{error}");
}
