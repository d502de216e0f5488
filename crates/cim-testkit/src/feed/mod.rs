//! Conformance suite for sources of subscribed events.
//!
//! A backend describes its broker with a [`FeedHarness`] and adds one line to its tests:
//!
//! ```ignore
//! cim_testkit::feed_conformance!(my_feed, MyHarness::new());
//! ```
//!
//! Owns the properties, the feed in memory ([`MemoryFeed`]) and its flaws on purpose ([`FeedFlaw`]). Left out: what a backend's broker
//! is. Invariant: a property judges only what the contract of `EventSource` says.

mod harness;
mod memory;
mod properties;
mod property;
mod trial;

pub use harness::{FeedHarness, FeedRecord};
pub use memory::{FeedFlaw, MemoryFeed};
pub use property::{FeedProperty, FeedViolation, check_feed, check_feed_in_test, first_feed_violation};
