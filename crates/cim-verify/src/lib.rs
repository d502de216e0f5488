//! Finds gaps, repetitions and swaps in what a sink received.
//!
//! Two numberings tell. What CIM writes to Kafka carries the headers `cim-epoch` and `cim-seq`, dense per epoch and
//! class. In files and TCP captures nothing of CIM's own is left; there, and wherever else it is found, the header that
//! the load generator puts before every payload ([`stamp`]) is read. A [`Report`] says which of the two it is built on.
//!
//! Owns captures, sequences and reports. Left out: Kafka, what was *sent* (the ledgers of `cim-bench` know that), and
//! printing. Invariant: a report counts what is there, and trusts no count of the product.

mod bitmap;
mod capture;
mod checker;
mod documents;
mod origin;
mod payload;
mod report;
mod sequence;
pub mod stamp;
mod topic;

pub use bitmap::{Added, Bitmap};
pub use capture::{CaptureError, files_of, for_each_document, for_each_line};
pub use checker::{Checker, Numbers, Received};
pub use origin::{Class, container_of_file};
pub use payload::{Found, scan};
pub use report::{Fault, NumberingReport, Report, SourceReport, Tolerated};
pub use sequence::Sequence;
pub use topic::TopicRange;
