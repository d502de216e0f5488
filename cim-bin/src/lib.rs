//! The `cim` program: settings, registry of compiled-in backends, assembly, command line. Nothing else.
//!
//! A library beside the binary, so that tests reach its parts; nobody else depends on it.

pub mod settings;
