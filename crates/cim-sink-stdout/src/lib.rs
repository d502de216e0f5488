//! Sink: standard output
