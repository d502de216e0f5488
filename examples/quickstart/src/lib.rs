//! The application of the demo
