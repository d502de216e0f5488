//! What the configuration engine is set up with.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::confirmation::Confirmation;
use super::day_one::DayOneRules;
use super::desk::OnFailure;
use super::rules::Rules;
use crate::contract::{Application, ConfigSource, Identity, Orchestrator};

/// What is done when the first configuration cannot be loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnExhausted {
    /// The pod is replaced, as long as the budget allows; after that as for `Hold`.
    #[default]
    Restart,
    /// Another document is waited for.
    Hold,
    /// The document that was loaded last is handed over again.
    LastGood,
}

/// Judges a document before a change is handed over.
pub trait Check: Send + Sync {
    /// Looks at the document that a change would make.
    ///
    /// # Errors
    /// Why it must not be handed over.
    fn judge(&self, data_key: &str, document: &Value) -> Result<(), String>;
}

/// What a change of CIM's own document came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnChange {
    /// It is in force.
    InForce,
    /// This process is not configured by such a document.
    Unused,
}

/// CIM's own document, which is changed by the process itself (wire contract §4.3).
#[async_trait]
pub trait OwnDocument: Send + Sync {
    /// Applies a patch and puts the document that it makes into force, whole or not at all. The engine makes one call at a
    /// time.
    ///
    /// # Errors
    /// Why the change cannot be in force; nothing has changed then.
    ///
    /// # Cancel safety
    /// When dropped, the change may or may not come into force.
    async fn change(&self, patch: &[u8]) -> Result<OwnChange, String>;
}

/// What the configuration engine is set up with.
#[derive(Clone)]
pub struct Plan {
    /// Who this pod is.
    pub identity: Identity,
    /// Where changes come from; `None`: from nowhere.
    pub source: Option<Arc<dyn ConfigSource>>,
    /// Whether an event is raised when the source is not reached at the start.
    pub announce_absence: bool,
    /// Whom they are for.
    pub application: Arc<dyn Application>,
    /// What runs the pod.
    pub orchestrator: Arc<dyn Orchestrator>,
    /// Where things are remembered; `None`: nowhere.
    pub dir: Option<PathBuf>,
    /// How long things may take.
    pub rules: Rules,
    /// What the config server learns of a failure.
    pub on_failure: OnFailure,
    /// Whether a patch is tried on the last known document before it is handed over.
    pub dry_run: bool,
    /// Judges documents before they are handed over.
    pub check: Option<Arc<dyn Check>>,
    /// Looks at the application after a change.
    pub confirmation: Option<Confirmation>,
    /// CIM's own document.
    pub own: Option<Arc<dyn OwnDocument>>,
    /// How much is tried with the first configuration.
    pub day_one: DayOneRules,
    /// What is done after that.
    pub on_exhausted: OnExhausted,
    /// Restarts for want of a first configuration within a day, of all pods of the microservice together.
    pub restart_budget: u32,
    /// Environment variable `MS_CONFIG_REVISION` (wire contract §4.4).
    pub ms_revision: Option<String>,
    /// Environment variable `NF_CONFIG_REVISION`.
    pub nf_revision: Option<String>,
}

impl Plan {
    /// A plan with the defaults of everything that may be left out.
    #[must_use]
    pub fn new(
        identity: Identity,
        application: Arc<dyn Application>,
        orchestrator: Arc<dyn Orchestrator>,
    ) -> Self {
        Self {
            identity,
            source: None,
            announce_absence: false,
            application,
            orchestrator,
            dir: None,
            rules: Rules::default(),
            on_failure: OnFailure::default(),
            dry_run: false,
            check: None,
            confirmation: None,
            own: None,
            day_one: DayOneRules::default(),
            on_exhausted: OnExhausted::default(),
            restart_budget: 3,
            ms_revision: None,
            nf_revision: None,
        }
    }
}
