//! The suite for sources, with the kernel's notices alone and without any.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

#[allow(dead_code, reason = "each test uses its part")]
mod support;

use support::Store;

cim_testkit::source_conformance!(with_notices, Store::with_notices());
cim_testkit::source_conformance!(by_polling, Store::by_polling());
