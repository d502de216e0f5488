//! The suite for feeds finds every planted flaw, by the property that names it, and finds nothing wrong with a feed that works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_testkit::{FeedFlaw, FeedProperty, MemoryFeed, first_feed_violation};

cim_testkit::feed_conformance!(memory, MemoryFeed::new());

/// The simplest property that a flaw violates is the one that names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_flaw_fails_by_its_property() {
    let trials = FeedFlaw::ALL.into_iter().map(|(flaw, expected)| async move {
        let found = first_feed_violation(|| MemoryFeed::with(flaw)).await;
        (flaw, found, expected)
    });
    let mut surprises = futures_util::future::join_all(trials).await;
    surprises.retain(|(_, found, expected)| found.as_ref().map(|found| found.property) != Some(*expected));
    assert!(surprises.is_empty(), "flaw, found, expected: {surprises:#?}");
}

#[test]
fn every_property_but_manners_is_proven_by_a_flaw() {
    let manners = [FeedProperty::CloseTwice, FeedProperty::SecretsHidden];
    for property in FeedProperty::ALL.into_iter().filter(|property| !manners.contains(property)) {
        assert!(FeedFlaw::ALL.iter().any(|(_, found_by)| *found_by == property), "{property} has no flaw");
    }
}
