//! What the suite is told of a pod without anything to ask: downward-API files, and nothing else.

use std::sync::Arc;

use cim_core::standalone::{Standalone, StandaloneSettings};
use cim_core::{Document, Identity, Orchestrator, Tmaas, async_trait};
use cim_testkit::{CannotExpress, OrchestratorHarness};
use tempfile::TempDir;

/// A pod whose files are there until it is dropped.
pub struct Alone {
    podinfo: TempDir,
}

impl Alone {
    pub fn new() -> Self {
        let podinfo = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(podinfo.path().join(name), text).unwrap();
        write("labels", "cnfc_uuid=\"c\"\nmicroSvcName=\"amf\"\nuhn=\"u\"\n");
        write("annotations", "svcVersion=\"v1\"\nxgvela.com/tmaas=\"{\\n \\\"nfId\\\": \\\"amf1\\\"}\"\n");
        Self { podinfo }
    }
}

/// What the environment says of the pod.
fn given() -> Identity {
    Identity { namespace: "ns".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() }
}

#[async_trait]
impl OrchestratorHarness for Alone {
    fn build(&self) -> Arc<dyn Orchestrator> {
        let settings = StandaloneSettings { podinfo: Some(self.podinfo.path().to_owned()) };
        Arc::new(Standalone::new("alone", given(), settings))
    }

    fn identity(&self) -> Identity {
        let text = str::to_owned;
        Identity {
            microservice: text("amf"),
            version: text("v1"),
            uhn: text("u"),
            cnfc_uuid: text("c"),
            tmaas: Tmaas { nf_id: text("amf1"), ..Tmaas::default() },
            ..given()
        }
    }

    async fn put_document(&self, _document: &Document) -> Result<(), CannotExpress> {
        Err(CannotExpress("a pod without an orchestrator has no documents".to_owned()))
    }

    async fn document(&self, _name: &str) -> Option<Document> {
        None
    }

    async fn restarts(&self) -> Option<usize> {
        None
    }

    async fn fail(&self) -> Result<(), CannotExpress> {
        Err(CannotExpress("there is nothing that could be away".to_owned()))
    }

    async fn heal(&self) {}
}
