//! Metrics of the running program: the names that other software knows, and clock-aligned pages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

mod aligned;
mod annotation;
mod exporter;
mod names;
mod readers;
mod tls;

/// Body of an answer.
fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}")).1
}
