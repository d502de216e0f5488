//! The end of the process and of its pod (wire contract §11).
//!
//! Walk of an end: `run/ending` → [`Ending`] says whether the application is told and how long it is waited for → the listener
//! closes → results and announcements → delivery → `spill` writes what is left → `last_word`. Left out: doing it (`run`).
//! The invariant: everything that decides is pure and takes the time as an argument.

mod ending;
mod keeping;
mod kind;
pub mod last_word;
pub mod replay;
pub mod spill;

pub use ending::{Ending, Phase, Rules, Step, Verdict};
pub use keeping::Keeping;
pub use kind::Kind;
