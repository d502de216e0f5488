//! FlatBuffers as the applications write them (wire contract §3.3).
//!
//! Owns reading and writing of tables; leaves out what the slots mean. Invariant: reading accepts unaligned
//! buffers, bytes that are no UTF-8, short vtables and unknown slots, and checks every offset and length.

mod fault;
mod table;
mod writer;

pub(crate) use fault::Fault;
pub(crate) use table::Table;
pub(crate) use writer::{Slot, Writer};
