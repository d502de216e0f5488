//! The part of the configuration that the engine reads: memory, spool, routes (design: the user's face).
//!
//! Owns names, defaults and units. Left out: files, environment and layers, which belong to the program.

mod secret;
mod subscriptions;
mod units;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use secret::{MASK, Secret};
pub use subscriptions::SubscriptionSettings;
pub use units::{ByteSize, Period, UnitError};

use crate::contract::Level;

/// `[memory]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct MemorySettings {
    /// Bytes that all queues of the process may hold together.
    pub budget: ByteSize,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { budget: ByteSize::mib(48) }
    }
}

/// How far a message must have come before it counts as accepted.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Accept {
    /// In this process only.
    Memory,
    /// In the page cache: survives SIGKILL and a container restart.
    Written,
    /// On the device: survives a power loss.
    Synced,
}

impl From<Accept> for Level {
    fn from(accept: Accept) -> Self {
        match accept {
            Accept::Memory => Self::Memory,
            Accept::Written => Self::Written,
            Accept::Synced => Self::Synced,
        }
    }
}

/// What happens to publishers when a class has no room left.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Publishers wait: their connection is read in small sips, and closed after 20 s without room.
    Block,
    /// The oldest records make room; each is counted as dropped.
    ShedOldest,
    /// New records are refused; each is counted.
    DropNewest,
}

/// `[spool.logs]` and `[spool.events]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ClassSettings {
    /// Most bytes of this class on disk.
    pub max_bytes: ByteSize,
    /// When a message counts as accepted.
    pub accept: Accept,
    /// What happens when there is no room.
    pub when_full: WhenFull,
    /// Records older than this are dropped and counted. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Period>,
}

impl ClassSettings {
    /// Defaults of the log class.
    #[must_use]
    pub fn logs() -> Self {
        Self {
            max_bytes: ByteSize::mib(1024),
            accept: Accept::Written,
            when_full: WhenFull::ShedOldest,
            max_age: None,
        }
    }

    /// Defaults of the event class.
    #[must_use]
    pub fn events() -> Self {
        Self {
            max_bytes: ByteSize::mib(64),
            accept: Accept::Synced,
            when_full: WhenFull::Block,
            max_age: None,
        }
    }
}

/// `[spool.dead_letters]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterSettings {
    /// Most bytes of refused records, at least `2MiB`; the oldest make room and are counted. Notifications that were put back
    /// have as much for themselves.
    pub max_bytes: ByteSize,
}

impl DeadLetterSettings {
    /// The smallest store: a record of 1 MiB, the most that a NATS message may be here, with its reason, fits in. The program
    /// refuses less; where an engine that is embedded has less, a record that does not fit is dropped as `rejected`.
    pub const LEAST: ByteSize = ByteSize::mib(2);
}

impl Default for DeadLetterSettings {
    fn default() -> Self {
        Self { max_bytes: ByteSize::mib(16) }
    }
}

/// `[spool.set_aside]`: what the spool directory held of other pods, or cannot be part of this spool.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct SetAsideSettings {
    /// Most bytes kept; the files written longest ago go first, and are counted.
    pub max_bytes: ByteSize,
    /// What was set aside longer ago goes, and is counted. `0s`: no limit.
    pub max_age: Period,
}

impl Default for SetAsideSettings {
    fn default() -> Self {
        Self { max_bytes: ByteSize::mib(1024), max_age: Period::seconds(7 * 24 * 3_600) }
    }
}

/// `[spool.dead_pods]`: spools of pods that are gone, in the directory of logs that this pod's spool is in by default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct DeadPodSettings {
    /// Most bytes of all of them; whole spools go, first those that were written longest ago, and are counted.
    pub max_bytes: ByteSize,
    /// Spools whose last write is longer ago go, and are counted. `0s`: no limit.
    pub max_age: Period,
}

impl Default for DeadPodSettings {
    /// One spool that is full fits in.
    fn default() -> Self {
        Self { max_bytes: ByteSize::mib(2048), max_age: Period::seconds(7 * 24 * 3_600) }
    }
}

/// What a disk fault does to acceptance.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    /// Accept at the level that still works, say so, count it.
    #[default]
    Degrade,
    /// Accept nothing below the configured level.
    Strict,
}

/// `[spool]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolSettings {
    /// Directory of the spool. Absent: nothing is stored, and the level of every class is `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Directory that pods of a node share, for example that of their log files. Without `dir`, the spool is
    /// `.cim/<namespace>_<pod>` below it; where it is not there or cannot be written, there is no spool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_dir: Option<PathBuf>,
    /// The directory ends with the pod, as an `emptyDir` does: when the pod leaves, what is not delivered is treated as without a
    /// spool. A restart of the container alone finds it.
    pub ephemeral: bool,
    /// What a disk fault does.
    pub on_fault: OnFault,
    /// The log class.
    pub logs: ClassSettings,
    /// The event class.
    pub events: ClassSettings,
    /// Records that no sink takes.
    pub dead_letters: DeadLetterSettings,
    /// What is kept that belongs to others.
    pub set_aside: SetAsideSettings,
    /// What is kept of pods that are gone. Counts only in a `shared_dir`, without `dir`.
    pub dead_pods: DeadPodSettings,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            dir: None,
            shared_dir: None,
            ephemeral: false,
            on_fault: OnFault::default(),
            logs: ClassSettings::logs(),
            events: ClassSettings::events(),
            dead_letters: DeadLetterSettings::default(),
            set_aside: SetAsideSettings::default(),
            dead_pods: DeadPodSettings::default(),
        }
    }
}

impl SpoolSettings {
    /// Most bytes in the directory, by its limits: the classes, refused records and notifications that were put back, each with
    /// a store of that size, and what is set aside.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        let letters = self.dead_letters.max_bytes;
        let stores = [self.logs.max_bytes, self.events.max_bytes, letters, letters, self.set_aside.max_bytes];
        stores.iter().map(|limit| limit.get()).fold(0, u64::saturating_add)
    }
}

/// `[leftovers]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LeftoverSettings {
    /// Directory with log files that an earlier sidecar of this pod left behind. They are taken once, at the first start
    /// with this setting, delivered on the log route, and removed when every sink has taken them. Needs a spool. Absent:
    /// nothing is looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

/// One sink name, or several with a cursor and a set of books each.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(untagged)]
pub enum SinkNames {
    /// One sink.
    One(String),
    /// Every record goes to each of them.
    Many(Vec<String>),
}

impl SinkNames {
    /// The names in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// What the fallback sink gets while the sink is down.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FallbackMode {
    /// The record is delivered once, to the fallback.
    #[default]
    Final,
    /// A copy: the record stays held and is delivered again when the sink is back, marked.
    Copy,
}

/// Form of log values.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// An object with container, payload, namespace and pod.
    #[default]
    Json,
    /// The payload alone.
    Text,
}

impl From<Format> for cim_wire::LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Text => Self::Text,
        }
    }
}

/// What a sink must promise before a record leaves the spool.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SinkDurability {
    /// At least the level at which the class is accepted.
    #[default]
    Class,
    /// Whatever the sink says is enough.
    Accept,
}

/// `[routes.logs]` and `[routes.events]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// Where the records go: a name under `[sinks]`, or a list of names.
    pub sink: SinkNames,
    /// Sink used while the first one is down. Absent: records wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// How long the sink must have failed before the fallback is used.
    #[serde(default = "RouteSettings::fallback_after")]
    pub fallback_after: Period,
    /// What the fallback gets.
    #[serde(default)]
    pub fallback_mode: FallbackMode,
    /// Form of log values (wire contract §8.2). Events have one form only.
    #[serde(default)]
    pub format: Format,
    /// What a sink must promise before a record leaves the spool.
    #[serde(default)]
    pub sink_durability: SinkDurability,
}

impl RouteSettings {
    fn fallback_after() -> Period {
        Period::seconds(5)
    }

    /// A route to one sink.
    #[must_use]
    pub fn to(sink: impl Into<String>) -> Self {
        Self {
            sink: SinkNames::One(sink.into()),
            fallback: None,
            fallback_after: Self::fallback_after(),
            fallback_mode: FallbackMode::default(),
            format: Format::default(),
            sink_durability: SinkDurability::default(),
        }
    }
}

/// `[routes]`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct RoutesSettings {
    /// Where logs go.
    pub logs: RouteSettings,
    /// Where events go.
    pub events: RouteSettings,
}

impl Default for RoutesSettings {
    fn default() -> Self {
        Self { logs: RouteSettings::to("console"), events: RouteSettings::to("console") }
    }
}

impl RoutesSettings {
    /// The form of log values on a sink: that of the log route, if the sink is on it.
    #[must_use]
    pub fn log_format(&self, sink: &str) -> cim_wire::LogFormat {
        let logs = &self.logs;
        let on_route = logs.sink.names().contains(&sink) || logs.fallback.as_deref() == Some(sink);
        if on_route { logs.format.into() } else { cim_wire::LogFormat::Json }
    }
}

/// `[sinks.x]`: the type, and the members of that type.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct SinkSettings {
    /// Kind of sink.
    #[serde(rename = "type")]
    pub kind: String,
    /// The members of that kind.
    #[serde(flatten)]
    pub members: BTreeMap<String, serde_json::Value>,
}
