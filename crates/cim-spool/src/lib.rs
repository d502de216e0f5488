//! Bounded on-disk FIFO of opaque records: segments, frames, cursors, recovery.
//!
//! Owns the spool directory: its lock, its format, its order and its byte accounting. Leaves out what a
//! record means, when to sync, what to do when full, and every thread: callers decide, this crate does.
//!
//! Invariants: a record whose `append` returned survives the death of the process; a record at or below
//! [`Stream::synced_through`] survives the death of the machine; damage is contained to the frames it
//! touched and is counted exactly; nothing in a spool directory can make this crate panic or loop.
//!
//! # Example
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! use cim_spool::{FrameBuf, Read, RealFiles, Spool, SpoolOptions, StreamOptions};
//! let options = SpoolOptions::new(home.path().join("spool"), "demo/demo-0");
//! let mut spool = Spool::open(std::sync::Arc::new(RealFiles), options)?;
//! let (mut stream, _recovery) = spool.stream(StreamOptions::new("logs", 16 << 20, 1 << 30))?;
//! let mut buf = FrameBuf::with_target(256 << 10);
//! buf.push(&[b"hello ", b"world"]);
//! let frame = stream.append(buf).map_err(|(error, _buf)| error)?;
//! assert_eq!(frame.records().next(), Some((1, &b"hello world"[..])));
//! let mut reader = stream.reader(stream.first_seq());
//! assert!(matches!(reader.next()?, Read::Frame(frame) if frame.count() == 1));
//! # Ok(())
//! # }
//! ```

mod aside;
mod cursor;
mod cursors;
mod error;
mod files;
pub mod format;
mod frame;
mod gone;
mod inspect;
mod meta;
mod pool;
mod reader;
mod real;
mod recovery;
mod reserve;
mod retention;
mod segments;
mod sim;
mod spool;
mod stream;
mod sync;
mod trim;
mod walker;

pub use aside::{AsideLimits, AsideReport, AsideUse};
pub use error::{AppendError, OpenError};
pub use files::{DirEntry, DirLock, FileLayer, SpoolFile};
pub use frame::{Frame, FrameBuf, Records};
pub use gone::{Gone, GoneUse, bound_gone};
pub use inspect::{CursorReport, Report, SegmentReport, StreamReport, check, dump, position};
pub use pool::FramePool;
pub use reader::{Read, Reader};
pub use real::RealFiles;
pub use recovery::{Loss, LossReason, Recovery};
pub use retention::{BeforeShedding, Shed};
pub use sim::{Crash, Fault, SimFiles};
pub use spool::{SetAside, Spool, SpoolOptions, StreamOptions};
pub use stream::Stream;
pub use sync::{SyncJob, SyncOutcome};
pub use trim::{TrimJob, Trimmed};
