//! The suite finds every planted flaw, by the property that names it, and finds nothing wrong with sinks that work.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::sync::Arc;

use cim_core::{Class, Sink};
use cim_testkit::{FlakySink, Flaw, MemoryHarness, MemorySink, Mutant, Property, check, first_violation};

cim_testkit::conformance!(memory_logs: logs, MemoryHarness::new(MemorySink::sink));
cim_testkit::conformance!(memory_events: events, MemoryHarness::new(MemorySink::sink));

/// A flaw shows where it is named and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mutant_fails_by_its_property() {
    let trials = [Class::Log, Class::Event].into_iter().flat_map(|class| {
        Flaw::ALL.into_iter().map(move |(flaw, expected)| async move {
            let mut found = Vec::new();
            for property in Property::ALL {
                if let Err(violation) = check(property, class, &Mutant::harness(flaw)).await {
                    found.push(violation.property);
                }
            }
            (flaw, class, found, vec![expected])
        })
    });
    let mut surprises = futures_util::future::join_all(trials).await;
    surprises.retain(|(_, _, found, expected)| found != expected);
    assert!(surprises.is_empty(), "flaw, class, violated, expected: {surprises:#?}");
}

#[test]
fn every_property_is_proven_by_a_mutant() {
    for property in Property::ALL {
        assert!(Flaw::ALL.iter().any(|(_, found_by)| *found_by == property), "{property} has no mutant");
    }
}

#[tokio::test]
async fn a_flaky_sink_is_found_out() {
    let flaky =
        || MemoryHarness::new(|target| Sink::both(Arc::new(FlakySink::new(Arc::clone(target), 2, 1))));
    assert!(first_violation(Class::Log, flaky).await.is_some());
}
