//! `[lifecycle]`: how the process and its pod end (wire contract §11).
//!
//! Left out: what is done with the time (`lifecycle`). The invariant: without a key it fits a pod as charts write it.

use std::path::PathBuf;

use cim_core::settings::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[lifecycle]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleSettings {
    /// Time between SIGTERM and SIGKILL. Absent: what the object of the pod says, and 30 s where nobody can be asked. A
    /// deletion with less time than this counts as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Period>,
    /// How this container stands in its pod.
    pub mode: PodMode,
    /// Name of this container, by which `auto` finds it in the object of the pod.
    pub container: String,
    /// When the application is told that the pod ends.
    pub shutdown_call: ShutdownCall,
    /// How long delivery goes on at the end where what is left stays in a spool. Without a spool, with one that ends with the
    /// pod, and while its disk takes nothing, it takes what the grace leaves.
    pub drain: Period,
    /// Where the records go that are not delivered when the time is over, for `cim replay`: `stdout`, the name of a sink that
    /// takes logs, or `none`. Absent: `stdout` for those that no spool keeps for the next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spill: Option<String>,
    /// File for the last word of the process, if it is there: the kubelet puts it into the status of the container.
    pub termination_log: PathBuf,
}

/// How a container stands in its pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PodMode {
    /// As the object of the pod says; `classic` where nobody can be asked.
    #[default]
    Auto,
    /// An init container that is restarted always: it is stopped after the application has ended.
    Native,
    /// A container beside the application: both are stopped at the same time.
    Classic,
}

/// When the application is told that the pod ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownCall {
    /// Whenever this process is told to end, except in a native sidecar.
    #[default]
    Always,
    /// Unless the orchestrator says that the pod is not being deleted: a sidecar that is restarted alone leaves the
    /// application in peace.
    Deleted,
    /// Never.
    Never,
}

/// `[lifecycle] spill` without a destination.
pub const NO_SPILL: &str = "none";
/// `[lifecycle] spill` to standard output.
pub const SPILL_STDOUT: &str = "stdout";

impl Default for LifecycleSettings {
    fn default() -> Self {
        Self {
            grace: None,
            mode: PodMode::Auto,
            container: "cim".to_owned(),
            shutdown_call: ShutdownCall::Always,
            drain: Period::seconds(5),
            spill: None,
            termination_log: "/dev/termination-log".into(),
        }
    }
}

impl LifecycleSettings {
    /// Where undelivered records go at the end: `stdout` or a sink; `None`: nowhere.
    #[must_use]
    pub fn destination(&self) -> Option<&str> {
        Some(self.spill.as_deref().unwrap_or(SPILL_STDOUT)).filter(|spill| *spill != NO_SPILL)
    }
}
