//! A sink of one's own in under 40 lines
