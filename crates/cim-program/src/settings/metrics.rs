//! `[metrics]`: what is told in numbers, and clock-aligned metrics (wire contract §10).
//!
//! Left out: the limits of a plan, which `cim-aligned` owns. The invariant: nothing but pages of metrics depends on what stands here.

use std::path::PathBuf;

use cim_aligned::{Interval, Plan};
use cim_core::Problem;
use cim_core::settings::{ByteSize, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// Whether `/metrics` tells anything; off: an empty page. Changes at run time, and nothing else depends on it.
    pub enabled: bool,
    /// Most bytes of pages that wait to be fetched as clock-aligned metrics, a part of the budget in `[memory]`. Needs a restart to change.
    pub aligned_memory: ByteSize,
    /// Clock-aligned metrics. Absent: as annotation `xgvela.com/mmaas` of the pod says, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aligned: Option<AlignedSettings>,
    /// TLS towards the exporters of clock-aligned metrics. Needed where `scheme` or the annotation says `https`. Needs a restart to
    /// change, while changed files count for the next reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ExporterTls>,
}

/// `[metrics.tls]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExporterTls {
    /// PEM file of the authorities that may have signed the certificates of exporters.
    pub ca_file: PathBuf,
    /// The name these certificates carry. Absent: `localhost`, where exporters are reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { enabled: true, aligned_memory: ByteSize::mib(4), aligned: None, tls: None }
    }
}

/// `[metrics.aligned]`: clock-aligned metrics, in place of the annotation. Needs a restart to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlignedSettings {
    /// Ports of the pod on which exporters answer over HTTP; at most 32. CIM's own metrics are part of it anyway.
    pub ports: Vec<u16>,
    /// Where on each of them the page is.
    pub path: String,
    /// What exporters speak. `https` needs `[metrics.tls]`.
    pub scheme: Scheme,
    /// Time between two readings, from `1s` to `24h`; they are made at its multiples by the wall clock.
    pub interval: Period,
    /// Readings that wait to be fetched; the oldest makes room.
    #[schemars(range(min = 1, max = 1_000))]
    pub retention: usize,
}

/// What exporters speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// HTTP in the clear.
    #[default]
    Http,
    /// HTTP beneath TLS.
    Https,
}

impl Default for AlignedSettings {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            path: "/metrics".to_owned(),
            scheme: Scheme::default(),
            interval: Period::seconds(15),
            retention: 20,
        }
    }
}

impl AlignedSettings {
    /// What they ask for.
    ///
    /// # Errors
    /// [`Problem`] with the key that cannot be so.
    pub fn plan(&self) -> Result<Plan, Problem> {
        let interval = Interval::new(self.interval.get()).map_err(|what| Problem::new("interval", what))?;
        let plan = Plan::new(&self.ports, &self.path, interval, self.retention);
        plan.map(|plan| plan.over(self.scheme == Scheme::Https))
            .map_err(|(key, what)| Problem::new(key, what))
    }
}
