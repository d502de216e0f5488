//! CIM's own document at run time: which one is in force, what is remembered of it, and how the engine changes it.
//!
//! Left out: its shape and meaning (`settings::original`), and putting settings into force (`reload`).

mod begin;
mod lineage;
mod memory;
mod wish;

pub use begin::{CHANGED, InForce, begin};
pub use lineage::Lineage;
pub use memory::save;
pub use wish::{Wish, Wishes, wishes};
