//! The NATS listener of the pod.
pub mod parser;
