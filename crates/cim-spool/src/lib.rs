//! Bounded on-disk queue: no async, no network
