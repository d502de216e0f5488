//! Conformance suites for the contracts of CIM, and fakes to test an engine with.
//!
//! A backend describes its target with a [`Harness`] and adds one line per class to its tests:
//!
//! ```ignore
//! cim_testkit::conformance!(my_logs: logs, MyHarness::new());
//! cim_testkit::conformance!(my_events: events, MyHarness::new());
//! ```
//!
//! Each line becomes a module with one test per [`Property`]. A property that the harness cannot express prints
//! `skipped: <why>` on standard error, even when the test harness captures output, and never passes silently.
//!
//! Sources of configuration have a suite of their own: `cim_testkit::source_conformance!(my_source, MyHarness::new());`
//! with a [`SourceHarness`]; and orchestrators: `cim_testkit::orchestrator_conformance!(mine, MyHarness::new());` with an
//! [`OrchestratorHarness`]; and sources of subscribed events: `cim_testkit::feed_conformance!(mine, MyHarness::new());` with a
//! [`FeedHarness`]. An engine is tested with a [`MemorySource`] and a [`FakeOrchestrator`].
//!
//! Between a client and a real server stands a [`ChaosProxy`]: a TCP proxy that delays, cuts, garbles or goes silent
//! when a test says so, and is byte-exact otherwise. A [`null_broker`] stands in for Kafka where a real broker cannot be made
//! to fail as wanted, or would cost more than what is measured. A [`CannedHttp`] gives prepared answers in place of an HTTP
//! server.
//!
//! Owns the properties, the fakes, the proxy, the broker and the deliberately broken sinks ([`Mutant`]), sources
//! ([`SourceMutant`]) and orchestrators ([`OrchestratorMutant`]) that show the properties bite. Left out: what a backend's target is. Invariant: a property judges only
//! what a reader sees and what the contract says, never how a sink works.

mod auditor;
mod cancel;
mod canned_http;
mod feed;
mod flaky;
mod harness;
mod held_port;
mod memory;
mod mutant;
mod notification;
pub mod null_broker;
mod orchestrator;
mod properties;
mod property;
mod proxy;
mod reader;
mod sample;
mod seeded;
mod skip;
mod source;
mod subject;
mod until;

pub use auditor::{Death, Ruling};
pub use canned_http::CannedHttp;
#[doc(hidden)]
pub use cim_core::Class;
pub use feed::{
    FeedFlaw, FeedHarness, FeedProperty, FeedRecord, FeedViolation, MemoryFeed, check_feed,
    check_feed_in_test, first_feed_violation,
};
pub use flaky::FlakySink;
pub use harness::{CannotExpress, Fault, Harness};
pub use held_port::HeldPort;
pub use memory::{Kept, MemoryHarness, MemorySink, Step};
pub use mutant::{Flaw, Mutant};
pub use notification::notification_headers;
pub use orchestrator::{
    FakeCluster, FakeOrchestrator, OrchestratorFlaw, OrchestratorHarness, OrchestratorMutant,
    OrchestratorProperty, OrchestratorViolation, check_orchestrator, check_orchestrator_in_test,
    first_orchestrator_violation,
};
pub use property::{Property, Verdict, Violation, check, check_in_test, first_violation};
pub use proxy::{Admission, Behaviour, ChaosProxy, Direction, Ending, Flow};
pub use sample::Sample;
pub use seeded::Seeded;
pub use skip::{has_time, skipped};
pub use source::{
    MemorySource, MemoryStore, Snapshot, SourceFault, SourceFlaw, SourceHarness, SourceMutant,
    SourceProperty, SourceViolation, check_source, check_source_in_test, first_source_violation,
};
pub use subject::Subject;
pub use until::until;

/// Runs every property of the contract against an orchestrator: one line, one test per property.
///
/// `orchestrator_conformance!(name, harness)`; `harness` is an expression that builds a fresh [`OrchestratorHarness`] for
/// each test.
#[macro_export]
macro_rules! orchestrator_conformance {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the harness expression may use what stands beside the macro")]
            use super::*;
            $crate::orchestrator_conformance!(@tests $harness,
                identity Identity, neighbours Neighbours, documents Documents, create_once CreateOnce,
                restart Restart, absent Absent, recovery Recovery, cancellation Cancellation,
                close_twice CloseTwice, secrets_hidden SecretsHidden);
        }
    };
    (@tests $harness:expr, $($test:ident $property:ident),*) => {
        $(#[test]
        fn $test() {
            $crate::check_orchestrator_in_test($crate::OrchestratorProperty::$property, || $harness);
        })*
    };
}

/// Runs every property of the contract against a source of subscribed events: one line, one test per property.
///
/// `feed_conformance!(name, harness)`; `harness` is an expression that builds a fresh [`FeedHarness`] for each test.
#[macro_export]
macro_rules! feed_conformance {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the harness expression may use what stands beside the macro")]
            use super::*;
            $crate::feed_conformance!(@tests $harness,
                beginning Beginning, order Order, exact_bytes ExactBytes, left_out LeftOut, resume Resume,
                uncommitted Uncommitted, rest Rest, absent Absent, recovery Recovery, cancellation Cancellation,
                close_twice CloseTwice, secrets_hidden SecretsHidden);
        }
    };
    (@tests $harness:expr, $($test:ident $property:ident),*) => {
        $(#[test]
        fn $test() {
            $crate::check_feed_in_test($crate::FeedProperty::$property, || $harness);
        })*
    };
}

/// Runs every property of the contract against a source of configuration: one line, one test per property.
///
/// `source_conformance!(name, harness)`; `harness` is an expression that builds a fresh [`SourceHarness`] for each test.
#[macro_export]
macro_rules! source_conformance {
    ($name:ident, $harness:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the harness expression may use what stands beside the macro")]
            use super::*;
            $crate::source_conformance!(@tests $harness,
                first_reset FirstReset, listed Listed, follows Follows, ordered Ordered, scope Scope,
                exact_bytes ExactBytes, resume Resume, history_gone HistoryGone, reported Reported,
                idempotent Idempotent, monotonic Monotonic, final_words FinalWords, read_back ReadBack,
                swapped Swapped, report_while_watching ReportWhileWatching, lease Lease,
                absent_store AbsentStore, recovery Recovery, cancellation Cancellation,
                close_twice CloseTwice, secrets_hidden SecretsHidden);
        }
    };
    (@tests $harness:expr, $($test:ident $property:ident),*) => {
        #[test]
        fn every_property_is_checked() {
            assert_eq!([$($crate::SourceProperty::$property),*], $crate::SourceProperty::ALL);
        }
        $(#[test]
        fn $test() {
            $crate::check_source_in_test($crate::SourceProperty::$property, || $harness);
        })*
    };
}

/// Runs every property of the contract against a backend: one line, one test per property.
///
/// `conformance!(name: logs, harness)` or `conformance!(name: events, harness)`; `harness` is an expression that
/// builds a fresh [`Harness`] for each test.
#[macro_export]
macro_rules! conformance {
    ($name:ident: logs, $harness:expr) => {
        $crate::conformance!(@ $name, $crate::Class::Log, $harness);
    };
    ($name:ident: events, $harness:expr) => {
        $crate::conformance!(@ $name, $crate::Class::Event, $harness);
    };
    (@ $name:ident, $class:expr, $harness:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the harness expression may use what stands beside the macro")]
            use super::*;
            $crate::conformance!(@tests $class, $harness,
                profile_sane ProfileSane, empty_batch EmptyBatch, each_once EachOnce, exact_bytes ExactBytes,
                order Order, acknowledged Acknowledged, too_large TooLarge, absent_target AbsentTarget,
                recovery Recovery, cut_mid_batch CutMidBatch, cancellation Cancellation, close_twice CloseTwice,
                secrets_hidden SecretsHidden);
        }
    };
    (@tests $class:expr, $harness:expr, $($test:ident $property:ident),*) => {
        $(#[test]
        fn $test() {
            $crate::check_in_test($crate::Property::$property, $class, || $harness);
        })*
    };
}
