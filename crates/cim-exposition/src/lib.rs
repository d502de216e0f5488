//! The Prometheus text format 0.0.4: a page of metrics taken apart, and one put together.
//!
//! Owns families, samples, escapes, and how a number is written: as the library of the original program writes it
//! (wire contract §10). No I/O. Left out: compression, OpenMetrics and protobuf, which an exporter sends only to those that
//! ask for them.
//!
//! A parser of our own, because what an exporter says has to come out of CIM as it went in: the crates there are lose what
//! they do not expect (escapes, timestamps, the order of buckets) or copy every label.
//!
//! Invariants: any text is read in time and memory proportional to its length, without a panic; a page that was written is
//! read as what was written.

mod family;
mod line;
mod number;
mod parse;
mod write;

pub use family::{Family, Kind, Label, Sample};
pub use number::Number;
pub use parse::{ParseError, parse};
pub use write::Page;
