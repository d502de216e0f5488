//! `[configuration]` and `[orchestrator]`: where configuration of the application comes from, and what runs the pod.
//!
//! Left out: the members of each source and orchestrator, which their kinds know. The invariant: the defaults are those of
//! the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cim_core::configuration::{DayOneRules, Rules};
use cim_core::settings::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `[configuration]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigurationSettings {
    /// Kind of source, whose table is `[configuration.<kind>]`; `none` for no configuration.
    pub source: String,
    /// The source `etcd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<BTreeMap<String, Value>>,
    /// The source `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<BTreeMap<String, Value>>,
    /// What the config server learns of a change that failed.
    pub on_failure: OnFailure,
    /// How long the application has for a change that has no lease.
    pub patience: Period,
    /// How long a result on CONFIG is waited for after a call that was answered with success; then the answer counts.
    pub result_within: Period,
    /// Tries each patch on the last known document before it is handed over; one that does not fit is refused.
    pub dry_run: bool,
    /// JSON Schema files by name of the document: a change that would make a document invalid is refused.
    pub schemas: BTreeMap<String, PathBuf>,
    /// Looks at the application after a change, and undoes it when that is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<ConfirmSettings>,
    /// The first configuration.
    pub day_one: DayOneSettings,
    /// Revision of the microservice's map at the start of the container; `MS_CONFIG_REVISION` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms_revision: Option<String>,
    /// Revision of the network function's map at the start of the container; `NF_CONFIG_REVISION` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nf_revision: Option<String>,
}

impl Default for ConfigurationSettings {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            source: Self::NONE.to_owned(),
            etcd: None,
            file: None,
            on_failure: OnFailure::default(),
            patience: Period::from(rules.patience),
            result_within: Period::from(rules.result_within),
            dry_run: false,
            schemas: BTreeMap::new(),
            confirm: None,
            day_one: DayOneSettings::default(),
            ms_revision: None,
            nf_revision: None,
        }
    }
}

impl ConfigurationSettings {
    /// The source that is none.
    pub const NONE: &'static str = "none";

    /// The members of the chosen source.
    #[must_use]
    pub fn members(&self) -> Value {
        let table = match self.source.as_str() {
            "etcd" => self.etcd.as_ref(),
            "file" => self.file.as_ref(),
            _ => None,
        };
        table.map_or_else(
            || Value::Object(serde_json::Map::new()),
            |table| table.clone().into_iter().collect(),
        )
    }
}

/// What the config server learns of a change that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// `-1`: the config server deletes the pod.
    #[default]
    Report,
    /// `-2`, as for a change that does not concern the pod: it lives on with the configuration it has.
    Tolerate,
}

/// `[configuration.confirm]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfirmSettings {
    /// Path of the application's health probe; 2xx is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// How long the probe must stay well.
    pub window: Period,
    /// Pause between two probes.
    pub interval: Period,
    /// Failures in a row after which the change is undone.
    #[schemars(range(min = 1))]
    pub failures: u32,
    /// Path where the document can be read back; `{data_key}` stands for its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_back: Option<String>,
}

impl Default for ConfirmSettings {
    fn default() -> Self {
        Self {
            probe: None,
            window: Period::seconds(10),
            interval: Period::seconds(1),
            failures: 3,
            read_back: None,
        }
    }
}

/// `[configuration.day_one]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DayOneSettings {
    /// Calls per document before it is given up.
    #[schemars(range(min = 1))]
    pub attempts: u32,
    /// What is done then.
    pub on_exhausted: OnExhausted,
    /// Restarts within a day, of all pods of the microservice together; after that as for `hold`.
    pub restart_budget: u32,
}

impl Default for DayOneSettings {
    fn default() -> Self {
        Self {
            attempts: DayOneRules::default().attempts,
            on_exhausted: OnExhausted::default(),
            restart_budget: 3,
        }
    }
}

/// What is done when the first configuration cannot be loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// The pod is replaced, within the budget.
    #[default]
    Restart,
    /// Another document is waited for.
    Hold,
    /// The document that was loaded last is handed over again.
    LastGood,
}

/// `[orchestrator]`: the type, and the members of that type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrchestratorSettings {
    /// Kind of orchestrator.
    #[serde(rename = "type", default = "OrchestratorSettings::standalone")]
    pub kind: String,
    /// The members of that kind.
    #[serde(flatten)]
    pub members: BTreeMap<String, Value>,
}

impl OrchestratorSettings {
    fn standalone() -> String {
        cim_core::standalone::KIND.name.to_owned()
    }
}

impl Default for OrchestratorSettings {
    fn default() -> Self {
        Self { kind: Self::standalone(), members: BTreeMap::new() }
    }
}
