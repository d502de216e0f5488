//! Whole-daemon tests against real servers
