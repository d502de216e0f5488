//! The `cim` program: settings, registry of compiled-in backends, assembly, command line. Nothing else.
//!
//! A library beside the binary, so that tests reach its parts; nobody else depends on it.

pub mod application;
mod awaiting;
pub mod backends;
pub mod cli;
pub mod cluster_needs;
pub mod configuration;
pub mod control;
pub mod diagnostics;
pub mod doctor;
pub mod engine;
pub mod exit;
pub mod face;
pub mod letters;
pub mod limits;
pub mod listeners;
mod lost_receivers;
pub mod manifest;
pub mod metrics_page;
pub mod own_document;
pub mod reference;
pub mod registration;
pub mod reload;
pub mod run;
mod said;
pub mod settings;
pub mod who;
