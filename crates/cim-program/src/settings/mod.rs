//! The configuration of the program: its shape, its layers, its problems.
//!
//! Files, environment variables and old variable names are read here and nowhere else. Left out: acting on values.

mod check;
mod cluster;
mod configuration;
mod credentials;
mod document;
mod environment;
mod external_nats;
mod identity;
mod lifecycle;
mod listen;
mod load;
mod metrics;
mod migration;
mod name;
mod original;
mod path;
mod place;
mod registration;
mod relations;
mod root;
mod schema;
mod sources;

mod toml_repeats;
mod toml_text;
mod usual_spool;
mod yaml_text;

pub use cim_core::settings::Secret;
pub use configuration::{
    ConfigurationSettings, ConfirmSettings, DayOneSettings, OnExhausted, OnFailure, OrchestratorSettings,
};
pub use credentials::Credentials;
pub use environment::Variables;
pub use external_nats::{ExternalNatsSettings, JetStreamSettings};
pub use identity::{IdentitySettings, TmaasSettings};
pub use lifecycle::{LifecycleSettings, PodMode, SPILL_STDOUT, ShutdownCall};
pub use listen::{
    Addresses, ApiPaths, ApiSettings, ApiTls, HealthSettings, NatsAuth, NatsSettings, reachable,
};
pub use load::{Loaded, Request, load};
pub use metrics::{AlignedSettings, ExporterTls, MetricsSettings};
pub use migration::Migration;
pub use name::{ORIGINAL, is_original};
pub use original::CimJson;
pub use path::member as member_path;
pub use place::{Located, Place, Places, Problems};
pub use registration::RegistrationSettings;
pub use root::{LogFormat, LogLevel, LogSettings, Settings};
pub use schema::complete as complete_schema;
pub use sources::{Infra, Sources};
