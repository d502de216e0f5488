//! The whole configuration as one struct: the sections of the file, with their defaults.
//!
//! Left out: where the values come from (`load`) and what must fit together (`relations`). The invariant: the JSON
//! Schema and the reference page come from these structs and nowhere else.

use std::collections::BTreeMap;

use cim_core::settings::{
    LeftoverSettings, MemorySettings, RoutesSettings, SinkSettings, SpoolSettings, SubscriptionSettings,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::configuration::{ConfigurationSettings, OrchestratorSettings};
use super::identity::IdentitySettings;
use super::lifecycle::LifecycleSettings;
use super::listen::{ApiSettings, HealthSettings, NatsSettings};
use super::metrics::MetricsSettings;
use super::registration::RegistrationSettings;
use cim_app::ApplicationSettings;

/// The configuration of `cim`. Everything has a default.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Who this pod is.
    pub identity: IdentitySettings,
    /// The NATS listener in the pod.
    pub nats: NatsSettings,
    /// Status, health and metrics over HTTP.
    pub api: ApiSettings,
    /// A second HTTP server for probes.
    pub health: HealthSettings,
    /// Memory of the whole process.
    pub memory: MemorySettings,
    /// The queue on disk.
    pub spool: SpoolSettings,
    /// Log files that an earlier sidecar left behind.
    pub leftovers: LeftoverSettings,
    /// Where logs and events go.
    pub routes: RoutesSettings,
    /// The sinks, by a name of your choice. `console` is a `stdout` sink unless defined.
    pub sinks: BTreeMap<String, SinkSettings>,
    /// The application in the pod.
    pub application: ApplicationSettings,
    /// Where configuration of the application comes from.
    pub configuration: ConfigurationSettings,
    /// What runs the pod.
    pub orchestrator: OrchestratorSettings,
    /// Events of others that the application may subscribe to.
    pub subscriptions: SubscriptionSettings,
    /// How the process and its pod end.
    pub lifecycle: LifecycleSettings,
    /// What a registration is answered with.
    pub registration: RegistrationSettings,
    /// What is told in numbers.
    pub metrics: MetricsSettings,
    /// Diagnostics of CIM itself, on standard error.
    pub log: LogSettings,
}

/// `[log]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// The least important level that is written. Changes at run time.
    pub level: LogLevel,
    /// Form of a line.
    pub format: LogFormat,
    /// Whether each message is also a line of container `cim` on the log route. Messages about the delivery of records are
    /// not. Changes at run time.
    pub copy_to_logs: bool,
}

/// Levels of diagnostics, the most important one first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// A person must look.
    Error,
    /// Something works less well than configured.
    Warn,
    /// What was chosen, and what changed.
    #[default]
    Info,
    /// Why.
    Debug,
    /// Everything; a released program has no more to say than at `debug`.
    Trace,
}

impl LogLevel {
    /// All levels, the most important one first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The level of that name, in any case.
    ///
    /// # Errors
    /// What names there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(name));
        let names = Self::ALL.map(Self::as_str).join(", ");
        found.ok_or_else(|| format!("`{}` is no level; there are: {names}", name.escape_debug()))
    }

    /// The name, as the log filter takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Forms of a line of diagnostics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
