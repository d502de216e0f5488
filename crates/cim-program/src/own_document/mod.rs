//! CIM's own document at run time: which one is in force, what is remembered of it, and how it is changed.
//!
//! Left out: its shape and meaning (`settings::original`), and putting settings into force (`reload`).

mod begin;
mod held;
mod lineage;
mod map;
mod memory;
mod sections;
mod wish;

pub use begin::{InForce, begin};
pub use held::Held;
pub use lineage::Lineage;
pub use map::Map;
pub use memory::save;
pub use wish::{Wish, Wishes, wishes};
