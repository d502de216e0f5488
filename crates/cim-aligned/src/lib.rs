//! Clock-aligned metrics (wire contract §10.3): pages of the application, read at exact multiples of an interval and kept until a
//! scraper fetches them.
//!
//! Owns what the annotation means (`annotation`), when a page is read (`ticks`), how many are kept (`ring`) and what a scraper gets
//! (`page`). Pure: the time comes as an argument. Left out: calling exporters, serving the page.
//!
//! Invariants: a tick is a multiple of the interval, and none is served twice unless its answer broke off; what is dropped is the oldest,
//! and it is counted; on a page no name with the same labels and timestamp stands twice.

mod annotation;
mod duration;
mod merge;
mod page;
mod plan;
mod ring;
mod ticks;

pub use annotation::{ANNOTATION, read as read_annotation};
pub use page::render;
pub use plan::{Interval, MOST_INTERVALS, MOST_PORTS, Plan};
pub use ring::{Bucket, Dropped, Ring, Source};
pub use ticks::{Look, Ticks};
