//! The NATS listener of the pod
