//! The orchestrator of a pod that has none to ask: identity from settings, environment and downward-API files.
//!
//! Owns reading those files (the form of Kubernetes' `downwardAPI` volumes). Left out: everything that would need a
//! cluster, which is refused with a text that says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Component, Document, Identity, Orchestrator, OrchestratorError, OrchestratorErrorKind, Peer, PeerQuery,
    RestartReason, Tmaas,
};
use crate::registry::{OrchestratorKind, PartContext, Problem};

/// `[orchestrator]` of type `standalone`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StandaloneSettings {
    /// Directory with the files `labels` and `annotations` of a downward-API volume. Absent: identity is that of
    /// `[identity]` and the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub podinfo: Option<PathBuf>,
}

/// The kind for the registry.
pub const KIND: OrchestratorKind = OrchestratorKind {
    name: "standalone",
    summary: "nothing that could be asked: identity comes from the configuration, the environment and downward-API files",
    schema: || schemars::schema_for!(StandaloneSettings).to_value(),
    validate: |_| Vec::new(),
    build,
};

fn build(context: PartContext, table: &serde_json::Value) -> Result<Arc<dyn Orchestrator>, Problem> {
    let settings: StandaloneSettings =
        serde_json::from_value(table.clone()).map_err(|error| Problem::new("", error.to_string()))?;
    Ok(Arc::new(Standalone { name: context.name, identity: (*context.identity).clone(), settings }))
}

/// A pod without anything to ask.
#[derive(Debug)]
pub struct Standalone {
    name: String,
    identity: Identity,
    settings: StandaloneSettings,
}

impl Standalone {
    /// The pod of that identity.
    #[must_use]
    pub fn new(name: impl Into<String>, identity: Identity, settings: StandaloneSettings) -> Self {
        Self { name: name.into(), identity, settings }
    }
}

fn unsupported(what: &str) -> OrchestratorError {
    OrchestratorError::new(
        OrchestratorErrorKind::Unsupported,
        format!("{what} needs an orchestrator, and type `standalone` is none; set `type` in [orchestrator]"),
    )
}

#[async_trait]
impl Component for Standalone {
    fn name(&self) -> &str {
        &self.name
    }
}

#[async_trait]
impl Orchestrator for Standalone {
    async fn identity(&self) -> Result<Identity, OrchestratorError> {
        let mut identity = self.identity.clone();
        let Some(dir) = &self.settings.podinfo else { return Ok(identity) };
        for (name, value) in pairs(&dir.join("labels"))? {
            match name.as_str() {
                "microSvcName" => identity.microservice = value,
                "uhn" => identity.uhn = value,
                "cnfc_uuid" => identity.cnfc_uuid = value,
                _ => {}
            }
        }
        for (name, value) in pairs(&dir.join("annotations"))? {
            match name.as_str() {
                "svcVersion" => identity.version = value,
                "xgvela.com/tmaas" => identity.tmaas = tmaas(&value)?,
                "xgvela.com/mmaas" => identity.mmaas = value,
                _ => {}
            }
        }
        Ok(identity)
    }

    async fn locate(&self, _query: &PeerQuery) -> Result<Vec<Peer>, OrchestratorError> {
        Err(unsupported("finding neighbours"))
    }

    async fn document(&self, _name: &str) -> Result<Option<Document>, OrchestratorError> {
        Ok(None)
    }

    async fn create_document(&self, _document: &Document) -> Result<bool, OrchestratorError> {
        Err(unsupported("a shared document"))
    }

    async fn restart(&self, _reason: &RestartReason) -> Result<(), OrchestratorError> {
        Err(unsupported("a restart of the pod"))
    }
}

/// The value of annotation `xgvela.com/tmaas` (wire contract §9.1): a JSON object of texts, with any white space.
///
/// # Errors
/// [`OrchestratorErrorKind::Misconfigured`] when it is something else.
pub fn tmaas(annotation: &str) -> Result<Tmaas, OrchestratorError> {
    // By way of a map, because a list would do for a struct.
    let members = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(annotation);
    members.and_then(|members| serde_json::from_value(members.into())).map_err(|error| {
        let what = "annotation `xgvela.com/tmaas` is not a JSON object of texts";
        OrchestratorError::new(OrchestratorErrorKind::Misconfigured, what).with_source(error)
    })
}

/// The lines of a downward-API file: `name="value"`, the value quoted as in Go.
fn pairs(file: &Path) -> Result<Vec<(String, String)>, OrchestratorError> {
    let wrong = |what: String| OrchestratorError::new(OrchestratorErrorKind::Misconfigured, what);
    let text = std::fs::read_to_string(file).map_err(|error| {
        wrong(format!("cannot read the downward-API file {}", file.display())).with_source(error)
    })?;
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let pair = line.split_once('=').and_then(|(name, value)| {
            // Go quotes like JSON, but for a few escapes that labels and annotations do not need.
            Some((name.to_owned(), serde_json::from_str::<String>(value).ok()?))
        });
        pairs.push(pair.ok_or_else(|| {
            wrong(format!("line {} of {} is not name=\"value\"", index + 1, file.display()))
        })?);
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standalone(dir: &Path) -> Standalone {
        let identity = Identity { pod: "p".to_owned(), version: "v0".to_owned(), ..Identity::default() };
        Standalone::new("orchestrator", identity, StandaloneSettings { podinfo: Some(dir.to_owned()) })
    }

    #[tokio::test]
    async fn downward_api_files_tell_who_the_pod_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("labels"), "microSvcName=\"svc\"\nuhn=\"u\"\nother=\"x=y\"\n")
            .unwrap();
        let annotation = r#"xgvela.com/tmaas="{\n \"nfId\": \"nf1\",\n \"nfType\": \"amf\" }""#;
        std::fs::write(
            dir.path().join("annotations"),
            format!("{annotation}\nsvcVersion=\"v2\"\nxgvela.com/mmaas=\"{{}}\"\n"),
        )
        .unwrap();
        let identity = standalone(dir.path()).identity().await.unwrap();
        assert_eq!((identity.microservice.as_str(), identity.version.as_str()), ("svc", "v2"));
        assert_eq!((identity.tmaas.nf_id.as_str(), identity.tmaas.nf_type.as_str()), ("nf1", "amf"));
        assert_eq!((identity.uhn.as_str(), identity.pod.as_str(), identity.mmaas.as_str()), ("u", "p", "{}"));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let missing = standalone(dir.path()).identity().await.unwrap_err();
        assert!(missing.to_string().contains("labels"), "{missing}");
        std::fs::write(dir.path().join("labels"), "a=\"b\"\nbroken\n").unwrap();
        let broken = standalone(dir.path()).identity().await.unwrap_err();
        assert!(broken.to_string().starts_with("line 2 of "), "{broken}");
        std::fs::write(dir.path().join("labels"), "").unwrap();
        for value in ["null", "[]", r#"{"nfId":7}"#] {
            let quoted = serde_json::to_string(value).unwrap();
            std::fs::write(dir.path().join("annotations"), format!("xgvela.com/tmaas={quoted}\n")).unwrap();
            let wrong = standalone(dir.path()).identity().await.unwrap_err();
            assert_eq!(wrong.kind(), OrchestratorErrorKind::Misconfigured, "{value}");
        }
    }
}
