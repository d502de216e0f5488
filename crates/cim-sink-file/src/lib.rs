//! Sink: rotated files
