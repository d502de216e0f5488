//! HTTP server: health, status, metrics
