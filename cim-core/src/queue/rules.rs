//! How a queue behaves: derived once from the settings and from what the disk offers.

use std::time::Duration;

use crate::contract::Level;
use crate::settings::{ClassSettings, OnFault, WhenFull};

/// The rules of one class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Level at which a message counts as accepted, when the disk works.
    pub level: Level,
    /// What to do without room.
    pub when_full: WhenFull,
    /// What a disk fault does.
    pub on_fault: OnFault,
    /// Age limit.
    pub max_age: Option<Duration>,
    /// Most bytes of frames kept in memory beside the spool, with what the widest of the sinks may hold of them.
    pub tail_bytes: usize,
}

/// Frames kept in memory for the sinks while a spool holds them too.
const TAIL_BYTES: usize = 8 << 20;

/// A frame is written when it reaches this size, or when the turn of its lane ends.
pub(crate) const FRAME_BYTES: usize = 256 << 10;

/// How far sips may go above the limit of the class.
pub(crate) const RESERVE_BYTES: u64 = 4 << 20;

impl Rules {
    /// Rules of a class with these settings; without a spool the level is `memory`.
    pub(crate) fn new(settings: &ClassSettings, on_fault: OnFault, spool: bool) -> Self {
        Self {
            level: if spool { settings.accept.into() } else { Level::Memory },
            when_full: settings.when_full,
            on_fault,
            max_age: settings.max_age.map(crate::settings::Period::get),
            tail_bytes: TAIL_BYTES,
        }
    }
}
