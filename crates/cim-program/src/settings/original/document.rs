//! The shape of `cim.json` with its ranges (wire contract §2.1).
//!
//! Owns which members are known and what they may hold. Left out: what they mean. The invariant: every member may be absent,
//! and one that is not known here is let be, because other programs read the same document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `cim.json`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Document {
    #[serde(rename = "cimConfig")]
    pub config: Config,
}

/// `cimConfig`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Config {
    pub lmaas: Lmaas,
    pub cim_settings: CimSettings,
    pub app_settings: AppSettings,
}

/// `cimConfig.lmaas`: where logs go, and the limits of log files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Lmaas {
    /// MiB.
    #[schemars(range(min = 1, max = 50))]
    pub max_file_size_in_mb: Option<u64>,
    #[schemars(range(min = 1, max = 20))]
    pub max_backup_files: Option<u64>,
    /// Days.
    #[schemars(range(min = 1, max = 30))]
    pub max_age: Option<u64>,
    /// Bytes.
    #[schemars(range(min = 1_000, max = 100_000))]
    pub buffer_size: Option<u64>,
    /// Seconds.
    #[schemars(range(min = 5, max = 30))]
    pub flush_timeout: Option<u64>,
    pub logging_mode: Option<LoggingMode>,
    pub prefer_local_daemonset: Option<bool>,
}

/// Where logs go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum LoggingMode {
    #[default]
    File,
    Tcp,
    Kafka,
    Stdout,
    FileAndStdout,
}

/// `cimConfig.cim_settings`. All but three members are accepted without effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct CimSettings {
    pub enable_kpi: Option<bool>,
    pub log_level: Option<LogLevel>,
    pub cim_file_log: Option<bool>,
    #[schemars(range(min = 0, max = 5))]
    pub num_garp_count: Option<u64>,
    #[schemars(range(min = 1, max = 600))]
    pub remote_svc_retry_count: Option<u64>,
    #[schemars(range(min = 1, max = 600))]
    pub ttl_timeout: Option<u64>,
    pub kafka_client_id: Option<String>,
    pub prometheus_enabled: Option<bool>,
    pub insecure_skip_verify: Option<bool>,
    pub allow_http: Option<bool>,
    pub key_file_path: Option<String>,
    /// Not the port of the application, which is that of `app_settings`.
    pub app_port: Option<String>,
}

/// Level of CIM's own messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum LogLevel {
    All,
    Debug,
    Info,
    Warning,
    Error,
    Exception,
}

/// `cimConfig.app_settings`: how the application is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct AppSettings {
    #[schemars(range(min = 5_000, max = 10_000))]
    pub app_port: Option<u16>,
    pub http2_enabled: Option<bool>,
}
