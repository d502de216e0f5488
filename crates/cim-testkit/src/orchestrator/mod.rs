//! Conformance suite for orchestrators.
//!
//! A backend describes what runs its pod with an [`OrchestratorHarness`] and adds one line to its tests:
//!
//! ```ignore
//! cim_testkit::orchestrator_conformance!(my_orchestrator, MyHarness::new());
//! ```
//!
//! Owns the properties, the orchestrator in memory ([`FakeOrchestrator`]) and those that are broken on purpose
//! ([`OrchestratorMutant`]). Left out: pods. Invariant: a property judges only what the contract of `Orchestrator` says.

mod fake;
mod harness;
mod mutant;
mod properties;
mod property;

pub use fake::{FakeCluster, FakeOrchestrator};
pub use harness::OrchestratorHarness;
pub use mutant::{OrchestratorFlaw, OrchestratorMutant};
pub use property::{
    OrchestratorProperty, OrchestratorViolation, check_orchestrator, check_orchestrator_in_test,
    first_orchestrator_violation,
};
