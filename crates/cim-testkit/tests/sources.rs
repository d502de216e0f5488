//! The suite for sources finds every planted flaw, by the property that names it, and finds nothing wrong with a source
//! that works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::sync::Arc;
use std::time::Duration;

use cim_core::{ConfigScope, ConfigSource, ConfigUpdate, SourceErrorKind};
use cim_testkit::{
    MemorySource, MemoryStore, SourceFlaw, SourceMutant, SourceProperty, first_source_violation,
};
use futures_util::StreamExt as _;

cim_testkit::source_conformance!(
    memory,
    MemoryStore::new(|target| Arc::clone(target) as Arc<dyn ConfigSource>)
);

/// The simplest property that a flaw violates is the one that names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mutant_fails_by_its_property() {
    let trials = SourceFlaw::ALL.into_iter().map(|(flaw, expected)| async move {
        let found = first_source_violation(|| SourceMutant::harness(flaw)).await;
        (flaw, found, expected)
    });
    let mut surprises = futures_util::future::join_all(trials).await;
    surprises.retain(|(_, found, expected)| found.as_ref().map(|found| found.property) != Some(*expected));
    assert!(surprises.is_empty(), "flaw, violation, expected: {surprises:#?}");
}

#[test]
fn every_property_is_proven_by_a_mutant() {
    for property in SourceProperty::ALL {
        assert!(
            SourceFlaw::ALL.iter().any(|(_, found_by)| *found_by == property),
            "{property} has no mutant"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_source_follows_its_script() {
    let source = MemorySource::new("memory");
    let scope = ConfigScope { namespace: "ns".to_owned(), microservice: "amf".to_owned() };
    let mut watch = source.watch(&scope, None);
    assert_eq!(source.watches(), 0, "nothing happens before the first poll");
    assert!(
        matches!(watch.next().await, Some(Ok(ConfigUpdate::Reset { entries, .. })) if entries.is_empty())
    );
    source.put_leased("config/ns/amf/0", "{}", Duration::from_secs(180));
    assert!(matches!(watch.next().await, Some(Ok(ConfigUpdate::Put(_)))));
    assert!(matches!(watch.next().await, Some(Ok(ConfigUpdate::Delete { .. }))), "the lease ends");
    source.cut();
    assert!(matches!(watch.next().await, Some(Err(error)) if error.kind() == SourceErrorKind::Unavailable));
    assert!(watch.next().await.is_none(), "a watch ends after its first error");

    let outcome = cim_core::ConfigOutcome {
        commit: Some(cim_core::Commit { key: "commit-config/x".to_owned(), value: 3 }),
        status: None,
    };
    source.fail_reports([SourceErrorKind::Full]);
    source.lose_answers([SourceErrorKind::Unavailable]);
    assert_eq!(source.report(&outcome).await.unwrap_err().kind(), SourceErrorKind::Full);
    assert_eq!(source.value(b"commit-config/x"), None);
    assert_eq!(source.report(&outcome).await.unwrap_err().kind(), SourceErrorKind::Unavailable);
    assert_eq!(source.value(b"commit-config/x").as_deref(), Some(&b"3"[..]));
    assert_eq!(source.reports().len(), 1);
}
