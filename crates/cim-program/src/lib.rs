//! What the `cim` program is made of: settings, registry of compiled-in backends, assembly, command line. Nothing else.
//!
//! A library apart from the program (`cim-bin`), so that tests reach its parts and it is built for size; nobody else depends on it.

mod aligned;
pub mod application;
mod awaiting;
pub mod backends;
pub mod cli;
pub mod cluster_needs;
pub mod configuration;
pub mod control;
mod dead_pods;
pub mod diagnostics;
pub mod doctor;
pub mod engine;
pub mod exit;
mod external;
pub mod face;
mod fresh;
pub mod http;
mod infra;
pub mod letters;
pub mod lifecycle;
pub mod limits;
pub mod listeners;
mod look;
mod lost_receivers;
pub mod manifest;
pub mod metrics_page;
pub mod own_document;
mod own_spool;
mod process_metrics;
pub mod reference;
pub mod registration;
pub mod reload;
pub mod run;
mod said;
pub mod settings;
pub mod subscriptions;
pub mod switches;
mod unused_memory;
pub mod who;
