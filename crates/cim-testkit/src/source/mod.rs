//! Conformance suite for sources of configuration.
//!
//! A backend describes its store with a [`SourceHarness`] and adds one line to its tests:
//!
//! ```ignore
//! cim_testkit::source_conformance!(my_source, MyHarness::new());
//! ```
//!
//! Owns the properties, the store in memory ([`MemorySource`]) and the sources that are broken on purpose
//! ([`SourceMutant`]). Left out: what a backend's store is. Invariant: a property judges only what the contract of
//! `ConfigSource` says, so that a source may answer any change with everything there is.

mod faults;
mod harness;
mod memory;
mod memory_store;
mod mutant;
mod property;
mod reporting;
mod trial;
mod watching;

pub use harness::{SourceFault, SourceHarness};
pub use memory::{MemorySource, Snapshot};
pub use memory_store::MemoryStore;
pub use mutant::{SourceFlaw, SourceMutant};
pub use property::{
    SourceProperty, SourceViolation, check_source, check_source_in_test, first_source_violation,
};
