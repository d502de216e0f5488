//! Orchestrators that are broken on purpose, to show that the suite sees it.
//!
//! Owns one flaw each, in front of a [`FakeOrchestrator`]. Invariant: apart from its flaw a mutant is correct, so that the
//! first property it fails is the one that names the flaw.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Memory};
use std::time::Duration;

use cim_core::{
    CloseError, Component, Document, Health, Identity, Notice, Orchestrator, OrchestratorError,
    OrchestratorErrorKind, Peer, PeerQuery, RestartReason, async_trait,
};

use super::fake::{FakeCluster, FakeOrchestrator};
use super::property::OrchestratorProperty;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrchestratorFlaw {
    /// The version of the pod is left out.
    DropsVersion,
    /// The pod is asked for each time.
    AsksAgain,
    /// Everybody is a neighbour.
    IgnoresLabel,
    /// White space at the end of a text is cut off.
    TrimsTexts,
    /// A document that does not exist is read as an empty one.
    ReadsAbsent,
    /// A document is replaced by the second one that is made.
    Overwrites,
    /// A restart is asked for twice.
    RestartsTwice,
    /// An absent orchestrator is answered as a lack of rights.
    SaysForbidden,
    /// A notice waits until it can be told.
    NoticeWaits,
    /// After a failure nothing works again.
    StaysDown,
    /// A dropped call leaves a lock behind.
    StuckAfterCancel,
    /// The second close fails.
    ClosesOnce,
    /// The token is part of an error.
    LeaksInError,
}

/// What no mutant may show.
const SECRET: &str = "hunter2-b64";

impl OrchestratorFlaw {
    /// All flaws, each with the property that has to find it.
    pub const ALL: [(Self, OrchestratorProperty); 13] = [
        (Self::DropsVersion, OrchestratorProperty::Identity),
        (Self::AsksAgain, OrchestratorProperty::Identity),
        (Self::IgnoresLabel, OrchestratorProperty::Neighbours),
        (Self::TrimsTexts, OrchestratorProperty::Documents),
        (Self::ReadsAbsent, OrchestratorProperty::Documents),
        (Self::Overwrites, OrchestratorProperty::CreateOnce),
        (Self::RestartsTwice, OrchestratorProperty::Restart),
        (Self::SaysForbidden, OrchestratorProperty::Absent),
        (Self::NoticeWaits, OrchestratorProperty::Absent),
        (Self::StaysDown, OrchestratorProperty::Recovery),
        (Self::StuckAfterCancel, OrchestratorProperty::Cancellation),
        (Self::ClosesOnce, OrchestratorProperty::CloseTwice),
        (Self::LeaksInError, OrchestratorProperty::SecretsHidden),
    ];
}

/// An orchestrator with one flaw.
#[derive(Debug)]
pub struct OrchestratorMutant {
    flaw: OrchestratorFlaw,
    target: Arc<FakeOrchestrator>,
    failed: AtomicBool,
    busy: AtomicBool,
    closes: AtomicUsize,
}

impl OrchestratorMutant {
    /// A harness for a broken orchestrator.
    #[must_use]
    pub fn harness(flaw: OrchestratorFlaw) -> FakeCluster {
        let build = |target: &Arc<FakeOrchestrator>| -> Arc<dyn Orchestrator> {
            let (failed, busy, closes) =
                (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
            Arc::new(Self { flaw, target: Arc::clone(target), failed, busy, closes })
        };
        FakeCluster::new(build).with_secrets(vec![SECRET.to_owned()])
    }

    /// Flaws of calls while it is absent, and of those after it.
    fn misreport<T>(&self, outcome: Result<T, OrchestratorError>) -> Result<T, OrchestratorError> {
        if self.flaw == OrchestratorFlaw::StaysDown && self.failed.load(Memory::Relaxed) {
            return Err(OrchestratorError::new(OrchestratorErrorKind::Unavailable, "the connection is gone"));
        }
        let Err(error) = outcome else { return outcome };
        self.failed.store(true, Memory::Relaxed);
        match self.flaw {
            OrchestratorFlaw::SaysForbidden => {
                Err(OrchestratorError::new(OrchestratorErrorKind::Forbidden, "not allowed"))
            }
            OrchestratorFlaw::LeaksInError => {
                Err(OrchestratorError::new(error.kind(), format!("token {SECRET} is not taken")))
            }
            _ => Err(error),
        }
    }
}

#[async_trait]
impl Component for OrchestratorMutant {
    fn name(&self) -> &str {
        "mutant"
    }

    async fn probe(&self) -> Health {
        self.target.probe().await
    }

    async fn close(&self) -> Result<(), CloseError> {
        match (self.flaw, self.closes.fetch_add(1, Memory::Relaxed)) {
            (OrchestratorFlaw::ClosesOnce, 1) => Err(CloseError("not open".to_owned(), None)),
            _ => self.target.close().await,
        }
    }
}

#[async_trait]
impl Orchestrator for OrchestratorMutant {
    async fn identity(&self) -> Result<Identity, OrchestratorError> {
        let mut identity = match self.flaw {
            OrchestratorFlaw::AsksAgain => self.target.ask_identity().await,
            _ => self.target.identity().await,
        }?;
        if self.flaw == OrchestratorFlaw::DropsVersion {
            identity.version.clear();
        }
        Ok(identity)
    }

    async fn locate(&self, query: &PeerQuery) -> Result<Vec<Peer>, OrchestratorError> {
        match self.flaw {
            OrchestratorFlaw::IgnoresLabel => Ok(self.target.peers()),
            _ => self.target.locate(query).await,
        }
    }

    async fn document(&self, name: &str) -> Result<Option<Document>, OrchestratorError> {
        if self.flaw == OrchestratorFlaw::StuckAfterCancel {
            while self.busy.swap(true, Memory::AcqRel) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::task::yield_now().await;
        }
        let read = self.target.document(name).await;
        self.busy.store(false, Memory::Release);
        let mut read = self.misreport(read)?;
        if self.flaw == OrchestratorFlaw::TrimsTexts {
            let texts = read.iter_mut().flat_map(|document| &mut document.data);
            texts.for_each(|(_, text)| *text = text.trim_end().to_owned());
        }
        match self.flaw {
            OrchestratorFlaw::ReadsAbsent => Ok(read.or_else(|| Some(Document::default()))),
            _ => Ok(read),
        }
    }

    async fn create_document(&self, document: &Document) -> Result<bool, OrchestratorError> {
        let is_new = self.target.create_document(document).await?;
        if self.flaw == OrchestratorFlaw::Overwrites {
            self.target.put_document(document.clone());
        }
        Ok(is_new)
    }

    async fn restart(&self, reason: &RestartReason) -> Result<(), OrchestratorError> {
        if self.flaw == OrchestratorFlaw::RestartsTwice {
            self.target.restart(reason).await?;
        }
        self.target.restart(reason).await
    }

    async fn notify(&self, notice: &Notice) {
        if self.flaw == OrchestratorFlaw::NoticeWaits && self.target.probe().await != Health::Ready {
            pending::<()>().await;
        }
        self.target.notify(notice).await;
    }
}
